//! `config -f FILE… config --format json --show-secrets`: prints a Compose project in full.

use std::io::Write;
use std::process::ExitCode;

use arkwright::stack::{self, LoadRequest};
use arkwright::state::Disk;

fn main() -> ExitCode {
    let mut request = LoadRequest {
        env: std::env::vars().collect(),
        ..LoadRequest::default()
    };
    let (mut yaml, mut show) = (true, false);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "-f" => request.files.extend(args.next().map(Into::into)),
            "-p" => request.project_name = args.next(),
            "--profile" => request.profiles.extend(args.next()),
            "--env-file" => request.env_files.extend(args.next().map(Into::into)),
            "--format" => yaml = args.next().as_deref() != Some("json"),
            "--show-secrets" => show = true,
            _ => {}
        }
    }
    let mut run = || -> Result<String, Box<dyn std::error::Error>> {
        request.current_dir = std::env::current_dir()?;
        let loaded = stack::load(&request, &Disk)?;
        loaded
            .warnings
            .iter()
            .for_each(|warning| eprintln!("warning: {warning}"));
        let tree = if show {
            loaded.tree
        } else {
            stack::redact_tree(&loaded.tree, &loaded.secrets)
        };
        Ok(if yaml {
            stack::render_yaml(&tree)
        } else {
            stack::render_json(&tree) + "\n"
        })
    };
    match run().and_then(|text| Ok(std::io::stdout().write_all(text.as_bytes())?)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
