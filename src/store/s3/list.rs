use std::borrow::Cow;

use aws_sdk_s3::types::{EncodingType, Object};
use percent_encoding::percent_decode_str;

use crate::ports::{ObjectInfo, StoreError};

use super::Bucket;
use super::fault::Fault;
use crate::store::name::is_name;

/// More would be no store of ours, and would not fit into memory.
const MOST: usize = 20_000_000;

impl Bucket {
    pub(super) async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>, StoreError> {
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
            let page = asked
                .send()
                .await
                .map_err(|error| self.absent_is_no_list(self.fault(error)))?;
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

    /// A list that is not there is no empty list.
    fn absent_is_no_list(&self, fault: Fault) -> Fault {
        match fault.kind() {
            super::fault::Kind::Other => fault,
            _ => Fault::other(fault.to_string()),
        }
    }
}

/// `None` for what has a name no object of ours can have.
fn info(object: &Object, root: &str, encoded: bool) -> Result<Option<ObjectInfo>, Fault> {
    let Some(key) = object.key() else {
        return Err(Fault::other("it lists an object without its key"));
    };
    let key = match encoded {
        true => percent_decode_str(key).decode_utf8().unwrap_or(Cow::Borrowed("")),
        false => Cow::Borrowed(key),
    };
    let Some(name) = key.strip_prefix(root).filter(|name| is_name(name)) else {
        return Ok(None);
    };
    match object.size().and_then(|size| u64::try_from(size).ok()) {
        Some(bytes) => Ok(Some(ObjectInfo {
            name: name.to_owned(),
            bytes,
        })),
        None => Err(Fault::other(format!("it lists {name} without its size"))),
    }
}
