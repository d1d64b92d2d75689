//! Dotenv files: `.env` beside the Compose file and every `env_file`.

use std::collections::BTreeMap;

use super::error::Fault;
use super::interpolate::{self, Scope};
use super::tree::Pos;

/// Longest text all values of one file may become together, in bytes.
const LONGEST: usize = 4 << 20;

/// Reads a dotenv file into `out`, where a later line replaces an earlier one.
///
/// `KEY=value` with ` #` comments, `'literal'`, `"with \n escapes and ${REFERENCES}"`, `export KEY=…`, `KEY: value`, and
/// a bare `KEY` that takes the outer value if there is one. `outer` is asked first when a value refers to a variable,
/// then `out`.
pub(super) fn parse(
    text: &str,
    source: u32,
    outer: &dyn Fn(&str) -> Option<String>,
    out: &mut BTreeMap<String, String>,
) -> Result<(), Fault> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n");
    let mut reader = Reader {
        text: &text,
        at: 0,
        source,
    };
    let mut budget = LONGEST;
    while let Some(begin) = reader.statement() {
        let (key, given) = reader.key(begin)?;
        if !given {
            if let Some(value) = outer(&key) {
                out.insert(key, value);
            }
            continue;
        }
        let from = reader.at;
        let value = match reader.value()? {
            Raw::Literal(value) => value,
            Raw::Template(template) => {
                let mut scope = Both { outer, out };
                interpolate::expand(&template, &mut scope)
                    .map_err(|error| Fault::new(reader.pos(from), error.to_string()).help(error.help()))?
            }
        };
        budget = budget.checked_sub(value.len()).ok_or_else(|| {
            Fault::new(reader.pos(from), "the values of this file become longer than 4 MiB").help("shorten them")
        })?;
        out.insert(key, value);
    }
    Ok(())
}

/// `format: raw`: everything after the first `=` is the value, to the letter; a bare `KEY` takes the outer value.
pub(super) fn parse_raw(
    text: &str,
    source: u32,
    outer: &dyn Fn(&str) -> Option<String>,
    out: &mut BTreeMap<String, String>,
) -> Result<(), Fault> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (number, line) in text.lines().enumerate() {
        let statement = line.trim_start();
        if statement.is_empty() || statement.starts_with('#') {
            continue;
        }
        let (key, value) = match statement.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (statement, outer(statement)),
        };
        if key.is_empty() || key.contains(char::is_whitespace) {
            let at = Pos {
                source,
                line: number as u32 + 1,
                column: (line.len() - statement.len()) as u32 + 1,
            };
            return Err(Fault::new(at, "a variable's name cannot be empty or contain a space")
                .wide(key.chars().count())
                .help("write `NAME=value` without spaces around `=`; this file is read with `format: raw`"));
        }
        if let Some(value) = value {
            out.insert(key.to_owned(), value);
        }
    }
    Ok(())
}

struct Both<'a> {
    outer: &'a dyn Fn(&str) -> Option<String>,
    out: &'a BTreeMap<String, String>,
}

impl Scope for Both<'_> {
    fn get(&mut self, name: &str) -> Option<String> {
        (self.outer)(name).or_else(|| self.out.get(name).cloned())
    }
}

enum Raw {
    Literal(String),
    Template(String),
}

struct Reader<'a> {
    text: &'a str,
    /// Byte offset of what has not been read.
    at: usize,
    source: u32,
}

/// White space that does not end a line.
fn blank(c: char) -> bool {
    c != '\n' && c.is_whitespace()
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn pos(&self, offset: usize) -> Pos {
        let before = &self.text[..offset.min(self.text.len())];
        let line = before.matches('\n').count() as u32 + 1;
        let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) as u32 + 1;
        Pos {
            source: self.source,
            line,
            column,
        }
    }

    fn skip(&mut self, what: impl Fn(char) -> bool) {
        self.at += self.rest().len() - self.rest().trim_start_matches(what).len();
    }

    /// Skips to the next statement and returns where it begins.
    fn statement(&mut self) -> Option<usize> {
        loop {
            self.skip(char::is_whitespace);
            if self.rest().starts_with('#') {
                self.at += self.rest().find('\n').unwrap_or(self.rest().len());
            } else {
                return (!self.rest().is_empty()).then_some(self.at);
            }
        }
    }

    /// The key, and whether a value is given.
    fn key(&mut self, begin: usize) -> Result<(String, bool), Fault> {
        if let Some(after) = self.rest().strip_prefix("export")
            && after.starts_with(blank)
        {
            self.at += "export".len();
            self.skip(blank);
        }
        let from = self.at;
        let good = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '[' | ']') || blank(c);
        let length = self.rest().find(|c| !good(c)).unwrap_or(self.rest().len());
        let key = self.rest()[..length].trim_end().to_owned();
        let given = match self.rest()[length..].chars().next() {
            Some('=' | ':') => true,
            Some('\n') | None => false,
            Some(other) => {
                return Err(Fault::new(
                    self.pos(from + length),
                    format!("`{other}` cannot be part of a variable's name"),
                )
                .help("write `NAME=value`, one to a line; put a value with spaces or signs in quotes"));
            }
        };
        self.at = (from + length + usize::from(given)).min(self.text.len());
        if key.is_empty() || key.contains(char::is_whitespace) {
            return Err(
                Fault::new(self.pos(begin), "a variable's name cannot be empty or contain a space")
                    .wide(length)
                    .help("write `NAME=value`, one to a line"),
            );
        }
        if given {
            self.skip(blank);
        }
        Ok((key, given))
    }

    fn value(&mut self) -> Result<Raw, Fault> {
        let quote = match self.rest().chars().next() {
            Some(quote @ ('\'' | '"')) => quote,
            _ => {
                let line = self.rest().split('\n').next().unwrap_or_default();
                let length = line.len();
                let value = line.split(" #").next().unwrap_or_default().trim_end().to_owned();
                self.at += length;
                return Ok(Raw::Template(value));
            }
        };
        let open = self.at;
        let mut value = String::new();
        let mut escaped = false;
        for (offset, c) in self.text[open + 1..].char_indices() {
            if c == quote && !escaped {
                self.at = open + 1 + offset + 1;
                return Ok(match quote {
                    '"' => Raw::Template(unescape(&value)),
                    _ => Raw::Literal(value),
                });
            }
            if escaped && c != quote {
                value.push('\\');
            }
            escaped = c == '\\' && !escaped;
            if !escaped {
                value.push(c);
            }
        }
        Err(Fault::new(self.pos(open), format!("this {quote} is never closed")).help("close the quoted value"))
    }
}

