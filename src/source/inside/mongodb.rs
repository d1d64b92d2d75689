use crate::backup::SourceRecord;
use crate::config::MongodbSource;
use crate::ports::SourceError;

use super::Inside;
use super::place::Place;

/// `mongodump` with the login of the container's own environment: the password goes in by a file of this process's, never
/// among the arguments.
const DUMP: &str = r#"set -eu
user=${MONGO_INITDB_ROOT_USERNAME:-}
file=${MONGO_INITDB_ROOT_USERNAME_FILE:-}
[ -n "$user" ] || [ -z "$file" ] || user=$(cat "$file")
password=${MONGO_INITDB_ROOT_PASSWORD:-}
file=${MONGO_INITDB_ROOT_PASSWORD_FILE:-}
[ -n "$password" ] || [ -z "$file" ] || password=$(cat "$file")
[ -z "$1" ] || set -- "$1" "--db=$1"
shift
[ -n "$user" ] || exec mongodump --archive --quiet "$@"
printf "password: '%s'\n" "$(printf %s "$password" | sed "s/'/''/g")" |
    mongodump --archive --quiet --config=/dev/stdin --username="$user" --authenticationDatabase=admin "$@"
"#;

const REMEDY: &str =
    "see that `mongodump` is in the image and that the login of its MONGO_INITDB_ROOT_ variables works";
/// What an archive of mongodump begins with (0x8199e26d, little-endian).
const MAGIC: [u8; 4] = [0x6d, 0xe2, 0x99, 0x81];

impl Inside<'_> {
    /// Through the same path as a command's output. Written after the tool's documentation; no server was to be had to
    /// try it on.
    pub(super) fn mongodb(&mut self, source: &MongodbSource) -> Result<SourceRecord, SourceError> {
        let container = self.container(&source.service)?;
        let database = source.database.as_deref().unwrap_or_default();
        let words = ["sh", "-c", DUMP, "mongodump", database].map(str::to_owned).to_vec();
        let spool = self.capture(&container, words, REMEDY)?;
        if spool.beginning(4).map_err(|error| self.scratch(error))? != MAGIC {
            return Err(self.failed("what `mongodump` wrote is no archive of its", REMEDY));
        }
        let place = Place::of_service(&source.service, "mongodb")?;
        let name = match source.database {
            Some(_) => format!("{database}.archive"),
            None => "all.archive".to_owned(),
        };
        let entry = place.below(name.as_bytes())?;
        let bytes = self.keep(entry.clone(), &spool)?;
        Ok(SourceRecord {
            path: entry,
            ..self.record("mongodb", &place, &[bytes])
        })
    }
}
