//! Rules of the Compose specification as its reference implementation keeps them, one a line.

use serde_json::json;

use super::*;

/// The service `a` of a project of this one service, with everything defined that it may name.
fn service(body: &str) -> Result<Value, String> {
    let text = format!(
        "services: {{a: {{{body}}}, b: {{image: b}}}}\nnetworks: {{n: }}\nvolumes: {{vol: }}\nsecrets: {{s: {{file: ./s}}}}\nmodels: {{m: {{model: x}}}}\n"
    );
    let loaded = compose(&text).env("HOME", "/home/u").load();
    loaded
        .map(|mut loaded| loaded.tree["services"]["a"].take())
        .map_err(|error| error.message().to_owned())
}

/// What key `key` of the service becomes.
fn becomes(key: &str, table: &[(&str, Value)]) {
    for (body, value) in table {
        let body = match body.contains("image:") || body.contains("build:") {
            true => (*body).to_owned(),
            false => format!("image: i, {body}"),
        };
        let mut read = service(&body).unwrap_or_else(|error| panic!("{body}: {error}"));
        assert_eq!(read[key].take(), *value, "{body}");
    }
}

fn refuses(table: &[&str]) {
    for body in table {
        let read = service(&format!("image: i, {body}"));
        assert!(read.is_err(), "{body}: {read:?}");
    }
}

#[test]
fn what_says_nothing_is_not_shown() {
    for key in ["tty", "privileged", "read_only", "stdin_open", "oom_kill_disable"] {
        becomes(key, &[(&*format!("{key}: false"), Value::Null)]);
    }
    becomes("init", &[("init: false", json!(false))]);
    becomes(
        "mem_limit",
        &[("mem_limit: 0", Value::Null), ("mem_limit: 1k", json!("1024"))],
    );
    becomes("stop_grace_period", &[("stop_grace_period: 0s", json!("0s"))]);
    let update = "deploy: {update_config: {delay: 0s, parallelism: 0, max_failure_ratio: 0}}";
    becomes("deploy", &[(update, json!({"update_config": {"parallelism": 0}}))]);
}

#[test]
fn text_becomes_what_a_key_wants_and_nothing_else() {
    becomes("init", &[("init: 'YES'", json!(true)), ("init: off", json!(false))]);
    becomes("oom_score_adj", &[("oom_score_adj: '+5'", json!(5))]);
    refuses(&[
        "init: '1'",
        "init: 't'",
        "scale: ' 2'",
        "scale: '2.0'",
        "oom_score_adj: 1001",
        "cpu_percent: 101",
        "cpu_rt_runtime: 95ms",
        "expose: [80.5]",
        "gpus: 2",
        "hostname: 2024-01-01",
        "environment: {A: 2024-01-01}",
        "build: {context: ., ssh: default}",
        "env_file: [{path: e, format: other}]",
        "storage_opt: {a: true}",
        "container_name: c",
    ]);
}

#[test]
fn numbers_in_an_environment() {
    let body = "environment: {A: 1e10, B: 123456789.5, C: 1e400, D: 100000.0, E: 18446744073709551616}";
    let read =
        json!({"A": "1e+10", "B": "1.234567895e+08", "C": "1e400", "D": "100000", "E": "1.8446744073709552e+19"});
    becomes("environment", &[(body, read)]);
}

#[test]
fn lists_that_may_not_repeat() {
    for key in [
        "security_opt",
        "group_add",
        "external_links",
        "volumes_from",
        "device_cgroup_rules",
    ] {
        refuses(&[&format!("{key}: [b, b]")]);
    }
    refuses(&[
        "depends_on: [b, b]",
        "networks: [n, n]",
        "extra_hosts: ['a:1.1.1.1', 'a:1.1.1.1']",
    ]);
    becomes("cap_add", &[("cap_add: [A, A]", json!(["A"]))]);
    becomes(
        "tmpfs",
        &[("tmpfs: ['/a:size=1m', '/a:size=2m']", json!(["/a:size=2m"]))],
    );
    refuses(&["tmpfs: ['/a:size=1m', '/a']"]);
}

#[test]
fn command_lines_are_split_without_a_shell() {
    becomes(
        "command",
        &[
            (r"command: 'a\nb c\ d'", json!(["anb", "c d"])),
            ("command: \"a '' b\"", json!(["a", "", "b"])),
            ("command: 'echo $$(date x)'", json!(["echo", "$(date x)"])),
        ],
    );
}

