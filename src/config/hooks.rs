use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::Span;

/// What must have succeeded before a release goes on: a backup, before anything is touched, or a program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Before {
    /// A set of `backups.sets`.
    #[serde(default)]
    pub backup: Option<String>,
    /// A program and its arguments, such as a migration: run once, in a container made from the new image with the
    /// service's environment, networks and mounts, before the new colour starts. Of a held swap: while the gate is closed.
    #[serde(default)]
    pub run: Vec<String>,
    /// Whether the version that serves can live with what `run` has done.
    #[serde(default)]
    pub class: Option<HookClass>,
    #[serde(default)]
    pub timeout: Option<Span>,
}

/// A program that is run once the new colour is healthy and has no traffic yet; as `run` of `before`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct After {
    pub run: Vec<String>,
    pub class: HookClass,
    #[serde(default)]
    pub timeout: Option<Span>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HookClass {
    /// It changes nothing that lasts, or what it changes is changed back by the old version itself.
    Reversible,
    /// Both versions work with what it leaves.
    ExpandContract,
    /// The old version does not: past it nothing is taken back by itself, the release stands and someone has to look.
    Irreversible,
}

/// A program to be run around a release; carried by it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hook {
    pub run: Vec<String>,
    pub class: HookClass,
    pub timeout: Span,
}

const TIMEOUT: Span = Span::seconds(300);

impl Before {
    /// The program, where it is one.
    pub fn hook(&self) -> Option<Hook> {
        let class = self.class.filter(|_| !self.run.is_empty())?;
        Some(Hook {
            run: self.run.clone(),
            class,
            timeout: self.timeout.unwrap_or(TIMEOUT),
        })
    }

    /// What is wrong with it.
    pub fn checked(&self) -> Result<(), String> {
        match (&self.backup, self.run.is_empty()) {
            (Some(_), true) if self.class.is_none() && self.timeout.is_none() => Ok(()),
            (Some(_), true) => Err("`class` and `timeout` belong to `run`".into()),
            (None, false) if self.class.is_some() => Ok(()),
            (None, false) => Err(
                "say what `class` the program is of: reversible, expand_contract (both versions work with what it \
                 leaves) or irreversible (nothing is taken back past it)"
                    .into(),
            ),
            _ => Err("an entry is either a `backup` or a program to `run`".into()),
        }
    }
}

impl After {
    pub fn hook(&self) -> Hook {
        Hook {
            run: self.run.clone(),
            class: self.class,
            timeout: self.timeout.unwrap_or(TIMEOUT),
        }
    }
}
