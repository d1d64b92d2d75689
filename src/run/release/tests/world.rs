//! An engine and a router in memory that can fail or hang at any call, and that notice what must never happen.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use crate::config::{Gate, Probe, Swap};
use crate::model::{Colour, ContainerId, Health, ProjectName, ServiceName, Span, Timestamp};
use crate::plan::{Endpoint, labels, standby};
use crate::ports::*;
use crate::release::{Look, Started, Subject};
use crate::run::gates::Probing;
use crate::run::release::Gauges;

pub const SERVICE: &str = "app";
pub const NETWORK: &str = "p_default";

/// What happens at one call, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// It fails without having had an effect.
    Before(usize),
    /// It fails and has had its effect.
    After(usize),
    /// The process is gone: the call has its effect and never returns.
    Killed(usize),
}

#[derive(Clone, Debug)]
pub struct Made {
    pub spec: ContainerSpec,
    pub image_id: String,
    pub running: bool,
    pub starts: u32,
    pub ip: Option<IpAddr>,
    pub created: u32,
    /// Whether it takes jobs while it runs.
    pub works: bool,
}

#[derive(Debug)]
pub struct World {
    pub swap: Swap,
    pub containers: BTreeMap<String, Made>,
    pub routes: Vec<Route>,
    pub gate: Option<Instant>,
    pub notices: BTreeMap<ServiceName, Notice>,
    /// Written to by whichever version runs.
    pub data: PathBuf,
    /// What must never be, and was.
    pub wrong: Vec<String>,
    pub fault: Option<Fault>,
    pub calls: usize,
    /// How often the engine was asked for everything of the project.
    pub observed: usize,
    /// Whoever is to be killed waits here.
    pub hanging: bool,
    /// Requests running on the serving colour, for a drain that does not end.
    pub busy: u64,
    /// A colour that has fallen ill may keep its weight while the other one can answer for it.
    pub mortal: bool,
    /// The colour that may not take jobs before it has all traffic.
    pub heir: Option<Colour>,
    /// The word that nobody listens to.
    pub deaf: Option<String>,
    /// The colours that previews reach.
    pub previewed: BTreeMap<ServiceName, Colour>,
    /// What a look at each gate shows.
    pub readings: BTreeMap<String, Look>,
    /// How long a look at it takes, where it takes its time.
    pub slow: BTreeMap<String, Duration>,
    ips: u8,
    ids: u32,
    begun: Instant,
}

/// Both ports and the clock over one world.
#[derive(Clone)]
pub struct Edge(pub Arc<Mutex<World>>);

/// The images of this world by reference: `app:1`, `app:2`, `app:ill` never healthy, `app:crash` ends at once.
pub fn image_id(reference: &str) -> Option<String> {
    match reference {
        "app:1" | "app:2" | "app:ill" | "app:crash" => Some(format!("sha256:{:0>64}", reference.replace(':', ""))),
        _ => None,
    }
}

/// What an image is called here that is named by its id.
fn name_of(reference: &str) -> &str {
    let known = ["app:1", "app:2", "app:ill", "app:crash"];
    let found = known
        .into_iter()
        .find(|name| image_id(name).as_deref() == Some(reference));
    found.unwrap_or(reference)
}

impl World {
    pub fn new(swap: Swap, data: PathBuf) -> Self {
        World {
            swap,
            containers: BTreeMap::new(),
            routes: Vec::new(),
            gate: None,
            notices: BTreeMap::new(),
            data,
            wrong: Vec::new(),
            fault: None,
            calls: 0,
            observed: 0,
            hanging: false,
            busy: 0,
            mortal: false,
            heir: None,
            deaf: None,
            previewed: BTreeMap::new(),
            readings: BTreeMap::new(),
            slow: BTreeMap::new(),
            ips: 0,
            ids: 0,
            begun: Instant::now(),
        }
    }

    pub fn make(&mut self, spec: &ContainerSpec) {
        self.ids += 1;
        let made = Made {
            image_id: image_id(name_of(&spec.image)).unwrap_or_default(),
            spec: ContainerSpec {
                image: name_of(&spec.image).to_owned(),
                ..spec.clone()
            },
            running: false,
            starts: 0,
            ip: None,
            created: self.ids,
            works: false,
        };
        self.containers.insert(spec.name.clone(), made);
    }

