use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::journal::Saga;
use crate::model::{ServiceName, Span};

use super::{Finding, Goal, Permit, ReleaseStep, Subject};

/// What one release moves: a service, or several that move together or not at all.
///
/// In a journal one service alone is its [`Subject`] and nothing around it, as it was before releases had several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Subjects {
    /// In the order they were named; at least one, and no service twice.
    members: Vec<Subject>,
    /// Asked for beside them, and running what was asked for already.
    pub unchanged: Vec<Unchanged>,
    /// Released together with what is taken back here, and left as they are.
    pub left: Vec<ServiceName>,
    /// What stood for and against its beginning.
    pub permit: Permit,
}

/// A service that a release leaves out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unchanged {
    pub service: ServiceName,
    pub image: String,
}

#[derive(Debug, thiserror::Error, PartialEq)]
pub enum SubjectsError {
    #[error("a release has at least one service: name it")]
    None,
    #[error("`{0}` is named twice: name it once")]
    Twice(ServiceName),
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Several {
        members: Vec<Subject>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        unchanged: Vec<Unchanged>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        left: Vec<ServiceName>,
        #[serde(default, skip_serializing_if = "Permit::is_empty")]
        permit: Permit,
    },
    One(Box<Subject>),
}

impl Subjects {
    pub fn new(members: Vec<Subject>) -> Result<Self, SubjectsError> {
        distinct(members.iter().map(|member| &member.service))?;
        Ok(Subjects {
            members,
            unchanged: Vec::new(),
            left: Vec::new(),
            permit: Permit::default(),
        })
    }

    pub fn beside(self, unchanged: Vec<Unchanged>) -> Self {
        Subjects { unchanged, ..self }
    }

    pub fn members(&self) -> &[Subject] {
        &self.members
    }

    pub fn members_mut(&mut self) -> &mut [Subject] {
        &mut self.members
    }

    pub fn services(&self) -> impl Iterator<Item = &ServiceName> {
        self.members.iter().map(|member| &member.service)
    }

    /// The same of every member.
    pub fn goal(&self) -> Goal {
        self.members[0].goal
    }

    pub fn reason(&self) -> Option<&str> {
        self.members.iter().find_map(|member| member.reason.as_deref())
    }

    /// What has to be said where only some of what was released together is taken back.
    pub fn left_behind(&self) -> Option<String> {
        let names: Vec<&str> = self.left.iter().map(ServiceName::as_str).collect();
        (!names.is_empty()).then(|| {
            format!(
                "released together with {}, left as it is; `arkwright rollback --group` takes back all of a release",
                names.join(", ")
            )
        })
    }

    /// Whose step it is; `None` of one that is of several together, or of a service that is none of these.
    pub fn of(&self, step: &ReleaseStep) -> Option<&Subject> {
        match (step, &self.members[..]) {
            (ReleaseStep::Of { service, .. }, members) => members.iter().find(|member| member.service == *service),
            (ReleaseStep::ShiftTogether { .. }, _) => None,
            (_, [only]) => Some(only),
            _ => None,
        }
    }
}

/// That these are services at all, and none of them twice.
pub(super) fn distinct<'a>(services: impl Iterator<Item = &'a ServiceName>) -> Result<(), SubjectsError> {
    let mut seen = BTreeSet::new();
    for service in services {
        if !seen.insert(service) {
            return Err(SubjectsError::Twice(service.clone()));
        }
    }
    match seen.is_empty() {
        true => Err(SubjectsError::None),
        false => Ok(()),
    }
}

impl From<Subject> for Subjects {
    fn from(only: Subject) -> Self {
        Subjects {
            members: vec![only],
            unchanged: Vec::new(),
            left: Vec::new(),
            permit: Permit::default(),
        }
    }
}

impl TryFrom<Written> for Subjects {
    type Error = SubjectsError;

    fn try_from(written: Written) -> Result<Self, SubjectsError> {
        match written {
            Written::One(only) => Ok((*only).into()),
            Written::Several {
                members,
                unchanged,
                left,
                permit,
            } => Ok(Subjects {
                unchanged,
                left,
                permit,
                ..Subjects::new(members)?
            }),
        }
    }
}

impl From<Subjects> for Written {
    fn from(subjects: Subjects) -> Self {
        let Subjects {
            mut members,
            unchanged,
            left,
            permit,
        } = subjects;
        let plain = members.len() == 1 && unchanged.is_empty() && left.is_empty() && permit.is_empty();
        if plain && let Some(only) = members.pop() {
            return Written::One(Box::new(only));
        }
        Written::Several {
            members,
            unchanged,
            left,
            permit,
        }
    }
}

/// What the finished steps of one of a release's services found, those of all its services together included.
pub fn finished_of<'a>(
    saga: &'a Saga<ReleaseStep>,
    service: &ServiceName,
) -> impl Iterator<Item = (&'a ReleaseStep, &'a Finding, Span)> {
    let service = service.clone();
    saga.finished()
        .filter_map(move |(step, finding, took)| Some((step.of(&service)?, finding, took)))
}
