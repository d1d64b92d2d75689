/// A pattern over relative paths: `*` and `?` stay within a part, `**` spans parts, `[a-z]` and `[!a-z]` are one byte.
///
/// A pattern without `/` fits a name at any depth, as in `.gitignore`; what lies below a fitting folder is left out
/// with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Glob {
    parts: Vec<Vec<u8>>,
}

/// More than this takes too long to try.
const LONGEST: usize = 1024;

impl Glob {
    pub fn new(text: &str) -> Result<Self, &'static str> {
        let rooted = text.strip_prefix("./").unwrap_or(text);
        let trimmed = rooted.trim_matches('/');
        if trimmed.is_empty() {
            return Err("it is empty");
        }
        if trimmed.len() > LONGEST {
            return Err("it is too long");
        }
        let mut parts: Vec<Vec<u8>> = trimmed.split('/').map(|part| part.as_bytes().to_vec()).collect();
        if parts.iter().any(|part| part == b"..") {
            return Err("`..` leads out of the source");
        }
        let open = |part: &Vec<u8>| {
            part.iter()
                .position(|b| *b == b'[')
                .is_some_and(|at| !part[at..].contains(&b']'))
        };
        if parts.iter().any(open) {
            return Err("a `[` is not closed");
        }
        if !rooted.trim_end_matches('/').contains('/') && rooted.len() == text.len() {
            parts.insert(0, b"**".to_vec());
        }
        parts.dedup_by(|a, b| a == b && a == b"**");
        Ok(Glob { parts })
    }

    pub fn fits(&self, path: &[u8]) -> bool {
        let names: Vec<&[u8]> = path.split(|b| *b == b'/').collect();
        // Row by row, so that no pattern takes more than the product of the lengths.
        let mut reached = vec![false; names.len() + 1];
        reached[0] = true;
        for part in &self.parts {
            let mut next = vec![false; names.len() + 1];
            let spans = part == b"**";
            for at in 0..=names.len() {
                next[at] = if spans {
                    reached[at] || (at > 0 && next[at - 1])
                } else {
                    at > 0 && reached[at - 1] && name_fits(part, names[at - 1])
                };
            }
            reached = next;
        }
        reached[names.len()]
    }
}

enum Token<'a> {
    Any,
    One,
    Set { not: bool, ranges: &'a [u8] },
    Byte(u8),
}

fn name_fits(pattern: &[u8], name: &[u8]) -> bool {
    let mut reached = vec![false; name.len() + 1];
    reached[0] = true;
    for token in tokens(pattern) {
        let mut next = vec![false; name.len() + 1];
        for at in 0..=name.len() {
            let here = |test: bool| at > 0 && reached[at - 1] && test;
            next[at] = match &token {
                Token::Any => reached[at] || (at > 0 && next[at - 1]),
                Token::One => here(true),
                Token::Byte(byte) => here(at > 0 && name[at - 1] == *byte),
                Token::Set { not, ranges } => here(at > 0 && in_set(ranges, name[at - 1]) != *not),
            };
        }
        reached = next;
    }
    reached[name.len()]
}

fn tokens(pattern: &[u8]) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = pattern;
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        tokens.push(match first {
            b'*' => Token::Any,
            b'?' => Token::One,
            b'[' => {
                let end = tail.iter().position(|b| *b == b']').unwrap_or(tail.len());
                let inside = &tail[..end];
                rest = tail.get(end + 1..).unwrap_or_default();
                let not = inside.first() == Some(&b'!');
                let ranges = if not { &inside[1..] } else { inside };
                Token::Set { not, ranges }
            }
            other => Token::Byte(*other),
        });
    }
    tokens
}

fn in_set(ranges: &[u8], byte: u8) -> bool {
    let mut rest = ranges;
    loop {
        match rest {
            [low, b'-', high, tail @ ..] => {
                if (*low..=*high).contains(&byte) {
                    return true;
                }
                rest = tail;
            }
            [one, tail @ ..] => {
                if *one == byte {
                    return true;
                }
                rest = tail;
            }
            [] => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_what_they_say() {
        let fits = |glob: &str, path: &str| Glob::new(glob).expect("a pattern").fits(path.as_bytes());
        for (glob, path) in [
            ("*.tmp", "a.tmp"),
            ("*.tmp", "deep/er/a.tmp"),
            ("/a", "a"),
            ("cache/", "x/cache"),
            ("cache/*", "cache/x"),
            ("a/**/z", "a/z"),
            ("a/**/z", "a/b/c/z"),
            ("**/z", "z"),
            ("a/**", "a/b/c"),
            ("[a-c]?.db", "b1.db"),
            ("[!a-c]", "d"),
        ] {
            assert!(fits(glob, path), "{glob} {path}");
        }
        for (glob, path) in [
            ("*.tmp", "a.tmp2"),
            ("cache/*", "x/cache/y"),
            ("cache/*", "cache/x/y"),
            ("a/**/z", "b/z"),
            ("[!a-c]", "a"),
            ("?", ""),
            ("/a", "b/a"),
        ] {
            assert!(!fits(glob, path), "{glob} {path}");
        }
        for bad in ["", "/", "../x", "a[b"] {
            assert!(Glob::new(bad).is_err(), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_pattern_can_be_tried(glob in "[a*?\\[\\]!/-]{0,20}", path in "[a-c]{1,3}(/[a-c]{1,3}){1,3}") {
            proptest::prop_assert!(Glob::new(&path).is_ok_and(|glob| glob.fits(path.as_bytes())));
            if let Ok(glob) = Glob::new(&glob) {
                let _tried = glob.fits(path.as_bytes());
            }
        }

        #[test]
        fn a_pattern_made_of_a_path_fits_it_and_one_with_a_foreign_byte_does_not(
            path in "[a-c]{1,3}(/[a-c]{1,3}){1,3}",
            masks in proptest::collection::vec(0..4, 15),
            foreign in 0..15usize,
        ) {
            let part = |(byte, mask): (char, &i32)| match (byte, mask) {
                ('/', _) => "/".to_owned(),
                (byte, 0) => byte.to_string(),
                (_, 1) => "?".to_owned(),
                (_, 2) => "*".to_owned(),
                _ => "[a-c]".to_owned(),
            };
            let mut parts: Vec<String> = path.chars().zip(&masks).map(part).collect();
            proptest::prop_assert!(Glob::new(&parts.concat()).is_ok_and(|glob| glob.fits(path.as_bytes())));
            let at = foreign % parts.len();
            proptest::prop_assume!(parts[at] != "/");
            parts[at] = "[!a-c]".into();
            proptest::prop_assert!(Glob::new(&parts.concat()).is_ok_and(|glob| !glob.fits(path.as_bytes())));
        }
    }
}
