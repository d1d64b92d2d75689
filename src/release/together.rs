use std::collections::BTreeSet;

use crate::config::Swap;
use crate::journal::{Patience, Plan};
use crate::model::{ServiceName, Span};

use super::subjects::distinct;
use super::{PlanError, ReleaseStep, Subject, Subjects, Unchanged};

type Planned = (Subject, Plan<ReleaseStep>);

/// The plans of several services as one: every new colour comes up, then all move weight by weight, and only then is
/// any of them committed. Services that run what was asked for already are left out.
///
/// A service that is swapped in place follows when the others have all their traffic and have settled, so that its
/// gate is closed last and for as short as alone. There is one at most: of two, the first would have to stay behind its
/// gate until the second is healthy, and past either's point of no return the other could not be taken back.
pub fn together(plans: Vec<Planned>) -> Result<(Subjects, Plan<ReleaseStep>), PlanError> {
    distinct(plans.iter().map(|(subject, _)| &subject.service))?;
    let (mut moved, still): (Vec<Planned>, Vec<Planned>) =
        plans.into_iter().partition(|(_, plan)| !plan.forward.is_empty());
    if moved.is_empty() {
        let subjects = Subjects::new(still.into_iter().map(|(subject, _)| subject).collect())?;
        return Ok((subjects, nothing()));
    }
    let unchanged = still.into_iter().map(|(subject, _)| Unchanged {
        service: subject.service,
        image: subject.image.reference,
    });
    let unchanged: Vec<Unchanged> = unchanged.collect();
    if moved.len() == 1 {
        let (subject, plan) = moved.remove(0);
        return Ok((Subjects::from(subject).beside(unchanged), plan));
    }
    let plan = woven(&moved)?;
    let members = moved.into_iter().map(|(subject, _)| subject).collect();
    Ok((Subjects::new(members)?.beside(unchanged), plan))
}

fn nothing() -> Plan<ReleaseStep> {
    Plan {
        forward: Vec::new(),
        commit: 0,
        finally: Vec::new(),
    }
}

/// A step of a member's plan, and whether it stands behind that plan's point of no return.
#[derive(Clone)]
struct Word {
    step: ReleaseStep,
    behind: bool,
}

/// A member's plan, cut where the members have to be in step with each other.
struct Part<'a> {
    subject: &'a Subject,
    /// Before anything new runs: until its containers are made, or only a look where they are there.
    prepare: Vec<Word>,
    /// Until the new colour is fit for traffic.
    rise: Vec<Word>,
    /// Shares of traffic, the last of them all of it; none of one that is swapped in place.
    rungs: Vec<Rung>,
    /// All of a swap in place.
    swap: Vec<Word>,
    /// Who takes jobs from the queue: the new colour only when nobody can send it back any more.
    hand_over: Vec<Word>,
    closing: Vec<Word>,
}

#[derive(Default)]
struct Rung {
    weight: u8,
    /// Whether its shift stands behind the point of no return.
    behind: bool,
    before: Vec<Word>,
    hold: Option<(Span, Patience)>,
    after: Vec<Word>,
}

