use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, lchown};
use std::os::unix::net::UnixDatagram as Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{Mode, fchmod};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, socket_with};
use tokio::net::UnixDatagram;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::model::{Colour, ServiceName, Span};
use crate::ports::Latency;

use super::latency::{Book, Told};

/// The socket's name in the shared folder.
pub const SOCKET: &str = "log.sock";

/// The longest datagram that is read; the router's own limit is the same.
pub const LONGEST: usize = 1024;

/// Hears the router's log until it is dropped.
///
/// The kernel queues few datagrams (`net.unix.max_dgram_qlen`); those that come while it is full are lost to us, never
/// waited for by the router.
pub struct Listener {
    socket: PathBuf,
    inode: u64,
    begun: Instant,
    book: Arc<Mutex<Book>>,
    task: AbortOnDropHandle<()>,
}

impl Listener {
    /// Puts a socket of ours in the place of whatever lies there; `owner` may send to it.
    pub fn begin(folder: &Path, owner: Option<(u32, u32)>) -> io::Result<Self> {
        let bound = make(folder, owner)?;
        let socket = folder.join(SOCKET);
        let inode = socket.symlink_metadata()?.ino();
        let (begun, book) = (Instant::now(), Arc::default());
        let heard = hear(UnixDatagram::from_std(bound)?, begun, Arc::clone(&book));
        Ok(Listener {
            socket,
            inode,
            begun,
            book,
            task: AbortOnDropHandle::new(tokio::spawn(heard)),
        })
    }

    /// Whether the router still finds us at the socket's name.
    pub fn reached(&self) -> bool {
        let there = self.socket.symlink_metadata();
        !self.task.is_finished() && there.is_ok_and(|metadata| metadata.ino() == self.inode)
    }

    pub fn open(&self, service: &ServiceName) {
        locked(&self.book).open(service, self.begun.elapsed().as_secs());
    }

    pub fn latency(&self, service: &ServiceName, window: Span) -> Option<[(Colour, Latency); 2]> {
        locked(&self.book).latency(service, window, self.begun.elapsed().as_secs())
    }
}

async fn hear(socket: UnixDatagram, begun: Instant, book: Arc<Mutex<Book>>) {
    // One more than is allowed, so that what was cut is not taken for whole.
    let mut datagram = [0; LONGEST + 1];
    while let Ok(length) = socket.recv(&mut datagram).await {
        if let Some(told) = Told::read(&datagram[..length]) {
            locked(&book).add(&told, begun.elapsed().as_secs());
        }
    }
}

/// Nothing in a book is half done when a thread panics.
fn locked(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bound under a name of its own and renamed, so that there is no moment without a socket.
fn make(folder: &Path, owner: Option<(u32, u32)>) -> io::Result<Bound> {
    let fresh = format!(".{SOCKET}.{}", std::process::id());
    let path = folder.join(&fresh);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
    // The mode of the file that `bind` makes. Afterwards it could only be changed by name, and the folder belongs to
    // the router: what bears the name then need not be what was made.
    fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    // Through the open folder, as a socket's address is short.
    let opened = File::open(folder)?;
    bind(
        &socket,
        &SocketAddrUnix::new(format!("/proc/self/fd/{}/{fresh}", opened.as_raw_fd()))?,
    )?;
    if let Some((uid, gid)) = owner
        && rustix::process::geteuid().is_root()
    {
        lchown(&path, Some(uid), Some(gid))?;
    }
    std::fs::rename(&path, folder.join(SOCKET))?;
    Ok(socket.into())
}
