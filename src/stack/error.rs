use std::fmt;
use std::path::PathBuf;

use super::redact;
use super::tree::Pos;

/// Widest source line shown under an error; longer ones are cut around the caret.
const WIDEST: usize = 160;

/// Something wrong at a place, before the place's file and text are known.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub at: Pos,
    /// Characters the caret underlines.
    pub width: usize,
    pub message: String,
    pub help: Option<String>,
}

impl Fault {
    pub fn new(at: Pos, message: impl Into<String>) -> Self {
        Fault {
            at,
            width: 1,
            message: message.into(),
            help: None,
        }
    }

    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub fn wide(mut self, width: usize) -> Self {
        self.width = width.max(1);
        self
    }

    /// Adds "did you mean" when one of `known` is close to `word`.
    pub fn nearest<'a>(self, word: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        match nearest(word, known) {
            Some(close) => self.help(format!("did you mean `{close}`?")),
            None => self,
        }
    }
}

/// The known word fewest edits away, if it is close enough to be a slip of the finger.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > 64 {
        return None;
    }
    let lower = word.to_lowercase().replace('-', "_");
    known
        .into_iter()
        .map(|candidate| {
            (
                strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()),
                candidate,
            )
        })
        .min()
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).max(1))
        .map(|(_, candidate)| candidate)
}

/// Why a Compose project could not be loaded: where, what, and what to do.
///
/// `Display` shows `file:line:column: message`, the source line with a caret, and the help. A value under a telling
/// name in that line is shown as `<redacted>`.
#[derive(Debug, thiserror::Error)]
pub struct LoadError(Box<Details>);

#[derive(Debug)]
struct Details {
    place: Option<Place>,
    message: String,
    help: Option<String>,
}

/// Where an error is; line and column count from 1, the column in characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// As the user named it where possible.
    pub file: PathBuf,
    pub line: usize,
    pub column: usize,
    /// Characters underlined.
    pub width: usize,
    pub text: String,
}

impl LoadError {
    pub(super) fn nowhere(message: impl Into<String>, help: impl Into<String>) -> Self {
        LoadError(Box::new(Details {
            place: None,
            message: message.into(),
            help: Some(help.into()),
        }))
    }

    pub(super) fn located(place: Place, message: String, help: Option<String>) -> Self {
        LoadError(Box::new(Details {
            place: Some(place),
            message,
            help,
        }))
    }

    /// `None` when the error is about no place in a file, such as no Compose file being found.
    pub fn place(&self) -> Option<&Place> {
        self.0.place.as_ref()
    }

    pub fn message(&self) -> &str {
        &self.0.message
    }

    pub fn help(&self) -> Option<&str> {
        self.0.help.as_deref()
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Details { place, message, help } = self.0.as_ref();
        if let Some(place) = place {
            write!(f, "{}:{}:{}: ", place.file.display(), place.line, place.column)?;
        }
        f.write_str(message)?;
        if let Some(place) = place {
            let (line, caret) = excerpt(place);
            let number = place.line.to_string();
            let gutter = " ".repeat(number.len());
            write!(f, "\n{gutter} |\n{number} | {line}")?;
            if let Some(caret) = caret {
                write!(f, "\n{gutter} | {caret}")?;
            }
        }
        if let Some(help) = help {
            write!(f, "\n  help: {help}")?;
        }
        Ok(())
    }
}

/// The source line as shown, and the carets under it; none when a replaced secret moved what they point at.
fn excerpt(place: &Place) -> (String, Option<String>) {
    let (shown, secret) = redact::line(&place.text);
    let clean: Vec<char> = shown.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let at = (place.column.max(1) - 1).min(clean.len());
    let moved = secret.is_some_and(|byte| place.text[..byte].chars().count() < at);
    let start = if at > WIDEST * 3 / 4 { at - WIDEST / 2 } else { 0 };
    let end = (start + WIDEST).min(clean.len());
    let line: String = clean[start..end].iter().collect();
    let width = place.width.clamp(1, end.max(at + 1) - at);
    let caret = format!("{}{}", " ".repeat(at - start), "^".repeat(width));
    (line.trim_end().to_owned(), (!moved).then_some(caret))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_place_line_caret_and_help() {
        let place = Place {
            file: "compose.yaml".into(),
            line: 12,
            column: 5,
            width: 4,
            text: "    imag: x".into(),
        };
        let error = LoadError::located(place, "unknown key `imag`".into(), Some("did you mean `image`?".into()));
        assert_eq!(
            error.to_string(),
            "compose.yaml:12:5: unknown key `imag`\n   |\n12 |     imag: x\n   |     ^^^^\n  help: did you mean `image`?"
        );
    }

    #[test]
    fn a_place_beyond_the_line_or_in_a_huge_one_is_no_panic() {
        for (column, text) in [(99, "short"), (0, ""), (5_000, &*"é".repeat(9_000)), (1, "\t\u{7}")] {
            let place = Place {
                file: "f".into(),
                line: 1,
                column,
                width: 9_999,
                text: text.into(),
            };
            let shown = LoadError::located(place, "m".into(), None).to_string();
            assert!(shown.chars().count() < 2 * WIDEST + 60, "{shown}");
        }
    }

    #[test]
    fn the_line_keeps_secrets_to_itself() {
        let place = Place {
            file: "f".into(),
            line: 1,
            column: 7,
            width: 1,
            text: "      DB_PASSWORD: hunter2hunter".into(),
        };
        assert!(
            !LoadError::located(place, "m".into(), None)
                .to_string()
                .contains("hunter2")
        );
    }

    #[test]
    fn only_close_words_are_suggested() {
        assert_eq!(nearest("imag", ["image", "init"]), Some("image"));
        assert_eq!(nearest("depend_on", ["depends_on", "deploy"]), Some("depends_on"));
        assert_eq!(nearest("volumns", ["volumes", "volumes_from"]), Some("volumes"));
        assert_eq!(nearest("colour", ["image", "init"]), None);
    }
}
