use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use crate::config::{Gate, Probe};
use crate::model::{Span, Timestamp};
use crate::release::{Finding, Judged, Look, Started, Strikes, Subject, Verdict, judge, seen as seen_at};
use crate::run::Judgement;
use crate::run::gates::{Looker, Probing, Scene};

use super::colour::containers_of;

/// How often a held colour's own health is looked at, where no gate is looked at more often.
const HEALTH: Duration = Duration::from_secs(2);
/// Looks in a row at an ill colour that take it back: more than three failed checks.
const ILL: u32 = 4;
/// How long a look is waited for while a hold lasts; what takes longer is heard at the next.
const QUICK: Duration = Duration::from_millis(200);

/// Reads the figures that gates ask for.
#[async_trait]
pub trait Gauges: Send + Sync {
    /// Never an error and never longer than the gate's `timeout`: what cannot be read is [`Look::Unknown`].
    /// `began`: the new colour's containers, as they ran when the hold began.
    async fn look(&self, gate: &Gate, subject: &Subject, began: &[Started]) -> Look;
    /// The new colour's containers, as they run now.
    async fn started(&self, subject: &Subject) -> Result<Vec<Started>, String>;
    /// The new colour itself: its containers run as they `began`, and the router's checks pass.
    async fn health(&self, subject: &Subject, began: &[Started]) -> Look;
    /// Begins to send requests of our own to the new colour.
    async fn probe(&self, probe: &Probe, subject: &Subject) -> Result<Probing, String>;
}

#[async_trait]
impl Gauges for Looker {
    async fn look(&self, gate: &Gate, subject: &Subject, began: &[Started]) -> Look {
        Looker::look(self, gate, &scene(subject, began)).await
    }

    async fn started(&self, subject: &Subject) -> Result<Vec<Started>, String> {
        let found = containers_of(self.engine.as_ref(), subject, subject.to).await;
        Ok(found.map_err(|e| e.to_string())?.iter().map(Started::of).collect())
    }

    async fn health(&self, subject: &Subject, began: &[Started]) -> Look {
        Looker::health(self, &scene(subject, began), Span::from(HEALTH * 2)).await
    }

    async fn probe(&self, probe: &Probe, subject: &Subject) -> Result<Probing, String> {
        Looker::probe(self, probe, &scene(subject, &[]), &subject.network).await
    }
}

fn scene(subject: &Subject, began: &[Started]) -> Scene {
    Scene {
        project: subject.project.clone(),
        service: subject.service.clone(),
        colour: subject.to,
        began: began.to_vec(),
    }
}

/// What is remembered between two looks at a held release.
#[derive(Default)]
pub struct Watch {
    looked: BTreeMap<String, Timestamp>,
    strikes: Strikes,
    /// The colour's containers when it was first looked at.
    began: Vec<Started>,
    /// Looks in a row at which it was ill.
    ill: u32,
    probing: Option<Probing>,
    /// Looks under way: a source that takes its time holds up nobody else's.
    looking: JoinSet<Seen>,
    /// The gates they are for.
    busy: BTreeSet<String>,
    examining: bool,
}

/// When a hold is judged.
#[derive(Clone, Copy)]
pub struct Moment {
    pub now: Timestamp,
    pub over: bool,
    /// It was over before, and could not be told.
    pub asked_again: bool,
}

/// What a look came to.
enum Seen {
    Gate(Box<Gate>, Look),
    Health(Look),
}

impl Watch {
    pub fn every(subject: &Subject) -> Duration {
        let gates = subject.gates.iter().map(|gate| gate.every.std());
        gates.chain([HEALTH]).min().unwrap_or(HEALTH)
    }

    /// Judges a hold. While it lasts, only what must not wait for its end; when it is over, every gate.
    pub async fn judge(&mut self, gauges: &Arc<dyn Gauges>, subject: &Subject, moment: Moment) -> Judgement<Finding> {
        let Moment { now, over, asked_again } = moment;
        let subject = Arc::new(subject.clone());
        let mut probed = None;
        if let Some(probe) = &subject.probe {
            let one = self.probe(gauges.as_ref(), probe, &subject).await;
            if let Verdict::Failed(why) = &one.verdict {
                return Judgement::Failed(format!("probe: {why}"));
            }
            probed = Some(one);
        }
        if !over {
            self.start(gauges, &subject, now, false).await;
            let enough = Instant::now() + QUICK;
            while let Ok(Some(seen)) = timeout_at(enough, self.looking.join_next()).await {
                if let Some(why) = seen.ok().and_then(|seen| self.weigh(&subject, &seen, false)) {
                    return Judgement::Failed(why);
                }
            }
            return Judgement::Passed(Finding::Nothing);
        }
        // What was begun before the end can end it, and says nothing for it.
        while let Some(seen) = self.looking.join_next().await {
            if let Some(why) = seen.ok().and_then(|seen| self.weigh(&subject, &seen, false)) {
                return Judgement::Failed(why);
            }
        }
        self.start(gauges, &subject, now, true).await;
        // Asked again and again after its end, one bad look is no more than in the middle of it.
        let first = !asked_again;
        let (mut judged, mut health) = (BTreeMap::new(), Look::Unknown("it was not looked at".into()));
        while let Some(seen) = self.looking.join_next().await {
            let Ok(seen) = seen else {
                return Judgement::Undecided("a look was cut short".into());
            };
            if let Some(why) = self.weigh(&subject, &seen, first) {
                return Judgement::Failed(why);
            }
            match seen {
                Seen::Health(look) => health = look,
                Seen::Gate(gate, look) => {
                    let (seen, verdict) = (seen_at(&gate, &look), judge(&gate, &look));
                    let gate = gate.name;
                    judged.insert(gate.clone(), Judged { gate, seen, verdict });
                }
            }
        }
        let in_order = subject.gates.iter().filter_map(|gate| judged.remove(&gate.name));
        conclude(probed.into_iter().chain(in_order).collect(), &health)
    }

