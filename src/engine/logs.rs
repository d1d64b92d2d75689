use bollard::query_parameters::LogsOptions;
use futures_util::{StreamExt, TryStreamExt};

use crate::model::ContainerId;
use crate::ports::{ByteStream, EngineError};

use super::bollard::Bollard;
use super::error::{call, refused};
use super::limits;

impl Bollard {
    pub(super) async fn newest_logs(&self, id: &ContainerId, tail: usize) -> Result<String, EngineError> {
        let what = format!("the log of {id}");
        self.exists(id).await?;
        let reading = async {
            let mut kept: Vec<u8> = Vec::new();
            let mut lines = Box::pin(
                self.docker
                    .logs(id.as_str(), Some(options(tail.min(limits::LOG_LINES), false))),
            );
            while let Some(line) = lines.next().await {
                kept.extend_from_slice(&line?.into_bytes());
                if kept.len() > 2 * limits::LOG_TAIL {
                    kept.drain(..kept.len() - limits::LOG_TAIL);
                }
            }
            Ok(kept)
        };
        let kept = call(&what, limits::READ, reading).await?;
        let kept = kept.map_err(|message| refused(&what, message))?;
        let newest = &kept[kept.len().saturating_sub(limits::LOG_TAIL)..];
        Ok(String::from_utf8_lossy(newest).into_owned())
    }

    pub(super) async fn stream_logs(
        &self,
        id: &ContainerId,
        tail: usize,
        follow: bool,
    ) -> Result<ByteStream, EngineError> {
        self.exists(id).await?;
        let lines = self.docker.logs(id.as_str(), Some(options(tail, follow)));
        Ok(Box::pin(
            lines
                .map_ok(bollard::container::LogOutput::into_bytes)
                .map_err(std::io::Error::other),
        ))
    }

    async fn exists(&self, id: &ContainerId) -> Result<(), EngineError> {
        match self.inspect_container(id.as_str()).await? {
            Some(_) => Ok(()),
            None => Err(EngineError::NotFound {
                what: format!("container {id}"),
            }),
        }
    }
}

fn options(tail: usize, follow: bool) -> LogsOptions {
    LogsOptions {
        follow,
        stdout: true,
        stderr: true,
        tail: tail.to_string(),
        ..LogsOptions::default()
    }
}
