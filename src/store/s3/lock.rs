use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::{ObjectLockMode, ObjectLockRetention, ObjectLockRetentionMode};
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::config::{LockMode, S3Checksums, S3Lock};
use crate::ports::StoreError;

use super::Bucket;
use super::fault::{Fault, Kind};

const DAY: i64 = 24 * 3600;
/// Requests under way at once.
const AT_ONCE: usize = 16;

impl Bucket {
    /// Until when what is written or referred to now stays.
    pub(super) fn locked_until(&self) -> Option<(S3Lock, DateTime)> {
        let lock = self.config.object_lock?;
        let until = self.skew.server_now().saturating_add(i64::from(lock.days) * DAY);
        Some((lock, DateTime::from_secs(until)))
    }

    /// Extends the lock of objects to what it is for new ones; a longer one stays.
    pub(super) async fn protect(&self, names: &[String]) -> Result<(), StoreError> {
        if self.config.object_lock.is_none() {
            return Ok(());
        }
        let extending: Vec<_> = names.iter().map(|name| self.protect_one(name)).collect();
        stream::iter(extending).buffer_unordered(AT_ONCE).try_collect().await
    }

    async fn protect_one(&self, name: &str) -> Result<(), StoreError> {
        let key = self.key(name)?;
        let done = match self.is_present() {
            Ok(()) => self.extend(&key).await,
            past => past,
        };
        done.map_err(|fault| self.failed("lock", name, fault))
    }

    async fn extend(&self, key: &str) -> Result<(), Fault> {
        let Some((lock, until)) = self.locked_until() else {
            return Ok(());
        };
        let mode = match lock.mode {
            LockMode::Governance => ObjectLockRetentionMode::Governance,
            LockMode::Compliance => ObjectLockRetentionMode::Compliance,
        };
        let retention = ObjectLockRetention::builder()
            .mode(mode)
            .retain_until_date(until)
            .build();
        let asked = self.client.put_object_retention().bucket(&self.config.bucket).key(key);
        match asked
            .retention(retention)
            .send()
            .await
            .map_err(|error| self.fault(error))
        {
            Ok(_) => Ok(()),
            // A lock is never shortened: one that lasts longer is as good.
            Err(fault) if fault.kind() == Kind::Other && self.lasts(key, until).await? => Ok(()),
            Err(fault) => Err(fault),
        }
    }

    /// Whether the object is locked until then; a role that may not look cannot tell.
    async fn lasts(&self, key: &str, until: DateTime) -> Result<bool, Fault> {
        let asked = self.client.get_object_retention().bucket(&self.config.bucket).key(key);
        let Ok(found) = asked.send().await else {
            return Ok(false);
        };
        let until_there = found.retention().and_then(|retention| retention.retain_until_date());
        Ok(until_there.is_some_and(|there| there.secs() >= until.secs()))
    }
}

pub(super) fn mode_of(lock: S3Lock) -> ObjectLockMode {
    match lock.mode {
        LockMode::Governance => ObjectLockMode::Governance,
        LockMode::Compliance => ObjectLockMode::Compliance,
    }
}

pub(super) fn algorithm(checksums: S3Checksums) -> Option<aws_sdk_s3::types::ChecksumAlgorithm> {
    use aws_sdk_s3::types::ChecksumAlgorithm;
    match checksums {
        S3Checksums::Crc32 => Some(ChecksumAlgorithm::Crc32),
        S3Checksums::Crc32c => Some(ChecksumAlgorithm::Crc32C),
        S3Checksums::Sha256 => Some(ChecksumAlgorithm::Sha256),
        S3Checksums::None => None,
    }
}
