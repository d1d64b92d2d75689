//! What a snapshot is: names, listing, signed header, segments, and the chain. docs/format.md is the text of it.

mod chain;
mod compress;
mod diff;
mod entry;
mod floor;
mod header;
mod keep;
mod kinds;
mod layout;
mod listing;
mod path;
mod prune_step;
mod pruning;
mod seal;
mod segment;
mod share;
mod sign;
mod steps;
mod sums;
#[cfg(test)]
mod tests;
mod traits;

pub use chain::{Break, buried, walk};
pub use compress::{PROBE_BYTES, Probe};
pub use diff::{Aspect, Change, Difference, diff};
pub use entry::{BadEntry, Content, Entry, Meta, Node};
pub use floor::{Shortfall, shortfalls};
pub use header::{
    BadHeader, FORMAT, Header, ImageRecord, LARGEST_HEADER, Link, Object, Removed, SegmentRecord, Snapshot, Tombstone,
    Totals,
};
pub use keep::{Reason, kept};
pub use kinds::Kinds;
pub use layout::{Coding, ManifestPart, NotASegment, SEGMENT_BYTES, SHARED_FILE_BYTES, SegmentName};
pub use listing::{BadListing, Closing, Listing, ListingWriter, Opening, SQLITE, SQLITE_SIDES, SourceRecord};
pub use path::{EntryPath, HOST, IMAGES, NotAPath, STACK, escape, normal, unescape};
pub use prune_step::{PruneOutput, PruneStep, PruneSubject, Swept};
pub use pruning::{Judged, NoSuchSet, Rules, judge, let_go};
pub use seal::{BadAgeKey, Identities, OpenError, Recipients};
pub use segment::{ArchiveWriter, Member, MemberSink, SUMS, Sealer, SegmentError, Tally, read_members, read_segment};
pub use share::{NotAPortion, Portion, Share};
pub use sign::{BadKey, BadSignature, MANIFEST_NAMESPACE, Signer, TrustedKeys};
pub use steps::{BackupOutput, BackupStep, BackupSubject, ServiceImage, Writer};
pub use sums::{SumsLines, sums_line};
pub use traits::{Hole, Traits};
