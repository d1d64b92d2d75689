//! Looks at everything a store holds and says what is not as it was signed.

mod look;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::StreamExt;
use serde::{Deserialize, Serialize};

use crate::backup::{
    Content, Header, Identities, Kinds, Listing, ManifestPart, Node, Object, SegmentName, Share, Snapshot, SumsLines,
    buried, walk,
};
use crate::model::{Generation, Size};
use crate::ports::Store;

use super::Progress;
use super::blocking::blocking;
use super::snapshots::{self, SnapshotError, Trust, has_length};
use look::{Looked, Members, look};

/// Segments, where there are as many processors.
const LOOKS_AT_ONCE: usize = 4;

/// How deep to look; each includes the ones before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Signatures, the chain, and the size and hash of every object. Needs no identity.
    Objects,
    /// Every segment opens to its end.
    Segments,
    /// Every file of every listing is where it should be and has its SHA-256, and `SHA256SUMS` says the same.
    Files,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Passed,
    Failed,
    /// It could not be looked at, so nothing is known: never the same as passed.
    NotRun,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VerifyCheck {
    pub name: &'static str,
    pub verdict: Verdict,
    /// What was looked at, or why not.
    pub detail: String,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Damage {
    pub object: String,
    pub why: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VerifyReport {
    pub store: String,
    pub level: Level,
    /// What was read of the segments where not all of them were; of the listings too, unless files were looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<Share>,
    pub snapshots: u64,
    pub objects: u64,
    pub bytes: u64,
    pub files: u64,
    pub checks: Vec<VerifyCheck>,
    pub damaged: Vec<Damage>,
    /// Generations that cannot be restored whole.
    pub affected: Vec<Generation>,
}

impl VerifyReport {
    /// Failed if anything did; passed only if everything was looked at.
    pub fn verdict(&self) -> Verdict {
        let has = |verdict| self.checks.iter().any(|check| check.verdict == verdict);
        if has(Verdict::Failed) || !self.damaged.is_empty() {
            Verdict::Failed
        } else if has(Verdict::NotRun) || self.checks.is_empty() {
            Verdict::NotRun
        } else {
            Verdict::Passed
        }
    }

    /// The segments that should not be built upon any more.
    pub fn damaged_segments(&self) -> impl Iterator<Item = SegmentName> + '_ {
        self.damaged.iter().filter_map(|damage| damage.object.parse().ok())
    }
}

#[derive(Clone, Debug, Default)]
pub struct VerifyOptions {
    /// One generation instead of all; the chain is looked at anyway.
    pub only: Option<Generation>,
    /// The content of these parts alone; headers, the chain, and that everything else is there, are looked at anyway.
    pub share: Option<Share>,
}

/// An error is a store that cannot be looked at; what is found in it is in the report.
pub async fn verify(
    store: &Arc<dyn Store>,
    trust: &Trust,
    identities: &Identities,
    level: Level,
    options: &VerifyOptions,
    progress: &dyn Progress,
) -> Result<VerifyReport, SnapshotError> {
    let mut survey = Survey::new(store.clone(), identities.clone(), level);
    survey.share = options.share;
    survey.headers(trust, options).await?;
    survey.listings().await?;
    survey.segments(progress).await?;
    Ok(survey.report())
}

struct Survey {
    store: Arc<dyn Store>,
    identities: Identities,
    level: Level,
    share: Option<Share>,
    snapshots: Vec<Snapshot>,
    headers: u64,
    damaged: BTreeSet<Damage>,
    checks: Vec<VerifyCheck>,
    /// Contents that should lie in each segment, by offset.
    expected: BTreeMap<SegmentName, BTreeMap<u64, Content>>,
    /// The lines each `SHA256SUMS` should have.
    sums: BTreeMap<SegmentName, SumsLines>,
    listings_sealed: u64,
    /// Of all listings that were read.
    kinds: Kinds,
    objects: u64,
    bytes: u64,
    files: u64,
}

impl Survey {
    fn new(store: Arc<dyn Store>, identities: Identities, level: Level) -> Self {
        Survey {
            store,
            identities,
            level,
            share: None,
            snapshots: Vec::new(),
            headers: 0,
            damaged: BTreeSet::new(),
            checks: Vec::new(),
            expected: BTreeMap::new(),
            sums: BTreeMap::new(),
            listings_sealed: 0,
            kinds: Kinds::default(),
            objects: 0,
            bytes: 0,
            files: 0,
        }
    }

    fn damage(&mut self, object: impl Into<String>, why: impl Into<String>) {
        self.damaged.insert(Damage {
            object: object.into(),
            why: why.into(),
        });
    }

    /// Adds a check that failed when damage was found since `before`.
    fn check(&mut self, name: &'static str, before: usize, detail: String) {
        let verdict = match self.damaged.len() == before {
            true => Verdict::Passed,
            false => Verdict::Failed,
        };
        self.checks.push(VerifyCheck { name, verdict, detail });
    }

    async fn headers(&mut self, trust: &Trust, options: &VerifyOptions) -> Result<(), SnapshotError> {
        let mut checked = Vec::new();
        let mut unreadable = Vec::new();
        for (generation, parts) in snapshots::generations(self.store.as_ref()).await? {
            if !parts.contains(&ManifestPart::Header) {
                continue;
            }
            self.headers += 1;
            match snapshots::header(self.store.as_ref(), &trust.keys, generation).await {
                Ok(found) => checked.push((found.sha256, found.header)),
                Err(SnapshotError::Damaged { object, why }) => {
                    if object == ManifestPart::Header.name(generation) {
                        // Which of the two was changed cannot be told.
                        self.damage(ManifestPart::Signature.name(generation), why.clone());
                    }
                    self.damage(object, why);
                    unreadable.push(generation);
                }
                Err(other) => return Err(other),
            }
        }
        self.check("signatures", 0, format!("{} headers", self.headers));
        let before = self.damaged.len();
        for broken in walk(&checked, &unreadable, trust.newest) {
            self.damage(broken.object, broken.why);
        }
        self.check("chain", before, format!("{} links", checked.len()));
        if self.headers == 0 {
            self.checks.push(VerifyCheck {
                name: "snapshots",
                verdict: Verdict::NotRun,
                detail: "the store holds no snapshot".into(),
            });
        }
        let buried = buried(&checked);
        if let Some(only) = options.only
            && (buried.contains_key(&only) || !checked.iter().any(|(_, header)| header.generation() == only))
            && !unreadable.contains(&only)
        {
            return Err(SnapshotError::NoSuch {
                store: self.store.describe(),
                generation: only.0,
            });
        }
        self.snapshots = checked
            .into_iter()
            .filter_map(|(_, header)| match header {
                Header::Snapshot(snapshot) => Some(*snapshot),
                Header::Tombstone(_) => None,
            })
            .filter(|snapshot| !buried.contains_key(&snapshot.generation))
            .filter(|snapshot| options.only.is_none_or(|only| snapshot.generation == only))
            .collect();
        Ok(())
    }

    async fn listings(&mut self) -> Result<(), SnapshotError> {
        let before = self.damaged.len();
        let listed: BTreeMap<String, u64> = {
            let objects = self.store.list("man/").await?;
            objects.into_iter().map(|object| (object.name, object.bytes)).collect()
        };
        let (mut read, mut total) = (0, 0);
        for at in 0..self.snapshots.len() {
            let snapshot = self.snapshots[at].clone();
            // What lies in a segment may be told by any listing.
            let wanted = |share: Share| self.level == Level::Files || share.has_generation(snapshot.generation);
            if !self.share.is_none_or(wanted) {
                if let Err(why) = has_length(listed.get(&snapshot.listing.name).copied(), &snapshot.listing) {
                    self.damage(snapshot.listing.name, why);
                }
                continue;
            }
            total += 1;
            self.objects += 1;
            self.bytes += snapshot.listing.bytes;
            match snapshots::listing(self.store.as_ref(), &snapshot, &self.identities).await {
                Ok(listing) => {
                    read += 1;
                    self.expect(&snapshot, &listing);
                }
                // Its bytes are the signed ones: that was checked before it said so.
                Err(SnapshotError::Sealed { .. }) => self.listings_sealed += 1,
                Err(SnapshotError::Damaged { object, why }) => self.damage(object, why),
                Err(other) => return Err(other),
            }
        }
        self.check("listings", before, format!("{total} listings: size and hash as signed"));
        if self.level >= Level::Segments && self.listings_sealed > 0 {
            self.checks.push(VerifyCheck {
                name: "listings open",
                verdict: Verdict::NotRun,
                detail: format!(
                    "{} of {total} could not be opened with the identities given",
                    self.listings_sealed
                ),
            });
        } else if self.level >= Level::Segments {
            self.check("listings open", before, format!("{read} listings: {}", self.kinds));
        }
        Ok(())
    }

    fn expect(&mut self, snapshot: &Snapshot, listing: &Listing) {
        let mut lines = SumsLines::default();
        let names: BTreeMap<_, _> = snapshot.segments.iter().map(|s| (&s.id, &s.name)).collect();
        for entry in &listing.entries {
            self.kinds.count(entry);
            if let Node::File(content) = &entry.node
                && let Some(name) = names.get(&content.segment)
            {
                lines.add(entry);
                if !self.looks_at(name) {
                    continue;
                }
                self.files += 1;
                let segment = self.expected.entry((*name).clone()).or_default();
                if let Some(other) = segment.insert(content.offset, content.clone())
                    && other != *content
                {
                    let why = format!("it says two things of the segment {name}");
                    self.damaged.insert(Damage {
                        object: snapshot.listing.name.clone(),
                        why,
                    });
                }
            }
        }
        self.sums.insert(snapshot.sums.name.clone(), lines);
    }

    fn looks_at(&self, segment: &SegmentName) -> bool {
        self.share.is_none_or(|share| share.has_segment(&segment.id))
    }

    async fn segments(&mut self, progress: &dyn Progress) -> Result<(), SnapshotError> {
        let listed: BTreeMap<String, u64> = {
            let objects = self.store.list("seg/").await?;
            objects.into_iter().map(|object| (object.name, object.bytes)).collect()
        };
        let mut wanted: BTreeMap<SegmentName, Vec<Object>> = BTreeMap::new();
        for snapshot in &self.snapshots {
            for segment in snapshot.segments.iter().chain([&snapshot.sums]) {
                let said = wanted.entry(segment.name.clone()).or_default();
                let object = segment.object();
                if !said.contains(&object) {
                    said.push(object);
                }
            }
        }
        let count = wanted.keys().filter(|name| self.looks_at(name)).count();
        let (all, mut sealed, mut done) = (wanted.len(), 0, 0u64);
        let before = self.damaged.len();
        let mut unopened: BTreeSet<Damage> = BTreeSet::new();
        let mut looks = Vec::new();
        for (name, said) in wanted {
            let (text, looks_at) = (name.to_string(), self.looks_at(&name));
            self.objects += u64::from(looks_at);
            let [object] = said.as_slice() else {
                self.damage(text, "headers say different things of it");
                continue;
            };
            if let Err(why) = has_length(listed.get(&text).copied(), object) {
                self.damage(text, why);
            } else if looks_at {
                self.bytes += object.bytes;
                looks.push(self.look(name, object.clone(), progress));
            }
        }
        let at_once = std::thread::available_parallelism().map_or(1, |cores| cores.get().min(LOOKS_AT_ONCE));
        let mut looking = futures_util::stream::iter(looks).buffered(at_once);
        let mut read = 0;
        while let Some(looked) = looking.next().await {
            let (object, looked) = looked?;
            done += 1;
            read += object.bytes;
            match looked {
                Looked::Whole => {}
                Looked::Sealed => sealed += 1,
                Looked::Damaged(why) => self.damage(object.name, why),
                Looked::Contradicts(why) => {
                    unopened.insert(Damage {
                        object: object.name,
                        why,
                    });
                }
            }
            if done.is_multiple_of(16) {
                progress.say(&format!("{done} of {count} segments, {}", Size(read)));
            }
        }
        let which = match self.share {
            None => format!("{count} segments"),
            Some(share) => format!("{count} of {all} segments, {share}, the others by their size"),
        };
        self.check("segments", before, format!("{which}: size and hash as signed"));
        if self.level >= Level::Segments {
            let deeper = match self.level {
                Level::Files => ("files", format!("{} files: place and SHA-256 as listed", self.files)),
                _ => ("segments open", format!("{count} segments")),
            };
            if sealed > 0 || (self.level == Level::Files && self.listings_sealed > 0) {
                self.checks.push(VerifyCheck {
                    name: deeper.0,
                    verdict: Verdict::NotRun,
                    detail: format!("{sealed} of {count} segments could not be opened with the identities given"),
                });
                self.damaged.extend(unopened);
            } else {
                self.damaged.extend(unopened);
                self.check(deeper.0, before, deeper.1);
            }
        }
        Ok(())
    }

    fn look<'p>(
        &mut self,
        name: SegmentName,
        object: Object,
        progress: &'p dyn Progress,
    ) -> impl Future<Output = Result<(Object, Looked), SnapshotError>> + use<'p> {
        let store = self.store.clone();
        let identities = self.identities.clone();
        let (mut expected, mut sums) = (BTreeMap::new(), None);
        if self.level == Level::Files {
            expected = self.expected.remove(&name).unwrap_or_default();
            sums = self.sums.remove(&name);
        }
        let deep = self.level >= Level::Segments;
        blocking(progress, move |ticker, handle| {
            let members = Members {
                expected,
                sums,
                found: None,
                current: None,
                wrong: None,
                ticker,
            };
            let looked = look(&store, &identities, &name, &object, deep, members, handle)?;
            Ok((object, looked))
        })
    }

    fn report(self) -> VerifyReport {
        let broken: BTreeSet<&str> = self.damaged.iter().map(|damage| damage.object.as_str()).collect();
        let affected = self
            .snapshots
            .iter()
            .filter(|snapshot| snapshot.objects().any(|object| broken.contains(object.name.as_str())))
            .map(|snapshot| snapshot.generation)
            .chain(
                broken
                    .iter()
                    .filter_map(|object| ManifestPart::parse(object).map(|(generation, _)| generation)),
            )
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        VerifyReport {
            store: self.store.describe(),
            level: self.level,
            share: self.share,
            snapshots: self.snapshots.len() as u64,
            objects: self.objects + 2 * self.headers,
            bytes: self.bytes,
            files: self.files,
            checks: self.checks,
            damaged: self.damaged.iter().cloned().collect(),
            affected,
        }
    }
}
