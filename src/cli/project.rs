use super::{Failure, Global, Kind, OrFail};
use crate::stack::{self, LoadRequest, Loaded};
use crate::state::Disk;

/// Loads the Compose project the arguments and the environment name.
pub fn load(global: &Global) -> Result<Loaded, Failure> {
    let request = LoadRequest {
        files: global.files.clone(),
        project_name: global.project_name.clone(),
        // A variable that is not UTF-8 cannot be written into a Compose file anyway.
        env: std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect(),
        env_files: global.env_file.clone(),
        profiles: global.profile.clone(),
        project_directory: global.project_directory.clone(),
        current_dir: std::env::current_dir().or_fail(Kind::Host)?,
    };
    stack::load(&request, &Disk).or_fail(Kind::Input)
}
