use serde::Serialize;

use crate::journal::Plan;
use crate::model::Timestamp;
use crate::release::{self, Override, Permit, ReleaseStep, Subjects};
use crate::schedule::{Calendar, HORIZON_DAYS, Permission, Zone};

use super::headroom::{Headroom, Surveyor};
use super::{Blame, Host, OperationError, Order};

/// What a release would do, and what stands against its beginning now.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Outlook {
    /// A line a step.
    pub steps: Vec<String>,
    /// What the calendar says.
    pub calendar: Option<String>,
    /// What it takes of the host; nothing where no colour is made.
    pub room: Vec<Headroom>,
    /// Why it is refused, unless somebody overrides that.
    pub refusals: Vec<String>,
}

impl Outlook {
    pub fn consult(&mut self, calendar: &Calendar, now: Timestamp) {
        let opens = |next: Option<(Timestamp, Zone)>| match next {
            Some((at, zone)) => format!("the next window opens {}", zone.shown(at)),
            None => format!("none opens within {HORIZON_DAYS} days"),
        };
        match calendar.at(now) {
            Permission::Always => {}
            Permission::Until(closes, zone) => {
                self.calendar = Some(format!(
                    "the release window is open until {}; a release under way then goes on to its end",
                    zone.shown(closes)
                ));
            }
            Permission::Frozen { freeze, next } => {
                let after = match calendar.windows.is_empty() {
                    true => String::new(),
                    false => format!("; {}", opens(next)),
                };
                self.refusals.push(format!("releases are {}{after}", freeze.told()));
            }
            Permission::Closed { next } => {
                self.refusals
                    .push(format!("no release window is open; {}", opens(next)));
            }
        }
    }

    pub fn measure(&mut self, room: Vec<Headroom>) {
        self.refusals.extend(room.iter().filter_map(Headroom::refusal));
        self.room = room;
    }

    /// For a person: the steps, then what is to be known besides.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let steps = self.steps.iter().cloned();
        let calendar = self.calendar.iter().map(|said| format!("calendar: {said}"));
        let room = self.room.iter().map(ToString::to_string);
        let refusals = self.refusals.iter().map(|refusal| format!("refused: {refusal}"));
        steps.chain(calendar).chain(room).chain(refusals)
    }

    /// What the records get of it, or the refusal.
    pub fn permit(self, overriding: Option<&str>) -> Result<Permit, OperationError> {
        let reason = overriding.map(str::trim).filter(|reason| !reason.is_empty());
        if reason.is_none() && !self.refusals.is_empty() {
            return Err(
                OperationError::because(Blame::Refused, self.refusals.join("; and ")).hinted(
                    "nothing was changed; `--override REASON` goes on all the same and is recorded; `rollback`, `abort` and \
                     `emergency` are never refused",
                ),
            );
        }
        let unknown: Vec<String> = self
            .room
            .iter()
            .filter(|room| room.fits.is_none())
            .map(ToString::to_string)
            .collect();
        Ok(Permit {
            notes: self.calendar.into_iter().chain(unknown).collect(),
            overridden: reason.map(|reason| Override {
                reason: reason.to_owned(),
                refusals: self.refusals,
            }),
        })
    }
}

impl Host {
    /// What a release would do, and what stands against it; changes nothing.
    pub async fn outlook(&self, order: &Order) -> Result<Outlook, OperationError> {
        let (subjects, plan) = self.plan_release(order).await?;
        self.look_out(order, &subjects, &plan).await
    }

    /// Only a deployment waits for its time: whoever goes back is never refused.
    pub(super) async fn look_out(
        &self,
        order: &Order,
        subjects: &Subjects,
        plan: &Plan<ReleaseStep>,
    ) -> Result<Outlook, OperationError> {
        let mut outlook = Outlook {
            steps: release::describe(subjects, plan),
            ..Outlook::default()
        };
        if matches!(order, Order::Deploy { .. } | Order::DeployTogether { .. }) && !plan.forward.is_empty() {
            outlook.consult(&self.config.calendar(), self.clock.now());
            outlook.measure(self.room(subjects, plan).await?);
        }
        Ok(outlook)
    }

    async fn room(&self, subjects: &Subjects, plan: &Plan<ReleaseStep>) -> Result<Vec<Headroom>, OperationError> {
        let engine = self.engine()?;
        let observed = engine.observe(&self.stack.name).await;
        let surveyor = Surveyor {
            engine: engine.as_ref(),
            machine: self.machine.as_ref(),
            state: &self.folder,
            config: &self.config,
            stack: &self.stack,
            observed: &observed.map_err(|e| OperationError::new(Blame::Engine, e))?,
        };
        Ok(surveyor.survey(subjects, plan).await)
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, NaiveTime, TimeDelta, Weekday};

    use super::*;
    use crate::schedule::{Freeze, Window};

    fn at(text: &str) -> Timestamp {
        DateTime::parse_from_rfc3339(text).expect("a time").to_utc()
    }

    fn calendar() -> Calendar {
        let zone: Zone = "+08:00".parse().expect("a zone");
        let hour = |hour| NaiveTime::from_hms_opt(hour, 0, 0).expect("a time");
        Calendar {
            windows: vec![Window {
                days: vec![Weekday::Sun],
                from: hour(2),
                to: hour(4),
                zone,
            }],
            freezes: vec![Freeze {
                from: at("2026-12-24T00:00:00+08:00"),
                to: at("2026-12-28T00:00:00+08:00"),
                reason: "holidays".into(),
                by: Some("maria".into()),
                zone,
            }],
        }
    }

    fn outlook(now: &str) -> Outlook {
        let mut outlook = Outlook::default();
        outlook.consult(&calendar(), at(now));
        outlook
    }

    #[test]
    fn outside_a_window_and_in_a_freeze_it_is_refused_and_says_when_and_why() {
        let refused = outlook("2026-11-23T12:00:00+08:00").permit(None).expect_err("closed");
        assert_eq!(refused.blame, Blame::Refused);
        assert_eq!(
            refused.message,
            "no release window is open; the next window opens Sun 2026-11-29 02:00 +08:00"
        );
        let frozen = outlook("2026-12-27T03:00:00+08:00")
            .permit(Some("  "))
            .expect_err("frozen");
        assert_eq!(
            frozen.message,
            "releases are frozen by maria until Mon 2026-12-28 00:00 +08:00: holidays; \
             the next window opens Sun 2027-01-03 02:00 +08:00"
        );
    }

    #[test]
    fn an_override_is_recorded_with_what_it_overrides() {
        let permit = outlook("2026-12-27T03:00:00+08:00")
            .permit(Some("the payment bug"))
            .expect("it goes on");
        let overridden = permit.overridden.expect("recorded");
        assert_eq!(overridden.reason, "the payment bug");
        assert!(overridden.refusals[0].contains("frozen by maria"), "{overridden:?}");
    }

    #[test]
    fn in_a_window_its_end_is_told_and_no_window_says_nothing() {
        let open = outlook("2026-11-29T02:00:00+08:00");
        assert!(open.refusals.is_empty());
        let permit = open.permit(None).expect("open");
        assert_eq!(
            permit.notes,
            [
                "the release window is open until Sun 2026-11-29 04:00 +08:00; a release under way then goes on to its end"
            ]
        );
        let mut always = Outlook::default();
        always.consult(&Calendar::default(), at("2026-11-29T02:00:00Z") + TimeDelta::hours(1));
        assert!(always.permit(None).expect("no calendar").is_empty());
    }
}
