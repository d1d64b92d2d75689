use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::chown;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use rustix::fs::{FlockOperation, flock};
use tokio::sync::{Mutex, MutexGuard, OwnedMutexGuard};
use tokio::time::Instant;

use crate::model::{Colour, ServiceName, Span, Timestamp};
use crate::ports::{Arrangement, Figures, Latency, Notice, Route, Router, RouterError, SlotState, SlotView};
use crate::state::{make_folder, write_atomic};

use super::answers;
use super::door::{self, Doors};
use super::log::{self, Listener};
use super::map;
use super::preview::PreviewKey;
use super::process::{Process, Server};
use super::render::{self, HOLD};
use super::stored::{self, Stored};

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
    listener: Mutex<Option<Listener>>,
    /// One change at a time: each reads the stored routes and writes them back.
    turn: Arc<Mutex<()>>,
}

/// The right to change something, among all processes of this host. It goes along with the write it is for, so that one
/// whose caller was dropped in its middle still ends before the next begins.
struct Turn {
    _here: OwnedMutexGuard<()>,
    /// Locked; `None` before there is a configuration.
    _everywhere: Option<File>,
}

/// What a running process is told, by one after the other where it is reloaded meanwhile.
enum Change {
    Take(Vec<String>),
    /// Whatever brings it to this route, after these commands.
    Become(Box<Route>, Vec<String>),
    /// `closed`, or else open, by this command.
    Gate {
        closed: bool,
        command: String,
    },
}

impl Change {
    async fn make(&self, process: &Process) -> Result<(), RouterError> {
        match self {
            Change::Take(commands) => process.change(commands).await,
            Change::Become(route, commands) => {
                let differences = process.differences(route).await?;
                process.change(&[commands.as_slice(), &differences].concat()).await
            }
            Change::Gate { closed, command } => {
                let answer = process.admin(command).await?;
                match closed {
                    true => answers::gate_ends(command, &answer).map(drop),
                    false => answers::gate_opened(command, &answer),
                }
            }
        }
    }
}

impl HaProxy {
    pub fn new(config: impl Into<PathBuf>, run: impl Into<PathBuf>, inside: Inside) -> Self {
        HaProxy {
            config: config.into(),
            run: run.into(),
            inside,
            listener: Mutex::default(),
            turn: Arc::default(),
        }
    }

    /// Of the one that serves.
    async fn stored(&self) -> Result<Stored, RouterError> {
        let folder = self.config.clone();
        blocking(move || {
            let number = Doors::read(&folder)?.serving;
            let empty = Stored {
                number,
                ..Stored::default()
            };
            Ok(Stored::read(&folder.join(stored::file(number)))?.unwrap_or(empty))
        })
        .await
    }

    async fn doors(&self) -> Result<Doors, RouterError> {
        let folder = self.config.clone();
        blocking(move || Doors::read(&folder)).await
    }

    /// The process that serves.
    async fn process(&self) -> Result<Process, RouterError> {
        let Doors { serving, doors, .. } = self.doors().await?;
        Ok(Process::new(self.run.clone(), serving, &doors))
    }

    /// Changes the running process to what is stored. A reload is not ours alone to order, and what an old process is told
    /// while the new one begins is forgotten: the new one is told as well.
    async fn tell(&self, change: &Change) -> Result<(), RouterError> {
        let process = self.process().await?;
        let generation = process.generation().await?;
        change.make(&process).await?;
        self.tell_again(generation, change).await
    }

    /// For as long as another process has taken over since that generation was told.
    async fn tell_again(&self, mut generation: u64, change: &Change) -> Result<(), RouterError> {
        let process = self.process().await?;
        loop {
            let now = process.generation().await?;
            if now == generation {
                return Ok(());
            }
            change.make(&process).await?;
            generation = now;
        }
    }

    fn process_of(&self, number: u32) -> Process {
        Process::new(self.run.clone(), number, &BTreeSet::new())
    }

