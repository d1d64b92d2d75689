use std::collections::BTreeSet;

use crate::config::{After, Background, Before, Config, Hook, HookClass, Inconclusive, Release, Swap, Then};
use crate::journal::{Patience, Plan, Step};
use crate::model::{Colour, ServiceName, Span, Timestamp};
use crate::plan::desired::{self, DesiredError, HostFolders};
use crate::plan::{Container, ContainerSpec, Observed, Route, labels, standby};
use crate::stack::{Service, Stack};

use super::subject::short_id;
use super::{Goal, Image, Limits, Past, ReleaseStep, Subject, SubjectsError, Version, plain_of};

/// Of a service without a router, where its configuration says nothing: how long it has to have run, and may take to.
const STEADY: Span = Span::seconds(10);
const WITHIN: Span = Span::seconds(600);
/// Tells the programs of `after` where the new colour answers.
const COLOUR_URL: &str = "ARKWRIGHT_COLOUR_URL";

/// What a plan is made from.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    pub stack: &'a Stack,
    pub config: &'a Config,
    pub folders: &'a HostFolders,
    pub service: &'a ServiceName,
    /// As the router has them.
    pub routes: &'a [Route],
    pub observed: &'a Observed,
}

#[derive(Debug, thiserror::Error, PartialEq)]
pub enum PlanError {
    #[error("the Compose project has no service `{0}`")]
    NoService(ServiceName),
    #[error("`{0}` is not released: give it `release:` under `services:` in arkwright.yaml, then run `arkwright up`")]
    NotReleased(ServiceName),
    #[error(
        "`{service}` does not run behind the router yet ({why}); run `arkwright up` first, with `--adopt` where it still runs as a plain container"
    )]
    NotRouted { service: ServiceName, why: String },
    #[error(
        "{service} stands between two colours ({weights}); finish what moved it with `arkwright resume`, see `arkwright history`; where that was given up, `arkwright up` gives all traffic to the colour that has more of it"
    )]
    Unsettled { service: ServiceName, weights: String },
    #[error("`{0}` has no image: name one, `arkwright deploy {0}=IMAGE`, or give the service an `image:`")]
    NoImage(ServiceName),
    #[error("there is nothing to go back to: no earlier release of `{0}` is known; deploy the image you want instead")]
    NothingBefore(ServiceName),
    #[error("`{0}` has no container yet; run `arkwright up` first")]
    NotThere(ServiceName),
    #[error("`{0}` is recreated in place, so no former version of it is kept running")]
    NothingWarm(ServiceName),
    #[error("`swap: hold` is for one process, but `{service}` has {replicas} replicas; set `replicas: 1`")]
    HeldReplicas { service: ServiceName, replicas: u32 },
    #[error(
        "{0} are swapped in place (`swap: hold` or `recreate`), and a release moves one such service at most: past the point of no return of one, the other could not be taken back; move them one after the other (`deploy --one-by-one`, or a `rollback` each)"
    )]
    SwappedTogether(String),
    #[error(
        "these services move by different steps, so they cannot move together ({0}); give them the same `steps:`, leave the steps out with `--no-canary`, or release one after the other with `--one-by-one`"
    )]
    DifferentSteps(String),
    #[error(transparent)]
    Subjects(#[from] SubjectsError),
    #[error(transparent)]
    Desired(#[from] DesiredError),
}

/// Where a service stands, as everything that moves it needs to know.
struct Ground<'a> {
    ask: Ask<'a>,
    service: &'a Service,
    release: &'a Release,
    from: Colour,
    /// The image that serves.
    previous: Image,
    serving: Vec<&'a Container>,
    other: Vec<&'a Container>,
}

