use std::collections::BTreeMap;

use serde::Deserialize;

use crate::model::Logins;

use super::entry::{Entry, host_of};

/// Bytes of the document.
pub const LARGEST: usize = 32 << 10;

/// Either shape: `{"auths": {…}}` as in `config.json`, or one login with its `serveraddress`.
#[derive(Deserialize)]
struct Document {
    auths: Option<BTreeMap<String, Entry>>,
    serveraddress: Option<String>,
    #[serde(flatten)]
    one: Entry,
}

#[derive(Debug, thiserror::Error, PartialEq)]
pub enum GivenError {
    #[error("the logins for --registry-auth are more than 32 KiB")]
    TooLarge,
    #[error(
        "what --registry-auth was given is not JSON of the shape {{\"auths\": {{…}}}} or {{\"username\", \"password\", \"serveraddress\"}} (line {line}, column {column})"
    )]
    Garbled { line: usize, column: usize },
    #[error(
        "the login for `{0}` that --registry-auth was given cannot be understood: write `auth`, or `username` and `password`"
    )]
    Entry(String),
    #[error(
        "--registry-auth was given no login: a helper program's logins cannot be passed on, only `auth`, or `username` and `password`"
    )]
    Nothing,
}

/// Reads the document of `--registry-auth`.
pub fn parse(bytes: &[u8]) -> Result<Logins, GivenError> {
    if bytes.len() > LARGEST {
        return Err(GivenError::TooLarge);
    }
    let document: Document = serde_json::from_slice(bytes).map_err(|error| GivenError::Garbled {
        line: error.line(),
        column: error.column(),
    })?;
    let mut entries: Vec<(String, Entry)> = document.auths.into_iter().flatten().collect();
    if let Some(address) = document.serveraddress {
        entries.push((address, document.one));
    }
    let mut logins = Logins::default();
    for (key, entry) in entries {
        let host = host_of(key.trim());
        if host.is_empty() || host.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(GivenError::Entry(
                key.chars().filter(|c| !c.is_control()).take(80).collect(),
            ));
        }
        match entry.login() {
            Ok(Some(login)) => logins.insert(host, login),
            Ok(None) => {}
            Err(_) => return Err(GivenError::Entry(host.to_owned())),
        }
    }
    match logins.is_empty() {
        true => Err(GivenError::Nothing),
        false => Ok(logins),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registries(json: &str) -> Vec<String> {
        let logins = parse(json.as_bytes()).unwrap_or_else(|error| panic!("{json}: {error}"));
        logins.registries().cloned().collect()
    }

    #[test]
    fn both_shapes_are_taken() {
        assert_eq!(
            registries(
                r#"{"auths":{"https://index.docker.io/v1/":{"auth":"YTpi"},"r.example":{"identitytoken":"t"},"empty.example":{}}}"#
            ),
            ["docker.io", "r.example"]
        );
        assert_eq!(
            registries(r#"{"username":"a","password":"b","serveraddress":"https://r.example:5000/v2/"}"#),
            ["r.example:5000"]
        );
    }

    #[test]
    fn what_does_not_fit_is_refused_without_repeating_it() {
        for bad in [
            "",
            "hunter2",
            r#"{"auths":"hunter2"}"#,
            r#"{"auths":{"r.example":{"auth":"aHVudGVyMg=="}}}"#,
            r#"{"username":"a","password":"hunter2"}"#,
            r#"{"username":"a","serveraddress":"r.example"}"#,
            r#"{"auths":{}}"#,
            r#"{"auths":{"r.example":{}},"credsStore":"x"}"#,
            r#"{"username":"a","password":"hunter2","serveraddress":" "}"#,
        ] {
            let error = parse(bad.as_bytes()).expect_err(bad);
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
        assert_eq!(parse(&vec![b' '; LARGEST + 1]), Err(GivenError::TooLarge));
    }
}