    /// Every door passes on to the one that serves, whatever it did before.
    async fn open_doors(&self, stored: &Stored) -> Result<(), RouterError> {
        let mut doors = self.doors().await?;
        for number in &doors.doors {
            let (folder, inside, stored, number) = (self.config.clone(), self.inside.clone(), stored.clone(), *number);
            let shape = door::shape(&stored, &inside, number);
            blocking(move || door::write(&folder, &stored, &inside, number)).await?;
            let process = self.process_of(number);
            // One that does not run reads it when it starts.
            if process.shape().await?.is_some_and(|loaded| loaded != shape) {
                process.reload().await?;
            }
        }
        if doors.opening {
            doors.opening = false;
            let folder = self.config.clone();
            blocking(move || doors.write(&folder)).await?;
        }
        Ok(())
    }

    /// Every stored service is listened to, anew where our socket was taken away.
    async fn listening(&self, stored: &Stored) -> Result<MutexGuard<'_, Option<Listener>>, RouterError> {
        let mut listener = self.listener.lock().await;
        if !listener.as_ref().is_some_and(Listener::reached) {
            let begun = Listener::begin(&self.run, self.inside.owner);
            *listener = Some(begun.map_err(|source| RouterError::Deaf {
                socket: self.run.join(log::SOCKET).display().to_string(),
                source,
            })?);
        }
        for route in &stored.routes {
            if let Some(listener) = &*listener {
                listener.open(&route.service);
            }
        }
        Ok(listener)
    }

    async fn turn(&self) -> Result<Turn, RouterError> {
        let turn = self.lock().await?;
        if self.doors().await?.opening {
            // Whoever had one container take over was cut off in the middle.
            self.open_doors(&self.stored().await?).await?;
        }
        Ok(turn)
    }

    async fn lock(&self) -> Result<Turn, RouterError> {
        let here = self.turn.clone().lock_owned().await;
        let path = self.config.join("lock");
        blocking(move || {
            let everywhere = match File::options().create(true).append(true).open(&path) {
                Ok(file) => Some(file),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(RouterError::Write(error)),
            };
            if let Some(file) = &everywhere {
                flock(file, FlockOperation::LockExclusive).map_err(|error| RouterError::Write(error.into()))?;
            }
            Ok(Turn {
                _here: here,
                _everywhere: everywhere,
            })
        })
        .await
    }

    async fn store(&self, stored: &Stored, turn: Turn) -> Result<Turn, RouterError> {
        let (folder, inside, stored) = (self.config.clone(), self.inside.clone(), stored.clone());
        blocking(move || stored.write(&folder, &inside).map(|()| turn)).await
    }

    /// Stores what a map tells, and has the process go by it. One that was started by an arkwright from before there
    /// were maps loads its configuration again.
    async fn take_effect(&self, stored: &mut Stored, service: &ServiceName, turn: Turn) -> Result<(), RouterError> {
        if stored.key.is_none() {
            stored.key = Some(PreviewKey::make().map_err(RouterError::Write)?);
        }
        let turn = self.store(stored, turn).await?;
        match self.process().await?.shape().await? {
            Some(loaded) if loaded != render::shape(stored, &self.inside) => {
                let _turn = self.prepare(turn).await?;
                self.process().await?.reload().await
            }
            _ => {
                let commands = map::commands(stored, service, &self.inside);
                self.tell(&Change::Take(commands)).await
            }
        }
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
}

#[async_trait]
impl Router for HaProxy {
    async fn apply(&self, routes: &[Route]) -> Result<(), RouterError> {
        let turn = self.prepare(self.turn().await?).await?;
        let before = self.stored().await?;
        let mut after = Stored {
            routes: routes.to_vec(),
            ..before.clone()
        };
        let routed = |service: &ServiceName| routes.iter().any(|route| route.service == *service);
        after.gates.retain(|service, _| routed(service));
        after.notices.retain(|service, _| routed(service));
        after.previewed.retain(|service, _| routed(service));
        after.begin(&before.routes);
        if after.key.is_none() {
            after.key = Some(PreviewKey::make().map_err(RouterError::Write)?);
        }
        let turn = self.store(&after, turn).await?;
        let Some(loaded) = self.process().await?.shape().await? else {
            return self.open_doors(&after).await;
        };
        if loaded == render::shape(&after, &self.inside) {
            for route in routes {
                let commands = map::commands(&after, &route.service, &self.inside);
                self.tell(&Change::Become(Box::new(route.clone()), commands)).await?;
            }
            return Ok(());
        }
        let loaded = self.process().await?.reload().await;
        if loaded.is_err() && !before.routes.is_empty() {
            // What the process does not take must not be what its next start reads.
            drop(self.store(&before, turn).await?);
            return loaded;
        }
        loaded?;
        self.open_doors(&after).await
    }

