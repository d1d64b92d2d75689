use std::io;
use std::net::IpAddr;
use std::os::unix::fs::chown;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::{Instant, sleep, timeout};

use crate::model::{Colour, ServiceName, Span};
use crate::ports::{Figures, Route, Router, RouterError, SlotState, SlotView};
use crate::state::{make_folder, write_atomic};

use super::answers::{self, Stat, State};
use super::render::{self, HOLD};
use super::socket::ask;
use super::stored::Stored;

const ADMIN: &str = "admin.sock";
const MASTER: &str = "master.sock";

/// How long a command waits for a router that is just starting.
const STARTING: Duration = Duration::from_secs(3);
/// How long a reload may take until the new process serves.
const RELOADING: Duration = Duration::from_secs(15);

/// What the router's process sees of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Inside {
    /// Where it finds the configuration's folder.
    pub config: String,
    /// Where it makes its sockets.
    pub run: String,
    /// The address it listens on; `*`: all.
    pub listen: String,
    /// Who has to be able to make sockets.
    pub owner: Option<(u32, u32)>,
}

impl Inside {
    /// As [`crate::plan::desired::router`] sets the container up.
    pub fn container() -> Self {
        Inside {
            config: "/etc/arkwright".into(),
            run: "/run/arkwright".into(),
            listen: "*".into(),
            owner: Some((99, 99)),
        }
    }
}

/// An HAProxy (2.6 or newer) in master-worker mode, reached through two folders it shares with this host.
pub struct HaProxy {
    config: PathBuf,
    run: PathBuf,
    inside: Inside,
    /// One change at a time: each reads the stored routes and writes them back.
    turn: Arc<Mutex<()>>,
}

/// The right to change something. It goes along with the write it is for, so that one whose caller was dropped in its
/// middle still ends before the next begins.
type Turn = OwnedMutexGuard<()>;

impl HaProxy {
    pub fn new(config: impl Into<PathBuf>, run: impl Into<PathBuf>, inside: Inside) -> Self {
        HaProxy {
            config: config.into(),
            run: run.into(),
            inside,
            turn: Arc::default(),
        }
    }

    fn file(&self) -> PathBuf {
        self.config.join("haproxy.cfg")
    }

    async fn stored(&self) -> Result<Stored, RouterError> {
        let file = self.file();
        blocking(move || Ok(Stored::read(&file)?.unwrap_or_default())).await
    }

    async fn turn(&self) -> Turn {
        self.turn.clone().lock_owned().await
    }

    async fn store(&self, stored: &Stored, turn: Turn) -> Result<Turn, RouterError> {
        let (file, inside, stored) = (self.file(), self.inside.clone(), stored.clone());
        blocking(move || stored.write(&file, &inside).map(|()| turn)).await
    }

    /// The folders, and the part that is the same for every set of routes.
    async fn prepare(&self, turn: Turn) -> Result<Turn, RouterError> {
        let (config, run, owner) = (self.config.clone(), self.run.clone(), self.inside.owner);
        blocking(move || {
            (|| -> io::Result<()> {
                make_folder(&config, 0o755)?;
                make_folder(&run, 0o770)?;
                if let Some((uid, gid)) = owner
                    && rustix::process::geteuid().is_root()
                {
                    chown(&run, Some(uid), Some(gid))?;
                }
                write_atomic(&config.join("hold.lua"), HOLD.as_bytes(), 0o644)
            })()
            .map(|()| turn)
            .map_err(RouterError::Write)
        })
        .await
    }

    /// One round trip; a router that is just starting is waited for.
    async fn admin(&self, command: &str) -> Result<String, RouterError> {
        let begun = Instant::now();
        loop {
            match ask(&self.run, ADMIN, command).await {
                Err(RouterError::Unreachable { source, .. }) if absent(&source) && begun.elapsed() < STARTING => {
                    sleep(Duration::from_millis(50)).await;
                }
                other => return other,
            }
        }
    }

