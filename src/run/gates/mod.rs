//! Where a gate's figure comes from: one file a source. A look never fails and never takes longer than its gate allows;
//! whatever goes wrong on the way to a figure is [`Look::Unknown`], which passes no gate.

mod command;
mod engine;
mod health;
mod page;
mod probe;
mod prometheus;
mod router;
mod words;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::config::{Gate, GateSource};
use crate::model::{Colour, ProjectName, ServiceName, Span};
use crate::ports::{Clock, Engine, Programs, Router, Web};
use crate::release::{Look, Started, Window, judge};

use words::line;

pub use probe::{Probed, Prober, Probes};

/// Looks at gates' sources; remembers what the router counted, so that what happened in the last so long can be told.
pub struct Looker {
    pub engine: Arc<dyn Engine>,
    pub router: Arc<dyn Router>,
    pub web: Arc<dyn Web>,
    pub programs: Arc<dyn Programs>,
    pub clock: Arc<dyn Clock>,
    pub windows: Mutex<BTreeMap<ServiceName, Window>>,
}

/// What is looked at.
#[derive(Clone, Debug)]
pub struct Scene {
    pub project: ProjectName,
    pub service: ServiceName,
    /// The one that is judged.
    pub colour: Colour,
    /// Its containers as they ran when the hold began.
    pub began: Vec<Started>,
}

/// Why there is no answer, in a person's words.
type Answer = Result<Look, String>;

impl Looker {
    pub async fn look(&self, gate: &Gate, scene: &Scene) -> Look {
        let answer = async {
            match &gate.source {
                GateSource::Router { metric } => self.of_router(gate, *metric, scene).await,
                GateSource::Engine { metric } => self.of_engine(gate, *metric, scene).await,
                GateSource::Prometheus { url, query, range } => {
                    let asked = prometheus::Asked {
                        url,
                        query,
                        range: *range,
                    };
                    self.of_prometheus(gate, asked, scene).await
                }
                GateSource::Command {
                    run,
                    service: None,
                    folder,
                } => self.of_program(gate, run, folder, scene).await,
                GateSource::Command {
                    run,
                    service: Some(service),
                    ..
                } => self.of_command_inside(gate, run, service, scene).await,
                GateSource::Http { url, pointer } => self.of_page(gate, url, pointer.as_deref()).await,
            }
        };
        within(gate.timeout, answer).await
    }

    /// Whether the colour stands as it stood when the hold began: its containers run and were not started again, no
    /// memory ran out, and neither its own checks nor the router's say it is ill. No gate has to be written for it.
    pub async fn health(&self, scene: &Scene, limit: Span) -> Look {
        within(limit, self.of_health(scene)).await
    }
}

async fn within(limit: Span, answer: impl Future<Output = Answer>) -> Look {
    match tokio::time::timeout(limit.std(), answer).await {
        Ok(Ok(Look::Unknown(why)) | Err(why)) => Look::Unknown(line(&why)),
        Ok(Ok(Look::Decided(Err(why)))) => Look::Decided(Err(line(&why))),
        Ok(Ok(look)) => look,
        Err(_) => Look::Unknown(format!("no answer within {limit}")),
    }
}

/// Of several figures that all have to be within the limits, the one judged worst; `None` of none.
fn worst(gate: &Gate, values: impl IntoIterator<Item = crate::release::Reading>) -> Option<Look> {
    let values: Vec<_> = values.into_iter().collect();
    // One that is no number is judged by itself: nothing is larger or smaller.
    if let Some(none) = values.iter().find(|reading| !reading.value.is_finite()) {
        return Some(Look::Seen(*none));
    }
    let largest = values.iter().max_by(|a, b| a.value.total_cmp(&b.value))?;
    let smallest = values.iter().min_by(|a, b| a.value.total_cmp(&b.value))?;
    let upper = gate.max.is_some() || gate.abort_over.is_some() || gate.max_ratio.is_some();
    let [largest, smallest] = [largest, smallest].map(|reading| Look::Seen(*reading));
    let worse = words::severity(&judge(gate, &smallest)) > words::severity(&judge(gate, &largest));
    Some(if worse || !upper { smallest } else { largest })
}

/// Long enough for whoever cleans up after an answer that nobody waits for any more.
const AFTERWARDS: Duration = Duration::from_secs(10);
