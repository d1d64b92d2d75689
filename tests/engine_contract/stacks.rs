use std::collections::BTreeMap;
use std::sync::Mutex;

use arkwright::model::{ServiceName, Span};
use arkwright::plan::desired::HostFolders;
use arkwright::plan::{Action, Desired, Plan, TearDown, Wishes, diff, teardown};
use arkwright::ports::{Container, Engine};
use arkwright::run::{Converge, ConvergeError, Patience, Progress, facts};
use arkwright::stack::{
    Attachment, Condition, Dependency, Healthcheck, Mount, Network, Restart, Service, Stack, Volume,
};

use crate::bench::Bench;

/// A project on this bench: its stack, and the folders it has on the host.
pub struct Project<'a> {
    bench: &'a Bench,
    pub stack: Stack,
    pub environment: BTreeMap<String, String>,
    pub folder: tempfile::TempDir,
    pub said: Said,
    pub patience: Patience,
}

#[derive(Default)]
pub struct Said(Mutex<Vec<String>>);

impl Said {
    pub fn lines(&self) -> String {
        self.0.lock().expect("unbroken").join("\n")
    }
}

impl Progress for Said {
    fn say(&self, text: &str) {
        self.0.lock().expect("unbroken").push(text.to_owned());
    }
}

pub fn name(text: &str) -> ServiceName {
    text.parse().expect("a name")
}

pub fn depends(on: &str, condition: Condition) -> BTreeMap<ServiceName, Dependency> {
    let dependency = Dependency {
        condition,
        required: true,
        restart: false,
    };
    [(name(on), dependency)].into()
}

/// One on the default network that runs a shell line and dies at once when told.
pub fn service(bench: &Bench, text: &str, line: &str) -> Service {
    Service {
        image: Some(bench.image.clone()),
        command: Some(["sh", "-c", line].map(str::to_owned).to_vec()),
        networks: [("default".to_owned(), Attachment::default())].into(),
        stop_signal: Some("SIGKILL".into()),
        ..Service::named(name(text))
    }
}

pub fn network(bench: &Bench, key: &str) -> Network {
    Network {
        name: bench.name(key),
        external: false,
        driver: None,
        driver_opts: BTreeMap::new(),
        internal: false,
        attachable: false,
        ipv6: false,
        subnets: Vec::new(),
        labels: BTreeMap::new(),
    }
}

/// The volume `data` at `/data`.
pub fn data() -> Mount {
    Mount::Volume {
        source: Some("data".into()),
        target: "/data".into(),
        read_only: false,
        nocopy: false,
    }
}

impl<'a> Project<'a> {
    /// cache (healthy after a moment) ← migrate (a job that writes) ← web (on two networks, with a volume and a folder).
    pub fn three(bench: &'a Bench) -> Self {
        let mut project = Self::of(bench, []);
        let cache = Service {
            healthcheck: Some(Healthcheck {
                test: vec!["CMD-SHELL".into(), "test -e /tmp/ready".into()],
                interval: Some(Span::millis(500)),
                timeout: None,
                start_period: None,
                start_interval: None,
                retries: Some(20),
            }),
            ..service(bench, "cache", "sleep 1; touch /tmp/ready; sleep 600")
        };
        let data = data();
        let migrate = Service {
            depends_on: depends("cache", Condition::Healthy),
            mounts: vec![data.clone()],
            restart: Restart::No,
            ..service(bench, "migrate", "getent hosts cache && echo migrated >> /data/log")
        };
        let uploads = Mount::Bind {
            source: project.folder.path().join("made/uploads"),
            target: "/uploads".into(),
            read_only: false,
            create_host_path: true,
            propagation: None,
            selinux: None,
        };
        let web = Service {
            depends_on: depends("migrate", Condition::Completed),
            mounts: vec![data, uploads],
            networks: ["default", "back"]
                .map(|key| (key.to_owned(), Attachment::default()))
                .into(),
            ..service(bench, "web", "grep migrated /data/log && sleep 600")
        };
        project.stack.services = [cache, migrate, web].map(|s| (s.name.clone(), s)).into();
        project
    }

