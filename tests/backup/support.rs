//! A project with data, keys and a store in a temporary folder, and what is done with them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arkwright::app::{SystemClock, SystemEntropy};
use arkwright::backup::{BackupStep, Identities, Link, Listing, ServiceImage};
use arkwright::config::Backups;
use arkwright::model::OperationId;
use arkwright::ports::{Sources, Store};
use arkwright::run::backup::{BackupPerformer, BackupScope, Images, plan_backup};
use arkwright::run::keys::{self, KeyFiles};
use arkwright::run::restore::{RestoreError, RestoreOptions, RestoreReport, Selection, restore};
use arkwright::run::snapshots::{self, Trust, Which};
use arkwright::run::verify::{Level, VerifyOptions, VerifyReport, verify};
use arkwright::run::{Ledger, News, Perform, Progress, Receipt, Watch};
use arkwright::source::HostSources;
use arkwright::state::{Catalogue, ProjectFolder};
use arkwright::store::FsStore;
use tokio::sync::mpsc;

pub struct World {
    pub root: tempfile::TempDir,
    pub keys: KeyFiles,
    pub recovery: PathBuf,
    pub backups: Backups,
    pub state: ProjectFolder,
    pub images: Option<Arc<dyn Images>>,
    /// Whether the image is one the Compose file builds.
    pub built: bool,
    pub sources: Arc<dyn Sources>,
}

pub struct Quiet;

impl Watch for Quiet {
    fn hear(&self, _news: News) {}
}

impl Progress for Quiet {
    fn say(&self, _text: &str) {}
}

impl World {
    /// `sources` as in arkwright.yaml: the sources of the set `full`.
    pub fn new(sources: &str) -> Self {
        World::below(&std::env::temp_dir(), sources)
    }

    /// All of it on the file system of that folder.
    pub fn below(folder: &Path, sources: &str) -> Self {
        let root = tempfile::tempdir_in(folder).expect("a folder");
        let state = ProjectFolder::open(&root.path().join("state"), &"ark".parse().expect("a name")).expect("a state");
        let keys = KeyFiles {
            signing: state.key("keys/signing".as_ref()),
            drill: state.key("keys/drill".as_ref()),
        };
        let recovery = root.path().join("recovery");
        let made = keys::make(&keys, Some(&recovery), "ark", &SystemEntropy).expect("keys");
        let text = serde_json::json!({
            "recipients": [made.recipients.recovery, made.recipients.drill],
            "stores": { "local": { "path": "./backups" } },
            "sets": { "full": { "sources": serde_json::from_str::<serde_json::Value>(sources).expect("sources") } },
        });
        fs::create_dir(root.path().join("project")).expect("a project");
        World {
            backups: serde_json::from_value(text).expect("a configuration"),
            root,
            keys,
            recovery,
            state,
            images: None,
            built: true,
            sources: Arc::new(HostSources),
        }
    }

