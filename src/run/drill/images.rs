use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::backup::{EntryPath, IMAGES, ImageRecord};
use crate::drill::{Chosen, DrillSubject, Found, ImageUse, on_disk};
use crate::model::{Digest, ServiceName};
use crate::ports::EngineError;
use crate::run::blocking::{ChannelWriter, QUEUE};
use crate::run::{Progress, StepFailed, pull};

use super::DrillPerformer;

impl DrillPerformer {
    /// The images the manifest pinned: those of this host, else out of the snapshot, else from their registry. One that
    /// is nowhere to be had is a finding.
    pub(super) async fn images(
        &self,
        subject: &DrillSubject,
        chosen: &Chosen,
        progress: &dyn Progress,
    ) -> Result<Vec<ImageUse>, StepFailed> {
        let mut used = Vec::new();
        for guest in &subject.guests {
            let pinned = chosen.images.iter().find(|image| image.service == guest.service);
            used.push(match pinned {
                None => missing(&guest.service, &guest.spec.image, "the snapshot pins no image of it"),
                Some(pinned) => self.image(subject, pinned, progress).await?,
            });
        }
        Ok(used)
    }

    async fn image(
        &self,
        subject: &DrillSubject,
        pinned: &ImageRecord,
        progress: &dyn Progress,
    ) -> Result<ImageUse, StepFailed> {
        let Some(id) = &pinned.id else {
            let why = "the snapshot does not say which image it was";
            return Ok(missing(&pinned.service, &pinned.reference, why));
        };
        let found = |from: &str, brought: bool| ImageUse {
            service: pinned.service.clone(),
            reference: pinned.reference.clone(),
            id: Some(id.clone()),
            from: from.to_owned(),
            brought,
        };
        if self.has(id).await? {
            return Ok(found("this host", false));
        }
        let tree = self.tree(subject);
        if let Some(place) = place_of(id)
            && self.inspector.find(&tree, &place) == Found::Folder
        {
            progress.say(&format!("loading the image of {}", pinned.service));
            self.import(on_disk(&tree, &place)).await?;
            if self.has(id).await? {
                return Ok(found("the snapshot", true));
            }
        }
        let Some(digest) = &pinned.digest else {
            let why = "its image is neither on this host nor in the snapshot";
            return Ok(missing(&pinned.service, &pinned.reference, why));
        };
        match pull(self.engine.as_ref(), digest, progress).await {
            Ok(()) if self.has(id).await? => Ok(found("a registry", true)),
            Ok(()) => {
                let why = format!("{digest} is another image now than the one that was pinned");
                Ok(missing(&pinned.service, &pinned.reference, &why))
            }
            Err(error @ (EngineError::Unreachable { .. } | EngineError::Broken { .. })) => Err(error.into()),
            Err(error) => Ok(missing(
                &pinned.service,
                &pinned.reference,
                &format!("its image cannot be had: {error}"),
            )),
        }
    }

    /// Takes away again what was brought; one that something else has begun to use stays.
    pub(super) async fn return_images(&self, images: &[ImageUse]) -> Result<(), EngineError> {
        for id in images
            .iter()
            .filter(|image| image.brought)
            .filter_map(|image| image.id.as_ref())
        {
            match self.engine.remove_image(id).await {
                Err(EngineError::Refused { what, message }) => tracing::info!(what, message, "an image stays"),
                other => other?,
            }
        }
        Ok(())
    }

    pub(super) async fn has(&self, id: &str) -> Result<bool, EngineError> {
        Ok(self.engine.image(id).await?.is_some_and(|image| image.id == id))
    }

    /// Loads one image out of the snapshot, where it lies as the unpacked archive the engine made of it.
    async fn import(&self, folder: PathBuf) -> Result<(), StepFailed> {
        let (out, body) = mpsc::channel(QUEUE);
        let packing = tokio::task::spawn_blocking(move || pack(&folder, &out));
        let loaded = self.engine.import_image(Box::pin(ReceiverStream::new(body))).await;
        packing.await?;
        loaded?;
        Ok(())
    }
}

/// Puts the folder's files into one archive; what goes wrong makes whoever reads it fail.
fn pack(folder: &Path, out: &mpsc::Sender<io::Result<Bytes>>) {
    let writer = ChannelWriter::new(out.clone());
    let mut archive = tar::Builder::new(writer);
    archive.follow_symlinks(false);
    let packed = archive
        .append_dir_all(".", folder)
        .and_then(|()| archive.into_inner())
        .and_then(|mut writer| writer.flush());
    if let Err(error) = packed
        && out.blocking_send(Err(error)).is_err()
    {
        tracing::debug!("the engine had stopped reading before");
    }
}

fn missing(service: &ServiceName, reference: &str, why: &str) -> ImageUse {
    ImageUse {
        service: service.clone(),
        reference: reference.to_owned(),
        id: None,
        from: why.to_owned(),
        brought: false,
    }
}

/// `@images/<64 hex digits>`, where a backup puts the image; `None` for what is no id.
fn place_of(id: &str) -> Option<EntryPath> {
    let digest: Digest = id.parse().ok()?;
    format!("{IMAGES}/{}", digest.hex()).parse().ok()
}
