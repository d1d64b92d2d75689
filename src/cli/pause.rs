use super::{Failure, Global, steer};
use crate::journal::Request;
use crate::model::ServiceName;

#[derive(clap::Args)]
pub struct Args {
    /// The service whose release it is; the only one under way where none is named
    service: Option<ServiceName>,
}

/// The share of traffic stays where it is until `resume`, `promote` or `abort`; gates watch on and can still take it back.
pub async fn run(global: &Global, args: &Args) -> Result<(), Failure> {
    steer::ask(global, args.service.as_ref(), Request::Pause, "paused").await
}
