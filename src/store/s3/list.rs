use std::borrow::Cow;

use aws_sdk_s3::types::{EncodingType, Object};
use percent_encoding::percent_decode_str;

use crate::ports::{ObjectInfo, StoreError};

use super::Bucket;
use super::fault::Fault;
use crate::store::name::is_name;

/// More would be no store of ours, and would not fit into memory.
pub(super) const MOST: usize = 20_000_000;

impl Bucket {
    pub(super) async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>, StoreError> {
        if let Some(past) = &self.past {
            return self.list_past(past, prefix).await;
        }
        let listed = self.pages(prefix).await;
        listed.map_err(|fault| self.failed("list", "its objects", fault))
    }

    async fn pages(&self, prefix: &str) -> Result<Vec<ObjectInfo>, Fault> {
        let root = self.below("");
        let mut found = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let asked = self.client.list_objects_v2().bucket(&self.config.bucket);
            let asked = asked
                .prefix(format!("{root}{prefix}"))
                .encoding_type(EncodingType::Url)
                .set_continuation_token(token.clone());
            let page = asked.send().await.map_err(|error| self.fault(error).of_a_list())?;
            let encoded = page.encoding_type() == Some(&EncodingType::Url);
            for object in page.contents() {
                found.extend(info(object, &root, encoded)?);
            }
            if found.len() > MOST {
                return Err(Fault::other(format!("it lists more than {MOST} objects")));
            }
            let next = page.next_continuation_token().map(str::to_owned);
            match (page.is_truncated(), next) {
                (Some(true), None) => return Err(Fault::other("it says there is more, and not how to ask for it")),
                (Some(true), next) if next == token => {
                    return Err(Fault::other("it gives the same page again and again"));
                }
                (Some(true), next) => token = next,
                (Some(false), _) => break,
                (None, _) => return Err(Fault::other("it does not say whether the list is whole")),
            }
        }
        found.retain(|object| object.name.starts_with(prefix));
        found.sort_by(|a, b| a.name.cmp(&b.name));
        let listed = found.len();
        found.dedup_by(|a, b| a.name == b.name);
        match found.len() == listed {
            true => Ok(found),
            false => Err(Fault::other("it lists an object twice")),
        }
    }
}

fn info(object: &Object, root: &str, encoded: bool) -> Result<Option<ObjectInfo>, Fault> {
    let Some(key) = object.key() else {
        return Err(Fault::other("it lists an object without its key"));
    };
    let Some(name) = name_of(key, root, encoded) else {
        return Ok(None);
    };
    match object.size().and_then(|size| u64::try_from(size).ok()) {
        Some(bytes) => Ok(Some(ObjectInfo { name, bytes })),
        None => Err(Fault::other(format!("it lists {name} without its size"))),
    }
}

/// `None` for a key no object of ours can have.
pub(super) fn name_of(key: &str, root: &str, encoded: bool) -> Option<String> {
    let key = match encoded {
        true => percent_decode_str(key).decode_utf8().ok()?,
        false => Cow::Borrowed(key),
    };
    let name = key.strip_prefix(root).filter(|name| is_name(name))?;
    Some(name.to_owned())
}
