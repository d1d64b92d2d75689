use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::path::{escape, unescape};

/// Linux takes no longer name of an extended attribute.
const LONGEST_NAME: usize = 255;
/// Nor a longer value.
const LONGEST_VALUE: usize = 64 << 10;

/// What an entry has beside its mode, owner and time; none of it is needed to read its content.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Traits {
    /// Extended attributes by name; POSIX ACLs are the two `system.posix_acl_*` among them.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Runs of zeros of a file that need no room on a disk.
    pub holes: Vec<Hole>,
}

/// Neither empty nor beyond the file's end; those of a file are in order and apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "[u64; 2]", into = "[u64; 2]")]
pub struct Hole {
    pub offset: u64,
    pub length: u64,
}

impl Hole {
    /// Saturates: holes that end beyond a file's end are refused when a listing is read.
    pub fn end(self) -> u64 {
        self.offset.saturating_add(self.length)
    }
}

impl From<[u64; 2]> for Hole {
    fn from([offset, length]: [u64; 2]) -> Self {
        Hole { offset, length }
    }
}

impl From<Hole> for [u64; 2] {
    fn from(hole: Hole) -> [u64; 2] {
        [hole.offset, hole.length]
    }
}

/// Whether these can be the holes of a file of that size.
pub(super) fn are_holes_of(holes: &[Hole], size: u64) -> bool {
    let mut after = 0;
    holes.iter().all(|hole| {
        let fits = hole.length > 0 && hole.offset >= after && hole.offset.checked_add(hole.length).is_some();
        after = hole.end();
        fits && after <= size
    })
}

/// As a listing has them: names spelled as paths are, values in base64.
pub(super) fn xattrs_to_text(xattrs: &BTreeMap<Vec<u8>, Vec<u8>>) -> BTreeMap<String, String> {
    let text = xattrs
        .iter()
        .map(|(name, value)| (escape(name), STANDARD.encode(value)));
    text.collect()
}

/// `None` where one of them is none that Linux knows.
pub(super) fn xattrs_from_text(text: &BTreeMap<String, String>) -> Option<BTreeMap<Vec<u8>, Vec<u8>>> {
    let parse = |(name, value): (&String, &String)| {
        let name =
            unescape(name).filter(|name| !name.is_empty() && name.len() <= LONGEST_NAME && !name.contains(&0))?;
        let value = STANDARD
            .decode(value)
            .ok()
            .filter(|value| value.len() <= LONGEST_VALUE)?;
        Some((name, value))
    };
    text.iter().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn holes_are_in_order_apart_and_inside() {
        let are =
            |holes: &[[u64; 2]], size| are_holes_of(&holes.iter().map(|h| Hole::from(*h)).collect::<Vec<_>>(), size);
        assert!(are(&[], 0));
        assert!(are(&[[0, 1], [1, 3], [8, 2]], 10));
        for bad in [
            &[[0, 0]][..],
            &[[0, 11]],
            &[[10, 1]],
            &[[4, 2], [5, 1]],
            &[[4, 2], [0, 1]],
            &[[u64::MAX, 1]],
            &[[1, u64::MAX]],
        ] {
            assert!(!are(bad, 10), "{bad:?}");
        }
    }

    #[test]
    fn attributes_linux_would_not_take_are_refused() {
        let read = |name: &str, value: &str| xattrs_from_text(&[(name.to_owned(), value.to_owned())].into());
        assert_eq!(
            read("user.a", "YQ=="),
            Some([(b"user.a".to_vec(), b"a".to_vec())].into())
        );
        assert_eq!(read("user.%FF", ""), Some([(b"user.\xff".to_vec(), Vec::new())].into()));
        let (long, large) = ("n".repeat(256), STANDARD.encode(vec![0; (64 << 10) + 1]));
        for (name, value) in [
            ("", "YQ=="),
            ("user.%00", ""),
            ("user.%61", ""),
            ("user.a", "YQ"),
            ("user.a", "?"),
            (&long, ""),
            ("user.a", &large),
        ] {
            assert_eq!(read(name, value), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn attributes_read_back(xattrs in proptest::collection::btree_map(
            proptest::collection::vec(1u8.., 1..40), proptest::collection::vec(0u8.., 0..60), 0..4)) {
            prop_assert_eq!(xattrs_from_text(&xattrs_to_text(&xattrs)), Some(xattrs));
        }
    }
}
