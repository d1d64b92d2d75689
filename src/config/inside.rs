//! Sources that are reached through the engine, inside the containers of a service.

use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;

use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::model::ServiceName;

use super::Source;

/// A PostgreSQL server: each database as `pg_dump` writes it, and the roles.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PostgresSource {
    pub service: ServiceName,
    /// One database; without it every one the server has, templates left out.
    #[serde(default)]
    pub database: Option<String>,
    /// The role to log in as; without it the container's own `PGUSER` or `POSTGRES_USER`, else `postgres`.
    #[serde(default)]
    pub user: Option<String>,
}

/// A Redis server: its snapshot (RDB), saved for the backup.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RedisSource {
    pub service: ServiceName,
    #[serde(default = "redis_port")]
    pub port: u16,
    /// The container's variable with the password; without it `REDISCLI_AUTH`, else `REDIS_PASSWORD`.
    #[serde(default)]
    pub password_env: Option<String>,
}

/// A RabbitMQ server: its definitions (users, queues, exchanges, bindings, policies). Messages are not in them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RabbitmqSource {
    pub service: ServiceName,
}

/// A Prometheus server with `--web.enable-admin-api`: a snapshot of its time series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PrometheusSource {
    pub service: ServiceName,
    #[serde(default = "prometheus_port")]
    pub port: u16,
}

/// A MongoDB server, as `mongodump --archive` writes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MongodbSource {
    pub service: ServiceName,
    /// One database; without it all of them.
    #[serde(default)]
    pub database: Option<String>,
}

/// Whatever a program in a service's container writes to its standard output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommandSource {
    pub service: ServiceName,
    /// What the output is called in the snapshot, such as `dump.sql`.
    pub name: String,
    /// The program and its arguments; no shell in between.
    pub run: Vec<String>,
    /// What takes the output back on its standard input, in a container of the same service: run by
    /// `arkwright backup restore --source` alone, and never from what a snapshot says.
    #[serde(default)]
    pub restore: Option<Vec<String>>,
}

fn redis_port() -> u16 {
    6379
}

fn prometheus_port() -> u16 {
    9090
}

impl From<ServiceName> for PostgresSource {
    fn from(service: ServiceName) -> Self {
        PostgresSource {
            service,
            database: None,
            user: None,
        }
    }
}

impl From<ServiceName> for RedisSource {
    fn from(service: ServiceName) -> Self {
        RedisSource {
            service,
            port: redis_port(),
            password_env: None,
        }
    }
}

impl From<ServiceName> for RabbitmqSource {
    fn from(service: ServiceName) -> Self {
        RabbitmqSource { service }
    }
}

impl From<ServiceName> for PrometheusSource {
    fn from(service: ServiceName) -> Self {
        PrometheusSource {
            service,
            port: prometheus_port(),
        }
    }
}

impl From<ServiceName> for MongodbSource {
    fn from(service: ServiceName) -> Self {
        MongodbSource {
            service,
            database: None,
        }
    }
}

/// As the schema tells it: the service alone, or all that can be said.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) enum OrService<T> {
    Service(ServiceName),
    Full(T),
}

/// `redis` means what `{service: redis}` does.
pub(super) fn or_service<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + From<ServiceName>,
{
    struct Either<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de> + From<ServiceName>> Visitor<'de> for Either<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a service, or a map with `service`")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
            let name: ServiceName = text.parse().map_err(E::custom)?;
            Ok(name.into())
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map))
        }
    }

    from.deserialize_any(Either(PhantomData))
}

impl Source {
    /// The service it is read in; `None` for what lies on this host, or in a volume.
    pub fn service(&self) -> Option<&ServiceName> {
        match self {
            Source::Path { .. } | Source::Sqlite { .. } | Source::Volume { .. } => None,
            Source::Postgres { postgres } => Some(&postgres.service),
            Source::Redis { redis } => Some(&redis.service),
            Source::Rabbitmq { rabbitmq } => Some(&rabbitmq.service),
            Source::Prometheus { prometheus } => Some(&prometheus.service),
            Source::Mongodb { mongodb } => Some(&mongodb.service),
            Source::Command { command } => Some(&command.service),
        }
    }