#[test]
fn lengths_of_time_and_sizes() {
    becomes(
        "stop_grace_period",
        &[
            ("stop_grace_period: 1w", json!("168h0m0s")),
            ("stop_grace_period: 1h1m1.001s", json!("1h1m1.001s")),
        ],
    );
    becomes(
        "mem_limit",
        &[
            ("mem_limit: 1p", json!("1125899906842624")),
            ("mem_limit: -1", json!("-1")),
        ],
    );
    becomes("mem_swappiness", &[("mem_swappiness: 50", json!("50"))]);
}

#[test]
fn paths_and_mounts() {
    let mounts = |list: &str| service(&format!("image: i, volumes: [{list}]")).map(|mut a| a["volumes"].take());
    assert_eq!(mounts("'~x:/t'").unwrap()[0]["source"], "/home/u/x");
    assert_eq!(mounts(r"'C:\x:/t:ro'").unwrap()[0]["source"], r"C:\x");
    assert_eq!(
        mounts("{type: bind, source: /s, target: /t/}").unwrap()[0]["target"],
        "/t"
    );
    assert!(mounts("{type: tmpfs, target: /t, tmpfs: {mode: '0755'}}").is_err());
    let cluster =
        compose("services: {a: {image: i, volumes: [{type: cluster, source: c, target: /c}]}}\nvolumes: {c: }");
    assert_eq!(cluster.tree()["volumes"], Value::Null);
}

#[test]
fn devices_and_generic_resources() {
    let reserved = |list: &str| {
        service(&format!(
            "image: i, deploy: {{resources: {{reservations: {{{list}}}}}}}"
        ))
    };
    for list in [
        "devices: [{count: 1}]",
        "devices: [{capabilities: [gpu], count: 1, device_ids: ['0']}]",
        "devices: [{capabilities: [gpu], count: some}]",
        "devices: [{capabilities: [gpu, gpu]}]",
        "generic_resources: [{other: 1}]",
    ] {
        assert!(reserved(list).is_err(), "{list}");
    }
    becomes(
        "gpus",
        &[
            ("gpus: all", json!([{"count": -1}])),
            ("gpus: [{device_ids: ['0']}]", json!([{"device_ids": ["0"]}])),
        ],
    );
}

#[test]
fn builds() {
    becomes(
        "build",
        &[("build: {}", json!({"context": "/p/app", "dockerfile": "Dockerfile"}))],
    );
    let read = service("build: {context: ., tags: [a, a], provenance: true, dockerfile_inline: FROM x}").unwrap();
    assert_eq!(read["build"]["tags"], json!(["a"]));
    assert_eq!(read["build"]["provenance"], "true");
    refuses(&[
        "platform: linux/arm64, build: {context: ., platforms: [linux/amd64]}",
        "build: {context: ., additional_contexts: {x: 'service:none'}}",
    ]);
}

