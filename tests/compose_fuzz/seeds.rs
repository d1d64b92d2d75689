//! What mutation begins with: the shared cases, the repository's own stack, and small cases for rules those lack.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A project as files in one folder, and how it is asked for.
#[derive(Clone, Debug, Default)]
pub struct Case {
    /// By path relative to the folder.
    pub files: BTreeMap<String, String>,
    /// `-f`, in order.
    pub asked: Vec<String>,
    pub env: BTreeMap<String, String>,
    pub profiles: Vec<String>,
}

impl Case {
    fn of(files: &[(&str, &str)]) -> Self {
        Case {
            files: files
                .iter()
                .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
                .collect(),
            asked: vec![files[0].0.to_owned()],
            ..Case::default()
        }
    }
}

/// Largest file taken as a seed: what takes long to read takes executions from the rest.
const LARGEST: u64 = 16 << 10;

/// Every case there is; never none.
pub fn all(shared: Option<&Path>) -> Vec<Case> {
    let mut cases = written();
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("compose/memoryark");
    cases.extend(folder(&own, vec!["compose.yaml".to_owned()]));
    let corpus = shared.map(|shared| shared.join("corpus/compose"));
    for group in corpus.iter().flat_map(|corpus| folders(corpus)) {
        for path in folders(&group) {
            let asked = std::fs::read_to_string(path.join("case.json"))
                .ok()
                .and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok())
                .and_then(|case| serde_json::from_value::<Vec<String>>(case["files"].clone()).ok());
            cases.extend(asked.and_then(|asked| folder(&path, asked)));
        }
    }
    cases
}

fn folders(path: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(path)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_dir())
        .collect();
    found.sort();
    found
}

fn folder(path: &Path, asked: Vec<String>) -> Option<Case> {
    let mut case = Case {
        asked,
        ..Case::default()
    };
    for entry in std::fs::read_dir(path).ok()?.filter_map(Result::ok) {
        let name = entry.file_name().to_string_lossy().into_owned();
        let wanted = name.ends_with(".yaml") || name.ends_with(".yml") || name.contains("env");
        if wanted
            && entry.metadata().is_ok_and(|meta| meta.len() <= LARGEST)
            && let Ok(text) = std::fs::read_to_string(entry.path())
        {
            case.files.insert(name, text);
        }
    }
    case.asked
        .iter()
        .all(|file| case.files.contains_key(file))
        .then_some(case)
}

/// Every construct at least once.
fn written() -> Vec<Case> {
    let over = |files: &[(&str, &str)]| {
        let mut case = Case::of(files);
        case.asked.push(files[1].0.to_owned());
        case
    };
    vec![
        Case::of(&[
            ("compose.yaml", MANY),
            ("a.env", "A=1\nB=\"x $A ${C:-d}\\n\"\nexport C='q'\nD\nE=${A:+y}# no\n"),
            (".env", "TAG=1\nNAME=n # c\nMULTI='a\nb'\n"),
            ("l.env", "L=1\n"),
        ]),
        Case::of(&[
            (
                "compose.yaml",
                "include:\n  - sub/one.yaml\n  - {path: [sub/two.yaml], project_directory: ., env_file: a.env}\nservices:\n  m:\n    image: x\n    depends_on: [one, two]\n",
            ),
            (
                "sub/one.yaml",
                "services: {one: {image: 'i:${V:-v}', volumes: ['./d:/d', nn:/n]}}\nvolumes: {nn: }\n",
            ),
            ("sub/two.yaml", "include: [three.yaml]\nservices: {two: {image: i}}\n"),
            ("sub/three.yaml", "services: {three: {image: i, env_file: ../a.env}}\n"),
            ("sub/.env", "V=7\n"),
            ("a.env", "E=1\n"),
        ]),
        Case::of(&[
            (
                "compose.yaml",
                "services:\n  a:\n    extends: {file: base.yaml, service: b}\n    environment: {A: 1}\n  c:\n    extends: a\n    ports: !override ['1:1']\n    labels: !reset {}\n",
            ),
            (
                "base.yaml",
                "services:\n  b:\n    extends: z\n    image: i\n    environment: [A=0, B]\n    ports: ['80:80', '90-92:90-92']\n    labels: [a=1]\n  z: {volumes: [./z:/z:ro], networks: {default: {aliases: [q]}}}\n",
            ),
        ]),
        over(&[
            ("compose.yaml", MANY),
            (
                "over.yaml",
                "services:\n  app:\n    ports: ['81:81']\n    environment: {A: !reset null, Z: 1}\n    command: !override [x]\n    volumes: [./o:/data]\n    deploy: {resources: {limits: {cpus: !reset null}}}\n    depends_on: {db: {condition: service_started}}\n    ulimits: {nofile: 5}\n    logging: {driver: syslog}\n",
            ),
            ("a.env", "A=2\n"),
            ("l.env", ""),
        ]),
        Case::of(&[(
            "compose.yaml",
            "x-a: &a {A: 1}\nx-b: &b\n  <<: *a\n  B: 2\nx-l: &l ['80:80']\nservices:\n  one: &one\n    image: &i x:1\n    environment: {<<: [*a, *b], C: 3}\n    ports: *l\n  two:\n    <<: *one\n    image: *i\n---\nservices: {one: {user: u}}\n",
        )]),
    ]
}

