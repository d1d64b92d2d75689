use futures_util::future::try_join_all;

use crate::config::{Gate, Metric};
use crate::ports::Stats;
use crate::release::{Reading, Started};

use super::{Answer, Looker, Scene, worst};

impl Looker {
    /// The worst of the containers that stood when the hold began: one that is gone leaves the rest without a say.
    pub(super) async fn of_engine(&self, gate: &Gate, metric: Metric, scene: &Scene) -> Answer {
        let figures = try_join_all(scene.began.iter().map(|container| self.of_container(container, metric))).await?;
        let readings = figures.into_iter().map(|value| Reading {
            value,
            ..Reading::default()
        });
        worst(gate, readings).ok_or_else(|| format!("{} has no container", scene.colour))
    }

    async fn of_container(&self, container: &Started, metric: Metric) -> Result<f64, String> {
        let stats = self.engine.stats(&container.id).await;
        let stats = stats.map_err(|error| format!("{}: {error}", container.name))?;
        percent(metric, &stats, self.engine.info().memory).ok_or_else(|| {
            format!(
                "the engine does not say how much {} {} uses",
                metric.word(),
                container.name
            )
        })
    }
}

/// Of the container's own limit; where it has none, of all processors and of the host's memory.
fn percent(metric: Metric, stats: &Stats, host: u64) -> Option<f64> {
    match metric {
        Metric::Cpu => stats.cpu.map(|share| share * 100.0),
        Metric::Memory => {
            // A limit beyond what there is limits nothing.
            let limit = [stats.memory_limit, Some(host)]
                .into_iter()
                .flatten()
                .filter(|limit| *limit > 0)
                .min()?;
            Some(stats.memory? as f64 * 100.0 / limit as f64)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_of_the_limit_or_of_the_host() {
        let of = |memory, memory_limit, host| {
            let stats = Stats {
                cpu: None,
                memory,
                memory_limit,
            };
            percent(Metric::Memory, &stats, host)
        };
        assert_eq!(of(Some(50), Some(200), 1000), Some(25.0));
        assert_eq!(of(Some(50), None, 1000), Some(5.0));
        assert_eq!(of(Some(50), Some(5000), 1000), Some(5.0));
        assert_eq!(of(Some(50), Some(200), 0), Some(25.0));
        assert_eq!(of(Some(50), None, 0), None);
        assert_eq!(of(None, Some(200), 1000), None);
        assert_eq!(percent(Metric::Cpu, &Stats::default(), 1000), None);
    }
}
