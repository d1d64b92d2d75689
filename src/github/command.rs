//! How text becomes a command, an output or a line of the log that the runner reads in no other way than meant.

/// `::name title=…::message`, with everything escaped that would end it early.
pub(super) fn command(name: &str, title: Option<&str>, message: &str) -> String {
    match title {
        Some(title) => format!("::{name} title={}::{}", escape_property(title), escape_data(message)),
        None => format!("::{name}::{}", escape_data(message)),
    }
}

/// `%` first, or the others would be escaped twice.
fn escape_data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn escape_property(text: &str) -> String {
    escape_data(text).replace(':', "%3A").replace(',', "%2C")
}

/// One entry of `GITHUB_OUTPUT`; `None` where the value holds the delimiter, which chance does not make happen.
pub(super) fn output(name: &str, value: &str, delimiter: &str) -> Option<String> {
    (!value.contains(delimiter)).then(|| format!("{name}<<{delimiter}\n{value}\n{delimiter}\n"))
}

/// A line in which the runner sees no command: `::` counts at a line's start, `##[` anywhere.
pub(super) fn harmless(line: &str) -> String {
    let shown: String = line
        .chars()
        .map(|c| if c.is_control() && c != '\t' { ' ' } else { c })
        .collect();
    let defused = shown.replace("##[", "## [");
    match defused.trim_start().starts_with("::") {
        true => format!("| {defused}"),
        false => defused,
    }
}

/// Lines from elsewhere, such as a container's log, with commands switched off around them.
pub(super) fn quoted(lines: &str, token: &str) -> String {
    let body: Vec<String> = lines.lines().map(harmless).collect();
    format!("::stop-commands::{token}\n{}\n::{token}::\n", body.join("\n"))
}

/// Text for a cell or a paragraph of Markdown, shown as it is.
pub(crate) fn markdown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => shown.push_str("<br>"),
            '<' => shown.push_str("&lt;"),
            '>' => shown.push_str("&gt;"),
            '&' => shown.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' | '!' | '@' => {
                shown.push('\\');
                shown.push(c);
            }
            c if c.is_control() => shown.push(' '),
            c => shown.push(c),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The runner's own way back.
    fn unescape_data(text: &str) -> String {
        text.replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%")
    }

    fn unescape_property(text: &str) -> String {
        let text = text.replace("%0D", "\r").replace("%0A", "\n");
        text.replace("%3A", ":").replace("%2C", ",").replace("%25", "%")
    }

    #[test]
    fn a_command_is_one_line() {
        assert_eq!(
            command("error", Some("a, b: c"), "100%\r\nof it"),
            "::error title=a%2C b%3A c::100%25%0D%0Aof it"
        );
        assert_eq!(command("add-mask", None, "a:b,c"), "::add-mask::a:b,c");
    }

    #[test]
    fn relayed_lines_hold_no_command() {
        for line in [
            "::error::x",
            "  ::set-output name=a::b",
            "text ##[error]x",
            "\u{1b}[31m::x",
            "\t::x",
        ] {
            let shown = harmless(line);
            assert!(!shown.trim_start().starts_with("::"), "{shown}");
            assert!(!shown.contains("##["), "{shown}");
            assert!(!shown.contains('\u{1b}'), "{shown}");
        }
        assert_eq!(
            quoted("a\n::b::\r\nc", "t0k"),
            "::stop-commands::t0k\na\n| ::b::\nc\n::t0k::\n"
        );
    }

    proptest! {
        #[test]
        fn what_is_escaped_comes_back(title in "\\PC*", message in any::<String>()) {
            let line = command("error", Some(&title), &message);
            prop_assert!(!line.contains('\n') && !line.contains('\r'));
            let rest = line.strip_prefix("::error title=").expect("the head");
            let (left, right) = rest.split_once("::").expect("the end of the properties");
            prop_assert_eq!(unescape_property(left), title);
            prop_assert_eq!(unescape_data(right), message);
        }

        #[test]
        fn an_output_reads_back_line_by_line(value in any::<String>()) {
            let entry = output("name", &value, "end-7f").expect("no delimiter in it");
            let body = entry.strip_prefix("name<<end-7f\n").expect("the head");
            prop_assert_eq!(body.strip_suffix("\nend-7f\n").expect("the delimiter"), value);
        }

        #[test]
        fn no_relayed_text_ends_the_quotation(text in any::<String>()) {
            let quotation = quoted(&text, "t0ken");
            let inside = quotation.strip_prefix("::stop-commands::t0ken\n").expect("the head");
            let inside = inside.strip_suffix("\n::t0ken::\n").expect("the end");
            prop_assert!(!inside.lines().any(|line| line.trim_start().starts_with("::") || line.contains("##[")));
        }

        #[test]
        fn markdown_stays_on_its_line(text in any::<String>()) {
            let shown = markdown(&text);
            prop_assert!(!shown.contains('\n') && !shown.replace("<br>", "").contains('<'));
        }
    }

    #[test]
    fn a_value_with_the_delimiter_is_refused() {
        assert_eq!(output("name", "a\nend\nb", "end"), None);
    }
}
