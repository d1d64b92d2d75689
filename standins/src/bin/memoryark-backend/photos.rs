//! Uploaded photos as files named by their hash, on disk before any row names them.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Body;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use http_body_util::BodyExt as _;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt as _;

/// Largest upload taken, in bytes: what nginx lets through.
const MAX_PHOTO: u64 = 500 * 1024 * 1024;

pub struct Photos {
    root: PathBuf,
    received: AtomicU64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Photo {
    /// Relative to the uploads folder: `2026/11/<sha256>.jpg`.
    pub path: String,
    pub sha256: String,
    /// In bytes.
    pub size: i64,
}

#[derive(Debug)]
pub enum Refused {
    Empty,
    TooLarge,
    /// The sender stopped half way.
    Broken(axum::Error),
    Disk(io::Error),
}

impl Refused {
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Empty | Self::Broken(_) => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Disk(error) if error.kind() == io::ErrorKind::StorageFull => StatusCode::INSUFFICIENT_STORAGE,
            Self::Disk(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(out, "the upload is empty"),
            Self::TooLarge => write!(out, "the upload is larger than {} MB", MAX_PHOTO / 1024 / 1024),
            Self::Broken(error) => write!(out, "the upload broke off: {error}"),
            Self::Disk(error) => write!(out, "the photo could not be stored: {error}"),
        }
    }
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

impl Photos {
    /// Opens the folder and removes what uploads cut off by an earlier end of the process left behind.
    pub fn open(root: PathBuf) -> io::Result<Self> {
        let incoming = root.join(".incoming");
        if incoming.exists() {
            fs::remove_dir_all(&incoming)?;
        }
        fs::create_dir_all(&incoming)?;
        Ok(Self {
            root,
            received: AtomicU64::new(0),
        })
    }

    /// Stores the body as a file and syncs it; the same bytes in the same month are the same file.
    pub async fn receive(&self, body: Body) -> Result<Photo, Refused> {
        let number = self.received.fetch_add(1, Ordering::Relaxed);
        let partial = self.root.join(".incoming").join(number.to_string());
        let stored = self.store(&partial, body).await;
        if stored.is_err()
            && let Err(error) = tokio::fs::remove_file(&partial).await
            && error.kind() != io::ErrorKind::NotFound
        {
            eprintln!("memoryark-backend: {} could not be removed: {error}", partial.display());
        }
        stored
    }

    async fn store(&self, partial: &Path, mut body: Body) -> Result<Photo, Refused> {
        let mut file = tokio::fs::File::create(partial).await?;
        let mut hasher = Sha256::new();
        let mut size = 0u64;
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(Refused::Broken)?.into_data() else {
                continue;
            };
            size += data.len() as u64;
            if size > MAX_PHOTO {
                return Err(Refused::TooLarge);
            }
            hasher.update(&data);
            file.write_all(&data).await?;
        }
        if size == 0 {
            return Err(Refused::Empty);
        }
        file.flush().await?;
        file.sync_all().await?;
        let sha256 = hex::encode(hasher.finalize());
        let path = place(&sha256, Utc::now());
        let whole = self.root.join(&path);
        let partial = partial.to_owned();
        tokio::task::spawn_blocking(move || publish(&partial, &whole))
            .await
            .map_err(io::Error::other)??;
        Ok(Photo {
            path,
            sha256,
            size: i64::try_from(size).map_err(|_| Refused::TooLarge)?,
        })
    }
}

fn place(sha256: &str, now: DateTime<Utc>) -> String {
    format!("{}/{sha256}.jpg", now.format("%Y/%m"))
}

fn publish(partial: &Path, whole: &Path) -> io::Result<()> {
    let folder = whole.parent().ok_or(io::ErrorKind::InvalidInput)?;
    fs::create_dir_all(folder)?;
    fs::rename(partial, whole)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_photo_is_stored_under_its_hash_and_rubbish_is_swept() {
        let root = std::env::temp_dir().join(format!("standins-photos-{}", std::process::id()));
        fs::create_dir_all(root.join(".incoming")).expect("a folder");
        fs::write(root.join(".incoming/7"), "cut off").expect("writes");
        let photos = Photos::open(root.clone()).expect("opens");
        assert!(!root.join(".incoming/7").exists());
        let photo = photos.receive(Body::from("abc")).await.expect("stores");
        assert_eq!(
            photo.sha256,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(photo.size, 3);
        assert_eq!(fs::read(root.join(&photo.path)).expect("reads"), b"abc");
        assert!(matches!(photos.receive(Body::empty()).await, Err(Refused::Empty)));
        assert_eq!(fs::read_dir(root.join(".incoming")).expect("reads").count(), 0);
        fs::remove_dir_all(root).expect("removes the folder");
    }

    #[test]
    fn place_is_by_year_and_month() {
        let day = DateTime::from_timestamp(1_767_225_600, 0).expect("a time");
        assert_eq!(place("ab", day), "2026/01/ab.jpg");
    }
}
