use std::collections::{HashMap, HashSet};

use crate::backup::EntryPath;

/// What is at every path so far.
#[derive(Default)]
pub(super) struct Places {
    /// Whether it is a folder.
    known: HashMap<EntryPath, bool>,
    /// Folders that have only been told of by what lies below them.
    implied: HashSet<String>,
}

/// Two things cannot be at one path, nor can one lie below what is no folder.
#[derive(Debug, PartialEq)]
pub(super) struct Conflict;

impl Places {
    /// Whether the path is new.
    pub(super) fn admit(&mut self, path: &EntryPath, folder: bool) -> Result<bool, Conflict> {
        if let Some(known) = self.known.get(path) {
            return match *known == folder {
                true => Ok(false),
                false => Err(Conflict),
            };
        }
        if !folder && self.implied.contains(path.as_str()) {
            return Err(Conflict);
        }
        // What lies above something that is known was looked at when that came.
        let news: Vec<&str> = path
            .above()
            .take_while(|above| self.known.get(*above) != Some(&true) && !self.implied.contains(*above))
            .collect();
        if news.iter().any(|above| self.known.contains_key(*above)) {
            return Err(Conflict);
        }
        self.implied.extend(news.into_iter().map(str::to_owned));
        self.known.insert(path.clone(), folder);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(places: &[(&str, bool)]) -> Vec<Result<bool, Conflict>> {
        let mut known = Places::default();
        let admit = |(path, folder): &(&str, bool)| known.admit(&path.parse().expect("a path"), *folder);
        places.iter().map(admit).collect()
    }

    #[test]
    fn nothing_lies_below_what_is_no_folder_whichever_comes_first() {
        assert_eq!(admitted(&[("a", false), ("a/b/c", false)]), [Ok(true), Err(Conflict)]);
        assert_eq!(admitted(&[("a/b/c", false), ("a/b", false)]), [Ok(true), Err(Conflict)]);
        assert_eq!(admitted(&[("a/b/c", false), ("a", false)]), [Ok(true), Err(Conflict)]);
        assert_eq!(
            admitted(&[("a", true), ("a/b/c", false), ("a/b", false), ("a/b", true)]),
            [Ok(true), Ok(true), Err(Conflict), Ok(true)]
        );
        assert_eq!(
            admitted(&[("a", false), ("a-b", false), ("a", false), ("a", true)]),
            [Ok(true), Ok(true), Ok(false), Err(Conflict)]
        );
    }

    proptest::proptest! {
        #[test]
        fn what_is_admitted_is_always_a_tree(
            places in proptest::collection::vec(("[ab](/[ab]){0,3}", proptest::bool::ANY), 0..12)
        ) {
            let mut known = Places::default();
            let mut taken: Vec<(EntryPath, bool)> = Vec::new();
            for (path, folder) in places {
                let path: EntryPath = path.parse().expect("a path");
                let below = |(other, leaf): (&EntryPath, bool), path: &EntryPath| leaf && path != other && path.is_within(other);
                let fits = taken.iter().all(|(other, is_folder)| {
                    (*other != path || *is_folder == folder)
                        && !below((other, !is_folder), &path)
                        && !below((&path, !folder), other)
                });
                let new = !taken.iter().any(|(other, _)| *other == path);
                let expected = if fits { Ok(new) } else { Err(Conflict) };
                proptest::prop_assert_eq!(known.admit(&path, folder), expected, "{} {}", path, folder);
                if fits && new {
                    taken.push((path, folder));
                }
            }
        }
    }
}
