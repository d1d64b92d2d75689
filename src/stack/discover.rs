//! Which files make the project, what it is called, and the variables it sees.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::canonical::clean;
use super::error::LoadError;
use super::request::{Files, LoadRequest};

const NAMES: [&str; 4] = [
    "compose.yaml",
    "compose.yml",
    "docker-compose.yml",
    "docker-compose.yaml",
];
const OVERRIDES: [&str; 4] = [
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
];

/// The files asked for, absolute: `-f`, or else `COMPOSE_FILE`, or else by name here and in the folders above.
pub(super) fn compose_files(
    request: &LoadRequest,
    vars: &BTreeMap<String, String>,
    files: &dyn Files,
    warn: &mut dyn FnMut(String),
) -> Result<Vec<PathBuf>, LoadError> {
    let here = |path: &Path| clean(&request.current_dir.join(path));
    if !request.files.is_empty() {
        return Ok(request.files.iter().map(|path| here(path)).collect());
    }
    if let Some(list) = vars.get("COMPOSE_FILE").filter(|list| !list.is_empty()) {
        let separator = vars
            .get("COMPOSE_PATH_SEPARATOR")
            .filter(|text| !text.is_empty())
            .map_or(":", String::as_str);
        return Ok(list.split(separator).map(|path| here(Path::new(path))).collect());
    }
    let start = request
        .project_directory
        .as_deref()
        .map_or_else(|| request.current_dir.clone(), here);
    for folder in start.ancestors() {
        let found: Vec<PathBuf> = NAMES
            .iter()
            .map(|name| folder.join(name))
            .filter(|path| files.exists(path))
            .collect();
        let Some(first) = found.first() else { continue };
        if found.len() > 1 {
            let others: Vec<String> = found[1..].iter().map(|path| path.display().to_string()).collect();
            warn(format!("{} is used; {} is not", first.display(), others.join(", ")));
        }
        let over = OVERRIDES
            .iter()
            .map(|name| folder.join(name))
            .find(|path| files.exists(path));
        return Ok([first.clone()].into_iter().chain(over).collect());
    }
    Err(LoadError::nowhere(
        format!("no Compose file in {} or any folder above it", start.display()),
        "go to the project's folder, or name the file with `-f`; usual names are compose.yaml and docker-compose.yml",
    ))
}

/// `-p`, `COMPOSE_PROJECT_NAME`, the files' own `name:`, or the folder's name; the last two are made to fit.
pub(super) fn project_name(
    request: &LoadRequest,
    vars: &BTreeMap<String, String>,
    written: Option<&str>,
    folder: &Path,
) -> Result<String, LoadError> {
    let asked = request.project_name.as_ref().filter(|name| !name.is_empty());
    let asked = asked.or_else(|| vars.get("COMPOSE_PROJECT_NAME").filter(|name| !name.is_empty()));
    if let Some(name) = asked {
        if fit(name) == *name {
            return Ok(name.clone());
        }
        return Err(LoadError::nowhere(
            format!("`{name}` cannot be a project's name"),
            "use lower-case letters, digits, `-` and `_`, beginning with a letter or digit",
        ));
    }
    let folder = folder
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let name = written
        .map(fit)
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| fit(&folder));
    if name.is_empty() {
        return Err(LoadError::nowhere(
            "the project has no name: the folder's has no letter or digit in it",
            "give one with `-p`, `COMPOSE_PROJECT_NAME` or `name:`",
        ));
    }
    Ok(name)
}

/// Lower case, without what a name cannot hold.
fn fit(name: &str) -> String {
    let kept: String = name
        .to_lowercase()
        .chars()
        .filter(|c| matches!(c, 'a'..='z' | '0'..='9' | '-' | '_'))
        .collect();
    kept.trim_start_matches(['-', '_']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_compose() {
        let name = |asked: Option<&str>, env: Option<&str>, written: Option<&str>, folder: &str| {
            let request = LoadRequest {
                project_name: asked.map(str::to_owned),
                ..LoadRequest::default()
            };
            let vars = env
                .map(|name| ("COMPOSE_PROJECT_NAME".to_owned(), name.to_owned()))
                .into_iter()
                .collect();
            project_name(&request, &vars, written, Path::new(folder)).map_err(|error| error.message().to_owned())
        };
        assert_eq!(name(None, None, Some("My Proj"), "/x/y").as_deref(), Ok("myproj"));
        assert_eq!(name(None, None, None, "/x/_My.App-2").as_deref(), Ok("myapp-2"));
        assert_eq!(name(Some("p"), Some("e"), Some("w"), "/x").as_deref(), Ok("p"));
        assert_eq!(name(None, Some("e"), Some("w"), "/x").as_deref(), Ok("e"));
        assert!(name(Some("Bad Name"), None, None, "/x").is_err());
        assert!(name(None, None, None, "/").is_err());
        assert!(name(None, None, None, "/中文").is_err());
    }
}