impl<'a> Ask<'a> {
    fn ground(self) -> Result<Ground<'a>, PlanError> {
        let (service, release) = self.released()?;
        let name = self.service;
        let (from, serving, other) = match release.routed() {
            None => (Colour::Blue, plain_of(self.observed, name), Vec::new()),
            Some((port, _)) => {
                let from = self.from(service, port)?;
                let of = |colour| of_colour(self.observed, name, colour);
                (from, of(from), of(from.other()))
            }
        };
        // One that does not run may well be what a release is to mend.
        let Some(first) = serving.first() else {
            return Err(match release.routed() {
                None => PlanError::NotThere(name.clone()),
                Some(_) => self.not_routed(&format!("{from}, which should serve, is not there")),
            });
        };
        Ok(Ground {
            ask: self,
            service,
            release,
            from,
            previous: image_of(first),
            serving,
            other,
        })
    }

    fn released(self) -> Result<(&'a Service, &'a Release), PlanError> {
        let name = self.service;
        let service = self.stack.services.get(name);
        let service = service.ok_or_else(|| PlanError::NoService(name.clone()))?;
        let release = self.config.services.get(name);
        let release = &release.ok_or_else(|| PlanError::NotReleased(name.clone()))?.release;
        if release.swap == Swap::Hold && service.replicas != 1 {
            return Err(PlanError::HeldReplicas {
                service: name.clone(),
                replicas: service.replicas,
            });
        }
        Ok((service, release))
    }

    /// The colour that has all traffic.
    fn from(self, service: &Service, port: u16) -> Result<Colour, PlanError> {
        let route = self.routes.iter().find(|route| route.service == *self.service);
        let route = route.ok_or_else(|| self.not_routed("the router does not know it"))?;
        if route.replicas != service.replicas || route.port != port {
            return Err(self.not_routed("the router knows it with another port or number of replicas"));
        }
        let [a, b] = &route.slots;
        match (a.weight, b.weight) {
            (100, 0) => Ok(a.colour),
            (0, 100) => Ok(b.colour),
            (x, y) => Err(PlanError::Unsettled {
                service: self.service.clone(),
                weights: format!("{} {x} %, {} {y} %", a.colour, b.colour),
            }),
        }
    }

    fn not_routed(self, why: &str) -> PlanError {
        PlanError::NotRouted {
            service: self.service.clone(),
            why: why.to_owned(),
        }
    }
}

/// The containers of one colour, whatever their state, by name.
pub fn of_colour<'a>(observed: &'a Observed, service: &ServiceName, colour: Colour) -> Vec<&'a Container> {
    let mut found: Vec<&Container> = observed
        .containers
        .iter()
        .filter(|c| c.label(labels::SERVICE) == Some(service.as_str()))
        .filter(|c| c.label(labels::COLOUR) == Some(colour.as_str()))
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

/// Whether the Compose file wants the registry asked every time.
pub fn always(service: &Service) -> bool {
    service.pull_policy.as_deref() == Some("always")
}

/// What a container was made from, as it was named then.
pub fn image_of(container: &Container) -> Image {
    Image {
        reference: container.label(labels::IMAGE).unwrap_or(&container.image).to_owned(),
        id: Some(container.image_id.clone()),
        digest: None,
    }
}

/// Moves the service to an image; nothing to do where the serving colour is that already. `no_canary` leaves the steps out.
pub fn deploy(ask: Ask<'_>, image: Image, no_canary: bool) -> Result<(Subject, Plan<ReleaseStep>), PlanError> {
    let ground = ask.ground()?;
    let subject = ground.subject(Goal::Deploy, image, None, true)?;
    let same_image = |c: &Container| subject.image.id.as_ref() == Some(&c.image_id);
    // Another name for the same image is no change.
    let wanted = ground.specs(ground.from, &subject.previous.reference)?;
    let hash = |spec: &ContainerSpec| spec.labels.get(labels::SPEC_HASH).cloned();
    let same_spec =
        |(c, spec): (&&Container, &ContainerSpec)| c.label(labels::SPEC_HASH).map(str::to_owned) == hash(spec);
    if ground.serving.len() == wanted.len()
        && ground.serving.iter().all(|c| c.running() && same_image(c))
        && ground.serving.iter().zip(&wanted).all(same_spec)
    {
        let plan = Plan {
            forward: Vec::new(),
            commit: 0,
            finally: Vec::new(),
        };
        return Ok((subject, plan));
    }
    let plan = ground.make_and_move(&subject, !no_canary);
    Ok((subject, plan))
}

/// Back to the warm colour; where there is none, `previous` is made again.
pub fn rollback(
    ask: Ask<'_>,
    previous: Option<Image>,
    reason: Option<String>,
) -> Result<(Subject, Plan<ReleaseStep>), PlanError> {
    let ground = ask.ground()?;
    // One that stands by would do so for good where nobody says any more how to tell it otherwise.
    let deaf = ground.release.background.is_none() && ground.other.iter().any(|c| c.label(labels::STANDBY).is_some());
    let warm = ground.other.len() == ground.service.replicas as usize && !deaf;
    if !warm {
        let image = previous.ok_or_else(|| PlanError::NothingBefore(ask.service.clone()))?;
        let subject = ground.subject(Goal::Rollback, image, reason, true)?;
        let plan = ground.make_and_move(&subject, false);
        return Ok((subject, plan));
    }
    let subject = ground.subject(Goal::Rollback, image_of(ground.other[0]), reason, false)?;
    // One that runs is looked at by the shift itself: whoever goes back is in a hurry.
    let plan = ground.back_to_warm(&subject, ground.other.iter().all(|c| c.running()));
    Ok((subject, plan))
}

