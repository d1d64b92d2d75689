use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use tokio::runtime::Handle;

use crate::backup::{Entry, Identities, Member, MemberSink, Node, OpenError, SegmentError, SegmentRecord, Snapshot};
use crate::model::{Digest, Size, chain};
use crate::ports::{Store, StoreError};
use crate::run::blocking::Ticker;
use crate::run::opening::{Opening, read_signed};
use crate::run::snapshots::{SnapshotError, Unsigned, has_length, unread};

use super::select::link_of;
use super::target::Target;
use super::unnamed::Unnamed;
use super::{RestoreError, RestoreOptions, RestoreReport, Wanted, content, is_whole, report};

pub(super) fn run(
    store: &Arc<dyn Store>,
    identities: &Identities,
    snapshot: &Snapshot,
    wanted: Wanted,
    options: &RestoreOptions,
    ticker: &Ticker,
    handle: &Handle,
) -> Result<RestoreReport, RestoreError> {
    let Wanted {
        entries,
        devices_left_out,
        databases,
    } = wanted;
    let mut target = Target::open(&options.target, options.overwrite, databases)?;
    if let Some(device) = entries.iter().find(|entry| matches!(entry.node, Node::Device { .. }))
        && !target.dresser.owns()
    {
        return Err(RestoreError::Devices(device.path.clone()));
    }
    target.must_be_free(&entries)?;
    target.linked = entries
        .iter()
        .filter_map(link_of)
        .map(|to| (to.clone(), None))
        .collect();
    let mut done = report(snapshot, options);
    for entry in &entries {
        if entry.node == Node::Dir {
            target.make_folder(entry)?;
            done.folders += 1;
        }
    }
    let mut by_segment: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
    for entry in &entries {
        if let Some(content) = content(entry) {
            by_segment.entry(content.segment.as_str()).or_default().push(entry);
        }
    }
    let listed = handle.block_on(store.list("seg/"))?;
    let listed: BTreeMap<String, u64> = listed.into_iter().map(|object| (object.name, object.bytes)).collect();
    let mut damaged: Vec<(String, String)> = Vec::new();
    let mut unrestored = 0;
    for segment in snapshot.segments.iter().chain([&snapshot.sums]) {
        let wanted = by_segment.remove(segment.id.as_str()).unwrap_or_default();
        if wanted.is_empty() && !is_whole(&options.selection) {
            continue;
        }
        let mut pull = Pull::new(&mut target, &wanted, &mut done, ticker);
        let object = segment.object();
        let read = has_length(listed.get(&object.name).copied(), &object)
            .map_err(Trouble::Damaged)
            .and_then(|()| pull.segment(store, identities, segment, handle));
        unrestored += pull.left();
        match read {
            Ok(()) => done.segments += 1,
            Err(Trouble::Damaged(why)) => damaged.push((segment.name.to_string(), why)),
            Err(Trouble::Other(error)) => return Err(error),
        }
    }
    let made = hardlinks(&mut target, &entries, &mut done, &mut unrestored)
        .and_then(|()| nodes(&mut target, &entries, &mut done));
    let finished = target.finish(&entries);
    done.xattrs_lost = target.dresser.xattrs_lost();
    done.nodes_lost = target.lost;
    done.devices_left_out = devices_left_out;
    done.notes = target.notes();
    if devices_left_out > 0 {
        done.notes.push(format!(
            "{devices_left_out} device nodes were left out; --devices makes them, as root"
        ));
    }
    // A segment the header does not name was refused when the listing was read.
    unrestored += by_segment.values().map(|left| left.len() as u64).sum::<u64>();
    let ended = made.and(finished);
    if damaged.is_empty() && unrestored == 0 {
        return ended.map(|()| done);
    }
    let (objects, mut told): (Vec<String>, Vec<String>) = damaged
        .into_iter()
        .map(|(object, why)| (object.clone(), format!("{object}: {why}")))
        .unzip();
    unrestored += target.lost;
    told.extend(target.lost_note());
    told.extend(ended.err().map(|error| chain(&error)));
    Err(RestoreError::Damaged {
        damaged: told,
        objects,
        unrestored,
    })
}

/// Links, named pipes and devices.
fn nodes(target: &mut Target, entries: &[Entry], done: &mut RestoreReport) -> Result<(), RestoreError> {
    for entry in entries {
        let made = u64::from(target.node(entry)?);
        match entry.node {
            Node::Symlink(_) => done.links += made,
            Node::Fifo | Node::Device { .. } => done.specials += made,
            Node::Dir | Node::File(_) | Node::Hardlink(_) => {}
        }
    }
    Ok(())
}

/// Counts those that could not be made, since their file was not restored.
fn hardlinks(
    target: &mut Target,
    entries: &[Entry],
    done: &mut RestoreReport,
    unrestored: &mut u64,
) -> Result<(), RestoreError> {
    let of: BTreeMap<_, _> = entries
        .iter()
        .filter(|entry| target.linked.contains_key(&entry.path))
        .map(|entry| (&entry.path, entry))
        .collect();
    for entry in entries {
        let Some(to) = link_of(entry) else { continue };
        match of.get(to) {
            Some(of) if target.hardlink(entry, of)? => done.hardlinks += 1,
            _ => *unrestored += 1,
        }
    }
    Ok(())
}

enum Trouble {
    /// Of this segment alone.
    Damaged(String),
    Other(RestoreError),
}

