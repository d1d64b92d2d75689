use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use crate::backup::Hole;

/// Linux gives no more at a time.
const LARGEST: usize = 64 << 10;
/// What fits most names and values.
const USUAL: usize = 512;
/// Of one file or folder in all, so that its line in a listing is not too long.
const MOST_XATTRS: usize = 512 << 10;
/// The longest are kept; each takes room in the listing.
const MOST_HOLES: usize = 4096;

/// Extended attributes but for those that only mean something where they are: SELinux's label, which the system gives
/// by place, and what a network file system shows of its server.
///
/// None where the file system has none.
pub(super) fn xattrs_of(path: &Path, follow: bool) -> io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let listed = sized(|buffer| match follow {
        true => rustix::fs::listxattr(path, buffer),
        false => rustix::fs::llistxattr(path, buffer),
    });
    let names = match listed {
        Ok(names) => names,
        Err(Errno::NOTSUP | Errno::NOSYS) => return Ok(BTreeMap::new()),
        Err(error) => return Err(error.into()),
    };
    let mut xattrs = BTreeMap::new();
    let mut room = MOST_XATTRS;
    for name in names.split(|byte| *byte == 0).filter(|name| travels(name)) {
        let value = sized(|buffer| match follow {
            true => rustix::fs::getxattr(path, name, buffer),
            false => rustix::fs::lgetxattr(path, name, buffer),
        });
        let value = match value {
            Ok(value) => value,
            // Taken off meanwhile, or listed by a layer that does not have it.
            Err(Errno::NODATA | Errno::NOTSUP) => continue,
            Err(error) => return Err(error.into()),
        };
        room = room
            .checked_sub(name.len() + value.len())
            .ok_or_else(|| io::Error::other(format!("its extended attributes take more than {MOST_XATTRS} bytes")))?;
        xattrs.insert(name.to_vec(), value);
    }
    Ok(xattrs)
}

fn travels(name: &[u8]) -> bool {
    match name.strip_prefix(b"system.") {
        Some(rest) => rest.starts_with(b"posix_acl_"),
        None => !name.is_empty() && name != b"security.selinux",
    }
}

/// With a small buffer first, and the largest there is when that is too small.
fn sized(ask: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut small = [0; USUAL];
    match ask(&mut small) {
        Ok(length) => Ok(small[..length.min(USUAL)].to_vec()),
        Err(Errno::RANGE) => {
            let mut large = vec![0; LARGEST];
            let length = ask(&mut large)?;
            large.truncate(length);
            Ok(large)
        }
        Err(error) => Err(error),
    }
}

/// Where the file system keeps nothing of a file; none where it does not say.
pub(super) fn holes_of(file: &File) -> io::Result<Vec<Hole>> {
    let size = file.metadata()?.len();
    let mut holes = Vec::new();
    let mut at = 0;
    while at < size {
        let data = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(data) => data.min(size),
            // Nothing but a hole up to the end.
            Err(Errno::NXIO) => size,
            Err(Errno::INVAL | Errno::NOTSUP) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        if data > at {
            holes.push(Hole {
                offset: at,
                length: data - at,
            });
        }
        at = match data < size {
            true => rustix::fs::seek(file, SeekFrom::Hole(data))?.max(data + 1),
            false => size,
        };
    }
    if holes.len() > MOST_HOLES {
        holes.sort_by_key(|hole| std::cmp::Reverse(hole.length));
        holes.truncate(MOST_HOLES);
        holes.sort_by_key(|hole| hole.offset);
    }
    Ok(holes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn holes_are_where_nothing_was_written() {
        let file = tempfile::tempfile().expect("a file");
        assert_eq!(holes_of(&file).expect("read"), []);
        file.set_len(1 << 20).expect("lengthened");
        let whole = Hole {
            offset: 0,
            length: 1 << 20,
        };
        assert_eq!(holes_of(&file).expect("read"), [whole]);
        file.write_all_at(&[1; 4096], 256 << 10).expect("written");
        let holes = holes_of(&file).expect("read");
        let all: u64 = holes.iter().map(|hole| hole.length).sum();
        assert_eq!((holes.len(), all), (2, (1 << 20) - 4096), "{holes:?}");
    }

    #[test]
    fn only_what_means_the_same_elsewhere_travels() {
        for name in ["user.a", "trusted.x", "security.capability", "system.posix_acl_access"] {
            assert!(travels(name.as_bytes()), "{name}");
        }
        for name in ["", "security.selinux", "system.nfs4_acl"] {
            assert!(!travels(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn long_values_are_read_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        std::fs::write(&path, "x").expect("written");
        assert_eq!(xattrs_of(&path, false).expect("read"), BTreeMap::new());
        let value = vec![7; 2000];
        rustix::fs::setxattr(&path, "user.long", &value, rustix::fs::XattrFlags::empty()).expect("set");
        let found = xattrs_of(&path, true).expect("read");
        assert_eq!(found, [(b"user.long".to_vec(), value)].into());
    }
}
