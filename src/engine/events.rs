use futures_util::StreamExt;
use futures_util::stream::{BoxStream, unfold};
use serde_json::json;

use crate::model::ProjectName;
use crate::plan::labels;
use crate::ports::EngineError;

use super::bollard::Bollard;
use super::error::refused;
use super::limits;
use super::wire;

impl Bollard {
    pub(super) async fn started(&self, project: &ProjectName) -> Result<BoxStream<'static, ()>, EngineError> {
        let what = "the events of containers";
        let filters = json!({
            "type": ["container"],
            "event": ["start"],
            "label": [format!("{}={project}", labels::PROJECT)],
        });
        let path = format!("/events?filters={}", wire::escape(&filters.to_string()));
        // Podman answers with the first event, not before.
        let asked = match self.podman() {
            true => wire::follow(&self.address, &path).await,
            false => tokio::time::timeout(limits::READ, wire::follow(&self.address, &path))
                .await
                .unwrap_or_else(|late| Err(late.into())),
        };
        let lines = asked.map_err(|source| EngineError::Broken {
            what: what.into(),
            source,
        })?;
        let lines = lines.map_err(|message| refused(what, message))?;
        let starts = unfold(lines, |mut lines| async {
            match lines.next().await {
                Ok(Some(_)) => Some(((), lines)),
                Ok(None) => None,
                Err(error) => {
                    tracing::debug!("the engine tells no more of its containers: {error}");
                    None
                }
            }
        });
        Ok(starts.boxed())
    }
}
