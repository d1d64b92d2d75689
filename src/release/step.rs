use std::fmt;

use serde::{Deserialize, Serialize};

use crate::journal::{Patience, Step};
use crate::model::{Colour, ServiceName, Span};

use super::{Finding, Subjects};

/// What a release does; each word can be said twice with the effect of once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum ReleaseStep {
    /// The router answers, and serves what the plan was made for.
    Check,
    /// Pulls the image if it is not here, and names it so that pruning leaves it.
    Fetch,
    /// Must have succeeded before anything is touched.
    Backup {
        set: String,
    },
    /// Out of the router, its sessions shut, its containers removed. Also takes [`ReleaseStep::Create`] back.
    Clear {
        colour: Colour,
    },
    /// Containers, not started.
    Create {
        colour: Colour,
    },
    Start {
        colour: Colour,
    },
    /// Takes [`ReleaseStep::Start`] back.
    Stop {
        colour: Colour,
    },
    /// The router is given the colour's addresses, without weight.
    Point {
        colour: Colour,
    },
    /// Takes [`ReleaseStep::Point`] back; what it is still answering is waited for.
    Unpoint {
        colour: Colour,
    },
    AwaitHealthy {
        colour: Colour,
    },
    /// Runs a program of the subject's, once, from the new image.
    RunHook {
        at: usize,
        program: String,
        timeout: Span,
    },
    /// Takes [`ReleaseStep::RunHook`] back as far as that goes: it runs no more, and its container is gone.
    EndHook {
        at: usize,
        program: String,
    },
    /// This share of new requests goes to the colour, the rest to the other.
    Shift {
        colour: Colour,
        weight: u8,
    },
    /// At 100: the new colour settles, and can still be taken back.
    Hold {
        weight: u8,
        span: Span,
        #[serde(default = "an_hour")]
        patience: Patience,
    },
    /// New requests wait at the router.
    CloseGate,
    OpenGate,
    /// Waits until the colour answers nothing any more.
    Drain {
        colour: Colour,
    },
    /// The colour that served, stopped behind the closed gate.
    StopServing {
        colour: Colour,
    },
    /// Takes [`ReleaseStep::StopServing`] back: started, pointed at, healthy.
    StartAgain {
        colour: Colour,
    },
    /// The declared files, beside their place, while nothing has them open.
    CopyData,
    /// Takes [`ReleaseStep::CopyData`] back: the files are again what they were.
    RestoreData,
    DropCopy,
    /// Asks the serving colour's containers for their image.
    Prove {
        colour: Colour,
    },
    /// The colour takes no more jobs, now and whenever it is started.
    StandBy {
        colour: Colour,
    },
    /// It takes jobs, now and whenever it is started. Takes [`ReleaseStep::StandBy`] back, and the other way round.
    TakeJobs {
        colour: Colour,
    },
    /// The colour stays for a rollback.
    KeepWarm {
        colour: Colour,
        span: Span,
    },
    /// A service without a router: this version's containers are stopped and removed.
    TakeDown {
        version: Version,
    },
    /// Created and started. Takes [`ReleaseStep::TakeDown`] back, and the other way round.
    PutUp {
        version: Version,
    },
    /// Healthy by their own check, or running for long enough.
    AwaitUp {
        version: Version,
    },
    /// Reads the router's counters, for the receipt.
    Count,
    /// A step of one of several services; never one within another.
    Of {
        service: ServiceName,
        #[serde(rename = "does")]
        step: Box<ReleaseStep>,
    },
    /// [`ReleaseStep::Shift`] of several services: none is moved before all can be.
    ShiftTogether {
        to: Vec<(ServiceName, Colour)>,
        weight: u8,
    },
}

/// Which of the two a service without colours runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Version {
    Old,
    New,
}

impl Version {
    pub fn other(self) -> Self {
        match self {
            Version::Old => Version::New,
            Version::New => Version::Old,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Version::Old => "old",
            Version::New => "new",
        })
    }
}

/// Of releases that were planned before this was a matter of configuration.
fn an_hour() -> Patience {
    Patience {
        span: Span::seconds(3600),
        fails: false,
    }
}

impl ReleaseStep {
    /// What it does for this service; `None` for another's step.
    pub fn of(&self, service: &ServiceName) -> Option<&Self> {
        match self {
            ReleaseStep::Of { service: of, step } => Some(step.as_ref()).filter(|_| of == service),
            ReleaseStep::ShiftTogether { to, .. } => Some(self).filter(|_| to.iter().any(|(of, _)| of == service)),
            _ => Some(self),
        }
    }

    /// The same among the steps of several services.
    pub fn of_service(self, service: &ServiceName) -> Self {
        ReleaseStep::Of {
            service: service.clone(),
            step: Box::new(self),
        }
    }

    /// Without the service it is of.
    pub fn plain(&self) -> &Self {
        match self {
            ReleaseStep::Of { step, .. } => step,
            _ => self,
        }
    }
}

impl Step for ReleaseStep {
    const KIND: &'static str = "release";
    type Subject = Subjects;
    type Output = Finding;

