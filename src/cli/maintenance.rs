use std::collections::BTreeMap;

use serde::Serialize;

use super::{Failure, Global, Kind, OrFail, Terminal, project};
use crate::app::Project;
use crate::model::{ServiceName, Span};
use crate::ports::{Notice, Router};
use crate::router::HaProxy;

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    change: Option<Change>,
}

#[derive(clap::Subcommand)]
enum Change {
    /// New requests are answered 503 with a page; those under way go on, and the preview header or cookie passes through
    On {
        /// All released services where none is named
        services: Vec<ServiceName>,
        /// When clients are told to come back
        #[arg(long, default_value = "5m")]
        retry_after: Span,
    },
    /// Requests are served again
    Off {
        /// All released services where none is named
        services: Vec<ServiceName>,
    },
}

#[derive(Serialize)]
struct Row {
    service: ServiceName,
    maintenance: bool,
    retry_after: Option<Span>,
}

/// Switches the maintenance page at the router, or says where it is on; takes effect at once, and outlives a restart.
pub async fn run(global: &Global, args: &Args) -> Result<(), Failure> {
    let terminal = Terminal::of(global);
    let project = project::configured(global)?;
    let router = router(&project)?;
    match &args.change {
        None => {}
        Some(Change::On { services, retry_after }) => {
            let retry_after = *retry_after;
            for service in named(&project, services)? {
                let notice = Some(Notice { retry_after });
                router.maintenance(&service, notice).await.or_fail(Kind::Host)?;
                terminal.note(&format!(
                    "{service} is under maintenance; `arkwright maintenance off` ends it"
                ));
            }
        }
        Some(Change::Off { services }) => {
            for service in named(&project, services)? {
                router.maintenance(&service, None).await.or_fail(Kind::Host)?;
                terminal.note(&format!("{service} is served again"));
            }
        }
    }
    if args.change.is_some() && !terminal.json {
        return Ok(());
    }
    show(&project, &router, &terminal).await
}

async fn show(project: &Project, router: &HaProxy, terminal: &Terminal) -> Result<(), Failure> {
    let notices = router.in_maintenance().await.or_fail(Kind::Host)?;
    let rows: Vec<Row> = project
        .config
        .services
        .keys()
        .map(|service| Row {
            service: service.clone(),
            maintenance: notices.contains_key(service),
            retry_after: notices.get(service).map(|notice| notice.retry_after),
        })
        .collect();
    if terminal.json {
        return terminal.print_json(&rows);
    }
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let after = row.retry_after.map(|after| after.to_string());
            vec![
                row.service.to_string(),
                if row.maintenance { "on" } else { "off" }.to_owned(),
                after.unwrap_or_default(),
            ]
        })
        .collect();
    terminal.table(&["SERVICE", "MAINTENANCE", "RETRY AFTER"], &cells)
}

/// The router of a project that has one.
pub fn router(project: &Project) -> Result<HaProxy, Failure> {
    project.router().ok_or_else(|| {
        Failure::new(
            Kind::Input,
            "arkwright.yaml releases no service, so no router stands in front of one",
        )
        .hinted("add it under `services:` with its port and health path; `arkwright init` writes an example")
    })
}

fn named(project: &Project, services: &[ServiceName]) -> Result<Vec<ServiceName>, Failure> {
    let released: BTreeMap<_, _> = project.config.routed().collect();
    if let Some(other) = services.iter().find(|service| !released.contains_key(*service)) {
        let names: Vec<&str> = released.keys().map(|name| name.as_str()).collect();
        let what = format!("`{other}` is not released, so the router does not stand in front of it");
        return Err(Failure::new(Kind::Input, what).hinted(format!("released are: {}", names.join(", "))));
    }
    Ok(match services.is_empty() {
        true => released.into_keys().cloned().collect(),
        false => services.to_vec(),
    })
}
