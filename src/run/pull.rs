use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::model::Size;
use crate::ports::{Engine, EngineError, PullProgress};

use super::Progress;

/// Between two lines where a line stays.
const LINES: Duration = Duration::from_secs(10);
/// Between two updates of one line.
const UPDATES: Duration = Duration::from_millis(200);

/// Pulls an image and says how far it is: a line at the beginning, one every ten seconds and one at the end, or one line
/// that is kept up to date where there is a terminal for it.
pub async fn pull(engine: &dyn Engine, reference: &str, progress: &dyn Progress) -> Result<(), EngineError> {
    let meter = Mutex::new(Meter::new(Instant::now(), progress.keeps_lines()));
    if !progress.keeps_lines() {
        progress.say(&format!("pulling {reference}"));
    }
    let heard = |step: PullProgress| {
        let mut meter = meter.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(text) = meter.hear(step, Instant::now()) else {
            return;
        };
        match progress.keeps_lines() {
            true => progress.keep(reference, Some(&format!("pulling {reference}: {text}"))),
            false => progress.say(&format!("pulling {reference}: {text}")),
        }
    };
    let pulled = engine.pull(reference, &heard).await;
    progress.keep(reference, None);
    if pulled.is_ok() {
        let meter = meter.into_inner().unwrap_or_else(PoisonError::into_inner);
        progress.say(&format!("pulled {reference}: {}", meter.sum(Instant::now())));
    }
    pulled
}

/// The layers of one pull, taken together.
struct Meter {
    begun: Instant,
    told: Option<Instant>,
    every: Duration,
    layers: BTreeMap<String, Layer>,
}

#[derive(Clone, Copy, Default)]
struct Layer {
    done: u64,
    total: u64,
    here: bool,
}

impl Meter {
    fn new(begun: Instant, often: bool) -> Self {
        Meter {
            begun,
            // A line that stays was just said; one that is kept up to date begins at once.
            told: (!often).then_some(begun),
            every: if often { UPDATES } else { LINES },
            layers: BTreeMap::new(),
        }
    }

    /// What to say now; `None` where that would be too soon.
    fn hear(&mut self, step: PullProgress, now: Instant) -> Option<String> {
        // Messages without a layer, and those of the manifest under the tag's name, have no bytes.
        let known = self.layers.contains_key(&step.layer);
        if !step.layer.is_empty() && (known || step.total > 0 || is_layer(&step.status)) && self.layers.len() < 10_000 {
            self.layers.entry(step.layer.clone()).or_default().hear(&step);
        }
        let soon = self.told.is_some_and(|told| now.duration_since(told) < self.every);
        if soon || self.layers.is_empty() {
            return None;
        }
        self.told = Some(now);
        Some(self.so_far())
    }

    fn so_far(&self) -> String {
        let here = self.layers.values().filter(|layer| layer.here).count();
        let (done, total) = self.bytes();
        let layers = format!("{here} of {} layers", self.layers.len());
        match total {
            0 => layers,
            total => format!("{} of {}, {layers}", Size(done), Size(total)),
        }
    }

    /// Of the layers that were fetched; an engine that does not say how many bytes they had is not asked.
    fn sum(&self, now: Instant) -> String {
        let took = crate::model::Span::from(now.duration_since(self.begun)).human();
        match (self.bytes(), self.layers.len()) {
            ((_, 0), 0) => format!("nothing to fetch, {took}"),
            ((_, 0), layers) => format!("{layers} layers in {took}"),
            ((_, total), layers) => format!("{}, {layers} layers in {took}", Size(total)),
        }
    }

    fn bytes(&self) -> (u64, u64) {
        let layers = self.layers.values();
        layers.fold((0, 0), |(done, total), layer| {
            (
                done.saturating_add(layer.done.min(layer.total)),
                total.saturating_add(layer.total),
            )
        })
    }
}

impl Layer {
    fn hear(&mut self, step: &PullProgress) {
        let status = step.status.to_lowercase();
        // While a layer is unpacked the engine counts its bytes once more.
        let fetching = status.starts_with("downloading") || status.starts_with("copying");
        if fetching || self.total == 0 {
            self.total = self.total.max(step.total);
        }
        if fetching && !self.here {
            self.done = step.current;
        }
        if ["download complete", "pull complete", "already exists", "extracting"]
            .iter()
            .any(|word| status.starts_with(word))
        {
            self.here = true;
            self.done = self.total;
        }
    }
}

/// Docker and Podman name a layer by the beginning of its digest in these; other messages name the tag.
fn is_layer(status: &str) -> bool {
    let status = status.to_lowercase();
    [
        "pulling fs layer",
        "waiting",
        "already exists",
        "download complete",
        "pull complete",
        "verifying checksum",
    ]
    .iter()
    .any(|word| status.starts_with(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(layer: &str, status: &str, current: u64, total: u64) -> PullProgress {
        PullProgress {
            layer: layer.into(),
            status: status.into(),
            current,
            total,
        }
    }

    fn meter(often: bool) -> (Meter, Instant) {
        let now = Instant::now();
        (Meter::new(now, often), now)
    }

    #[test]
    fn layers_are_counted_together_and_unpacking_not_again() {
        let (mut meter, now) = meter(true);
        let later = |millis| now + Duration::from_millis(millis);
        assert_eq!(meter.hear(step("1.1.0", "Pulling from team/app", 0, 0), now), None);
        let said = meter.hear(step("aa", "Downloading", 1 << 20, 4 << 20), now);
        assert_eq!(said.as_deref(), Some("1.0 MiB of 4.0 MiB, 0 of 1 layers"));
        assert_eq!(
            meter.hear(step("bb", "Downloading", 1 << 20, 2 << 20), later(50)),
            None,
            "too soon"
        );
        let said = meter.hear(step("aa", "Download complete", 0, 0), later(300));
        assert_eq!(said.as_deref(), Some("5.0 MiB of 6.0 MiB, 1 of 2 layers"));
        let said = meter.hear(step("aa", "Extracting", 9 << 20, 90 << 20), later(600));
        assert_eq!(said.as_deref(), Some("5.0 MiB of 6.0 MiB, 1 of 2 layers"));
        assert!(
            meter.sum(later(2000)).starts_with("6.0 MiB, 2 layers in 2"),
            "{}",
            meter.sum(later(2000))
        );
    }

    #[test]
    fn a_line_that_stays_comes_every_ten_seconds() {
        let (mut meter, now) = meter(false);
        let mut said = 0;
        for tenth in 0..350 {
            let at = now + Duration::from_millis(tenth * 100);
            said += usize::from(meter.hear(step("aa", "Downloading", tenth, 350), at).is_some());
        }
        assert_eq!(said, 3);
    }

    #[test]
    fn what_an_engine_says_wrongly_does_not_hurt() {
        let (mut meter, now) = meter(true);
        let said = meter.hear(step("aa", "Downloading", u64::MAX, 1), now);
        assert_eq!(said.as_deref(), Some("1 B of 1 B, 0 of 1 layers"));
        let mut later = now;
        for layer in 0..20_000 {
            later += UPDATES;
            meter.hear(step(&layer.to_string(), "Downloading", 0, u64::MAX), later);
        }
        assert_eq!(meter.layers.len(), 10_000);
        assert_eq!(meter.bytes().1, u64::MAX);
    }
}
