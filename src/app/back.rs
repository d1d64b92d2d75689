use std::sync::Arc;

use crate::backup::{EntryPath, Identities, NotAPath, SERVICES};
use crate::config::{PostgresSource, Source};
use crate::model::{Generation, ServiceName};
use crate::ports::{EngineError, Store};
use crate::run::Progress;
use crate::run::restore::{RestoreError, RestoreOptions, Selection, restore};
use crate::run::snapshots::{Trust, Which};
use crate::source::{Back, PutBackError, put_back};
use crate::state::StateError;

use super::Project;

/// What of a snapshot goes back into the running service it came from.
#[derive(Clone, Debug, PartialEq)]
pub enum Wanted {
    /// A database of PostgreSQL, under another name.
    Database {
        service: ServiceName,
        database: String,
        name: String,
    },
    /// A command's output, to the `restore` of the same source.
    Output { service: ServiceName, name: String },
}

/// What was put back.
#[derive(Clone, Debug, serde::Serialize)]
pub struct PutBack {
    pub generation: Generation,
    pub service: ServiceName,
    pub path: EntryPath,
    pub bytes: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum PutBackFailed {
    #[error(
        "no source of arkwright.yaml says how `{name}` goes back into {service}; give the `command` of that name a `restore`"
    )]
    NoCommand { service: ServiceName, name: String },
    #[error("`{text}` can name nothing in a snapshot")]
    BadName {
        text: String,
        #[source]
        source: NotAPath,
    },
    #[error("the snapshot has no plain file at `{0}`; nothing was put back: restore it with --to and look at it there")]
    NotOneFile(EntryPath),
    #[error("there is no room for it in the project's scratch folder")]
    Scratch(#[source] std::io::Error),
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Restore(#[from] RestoreError),
    #[error(transparent)]
    Back(#[from] PutBackError),
}

impl Project {
    /// Restores one file to the scratch folder, where its bytes are proven, and gives it to the service. What is run comes
    /// from arkwright.yaml alone, never from the snapshot.
    pub async fn put_back(
        &self,
        wanted: &Wanted,
        store: &Arc<dyn Store>,
        trust: &Trust,
        identities: &Identities,
        which: &Which,
        progress: &dyn Progress,
    ) -> Result<PutBack, PutBackFailed> {
        let (service, path, back) = match wanted {
            Wanted::Database {
                service,
                database,
                name,
            } => {
                let back = Back::Database {
                    user: role(self.sources(), service, database),
                    name: name.clone(),
                };
                (service, format!("postgres/{database}.dump"), back)
            }
            Wanted::Output { service, name } => {
                let program = self.restorer(service, name)?;
                (service, format!("command/{name}"), Back::Program(program))
            }
        };
        let path = format!("{SERVICES}/{service}/{path}");
        let entry =
            EntryPath::from_bytes(path.as_bytes()).map_err(|source| PutBackFailed::BadName { text: path, source })?;
        // Better known before much is read.
        let engine = self.engine().await?;
        let scratch = self.folder()?.scratch();
        let scratch = tempfile::Builder::new().prefix("restore-").tempdir_in(scratch);
        let scratch = scratch.map_err(PutBackFailed::Scratch)?;
        let options = RestoreOptions {
            selection: Selection::Path(entry.clone()),
            target: scratch.path().join("tree"),
            overwrite: false,
            devices: false,
        };
        let report = restore(store, trust, identities, which, &options, progress).await?;
        if (report.files, report.links, report.hardlinks, report.specials) != (1, 0, 0, 0) {
            return Err(PutBackFailed::NotOneFile(entry));
        }
        let file = options
            .target
            .join(entry.parts().iter().fold(std::path::PathBuf::new(), |path, part| {
                path.join(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(part))
            }));
        progress.say(&format!("{entry} is whole, and goes into {service}"));
        put_back(engine.as_ref(), &self.stack().name, service, &file, &back).await?;
        Ok(PutBack {
            generation: report.generation,
            service: service.clone(),
            path: entry,
            bytes: report.bytes,
        })
    }

    fn sources(&self) -> impl Iterator<Item = &Source> {
        let sets = self.config.backups.iter().flat_map(|backups| backups.sets.values());
        sets.flat_map(|set| &set.sources)
    }

    fn restorer(&self, service: &ServiceName, name: &str) -> Result<Vec<String>, PutBackFailed> {
        let found = self.sources().find_map(|source| match source {
            Source::Command { command } if command.service == *service && command.name == name => {
                command.restore.clone()
            }
            _ => None,
        });
        found.ok_or_else(|| PutBackFailed::NoCommand {
            service: service.clone(),
            name: name.to_owned(),
        })
    }
}

/// Whom the source that dumped a database logs in as: the one that names it, else the one of all databases; `None` where
/// that one leaves it to the container.
fn role<'a>(sources: impl Iterator<Item = &'a Source>, service: &ServiceName, database: &str) -> Option<String> {
    let of_service = sources.filter_map(|source| match source {
        Source::Postgres { postgres } if postgres.service == *service => Some(postgres),
        _ => None,
    });
    let of_service: Vec<&PostgresSource> = of_service.collect();
    let of = |wanted: Option<&str>| of_service.iter().find(|source| source.database.as_deref() == wanted);
    of(Some(database)).or_else(|| of(None))?.user.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_goes_back_as_the_user_of_its_own_source() {
        let sources: Vec<Source> = serde_json::from_str(
            r#"[
                { "postgres": { "service": "other", "database": "shop", "user": "stranger" } },
                { "postgres": { "service": "db", "database": "shop" } },
                { "postgres": { "service": "db", "database": "books", "user": "librarian" } },
                { "postgres": { "service": "db", "user": "keeper" } },
                { "postgres": { "service": "plain" } },
                { "postgres": { "service": "plain", "database": "books", "user": "librarian" } }
            ]"#,
        )
        .expect("sources");
        for (service, database, user) in [
            ("db", "shop", None),
            ("db", "books", Some("librarian")),
            ("db", "else", Some("keeper")),
            ("plain", "shop", None),
            ("other", "books", None),
        ] {
            let service: ServiceName = service.parse().expect("a name");
            let found = role(sources.iter(), &service, database);
            assert_eq!(found.as_deref(), user, "{database} of {service}");
        }
    }
}