    /// Services on the networks `default` and `back`, with the volume `data`.
    pub fn of<const N: usize>(bench: &'a Bench, services: [Service; N]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let volume = Volume {
            name: bench.name("data"),
            external: false,
            driver: None,
            driver_opts: BTreeMap::new(),
            labels: BTreeMap::new(),
        };
        Project {
            bench,
            stack: Stack {
                name: bench.project.clone(),
                folder: folder.path().to_path_buf(),
                files: vec![folder.path().join("compose.yaml")],
                read_files: Vec::new(),
                services: services.map(|s| (s.name.clone(), s)).into(),
                disabled: BTreeMap::new(),
                networks: ["default", "back"]
                    .map(|key| (key.to_owned(), network(bench, key)))
                    .into(),
                volumes: [("data".to_owned(), volume)].into(),
                secrets: BTreeMap::new(),
                configs: BTreeMap::new(),
            },
            environment: BTreeMap::new(),
            folder,
            said: Said::default(),
            patience: Patience::default(),
        }
    }

    pub fn service(&mut self, text: &str) -> &mut Service {
        self.stack.services.get_mut(text).expect("a service")
    }

    pub fn folders(&self) -> HostFolders {
        let inner = |what: &str| self.folder.path().join("state").join(what);
        HostFolders {
            files: inner("files"),
            router_config: inner("router/config"),
            router_run: inner("router/run"),
            standby: inner("standby"),
        }
    }

    pub fn desired(&self) -> Desired {
        Desired::of(&self.stack, None, &BTreeMap::new(), &self.folders()).expect("a desired state")
    }

    pub async fn plan(&self) -> Plan {
        self.plan_with(Wishes::default()).await
    }

    pub async fn plan_with(&self, wishes: Wishes) -> Plan {
        let desired = self.desired();
        let observed = self.bench.engine.observe(&self.bench.project).await.expect("observed");
        let facts = facts(&desired, &self.bench.engine, None, &self.environment)
            .await
            .expect("facts");
        diff(&desired, &observed, &facts, wishes)
    }

    pub async fn perform(&self, plan: &Plan) -> Result<(), ConvergeError> {
        let folders = self.folders();
        let converge = Converge {
            engine: &self.bench.engine,
            router: None,
            folders: &folders,
            environment: &self.environment,
            progress: &self.said,
            patience: self.patience,
        };
        converge.perform(plan).await
    }

    /// What was told of a plan that must fail.
    pub async fn fails(&self, plan: &Plan) -> String {
        let error = self.perform(plan).await.expect_err("it must fail");
        match std::error::Error::source(&error) {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        }
    }

    pub async fn down(&self, what: TearDown) -> Plan {
        let observed = self.bench.engine.observe(&self.bench.project).await.expect("observed");
        let plan = teardown(&self.desired(), &observed, what);
        self.perform(&plan).await.expect("down");
        plan
    }

    pub async fn up(&self) -> Plan {
        let plan = self.plan().await;
        if let Err(error) = self.perform(&plan).await {
            panic!(
                "{error}: {:?}",
                std::error::Error::source(&error).map(ToString::to_string)
            );
        }
        plan
    }

    pub async fn find(&self, service: &str) -> Container {
        let full = format!("{}-{service}-1", self.bench.project);
        self.bench
            .engine
            .container(&full)
            .await
            .expect("an answer")
            .expect("the container")
    }
}

pub fn words(plan: &Plan) -> Vec<String> {
    let short = |change: &arkwright::plan::Change| format!("{} {}", change.action.kind(), change.action.subject());
    plan.changes.iter().map(short).collect()
}

