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
