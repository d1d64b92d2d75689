//! What each kind of release consists of, in order, and what is refused.

mod walk;

use std::collections::BTreeMap;

use super::*;
use crate::config::{self, Config, Gate, GateSource, Metric};
use crate::journal::{Plan, Step};
use crate::model::{Colour, ContainerId, Health, ServiceName, Span};
use crate::plan::desired::{self, HostFolders};
use crate::plan::{Container, ContainerState, Observed, Route, Slot, SlotState, labels};
use crate::stack::{Attachment, Service, Stack};

pub(super) struct Ground {
    stack: Stack,
    config: Config,
    folders: HostFolders,
    service: ServiceName,
    routes: Vec<Route>,
    observed: Observed,
}

/// A gate on the router's error rate that has no limit yet.
pub(super) fn router_gate(name: &str) -> Gate {
    Gate {
        name: name.to_owned(),
        source: GateSource::Router {
            metric: Metric::ErrorRate,
        },
        max: None,
        min: None,
        max_ratio: None,
        abort_over: None,
        abort_under: None,
        min_requests: 20,
        every: Span::seconds(5),
        window: Span::seconds(60),
        failures: 1,
        timeout: Span::seconds(5),
    }
}

/// `web` behind the router, blue serving `web:1`; `more` goes into its `release:`.
pub(super) fn ground(more: &str) -> Ground {
    let service = Service {
        image: Some("web:1".into()),
        networks: [("default".to_owned(), Attachment::default())].into(),
        ..Service::named("web".parse().expect("a name"))
    };
    let stack = Stack {
        name: "p".parse().expect("a name"),
        folder: "/p".into(),
        files: Vec::new(),
        read_files: Vec::new(),
        services: [(service.name.clone(), service.clone())].into(),
        disabled: BTreeMap::new(),
        networks: BTreeMap::new(),
        volumes: BTreeMap::new(),
        secrets: BTreeMap::new(),
        configs: BTreeMap::new(),
    };
    let text = format!(
        "services: {{ web: {{ release: {{ port: 80, health: {{ http: / }}{more} }} }} }}\n\
         backups: {{ recipients: [age1x], stores: {{ s: {{ path: b }} }}, \
         sets: {{ db: {{ sources: [{{ sqlite: ./a/../data.db }}, {{ path: ./up }}] }} }} }}\n"
    );
    let names = stack.services.keys().cloned().collect();
    let slot = |colour, weight| Slot {
        colour,
        addresses: Vec::new(),
        weight,
        state: SlotState::Ready,
    };
    let mut ground = Ground {
        config: config::load(std::path::Path::new("/p/arkwright.yaml"), &text, &names).expect("a configuration"),
        folders: HostFolders {
            files: "/s/f".into(),
            router_config: "/s/c".into(),
            router_run: "/s/r".into(),
            standby: "/s/standby".into(),
        },
        service: service.name,
        routes: vec![Route {
            service: "web".parse().expect("a name"),
            port: 80,
            health_path: "/".into(),
            health_every: crate::model::Span::seconds(1),
            healthy_after: 3,
            replicas: 1,
            slots: [slot(Colour::Blue, 100), slot(Colour::Green, 0)],
            preview: None,
            hold_limit: None,
            sticky: false,
            page: None,
        }],
        observed: Observed::default(),
        stack,
    };
    ground.runs(Colour::Blue, "web:1", true);
    ground
}

impl Ground {
    fn runs(&mut self, colour: Colour, image: &str, running: bool) {
        let service = &self.stack.services[self.service.as_str()];
        let spec = desired::colour(&self.stack, service, colour, 1, image, &self.folders).expect("a specification");
        self.observed.containers.push(Container {
            id: ContainerId::new(spec.name.clone()),
            name: spec.name,
            image: format!("docker.io/library/{image}"),
            image_id: format!("sha256:{image}"),
            state: if running {
                ContainerState::Running
            } else {
                ContainerState::Exited
            },
            exit_code: None,
            health: Health::Unchecked,
            labels: spec.labels,
            created: None,
            started: None,
            networks: BTreeMap::new(),
            ports: Vec::new(),
            restart_count: 0,
            oom_killed: false,
        });
    }

