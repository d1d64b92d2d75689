//! What arkwright.yaml may say, and how each mistake in it is told.

use std::collections::BTreeSet;
use std::path::Path;

use crate::model::ServiceName;

use super::*;

const GOOD: &str = r#"
services:
  line-service:
    release:
      port: 3000
      health: { http: /health, every: 1s, healthy_after: 3, within: 600s }
      steps: [{ weight: 5, hold: 15m }, { weight: 50, hold: 30m }]
backups:
  recipients: [age1x]
  stores: { local: { path: ./backups } }
  sets:
    uploads: { schedule: "0 3 * * *", sources: [{ path: ./uploads }] }
    database: { schedule: "0 2 * * *", sources: [{ sqlite: ./data/memoryark.db, newest: "select 1" }], keep: { daily: 7 } }
    full: { of: [uploads, database] }
drills:
  weekly:
    of: full
    boot: [line-service]
    checks:
      - { sqlite: ./data/memoryark.db, integrity: true }
      - { sqlite: ./data/memoryark.db, rows: all }
      - { sqlite: ./data/memoryark.db, files_exist: "select path from files", under: ./uploads }
      - { http: "line-service:3000/health" }
timezone: Asia/Taipei
"#;

fn services() -> BTreeSet<ServiceName> {
    ["line-service", "redis"]
        .iter()
        .map(|n| n.parse().expect("a name"))
        .collect()
}

fn refusal(text: &str) -> String {
    load(Path::new("arkwright.yaml"), text, &services())
        .expect_err("must be refused")
        .to_string()
}

#[test]
fn the_words_of_the_product_are_read() {
    let config = load(Path::new("/p/arkwright.yaml"), GOOD, &services()).expect("good");
    assert_eq!(config.folder, Path::new("/p"));
    let backups = config.backups.expect("backups");
    let sources = backups.sources_of("full").expect("sources");
    assert!(
        matches!(sources[0], Source::Sqlite { .. }),
        "databases come before files"
    );
    assert_eq!(sources.len(), 2);
    assert_eq!(config.drills["weekly"].checks.len(), 4);
}

#[test]
fn an_unknown_key_is_refused_with_its_place_and_the_nearest_key() {
    let text = refusal(&GOOD.replace("timezone:", "timezon:"));
    assert!(text.starts_with("arkwright.yaml:"), "{text}");
    assert!(text.contains("unknown field `timezon`"), "{text}");
    assert!(text.contains("did you mean `timezone`?"), "{text}");
}

#[test]
fn gates_are_read_and_every_way_to_get_them_wrong_is_told_at_its_line() {
    let release = "healthy_after: 3, within: 600s }";
    let with = |gate: &str, named: &str| {
        GOOD.replace(release, &format!("{release}\n      gates: [{named}]")) + &format!("gates:\n  errors: {gate}\n")
    };
    let good = with(
        "{ source: router, metric: error_rate, max: 1%, abort_over: 5%, min_requests: 50, every: 5s, window: 60s }",
        "errors",
    );
    let config = load(Path::new("arkwright.yaml"), &good, &services()).expect("good");
    let release = &config.services["line-service"].release;
    let gates = config.gates_of(release);
    assert_eq!((gates.len(), gates[0].min_requests), (1, 50));
    for (gate, named, says) in [
        (
            "{ source: router, metric: error_rate, max: 1% }",
            "error",
            "did you mean `errors`?",
        ),
        ("{ source: router, max: 1% }", "errors", "which `metric`"),
        (
            "{ source: router, metric: cpu, max: 1% }",
            "errors",
            "not a figure of this source",
        ),
        (
            "{ source: router, metric: p95, max: 1% }",
            "errors",
            "written like 500ms",
        ),
        (
            "{ source: router, metric: error_rate, max: 1 }",
            "errors",
            "written like 1%",
        ),
        (
            "{ source: router, metric: error_rate }",
            "errors",
            "let everything pass",
        ),
        (
            "{ source: router, metric: error_rate, max: 5%, abort_over: 1% }",
            "errors",
            "contradict",
        ),
        (
            "{ source: router, metric: error_rate, max: 1%, query: x }",
            "errors",
            "means nothing",
        ),
        (
            "{ source: router, metric: error_rate, max: 1%, every: 0s }",
            "errors",
            "interval",
        ),
        (
            "{ source: router, metric: error_rate, max: 1%, window: 2h }",
            "errors",
            "window",
        ),
        ("{ source: prometheus, query: up, min: 1 }", "errors", "which `url`"),
        (
            "{ source: prometheus, url: prom, query: up, min: 1 }",
            "errors",
            "http://",
        ),
        ("{ source: command }", "errors", "to `run`"),
        (
            "{ source: command, run: [x], service: redi }",
            "errors",
            "did you mean `redis`?",
        ),
        (
            "{ source: engine, metric: cpu, max: 80%, failures: 0 }",
            "errors",
            "at least one",
        ),
        ("{ source: oracle }", "errors", "unknown variant"),
    ] {
        let text = refusal(&with(gate, named));
        assert!(text.contains(says), "{gate}: {text}");
        assert!(text.starts_with("arkwright.yaml:"), "{text}");
    }
}