impl<'a> Part<'a> {
    fn of((subject, plan): &'a Planned) -> Self {
        let words = plan.forward.iter().enumerate().map(|(at, step)| Word {
            step: step.clone(),
            behind: at >= plan.commit,
        });
        let mut words: Vec<Word> = words.collect();
        let keeps = |word: &Word| matches!(word.step, ReleaseStep::KeepWarm { .. });
        let all = words
            .iter()
            .position(|word| matches!(word.step, ReleaseStep::Shift { weight: 100, .. }));
        // An irreversible program is long before the end: what follows all traffic is then told by what comes last.
        let end = match all {
            Some(all) if plan.commit > all && subject.swap == Swap::Overlap => plan.commit,
            _ => words.iter().position(keeps).unwrap_or(words.len()),
        };
        let closing = words.split_off(end);
        let first = |wanted: fn(&ReleaseStep) -> bool| words.iter().position(|word| wanted(&word.step));
        let made = first(|step| matches!(step, ReleaseStep::Create { .. })).map(|made| made + 1);
        // Hours may pass until it is swapped, and the backup is to be of what is there then.
        let saved = first(|step| matches!(step, ReleaseStep::Backup { .. })).filter(|_| subject.swap != Swap::Overlap);
        let looked = words
            .iter()
            .take_while(|word| matches!(word.step, ReleaseStep::Check | ReleaseStep::Fetch))
            .count();
        let mut rest = words.split_off(saved.or(made).unwrap_or(looked));
        let mut part = Part {
            subject,
            prepare: words,
            rise: Vec::new(),
            rungs: Vec::new(),
            swap: Vec::new(),
            hand_over: Vec::new(),
            closing,
        };
        if subject.swap != Swap::Overlap {
            part.swap = rest;
            return part;
        }
        let first = rest
            .iter()
            .position(|word| matches!(word.step, ReleaseStep::Shift { .. }));
        let shifts = rest.split_off(first.unwrap_or(rest.len()));
        part.rise = rest;
        for word in shifts {
            match (&word.step, part.rungs.last_mut()) {
                (ReleaseStep::Shift { weight, .. }, _) => part.rungs.push(Rung {
                    weight: *weight,
                    behind: word.behind,
                    ..Rung::default()
                }),
                (ReleaseStep::StandBy { .. } | ReleaseStep::TakeJobs { .. }, _) => part.hand_over.push(word),
                (ReleaseStep::Hold { span, patience, .. }, Some(rung)) => rung.hold = Some((*span, *patience)),
                (_, Some(rung)) if rung.hold.is_none() => rung.before.push(word),
                (_, Some(rung)) => rung.after.push(word),
                (_, None) => part.rise.push(word),
            }
        }
        part
    }

    /// The shares before the last, each with how long it is held.
    fn steps(&self) -> Vec<(u8, Span)> {
        let canary = self.rungs.iter().filter(|rung| rung.weight < 100);
        canary
            .map(|rung| (rung.weight, rung.hold.map_or(Span::ZERO, |(span, _)| span)))
            .collect()
    }

    /// Whether a program of it leaves no way back before it has any traffic.
    fn burns_bridges(&self) -> bool {
        self.rise.iter().any(|word| word.behind)
    }
}