    pub fn project(&self) -> PathBuf {
        self.root.path().join("project")
    }

    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.project().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(&path, content).expect("written");
        path
    }

    pub fn store_path(&self) -> PathBuf {
        self.root.path().join("backups")
    }

    pub fn store(&self) -> Arc<dyn Store> {
        Arc::new(FsStore::create(self.store_path()).expect("a store"))
    }

    pub fn objects(&self) -> Vec<String> {
        let mut names = Vec::new();
        for folder in ["man", "seg"] {
            let Ok(entries) = fs::read_dir(self.store_path().join(folder)) else {
                continue;
            };
            for entry in entries {
                names.push(format!(
                    "{folder}/{}",
                    entry.expect("an entry").file_name().to_string_lossy()
                ));
            }
        }
        names.sort();
        names
    }

    pub fn segments(&self) -> usize {
        self.objects().iter().filter(|name| name.starts_with("seg/")).count()
    }

    pub fn identities(&self) -> Identities {
        keys::identities(&self.keys.drill).expect("an identity")
    }

    pub fn catalogue(&self) -> Catalogue {
        Catalogue::open(&self.state.catalogue(), "local").expect("a catalogue")
    }

    pub fn head(&self) -> Option<Link> {
        self.catalogue().head().expect("read")
    }

    pub fn trust(&self) -> Trust {
        Trust {
            keys: keys::trusted(&self.keys.signing).expect("keys"),
            newest: self.head(),
        }
    }

    pub async fn backup(&self) -> Receipt {
        self.backup_to(self.store()).await
    }

    pub async fn backup_to(&self, store: Arc<dyn Store>) -> Receipt {
        let id = self.begin();
        self.finish(&id, &self.performer(store)).await
    }

    fn ledger(&self) -> Ledger<'_> {
        Ledger {
            folder: &self.state,
            clock: &SystemClock,
            entropy: &SystemEntropy,
        }
    }

    pub fn begin(&self) -> OperationId {
        let scope = BackupScope {
            project: "ark".parse().expect("a name"),
            folder: self.project(),
            state: self.state.root().to_path_buf(),
            stack_files: fs::read_dir(self.project())
                .expect("a project")
                .map(|entry| entry.expect("an entry").path())
                .filter(|path| path.is_file() && path.extension().is_some_and(|e| e == "yaml"))
                .collect(),
            images: match self.images {
                Some(_) => vec![ServiceImage {
                    service: "web".parse().expect("a name"),
                    reference: "ark/web:1".into(),
                    id: None,
                    built: self.built,
                }],
                None => Vec::new(),
            },
            writers: BTreeMap::new(),
        };
        let (subject, plan) = plan_backup(&self.backups, "full", &scope, &SystemEntropy).expect("a set");
        let ledger = self.ledger();
        let id = ledger.new_id();
        ledger.begin(&id, subject, plan, "a test").expect("begun");
        id
    }

    pub fn performer(&self, store: Arc<dyn Store>) -> BackupPerformer {
        BackupPerformer {
            stores: BTreeMap::from([("local".to_owned(), Ok(store))]),
            sources: self.sources.clone(),
            images: self.images.clone(),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            signer: keys::signer(&self.keys.signing).expect("a key"),
            keys: keys::trusted(&self.keys.signing).expect("keys"),
            state: self.state.clone(),
            gatekeeper: None,
        }
    }

    /// From where the journal stands to the end.
    pub async fn finish(&self, id: &OperationId, performer: &dyn Perform<BackupStep>) -> Receipt {
        let (_petition, petitions) = mpsc::channel(1);
        let finished = self.ledger().finish(id, performer, &Quiet, petitions).await;
        let receipt = finished.expect("driven");
        let left = fs::read_dir(self.state.scratch()).expect("scratch").count();
        assert_eq!(left, 0, "the scratch folder is left empty");
        receipt
    }

    pub async fn listing(&self) -> Listing {
        let which = Which::Latest { set: "full".into() };
        let store = self.store();
        let snapshot = snapshots::find(store.as_ref(), &self.trust(), &which)
            .await
            .expect("there");
        let listing = snapshots::listing(store.as_ref(), &snapshot, &self.identities()).await;
        listing.expect("opened")
    }

    pub async fn verify(&self, level: Level) -> VerifyReport {
        self.verify_with(level, &self.identities()).await
    }

    pub async fn verify_with(&self, level: Level, identities: &Identities) -> VerifyReport {
        let options = VerifyOptions::default();
        verify(&self.store(), &self.trust(), identities, level, &options, &Quiet)
            .await
            .expect("a store that can be looked at")
    }

    pub async fn restore(&self, target: &Path, selection: Selection) -> Result<RestoreReport, RestoreError> {
        self.restore_with(target, selection, false).await
    }

    pub async fn restore_with(
        &self,
        target: &Path,
        selection: Selection,
        overwrite: bool,
    ) -> Result<RestoreReport, RestoreError> {
        self.restore_as(target, selection, overwrite, true).await
    }

    pub async fn restore_as(
        &self,
        target: &Path,
        selection: Selection,
        overwrite: bool,
        devices: bool,
    ) -> Result<RestoreReport, RestoreError> {
        let options = RestoreOptions {
            selection,
            target: target.to_path_buf(),
            overwrite,
            devices,
        };
        let which = Which::Latest { set: "full".into() };
        restore(
            &self.store(),
            &self.trust(),
            &self.identities(),
            &which,
            &options,
            &Quiet,
        )
        .await
    }
}

/// Everything below a folder: kind, mode, time, content or target.
pub fn tree(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    collect(folder, folder, &mut found);
    found
}

fn collect(root: &Path, folder: &Path, found: &mut BTreeMap<PathBuf, String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let meta = fs::symlink_metadata(&path).expect("there");
        let what = if meta.is_symlink() {
            format!("link {:?}", fs::read_link(&path).expect("a link"))
        } else if meta.is_dir() {
            collect(root, &path, found);
            "folder".to_owned()
        } else {
            arkwright::model::Digest::of(&fs::read(&path).expect("read")).to_string()
        };
        let mode = meta.permissions().mode();
        let times = (meta.mtime(), meta.mtime_nsec(), meta.uid(), meta.gid());
        found.insert(
            path.strip_prefix(root).expect("below").to_path_buf(),
            format!("{what} {mode:o} {times:?}"),
        );
    }
}
