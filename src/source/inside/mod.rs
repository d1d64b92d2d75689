//! Sources that are reached through the engine: servers asked by their own tools inside their containers, volumes, and
//! the output of programs.

mod archive;
mod back;
mod command;
mod mongodb;
mod place;
mod postgres;
mod prometheus;
mod rabbitmq;
mod redis;
mod spool;
mod volume;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::backup::SourceRecord;
use crate::config::Source;
use crate::model::{ProjectName, ServiceName};
use crate::plan::labels;
use crate::ports::{Container, Engine, EngineError, Observed, Reading, Sink, SourceError, Sources, Web};
use crate::stack::Volume;

use super::HostSources;
pub use back::{Back, PutBackError, put_back};
use place::Place;

/// For a question to a server.
const ASK: Duration = Duration::from_secs(60);
/// A dump may wait for a lock or sort a table, but not for ever.
const SILENCE: Duration = Duration::from_secs(3600);

/// This host's files, and what a project's containers and volumes hold.
pub struct ProjectSources {
    pub project: ProjectName,
    /// Those of the Compose file, by their keys there.
    pub volumes: BTreeMap<String, Volume>,
    /// Without one the error says why.
    pub engine: Result<Arc<dyn Engine>, String>,
    pub web: Arc<dyn Web>,
}

impl Sources for ProjectSources {
    fn read(&self, source: &Source, reading: &Reading<'_>, sink: &mut dyn Sink) -> Result<SourceRecord, SourceError> {
        let of = match source {
            Source::Path { .. } | Source::Sqlite { .. } => return HostSources.read(source, reading, sink),
            Source::Volume { volume, .. } => format!("the volume {volume}"),
            _ => match source.service() {
                Some(service) => format!("the {} of the service {service}", source.kind()),
                None => source.kind().to_owned(),
            },
        };
        let no_engine = |why: &str| SourceError::Inside {
            what: of.clone(),
            why: why.to_owned(),
            remedy: "it is read through the engine: see that it runs, then run the backup again".into(),
        };
        let mut inside = Inside {
            engine: self.engine.as_ref().map_err(|why| no_engine(why))?.as_ref(),
            web: self.web.as_ref(),
            project: &self.project,
            volumes: &self.volumes,
            handle: Handle::try_current().map_err(|error| no_engine(&error.to_string()))?,
            reading,
            sink,
            of: of.clone(),
        };
        match source {
            Source::Path { .. } | Source::Sqlite { .. } => Err(SourceError::NoEngine { kind: source.kind() }),
            Source::Volume { volume, exclude } => inside.volume(volume, exclude),
            Source::Postgres { postgres } => inside.postgres(postgres),
            Source::Redis { redis } => inside.redis(redis),
            Source::Rabbitmq { rabbitmq } => inside.rabbitmq(rabbitmq),
            Source::Prometheus { prometheus } => inside.prometheus(prometheus),
            Source::Mongodb { mongodb } => inside.mongodb(mongodb),
            Source::Command { command } => inside.command(command),
        }
    }

    fn read_stack_file(&self, file: &Path, reading: &Reading<'_>, sink: &mut dyn Sink) -> Result<(), SourceError> {
        HostSources.read_stack_file(file, reading, sink)
    }
}

/// One source while it is read, on a blocking thread.
struct Inside<'a> {
    engine: &'a dyn Engine,
    web: &'a dyn Web,
    project: &'a ProjectName,
    volumes: &'a BTreeMap<String, Volume>,
    handle: Handle,
    reading: &'a Reading<'a>,
    sink: &'a mut dyn Sink,
    /// For messages: what is backed up.
    of: String,
}

impl Inside<'_> {
    fn failed(&self, why: impl Into<String>, remedy: impl Into<String>) -> SourceError {
        SourceError::Inside {
            what: self.of.clone(),
            why: why.into(),
            remedy: remedy.into(),
        }
    }

    /// The engine itself did not do its part.
    fn engine_failed(&self, error: &EngineError) -> SourceError {
        self.failed(
            crate::model::chain(error),
            "see that the engine runs, then run the backup again",
        )
    }

    fn observe(&self) -> Result<Observed, SourceError> {
        let observed = self.handle.block_on(self.engine.observe(self.project));
        observed.map_err(|error| self.engine_failed(&error))
    }

    fn container(&self, service: &ServiceName) -> Result<Container, SourceError> {
        choose(&self.observe()?, service).map_err(|(why, remedy)| self.failed(why, remedy))
    }

    /// What a program answers that exits with 0 and says little.
    fn ask(&self, container: &Container, words: &[String], remedy: &str) -> Result<Vec<u8>, SourceError> {
        let program = words.first().map_or("nothing", String::as_str);
        let output = self.handle.block_on(self.engine.exec(&container.id, words, ASK));
        let output = output.map_err(|error| self.failed(crate::model::chain(&error), remedy))?;
        match output.exit_code {
            0 => Ok(output.stdout),
            exit_code => {
                let failed = crate::ports::ProgramFailed {
                    program: program.to_owned(),
                    exit_code,
                    // Some say on standard output what is wrong.
                    stderr: String::from_utf8_lossy(if output.stderr.is_empty() {
                        &output.stdout
                    } else {
                        &output.stderr
                    })
                    .into_owned(),
                };
                Err(self.failed(failed.to_string(), remedy))
            }
        }
    }

    /// What is known of the whole source once all of it was kept.
    fn record(&self, kind: &'static str, place: &Place, kept: &[u64]) -> SourceRecord {
        SourceRecord {
            kind: kind.into(),
            path: place.path.clone(),
            files: kept.len() as u64,
            bytes: kept.iter().sum(),
            newest: None,
            rows: Default::default(),
        }
    }
}

/// The first running container of a service, by its number; else why there is none, and what to do.
fn choose(observed: &Observed, service: &ServiceName) -> Result<Container, (String, String)> {
    let of_service = |c: &&Container| {
        c.label(labels::SERVICE) == Some(service.as_str())
            && c.label(labels::ONEOFF) != Some("True")
            && c.label(labels::HOOK).is_none()
    };
    let mut found: Vec<&Container> = observed.containers.iter().filter(of_service).collect();
    found.sort_by_key(|c| {
        let number: u32 = c.label(labels::NUMBER).and_then(|n| n.parse().ok()).unwrap_or(u32::MAX);
        (number, c.name.clone())
    });
    match (found.iter().find(|container| container.running()), found.first()) {
        (Some(container), _) => Ok((*container).clone()),
        (None, None) => Err((
            "it has no container".into(),
            format!("start it with `arkwright up {service}`, and run this again"),
        )),
        (None, Some(container)) => Err((
            format!("its container {} does not run", container.name),
            format!("look at `arkwright logs {service}`, start it with `arkwright up {service}`, and run this again"),
        )),
    }
}

fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}
