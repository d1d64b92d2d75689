use std::io;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, ServerSideEncryption};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use crate::ports::{ByteStream, StoreError};

use super::Bucket;
use super::fault::{Fault, Kind};
use super::lock::{algorithm, mode_of};
use super::put::{MARK, PART, Writing, class, filled};
use super::unfinished::{Entry, Upload};

/// Parts of the first size; those after are larger, or an object would end at 80 GiB.
const SMALL_PARTS: i32 = 2000;
const LARGE_PART: usize = 32 << 20;
const MOST_PARTS: i32 = 10_000;
/// Small parts under way at once; large ones go one by one.
const AT_ONCE: usize = 3;
/// How long a server may take for the parts of a large object.
const PUTTING_TOGETHER: Duration = Duration::from_secs(240);

/// An upload in parts; unless it is completed, nothing of it stays in the bucket.
struct Open {
    bucket: Arc<Bucket>,
    entry: Option<Entry>,
    id: String,
}

/// Why an object was not written: the body's own error, or the store's.
enum Broke {
    Body(io::Error),
    Store(Fault),
}

impl Bucket {
    /// `first` is a whole part, `rest` what came beyond it, `body` what is to come.
    pub(super) async fn put_parts(
        self: &Arc<Self>,
        writing: &Writing<'_>,
        first: Bytes,
        rest: Bytes,
        body: ByteStream,
    ) -> Result<u64, StoreError> {
        let failed = |fault| self.failed("write", writing.name, fault);
        let _taken = self.look_first(writing).await.map_err(failed)?;
        let open = self.begin(writing).await.map_err(failed)?;
        let done = match self.send_parts(writing, &open.id, first, rest, body).await {
            Ok((parts, total)) => match self.complete(writing, &open.id, parts).await {
                Ok(()) => Ok(total),
                Err(fault) => Err(Broke::Store(fault)),
            },
            Err(broke) => Err(broke),
        };
        match done {
            Ok(total) => {
                open.completed().map_err(|error| self.broken(writing.name, error))?;
                Ok(total)
            }
            Err(broke) => {
                open.abort().await;
                Err(match broke {
                    Broke::Body(error) => self.broken(writing.name, error),
                    Broke::Store(fault) => failed(fault),
                })
            }
        }
    }

    async fn begin(self: &Arc<Self>, writing: &Writing<'_>) -> Result<Open, Fault> {
        let Some(unfinished) = &self.unfinished else {
            return Err(Fault::other("the store was opened to be read"));
        };
        let remembered = |error: io::Error| Fault::other(format!("the upload cannot be remembered: {error}"));
        let upload = Upload {
            bucket: self.config.bucket.clone(),
            key: writing.key.clone(),
            id: None,
        };
        let mut entry = unfinished.begin(&writing.mark, upload).map_err(remembered)?;
        let lock = self.locked_until();
        let asked = self.client.create_multipart_upload().bucket(&self.config.bucket);
        let asked = asked
            .key(&writing.key)
            .metadata(MARK, &writing.mark)
            .set_checksum_algorithm(algorithm(self.config.checksums))
            .set_storage_class(class(self.config.storage_class))
            .set_server_side_encryption(self.config.sse.as_ref().map(|_| ServerSideEncryption::AwsKms))
            .set_ssekms_key_id(self.config.sse.as_ref().map(|sse| sse.kms.clone()))
            .set_object_lock_mode(lock.map(|(lock, _)| mode_of(lock)))
            .set_object_lock_retain_until_date(lock.map(|(_, until)| until));
        let mut tries = 1;
        // Not by the SDK: an answer that was lost may have begun an upload that nobody knows of.
        let answer = loop {
            let once = aws_sdk_s3::config::Builder::new().retry_config(RetryConfig::disabled());
            let sent = asked.clone().customize().config_override(once).send().await;
            match sent.map_err(|error| self.fault(error)) {
                Ok(answer) => break answer,
                // Nothing was begun.
                Err(fault) if !fault.is_passing() && tries == 1 => {
                    entry.done().map_err(remembered)?;
                    return Err(fault);
                }
                Err(fault) if !fault.is_passing() || tries >= self.patience.tries => return Err(fault),
                Err(_) => tokio::time::sleep(self.backoff(tries)).await,
            }
            tries += 1;
        };
        let Some(id) = answer.upload_id().map(str::to_owned) else {
            return Err(Fault::other("it does not name the upload it began"));
        };
        if tries > 1
            && let Err(error) = self.abort_all(&writing.key, Some(&id)).await
        {
            let (store, name) = (self.describe(), writing.name);
            tracing::warn!(%store, %name, %error, "an upload whose answer was lost may still be in the bucket");
        }
        let named = entry.named(&id).map_err(remembered);
        let open = Open {
            bucket: self.clone(),
            entry: Some(entry),
            id,
        };
        let encrypted = self.is_encrypted(answer.server_side_encryption(), answer.ssekms_key_id());
        match named.and(encrypted) {
            Ok(()) => Ok(open),
            Err(fault) => {
                open.abort().await;
                Err(fault)
            }
        }
    }