/// Back to the colour that the journals say is warm, without a look at the engine; `None` where that has to be asked.
/// The router's own checks of the colour have to pass.
pub fn rollback_at_once(
    ask: Ask<'_>,
    past: &Past,
    now: Timestamp,
    reason: Option<String>,
) -> Option<(Subject, Plan<ReleaseStep>)> {
    let (service, release) = ask.released().ok()?;
    let from = ask.from(service, release.routed()?.0).ok()?;
    let warm = past.warm.as_ref()?;
    // One that stands by would have to be known for it by its container.
    let known = warm.colour == from.other() && now < warm.until && !past.background && release.background.is_none();
    if !known || release.swap != Swap::Overlap || past.previous.id.is_none() || past.serving.id.is_none() {
        return None;
    }
    let ground = Ground {
        ask,
        service,
        release,
        from,
        previous: past.serving.clone(),
        serving: Vec::new(),
        other: Vec::new(),
    };
    let subject = ground
        .subject(Goal::Rollback, past.previous.clone(), reason, false)
        .ok()?;
    let plan = ground.back_to_warm(&subject, true);
    Some((subject, plan))
}

/// Removes the colour that does not serve.
pub fn retire(ask: Ask<'_>) -> Result<(Subject, Plan<ReleaseStep>), PlanError> {
    let ground = ask.ground()?;
    if ground.release.swap == Swap::Recreate {
        return Err(PlanError::NothingWarm(ask.service.clone()));
    }
    let image = ground
        .other
        .first()
        .map_or_else(|| image_of(ground.serving[0]), |c| image_of(c));
    let subject = ground.subject(Goal::Retire, image, None, false)?;
    let plan = Plan {
        forward: vec![ReleaseStep::Clear { colour: subject.to }],
        commit: 0,
        finally: Vec::new(),
    };
    Ok((subject, plan))
}

