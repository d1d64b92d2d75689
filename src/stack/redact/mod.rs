//! Which values are secrets, and how text is shown without them.

mod line;
mod words;

use std::collections::BTreeSet;
use std::fmt;

pub(super) use line::{line, lines};
pub(super) use words::{hidden, secrets_in};

/// What stands where a secret was.
pub const REDACTED: &str = "<redacted>";

/// A secret shorter than this is only replaced where it stands as a word of its own.
const SHORT: usize = 4;

/// Every value that must not be printed.
#[derive(Clone, Default, PartialEq)]
pub struct Secrets {
    /// Given by a variable, a dotenv file or a `secrets` entry: replaced everywhere.
    given: BTreeSet<String>,
    /// Written in the Compose file under a telling name: replaced where programs are told things (environment, command,
    /// labels…), but not in names, or `POSTGRES_PASSWORD: nextcloud` would hide the image `nextcloud` too.
    written: BTreeSet<String>,
}

impl Secrets {
    /// A value that came from outside the Compose file.
    pub fn give(&mut self, value: &str) {
        insert(&mut self.given, value);
    }

    pub(super) fn write(&mut self, value: &str) {
        insert(&mut self.written, value);
    }

    pub fn is_empty(&self) -> bool {
        self.given.is_empty() && self.written.is_empty()
    }

    pub fn contains(&self, value: &str) -> bool {
        self.given.contains(value) || self.written.contains(value)
    }

    /// Text with every secret replaced.
    pub fn redact(&self, text: &str) -> String {
        let part = replace(text, &self.given);
        replace(&part, &self.written)
    }

    /// A name with every secret replaced that was given from outside the file.
    pub(super) fn redact_name(&self, text: &str) -> String {
        replace(text, &self.given)
    }
}

/// How many, never which.
impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({})", self.given.union(&self.written).count())
    }
}

fn insert(into: &mut BTreeSet<String>, value: &str) {
    if !everyday(value) {
        into.insert(value.to_owned());
    }
}

/// Values too common to look for elsewhere: switches, small numbers and lengths of time (`TOKEN_TTL=24h`).
fn everyday(value: &str) -> bool {
    let value = value.trim();
    let digits = value.bytes().all(|b| b.is_ascii_digit());
    switch(value) || (digits && value.len() < SHORT) || (!digits && value.parse::<crate::model::Span>().is_ok())
}

/// Empty, or no more than on or off.
fn switch(value: &str) -> bool {
    const SWITCHES: [&str; 11] = [
        "", "true", "false", "yes", "no", "on", "off", "none", "null", "enabled", "disabled",
    ];
    SWITCHES.contains(&value.trim().to_lowercase().as_str())
}

fn replace(text: &str, secrets: &BTreeSet<String>) -> String {
    let mut longest: Vec<&String> = secrets.iter().filter(|secret| text.contains(secret.as_str())).collect();
    longest.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    let mut shown = text.to_owned();
    for secret in longest {
        shown = if secret.len() < SHORT {
            replace_word(&shown, secret)
        } else {
            shown.replace(secret.as_str(), REDACTED)
        };
    }
    shown
}

fn replace_word(text: &str, word: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for (at, found) in text.match_indices(word) {
        let alone = !text[..at].ends_with(char::is_alphanumeric)
            && !text[at + found.len()..].starts_with(char::is_alphanumeric);
        if alone && at >= from {
            out.push_str(&text[from..at]);
            out.push_str(REDACTED);
            from = at + found.len();
        }
    }
    out.push_str(&text[from..]);
    out
}

/// The secret a variable holds: its value where the name tells, else the password of an address.
pub(super) fn secret_of<'a>(name: &str, value: &'a str) -> Option<&'a str> {
    match telling(name, value) {
        true => Some(value),
        false => password_of(value),
    }
}

/// Text with the password of every address in it replaced.
pub(super) fn addresses(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (head, tail) = rest.split_at(at + 3);
        let end = tail
            .find(|c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#' | '"' | '\''))
            .unwrap_or(tail.len());
        out.push_str(head);
        rest = tail;
        if let Some((user, _)) = tail[..end].rsplit_once('@')
            && let Some((name, password)) = user.split_once(':')
            && !password.is_empty()
            && !password.starts_with('$')
        {
            out.push_str(name);
            out.push(':');
            out.push_str(REDACTED);
            rest = &tail[user.len()..];
        }
    }
    out.push_str(rest);
    out
}

