//! s3s-fs with what it leaves out: names taken once also when many ask, uploads that are listed, locks, encryption.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::BodyExt;
use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;
use time::OffsetDateTime;

#[derive(Default)]
pub struct Settings {
    /// As some servers do.
    pub ignores_conditions: bool,
    /// Keys a page of a list.
    pub page: Option<i32>,
    pub kms_key: Option<String>,
    /// Key → when its lock ends, in seconds since 1970.
    pub locks: BTreeMap<String, i64>,
    pub locks_refused: bool,
    /// Upload id → key.
    pub uploads: BTreeMap<String, String>,
    /// Keeps what is replaced and removed.
    pub versioned: bool,
    pub versions: Vec<Version>,
    pub most_parts_at_once: usize,
    parts_at_once: usize,
}

pub struct Version {
    key: String,
    since: OffsetDateTime,
    /// `None`: removed.
    bytes: Option<Bytes>,
}

pub struct Kept {
    files: FileSystem,
    settings: Arc<Mutex<Settings>>,
    one: tokio::sync::Mutex<()>,
}

impl Kept {
    pub fn new(files: FileSystem, settings: Arc<Mutex<Settings>>) -> Self {
        Kept {
            files,
            settings,
            one: tokio::sync::Mutex::default(),
        }
    }

    fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().expect("the settings")
    }

    fn locked(&self, key: &str, until: Option<Timestamp>) {
        if let Some(until) = until {
            self.settings().locks.insert(key.to_owned(), seconds(&until));
        }
    }

    /// What the key holds from now on.
    async fn keep_version(&self, bucket: &str, key: &str) -> S3Result<()> {
        if !self.settings().versioned {
            return Ok(());
        }
        let input = GetObjectInput::builder()
            .bucket(bucket.to_owned())
            .key(key.to_owned())
            .build();
        let found = self.files.get_object(request_of(input.expect("a request"))).await;
        let bytes = match found.ok().and_then(|found| found.output.body) {
            Some(body) => Some(s3s::Body::from(body).collect().await.expect("read").to_bytes()),
            None => None,
        };
        self.settings().versions.push(Version {
            key: key.to_owned(),
            since: OffsetDateTime::now_utc(),
            bytes,
        });
        Ok(())
    }

    /// What a server says of its encryption where it encrypts.
    fn encryption(&self) -> (Option<ServerSideEncryption>, Option<String>) {
        let key = self.settings().kms_key.clone();
        let how = ServerSideEncryption::from_static(ServerSideEncryption::AWS_KMS);
        (key.as_ref().map(|_| how), key)
    }
}

impl Kept {
    fn one_version(&self, id: &str, range: Option<Range>) -> S3Result<S3Response<GetObjectOutput>> {
        let settings = self.settings();
        let version = id.parse::<usize>().ok().and_then(|id| settings.versions.get(id));
        let Some(bytes) = version.and_then(|version| version.bytes.clone()) else {
            return Err(s3_error!(NoSuchVersion));
        };
        let whole = bytes.len() as u64;
        let (part, content_range) = match range {
            Some(range) => {
                let part = range.check(whole)?;
                let said = format!("bytes {}-{}/{whole}", part.start, part.end - 1);
                (bytes.slice(part.start as usize..part.end as usize), Some(said))
            }
            None => (bytes, None),
        };
        Ok(S3Response::new(GetObjectOutput {
            content_length: Some(part.len() as i64),
            content_range,
            e_tag: Some(ETag::Strong(format!("version-{id}"))),
            body: Some(StreamingBlob::from(s3s::Body::from(part))),
            ..GetObjectOutput::default()
        }))
    }
}

fn request_of<T>(input: T) -> S3Request<T> {
    S3Request {
        input,
        method: hyper::Method::GET,
        uri: hyper::Uri::from_static("/"),
        headers: hyper::HeaderMap::default(),
        extensions: hyper::http::Extensions::default(),
        credentials: None,
        region: None,
        service: None,
        trailing_headers: None,
    }
}

