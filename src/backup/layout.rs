use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::model::{Generation, SegmentId};

/// A segment is closed when the next file would take its plaintext past this.
pub const SEGMENT_BYTES: u64 = 64 << 20;
/// A larger file has a segment of its own, so that one that changes while it is read spoils nothing else.
pub const SHARED_FILE_BYTES: u64 = 8 << 20;

/// How a segment's tar archive is coded before it is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Coding {
    Stored,
    Zstd,
    Gzip,
}

impl Coding {
    fn suffix(self) -> &'static str {
        match self {
            Coding::Stored => "tar.age",
            Coding::Zstd => "tar.zst.age",
            Coding::Gzip => "tar.gz.age",
        }
    }
}

/// The name of a segment's object: `seg/<id>.tar.zst.age`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SegmentName {
    pub id: SegmentId,
    pub coding: Coding,
}

#[derive(Debug, thiserror::Error, PartialEq)]
#[error("`{0}` is not a name of a segment")]
pub struct NotASegment(String);

impl FromStr for SegmentName {
    type Err = NotASegment;

    fn from_str(text: &str) -> Result<Self, NotASegment> {
        let refuse = || NotASegment(super::escape(text.as_bytes()));
        let (id, suffix) = text
            .strip_prefix("seg/")
            .and_then(|rest| rest.split_once('.'))
            .ok_or_else(refuse)?;
        let coding = [Coding::Stored, Coding::Zstd, Coding::Gzip]
            .into_iter()
            .find(|coding| coding.suffix() == suffix)
            .ok_or_else(refuse)?;
        let id = id.parse().map_err(|_| refuse())?;
        Ok(SegmentName { id, coding })
    }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seg/{}.{}", self.id, self.coding.suffix())
    }
}

impl TryFrom<String> for SegmentName {
    type Error = NotASegment;

    fn try_from(text: String) -> Result<Self, NotASegment> {
        text.parse()
    }
}

impl From<SegmentName> for String {
    fn from(name: SegmentName) -> String {
        name.to_string()
    }
}

/// The three objects of a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ManifestPart {
    Header,
    Listing,
    Signature,
}

impl ManifestPart {
    pub fn name(self, generation: Generation) -> String {
        let suffix = match self {
            ManifestPart::Header => "json",
            ManifestPart::Listing => "json.age",
            ManifestPart::Signature => "json.sig",
        };
        format!("man/{generation}.{suffix}")
    }

    /// Reads a name back; `None` for one that is not spelled as [`ManifestPart::name`] spells it.
    pub fn parse(name: &str) -> Option<(Generation, Self)> {
        let digits = name.strip_prefix("man/")?.split('.').next()?;
        let generation: Generation = digits.parse().ok()?;
        [ManifestPart::Header, ManifestPart::Listing, ManifestPart::Signature]
            .into_iter()
            .find(|part| part.name(generation) == name)
            .map(|part| (generation, part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_nothing_else_does() {
        let id = SegmentId::new([7; 16]);
        for coding in [Coding::Stored, Coding::Zstd, Coding::Gzip] {
            let name = SegmentName { id: id.clone(), coding };
            assert_eq!(name.to_string().parse(), Ok(name));
        }
        for bad in [
            "seg/../x.tar.age",
            "seg/07.tar.age",
            "seg/07070707070707070707070707070707.zip.age",
            "man/1.json",
        ] {
            assert!(bad.parse::<SegmentName>().is_err(), "{bad}");
        }
        for part in [ManifestPart::Header, ManifestPart::Listing, ManifestPart::Signature] {
            assert_eq!(
                ManifestPart::parse(&part.name(Generation(12))),
                Some((Generation(12), part))
            );
        }
        for bad in ["man/12.json", "man/00000000012.json", "man/18446744073709551615.json"] {
            assert_eq!(ManifestPart::parse(bad), None, "{bad}");
        }
        assert_eq!(ManifestPart::parse("man/0000000000.json"), None);
        assert_eq!(ManifestPart::Header.name(Generation(12)), "man/0000000012.json");
    }
}
