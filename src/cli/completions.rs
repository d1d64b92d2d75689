use clap::CommandFactory;
use clap_complete::Shell;

use super::Failure;

#[derive(clap::Args)]
pub struct Args {
    /// The shell to complete for
    shell: Shell,
}

pub fn run<C: CommandFactory>(args: &Args) -> Result<(), Failure> {
    clap_complete::generate(args.shell, &mut C::command(), "arkwright", &mut std::io::stdout());
    Ok(())
}
