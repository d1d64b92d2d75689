//! One file a verb; here the arguments they share, the dispatch, and how a failure becomes an exit code.

mod abort;
pub mod action;
pub mod agent;
mod backup;
mod check;
mod completions;
mod config;
mod deploy;
mod down;
mod drill;
mod eject;
mod emergency;
mod failure;
mod history;
mod init;
mod key;
mod live;
mod logs;
mod maintenance;
mod owner;
mod pause;
mod plan;
mod preview;
mod probe;
mod project;
mod promote;
mod prune;
mod ps;
mod registry_auth;
mod resume;
mod rollback;
mod schema;
mod stack_view;
mod steer;
mod terminal;
mod up;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::model::Logins;

pub use failure::{Failure, Kind, OrFail};
pub use terminal::Terminal;

const AFTER: &str = "Exit codes: 0 done, 1 ran and failed, 2 usage, 3 input file, 4 engine, 5 host, 6 busy, 7 damaged, \
8 not found, 9 inconclusive, 10 stuck, 11 refused, 130 interrupted.";

#[derive(Parser)]
#[command(name = "arkwright", version, about, after_help = AFTER, max_term_width = 110)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every verb takes.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Options of every command")]
pub struct Global {
    /// Compose file; several are merged in order [default: compose.yaml and its override, as Compose finds them]
    #[arg(short = 'f', long = "file", global = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Project name [default: as Compose: COMPOSE_PROJECT_NAME, `name:`, the folder]
    #[arg(short = 'p', long, global = true, value_name = "NAME")]
    pub project_name: Option<String>,
    /// Where relative paths of the Compose file start [default: the first file's folder]
    #[arg(long, global = true, value_name = "DIR")]
    pub project_directory: Option<PathBuf>,
    /// File of variables for the Compose file [default: .env]
    #[arg(long, global = true, value_name = "FILE")]
    pub env_file: Vec<PathBuf>,
    /// Switch a profile on
    #[arg(long, global = true, value_name = "NAME")]
    pub profile: Vec<String>,
    /// Our own file [default: arkwright.yaml beside the first Compose file]
    #[arg(long, global = true, value_name = "FILE", env = "ARKWRIGHT_CONFIG")]
    pub config: Option<PathBuf>,
    /// Where journal, keys and catalogue are kept [default: `state:` of arkwright.yaml]
    #[arg(long, global = true, value_name = "DIR", env = "ARKWRIGHT_STATE")]
    pub state: Option<PathBuf>,
    /// The engine's socket [default: DOCKER_HOST, else whichever socket answers]
    #[arg(short = 'H', long, global = true, value_name = "unix:///…")]
    pub host: Option<String>,
    /// Print for a program: JSON on standard output, errors as JSON on standard error
    #[arg(long, global = true)]
    pub json: bool,
    /// Say less
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Of `--registry-auth`, once it is read.
    #[arg(skip)]
    pub logins: Logins,
}

#[derive(Subcommand)]
enum Command {
    /// Read a Compose project, write arkwright.yaml and the keys
    Init(init::Args),
    /// Say what is wrong with the configuration or this host, and what to do
    #[command(after_help = check::MEANING)]
    Check(check::Args),
    /// Show what `up` would change, and why
    Plan(plan::Args),
    /// Make the engine have what the Compose file says; a second run changes nothing
    Up(up::Args),
    /// Remove the project's containers and networks
    Down(down::Args),
    /// List the project's containers
    Ps,
    /// Print the containers' logs
    Logs(logs::Args),
    /// Move services to new images: a new colour beside the old, healthy, by weights, the old one kept warm
    Deploy(deploy::Args),
    /// Move a service back to the previous colour
    Rollback(rollback::Args),
    /// Page on, what is there saved, an earlier state of the data in place, a version that worked, proof, page off
    Emergency(emergency::Args),
    /// Let a release stand where it is
    Pause(pause::Args),
    /// End the hold a release stands in, whatever its gates say
    Promote(promote::Args),
    /// Take back a release that has not ended
    Abort(abort::Args),
    /// Answer for services with a page that says when to come back: on, off, or where it is on
    Maintenance(maintenance::Args),
    /// Print a cookie that reaches a service's new colour before anybody else does
    Preview(preview::Args),
    /// Give the project back to plain Compose: released services as plain containers, without the router
    Eject(eject::Args),
    /// Remove images of the project's that nothing needs any more; a list of them without --yes
    Prune(prune::Args),
    /// Print the Compose project after interpolation, merge and normalisation
    Config(config::Args),
    /// Own releases, backups and drills: orders over a socket, schedules, health and metrics
    Agent(agent::Args),
    /// Prove a backup by restoring it: run, list, show, verify
    Drill(drill::Args),
    /// What releases, backups and drills came to
    History(history::Args),
    /// Take what is paused, unfinished or stuck to its end
    Resume(resume::Args),
    /// What a step of actions/* runs: orders from the agent, follows, and tells the workflow
    Action(action::Args),
    /// Take backups, verify and restore them
    Backup(backup::Args),
    /// Make keys
    Key(key::Args),
    /// Print a completion script
    Completions(completions::Args),
    /// Look around from inside a drill's sandbox
    #[command(hide = true)]
    Probe(probe::Args),
    /// Print the JSON Schema of arkwright.yaml
    Schema,
}

