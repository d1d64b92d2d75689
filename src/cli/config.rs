use clap::ValueEnum;

use super::{Failure, Global, Terminal, project};
use crate::stack::{redact_tree, render_json, render_yaml};

#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// How to print it; JSON leaves `x-` keys out
    #[arg(long, value_enum, default_value_t = Format::Yaml)]
    format: Format,
    /// Print secrets instead of `<redacted>`
    #[arg(long)]
    show_secrets: bool,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq)]
enum Format {
    Yaml,
    Json,
}

/// Prints the project after interpolation, merge and normalisation.
pub fn run(global: &Global, args: &Args) -> Result<(), Failure> {
    let terminal = Terminal::of(global);
    let loaded = project::stack(global)?;
    for warning in &loaded.warnings {
        terminal.warn(&loaded.secrets.redact(&warning.to_string()));
    }
    let tree = if args.show_secrets {
        loaded.tree
    } else {
        redact_tree(&loaded.tree, &loaded.secrets)
    };
    match args.format {
        Format::Yaml if !global.json => terminal.print(render_yaml(&tree).trim_end()),
        _ => terminal.print(&render_json(&tree)),
    }
}
