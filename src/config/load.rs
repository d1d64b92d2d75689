use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::ServiceName;
use crate::schedule::{Calendar, Crontab, Zone};
use crate::stack::place_of;

use super::{
    Background, Backups, Check, ConfigError, DrillConfig, Gate, GateConfig, HookClass, Release, Releases,
    ServiceConfig, Source, StorePlace, Swap, is_path,
};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Journal, catalogue and keys; a folder a project below it, 0700.
    #[serde(default = "default_state")]
    pub state: PathBuf,
    #[serde(default)]
    pub services: BTreeMap<ServiceName, ServiceConfig>,
    /// Conditions that releases name under `gates`.
    #[serde(default)]
    pub gates: BTreeMap<String, GateConfig>,
    #[serde(default)]
    pub router: RouterConfig,
    #[serde(default)]
    pub releases: Releases,
    #[serde(default)]
    pub backups: Option<Backups>,
    #[serde(default)]
    pub drills: BTreeMap<String, DrillConfig>,
    #[serde(default)]
    pub agent: AgentConfig,
    /// The zone schedules are read in.
    #[serde(default = "utc")]
    #[schemars(with = "String")]
    pub timezone: chrono_tz::Tz,
    /// The folder arkwright.yaml lies in; relative paths start here.
    #[serde(skip)]
    pub folder: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RouterConfig {
    /// HAProxy 2.6 or newer.
    pub image: String,
}

