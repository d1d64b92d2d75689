//! Whole loads from files in memory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

pub(super) struct Memory(BTreeMap<PathBuf, String>);

impl Files for Memory {
    fn read(&self, path: &Path, limit: usize) -> Result<String, Unread> {
        let text = self.0.get(path).ok_or(Unread::Missing)?;
        if text.len() > limit {
            Err(Unread::TooLarge(limit))
        } else {
            Ok(text.clone())
        }
    }

    fn exists(&self, path: &Path) -> bool {
        self.0.contains_key(path)
    }
}

/// The first line of the error that `text` is refused with, if it points at the last `at` in `text`.
fn refusal(text: &str, at: &str) -> String {
    let before = &text[..text.rfind(at).unwrap_or_else(|| panic!("no {at} in {text}"))];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
    let first = compose(text).first();
    match first.strip_prefix(&format!("compose.yaml:{line}:{column}: ")) {
        Some(message) => message.to_owned(),
        None => panic!("not at `{at}`, {line}:{column}: {first}"),
    }
}

/// A project in `/p/app`; names of files are read against it.
struct Project {
    files: Memory,
    request: LoadRequest,
}

fn project(files: &[(&str, &str)]) -> Project {
    let files = files
        .iter()
        .map(|(name, text)| (Path::new("/p/app").join(name), (*text).to_owned()))
        .collect();
    Project {
        files: Memory(files),
        request: LoadRequest {
            current_dir: "/p/app".into(),
            ..LoadRequest::default()
        },
    }
}

fn compose(text: &str) -> Project {
    project(&[("compose.yaml", text)])
}

impl Project {
    fn env(mut self, name: &str, value: &str) -> Self {
        self.request.env.insert(name.to_owned(), value.to_owned());
        self
    }

    fn with(mut self, change: impl FnOnce(&mut LoadRequest)) -> Self {
        change(&mut self.request);
        self
    }

    fn load(&self) -> Result<Loaded, LoadError> {
        load(&self.request, &self.files)
    }

    fn good(&self) -> Loaded {
        self.load().unwrap_or_else(|error| panic!("{error}"))
    }

    fn tree(&self) -> Value {
        self.good().tree
    }

    fn bad(&self) -> String {
        match self.load() {
            Ok(loaded) => panic!("loaded: {}", loaded.tree),
            Err(error) => error.to_string(),
        }
    }

    /// The first line of the error.
    fn first(&self) -> String {
        self.bad().lines().next().unwrap_or_default().to_owned()
    }
}

#[test]
fn a_yaml_error_shows_its_place() {
    let shown = compose("services:\n  app:\n    image: \"x\n").bad();
    assert!(shown.starts_with("compose.yaml:"), "{shown}");
    assert!(shown.contains("not YAML") && shown.contains("\n  help: "), "{shown}");
    assert_eq!(
        compose("services:\n\tapp:\n\t\timage: a\n").bad(),
        "compose.yaml:2:1: a tab cannot indent YAML\n  |\n2 |  app:\n  | ^\n  help: indent with spaces"
    );
}

#[test]
fn an_unknown_key_is_suggested_a_known_one() {
    assert_eq!(
        compose("services:\n  app:\n    image: a\n    enviroment: {A: 1}\n").bad(),
        "compose.yaml:4:5: unknown key `enviroment` in `services.app`\n  |\n4 |     enviroment: {A: 1}\n  |     ^^^^^^^^^^\n  \
         help: did you mean `environment`?"
    );
}

#[test]
fn a_missing_required_variable_says_what_to_set() {
    assert_eq!(
        compose("services:\n  app:\n    image: a:${TAG:?choose a tag}\n").bad(),
        "compose.yaml:3:12: required variable `TAG` has no value: choose a tag\n  |\n3 |     image: a:${TAG:?choose a tag}\n  |            ^\n  \
         help: set `TAG` in the environment or in `.env`"
    );
    let ours = compose("services: {app: {image: a, user: \"${secrets:file:KEY}\"}}").bad();
    assert!(ours.contains("belongs in arkwright.yaml"), "{ours}");
}

