use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use arkwright::app::SystemClock;
use arkwright::config::{Gate, GateConfig};
use arkwright::http::WebClient;
use arkwright::machine::ThisHost;
use arkwright::model::{Colour, ServiceName, Span, Timestamp};
use arkwright::ports::{Clock, Engine, Figures, Latency, Notice, Route, Router, RouterError, SlotState, SlotView};
use arkwright::release::{Look, Verdict, judge};
use arkwright::run::gates::{Looker, Scene};
use async_trait::async_trait;
use serde_json::Value;

use crate::idle::IdleEngine;

/// A router that says what it was told to; nothing, where that is nothing.
#[derive(Default)]
pub struct Told {
    pub figures: Mutex<Option<[(Colour, Figures); 2]>>,
    pub latency: Mutex<Option<[(Colour, Latency); 2]>>,
    /// Whether its checks pass.
    pub up: Mutex<Option<bool>>,
}

/// A clock that goes when it is told.
#[derive(Default)]
pub struct Hand(pub Mutex<Timestamp>);

impl Hand {
    pub fn on(&self, seconds: i64) {
        *self.0.lock().expect("whole") += chrono::TimeDelta::seconds(seconds);
    }
}

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        *self.0.lock().expect("whole")
    }
}

pub fn looker(engine: Arc<dyn Engine>, router: Arc<dyn Router>, clock: Arc<dyn Clock>) -> Looker {
    Looker::new(
        engine,
        router,
        Arc::new(WebClient::default()),
        Arc::new(ThisHost),
        clock,
    )
}

/// For sources that need neither an engine nor a router.
pub fn simple() -> Looker {
    looker(
        Arc::new(IdleEngine::new(None)),
        Arc::new(Told::default()),
        Arc::new(SystemClock),
    )
}

/// A gate as `arkwright.yaml` would have it, checked.
pub fn gate(config: Value) -> Gate {
    gate_in(config, Path::new("/"))
}

pub fn gate_in(config: Value, folder: &Path) -> Gate {
    let config: GateConfig = serde_json::from_value(config).expect("a gate");
    config.checked("gate", folder).expect("keys that fit together")
}

pub fn scene() -> Scene {
    Scene {
        project: "ark".parse().expect("a name"),
        service: "web".parse().expect("a name"),
        colour: Colour::Green,
        began: Vec::new(),
    }
}

pub fn value(look: &Look) -> f64 {
    match look {
        Look::Seen(reading) => reading.value,
        other => panic!("no figure: {other:?}"),
    }
}

/// The reason of a look that tells nothing, which no gate may pass.
pub fn unknown(gate: &Gate, look: &Look) -> String {
    assert!(matches!(judge(gate, look), Verdict::Inconclusive(_)), "{look:?}");
    match look {
        Look::Unknown(why) => {
            assert!(!why.contains('\n') && why.chars().count() <= 201, "{why:?}");
            why.clone()
        }
        other => panic!("it is known: {other:?}"),
    }
}

#[async_trait]
impl Router for Told {
    async fn figures(&self, service: &ServiceName) -> Result<[(Colour, Figures); 2], RouterError> {
        let told = *self.figures.lock().expect("whole");
        told.ok_or_else(|| RouterError::UnknownService(service.clone()))
    }

    async fn latency(&self, service: &ServiceName, _: Span) -> Result<[(Colour, Latency); 2], RouterError> {
        let told = *self.latency.lock().expect("whole");
        told.ok_or_else(|| RouterError::UnknownService(service.clone()))
    }

    async fn slots(&self, service: &ServiceName) -> Result<Vec<SlotView>, RouterError> {
        let up = *self.up.lock().expect("whole");
        let up = up.ok_or_else(|| RouterError::UnknownService(service.clone()))?;
        Ok(vec![SlotView {
            colour: Colour::Green,
            replica: 1,
            address: Some(IpAddr::from([127, 0, 0, 1])),
            weight: 5,
            up,
            down: !up,
            state: SlotState::Ready,
            last_check: "L7STS/500 in 2 ms".into(),
            in_flight: 0,
            upgraded: 0,
        }])
    }

    async fn preview(&self, service: &ServiceName, _: Option<Colour>) -> Result<(), RouterError> {
        Err(RouterError::UnknownService(service.clone()))
    }

    async fn listen(&self) -> Result<(), RouterError> {
        Ok(())
    }

    async fn alive(&self) -> bool {
        true
    }

    async fn routes(&self) -> Result<Vec<Route>, RouterError> {
        Ok(Vec::new())
    }

    async fn apply(&self, _: &[Route]) -> Result<(), RouterError> {
        panic!("a look changes nothing")
    }

    async fn steer(&self, _: &ServiceName, _: [(Colour, u8); 2]) -> Result<Span, RouterError> {
        panic!("a look changes nothing")
    }

    async fn point(&self, _: &ServiceName, _: Colour, _: &[IpAddr]) -> Result<(), RouterError> {
        panic!("a look changes nothing")
    }

    async fn gate(&self, _: &ServiceName, _: Option<Span>) -> Result<(), RouterError> {
        panic!("a look changes nothing")
    }

    async fn waiting(&self, _: &ServiceName) -> Result<(u64, Span), RouterError> {
        panic!("a look asks for figures alone")
    }

    async fn shut_sessions(&self, _: &ServiceName, _: Colour, _: Span) -> Result<u64, RouterError> {
        panic!("a look changes nothing")
    }

    async fn maintenance(&self, _: &ServiceName, _: Option<Notice>) -> Result<(), RouterError> {
        panic!("a look changes nothing")
    }

    async fn in_maintenance(&self) -> Result<BTreeMap<ServiceName, Notice>, RouterError> {
        Ok(BTreeMap::new())
    }

    async fn preview_cookie(&self, _: &ServiceName, _: Timestamp) -> Result<String, RouterError> {
        panic!("a look needs no cookie")
    }
}