    async fn change(&self, commands: &[String]) -> Result<(), RouterError> {
        if commands.is_empty() {
            return Ok(());
        }
        let command = commands.join(";");
        answers::changed(&command, &self.admin(&command).await?)
    }

    /// What the running process has of each server: its state, its figures, those of its upgraded connections.
    async fn look(&self, service: &ServiceName) -> Result<Vec<(State, Stat, Stat)>, RouterError> {
        let upgraded = render::upgraded(service);
        let command = format!("show servers state {service};show stat {service} 4 -1;show stat {upgraded} 4 -1");
        let answer = self.admin(&command).await?;
        let garbled = |answer: &str| RouterError::Garbled {
            command: command.clone(),
            answer: answer.chars().take(200).collect(),
        };
        let parts = answers::apart(&command, &answer, 3)?;
        let states = answers::states(&command, parts[0])?;
        let mut plain = answers::stats(&command, parts[1])?;
        let mut apart = answers::stats(&command, parts[2])?;
        states
            .into_iter()
            .map(|state| {
                let take = |stats: &mut Vec<Stat>| {
                    let at = stats.iter().position(|stat| stat.text("svname") == state.server);
                    at.map(|at| stats.swap_remove(at)).ok_or_else(|| garbled(&state.server))
                };
                let (plain, apart) = (take(&mut plain)?, take(&mut apart)?);
                Ok((state, plain, apart))
            })
            .collect()
    }

    /// The commands that bring the running process to a route. A server that gets a new address, or comes back, is
    /// down until the checks say otherwise.
    async fn differences(&self, route: &Route) -> Result<Vec<String>, RouterError> {
        let running = self.look(&route.service).await?;
        let mut commands = Vec::new();
        for (slot, replica) in render::heaviest_first(route) {
            let server = render::server(slot, replica);
            let plain = format!("{}/{server}", route.service);
            let apart = format!("{}/{server}", render::upgraded(&route.service));
            let (state, stat, _) = running
                .iter()
                .find(|(state, ..)| state.server == server)
                .ok_or_else(|| RouterError::Garbled {
                    command: "show servers state".into(),
                    answer: format!("there is no {plain}"),
                })?;
            let resting = stat.text("status").starts_with("MAINT");
            match render::usable(slot, replica) {
                None if resting => {}
                None => commands.push(format!("set server {plain} state maint")),
                Some(address) => {
                    let fresh = resting || state.address != address;
                    if fresh {
                        commands.push(format!("set server {plain} state maint"));
                        for name in [&plain, &apart] {
                            commands.push(format!("set server {name} addr {address} port {}", route.port));
                        }
                    }
                    for name in [&plain, &apart] {
                        commands.push(format!("set server {name} weight {}", render::weight(slot)));
                    }
                    if fresh || state.drain != (slot.state == SlotState::Drain) {
                        let word = if slot.state == SlotState::Drain {
                            "drain"
                        } else {
                            "ready"
                        };
                        commands.push(format!("set server {plain} state {word}"));
                    }
                    if fresh {
                        commands.push(format!("set server {plain} health down"));
                    }
                }
            }
        }
        Ok(commands)
    }

    /// Has the master load the configuration again and waits until the new process answers.
    async fn reload(&self) -> Result<(), RouterError> {
        let info = "show info";
        let before = answers::pid(info, &ask(&self.run, ADMIN, info).await?)?;
        let (_, failed) = self.reloads().await?;
        // Since 2.7 the answer says whether it worked, before that it is empty.
        let answer = ask(&self.run, MASTER, "reload").await?;
        let refused = |answer: &str| RouterError::Refused {
            command: "reload".into(),
            answer: answer.chars().take(500).collect(),
        };
        if answer.contains("Success=0") {
            return Err(refused(&answer));
        }
        let begun = Instant::now();
        loop {
            sleep(Duration::from_millis(20)).await;
            let now = match ask(&self.run, ADMIN, info).await {
                Ok(answer) => answers::pid(info, &answer)?,
                Err(RouterError::Unreachable { .. }) => before,
                Err(other) => return Err(other),
            };
            if now != before {
                return Ok(());
            }
            let failures = match self.reloads().await {
                Ok((_, failures)) => failures,
                Err(RouterError::Unreachable { .. }) => failed,
                Err(other) => return Err(other),
            };
            if failures > failed {
                return Err(refused("it kept the old configuration; its log says why"));
            }
            if begun.elapsed() > RELOADING {
                return Err(refused("the new process did not answer within 15 s"));
            }
        }
    }

