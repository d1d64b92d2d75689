use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::runtime::Handle;

use crate::backup::{BackupSubject, Entry, EntryPath, IMAGES, ImageRecord, Meta, Node, ServiceImage};
use crate::ports::{ByteStream, Engine, EngineError, ImageInfo};
use crate::run::blocking::StreamReader;

use super::BackupError;
use super::intake::Intake;

/// What a backup asks of an engine.
#[async_trait]
pub trait Images: Send + Sync {
    /// `None` when the image is not on this host.
    async fn image(&self, reference: &str) -> Result<Option<ImageInfo>, EngineError>;
    /// The image as a tar archive in Docker's format.
    async fn export_image(&self, reference: &str) -> Result<ByteStream, EngineError>;
}

#[async_trait]
impl Images for Arc<dyn Engine> {
    async fn image(&self, reference: &str) -> Result<Option<ImageInfo>, EngineError> {
        self.as_ref().image(reference).await
    }

    async fn export_image(&self, reference: &str) -> Result<ByteStream, EngineError> {
        self.as_ref().export_image(reference).await
    }
}

/// The archive of an image, in Docker's format; its members become entries, so that layers are kept once.
pub(super) struct Export {
    /// `sha256:…`
    pub id: String,
    pub images: Arc<dyn Images>,
}

/// Asks the engine what each service runs. Images that a registry has are only named.
pub(super) async fn survey(
    images: Option<&dyn Images>,
    subject: &BackupSubject,
) -> Result<(Vec<ImageRecord>, Vec<String>, Vec<String>), BackupError> {
    let mut records = Vec::new();
    let mut wanted: Vec<String> = Vec::new();
    let mut notes = Vec::new();
    for ServiceImage {
        service,
        reference,
        id,
        built,
    } in &subject.images
    {
        let info = match images {
            Some(images) => {
                images
                    .image(id.as_ref().unwrap_or(reference))
                    .await
                    .map_err(|source| BackupError::Engine {
                        image: reference.clone(),
                        source,
                    })?
            }
            None => None,
        };
        if info.is_none() {
            let why = if images.is_some() {
                "it is not on this host"
            } else {
                "no engine answers"
            };
            notes.push(format!("the image {reference} of {service} is not recorded: {why}"));
        }
        let digest = info.as_ref().filter(|_| !built).and_then(registry_digest);
        if let Some(info) = &info
            && digest.is_none()
            && !wanted.contains(&info.id)
        {
            wanted.push(info.id.clone());
        }
        records.push(ImageRecord {
            service: service.clone(),
            reference: reference.clone(),
            id: info.map(|info| info.id),
            digest,
        });
    }
    Ok((records, wanted, notes))
}

/// The name a registry knows the image by. Engines give digests to images that were built here too: those are below
/// `localhost/`, or, where the engine keeps manifests, are the image's own id under a name that may be anybody's.
fn registry_digest(info: &ImageInfo) -> Option<String> {
    let by_registry = |name: &&String| {
        let (repository, digest) = name.split_once('@').unwrap_or((name, ""));
        let host = repository.split_once('/').map_or("", |(host, _)| host);
        host != "localhost" && (digest != info.id || host.contains(['.', ':']))
    };
    info.repo_digests.iter().find(by_registry).cloned()
}

impl Export {
    pub(super) fn read(self, intake: &mut Intake<'_>, handle: &Handle) -> Result<(), BackupError> {
        let failed = |image: &str| {
            let image = image.to_owned();
            move |source: io::Error| BackupError::Archive { image, source }
        };
        if let Some(entries) = remembered(intake, &self.id)? {
            for entry in &entries {
                intake.add(entry)?;
            }
            return Ok(());
        }
        let top = top_of(&self.id).map_err(failed(&self.id))?;
        let mut kept = Vec::new();
        let archive = handle
            .block_on(self.images.export_image(&self.id))
            .map_err(|source| BackupError::Engine {
                image: self.id.clone(),
                source,
            })?;
        let mut archive = tar::Archive::new(StreamReader::new(handle, archive));
        for member in archive.entries().map_err(failed(&self.id))? {
            let mut member = member.map_err(failed(&self.id))?;
            let name = member.path_bytes().into_owned();
            let name = name.strip_prefix(b"./").unwrap_or(&name);
            let name = name.strip_suffix(b"/").unwrap_or(name);
            if name.is_empty() || name == b"." {
                continue;
            }
            let path = top.join(name).map_err(|e| failed(&self.id)(io::Error::other(e)))?;
            let header = member.header();
            let meta = Meta {
                mode: header.mode().unwrap_or(0o644) & 0o7777,
                uid: 0,
                gid: 0,
                mtime: 0,
            };
            let node = match header.entry_type() {
                tar::EntryType::Directory => Node::Dir,
                tar::EntryType::Symlink => {
                    let target = member.link_name_bytes().map(std::borrow::Cow::into_owned);
                    Node::Symlink(target.unwrap_or_default())
                }
                tar::EntryType::Regular | tar::EntryType::Continuous => {
                    let mut copy =
                        tempfile::tempfile_in(intake.scratch).map_err(BackupError::scratch(intake.scratch))?;
                    io::copy(&mut member, &mut copy).map_err(failed(&self.id))?;
                    Node::File(intake.keep_file(&path, &mut copy)?)
                }
                other => {
                    let why = io::Error::other(format!("{path} is of a kind ({other:?}) that is not expected there"));
                    return Err(failed(&self.id)(why));
                }
            };
            let entry = Entry::plain(path, meta, node);
            intake.add(&entry)?;
            kept.push(entry);
        }
        if kept.is_empty() {
            return Err(failed(&self.id)(io::Error::other("it is empty")));
        }
        let text = serde_json::to_string(&kept).map_err(|e| failed(&self.id)(e.into()))?;
        let catalogue = intake.catalogue;
        catalogue.write(|| catalogue.add_image(&self.id, &text))?;
        Ok(())
    }
}

/// The entries of an image that is in the store already, layers and all.
fn remembered(intake: &Intake<'_>, id: &str) -> Result<Option<Vec<Entry>>, BackupError> {
    let Some(text) = intake.catalogue.image(id)? else {
        return Ok(None);
    };
    match serde_json::from_str::<Vec<Entry>>(&text) {
        Ok(entries) if intake.has_all(&entries) => Ok(Some(entries)),
        _ => Ok(None),
    }
}

/// `@images/<64 hex digits>`
fn top_of(id: &str) -> io::Result<EntryPath> {
    let digits = id.strip_prefix("sha256:").unwrap_or(id);
    if digits.len() != 64 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(io::Error::other(format!("`{id}` is not an image's id")));
    }
    EntryPath::from_bytes(format!("{IMAGES}/{digits}").as_bytes()).map_err(io::Error::other)
}
