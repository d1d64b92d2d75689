use serde::{Deserialize, Serialize};

use crate::backup::{EntryPath, NotAPath};
use crate::config::Check;
use crate::model::ServiceName;

/// A check of arkwright.yaml with its paths placed in the restored tree.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "check", rename_all = "snake_case")]
pub enum Assertion {
    Integrity {
        database: EntryPath,
    },
    Rows {
        database: EntryPath,
        /// Empty: every table that was counted.
        tables: Vec<String>,
    },
    FilesExist {
        database: EntryPath,
        query: String,
        under: EntryPath,
    },
    Http {
        service: ServiceName,
        port: u16,
        path: String,
        expect: u16,
        contains: Option<String>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Passed,
    Failed,
    /// It could not be found out; never a pass.
    NotRun,
}

impl Verdict {
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Passed => "passed",
            Verdict::Failed => "FAILED",
            Verdict::NotRun => "NOT RUN",
        }
    }
}

/// What was looked at, what it should have been, what it was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckResult {
    pub name: String,
    pub expected: String,
    pub actual: String,
    pub verdict: Verdict,
    /// Why it is not passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl CheckResult {
    pub fn passed(name: impl Into<String>, expected: impl Into<String>, actual: impl Into<String>) -> Self {
        CheckResult {
            name: name.into(),
            expected: expected.into(),
            actual: actual.into(),
            verdict: Verdict::Passed,
            why: None,
        }
    }

    pub fn failed(
        name: impl Into<String>,
        expected: impl Into<String>,
        actual: impl Into<String>,
        why: impl Into<String>,
    ) -> Self {
        CheckResult {
            verdict: Verdict::Failed,
            why: Some(why.into()),
            ..CheckResult::passed(name, expected, actual)
        }
    }

    pub fn not_run(name: impl Into<String>, expected: impl Into<String>, why: impl Into<String>) -> Self {
        CheckResult {
            verdict: Verdict::NotRun,
            why: Some(why.into()),
            ..CheckResult::passed(name, expected, "not looked at")
        }
    }
}

impl Assertion {
    /// `place` says where a path of arkwright.yaml lies in a restored tree.
    pub fn of(
        check: &Check,
        place: impl Fn(&std::path::Path) -> Result<EntryPath, NotAPath>,
    ) -> Result<Self, NotAPath> {
        Ok(match check {
            Check::Integrity { sqlite, .. } => Assertion::Integrity {
                database: place(sqlite)?,
            },
            Check::Rows { sqlite, rows } => Assertion::Rows {
                database: place(sqlite)?,
                tables: rows.clone(),
            },
            Check::FilesExist {
                sqlite,
                files_exist,
                under,
            } => Assertion::FilesExist {
                database: place(sqlite)?,
                query: files_exist.clone(),
                under: place(under)?,
            },
            Check::Http { http, expect, contains } => {
                let (service, port, path) = Check::http_target(http).ok_or_else(|| NotAPath::Outside(http.clone()))?;
                Assertion::Http {
                    service: service.parse().map_err(|_| NotAPath::Outside(http.clone()))?,
                    port,
                    path: path.to_owned(),
                    expect: *expect,
                    contains: contains.clone(),
                }
            }
        })
    }

    /// Whether it asks a running service; the others read files, and do so before anything can write to them.
    pub fn needs_service(&self) -> Option<&ServiceName> {
        match self {
            Assertion::Http { service, .. } => Some(service),
            _ => None,
        }
    }

    pub fn name(&self) -> String {
        match self {
            Assertion::Integrity { database } => format!("integrity of {database}"),
            Assertion::Rows { database, tables } if tables.is_empty() => format!("rows of {database}"),
            Assertion::Rows { database, tables } => format!("rows of {database}: {}", tables.join(", ")),
            Assertion::FilesExist { database, under, .. } => format!("files of {database} below {under}"),
            Assertion::Http {
                service, port, path, ..
            } => format!("GET {service}:{port}{path}"),
        }
    }

    pub fn expected(&self) -> String {
        match self {
            Assertion::Integrity { .. } => "no damage, no dangling reference".into(),
            Assertion::Rows { .. } => "the rows counted when the backup was taken".into(),
            Assertion::FilesExist { .. } => "a file for every row".into(),
            Assertion::Http {
                expect,
                contains: Some(text),
                ..
            } => format!("{expect}, with `{text}` in the body"),
            Assertion::Http { expect, .. } => expect.to_string(),
        }
    }

    pub fn not_run(&self, why: impl Into<String>) -> CheckResult {
        CheckResult::not_run(self.name(), self.expected(), why)
    }
}