/// Runs the command line; the exit code is one of [`Kind`]'s, or 0.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() && std::env::args_os().any(|word| word == "--json") => {
            let text = error.to_string();
            let text = text.trim_start_matches("error: ").trim_end();
            return Failure::new(Kind::Usage, text.to_owned()).report(true);
        }
        Err(error) => error.exit(),
    };
    // Nobody watches an agent: its warnings are for the log of the host.
    let least = match cli.command {
        Command::Agent(_) => LevelFilter::WARN,
        _ => LevelFilter::ERROR,
    };
    let filter = EnvFilter::builder()
        .with_default_directive(least.into())
        .with_env_var("ARKWRIGHT_LOG");
    tracing_subscriber::fmt()
        .with_env_filter(filter.from_env_lossy())
        .with_writer(std::io::stderr)
        .with_ansi(terminal::colourful())
        .init();
    let json = cli.global.json;
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::new(Kind::Host, error).report(json),
    };
    let result = runtime.block_on(dispatch(cli));
    // A blocking read that is still under way must not keep the process.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(json),
    }
}

async fn dispatch(cli: Cli) -> Result<(), Failure> {
    let global = cli.global;
    match cli.command {
        Command::Init(args) => init::run(&global, &args),
        Command::Check(args) => check::run(&global, args).await,
        Command::Plan(args) => plan::run(&global, &args).await,
        Command::Up(args) => up::run(&global, &args).await,
        Command::Down(args) => down::run(&global, args).await,
        Command::Ps => ps::run(&global).await,
        Command::Logs(args) => logs::run(&global, &args).await,
        Command::Deploy(args) => deploy::run(&global, &args).await,
        Command::Rollback(args) => rollback::run(&global, &args).await,
        Command::Emergency(args) => emergency::run(&global, &args).await,
        Command::Pause(args) => pause::run(&global, &args).await,
        Command::Promote(args) => promote::run(&global, &args).await,
        Command::Abort(args) => abort::run(&global, &args).await,
        Command::Maintenance(args) => maintenance::run(&global, &args).await,
        Command::Preview(args) => preview::run(&global, &args).await,
        Command::Eject(args) => eject::run(&global, &args).await,
        Command::Prune(args) => prune::run(&global, &args).await,
        Command::Config(args) => config::run(&global, &args).await,
        Command::Agent(args) => agent::start(&global, &args).await,
        Command::Drill(args) => drill::run(&global, &args).await,
        Command::History(args) => history::run(&global, &args).await,
        Command::Resume(args) => resume::run(&global, &args).await,
        Command::Action(args) => action::run(&args).await,
        Command::Backup(args) => backup::run(&global, &args).await,
        Command::Key(args) => key::run(&global, &args),
        Command::Completions(args) => completions::run::<Cli>(&global, &args),
        Command::Probe(args) => probe::run(args).await,
        Command::Schema => schema::run(&global),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_arguments_do_not_contradict_each_other() {
        super::Cli::command().debug_assert();
    }
}
