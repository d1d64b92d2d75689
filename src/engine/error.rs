use std::future::Future;
use std::time::Duration;

use bollard::errors::Error;

use crate::ports::EngineError;

/// Awaits one call. The outer error is a connection that broke or time that ran out; the inner one the engine's own
/// refusal, after which the caller looks at the object again before it believes it.
pub(super) async fn call<T>(
    what: &str,
    limit: Duration,
    future: impl Future<Output = Result<T, Error>>,
) -> Result<Result<T, String>, EngineError> {
    match tokio::time::timeout(limit, future).await {
        Err(_) => Err(timeout(what, limit)),
        Ok(Ok(value)) => Ok(Ok(value)),
        Ok(Err(error)) => refusal(what, limit, error).map(Err),
    }
}

pub(super) fn timeout(what: &str, limit: Duration) -> EngineError {
    EngineError::Timeout {
        what: what.to_owned(),
        seconds: limit.as_secs(),
    }
}

pub(super) fn refusal(what: &str, limit: Duration, error: Error) -> Result<String, EngineError> {
    match error {
        Error::DockerResponseServerError { message, .. } => Ok(message.chars().take(2000).collect()),
        Error::DockerStreamError { error } => Ok(error.chars().take(2000).collect()),
        Error::RequestTimeoutError => Err(timeout(what, limit)),
        other => Err(EngineError::Broken {
            what: what.to_owned(),
            source: Box::new(other),
        }),
    }
}

/// The refusal as a person needs it; the words both engines use for a taken port and a missing helper are known.
pub(super) fn refused(what: &str, message: String) -> EngineError {
    let lower = message.to_lowercase();
    let what = what.to_owned();
    if lower.contains("port is already allocated")
        || lower.contains("all ports are allocated")
        || lower.contains("address already in use")
        || lower.contains("bind: ") && lower.contains("port")
    {
        return EngineError::PortTaken { what, message };
    }
    if lower.contains("catatonit") || lower.contains("container-init binary not found") {
        return EngineError::Unsupported {
            what: format!("finish {what}"),
            why: "`init: true` needs the package catatonit on a Podman host; install it or remove `init`".into(),
        };
    }
    EngineError::Refused { what, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_known_by_either_engines_words() {
        for words in [
            "driver failed programming external connectivity: Bind for 0.0.0.0:80 failed: port is already allocated",
            "driver failed programming external connectivity on endpoint web: all ports are allocated",
            "rootlessport listen tcp 0.0.0.0:80: bind: address already in use",
        ] {
            let error = refused("the start of web", words.into());
            assert!(matches!(error, EngineError::PortTaken { .. }), "{words}");
        }
        let other = refused("the start of web", "exec: \"nope\": not found".into());
        assert!(matches!(other, EngineError::Refused { .. }));
    }
}
