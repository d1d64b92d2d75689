//! Pulls go over a connection of our own: bollard writes what a registry is shown in an alphabet the engines do not read,
//! so some passwords would silently not be sent.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use serde_json::{Value, json};

use crate::model::{Login, Reference, chain};
use crate::ports::{EngineError, Found, KeyringError, PullError, PullProgress, PullTrouble};

use super::bollard::Bollard;
use super::error::{refused, timeout};
use super::images::check_reference;
use super::{lenient, limits, wire};

/// What is known of the login for one registry.
type Looked = Result<Option<Found>, KeyringError>;

impl Bollard {
    pub(super) async fn pull_image(
        &self,
        reference: &str,
        progress: &(dyn Fn(PullProgress) + Send + Sync),
    ) -> Result<(), EngineError> {
        check_reference(reference)?;
        let what = format!("the pull of {reference}");
        let image: Reference = reference.parse().map_err(|error| refused(&what, format!("{error}")))?;
        let (name, tag) = split(reference);
        let path = format!(
            "/images/create?fromImage={}&tag={}",
            wire::escape(name),
            wire::escape(tag)
        );
        let looked = self.look_up(&image).await;
        let auth = looked
            .as_ref()
            .ok()
            .and_then(Option::as_ref)
            .map(|found| encode(&image, &found.login));
        let broken = |source| EngineError::Broken {
            what: what.clone(),
            source,
        };
        let silent = |_| timeout(&what, limits::PULL_SILENCE);
        self.count_write();
        let answer = tokio::time::timeout(limits::PULL_SILENCE, wire::post(&self.address, &path, auth.as_deref()));
        let mut lines = match answer.await.map_err(silent)?.map_err(broken)? {
            Ok(lines) => lines,
            Err(message) => return Err(unpulled(reference, &image, &looked, message)),
        };
        while let Some(line) = tokio::time::timeout(limits::PULL_SILENCE, lines.next())
            .await
            .map_err(silent)?
            .map_err(broken)?
        {
            if let Some(message) = complaint(&line) {
                return Err(unpulled(reference, &image, &looked, message));
            }
            progress(step(&line));
        }
        match self.find_image(reference).await? {
            Some(_) => Ok(()),
            None => Err(refused(&what, "it ended without an error and without the image".into())),
        }
    }

    /// The registry's own word on what a name means now; `None` where it knows no such image.
    pub(super) async fn ask_registry(&self, reference: &str) -> Result<Option<String>, EngineError> {
        check_reference(reference)?;
        if self.podman() {
            return Err(EngineError::Unsupported {
                what: format!("ask a registry what {reference} is"),
                why: "Podman's API has no such question; pull the image, and its digest is known".into(),
            });
        }
        let what = format!("the digest of {reference}");
        let image: Reference = reference.parse().map_err(|error| refused(&what, format!("{error}")))?;
        let looked = self.look_up(&image).await;
        let auth = looked
            .as_ref()
            .ok()
            .and_then(Option::as_ref)
            .map(|found| encode(&image, &found.login));
        let path = format!("/distribution/{reference}/json");
        match wire::get_with(&self.address, &path, auth.as_deref(), limits::REGISTRY).await? {
            Ok(Some(answer)) => {
                Ok(Some(lenient::text(&answer, "/Descriptor/digest").to_owned()).filter(|d| !d.is_empty()))
            }
            Ok(None) => Ok(None),
            Err(message) => match unpulled(reference, &image, &looked, message) {
                EngineError::Pull(error) if error.trouble == PullTrouble::NotThere => Ok(None),
                error => Err(error),
            },
        }
    }

    async fn look_up(&self, image: &Reference) -> Looked {
        match &self.keyring {
            Some(keyring) => keyring.login(image, self.info.kind).await,
            None => Ok(None),
        }
    }
}

/// Name and tag or digest, `latest` where nothing is said: without a tag the API pulls all of them.
fn split(reference: &str) -> (&str, &str) {
    let (name, version) = Reference::split(reference);
    (name, version.unwrap_or("latest"))
}

/// A login as the engines' API takes it.
fn encode(image: &Reference, login: &Login) -> String {
    let address = image.login_key();
    let shown = match login {
        Login::Password { username, password } => {
            json!({ "username": username, "password": password.expose(), "serveraddress": address })
        }
        Login::IdentityToken { token } => json!({ "identitytoken": token.expose(), "serveraddress": address }),
    };
    URL_SAFE.encode(shown.to_string())
}

fn step(line: &Value) -> PullProgress {
    let bytes = |pointer| line.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
    PullProgress {
        layer: lenient::text(line, "/id").to_owned(),
        status: lenient::text(line, "/status").to_owned(),
        current: bytes("/progressDetail/current"),
        total: bytes("/progressDetail/total"),
    }
}

fn complaint(line: &Value) -> Option<String> {
    let said = [
        lenient::text(line, "/errorDetail/message"),
        lenient::text(line, "/error"),
    ];
    let text = said.into_iter().find(|text| !text.is_empty())?;
    Some(text.chars().take(2000).collect())
}