pub async fn a_stack_goes_up_stays_up_and_comes_down(bench: &Bench) {
    let mut project = Project::three(bench);
    project.up().await;
    let said = project.said.lines();
    assert!(said.contains("wait for cache to be healthy"), "{said}");
    let web = project.find("web").await;
    assert_eq!(web.networks.len(), 2);
    assert!(project.folder.path().join("made/uploads").is_dir());
    let cache = project.find("cache").await;

    // Again: nothing to do, and nothing done.
    let writes = bench.engine.writes();
    let again = project.up().await;
    assert_eq!(words(&again), Vec::<String>::new());
    assert_eq!(bench.engine.writes(), writes, "an unchanged stack must cost no write");

    // Someone killed a container.
    bench.engine.stop_container(&web.id, None).await.expect("stopped");
    let plan = project.up().await;
    assert_eq!(words(&plan), [format!("start container {}", web.name)]);
    assert!(project.find("web").await.running());

    // Someone removed one.
    bench.engine.remove_container(&web.id).await.expect("removed");
    project.up().await;
    let web = project.find("web").await;
    assert!(web.running());

    // A changed variable recreates that one alone.
    project
        .service("web")
        .environment
        .insert("COLOUR".into(), Some("red".into()));
    let plan = project.up().await;
    assert_eq!(
        words(&plan),
        [
            format!("recreate container {}", web.name),
            format!("start container {}", web.name)
        ]
    );
    let fresh = project.find("web").await;
    assert_ne!(fresh.id, web.id);
    assert_eq!(bench.sh(&fresh.id, "echo $COLOUR").await, "red\n");
    assert_eq!(project.find("cache").await.id, cache.id);
    assert_eq!(
        bench.sh(&fresh.id, "cat /data/log").await,
        "migrated\n",
        "the job ran once"
    );
    assert_eq!(words(&project.plan().await), Vec::<String>::new());

    // A second replica, and back to one.
    project.service("web").replicas = 2;
    let second = format!("{}-web-2", bench.project);
    assert_eq!(
        words(&project.up().await),
        [
            format!("create container {second}"),
            format!("start container {second}")
        ]
    );
    project.service("web").replicas = 1;
    assert_eq!(words(&project.up().await), [format!("remove container {second}")]);

    let observed = bench.engine.observe(&bench.project).await.expect("observed");
    let kept = teardown(&project.desired(), &observed, TearDown::default());
    project.perform(&kept).await.expect("down");
    let left = bench.engine.observe(&bench.project).await.expect("observed");
    assert_eq!(
        (left.containers.len(), left.networks.len(), left.volumes.len()),
        (0, 0, 1)
    );
    let all = TearDown {
        volumes: true,
        orphans: true,
    };
    project
        .perform(&teardown(&project.desired(), &left, all))
        .await
        .expect("down with volumes");
    assert_eq!(
        bench.engine.observe(&bench.project).await.expect("observed"),
        Default::default()
    );
}

pub async fn a_plan_cut_off_is_finished_by_the_next(bench: &Bench) {
    let project = Project::three(bench);
    let whole = project.plan().await;
    // The first network made by an attempt that then lost its connection: the same plan goes through.
    for change in &whole.changes {
        match &change.action {
            Action::CreateNetwork { spec } => bench.engine.create_network(spec).await.expect("made"),
            Action::CreateVolume { spec } => bench.engine.create_volume(spec).await.expect("made"),
            Action::CreateContainer { spec, .. } => {
                bench.engine.create_container(spec).await.expect("created");
                break;
            }
            _ => {}
        }
    }
    project.perform(&whole).await.expect("the whole plan again");
    assert!(project.find("web").await.running());

    // And one that stopped anywhere is continued by a plan made afresh.
    let other = Project::three(bench);
    for container in bench.engine.observe(&bench.project).await.expect("observed").containers {
        bench.engine.remove_container(&container.id).await.expect("removed");
    }
    let mut cut = other.plan().await;
    cut.changes.truncate(cut.changes.len() / 2);
    other.perform(&cut).await.expect("half of it");
    other.up().await;
    assert!(other.find("web").await.running());
    assert_eq!(words(&other.plan().await), Vec::<String>::new());
}
