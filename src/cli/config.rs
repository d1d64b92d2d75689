use clap::ValueEnum;
use serde_json::Value;

use super::{Failure, Global, Kind, OrFail, Terminal, project};
use crate::model::Reference;
use crate::ports::{Engine, EngineError};
use crate::stack::{redact_tree, render_json, render_yaml};

#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// How to print it; JSON leaves `x-` keys out
    #[arg(long, value_enum, default_value_t = Format::Yaml)]
    format: Format,
    /// Print secrets instead of `<redacted>`
    #[arg(long)]
    show_secrets: bool,
    /// Print each image with its digest: this host's, else (Docker only) the registry's
    #[arg(long)]
    resolve_image_digests: bool,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq)]
enum Format {
    Yaml,
    Json,
}

/// Prints the project after interpolation, merge and normalisation.
pub async fn run(global: &Global, args: &Args) -> Result<(), Failure> {
    let terminal = Terminal::of(global);
    let mut loaded = project::stack(global)?;
    if args.resolve_image_digests {
        let engine = project::project(global)?.engine().await.or_fail(Kind::Engine)?;
        resolve(&mut loaded.tree, engine.as_ref()).await?;
    }
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

/// Puts the digest of every service's image beside its name; one that nobody knows is an error, never a guess.
async fn resolve(tree: &mut Value, engine: &dyn Engine) -> Result<(), Failure> {
    let services = tree.get_mut("services").and_then(Value::as_object_mut);
    for (service, described) in services.into_iter().flatten() {
        let Some(Value::String(image)) = described.get_mut("image") else {
            continue;
        };
        let reference: Reference = image.parse().or_fail(Kind::Input)?;
        if reference.digest.is_some() {
            continue;
        }
        let found = engine.image(image).await.or_fail(Kind::Engine)?;
        let here = found.and_then(|found| found.digest_of(&reference).map(str::to_owned));
        let digest = match here {
            Some(digest) => digest,
            None => asked(engine, service, image).await?,
        };
        *image = reference.at(&digest).to_string();
    }
    Ok(())
}

async fn asked(engine: &dyn Engine, service: &str, image: &str) -> Result<String, Failure> {
    let unknown = format!("the digest of {image}, the image of {service}, is not known");
    match engine.registry_digest(image).await {
        Ok(Some(digest)) => Ok(digest),
        Ok(None) => Err(Failure::new(Kind::NotFound, unknown)
            .hinted("the registry has no such image; push it, or correct the name")),
        Err(error @ EngineError::Unsupported { .. }) => Err(Failure::new(Kind::NotFound, unknown)
            .hinted(error.to_string())
            .hinted("an image that was built here and never pushed has none")),
        Err(error) => Err(Failure::new(Kind::Engine, error)),
    }
}
