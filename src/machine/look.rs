use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use rustix::fs::{Access, AtFlags, CWD};
use rustix::process::{Resource, getrlimit};

use crate::ports::{
    ClockState, DiskSpace, Files, Firewall, Host, Limit, Machine, Place, PlaceKind, ProcessLimits, Protocol, User,
};

use super::ThisHost;

/// Entries of folders that are looked at, all together, and how deep.
const ENTRIES: usize = 20_000;
const DEPTH: usize = 6;
const LONGEST_TEXT: u64 = 64 << 10;
const RESOLVED_WITHIN: Duration = Duration::from_secs(3);
/// The number of CAP_SYS_RESOURCE in a capability set.
const SYS_RESOURCE: u32 = 24;

#[async_trait]
impl Machine for ThisHost {
    fn user(&self) -> User {
        let uid = rustix::process::geteuid().as_raw();
        let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
        User {
            uid,
            name: name_of(&users, uid),
            home: std::env::home_dir(),
        }
    }

    fn limits(&self) -> io::Result<ProcessLimits> {
        let of = |resource| {
            let limit = getrlimit(resource);
            Limit {
                soft: limit.current,
                hard: limit.maximum,
            }
        };
        let status = fs::read_to_string("/proc/self/status")?;
        let may_raise =
            effective(&status).ok_or_else(|| io::Error::other("/proc/self/status names no capabilities"))?;
        Ok(ProcessLimits {
            files: of(Resource::Nofile),
            processes: of(Resource::Nproc),
            may_raise: may_raise >> SYS_RESOURCE & 1 == 1,
        })
    }

    fn memory_free(&self) -> io::Result<u64> {
        Host::memory_free(self)
    }

    fn disk(&self, path: &Path) -> io::Result<DiskSpace> {
        let found = rustix::fs::statvfs(path)?;
        Ok(DiskSpace {
            id: fs::metadata(path)?.dev(),
            free: found.f_bavail.saturating_mul(found.f_frsize),
            total: found.f_blocks.saturating_mul(found.f_frsize),
            inodes_free: found.f_favail,
            inodes: found.f_files,
        })
    }

    fn look(&self, path: &Path) -> io::Result<Place> {
        let found = fs::metadata(path)?;
        Ok(Place {
            kind: match found.file_type() {
                kind if kind.is_dir() => PlaceKind::Folder,
                kind if kind.is_file() => PlaceKind::File,
                _ => PlaceKind::Other,
            },
            mode: found.permissions().mode() & 0o7777,
            disk: found.dev(),
        })
    }

    fn readable(&self, path: &Path) -> io::Result<()> {
        match fs::metadata(path)? {
            found if found.is_dir() => fs::read_dir(path).map(|_| ()),
            found if found.is_file() => File::open(path).map(|_| ()),
            // Sockets and devices are opened by who uses them.
            _ => Ok(()),
        }
    }

    fn writable(&self, path: &Path) -> io::Result<()> {
        let wanted = match fs::metadata(path)?.is_dir() {
            true => Access::WRITE_OK | Access::EXEC_OK,
            false => Access::WRITE_OK,
        };
        Ok(rustix::fs::accessat(CWD, path, wanted, AtFlags::EACCESS)?)
    }

    fn text(&self, path: &Path) -> io::Result<String> {
        let mut text = String::new();
        File::open(path)?.take(LONGEST_TEXT).read_to_string(&mut text)?;
        Ok(text)
    }

    fn files(&self, folder: &Path) -> io::Result<Files> {
        below(folder, ENTRIES, DEPTH)
    }

    fn begins_with(&self, path: &Path, bytes: &[u8]) -> io::Result<bool> {
        let mut head = Vec::with_capacity(bytes.len());
        File::open(path)?.take(bytes.len() as u64).read_to_end(&mut head)?;
        Ok(head == bytes)
    }

    fn listen(&self, address: IpAddr, port: u16, protocol: Protocol) -> io::Result<()> {
        let address = SocketAddr::new(address, port);
        match protocol {
            Protocol::Tcp => TcpListener::bind(address).map(|_| ()),
            Protocol::Udp => UdpSocket::bind(address).map(|_| ()),
        }
    }

    async fn clock(&self) -> ClockState {
        super::clock::clock().await
    }

    async fn firewall(&self) -> Firewall {
        super::firewall::firewall().await
    }

