use std::fmt::Write;

/// Where the width of a terminal is not known.
const USUAL_WIDTH: usize = 80;

/// Lines at the end of a terminal that are kept up to date, below everything that stays.
#[derive(Debug, Default)]
pub(super) struct Live {
    lines: Vec<(String, String)>,
    /// How many of them are on the screen.
    drawn: usize,
}

impl Live {
    /// Changes the line about `what`, or takes it away; what has to be written for it.
    pub fn keep(&mut self, what: &str, text: Option<&str>, width: Option<usize>) -> String {
        let at = self.lines.iter().position(|(about, _)| about == what);
        match (at, text) {
            (Some(at), Some(text)) => self.lines[at].1 = text.to_owned(),
            (None, Some(text)) => self.lines.push((what.to_owned(), text.to_owned())),
            (Some(at), None) => {
                self.lines.remove(at);
            }
            (None, None) => return String::new(),
        }
        self.around("", width)
    }

    /// Text that stays, with the lines that do not below it.
    pub fn around(&mut self, text: &str, width: Option<usize>) -> String {
        let mut out = String::new();
        if self.drawn > 0 {
            // Writing to a string does not fail.
            write!(out, "\r\x1b[{}A\x1b[J", self.drawn).ok();
        }
        out.push_str(text);
        // A line that wraps would be two to go back over.
        let width = width.unwrap_or(USUAL_WIDTH).saturating_sub(1).max(1);
        for (_, line) in &self.lines {
            out.extend(line.chars().filter(|c| !c.is_control()).take(width));
            out.push('\n');
        }
        self.drawn = self.lines.len();
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_takes_the_place_of_the_one_before_and_what_stays_goes_above() {
        let mut live = Live::default();
        assert_eq!(live.keep("a", Some("a: 1"), None), "a: 1\n");
        assert_eq!(live.keep("b", Some("b: 1"), None), "\r\x1b[1A\x1b[Ja: 1\nb: 1\n");
        assert_eq!(live.around("done\n", None), "\r\x1b[2A\x1b[Jdone\na: 1\nb: 1\n");
        assert_eq!(live.keep("a", None, None), "\r\x1b[2A\x1b[Jb: 1\n");
        assert_eq!(live.keep("b", None, None), "\r\x1b[1A\x1b[J");
        assert_eq!(live.keep("b", None, None), "");
        assert_eq!(live.around("more\n", None), "more\n");
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_nor_commands_it() {
        let mut live = Live::default();
        assert_eq!(live.keep("a", Some("\x1b[2J123456"), Some(6)), "[2J12\n");
        assert_eq!(live.keep("a", Some("x"), Some(0)), "\r\x1b[1A\x1b[Jx\n");
    }
}