#[test]
fn undefined_names_are_found_where_they_are_used() {
    assert_eq!(
        compose("services:\n  app:\n    image: a\n    networks: [frnt]\nnetworks: {front: {}}\n").bad(),
        "compose.yaml:4:16: service `app` uses the network `frnt`, which is not defined\n  |\n4 |     networks: [frnt]\n  |                ^^^^\n  \
         help: did you mean `front`?"
    );
    for (service, at, message) in [
        (
            "volumes: [data:/d]",
            "data",
            "service `app` uses the volume `data`, which is not defined",
        ),
        (
            "secrets: [tok]",
            "tok",
            "service `app` uses the secret `tok`, which is not defined",
        ),
        (
            "configs: [cfg]",
            "cfg",
            "service `app` uses the config `cfg`, which is not defined",
        ),
        (
            "depends_on: [db]",
            "db",
            "service `app` depends on `db`, which is not defined",
        ),
        (
            "network_mode: 'service:db'",
            "'service",
            "service `app` depends on `db`, which is not defined",
        ),
        (
            "extends: base",
            "base",
            "there is no service `base` in compose.yaml to extend",
        ),
    ] {
        let text = format!("services: {{app: {{image: img, {service}}}}}");
        assert_eq!(refusal(&text, at), message, "{text}");
    }
}

#[test]
fn a_bad_port_is_pointed_at() {
    assert_eq!(
        compose("services:\n  app:\n    image: a\n    ports:\n      - '70000:80'\n").bad(),
        "compose.yaml:5:9: host port `70000` is not a port: they end at 65535\n  |\n5 |       - '70000:80'\n  |         ^^^^^^^^\n  \
         help: choose a port from 1 to 65535"
    );
}

#[test]
fn a_duplicate_key_names_the_other_line() {
    assert_eq!(
        compose("services:\n  app:\n    image: a\n    image: b\n").bad(),
        "compose.yaml:4:5: `image` is given twice\n  |\n4 |     image: b\n  |     ^^^^^\n  \
         help: it is already on line 3; keep one of them"
    );
}

#[test]
fn contradictions_are_errors_with_a_place() {
    for (services, at, message) in [
        (
            "a: {image: a, depends_on: [b]}, b: {image: b, depends_on: [a]}",
            "a]}",
            "services depend on each other in a circle: a → b → a",
        ),
        (
            "a: {image: a, extends: b}, b: {image: b, extends: a}",
            "a}",
            "services extend each other in a circle: a → b → a",
        ),
        (
            "a: {image: a, network_mode: host, networks: [default]}",
            "host",
            "service `a` has both `network_mode` and `networks`",
        ),
        (
            "a: {image: a, mem_limit: 1g, deploy: {resources: {limits: {memory: 2g}}}}",
            "1g",
            "`mem_limit` of `a` and `deploy.resources.limits.memory` differ",
        ),
        (
            "a: {image: a, container_name: cc}, b: {image: b, container_name: cc}",
            "cc}",
            "services `a` and `b` have the same `container_name`",
        ),
        (
            "a: {image: a, container_name: cc, scale: 2}",
            "cc",
            "service `a` has a `container_name` and more than one replica",
        ),
        ("ab: {}", "ab", "service `ab` has neither `image` nor `build`"),
        (
            "a: {image: a, restart: sometimes}",
            "sometimes",
            "`sometimes` is not a restart policy",
        ),
        (
            "a: {image: a, healthcheck: {test: [curl, x]}}",
            "curl",
            "the health check of `a` begins with none of CMD, CMD-SHELL and NONE",
        ),
        (
            "a: {image: a, volumes: [/x], tmpfs: /x}",
            "/x",
            "`/x` of `a` is mounted twice",
        ),
    ] {
        assert_eq!(refusal(&format!("services: {{{services}}}"), at), message, "{services}");
    }
    for (top, at, message) in [
        ("secrets: {sec: {}}", "sec:", "the secret `sec` has no source"),
        (
            "configs: {cfg: {file: x, content: y}}",
            "cfg",
            "the config `cfg` has more than one source",
        ),
        (
            "volumes: {v: {external: true, driver: local}}",
            "driver",
            "the volume `v` is external, so `driver` means nothing",
        ),
        (
            "volumes: {v: {external: {name: x}, name: y}}",
            "{name: x",
            "both `external.name` and `name` are given",
        ),
    ] {
        assert_eq!(refusal(&format!("services: {{a: {{image: a}}}}\n{top}"), at), message);
    }
}

