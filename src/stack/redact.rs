//! Which values are secrets, and how text is shown without them.

use std::collections::BTreeSet;
use std::fmt;

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

/// The secrets in the words of a command line: `--password=VALUE`, `--password VALUE`, `PASSWORD=VALUE`, addresses.
pub(super) fn secrets_in(words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    let mut option = None;
    for word in words.iter().flat_map(|word| word.split_whitespace()) {
        let word = word.trim_matches(['"', '\'']);
        let secret = match (word.split_once('='), option.take()) {
            (Some((name, value)), _) => secret_of(name.trim_start_matches('-'), value),
            (None, Some(name)) if !word.starts_with('-') => secret_of(name, word),
            (None, _) => password_of(word),
        };
        // A reference is looked up elsewhere, and a path is where a secret is kept.
        let secret = secret.map(|secret| secret.trim_matches(['"', '\'']));
        found.extend(
            secret
                .filter(|secret| !secret.starts_with(['$', '/', '.']))
                .map(str::to_owned),
        );
        option = word.strip_prefix("--").filter(|name| !name.contains('='));
    }
    found
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

/// One line of a file as an error shows it, and the byte where the first secret stood.
///
/// What follows a telling name and `:` or `=` is replaced, up to the next `,`, `}` or `]` outside quotes.
pub(super) fn line(text: &str) -> (String, Option<usize>) {
    let mut out = String::with_capacity(text.len());
    let mut first = None;
    let mut rest = text;
    while let Some(end) = rest.find([':', '=']) {
        let (head, value) = rest.split_at(end + 1);
        let named = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
        let quote = |c: char| matches!(c, '"' | '\'' | ' ');
        let before = head[..end].trim_end_matches(quote);
        let name = before.rsplit(|c| !named(c)).next().unwrap_or_default();
        let reference = before[..before.len() - name.len()].ends_with("${");
        out.push_str(head);
        rest = value;
        let length = value_length(value);
        let bare = value[..length].trim().trim_matches(['"', '\'']);
        // A reference is no secret, and often it is what the error is about.
        if reference || bare.starts_with(['$', '{', '[', '|', '>', '&', '*', '!']) || !telling(name, bare) {
            continue;
        }
        first.get_or_insert(text.len() - value.len());
        out.push_str(if value.starts_with(' ') { " " } else { "" });
        out.push_str(REDACTED);
        rest = &value[length..];
    }
    out.push_str(rest);
    (out, first)
}

fn value_length(value: &str) -> usize {
    let body = value.trim_start();
    let skipped = value.len() - body.len();
    let quoted = body
        .chars()
        .next()
        .filter(|c| matches!(c, '"' | '\''))
        .and_then(|quote| body[1..].find(quote));
    match quoted {
        Some(end) => skipped + end + 2,
        None => value.find([',', '}', ']']).unwrap_or(value.len()),
    }
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
        let words = [
            "serve --password=one1 --token two2 --port 80",
            "--api-key",
            "three3",
            "exec TOKEN=four4 redis://:five5@h --password=$SIX AUTH=\"$SEVEN\" --tls-key=/certs/eight",
        ];
        assert_eq!(secrets_in(&words), ["one1", "two2", "three3", "four4", "five5"]);
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

    #[test]
    fn lines_lose_their_secrets() {
        for (text, shown) in [
            ("      - DB_PASSWORD=hunter2", "      - DB_PASSWORD=<redacted>"),
            ("  API_KEY: 'hunter, 2' # note", "  API_KEY: <redacted> # note"),
            (
                "  environment: {A: 1, TOKEN: hunter2, B: 2}",
                "  environment: {A: 1, TOKEN: <redacted>, B: 2}",
            ),
            ("  API_KEY: ${KEY:?}", "  API_KEY: ${KEY:?}"),
            ("  image: x", "  image: x"),
            ("secrets:", "secrets:"),
            ("secrets: {tok: {file: x}}", "secrets: {tok: {file: x}}"),
        ] {
            assert_eq!(line(text).0, shown);
        }
        assert_eq!(line("A_KEY: secret").1, Some(6));
    }
}
