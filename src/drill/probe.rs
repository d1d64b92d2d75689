//! What the probe inside a sandbox reports, and what it amounts to.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::CheckResult;

/// The answer to one GET.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    Status {
        status: u16,
        /// Its first 64 KiB.
        #[serde(with = "digits")]
        body: Vec<u8>,
        ms: u64,
    },
    /// Nothing that is HTTP came back.
    None { why: String },
}

/// Something that must not work from inside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WayOut {
    Tcp(SocketAddr),
    /// Asking the name server the sandbox has for a name outside.
    Name(String),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reached {
    /// It worked.
    Answered,
    /// Somebody was there to refuse.
    Refused,
    Unreachable(String),
    /// Nothing came back in time.
    Silent,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    pub way: WayOut,
    pub reached: Reached,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SealReport {
    /// Whether the same probe reaches its own listener inside: without that, its failures say nothing.
    pub control: bool,
    pub attempts: Vec<Attempt>,
}

impl fmt::Display for WayOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WayOut::Tcp(address) => write!(f, "tcp {address}"),
            WayOut::Name(name) => write!(f, "name {name}"),
        }
    }
}

impl Attempt {
    fn leaks(&self) -> bool {
        match (&self.way, &self.reached) {
            (_, Reached::Answered) => true,
            // A refusal came from the far side; a name server that refuses has told nothing.
            (WayOut::Tcp(_), Reached::Refused) => true,
            _ => false,
        }
    }
}

/// `listened`: how many of the addresses tried answer the host itself, so that silence means the seal.
pub fn sealed(report: &Result<SealReport, String>, listened: usize) -> CheckResult {
    const NAME: &str = "sealed";
    const EXPECTED: &str = "no way out";
    let report = match report {
        Ok(report) => report,
        Err(why) => return CheckResult::not_run(NAME, EXPECTED, why),
    };
    if !report.control {
        return CheckResult::not_run(NAME, EXPECTED, "the probe does not even reach its own listener");
    }
    if report.attempts.is_empty() || listened == 0 {
        return CheckResult::not_run(NAME, EXPECTED, "there was nothing to try that answers the host itself");
    }
    let leaks: Vec<String> = report
        .attempts
        .iter()
        .filter(|attempt| attempt.leaks())
        .map(|attempt| attempt.way.to_string())
        .collect();
    if leaks.is_empty() {
        let actual = format!(
            "0 of {} ways out open, {listened} of which answer the host",
            report.attempts.len()
        );
        CheckResult::passed(NAME, EXPECTED, actual)
    } else {
        let actual = format!("{} of {} ways out open", leaks.len(), report.attempts.len());
        CheckResult::failed(
            NAME,
            EXPECTED,
            actual,
            format!("reached from inside: {}", leaks.join(", ")),
        )
    }
}

/// Bytes as hex digits.
mod digits {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex::encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        hex::decode(String::deserialize(from)?).map_err(D::Error::custom)
    }
}
