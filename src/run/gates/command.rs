use std::path::Path;

use crate::config::Gate;
use crate::model::ServiceName;
use crate::plan::labels;
use crate::ports::{Container, EngineError, Program};
use crate::release::{Look, of_colour};

use super::words::{last_line, number};
use super::{AFTERWARDS, Answer, Looker, Scene};

impl Looker {
    pub(super) async fn of_program(&self, gate: &Gate, run: &[String], folder: &Path, scene: &Scene) -> Answer {
        let environment = [
            ("ARKWRIGHT_PROJECT", scene.project.as_str()),
            ("ARKWRIGHT_SERVICE", scene.service.as_str()),
            ("ARKWRIGHT_COLOUR", scene.colour.as_str()),
        ];
        let program = Program {
            words: run.to_vec(),
            folder: folder.to_path_buf(),
            environment: environment
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            input: Vec::new(),
        };
        let name = run.first().map_or("nothing", String::as_str);
        let ran = self.programs.run(&program).await;
        let ran = ran.map_err(|error| format!("`{name}` could not be run: {error}"))?;
        let code = ran.code.ok_or_else(|| format!("`{name}` was ended by a signal"))?;
        told(gate, i64::from(code), &ran.stdout, &ran.stderr)
    }

    /// In the first running container of the service; of the judged colour where that is the judged service.
    pub(super) async fn of_command_inside(
        &self,
        gate: &Gate,
        run: &[String],
        service: &ServiceName,
        scene: &Scene,
    ) -> Answer {
        let observed = self
            .engine
            .observe(&scene.project)
            .await
            .map_err(|error| error.to_string())?;
        let of_service = |c: &&Container| c.label(labels::SERVICE) == Some(service.as_str());
        let mut candidates: Vec<&Container> = match *service == scene.service {
            true => of_colour(&observed, service, scene.colour),
            false => observed.containers.iter().filter(of_service).collect(),
        };
        candidates.sort_by(|a, b| a.name.cmp(&b.name));
        let container = candidates.into_iter().find(|container| container.running());
        let container = container.ok_or_else(|| format!("no container of {service} runs"))?;
        let (engine, id, run, limit) = (
            self.engine.clone(),
            container.id.clone(),
            run.to_vec(),
            gate.timeout.std(),
        );
        // In a task of its own, which ends the command when its time is up, also when nobody waits here any more.
        let running = tokio::spawn(tokio::time::timeout(limit + AFTERWARDS, async move {
            engine.exec(&id, &run, limit).await
        }));
        match running.await {
            Ok(Ok(Ok(output))) => told(gate, output.exit_code, &output.stdout, &output.stderr),
            Ok(Ok(Err(EngineError::Timeout { .. })) | Err(_)) => Err(format!("no answer within {}", gate.timeout)),
            Ok(Ok(Err(error))) => Err(error.to_string()),
            Err(error) => Err(format!("the command was cut short: {error}")),
        }
    }
}

/// With limits the last line is the figure, of a command that succeeded; without, 0 is yes, 1 is no, and anything else
/// says that the command itself is wrong.
fn told(gate: &Gate, code: i64, stdout: &[u8], stderr: &[u8]) -> Answer {
    let said = || last_line(stdout).or_else(|| last_line(stderr));
    let limits = [gate.max, gate.min, gate.abort_over, gate.abort_under];
    let decides = limits.iter().all(Option::is_none);
    match code {
        0 if decides => Ok(Look::Decided(Ok(()))),
        0 => number(gate, &last_line(stdout).ok_or("it printed nothing")?),
        1 if decides => Ok(Look::Decided(Err(said().unwrap_or_else(|| "it says no".into())))),
        _ => Err(match said() {
            Some(said) => format!("exit code {code}: {said}"),
            None => format!("exit code {code}"),
        }),
    }
}
