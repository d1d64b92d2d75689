use crate::backup::{PruneStep, PruneSubject, Rules};
use crate::model::OperationId;
use crate::run::{Blame, Host, OperationError, Receipt, keys};
use crate::state::Catalogue;

use super::{PrunePerformer, plan};

impl Host {
    pub(in crate::run) async fn begin_prune(
        &self,
        id: &OperationId,
        store: &str,
        set: Option<&str>,
        by: &str,
    ) -> Result<(), OperationError> {
        let backups = self.backups()?;
        let rules = Rules::of(backups, set, self.config.timezone).map_err(|error| {
            let sets: Vec<&str> = backups.sets.keys().map(String::as_str).collect();
            OperationError::new(Blame::Input, error).hinted(format!("the sets are: {}", sets.join(", ")))
        })?;
        if let Some(reader) = reader(&self.ledger().open(false)?) {
            let what = format!("the {} {} may be reading a snapshot", reader.kind, reader.operation);
            let hint = format!(
                "once it is over run this again; `arkwright resume {}` takes it on",
                reader.operation
            );
            return Err(OperationError::because(Blame::Busy, what).hinted(hint));
        }
        let performer = self.prune_performer(store)?;
        let head = Catalogue::open(&self.folder.catalogue(), store)
            .and_then(|catalogue| catalogue.head())
            .map_err(|e| OperationError::new(Blame::Damaged, e))?;
        let opened = performer.store.clone()?;
        let planned = plan(opened.as_ref(), &performer.keys, head, &self.stack.name, &rules).await;
        let subject = PruneSubject {
            project: self.stack.name.clone(),
            store: store.to_owned(),
            rules,
            wait: backups.prune.wait,
            remove: planned.map_err(OperationError::from)?.remove,
        };
        let plan = subject.plan();
        self.ledger().begin::<PruneStep>(id, subject, plan, by)
    }

    pub(in crate::run) fn prune_performer(&self, store: &str) -> Result<PrunePerformer, OperationError> {
        let signing = self.folder.key(&self.backups()?.keys.signing);
        let opened = self.stores.get(store).ok_or_else(|| {
            OperationError::because(Blame::Input, format!("there is no store `{store}` in arkwright.yaml"))
        })?;
        Ok(PrunePerformer {
            store: opened.clone(),
            clock: self.clock.clone(),
            signer: keys::signer(&signing).map_err(|e| OperationError::new(Blame::Input, e))?,
            keys: keys::trusted(&signing).map_err(|e| OperationError::new(Blame::Input, e))?,
            state: self.folder.clone(),
        })
    }
}

/// What needs the manifest of a snapshot until it is over: that goes at once, where segments wait.
fn reader(open: &[Receipt]) -> Option<&Receipt> {
    open.iter()
        .find(|receipt| matches!(receipt.kind.as_str(), "drill" | "emergency"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_reads_snapshots_is_waited_for_and_nothing_else() {
        let receipt = |kind: &str| {
            serde_json::from_value::<Receipt>(serde_json::json!({
                "operation": "20260102T030405Z-0102ab", "kind": kind, "subject": "x", "outcome": "running",
                "ok": false, "because": null, "by": "a test", "started": "2026-01-02T03:04:05Z",
                "ended": "2026-01-02T03:04:05Z", "lines": [], "detail": null,
            }))
            .expect("a receipt")
        };
        let open = ["release", "backup", "prune"].map(receipt);
        assert_eq!(reader(&open), None);
        for kind in ["drill", "emergency"] {
            let open = [receipt("release"), receipt(kind)];
            assert_eq!(reader(&open), Some(&open[1]));
        }
    }
}
