/// What a browser is shown during maintenance where a service has no page of its own.
pub const PAGE: &str = include_str!("page.html");

/// The router answers from one buffer of 32 KiB.
pub const LARGEST: usize = 16 << 10;

/// Whether the router can be given the page: it fits, and holds no control characters.
pub fn usable(page: &str) -> bool {
    page.len() <= LARGEST && !page.chars().any(|c| c.is_control() && !"\n\r\t".contains(c))
}

/// One word of the configuration, in the quotes that take every character.
pub fn quoted(page: &str) -> String {
    let mut text = String::with_capacity(page.len() + 64);
    text.push('"');
    for c in page.chars() {
        match c {
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '"' | '\\' | '$' => text.extend(['\\', c]),
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_our_own_is_usable_and_a_word_stays_one() {
        assert!(usable(PAGE));
        assert!(!usable("\0") && !usable(&"x".repeat(LARGEST + 1)));
        assert_eq!(quoted("a \"b\"\n$HOME \\ 維護"), r#""a \"b\"\n\$HOME \\ 維護""#);
    }
}
