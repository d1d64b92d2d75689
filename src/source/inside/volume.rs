use crate::backup::{Entry, EntryPath, Meta, Node, SourceRecord, normal};
use crate::config::Source;
use crate::ports::{Body, Sink, SourceError, Sources, Stopped};
use crate::source::HostSources;

use super::Inside;
use super::place::Place;

impl Inside<'_> {
    /// Everything in the volume that the Compose file has under this key, where the engine keeps it on this host.
    ///
    /// Not as the engine archives it: Docker leaves out what it cannot read, Podman all that comes after a file that grew, and
    /// neither says so. Read as files, what cannot be read is an error, and what has not changed is not read again.
    pub(super) fn volume(&mut self, name: &str, exclude: &[String]) -> Result<SourceRecord, SourceError> {
        let Some(wanted) = self.volumes.get(name) else {
            return Err(self.failed(
                "no service of this project uses such a volume",
                "name one of the Compose file's `volumes` that a service mounts, and enable the profile of that service",
            ));
        };
        // By its name: one that had another before may be there still, with the same labels and old files.
        let volume = self.handle.block_on(self.engine.volume(&wanted.name));
        let Some(volume) = volume.map_err(|error| self.engine_failed(&error))? else {
            let remedy = match wanted.external {
                true => "it is external: make it, or correct its `name` in the Compose file",
                false => "start what uses it with `arkwright up`, or correct its `name` in the Compose file",
            };
            return Err(self.failed(
                format!("the engine has no such volume, by the name {}", wanted.name),
                remedy,
            ));
        };
        let path = self.handle.block_on(self.engine.volume_path(&volume.name));
        let path = path.map_err(|error| self.engine_failed(&error))?;
        let Some(path) = path else {
            return Err(self.failed(
                format!("its driver {} keeps its files elsewhere", volume.driver),
                "back it up where they are, or with a `command` in a service that mounts it",
            ));
        };
        let path = normal(&path);
        if let Err(error) = std::fs::metadata(&path) {
            return Err(self.failed(
                format!("{} cannot be read here: {error}", path.display()),
                "take backups on the engine's own host, as a user that may read its volumes",
            ));
        }
        let place = Place::of_volume(name)?;
        let unnameable = |source| SourceError::Unnameable {
            path: path.clone(),
            source,
        };
        let from = EntryPath::of_host_file(self.reading.folder, &path).map_err(unnameable)?;
        let source = Source::Path {
            path: path.clone(),
            include: Vec::new(),
            exclude: exclude.to_vec(),
        };
        let mut moved = Moved {
            from,
            to: &place,
            sink: self.sink,
        };
        let record = HostSources.read(&source, self.reading, &mut moved)?;
        Ok(SourceRecord {
            kind: "volume".into(),
            path: place.path,
            ..record
        })
    }
}

/// Gives what lies below one path of a snapshot its place below another; the folders above are nobody's.
struct Moved<'a> {
    from: EntryPath,
    to: &'a Place,
    sink: &'a mut dyn Sink,
}

impl Moved<'_> {
    fn place(&self, entry: &EntryPath) -> Option<EntryPath> {
        let bytes = entry.to_bytes();
        let rest = bytes.strip_prefix(self.from.to_bytes().as_slice())?;
        match rest {
            [] => Some(self.to.path.clone()),
            // As long as the path it had, so it has a place.
            rest => self.to.below(rest.strip_prefix(b"/")?).ok(),
        }
    }
}

impl Sink for Moved<'_> {
    fn entry(&mut self, entry: Entry) -> Result<(), Stopped> {
        match self.place(&entry.path) {
            Some(path) => self.sink.entry(Entry { path, ..entry }),
            None if entry.node == Node::Dir && self.from.is_within(&entry.path) => Ok(()),
            None => Err(Stopped),
        }
    }

    fn file(&mut self, path: EntryPath, meta: Meta, body: &dyn Body) -> Result<Option<u64>, Stopped> {
        let path = self.place(&path).ok_or(Stopped)?;
        self.sink.file(path, meta, body)
    }

    fn note(&mut self, note: String) {
        self.sink.note(note);
    }

    fn stopped(&self) -> bool {
        self.sink.stopped()
    }
}
