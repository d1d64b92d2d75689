use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::model::{Colour, ServiceName};
use crate::plan::numbered;
use crate::ports::{Figures, Route, RouterError, SlotState, SlotView};

use super::answers::{self, Stat, State};
use super::render;
use super::socket::ask;

/// What lists connections.
pub const SESSIONS: &str = "show sess";

/// What the master says of a process that has ended, or ends as it is asked.
const ENDED: [&str; 2] = ["Can't find the target PID", "Can't connect to the target CLI"];

/// How long a command waits for a router that is just starting.
const STARTING: Duration = Duration::from_secs(10);
/// How long a reload may take until the new process serves.
const RELOADING: Duration = Duration::from_secs(15);

/// The running HAProxy, reached through the sockets it makes in the shared folder.
pub struct Process {
    run: PathBuf,
    admin: String,
    master: String,
    /// The masters of those that pass on to it, whose old processes may have requests yet.
    doors: Vec<String>,
}

/// A process that a reload left to finish what it has.
pub struct Elder {
    master: String,
    pid: u64,
}

/// One server of the running process.
pub struct Server {
    pub colour: Colour,
    pub replica: u32,
    pub state: State,
    pub plain: Stat,
    /// Of its upgraded connections.
    pub upgraded: Stat,
    /// Requests, and upgraded connections, that processes from before a reload still have.
    elder: [u64; 2],
}

impl Server {
    /// Out of service, and not checked.
    pub fn resting(&self) -> bool {
        self.plain.text("status").starts_with("MAINT")
    }

    pub fn view(&self) -> Result<SlotView, RouterError> {
        let resting = self.resting();
        Ok(SlotView {
            colour: self.colour,
            replica: self.replica,
            address: (!resting).then_some(self.state.address),
            weight: self.state.weight,
            up: self.state.running && !resting && self.plain.passed(),
            down: !self.state.running && !resting,
            state: match (resting, self.state.drain) {
                (true, _) => SlotState::Maint,
                (false, true) => SlotState::Drain,
                (false, false) => SlotState::Ready,
            },
            last_check: self.plain.check(),
            in_flight: self.plain.number("scur")?.saturating_add(self.elder[0]),
            upgraded: self.upgraded.number("scur")?.saturating_add(self.elder[1]),
        })
    }

    pub fn figures(&self) -> Result<Figures, RouterError> {
        let sum = |name| Ok::<_, RouterError>(self.plain.number(name)?.saturating_add(self.upgraded.number(name)?));
        Ok(Figures {
            requests: sum("stot")?,
            responses_4xx: sum("hrsp_4xx")?,
            responses_5xx: sum("hrsp_5xx")?,
            connection_failures: sum("econ")?,
            response_errors: sum("eresp")?,
            in_flight: sum("scur")?,
        })
    }
}

impl Process {
    /// The one of this number, and its doors.
    pub fn new(run: PathBuf, number: u32, doors: &BTreeSet<u32>) -> Self {
        let master = |number| numbered("master", number, "sock");
        Process {
            run,
            admin: numbered("admin", number, "sock"),
            master: master(number),
            doors: doors.iter().map(|door| master(*door)).collect(),
        }
    }

    /// The shape of the configuration that the process has loaded, empty where it is an older arkwright's; `None` where
    /// no process listens.
    pub async fn shape(&self) -> Result<Option<String>, RouterError> {
        Ok(self.info().await?.map(|info| answers::shape(&info).to_owned()))
    }

    /// How many connections it and its old processes have, but for the one that asks; `None` where no process listens.
    pub async fn connections(&self) -> Result<Option<u64>, RouterError> {
        let Some(info) = self.info().await? else {
            return Ok(None);
        };
        let own = answers::connections("show info", &info)?.saturating_sub(1);
        Ok(Some(own + self.elders().await.len() as u64))
    }