impl Ground<'_> {
    fn specs(&self, colour: Colour, image: &str) -> Result<Vec<ContainerSpec>, PlanError> {
        let Ask { stack, folders, .. } = self.ask;
        if self.release.swap == Swap::Recreate {
            let one = |number| desired::recreated(stack, self.service, number, image, folders);
            return Ok((1..=self.service.replicas).map(one).collect::<Result<_, _>>()?);
        }
        let service = standby::of_colour(self.service, self.release, colour, folders);
        let one = |replica| desired::colour(stack, &service, colour, replica, image, folders);
        Ok((1..=self.service.replicas).map(one).collect::<Result<_, _>>()?)
    }

    fn subject(&self, goal: Goal, image: Image, reason: Option<String>, make: bool) -> Result<Subject, PlanError> {
        let to = self.from.other();
        let specs = self.specs(to, &image.reference)?;
        let recreated = self.release.swap == Swap::Recreate;
        let network = specs.first().and_then(|spec| spec.networks.first());
        let network = match network.map(|network| network.network.clone()) {
            None if !recreated => return Err(DesiredError::NoNetwork(self.service.name.clone()).into()),
            network => network.unwrap_or_default(),
        };
        let previous = self.previous.clone();
        let replaced = match recreated {
            true => self.specs(self.from, &previous.reference)?,
            false => Vec::new(),
        };
        let within = self.release.health.as_ref().map(|health| health.within);
        let hooks = self.hook_specs(goal, &image.reference)?;
        Ok(Subject {
            goal,
            project: self.ask.stack.name.clone(),
            service: self.service.name.clone(),
            swap: self.release.swap,
            from: self.from,
            to,
            image,
            previous,
            containers: if make { specs } else { Vec::new() },
            replaced,
            replicas: self.service.replicas,
            network,
            limits: Limits {
                healthy: within.or(self.release.healthy_within).unwrap_or(WITHIN),
                steady: self.release.healthy_for.unwrap_or(STEADY),
                hold: self.release.hold_limit,
                drain: self.release.drain_limit,
            },
            data: self.ask.config.databases_of(self.release),
            reason,
            hooks,
            gates: self.ask.config.gates_of(self.release),
            probe: self.release.probe.clone(),
            background: self.release.background.clone().map(|background| Background {
                port: background.port.or(self.release.port),
                ..background
            }),
            logins: BTreeSet::new(),
            pull: make && goal == Goal::Deploy && always(self.service),
        })
    }

    /// All traffic to the colour that is there still.
    fn back_to_warm(&self, subject: &Subject, running: bool) -> Plan<ReleaseStep> {
        let to = subject.to;
        let keep = ReleaseStep::KeepWarm {
            colour: subject.from,
            span: self.release.keep_warm,
        };
        let mut forward = vec![ReleaseStep::Check];
        if self.release.swap == Swap::Hold {
            let commit = self.held(subject, &mut forward);
            forward.push(keep);
            return finished(forward, commit);
        }
        if !running {
            forward.push(ReleaseStep::Start { colour: to });
            forward.push(ReleaseStep::Point { colour: to });
            forward.push(ReleaseStep::AwaitHealthy { colour: to });
        }
        forward.push(ReleaseStep::Shift {
            colour: to,
            weight: 100,
        });
        forward.push(ReleaseStep::Prove { colour: to });
        let commit = forward.len();
        self.hand_over(subject, &mut forward);
        forward.push(keep);
        finished(forward, commit)
    }

    /// A colour from nothing to all traffic.
    fn make_and_move(&self, subject: &Subject, steps: bool) -> Plan<ReleaseStep> {
        let (from, to) = (subject.from, subject.to);
        let deploys = subject.goal == Goal::Deploy;
        let keep = ReleaseStep::KeepWarm {
            colour: from,
            span: self.release.keep_warm,
        };
        let recreated = subject.swap == Swap::Recreate;
        let mut forward = if recreated {
            Vec::new()
        } else {
            vec![ReleaseStep::Check]
        };
        forward.push(ReleaseStep::Fetch);
        let sets = self.release.before.iter().filter(|_| deploys);
        forward.extend(sets.filter_map(|before| {
            Some(ReleaseStep::Backup {
                set: before.backup.clone()?,
            })
        }));
        if recreated {
            let commit = self.come_up(subject, &mut forward).unwrap_or(forward.len());
            return finished(forward, commit);
        }
        forward.push(ReleaseStep::Clear { colour: to });
        if subject.background.is_some() {
            forward.push(ReleaseStep::StandBy { colour: to });
        }
        forward.push(ReleaseStep::Create { colour: to });
        let commit = if subject.swap == Swap::Hold {
            self.held(subject, &mut forward)
        } else {
            let irreversible = self.come_up(subject, &mut forward);
            for step in self.release.steps.iter().filter(|_| steps) {
                forward.push(ReleaseStep::Shift {
                    colour: to,
                    weight: step.weight,
                });
                forward.push(self.hold(step.weight, step.hold));
            }
            forward.push(ReleaseStep::Shift {
                colour: to,
                weight: 100,
            });
            forward.push(ReleaseStep::Prove { colour: to });
            // The other colour runs on, so that what the gates see now can still take everything back.
            forward.extend(self.release.settle.map(|settle| self.hold(100, settle)));
            // Whoever goes back does not have a colour that may be broken decide whether the other one serves.
            let proven = forward.len();
            self.hand_over(subject, &mut forward);
            irreversible.unwrap_or(if deploys { forward.len() } else { proven })
        };
        forward.push(keep);
        finished(forward, commit)
    }

    /// The queue is the proven colour's from here on. Nobody takes jobs in between, so that none is taken twice.
    fn hand_over(&self, subject: &Subject, forward: &mut Vec<ReleaseStep>) {
        if subject.background.is_some() {
            forward.push(ReleaseStep::StandBy { colour: subject.from });
            forward.push(ReleaseStep::TakeJobs { colour: subject.to });
        }
    }

    /// The new colour, from its first program to being healthy; after how many steps nothing may be taken back by itself,
    /// where one of the programs is of that kind.
    fn come_up(&self, subject: &Subject, forward: &mut Vec<ReleaseStep>) -> Option<usize> {
        let colour = subject.to;
        let mut irreversible = None;
        let (before, after) = self.hooks();
        let count = before.len();
        let mut run = |hooks: Vec<Hook>, first: usize, forward: &mut Vec<ReleaseStep>| {
            for (at, hook) in hooks.into_iter().enumerate().filter(|_| !subject.hooks.is_empty()) {
                forward.push(ReleaseStep::RunHook {
                    at: first + at,
                    program: hook.run.first().cloned().unwrap_or_default(),
                    timeout: hook.timeout,
                });
                if hook.class == HookClass::Irreversible {
                    irreversible = Some(forward.len());
                }
            }
        };
        run(before, 0, forward);
        let version = Version::New;
        forward.extend(match subject.swap {
            Swap::Recreate => [
                ReleaseStep::TakeDown { version: Version::Old },
                ReleaseStep::PutUp { version },
                ReleaseStep::AwaitUp { version },
            ],
            Swap::Overlap | Swap::Hold => [
                ReleaseStep::Start { colour },
                ReleaseStep::Point { colour },
                ReleaseStep::AwaitHealthy { colour },
            ],
        });
        run(after, count, forward);
        irreversible
    }

    /// Programs before the new colour starts, and those after it is healthy.
    fn hooks(&self) -> (Vec<Hook>, Vec<Hook>) {
        let before = self.release.before.iter().filter_map(Before::hook);
        let after = self.release.after.iter().map(After::hook);
        (before.collect(), after.collect())
    }

    /// Their containers, in that order; only a deployment has them.
    fn hook_specs(&self, goal: Goal, image: &str) -> Result<Vec<ContainerSpec>, PlanError> {
        let (before, after) = self.hooks();
        let count = before.len();
        let hooks = before
            .into_iter()
            .chain(after)
            .enumerate()
            .filter(|_| goal == Goal::Deploy);
        let Ask { stack, folders, .. } = self.ask;
        // Once it is healthy the new colour can be asked, past the router and before anybody else does.
        let mut asking = self.service.clone();
        let alias = desired::colour_alias(&self.service.name, self.from.other());
        if let Some((port, _)) = self.release.routed() {
            let url = format!("http://{alias}:{port}");
            asking.environment.insert(COLOUR_URL.into(), Some(url));
        }
        let spec = |(at, hook): (usize, Hook)| {
            let service = if at < count { self.service } else { &asking };
            desired::hook(stack, service, at, &hook.run, image, folders)
        };
        Ok(hooks.map(spec).collect::<Result<_, _>>()?)
    }

    fn hold(&self, weight: u8, span: Span) -> ReleaseStep {
        let Inconclusive { after, then } = self.release.inconclusive;
        let patience = Patience {
            span: after,
            fails: then == Then::Abort,
        };
        ReleaseStep::Hold { weight, span, patience }
    }

    /// One process for another behind the closed gate. There is no way back once the new one is healthy: from the
    /// moment it may be asked, the data is its own.
    fn held(&self, subject: &Subject, forward: &mut Vec<ReleaseStep>) -> usize {
        let (from, to) = (subject.from, subject.to);
        forward.extend([
            ReleaseStep::CloseGate,
            ReleaseStep::Drain { colour: from },
            ReleaseStep::StopServing { colour: from },
        ]);
        if !subject.data.is_empty() {
            forward.push(ReleaseStep::CopyData);
        }
        self.come_up(subject, forward);
        let commit = forward.len();
        forward.extend([
            ReleaseStep::Shift {
                colour: to,
                weight: 100,
            },
            ReleaseStep::OpenGate,
            ReleaseStep::Prove { colour: to },
        ]);
        self.hand_over(subject, forward);
        commit
    }
}

fn finished(forward: Vec<ReleaseStep>, commit: usize) -> Plan<ReleaseStep> {
    let mut finally = Vec::new();
    if forward.contains(&ReleaseStep::Check) {
        finally.push(ReleaseStep::Count);
    }
    if forward.contains(&ReleaseStep::CopyData) {
        finally.push(ReleaseStep::DropCopy);
    }
    finally.extend(
        forward
            .iter()
            .filter(|step| matches!(step, ReleaseStep::RunHook { .. }))
            .filter_map(Step::undo),
    );
    Plan {
        forward,
        commit,
        finally,
    }
}

impl Subject {
    /// `line-service:1.1.0 (83e81c811889)` of the image by the id it turned out to have.
    pub fn image_as(&self, id: &str) -> String {
        format!("{} ({})", self.image.reference, short_id(id))
    }
}
