use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

#[derive(Debug, thiserror::Error, PartialEq)]
#[error("`{text}` is not {what}: {rule}")]
pub struct NotAName {
    what: &'static str,
    rule: &'static str,
    text: String,
}

/// A Compose project: lower-case letters, digits, `-` and `_`, beginning with a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct ProjectName(String);

/// A service's key in the Compose file: letters, digits, `.`, `-` and `_`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct ServiceName(String);

impl FromStr for ProjectName {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        let inner = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
        if text.bytes().all(inner) && text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            Ok(ProjectName(text.to_owned()))
        } else {
            Err(NotAName {
                what: "a project name",
                rule: "lower-case letters, digits, `-` and `_`, beginning with a letter or digit",
                text: text.to_owned(),
            })
        }
    }
}

impl FromStr for ServiceName {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        if !text.is_empty() && text.bytes().all(inner) {
            Ok(ServiceName(text.to_owned()))
        } else {
            Err(NotAName {
                what: "a service name",
                rule: "letters, digits, `.`, `-` and `_`",
                text: text.to_owned(),
            })
        }
    }
}

macro_rules! text_form {
    ($($name:ident),*) => {$(
        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NotAName;

            fn try_from(text: String) -> Result<Self, NotAName> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }
    )*};
}
text_form!(ProjectName, ServiceName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_compose() {
        assert!("memoryark".parse::<ProjectName>().is_ok());
        for bad in ["", "-a", "_a", "Ark", "a/b", "a b"] {
            assert!(bad.parse::<ProjectName>().is_err(), "{bad}");
        }
        assert!("line-service_1.x".parse::<ServiceName>().is_ok());
        for bad in ["", "a/b", "..\n", "a b"] {
            assert!(bad.parse::<ServiceName>().is_err(), "{bad}");
        }
    }
}
