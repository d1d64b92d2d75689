use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

/// Bytes of all inputs together.
const LARGEST: usize = 64 << 10;
/// Characters of one input.
const LONGEST: usize = 4096;

/// An action's inputs as `toJSON(inputs)` gives them: one JSON object of strings, an empty one where nothing was said.
pub struct Inputs(BTreeMap<String, String>);

/// Their names alone: some of them are secrets.
impl fmt::Debug for Inputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum InputError {
    #[error(
        "APP_INPUTS is not set: this command is called by the steps in `actions/`, with `${{{{ toJSON(inputs) }}}}`"
    )]
    Missing,
    #[error("APP_INPUTS is not a JSON object of strings")]
    Garbled(#[source] serde_json::Error),
    #[error("APP_INPUTS is larger than any inputs of ours")]
    TooLarge,
    #[error("the action has no input `{0}`; is it of the same version as the binary?")]
    Unknown(String),
    #[error("the input `{0}` is required")]
    Required(&'static str),
    #[error("the input `{name}` {why}")]
    Bad { name: &'static str, why: String },
}

impl Inputs {
    pub fn parse(json: &str, known: &[&str]) -> Result<Self, InputError> {
        if json.len() > LARGEST {
            return Err(InputError::TooLarge);
        }
        let Distinct(inputs) = serde_json::from_str(json).map_err(InputError::Garbled)?;
        if let Some(unknown) = inputs.keys().find(|name| !known.contains(&name.as_str())) {
            return Err(InputError::Unknown(unknown.chars().take(100).collect()));
        }
        Ok(Inputs(inputs))
    }

    /// One line; `None` where nothing was said.
    pub fn text(&self, name: &'static str) -> Result<Option<&str>, InputError> {
        let Some(value) = self.0.get(name).map(|value| value.trim()) else {
            return Ok(None);
        };
        let bad = |why: &str| InputError::Bad {
            name,
            why: why.to_owned(),
        };
        if value.chars().any(char::is_control) {
            return Err(bad("has more than one line, or control characters"));
        }
        if value.chars().count() > LONGEST {
            return Err(bad("is too long"));
        }
        Ok(Some(value).filter(|value| !value.is_empty()))
    }

    /// A text of any number of lines, whose reader has bounds of its own; `None` where nothing was said.
    pub fn document(&self, name: &'static str) -> Option<&str> {
        let value = self.0.get(name)?.trim();
        Some(value).filter(|value| !value.is_empty())
    }

    pub fn required(&self, name: &'static str) -> Result<&str, InputError> {
        self.text(name)?.ok_or(InputError::Required(name))
    }

    pub fn flag(&self, name: &'static str, unsaid: bool) -> Result<bool, InputError> {
        match self.text(name)? {
            None => Ok(unsaid),
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(_) => Err(InputError::Bad {
                name,
                why: "is neither true nor false".into(),
            }),
        }
    }

    /// A required one that has a type of its own.
    pub fn parsed<T: std::str::FromStr<Err: fmt::Display>>(&self, name: &'static str) -> Result<T, InputError> {
        self.required(name)?.parse().map_err(|error: T::Err| InputError::Bad {
            name,
            why: format!("does not fit: {error}"),
        })
    }
}

/// A map that refuses a key that comes twice.
struct Distinct(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Distinct {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Strings;

        impl<'de> Visitor<'de> for Strings {
            type Value = Distinct;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Distinct, A::Error> {
                let mut found = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, String>()? {
                    if found.insert(name, value).is_some() {
                        return Err(A::Error::custom("an input comes twice"));
                    }
                }
                Ok(Distinct(found))
            }
        }

        deserializer.deserialize_map(Strings)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn inputs_are_strings_by_name() {
        let inputs = Inputs::parse(
            r#"{"service":" web ","no-canary":"true","image":""}"#,
            &["service", "no-canary", "image", "socket"],
        );
        let inputs = inputs.expect("inputs");
        assert_eq!(inputs.required("service").expect("said"), "web");
        assert!(inputs.flag("no-canary", false).expect("a flag"));
        assert_eq!(inputs.text("image").expect("text"), None);
        assert_eq!(inputs.text("socket").expect("text"), None);
        assert!(matches!(inputs.required("image"), Err(InputError::Required("image"))));
    }

    #[test]
    fn hostile_inputs_are_refused() {
        let large = format!(r#"{{"a":"{}"}}"#, "x".repeat(LARGEST));
        for json in [
            "",
            "null",
            "[]",
            "{",
            r#"{"a":1}"#,
            r#"{"a":true}"#,
            r#"{"a":{"b":"c"}}"#,
            r#"{"a":"b","a":"c"}"#,
            r#"{"a":"b"} x"#,
            r#"{"unknown":""}"#,
            large.as_str(),
        ] {
            assert!(Inputs::parse(json, &["a"]).is_err(), "{json:.40}");
        }
        let inputs = Inputs::parse(r#"{"a":"x\n::error::y"}"#, &["a"]).expect("inputs");
        assert!(inputs.text("a").is_err());
        let long = Inputs::parse(&format!(r#"{{"a":"{}"}}"#, "x".repeat(5000)), &["a"]).expect("inputs");
        assert!(long.text("a").is_err());
        let flag = Inputs::parse(r#"{"a":"yes"}"#, &["a"]).expect("inputs");
        assert!(flag.flag("a", false).is_err());
    }

    proptest! {
        #[test]
        fn no_inputs_make_it_panic(json in any::<String>()) {
            if let Ok(inputs) = Inputs::parse(&json, &["a"]) {
                prop_assert!(inputs.text("a").is_ok() || inputs.text("a").is_err());
            }
        }
    }
}
