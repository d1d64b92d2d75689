use super::{Failure, Global, Kind};
use crate::app::{self, LoadProjectError, Project, Selection};
use crate::stack::Loaded;

/// The Compose project the arguments and the environment name.
pub fn stack(global: &Global) -> Result<Loaded, Failure> {
    app::load_stack(&selection(global)).map_err(failure)
}

/// The Compose project with its arkwright.yaml; what holds without one where there is none.
pub fn project(global: &Global) -> Result<Project, Failure> {
    let mut project = Project::load(&selection(global)).map_err(failure)?;
    project.logins = global.logins.clone();
    Ok(project)
}

/// The same for verbs that make no sense without an arkwright.yaml.
pub fn configured(global: &Global) -> Result<Project, Failure> {
    project(global)?.with_config().map_err(failure)
}

fn selection(global: &Global) -> Selection {
    Selection {
        files: global.files.clone(),
        project_name: global.project_name.clone(),
        project_directory: global.project_directory.clone(),
        env_files: global.env_file.clone(),
        profiles: global.profile.clone(),
        config: global.config.clone(),
        state: global.state.clone(),
        host: global.host.clone(),
    }
}

fn failure(error: LoadProjectError) -> Failure {
    Failure::new(Kind::Input, error)
}