    /// The same service without a router, `web:1` running under its own name.
    fn in_place(&mut self, more: &str) {
        let text = format!("services: {{ web: {{ release: {{ swap: recreate{more} }} }} }}");
        let names = self.stack.services.keys().cloned().collect();
        let path = std::path::Path::new("/p/arkwright.yaml");
        self.config = config::load(path, &text, &names).expect("a configuration");
        self.routes.clear();
        let service = &self.stack.services["web"];
        let spec = desired::recreated(&self.stack, service, 1, "web:1", &self.folders).expect("a specification");
        let container = &mut self.observed.containers[0];
        (container.name, container.labels) = (spec.name, spec.labels);
    }

    pub(super) fn ask(&self) -> Ask<'_> {
        Ask {
            stack: &self.stack,
            config: &self.config,
            folders: &self.folders,
            service: &self.service,
            routes: &self.routes,
            observed: &self.observed,
        }
    }
}

pub(super) fn image(reference: &str) -> Image {
    Image {
        reference: reference.into(),
        id: Some(format!("sha256:{reference}")),
        digest: None,
    }
}

/// The steps as they are said, `|` where the commit point is.
fn said(plan: &Plan<ReleaseStep>) -> String {
    let mut words: Vec<String> = plan.forward.iter().map(ToString::to_string).collect();
    words.insert(plan.commit, "|".into());
    words.push(format!(
        "finally {}",
        plan.finally
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", ")
    ));
    words.join("; ")
}

#[test]
fn side_by_side_goes_by_steps_and_commits_with_the_last_shift() {
    let ground = ground(", steps: [{ weight: 5, hold: 15m }, { weight: 50, hold: 30m }], before: [{ backup: db }]");
    let (subject, plan) = deploy(ground.ask(), image("web:2"), false).expect("a plan");
    assert_eq!(
        said(&plan),
        "check the router; fetch the image; back up db; remove green; create green; start green; \
         show green to the router; wait for green to be healthy; shift 5 % to green; hold at 5 % for 15m 0s; \
         shift 50 % to green; hold at 50 % for 30m 0s; shift 100 % to green; ask green what it runs; |; \
         keep blue warm for 24h 0m; finally read the router's counters"
    );
    assert_eq!((subject.from, subject.to), (Colour::Blue, Colour::Green));
    assert_eq!(
        subject.previous,
        image("web:1"),
        "by its label, not as the engine spells it"
    );
    assert_eq!(
        subject.data,
        [] as [std::path::PathBuf; 0],
        "side by side nothing is put back"
    );
    let (_, straight) = deploy(ground.ask(), image("web:2"), true).expect("a plan");
    assert!(!straight.forward.iter().any(|step| step.wait().is_some()));
    assert!(straight.forward.contains(&ReleaseStep::Backup { set: "db".into() }));
}

#[test]
fn programs_run_before_the_colour_starts_and_before_it_has_traffic() {
    let hooks = |class: &str| {
        format!(
            ", steps: [{{ weight: 5, hold: 15m }}], settle: 10m, before: [{{ run: [./migrate, up], class: {class} }}], \
             after: [{{ run: [./warm], class: reversible, timeout: 1m }}]"
        )
    };
    let overlap = ground(&hooks("expand_contract"));
    let (subject, plan) = deploy(overlap.ask(), image("web:2"), false).expect("a plan");
    assert_eq!(
        said(&plan),
        "check the router; fetch the image; remove green; create green; run ./migrate; start green; \
         show green to the router; wait for green to be healthy; run ./warm; shift 5 % to green; \
         hold at 5 % for 15m 0s; shift 100 % to green; ask green what it runs; settle for 10m 0s; |; \
         keep blue warm for 24h 0m; finally read the router's counters, end ./migrate, end ./warm"
    );
    let hook = &subject.hooks[0];
    assert_eq!(hook.entrypoint.as_deref(), Some(&["./migrate".to_owned()][..]));
    assert_eq!(hook.command.as_deref(), Some(&["up".to_owned()][..]));
    assert!(hook.networks.iter().all(|network| network.aliases.is_empty()));
    assert!(!hook.labels.contains_key(labels::SERVICE), "in nobody's lists");
    let asks = |at: usize| subject.hooks[at].environment.get("ARKWRIGHT_COLOUR_URL").cloned();
    assert_eq!((asks(0), asks(1).as_deref()), (None, Some("http://web-green:80")));

    let (_, plan) = deploy(ground(&hooks("irreversible")).ask(), image("web:2"), false).expect("a plan");
    assert!(
        said(&plan).contains("run ./migrate; |; start green"),
        "past it nothing is taken back: {}",
        said(&plan)
    );
    let (_, cold) = rollback(overlap.ask(), Some(image("web:0")), None).expect("a plan");
    assert!(!said(&cold).contains("./migrate"), "{}", said(&cold));

    let held = ground(", swap: hold, before: [{ backup: db }, { run: [./migrate], class: expand_contract }]");
    let (_, plan) = deploy(held.ask(), image("web:2"), false).expect("a plan");
    assert!(
        said(&plan).contains("copy the data; run ./migrate; start green"),
        "while the gate is closed: {}",
        said(&plan)
    );
}

