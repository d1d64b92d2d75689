use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::model::{Login, Secret};

/// One registry's entry as `config.json` and `auth.json` have it.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Entry {
    /// `user:password` in base64.
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

#[derive(Debug, PartialEq)]
pub(super) struct Garbled;

impl Entry {
    /// `None` for an empty entry, which stands for a login kept by a helper program.
    pub fn login(self) -> Result<Option<Login>, Garbled> {
        let said = |text: Option<String>| text.filter(|text| !text.is_empty());
        if let Some(token) = said(self.identitytoken) {
            let token = Secret::new(token);
            return Ok(Some(Login::IdentityToken { token }));
        }
        let (username, password) = match said(self.auth) {
            Some(auth) => {
                let bytes = STANDARD.decode(auth.trim()).map_err(|_| Garbled)?;
                let text = String::from_utf8(bytes).map_err(|_| Garbled)?;
                let (username, password) = text.split_once(':').ok_or(Garbled)?;
                (username.to_owned(), password.trim_matches('\0').to_owned())
            }
            None => match (said(self.username), self.password) {
                (Some(username), Some(password)) => (username, password),
                (None, None) => return Ok(None),
                _ => return Err(Garbled),
            },
        };
        let password = Secret::new(password);
        Ok(Some(Login::Password { username, password }))
    }
}

/// The host of a key in an `auths` object, as Docker makes it: no scheme, no path; Docker Hub is `docker.io`.
pub(super) fn host_of(key: &str) -> &str {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    let host = bare.unwrap_or(key).split('/').next().unwrap_or_default();
    match host {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(json: &str) -> Result<Option<Login>, Garbled> {
        serde_json::from_str::<Entry>(json).expect("an entry").login()
    }

    fn password(username: &str, password: &str) -> Result<Option<Login>, Garbled> {
        Ok(Some(Login::Password {
            username: username.into(),
            password: Secret::new(password),
        }))
    }

    #[test]
    fn a_login_is_written_in_three_ways() {
        assert_eq!(entry(r#"{"auth":"YXJrOmE6Yg=="}"#), password("ark", "a:b"));
        assert_eq!(
            entry(r#"{"username":"ark","password":"x","email":1}"#),
            password("ark", "x")
        );
        let token = Secret::new("t");
        assert_eq!(
            entry(r#"{"auth":"PHRva2VuPjo=","identitytoken":"t"}"#),
            Ok(Some(Login::IdentityToken { token }))
        );
        assert_eq!(entry("{}"), Ok(None));
    }

    #[test]
    fn a_garbled_login_is_told_from_none() {
        for bad in [
            r#"{"auth":"%"}"#,
            r#"{"auth":"YXJr"}"#,
            r#"{"auth":"/w=="}"#,
            r#"{"username":"x"}"#,
        ] {
            assert_eq!(entry(bad), Err(Garbled), "{bad}");
        }
    }

    #[test]
    fn keys_are_hosts_or_addresses() {
        assert_eq!(host_of("https://index.docker.io/v1/"), "docker.io");
        assert_eq!(host_of("http://registry.example:5000/v2/"), "registry.example:5000");
        assert_eq!(host_of("registry.example"), "registry.example");
    }
}