/// Whether a label, or an option of a driver, holds a secret whole: `….password`, `….basicauth.users`.
pub(super) fn telling_label(name: &str, value: &str) -> bool {
    let lower = name.to_lowercase();
    let users = (lower.contains("basicauth") || lower.contains("digestauth")) && value.contains(':');
    users || telling(lower.rsplit(['.', '/']).next().unwrap_or_default(), value)
}

/// The password of `scheme://user:password@host`.
pub fn password_of(value: &str) -> Option<&str> {
    let (_, rest) = value.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let (user, _) = authority.rsplit_once('@')?;
    let (_, password) = user.split_once(':')?;
    (!password.is_empty()).then_some(password)
}

/// Whether a variable's name says that its value is a secret.
///
/// A switch such as `true` is no secret, and a name ending in `_FILE` with a path as its value names the place of one.
pub fn telling(name: &str, value: &str) -> bool {
    let lower = name.to_lowercase();
    if switch(value) || (lower.ends_with("_file") && value.starts_with('/')) {
        return false;
    }
    const ANYWHERE: [&str; 7] = [
        "password",
        "passwd",
        "passphrase",
        "secret",
        "token",
        "credential",
        "apikey",
    ];
    const WORDS: [&str; 8] = ["key", "keys", "pass", "pwd", "pw", "auth", "dsn", "jwt"];
    ANYWHERE.iter().any(|part| lower.contains(part))
        || lower.ends_with("key")
        || lower
            .split(|c: char| !c.is_alphanumeric())
            .any(|word| WORDS.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn telling_names() {
        for name in [
            "DB_PASSWORD",
            "LINE_CHANNEL_SECRET",
            "API_KEY",
            "token",
            "mysql.root.passwd",
            "SSH_KEY",
            "REDIS_PASS",
        ] {
            assert!(telling(name, "v"), "{name}");
        }
        for name in ["TZ", "KEYBOARD", "PASSENGERS", "MONKEYS", "AUTHOR", "PORT"] {
            assert!(!telling(name, "v"), "{name}");
        }
        assert!(!telling("DB_PASSWORD_FILE", "/run/secrets/db"));
        assert!(telling("DB_PASSWORD_FILE", "hunter2"));
    }

    #[test]
    fn secrets_inside_values() {
        let address = "postgres://u:pw4secret@h/db";
        assert_eq!(secret_of("DATABASE_URL", address), Some("pw4secret"));
        assert_eq!(secret_of("DATABASE_URL", "postgres://u@h/db"), None);
        assert_eq!(secret_of("SITE", "https://a.example/x:y@z"), None);
    }

    #[test]
    fn everyday_values_are_not_looked_for() {
        let mut secrets = Secrets::default();
        for value in ["", "false", "24h", "3", "on"] {
            secrets.give(value);
        }
        assert!(secrets.is_empty());
        assert!(!telling("DEV_BYPASS_AUTH", "false"));
        secrets.give("1234");
        assert_eq!(secrets.redact("--pin=1234"), "--pin=<redacted>");
    }

    #[test]
    fn replaces_inside_text_longest_first() {
        let mut secrets = Secrets::default();
        secrets.give("hunter2");
        secrets.give("hunter2-longer");
        secrets.give("abc");
        assert_eq!(secrets.redact("x:hunter2-longer@h"), "x:<redacted>@h");
        assert_eq!(secrets.redact("prehunter2post"), "pre<redacted>post");
        assert_eq!(secrets.redact("u:abc@abcd"), "u:<redacted>@abcd");
    }

    #[test]
    fn what_the_file_says_itself_stays_in_names() {
        let mut secrets = Secrets::default();
        secrets.write("nextcloud");
        assert_eq!(secrets.redact_name("nextcloud:apache"), "nextcloud:apache");
        assert_eq!(secrets.redact("postgres://nextcloud@db"), "postgres://<redacted>@db");
    }
}