#[test]
fn the_files_are_found_as_compose_finds_them() {
    let found = project(&[
        ("compose.yaml", "services: {app: {image: a}}"),
        ("compose.override.yaml", "services: {app: {image: b}}"),
        ("docker-compose.yml", "services: {other: {image: c}}"),
    ])
    .with(|request| request.current_dir = "/p/app/deep/er".into());
    let loaded = found.good();
    assert_eq!(loaded.tree["services"]["app"]["image"], "b");
    assert_eq!(loaded.stack.folder, Path::new("/p/app"));
    assert_eq!(loaded.stack.files.len(), 2);
    assert!(loaded.warnings[0].message.contains("docker-compose.yml"));

    let listed = project(&[
        ("one.yaml", "name: x\nservices: {app: {image: a}}"),
        ("two.yaml", "services: {app: {user: u}}"),
    ])
    .env("COMPOSE_FILE", "one.yaml:two.yaml");
    assert_eq!(listed.tree()["services"]["app"]["user"], "u");
    assert!(project(&[]).bad().contains("no Compose file in /p/app"));
    assert!(
        project(&[])
            .with(|request| request.files = vec!["no.yaml".into()])
            .bad()
            .contains("cannot read no.yaml")
    );
    assert!(compose("# nothing\n").bad().contains("says nothing"));
    assert_eq!(
        compose("[1]").first(),
        "compose.yaml:1:1: a Compose file is a mapping, not a list"
    );
}

#[test]
fn variables_come_from_the_environment_then_dotenv() {
    let text = "services: {app: {image: 'i:${TAG}', environment: {A: , N: '${COMPOSE_PROJECT_NAME}'}}}";
    let files = [
        ("compose.yaml", text),
        (".env", "TAG=dot\nA=${TAG}-a\nCOMPOSE_PROJECT_NAME=named"),
        ("other.env", "TAG=other"),
    ];
    let tree = project(&files).tree();
    assert_eq!(tree["services"]["app"]["image"], "i:dot");
    assert_eq!(
        tree["services"]["app"]["environment"],
        json!({"A": "dot-a", "N": "named"})
    );
    assert_eq!(
        project(&files).env("TAG", "os").tree()["services"]["app"]["image"],
        "i:os"
    );
    let other = project(&files)
        .with(|request| request.env_files = vec!["other.env".into()])
        .good();
    assert_eq!(other.tree["services"]["app"]["image"], "i:other");
    assert_eq!(other.tree["name"], "app");
    assert_eq!(other.stack.read_files, [Path::new("/p/app/other.env")]);
    let unset = compose("services: {app: {image: 'i${NO}'}}").good();
    assert!(unset.warnings[0].message.contains("`NO` is not set"));
}

#[test]
fn env_files_lie_below_the_environment() {
    let text = "services: {app: {image: a, env_file: [one.env, {path: two.env, required: false}, {path: raw.env, format: raw}], environment: {X: own}}}";
    let files = [
        ("compose.yaml", text),
        ("one.env", "X=one\nY=one\nZ='$lit'"),
        ("two.env", "Y=two\nW=${Y}-${OUT}"),
        ("raw.env", "R='$x' # y"),
    ];
    let tree = project(&files).env("OUT", "o").tree();
    assert_eq!(
        tree["services"]["app"]["environment"],
        json!({"X": "own", "Y": "two", "W": "two-o", "Z": "$lit", "R": "'$x' # y"})
    );
    assert_eq!(
        project(&[files[0], files[1], files[3]]).tree()["services"]["app"]["environment"]["Y"],
        "one"
    );
    assert!(project(&[files[0]]).first().contains("/p/app/one.env does not exist"));
    let fault = project(&[
        ("compose.yaml", "services: {a: {image: a, env_file: x.env}}"),
        ("x.env", "A=1\nB?=2"),
    ])
    .first();
    assert_eq!(fault, "x.env:2:2: `?` cannot be part of a variable's name");
}

