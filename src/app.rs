//! The one place where edges are built and handed to `run/`.

mod back;
mod backups;
mod checkup;
mod known;
mod living;
mod pinned;
mod pointing;
mod site;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::SystemTime;

use crate::config::{self, Config, ConfigError, StoreConfig, StorePlace};
use crate::engine;
use crate::http::WebClient;
use crate::machine::ThisHost;
use crate::model::{Logins, ServiceName, Timestamp};
use crate::plan::needs;
use crate::ports::{Clock, Engine, EngineError, EngineInfo, Entropy, Given, Router, Store, Web};
use crate::registry::{HostKeyring, Places};
use crate::run::backup::StoresToOpen;
use crate::run::{Blame, Host, OperationError};
use crate::source::{ProjectSources, TreeInspector};
use crate::stack::{self, LoadError, LoadRequest, Loaded, Service};
use crate::state::{Catalogue, Disk, ProjectFolder, StateError};
use crate::store::{FsStore, S3Store};

pub use back::{PutBack, PutBackFailed, Wanted};
pub use backups::{BackupRoom, BackupRoomError, foreign_store};
pub use living::Living;
pub use site::{Site, SiteError};

/// The host's own clock.
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        SystemTime::now().into()
    }
}

/// The kernel's random bytes.
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        // The kernel's generator does not fail once it is seeded, which it is long before this runs.
        getrandom::fill(bytes).expect("the kernel has no random bytes");
    }
}

/// What the command line says about which project is meant.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    pub files: Vec<PathBuf>,
    pub project_name: Option<String>,
    pub project_directory: Option<PathBuf>,
    pub env_files: Vec<PathBuf>,
    pub profiles: Vec<String>,
    pub config: Option<PathBuf>,
    pub state: Option<PathBuf>,
    pub host: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum LoadProjectError {
    #[error(transparent)]
    Stack(#[from] LoadError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("{path} cannot be read")]
    Unreadable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("there is no {0}; `arkwright init` writes one")]
    NoConfig(PathBuf),
    #[error("the current folder cannot be determined")]
    NoFolder(#[source] io::Error),
}

/// What was asked of a service that it cannot do.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    #[error("the Compose file has no service `{name}`; it has {}", .known.join(", "))]
    Unknown { name: String, known: Vec<String> },
    #[error("service `{0}` is switched off by its profiles; add `--profile` with one of them")]
    Off(String),
    #[error("service `{0}` has a `container_name`, which two containers cannot share; remove it to scale the service")]
    Named(ServiceName),
    #[error("service `{0}` cannot have {1} replicas; a service has {most} at most", most = stack::MOST_REPLICAS)]
    TooMany(ServiceName, u32),
    #[error("service `{0}` is released; set `deploy.replicas` in the Compose file, and `arkwright deploy` takes it")]
    Released(ServiceName),
    #[error("service `{0}` is released, and never replaced in place; `arkwright deploy {0}` releases it anew")]
    NotInPlace(ServiceName),
}

/// A Compose project and its arkwright.yaml, read and validated; nothing of the host has been touched.
pub struct Project {
    pub loaded: Loaded,
    pub config: Config,
    /// `None`: there is no arkwright.yaml, and `config` says what holds without one.
    pub config_file: Option<PathBuf>,
    pub selection: Selection,
    /// What pulls are made with before any login of this host.
    pub logins: Logins,
}