    /// Parts in their order, and the bytes of all.
    async fn send_parts(
        &self,
        writing: &Writing<'_>,
        id: &str,
        first: Bytes,
        mut rest: Bytes,
        mut body: ByteStream,
    ) -> Result<(Vec<CompletedPart>, u64), Broke> {
        let mut under_way = FuturesUnordered::new();
        let mut parts = Vec::new();
        let (mut number, mut part, mut total) = (1, first, 0);
        // The body's end shows as a part that is not whole, perhaps an empty one.
        loop {
            let last = part.len() < size_of(number);
            if number > MOST_PARTS && !part.is_empty() {
                return Err(Broke::Store(Fault::other(
                    "an object of more than 265 GiB cannot be written",
                )));
            }
            total += part.len() as u64;
            if !part.is_empty() {
                under_way.push(self.send_part(writing, id, number, part));
            }
            let size = size_of(number + 1);
            let room = match size {
                PART if !last => AT_ONCE - 1,
                _ => 0,
            };
            // The parts go on their way while the next is filled.
            let mut next = std::pin::pin!(async {
                match last {
                    true => Ok(Bytes::new()),
                    false => filled(&mut body, &mut rest, size).await,
                }
            });
            let mut filling = None;
            while filling.is_none() || under_way.len() > room {
                tokio::select! {
                    Some(sent) = under_way.next() => parts.push(sent.map_err(Broke::Store)?),
                    bytes = &mut next, if filling.is_none() => filling = Some(bytes.map_err(Broke::Body)?),
                }
            }
            if last {
                break;
            }
            part = filling.unwrap_or_default();
            number += 1;
        }
        parts.sort_by_key(|part: &CompletedPart| part.part_number);
        Ok((parts, total))
    }

    async fn send_part(
        &self,
        writing: &Writing<'_>,
        id: &str,
        number: i32,
        bytes: Bytes,
    ) -> Result<CompletedPart, Fault> {
        self.paced(bytes.len()).await;
        let timeouts = self.time_for(bytes.len());
        let asked = self.client.upload_part().bucket(&self.config.bucket).key(&writing.key);
        let asked = asked
            .upload_id(id)
            .part_number(number)
            .set_checksum_algorithm(algorithm(self.config.checksums))
            .body(bytes.into())
            .customize();
        let sent = asked
            .config_override(aws_sdk_s3::config::Builder::new().timeout_config(timeouts))
            .send()
            .await;
        let answer = sent.map_err(|error| self.fault(error))?;
        if answer.e_tag().is_none() {
            return Err(Fault::other("it does not name the part it took"));
        }
        Ok(CompletedPart::builder()
            .part_number(number)
            .set_e_tag(answer.e_tag)
            .set_checksum_crc32(answer.checksum_crc32)
            .set_checksum_crc32_c(answer.checksum_crc32_c)
            .set_checksum_sha256(answer.checksum_sha256)
            .build())
    }

    async fn complete(&self, writing: &Writing<'_>, id: &str, parts: Vec<CompletedPart>) -> Result<(), Fault> {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let asked = self.client.complete_multipart_upload().bucket(&self.config.bucket);
        let asked = asked
            .key(&writing.key)
            .upload_id(id)
            .multipart_upload(parts)
            .set_if_none_match(self.condition(writing.mode))
            .customize()
            .config_override(aws_sdk_s3::config::Builder::new().timeout_config(self.time_and(PUTTING_TOGETHER)));
        match asked.send().await.map_err(|error| self.fault(error)) {
            Ok(answer) => match answer.e_tag() {
                Some(_) => self.is_encrypted(answer.server_side_encryption(), answer.ssekms_key_id()),
                None => Err(Fault::other("it does not say what came of the parts")),
            },
            // The answer to an earlier try may have been lost.
            Err(_) if self.is_ours(writing).await.unwrap_or(false) => Ok(()),
            // An upload that is gone is no object that is not there.
            Err(fault) if fault.kind() == Kind::Absent || fault.code() == "NoSuchUpload" => {
                Err(Fault::other(format!("the upload is gone: {fault}")))
            }
            Err(fault) if fault.code() == "ConditionalRequestConflict" => match self.is_free(&writing.key).await {
                Ok(()) => Err(fault),
                Err(taken) => Err(taken),
            },
            Err(fault) => Err(fault),
        }
    }

