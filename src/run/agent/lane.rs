use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::journal::Request;

use super::super::{Blame, News, OperationError, Petition, Receipt};
use super::operation::Operation;
use super::shared::Shared;

/// The word of a receipt whose operation can go neither forward nor back.
pub(super) const STUCK: &str = "stuck";

const FIRST_PAUSE: Duration = Duration::from_secs(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// Drives the operations of a lane one after the other until none is left.
pub(super) async fn work(shared: Arc<Shared>, lane: &'static str) {
    while let Some(operation) = shared.take_next(lane) {
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = carry(&shared, &operation) => {}
        }
    }
}

async fn carry(shared: &Arc<Shared>, operation: &Arc<Operation>) {
    if !operation.begun()
        && let Err(error) = begin(shared, operation).await
    {
        tracing::error!(operation = %operation.id, "an order was refused: {error}");
        shared.refused(operation, error);
        return;
    }
    let mut petitions = operation.take_petitions();
    let mut pause = FIRST_PAUSE;
    loop {
        let trouble = match finish(shared, operation, petitions).await {
            Ok(receipt) if receipt.outcome != STUCK => {
                shared.ended(operation, receipt);
                return;
            }
            Ok(receipt) => News::Ended(Box::new(receipt)),
            Err(error) => News::Broken(error),
        };
        let stuck = !matches!(&trouble, News::Broken(error) if error.blame != Blame::Stuck);
        operation.close_petitions();
        let mut heard = operation.take_petitions();
        shared.hold(operation, trouble);
        let retry = tokio::select! {
            retry = wanted(&mut heard) => Some(retry),
            () = tokio::time::sleep(pause), if !stuck => None,
        };
        pause = (pause * 2).min(LONGEST_PAUSE);
        petitions = heard;
        match retry {
            Some(retry) if stuck => petitions = first(retry, operation).await,
            Some(retry) => grant(retry),
            None => {}
        }
        shared.let_go(operation);
    }
}

/// The first request to try again, or to give up.
async fn wanted(petitions: &mut mpsc::Receiver<Petition>) -> Petition {
    loop {
        match petitions.recv().await {
            Some(petition) if matches!(petition.request, Request::Retry | Request::GiveUp) => return petition,
            // The agent lets no other through to a held operation.
            Some(other) => tracing::warn!("not while it is held: {:?}", other.request),
            None => return std::future::pending().await,
        }
    }
}

/// A channel that has the petition in it, for the operation to hear when it looks.
async fn first(petition: Petition, operation: &Operation) -> mpsc::Receiver<Petition> {
    operation.close_petitions();
    let receiver = operation.take_petitions();
    if let Some(sender) = operation.petitions()
        && sender.send(petition).await.is_err()
    {
        tracing::warn!(operation = %operation.id, "nobody is left to hear the request to try again");
    }
    receiver
}

fn grant(petition: Petition) {
    if petition.answer.send(Ok(())).is_err() {
        tracing::debug!("whoever asked to try again is gone");
    }
}

async fn begin(shared: &Arc<Shared>, operation: &Arc<Operation>) -> Result<(), OperationError> {
    let (operator, operation) = (shared.operator.clone(), operation.clone());
    guarded(async move {
        let Some(order) = &operation.order else {
            return Err(OperationError::because(
                Blame::Failed,
                "the order is not known any more; give it again",
            ));
        };
        if !operation.lost.is_empty() {
            let registries: Vec<&str> = operation.lost.iter().map(String::as_str).collect();
            return Err(OperationError::because(
                Blame::Failed,
                format!(
                    "the agent was started again while the order waited, and the login for {} that came with it was in \
                     memory only; give the order again",
                    registries.join(", ")
                ),
            ));
        }
        operator
            .begin(&operation.id, order, &operation.by, &operation.logins())
            .await?;
        operation.set_begun(Ok(()));
        Ok(())
    })
    .await
}

async fn finish(
    shared: &Arc<Shared>,
    operation: &Arc<Operation>,
    petitions: mpsc::Receiver<Petition>,
) -> Result<Receipt, OperationError> {
    let (operator, operation) = (shared.operator.clone(), operation.clone());
    guarded(async move { operator.finish(&operation.id, &operation.feed, petitions).await }).await
}

/// A panic is this operation's failure and nobody else's; dropped, the work stops where it stands.
async fn guarded<T: Send + 'static>(
    work: impl Future<Output = Result<T, OperationError>> + Send + 'static,
) -> Result<T, OperationError> {
    match AbortOnDropHandle::new(tokio::spawn(work)).await {
        Ok(result) => result,
        Err(error) => Err(OperationError::because(
            Blame::Failed,
            format!("a defect in arkwright ended the work: {error}; please report it"),
        )),
    }
}
