use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::{Deserialize, Serialize};

use crate::ports::EngineInfo;
use crate::state::{ProjectFolder, write_atomic};

/// More than an engine says of itself.
const MOST: u64 = 64 * 1024;

/// What the engine said of itself the last time; Podman takes the best part of a second to say it again.
#[derive(Serialize, Deserialize)]
struct Known {
    /// The arkwright that understood it so.
    version: String,
    /// The start of the host since which it holds: another kernel may carry out other limits.
    boot: String,
    engine: EngineInfo,
}

pub(super) fn read(folder: &ProjectFolder) -> Option<EngineInfo> {
    let file = file(folder);
    if fs::metadata(&file).ok()?.len() > MOST {
        return None;
    }
    let known: Known = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
    (known.version == env!("CARGO_PKG_VERSION") && known.boot == boot().ok()?).then_some(known.engine)
}

/// Kept for the next process; one that cannot be kept is asked again.
pub(super) fn write(folder: &ProjectFolder, engine: &EngineInfo) {
    let kept = boot().and_then(|boot| {
        let known = Known {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            boot,
            engine: engine.clone(),
        };
        let text = serde_json::to_vec(&known).map_err(io::Error::other)?;
        write_atomic(&file(folder), &text, 0o600)
    });
    if let Err(error) = kept {
        tracing::debug!("what the engine says of itself is not kept: {error}");
    }
}

fn file(folder: &ProjectFolder) -> PathBuf {
    folder.root().join("engine.json")
}

fn boot() -> io::Result<String> {
    fs::read_to_string(Path::new("/proc/sys/kernel/random/boot_id")).map(|id| id.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use crate::ports::{Enforces, EngineKind};

    use super::*;

    #[test]
    fn what_is_kept_is_read_again_and_what_is_damaged_or_of_another_program_is_not() {
        let state = tempfile::tempdir().expect("a folder");
        let folder = ProjectFolder::open(state.path(), &"ark".parse().expect("a name")).expect("opened");
        assert_eq!(read(&folder), None);
        let engine = EngineInfo {
            kind: EngineKind::Podman,
            version: "4.3.1".into(),
            api_version: "1.41".into(),
            host: "unix:///run/podman/podman.sock".into(),
            rootless: false,
            architecture: "amd64".into(),
            memory: 1 << 30,
            cpus: 2,
            cgroup_version: "2".into(),
            root_dir: None,
            enforces: Enforces::default(),
            log_drivers: Vec::new(),
        };
        write(&folder, &engine);
        assert_eq!(read(&folder), Some(engine));
        let text = fs::read_to_string(file(&folder)).expect("kept");
        let ours = format!("\"version\":\"{}\"", env!("CARGO_PKG_VERSION"));
        fs::write(file(&folder), text.replacen(&ours, "\"version\":\"0.0.0\"", 1)).expect("written");
        assert_eq!(read(&folder), None, "of another program");
        fs::write(file(&folder), &text[..text.len() / 2]).expect("written");
        assert_eq!(read(&folder), None, "half of it");
    }
}
