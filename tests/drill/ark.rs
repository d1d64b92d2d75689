use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arkwright::app::{Project, Selection, SystemClock, SystemEntropy};
use arkwright::backup::{ServiceImage, TrustedKeys};
use arkwright::drill::{self, Chosen, Evidence, Restored};
use arkwright::machine::ThisHost;
use arkwright::model::OperationId;
use arkwright::ports::{Clock, Engine, Entropy, Store};
use arkwright::run::backup::{BackupPerformer, BackupScope, Images, plan_backup};
use arkwright::run::drill::{DrillPerformer, EvidenceFile, Restorer, StoreRestorer};
use arkwright::run::keys::{self, KeyFiles};
use arkwright::run::snapshots::Trust;
use arkwright::run::{Ledger, News, Progress, Receipt, StepFailed, Watch};
use arkwright::source::{HostSources, TreeInspector};
use arkwright::state::{Catalogue, ProjectFolder};
use arkwright::store::FsStore;
use async_trait::async_trait;
use tokio::sync::mpsc;

pub const PHOTOS: usize = 40;

/// A project with photos, rows that name them, keys, a store, and one backup of it all.
pub struct Ark {
    pub root: tempfile::TempDir,
    pub project: Project,
    pub folder: ProjectFolder,
    pub signing: PathBuf,
    drill_key: PathBuf,
    store: Arc<dyn Store>,
    engine: Option<Arc<dyn Engine>>,
}

pub struct Quiet;

impl Watch for Quiet {
    fn hear(&self, news: News) {
        if let News::Update(update) = news {
            println!("{:?} {}", update.kind, update.text);
        }
    }
}

impl Ark {
    /// `drill`: what a drill boots and checks beside the database.
    pub async fn new(name: &str, compose: &str, drill: &str, engine: Option<Arc<dyn Engine>>) -> Self {
        let root = tempfile::tempdir().expect("a folder");
        let home = root.path().join("ark");
        write(&home.join("compose.yaml"), compose);
        fill(&home);
        let state: ProjectFolder =
            ProjectFolder::open(&home.join("state"), &name.parse().expect("a name")).expect("a state");
        let files = KeyFiles {
            signing: state.key("keys/signing".as_ref()),
            drill: state.key("keys/drill".as_ref()),
        };
        let recovery = root.path().join("recovery");
        let made = keys::make(&files, Some(&recovery), "ark", &SystemEntropy).expect("keys");
        let arkwright = format!(
            "state: ./state
backups:
  recipients: [{}, {}]
  objectives: {{ rto: 10m, rpo: 24h }}
  stores: {{ local: {{ path: ./backups }} }}
  sets:
    full: {{ sources: [{{ sqlite: ./data/memoryark.db, newest: select max(created_at) from files }}, {{ path: ./uploads }}] }}
drills:
  weekly:
    of: full
    boot_within: 60s
    {drill}
",
            made.recipients.recovery, made.recipients.drill
        );
        write(&home.join("arkwright.yaml"), &arkwright);
        let project = Project::load(&Selection {
            files: vec![home.join("compose.yaml")],
            project_name: Some(name.to_owned()),
            ..Selection::default()
        })
        .unwrap_or_else(|error| panic!("{error}"));
        let ark = Ark {
            store: Arc::new(FsStore::create(home.join("backups")).expect("a store")),
            root,
            project,
            folder: state,
            signing: files.signing,
            drill_key: files.drill,
            engine,
        };
        ark.back_up().await;
        ark
    }

    pub fn home(&self) -> PathBuf {
        self.root.path().join("ark")
    }

    pub fn keys(&self) -> TrustedKeys {
        keys::trusted(&self.signing).expect("keys")
    }

    async fn back_up(&self) {
        let stack = self.project.stack();
        let scope = BackupScope {
            project: stack.name.clone(),
            folder: self.project.config.folder.clone(),
            state: self.folder.root().to_path_buf(),
            stack_files: stack.files.clone(),
            images: match self.engine {
                None => Vec::new(),
                Some(_) => stack
                    .services
                    .values()
                    .filter_map(|service| {
                        Some(ServiceImage {
                            service: service.name.clone(),
                            reference: service.image.clone()?,
                            id: None,
                            built: service.build.is_some(),
                        })
                    })
                    .collect(),
            },
            writers: BTreeMap::new(),
        };
        let backups = self.project.config.backups.as_ref().expect("backups");
        let (subject, plan) = plan_backup(backups, "full", &scope, &SystemEntropy).expect("a set");
        let performer = BackupPerformer {
            stores: BTreeMap::from([("local".to_owned(), Ok(self.store.clone()))]),
            sources: Arc::new(HostSources),
            images: self.engine.clone().map(|engine| Arc::new(engine) as Arc<dyn Images>),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            signer: keys::signer(&self.signing).expect("a key"),
            keys: self.keys(),
            state: self.folder.clone(),
            gatekeeper: None,
        };
        let ledger = self.ledger();
        let id = ledger.new_id();
        ledger
            .begin::<arkwright::backup::BackupStep>(&id, subject, plan, "a test")
            .expect("begun");
        let (_petition, petitions) = mpsc::channel(1);
        let receipt = ledger.finish(&id, &performer, &Quiet, petitions).await.expect("driven");
        assert!(receipt.ok, "{receipt:?}");
    }

