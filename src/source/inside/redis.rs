use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::backup::SourceRecord;
use crate::config::RedisSource;
use crate::ports::{Container, SourceError};

use super::place::Place;
use super::{Inside, SILENCE};

/// `redis-cli` with the password of the container's own environment, never among the arguments: the first words are the
/// port and the variable that holds it.
const CLI: &str = r#"set -eu
port=$1
if [ -n "$2" ]; then
    eval "REDISCLI_AUTH=\${$2:-}"
elif [ -z "${REDISCLI_AUTH:-}" ]; then
    REDISCLI_AUTH=${REDIS_PASSWORD:-}
fi
[ -z "$REDISCLI_AUTH" ] && unset REDISCLI_AUTH || export REDISCLI_AUTH
shift 2
exec redis-cli -p "$port" -e "$@"
"#;

const REMEDY: &str = "see that the server is up, that `redis-cli` is in its image and that its password is in the \
                      container's REDIS_PASSWORD or in the variable `password_env` names, and run the backup again";
/// Between looks at whether the snapshot is written.
const LOOK: Duration = Duration::from_millis(200);
/// An RDB file begins with this, and ends with 255 and eight bytes of checksum.
const MAGIC: &[u8] = b"REDIS";
const LAST: u8 = 255;
const CHECKSUM: u64 = 8;

impl Inside<'_> {
    /// A snapshot the server saves for this backup, read once it is whole: the server writes it beside the old one and
    /// renames it, whether or not it also logs every write (AOF).
    pub(super) fn redis(&mut self, source: &RedisSource) -> Result<SourceRecord, SourceError> {
        let container = self.container(&source.service)?;
        let asked = self.time(&container, source)?;
        self.save(&container, source)?;
        self.await_save(&container, source, asked)?;
        let folder = self.setting(&container, source, "dir")?;
        let name = self.setting(&container, source, "dbfilename")?;
        let path = format!("{}/{name}", folder.trim_end_matches('/'));
        let spool = self.capture(&container, super::words(["cat", "--", &path]), REMEDY)?;
        let beginning = spool.beginning(MAGIC.len()).map_err(|error| self.scratch(error))?;
        let end = spool.end(CHECKSUM + 1).map_err(|error| self.scratch(error))?;
        if beginning != MAGIC || end.first() != Some(&LAST) {
            return Err(self.failed(format!("{path} is no whole RDB file"), REMEDY));
        }
        let about = self.about_redis(&container, source)?;
        let place = Place::of_service(&source.service, "redis")?;
        let entry = place.below(b"dump.rdb")?;
        let kept = [
            self.keep(entry.clone(), &spool)?,
            self.keep_text(place.below(b"about.json")?, about)?,
        ];
        Ok(SourceRecord {
            path: entry,
            ..self.record("redis", &place, &kept)
        })
    }

    fn redis_says(&self, container: &Container, source: &RedisSource, words: &[&str]) -> Result<String, SourceError> {
        let port = source.port.to_string();
        let variable = source.password_env.as_deref().unwrap_or_default();
        let head = ["sh", "-c", CLI, "arkwright", &port, variable];
        let all: Vec<String> = head.iter().chain(words).map(|word| (*word).to_owned()).collect();
        let answer = self.ask(container, &all, REMEDY)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    /// The server's own clock, in seconds.
    fn time(&self, container: &Container, source: &RedisSource) -> Result<u64, SourceError> {
        let answer = self.redis_says(container, source, &["TIME"])?;
        let seconds = answer.lines().next().and_then(|line| line.trim().parse().ok());
        seconds.ok_or_else(|| self.failed(format!("the server tells no time: {}", answer.trim()), REMEDY))
    }

    /// Asks for a snapshot; one that is being written when it is asked began too early to count.
    fn save(&self, container: &Container, source: &RedisSource) -> Result<(), SourceError> {
        let begun = Instant::now();
        loop {
            let info = self.persistence(container, source)?;
            let busy = |key: &str| info.get(key).is_some_and(|value| value == "1");
            if !busy("rdb_bgsave_in_progress") && !busy("aof_rewrite_in_progress") {
                return self.redis_says(container, source, &["BGSAVE"]).map(|_| ());
            }
            self.wait(begun)?;
        }
    }

    fn await_save(&self, container: &Container, source: &RedisSource, asked: u64) -> Result<(), SourceError> {
        let begun = Instant::now();
        loop {
            let info = self.persistence(container, source)?;
            let word = |key: &str| info.get(key).map_or("", String::as_str);
            if word("rdb_bgsave_in_progress") == "0" {
                let saved: u64 = word("rdb_last_save_time").parse().unwrap_or_default();
                return match word("rdb_last_bgsave_status") {
                    "ok" if saved >= asked => Ok(()),
                    "ok" => Err(self.failed("the server did not save its snapshot", REMEDY)),
                    status => Err(self.failed(
                        format!("the server could not save its snapshot (rdb_last_bgsave_status: {status})"),
                        "look at its log: the disk may be full, or memory for the copy missing",
                    )),
                };
            }
            self.wait(begun)?;
        }
    }

    fn wait(&self, begun: Instant) -> Result<(), SourceError> {
        if self.sink.stopped() {
            return Err(SourceError::Stopped);
        }
        if begun.elapsed() > SILENCE {
            return Err(self.failed("the server is not done with its snapshot after an hour", REMEDY));
        }
        self.handle.block_on(tokio::time::sleep(LOOK));
        Ok(())
    }

    fn persistence(
        &self,
        container: &Container,
        source: &RedisSource,
    ) -> Result<BTreeMap<String, String>, SourceError> {
        Ok(pairs(&self.redis_says(container, source, &["INFO", "persistence"])?))
    }

    fn setting(&self, container: &Container, source: &RedisSource, name: &str) -> Result<String, SourceError> {
        let answer = self.redis_says(container, source, &["CONFIG", "GET", name])?;
        match answer.lines().nth(1).map(str::trim) {
            Some(value) if !value.is_empty() => Ok(value.to_owned()),
            _ => Err(self.failed(format!("the server does not tell its `{name}`"), REMEDY)),
        }
    }

    fn about_redis(&self, container: &Container, source: &RedisSource) -> Result<String, SourceError> {
        let server = pairs(&self.redis_says(container, source, &["INFO", "server"])?);
        let keys = pairs(&self.redis_says(container, source, &["INFO", "keyspace"])?);
        let unknown = "unknown".to_owned();
        let version = server.get("redis_version").unwrap_or(&unknown);
        let about = json!({ "server": format!("Redis {version}"), "keyspace": keys });
        Ok(format!("{about:#}\n"))
    }
}

/// The lines `key:value` of an INFO.
fn pairs(text: &str) -> BTreeMap<String, String> {
    let pairs = text.lines().filter_map(|line| line.trim().split_once(':'));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}
