use bollard::query_parameters::LogsOptions;
use futures_util::{StreamExt, TryStreamExt};

use crate::model::ContainerId;
use crate::ports::{ByteStream, EngineError};

use super::bollard::Bollard;
use super::error::{call, refused};
use super::limits;

impl Bollard {
    /// Podman 4.3, asked for a number of lines, drops or turns round the pieces of a line that was written in
    /// several. So a short log of its is read whole, and only of a long one is the tail asked for.
    pub(super) async fn newest_logs(&self, id: &ContainerId, tail: usize) -> Result<String, EngineError> {
        self.exists(id).await?;
        let tail = tail.min(limits::LOG_LINES);
        let whole = match self.podman() {
            true => self.log_within(id, "all", limits::LOG_SHORT).await?,
            false => None,
        };
        let read = match whole {
            Some(read) => read,
            None => self
                .log_within(id, &tail.to_string(), usize::MAX)
                .await?
                .unwrap_or_default(),
        };
        Ok(last_lines(&String::from_utf8_lossy(&read), tail).to_owned())
    }

    /// The end of what an answer of at most so many bytes says; nothing where it says more.
    async fn log_within(&self, id: &ContainerId, tail: &str, limit: usize) -> Result<Option<Vec<u8>>, EngineError> {
        let what = format!("the log of {id}");
        let reading = async {
            let (mut kept, mut read): (Vec<u8>, usize) = (Vec::new(), 0);
            let mut pieces = Box::pin(self.docker.logs(id.as_str(), Some(options(tail, false))));
            while let Some(piece) = pieces.next().await {
                let piece = piece?.into_bytes();
                read += piece.len();
                if read > limit {
                    return Ok(None);
                }
                kept.extend_from_slice(&piece);
                if kept.len() > 2 * limits::LOG_TAIL {
                    kept.drain(..kept.len() - limits::LOG_TAIL);
                }
            }
            Ok(Some(kept.split_off(kept.len().saturating_sub(limits::LOG_TAIL))))
        };
        let kept = call(&what, limits::READ, reading).await?;
        kept.map_err(|message| refused(&what, message))
    }

    pub(super) async fn stream_logs(
        &self,
        id: &ContainerId,
        tail: usize,
        follow: bool,
    ) -> Result<ByteStream, EngineError> {
        self.exists(id).await?;
        let lines = self.docker.logs(id.as_str(), Some(options(&tail.to_string(), follow)));
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

fn last_lines(text: &str, lines: usize) -> &str {
    let ends = text.trim_end_matches('\n').rmatch_indices('\n');
    match ends.map(|(at, _)| at + 1).nth(lines.saturating_sub(1)) {
        Some(start) if lines > 0 => &text[start..],
        Some(_) => "",
        None => text,
    }
}

fn options(tail: &str, follow: bool) -> LogsOptions {
    LogsOptions {
        follow,
        stdout: true,
        stderr: true,
        tail: tail.to_owned(),
        ..LogsOptions::default()
    }
}