const MANY: &str = r#"name: ${NAME:-p}
services:
  app:
    image: a:${TAG:-1}
    build: {context: ., args: [A=1, B], ssh: [default], secrets: [s], additional_contexts: {x: ./x, y: service:db}, ulimits: {nofile: {soft: 1, hard: 2}}}
    command: sh -c "echo 'x y' $$HOME" && no
    entrypoint: ["/e", "${A-}"]
    env_file: [a.env, {path: no.env, required: false}, {path: a.env, format: raw}]
    label_file: l.env
    environment: [A=1, "B=${C:+x}", D]
    labels: {a: 1, b: true, c: 1.50}
    ports: [80, "8080:80", "127.0.0.1:3000-3002:3000-3002/udp", "[::1]:1:1", {target: 5, published: "6-7", mode: host}]
    expose: [1, "2/udp", 3-4]
    volumes: [./d:/data:ro, vol:/v:nocopy, {type: tmpfs, target: /t, tmpfs: {size: 1m, mode: 0755}}, {type: bind, source: ~/x, target: /x, bind: {propagation: rslave}}]
    tmpfs: /run:size=64m,mode=1777
    networks: {n: {aliases: [z], ipv4_address: 10.0.0.5, priority: 5}, default: }
    depends_on: {db: {condition: service_healthy, restart: true, required: false}}
    healthcheck: {test: curl -f http://x, interval: 1m30s, timeout: 5s, retries: 3, start_period: 1h}
    deploy: {replicas: 2, resources: {limits: {cpus: '0.5', memory: 1g, pids: 5}, reservations: {devices: [{capabilities: [gpu], count: all}]}}, restart_policy: {condition: on-failure, delay: 5s}}
    logging: {driver: json-file, options: {max-size: 10m}}
    extra_hosts: ["a:1.2.3.4", "b=::1"]
    ulimits: {nproc: 5, nofile: {soft: 1, hard: 2}}
    sysctls: {a: 1}
    secrets: [s, {source: s, target: t, mode: 0400}]
    configs: [{source: c, target: /c}]
    devices: [/dev/a:/dev/b:r]
    gpus: all
    profiles: [x, ""]
    pull_policy: every_12h
    post_start: [{command: a b, environment: {A: 1}}]
    develop: {watch: [{path: ./s, action: sync, target: /t}]}
    blkio_config: {weight: 1, device_read_bps: [{path: /dev/a, rate: 1m}]}
  db: {image: db, network_mode: none, provider: {type: t, options: {a: [b]}}, models: [m]}
networks: {n: {ipam: {config: [{subnet: 10.0.0.0/24, aux_addresses: {h: 10.0.0.9}}]}, labels: [a=b]}}
volumes: {vol: {driver_opts: {type: none, o: bind, device: ./v}}, e: {external: true, name: q}}
secrets: {s: {environment: S}}
configs: {c: {content: "a ${B:-b}"}}
models: {m: {model: ai/x}}
"#;
