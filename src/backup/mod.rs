//! What a snapshot is: names, listing, signed header, segments, and the chain. docs/format.md is the text of it.

mod chain;
mod compress;
mod entry;
mod header;
mod layout;
mod listing;
mod path;
mod seal;
mod segment;
mod sign;
mod steps;
mod sums;
#[cfg(test)]
mod tests;

pub use chain::{Break, walk};
pub use compress::{PROBE_BYTES, coding_for};
pub use entry::{BadEntry, Content, Entry, Meta, Node};
pub use header::{
    BadHeader, FORMAT, Header, ImageRecord, LARGEST_HEADER, Link, Object, Removed, SegmentRecord, Snapshot, Tombstone,
    Totals,
};
pub use layout::{Coding, ManifestPart, NotASegment, SEGMENT_BYTES, SHARED_FILE_BYTES, SegmentName};
pub use listing::{BadListing, Closing, Listing, ListingWriter, Opening, SQLITE, SQLITE_SIDES, SourceRecord};
pub use path::{EntryPath, HOST, IMAGES, NotAPath, SERVICES, STACK, VOLUMES, escape, normal, unescape};
pub use seal::{BadAgeKey, Identities, OpenError, Recipients};
pub use segment::{Member, MemberSink, SUMS, SegmentError, SegmentWriter, Tally, read_segment};
pub use sign::{BadKey, BadSignature, MANIFEST_NAMESPACE, Signer, TrustedKeys};
pub use steps::{BackupOutput, BackupStep, BackupSubject, ServiceImage, Writer};
pub use sums::{SumsLines, sums_line};
