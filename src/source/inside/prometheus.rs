use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde_json::Value;

use crate::backup::SourceRecord;
use crate::config::PrometheusSource;
use crate::ports::{Container, Page, PageRequest, SourceError, WebError};

use super::archive::Trouble;
use super::place::Place;
use super::{Inside, words};

const REMEDY: &str = "see that the server is up and answers on its `port`, and run the backup again";
const ADMIN: &str = "start Prometheus with --web.enable-admin-api; nobody but this project should reach its port then";
/// A snapshot is hard links, but the newest block is written out for it.
const PATIENCE: Duration = Duration::from_secs(600);
const TRIES: u32 = 3;

impl Inside<'_> {
    /// A snapshot the server makes for this backup, which is removed again: a data folder for another Prometheus.
    pub(super) fn prometheus(&mut self, source: &PrometheusSource) -> Result<SourceRecord, SourceError> {
        let container = self.container(&source.service)?;
        let data = self.data_folder(&container, source)?;
        let answer = self.api(&container, source, "admin/tsdb/snapshot", true)?;
        let name = answer["name"].as_str().unwrap_or_default();
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        if name.is_empty() || !name.bytes().all(plain) {
            return Err(self.failed("the server does not name the snapshot it made", REMEDY));
        }
        let folder = format!("{data}/snapshots/{name}");
        let read = self.read_snapshot(&container, source, &folder);
        let removal = words(["rm", "-rf", "--", &folder]);
        let removed = self.ask(
            &container,
            &removal,
            "remove it by hand: it keeps disk space from being freed",
        );
        let record = read?;
        if let Err(error) = removed {
            self.sink
                .note(format!("the snapshot {folder} in {} stays: {error}", container.name));
        }
        Ok(record)
    }

    fn read_snapshot(
        &mut self,
        container: &Container,
        source: &PrometheusSource,
        folder: &str,
    ) -> Result<SourceRecord, SourceError> {
        let place = Place::of_service(&source.service, "prometheus")?;
        let mut last = String::new();
        for _ in 0..TRIES {
            let stream = self.handle.block_on(self.engine.read_path(&container.id, folder));
            let stream = stream.map_err(|error| self.engine_failed(&error))?;
            match self.unpack(stream, folder, &place) {
                Err(Trouble::Final(error)) => return Err(error),
                Err(Trouble::Torn(why)) => last = why,
                Ok(files) if files.is_empty() => {
                    return Err(self.failed("its snapshot has no block in it: it has no series yet", REMEDY));
                }
                Ok(files) => {
                    let named = files.keys().map(Vec::as_slice).collect::<BTreeSet<_>>();
                    let found = self.ask(container, &words(["find", folder, "-type", "f"]), REMEDY)?;
                    let found = found.split(|b| *b == b'\n').filter(|line| !line.is_empty());
                    let top = format!("{folder}/").into_bytes();
                    let found: BTreeSet<&[u8]> = found.map(|name| name.strip_prefix(&*top).unwrap_or(name)).collect();
                    if named == found {
                        let sizes: Vec<u64> = files.into_values().collect();
                        return Ok(self.record("prometheus", &place, &sizes));
                    }
                    last = format!("the engine gave {} of its {} files", named.len(), found.len());
                }
            }
        }
        Err(self.failed(format!("its snapshot could not be read to its end: {last}"), REMEDY))
    }

    /// `--storage.tsdb.path`, absolute.
    fn data_folder(&self, container: &Container, source: &PrometheusSource) -> Result<String, SourceError> {
        let flags = self.api(container, source, "status/flags", false)?;
        if flags["web.enable-admin-api"].as_str() != Some("true") {
            return Err(self.failed("its admin API is off, and without it no snapshot can be made", ADMIN));
        }
        let path = flags["storage.tsdb.path"]
            .as_str()
            .unwrap_or_default()
            .trim_end_matches('/');
        if path.starts_with('/') && !path.contains("/../") {
            return Ok(path.to_owned());
        }
        // Relative to where the server runs, as `data/` is unless it is told otherwise.
        let answer = self.ask(container, &words(["readlink", "/proc/1/cwd"]), REMEDY)?;
        let folder = String::from_utf8_lossy(&answer).trim().trim_end_matches('/').to_owned();
        match folder.starts_with('/') || folder.is_empty() {
            true => Ok(format!("{folder}/{path}")),
            false => Err(self.failed(
                "where its data lies is not known",
                "give it an absolute --storage.tsdb.path",
            )),
        }
    }

    /// The `data` of an answer of the HTTP API, from the first address of the container that answers.
    fn api(
        &self,
        container: &Container,
        source: &PrometheusSource,
        call: &str,
        post: bool,
    ) -> Result<Value, SourceError> {
        let mut addresses: Vec<IpAddr> = container.networks.values().filter_map(|end| end.ip).collect();
        if addresses.is_empty() {
            // It has the host's network.
            addresses.push(Ipv4Addr::LOCALHOST.into());
        }
        let mut why = String::new();
        for address in addresses {
            let at = SocketAddr::new(address, source.port);
            let request = PageRequest {
                url: format!("http://{at}/api/v1/{call}"),
                headers: Vec::new(),
                limit: PATIENCE,
            };
            let asked = match post {
                true => self.handle.block_on(self.web.post(&request)),
                false => self.handle.block_on(self.web.get(&request)),
            };
            match asked {
                Ok(page) => return self.data(&page, call),
                Err(error @ WebError::Unreachable { .. }) => why = error.to_string(),
                // It may have been done; nothing is asked for twice.
                Err(error) => return Err(self.failed(error.to_string(), REMEDY)),
            }
        }
        Err(self.failed(why, REMEDY))
    }

    fn data(&self, page: &Page, call: &str) -> Result<Value, SourceError> {
        let answer: Value = serde_json::from_slice(&page.body).unwrap_or_default();
        match page.status {
            200 if answer["status"] == "success" => Ok(answer["data"].clone()),
            status => {
                let said = answer["error"]
                    .as_str()
                    .map(|said| crate::backup::escape(said.as_bytes()));
                let said = said.unwrap_or_else(|| "without saying why".into());
                let said: String = said.chars().take(300).collect();
                Err(self.failed(format!("/api/v1/{call} answered {status}: {said}"), REMEDY))
            }
        }
    }
}
