use super::{Failure, Global, steer};
use crate::model::ServiceName;

#[derive(clap::Args)]
pub struct Args {
    /// The service whose release it is; the only one under way where none is named
    service: Option<ServiceName>,
    /// Why; goes into the records
    #[arg(long)]
    reason: Option<String>,
}

/// Takes a release back that has not ended: all traffic to the colour that served, the new one removed.
pub async fn run(global: &Global, args: &Args) -> Result<(), Failure> {
    steer::abort(global, args.service.as_ref(), args.reason.as_deref()).await
}