    async fn info(&self) -> Result<Option<String>, RouterError> {
        match ask(&self.run, &self.admin, "show info").await {
            Err(RouterError::Unreachable { source, .. }) if absent(&source) => Ok(None),
            Err(other) => Err(other),
            Ok(answer) => Ok(Some(answer)),
        }
    }

    /// Waits until the process, which was just started, answers.
    pub async fn begun(&self) -> Result<(), RouterError> {
        self.patiently(&self.admin, "show info").await?;
        self.patiently(&self.master, "show proc").await.map(drop)
    }

    pub async fn alive(&self) -> bool {
        let answer = timeout(Duration::from_secs(1), ask(&self.run, &self.admin, "show info")).await;
        matches!(answer, Ok(Ok(text)) if text.contains("Name: HAProxy"))
    }

    pub async fn admin(&self, command: &str) -> Result<String, RouterError> {
        self.patiently(&self.admin, command).await
    }

    /// One round trip; a router that is just starting, or beginning anew, is waited for: nothing it is told does more when
    /// it is told twice. Its master listens last.
    async fn patiently(&self, socket: &str, command: &str) -> Result<String, RouterError> {
        self.again_while(socket, command, |error| absent(error) || dropped(error))
            .await
    }

    /// A question to a master: one that begins anew to load its configuration drops whoever asks it.
    async fn ask_master(&self, master: &str, question: &str) -> Result<String, RouterError> {
        self.again_while(master, question, dropped).await
    }