    fn ledger(&self) -> Ledger<'_> {
        Ledger {
            folder: &self.folder,
            clock: &SystemClock,
            entropy: &SystemEntropy,
        }
    }

    /// Drills once; `damage` is done to the restored tree before anything looks at it.
    pub async fn drill(&self, damage: Option<Damage>) -> (Receipt, Evidence) {
        let (id, performer) = self.begin(damage);
        self.finish(&id, performer).await
    }

    /// Takes a drill to its end; its evidence has to be signed and nothing restored may be left.
    pub async fn finish(&self, id: &OperationId, performer: DrillPerformer) -> (Receipt, Evidence) {
        let (_petition, petitions) = mpsc::channel(1);
        let receipt = self
            .ledger()
            .finish(id, &performer, &Quiet, petitions)
            .await
            .expect("driven");
        for line in &receipt.lines {
            println!("{}: {}", line.label, line.value);
        }
        let left = fs::read_dir(self.folder.scratch()).expect("scratch").count();
        assert_eq!(left, 0, "nothing restored is left behind");
        let file = EvidenceFile::of(&self.folder, id).expect("evidence");
        let evidence = file.checked(&self.keys()).expect("a signature that holds");
        assert_eq!(evidence.outcome.as_str(), receipt.outcome);
        assert!(file.path.with_extension("md").is_file());
        (receipt, evidence)
    }

    pub fn begin(&self, damage: Option<Damage>) -> (OperationId, DrillPerformer) {
        let ledger = self.ledger();
        let id = ledger.new_id();
        let (subject, plan) = drill::plan(
            &id,
            "weekly",
            &self.project.config,
            self.project.stack(),
            SystemClock.now(),
            &mut |bytes| SystemEntropy.fill(bytes),
        )
        .expect("a plan");
        ledger
            .begin::<drill::DrillStep>(&id, subject, plan, "a test")
            .expect("begun");
        let trust = Trust {
            keys: self.keys(),
            newest: Catalogue::open(&self.folder.catalogue(), "local")
                .and_then(|catalogue| catalogue.head())
                .expect("read"),
        };
        let restorer = StoreRestorer {
            store: self.store.clone(),
            trust,
            identities: keys::identities(&self.drill_key).expect("an identity"),
        };
        let performer = DrillPerformer {
            engine: self
                .engine
                .clone()
                .unwrap_or_else(|| Arc::new(crate::idle::IdleEngine::new(None))),
            restorer: Arc::new(Damaging { restorer, damage }),
            inspector: Arc::new(TreeInspector),
            host: Arc::new(ThisHost),
            folder: self.folder.clone(),
            signer: keys::signer(&self.signing).expect("a key"),
            program: PathBuf::from(env!("CARGO_BIN_EXE_arkwright")),
        };
        (id, performer)
    }
}

pub type Damage = fn(&Path);

/// Spoils what another restorer restored.
struct Damaging {
    restorer: StoreRestorer,
    damage: Option<Damage>,
}

#[async_trait]
impl Restorer for Damaging {
    async fn latest(&self, set: &str) -> Result<Chosen, StepFailed> {
        self.restorer.latest(set).await
    }

    async fn restore(&self, chosen: &Chosen, into: &Path, progress: &dyn Progress) -> Result<Restored, StepFailed> {
        let restored = self.restorer.restore(chosen, into, progress).await?;
        if let Some(damage) = self.damage {
            damage(into);
        }
        Ok(restored)
    }
}

fn write(path: &Path, content: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    fs::write(path, content).expect("written");
}

/// Photos, the rows that name them, and owners as the back end wants them.
fn fill(home: &Path) {
    fs::create_dir_all(home.join("data")).expect("made");
    let database = home.join("data/memoryark.db");
    let connection = rusqlite::Connection::open(&database).expect("opened");
    connection
        .execute_batch(
            "create table users (id integer primary key, name text);
             create table files (id integer primary key, name text, path text, sha256 text, size integer, created_at text);
             create unique index files_sha256 on files (sha256);
             insert into users (name) values ('a'), ('b');",
        )
        .expect("made");
    for n in 0..PHOTOS {
        let path = format!("2026/11/{n:03}.jpg");
        write(
            &home.join("uploads").join(&path),
            format!("photo {n} {}", "x".repeat(3000)),
        );
        let now = SystemClock.now().to_rfc3339();
        connection
            .execute(
                "insert into files (name, path, sha256, size, created_at) values (?1, ?2, ?3, 3, ?4)",
                (format!("{n}.jpg"), &path, format!("{n:064}"), now),
            )
            .expect("inserted");
    }
    drop(connection);
    own(home);
}

/// Everything below belongs to uid 1000, whom the back end runs as, where this process may say so.
fn own(path: &Path) {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    chown(path, Some(1000), Some(1000)).expect("owned");
    if path.is_dir() {
        for entry in fs::read_dir(path).expect("a folder") {
            own(&entry.expect("an entry").path());
        }
    }
}