    fn undo(&self) -> Option<Self> {
        match *self {
            ReleaseStep::Of { ref service, ref step } => Some(step.undo()?.of_service(service)),
            ReleaseStep::ShiftTogether { ref to, .. } => Some(ReleaseStep::ShiftTogether {
                to: to.clone(),
                weight: 0,
            }),
            ReleaseStep::Create { colour } => Some(ReleaseStep::Clear { colour }),
            ReleaseStep::Start { colour } => Some(ReleaseStep::Stop { colour }),
            ReleaseStep::Point { colour } => Some(ReleaseStep::Unpoint { colour }),
            ReleaseStep::Shift { colour, .. } => Some(ReleaseStep::Shift { colour, weight: 0 }),
            ReleaseStep::CloseGate => Some(ReleaseStep::OpenGate),
            ReleaseStep::StopServing { colour } => Some(ReleaseStep::StartAgain { colour }),
            ReleaseStep::StandBy { colour } => Some(ReleaseStep::TakeJobs { colour }),
            ReleaseStep::TakeJobs { colour } => Some(ReleaseStep::StandBy { colour }),
            ReleaseStep::TakeDown { version } => Some(ReleaseStep::PutUp { version }),
            ReleaseStep::PutUp { version } => Some(ReleaseStep::TakeDown { version }),
            ReleaseStep::CopyData => Some(ReleaseStep::RestoreData),
            ReleaseStep::RunHook { at, ref program, .. } => Some(ReleaseStep::EndHook {
                at,
                program: program.clone(),
            }),
            _ => None,
        }
    }

    fn wait(&self) -> Option<Span> {
        match self {
            ReleaseStep::Hold { span, .. } => Some(*span),
            _ => None,
        }
    }

    fn patience(&self) -> Option<Patience> {
        match self {
            ReleaseStep::Hold { patience, .. } => Some(*patience),
            _ => None,
        }
    }

    /// Not while the new colour comes up, and never while requests wait at the gate.
    fn pausable(&self) -> bool {
        if let ReleaseStep::Of { step, .. } = self {
            return step.pausable();
        }
        matches!(
            self,
            ReleaseStep::Fetch
                | ReleaseStep::Backup { .. }
                | ReleaseStep::Create { .. }
                | ReleaseStep::Shift { .. }
                | ReleaseStep::ShiftTogether { .. }
                | ReleaseStep::Hold { .. }
                | ReleaseStep::CloseGate
                | ReleaseStep::TakeDown { version: Version::Old }
        )
    }

    fn skippable(&self) -> bool {
        matches!(self, ReleaseStep::Hold { weight: ..100, .. })
    }
}

impl fmt::Display for ReleaseStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReleaseStep::Check => f.write_str("check the router"),
            ReleaseStep::Fetch => f.write_str("fetch the image"),
            ReleaseStep::Backup { set } => write!(f, "back up {set}"),
            ReleaseStep::Clear { colour } => write!(f, "remove {colour}"),
            ReleaseStep::Create { colour } => write!(f, "create {colour}"),
            ReleaseStep::Start { colour } => write!(f, "start {colour}"),
            ReleaseStep::Stop { colour } => write!(f, "stop {colour}"),
            ReleaseStep::Point { colour } => write!(f, "show {colour} to the router"),
            ReleaseStep::Unpoint { colour } => write!(f, "take {colour} from the router"),
            ReleaseStep::AwaitHealthy { colour } => write!(f, "wait for {colour} to be healthy"),
            ReleaseStep::RunHook { program, .. } => write!(f, "run {program}"),
            ReleaseStep::EndHook { program, .. } => write!(f, "end {program}"),
            ReleaseStep::Shift { colour, weight } => write!(f, "shift {weight} % to {colour}"),
            ReleaseStep::Hold { weight: 100, span, .. } => write!(f, "settle for {}", span.human()),
            ReleaseStep::Hold { weight, span, .. } => write!(f, "hold at {weight} % for {}", span.human()),
            ReleaseStep::CloseGate => f.write_str("close the gate"),
            ReleaseStep::OpenGate => f.write_str("open the gate"),
            ReleaseStep::Drain { colour } => write!(f, "let {colour} finish"),
            ReleaseStep::StopServing { colour } => write!(f, "stop {colour} behind the gate"),
            ReleaseStep::StartAgain { colour } => write!(f, "start {colour} again"),
            ReleaseStep::CopyData => f.write_str("copy the data"),
            ReleaseStep::RestoreData => f.write_str("put the data back"),
            ReleaseStep::DropCopy => f.write_str("drop the copy of the data"),
            ReleaseStep::Prove { colour } => write!(f, "ask {colour} what it runs"),
            ReleaseStep::StandBy { colour } => write!(f, "have {colour} stand by"),
            ReleaseStep::TakeJobs { colour } => write!(f, "have {colour} take jobs"),
            ReleaseStep::KeepWarm { colour, span } => write!(f, "keep {colour} warm for {}", span.human()),
            ReleaseStep::TakeDown { version } => write!(f, "take the {version} version down"),
            ReleaseStep::PutUp { version } => write!(f, "put the {version} version up"),
            ReleaseStep::AwaitUp { version } => write!(f, "wait for the {version} version to be healthy"),
            ReleaseStep::Count => f.write_str("read the router's counters"),
            ReleaseStep::Of { service, step } => write!(f, "{service}: {step}"),
            ReleaseStep::ShiftTogether { to, weight } => {
                let to: Vec<String> = to
                    .iter()
                    .map(|(service, colour)| format!("{colour} of {service}"))
                    .collect();
                write!(f, "shift {weight} % to {}", to.join(" and "))
            }
        }
    }
}
