//! What was read, turned into verdicts.

use std::collections::BTreeMap;

use super::probe::Answer;
use super::{Assertion, CheckResult, Verdict};

/// Why nothing was read.
#[derive(Clone, Debug, PartialEq)]
pub enum Unread {
    /// The snapshot does not have the file: that is a finding.
    Missing,
    /// The file is there and is not what it should be: a finding too.
    Damaged(String),
    /// It could not be looked at.
    Hindered(String),
}

/// What `integrity_check` and `foreign_key_check` said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Integrity {
    /// Empty when SQLite said `ok`.
    pub problems: Vec<String>,
    /// Rows whose foreign key points at nothing.
    pub dangling: u64,
}

/// How the paths a query returned resolve.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Files {
    pub rows: u64,
    pub missing: u64,
    /// Some of the missing, by the path in the row.
    pub examples: Vec<String>,
}

pub fn integrity(assertion: &Assertion, read: &Result<Integrity, Unread>) -> CheckResult {
    let found = match read {
        Ok(found) => found,
        Err(unread) => return unread_result(assertion, assertion.expected(), unread),
    };
    let (name, expected) = (assertion.name(), assertion.expected());
    if found.problems.is_empty() && found.dangling == 0 {
        return CheckResult::passed(name, expected, "ok");
    }
    let mut said = found.problems.clone();
    if found.dangling > 0 {
        said.push(format!("{} rows refer to a row that is not there", found.dangling));
    }
    CheckResult::failed(name, expected, said.join("; "), "the restored database is damaged")
}

/// `recorded` is what the snapshot says of the tables; `None`, it says nothing of this database. A table that is gone
/// has no count.
pub fn rows(
    assertion: &Assertion,
    recorded: Option<&BTreeMap<String, u64>>,
    read: &Result<BTreeMap<String, Option<u64>>, Unread>,
) -> CheckResult {
    let Assertion::Rows { tables, .. } = assertion else {
        return assertion.not_run("it is no check of rows");
    };
    let wanted: Vec<(&String, Option<u64>)> = match (recorded, tables.is_empty()) {
        (None, _) => return assertion.not_run("the snapshot has no row counts of this database"),
        (Some(recorded), true) if recorded.is_empty() => {
            return assertion.not_run("the database had no table when the backup was taken");
        }
        (Some(recorded), true) => recorded.iter().map(|(table, count)| (table, Some(*count))).collect(),
        (Some(recorded), false) => tables.iter().map(|t| (t, recorded.get(t).copied())).collect(),
    };
    if let Some((table, _)) = wanted.iter().find(|(_, count)| count.is_none()) {
        return assertion.not_run(format!("the snapshot has no row count of table `{table}`"));
    }
    let expected = list(wanted.iter().map(|(table, count)| (table.as_str(), *count)));
    let found = match read {
        Ok(found) => found,
        Err(unread) => return unread_result(assertion, expected, unread),
    };
    let actual_of = |table: &str| found.get(table).copied().flatten();
    let actual = list(wanted.iter().map(|(table, _)| (table.as_str(), actual_of(table))));
    let wrong: Vec<&str> = wanted
        .iter()
        .filter(|(table, count)| actual_of(table) != *count)
        .map(|(table, _)| table.as_str())
        .collect();
    if wrong.is_empty() {
        CheckResult::passed(assertion.name(), expected, actual)
    } else {
        let why = format!("other rows than were backed up in {}", wrong.join(", "));
        CheckResult::failed(assertion.name(), expected, actual, why)
    }
}

/// Table after table; more than a person reads is counted.
fn list<'a>(counts: impl ExactSizeIterator<Item = (&'a str, Option<u64>)>) -> String {
    const SHOWN: usize = 12;
    let total = counts.len();
    let one = |(table, count): (&str, Option<u64>)| match count {
        Some(count) => format!("{table} {count}"),
        None => format!("{table} gone"),
    };
    let mut text: Vec<String> = counts.take(SHOWN).map(one).collect();
    if total > SHOWN {
        text.push(format!("and {} tables more", total - SHOWN));
    }
    text.join(", ")
}

pub fn files_exist(assertion: &Assertion, read: &Result<Files, Unread>) -> CheckResult {
    let found = match read {
        Ok(found) => found,
        Err(unread) => return unread_result(assertion, assertion.expected(), unread),
    };
    if found.rows == 0 {
        return assertion.not_run("the query returned no row, so there was nothing to look for");
    }
    let expected = format!("{} rows, a file for each", found.rows);
    if found.missing == 0 {
        return CheckResult::passed(assertion.name(), expected, format!("{} files", found.rows));
    }
    let actual = format!("{} without a file: {}", found.missing, found.examples.join(", "));
    CheckResult::failed(
        assertion.name(),
        expected,
        actual,
        "rows name files that were not restored",
    )
}

/// `asked` is an error when the question could not be put at all.
pub fn answered(assertion: &Assertion, asked: &Result<Answer, String>) -> CheckResult {
    let Assertion::Http { expect, contains, .. } = assertion else {
        return assertion.not_run("it is no check of an answer");
    };
    let answer = match asked {
        Ok(answer) => answer,
        Err(why) => return assertion.not_run(why),
    };
    let (name, expected) = (assertion.name(), assertion.expected());
    let (status, body) = match answer {
        Answer::Status { status, body, .. } => (*status, body),
        Answer::None { why } => return CheckResult::failed(name, expected, "no answer", why),
    };
    let text = String::from_utf8_lossy(body);
    let beginning: String = text.chars().take(120).filter(|c| !c.is_control()).collect();
    let actual = format!("{status}, {beginning}");
    if status != *expect {
        return CheckResult::failed(name, expected, actual, "another status");
    }
    // What a good answer says beyond that may be personal, and evidence is passed on.
    match contains {
        Some(wanted) if !text.contains(wanted.as_str()) => {
            CheckResult::failed(name, expected, actual, format!("`{wanted}` is not in the body"))
        }
        Some(wanted) => CheckResult::passed(
            name,
            expected,
            format!("{status}, with `{wanted}`, {} bytes", body.len()),
        ),
        None => CheckResult::passed(name, expected, format!("{status}, {} bytes", body.len())),
    }
}

fn unread_result(assertion: &Assertion, expected: String, unread: &Unread) -> CheckResult {
    let (verdict, actual, why) = match unread {
        Unread::Missing => (
            Verdict::Failed,
            "no such file",
            "the snapshot does not have it".to_owned(),
        ),
        Unread::Damaged(why) => (Verdict::Failed, "unreadable", why.clone()),
        Unread::Hindered(why) => (Verdict::NotRun, "not looked at", why.clone()),
    };
    CheckResult {
        name: assertion.name(),
        expected,
        actual: actual.into(),
        verdict,
        why: Some(why),
    }
}