/// Escape sequences of a double-quoted value; `\$` becomes `$$`, so that it stays a literal `$`.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('a') => out.push('\u{7}'),
            Some('b') => out.push('\u{8}'),
            Some('f') => out.push('\u{c}'),
            Some('v') => out.push('\u{b}'),
            Some('$') => out.push_str("$$"),
            Some(same @ ('\\' | '"')) => out.push(same),
            Some(other) => out.extend(['\\', other]),
            None => out.push('\\'),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<BTreeMap<String, String>, Fault> {
        let mut out = BTreeMap::new();
        let outer = |name: &str| (name == "OUTER").then(|| "o".to_owned());
        parse(text, 0, &outer, &mut out).map(|()| out)
    }

    #[test]
    fn one_rule_a_line() {
        for (line, value) in [
            ("K=v", "v"),
            ("K = v  ", "v"),
            ("K: v", "v"),
            ("export K=v", "v"),
            ("K=a b # note", "a b"),
            ("K=a#b", "a#b"),
            ("K=", ""),
            ("K='a $X \\n'", "a $X \\n"),
            ("K=\"a\\nb\"", "a\nb"),
            ("K=\"a \\\"q\\\" \\$X\" # note", "a \"q\" $X"),
            ("K='it\\'s'", "it's"),
            ("K='two\nlines'", "two\nlines"),
            ("K=${OUTER}-${NO:-d}", "o-d"),
            ("OTHER=1\nK=$OTHER$$", "1$"),
            ("K=1\nK=2", "2"),
            ("# note\n\n  K=v\r\n", "v"),
            ("K=\"0 2 * * *\"", "0 2 * * *"),
            ("\u{feff}K=中文", "中文"),
        ] {
            assert_eq!(read(line).unwrap().get("K").map(String::as_str), Some(value), "{line}");
        }
    }

    #[test]
    fn a_bare_name_takes_the_outer_value() {
        assert_eq!(
            read("OUTER\nNOT_SET").unwrap(),
            BTreeMap::from([("OUTER".into(), "o".into())])
        );
    }

    #[test]
    fn faults_have_their_place() {
        for (text, line, column) in [
            ("A=1\nB!=2", 2, 2),
            ("A=1\nB C=2", 2, 1),
            ("A='x", 1, 3),
            ("A=1\n\n=2", 3, 1),
            ("A=${", 1, 3),
        ] {
            let fault = read(text).unwrap_err();
            assert_eq!(
                (fault.at.line, fault.at.column),
                (line, column),
                "{text}: {}",
                fault.message
            );
        }
    }

    #[test]
    fn doubling_is_bounded() {
        let mut text = format!("V0={}\n", "x".repeat(1000));
        for n in 1..40 {
            text.push_str(&format!("V{n}=$V{}$V{}\n", n - 1, n - 1));
        }
        assert!(read(&text).is_err());
    }

    #[test]
    fn raw_keeps_every_sign() {
        let mut out = BTreeMap::new();
        let outer = |name: &str| (name == "OUTER").then(|| "o".to_owned());
        parse_raw("\u{feff}A='x' # y\n#B=1\nC=$D\r\n\nOUTER\nNO", 0, &outer, &mut out).unwrap();
        assert_eq!(
            out,
            BTreeMap::from([
                ("A".into(), "'x' # y".into()),
                ("C".into(), "$D".into()),
                ("OUTER".into(), "o".into())
            ])
        );
        for (text, column) in [("A = 1", 1), ("=1", 1), ("  export B=1", 3)] {
            let fault = parse_raw(text, 0, &outer, &mut out).unwrap_err();
            assert_eq!((fault.at.line, fault.at.column), (1, column), "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "[KA=:'\"\\\\$#{} \né]{0,40}") {
            prop_assert_eq!(read(&text).ok(), read(&text).ok());
        }
    }
}
