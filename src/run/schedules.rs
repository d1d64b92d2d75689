use chrono_tz::Tz;

use crate::config::Config;
use crate::schedule::Crontab;

use super::Order;

/// Orders that come by themselves.
#[derive(Clone, Debug, Default)]
pub struct Schedules {
    /// The zone their lines are read in.
    pub zone: Tz,
    pub lines: Vec<(Order, Crontab)>,
}

impl Schedules {
    pub fn of(config: &Config) -> Self {
        let sets = config.backups.iter().flat_map(|backups| &backups.sets);
        let sets = sets.map(|(set, config)| (Order::Backup { set: set.clone() }, config.schedule.as_deref()));
        let stores = config.backups.iter().flat_map(|backups| {
            let line = backups.prune.schedule.as_deref();
            backups.stores.keys().map(move |store| (store.clone(), line))
        });
        let prunes = stores.map(|(store, line)| (Order::Prune { store, set: None }, line));
        let drills = config.drills.iter();
        let drills = drills.map(|(name, config)| (Order::Drill { name: name.clone() }, config.schedule.as_deref()));
        // A line that cannot be read was refused when the configuration was.
        let lines = sets
            .chain(prunes)
            .chain(drills)
            .filter_map(|(order, line)| Some((order, line?.parse().ok()?)));
        Schedules {
            zone: config.timezone,
            lines: lines.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_store_is_pruned_by_the_schedule_and_none_without_one() {
        let text = |prune: &str| {
            format!(
                "backups:\n  recipients: []\n  stores: {{ a: {{ path: a }}, b: {{ path: b }} }}\n  {prune}\n  \
                 sets: {{ one: {{ sources: [{{ path: data }}], keep: {{ daily: 7 }} }} }}\n"
            )
        };
        let orders = |prune: &str| {
            let file = std::path::Path::new("/ark/arkwright.yaml");
            let config = crate::config::load(file, &text(prune), &BTreeSet::new()).map_err(|e| e.to_string())?;
            let lines = Schedules::of(&config).lines;
            Ok::<_, String>(
                lines
                    .into_iter()
                    .map(|(order, _)| order.to_string())
                    .collect::<Vec<_>>(),
            )
        };
        assert_eq!(orders(""), Ok(Vec::new()));
        assert_eq!(orders("prune: { wait: 10d }"), Ok(Vec::new()));
        assert_eq!(
            orders("prune: { schedule: \"0 6 * * *\" }"),
            Ok(vec!["prune a".to_owned(), "prune b".to_owned()])
        );
        let refused = orders("prune: { schedule: sometimes }").expect_err("no schedule");
        assert!(refused.contains("arkwright.yaml:4:12"), "{refused}");
        assert!(orders("prune: { waits: 10d }").is_err());
    }
}
