use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::Span;

/// How a colour is told to leave the queue alone and to work it: weights steer requests and nothing else.
///
/// A colour begins standing by. While the file that `ARKWRIGHT_STANDBY` names in its environment exists it takes no
/// job; whether it does is looked up when the program starts, and afterwards it is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Background {
    /// From its answer on no job is taken; what is in hand may be finished.
    pub pause: Call,
    pub resume: Call,
    /// The longest one container may take to answer.
    #[serde(default = "ten_seconds")]
    pub timeout: Span,
    /// Where `post` is answered; the release's `port` where nothing is said.
    #[serde(default)]
    pub port: Option<u16>,
}

/// A program run in each of the colour's containers, or a request to each. Said twice it has the effect of once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// Exit code 0 is yes.
    #[serde(default)]
    pub run: Vec<String>,
    /// The path asked with POST; 2xx is yes.
    #[serde(default)]
    pub post: Option<String>,
}

fn ten_seconds() -> Span {
    Span::seconds(10)
}

impl Background {
    /// What is wrong with it.
    pub fn checked(&self) -> Result<(), String> {
        for (name, call) in [("pause", &self.pause), ("resume", &self.resume)] {
            match (&call.post, call.run.is_empty()) {
                (None, false) => {}
                (Some(path), true) if super::is_path(path) => {}
                (Some(_), true) => return Err(format!("`{name}.post` is a path that begins with `/`")),
                _ => return Err(format!("`{name}` is either a program to `run` or a path to `post` to")),
            }
        }
        match self.timeout.std().is_zero() {
            true => Err("`timeout` is how long an answer may take, above nought".into()),
            false => Ok(()),
        }
    }
}
