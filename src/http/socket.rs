use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

use crate::model::ProjectName;

/// The agent's socket file; removed with the value.
#[derive(Debug)]
pub struct Socket {
    path: PathBuf,
    inode: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    #[error("an agent answers on {path} already; one project has one agent")]
    Live { path: PathBuf },
    #[error("{path} is there and is not a socket; move it away, or set `agent: {{ socket: … }}` in arkwright.yaml")]
    NotASocket { path: PathBuf },
    #[error("the group `{group}` of `agent: {{ group: … }}` does not exist on this host; `groupadd {group}` makes it")]
    NoGroup { group: String },
    #[error("the group `{group}` cannot be given {path}; run the agent as root, or as a member of the group")]
    Foreign {
        group: String,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(
        "the socket {path} cannot be made; run as root, or set `agent: {{ socket: … }}` in arkwright.yaml to a path you may write"
    )]
    Unusable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Where a project's agent listens unless told otherwise.
pub fn socket_of(project: &ProjectName) -> PathBuf {
    PathBuf::from("/run/arkwright").join(format!("{project}.sock"))
}

impl Socket {
    /// Whether a living agent answers there; what a dead one left behind does not count.
    pub fn check(path: &Path) -> Result<(), SocketError> {
        let found = match fs::symlink_metadata(path) {
            Ok(found) => found,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(unusable(path, source)),
        };
        if !found.file_type().is_socket() {
            return Err(SocketError::NotASocket { path: path.into() });
        }
        match UnixStream::connect(path) {
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
            Err(source) => Err(unusable(path, source)),
            Ok(_) => Err(SocketError::Live { path: path.into() }),
        }
    }

    /// Listens at `path` with mode 0660 for `group`, 0600 where there is none; nobody else can connect at any moment.
    pub fn bind(path: &Path, group: Option<&str>) -> Result<(Self, UnixListener), SocketError> {
        Self::check(path)?;
        let gid = group.map(gid_of).transpose()?;
        fs::create_dir_all(folder_of(path)).map_err(|source| unusable(path, source))?;
        bind_parked(path, group.zip(gid))
    }
}

/// A socket is connectable from the moment it is bound, so that happens where nobody else may look; it appears at `path`
/// with its mode and its group.
fn bind_parked(path: &Path, group: Option<(&str, u32)>) -> Result<(Socket, UnixListener), SocketError> {
    let failed = |source| unusable(path, source);
    let parking = tempfile::Builder::new()
        .prefix(".")
        .rand_bytes(4)
        .tempdir_in(folder_of(path))
        .map_err(failed)?;
    let inside = parking.path().join("s");
    let listener = UnixListener::bind(&inside).map_err(failed)?;
    if let Some((group, gid)) = group {
        chown(&inside, None, Some(gid)).map_err(|source| SocketError::Foreign {
            group: group.to_owned(),
            path: path.into(),
            source,
        })?;
    }
    let mode = if group.is_some() { 0o660 } else { 0o600 };
    fs::set_permissions(&inside, Permissions::from_mode(mode)).map_err(failed)?;
    let inode = fs::symlink_metadata(&inside).map_err(failed)?.ino();
    fs::rename(&inside, path).map_err(failed)?;
    let socket = Socket {
        path: path.into(),
        inode,
    };
    Ok((socket, listener))
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Another agent's socket may have taken the place.
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!("the socket {} is left behind: {error}", self.path.display());
        }
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

fn unusable(path: &Path, source: io::Error) -> SocketError {
    SocketError::Unusable {
        path: path.into(),
        source,
    }
}

/// A group's number: the name is looked up in /etc/group, for a static binary has no other way.
fn gid_of(group: &str) -> Result<u32, SocketError> {
    let unknown = || SocketError::NoGroup {
        group: group.to_owned(),
    };
    if let Ok(number) = group.parse() {
        return Ok(number);
    }
    let groups = fs::read_to_string("/etc/group").map_err(|_| unknown())?;
    let line = groups.lines().find(|line| line.split(':').next() == Some(group));
    line.and_then(|line| line.split(':').nth(2)?.parse().ok())
        .ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_dead_agents_socket_is_replaced_and_a_living_ones_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("run/ark.sock");
        let (socket, listener) = Socket::bind(&path, None).expect("bound");
        assert!(matches!(Socket::bind(&path, None), Err(SocketError::Live { .. })));
        drop(listener);
        let (second, _listener) = Socket::bind(&path, None).expect("the dead one is replaced");
        drop(socket);
        assert!(path.exists(), "the first does not remove the second's");
        drop(second);
        assert!(!path.exists());
        assert_eq!(fs::read_dir(folder.path().join("run")).expect("a folder").count(), 0);
    }

    #[tokio::test]
    async fn the_mode_is_the_groups() {
        let folder = tempfile::tempdir().expect("a folder");
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        let alone = folder.path().join("a.sock");
        let (_a, _listener) = Socket::bind(&alone, None).expect("bound");
        assert_eq!(mode(&alone), 0o600);
        let own = fs::metadata(folder.path()).expect("there").gid();
        let shared = folder.path().join("b.sock");
        let (_b, _listener) = Socket::bind(&shared, Some(&own.to_string())).expect("bound");
        assert_eq!(mode(&shared), 0o660);
        assert_eq!(fs::metadata(&shared).expect("there").gid(), own);
    }

    #[test]
    fn what_is_no_socket_stays_and_an_unknown_group_is_said() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("precious");
        fs::write(&path, "data").expect("written");
        assert!(matches!(Socket::bind(&path, None), Err(SocketError::NotASocket { .. })));
        assert_eq!(fs::read(&path).expect("there"), b"data");
        let error = Socket::bind(&folder.path().join("s"), Some("no-such-group-here")).expect_err("no group");
        assert!(error.to_string().contains("groupadd no-such-group-here"), "{error}");
    }
}
