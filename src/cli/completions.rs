use clap::CommandFactory;
use clap_complete::Shell;

use super::{Failure, Global, Terminal};

#[derive(clap::Args)]
pub struct Args {
    /// The shell to complete for
    shell: Shell,
}

pub fn run<C: CommandFactory>(global: &Global, args: &Args) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut C::command(), "arkwright", &mut script);
    Terminal::of(global).print(String::from_utf8_lossy(&script).trim_end())
}
