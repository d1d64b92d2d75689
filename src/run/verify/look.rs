use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use tokio::runtime::Handle;

use crate::backup::{
    Content, Identities, Member, MemberSink, Object, OpenError, SegmentError, SegmentName, SumsLines, Tally,
};
use crate::model::{Digest, chain};
use crate::ports::{Store, StoreError};
use crate::run::blocking::Ticker;
use crate::run::opening::{Opening, read_signed};
use crate::run::snapshots::{Unsigned, as_signed, signed_reader, unread};

/// What one look at a segment told.
pub(super) enum Looked {
    Whole,
    Sealed,
    Damaged(String),
    /// The signed bytes open to something else than the listings say.
    Contradicts(String),
}

/// Reads an object to the end of what was signed, and deeper where that is asked for.
pub(super) fn look(
    store: &Arc<dyn Store>,
    identities: &Identities,
    name: &SegmentName,
    object: &Object,
    deep: bool,
    mut members: Members<'_>,
    handle: &Handle,
) -> Result<Looked, StoreError> {
    let stream = match handle.block_on(store.get(&object.name)) {
        Ok(stream) => stream,
        Err(StoreError::NotFound { .. }) => return Ok(Looked::Damaged("it is missing".into())),
        Err(error) => return Err(error),
    };
    if !deep {
        let signed = as_signed(object, Tally::new(signed_reader(handle, stream, object)));
        return match signed {
            Ok(()) => Ok(Looked::Whole),
            Err(Unsigned::Damaged(why)) => Ok(Looked::Damaged(why)),
            Err(Unsigned::Unread(error)) => Err(unread(&store.describe(), &object.name, error)),
        };
    }
    let Opening { signed, members: read } = read_signed(handle, stream, object, name, identities, &mut members);
    match signed {
        Ok(()) => {}
        Err(Unsigned::Damaged(why)) => return Ok(Looked::Damaged(why)),
        Err(Unsigned::Unread(error)) => return Err(unread(&store.describe(), &object.name, error)),
    }
    Ok(match read {
        Err(SegmentError::Open(OpenError::NoIdentity)) => Looked::Sealed,
        Err(error) => Looked::Damaged(chain(&error)),
        Ok(()) => match (members.wrong, members.expected.into_values().next()) {
            (Some(why), _) => Looked::Contradicts(why),
            (None, Some(missing)) => Looked::Contradicts(format!(
                "it does not hold {} at {}, as a listing says",
                missing.sha256.hex(),
                missing.offset
            )),
            (None, None) if members.found.map(SumsLines::sorted) != members.sums.map(SumsLines::sorted) => {
                Looked::Contradicts("its SHA256SUMS is not what the listing says".into())
            }
            (None, None) => Looked::Whole,
        },
    })
}

/// Compares what lies in a segment with what the listings say; what is found is taken off.
pub(super) struct Members<'a> {
    pub expected: BTreeMap<u64, Content>,
    /// What `SHA256SUMS` should say, where it is to be in this segment and the listing could be read.
    pub sums: Option<SumsLines>,
    /// What it says.
    pub found: Option<SumsLines>,
    pub current: Option<(Member, u64, u64)>,
    pub wrong: Option<String>,
    pub ticker: &'a Ticker,
}

impl MemberSink for Members<'_> {
    fn begin(&mut self, member: Member, offset: u64, size: u64) -> io::Result<()> {
        if member == Member::Sums && self.sums.is_some() {
            self.found = Some(SumsLines::default());
        }
        self.current = Some((member, offset, size));
        Ok(())
    }

    fn content(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let (Some((Member::Sums, ..)), Some(found)) = (&self.current, &mut self.found) {
            found.read(bytes);
        }
        match self.ticker.stopped() {
            true => Err(io::Error::other("it was stopped")),
            false => Ok(()),
        }
    }

    fn end(&mut self, sha256: Digest) -> io::Result<()> {
        let Some((Member::Content(named), offset, size)) = self.current.take() else {
            return Ok(());
        };
        if named != sha256 {
            self.wrong = Some(format!("its member {} has the SHA-256 {}", named.hex(), sha256.hex()));
        }
        if let Some(content) = self.expected.remove(&offset)
            && (content.sha256, content.size) != (sha256, size)
        {
            self.wrong = Some(format!("what lies at {offset} is not {}", content.sha256.hex()));
        }
        Ok(())
    }
}