impl Default for RouterConfig {
    fn default() -> Self {
        RouterConfig {
            image: "docker.io/library/haproxy:3.0".into(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AgentConfig {
    /// Health and metrics; loopback.
    pub listen: SocketAddr,
    /// Where clients reach the agent; `/run/arkwright/<project>.sock` where nothing is said.
    pub socket: Option<PathBuf>,
    /// The group that may use the socket, such as the workflow runner's; root alone where nothing is said.
    pub group: Option<String>,
}

impl Default for AgentConfig {
    fn default() -> Self {
        AgentConfig {
            listen: SocketAddr::from(([127, 0, 0, 1], 7077)),
            socket: None,
            group: None,
        }
    }
}

fn default_state() -> PathBuf {
    "/var/lib/arkwright".into()
}

fn utc() -> chrono_tz::Tz {
    chrono_tz::UTC
}

/// The JSON Schema of arkwright.yaml.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Config).to_value()
}

/// Reads the text of `file`; `services` are those of the Compose project.
pub fn load(file: &Path, text: &str, services: &BTreeSet<ServiceName>) -> Result<Config, ConfigError> {
    let reading = Reading { file, text };
    reading.no_private_key()?;
    let mut config: Config = serde_yaml::from_str(text).map_err(|error| reading.syntax(&error))?;
    config.folder = file.parent().unwrap_or(Path::new("")).to_path_buf();
    reading.gates(&config, services)?;
    reading.services(&config, services)?;
    config
        .releases
        .calendar(Zone::Named(config.timezone))
        .map_err(|(key, message)| reading.at(&["releases", key], message, None))?;
    if let Some(backups) = &config.backups {
        reading.backups(backups, services)?;
    }
    reading.drills(&config, services)?;
    Ok(config)
}

/// How a private key begins, of age and in PEM.
const PRIVATE_KEYS: [&str; 2] = ["AGE-SECRET-KEY-1", "PRIVATE KEY-----"];

/// What the secret half of a bucket's credentials is called.
const ACCESS_KEYS: [&str; 4] = [
    "secret_access_key",
    "aws_secret_access_key",
    "secret_key",
    "session_token",
];

struct Reading<'a> {
    file: &'a Path,
    text: &'a str,
}

impl Reading<'_> {
    fn error(&self, line: usize, column: usize, message: String, help: Option<String>) -> ConfigError {
        let excerpt = match line {
            0 => String::new(),
            _ => self
                .text
                .lines()
                .nth(line - 1)
                .unwrap_or_default()
                .chars()
                .take(200)
                .collect(),
        };
        ConfigError {
            file: self.file.to_path_buf(),
            line,
            column,
            excerpt,
            message,
            help,
        }
    }

    /// Looked for in the text, since any other complaint would show the line.
    fn no_private_key(&self) -> Result<(), ConfigError> {
        let found = self.text.lines().enumerate().find_map(|(at, line)| {
            let upper = line.to_ascii_uppercase();
            let column = PRIVATE_KEYS.iter().find_map(|mark| upper.find(mark))?;
            Some((at + 1, column + 1))
        });
        let Some((line, column)) = found else {
            return self.no_access_key();
        };
        Err(ConfigError {
            file: self.file.to_path_buf(),
            line,
            column,
            excerpt: String::new(),
            message: "this is a PRIVATE key; `recipients` takes public ones (age1…)".into(),
            help: Some("remove it, and make new keys (`arkwright key new`) if anybody else could read the file".into()),
        })
    }

    /// The keys of a bucket, whose line no complaint may show.
    fn no_access_key(&self) -> Result<(), ConfigError> {
        let is_key = |line: &str| {
            let line = line.trim_start().to_ascii_lowercase();
            let inside = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let named = ACCESS_KEYS
                .iter()
                .filter_map(|name| line.split_once(name))
                .any(|(before, after)| {
                    !before.ends_with(inside) && after.trim_start_matches(['"', '\'', ' ']).starts_with(':')
                });
            named && !line.starts_with('#')
        };
        let Some(at) = self.text.lines().position(is_key) else {
            return Ok(());
        };
        Err(ConfigError {
            file: self.file.to_path_buf(),
            line: at + 1,
            column: 1,
            excerpt: String::new(),
            message: "the keys of a bucket are never written here".into(),
            help: Some(
                "put them into the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY) or into a file in AWS's format, \
                 named by `credentials: { file: … }` of the store; make new ones if anybody else could read this file"
                    .into(),
            ),
        })
    }

    fn syntax(&self, error: &serde_yaml::Error) -> ConfigError {
        let (line, column) = error.location().map_or((0, 0), |at| (at.line(), at.column()));
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or_default().to_owned();
        let help = nearest_of(&message);
        self.error(line, column, message, help)
    }

    /// An error about the value at a path of keys.
    fn at(&self, path: &[&str], message: String, help: Option<String>) -> ConfigError {
        let (line, column) = place_of(self.text, path).unwrap_or_default();
        self.error(line as usize, column as usize, message, help)
    }

    fn services(&self, config: &Config, known: &BTreeSet<ServiceName>) -> Result<(), ConfigError> {
        for (name, service) in &config.services {
            let release = &service.release;
            let path = ["services", name.as_str(), "release"];
            let inside = |key| [path[0], path[1], path[2], key];
            if !known.contains(name) {
                let names = known.iter().map(ServiceName::as_str);
                let message = format!("the Compose project has no service `{name}`");
                return Err(self.at(&path[..2], message, nearest(name.as_str(), names)));
            }
            if let Err((key, message)) = release.checked() {
                let help = match (release.swap, key) {
                    (Swap::Recreate, _) => Some("it has no router in front, and one container takes the other's place"),
                    (_, "") => Some("or `swap: recreate`, for what does not speak HTTP"),
                    _ => None,
                };
                let place = inside(key);
                let place = if key.is_empty() { &place[..3] } else { &place[..] };
                return Err(self.at(place, message, help.map(str::to_owned)));
            }
            if release.health.as_ref().is_some_and(|health| !is_path(&health.http)) {
                return Err(self.at(
                    &inside("health"),
                    "`health.http` is a path that begins with `/`".into(),
                    None,
                ));
            }
            if release.swap == Swap::Hold && !release.steps.is_empty() {
                let help = "a held swap moves all traffic at once; remove `steps`, or `swap: hold`";
                return Err(self.at(
                    &inside("steps"),
                    "`steps` and `swap: hold` exclude each other".into(),
                    Some(help.into()),
                ));
            }
            if let Some(Err(message)) = release.background.as_ref().map(Background::checked) {
                return Err(self.at(&inside("background"), message, None));
            }
            self.watched(&config.gates, name, release)?;
            let weights: Vec<u8> = release.steps.iter().map(|step| step.weight).collect();
            if weights.iter().any(|w| !(1..=99).contains(w)) || weights.windows(2).any(|pair| pair[0] >= pair[1]) {
                let message = "the weights of `steps` lie between 1 and 99 and grow".into();
                return Err(self.at(
                    &inside("steps"),
                    message,
                    Some("the last move, to 100, is implied".into()),
                ));
            }
            if release.after.iter().any(|after| after.run.is_empty()) {
                let message = "say what to `run`: [program, argument, …]".into();
                return Err(self.at(&inside("after"), message, None));
            }
            let irreversible = release.hooks().any(|hook| hook.class == HookClass::Irreversible);
            if release.swap == Swap::Hold && irreversible {
                let help = "until the new one is healthy a held swap puts its files back and starts the old one again";
                let message = "`class: irreversible` and `swap: hold` exclude each other".into();
                return Err(self.at(&inside("before"), message, Some(help.into())));
            }
            for before in &release.before {
                before
                    .checked()
                    .map_err(|message| self.at(&inside("before"), message, None))?;
                let Some(backup) = &before.backup else { continue };
                let sets = config.backups.iter().flat_map(|b| b.sets.keys().map(String::as_str));
                if !sets.clone().any(|set| set == backup) {
                    let message = format!("there is no backup set `{backup}`");
                    return Err(self.at(&inside("before"), message, nearest(backup, sets)));
                }
            }
        }
        Ok(())
    }

    fn gates(&self, config: &Config, known: &BTreeSet<ServiceName>) -> Result<(), ConfigError> {
        for (name, gate) in &config.gates {
            gate.checked(name, &config.folder)
                .map_err(|(key, message)| self.at(&["gates", name, key], message, None))?;
            if let Some(service) = gate.service.as_ref().filter(|service| !known.contains(*service)) {
                let names = known.iter().map(ServiceName::as_str);
                let message = format!("the Compose project has no service `{service}`");
                return Err(self.at(&["gates", name, "service"], message, nearest(service.as_str(), names)));
            }
        }
        Ok(())
    }

    /// What judges a release has something to judge by, and a time to do it in.
    fn watched(
        &self,
        gates: &BTreeMap<String, GateConfig>,
        name: &ServiceName,
        release: &Release,
    ) -> Result<(), ConfigError> {
        let inside = |key| ["services", name.as_str(), "release", key];
        if let Some(gate) = release.gates.iter().find(|gate| !gates.contains_key(*gate)) {
            let message = format!("there is no gate `{gate}`");
            return Err(self.at(
                &inside("gates"),
                message,
                nearest(gate, gates.keys().map(String::as_str)),
            ));
        }
        if release.swap == Swap::Hold && (!release.gates.is_empty() || release.settle.is_some()) {
            let key = if release.gates.is_empty() { "settle" } else { "gates" };
            let help = "once a held swap is made its data is the new version's: nothing may take it back by itself";
            let message = format!("`{key}` and `swap: hold` exclude each other");
            return Err(self.at(&inside(key), message, Some(help.into())));
        }
        if !release.gates.is_empty() && release.steps.is_empty() && release.settle.is_none() {
            let help = "give the release `steps`, or a time to `settle` after it";
            return Err(self.at(
                &inside("gates"),
                "the gates would never be asked".into(),
                Some(help.into()),
            ));
        }
        if let Some(probe) = &release.probe
            && !is_path(&probe.http)
        {
            return Err(self.at(
                &inside("probe"),
                "`probe.http` is a path that begins with `/`".into(),
                None,
            ));
        }
        if let Some(probe) = &release.probe
            && (probe.every.std().is_zero() || probe.failures == 0)
        {
            let message = "a probe is sent `every` so long and fails after so many `failures`, both above nought";
            return Err(self.at(&inside("probe"), message.into(), None));
        }
        Ok(())
    }

    fn backups(&self, backups: &Backups, known: &BTreeSet<ServiceName>) -> Result<(), ConfigError> {
        if backups.stores.is_empty() {
            return Err(self.at(
                &["backups", "stores"],
                "no store: backups would go nowhere".into(),
                None,
            ));
        }
        for (name, store) in &backups.stores {
            let path = ["backups", "stores", name.as_str()];
            match store.place() {
                None => {
                    let message = format!("the store `{name}` needs either `path` or `s3`");
                    return Err(self.at(&path, message, None));
                }
                Some(StorePlace::Bucket(s3)) => s3.checked().map_err(|(key, message)| {
                    let inside = [path[0], path[1], path[2], "s3", key];
                    let inside = if key.is_empty() { &inside[..4] } else { &inside[..] };
                    self.at(inside, message, None)
                })?,
                Some(StorePlace::Folder(_)) => {}
            }
        }
        for (name, set) in &backups.sets {
            let path = ["backups", "sets", name.as_str()];
            let inside = |key| [path[0], path[1], path[2], key];
            if name.is_empty()
                || !name
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
            {
                return Err(self.at(
                    &path,
                    format!("`{name}` is not a name of a set: letters, digits, `-` and `_`"),
                    None,
                ));
            }
            if set.sources.is_empty() == set.of.is_empty() {
                return Err(self.at(&path, format!("the set `{name}` needs either `sources` or `of`"), None));
            }
            if let Some(line) = &set.schedule {
                line.parse::<Crontab>()
                    .map_err(|e| self.at(&inside("schedule"), e.to_string(), None))?;
            }
            for (at, source) in set.sources.iter().enumerate() {
                source
                    .checked(&set.sources[..at], known)
                    .map_err(|message| self.at(&inside("sources"), message, None))?;
            }
            for other in &set.of {
                if !backups.sets.contains_key(other) {
                    let message = format!("there is no backup set `{other}`");
                    return Err(self.at(
                        &inside("of"),
                        message,
                        nearest(other, backups.sets.keys().map(String::as_str)),
                    ));
                }
            }
            for store in &set.stores {
                if !backups.stores.contains_key(store) {
                    let message = format!("there is no store `{store}`");
                    return Err(self.at(
                        &inside("stores"),
                        message,
                        nearest(store, backups.stores.keys().map(String::as_str)),
                    ));
                }
            }
            backups
                .sources_of(name)
                .map_err(|message| self.at(&inside("of"), message, None))?;
        }
        // Once every set is good by itself, what is left is between those of an `of`.
        for name in backups.sets.keys() {
            let path = ["backups", "sets", name.as_str()];
            let sources = backups
                .sources_of(name)
                .map_err(|message| self.at(&path, message, None))?;
            if let Some(place) = Source::same_place(&sources) {
                let message =
                    format!("{place} is read in two ways by the sets of which `{name}` is made; one would be lost");
                let help = "write that source alike in both sets, or leave one of them out of `of`";
                return Err(self.at(&path, message, Some(help.into())));
            }
        }
        if let Some(line) = &backups.prune.schedule {
            line.parse::<Crontab>()
                .map_err(|e| self.at(&["backups", "prune", "schedule"], e.to_string(), None))?;
        }
        Ok(())
    }

    fn drills(&self, config: &Config, known: &BTreeSet<ServiceName>) -> Result<(), ConfigError> {
        for (name, drill) in &config.drills {
            let path = ["drills", name.as_str()];
            let inside = |key| [path[0], path[1], key];
            let sets: Vec<&str> = config
                .backups
                .iter()
                .flat_map(|b| b.sets.keys().map(String::as_str))
                .collect();
            if !sets.contains(&drill.of.as_str()) {
                let message = format!("there is no backup set `{}`", drill.of);
                return Err(self.at(&inside("of"), message, nearest(&drill.of, sets.into_iter())));
            }
            if let Some(line) = &drill.schedule {
                line.parse::<Crontab>()
                    .map_err(|e| self.at(&inside("schedule"), e.to_string(), None))?;
            }
            if let Some(service) = drill.boot.iter().find(|service| !known.contains(*service)) {
                let names = known.iter().map(ServiceName::as_str);
                let message = format!("the Compose project has no service `{service}`");
                return Err(self.at(&inside("boot"), message, nearest(service.as_str(), names)));
            }
            if drill.checks.is_empty() {
                let message = format!("the drill `{name}` checks nothing, so it could prove nothing");
                return Err(self.at(&path, message, None));
            }
            for check in &drill.checks {
                if let Check::Integrity { integrity: false, .. } = check {
                    let message = "`integrity: false` would be a check that checks nothing; remove it".into();
                    return Err(self.at(&inside("checks"), message, None));
                }
                if let Check::Http { http, .. } = check
                    && Check::http_target(http).is_none()
                {
                    let message = format!("`{http}` is not of the form service:port/path");
                    return Err(self.at(&inside("checks"), message, None));
                }
            }
        }
        Ok(())
    }
}

impl Config {
    /// The services the router stands in front of.
    pub fn routed(&self) -> impl Iterator<Item = (&ServiceName, &Release)> {
        let all = self.services.iter().map(|(name, config)| (name, &config.release));
        all.filter(|(_, release)| release.swap != Swap::Recreate)
    }