#[test]
fn services_extend_services_of_other_files() {
    let files = [
        (
            "compose.yaml",
            "services: {app: {extends: {file: sub/base.yaml, service: mid}, environment: {B: 2}, ports: !override ['81:81']}}",
        ),
        (
            "sub/base.yaml",
            "services: {mid: {extends: low, volumes: ['./m:/m']}, low: {image: low, environment: [A=1, B=1], ports: ['80:80'], env_file: low.env}, unused: {nonsense: 1}}",
        ),
        ("sub/low.env", "E=env"),
    ];
    let app = &project(&files).tree()["services"]["app"];
    assert_eq!(app["image"], "low");
    assert_eq!(app["environment"], json!({"A": "1", "B": "2", "E": "env"}));
    assert_eq!(app["volumes"][0]["source"], "/p/app/sub/m");
    assert_eq!(
        app["ports"],
        json!([{"target": 81, "published": "81", "protocol": "tcp", "mode": "ingress"}])
    );
    let gone = compose("services: {app: {extends: {file: no.yaml, service: x}}}").first();
    assert_eq!(gone, "compose.yaml:1:34: cannot read no.yaml: there is no such file");
}

#[test]
fn included_files_join_in() {
    let files = [
        (
            "compose.yaml",
            "include: [sub/compose.yaml]\nservices: {app: {image: a, depends_on: [db]}}",
        ),
        (
            "sub/compose.yaml",
            "services: {db: {image: 'db:${V}', volumes: ['./d:/d', data:/x]}}\nvolumes: {data: {}}",
        ),
        ("sub/.env", "V=7"),
    ];
    let tree = project(&files).tree();
    assert_eq!(tree["services"]["db"]["image"], "db:7");
    assert_eq!(tree["services"]["db"]["volumes"][0]["source"], "/p/app/sub/d");
    assert_eq!(tree["volumes"]["data"]["name"], "app_data");
    let clash = [files[0], ("sub/compose.yaml", "services: {app: {image: b}}")];
    assert!(
        project(&clash)
            .first()
            .contains("`services.app` is defined here and, differently, in an included file")
    );
    let circle = [("compose.yaml", "include: [compose.yaml]\nservices: {a: {image: a}}")];
    assert!(project(&circle).first().contains("includes itself"));
}

#[test]
fn profiles_turn_services_on() {
    let text = "services: {app: {image: a}, dbg: {image: d, profiles: [debug], env_file: no.env, depends_on: [tool]}, tool: {image: t, profiles: [tools]}}";
    let off = compose(text).good();
    assert_eq!(off.stack.services.len(), 1);
    assert_eq!(off.stack.disabled.len(), 2);
    assert!(off.tree["services"].get("dbg").is_none());
    let first = compose("services: {app: {image: a, depends_on: [dbg]}, dbg: {image: d, profiles: [debug]}}").first();
    assert_eq!(
        first,
        "compose.yaml:1:41: service `app` depends on `dbg`, which is off: its profiles are debug"
    );
    let optional = "services: {app: {image: a, depends_on: {dbg: {condition: service_started, required: false}}}, dbg: {image: d, profiles: [debug]}}";
    assert_eq!(compose(optional).good().stack.services.len(), 1);
    let all = compose("services: {a: {image: a, profiles: [x]}, b: {image: b, profiles: [y]}}");
    assert_eq!(
        all.with(|request| request.profiles = vec!["*".into()])
            .good()
            .stack
            .services
            .len(),
        2
    );
}