    pub fn start(&mut self, name: &str) {
        self.ips += 1;
        let ip = IpAddr::V4(Ipv4Addr::new(10, 0, 0, self.ips));
        let Some(made) = self.containers.get_mut(name) else {
            return;
        };
        made.starts += 1;
        made.works = standby::mark_of(&made.spec).is_some_and(|mark| !mark.exists());
        made.running = made.spec.image != "app:crash";
        made.ip = made.running.then_some(ip);
        let version = made.spec.image.clone();
        if self.swap == Swap::Hold && service_of(made) == SERVICE {
            if self
                .containers
                .values()
                .filter(|c| c.running && service_of(c) == SERVICE)
                .count()
                > 1
            {
                self.wrong.push("two processes have the data open".into());
            }
            let append = || -> std::io::Result<()> {
                let mut file = std::fs::OpenOptions::new().append(true).create(true).open(&self.data)?;
                writeln!(file, "written by {version}")
            };
            if let Err(error) = append() {
                self.wrong.push(error.to_string());
            }
        }
    }

    fn well(&self, ip: &IpAddr) -> bool {
        self.containers
            .values()
            .any(|c| c.running && c.ip == Some(*ip) && c.spec.image != "app:ill")
    }

    pub fn fall_ill(&mut self, colour: Colour) {
        self.mortal = true;
        let of_colour = |made: &&mut Made| colour_of(made) == colour.as_str();
        self.containers
            .values_mut()
            .filter(of_colour)
            .for_each(|made| made.spec.image = "app:ill".into());
    }

    pub fn closed(&self) -> bool {
        self.gate.is_some_and(|ends| Instant::now() < ends)
    }

    /// Whoever has traffic must be able to answer, at every moment, unless the gate holds the requests.
    fn look(&mut self) {
        let working = self
            .containers
            .values()
            .filter(|made| made.running && made.works && service_of(made) == SERVICE);
        let working: Vec<String> = working.map(|made| colour_of(made).to_owned()).collect();
        if working.len() > 1 {
            self.wrong.push("two colours take jobs".into());
        }
        let proven = |colour: &String| {
            let mut slots = self.routes.iter().flat_map(|r| &r.slots);
            self.heir.is_none_or(|heir| colour != heir.as_str())
                || slots.any(|s| s.weight == 100 && s.colour.as_str() == colour)
        };
        if !working.iter().all(proven) {
            self.wrong.push("an unproven colour takes jobs".into());
        }
        let mut wrong = Vec::new();
        let well = |slot: &Slot| slot.weight > 0 && slot.addresses.iter().any(|ip| self.well(ip));
        for route in &self.routes {
            let [a, b] = &route.slots;
            if a.weight + b.weight != 100 {
                wrong.push(format!("{} has {} and {} %", route.service, a.weight, b.weight));
            }
            let held = self.closed() && route.service.as_str() == SERVICE;
            if held || (self.mortal && route.slots.iter().any(well)) {
                continue;
            }
            for slot in route.slots.iter().filter(|s| s.weight > 0) {
                if slot.addresses.is_empty()
                    || slot.state != SlotState::Ready
                    || !slot.addresses.iter().all(|ip| self.well(ip))
                {
                    wrong.push(format!("{} has {} % and cannot answer", slot.colour, slot.weight));
                }
            }
        }
        self.wrong.extend(wrong);
    }

    fn slot(&mut self, service: &ServiceName, colour: Colour) -> Option<&mut Slot> {
        self.routes
            .iter_mut()
            .filter(|route| route.service == *service)
            .flat_map(|r| &mut r.slots)
            .find(|s| s.colour == colour)
    }

