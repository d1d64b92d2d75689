use std::collections::BTreeMap;

use crate::plan::ContainerSpec;
use crate::stack::{self, Service};

/// Production secrets and what stands for them in a sandbox: the same secret is the same stand-in in every service.
#[derive(Default)]
pub struct Replacements(BTreeMap<String, String>);

/// Shorter secrets are replaced where they are a whole value only, or ordinary words would change.
const SHORT: usize = 6;

impl Replacements {
    /// The stand-in for a secret, made at its first sight: as long, hex digits; digits alone for a number.
    pub fn stand_in(&mut self, secret: &str, fill: &mut dyn FnMut(&mut [u8])) -> String {
        if let Some(known) = self.0.get(secret) {
            return known.clone();
        }
        let length = secret.len().clamp(16, 256);
        let mut bytes = vec![0; length];
        fill(&mut bytes);
        let digits = secret.bytes().all(|b| b.is_ascii_digit());
        let made: String = bytes
            .iter()
            .map(|b| match digits {
                true => char::from(b'0' + b % 10),
                false => char::from(b"0123456789abcdef"[usize::from(b % 16)]),
            })
            .collect();
        self.0.insert(secret.to_owned(), made.clone());
        made
    }

    /// Learns the secrets of a service, booted or not: another one may be told them on its command line.
    pub fn learn(&mut self, service: &Service, fill: &mut dyn FnMut(&mut [u8])) {
        for (name, value) in &service.environment {
            let Some(value) = value.as_deref().filter(|value| !value.is_empty()) else {
                continue;
            };
            if stack::telling(name, value) {
                self.stand_in(value, fill);
            }
            if let Some(password) = stack::password_of(value) {
                self.stand_in(password, fill);
            }
        }
        let words: Vec<&String> = service.command.iter().chain(&service.entrypoint).flatten().collect();
        let pairs = words.windows(2).map(|pair| (pair[0].as_str(), pair[1].as_str()));
        let joined = words.iter().filter_map(|word| word.split_once('='));
        for (option, value) in pairs.chain(joined) {
            if option.starts_with('-') && !value.starts_with('-') && value.len() >= SHORT && tells(option, value) {
                self.stand_in(value, fill);
            }
        }
    }

    /// Replaces every known secret in environment, command and health check; the names of the variables changed.
    pub fn apply(&self, spec: &mut ContainerSpec) -> Vec<String> {
        let mut changed = Vec::new();
        for (name, value) in &mut spec.environment {
            let replaced = match self.0.get(value.as_str()) {
                Some(stand_in) if stack::telling(name, value) => stand_in.clone(),
                _ => self.inside(value),
            };
            if replaced != *value {
                *value = replaced;
                changed.push(name.clone());
            }
        }
        let tests = spec.healthcheck.iter_mut().flat_map(|check| check.test.iter_mut());
        let words = spec.command.iter_mut().chain(&mut spec.entrypoint).flatten();
        for word in words.chain(tests) {
            *word = self.inside(word);
        }
        changed
    }

    /// Text with every known secret replaced; whole words only: a secret that is a common word must not change paths.
    pub fn inside(&self, text: &str) -> String {
        let mut out = text.to_owned();
        let mut longest: Vec<(&String, &String)> = self.0.iter().filter(|(secret, _)| secret.len() >= SHORT).collect();
        longest.sort_by_key(|(secret, _)| std::cmp::Reverse(secret.len()));
        for (secret, stand_in) in longest {
            out = replace_word(&out, secret, stand_in);
        }
        out
    }
}

/// Between these a secret is a word: quotes and spaces of a command line, `=` of an option, `:` and `@` of an address.
fn edge(c: Option<char>) -> bool {
    c.is_none_or(|c| c.is_whitespace() || matches!(c, '"' | '\'' | '=' | ':' | '@' | ',' | ';' | '&'))
}

