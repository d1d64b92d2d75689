use super::{Failure, Global, steer};
use crate::journal::Request;
use crate::model::ServiceName;

#[derive(clap::Args)]
pub struct Args {
    /// The service whose release it is; the only one under way where none is named
    service: Option<ServiceName>,
    /// Past every hold, to all traffic
    #[arg(long)]
    full: bool,
}

/// Ends the hold a release stands in, whatever its gates say; recorded with who did it.
pub async fn run(global: &Global, args: &Args) -> Result<(), Failure> {
    let request = match args.full {
        true => Request::PromoteFully,
        false => Request::Promote,
    };
    steer::ask(global, args.service.as_ref(), request, "promoted").await
}
