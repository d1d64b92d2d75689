use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::{ServerSideEncryption, StorageClass as Class};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use tokio::time::sleep;

use crate::config::{S3Create, StorageClass};
use crate::ports::{ByteStream, Put, StoreError};

use super::Bucket;
use super::fault::{Fault, Kind};
use super::lock::{algorithm, mode_of};

/// Metadata by which an answer that was lost is told from a name somebody else took.
pub(super) const MARK: &str = "arkwright-put";
/// What does not fit is sent in parts of this size: the least a server takes is 5 MiB.
pub(super) const PART: usize = 8 << 20;
/// A link slower than this is too slow.
const SLOWEST: u64 = 32 << 10;

/// One object that is to be written.
pub(super) struct Writing<'a> {
    pub name: &'a str,
    pub key: String,
    pub mark: String,
    pub mode: Put,
}

/// Keys that are about to be taken.
pub(super) type Taking = Mutex<BTreeSet<String>>;

/// Holds a key until it is written or given up.
pub(super) struct Taken<'a> {
    taking: &'a Taking,
    key: String,
}

impl<'a> Taken<'a> {
    fn of(taking: &'a Taking, key: &str) -> Option<Self> {
        let free = taking
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key.to_owned());
        free.then(|| Taken {
            taking,
            key: key.to_owned(),
        })
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.taking
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.key);
    }
}

impl Bucket {
    pub(super) async fn put(self: &Arc<Self>, name: &str, mut body: ByteStream, mode: Put) -> Result<u64, StoreError> {
        let failed = |fault| self.failed("write", name, fault);
        self.is_present().map_err(failed)?;
        let mut mark = [0; 16];
        getrandom::fill(&mut mark).map_err(|error| failed(Fault::other(error.to_string())))?;
        let writing = Writing {
            name,
            key: self.key(name)?,
            mark: hex::encode(mark),
            mode,
        };
        self.sweep_once().await;
        if mode == Put::Create {
            self.takes_names_once().await.map_err(failed)?;
        }
        let mut rest = Bytes::new();
        let first = filled(&mut body, &mut rest, PART)
            .await
            .map_err(|error| self.broken(name, error))?;
        if first.len() < PART {
            self.put_whole(&writing, first.clone()).await.map_err(failed)?;
            return Ok(first.len() as u64);
        }
        self.put_parts(&writing, first, rest, body).await
    }

    /// The body's own error: the store is not to blame.
    pub(super) fn broken(&self, name: &str, error: io::Error) -> StoreError {
        StoreError::Failed {
            store: self.describe(),
            what: "write",
            name: name.to_owned(),
            source: Box::new(error),
        }
    }

    async fn put_whole(&self, writing: &Writing<'_>, bytes: Bytes) -> Result<(), Fault> {
        let _taken = self.look_first(writing).await?;
        let mut tries = 1;
        loop {
            match self.send_whole(writing, bytes.clone()).await {
                Err(fault) if fault.kind() == Kind::Taken && self.is_ours(writing).await? => return Ok(()),
                Err(fault) if fault.is_passing() && self.is_ours(writing).await.unwrap_or(false) => return Ok(()),
                // Somebody else is about to take the name: the next try tells who has it.
                Err(fault) if fault.code() == "ConditionalRequestConflict" && tries < self.patience.tries => {
                    sleep(self.backoff(tries)).await;
                    tries += 1;
                }
                other => return other,
            }
        }
    }

    async fn send_whole(&self, writing: &Writing<'_>, bytes: Bytes) -> Result<(), Fault> {
        self.paced(bytes.len()).await;
        let asked = self.client.put_object().bucket(&self.config.bucket).key(&writing.key);
        let lock = self.locked_until();
        let asked = asked
            .metadata(MARK, &writing.mark)
            .set_checksum_algorithm(algorithm(self.config.checksums))
            .set_storage_class(class(self.config.storage_class))
            .set_server_side_encryption(self.config.sse.as_ref().map(|_| ServerSideEncryption::AwsKms))
            .set_ssekms_key_id(self.config.sse.as_ref().map(|sse| sse.kms.clone()))
            .set_object_lock_mode(lock.map(|(lock, _)| mode_of(lock)))
            .set_object_lock_retain_until_date(lock.map(|(_, until)| until))
            .set_if_none_match(self.condition(writing.mode));
        let timeouts = self.time_for(bytes.len());
        let asked = asked.body(bytes.into()).customize();
        let sent = asked
            .config_override(aws_sdk_s3::config::Builder::new().timeout_config(timeouts))
            .send()
            .await;
        let answer = sent.map_err(|error| self.fault(error))?;
        self.is_encrypted(answer.server_side_encryption(), answer.ssekms_key_id())
    }

    /// Of a body of some bytes and nothing else; for the probe.
    pub(super) async fn put_if_absent(&self, key: &str, bytes: Bytes) -> Result<(), Fault> {
        let writing = Writing {
            name: key,
            key: key.to_owned(),
            mark: "probe".into(),
            mode: Put::Create,
        };
        self.send_whole(&writing, bytes).await
    }