    async fn routes(&self) -> Result<Vec<Route>, RouterError> {
        Ok(self.stored().await?.routes)
    }

    async fn steer(&self, service: &ServiceName, weights: [(Colour, u8); 2]) -> Result<Span, RouterError> {
        let turn = self.turn().await?;
        let mut stored = self.stored().await?;
        let before = stored.routes.clone();
        let route = stored.route(service)?;
        for slot in &mut route.slots {
            if let Some((_, weight)) = weights.iter().find(|(colour, _)| *colour == slot.colour) {
                slot.weight = *weight;
            }
        }
        let route = route.clone();
        let mut commands = Vec::new();
        // Who was sent to a colour the last time is not sent there again because it begins anew.
        stored.begin(&before);
        if route.sticky {
            commands = map::commands(&stored, service, &self.inside);
        }
        for (slot, replica) in render::heaviest_first(&route) {
            let server = render::server(slot, replica);
            for backend in [service.to_string(), render::upgraded(service)] {
                commands.push(format!("set server {backend}/{server} weight {}", render::weight(slot)));
            }
        }
        let change = Change::Take(commands);
        // Nothing waits for the disk here either. Where no process answers, the next to start goes by the file.
        let process = self.process().await?;
        let generation = process.generation().await;
        let begun = Instant::now();
        let steered = match &generation {
            Ok(_) => change.make(&process).await,
            // A master that says nothing is no reason to leave traffic where it is.
            Err(_) if process.alive().await => change.make(&process).await,
            Err(_) => Ok(()),
        };
        let took = begun.elapsed().into();
        let _turn = self.store(&stored, turn).await?;
        steered?;
        self.tell_again(generation?, &change).await?;
        Ok(took)
    }

    async fn point(&self, service: &ServiceName, colour: Colour, addresses: &[IpAddr]) -> Result<(), RouterError> {
        let turn = self.turn().await?;
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
        self.tell(&Change::Become(Box::new(route), Vec::new())).await
    }

    async fn gate(&self, service: &ServiceName, closed: Option<Span>) -> Result<(), RouterError> {
        let turn = self.turn().await?;
        let mut stored = self.stored().await?;
        stored.route(service)?;
        // Nothing waits for the disk here: the file only matters to a router that starts again meanwhile.
        let process = self.process().await?;
        let generation = process.generation().await?;
        let command = match closed {
            Some(limit) => format!("arkwright gate close {service} {}", limit.std().as_millis()),
            None => format!("arkwright gate open {service}"),
        };
        let answer = process.admin(&command).await?;
        match closed {
            Some(_) => stored
                .gates
                .insert(service.clone(), answers::gate_ends(&command, &answer)?),
            None => {
                answers::gate_opened(&command, &answer)?;
                stored.gates.remove(service)
            }
        };
        let _turn = self.store(&stored, turn).await?;
        let closed = closed.is_some();
        self.tell_again(generation, &Change::Gate { closed, command }).await
    }

    async fn maintenance(&self, service: &ServiceName, notice: Option<Notice>) -> Result<(), RouterError> {
        let turn = self.turn().await?;
        let mut stored = self.stored().await?;
        stored.route(service)?;
        match notice {
            Some(notice) => stored.notices.insert(service.clone(), notice),
            None => stored.notices.remove(service),
        };
        self.take_effect(&mut stored, service, turn).await
    }

    async fn preview(&self, service: &ServiceName, colour: Option<Colour>) -> Result<(), RouterError> {
        let turn = self.turn().await?;
        let mut stored = self.stored().await?;
        stored.route(service)?;
        match colour {
            Some(colour) => stored.previewed.insert(service.clone(), colour),
            None => stored.previewed.remove(service),
        };
        self.take_effect(&mut stored, service, turn).await
    }

    async fn in_maintenance(&self) -> Result<BTreeMap<ServiceName, Notice>, RouterError> {
        Ok(self.stored().await?.notices)
    }