#[test]
fn programs_around_a_release_say_what_class_they_are_of() {
    let release = "healthy_after: 3, within: 600s }";
    let with = |before: &str| GOOD.replace(release, &format!("{release}\n      before: [{before}]"));
    let good = with("{ backup: full }, { run: [./migrate], class: expand_contract }");
    let config = load(Path::new("arkwright.yaml"), &good, &services()).expect("good");
    assert_eq!(config.services["line-service"].release.hooks().count(), 1);
    for (before, says) in [
        ("{ backup: ful }", "did you mean `full`?"),
        ("{ run: [./migrate] }", "what `class`"),
        ("{ backup: full, run: [x], class: reversible }", "either a `backup`"),
        ("{ backup: full, class: reversible }", "belong to `run`"),
        ("{ run: [x], class: hard }", "unknown variant"),
        ("{}", "either a `backup`"),
    ] {
        let text = refusal(&with(before));
        assert!(text.contains(says), "{before}: {text}");
    }
    let held = with("{ run: [x], class: irreversible }").replace(
        "      steps: [{ weight: 5, hold: 15m }, { weight: 50, hold: 30m }]\n",
        "      swap: hold\n",
    );
    let text = refusal(&held);
    assert!(text.contains("exclude each other"), "{text}");
}

#[test]
fn a_colour_is_told_to_work_in_one_way() {
    let release = "healthy_after: 3, within: 600s }";
    let with = |background: &str| GOOD.replace(release, &format!("{release}\n      background: {background}"));
    let good = with("{ pause: { post: /pause }, resume: { run: [./ctl, resume] } }");
    load(Path::new("arkwright.yaml"), &good, &services()).expect("good");
    for (background, says) in [
        ("{ pause: { post: /pause } }", "missing field `resume`"),
        (
            "{ pause: { post: pause }, resume: { post: /resume } }",
            "begins with `/`",
        ),
        ("{ pause: {}, resume: { post: /resume } }", "either a program"),
        (
            "{ pause: { post: /p, run: [x] }, resume: { post: /r } }",
            "either a program",
        ),
        (
            "{ pause: { post: /p }, resume: { post: /r }, timeout: 0s }",
            "above nought",
        ),
    ] {
        let text = refusal(&with(background));
        assert!(text.contains(says), "{background}: {text}");
        assert!(text.starts_with("arkwright.yaml:"), "{text}");
    }
}

#[test]
fn what_has_no_router_says_nothing_to_one() {
    let service = GOOD.find("      port: 3000").expect("there")..GOOD.find("backups:").expect("there");
    let with = |release: &str| {
        let mut text = GOOD.to_owned();
        text.replace_range(service.clone(), release);
        text
    };
    let good = with("      swap: recreate\n      healthy_for: 3s\n      healthy_within: 1m\n");
    let config = load(Path::new("arkwright.yaml"), &good, &services()).expect("good");
    assert_eq!(config.routed().count(), 0);
    for (key, line) in [
        ("port: 3000", 6),
        ("health: { http: /health }", 6),
        ("steps: [{ weight: 5, hold: 15m }]", 6),
        ("settle: 1m", 6),
        ("sticky: true", 6),
        ("gates: [errors]", 6),
        ("preview: { header: canary, value: a }", 6),
        ("probe: { http: / }", 6),
        ("background: { pause: { run: [p] }, resume: { run: [r] } }", 6),
    ] {
        let text = refusal(&with(&format!("      swap: recreate\n      {key}\n")));
        assert!(text.starts_with(&format!("arkwright.yaml:{line}:")), "{key}: {text}");
        assert!(
            text.contains("and `swap: recreate` exclude each other"),
            "{key}: {text}"
        );
    }
    let text = refusal(&with("      port: 3000\n"));
    assert!(
        text.contains("missing field `health`") && text.contains("swap: recreate"),
        "{text}"
    );
    let text = refusal(&with("      health: { http: / }\n"));
    assert!(text.contains("missing field `port`"), "{text}");
    let text = refusal(&with(
        "      port: 1\n      health: { http: / }\n      healthy_for: 3s\n",
    ));
    assert!(text.contains("belongs to `swap: recreate`"), "{text}");
}