    fn view(&self, name: &str, made: &Made) -> Container {
        Container {
            id: ContainerId::new(format!("{}#{}", name, made.created)),
            name: name.to_owned(),
            image: made.spec.image.clone(),
            image_id: made.image_id.clone(),
            state: match (made.running, made.starts) {
                (true, _) => ContainerState::Running,
                (false, 0) => ContainerState::Created,
                (false, _) => ContainerState::Exited,
            },
            exit_code: Some(1),
            // Behind the router it is its checks that tell.
            health: match made.spec.image.as_str() {
                "app:ill" if self.swap == Swap::Recreate => Health::Unhealthy,
                _ => Health::Unchecked,
            },
            labels: made.spec.labels.clone(),
            created: None,
            started: Some(Timestamp::UNIX_EPOCH + Duration::from_secs(made.starts.into())),
            networks: [(
                NETWORK.to_owned(),
                Endpoint {
                    network_id: String::new(),
                    ip: made.ip,
                    aliases: Vec::new(),
                },
            )]
            .into(),
            ports: Vec::new(),
            restart_count: 0,
            oom_killed: false,
        }
    }

    fn named(&self, id: &ContainerId) -> Option<String> {
        let name = id.as_str().split('#').next().unwrap_or_default();
        self.containers
            .get(name)
            .filter(|m| self.view(name, m).id == *id)
            .map(|_| name.to_owned())
    }
}

fn broken() -> EngineError {
    EngineError::Broken {
        what: "a call".into(),
        source: "told to".into(),
    }
}

fn unreachable() -> RouterError {
    RouterError::Unreachable {
        socket: "a socket".into(),
        source: std::io::Error::other("told to"),
    }
}

impl Edge {
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().expect("nobody panicked with it")
    }

    /// One call: its effect, and the fault that is due.
    async fn call<T, E>(&self, error: fn() -> E, effect: impl FnOnce(&mut World) -> Result<T, E>) -> Result<T, E> {
        let (result, killed) = {
            let mut world = self.world();
            let at = world.calls;
            world.calls += 1;
            if world.fault == Some(Fault::Before(at)) {
                return Err(error());
            }
            let result = effect(&mut world);
            world.look();
            match world.fault {
                Some(Fault::After(n)) if n == at => return Err(error()),
                Some(Fault::Killed(n)) if n == at => (result, true),
                _ => (result, false),
            }
        };
        if killed {
            self.world().hanging = true;
            std::future::pending::<()>().await;
        }
        result
    }
}

impl Clock for Edge {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH + self.world().begun.elapsed()
    }
}

