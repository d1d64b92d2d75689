//! What comes of a load: types, secrets, and text that loads again.

use super::*;

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
fn what_config_prints_hides_what_programs_are_told_in_confidence() {
    let text = r#"services:
  a:
    image: i
    build: {context: ., args: {NPM_TOKEN: hidden1, PLAIN: shown1}}
    command: sh -c 'mysqld --password=hidden2 && curl -u me:hidden3 http://u:hidden4@h/shown2'
    entrypoint: [redis-server, --requirepass, hidden5, --port, "6379"]
    healthcheck: {test: [CMD, redis-cli, -a, hidden6, ping]}
    labels:
      traefik.http.middlewares.x.basicauth.users: "me:hidden7"
      traefik.http.routers.x.rule: Host(`shown3`)
      app.password: hidden8
      app.url: https://u:hidden9@shown4/
    logging: {driver: splunk, options: {splunk-token: hidden10, splunk-url: shown5}}
    configs: [c]
    deploy: {labels: {api.token: hidden11}}
configs:
  c:
    content: |
      password: hidden12
      url = "postgres://u:hidden13@h/shown6"
      name: shown7
"#;
    let loaded = compose(text).good();
    for shown in [
        render_json(&redact_tree(&loaded.tree, &loaded.secrets)),
        render_yaml(&redact_tree(&loaded.tree, &loaded.secrets)),
    ] {
        assert!(!shown.contains("hidden"), "{shown}");
        for n in 1..=7 {
            assert!(shown.contains(&format!("shown{n}")), "shown{n} in {shown}");
        }
    }
}