#[test]
fn a_private_key_is_refused_and_not_shown() {
    for key in [
        "AGE-SECRET-KEY-1QQQSECRET",
        "age-secret-key-1qqqsecret",
        "-----BEGIN OPENSSH PRIVATE KEY-----qqqsecret",
    ] {
        for recipients in [format!("[age1x, {key}]"), format!("\"{key}\"")] {
            let text = refusal(&GOOD.replace("[age1x]", &recipients));
            assert!(text.starts_with("arkwright.yaml:9:"), "{text}");
            assert!(text.contains("PRIVATE key"), "{text}");
            assert!(!text.to_lowercase().contains("qqqsecret"), "{text}");
        }
    }
}

#[test]
fn each_mistake_is_named_at_its_line() {
    for (from, to, line, says) in [
        (
            "line-service:\n    release",
            "lin-service:\n    release",
            3,
            "did you mean `line-service`?",
        ),
        (
            "of: [uploads, database]",
            "of: [uploads, databas]",
            14,
            "did you mean `database`?",
        ),
        ("of: [uploads, database]", "of: [full]", 14, "made of itself"),
        ("\"0 3 * * *\"", "\"0 25 * * *\"", 12, "hour"),
        ("of: full", "of: ful", 17, "did you mean `full`?"),
        ("integrity: true", "integrity: false", 19, "checks nothing"),
        ("weight: 50", "weight: 4", 7, "grow"),
        ("boot: [line-service]", "boot: [redi]", 18, "did you mean `redis`?"),
    ] {
        let text = refusal(&GOOD.replacen(from, to, 1));
        assert!(text.starts_with(&format!("arkwright.yaml:{line}:")), "{to}: {text}");
        assert!(text.contains(says), "{to}: {text}");
    }
}

#[test]
fn the_keys_of_a_bucket_are_refused_and_their_line_is_not_shown() {
    for line in [
        "secret_access_key: qqqsecret",
        "  - { s3: { bucket: b, \"aws_secret_access_key\" : qqqsecret } }",
        "  secret_key: qqqsecret",
        "session_token: qqqsecret",
    ] {
        let error = read(&format!("state: x\n{line}\n")).expect_err("refused");
        let text = format!("{error} {error:?}");
        assert!(text.contains("never written here") && error.line == 2, "{text}");
        assert!(!text.contains("qqq"), "{text}");
    }
    for fine in ["# secret_key: is not written here", "# x"] {
        read(&format!("{GOOD}{fine}\n")).expect("a comment");
    }
}

#[test]
fn a_store_is_a_folder_or_a_bucket_and_a_mistake_in_it_has_its_line() {
    let with = |store: &str| GOOD.replace("{ path: ./backups }", store);
    read(&with(
        "{ s3: { bucket: ark-backups, region: ap-northeast-1, sse: { kms: alias/ark } } }",
    ))
    .expect("a bucket");
    for (store, told) in [
        ("{}", "needs either `path` or `s3`"),
        (
            "{ path: x, s3: { bucket: ark-backups, region: x } }",
            "needs either `path` or `s3`",
        ),
        ("{ s3: { bucket: ark-backups } }", "`region`"),
        (
            "{ s3: { bucket: ark-backups, region: x, storage_class: GLACIER } }",
            "thawed",
        ),
        (
            "{ s3: { bucket: ark-backups, region: x, bucked: y } }",
            "unknown field `bucked`",
        ),
    ] {
        let error = read(&with(store)).expect_err("refused");
        assert!(error.message.contains(told), "{store}: {error:?}");
        assert!(error.excerpt.contains("stores:"), "{store}: {error:?}");
    }
}

