use std::fmt;
use std::path::PathBuf;

/// What is wrong in arkwright.yaml, where, and what to do.
#[derive(Debug, PartialEq)]
pub struct ConfigError {
    pub file: PathBuf,
    /// 1-based; 0 where the whole file is meant.
    pub line: usize,
    pub column: usize,
    /// The line itself, without its end.
    pub excerpt: String,
    pub message: String,
    pub help: Option<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        write!(f, ": {}", self.message)?;
        if self.line > 0 && !self.excerpt.is_empty() {
            let margin = self.line.to_string().len();
            let indent = " ".repeat(self.column.saturating_sub(1).min(self.excerpt.chars().count()));
            write!(f, "\n{} | {}\n{:margin$} | {indent}^", self.line, self.excerpt, "")?;
        }
        if let Some(help) = &self.help {
            write!(f, "\nhelp: {help}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}
