//! `$VAR` and `${VAR…}` in the values of a Compose file and of a dotenv file.

use super::error::Fault;
use super::tree::{Data, Node};

/// Deepest `${A:-${B:-…}}`.
const DEEPEST: usize = 32;
/// Longest text one value may become, in bytes.
const LONGEST: usize = 1 << 20;
/// Longest text all values of one file may become together, in bytes.
const LONGEST_FILE: usize = 32 << 20;

/// Where variables come from, and who wants to know what happened to them.
pub(super) trait Scope {
    fn get(&mut self, name: &str) -> Option<String>;

    /// A variable without a value became empty text.
    fn unset(&mut self, _name: &str) {}

    /// What a reference to `name` became, a default included.
    fn became(&mut self, _name: &str, _value: &str) {}
}

/// A reference that cannot be resolved.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(super) enum Unresolved {
    #[error("`{0}` is not a variable reference")]
    Malformed(String),
    #[error("required variable `{name}` has no value: {reason}")]
    Required { name: String, reason: String },
    #[error("`{0}` is arkwright's own and belongs in arkwright.yaml")]
    Ours(String),
    #[error("the value becomes longer than 1 MiB, or refers deeper than {DEEPEST} levels")]
    TooMuch,
}

impl Unresolved {
    pub fn help(&self) -> String {
        match self {
            Unresolved::Malformed(_) => {
                "write `${NAME}`, `${NAME:-default}` or `${NAME:?why}`; for a literal `$` write `$$`".to_owned()
            }
            Unresolved::Required { name, .. } => format!("set `{name}` in the environment or in `.env`"),
            Unresolved::Ours(_) => {
                "in a Compose file use an `env_file`, a `secrets` entry or a plain variable such as `${KEY}`".to_owned()
            }
            Unresolved::TooMuch => "refer to fewer or shorter variables".to_owned(),
        }
    }
}

/// Resolves every reference in `text`.
///
/// `$$` is a literal `$`. A `$` before anything but a name, `{` or `$` stays as it is. The text after `:?` and `?`
/// is resolved only when it is shown, defaults only when they are used.
pub(super) fn expand(text: &str, scope: &mut dyn Scope) -> Result<String, Unresolved> {
    expand_at(text, scope, 0)
}