impl Project {
    pub fn load(selection: &Selection) -> Result<Self, LoadProjectError> {
        let loaded = load_stack(selection)?;
        let (file, named) = match &selection.config {
            Some(file) => (absolute(file)?, true),
            None => (loaded.stack.folder.join("arkwright.yaml"), false),
        };
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !named => None,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(LoadProjectError::NoConfig(file)),
            Err(source) => return Err(LoadProjectError::Unreadable { path: file, source }),
        };
        let services = loaded
            .stack
            .services
            .keys()
            .chain(loaded.stack.disabled.keys())
            .cloned()
            .collect();
        let mut config = config::load(&file, text.as_deref().unwrap_or("{}"), &services)?;
        if let Some(state) = &selection.state {
            config.state = absolute(state)?;
        } else {
            config.state = config.folder.join(&config.state);
        }
        Ok(Project {
            loaded,
            config,
            config_file: text.map(|_| file),
            selection: selection.clone(),
            logins: Logins::default(),
        })
    }

    /// For verbs that make no sense without an arkwright.yaml.
    pub fn with_config(self) -> Result<Self, LoadProjectError> {
        match self.config_file {
            Some(_) => Ok(self),
            None => Err(LoadProjectError::NoConfig(
                self.loaded.stack.folder.join("arkwright.yaml"),
            )),
        }
    }

    /// Runs another number of replicas than the Compose file says.
    pub fn scale(&mut self, name: &ServiceName, replicas: u32) -> Result<(), ServiceError> {
        self.known(name.as_str())?;
        if self.config.services.contains_key(name) {
            return Err(ServiceError::Released(name.clone()));
        }
        match self.loaded.stack.services.get_mut(name) {
            Some(service) if service.container_name.is_some() && replicas > 1 => Err(ServiceError::Named(name.clone())),
            Some(_) if replicas > stack::MOST_REPLICAS => Err(ServiceError::TooMany(name.clone(), replicas)),
            Some(service) => {
                service.replicas = replicas;
                Ok(())
            }
            None => Err(ServiceError::Off(name.to_string())),
        }
    }

    /// These services, and where asked all they depend on.
    pub fn selected(&self, names: &[String], with_needs: bool) -> Result<BTreeSet<ServiceName>, ServiceError> {
        let mut selected = BTreeSet::new();
        let mut open = names
            .iter()
            .map(|name| self.known(name))
            .collect::<Result<Vec<_>, _>>()?;
        while let Some(service) = open.pop() {
            if selected.insert(service.name.clone()) && with_needs {
                open.extend(
                    needs(service)
                        .iter()
                        .filter_map(|need| self.loaded.stack.services.get(need)),
                );
            }
        }
        Ok(selected)
    }

    /// Services whose containers `up` replaces in place.
    pub fn plain(&self) -> BTreeSet<ServiceName> {
        let plain = |name: &&ServiceName| !self.config.services.contains_key(*name);
        self.loaded.stack.services.keys().filter(plain).cloned().collect()
    }

    /// These services, none of which may be released.
    pub fn replaceable(&self, names: &[String]) -> Result<BTreeSet<ServiceName>, ServiceError> {
        let one = |name: &String| {
            let service = self.known(name)?;
            match self.config.services.contains_key(&service.name) {
                true => Err(ServiceError::NotInPlace(service.name.clone())),
                false => Ok(service.name.clone()),
            }
        };
        names.iter().map(one).collect()
    }

    fn known(&self, name: &str) -> Result<&Service, ServiceError> {
        let stack = &self.loaded.stack;
        match stack.services.get(name) {
            Some(service) => Ok(service),
            None if stack.disabled.contains_key(name) => Err(ServiceError::Off(name.to_owned())),
            None => Err(ServiceError::Unknown {
                name: name.to_owned(),
                known: stack.services.keys().map(ToString::to_string).collect(),
            }),
        }
    }

    pub fn stack(&self) -> &stack::Stack {
        &self.loaded.stack
    }

    pub fn folder(&self) -> Result<ProjectFolder, StateError> {
        ProjectFolder::open(&self.config.state, &self.loaded.stack.name)
    }

    /// Whether anything was ever kept of this project.
    pub fn has_folder(&self) -> bool {
        ProjectFolder::named(&self.config.state, &self.loaded.stack.name)
            .root()
            .exists()
    }

    /// Where the agent of this project is reached.
    pub fn socket(&self) -> PathBuf {
        let usual = || PathBuf::from(format!("/run/arkwright/{}.sock", self.loaded.stack.name));
        self.config.agent.socket.clone().unwrap_or_else(usual)
    }
}

/// The Compose project alone.
pub fn load_stack(selection: &Selection) -> Result<Loaded, LoadProjectError> {
    let request = LoadRequest {
        files: selection.files.clone(),
        project_name: selection.project_name.clone(),
        env: environment(),
        env_files: selection.env_files.clone(),
        profiles: selection.profiles.clone(),
        project_directory: selection.project_directory.clone(),
        current_dir: std::env::current_dir().map_err(LoadProjectError::NoFolder)?,
    };
    Ok(stack::load(&request, &Disk)?)
}