fn seconds(time: &Timestamp) -> i64 {
    OffsetDateTime::from(time.clone()).unix_timestamp()
}

#[async_trait]
impl S3 for Kept {
    async fn put_object(&self, mut request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let _one = self.one.lock().await;
        if self.settings().ignores_conditions {
            request.input.if_none_match = None;
        }
        // s3s-fs knows two classes; what was asked for is in the headers that were seen.
        request.input.storage_class = None;
        let key = request.input.key.clone();
        let until = request.input.object_lock_retain_until_date.clone();
        let bucket = request.input.bucket.clone();
        let mut answer = self.files.put_object(request).await?;
        self.keep_version(&bucket, &key).await?;
        self.locked(&key, until);
        (answer.output.server_side_encryption, answer.output.ssekms_key_id) = self.encryption();
        Ok(answer)
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        if let Some(id) = &request.input.version_id {
            return self.one_version(id, request.input.range);
        }
        let wanted = request.input.if_match.clone();
        let answer = self.files.get_object(request).await?;
        match (wanted, &answer.output.e_tag) {
            (Some(ETagCondition::ETag(wanted)), Some(found)) if !found.strong_cmp(&wanted) => {
                Err(s3_error!(PreconditionFailed))
            }
            _ => Ok(answer),
        }
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        self.files.head_object(request).await
    }

    async fn delete_object(&self, request: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        let (bucket, key) = (request.input.bucket.clone(), request.input.key.clone());
        let done = self.files.delete_object(request).await?;
        self.keep_version(&bucket, &key).await?;
        Ok(done)
    }

    async fn list_objects_v2(
        &self,
        mut request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        if let Some(page) = self.settings().page {
            request.input.max_keys = Some(page);
        }
        // s3s-fs says that it encoded and does not.
        request.input.encoding_type = None;
        self.files.list_objects_v2(request).await
    }

    async fn list_object_versions(
        &self,
        request: S3Request<ListObjectVersionsInput>,
    ) -> S3Result<S3Response<ListObjectVersionsOutput>> {
        let (prefix, marker) = (
            request.input.prefix.unwrap_or_default(),
            request.input.version_id_marker,
        );
        let settings = self.settings();
        // By key, of one key the newest first.
        let mut found: Vec<(usize, &Version)> = settings.versions.iter().enumerate().collect();
        found.retain(|(_, version)| version.key.starts_with(&prefix));
        found.sort_by(|(n, a), (m, b)| a.key.cmp(&b.key).then(m.cmp(n)));
        let from = marker.and_then(|id| found.iter().position(|(n, _)| n.to_string() == id));
        let from = from.map_or(0, |at| at + 1);
        let page = found.iter().skip(from).take(2);
        let mut output = ListObjectVersionsOutput::default();
        let (mut versions, mut removed) = (Vec::new(), Vec::new());
        for (n, version) in page.clone() {
            let (key, id) = (Some(version.key.clone()), Some(n.to_string()));
            let last_modified = Some(Timestamp::from(version.since));
            match &version.bytes {
                Some(bytes) => versions.push(ObjectVersion {
                    key,
                    version_id: id,
                    last_modified,
                    size: Some(bytes.len() as i64),
                    ..ObjectVersion::default()
                }),
                None => removed.push(DeleteMarkerEntry {
                    key,
                    version_id: id,
                    last_modified,
                    ..DeleteMarkerEntry::default()
                }),
            }
        }
        let last = page.last();
        output.is_truncated = Some(from + 2 < found.len());
        output.next_key_marker = last.map(|(_, version)| version.key.clone());
        output.next_version_id_marker = last.map(|(n, _)| n.to_string());
        output.versions = Some(versions);
        output.delete_markers = Some(removed);
        Ok(S3Response::new(output))
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let (key, until) = (
            request.input.key.clone(),
            request.input.object_lock_retain_until_date.clone(),
        );
        let mut answer = self.files.create_multipart_upload(request).await?;
        if let Some(id) = &answer.output.upload_id {
            self.settings().uploads.insert(id.clone(), key.clone());
        }
        self.locked(&key, until);
        (answer.output.server_side_encryption, answer.output.ssekms_key_id) = self.encryption();
        Ok(answer)
    }

