//! What a refusal says, and where it points.

use super::*;

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
        (
            "a: {image: a, scale: 1001}",
            "1001",
            "service `a` has more than 1000 replicas",
        ),
        (
            "a: {image: a, deploy: {replicas: 4000000000}}",
            "4000000000",
            "service `a` has more than 1000 replicas",
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