    async fn preview_cookie(&self, service: &ServiceName, until: Timestamp) -> Result<String, RouterError> {
        let turn = self.turn().await?;
        let mut stored = self.stored().await?;
        stored.route(service)?;
        if stored.key.is_none() {
            self.take_effect(&mut stored, service, turn).await?;
        }
        let key = stored.key.ok_or(RouterError::Keyless)?;
        Ok(key.cookie(service, until))
    }

    async fn slots(&self, service: &ServiceName) -> Result<Vec<SlotView>, RouterError> {
        self.process()
            .await?
            .look(service)
            .await?
            .iter()
            .map(Server::view)
            .collect()
    }

    async fn waiting(&self, service: &ServiceName) -> Result<(u64, Span), RouterError> {
        let command = format!("arkwright gate show {service}");
        let (_, waiting, longest) = answers::gate(&command, &self.process().await?.admin(&command).await?)?;
        Ok((waiting, longest))
    }

    async fn shut_sessions(&self, service: &ServiceName, colour: Colour, over: Span) -> Result<u64, RouterError> {
        self.process().await?.shut(service, colour, over).await
    }

    async fn figures(&self, service: &ServiceName) -> Result<[(Colour, Figures); 2], RouterError> {
        let mut figures = Colour::BOTH.map(|colour| (colour, Figures::default()));
        for server in self.process().await?.look(service).await? {
            let counted = server.figures()?;
            for (_, sum) in figures.iter_mut().filter(|(colour, _)| *colour == server.colour) {
                *sum = sum.plus(counted);
            }
        }
        Ok(figures)
    }

    async fn listen(&self) -> Result<(), RouterError> {
        self.listening(&self.stored().await?).await.map(drop)
    }

    async fn latency(&self, service: &ServiceName, window: Span) -> Result<[(Colour, Latency); 2], RouterError> {
        let listener = self.listening(&self.stored().await?).await?;
        listener
            .as_ref()
            .and_then(|listener| listener.latency(service, window))
            .ok_or_else(|| RouterError::UnknownService(service.clone()))
    }

    async fn arrangement(&self) -> Result<Arrangement, RouterError> {
        let Doors { serving, doors, .. } = self.doors().await?;
        Ok(Arrangement { serving, doors })
    }

    async fn succeed(&self, number: u32) -> Result<(), RouterError> {
        let turn = self.prepare(self.turn().await?).await?;
        let stored = self.stored().await?;
        if stored.number == number {
            return Ok(());
        }
        self.store(&Stored { number, ..stored }, turn).await.map(drop)
    }

    async fn hand_over(&self, to: &Arrangement) -> Result<(), RouterError> {
        let mut turn = self.turn().await?;
        let mut stored = self.stored().await?;
        let successor = self.process_of(to.serving);
        successor.begun().await?;
        if stored.number != to.serving {
            // What was changed since it read its file.
            stored.number = to.serving;
            turn = self.store(&stored, turn).await?;
            if successor.shape().await?.as_deref() != Some(&render::shape(&stored, &self.inside)) {
                successor.reload().await?;
            }
            for route in &stored.routes {
                let mut commands = map::commands(&stored, &route.service, &self.inside);
                commands.extend(successor.differences(route).await?);
                successor.change(&commands).await?;
            }
        }
        let doors = Doors {
            serving: to.serving,
            doors: to.doors.clone(),
            opening: true,
        };
        let folder = self.config.clone();
        blocking(move || doors.write(&folder)).await?;
        self.open_doors(&stored).await?;
        drop(turn);
        Ok(())
    }

    async fn idle(&self) -> Result<BTreeSet<u32>, RouterError> {
        let mut idle = BTreeSet::new();
        for number in self.doors().await?.doors {
            if self.process_of(number).connections().await?.unwrap_or_default() == 0 {
                idle.insert(number);
            }
        }
        Ok(idle)
    }

    async fn alive(&self) -> bool {
        match self.process().await {
            Ok(process) => process.alive().await,
            Err(_) => false,
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RouterError> + Send + 'static,
) -> Result<T, RouterError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(RouterError::Write(io::Error::other(error))),
    }
}