    async fn reloads(&self) -> Result<(u64, u64), RouterError> {
        let command = "show proc";
        answers::reloads(command, &ask(&self.run, MASTER, command).await?)
    }
}

#[async_trait]
impl Router for HaProxy {
    async fn apply(&self, routes: &[Route]) -> Result<(), RouterError> {
        let turn = self.prepare(self.turn().await).await?;
        let before = self.stored().await?;
        let mut after = Stored {
            routes: routes.to_vec(),
            gates: before.gates.clone(),
        };
        after
            .gates
            .retain(|service, _| routes.iter().any(|r| r.service == *service));
        let turn = self.store(&after, turn).await?;
        match ask(&self.run, ADMIN, "show info").await {
            Err(RouterError::Unreachable { source, .. }) if absent(&source) => return Ok(()),
            Err(other) => return Err(other),
            Ok(_) => {}
        }
        if shape(&before.routes) == shape(routes) {
            for route in routes {
                self.change(&self.differences(route).await?).await?;
            }
            return Ok(());
        }
        let loaded = self.reload().await;
        if loaded.is_err() && !before.routes.is_empty() {
            // What the process does not take must not be what its next start reads.
            drop(self.store(&before, turn).await?);
        }
        loaded
    }

    async fn routes(&self) -> Result<Vec<Route>, RouterError> {
        Ok(self.stored().await?.routes)
    }

    async fn steer(&self, service: &ServiceName, weights: [(Colour, u8); 2]) -> Result<Span, RouterError> {
        let turn = self.turn().await;
        let mut stored = self.stored().await?;
        let route = stored.route(service)?;
        for slot in &mut route.slots {
            if let Some((_, weight)) = weights.iter().find(|(colour, _)| *colour == slot.colour) {
                slot.weight = *weight;
            }
        }
        let mut commands = Vec::new();
        for (slot, replica) in render::heaviest_first(route) {
            let server = render::server(slot, replica);
            for backend in [service.to_string(), render::upgraded(service)] {
                commands.push(format!("set server {backend}/{server} weight {}", render::weight(slot)));
            }
        }
        let _turn = self.store(&stored, turn).await?;
        let begun = Instant::now();
        self.change(&commands).await?;
        Ok(begun.elapsed().into())
    }

    async fn point(&self, service: &ServiceName, colour: Colour, addresses: &[IpAddr]) -> Result<(), RouterError> {
        let turn = self.turn().await;
        let mut stored = self.stored().await?;
        let route = stored.route(service)?;
        for slot in &mut route.slots {
            if slot.colour == colour {
                slot.addresses = addresses.to_vec();
                slot.state = if addresses.is_empty() {
                    SlotState::Maint
                } else {
                    SlotState::Ready
                };
            }
        }
        let route = route.clone();
        let _turn = self.store(&stored, turn).await?;
        self.change(&self.differences(&route).await?).await
    }

    async fn gate(&self, service: &ServiceName, closed: Option<Span>) -> Result<(), RouterError> {
        let turn = self.turn().await;
        let mut stored = self.stored().await?;
        stored.route(service)?;
        // Nothing waits for the disk here: the file only matters to a router that starts again meanwhile.
        match closed {
            Some(limit) => {
                let command = format!("arkwright gate close {service} {}", limit.std().as_millis());
                let ends = answers::gate_ends(&command, &self.admin(&command).await?)?;
                stored.gates.insert(service.clone(), ends);
            }
            None => {
                let command = format!("arkwright gate open {service}");
                let answer = self.admin(&command).await?;
                if answer.trim() != "open" {
                    return Err(RouterError::Garbled { command, answer });
                }
                stored.gates.remove(service);
            }
        }
        self.store(&stored, turn).await.map(drop)
    }