#[async_trait]
impl Router for Edge {
    async fn apply(&self, routes: &[Route]) -> Result<(), RouterError> {
        self.world().routes = routes.to_vec();
        Ok(())
    }
    async fn routes(&self) -> Result<Vec<Route>, RouterError> {
        self.call(unreachable, |w| Ok(w.routes.clone())).await
    }
    async fn steer(&self, service: &ServiceName, weights: [(Colour, u8); 2]) -> Result<Span, RouterError> {
        self.call(unreachable, |w| {
            for (colour, weight) in weights {
                if let Some(slot) = w.slot(service, colour) {
                    slot.weight = weight;
                }
            }
            Ok(Span::millis(1))
        })
        .await
    }
    async fn point(&self, service: &ServiceName, colour: Colour, addresses: &[IpAddr]) -> Result<(), RouterError> {
        self.call(unreachable, |w| {
            if let Some(slot) = w.slot(service, colour) {
                slot.addresses = addresses.to_vec();
                slot.state = if addresses.is_empty() {
                    SlotState::Maint
                } else {
                    SlotState::Ready
                };
            }
            Ok(())
        })
        .await
    }
    async fn gate(&self, service: &ServiceName, closed: Option<Span>) -> Result<(), RouterError> {
        assert_eq!(service.as_str(), SERVICE, "nobody else has a gate");
        self.call(unreachable, |w| {
            match closed {
                Some(limit) if !w.closed() => w.gate = Some(Instant::now() + limit.std()),
                Some(_) => {}
                None => w.gate = None,
            }
            Ok(())
        })
        .await
    }
    async fn slots(&self, service: &ServiceName) -> Result<Vec<SlotView>, RouterError> {
        self.call(unreachable, |w| {
            let routes = w.routes.iter().filter(|route| route.service == *service);
            let slots = routes.flat_map(|r| &r.slots);
            Ok(slots
                .map(|slot| SlotView {
                    colour: slot.colour,
                    replica: 1,
                    address: slot.addresses.first().copied(),
                    weight: slot.weight,
                    up: slot.addresses.first().is_some_and(|ip| w.well(ip)),
                    down: slot.addresses.first().is_some_and(|ip| !w.well(ip)),
                    state: slot.state,
                    last_check: "L4CON".into(),
                    in_flight: if slot.weight > 0 { w.busy } else { 0 },
                    upgraded: 0,
                })
                .collect())
        })
        .await
    }
    async fn waiting(&self, _: &ServiceName) -> Result<(u64, Span), RouterError> {
        self.call(unreachable, |_| Ok((0, Span::millis(700)))).await
    }
    async fn shut_sessions(&self, _: &ServiceName, _: Colour, _: Span) -> Result<u64, RouterError> {
        self.call(unreachable, |_| Ok(3)).await
    }
    async fn figures(&self, _: &ServiceName) -> Result<[(Colour, Figures); 2], RouterError> {
        self.call(unreachable, |w| {
            let figures = Figures {
                requests: w.calls as u64,
                ..Figures::default()
            };
            Ok(Colour::BOTH.map(|colour| (colour, figures)))
        })
        .await
    }
    async fn maintenance(&self, service: &ServiceName, notice: Option<Notice>) -> Result<(), RouterError> {
        self.call(unreachable, |w| {
            match notice {
                Some(notice) => w.notices.insert(service.clone(), notice),
                None => w.notices.remove(service),
            };
            Ok(())
        })
        .await
    }
    async fn preview(&self, service: &ServiceName, colour: Option<Colour>) -> Result<(), RouterError> {
        self.call(unreachable, |w| {
            match colour {
                Some(colour) => w.previewed.insert(service.clone(), colour),
                None => w.previewed.remove(service),
            };
            Ok(())
        })
        .await
    }
    async fn in_maintenance(&self) -> Result<BTreeMap<ServiceName, Notice>, RouterError> {
        self.call(unreachable, |w| Ok(w.notices.clone())).await
    }
    async fn preview_cookie(&self, _: &ServiceName, _: Timestamp) -> Result<String, RouterError> {
        Err(RouterError::Keyless)
    }
    async fn listen(&self) -> Result<(), RouterError> {
        Ok(())
    }
    async fn latency(&self, _: &ServiceName, _: Span) -> Result<[(Colour, Latency); 2], RouterError> {
        self.call(unreachable, |_| {
            Ok(Colour::BOTH.map(|colour| (colour, Latency::default())))
        })
        .await
    }
    async fn alive(&self) -> bool {
        true
    }
}

#[async_trait]
impl Gauges for Edge {
    async fn look(&self, gate: &Gate, _: &Subject, _: &[Started]) -> Look {
        let slow = self.world().slow.get(&gate.name).copied();
        if let Some(slow) = slow {
            tokio::time::sleep(slow).await;
        }
        let shown = self.world().readings.get(&gate.name).cloned();
        shown.unwrap_or_else(|| Look::Unknown("nobody shows anything".into()))
    }
    async fn probe(&self, _: &Probe, _: &Subject) -> Result<Probing, String> {
        Err("nobody answers".into())
    }
    async fn started(&self, _: &Subject) -> Result<Vec<Started>, String> {
        Ok(Vec::new())
    }
    async fn health(&self, subject: &Subject, _: &[Started]) -> Look {
        let world = self.world();
        let route = world.routes.iter().find(|route| route.service == subject.service);
        let slots = route.iter().flat_map(|route| &route.slots);
        let mut addresses = slots
            .filter(|slot| slot.colour == subject.to)
            .flat_map(|slot| &slot.addresses);
        Look::Decided(match addresses.all(|ip| world.well(ip)) {
            true => Ok(()),
            false => Err("it does not answer".into()),
        })
    }
}

fn not_here<T>(what: &str) -> Result<T, EngineError> {
    Err(EngineError::Unsupported {
        what: what.to_owned(),
        why: "no release asks for it".into(),
    })
}

