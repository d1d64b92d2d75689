//! Secrets in lines of text.

use super::{REDACTED, addresses, telling};

/// Text of many lines, each without what follows a telling name.
pub fn lines(text: &str) -> String {
    let shown: Vec<String> = text.split('\n').map(|text| addresses(&line(text).0)).collect();
    shown.join("\n")
}

/// One line of a file as an error shows it, and the byte where the first secret stood.
///
/// What follows a telling name and `:` or `=` is replaced, up to the next `,`, `}` or `]` outside quotes.
pub fn line(text: &str) -> (String, Option<usize>) {
    let (text, mut first) = without_defaults(text);
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(end) = rest.find([':', '=']) {
        let (head, value) = rest.split_at(end + 1);
        let (name, reference) = name_before(&head[..end]);
        out.push_str(head);
        rest = value;
        if reference || !telling(name, "x") {
            continue;
        }
        // A reference is no secret, and often it is what the error is about; `without_defaults` saw to what it falls
        // back on.
        let begin = value.trim_start_matches(' ').trim_start_matches(['"', '\'']);
        if begin.starts_with(['$', '{', '[', '|', '>', '&', '*', '!']) {
            continue;
        }
        let length = value_length(value);
        if !telling(name, value[..length].trim().trim_matches(['"', '\''])) {
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

/// The name that ends here, and whether it is a reference's.
fn name_before(head: &str) -> (&str, bool) {
    let named = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    let before = head.trim_end_matches(['"', '\'', ' ']);
    let name = before.rsplit(|c| !named(c)).next().unwrap_or_default();
    (name, before[..before.len() - name.len()].ends_with("${"))
}

/// `${API_TOKEN:-secret}` without the secret, also where only the name it is given to tells; and where that was.
fn without_defaults(text: &str) -> (String, Option<usize>) {
    let signs = text.match_indices([':', '=']);
    let mut names = signs.map(|(at, _)| name_before(&text[..at]));
    let all = names.any(|(name, reference)| !reference && telling(name, "x"));
    let mut out = String::with_capacity(text.len());
    let mut first = None;
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let body = &rest[at + 2..];
        let length = body
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .unwrap_or(body.len());
        let operator = body[length..].len()
            - body[length..]
                .trim_start_matches(':')
                .trim_start_matches(['-', '+'])
                .len();
        let falls_back = body[length..length + operator].ends_with(['-', '+']);
        let from = at + 2 + length + operator;
        out.push_str(&rest[..from]);
        rest = &rest[from..];
        if !falls_back || rest.starts_with("${") || !(all || telling(&body[..length], "x")) {
            continue;
        }
        let end = rest.find('}').unwrap_or(rest.len());
        if end > 0 {
            first.get_or_insert(text.len() - rest.len());
            out.push_str(REDACTED);
            rest = &rest[end..];
        }
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
    fn a_long_line_takes_no_long_time() {
        let begun = std::time::Instant::now();
        for piece in [
            "{a: ",
            "${A:-",
            "TOKEN: ",
            "${TOKEN:-",
            "TOKEN: ${A:-",
            "x://u:p@",
            "a=b,",
        ] {
            lines(&piece.repeat(20_000));
        }
        assert!(
            begun.elapsed() < std::time::Duration::from_secs(20),
            "{:?}",
            begun.elapsed()
        );
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
            (
                "  - JWT_SECRET=${JWT_SECRET:-abc}",
                "  - JWT_SECRET=${JWT_SECRET:-<redacted>}",
            ),
            ("  - JWT_SECRET=${JWT-abc}", "  - JWT_SECRET=${JWT-<redacted>}"),
            ("  image: x:${API_TOKEN-abc}!", "  image: x:${API_TOKEN-<redacted>}!"),
            ("  image: x:${TAG:-latest}", "  image: x:${TAG:-latest}"),
            ("  A_TOKEN: ${A:-${B:-abc}}", "  A_TOKEN: ${A:-${B:-<redacted>}}"),
            ("  image: x", "  image: x"),
            ("secrets:", "secrets:"),
            ("secrets: {tok: {file: x}}", "secrets: {tok: {file: x}}"),
        ] {
            assert_eq!(line(text).0, shown);
        }
        assert_eq!(line("A_KEY: secret").1, Some(6));
    }
}