#[test]
fn the_queue_changes_hands_once_the_new_colour_is_proven() {
    let calls = "background: { pause: { post: /pause }, resume: { run: [./ctl, resume] } }";
    let mut overlap = ground(&format!(", settle: 10m, {calls}"));
    let (subject, plan) = deploy(overlap.ask(), image("web:2"), false).expect("a plan");
    assert!(
        said(&plan).contains("remove green; have green stand by; create green"),
        "{}",
        said(&plan)
    );
    assert!(
        said(&plan).contains(
            "ask green what it runs; settle for 10m 0s; have blue stand by; have green take jobs; |; keep blue warm"
        ),
        "{}",
        said(&plan)
    );
    assert_eq!(subject.background.and_then(|background| background.port), Some(80));
    let green = &subject.containers[0];
    assert_eq!(green.environment["ARKWRIGHT_STANDBY"], "/run/arkwright/standby");
    overlap.runs(Colour::Green, "web:0", true);
    let (_, warm) = rollback(overlap.ask(), None, None).expect("a plan");
    assert_eq!(
        said(&warm),
        "check the router; shift 100 % to green; ask green what it runs; |; have blue stand by; have green take jobs; \
         keep blue warm for 24h 0m; finally read the router's counters",
        "nobody who goes back waits for what a broken one says"
    );
    overlap.observed.containers[1]
        .labels
        .insert(labels::STANDBY.into(), "true".into());
    overlap
        .config
        .services
        .get_mut("web")
        .expect("there")
        .release
        .background = None;
    let (_, cold) = rollback(overlap.ask(), Some(image("web:0")), None).expect("a plan");
    assert!(
        said(&cold).contains("create green"),
        "it would stand by for good: {}",
        said(&cold)
    );

    let (_, held) = deploy(ground(&format!(", swap: hold, {calls}")).ask(), image("web:2"), false).expect("a plan");
    assert!(
        said(&held).contains("|; shift 100 % to green; open the gate; ask green what it runs; have blue stand by"),
        "{}",
        said(&held)
    );
}

#[test]
fn in_place_commits_before_the_new_one_may_be_asked() {
    let mut ground = ground(", swap: hold, before: [{ backup: db }]");
    let (subject, plan) = deploy(ground.ask(), image("web:2"), false).expect("a plan");
    assert_eq!(
        said(&plan),
        "check the router; fetch the image; back up db; remove green; create green; close the gate; \
         let blue finish; stop blue behind the gate; copy the data; start green; show green to the router; \
         wait for green to be healthy; |; shift 100 % to green; open the gate; ask green what it runs; \
         keep blue warm for 24h 0m; finally read the router's counters, drop the copy of the data"
    );
    assert_eq!(subject.data, [std::path::PathBuf::from("/p/a/../data.db")]);
    ground.runs(Colour::Green, "web:0", false);
    let (subject, plan) = rollback(ground.ask(), None, Some("why".into())).expect("a plan");
    assert!(
        !said(&plan).contains("back up") && !said(&plan).contains("create"),
        "{}",
        said(&plan)
    );
    assert!(said(&plan).starts_with("check the router; close the gate; let blue finish"));
    assert_eq!((subject.image, subject.containers), (image("web:0"), Vec::new()));
    assert!(
        describe(&rollback(ground.ask(), None, None).expect("a plan").0.into(), &plan)
            .join("\n")
            .contains("data stays")
    );
}