    /// Begins to look at what is due; at everything where the hold is over.
    async fn start(&mut self, gauges: &Arc<dyn Gauges>, subject: &Arc<Subject>, now: Timestamp, over: bool) {
        // Whoever was cut short is not waited for.
        if self.looking.is_empty() {
            self.busy.clear();
            self.examining = false;
        }
        let known = self.begin(gauges.as_ref(), subject).await;
        if !self.examining {
            self.examining = true;
            let (gauges, subject, began) = (Arc::clone(gauges), Arc::clone(subject), self.began.clone());
            self.looking.spawn(async move {
                Seen::Health(match known {
                    Ok(()) => gauges.health(&subject, &began).await,
                    Err(why) => Look::Unknown(why),
                })
            });
        }
        for gate in &subject.gates {
            if !(over || self.due(gate, now)) || !self.busy.insert(gate.name.clone()) {
                continue;
            }
            self.looked.insert(gate.name.clone(), now);
            let (gauges, subject, began) = (Arc::clone(gauges), Arc::clone(subject), self.began.clone());
            let gate = Box::new(gate.clone());
            self.looking.spawn(async move {
                let look = gauges.look(&gate, &subject, &began).await;
                Seen::Gate(gate, look)
            });
        }
    }

    /// Counts a look; why the release is taken back for it.
    fn weigh(&mut self, subject: &Subject, seen: &Seen, over: bool) -> Option<String> {
        match seen {
            Seen::Health(look) => {
                self.examining = false;
                self.ill = match look {
                    Look::Decided(Err(_)) => self.ill + 1,
                    Look::Unknown(_) => self.ill,
                    Look::Decided(Ok(())) | Look::Seen(_) => 0,
                };
                match look {
                    Look::Decided(Err(why)) if over || self.ill >= ILL => {
                        Some(format!("{} is not healthy: {why}", subject.to))
                    }
                    _ => None,
                }
            }
            Seen::Gate(gate, look) => {
                self.busy.remove(&gate.name);
                let verdict = judge(gate, look);
                let struck = self.strikes.count(gate, &verdict);
                match verdict {
                    Verdict::Breached(why) if over || struck => Some(format!("gate {}: {why}", gate.name)),
                    _ => None,
                }
            }
        }
    }

    /// What requests of our own say; they begin with the first look.
    async fn probe(&mut self, gauges: &dyn Gauges, probe: &Probe, subject: &Subject) -> Judged {
        let begun = match &self.probing {
            Some(_) => Ok(()),
            None => gauges
                .probe(probe, subject)
                .await
                .map(|probing| self.probing = Some(probing)),
        };
        let (look, seen) = match (begun, &self.probing) {
            (Ok(()), Some(probing)) => probing.look(probe.failures),
            (Err(why), _) => (Look::Unknown(why.clone()), why),
            (Ok(()), None) => (Look::Unknown("none was sent".into()), String::new()),
        };
        let verdict = match look {
            Look::Decided(Err(why)) => Verdict::Failed(why),
            Look::Unknown(why) => Verdict::Inconclusive(why),
            Look::Decided(Ok(())) | Look::Seen(_) => Verdict::Passed,
        };
        Judged {
            gate: "probe".into(),
            seen,
            verdict,
        }
    }

    /// Remembers which containers are judged, at the first look that can tell.
    async fn begin(&mut self, gauges: &dyn Gauges, subject: &Subject) -> Result<(), String> {
        if self.began.is_empty() {
            let started = timeout(HEALTH, gauges.started(subject)).await;
            self.began = started.map_err(|_| "the engine does not answer".to_owned())??;
        }
        Ok(())
    }

    fn due(&self, gate: &Gate, now: Timestamp) -> bool {
        let looked = self.looked.get(&gate.name);
        looked.is_none_or(|at| now >= *at + gate.every.chrono())
    }
}

/// One that failed fails all; one that cannot be told keeps all from passing.
fn conclude(judged: Vec<Judged>, health: &Look) -> Judgement<Finding> {
    let failed = judged.iter().find_map(|one| match &one.verdict {
        Verdict::Failed(why) => Some(format!("gate {}: {why}", one.gate)),
        _ => None,
    });
    if let Some(why) = failed {
        return Judgement::Failed(why);
    }
    let mut unclear: Vec<String> = judged
        .iter()
        .filter_map(|one| match &one.verdict {
            Verdict::Inconclusive(why) | Verdict::Breached(why) => Some(format!("gate {}: {why}", one.gate)),
            Verdict::Passed | Verdict::Failed(_) => None,
        })
        .collect();
    if let Look::Unknown(why) | Look::Decided(Err(why)) = health {
        unclear.push(format!("health: {why}"));
    }
    match unclear.is_empty() {
        true if judged.is_empty() => Judgement::Passed(Finding::Nothing),
        true => Judgement::Passed(Finding::Judged { gates: judged }),
        false => Judgement::Undecided(unclear.join("; ")),
    }
}