#[test]
fn the_types_say_what_the_file_says() {
    let loaded = compose(
        "services:\n  app:\n    image: a\n    user: '1000'\n    restart: always\n    stop_grace_period: 1m30s\n    shm_size: 64m\n    \
         ports: ['127.0.0.1:8080:80', '9090-9091:81/udp']\n    volumes: [./d:/d:ro, data:/v, {type: tmpfs, target: /t, tmpfs: {size: 1m, mode: 01777}}]\n    \
         tmpfs: /run:size=2m\n    extra_hosts: [h=1.2.3.4]\n    ulimits: {nofile: 10, nproc: {soft: 1, hard: 2}}\n    \
         secrets: [tok, {source: tok, target: sub, mode: 0400, uid: '7'}]\n    healthcheck: {test: ok, interval: 5s, retries: 2}\n    \
         depends_on: {db: {condition: service_healthy, restart: true}}\n    logging: {driver: json-file, options: {max-file: 3}}\n    \
         deploy: {replicas: 2, resources: {limits: {cpus: '0.5', memory: 1g, pids: 9}}, restart_policy: {condition: any, delay: 5s, max_attempts: 3}}\n    \
         networks: {front: {aliases: [x], ipv4_address: 10.0.0.9, priority: 3}}\n    command: ''\n    gpus: all\n\
         \x20 db: {image: db, network_mode: none}\nvolumes: {data: {external: true}}\nsecrets: {tok: {environment: TOK}}\nnetworks: {front: {ipam: {config: [{subnet: 10.0.0.0/24}]}}}\n",
    )
    .good();
    let stack = loaded.stack;
    let app = &stack.services["app"];
    assert_eq!(app.restart, Restart::Always);
    assert_eq!(app.restart_unenforced, ["delay: 5s", "max_attempts: 3"]);
    assert_eq!(
        app.ports[0],
        Port {
            host_ip: "127.0.0.1".into(),
            published: "8080".into(),
            target: 80,
            protocol: "tcp".into()
        }
    );
    assert_eq!(
        (app.ports[1].published.as_str(), app.ports[1].protocol.as_str()),
        ("9090-9091", "udp")
    );
    assert_eq!(app.mounts.len(), 4);
    assert_eq!(
        app.mounts[2],
        Mount::Tmpfs {
            target: "/t".into(),
            size: Some(1 << 20),
            mode: Some(0o1777)
        }
    );
    assert_eq!(
        app.mounts[3],
        Mount::Tmpfs {
            target: "/run".into(),
            size: Some(2 << 20),
            mode: None
        }
    );
    assert_eq!(app.extra_hosts, ["h:1.2.3.4"]);
    assert_eq!(app.ulimits["nofile"], Ulimit { soft: 10, hard: 10 });
    assert_eq!(app.secrets[1].target, "/run/secrets/sub");
    assert_eq!(
        (app.secrets[0].target.as_str(), app.secrets[1].mode),
        ("/run/secrets/tok", Some(0o400))
    );
    assert_eq!(
        app.healthcheck.as_ref().map(|health| health.test.clone()),
        Some(vec!["CMD-SHELL".into(), "ok".into()])
    );
    assert_eq!(
        (app.resources.cpus, app.resources.memory, app.resources.pids),
        (Some(0.5), Some(1 << 30), Some(9))
    );
    assert_eq!((app.replicas, app.shm_size), (2, Some(64 << 20)));
    assert_eq!(app.command, Some(Vec::new()));
    assert_eq!(app.entrypoint, None);
    assert_eq!(app.networks["front"].priority, 3);
    assert_eq!(
        app.logging.as_ref().map(|logging| logging.options["max-file"].clone()),
        Some("3".into())
    );
    assert_eq!(stack.services["db"].network_mode, Some(NetworkMode::None));
    assert_eq!(stack.volumes["data"].name, "data");
    assert!(stack.volumes["data"].external);
    assert_eq!(
        stack.networks["front"].subnets[0].subnet.as_deref(),
        Some("10.0.0.0/24")
    );
    assert_eq!(stack.networks.len(), 1);
    assert!(
        loaded
            .warnings
            .iter()
            .any(|warning| warning.message.contains("`gpus` of `app`"))
    );
}

