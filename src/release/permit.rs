use serde::{Deserialize, Serialize};

/// What stood for and against a release when it began.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Permit {
    /// What the records should know, a sentence each.
    pub notes: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overridden: Option<Override>,
}

/// Someone said that it goes on all the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Override {
    pub reason: String,
    /// What it would have been refused for; nothing where there was nothing.
    pub refusals: Vec<String>,
}

impl Permit {
    pub fn is_empty(&self) -> bool {
        *self == Permit::default()
    }
}
