use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::emergency::Place;
use crate::model::OperationId;
use crate::state::make_folder;

/// The folders beside a place: what was restored, and what was there before.
pub struct Room<'a> {
    place: &'a Place,
    root: PathBuf,
}

#[derive(Debug, thiserror::Error)]
#[error("{what} {path} failed; mend that, then `arkwright resume` goes on")]
pub struct PlaceError {
    what: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

fn failed(what: &'static str, path: &Path) -> impl Fn(io::Error) -> PlaceError {
    let path = path.to_path_buf();
    move |source| PlaceError {
        what,
        path: path.clone(),
        source,
    }
}

impl<'a> Room<'a> {
    pub fn of(place: &'a Place, operation: &OperationId) -> Self {
        Room {
            place,
            root: place.room(operation),
        }
    }

    /// Where a restore puts it.
    pub fn target(&self) -> PathBuf {
        self.root.join("new")
    }

    fn restored(&self) -> PathBuf {
        self.target()
            .join(std::ffi::OsStr::from_bytes(&self.place.entry.to_bytes()))
    }

    fn kept(&self) -> PathBuf {
        self.root.join("before")
    }

    fn mark(&self) -> PathBuf {
        self.root.join("restored")
    }

    /// Whether all of it was restored, by an attempt before this one.
    pub fn is_staged(&self) -> bool {
        self.mark().exists()
    }

    /// Empties it for a restore.
    pub fn prepare(&self) -> Result<(), PlaceError> {
        remove(&self.target())?;
        for folder in [self.rooms(), &self.root] {
            make_folder(folder, 0o700).map_err(failed("making", folder))?;
        }
        Ok(())
    }

    pub fn staged(&self) -> Result<(), PlaceError> {
        let restored = self.restored();
        fs::symlink_metadata(&restored).map_err(failed("finding what was restored at", &restored))?;
        let mark = self.mark();
        File::create(&mark)
            .and_then(|file| file.sync_all())
            .map_err(failed("writing", &mark))?;
        sync(&self.root)
    }

    pub fn unstage(&self) -> Result<(), PlaceError> {
        match fs::remove_file(self.mark()) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed("removing", &self.mark())(e)),
            _ => {}
        }
        remove(&self.target())?;
        // What is kept in it keeps it.
        for folder in [&self.kept(), &self.root, self.rooms()] {
            match fs::remove_dir(folder) {
                Err(e) if !matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) => {
                    return Err(failed("removing", folder)(e));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Moves what is there aside and the restored in; where what was there is kept, if anything was. What was moved in
    /// is not beside it any more, by which a second attempt knows.
    pub fn replace(&self) -> Result<Option<PathBuf>, PlaceError> {
        let (restored, kept) = (self.restored(), self.kept());
        if exists(&restored)? {
            make_folder(&kept, 0o700).map_err(failed("making", &kept))?;
            for member in self.place.family() {
                if exists(&member)? {
                    let aside = free_name(&kept, &member)?;
                    fs::rename(&member, &aside).map_err(failed("moving aside", &member))?;
                }
            }
            sync(&kept)?;
            fs::rename(&restored, &self.place.path).map_err(failed("putting in place", &self.place.path))?;
            sync(self.parent())?;
        }
        Ok(exists(&kept)?.then_some(kept))
    }

    /// Takes [`Room::replace`] back, wherever that ended.
    pub fn put_back(&self) -> Result<(), PlaceError> {
        let (restored, kept) = (self.restored(), self.kept());
        if self.is_staged() && !exists(&restored)? && exists(&self.place.path)? {
            let above = restored.parent().unwrap_or(&self.root);
            fs::create_dir_all(above).map_err(failed("making", above))?;
            fs::rename(&self.place.path, &restored).map_err(failed("taking out of its place", &self.place.path))?;
        }
        for member in self.place.family() {
            let Some(aside) = member.file_name().map(|name| kept.join(name)) else {
                continue;
            };
            if exists(&aside)? {
                fs::rename(&aside, &member).map_err(failed("putting back", &member))?;
            }
        }
        sync(self.parent())
    }

    /// The rooms of all places in the same folder.
    fn rooms(&self) -> &Path {
        self.root.parent().unwrap_or(Path::new("/"))
    }

    fn parent(&self) -> &Path {
        self.place.path.parent().unwrap_or(Path::new("/"))
    }
}

fn exists(path: &Path) -> Result<bool, PlaceError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(false),
        Err(e) => Err(failed("looking at", path)(e)),
    }
}

/// Its own name where that is free: nothing that was kept is replaced.
fn free_name(folder: &Path, member: &Path) -> Result<PathBuf, PlaceError> {
    let name = member.file_name().unwrap_or_default();
    let mut found = folder.join(name);
    let mut count = 1;
    while exists(&found)? {
        count += 1;
        let mut numbered = name.to_owned();
        numbered.push(format!(".{count}"));
        found = folder.join(numbered);
    }
    Ok(found)
}