#[async_trait]
impl Engine for Edge {
    fn info(&self) -> &EngineInfo {
        panic!("no release asks for it")
    }
    async fn observe(&self, _: &ProjectName) -> Result<Observed, EngineError> {
        self.call(broken, |w| {
            w.observed += 1;
            Ok(Observed {
                containers: w.containers.iter().map(|(name, made)| w.view(name, made)).collect(),
                ..Observed::default()
            })
        })
        .await
    }
    async fn container(&self, name_or_id: &str) -> Result<Option<Container>, EngineError> {
        self.call(broken, |w| {
            let name = name_or_id.split('#').next().unwrap_or_default();
            Ok(w.containers.get(name).map(|made| w.view(name, made)))
        })
        .await
    }
    async fn create_container(&self, spec: &ContainerSpec) -> Result<ContainerId, EngineError> {
        self.call(broken, |w| {
            if w.containers.contains_key(&spec.name) {
                return Err(EngineError::Conflict {
                    what: spec.name.clone(),
                });
            }
            w.make(spec);
            Ok(w.view(&spec.name, &w.containers[&spec.name]).id)
        })
        .await
    }
    async fn start_container(&self, id: &ContainerId) -> Result<(), EngineError> {
        self.call(broken, |w| {
            let name = w.named(id).ok_or_else(broken)?;
            w.start(&name);
            Ok(())
        })
        .await
    }
    async fn stop_container(&self, id: &ContainerId, _: Option<Duration>) -> Result<(), EngineError> {
        self.call(broken, |w| {
            if let Some(made) = w.named(id).and_then(|name| w.containers.get_mut(&name)) {
                made.running = false;
                made.ip = None;
            }
            Ok(())
        })
        .await
    }
    async fn remove_container(&self, id: &ContainerId) -> Result<(), EngineError> {
        self.call(broken, |w| {
            if let Some(name) = w.named(id) {
                w.containers.remove(&name);
            }
            Ok(())
        })
        .await
    }
    async fn poke_health(&self, _: &ContainerId) -> Result<(), EngineError> {
        Ok(())
    }
    async fn logs(&self, id: &ContainerId, _: usize) -> Result<String, EngineError> {
        Ok(format!("{id} says\nthat it cannot\n"))
    }
    async fn image(&self, reference: &str) -> Result<Option<ImageInfo>, EngineError> {
        self.call(broken, |_| {
            Ok(image_id(name_of(reference)).map(|id| ImageInfo {
                id,
                repo_digests: Vec::new(),
                repo_tags: vec![reference.to_owned()],
                architecture: "amd64".into(),
                size: 1,
                command: Vec::new(),
                entrypoint: Vec::new(),
                user: String::new(),
                has_healthcheck: false,
                exposed: Vec::new(),
                labels: BTreeMap::new(),
            }))
        })
        .await
    }
    async fn tag(&self, _: &str, _: &str, _: &str) -> Result<(), EngineError> {
        self.call(broken, |_| Ok(())).await
    }