#[test]
fn secrets_are_known_wherever_they_come_from() {
    let text = "services: {app: {image: a, env_file: x.env, command: '--t=${API_TOKEN} --d=${JWT_SECRET:-fallback-key}', environment: {DB_PASSWORD: written}, secrets: [tok]}}\nsecrets: {tok: {environment: PLAIN}}";
    let loaded = project(&[
        ("compose.yaml", text),
        ("x.env", "LINE_TOKEN=from-file\nTZ=Asia/Taipei"),
        (".env", "AWS_KEY=dotted"),
    ])
    .env("API_TOKEN", "outside")
    .env("PLAIN", "granted")
    .good();
    for secret in ["outside", "fallback-key", "written", "from-file", "dotted", "granted"] {
        assert!(loaded.secrets.contains(secret), "{secret}");
    }
    assert!(!loaded.secrets.contains("Asia/Taipei"));
    let shown = render_json(&redact_tree(&loaded.tree, &loaded.secrets));
    for secret in ["outside", "fallback-key", "written", "from-file"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
    assert!(shown.contains("Asia/Taipei"));
}

#[test]
fn what_config_prints_loads_to_the_same_project() {
    let text = "x-a: &a {restart: 'no'}\nservices:\n  app:\n    <<: *a\n    image: nginx:1\n    command: sh -c 'echo $$HOME'\n    environment: {A: on, B: '0444', C: 1e3, D: }\n    ports: ['80:80']\n    volumes: ['./d:/d:z', data:/v]\n    extra_hosts: {h: '::1'}\n    configs: [{source: c, target: /c, mode: 0444}]\n    deploy: {resources: {limits: {memory: 1g}}}\n    x-b: [1]\nvolumes: {data: }\nconfigs: {c: {content: 'a $$ b'}}\n";
    let first = compose(text).good();
    let second = compose(&render_yaml(&first.tree)).good();
    assert_eq!(first.tree, second.tree);
    assert_eq!(first.stack, second.stack);
}

#[test]
fn size_is_bounded() {
    let mut large = "# ".to_owned() + &"x".repeat(5 << 20);
    large.push_str("\nservices: {a: {image: a}}");
    assert!(compose(&large).bad().contains("larger than"));
    let mut services = "services:\n  s0: {image: a, labels: {".to_owned();
    (0..2000).for_each(|n| services.push_str(&format!("l{n}: x, ")));
    services.push_str("}}\n");
    (1..1000).for_each(|n| services.push_str(&format!("  s{n}: {{extends: s0}}\n")));
    assert!(compose(&services).first().contains("too large by extending"));
    let chain: String = (1..200).map(|n| format!("  s{n}: {{extends: s{}}}\n", n - 1)).collect();
    assert!(
        compose(&format!("services:\n  s0: {{image: a}}\n{chain}"))
            .first()
            .contains("deep")
    );
}

const SMALL: &str = "name: p\nx-c: &c\n  restart: always\nservices:\n  app:\n    <<: *c\n    image: a:${TAG:-1}\n    command: sh -c \"x\"\n    ports: ['80:80', \"3000-3001:3000-3001/udp\"]\n    environment:\n      - A=1\n      - KEY=$B\n    volumes: [./d:/d:ro, data:/v]\n    depends_on: {db: {condition: service_healthy}}\n    deploy: {resources: {limits: {cpus: '0.5', memory: 1g}}}\n  db:\n    image: db\n    healthcheck: {test: [CMD, x], interval: 5s}\n    secrets: [{source: s, mode: 0400}]\nvolumes: {data: {}}\nsecrets: {s: {environment: S}}\n";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Cut a piece out, put another one in: whatever comes of it is loaded or refused, and errors can be shown.
    #[test]
    fn edits_never_panic(edits in prop::collection::vec((0..SMALL.len(), 0..12usize, "[a-z0-9:\\-{}\\[\\]&*!<$\"' \n\t|>,#~?%@]{0,6}|<<: |!reset |\\PC{1,3}"), 1..5)) {
        let mut text: Vec<char> = SMALL.chars().collect();
        for (at, cut, put) in edits {
            let at = at.min(text.len());
            let end = (at + cut).min(text.len());
            text.splice(at..end, put.chars());
        }
        let text: String = text.into_iter().collect();
        match compose(&text).load() {
            Ok(loaded) => {
                let again = compose(&render_yaml(&loaded.tree)).load();
                prop_assert_eq!(again.map(|again| again.tree).map_err(|error| error.to_string()), Ok(loaded.tree), "{}", text);
            }
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }
}