#[test]
fn hooks_watches_providers_and_models() {
    let exec =
        "develop: {watch: [{path: /p, action: sync+exec, target: /t, exec: {command: a b, environment: [A=1]}}]}";
    let read = service(&format!("image: i, {exec}")).unwrap();
    let exec = &read["develop"]["watch"][0]["exec"];
    assert_eq!(*exec, json!({"command": ["a", "b"], "environment": {"A": "1"}}));
    refuses(&[
        "develop: {watch: [{path: /p, action: sync}]}",
        "models: [none]",
        "models: {m: {other: 1}}",
    ]);
    becomes(
        "provider",
        &[(
            "provider: {type: t, options: {a: 1, b: [x, true]}}",
            json!({"type": "t", "options": {"a": ["1"], "b": ["x", "true"]}}),
        )],
    );
    let provider = compose("services: {a: {provider: {type: t}}}").tree();
    assert_eq!(
        (&provider["networks"], &provider["services"]["a"]["networks"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(
        compose("services: {a: {image: i}}\nmodels: {m: {model: x}}").tree()["models"],
        Value::Null
    );
    assert!(
        compose("services: {a: {image: i}}\nmodels: {m: {name: x}}")
            .load()
            .is_err()
    );
}

#[test]
fn words_of_policies_and_modes() {
    becomes("pull_policy", &[("pull_policy: every_1w2d", json!("every_1w2d"))]);
    refuses(&[
        "pull_policy: every_",
        "pull_policy: every_x",
        "pull_policy: sometimes",
        "network_mode: 'x:y'",
    ]);
    becomes("network_mode", &[("network_mode: lan", json!("lan"))]);
    becomes(
        "deploy",
        &[(
            "scale: 2, deploy: {labels: {a: b}}",
            json!({"labels": {"a": "b"}, "replicas": 2}),
        )],
    );
}

#[test]
fn ports() {
    refuses(&["ports: ['80:0']"]);
    let two = service("image: i, ports: ['80:80', {target: 80, published: 80}]").unwrap();
    assert_eq!(two["ports"].as_array().map(Vec::len), Some(2));
    let one = service("image: i, ports: ['80:80', {target: 80, published: '80'}]").unwrap();
    assert_eq!(one["ports"].as_array().map(Vec::len), Some(1));
}

#[test]
fn sections() {
    for section in [
        "secrets: {s: {driver: x}}",
        "configs: {c: {driver: x}}",
        "volumes: {v: {external: {name: x}, name: y}}",
    ] {
        assert!(
            compose(&format!("services: {{a: {{image: i}}}}\n{section}"))
                .load()
                .is_err(),
            "{section}"
        );
    }
    let same = "services: {a: {image: i, volumes: ['vv:/v']}}\nvolumes: {vv: {external: {name: x}, name: x}}";
    assert_eq!(
        compose(same).tree()["volumes"]["vv"],
        json!({"external": true, "name": "x"})
    );
    let ipam = "services: {a: {image: i}}\nnetworks: {default: {ipam: {driver: d, options: {a: b}}}}";
    assert_eq!(
        compose(ipam).tree()["networks"]["default"]["ipam"],
        json!({"driver": "d"})
    );
    assert!(compose("services: {a: {image: i}}\n---\n---\n").load().is_err());
}

#[test]
fn the_profile_without_a_name_is_on_while_no_other_is() {
    let text = "services: {a: {image: i, profiles: ['']}, b: {image: b}}";
    assert_eq!(compose(text).good().stack.services.len(), 2);
    let other = compose(text).with(|request| request.profiles = vec!["x".into()]).good();
    assert_eq!(other.stack.services.len(), 1);
}

#[test]
fn dotenv_can_be_turned_off() {
    let files = [
        ("compose.yaml", "services: {a: {image: 'i:${T-none}'}}"),
        (".env", "T=dot"),
    ];
    for (value, image) in [("1", "i:none"), ("true", "i:none"), ("0", "i:dot"), ("", "i:dot")] {
        let tree = project(&files).env("COMPOSE_DISABLE_ENV_FILE", value).tree();
        assert_eq!(tree["services"]["a"]["image"], image, "{value}");
    }
}

#[test]
fn what_no_engine_is_told_is_said() {
    let loaded = compose(
        "services: {a: {image: i, oom_kill_disable: true, annotations: {a: b}, deploy: {mode: global, endpoint_mode: vip, placement: {constraints: [x]}}, networks: {n: {mac_address: '02:42:ac:11:65:43'}}, secrets: [{source: s, uid: '1'}]}}\nnetworks: {n: {ipam: {config: [{subnet: 10.0.0.0/24, aux_addresses: {h: 10.0.0.9}}]}}}\nsecrets: {s: {file: ./s, template_driver: x}}\n",
    )
    .good();
    let said: Vec<&str> = loaded.warnings.iter().map(|warning| warning.message.as_str()).collect();
    for key in [
        "`oom_kill_disable` of `a`",
        "`annotations` of `a`",
        "`deploy.mode` of `a`",
        "`deploy.placement` of `a`",
        "`networks.mac_address` of `a`",
        "`secrets.uid` of `a`",
        "`networks.ipam.config.aux_addresses` is",
        "`secrets.template_driver` is",
    ] {
        assert!(
            said.iter().any(|message| message.starts_with(key)),
            "{key} in {said:#?}"
        );
    }
    assert!(
        !said.iter().any(|message| message.contains("endpoint_mode")),
        "{said:#?}"
    );
    assert!(loaded.warnings.iter().all(|warning| warning.place.is_some()));
}