    async fn containers_labelled(&self, label: &str) -> Result<Vec<Container>, EngineError> {
        let (name, value) = label.split_once('=').expect("a label with its value");
        self.call(broken, |w| {
            let all = w.containers.iter().map(|(name, made)| w.view(name, made));
            Ok(all.filter(|container| container.label(name) == Some(value)).collect())
        })
        .await
    }
    async fn wait_exit(&self, _: &ContainerId) -> Result<i64, EngineError> {
        not_here("wait")
    }
    async fn exec(&self, id: &ContainerId, command: &[String], _: Duration) -> Result<ExecOutput, EngineError> {
        self.call(broken, |w| {
            let name = w.named(id).ok_or_else(broken)?;
            let deaf = w.deaf.as_deref() == command.first().map(String::as_str);
            if let Some(made) = w.containers.get_mut(&name).filter(|made| made.running && !deaf) {
                made.works = command == ["resume"];
                return Ok(ExecOutput {
                    exit_code: 0,
                    stdout: Vec::new(),
                    stderr: Vec::new(),
                });
            }
            Ok(ExecOutput {
                exit_code: 1,
                stdout: Vec::new(),
                stderr: b"it does not listen".to_vec(),
            })
        })
        .await
    }
    async fn follow_logs(&self, _: &ContainerId, _: usize, _: bool) -> Result<ByteStream, EngineError> {
        not_here("follow logs")
    }
    async fn network(&self, _: &str) -> Result<Option<ObservedNetwork>, EngineError> {
        not_here("networks")
    }
    async fn create_network(&self, _: &NetworkSpec) -> Result<(), EngineError> {
        not_here("networks")
    }
    async fn remove_network(&self, _: &str) -> Result<(), EngineError> {
        not_here("networks")
    }
    async fn connect(&self, _: &str, _: &ContainerId, _: &[String], _: Option<&str>) -> Result<(), EngineError> {
        not_here("networks")
    }
    async fn disconnect(&self, _: &str, _: &ContainerId) -> Result<(), EngineError> {
        not_here("networks")
    }
    async fn networks_labelled(&self, _: &str) -> Result<Vec<ObservedNetwork>, EngineError> {
        not_here("networks")
    }
    async fn volumes_labelled(&self, _: &str) -> Result<Vec<ObservedVolume>, EngineError> {
        not_here("volumes")
    }
    async fn volume(&self, _: &str) -> Result<Option<ObservedVolume>, EngineError> {
        not_here("volumes")
    }
    async fn create_volume(&self, _: &VolumeSpec) -> Result<(), EngineError> {
        not_here("volumes")
    }
    async fn remove_volume(&self, _: &str) -> Result<(), EngineError> {
        not_here("volumes")
    }
    async fn volume_path(&self, _: &str) -> Result<Option<PathBuf>, EngineError> {
        not_here("volumes")
    }
    async fn pull(&self, _: &str, _: &(dyn Fn(PullProgress) + Send + Sync)) -> Result<(), EngineError> {
        not_here("pull")
    }
    async fn registry_digest(&self, _: &str) -> Result<Option<String>, EngineError> {
        not_here("images")
    }
    async fn images(&self) -> Result<Vec<ImageSummary>, EngineError> {
        not_here("images")
    }
    async fn images_in_use(&self) -> Result<BTreeMap<String, Vec<String>>, EngineError> {
        not_here("images")
    }
    async fn export_image(&self, _: &str) -> Result<ByteStream, EngineError> {
        not_here("images")
    }
    async fn import_image(&self, _: ByteStream) -> Result<(), EngineError> {
        not_here("images")
    }
    async fn remove_image(&self, _: &str) -> Result<(), EngineError> {
        Ok(())
    }

    async fn stats(&self, _: &ContainerId) -> Result<Stats, EngineError> {
        not_here("measure")
    }

    fn writes(&self) -> u64 {
        0
    }
}

/// The route of a service that `up` has just put behind the router.
pub fn route(service: &str, hold: bool) -> Route {
    let slot = |colour, weight, state| Slot {
        colour,
        addresses: Vec::new(),
        weight,
        state,
    };
    Route {
        service: service.parse().expect("a name"),
        port: 3000,
        health_path: "/health".into(),
        health_every: Span::seconds(1),
        healthy_after: 3,
        replicas: 1,
        slots: [
            slot(Colour::Blue, 100, SlotState::Ready),
            slot(Colour::Green, 0, SlotState::Maint),
        ],
        preview: None,
        hold_limit: hold.then_some(Span::seconds(30)),
        sticky: false,
        page: None,
    }
}

pub fn service_of(made: &Made) -> &str {
    made.spec.labels.get(labels::SERVICE).map_or("", String::as_str)
}

pub fn colour_of(made: &Made) -> &str {
    made.spec.labels.get(labels::COLOUR).map_or("", String::as_str)
}

#[async_trait]
impl Web for Edge {
    async fn get(&self, _: &PageRequest) -> Result<Page, WebError> {
        Err(WebError::Address("no release asks for it".into()))
    }
    async fn post(&self, _: &PageRequest) -> Result<Page, WebError> {
        Err(WebError::Address("here it is programs that are run".into()))
    }
}
