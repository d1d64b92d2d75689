use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::model::ServiceName;
use crate::stack::{Mount, Service, Stack};

/// What `arkwright init` found in a Compose project; rendered as an arkwright.yaml that can be read and edited.
#[derive(Debug, PartialEq)]
pub struct Proposal {
    pub releases: Vec<ProposedRelease>,
    /// Services left alone, each with the reason.
    pub left_alone: BTreeMap<ServiceName, String>,
    /// SQLite files on this host.
    pub databases: Vec<PathBuf>,
    /// Folders that services write and that are neither logs nor temporary.
    pub folders: Vec<PathBuf>,
    /// Named volumes in use: whether as files or as the server that keeps its data there is for a person to say.
    pub volumes: BTreeSet<String>,
}

#[derive(Debug, PartialEq)]
pub struct ProposedRelease {
    pub service: ServiceName,
    pub port: u16,
    pub path: String,
    /// The service opens a SQLite file for writing: two of it must never run at once.
    pub hold: bool,
}

/// What else goes into the file.
pub struct Choices {
    pub state: PathBuf,
    pub recipients: Vec<String>,
    pub timezone: String,
}

const NOT_DATA: [&str; 8] = ["log", "logs", "tmp", "temp", "cache", "backup", "backups", "run"];

/// Reads the intentions of a stack: what answers HTTP can be released, what is written can be backed up.
pub fn propose(stack: &Stack) -> Proposal {
    let databases: BTreeSet<PathBuf> = stack.services.values().flat_map(sqlite_files).collect();
    let database_folders: BTreeSet<&Path> = databases.iter().filter_map(|file| file.parent()).collect();
    let mut proposal = Proposal {
        releases: Vec::new(),
        left_alone: BTreeMap::new(),
        databases: databases.iter().cloned().collect(),
        folders: Vec::new(),
        volumes: stack.services.values().flat_map(volumes).collect(),
    };
    for (name, service) in &stack.services {
        match releasable(service) {
            Ok((port, path)) => {
                let hold = sqlite_files(service).next().is_some();
                proposal.releases.push(ProposedRelease {
                    service: name.clone(),
                    port,
                    path,
                    hold,
                });
            }
            Err(reason) => {
                proposal.left_alone.insert(name.clone(), reason.to_owned());
            }
        }
    }
    let written = stack.services.values().flat_map(written_folders);
    let folders: BTreeSet<PathBuf> = written
        .filter(|source| source.starts_with(&stack.folder) && *source != stack.folder)
        .filter(|source| !database_folders.contains(source.as_path()))
        .filter(|source| {
            let inside = source.strip_prefix(&stack.folder).unwrap_or(source);
            !inside
                .components()
                .any(|part| NOT_DATA.contains(&&*part.as_os_str().to_string_lossy()))
        })
        .collect();
    proposal.folders = folders.into_iter().collect();
    proposal
}

/// Port and path of the HTTP health check, or why the service is better left alone.
fn releasable(service: &Service) -> Result<(u16, String), &'static str> {
    let test = service
        .healthcheck
        .as_ref()
        .map(|check| check.test.join(" "))
        .unwrap_or_default();
    if service.network_mode.is_some() {
        return Err("it has a network_mode");
    }
    if service.ports.iter().any(|port| !port.published.is_empty()) {
        return Err(
            "it publishes ports itself; give it `release:` with its port and health path, and the router takes the ports over",
        );
    }
    let Some(url) = test
        .split(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ','))
        .find(|w| w.starts_with("http://"))
    else {
        return Err("no HTTP health check tells its port and path");
    };
    let rest = &url["http://".len()..];
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let port = match authority.rsplit_once(':') {
        Some((_, port)) => port
            .parse()
            .map_err(|_| "its health check names no port that can be read")?,
        None => 80,
    };
    Ok((port, format!("/{path}")))
}

/// Files on this host that the service's environment names as SQLite databases and that it may write.
fn sqlite_files(service: &Service) -> impl Iterator<Item = PathBuf> {
    let named = service.environment.values().flatten();
    let inside = named.map(|value| value.trim_start_matches("sqlite://").trim_start_matches("file:"));
    let inside = inside.filter(|v| v.starts_with('/') && [".db", ".sqlite", ".sqlite3"].iter().any(|e| v.ends_with(e)));
    inside.filter_map(|path| {
        service.mounts.iter().find_map(|mount| match mount {
            Mount::Bind {
                source,
                target,
                read_only: false,
                ..
            } => Some(source.join(Path::new(path).strip_prefix(target).ok()?)),
            _ => None,
        })
    })
}

fn volumes(service: &Service) -> impl Iterator<Item = String> {
    service.mounts.iter().filter_map(|mount| match mount {
        Mount::Volume {
            source: Some(source), ..
        } => Some(source.clone()),
        _ => None,
    })
}

fn written_folders(service: &Service) -> impl Iterator<Item = PathBuf> {
    service.mounts.iter().filter_map(|mount| match mount {
        // A path with an extension is a file that is given to the container, such as nginx.conf.
        Mount::Bind {
            source,
            read_only: false,
            ..
        } if source.extension().is_none() => Some(source.clone()),
        _ => None,
    })
}

impl Proposal {
    pub fn render(&self, stack: &Stack, choices: &Choices) -> String {
        let mut text = String::new();
        // Writing to a String does not fail.
        self.write(&mut text, stack, choices).unwrap_or_default();
        text
    }