fn read(text: &str) -> Result<Config, ConfigError> {
    load(Path::new("arkwright.yaml"), text, &services())
}

/// A set of these sources.
fn with_sources(sources: &str) -> String {
    format!(
        "backups:\n  recipients: [age1x]\n  stores: {{ local: {{ path: ./b }} }}\n  sets:\n    full:\n      sources: {sources}\n"
    )
}

#[test]
fn sources_in_services_are_read_in_their_short_and_long_forms() {
    let text = with_sources(
        "[{ path: ./uploads }, { volume: data, exclude: [cache] }, { redis: redis }, { postgres: redis }, \
         { postgres: { service: redis, database: shop, user: owner } }, { rabbitmq: redis }, { prometheus: { service: redis, port: 9091 } }, \
         { mongodb: redis }, { command: { service: redis, name: out, run: [a, b], restore: [c] } }]",
    );
    let config = load(Path::new("/p/arkwright.yaml"), &text, &services()).expect("good");
    let backups = config.backups.expect("backups");
    let sources = backups.sources_of("full").expect("sources");
    let kinds: Vec<&str> = sources.iter().map(|source| source.kind()).collect();
    let expected = [
        "redis",
        "postgres",
        "postgres",
        "rabbitmq",
        "prometheus",
        "mongodb",
        "command",
        "path",
        "volume",
    ];
    assert_eq!(kinds, expected, "servers come before files");
    for source in sources {
        let again: Source = serde_json::from_str(&serde_json::to_string(source).expect("JSON")).expect("read back");
        assert_eq!(again, *source, "as a journal keeps it");
    }
}

#[test]
fn sources_in_services_that_cannot_be_read_are_refused() {
    for (sources, expected) in [
        ("[{ redis: cache }]", "no service `cache`"),
        ("[{ redis: { service: redis, prot: 1 } }]", "this is no source"),
        ("[{ redis: redis, path: x }]", "this is no source"),
        ("[{ nothing: redis }]", "`postgres`"),
        ("[{ redis: redis }, { redis: { service: redis, port: 7 } }]", "twice"),
        ("[{ volume: data }, { volume: data, exclude: [a] }]", "twice"),
        (
            "[{ postgres: { service: redis, database: ../x } }]",
            "not a database's name",
        ),
        ("[{ command: { service: redis, name: ../x, run: [a] } }]", "not a name"),
        (
            "[{ command: { service: redis, name: x, run: [] } }]",
            "[program, argument, …]",
        ),
        (
            "[{ redis: { service: redis, password_env: 'a b' } }]",
            "the name of a variable",
        ),
    ] {
        let told = refusal(&with_sources(sources));
        assert!(told.contains(expected), "{sources}: {told}");
    }
}

#[test]
fn sets_that_read_one_place_in_two_ways_are_not_put_together() {
    let output = |run: &str| format!("{{ command: {{ service: redis, name: out, run: [{run}] }} }}");
    let sets = |a: &str, b: &str| {
        let more = "    all: { of: [nested] }\n    nested: { of: [full, other] }\n";
        with_sources(&format!("[{a}]\n    other:\n      sources: [{b}]\n{more}"))
    };
    for (a, b, expected) in [
        (
            output("a"),
            output("b"),
            "`out` of the command of `redis` is read in two ways",
        ),
        (
            "{ volume: data }".to_owned(),
            "{ volume: data, exclude: [x] }".to_owned(),
            "the volume `data` is read in two ways",
        ),
    ] {
        let error = read(&sets(&a, &b)).expect_err("refused");
        assert!(error.message.contains(expected), "{error:?}");
        assert!(error.excerpt.contains("all:"), "{error:?}");
        read(&sets(&a, &a)).expect("a source that both sets have is read once");
    }
    let error = read(&sets(&format!("{}, {}", output("a"), output("b")), &output("c"))).expect_err("refused");
    assert!(
        error.message.contains("among the sources twice"),
        "told where it is: {error:?}"
    );
}

#[test]
fn the_schema_tells_of_sources_in_services() {
    let schema = schema().to_string();
    for word in [
        "postgres",
        "rabbitmq",
        "prometheus",
        "mongodb",
        "password_env",
        "pg_dump",
    ] {
        assert!(schema.contains(word), "{word}");
    }
}
