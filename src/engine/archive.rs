use std::io;

use bollard::query_parameters::DownloadFromContainerOptions;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};

use crate::model::ContainerId;
use crate::ports::{ByteStream, EngineError};

use super::bollard::Bollard;
use super::error::{refusal, refused, timeout};
use super::limits;

impl Bollard {
    pub(super) async fn archive_of(&self, id: &ContainerId, path: &str) -> Result<ByteStream, EngineError> {
        let what = format!("{path} of {id}");
        let options = DownloadFromContainerOptions { path: path.to_owned() };
        // The request is the stream's first step: it owns the connection, so that it can be read after this call.
        let docker = self.docker.clone();
        let name = id.to_string();
        let mut archive: BoxStream<'static, Result<Bytes, bollard::errors::Error>> =
            Box::pin(docker.download_from_container(&name, Some(options)));
        let first = tokio::time::timeout(limits::ARCHIVE_SILENCE, archive.next()).await;
        let first = match first.map_err(|_| timeout(&what, limits::ARCHIVE_SILENCE))? {
            Some(Ok(first)) => first,
            None => return Err(refused(&what, "the engine gave nothing".into())),
            Some(Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. })) => {
                return Err(EngineError::NotFound { what });
            }
            Some(Err(error)) => return Err(refused(&what, refusal(&what, limits::ARCHIVE_SILENCE, error)?)),
        };
        let rest = stream::unfold(Some(archive), |state| async move {
            let mut archive = state?;
            match tokio::time::timeout(limits::ARCHIVE_SILENCE, archive.next()).await {
                Ok(None) => None,
                Ok(Some(Ok(chunk))) => Some((Ok(chunk), Some(archive))),
                Ok(Some(Err(error))) => Some((Err(io::Error::other(error)), None)),
                Err(_) => Some((Err(io::ErrorKind::TimedOut.into()), None)),
            }
        });
        Ok(Box::pin(stream::iter([Ok(first)]).chain(rest)))
    }
}
