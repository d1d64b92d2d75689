use super::place::{Place, set_of};
use super::verify::Spoken;
use crate::app::{PutBackFailed, Wanted};
use crate::cli::{Failure, Global, Kind, Terminal};
use crate::model::{ServiceName, Size};
use crate::run::snapshots::Which;
use crate::source::PutBackError;

/// Into the running service instead of a folder.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Running {
    /// One database of PostgreSQL, into the running service it came from
    #[arg(long, value_name = "SERVICE/DATABASE", requires = "name", conflicts_with_all = ["to", "path", "data", "overwrite", "from"])]
    database: Option<String>,
    /// The new name of the database; one that is there is never written to
    #[arg(long = "as", id = "name", value_name = "NAME", requires = "database")]
    name: Option<String>,
    /// The output of a `command`, to the `restore` that arkwright.yaml has for it
    #[arg(long, value_name = "SERVICE/NAME", conflicts_with_all = ["to", "path", "data", "overwrite", "database", "from"])]
    source: Option<String>,
}

pub(super) async fn run(global: &Global, args: &Running, which: &Which, place: &Place) -> Result<(), Failure> {
    let terminal = Terminal::of(global);
    let wanted = match (&args.database, &args.name, &args.source) {
        (Some(database), Some(name), _) => {
            let (service, database) = parts(database)?;
            Wanted::Database {
                service,
                database,
                name: name.clone(),
            }
        }
        (_, _, Some(source)) => {
            let (service, name) = parts(source)?;
            Wanted::Output { service, name }
        }
        _ => return Err(Failure::new(Kind::Usage, "say where to: --to, --database or --source")),
    };
    let reading = place.open(global, set_of(which))?;
    let (Some(opened), Some(project)) = (reading.stores.first(), &reading.project) else {
        return Err(Failure::new(Kind::Input, "there is no store"));
    };
    let done = project
        .put_back(
            &wanted,
            &opened.store,
            &opened.trust,
            &reading.identities,
            which,
            &Spoken(&terminal),
        )
        .await?;
    if terminal.json {
        return terminal.print_json(&done);
    }
    let what = match &wanted {
        Wanted::Database { database, name, .. } => {
            format!("the database {database} is back in {} as {name}", done.service)
        }
        Wanted::Output { name, .. } => format!("{} has taken {name} back", done.service),
    };
    terminal.print(&format!(
        "{} {what}, {}\n  snapshot {}, {}",
        terminal.paint("32", "✓"),
        Size(done.bytes),
        done.generation.0,
        done.path
    ))
}

fn parts(text: &str) -> Result<(ServiceName, String), Failure> {
    let parts = text
        .split_once('/')
        .and_then(|(service, rest)| Some((service.parse().ok()?, rest)));
    match parts {
        Some((service, rest)) if !rest.is_empty() => Ok((service, rest.to_owned())),
        _ => Err(Failure::new(
            Kind::Usage,
            format!("`{text}` is not of the form SERVICE/NAME"),
        )),
    }
}

impl From<PutBackFailed> for Failure {
    fn from(error: PutBackFailed) -> Self {
        let kind = match error {
            PutBackFailed::Restore(error) => return error.into(),
            PutBackFailed::NoCommand { .. } => Kind::Input,
            PutBackFailed::BadName { .. } | PutBackFailed::Back(PutBackError::Name(_)) => Kind::Usage,
            PutBackFailed::Engine(_) | PutBackFailed::Back(PutBackError::Engine(_)) => Kind::Engine,
            PutBackFailed::Scratch(_) | PutBackFailed::State(_) => Kind::Host,
            PutBackFailed::Back(PutBackError::Exists { .. }) => Kind::Refused,
            PutBackFailed::NotOneFile(_) | PutBackFailed::Back(_) => Kind::Failed,
        };
        Failure::new(kind, error)
    }
}