#[test]
fn without_a_router_one_takes_the_others_place_under_its_name() {
    let mut ground = ground("");
    let hooks =
        "before: [{ run: [./migrate], class: expand_contract }], after: [{ run: [./check], class: reversible }]";
    ground.in_place(&format!(", {hooks}, healthy_for: 3s"));
    let (subject, plan) = deploy(ground.ask(), image("web:2"), false).expect("a plan");
    assert_eq!(
        said(&plan),
        "fetch the image; run ./migrate; take the old version down; put the new version up; \
         wait for the new version to be healthy; run ./check; |; finally end ./migrate, end ./check"
    );
    assert_eq!(subject.containers[0].name, "p-web-1");
    assert_eq!(subject.containers[0].labels[labels::IMAGE], "web:2");
    assert_eq!(subject.replaced[0].labels[labels::IMAGE], "web:1");
    assert!(!subject.containers[0].labels.contains_key(labels::COLOUR));
    assert!(
        subject
            .hooks
            .iter()
            .all(|hook| !hook.environment.contains_key("ARKWRIGHT_COLOUR_URL"))
    );
    assert_eq!(
        (subject.limits.steady, subject.limits.healthy),
        (Span::seconds(3), Span::seconds(600))
    );
    let told = describe(&subject.into(), &plan);
    assert!(
        told[0].contains("web:1") && told[0].ends_with("in its place"),
        "{told:?}"
    );

    assert_eq!(
        deploy(ground.ask(), image("web:1"), false).expect("a plan").1.forward,
        []
    );
    let (_, back) = rollback(ground.ask(), Some(image("web:0")), None).expect("a plan");
    assert!(
        said(&back).starts_with("fetch the image; take the old version down"),
        "{}",
        said(&back)
    );
    assert_eq!(
        rollback(ground.ask(), None, None).err(),
        Some(PlanError::NothingBefore(ground.service.clone()))
    );
    assert_eq!(
        retire(ground.ask()).err(),
        Some(PlanError::NothingWarm(ground.service.clone()))
    );
    let undone: Vec<String> = plan
        .forward
        .iter()
        .rev()
        .filter_map(Step::undo)
        .map(|step| step.to_string())
        .collect();
    assert_eq!(
        undone,
        [
            "end ./check",
            "take the new version down",
            "put the old version up",
            "end ./migrate"
        ]
    );
    ground.observed.containers.clear();
    assert_eq!(
        deploy(ground.ask(), image("web:2"), false).err(),
        Some(PlanError::NotThere(ground.service.clone()))
    );
}

#[test]
fn what_serves_without_a_router_is_its_containers_or_the_journals_to_say() {
    let mut ground = ground("");
    ground.in_place("");
    let past: BTreeMap<_, _> = [(
        ground.service.clone(),
        Past {
            serving: image("web:7"),
            previous: image("web:6"),
            warm: None,
            together: Default::default(),
            background: false,
        },
    )]
    .into();
    let serving = |ground: &Ground, past| {
        super::in_place([&ground.service].into_iter(), &ground.observed, past)["web"]
            .image
            .clone()
    };
    assert_eq!(serving(&ground, &past).as_deref(), Some("web:1"));
    ground.observed.containers.clear();
    assert_eq!(serving(&ground, &past).as_deref(), Some("web:7"));
    assert_eq!(serving(&ground, &BTreeMap::new()), None, "the Compose file's");
}

