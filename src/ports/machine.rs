use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use crate::model::Timestamp;

/// What `check` asks of the machine it runs on. Nothing is changed, and an answer that cannot be had is an error or
/// says so itself: never a guess.
#[async_trait]
pub trait Machine: Send + Sync {
    fn user(&self) -> User;
    fn limits(&self) -> io::Result<ProcessLimits>;
    /// Bytes of memory that can be used without swapping.
    fn memory_free(&self) -> io::Result<u64>;
    /// The file system that holds `path`, which is there.
    fn disk(&self, path: &Path) -> io::Result<DiskSpace>;
    /// What is at a path; links are followed.
    fn look(&self, path: &Path) -> io::Result<Place>;
    /// Whether this process may read a file, or list a folder.
    fn readable(&self, path: &Path) -> io::Result<()>;
    /// Whether this process may write a file, or make one in a folder.
    fn writable(&self, path: &Path) -> io::Result<()>;
    /// A small text file of the machine's own.
    fn text(&self, path: &Path) -> io::Result<String>;
    /// The files below a folder, those nearest to it first.
    fn files(&self, folder: &Path) -> io::Result<Files>;
    /// Whether a file begins with these bytes.
    fn begins_with(&self, path: &Path, bytes: &[u8]) -> io::Result<bool>;
    /// Listens for a moment: an error of [`io::ErrorKind::AddrInUse`] says somebody else does.
    fn listen(&self, address: IpAddr, port: u16, protocol: Protocol) -> io::Result<()>;
    async fn clock(&self) -> ClockState;
    async fn firewall(&self) -> Firewall;
    /// Whether a host's name has an address; an error after 3 s at the latest.
    async fn resolve(&self, name: &str) -> io::Result<()>;
}

/// Whom this process runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub uid: u32,
    pub name: Option<String>,
    pub home: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessLimits {
    /// Open files; `None` is no limit.
    pub files: Limit,
    /// Processes of this user.
    pub processes: Limit,
    /// CAP_SYS_RESOURCE: whether hard limits may be raised.
    pub may_raise: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    pub soft: Option<u64>,
    pub hard: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSpace {
    /// The same for paths on the same file system.
    pub id: u64,
    /// Bytes this process may still write.
    pub free: u64,
    pub total: u64,
    pub inodes_free: u64,
    /// 0 where the file system does not count them.
    pub inodes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub kind: PlaceKind,
    /// The permission bits.
    pub mode: u32,
    /// As in [`DiskSpace::id`].
    pub disk: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaceKind {
    Folder,
    File,
    /// A socket, a device or a pipe.
    Other,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    pub found: Vec<(PathBuf, Timestamp)>,
    /// There are more than anybody wanted to look at.
    pub cut: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Tcp,
    Udp,
}

/// Whether something keeps the clock right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClockState {
    Synchronised,
    /// What says that it is not.
    Unsynchronised(String),
    /// Why nobody can tell.
    Unknown(String),
}

/// What stands between the network and this machine's ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Firewall {
    Off,
    /// Its name: `ufw`, `firewalld`, `iptables`.
    On(String),
    /// Why nobody can tell.
    Unknown(String),
}
