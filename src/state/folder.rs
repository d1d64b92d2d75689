use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::model::{OperationId, ProjectName};
use crate::plan::desired::HostFolders;

use super::{make_folder, write_atomic};

/// What this binary reads and writes; a newer folder is refused.
const FORMAT: u32 = 1;

/// Everything arkwright keeps of one project, under `state:`.
#[derive(Clone, Debug)]
pub struct ProjectFolder {
    root: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error(
        "the state folder {path} cannot be used; run as root, or set `state:` in arkwright.yaml to a folder you may write"
    )]
    Unusable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(
        "the state folder {path} was written by a newer arkwright (format {found}, this one knows {FORMAT}); upgrade"
    )]
    Newer { path: PathBuf, found: String },
}

impl ProjectFolder {
    /// Its places, for looking only: nothing is made, and nothing need be there.
    pub fn named(state: &Path, project: &ProjectName) -> Self {
        ProjectFolder {
            root: state.join(project.as_str()),
        }
    }

    /// Makes the folder where it is missing.
    pub fn open(state: &Path, project: &ProjectName) -> Result<Self, StateError> {
        let root = state.join(project.as_str());
        let unusable = |source| StateError::Unusable {
            path: root.clone(),
            source,
        };
        make_folder(&root, 0o700).map_err(unusable)?;
        for inner in ["journal", "keys", "files", "scratch", "evidence"] {
            make_folder(&root.join(inner), 0o700).map_err(unusable)?;
        }
        let format = root.join("format");
        match fs::read_to_string(&format) {
            Ok(text) if text.trim() == FORMAT.to_string() => {}
            Ok(text) => {
                return Err(StateError::Newer {
                    path: root,
                    found: text.trim().chars().take(20).collect(),
                });
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                write_atomic(&format, format!("{FORMAT}\n").as_bytes(), 0o600).map_err(unusable)?;
            }
            Err(e) => return Err(unusable(e)),
        }
        Ok(ProjectFolder { root })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// Held while containers and routes are changed, by `up` and `down` or by a release; an agent that has nothing to do
    /// does not keep it.
    pub fn stack_lock(&self) -> PathBuf {
        self.root.join("stack.lock")
    }

    /// Held while a backup is at work: one at a time, or the stores' chains would fork.
    pub fn backup_lock(&self) -> PathBuf {
        self.root.join("backup.lock")
    }

    /// Where temporary copies go; emptied by whoever made them, and by the next run.
    pub fn scratch(&self) -> PathBuf {
        self.root.join("scratch")
    }

    pub fn evidence(&self) -> PathBuf {
        self.root.join("evidence")
    }

    /// A key file named in `backups.keys`: below this folder unless absolute.
    pub fn key(&self, name: &Path) -> PathBuf {
        self.root.join(name)
    }

    pub fn catalogue(&self) -> PathBuf {
        self.root.join("catalogue.db")
    }

    /// Since when nothing refers to an object of a store.
    pub fn marks(&self) -> PathBuf {
        self.root.join("unused.json")
    }

    /// How far verifying has come, a share at a time.
    pub fn rounds(&self) -> PathBuf {
        self.root.join("verified.json")
    }

    /// What may be left of large uploads to a store.
    pub fn uploads(&self, store: &str) -> PathBuf {
        self.root.join("uploads").join(store)
    }

    pub fn last_runs(&self) -> PathBuf {
        self.root.join("schedule.json")
    }

    /// Orders taken and not yet ended, so that a restart forgets none.
    pub fn orders(&self) -> PathBuf {
        self.root.join("orders.json")
    }

    pub(super) fn over_list(&self) -> PathBuf {
        self.root.join("over")
    }

    pub fn journal(&self, kind: &str, id: &OperationId) -> PathBuf {
        self.root.join("journal").join(format!("{id}.{kind}"))
    }

    /// Every operation there is a journal of, oldest first, with its kind.
    pub fn operations(&self) -> io::Result<Vec<(OperationId, String)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(self.root.join("journal"))? {
            let name = entry?.file_name();
            if let Some((id, kind)) = name.to_str().and_then(|name| name.split_once('.'))
                && let Ok(id) = id.parse()
            {
                found.push((id, kind.to_owned()));
            }
        }
        found.sort();
        Ok(found)
    }

    pub fn host_folders(&self) -> HostFolders {
        HostFolders {
            files: self.root.join("files"),
            router_config: self.root.join("router/config"),
            router_run: self.root.join("router/run"),
            standby: self.root.join("standby"),
        }
    }
}