/// The process environment; variables that are not UTF-8 are not Compose's business.
pub fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

fn absolute(path: &Path) -> Result<PathBuf, LoadProjectError> {
    std::path::absolute(path).map_err(LoadProjectError::NoFolder)
}

#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error(transparent)]
    State(#[from] StateError),
    #[error("the path of this program cannot be determined")]
    Program(#[source] io::Error),
}

#[derive(Debug, thiserror::Error)]
#[error("the store `{name}` cannot be used")]
struct StoreUnusable {
    name: String,
    #[source]
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl Project {
    /// The engine of `--host`, of DOCKER_HOST, or the first that answers where they usually listen.
    pub async fn engine(&self) -> Result<Arc<dyn Engine>, EngineError> {
        self.engine_with(Given::of(self.logins.clone())).await
    }

    async fn engine_with(&self, given: Given) -> Result<Arc<dyn Engine>, EngineError> {
        connect(self.selection.host.as_deref(), given).await
    }

    /// The stores of arkwright.yaml by name.
    fn stores(&self, folder: &ProjectFolder) -> Arc<StoresToOpen> {
        let configured = self.config.backups.iter().flat_map(|backups| &backups.stores);
        let configured: Vec<(String, StoreConfig)> = configured
            .map(|(name, config)| (name.clone(), config.clone()))
            .collect();
        let (base, folder) = (self.config.folder.clone(), folder.clone());
        Arc::new(LazyLock::new(Box::new(move || {
            let open = |(name, config): (String, StoreConfig)| {
                let store = open_store(&folder, &base, &name, &config);
                let unusable = |source| StoreUnusable {
                    name: name.clone(),
                    source,
                };
                let store = store.map_err(|source| OperationError::new(Blame::Host, unusable(source)));
                (name, store)
            };
            configured.into_iter().map(open).collect()
        })))
    }

    /// Everything operations are driven through. An engine that does not answer, or a store that cannot be opened,
    /// fails what needs it and nothing else.
    ///
    /// An engine that is still the one it was is not asked again what it is.
    pub async fn host(&self) -> Result<Host, BuildError> {
        let folder = self.folder()?;
        let given = Given::of(self.logins.clone());
        let known = known::read(&folder);
        let engine = connect_near(self.selection.host.as_deref(), given.clone(), known.as_ref()).await;
        if let Ok(engine) = &engine
            && known.as_ref() != Some(engine.info())
        {
            known::write(&folder, engine.info());
        }
        let web: Arc<dyn Web> = Arc::new(WebClient::default());
        let sources = ProjectSources {
            project: self.loaded.stack.name.clone(),
            volumes: self.loaded.stack.volumes.clone(),
            engine: engine.as_ref().map(Arc::clone).map_err(ToString::to_string),
            web: web.clone(),
        };
        Ok(Host {
            stack: self.loaded.stack.clone(),
            secrets: self.loaded.secrets.clone(),
            config: self.config.clone(),
            config_file: self.config_file.clone(),
            engine: engine.map_err(|e| OperationError::new(Blame::Engine, e)),
            given,
            router: self.router().map(|router| Arc::new(router) as Arc<dyn Router>),
            stores: self.stores(&folder),
            folder,
            sources: Arc::new(sources),
            inspector: Arc::new(TreeInspector),
            machine: Arc::new(ThisHost),
            web,
            programs: Arc::new(ThisHost),
            program: program().map_err(BuildError::Program)?,
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            in_release: false,
            notes: Default::default(),
        })
    }
}

/// A folder is made where it is missing, unless this host has published into it before: then its disk is not mounted.
fn open_store(
    folder: &ProjectFolder,
    base: &Path,
    name: &str,
    config: &StoreConfig,
) -> Result<Arc<dyn Store>, Box<dyn std::error::Error + Send + Sync>> {
    let path = match config.place() {
        Some(StorePlace::Folder(path)) => base.join(path),
        Some(StorePlace::Bucket(s3)) => {
            return Ok(Arc::new(S3Store::open(s3.clone(), base, folder.uploads(name))));
        }
        None => return Err("it has neither a `path` nor `s3`".into()),
    };
    let opened = match Catalogue::open(&folder.catalogue(), name)?.head()? {
        Some(_) => FsStore::open(path)?,
        None => FsStore::create(path)?,
    };
    Ok(Arc::new(opened))
}

/// Our own program. One that was replaced while it runs is where it was; the kernel marks its path.
fn program() -> io::Result<PathBuf> {
    let path = std::env::current_exe()?;
    let replaced = path.to_str().and_then(|path| path.strip_suffix(" (deleted)"));
    Ok(replaced.map(PathBuf::from).filter(|path| path.exists()).unwrap_or(path))
}

/// Connects to the engine named, or to the first that answers; it pulls with the logins given and those of this host.
pub async fn connect(host: Option<&str>, given: Given) -> Result<Arc<dyn Engine>, EngineError> {
    connect_near(host, given, None).await
}

/// The same; an engine that is still the one `known` is not asked again what it is.
async fn connect_near(
    host: Option<&str>,
    given: Given,
    known: Option<&EngineInfo>,
) -> Result<Arc<dyn Engine>, EngineError> {
    let environment = environment();
    let named = host
        .map(str::to_owned)
        .or_else(|| environment.get("DOCKER_HOST").filter(|h| !h.is_empty()).cloned());
    let mut usual = vec![
        "unix:///var/run/docker.sock".to_owned(),
        "unix:///run/podman/podman.sock".to_owned(),
    ];
    if let Some(runtime) = environment.get("XDG_RUNTIME_DIR") {
        usual.push(format!("unix://{runtime}/podman/podman.sock"));
    }
    let uid = rustix::process::getuid().as_raw();
    let places = Places::new(|name| environment.get(name).cloned(), uid);
    let again = match known.filter(|known| first_choice(&known.host, named.as_deref(), &usual)) {
        Some(known) => engine::reconnect(known).await,
        None => None,
    };
    let engine = match again {
        Some(engine) => engine,
        None => engine::connect(named.as_deref(), &usual).await?,
    };
    Ok(Arc::new(engine.with_keyring(Arc::new(HostKeyring::new(given, places)))))
}

/// Whether asking all over again would come to this host too: nothing is there where it would be looked for before.
fn first_choice(host: &str, named: Option<&str>, usual: &[String]) -> bool {
    let absent = |host: &String| {
        host.strip_prefix("unix://")
            .is_some_and(|socket| !Path::new(socket).exists())
    };
    match named {
        Some(named) => named == host,
        None => {
            let before = usual.iter().take_while(|usual| *usual != host);
            before.clone().count() < usual.len() && before.into_iter().all(absent)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_known_before_does_not_keep_another_from_being_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = format!("unix://{}/first.sock", folder.path().display());
        let usual = [first.clone(), "unix:///second.sock".into()];
        assert!(first_choice(&usual[1], None, &usual), "nothing is at the first");
        assert!(!first_choice("unix:///third.sock", None, &usual));
        assert!(first_choice("tcp://a:1", Some("tcp://a:1"), &usual));
        assert!(!first_choice(&usual[1], Some(&first), &usual));
        std::fs::write(folder.path().join("first.sock"), "").expect("written");
        assert!(
            !first_choice(&usual[1], None, &usual),
            "something is at the first by now"
        );
        assert!(first_choice(&first, None, &usual));
    }

    #[test]
    fn a_service_has_a_thousand_replicas_at_most() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("compose.yaml");
        std::fs::write(&file, "name: ark\nservices: { web: { image: web } }\n").expect("written");
        let selection = Selection {
            files: vec![file],
            ..Selection::default()
        };
        let mut project = Project::load(&selection).expect("a project");
        let web: ServiceName = "web".parse().expect("a name");
        project.scale(&web, stack::MOST_REPLICAS).expect("scaled");
        let refused = project.scale(&web, stack::MOST_REPLICAS + 1);
        assert!(matches!(refused, Err(ServiceError::TooMany(_, 1001))), "{refused:?}");
        assert_eq!(project.stack().services[&web].replicas, 1000);
    }
}
