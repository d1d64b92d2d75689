use std::path::{Path, PathBuf};

use futures_util::TryStreamExt;
use tokio_util::io::ReaderStream;

use crate::backup::{IMAGES, ImageRecord};
use crate::drill::{Chosen, DrillSubject, ImageUse};
use crate::model::ServiceName;
use crate::ports::EngineError;
use crate::run::{Progress, StepFailed};

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
        let mut imported = false;
        let mut used = Vec::new();
        for guest in &subject.guests {
            let pinned = chosen.images.iter().find(|image| image.service == guest.service);
            used.push(match pinned {
                None => missing(&guest.service, &guest.spec.image, "the snapshot pins no image of it"),
                Some(pinned) => self.image(subject, pinned, &mut imported, progress).await?,
            });
        }
        Ok(used)
    }

    async fn image(
        &self,
        subject: &DrillSubject,
        pinned: &ImageRecord,
        imported: &mut bool,
        progress: &dyn Progress,
    ) -> Result<ImageUse, StepFailed> {
        let Some(id) = &pinned.id else {
            let why = "the snapshot does not say which image it was";
            return Ok(missing(&pinned.service, &pinned.reference, why));
        };
        let found = |from: &str| ImageUse {
            service: pinned.service.clone(),
            reference: pinned.reference.clone(),
            id: Some(id.clone()),
            from: from.to_owned(),
        };
        if self.has(id).await? {
            return Ok(found("this host"));
        }
        if !std::mem::replace(imported, true) {
            self.import(&self.tree(subject).join(IMAGES), progress).await?;
        }
        if self.has(id).await? {
            return Ok(found("the snapshot"));
        }
        let Some(digest) = &pinned.digest else {
            let why = "its image is neither on this host nor in the snapshot";
            return Ok(missing(&pinned.service, &pinned.reference, why));
        };
        progress.say(&format!("pulling {digest}"));
        match self.engine.pull(digest, &|_| {}).await {
            Ok(()) if self.has(id).await? => Ok(found("a registry")),
            Ok(()) => {
                let why = format!("{digest} is another image now than the one that was pinned");
                Ok(missing(&pinned.service, &pinned.reference, &why))
            }
            Err(error @ (EngineError::Unreachable { .. } | EngineError::Broken { .. })) => Err(error.into()),
            Err(error) => Ok(missing(&pinned.service, &pinned.reference, &format!("its image cannot be had: {error}"))),
        }
    }

    async fn has(&self, id: &str) -> Result<bool, EngineError> {
        Ok(self.engine.image(id).await?.is_some_and(|image| image.id == id))
    }

    /// Loads every archive the snapshot has.
    async fn import(&self, folder: &Path, progress: &dyn Progress) -> Result<(), StepFailed> {
        for archive in archives(folder)? {
            let name = archive.file_name().unwrap_or_default().to_string_lossy().into_owned();
            progress.say(&format!("loading the image {name}"));
            let file = tokio::fs::File::open(&archive).await?;
            self.engine.import_image(Box::pin(ReaderStream::new(file).into_stream())).await?;
        }
        Ok(())
    }
}

/// The archives in a folder that may be missing, by name; links are passed over.
fn archives(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_file() && path.extension().is_some_and(|end| end == "tar") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn missing(service: &ServiceName, reference: &str, why: &str) -> ImageUse {
    ImageUse {
        service: service.clone(),
        reference: reference.to_owned(),
        id: None,
        from: why.to_owned(),
    }
}
