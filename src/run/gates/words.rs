use crate::config::Gate;
use crate::model::{Figure, Unit};
use crate::release::{Look, Reading, Verdict, unit};

/// Characters of a reason that are told.
const LONGEST: usize = 200;

/// One short line of whatever somebody else wrote.
pub(super) fn line(text: &str) -> String {
    let first = text.lines().map(str::trim).find(|line| !line.is_empty());
    let mut chars = first.unwrap_or_default().chars().filter(|c| !c.is_control());
    let mut line: String = chars.by_ref().take(LONGEST).collect();
    if chars.next().is_some() {
        line.push('…');
    }
    line
}

/// The last line that says something.
pub(super) fn last_line(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let last = text.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
    Some(line(last)).filter(|line| !line.is_empty())
}

/// A figure as somebody wrote it, in the gate's unit or without one.
pub(super) fn number(gate: &Gate, text: &str) -> Result<Look, String> {
    let figure: Figure = text
        .trim()
        .parse()
        .map_err(|_| format!("`{}` is no number", line(text)))?;
    let wanted = unit(gate).unwrap_or(Unit::Plain);
    if figure.unit != Unit::Plain && figure.unit != wanted {
        return Err(format!(
            "`{}` does not fit the gate's limits, which are written like {}",
            line(text),
            wanted.example()
        ));
    }
    Ok(Look::Seen(Reading {
        value: figure.value,
        ..Reading::default()
    }))
}

/// How bad a verdict is.
pub(super) fn severity(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::Passed => 0,
        Verdict::Inconclusive(_) => 1,
        Verdict::Failed(_) => 2,
        Verdict::Breached(_) => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_short_line() {
        assert_eq!(line("\n  \n one\u{1b}[31m line \n two"), "one[31m line");
        assert_eq!(line(&"x".repeat(500)).chars().count(), LONGEST + 1);
        assert_eq!(line(""), "");
        assert_eq!(last_line(b"a\nb\n\n  \n").as_deref(), Some("b"));
        assert_eq!(last_line(b" \n\xff\n").as_deref(), Some("\u{fffd}"));
        assert_eq!(last_line(b" \n\n"), None);
    }
}
