use std::collections::BTreeMap;

use serde_json::json;

use crate::backup::SourceRecord;
use crate::config::PostgresSource;
use crate::ports::{Container, SourceError};

use super::Inside;
use super::place::Place;

/// Runs a PostgreSQL tool with the login the container's own environment holds: role and database are the first two
/// words, and the password never is among them.
pub(super) const LOGIN: &str = r#"set -eu
if [ -z "${PGPASSWORD:-}" ]; then
    if [ -n "${POSTGRES_PASSWORD:-}" ]; then
        PGPASSWORD=$POSTGRES_PASSWORD
    elif [ -n "${POSTGRES_PASSWORD_FILE:-}" ] && [ -r "$POSTGRES_PASSWORD_FILE" ]; then
        PGPASSWORD=$(cat "$POSTGRES_PASSWORD_FILE")
    fi
fi
[ -z "${PGPASSWORD:-}" ] || export PGPASSWORD
PGUSER=${1:-${PGUSER:-${POSTGRES_USER:-postgres}}}
PGDATABASE=${2:-postgres}
export PGUSER PGDATABASE PGCONNECT_TIMEOUT=30 PGAPPNAME=arkwright
shift 2
exec "$@"
"#;

const REMEDY: &str = "see that the server is up and that its role may log in over its socket, and run the backup again";

/// Every database that can be dumped, each ended by a NUL.
const DATABASES: &str = "select datname from pg_database where datallowconn and not datistemplate order by datname";
/// What the statistics say, which costs nothing.
const ESTIMATES: &str = "select n.nspname || '.' || c.relname, greatest(c.reltuples, 0)::bigint from pg_class c \
                         join pg_namespace n on n.oid = c.relnamespace where c.relkind in ('r', 'p', 'm') \
                         and n.nspname not like 'pg\\_%' and n.nspname <> 'information_schema' order by 1 limit 5000";

/// What a dump in the custom format begins with.
const MAGIC: &[u8] = b"PGDMP";
/// What `pg_dumpall` ends with.
const COMPLETE: &str = "PostgreSQL database cluster dump complete";

impl Inside<'_> {
    /// Each database as `pg_dump --format=custom` writes it, consistent in itself, and the roles without their passwords.
    pub(super) fn postgres(&mut self, source: &PostgresSource) -> Result<SourceRecord, SourceError> {
        let container = self.container(&source.service)?;
        let databases = match &source.database {
            Some(database) => vec![database.clone()],
            None => self.databases(&container, source)?,
        };
        let place = Place::of_service(&source.service, "postgres")?;
        let globals = ["pg_dumpall", "--globals-only", "--no-role-passwords", "--no-password"];
        let roles = self.capture(&container, login(source, "", &globals), REMEDY)?;
        let end = roles.end(200).map_err(|error| self.scratch(error))?;
        if !String::from_utf8_lossy(&end).contains(COMPLETE) {
            return Err(self.failed("what `pg_dumpall` wrote is not whole", REMEDY));
        }
        let mut kept = vec![self.keep(place.below(b"globals.sql")?, &roles)?];
        for database in &databases {
            kept.push(self.database(&container, source, &place, database)?);
            let about = self.about(&container, source, database)?;
            kept.push(self.keep_text(place.below(format!("{database}.about.json").as_bytes())?, about)?);
        }
        let record = self.record("postgres", &place, &kept);
        Ok(match &source.database {
            Some(database) => SourceRecord {
                path: place.below(format!("{database}.dump").as_bytes())?,
                ..record
            },
            None => record,
        })
    }

    fn databases(&self, container: &Container, source: &PostgresSource) -> Result<Vec<String>, SourceError> {
        let list = ["psql", "-XAtq0w", "-c", DATABASES];
        let answer = self.ask(container, &login(source, "", &list), REMEDY)?;
        let names = answer.split(|b| *b == 0).filter(|name| !name.is_empty());
        let mut databases = Vec::new();
        for name in names {
            match std::str::from_utf8(name) {
                Ok(name) if !name.contains('/') && !name.contains(char::is_control) => databases.push(name.to_owned()),
                _ => {
                    let shown = crate::backup::escape(name);
                    return Err(self.failed(
                        format!("the database `{shown}` has a name no file can have"),
                        "rename it, or name the databases that are wanted, each as a source",
                    ));
                }
            }
        }
        match databases.is_empty() {
            true => Err(self.failed("the server names no database", REMEDY)),
            false => Ok(databases),
        }
    }

    fn database(
        &mut self,
        container: &Container,
        source: &PostgresSource,
        place: &Place,
        database: &str,
    ) -> Result<u64, SourceError> {
        let dump = [
            "pg_dump",
            "--format=custom",
            "--compress=1",
            "--lock-wait-timeout=60000",
            "--no-password",
        ];
        let spool = self.capture(container, login(source, database, &dump), REMEDY)?;
        if spool.beginning(MAGIC.len()).map_err(|error| self.scratch(error))? != MAGIC {
            return Err(self.failed("what `pg_dump` wrote is no dump in its custom format", REMEDY));
        }
        self.keep(place.below(format!("{database}.dump").as_bytes())?, &spool)
    }

    /// Of which server the dump is, and about how much is in it.
    fn about(&self, container: &Container, source: &PostgresSource, database: &str) -> Result<String, SourceError> {
        let psql = |query| login(source, database, &["psql", "-XAtq0wz", "-c", query]);
        let version = self.ask(container, &psql("show server_version"), REMEDY)?;
        let estimates = self.ask(container, &psql(ESTIMATES), REMEDY)?;
        let estimates = String::from_utf8_lossy(&estimates).into_owned();
        let fields: Vec<&str> = estimates.split('\0').collect();
        let rows: BTreeMap<&str, u64> = fields
            .chunks_exact(2)
            .filter_map(|pair| Some((pair[0], pair[1].parse().ok()?)))
            .collect();
        let about = json!({
            "server": format!("PostgreSQL {}", String::from_utf8_lossy(&version).trim_matches(['\0', '\n'])),
            "database": database,
            "estimated_rows": rows,
        });
        Ok(format!("{about:#}\n"))
    }
}

/// A tool with the login of its container, on one database; without one on the server's own.
fn login(source: &PostgresSource, database: &str, tool: &[&str]) -> Vec<String> {
    let user = source.user.as_deref().unwrap_or_default();
    let head = ["sh", "-c", LOGIN, "arkwright", user, database];
    head.iter().chain(tool).map(|word| (*word).to_owned()).collect()
}
