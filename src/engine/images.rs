use std::collections::BTreeMap;

use bollard::query_parameters::{ImportImageOptions, RemoveImageOptions, TagImageOptions};
use futures_util::{Stream, StreamExt};

use crate::ports::{ByteStream, EngineError, ImageInfo, ImageSummary};

use super::bollard::Bollard;
use super::error::{call, refused};
use super::lenient;
use super::limits;

impl Bollard {
    /// The image and the name this engine knows it by: Podman's Docker API looks for a name without a registry on
    /// Docker Hub only, and an image built here is under `localhost/`.
    pub(super) async fn find_image(&self, reference: &str) -> Result<Option<(String, ImageInfo)>, EngineError> {
        check_reference(reference)?;
        let mut names = vec![reference.to_owned()];
        if self.podman() && !has_registry(reference) {
            names.push(format!("localhost/{reference}"));
        }
        for name in names {
            let found = self.get(&format!("/images/{name}/json"), limits::READ).await?;
            if let Some(info) = found.as_ref().and_then(lenient::image) {
                return Ok(Some((name, info)));
            }
        }
        Ok(None)
    }

    pub(super) async fn list_images(&self) -> Result<Vec<ImageSummary>, EngineError> {
        let listed = self.list("/images/json", "{}", false).await?;
        Ok(lenient::items(&listed)
            .iter()
            .filter_map(lenient::image_summary)
            .collect())
    }

    pub(super) async fn used_images(&self) -> Result<BTreeMap<String, Vec<String>>, EngineError> {
        let listed = self.list("/containers/json", "{}", true).await?;
        if !listed.is_array() {
            // Taken for none, it would cost images that are in use.
            return Err(refused("the list of containers", "it is no list".into()));
        }
        let mut used: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (id, name) in lenient::items(&listed).iter().filter_map(lenient::use_of_image) {
            used.entry(id).or_default().push(name);
        }
        Ok(used)
    }

    pub(super) async fn tag_image(&self, image: &str, repository: &str, tag: &str) -> Result<(), EngineError> {
        check_reference(repository)?;
        let what = format!("the name {repository}:{tag} for {image}");
        let Some((name, _)) = self.find_image(image).await? else {
            return Err(EngineError::NotFound {
                what: format!("image {image}"),
            });
        };
        let options = TagImageOptions {
            repo: Some(repository.to_owned()),
            tag: Some(tag.to_owned()),
        };
        self.count_write();
        let tagged = call(&what, limits::CHANGE, self.docker.tag_image(&name, Some(options)));
        tagged.await?.map_err(|message| refused(&what, message))
    }

    pub(super) async fn drop_image(&self, reference: &str) -> Result<(), EngineError> {
        let Some((name, _)) = self.find_image(reference).await? else {
            return Ok(());
        };
        let what = format!("the removal of image {reference}");
        self.count_write();
        let removed = self.docker.remove_image(&name, None::<RemoveImageOptions>, None);
        match call(&what, limits::CHANGE, removed).await? {
            Ok(_) => Ok(()),
            Err(message) => match self.find_image(reference).await? {
                Some(_) => Err(refused(&what, message)),
                None => Ok(()),
            },
        }
    }

    pub(super) async fn image_archive(&self, reference: &str) -> Result<ByteStream, EngineError> {
        let Some((name, _)) = self.find_image(reference).await? else {
            return Err(EngineError::NotFound {
                what: format!("image {reference}"),
            });
        };
        let docker = self.docker.clone();
        let archive = async_stream(docker, name);
        Ok(Box::pin(archive))
    }

    pub(super) async fn load_image(&self, archive: ByteStream) -> Result<(), EngineError> {
        let what = "the import of an image".to_owned();
        self.count_write();
        let loading = async {
            let mut answers = Box::pin(
                self.docker
                    .import_image_stream(ImportImageOptions::default(), archive, None),
            );
            while let Some(answer) = answers.next().await {
                answer?;
            }
            Ok(())
        };
        let loaded = call(&what, limits::IMPORT, loading).await?;
        loaded.map_err(|message| refused(&what, message))
    }
}

/// Owns the connection, so that the archive can be read after the call that asked for it.
fn async_stream(docker: bollard::Docker, name: String) -> impl Stream<Item = std::io::Result<bytes::Bytes>> {
    let archive: std::pin::Pin<Box<dyn Stream<Item = Result<bytes::Bytes, bollard::errors::Error>> + Send>> =
        Box::pin(docker.export_image(&name));
    futures_util::stream::unfold(Some(archive), |state| async move {
        let mut archive = state?;
        match tokio::time::timeout(limits::PULL_SILENCE, archive.next()).await {
            Ok(None) => None,
            Ok(Some(Ok(chunk))) => Some((Ok(chunk), Some(archive))),
            Ok(Some(Err(error))) => Some((Err(std::io::Error::other(error)), None)),
            Err(_) => Some((Err(std::io::ErrorKind::TimedOut.into()), None)),
        }
    })
}

/// A reference goes into a path unescaped, since its slashes belong there; so nothing else may be in it.
pub(super) fn check_reference(reference: &str) -> Result<(), EngineError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'/' | b':' | b'@');
    let walks = reference
        .split('/')
        .any(|part| part.is_empty() || part == "." || part == "..");
    if reference.len() <= 1024 && reference.bytes().all(plain) && !walks {
        return Ok(());
    }
    let shown: String = reference.chars().take(80).collect();
    Err(EngineError::Refused {
        what: format!("image `{shown}`"),
        message: "this is not an image reference; write name:tag or name@sha256:…".into(),
    })
}

/// Docker's rule: what stands before the first slash is a registry if it has a dot or colon or is `localhost`.
fn has_registry(reference: &str) -> bool {
    reference.starts_with("sha256:")
        || reference
            .split_once('/')
            .is_some_and(|(host, _)| host.contains(['.', ':']) || host == "localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_told_from_a_folder() {
        for (reference, has) in [
            ("redis", false),
            ("team/app:1", false),
            ("localhost/app", true),
            ("ghcr.io/a/b", true),
            ("host:5000/a", true),
        ] {
            assert_eq!(has_registry(reference), has, "{reference}");
        }
    }

    #[test]
    fn a_reference_cannot_walk_out_of_its_path() {
        for bad in [
            "",
            "a b",
            "../info",
            "a/../../info",
            "a?x=1",
            "a//b",
            "a#b",
            "é",
            &"a".repeat(2000),
        ] {
            assert!(check_reference(bad).is_err(), "{bad}");
        }
        assert!(check_reference("ghcr.io/Team/app_1.x@sha256:00").is_ok());
    }
}
