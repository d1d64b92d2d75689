use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Text that is never printed: only [`Secret::expose`] gives it away.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The text itself, for the one place it is meant for.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

/// A secret as it crosses the agent's socket, and nothing else.
mod plainly {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::Secret;

    pub fn serialize<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(secret.expose())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
        String::deserialize(deserializer).map(Secret::new)
    }
}

/// What a registry is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Login {
    Password {
        username: String,
        #[serde(with = "plainly")]
        password: Secret,
    },
    /// What some registries hand out in place of a password.
    IdentityToken {
        #[serde(with = "plainly")]
        token: Secret,
    },
}

impl Login {
    /// Who logs in, for a person.
    pub fn who(&self) -> String {
        match self {
            Login::Password { username, .. } => format!("`{username}`"),
            Login::IdentityToken { .. } => "an identity token".to_owned(),
        }
    }

    pub fn secret(&self) -> &Secret {
        match self {
            Login::Password { password, .. } => password,
            Login::IdentityToken { token } => token,
        }
    }
}

/// Logins somebody gave for one operation, by registry. They are held in memory and never stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Logins(BTreeMap<String, Login>);

impl Logins {
    pub fn insert(&mut self, registry: impl Into<String>, login: Login) {
        self.0.insert(registry.into(), login);
    }

    /// `registry` as [`super::Reference::registry`] has it.
    pub fn get(&self, registry: &str) -> Option<&Login> {
        self.0.get(registry)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn registries(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }

    /// For a runner that is to keep them out of its log.
    pub fn secrets(&self) -> impl Iterator<Item = &Secret> {
        self.0.values().map(Login::secret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_login_prints_what_it_is_shown() {
        let mut logins = Logins::default();
        let password = Secret::new("hunter2");
        logins.insert(
            "registry.example",
            Login::Password {
                username: "ark".into(),
                password,
            },
        );
        let token = Secret::new("hunter2");
        logins.insert("ghcr.io", Login::IdentityToken { token });
        let printed = format!("{logins:?} {:#?}", logins.get("ghcr.io"));
        assert!(!printed.contains("hunter2") && printed.contains("ark"), "{printed}");
        let text = serde_json::to_string(&logins).expect("over the socket");
        assert_eq!(serde_json::from_str::<Logins>(&text).expect("and back"), logins);
    }
}
