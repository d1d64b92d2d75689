use std::path::{Path, PathBuf};

use crate::ports::EngineKind;

/// Where the files of logins are, by the environment of this process.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Places {
    home: Option<PathBuf>,
    docker_config: Option<PathBuf>,
    registry_auth_file: Option<PathBuf>,
    runtime: Option<PathBuf>,
    config: Option<PathBuf>,
    uid: u32,
}

impl Places {
    /// `get` gives a variable of the environment; one that is empty counts as not set.
    pub fn new(get: impl Fn(&str) -> Option<String>, uid: u32) -> Self {
        let path = |name: &str| get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        Places {
            // A service that is started without one is root's.
            home: path("HOME").or_else(|| (uid == 0).then(|| "/root".into())),
            docker_config: path("DOCKER_CONFIG"),
            registry_auth_file: path("REGISTRY_AUTH_FILE"),
            runtime: path("XDG_RUNTIME_DIR"),
            config: path("XDG_CONFIG_HOME"),
            uid,
        }
    }

    /// In the order the engine's own client looks: the first that has a login counts. A file that Podman is told to
    /// use is the only one it uses.
    pub fn files(&self, engine: EngineKind) -> Vec<PathBuf> {
        let below_home = |path: &str| self.home.as_deref().map(|home| home.join(path));
        let docker = match &self.docker_config {
            Some(folder) => Some(folder.join("config.json")),
            None => below_home(".docker/config.json"),
        };
        if engine == EngineKind::Docker {
            return docker.into_iter().collect();
        }
        if let Some(file) = &self.registry_auth_file {
            return vec![file.clone()];
        }
        let below = |folder: &Path| folder.join("containers/auth.json");
        let runtime = match &self.runtime {
            Some(folder) => below(folder),
            None => format!("/run/containers/{}/auth.json", self.uid).into(),
        };
        let config = match &self.config {
            Some(folder) => Some(below(folder)),
            None => below_home(".config/containers/auth.json"),
        };
        [Some(runtime), config, docker].into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(variables: &[(&str, &str)], uid: u32, engine: EngineKind) -> Vec<String> {
        let get = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let files = Places::new(get, uid).files(engine);
        files.iter().map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn the_files_are_those_of_the_engines_own_clients() {
        use EngineKind::{Docker, Podman};
        assert_eq!(files(&[], 0, Docker), ["/root/.docker/config.json"]);
        assert_eq!(files(&[], 1000, Docker), [""; 0]);
        assert_eq!(
            files(&[("HOME", "/h"), ("DOCKER_CONFIG", "/d")], 0, Docker),
            ["/d/config.json"]
        );
        assert_eq!(
            files(&[("HOME", "/h")], 0, Podman),
            [
                "/run/containers/0/auth.json",
                "/h/.config/containers/auth.json",
                "/h/.docker/config.json"
            ]
        );
        assert_eq!(
            files(
                &[
                    ("HOME", "/h"),
                    ("XDG_RUNTIME_DIR", "/run/user/7"),
                    ("XDG_CONFIG_HOME", "/c")
                ],
                7,
                Podman
            ),
            [
                "/run/user/7/containers/auth.json",
                "/c/containers/auth.json",
                "/h/.docker/config.json"
            ]
        );
        assert_eq!(
            files(&[("HOME", "/h"), ("REGISTRY_AUTH_FILE", "/a")], 0, Podman),
            ["/a"]
        );
    }
}
