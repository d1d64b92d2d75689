//! Which files make a project.

use std::path::Path;

use serde_json::json;

use super::*;

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