fn expand_at(text: &str, scope: &mut dyn Scope, depth: usize) -> Result<String, Unresolved> {
    if depth > DEEPEST {
        return Err(Unresolved::TooMuch);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        out.push_str(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if rest.starts_with('{') {
            let reference = &text[text.len() - rest.len() - 1..];
            let end = closing(reference).ok_or_else(|| malformed(reference))?;
            out.push_str(&braced(&reference[..=end], scope, depth)?);
            rest = &reference[end + 1..];
        } else {
            let name = name_of(rest);
            if name.is_empty() {
                out.push('$');
            } else {
                out.push_str(&plain(name, scope));
                rest = &rest[name.len()..];
            }
        }
        if out.len() > LONGEST {
            return Err(Unresolved::TooMuch);
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// Where the brace that `${` opens is closed, counting the references inside.
fn closing(reference: &str) -> Option<usize> {
    let bytes = reference.as_bytes();
    let mut open = 0usize;
    for (at, byte) in bytes.iter().enumerate() {
        if *byte == b'}' {
            open = open.checked_sub(1)?;
            if open == 0 {
                return Some(at);
            }
        } else if *byte == b'{' && at > 0 && bytes[at - 1] == b'$' {
            open += 1;
        }
    }
    None
}

/// The longest name `text` begins with.
fn name_of(text: &str) -> &str {
    let good =
        |(at, byte): (usize, u8)| byte == b'_' || byte.is_ascii_alphabetic() || (at > 0 && byte.is_ascii_digit());
    let end = text.bytes().enumerate().take_while(|pair| good(*pair)).count();
    &text[..end]
}

fn plain(name: &str, scope: &mut dyn Scope) -> String {
    match scope.get(name) {
        Some(value) => {
            scope.became(name, &value);
            value
        }
        None => {
            scope.unset(name);
            String::new()
        }
    }
}

fn malformed(reference: &str) -> Unresolved {
    let shown: String = reference.chars().take(60).collect();
    if reference.starts_with("${secrets:") {
        Unresolved::Ours(shown)
    } else {
        Unresolved::Malformed(shown)
    }
}

/// `reference` is the whole of `${…}`.
fn braced(reference: &str, scope: &mut dyn Scope, depth: usize) -> Result<String, Unresolved> {
    let inside = &reference[2..reference.len() - 1];
    let name = name_of(inside);
    let after = &inside[name.len()..];
    if name.is_empty() {
        return Err(malformed(reference));
    }
    if after.is_empty() {
        return Ok(plain(name, scope));
    }
    let (colon, after) = after.strip_prefix(':').map_or((false, after), |after| (true, after));
    let mut chars = after.chars();
    let operator = chars.next();
    let word = chars.as_str();
    let value = scope.get(name);
    let present = value.as_ref().is_some_and(|value| !colon || !value.is_empty());
    let result = match (operator, present) {
        (Some('-' | '?'), true) => value.unwrap_or_default(),
        (Some('-'), false) | (Some('+'), true) => expand_at(word, scope, depth + 1)?,
        (Some('+'), false) => String::new(),
        (Some('?'), false) => {
            let reason = expand_at(word, scope, depth + 1)?;
            let reason = if reason.is_empty() {
                "it is not set".to_owned()
            } else {
                reason
            };
            return Err(Unresolved::Required {
                name: name.to_owned(),
                reason,
            });
        }
        _ => return Err(malformed(reference)),
    };
    scope.became(name, &result);
    Ok(result)
}

/// Resolves the references in every value of a tree; keys are left alone.
pub(super) fn expand_tree(node: &mut Node, scope: &mut dyn Scope) -> Result<(), Fault> {
    let mut budget = LONGEST_FILE;
    expand_node(node, scope, &mut budget)
}

fn expand_node(node: &mut Node, scope: &mut dyn Scope, budget: &mut usize) -> Result<(), Fault> {
    match &mut node.data {
        Data::Text(text) if text.contains('$') => {
            let fault = |error: Unresolved| Fault::new(node.at, error.to_string()).help(error.help());
            *text = expand(text, scope).map_err(fault)?;
            *budget = budget
                .checked_sub(text.len())
                .ok_or_else(|| fault(Unresolved::TooMuch))?;
        }
        Data::List(items) => {
            for item in items {
                expand_node(item, scope, budget)?;
            }
        }
        Data::Map(map) => {
            for entry in map.values_mut() {
                expand_node(&mut entry.node, scope, budget)?;
            }
        }
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    struct Vars(BTreeMap<&'static str, &'static str>, Vec<String>);

    impl Scope for Vars {
        fn get(&mut self, name: &str) -> Option<String> {
            self.0.get(name).map(|value| (*value).to_owned())
        }

        fn unset(&mut self, name: &str) {
            self.1.push(name.to_owned());
        }
    }

    fn vars() -> Vars {
        Vars(BTreeMap::from([("A", "a"), ("EMPTY", ""), ("_x1", "u")]), Vec::new())
    }

    #[test]
    fn every_operator() {
        for (text, result) in [
            ("$A-b ${A}c $_x1", "a-b ac u"),
            ("${A:-d} ${EMPTY:-d} ${NO:-d}", "a d d"),
            ("${A-d} ${EMPTY-d} ${NO-d}", "a  d"),
            ("${A:+s} ${EMPTY:+s} ${NO:+s}", "s  "),
            ("${A+s} ${EMPTY+s} ${NO+s}", "s s "),
            ("${A:?no} ${EMPTY?no}", "a "),
            ("$$A $${A} 100$ $1 $-", "$A ${A} 100$ $1 $-"),
            ("${NO:-pre-${NO:-deep}-post}", "pre-deep-post"),
            ("${NO:-a:b?c+d}", "a:b?c+d"),
            ("${NO:-{\"k\":1}}", "{\"k\":1}"),
            ("${A:?${NO:?never}}", "a"),
            ("${A:-${NO:?never}}", "a"),
        ] {
            assert_eq!(expand(text, &mut vars()).as_deref(), Ok(result), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_reference() {
        for text in ["${}", "${ A}", "${A!}", "${A", "${A:}", "${1A}", "x ${A:=b}"] {
            assert!(
                matches!(expand(text, &mut vars()), Err(Unresolved::Malformed(_))),
                "{text}"
            );
        }
        let ours = expand("${secrets:file:KEY}", &mut vars()).unwrap_err();
        assert!(ours.help().contains("env_file"), "{ours}");
    }

    #[test]
    fn a_missing_required_variable_says_why() {
        let error = expand("${NO:?set ${A} first}", &mut vars()).unwrap_err();
        assert_eq!(
            error,
            Unresolved::Required {
                name: "NO".into(),
                reason: "set a first".into()
            }
        );
        assert!(matches!(
            expand("${EMPTY:?}", &mut vars()),
            Err(Unresolved::Required { .. })
        ));
    }

    #[test]
    fn unset_variables_are_reported() {
        let mut scope = vars();
        assert_eq!(expand("x${NO}y$NO2", &mut scope).as_deref(), Ok("xy"));
        assert_eq!(scope.1, ["NO", "NO2"]);
    }

    #[test]
    fn depth_and_length_are_bounded() {
        let deep = "${N:-".repeat(40_000) + &"}".repeat(40_000);
        assert_eq!(expand(&deep, &mut vars()), Err(Unresolved::TooMuch));
        let long = "$A".repeat(LONGEST + 2);
        assert_eq!(expand(&long, &mut vars()), Err(Unresolved::TooMuch));
    }

    proptest! {
        #[test]
        fn never_panics(text in "[$A{}:?+\\-é ]{0,40}") {
            let first = expand(&text, &mut vars());
            prop_assert_eq!(first, expand(&text, &mut vars()));
        }
    }
}
