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
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::config::{Gate, GateSource, Probe};
use crate::model::{Colour, ProjectName, ServiceName, Span};
use crate::plan::desired::ROUTER;
use crate::ports::{Clock, Container, Engine, Programs, Router, Web};
use crate::release::{Look, Started, Window, judge};

use words::line;

pub use probe::{Probed, Prober, Probes, Probing};

/// Looks at gates' sources; remembers what the router counted, so that what happened in the last so long can be told.
pub struct Looker {
    pub engine: Arc<dyn Engine>,
    pub router: Arc<dyn Router>,
    pub web: Arc<dyn Web>,
    pub programs: Arc<dyn Programs>,
    pub clock: Arc<dyn Clock>,
    pub windows: Mutex<BTreeMap<ServiceName, Window>>,
    /// Requests of our own, which are nobody's traffic.
    pub probes: Mutex<BTreeMap<ServiceName, Arc<Mutex<Probes>>>>,
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
    pub fn new(
        engine: Arc<dyn Engine>,
        router: Arc<dyn Router>,
        web: Arc<dyn Web>,
        programs: Arc<dyn Programs>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Looker {
            engine,
            router,
            web,
            programs,
            clock,
            windows: Mutex::default(),
            probes: Mutex::default(),
        }
    }

    fn probes_of(&self, service: &ServiceName) -> Arc<Mutex<Probes>> {
        let mut all = self.probes.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(service.clone()).or_default().clone()
    }

    /// Begins to send requests of our own through the router to the colour that previews reach.
    pub async fn probe(&self, probe: &Probe, scene: &Scene, network: &str) -> Result<Probing, String> {
        // The one that serves is on every network of the colours.
        let serving = self
            .router
            .arrangement()
            .await
            .map_err(|error| error.to_string())?
            .serving;
        let name = format!("{}-{ROUTER}-{serving}", scene.project);
        let router = self.engine.container(&name).await.map_err(|error| error.to_string())?;
        let router = router
            .filter(Container::running)
            .ok_or("the router's container does not run")?;
        let address = router.networks.get(network).and_then(|endpoint| endpoint.ip);
        let address = address.ok_or_else(|| format!("the router has no address on {network}"))?;
        let routes = self.router.routes().await.map_err(|error| error.to_string())?;
        let route = routes.iter().find(|route| route.service == scene.service);
        let route = route.ok_or("the router does not know the service")?;
        let until = self.clock.now() + LASTING.chrono();
        let cookie = self.router.preview_cookie(&scene.service, until).await;
        let cookie = cookie.map_err(|error| error.to_string())?;
        let header = ("cookie".to_owned(), format!("arkwright-preview={cookie}"));
        let at = SocketAddr::new(address, route.port);
        let prober = Prober::new(self.web.clone(), at, &probe.http, header, PROBED);
        Ok(Probing::begin(prober, probe.every, self.probes_of(&scene.service)))
    }

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

/// How long a preview of our own is good for: a release may stand paused for days.
const LASTING: Span = Span::seconds(30 * 86_400);
/// How long one request of our own may take.
const PROBED: Duration = Duration::from_secs(10);

/// Long enough for whoever cleans up after an answer that nobody waits for any more.
const AFTERWARDS: Duration = Duration::from_secs(10);
