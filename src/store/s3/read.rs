use std::io;
use std::sync::Arc;

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream as Body;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use tokio::time::{Instant, sleep, timeout};

use crate::ports::{ByteStream, StoreError};

use super::Bucket;
use super::fault::Fault;

/// The bytes of one version of an object, asked for again from where they broke off.
struct Reader {
    bucket: Arc<Bucket>,
    key: String,
    version: Option<String>,
    /// Names the bytes that were begun with.
    etag: Option<String>,
    /// The next byte wanted.
    at: u64,
    end: u64,
    body: Option<Body>,
    /// Since when no byte came.
    since: Instant,
    tries: u32,
}

impl Bucket {
    pub(super) async fn get(self: &Arc<Self>, name: &str) -> Result<ByteStream, StoreError> {
        let key = self.key(name)?;
        let version = self.version(name).await?;
        let answer = self.ask(&key, version.as_deref(), None, None).await;
        let answer = answer.map_err(|fault| self.failed("read", name, fault))?;
        let length = answer.content_length().and_then(|length| u64::try_from(length).ok());
        let Some(end) = length else {
            let fault = Fault::other("it does not say how long the object is, so a part could pass for the whole");
            return Err(self.failed("read", name, fault));
        };
        Ok(Reader::new(self.clone(), (key, version), 0, end, answer).stream())
    }

    pub(super) async fn get_range(self: &Arc<Self>, name: &str, start: u64, length: u64) -> Result<Bytes, StoreError> {
        let key = self.key(name)?;
        let version = self.version(name).await?;
        let failed = |fault| self.failed("read", name, fault);
        let short = || failed(Fault::other("the object ends before the bytes that were asked for"));
        let end = start.checked_add(length).ok_or_else(short)?;
        let room = usize::try_from(length).map_err(|_| short())?;
        if length == 0 {
            return match self.length(&key, version).await.map_err(failed)? {
                Some(found) if found >= start => Ok(Bytes::new()),
                Some(_) => Err(short()),
                None => Err(StoreError::NotFound {
                    store: self.describe(),
                    name: name.to_owned(),
                }),
            };
        }
        let answer = self
            .ask(&key, version.as_deref(), Some((start, end)), None)
            .await
            .map_err(failed)?;
        match range_of(&answer) {
            Some((from, to)) if (from, to) == (start, end) => {}
            Some((from, to)) if from == start && to < end => return Err(short()),
            _ => {
                return Err(failed(Fault::other(
                    "it does not answer with the range that was asked for",
                )));
            }
        }
        let mut reader = Reader::new(self.clone(), (key, version), start, end, answer);
        let mut bytes = BytesMut::with_capacity(room.min(1 << 20));
        while let Some(chunk) = reader.next().await {
            let chunk = chunk.map_err(|error| failed(Fault::other(error.to_string())))?;
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes.freeze())
    }

    /// `range` is from its first byte to the one after its last.
    async fn ask(
        &self,
        key: &str,
        version: Option<&str>,
        range: Option<(u64, u64)>,
        etag: Option<&str>,
    ) -> Result<GetObjectOutput, Fault> {
        let range = range.map(|(start, end)| format!("bytes={start}-{}", end.saturating_sub(1)));
        let asked = self.client.get_object().bucket(&self.config.bucket).key(key);
        let asked = asked
            .set_range(range)
            .set_version_id(version.map(str::to_owned))
            .set_if_match(etag.map(str::to_owned));
        asked.send().await.map_err(|error| self.fault(error))
    }

    /// How long an object is; `None` where there is none.
    pub(super) async fn length(&self, key: &str, version: Option<String>) -> Result<Option<u64>, Fault> {
        match self.head_of(key, version).await? {
            Some(found) => match found.content_length().and_then(|length| u64::try_from(length).ok()) {
                Some(length) => Ok(Some(length)),
                None => Err(Fault::other("it does not say how long the object is")),
            },
            None => Ok(None),
        }
    }
}

impl Reader {
    fn new(
        bucket: Arc<Bucket>,
        (key, version): (String, Option<String>),
        start: u64,
        end: u64,
        answer: GetObjectOutput,
    ) -> Self {
        Reader {
            bucket,
            key,
            version,
            etag: answer.e_tag,
            at: start,
            end,
            body: Some(answer.body),
            since: Instant::now(),
            tries: 1,
        }
    }

    fn stream(self) -> ByteStream {
        let chunks = stream::unfold(Some(self), |reader| async {
            let mut reader = reader?;
            let chunk = reader.next().await?;
            // An error ends it.
            let reader = chunk.is_ok().then_some(reader);
            Some((chunk, reader))
        });
        Box::pin(chunks.fuse())
    }

    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        while self.at < self.end {
            let broke = match self.body.as_mut() {
                Some(body) => match timeout(self.bucket.patience.stall, body.next()).await {
                    Ok(Some(Ok(chunk))) if chunk.is_empty() => continue,
                    Ok(Some(Ok(chunk))) => return Some(self.take(chunk)),
                    Ok(Some(Err(error))) => crate::model::chain(&error),
                    Ok(None) => "it ended early".to_owned(),
                    Err(_) => "no byte came for too long".to_owned(),
                },
                None => "it broke off".to_owned(),
            };
            self.body = None;
            if let Err(error) = self.again(&broke).await {
                return Some(Err(error));
            }
        }
        None
    }

    fn take(&mut self, chunk: Bytes) -> io::Result<Bytes> {
        let length = chunk.len() as u64;
        if length > self.end - self.at {
            self.body = None;
            return Err(self.error("more bytes came than the object has"));
        }
        self.at += length;
        self.since = Instant::now();
        self.tries = 1;
        Ok(chunk)
    }

    /// Asks for the rest of the same version.
    async fn again(&mut self, broke: &str) -> io::Result<()> {
        let patience = &self.bucket.patience;
        if self.tries >= patience.tries || self.since.elapsed() > patience.deadline {
            return Err(self.error(&format!("{broke}, {} times", self.tries)));
        }
        sleep(self.bucket.backoff(self.tries)).await;
        self.tries += 1;
        let wanted = (self.at, self.end);
        let answer = match self
            .bucket
            .ask(&self.key, self.version.as_deref(), Some(wanted), self.etag.as_deref())
            .await
        {
            Ok(answer) => answer,
            Err(fault) => return Err(self.error(&format!("{broke}, and the rest was refused: {fault}"))),
        };
        if range_of(&answer) != Some(wanted) {
            return Err(self.error(&format!("{broke}, and it does not answer with the rest alone")));
        }
        self.body = Some(answer.body);
        Ok(())
    }

    fn error(&self, why: &str) -> io::Error {
        io::Error::other(format!("{} at byte {}: {why}", self.bucket.describe(), self.at))
    }
}

/// What `Content-Range` says: first byte, and the one after the last.
fn range_of(answer: &GetObjectOutput) -> Option<(u64, u64)> {
    let (bounds, _) = answer.content_range()?.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = bounds.split_once('-')?;
    Some((first.parse().ok()?, last.parse::<u64>().ok()?.checked_add(1)?))
}
