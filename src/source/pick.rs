use std::path::Path;

use crate::ports::SourceError;

use super::glob::Glob;

/// What of a folder is wanted, by paths relative to it.
#[derive(Debug)]
pub(super) struct Pick {
    /// Everything where there is none.
    include: Vec<Glob>,
    exclude: Vec<Glob>,
}

impl Pick {
    /// `source` is for messages.
    pub(super) fn new(source: &Path, include: &[String], exclude: &[String]) -> Result<Self, SourceError> {
        let globs = |texts: &[String]| {
            let parse = |text: &String| {
                Glob::new(text).map_err(|why| SourceError::BadGlob {
                    path: source.to_path_buf(),
                    glob: text.clone(),
                    why,
                })
            };
            texts.iter().map(parse).collect::<Result<Vec<Glob>, SourceError>>()
        };
        Ok(Pick {
            include: globs(include)?,
            exclude: globs(exclude)?,
        })
    }

    /// With all that is below it.
    pub(super) fn leaves_out(&self, path: &[u8]) -> bool {
        self.exclude.iter().any(|glob| glob.fits(path))
    }

    /// By its own path or by that of a folder it lies in.
    pub(super) fn takes(&self, path: &[u8]) -> bool {
        let above = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        let mut paths = above.map(|(at, _)| &path[..at]).chain([path]);
        self.include.is_empty() || paths.any(|path| self.include.iter().any(|glob| glob.fits(path)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pick(include: &[&str], exclude: &[&str]) -> Pick {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        Pick::new(Path::new("/srv"), &owned(include), &owned(exclude)).expect("patterns")
    }

    #[test]
    fn what_is_included_is_taken_with_all_below_it() {
        let all = pick(&[], &[]);
        assert!(all.takes(b"a/b") && !all.leaves_out(b"a/b"));
        let some = pick(&["photos", "/notes/*.txt"], &["*.tmp"]);
        for taken in ["photos", "photos/2024/a.jpg", "old/photos/b", "notes/a.txt"] {
            assert!(some.takes(taken.as_bytes()), "{taken}");
        }
        for not in ["notes", "notes/a.jpg", "old/notes/a.txt", "photos2"] {
            assert!(!some.takes(not.as_bytes()), "{not}");
        }
        assert!(some.leaves_out(b"photos/x.tmp"));
    }

    #[test]
    fn a_pattern_that_is_none_is_named() {
        let refused = Pick::new(Path::new("/srv"), &["../x".into()], &[]).expect_err("no pattern");
        assert!(refused.to_string().contains("`../x` of the source /srv"), "{refused}");
    }
}