    /// When releases may begin; one that does not make sense was refused when the file was read.
    pub fn calendar(&self) -> Calendar {
        self.releases.calendar(Zone::Named(self.timezone)).unwrap_or_default()
    }

    /// The gates of a release, in the order it names them; those that do not fit were refused when the file was read.
    pub fn gates_of(&self, release: &Release) -> Vec<Gate> {
        let named = release.gates.iter().filter_map(|name| self.gates.get_key_value(name));
        named
            .filter_map(|(name, gate)| gate.checked(name, &self.folder).ok())
            .collect()
    }
}

impl Config {
    /// The databases that a held release has to itself, absolute: those of the sets that are backed up before it.
    pub fn databases_of(&self, release: &Release) -> Vec<PathBuf> {
        let held = self.backups.iter().filter(|_| release.swap == Swap::Hold);
        let sources = held.flat_map(|backups| {
            let sets = release.before.iter().filter_map(|before| before.backup.as_ref());
            // A set that is not there was refused when the configuration was read.
            sets.flat_map(|set| backups.sources_of(set).unwrap_or_default())
        });
        let mut files: Vec<PathBuf> = sources
            .filter_map(|source| match source {
                Source::Sqlite { sqlite, .. } => Some(self.folder.join(sqlite).components().collect()),
                _ => None,
            })
            .collect();
        files.sort();
        files.dedup();
        files
    }
}

impl Check {
    /// `service:port/path` in its three parts.
    pub fn http_target(text: &str) -> Option<(&str, u16, &str)> {
        let (authority, _) = text.split_once('/')?;
        let (service, port) = authority.split_once(':')?;
        Some((service, port.parse().ok()?, &text[authority.len()..]))
    }
}

impl Backups {
    /// The sources of a set, those of `of` included, databases before files, each once.
    pub fn sources_of(&self, set: &str) -> Result<Vec<&Source>, String> {
        let mut found = Vec::new();
        self.collect(set, &mut Vec::new(), &mut found)?;
        let (databases, files): (Vec<&Source>, Vec<&Source>) = found.into_iter().partition(|source| !source.is_files());
        Ok(databases.into_iter().chain(files).collect())
    }