/// Writes the files whose contents lie in one segment.
struct Pull<'a> {
    target: &'a mut Target,
    done: &'a mut RestoreReport,
    ticker: &'a Ticker,
    /// Who wants the content at an offset.
    wanted: BTreeMap<u64, Vec<&'a Entry>>,
    /// What is being written, and the files that get it; it bears the first one's name.
    open: Option<(Unnamed, Vec<&'a Entry>)>,
    named: Option<Digest>,
    failure: Option<RestoreError>,
    wrong: Option<String>,
}

impl<'a> Pull<'a> {
    fn new(target: &'a mut Target, entries: &[&'a Entry], done: &'a mut RestoreReport, ticker: &'a Ticker) -> Self {
        let mut wanted: BTreeMap<u64, Vec<&Entry>> = BTreeMap::new();
        for entry in entries {
            if let Some(content) = content(entry) {
                wanted.entry(content.offset).or_default().push(entry);
            }
        }
        Pull {
            target,
            done,
            ticker,
            wanted,
            open: None,
            named: None,
            failure: None,
            wrong: None,
        }
    }

    /// Files that have not been written.
    fn left(&self) -> u64 {
        let open = self.open.iter().map(|(_, entries)| entries);
        self.wanted
            .values()
            .chain(open)
            .map(|entries| entries.len() as u64)
            .sum()
    }

    fn segment(
        &mut self,
        store: &Arc<dyn Store>,
        identities: &Identities,
        segment: &SegmentRecord,
        handle: &Handle,
    ) -> Result<(), Trouble> {
        let object = segment.object();
        let stream = match handle.block_on(store.get(&object.name)) {
            Ok(stream) => stream,
            Err(StoreError::NotFound { .. }) => return Err(Trouble::Damaged("it is missing".into())),
            Err(error) => return Err(Trouble::Other(error.into())),
        };
        let Opening { signed, members } = read_signed(handle, stream, &object, &segment.name, identities, self);
        if let Some(failure) = self.failure.take() {
            return Err(Trouble::Other(failure));
        }
        match signed {
            Ok(()) => {}
            Err(Unsigned::Damaged(why)) => return Err(Trouble::Damaged(why)),
            Err(Unsigned::Unread(error)) => {
                return Err(Trouble::Other(unread(&store.describe(), &object.name, error).into()));
            }
        }
        match members {
            Err(SegmentError::Open(OpenError::NoIdentity)) => {
                Err(Trouble::Other(SnapshotError::Sealed { object: object.name }.into()))
            }
            Err(error) => Err(Trouble::Damaged(chain(&error))),
            Ok(()) => match self.wrong.take() {
                Some(why) => Err(Trouble::Damaged(why)),
                None if self.left() > 0 => Err(Trouble::Damaged("it does not hold all that the listing says".into())),
                None => Ok(()),
            },
        }
    }

    fn named(&mut self, entry: &Entry, unnamed: Unnamed) -> io::Result<()> {
        let named = self.target.name(entry, unnamed);
        self.took(named)?;
        self.done.files += 1;
        self.done.bytes += content(entry).map_or(0, |content| content.size);
        let (files, bytes) = (self.done.files, self.done.bytes);
        self.ticker.tick(|| format!("{files} files, {} restored", Size(bytes)));
        Ok(())
    }

    fn took<T>(&mut self, result: Result<T, RestoreError>) -> io::Result<T> {
        result.map_err(|error| {
            self.failure = Some(error);
            io::Error::other("the target takes no more")
        })
    }
}

impl MemberSink for Pull<'_> {
    fn begin(&mut self, member: Member, offset: u64, size: u64) -> io::Result<()> {
        if self.ticker.stopped() {
            self.failure = Some(RestoreError::Stopped);
            return Err(io::Error::other("it was stopped"));
        }
        self.named = match member {
            Member::Content(digest) => Some(digest),
            Member::Sums => None,
        };
        let Some(entries) = self.wanted.get(&offset) else {
            return Ok(());
        };
        let entries = entries.clone();
        let fits = |entry: &&Entry| content(entry).is_some_and(|c| (c.size, Some(c.sha256)) == (size, self.named));
        if !entries.iter().all(fits) {
            self.wrong = Some(format!("what lies at {offset} is not what the listing says"));
            return Ok(());
        }
        if let Some(first) = entries.first() {
            let begun = self.target.begin(first);
            self.open = Some((self.took(begun)?, entries));
        }
        self.wanted.remove(&offset);
        Ok(())
    }

    fn content(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.ticker.stopped() {
            self.failure = Some(RestoreError::Stopped);
            return Err(io::Error::other("it was stopped"));
        }
        match &mut self.open {
            Some((unnamed, _)) => {
                let written = unnamed.write(bytes);
                self.took(written)
            }
            None => Ok(()),
        }
    }

    fn end(&mut self, sha256: Digest) -> io::Result<()> {
        let open = self.open.take();
        if self.named.is_some_and(|named| named != sha256) {
            self.wrong = Some("a member is not what its name says".into());
            // The file is left without a name, and so removed, but all that wanted it count as not restored.
            for entry in open.into_iter().flat_map(|(_, entries)| entries) {
                if let Some(content) = content(entry) {
                    self.wanted.entry(content.offset).or_default().push(entry);
                }
            }
            return Ok(());
        }
        let Some((mut unnamed, entries)) = open else {
            return Ok(());
        };
        let Some((first, same)) = entries.split_first() else {
            return Ok(());
        };
        let ended = unnamed.end();
        self.took(ended)?;
        // One after the other, since each takes a descriptor; the first last, while nobody else can write to it.
        for entry in same {
            let copied = self.target.begin(entry).and_then(|mut copy| {
                unnamed.copy_to(&mut copy)?;
                Ok(copy)
            });
            let copy = self.took(copied)?;
            self.named(entry, copy)?;
        }
        self.named(first, unnamed)
    }
}