    async fn slots(&self, service: &ServiceName) -> Result<Vec<SlotView>, RouterError> {
        self.look(service)
            .await?
            .into_iter()
            .map(|(state, stat, upgraded)| {
                let (colour, replica) = colour_of(&state.server)?;
                let resting = stat.text("status").starts_with("MAINT");
                Ok(SlotView {
                    colour,
                    replica,
                    address: (!resting).then_some(state.address),
                    weight: state.weight,
                    up: state.running && !resting && stat.passed(),
                    state: match (resting, state.drain) {
                        (true, _) => SlotState::Maint,
                        (false, true) => SlotState::Drain,
                        (false, false) => SlotState::Ready,
                    },
                    last_check: stat.check(),
                    in_flight: stat.number("scur")?,
                    upgraded: upgraded.number("scur")?,
                })
            })
            .collect()
    }

    async fn waiting(&self, service: &ServiceName) -> Result<(u64, Span), RouterError> {
        let command = format!("arkwright gate show {service}");
        let (_, waiting, longest) = answers::gate(&command, &self.admin(&command).await?)?;
        Ok((waiting, longest))
    }

    async fn shut_sessions(&self, service: &ServiceName, colour: Colour) -> Result<u64, RouterError> {
        let mut commands = Vec::new();
        let mut count = 0;
        for (state, _, upgraded) in self.look(service).await? {
            if colour_of(&state.server)?.0 == colour {
                count += upgraded.number("scur")?;
                commands.push(format!(
                    "shutdown sessions server {}/{}",
                    render::upgraded(service),
                    state.server
                ));
            }
        }
        self.change(&commands).await?;
        Ok(count)
    }

    async fn figures(&self, service: &ServiceName) -> Result<[(Colour, Figures); 2], RouterError> {
        let mut figures = Colour::BOTH.map(|colour| (colour, Figures::default()));
        for (state, plain, upgraded) in self.look(service).await? {
            let (colour, _) = colour_of(&state.server)?;
            for stat in [plain, upgraded] {
                for (_, sum) in figures.iter_mut().filter(|(c, _)| *c == colour) {
                    sum.requests += stat.number("stot")?;
                    sum.responses_4xx += stat.number("hrsp_4xx")?;
                    sum.responses_5xx += stat.number("hrsp_5xx")?;
                    sum.connection_failures += stat.number("econ")?;
                    sum.in_flight += stat.number("scur")?;
                }
            }
        }
        Ok(figures)
    }

    async fn alive(&self) -> bool {
        let answer = timeout(Duration::from_secs(1), ask(&self.run, ADMIN, "show info")).await;
        matches!(answer, Ok(Ok(text)) if text.contains("Name: HAProxy"))
    }
}

/// What only a reload changes.
fn shape(routes: &[Route]) -> Vec<Route> {
    let mut shape = routes.to_vec();
    for slot in shape.iter_mut().flat_map(|route| &mut route.slots) {
        slot.addresses.clear();
        slot.weight = 0;
        slot.state = SlotState::Maint;
    }
    shape
}

/// `green2` is replica 2 of green.
fn colour_of(server: &str) -> Result<(Colour, u32), RouterError> {
    Colour::BOTH
        .into_iter()
        .find_map(|colour| Some((colour, server.strip_prefix(colour.as_str())?.parse().ok()?)))
        .ok_or_else(|| RouterError::Garbled {
            command: "show servers state".into(),
            answer: server.chars().take(100).collect(),
        })
}

/// No process listens: it has not started yet, or is gone.
fn absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RouterError> + Send + 'static,
) -> Result<T, RouterError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(RouterError::Write(io::Error::other(error))),
    }
}
