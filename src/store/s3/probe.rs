use bytes::Bytes;

use crate::config::S3Create;

use super::Bucket;
use super::fault::{Fault, Kind};

/// Stays in the bucket: the host's role need not be allowed to delete. No object's name, so no list shows it.
const PROBE: &str = ".arkwright/taken-once";

impl Bucket {
    /// Whether the server keeps a name from being taken twice: asked before the first object is created.
    pub(super) async fn takes_names_once(&self) -> Result<(), Fault> {
        if self.config.create == S3Create::LookFirst {
            return Ok(());
        }
        let probe = || async {
            // The first try makes the probe, where no earlier run did.
            for _ in 0..2 {
                let body = Bytes::from_static(b"This name was to be taken once.\n");
                match self.put_if_absent(&self.below(PROBE), body).await {
                    Err(fault) if fault.kind() == Kind::Taken => return Ok(()),
                    Err(fault) if matches!(fault.code(), "NotImplemented" | "InvalidArgument") => return Err(ignored()),
                    Err(fault) => return Err(fault),
                    Ok(()) => {}
                }
            }
            Err(ignored())
        };
        self.probed.get_or_try_init(probe).await.map(|_| ())
    }
}

fn ignored() -> Fault {
    Fault::other(
        "it let a name be taken twice (it ignores `If-None-Match: *`), so two writers could replace each other's \
         snapshots; take a server that does not, or, where this host alone writes there, say `create: look_first`",
    )
}
