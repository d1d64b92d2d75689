use super::{Failure, Global, Kind, OrFail, Terminal, maintenance, project};
use crate::app::SystemClock;
use crate::model::{ServiceName, Span};
use crate::ports::{Clock, Router};

/// Longer, and it is a key that somebody has forgotten.
const LONGEST: Span = Span::seconds(7 * 86_400);

#[derive(clap::Args)]
pub struct Args {
    service: ServiceName,
    /// How long it is good for; at most seven days
    #[arg(long = "for", default_value = "1h", value_name = "TIME")]
    span: Span,
}

/// Prints a signed cookie that reaches the service's new colour before anybody else does.
pub async fn run(global: &Global, args: &Args) -> Result<(), Failure> {
    let terminal = Terminal::of(global);
    let project = project::configured(global)?;
    let router = maintenance::router(&project)?;
    if args.span > LONGEST {
        return Err(Failure::new(Kind::Usage, "a preview is good for seven days at most"));
    }
    let until = SystemClock.now() + args.span.chrono();
    let value = router.preview_cookie(&args.service, until).await.or_fail(Kind::Host)?;
    let cookie = format!("arkwright-preview={value}");
    if terminal.json {
        return terminal.print_json(&serde_json::json!({ "service": args.service, "cookie": cookie, "until": until }));
    }
    terminal.print(&cookie)
}