    /// The word it has in arkwright.yaml, which is its kind in a listing.
    pub fn kind(&self) -> &'static str {
        match self {
            Source::Path { .. } => "path",
            Source::Sqlite { .. } => "sqlite",
            Source::Volume { .. } => "volume",
            Source::Postgres { .. } => "postgres",
            Source::Redis { .. } => "redis",
            Source::Rabbitmq { .. } => "rabbitmq",
            Source::Prometheus { .. } => "prometheus",
            Source::Mongodb { .. } => "mongodb",
            Source::Command { .. } => "command",
        }
    }

    /// Whether it is files, which are read after databases: a row must not name a file that is not there yet.
    pub fn is_files(&self) -> bool {
        matches!(self, Source::Path { .. } | Source::Volume { .. })
    }

    /// What makes two sources that are reached through the engine the same place of a snapshot; `None` for host files.
    fn place(&self) -> Option<String> {
        let part = match self {
            Source::Path { .. } | Source::Sqlite { .. } => return None,
            Source::Volume { volume, .. } => return Some(format!("the volume `{volume}`")),
            Source::Postgres { postgres } => postgres.database.as_deref(),
            Source::Mongodb { mongodb } => mongodb.database.as_deref(),
            Source::Command { command } => Some(command.name.as_str()),
            Source::Redis { .. } | Source::Rabbitmq { .. } | Source::Prometheus { .. } => None,
        };
        let (kind, service) = (self.kind(), self.service()?);
        Some(match part {
            Some(part) => format!("`{part}` of the {kind} of `{service}`"),
            None => format!("the {kind} of `{service}`"),
        })
    }

    /// The first place of a snapshot that two of the sources would have.
    pub(super) fn same_place(sources: &[&Source]) -> Option<String> {
        let mut places = BTreeSet::new();
        let mut all = sources.iter().filter_map(|source| source.place());
        all.find(|place| !places.insert(place.clone()))
    }

    /// What of it cannot be carried out, by itself and among the sources before it.
    pub(super) fn checked(&self, before: &[Source], known: &BTreeSet<ServiceName>) -> Result<(), String> {
        if let Some(service) = self.service()
            && !known.contains(service)
        {
            return Err(format!("the Compose project has no service `{service}`"));
        }
        match self {
            Source::Command { command }
                if command.run.is_empty() || command.restore.as_ref().is_some_and(Vec::is_empty) =>
            {
                return Err("a command is [program, argument, …]".into());
            }
            Source::Command { command } if !is_plain(&command.name) => {
                return Err(format!(
                    "`{}` is not a name for a command's output: letters, digits, `.`, `-` and `_`",
                    command.name
                ));
            }
            Source::Volume { volume, .. } if !is_plain(volume) => {
                return Err(format!("`{volume}` is not a volume of the Compose file"));
            }
            Source::Redis { redis } if redis.password_env.as_deref().is_some_and(|name| !is_variable(name)) => {
                return Err("`password_env` is the name of a variable of the container, not the password".into());
            }
            Source::Postgres { postgres } => database(postgres.database.as_deref())?,
            Source::Mongodb { mongodb } => database(mongodb.database.as_deref())?,
            _ => {}
        }
        match self.place() {
            Some(place) if before.iter().any(|other| other.place().as_ref() == Some(&place)) => {
                Err(format!("{place} is among the sources twice; one of them would be lost"))
            }
            _ => Ok(()),
        }
    }
}

/// It becomes the name of a file.
fn database(name: Option<&str>) -> Result<(), String> {
    match name {
        Some(name) if name.is_empty() || name.len() > 63 || name.contains('/') || name.contains(char::is_control) => {
            Err(format!("`{}` is not a database's name", name.escape_debug()))
        }
        _ => Ok(()),
    }
}

fn is_plain(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    name.bytes().all(plain) && name.len() <= 200 && !name.is_empty() && !name.starts_with('.')
}

fn is_variable(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    name.bytes().all(plain) && !name.is_empty() && !name.as_bytes()[0].is_ascii_digit()
}