    async fn resolve(&self, name: &str) -> io::Result<()> {
        let asked = tokio::time::timeout(RESOLVED_WITHIN, tokio::net::lookup_host((name, 443)));
        match asked.await {
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in 3 s")),
            Ok(Err(error)) => Err(error),
            Ok(Ok(mut found)) => match found.next() {
                Some(_) => Ok(()),
                None => Err(io::Error::new(io::ErrorKind::NotFound, "it has no address")),
            },
        }
    }
}

fn name_of(users: &str, uid: u32) -> Option<String> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

fn effective(status: &str) -> Option<u64> {
    let set = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(set.trim(), 16).ok()
}

/// Breadth first, so that what is near is seen before anything is cut. Links are not followed, and a folder inside that
/// cannot be listed counts as cut.
fn below(folder: &Path, entries: usize, depth: usize) -> io::Result<Files> {
    let mut found = Files::default();
    let mut looked = 0;
    let mut next = VecDeque::from([(folder.to_path_buf(), depth)]);
    while let Some((inner, deep)) = next.pop_front() {
        let listed = match fs::read_dir(&inner) {
            Ok(listed) => listed,
            Err(error) if inner == folder => return Err(error),
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(_) => {
                found.cut = true;
                continue;
            }
        };
        for entry in listed {
            let Ok(entry) = entry else {
                found.cut = true;
                continue;
            };
            looked += 1;
            if looked > entries {
                found.cut = true;
                return Ok(found);
            }
            // One that is gone by now was never there.
            let Ok(metadata) = entry.metadata() else { continue };
            let path: PathBuf = entry.path();
            if metadata.is_dir() {
                match deep {
                    0 => found.cut = true,
                    _ => next.push_back((path, deep - 1)),
                }
            } else if let Ok(modified) = metadata.modified()
                && metadata.is_file()
            {
                found.found.push((path, modified.into()));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_from_the_nearest_on_and_links_are_not_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        fs::create_dir_all(path("a/b")).expect("made");
        for name in ["a/b/far", "a/near", "first"] {
            fs::write(path(name), "x").expect("written");
        }
        std::os::unix::fs::symlink(folder.path(), path("loop")).expect("a link");
        let names = |files: &Files| -> Vec<PathBuf> { files.found.iter().map(|(path, _)| path.clone()).collect() };
        let all = below(folder.path(), 100, 6).expect("listed");
        assert_eq!(names(&all), [path("first"), path("a/near"), path("a/b/far")]);
        assert!(!all.cut);
        let shallow = below(folder.path(), 100, 1).expect("listed");
        assert_eq!(
            (names(&shallow), shallow.cut),
            (vec![path("first"), path("a/near")], true)
        );
        assert!(below(folder.path(), 2, 6).expect("listed").cut);
        assert!(below(&path("none"), 2, 6).is_err());
    }

    #[test]
    fn the_machine_answers() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("f");
        fs::write(&file, "SQLite and more").expect("written");
        assert!(ThisHost.begins_with(&file, b"SQLite").expect("read"));
        assert!(!ThisHost.begins_with(&file, b"sqlite").expect("read"));
        let place = ThisHost.look(&file).expect("there");
        assert_eq!(place.kind, PlaceKind::File);
        assert_eq!(ThisHost.disk(folder.path()).expect("figures").id, place.disk);
        ThisHost.writable(&file).expect("ours");
        ThisHost.readable(folder.path()).expect("ours");
        assert!(ThisHost.writable(&folder.path().join("none")).is_err());
        assert!(
            ThisHost
                .limits()
                .expect("limits")
                .files
                .soft
                .is_none_or(|soft| soft > 0)
        );
        let held = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = held.local_addr().expect("an address").port();
        let local: IpAddr = [127, 0, 0, 1].into();
        let refused = ThisHost.listen(local, port, Protocol::Tcp).expect_err("held");
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
        ThisHost
            .listen(local, port, Protocol::Udp)
            .expect("another protocol's port");
    }

    #[test]
    fn a_user_has_the_name_the_host_gives() {
        let users = "root:x:0:0::/root:/bin/sh\nnonsense\napp:x:1000:1000::/:/bin/sh\n";
        assert_eq!(name_of(users, 1000).as_deref(), Some("app"));
        assert_eq!(name_of(users, 1), None);
        assert_eq!(effective("CapEff:\t000001fffeffffff\n"), Some(0x1fffeffffff));
    }
}
