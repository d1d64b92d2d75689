use std::collections::BTreeMap;
use std::io::BufReader;

use serde::de::IgnoredAny;

use crate::backup::SourceRecord;
use crate::config::RabbitmqSource;
use crate::ports::SourceError;

use super::place::Place;
use super::{Inside, words};

const REMEDY: &str =
    "see that the server is up and that `rabbitmqctl` may reach it in its container, and run the backup again";

impl Inside<'_> {
    /// The definitions alone: messages in queues are not in them, and are told to be missing.
    pub(super) fn rabbitmq(&mut self, source: &RabbitmqSource) -> Result<SourceRecord, SourceError> {
        let container = self.container(&source.service)?;
        let export = words(["rabbitmqctl", "--quiet", "export_definitions", "-"]);
        let spool = self.capture(&container, export, REMEDY)?;
        let file = spool.open().map_err(|error| self.scratch(error))?;
        let read: Result<BTreeMap<String, IgnoredAny>, _> = serde_json::from_reader(BufReader::new(file));
        match read {
            Ok(definitions) if definitions.contains_key("vhosts") => {}
            Ok(_) => return Err(self.failed("what `rabbitmqctl` wrote is no definitions", REMEDY)),
            Err(error) => {
                return Err(self.failed(format!("what `rabbitmqctl` wrote is no definitions: {error}"), REMEDY));
            }
        }
        let place = Place::of_service(&source.service, "rabbitmq")?;
        let entry = place.below(b"definitions.json")?;
        let bytes = self.keep(entry.clone(), &spool)?;
        self.sink.note(format!(
            "{entry} is definitions alone: messages in queues are not in it"
        ));
        Ok(SourceRecord {
            path: entry,
            ..self.record("rabbitmq", &place, &[bytes])
        })
    }
}