    /// The stores a set goes to: those it names, else all; none for a set that is not there.
    pub fn stores_of(&self, set: &str) -> Vec<&str> {
        match self.sets.get(set) {
            None => Vec::new(),
            Some(set) if set.stores.is_empty() => self.stores.keys().map(String::as_str).collect(),
            Some(set) => set.stores.iter().map(String::as_str).collect(),
        }
    }

    fn collect<'a>(&'a self, set: &str, above: &mut Vec<String>, found: &mut Vec<&'a Source>) -> Result<(), String> {
        if above.iter().any(|name| name == set) {
            return Err(format!(
                "the set `{set}` is made of itself: {} → {set}",
                above.join(" → ")
            ));
        }
        let config = self
            .sets
            .get(set)
            .ok_or_else(|| format!("there is no backup set `{set}`"))?;
        above.push(set.to_owned());
        for source in &config.sources {
            if !found.contains(&source) {
                found.push(source);
            }
        }
        for other in &config.of {
            self.collect(other, above, found)?;
        }
        above.pop();
        Ok(())
    }
}

/// The known key nearest to what was written, as a help line.
fn nearest<'a>(written: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    known
        .map(|name| (strsim::damerau_levenshtein(written, name), name))
        .filter(|(distance, name)| *distance <= 1 + name.len() / 3)
        .min()
        .map(|(_, name)| format!("did you mean `{name}`?"))
}

/// Reads serde's "unknown field `x`, expected one of `a`, `b`" for the nearest.
fn nearest_of(message: &str) -> Option<String> {
    let (head, tail) = message.split_once("expected")?;
    let written = head.split('`').nth(1)?;
    nearest(written, tail.split('`').skip(1).step_by(2))
}