    fn write(&self, out: &mut String, stack: &Stack, choices: &Choices) -> std::fmt::Result {
        let relative = |path: &Path| match path.strip_prefix(&stack.folder) {
            Ok(inside) => format!("./{}", inside.display()),
            Err(_) => path.display().to_string(),
        };
        writeln!(
            out,
            "# Written by `arkwright init` for the project {}; yours to edit. `arkwright check` reads it back.",
            stack.name
        )?;
        writeln!(out, "state: {}", quoted(&choices.state.display().to_string()))?;
        for volume in &self.volumes {
            writeln!(
                out,
                "# The named volume {volume} is not backed up yet: add `volume: {volume}`, or its server (`postgres`, `redis`, …)."
            )?;
        }
        for (service, reason) in &self.left_alone {
            writeln!(out, "# {service} is not released: {reason}")?;
        }
        if !self.releases.is_empty() {
            writeln!(out, "services:")?;
        }
        for release in &self.releases {
            writeln!(out, "  {}:", release.service)?;
            writeln!(out, "    release:")?;
            writeln!(out, "      port: {}", release.port)?;
            writeln!(out, "      health: {{ http: {} }}", quoted(&release.path))?;
            if release.hold {
                writeln!(
                    out,
                    "      # It writes a SQLite file that only one process may open: requests wait while it is replaced."
                )?;
                writeln!(out, "      swap: hold")?;
                if !self.databases.is_empty() {
                    writeln!(out, "      before: [{{ backup: database }}]")?;
                }
            } else {
                writeln!(
                    out,
                    "      steps: [{{ weight: 5, hold: 15m }}, {{ weight: 25, hold: 30m }}, {{ weight: 50, hold: 30m }}]"
                )?;
            }
        }
        if !self.databases.is_empty() || !self.folders.is_empty() {
            self.write_backups(out, choices, &relative)?;
        }
        writeln!(out, "timezone: {}", choices.timezone)
    }

    fn write_backups(
        &self,
        out: &mut String,
        choices: &Choices,
        relative: &dyn Fn(&Path) -> String,
    ) -> std::fmt::Result {
        writeln!(out, "backups:")?;
        writeln!(out, "  recipients:")?;
        for recipient in &choices.recipients {
            writeln!(out, "    - {recipient}")?;
        }
        // An objective that nothing measures would leave every drill inconclusive.
        writeln!(
            out,
            "  objectives: {{ rto: 4h }}     # and `rpo: 24h`, once a source has a `newest` query"
        )?;
        writeln!(out, "  stores: {{ local: {{ path: ./backups }} }}")?;
        writeln!(
            out,
            "  prune: {{ schedule: \"30 6 * * *\" }}     # removes what no `keep` asks for; without it nothing is ever removed"
        )?;
        writeln!(out, "  sets:")?;
        let mut sets = Vec::new();
        if !self.databases.is_empty() {
            sets.push("database".to_owned());
            writeln!(out, "    database:")?;
            writeln!(out, "      schedule: \"0 2 * * *\"")?;
            writeln!(
                out,
                "      # Add `newest: \"select max(created_at) from …\"` to a source, and `rpo:` above: drills then judge it."
            )?;
            writeln!(out, "      sources:")?;
            for database in &self.databases {
                writeln!(out, "        - {{ sqlite: {} }}", quoted(&relative(database)))?;
            }
            writeln!(out, "      keep: {{ daily: 7 }}")?;
        }
        for folder in &self.folders {
            let name = set_name(folder, &sets);
            writeln!(out, "    {name}:")?;
            writeln!(out, "      schedule: \"0 3 * * *\"")?;
            writeln!(out, "      sources: [{{ path: {} }}]", quoted(&relative(folder)))?;
            writeln!(out, "      keep: {{ daily: 7 }}")?;
            sets.push(name);
        }
        writeln!(
            out,
            "    full: {{ schedule: \"0 1 * * 0\", of: [{}], keep: {{ weekly: 4 }} }}",
            sets.join(", ")
        )?;
        if self.databases.is_empty() {
            return writeln!(out, "# A drill needs something to check: see `drills:` in the manual.");
        }
        writeln!(out, "drills:")?;
        writeln!(out, "  weekly:")?;
        writeln!(out, "    schedule: \"0 5 * * 0\"")?;
        writeln!(out, "    of: full")?;
        writeln!(
            out,
            "    # boot: [services to start from the backup], and HTTP checks: {{ http: \"service:port/path\" }}"
        )?;
        writeln!(out, "    checks:")?;
        for database in &self.databases {
            let path = quoted(&relative(database));
            writeln!(out, "      - {{ sqlite: {path}, integrity: true }}")?;
            writeln!(out, "      - {{ sqlite: {path}, rows: all }}")?;
        }
        Ok(())
    }
}

/// The folder's own name, with a number where another set has it.
fn set_name(folder: &Path, taken: &[String]) -> String {
    let base: String = folder
        .file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    let base: String = base
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' })
        .collect();
    let base = if base.is_empty() { "files".to_owned() } else { base };
    let free = |name: &String| name != "full" && !taken.contains(name);
    (1u32..)
        .map(|n| if n == 1 { base.clone() } else { format!("{base}-{n}") })
        .find(free)
        .unwrap_or(base)
}

/// As a double-quoted YAML scalar, which JSON strings are.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
