use std::io;
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use crate::model::{Login, Secret};

const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of what a helper prints.
const LARGEST: u64 = 64 << 10;
/// The user name that says that the secret is an identity token.
const TOKEN: &str = "<token>";

#[derive(Debug, thiserror::Error)]
pub(super) enum HelperError {
    #[error("`{0}` is no name of a credential helper; correct `credHelpers` or `credsStore`")]
    Name(String),
    #[error(
        "docker-credential-{name} is not on the PATH; install it, or take it out of `credHelpers` and `credsStore`"
    )]
    Missing { name: String },
    #[error("docker-credential-{name} could not be run")]
    Unusable {
        name: String,
        #[source]
        source: io::Error,
    },
    #[error("docker-credential-{name} did not answer within {} s; run it by hand to see what it waits for", PATIENCE.as_secs())]
    Late { name: String },
    #[error("docker-credential-{name} failed: {message}")]
    Failed { name: String, message: String },
    #[error("docker-credential-{name} answered something else than a login, or more than 64 KiB")]
    Garbled { name: String },
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Username")]
    username: String,
    #[serde(rename = "Secret")]
    secret: String,
}

/// Asks `docker-credential-NAME get`; `None` where it keeps no login for `key`.
pub(super) async fn ask(name: &str, key: &str) -> Result<Option<Login>, HelperError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 100 || !name.chars().all(plain) || !name.starts_with(char::is_alphanumeric) {
        return Err(HelperError::Name(
            name.chars().filter(|c| !c.is_control()).take(100).collect(),
        ));
    }
    match tokio::time::timeout(PATIENCE, run(name, key)).await {
        Ok(result) => result,
        Err(_) => Err(HelperError::Late { name: name.to_owned() }),
    }
}

async fn run(name: &str, key: &str) -> Result<Option<Login>, HelperError> {
    let unusable = |source| HelperError::Unusable {
        name: name.to_owned(),
        source,
    };
    let mut command = Command::new(format!("docker-credential-{name}"));
    command
        .arg("get")
        // Not where whoever called us happens to be.
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => HelperError::Missing { name: name.to_owned() },
        _ => unusable(error),
    })?;
    let (input, output, errors) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let asked = async {
        let Some(mut input) = input else { return Ok(()) };
        match input.write_all(format!("{key}\n").as_bytes()).await {
            // It knows its answer without being asked to the end.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written,
        }
    };
    let (asked, answer, complaint) = tokio::join!(asked, heard(output), heard(errors));
    asked.map_err(unusable)?;
    let (answer, complaint) = (answer.map_err(unusable)?, complaint.map_err(unusable)?);
    let garbled = || HelperError::Garbled { name: name.to_owned() };
    if answer.len() as u64 > LARGEST {
        return Err(garbled());
    }
    let status = child.wait().await.map_err(unusable)?;
    if status.success() {
        let answer: Answer = serde_json::from_slice(&answer).map_err(|_| garbled())?;
        let secret = Secret::new(answer.secret);
        return Ok(Some(match answer.username.as_str() {
            TOKEN => Login::IdentityToken { token: secret },
            _ => Login::Password {
                username: answer.username,
                password: secret,
            },
        }));
    }
    // What fails says so on its standard output.
    let said = [&answer, &complaint].map(|bytes| said(bytes));
    let message = said.into_iter().find(|text| !text.is_empty());
    let message = message.unwrap_or_else(|| format!("{status}, and no reason; run it by hand"));
    match message.contains("credentials not found") {
        true => Ok(None),
        false => Err(HelperError::Failed {
            name: name.to_owned(),
            message,
        }),
    }
}

async fn heard(stream: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        stream.take(LARGEST + 1).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

/// One line of a person's length; nothing where it is JSON, or begins as such, which may be a login.
fn said(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    if text.trim_start().starts_with(['{', '[']) || serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok() {
        return String::new();
    }
    let line = text.trim().lines().next().unwrap_or_default();
    line.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_with_a_path_in_it_is_not_run() {
        for bad in ["", "../x", "/bin/sh", "a b", "-x", ".x", "a\nb", &"x".repeat(101)] {
            assert!(
                matches!(ask(bad, "r.example").await, Err(HelperError::Name(_))),
                "{bad}"
            );
        }
    }

    #[test]
    fn an_answer_is_no_complaint() {
        for login in [
            r#"{"Username":"ark","Secret":"s3cret"}"#,
            "\n {\"Secret\": \"s3cret\"}\nerror: and then it failed",
            "{\"Secret\":\"s3cr",
            r#"["s3cret"]"#,
            r#""s3cret""#,
        ] {
            assert_eq!(said(login.as_bytes()), "", "{login}");
        }
        assert_eq!(said(b" locked\x1b\nunlock it\n"), "locked");
        assert_eq!(said("x".repeat(1000).as_bytes()).len(), 200);
    }

    #[tokio::test]
    async fn a_helper_that_is_not_there_is_named() {
        let error = ask("arkwright-none-such", "r.example")
            .await
            .expect_err("it is not there");
        assert!(
            error.to_string().contains("docker-credential-arkwright-none-such"),
            "{error}"
        );
        assert!(matches!(error, HelperError::Missing { .. }));
    }
}
