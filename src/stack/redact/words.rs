//! Secrets on command lines.

use super::{REDACTED, addresses, password_of, secret_of, telling};

/// The secrets in the words of a command line: `--password=VALUE`, `--password VALUE`, `PASSWORD=VALUE`, addresses.
pub fn secrets_in(words: &[&str]) -> Vec<String> {
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

/// The words of a command line as they are shown: without the secrets [`secrets_in`] finds, and without what programs
/// take for a password after a short option, which is too weak a sign to look for it elsewhere.
pub fn hidden(words: &[&str]) -> Vec<String> {
    let mut before = Before::default();
    words
        .iter()
        .map(|word| {
            let mut out = String::with_capacity(word.len());
            let mut rest = *word;
            while !rest.is_empty() {
                let blank = rest.len() - rest.trim_start().len();
                out.push_str(&rest[..blank]);
                rest = &rest[blank..];
                let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
                out.push_str(&before.show(&rest[..end]));
                rest = &rest[end..];
            }
            out
        })
        .collect()
}

/// What has been read of a command line.
#[derive(Default)]
struct Before<'a> {
    program: &'a str,
    option: &'a str,
    /// `Authorization:` has been read, and the secret comes within two words.
    header: u8,
}

const QUOTES: [char; 2] = ['"', '\''];

impl<'a> Before<'a> {
    fn show(&mut self, quoted: &'a str) -> String {
        let word = quoted.trim_matches(QUOTES);
        let program = word.rsplit('/').next().unwrap_or_default();
        if PROGRAMS.iter().any(|(known, _)| program.starts_with(known)) {
            self.program = program;
        }
        let option = std::mem::take(&mut self.option);
        if word.starts_with('-') {
            self.option = word;
        }
        let secret = self.secret(option, word);
        match secret.filter(|secret| !secret.is_empty() && !secret.starts_with(['$', '/', '.', '<'])) {
            Some(secret) => addresses(&quoted.replacen(secret, REDACTED, 1)),
            None => addresses(quoted),
        }
    }

    fn secret(&mut self, option: &str, word: &'a str) -> Option<&'a str> {
        if word
            .to_ascii_lowercase()
            .trim_end_matches(':')
            .ends_with("authorization")
        {
            self.header = 2;
            return None;
        }
        if self.header > 0 {
            self.header -= 1;
            let scheme = ["basic", "bearer", "token", "digest"].contains(&word.to_ascii_lowercase().as_str());
            if !scheme {
                self.header = 0;
                return Some(word);
            }
            return None;
        }
        if let Some((name, value)) = word.split_once('=') {
            let value = value.trim_matches(QUOTES);
            return match telling(name.trim_start_matches('-'), value) {
                true => Some(value),
                false => matches!(name, "-u" | "--user").then(|| after_colon(value)).flatten(),
            };
        }
        let short = PROGRAMS.iter().find(|(known, _)| self.program.starts_with(known));
        if let Some((_, options)) = short {
            for own in *options {
                if option == *own {
                    return (!word.starts_with('-')).then_some(word);
                }
                // `-psecret`, which only short options are.
                let attached = word.strip_prefix(own).filter(|rest| !rest.is_empty());
                if let Some(rest) = attached.filter(|_| own.len() == 2 && self.program.starts_with(['m', 's'])) {
                    return Some(rest);
                }
            }
        }
        if word.starts_with('-') {
            return None;
        }
        match option {
            "-u" | "--user" | "--proxy-user" | "-U" => after_colon(word),
            "-p" => (short.is_none() && !port(word) && !LAYS_FOLDERS.contains(&self.program)).then_some(word),
            _ => {
                let name = option.strip_prefix("--")?;
                (telling(name, word) || PASSES.contains(&name)).then_some(word)
            }
        }
    }
}

/// Programs, by how their names begin, and the options after which they take a password.
const PROGRAMS: [(&str, &[&str]); 12] = [
    ("mysql", &["-p"]),
    ("mariadb", &["-p"]),
    ("mongo", &["-p"]),
    ("redis-cli", &["-a"]),
    ("valkey-cli", &["-a"]),
    ("sshpass", &["-p"]),
    ("sqlcmd", &["-P"]),
    ("ldap", &["-w"]),
    ("pg_", &[]),
    ("psql", &[]),
    ("mkdir", &[]),
    ("cp", &[]),
];
const LAYS_FOLDERS: [&str; 4] = ["mkdir", "cp", "pg_isready", "psql"];
const PASSES: [&str; 4] = ["requirepass", "masterauth", "pass", "basic-auth"];

/// The password of `user:password`; what two numbers make is a user and a group.
fn after_colon(word: &str) -> Option<&str> {
    let (user, password) = word.split_once(':')?;
    let group = password.bytes().all(|b| b.is_ascii_digit()) || password == user;
    (!user.is_empty() && !group).then_some(password)
}

fn port(word: &str) -> bool {
    word.chars()
        .all(|c| c.is_ascii_digit() || matches!(c, ':' | '.' | '-' | '/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_secrets_are_found() {
        let words = [
            "serve --password=one1 --token two2 --port 80",
            "--api-key",
            "three3",
            "exec TOKEN=four4 redis://:five5@h --password=$SIX AUTH=\"$SEVEN\" --tls-key=/certs/eight",
        ];
        assert_eq!(secrets_in(&words), ["one1", "two2", "three3", "four4", "five5"]);
    }

    #[test]
    fn passwords_are_hidden_where_they_stand() {
        for (line, shown) in [
            (
                "curl -f -u admin:hunter2 http://x/health",
                "curl -f -u admin:<redacted> http://x/health",
            ),
            ("curl --user=admin:hunter2 x", "curl --user=admin:<redacted> x"),
            ("curl -u \"admin:hunter2\" x", "curl -u \"admin:<redacted>\" x"),
            (
                "curl -H 'Authorization: Bearer abc.def' x",
                "curl -H 'Authorization: Bearer <redacted>' x",
            ),
            ("curl http://u:hunter2@h/x?y", "curl http://u:<redacted>@h/x?y"),
            ("mysqladmin ping -phunter2 -h db", "mysqladmin ping -p<redacted> -h db"),
            ("mysqladmin ping -p hunter2", "mysqladmin ping -p <redacted>"),
            (
                "mysql -u root --password=hunter2",
                "mysql -u root --password=<redacted>",
            ),
            (
                "redis-cli -a hunter2 -p 6379 ping",
                "redis-cli -a <redacted> -p 6379 ping",
            ),
            (
                "redis-server --requirepass hunter2",
                "redis-server --requirepass <redacted>",
            ),
            ("app -p hunter2", "app -p <redacted>"),
            ("app --token hunter2 --port 80", "app --token <redacted> --port 80"),
            ("API_KEY=hunter2 app", "API_KEY=<redacted> app"),
            ("app -p 8080 -u 1000:1000", "app -p 8080 -u 1000:1000"),
            ("mkdir -p data && cp -p a b", "mkdir -p data && cp -p a b"),
            ("pg_isready -U app -p 5432", "pg_isready -U app -p 5432"),
            ("redis-cli -a $PASSWORD ping", "redis-cli -a $PASSWORD ping"),
            (
                "app --password-file /run/secrets/x",
                "app --password-file /run/secrets/x",
            ),
        ] {
            assert_eq!(hidden(&[line]), [shown], "one text");
            let words: Vec<&str> = line.split(' ').collect();
            assert_eq!(hidden(&words).join(" "), shown, "a list of words");
        }
    }
}