    /// Removes what an earlier process left in the bucket. What cannot be removed now is tried again by the next.
    pub(super) async fn sweep_once(self: &Arc<Self>) {
        let Some(unfinished) = self.unfinished.clone() else {
            return;
        };
        let sweep = || async move {
            let left = match unfinished.left_behind() {
                Ok(left) => left,
                Err(error) => {
                    let store = self.describe();
                    tracing::warn!(%store, %error, "unfinished uploads of earlier runs cannot be looked for");
                    return;
                }
            };
            for entry in left {
                if entry.upload.bucket == self.config.bucket {
                    self.remove(entry).await;
                }
            }
        };
        self.swept.get_or_init(sweep).await;
    }

    async fn remove(&self, entry: Entry) {
        let (key, id) = (entry.upload.key.clone(), entry.upload.id.clone());
        let removed = match id {
            Some(id) => self.abort_until_empty(&key, &id).await,
            None => self.abort_all(&key, None).await,
        };
        let removed = removed.and_then(|()| entry.done().map_err(|error| Fault::other(error.to_string())));
        if let Err(error) = removed {
            let store = self.describe();
            tracing::warn!(%store, %key, %error, "an unfinished upload is still in the bucket; the next run tries again");
        }
    }

    /// A part that was under way may arrive after the abort, so it is looked again.
    async fn abort_until_empty(&self, key: &str, id: &str) -> Result<(), Fault> {
        let bucket = &self.config.bucket;
        for tries in 1..=self.patience.tries {
            let asked = self
                .client
                .abort_multipart_upload()
                .bucket(bucket)
                .key(key)
                .upload_id(id);
            let aborted = match asked.send().await.map_err(|error| self.fault(error)) {
                Err(fault) if !is_gone(&fault) => Err(fault),
                _ => Ok(()),
            };
            let asked = self.client.list_parts().bucket(bucket).key(key).upload_id(id);
            match asked.send().await.map_err(|error| self.fault(error)) {
                Ok(found) if found.parts().is_empty() => return Ok(()),
                Ok(_) => {}
                Err(fault) if is_gone(&fault) => return Ok(()),
                // The abort's own error says more.
                Err(fault) => return aborted.and(Err(fault)),
            }
            tokio::time::sleep(self.backoff(tries)).await;
        }
        Err(Fault::other("parts of an aborted upload are still there"))
    }

    /// The answer with an id was lost: one host writes at a time, so all uploads under this name are ours.
    async fn abort_all(&self, key: &str, but: Option<&str>) -> Result<(), Fault> {
        let asked = self.client.list_multipart_uploads().bucket(&self.config.bucket);
        let found = asked.prefix(key).send().await.map_err(|error| self.fault(error))?;
        if found.is_truncated() == Some(true) {
            return Err(Fault::other("it lists more unfinished uploads of one name than can be"));
        }
        let ids = found.uploads().iter().filter(|upload| upload.key() == Some(key));
        for id in ids
            .filter_map(|upload| upload.upload_id())
            .filter(|id| Some(*id) != but)
        {
            self.abort_until_empty(key, id).await?;
        }
        Ok(())
    }
}

impl Open {
    fn completed(mut self) -> io::Result<()> {
        self.entry.take().map_or(Ok(()), Entry::done)
    }

    async fn abort(mut self) {
        if let Some(entry) = self.entry.take() {
            self.bucket.remove(entry).await;
        }
    }
}

impl Drop for Open {
    /// The writer was given up. Where nothing runs any more, the entry stays for the next run.
    fn drop(&mut self) {
        if let (Some(entry), Ok(runtime)) = (self.entry.take(), tokio::runtime::Handle::try_current()) {
            let bucket = self.bucket.clone();
            runtime.spawn(async move { bucket.remove(entry).await });
        }
    }
}

fn is_gone(fault: &Fault) -> bool {
    fault.kind() == Kind::Absent || fault.code() == "NoSuchUpload"
}

fn size_of(number: i32) -> usize {
    match number {
        ..=SMALL_PARTS => PART,
        _ => LARGE_PART,
    }
}
