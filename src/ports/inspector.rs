use std::collections::BTreeMap;
use std::path::Path;

use crate::backup::EntryPath;
use crate::drill::{Files, Found, Integrity, Unread};

/// Looks at restored files. Blocks, so it is called where that is allowed.
///
/// Nothing is changed, no link is followed out of `tree`, and a database is taken for hostile.
pub trait Inspector: Send + Sync {
    fn find(&self, tree: &Path, entry: &EntryPath) -> Found;
    fn integrity(&self, tree: &Path, database: &EntryPath) -> Result<Integrity, Unread>;
    /// The rows of each of `tables`; `None` for one that is not there.
    fn rows(
        &self,
        tree: &Path,
        database: &EntryPath,
        tables: &[String],
    ) -> Result<BTreeMap<String, Option<u64>>, Unread>;
    /// Resolves the first column of every row of `query` below `under`; rows without a value name no file.
    fn files(&self, tree: &Path, database: &EntryPath, query: &str, under: &EntryPath) -> Result<Files, Unread>;
    /// The one value of `query` as text.
    fn newest(&self, tree: &Path, database: &EntryPath, query: &str) -> Result<Option<String>, Unread>;
}
