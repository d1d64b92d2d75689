use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use crate::stack::{Files, Unread};

/// The machine's own file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path, limit: usize) -> Result<String, Unread> {
        let unread = |error: std::io::Error| match error.kind() {
            ErrorKind::NotFound => Unread::Missing,
            _ => Unread::Other(error.to_string()),
        };
        let mut bytes = Vec::new();
        let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
        File::open(path)
            .map_err(unread)?
            .take(most)
            .read_to_end(&mut bytes)
            .map_err(unread)?;
        if bytes.len() > limit {
            return Err(Unread::TooLarge(limit));
        }
        String::from_utf8(bytes).map_err(|_| Unread::NotText)
    }

    fn exists(&self, path: &Path) -> bool {
        std::fs::metadata(path).is_ok_and(|found| !found.is_dir())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_text_within_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(Disk.read(&path, 5).as_deref(), Ok("12345"));
        assert_eq!(Disk.read(&path, 4), Err(Unread::TooLarge(4)));
        std::fs::write(&path, [0xff]).unwrap();
        assert_eq!(Disk.read(&path, 5), Err(Unread::NotText));
        assert_eq!(Disk.read(&folder.path().join("no"), 5), Err(Unread::Missing));
        assert!(Disk.exists(&path) && !Disk.exists(folder.path()));
    }
}