    async fn upload_part(&self, request: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        {
            let mut settings = self.settings();
            settings.parts_at_once += 1;
            settings.most_parts_at_once = settings.most_parts_at_once.max(settings.parts_at_once);
        }
        let done = self.files.upload_part(request).await;
        self.settings().parts_at_once -= 1;
        done
    }

    async fn complete_multipart_upload(
        &self,
        mut request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let _one = self.one.lock().await;
        let id = request.input.upload_id.clone();
        if !self.settings().uploads.contains_key(&id) {
            return Err(s3_error!(NoSuchUpload));
        }
        if self.settings().ignores_conditions {
            request.input.if_none_match = None;
        }
        let (bucket, key) = (request.input.bucket.clone(), request.input.key.clone());
        let mut answer = self.files.complete_multipart_upload(request).await?;
        self.settings().uploads.remove(&id);
        self.keep_version(&bucket, &key).await?;
        // The answer that comes at once, not the one that is kept alive with spaces.
        if let Some(later) = answer.output.future.take() {
            answer.output = later.await?;
        }
        (answer.output.server_side_encryption, answer.output.ssekms_key_id) = self.encryption();
        Ok(answer)
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let id = request.input.upload_id.clone();
        if !self.settings().uploads.contains_key(&id) {
            return Err(s3_error!(NoSuchUpload));
        }
        let answer = self.files.abort_multipart_upload(request).await?;
        self.settings().uploads.remove(&id);
        Ok(answer)
    }

    async fn list_parts(&self, request: S3Request<ListPartsInput>) -> S3Result<S3Response<ListPartsOutput>> {
        if !self.settings().uploads.contains_key(&request.input.upload_id) {
            return Err(s3_error!(NoSuchUpload));
        }
        self.files.list_parts(request).await
    }

    async fn list_multipart_uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let prefix = request.input.prefix.unwrap_or_default();
        let uploads = self.settings().uploads.clone();
        let uploads = uploads.into_iter().filter(|(_, key)| key.starts_with(&prefix));
        let uploads = uploads.map(|(id, key)| MultipartUpload {
            key: Some(key),
            upload_id: Some(id),
            ..MultipartUpload::default()
        });
        Ok(S3Response::new(ListMultipartUploadsOutput {
            is_truncated: Some(false),
            uploads: Some(uploads.collect()),
            ..ListMultipartUploadsOutput::default()
        }))
    }

    async fn put_object_retention(
        &self,
        request: S3Request<PutObjectRetentionInput>,
    ) -> S3Result<S3Response<PutObjectRetentionOutput>> {
        let input = request.input;
        let until = input.retention.and_then(|retention| retention.retain_until_date);
        let until = until.as_ref().map(seconds).unwrap_or_default();
        let mut settings = self.settings();
        if settings.locks_refused || settings.locks.get(&input.key).is_some_and(|there| *there > until) {
            return Err(s3_error!(AccessDenied));
        }
        settings.locks.insert(input.key, until);
        Ok(S3Response::new(PutObjectRetentionOutput::default()))
    }

    async fn get_object_retention(
        &self,
        request: S3Request<GetObjectRetentionInput>,
    ) -> S3Result<S3Response<GetObjectRetentionOutput>> {
        let there = self.settings().locks.get(&request.input.key).copied();
        let until = there.and_then(|there| OffsetDateTime::from_unix_timestamp(there).ok());
        Ok(S3Response::new(GetObjectRetentionOutput {
            retention: Some(ObjectLockRetention {
                mode: Some(ObjectLockRetentionMode::from_static(
                    ObjectLockRetentionMode::COMPLIANCE,
                )),
                retain_until_date: until.map(Timestamp::from),
            }),
        }))
    }
}