fn unpulled(reference: &str, image: &Reference, looked: &Looked, message: String) -> EngineError {
    EngineError::Pull(Box::new(PullError {
        reference: reference.to_owned(),
        registry: image.registry.clone(),
        trouble: trouble(&message, looked),
        message,
    }))
}

/// What the engines' words amount to; they pass on those of the registry and of the network.
fn trouble(message: &str, looked: &Looked) -> PullTrouble {
    // A disk's words, and those of a program that is not there, are not a registry's.
    let message = message
        .to_lowercase()
        .replace("permission denied", "")
        .replace("executable file not found", "");
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    let unauthorised = says(&[
        "unauthorized",
        "authentication required",
        "no basic auth credentials",
        "invalid username/password",
        "incorrect username or password",
        "denied",
        "status: 401",
        "status code 401",
        "403 (forbidden)",
    ]);
    if unauthorised {
        return match looked {
            Ok(Some(Found { login, from })) => PullTrouble::LoginRefused {
                who: login.who(),
                from: from.clone(),
            },
            Ok(None) => PullTrouble::LoginMissing { why: None },
            Err(error) => PullTrouble::LoginMissing {
                why: Some(chain(error)),
            },
        };
    }
    if says(&[
        "x509",
        "certificate",
        "server gave http response to https client",
        "tls: ",
    ]) {
        return PullTrouble::Untrusted;
    }
    if says(&[
        "manifest unknown",
        "not found",
        "name unknown",
        "name_unknown",
        "does not exist",
    ]) && !says(&["no such host"])
    {
        return PullTrouble::NotThere;
    }
    if says(&[
        "connection refused",
        "no such host",
        "i/o timeout",
        "timeout exceeded",
        "deadline exceeded",
        "timed out",
        "no route to host",
        "network is unreachable",
        "connection reset",
        "server misbehaving",
        "handshake timeout",
        "temporary failure in name resolution",
        "eof",
    ]) {
        return PullTrouble::Unreachable;
    }
    PullTrouble::Other
}

#[cfg(test)]
mod tests {
    use crate::model::Secret;

    use super::*;

    #[test]
    fn a_reference_is_split_as_docker_splits_it() {
        assert_eq!(split("redis"), ("redis", "latest"));
        assert_eq!(split("host:5000/a/b"), ("host:5000/a/b", "latest"));
        assert_eq!(split("host:5000/a/b:v1"), ("host:5000/a/b", "v1"));
        assert_eq!(split("a/b:v1@sha256:00"), ("a/b:v1", "sha256:00"));
    }

    #[test]
    fn a_login_is_encoded_in_the_alphabet_the_engines_read() {
        let image: Reference = "r.example/a".parse().expect("a reference");
        for password in ["a>>>~~~???", "ÿÿÿþþþ", "x"] {
            let login = Login::Password {
                username: "u".into(),
                password: Secret::new(password),
            };
            let encoded = encode(&image, &login);
            assert!(!encoded.contains(['+', '/']), "{encoded}");
            let decoded = URL_SAFE.decode(&encoded).expect("base64");
            let value: Value = serde_json::from_slice(&decoded).expect("JSON");
            assert_eq!(value["password"], password);
            assert_eq!(value["serveraddress"], "r.example");
        }
    }

    #[test]
    fn the_engines_words_are_told_apart() {
        let found = Found {
            login: Login::IdentityToken {
                token: Secret::new("t"),
            },
            from: "/x".into(),
        };
        let refused = PullTrouble::LoginRefused {
            who: "an identity token".into(),
            from: "/x".into(),
        };
        let missing = || PullTrouble::LoginMissing { why: None };
        for (words, expected) in [
            (
                "Get \"http://r/v2/\": unauthorized: authentication required",
                refused.clone(),
            ),
            (
                "pull access denied for a/b, repository does not exist or may require 'docker login': denied: x",
                refused,
            ),
        ] {
            assert_eq!(trouble(words, &Ok(Some(found.clone()))), expected, "{words}");
        }
        for (words, expected) in [
            (
                "Head \"http://r/v2/a/manifests/1\": no basic auth credentials",
                missing(),
            ),
            (
                "initializing source docker://r/a:1: reading manifest 1 in r/a: authentication required",
                missing(),
            ),
            (
                "manifest for r/a:9 not found: manifest unknown: manifest unknown",
                PullTrouble::NotThere,
            ),
            ("reading manifest 9 in r/a: manifest unknown", PullTrouble::NotThere),
            (
                "Get \"http://127.0.0.1:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused",
                PullTrouble::Unreachable,
            ),
            ("dial tcp: lookup r.example: no such host", PullTrouble::Unreachable),
            (
                "http: server gave HTTP response to HTTPS client",
                PullTrouble::Untrusted,
            ),
            (
                "tls: failed to verify certificate: x509: certificate signed by unknown authority",
                PullTrouble::Untrusted,
            ),
            ("no space left on device", PullTrouble::Other),
            ("mkdir /var/lib/docker/tmp: permission denied", PullTrouble::Other),
        ] {
            assert_eq!(trouble(words, &Ok(None)), expected, "{words}");
        }
    }
}
