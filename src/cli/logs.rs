use futures_util::stream::{self, Stream, StreamExt};

use super::{Failure, Global, Kind, OrFail, Terminal, project};
use crate::model::ServiceName;
use crate::plan::{Container, labels};
use crate::ports::ByteStream;

/// A line longer than this is shown in parts.
const LONGEST_LINE: usize = 64 << 10;

#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Of these services alone
    services: Vec<ServiceName>,
    /// Go on as they write more
    #[arg(long)]
    follow: bool,
    /// How many of the newest lines of each
    #[arg(short = 'n', long, default_value_t = 100)]
    tail: usize,
    /// Print secrets instead of `<redacted>`
    #[arg(long)]
    show_secrets: bool,
}

pub async fn run(global: &Global, args: &Args) -> Result<(), Failure> {
    let terminal = Terminal::of(global);
    let project = project::project(global)?;
    let engine = project.engine().await.or_fail(Kind::Engine)?;
    let service = |container: &Container| container.label(labels::SERVICE).unwrap_or_default().to_owned();
    let mut containers = engine
        .observe(&project.stack().name)
        .await
        .or_fail(Kind::Engine)?
        .containers;
    for wanted in &args.services {
        if !containers.iter().any(|container| service(container) == wanted.as_str()) {
            let what = format!("the project has no container of `{wanted}`");
            return Err(Failure::new(Kind::NotFound, what).hinted("`arkwright ps` lists what it has"));
        }
    }
    containers.retain(|c| args.services.is_empty() || args.services.iter().any(|s| s.as_str() == service(c)));
    let width = containers
        .iter()
        .map(|c| c.name.chars().count())
        .max()
        .unwrap_or_default();
    let show = |name: &str, line: &str| {
        let line = match args.show_secrets {
            true => line.to_owned(),
            false => project.loaded.secrets.redact(line),
        };
        if terminal.json {
            let object = serde_json::json!({ "container": name, "line": line });
            terminal.print(&object.to_string())
        } else {
            terminal.print(&format!("{} {line}", terminal.paint("2", &format!("{name:width$} |"))))
        }
    };
    let mut streams = Vec::new();
    for container in &containers {
        let bytes = engine
            .follow_logs(&container.id, args.tail, args.follow)
            .await
            .or_fail(Kind::Engine)?;
        streams.push(lines(container.name.clone(), bytes).boxed());
    }
    let print = async {
        if args.follow {
            let mut all = stream::select_all(streams);
            while let Some((name, line)) = all.next().await {
                show(&name, &line.or_fail(Kind::Engine)?)?;
            }
        } else {
            for mut one in streams {
                while let Some((name, line)) = one.next().await {
                    show(&name, &line.or_fail(Kind::Engine)?)?;
                }
            }
        }
        Ok(())
    };
    tokio::select! {
        result = print => result,
        signal = tokio::signal::ctrl_c() => {
            signal.or_fail(Kind::Host)?;
            Err(Failure::told(Kind::Interrupted))
        }
    }
}

type Line = (String, std::io::Result<String>);

/// Whole lines, without their ends; what is left at the end is one too.
fn lines(name: String, bytes: ByteStream) -> impl Stream<Item = Line> {
    stream::unfold(Some((bytes, Vec::new())), move |state| {
        let name = name.clone();
        async move {
            let (mut bytes, mut kept): (ByteStream, Vec<u8>) = state?;
            loop {
                let end = kept.iter().position(|byte| *byte == b'\n');
                if let Some(at) = end.or((kept.len() > LONGEST_LINE).then_some(LONGEST_LINE)) {
                    let rest = kept.split_off(at + usize::from(end.is_some()));
                    return Some(((name, Ok(text(&kept))), Some((bytes, rest))));
                }
                match bytes.next().await {
                    Some(Ok(more)) => kept.extend_from_slice(&more),
                    Some(Err(error)) => return Some(((name, Err(error)), None)),
                    None if kept.is_empty() => return None,
                    None => return Some(((name, Ok(text(&kept))), None)),
                }
            }
        }
    })
}

fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line).trim_end_matches(['\n', '\r']).to_owned()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[tokio::test]
    async fn chunks_become_lines_and_long_ones_parts() {
        let long = "x".repeat(LONGEST_LINE + 5);
        let chunks = ["a\r\nb", "c\n\nlast ", &long].map(|chunk| Ok(Bytes::copy_from_slice(chunk.as_bytes())));
        let bytes: ByteStream = Box::pin(stream::iter(chunks));
        let read: Vec<Line> = lines("web".into(), bytes).collect().await;
        let texts: Vec<&str> = read.iter().map(|(_, line)| line.as_deref().expect("a line")).collect();
        assert_eq!(texts[..3], ["a", "bc", ""]);
        assert_eq!(texts[3..].concat(), format!("last {long}"));
        assert_eq!(texts.len(), 5);
    }
}