fn replace_word(text: &str, word: &str, by: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for (at, found) in text.match_indices(word) {
        let end = at + found.len();
        if edge(text[..at].chars().next_back()) && edge(text[end..].chars().next()) {
            out.push_str(&text[from..at]);
            out.push_str(by);
            from = end;
        }
    }
    out.push_str(&text[from..]);
    out
}

/// Options say it as variables do, and `--requirepass` besides.
fn tells(option: &str, value: &str) -> bool {
    let option = option.trim_start_matches('-');
    stack::telling(option, value) || option.ends_with("pass")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(environment: &[(&str, &str)], command: &[&str]) -> ContainerSpec {
        ContainerSpec {
            environment: environment.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
            command: Some(command.iter().map(|w| (*w).to_owned()).collect()),
            ..ContainerSpec::default()
        }
    }

    #[test]
    fn the_same_secret_is_the_same_stand_in_everywhere_it_stands() {
        let mut redis = spec(
            &[],
            &[
                "sh",
                "-c",
                "redis-server --requirepass 'hunter2-long' --dir /data/hunter2-long.d",
            ],
        );
        let mut app = spec(
            &[
                ("REDIS_PASSWORD", "hunter2-long"),
                ("REDIS_URL", "redis://:hunter2-long@redis:6379/0"),
                ("DATABASE_PATH", "/data/app.db"),
                ("PIN_SECRET", "123456"),
                ("TOKEN_FILE", "/run/secrets/token"),
            ],
            &["serve", "--password=hunter2-long"],
        );
        let mut replacements = Replacements::default();
        let mut next = 0u8;
        let mut fill = |bytes: &mut [u8]| {
            for byte in bytes {
                next = next.wrapping_add(7);
                *byte = next;
            }
        };
        let mut known = crate::drill::tests::service("app", "app:1");
        known.environment = app
            .environment
            .iter()
            .map(|(k, v)| (k.clone(), Some(v.clone())))
            .collect();
        replacements.learn(&known, &mut fill);
        assert!(replacements.apply(&mut redis).is_empty());
        assert_eq!(
            replacements.apply(&mut app),
            ["PIN_SECRET", "REDIS_PASSWORD", "REDIS_URL"]
        );
        let stand_in = app.environment["REDIS_PASSWORD"].clone();
        assert_ne!(stand_in, "hunter2-long");
        assert_eq!(
            app.environment["REDIS_URL"],
            format!("redis://:{stand_in}@redis:6379/0")
        );
        assert_eq!(app.environment["DATABASE_PATH"], "/data/app.db");
        assert_eq!(app.environment["TOKEN_FILE"], "/run/secrets/token");
        assert!(app.environment["PIN_SECRET"].bytes().all(|b| b.is_ascii_digit()));
        assert_eq!(app.command.expect("words")[1], format!("--password={stand_in}"));
        let line = &redis.command.expect("words")[2];
        assert_eq!(
            *line,
            format!("redis-server --requirepass '{stand_in}' --dir /data/hunter2-long.d")
        );
    }

    #[test]
    fn options_tell_secrets_too() {
        let mut redis = crate::drill::tests::service("redis", "redis:7");
        let command = [
            "redis-server",
            "--requirepass",
            "hunter2-long",
            "--token=abcdef-1",
            "--dir",
            "/var/lib",
        ];
        redis.command = Some(command.map(String::from).into());
        let mut replacements = Replacements::default();
        replacements.learn(&redis, &mut |bytes| bytes.fill(7));
        let mut known: Vec<&String> = replacements.0.keys().collect();
        known.sort();
        assert_eq!(known, ["abcdef-1", "hunter2-long"]);
    }

    #[test]
    fn a_password_of_an_address_is_a_secret_too() {
        assert_eq!(stack::password_of("postgres://u:p4ss@db/x"), Some("p4ss"));
        for none in ["postgres://u@db/x", "http://a:1/x@y", "text", "://"] {
            assert_eq!(stack::password_of(none), None, "{none}");
        }
    }
}
