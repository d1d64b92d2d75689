use std::borrow::Borrow;
use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Top folders of a restored tree that do not come from the project's own folder.
pub const STACK: &str = "@stack";
pub const HOST: &str = "@host";
pub const IMAGES: &str = "@images";

/// The longest path, in bytes before escaping; Linux takes 4096 at a time.
const LONGEST: usize = 16 << 10;

/// Where an entry lies below a restored root, as text: bytes that are not UTF-8, control characters and `%` are written
/// `%XX` (upper-case hex), so that every name a file system allows has exactly one spelling.
///
/// Never empty, never absolute, without empty, `.` and `..` parts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EntryPath(String);

#[derive(Debug, thiserror::Error, PartialEq)]
pub enum NotAPath {
    #[error("an entry's path is empty or longer than {LONGEST} bytes")]
    Length,
    #[error("`{0}` is not a path below the restored root")]
    Outside(String),
    #[error("`{0}` is not spelled the one way an entry's path is")]
    Spelling(String),
}

impl EntryPath {
    /// From the bytes of a relative path.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NotAPath> {
        if bytes.is_empty() || bytes.len() > LONGEST {
            return Err(NotAPath::Length);
        }
        let inner = |part: &[u8]| !part.is_empty() && part != b"." && part != b".." && !part.contains(&0);
        if bytes.split(|b| *b == b'/').all(inner) {
            Ok(EntryPath(escape(bytes)))
        } else {
            Err(NotAPath::Outside(escape(bytes)))
        }
    }

    /// The bytes of the path on disk.
    pub fn to_bytes(&self) -> Vec<u8> {
        // A constructed path always reads back.
        unescape(&self.0).unwrap_or_default()
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The parts as they are named on disk, top first.
    pub fn parts(&self) -> Vec<Vec<u8>> {
        self.to_bytes().split(|b| *b == b'/').map(<[u8]>::to_vec).collect()
    }

    /// A part below this one, by its bytes.
    pub fn join(&self, name: &[u8]) -> Result<Self, NotAPath> {
        let mut path = self.clone();
        let below = EntryPath::from_bytes(name)?;
        path.0.push('/');
        path.0.push_str(&below.0);
        match path.0.len() <= LONGEST || path.to_bytes().len() <= LONGEST {
            true => Ok(path),
            false => Err(NotAPath::Length),
        }
    }

    /// The folders it lies in, the nearest first.
    pub fn above(&self) -> impl Iterator<Item = &str> {
        self.0.rmatch_indices('/').map(|(at, _)| &self.0[..at])
    }

    /// Whether it is `top` or lies below it.
    pub fn is_within(&self, top: &EntryPath) -> bool {
        match self.0.strip_prefix(&top.0) {
            Some(rest) => rest.is_empty() || rest.starts_with('/'),
            None => false,
        }
    }

    /// Whether it came from the set's sources, and not from the stack's own files or its images.
    pub fn is_data(&self) -> bool {
        !matches!(self.top(), STACK | IMAGES)
    }

    pub fn top(&self) -> &str {
        self.0.split('/').next().unwrap_or_default()
    }

    /// Where a file of the host lies in a snapshot: relative to `folder` when inside, else below `@host`.
    ///
    /// Both are absolute and are compared as written, without looking at links.
    pub fn of_host_file(folder: &Path, file: &Path) -> Result<Self, NotAPath> {
        let bytes = |path: &Path| std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()).to_vec();
        let plain = normal(file);
        let path = match plain.strip_prefix(normal(folder)) {
            Ok(relative) if relative.as_os_str().is_empty() => return Err(NotAPath::Length),
            Ok(relative) => {
                let path = EntryPath::from_bytes(&bytes(relative))?;
                if matches!(path.top(), STACK | HOST | IMAGES) {
                    return Err(NotAPath::Outside(path.0));
                }
                path
            }
            Err(_) => {
                let mut full = HOST.as_bytes().to_vec();
                full.extend_from_slice(&bytes(&plain));
                EntryPath::from_bytes(&full)?
            }
        };
        Ok(path)
    }

    /// Where one of the stack's own files lies in a snapshot.
    pub fn of_stack_file(folder: &Path, file: &Path) -> Result<Self, NotAPath> {
        let inner = EntryPath::of_host_file(folder, file)?;
        EntryPath::from_bytes(STACK.as_bytes())?.join(&inner.to_bytes())
    }
}