fn woven(plans: &[Planned]) -> Result<Plan<ReleaseStep>, PlanError> {
    let parts: Vec<Part<'_>> = plans.iter().map(Part::of).collect();
    let in_place: Vec<&Part<'_>> = parts.iter().filter(|part| part.subject.swap != Swap::Overlap).collect();
    if in_place.len() > 1 {
        return Err(PlanError::SwappedTogether(names(&in_place)));
    }
    let beside: Vec<&Part<'_>> = parts.iter().filter(|part| part.subject.swap == Swap::Overlap).collect();
    let stepped: Vec<&Part<'_>> = beside.iter().copied().filter(|part| !part.steps().is_empty()).collect();
    if let Some(first) = stepped.first()
        && stepped.iter().any(|part| part.steps() != first.steps())
    {
        return Err(PlanError::DifferentSteps(told(&stepped)));
    }
    let mut loom = Loom::default();
    for part in &parts {
        loom.all(part, &part.prepare);
    }
    // Whoever leaves no way back comes up when all others have.
    for last in [false, true] {
        for part in beside.iter().filter(|part| part.burns_bridges() == last) {
            loom.all(part, &part.rise);
        }
    }
    let count = stepped.first().map_or(0, |part| part.steps().len());
    for at in 0..count {
        let rungs: Vec<(&Part<'_>, &Rung)> = stepped.iter().map(|part| (*part, &part.rungs[at])).collect();
        loom.rung(&rungs);
    }
    let last: Vec<(&Part<'_>, &Rung)> = beside
        .iter()
        .filter_map(|part| Some((*part, part.rungs.last()?)))
        .collect();
    loom.rung(&last);
    for part in in_place {
        loom.all(part, &part.swap);
    }
    for part in &beside {
        loom.all(part, &part.hand_over);
    }
    for part in &parts {
        loom.all(part, &part.closing);
    }
    let finally = plans.iter().flat_map(|(subject, plan)| {
        let steps = plan.finally.iter().cloned();
        steps.map(|step| step.of_service(&subject.service))
    });
    Ok(Plan {
        commit: loom.commit.unwrap_or(loom.forward.len()),
        forward: loom.forward,
        finally: finally.collect(),
    })
}

#[derive(Default)]
struct Loom {
    forward: Vec<ReleaseStep>,
    /// The first step that stands behind its own member's point of no return: from there on, all do.
    commit: Option<usize>,
}

impl Loom {
    fn push(&mut self, step: ReleaseStep, behind: bool) {
        if behind && self.commit.is_none() {
            self.commit = Some(self.forward.len());
        }
        self.forward.push(step);
    }

    fn all(&mut self, part: &Part<'_>, words: &[Word]) {
        for word in words {
            self.push(word.step.clone().of_service(&part.subject.service), word.behind);
        }
    }

    /// One share for all of these, and one hold: the longest of theirs, with the patience of whoever has least.
    fn rung(&mut self, rungs: &[(&Part<'_>, &Rung)]) {
        let Some((_, first)) = rungs.first() else { return };
        let to = rungs
            .iter()
            .map(|(part, _)| (part.subject.service.clone(), part.subject.to));
        let behind = rungs.iter().any(|(_, rung)| rung.behind);
        let weight = first.weight;
        let to = to.collect();
        self.push(ReleaseStep::ShiftTogether { to, weight }, behind);
        for (part, rung) in rungs {
            self.all(part, &rung.before);
        }
        let holds = || rungs.iter().filter_map(|(_, rung)| rung.hold);
        if let Some(span) = holds().map(|(span, _)| span).max()
            && let Some(patience) = holds().map(|(_, patience)| patience).min_by_key(|p| (p.span, !p.fails))
        {
            self.push(ReleaseStep::Hold { weight, span, patience }, behind);
        }
        for (part, rung) in rungs {
            self.all(part, &rung.after);
        }
    }
}

fn names(parts: &[&Part<'_>]) -> String {
    let names: BTreeSet<&ServiceName> = parts.iter().map(|part| &part.subject.service).collect();
    names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(" and ")
}

/// `web 5 % for 15m, 50 % for 30m; api 10 % for 5m`
fn told(parts: &[&Part<'_>]) -> String {
    let one = |part: &&Part<'_>| {
        let steps = part.steps().into_iter();
        let steps: Vec<String> = steps.map(|(weight, span)| format!("{weight} % for {span}")).collect();
        format!("{} {}", part.subject.service, steps.join(", "))
    };
    parts.iter().map(one).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::release::deploy;
    use crate::release::tests::{ground, image};

    /// Releases of every kind; the second and the third have the same steps.
    const KINDS: [&str; 8] = [
        "",
        ", steps: [{ weight: 5, hold: 15m }, { weight: 50, hold: 30m }], before: [{ backup: db }]",
        ", steps: [{ weight: 5, hold: 15m }, { weight: 50, hold: 30m }], settle: 10m",
        ", steps: [{ weight: 10, hold: 1m }]",
        ", swap: hold, before: [{ backup: db }]",
        ", before: [{ run: [./migrate], class: irreversible }], settle: 5m",
        ", before: [{ run: [./migrate], class: expand_contract }], after: [{ run: [./warm], class: reversible }]",
        ", background: { pause: { run: [./pause] }, resume: { run: [./resume] } }",
    ];

    fn planned(at: usize, kind: &str, unchanged: bool) -> Planned {
        let name = if unchanged { "web:1" } else { "web:2" };
        let (mut subject, plan) = deploy(ground(kind).ask(), image(name), false).expect("a plan");
        subject.service = format!("s{at}").parse().expect("a name");
        (subject, plan)
    }

    /// What a service is put through, the waiting left out.
    fn words(steps: &[ReleaseStep], service: &ServiceName) -> Vec<ReleaseStep> {
        let one = |step: &ReleaseStep| match step {
            ReleaseStep::Hold { .. } => None,
            ReleaseStep::ShiftTogether { to, weight } => {
                let (_, colour) = to.iter().find(|(name, _)| name == service)?;
                let (colour, weight) = (*colour, *weight);
                Some(ReleaseStep::Shift { colour, weight })
            }
            step => step.of(service).cloned(),
        };
        steps.iter().filter_map(one).collect()
    }

    proptest! {
        #[test]
        fn every_service_is_put_through_its_own_plan_in_order_and_no_point_of_no_return_is_passed_early(
            picks in prop::collection::vec((0..KINDS.len(), prop::bool::weighted(0.1)), 1..5)
                // What runs was made before `background` was asked for, so that is a change of its own.
                .prop_map(|picks| picks.into_iter().map(|(kind, same)| (kind, same && kind != 7)).collect::<Vec<_>>()),
        ) {
            let plans: Vec<Planned> = picks.iter().enumerate().map(|(at, (kind, same))| planned(at, KINDS[*kind], *same)).collect();
            let moved: Vec<usize> = picks.iter().filter(|(_, same)| !same).map(|(kind, _)| *kind).collect();
            let stepped: BTreeSet<bool> = moved.iter().filter(|kind| (1..=3).contains(*kind)).map(|kind| *kind == 3).collect();
            let fits = stepped.len() < 2 && moved.iter().filter(|kind| **kind == 4).count() < 2;
            let (subjects, plan) = match together(plans.clone()) {
                Ok(made) => made,
                Err(error) => {
                    prop_assert!(!fits, "{error}");
                    return Ok(());
                }
            };
            prop_assert!(fits);
            prop_assert_eq!(subjects.unchanged.len(), if moved.is_empty() { 0 } else { picks.len() - moved.len() });
            for (subject, own) in plans.iter().filter(|(_, own)| !own.forward.is_empty()) {
                let service = &subject.service;
                prop_assert_eq!(words(&plan.forward, service), words(&own.forward, service));
                prop_assert_eq!(words(&plan.finally, service), words(&own.finally, service));
                let before = words(&plan.forward[..plan.commit], service).len();
                prop_assert!(before <= words(&own.forward[..own.commit], service).len(), "{service}: {plan:?}");
            }
            let holds = plan.forward.windows(2).filter(|pair| matches!(pair[1], ReleaseStep::Hold { .. }));
            for pair in holds {
                prop_assert!(!matches!(pair[0], ReleaseStep::Hold { .. }), "one hold for all");
            }
        }
    }

    #[test]
    fn nobody_takes_jobs_before_the_last_can_send_it_back_no_more() {
        let worker = planned(0, KINDS[7], false);
        let settling = planned(1, KINDS[2], false);
        let held = planned(2, KINDS[4], false);
        let takes = |step: &ReleaseStep| matches!(step.plain(), ReleaseStep::TakeJobs { .. });
        let place = |plan: &Plan<ReleaseStep>, wanted: &dyn Fn(&ReleaseStep) -> bool| {
            plan.forward.iter().rposition(wanted).expect("it is there")
        };
        let settled = |step: &ReleaseStep| matches!(step, ReleaseStep::Hold { weight: 100, .. });
        let opened = |step: &ReleaseStep| *step.plain() == ReleaseStep::OpenGate;
        let (_, plan) = together(vec![worker.clone(), settling.clone()]).expect("a plan");
        assert!(place(&plan, &takes) > place(&plan, &settled), "{plan:?}");
        assert!(place(&plan, &takes) < plan.commit, "{plan:?}");
        let (_, plan) = together(vec![worker, settling, held]).expect("a plan");
        assert!(place(&plan, &takes) > place(&plan, &opened), "{plan:?}");
    }
}
