use crate::backup::SourceRecord;
use crate::config::CommandSource;
use crate::ports::SourceError;

use super::Inside;
use super::place::Place;

impl Inside<'_> {
    pub(super) fn command(&mut self, source: &CommandSource) -> Result<SourceRecord, SourceError> {
        let container = self.container(&source.service)?;
        let remedy = format!(
            "try it with `docker exec {} {} …`, correct `run` in arkwright.yaml, and run the backup again",
            container.name,
            source.run.first().map_or("", String::as_str)
        );
        let spool = self.capture(&container, source.run.clone(), &remedy)?;
        let place = Place::of_service(&source.service, "command")?;
        let entry = place.below(source.name.as_bytes())?;
        let bytes = self.keep(entry.clone(), &spool)?;
        Ok(SourceRecord {
            path: entry,
            ..self.record("command", &place, &[bytes])
        })
    }
}