/// An absolute path without `.` and `..`, by the text alone: two that name the same file by their text become equal.
pub fn normal(path: &Path) -> PathBuf {
    let mut plain = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            Component::Normal(name) => plain.push(name),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    plain
}

/// The one spelling of any bytes; see [`EntryPath`].
pub fn escape(bytes: &[u8]) -> String {
    if let Ok(text) = std::str::from_utf8(bytes)
        && !text.contains(|c: char| c == '%' || c.is_control())
    {
        return text.to_owned();
    }
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c == '%' || c.is_control() {
                let mut buffer = [0; 4];
                hexed(&mut text, c.encode_utf8(&mut buffer).as_bytes());
            } else {
                text.push(c);
            }
        }
        hexed(&mut text, chunk.invalid());
    }
    text
}

fn hexed(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        text.push('%');
        text.push_str(&hex::encode_upper([*byte]));
    }
}

/// Back from [`escape`]; `None` for any other spelling.
pub fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        if *first == b'%' {
            bytes.push(*hex::decode(tail.get(..2)?).ok()?.first()?);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    (escape(&bytes) == text).then_some(bytes)
}

impl Borrow<str> for EntryPath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for EntryPath {
    type Err = NotAPath;

    fn from_str(text: &str) -> Result<Self, NotAPath> {
        if text.len() > 3 * LONGEST {
            return Err(NotAPath::Length);
        }
        let bytes = unescape(text).ok_or_else(|| NotAPath::Spelling(escape(text.as_bytes())))?;
        EntryPath::from_bytes(&bytes)
    }
}

impl fmt::Display for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for EntryPath {
    type Error = NotAPath;

    fn try_from(text: String) -> Result<Self, NotAPath> {
        text.parse()
    }
}

impl From<EntryPath> for String {
    fn from(path: EntryPath) -> String {
        path.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_that_leave_the_root_are_refused() {
        for bad in [
            "", "/", "/etc", "a//b", "../a", "a/..", "a/./b", "a/", "%00", "a%", "a%2", "a%2f", "%41", "a\nb",
        ] {
            assert!(bad.parse::<EntryPath>().is_err(), "{bad}");
        }
        assert!("%2E%2E/a".parse::<EntryPath>().is_err());
        assert!("uploads/ ä/100%25.jpg".parse::<EntryPath>().is_ok());
    }

    #[test]
    fn files_are_placed_by_where_they_lie() {
        let at = |file: &str| EntryPath::of_host_file(Path::new("/srv/ark"), Path::new(file)).map(String::from);
        assert_eq!(at("/srv/ark/./data/x.db"), Ok("data/x.db".into()));
        assert_eq!(at("/srv/ark/../other/x"), Ok("@host/srv/other/x".into()));
        assert_eq!(at("/srv/arkx"), Ok("@host/srv/arkx".into()));
        assert!(at("/srv/ark/@stack/x").is_err());
        let stack = EntryPath::of_stack_file(Path::new("/srv/ark"), Path::new("/srv/ark/.env")).map(String::from);
        assert_eq!(stack, Ok("@stack/.env".into()));
    }

    #[test]
    fn within_counts_whole_parts() {
        let path = |text: &str| text.parse::<EntryPath>().expect("a path");
        assert!(path("uploads/a").is_within(&path("uploads")));
        assert!(!path("uploads2/a").is_within(&path("uploads")));
    }

    proptest! {
        #[test]
        fn any_name_is_spelled_one_way_and_read_back(bytes in proptest::collection::vec(1u8.., 1..60)) {
            if let Ok(path) = EntryPath::from_bytes(&bytes) {
                prop_assert_eq!(path.to_bytes(), bytes);
                prop_assert_eq!(path.as_str().parse::<EntryPath>(), Ok(path.clone()));
                prop_assert!(!path.as_str().chars().any(char::is_control));
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,40}") {
            if let Ok(path) = text.parse::<EntryPath>() {
                prop_assert_eq!(path.as_str(), text);
            }
        }
    }
}