    async fn again_while(
        &self,
        socket: &str,
        command: &str,
        passes: fn(&io::Error) -> bool,
    ) -> Result<String, RouterError> {
        let begun = Instant::now();
        loop {
            let answer = ask(&self.run, socket, command).await;
            let source = match &answer {
                Err(RouterError::Unreachable { source, .. }) => Some(source),
                _ => None,
            };
            if !source.is_some_and(passes) || begun.elapsed() >= STARTING {
                return answer;
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn change(&self, commands: &[String]) -> Result<(), RouterError> {
        if commands.is_empty() {
            return Ok(());
        }
        let command = commands.join(";");
        answers::changed(&command, &self.admin(&command).await?)
    }

    /// The processes that a reload left to finish what they have. They pass requests on to the one that took over, and
    /// let nobody change their servers any more.
    pub async fn elders(&self) -> Vec<Elder> {
        let mut elders = Vec::new();
        for master in self.doors.iter().chain([&self.master]) {
            let question = "show proc";
            // A door may be gone; the master of a process that was just asked listens, or will.
            let answer = match *master == self.master {
                true => self.patiently(master, question).await,
                false => self.ask_master(master, question).await,
            };
            let Ok(answer) = answer else { continue };
            let of = |pid| Elder {
                master: master.clone(),
                pid,
            };
            elders.extend(answers::elders(&answer).into_iter().map(of));
        }
        elders
    }

    /// `None` of one that has just ended.
    pub async fn ask_elder(&self, elder: &Elder, command: &str) -> Option<String> {
        let pid = elder.pid;
        let command = format!("@!{pid} {command}");
        let answer = self.ask_master(&elder.master, &command).await;
        let told = |error: &RouterError| tracing::debug!("the process {pid} does not answer: {error}");
        answer
            .inspect_err(told)
            .ok()
            .filter(|answer| !ENDED.iter().any(|ended| answer.starts_with(ended)))
    }

    /// Requests, and upgraded connections, that elders still have at each server.
    async fn left(&self, service: &ServiceName) -> Result<Vec<(String, [u64; 2])>, RouterError> {
        let upgraded = render::upgraded(service);
        let mut left = Vec::new();
        // They do not tell counters of what they listen for no more, but they tell who is there.
        for elder in self.elders().await {
            let answer = self.ask_elder(&elder, SESSIONS).await.unwrap_or_default();
            for session in answers::sessions(SESSIONS, &answer)? {
                let one = match session.backend {
                    backend if backend == service.as_str() => [1, 0],
                    backend if backend == upgraded => [0, 1],
                    _ => continue,
                };
                left.push((session.server.to_owned(), one));
            }
        }
        Ok(left)
    }

    /// What the running process has of each server: its state, its figures, those of its upgraded connections.
    pub async fn look(&self, service: &ServiceName) -> Result<Vec<Server>, RouterError> {
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
        let left = self.left(service).await?;
        states
            .into_iter()
            .map(|state| {
                let take = |stats: &mut Vec<Stat>| {
                    let at = stats.iter().position(|stat| stat.text("svname") == state.server);
                    at.map(|at| stats.swap_remove(at)).ok_or_else(|| garbled(&state.server))
                };
                let (colour, replica) = colour_of(&state.server)?;
                let mut elder = [0; 2];
                for (_, open) in left.iter().filter(|(server, _)| *server == state.server) {
                    elder = [elder[0] + open[0], elder[1] + open[1]];
                }
                Ok(Server {
                    elder,
                    colour,
                    replica,
                    plain: take(&mut plain)?,
                    upgraded: take(&mut apart)?,
                    state,
                })
            })
            .collect()
    }

    /// The commands that bring the running process to a route. A server that gets a new address, or comes back, is
    /// down until the checks say otherwise.
    pub async fn differences(&self, route: &Route) -> Result<Vec<String>, RouterError> {
        let running = self.look(&route.service).await?;
        let mut commands = Vec::new();
        for (slot, replica) in render::heaviest_first(route) {
            let server = render::server(slot, replica);
            let plain = format!("{}/{server}", route.service);
            let apart = format!("{}/{server}", render::upgraded(&route.service));
            let now = running
                .iter()
                .find(|now| now.state.server == server)
                .ok_or_else(|| RouterError::Garbled {
                    command: "show servers state".into(),
                    answer: format!("there is no {plain}"),
                })?;
            let resting = now.resting();
            match render::usable(slot, replica) {
                None if resting => {}
                None => commands.push(format!("set server {plain} state maint")),
                Some(address) => {
                    let fresh = resting || now.state.address != address;
                    if fresh {
                        commands.push(format!("set server {plain} state maint"));
                        for name in [&plain, &apart] {
                            commands.push(format!("set server {name} addr {address} port {}", route.port));
                        }
                    }
                    for name in [&plain, &apart] {
                        commands.push(format!("set server {name} weight {}", render::weight(slot)));
                    }
                    if fresh || now.state.drain != (slot.state == SlotState::Drain) {
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

    /// The process that serves, by its id: another one after a reload. Whoever is just taking over is waited for; since
    /// HAProxy 3.1 its master tells of it before it listens.
    pub async fn generation(&self) -> Result<u64, RouterError> {
        let (proc, info) = ("show proc", "show info");
        let begun = Instant::now();
        loop {
            let worker = answers::worker(&self.patiently(&self.master, proc).await?);
            let pid = answers::pid(info, &self.patiently(&self.admin, info).await?)?;
            // None is listed after a reload that failed.
            if worker.is_none_or(|worker| worker == pid) {
                return Ok(pid);
            }
            if begun.elapsed() > STARTING {
                return Err(RouterError::Refused {
                    command: "reload".into(),
                    answer: format!("the new process did not answer within {} s", STARTING.as_secs()),
                });
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Has the master load the configuration again and waits until the new process answers.
    pub async fn reload(&self) -> Result<(), RouterError> {
        let info = "show info";
        let before = answers::pid(info, &ask(&self.run, &self.admin, info).await?)?;
        let proc = "show proc";
        let (_, failed) = answers::reloads(proc, &self.patiently(&self.master, proc).await?)?;
        // Since 2.7 the answer says whether it worked, before that it is empty.
        let answer = ask(&self.run, &self.master, "reload").await?;
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
            let now = match ask(&self.run, &self.admin, info).await {
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
        answers::reloads(command, &ask(&self.run, &self.master, command).await?)
    }
}

/// `green2` is replica 2 of green.
pub fn colour_of(server: &str) -> Result<(Colour, u32), RouterError> {
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

/// Whoever was asked went away without an answer.
fn dropped(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}
