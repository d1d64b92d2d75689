//! A command line as Compose splits it: quotes and backslashes, but no shell.

pub(super) struct Split {
    pub words: Vec<String>,
    /// The shell operator at which Compose stops reading, if any.
    pub dropped: Option<char>,
}

#[derive(Debug, PartialEq, thiserror::Error)]
pub(super) enum BadLine {
    #[error("has a quote that is never closed, or ends in a backslash")]
    Open,
    #[error("has a parenthesis outside quotes")]
    Parenthesis,
}

#[derive(Clone, Copy, PartialEq)]
enum Inside {
    Nothing,
    Single,
    Double,
    Backtick,
    /// `$(…)`, kept as it is written.
    Dollar,
}

pub(super) fn split(line: &str) -> Result<Split, BadLine> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut inside = Inside::Nothing;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        let raw = matches!(inside, Inside::Backtick | Inside::Dollar);
        match c {
            '\\' if inside != Inside::Single => {
                let next = chars.next().ok_or(BadLine::Open)?;
                let word = word.get_or_insert_default();
                match next {
                    _ if raw => word.extend(['\\', next]),
                    other => word.push(other),
                }
                continue;
            }
            ' ' | '\t' | '\r' | '\n' if inside == Inside::Nothing => {
                words.extend(word.take());
                continue;
            }
            '"' | '\'' if !raw => {
                let quote = if c == '"' { Inside::Double } else { Inside::Single };
                if inside == quote {
                    inside = Inside::Nothing;
                    word.get_or_insert_default();
                    continue;
                }
                if inside == Inside::Nothing {
                    inside = quote;
                    continue;
                }
            }
            '`' if inside == Inside::Nothing => inside = Inside::Backtick,
            '`' if inside == Inside::Backtick => inside = Inside::Nothing,
            '(' if inside == Inside::Nothing => {
                if !word.as_deref().is_some_and(|word| word.ends_with('$')) {
                    return Err(BadLine::Parenthesis);
                }
                inside = Inside::Dollar;
            }
            '(' if inside == Inside::Dollar => return Err(BadLine::Parenthesis),
            ')' if inside == Inside::Nothing => return Err(BadLine::Parenthesis),
            ')' if inside == Inside::Dollar => inside = Inside::Nothing,
            ';' | '&' | '|' | '<' | '>' if inside == Inside::Nothing => {
                // `2>` drops the number too: it belongs to the operator.
                let number = |word: &String| c == '>' && !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
                words.extend(word.filter(|word| !number(word)));
                return Ok(Split {
                    words,
                    dropped: Some(c),
                });
            }
            _ => {}
        }
        word.get_or_insert_default().push(c);
    }
    if inside != Inside::Nothing {
        return Err(BadLine::Open);
    }
    words.extend(word);
    Ok(Split { words, dropped: None })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quotes_and_backslashes() {
        for (line, words) in [
            ("sh -c \"echo 'a b' && exit\"", vec!["sh", "-c", "echo 'a b' && exit"]),
            ("/bin/x --flag='q v'", vec!["/bin/x", "--flag=q v"]),
            ("", vec![]),
            ("a ''  b", vec!["a", "", "b"]),
            ("a\\ b \"c\\\"d\" 'e\\f'", vec!["a b", "c\"d", "e\\f"]),
            ("echo $(id -u) `date x`", vec!["echo", "$(id -u)", "`date x`"]),
            ("a\n  --b\n", vec!["a", "--b"]),
        ] {
            assert_eq!(split(line).unwrap().words, words, "{line}");
        }
    }

    #[test]
    fn stops_where_compose_stops() {
        let cut = split("npm run build && npm start").unwrap();
        assert_eq!(
            (cut.words, cut.dropped),
            (vec!["npm".into(), "run".into(), "build".into()], Some('&'))
        );
        assert_eq!(split("app 2>/dev/null").unwrap().words, ["app"]);
    }

    #[test]
    fn refuses_what_never_ends() {
        for (line, error) in [
            ("'a", BadLine::Open),
            ("\"a", BadLine::Open),
            ("a\\", BadLine::Open),
            ("(a)", BadLine::Parenthesis),
        ] {
            assert_eq!(split(line).err(), Some(error), "{line}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(line in "[a\\\\'\"`$()&> \né]{0,30}") {
            prop_assert_eq!(split(&line).is_ok(), split(&line).is_ok());
        }
    }
}
