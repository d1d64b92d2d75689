use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use super::live::Live;
use super::{Failure, Global, Kind};
use crate::run::{News, Receipt, UpdateKind, Watch};

/// Standard output and error: results to the first, news to the second; colour only where it is wanted.
pub struct Terminal {
    pub json: bool,
    quiet: bool,
    colour: bool,
    /// Lines that are kept up to date; `None` where there is nothing to keep them on.
    live: Option<Mutex<Live>>,
}

impl Terminal {
    pub fn of(global: &Global) -> Self {
        Terminal {
            json: global.json,
            quiet: global.quiet,
            // One of both may go into a file.
            colour: colourful() && std::io::stdout().is_terminal(),
            live: (!global.quiet && keeps()).then(Mutex::default),
        }
    }

    /// A result for a program, one document.
    pub fn print_json(&self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value).map_err(|e| Failure::new(Kind::Failed, e))?;
        self.print(&text)
    }

    /// A result for a person; a closed pipe (`| head`) is not an error.
    pub fn print(&self, text: &str) -> Result<(), Failure> {
        match writeln!(std::io::stdout(), "{text}") {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::new(Kind::Host, error)),
            _ => Ok(()),
        }
    }

    /// One line of news for a person; nothing with `--quiet`.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            self.stay(text);
        }
    }

    pub fn warn(&self, text: &str) {
        self.stay(&format!("{} {text}", self.paint("33", "warning:")));
    }

    fn stay(&self, text: &str) {
        match &self.live {
            None => tell(text),
            Some(live) => {
                let mut live = live.lock().unwrap_or_else(PoisonError::into_inner);
                write_out(&live.around(&format!("{text}\n"), columns()));
            }
        }
    }

    /// Whether [`Terminal::keep_line`] shows anything.
    pub fn keeps(&self) -> bool {
        self.live.is_some()
    }

    /// The line about `what` at the end of the terminal says this from now on, or is taken away.
    pub fn keep_line(&self, what: &str, text: Option<&str>) {
        if let Some(live) = &self.live {
            let mut live = live.lock().unwrap_or_else(PoisonError::into_inner);
            write_out(&live.keep(what, text, columns()));
        }
    }

    /// Wraps text in an ANSI colour (`31` red, `32` green, `33` yellow, `2` dim).
    pub fn paint(&self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    /// Rows under headings, columns as wide as their widest cell.
    pub fn table(&self, headings: &[&str], rows: &[Vec<String>]) -> Result<(), Failure> {
        let width = |column: usize| {
            let cells = rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count());
            cells
                .chain([headings[column].chars().count()])
                .max()
                .unwrap_or_default()
        };
        let widths: Vec<usize> = (0..headings.len()).map(width).collect();
        let line = |cells: Vec<String>| {
            let padded: Vec<String> = cells
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell:width$}"))
                .collect();
            padded.join("  ").trim_end().to_owned()
        };
        self.print(&line(headings.iter().map(|h| (*h).to_owned()).collect()))?;
        rows.iter().try_for_each(|row| self.print(&line(row.clone())))
    }

    /// A line from whoever sits there; `None` for an empty one.
    pub fn ask(&self, question: &str) -> Result<Option<String>, Failure> {
        let mut error = std::io::stderr();
        write!(error, "{question}")
            .and_then(|()| error.flush())
            .map_err(|e| Failure::new(Kind::Host, e))?;
        let mut line = String::new();
        std::io::stdin()
            .read_line(&mut line)
            .map_err(|e| Failure::new(Kind::Host, e))?;
        let answer = line.trim();
        Ok((!answer.is_empty()).then(|| answer.to_owned()))
    }

    /// Anything but a yes is a no.
    pub fn confirm(&self, question: &str) -> Result<bool, Failure> {
        let answer = self.ask(&format!("{question} [y/N] "))?;
        Ok(answer.is_some_and(|answer| matches!(answer.to_lowercase().as_str(), "y" | "yes")))
    }

    /// A receipt for a person.
    pub fn print_receipt(&self, receipt: &Receipt) -> Result<(), Failure> {
        let (mark, colour) = if receipt.ok { ("✓", "32") } else { ("✗", "31") };
        let head = format!("{} {}: {}", receipt.kind, receipt.subject, receipt.outcome);
        self.print(&format!("{} {head}", self.paint(colour, mark)))?;
        let width = receipt
            .lines
            .iter()
            .map(|l| l.label.chars().count())
            .max()
            .unwrap_or_default();
        for line in &receipt.lines {
            self.print(&format!("  {:width$}  {}", line.label, line.value))?;
        }
        if let Some(because) = &receipt.because {
            self.print(&format!("  because: {because}"))?;
        }
        self.print(&format!("  operation {}, by {}", receipt.operation, receipt.by))
    }

    /// The end of an operation: the receipt, and the failure that its outcome amounts to.
    pub fn conclude(&self, receipt: &Receipt) -> Result<(), Failure> {
        if self.json {
            self.print_json(receipt)?;
        } else {
            self.print_receipt(receipt)?;
        }
        match (receipt.ok, receipt.outcome.as_str()) {
            (true, _) => Ok(()),
            (false, "stuck") => Err(Failure::told(Kind::Stuck)),
            (false, "inconclusive") => Err(Failure::told(Kind::Inconclusive)),
            (false, _) => Err(Failure::told(Kind::Failed)),
        }
    }
}

/// Whether standard error shows colours, and they are wanted.
pub fn colourful() -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
    !unwanted && std::io::stderr().is_terminal()
}

/// Whether standard error is a terminal on which lines can be written over.
fn keeps() -> bool {
    let dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    !dumb && std::io::stderr().is_terminal()
}

fn columns() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stderr()).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// One line to standard error; whoever closed it does not want to know.
pub fn tell(text: &str) {
    write_out(&format!("{text}\n"));
}

fn write_out(text: &str) {
    if let Err(error) = std::io::stderr().write_all(text.as_bytes()) {
        tracing::debug!("standard error is closed: {error}");
    }
}

impl Watch for Terminal {
    fn hear(&self, news: News) {
        if let News::Update(update) = news {
            let time = self.paint(
                "2",
                &update.at.with_timezone(&chrono::Local).format("%H:%M:%S").to_string(),
            );
            match update.kind {
                UpdateKind::Began => {}
                UpdateKind::Failed => self.note(&format!("{time} {} {}", self.paint("31", "failed"), update.text)),
                UpdateKind::Progress | UpdateKind::Waiting => self.note(&format!("{time}   {}", update.text)),
                _ => self.note(&format!("{time} {}", update.text)),
            }
        }
    }

    fn keeps_lines(&self) -> bool {
        self.keeps()
    }

    fn keep(&self, what: &str, text: Option<&str>) {
        self.keep_line(what, text);
    }
}
