use std::collections::BTreeMap;

use aws_sdk_s3::operation::list_object_versions::ListObjectVersionsOutput;
use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::EncodingType;
use tokio::sync::OnceCell;

use crate::model::Timestamp;
use crate::ports::{ObjectInfo, StoreError};

use super::Bucket;
use super::fault::Fault;
use super::list::{MOST, name_of};

/// A bucket that keeps versions, as it was at a time: what was replaced or removed since is there.
#[derive(Debug)]
pub(super) struct Past {
    at: Timestamp,
    versions: OnceCell<BTreeMap<String, Version>>,
}

#[derive(Debug)]
struct Version {
    id: String,
    bytes: u64,
}

/// The newest that was there by then.
struct Newest {
    since: (i64, u32),
    /// `None`: it was removed.
    version: Option<Version>,
}

impl Past {
    pub(super) fn new(at: Timestamp) -> Self {
        Past {
            at,
            versions: OnceCell::new(),
        }
    }

    pub(super) fn at(&self) -> Timestamp {
        self.at
    }
}

impl Bucket {
    /// The version to be read; `None` where it is the newest.
    pub(super) async fn version(&self, name: &str) -> Result<Option<String>, StoreError> {
        let Some(past) = &self.past else { return Ok(None) };
        match self.versions(past).await?.get(name) {
            Some(version) => Ok(Some(version.id.clone())),
            None => Err(StoreError::NotFound {
                store: self.describe(),
                name: name.to_owned(),
            }),
        }
    }

    pub(super) async fn list_past(&self, past: &Past, prefix: &str) -> Result<Vec<ObjectInfo>, StoreError> {
        let versions = self.versions(past).await?.iter();
        let wanted = versions.filter(|(name, _)| name.starts_with(prefix));
        let objects = wanted.map(|(name, version)| ObjectInfo {
            name: name.clone(),
            bytes: version.bytes,
        });
        Ok(objects.collect())
    }

    /// What was is never written to.
    pub(super) fn is_present(&self) -> Result<(), Fault> {
        match &self.past {
            None => Ok(()),
            Some(past) => Err(Fault::other(format!(
                "it is looked at as it was at {}, and cannot be changed there",
                past.at
            ))),
        }
    }

    async fn versions<'a>(&self, past: &'a Past) -> Result<&'a BTreeMap<String, Version>, StoreError> {
        let read = past.versions.get_or_try_init(|| self.read_versions(past.at));
        let read = read.await;
        read.map_err(|fault| self.failed("list", "the versions of its objects", fault))
    }

    async fn read_versions(&self, at: Timestamp) -> Result<BTreeMap<String, Version>, Fault> {
        let at = (at.timestamp(), at.timestamp_subsec_nanos());
        let root = self.below("");
        let mut newest: BTreeMap<String, Newest> = BTreeMap::new();
        let mut markers: (Option<String>, Option<String>) = (None, None);
        loop {
            let asked = self.client.list_object_versions().bucket(&self.config.bucket);
            let asked = asked
                .prefix(&root)
                .encoding_type(EncodingType::Url)
                .set_key_marker(markers.0.clone())
                .set_version_id_marker(markers.1.clone());
            let page = asked.send().await.map_err(|error| self.fault(error).of_a_list())?;
            collect(&page, &root, at, &mut newest)?;
            if newest.len() > MOST {
                return Err(Fault::other(format!("it lists more than {MOST} objects")));
            }
            let next = (
                page.next_key_marker().map(str::to_owned),
                page.next_version_id_marker().map(str::to_owned),
            );
            match page.is_truncated() {
                Some(false) => break,
                Some(true) if next.0.is_some() && next != markers => markers = next,
                Some(true) => return Err(Fault::other("it says there is more, and not how to ask for it")),
                None => return Err(Fault::other("it does not say whether the list is whole")),
            }
        }
        let there = newest
            .into_iter()
            .filter_map(|(name, newest)| Some((name, newest.version?)));
        Ok(there.collect())
    }
}

fn collect(
    page: &ListObjectVersionsOutput,
    root: &str,
    at: (i64, u32),
    newest: &mut BTreeMap<String, Newest>,
) -> Result<(), Fault> {
    let encoded = page.encoding_type() == Some(&EncodingType::Url);
    let mut take = |key: Option<&str>, since: Option<&DateTime>, version: Option<Version>| {
        let key = key.ok_or_else(|| Fault::other("it lists a version without its key"))?;
        let since = since.map(|time| (time.secs(), time.subsec_nanos()));
        let since = since.ok_or_else(|| Fault::other(format!("it lists a version of {key} without its time")))?;
        let Some(name) = name_of(key, root, encoded).filter(|_| since <= at) else {
            return Ok(());
        };
        // Of one time the first listed is the newest.
        if newest.get(&name).is_none_or(|other| other.since < since) {
            newest.insert(name, Newest { since, version });
        }
        Ok(())
    };
    for listed in page.versions() {
        let bytes = listed.size().and_then(|size| u64::try_from(size).ok());
        let (Some(id), Some(bytes)) = (listed.version_id().map(str::to_owned), bytes) else {
            return Err(Fault::other("it lists a version without its id or size"));
        };
        take(listed.key(), listed.last_modified(), Some(Version { id, bytes }))?;
    }
    for removed in page.delete_markers() {
        take(removed.key(), removed.last_modified(), None)?;
    }
    Ok(())
}
