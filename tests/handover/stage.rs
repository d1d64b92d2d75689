//! One project on one engine, whose files change.

use std::net::SocketAddr;
use std::process::Command;

use arkwright::app::{Project, Selection};
use arkwright::model::ServiceName;
use arkwright::plan::{Container, TearDown, Wishes};
use arkwright::ports::Engine;
use arkwright::router::{HaProxy, Inside};
use arkwright::run::Progress;

use crate::common::engines;
use crate::lab::Connection;

pub const BACKEND: &str = "localhost/memoryark/backend:1.0.0";
pub const HAPROXY: &str = "localhost/memoryark/haproxy:2.6";
pub const TOKEN: &str = "token-for-tests";
pub const PORT: u16 = 8081;
pub const MORE: u16 = 8082;

pub struct Says;

impl Progress for Says {
    fn say(&self, text: &str) {
        println!("    {text}");
    }
}

pub struct Stage {
    pub folder: tempfile::TempDir,
    pub kind: String,
    pub host: String,
    pub name: String,
    pub published: [u16; 2],
    pub replicas: u32,
}

impl Stage {
    /// One on every engine.
    pub fn all(what: &str, replicas: u32) -> Vec<Stage> {
        let stage = |(kind, host): (&str, String)| Stage {
            folder: tempfile::tempdir().expect("a folder"),
            name: format!("ark{what}{}", std::process::id()),
            published: free_ports(),
            kind: kind.to_lowercase(),
            host,
            replicas,
        };
        engines().into_iter().map(stage).collect()
    }

    pub fn router(&self, project: &Project) -> HaProxy {
        let folders = project.folder().expect("a state folder").host_folders();
        HaProxy::new(folders.router_config, folders.router_run, Inside::container())
    }

    pub async fn down(&self, project: &Project) {
        let site = project.site().await.expect("a site");
        let everything = TearDown {
            volumes: true,
            orphans: true,
        };
        let observed = site.observe().await.expect("observed");
        let plan = site.teardown(observed, everything).await.expect("a plan");
        site.perform(&plan, &Says).await.expect("down");
    }

    pub fn write(&self, more: bool, router: &str) -> Project {
        let service = |name: &str, port: u16, published: u16, networks: &str| {
            format!(
                "  {name}:\n    image: {BACKEND}\n    init: false\n    shm_size: 2gb\n    \
                 deploy: {{ replicas: {} }}\n    \
                 environment: {{ DATABASE_PATH: /dev/shm/memoryark.db, UPLOAD_PATH: /dev/shm/uploads, PORT: \"{port}\", \
                 LINE_SERVICE_API_TOKEN: {TOKEN}, STANDIN_DELAY: 2ms }}\n    \
                 ports: [\"127.0.0.1:{published}:{port}\"]\n    networks: {networks}\n",
                self.replicas
            )
        };
        let released = |name: &str, port: u16| {
            format!(
                "  {name}: {{ release: {{ port: {port}, health: {{ http: /api/health, every: 500ms, healthy_after: 2 }} }} }}\n"
            )
        };
        let mut compose = format!("name: {}\nservices:\n", self.name);
        let mut config = "services:\n".to_owned();
        compose += &service("web", PORT, self.published[0], "[front]");
        config += &released("web", PORT);
        if more {
            compose += &service("api", MORE, self.published[1], "[front, back]");
            config += &released("api", MORE);
        }
        compose += "networks:\n  front: {}\n";
        if more {
            compose += "  back: {}\n";
        }
        config += &format!("router: {{ image: \"{router}\" }}\nstate: ./state\n");
        let at = self.folder.path();
        std::fs::write(at.join("compose.yaml"), compose).expect("written");
        std::fs::write(at.join("arkwright.yaml"), config).expect("written");
        let selection = Selection {
            files: vec![at.join("compose.yaml")],
            host: Some(self.host.clone()),
            ..Selection::default()
        };
        Project::load(&selection).expect("a project")
    }

    /// The changes an `up` makes, made.
    pub async fn up(&self, project: &Project, wishes: Wishes) -> Vec<String> {
        let site = project.site().await.expect("a site");
        let observed = site.observe().await.expect("observed");
        let plan = site.plan(&observed, wishes).await.expect("a plan");
        let words = plan.changes.iter().map(ToString::to_string).collect();
        site.perform(&plan, &Says).await.expect("up");
        words
    }

    /// The same HAProxy under another image id.
    pub fn image(&self, name: &str) -> String {
        let name = format!("localhost/{}-{name}:1", self.name);
        let folder = self.folder.path().join(name.replace(['/', ':'], "-"));
        std::fs::create_dir_all(&folder).expect("a folder");
        let text = format!("FROM {HAPROXY}\nLABEL for.test={name}\n");
        std::fs::write(folder.join("Dockerfile"), text).expect("written");
        self.engine(&["build", "-q", "-t", &name, &folder.display().to_string()]);
        name
    }

    pub fn engine(&self, words: &[&str]) -> String {
        let at = if self.kind == "docker" { "--host" } else { "--url" };
        let output = Command::new(&self.kind).args([at, &self.host]).args(words).output();
        let output = output.expect("the engine's own program");
        assert!(
            output.status.success(),
            "{words:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

pub async fn routers(engine: &dyn Engine, project: &Project) -> Vec<Container> {
    let observed = engine.observe(&project.stack().name).await.expect("observed");
    let mut routers = observed.containers;
    routers.retain(|c| c.name.contains("arkwright-router"));
    routers.sort_by(|a, b| a.name.cmp(&b.name));
    routers
}

pub fn service(name: &str) -> ServiceName {
    name.parse().expect("a name")
}

pub fn free_ports() -> [u16; 2] {
    let [one, two] = [0, 1].map(|_| std::net::TcpListener::bind("127.0.0.1:0").expect("a port"));
    [one, two].map(|listener| listener.local_addr().expect("an address").port())
}

pub async fn answers(at: SocketAddr) -> bool {
    match Connection::open(at).await {
        Ok(mut connection) => matches!(connection.send("GET", "/api/health", "", "").await, Ok((200, _))),
        Err(_) => false,
    }
}
