use std::io;
use std::net::IpAddr;
use std::path::Path;

/// Figures of the machine this runs on.
pub trait Host: Send + Sync {
    /// Bytes this process may still write below `path`.
    fn disk_free(&self, path: &Path) -> io::Result<u64>;
    /// Bytes of memory that can be used without swapping.
    fn memory_free(&self) -> io::Result<u64>;
    /// Every address of its own, loopback left out.
    fn addresses(&self) -> io::Result<Vec<IpAddr>>;
}