    pub(super) fn condition(&self, mode: Put) -> Option<String> {
        let conditional = mode == Put::Create && self.config.create == S3Create::Conditional;
        conditional.then(|| "*".to_owned())
    }

    /// For a server that is not asked to keep a name from being taken twice: between two of this process one has it.
    pub(super) async fn look_first(&self, writing: &Writing<'_>) -> Result<Option<Taken<'_>>, Fault> {
        if writing.mode != Put::Create || self.config.create != S3Create::LookFirst {
            return Ok(None);
        }
        let taken = Taken::of(&self.taking, &writing.key).ok_or_else(Fault::taken)?;
        self.is_free(&writing.key).await?;
        Ok(Some(taken))
    }

    pub(super) async fn is_free(&self, key: &str) -> Result<(), Fault> {
        match self.head(key).await? {
            None => Ok(()),
            Some(_) => Err(Fault::taken()),
        }
    }

    /// Whether what has the name is what was just sent: the answer to an earlier try was lost.
    pub(super) async fn is_ours(&self, writing: &Writing<'_>) -> Result<bool, Fault> {
        let found = self.head(&writing.key).await?;
        let found = found.as_ref().and_then(|found| found.metadata());
        Ok(found.and_then(|metadata| metadata.get(MARK)) == Some(&writing.mark))
    }

    async fn head(&self, key: &str) -> Result<Option<HeadObjectOutput>, Fault> {
        self.head_of(key, None).await
    }

    pub(super) async fn head_of(&self, key: &str, version: Option<String>) -> Result<Option<HeadObjectOutput>, Fault> {
        let asked = self.client.head_object().bucket(&self.config.bucket).key(key);
        let asked = asked.set_version_id(version);
        match asked.send().await.map_err(|error| self.fault(error)) {
            Ok(found) => Ok(Some(found)),
            Err(fault) if fault.kind() == Kind::Absent => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// A server that was told to encrypt says that it did, and with which key.
    pub(super) fn is_encrypted(&self, how: Option<&ServerSideEncryption>, key: Option<&str>) -> Result<(), Fault> {
        let Some(sse) = &self.config.sse else {
            return Ok(());
        };
        if how != Some(&ServerSideEncryption::AwsKms) {
            return Err(Fault::other(
                "it does not say that it encrypted with KMS, which `sse` asks for; give the bucket and the role the key, \
                 or remove `sse`",
            ));
        }
        // An alias or an id is answered with the key's ARN.
        let arn = sse.kms.starts_with("arn:") && !sse.kms.contains(":alias/");
        match key {
            Some(key) if arn && key != sse.kms => Err(Fault::other("it encrypted with another key than `sse` names")),
            _ => Ok(()),
        }
    }

    pub(super) async fn paced(&self, bytes: usize) {
        if let Some(pace) = &self.pace {
            pace.take(bytes).await;
        }
    }

    /// Time for sending so much on a slow link.
    pub(super) fn time_for(&self, bytes: usize) -> TimeoutConfig {
        self.time_and(Duration::from_secs(bytes as u64 / SLOWEST))
    }

    pub(super) fn time_and(&self, more: Duration) -> TimeoutConfig {
        TimeoutConfig::builder()
            .connect_timeout(self.patience.connect)
            .operation_attempt_timeout(self.patience.attempt + more)
            .operation_timeout(self.patience.deadline + more)
            .build()
    }

    /// Before the try after so many, jittered.
    pub(super) fn backoff(&self, tries: u32) -> Duration {
        let most = self.patience.backoff.saturating_mul(1 << tries.min(6));
        let mut chance = [0; 2];
        let share = match getrandom::fill(&mut chance) {
            Ok(()) => f64::from(u16::from_le_bytes(chance)) / f64::from(u16::MAX),
            Err(_) => 1.0,
        };
        most.mul_f64(0.5 + share / 2.0)
    }
}

pub(super) fn class(class: StorageClass) -> Option<Class> {
    match class {
        // Unsaid, it is the bucket's own; some servers know no classes at all.
        StorageClass::Standard => None,
        StorageClass::StandardIa => Some(Class::StandardIa),
        StorageClass::OnezoneIa => Some(Class::OnezoneIa),
        StorageClass::IntelligentTiering => Some(Class::IntelligentTiering),
        StorageClass::GlacierIr => Some(Class::GlacierIr),
        StorageClass::ReducedRedundancy => Some(Class::ReducedRedundancy),
        StorageClass::Glacier => Some(Class::Glacier),
        StorageClass::DeepArchive => Some(Class::DeepArchive),
    }
}

/// `size` bytes of the body, or what is left of it; what came beyond them stays in `rest`.
pub(super) async fn filled(body: &mut ByteStream, rest: &mut Bytes, size: usize) -> io::Result<Bytes> {
    let mut bytes = BytesMut::new();
    loop {
        let wanted = (size - bytes.len()).min(rest.len());
        bytes.extend_from_slice(&rest.split_to(wanted));
        if bytes.len() == size {
            return Ok(bytes.freeze());
        }
        match body.next().await {
            Some(chunk) => *rest = chunk?,
            None => return Ok(bytes.freeze()),
        }
    }
}