fn remove(folder: &Path) -> Result<(), PlaceError> {
    match fs::remove_dir_all(folder) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(failed("removing", folder)(e)),
        _ => Ok(()),
    }
}

fn sync(folder: &Path) -> Result<(), PlaceError> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(failed("writing out", folder))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    struct Stage {
        folder: tempfile::TempDir,
        place: Place,
        operation: OperationId,
    }

    impl Stage {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            fs::create_dir(folder.path().join("data")).expect("made");
            let entry = "data/a.db".parse().expect("a path");
            let stage = Stage {
                place: Place::new(folder.path(), &entry, 0, true).expect("a place"),
                folder,
                operation: OperationId::new(Timestamp::UNIX_EPOCH, [0, 1]),
            };
            for (name, text) in [("a.db", "bad"), ("a.db-wal", "bad log")] {
                fs::write(stage.data().join(name), text).expect("written");
            }
            stage
        }

        fn data(&self) -> PathBuf {
            self.folder.path().join("data")
        }

        fn room(&self) -> Room<'_> {
            Room::of(&self.place, &self.operation)
        }

        fn restore(&self) {
            self.room().prepare().expect("empty");
            let restored = self.room().restored();
            fs::create_dir_all(restored.parent().expect("a folder")).expect("made");
            fs::write(restored, "good").expect("written");
            self.room().staged().expect("whole");
        }

        fn read(&self, name: &str) -> Option<String> {
            fs::read_to_string(self.data().join(name)).ok()
        }
    }

    #[test]
    fn what_was_there_is_kept_and_the_restored_is_in_place_also_twice() {
        let stage = Stage::new();
        stage.restore();
        for _ in 0..2 {
            let kept = stage.room().replace().expect("in place").expect("kept");
            assert_eq!(stage.read("a.db").as_deref(), Some("good"));
            assert_eq!(stage.read("a.db-wal"), None, "an older log would be replayed");
            assert_eq!(fs::read_to_string(kept.join("a.db")).expect("kept"), "bad");
            assert_eq!(fs::read_to_string(kept.join("a.db-wal")).expect("kept"), "bad log");
        }
    }

    /// Two of one folder: each has what is its own, forward and back.
    #[test]
    fn neighbours_do_not_take_each_other_for_themselves() {
        let stage = Stage::new();
        fs::write(stage.data().join("b.db"), "other bad").expect("written");
        let entry = "data/b.db".parse().expect("a path");
        let other = Place::new(stage.folder.path(), &entry, 0, true).expect("a place");
        let other = Room::of(&other, &stage.operation);
        stage.restore();
        assert!(!other.is_staged(), "only the first is restored");
        other.prepare().expect("empty");
        fs::create_dir_all(other.restored().parent().expect("a folder")).expect("made");
        fs::write(other.restored(), "other good").expect("written");
        other.staged().expect("whole");
        stage.room().replace().expect("in place");
        // The second was begun and not yet moved in: taking it back leaves what is there.
        other.put_back().expect("back");
        assert_eq!(stage.read("b.db").as_deref(), Some("other bad"));
        other.replace().expect("in place");
        assert_eq!(
            (stage.read("a.db").as_deref(), stage.read("b.db").as_deref()),
            (Some("good"), Some("other good"))
        );
        for room in [&other, &stage.room()] {
            room.put_back().expect("back");
            room.unstage().expect("removed");
        }
        assert_eq!(
            (stage.read("a.db").as_deref(), stage.read("b.db").as_deref()),
            (Some("bad"), Some("other bad"))
        );
        assert_eq!(fs::read_dir(stage.data()).expect("a folder").count(), 3);
    }

    #[test]
    fn cut_off_anywhere_it_is_done_again_or_taken_back() {
        // After so many of: the database aside, its log aside, the restored in.
        for done in 0..4 {
            for back in [false, true] {
                let stage = Stage::new();
                stage.restore();
                let kept = stage.room().kept();
                fs::create_dir_all(&kept).expect("made");
                if done > 0 {
                    fs::rename(stage.data().join("a.db"), kept.join("a.db")).expect("moved");
                }
                if done > 1 {
                    fs::rename(stage.data().join("a.db-wal"), kept.join("a.db-wal")).expect("moved");
                }
                if done > 2 {
                    fs::rename(stage.room().restored(), stage.data().join("a.db")).expect("moved");
                }
                for _ in 0..2 {
                    match back {
                        true => stage.room().put_back().expect("back"),
                        false => assert!(stage.room().replace().expect("in place").is_some()),
                    }
                }
                let expected = if back { ("bad", Some("bad log")) } else { ("good", None) };
                assert_eq!(stage.read("a.db").as_deref(), Some(expected.0), "{done} {back}");
                assert_eq!(stage.read("a.db-wal").as_deref(), expected.1, "{done} {back}");
                if back {
                    stage.room().unstage().expect("removed");
                    stage.room().unstage().expect("removed twice");
                    assert_eq!(fs::read_dir(stage.data()).expect("a folder").count(), 2);
                }
            }
        }
    }
}