#[test]
fn going_back_takes_what_is_warm_or_makes_what_was() {
    let mut ground = ground("");
    assert_eq!(
        rollback(ground.ask(), None, None).map(|(_, plan)| said(&plan)),
        Err(PlanError::NothingBefore(ground.service.clone()))
    );
    let (_, cold) = rollback(ground.ask(), Some(image("web:0")), None).expect("a plan");
    assert!(said(&cold).starts_with("check the router; fetch the image; remove green; create green; start green"));
    ground.runs(Colour::Green, "web:0", true);
    let (_, warm) = rollback(ground.ask(), Some(image("web:other")), None).expect("a plan");
    assert_eq!(
        said(&warm),
        "check the router; shift 100 % to green; ask green what it runs; |; \
         keep blue warm for 24h 0m; finally read the router's counters"
    );
    let (subject, gone) = retire(ground.ask()).expect("a plan");
    assert_eq!(
        (said(&gone).as_str(), subject.to),
        ("|; remove green; finally ", Colour::Green)
    );
}

#[test]
fn the_same_image_under_another_name_is_no_change_but_another_specification_is() {
    let mut ground = ground("");
    let same = Image {
        reference: "registry/web:latest".into(),
        ..image("web:1")
    };
    assert_eq!(deploy(ground.ask(), same.clone(), false).expect("a plan").1.forward, []);
    let service = ground.stack.services.get_mut("web").expect("there");
    service.environment.insert("MODE".into(), Some("new".into()));
    assert_ne!(deploy(ground.ask(), same.clone(), false).expect("a plan").1.forward, []);
    ground.stack.services.get_mut("web").expect("there").environment.clear();
    ground.observed.containers[0].state = ContainerState::Exited;
    assert_ne!(
        deploy(ground.ask(), same, false).expect("a plan").1.forward,
        [],
        "what does not run is mended"
    );
}

#[test]
fn what_cannot_be_released_is_refused_with_what_to_do() {
    let says = |change: &dyn Fn(&mut Ground), part: &str| {
        let mut ground = ground("");
        change(&mut ground);
        let refusal = deploy(ground.ask(), image("web:2"), false).expect_err(part).to_string();
        assert!(refusal.contains(part), "{refusal}");
    };
    says(&|g| g.service = "db".parse().expect("a name"), "no service `db`");
    says(&|g| g.config.services.clear(), "is not released");
    says(&|g| g.routes.clear(), "`arkwright up`");
    says(
        &|g| g.observed.containers.clear(),
        "blue, which should serve, is not there",
    );
    says(
        &|g| g.routes[0].slots[1].weight = 5,
        "between two colours (blue 100 %, green 5 %)",
    );
    says(&|g| g.routes[0].port = 81, "another port");
    says(
        &|g| {
            g.stack.services.get_mut("web").expect("there").replicas = 2;
            g.config.services.get_mut("web").expect("there").release.swap = config::Swap::Hold;
        },
        "`replicas: 1`",
    );
}

#[test]
fn which_colour_serves_is_the_routers_to_say_and_its_image_its_containers_or_the_journals() {
    let mut ground = ground("");
    let serving = |ground: &Ground, past| super::serving(&ground.routes, &ground.observed, past)["web"].clone();
    let none = BTreeMap::new();
    assert_eq!(serving(&ground, &none).image.as_deref(), Some("web:1"));
    let past: BTreeMap<_, _> = [(
        ground.service.clone(),
        Past {
            serving: image("web:7"),
            previous: image("web:6"),
            warm: None,
            together: Vec::new(),
            background: false,
        },
    )]
    .into();
    ground.observed.containers.clear();
    assert_eq!(serving(&ground, &past).image.as_deref(), Some("web:7"));
    ground.routes[0].slots[0].weight = 40;
    ground.routes[0].slots[1].weight = 60;
    assert_eq!(serving(&ground, &none).colour, Colour::Green);
}

#[test]
fn a_colour_that_is_stopped_stays_stopped_and_the_kept_name_is_one_a_repository_may_have() {
    let mut ground = ground("");
    ground.stack.services.get_mut("web").expect("there").restart = crate::stack::Restart::Always;
    let (subject, _) = deploy(ground.ask(), image("web:2"), false).expect("a plan");
    assert_eq!(subject.containers[0].restart, crate::stack::Restart::UnlessStopped);
    assert_eq!(subject.containers[0].labels[labels::IMAGE], "web:2");
    let name = keep_repository(&"p_".parse().expect("a name"), &"Web__2.x".parse().expect("a name"));
    assert_eq!(name, "localhost/arkwright-keep/p-web-2-x");
}
