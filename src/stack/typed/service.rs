use super::mounts::{self, grants};
use super::uncarried;
use super::{Notes, entries, flag, fraction, number, pairs, span, text, texts};
use crate::model::ServiceName;
use crate::stack::error::Fault;
use crate::stack::model::{
    Attachment, Build, Condition, Dependency, Healthcheck, Logging, NetworkMode, Port, Resources, Restart, Service,
    Ulimit,
};
use crate::stack::tree::{Entry, Node};

pub(super) fn service(name: &str, entry: &Entry, note: Notes<'_>) -> Result<Service, Fault> {
    let node = &entry.node;
    let parsed: ServiceName = name
        .parse()
        .map_err(|error| Fault::new(entry.key_at, format!("{error}")))?;
    uncarried::service(name, node, note);
    let (restart, restart_unenforced) = restart(node)?;
    Ok(Service {
        name: parsed,
        image: text(node, "image"),
        build: node.get("build").map(build),
        container_name: text(node, "container_name"),
        command: words(node, "command"),
        entrypoint: words(node, "entrypoint"),
        environment: entries(node, "environment")
            .map(|(key, entry)| (key.clone(), entry.node.scalar_text()))
            .collect(),
        hostname: text(node, "hostname"),
        domainname: text(node, "domainname"),
        user: text(node, "user"),
        working_dir: text(node, "working_dir"),
        restart,
        restart_unenforced,
        ports: items(node, "ports").map(port).collect::<Result<_, _>>()?,
        expose: texts(node, "expose"),
        mounts: mounts::mounts(name, node, note)?,
        networks: entries(node, "networks")
            .map(|(key, entry)| Ok((key.clone(), attachment(&entry.node)?)))
            .collect::<Result<_, _>>()?,
        network_mode: network_mode(node)?,
        depends_on: depends_on(node)?,
        healthcheck: node.get("healthcheck").map(healthcheck).transpose()?,
        logging: node.get("logging").map(|logging| Logging {
            driver: text(logging, "driver"),
            options: pairs(logging, "options"),
        }),
        resources: resources(node)?,
        replicas: replicas(node)?,
        labels: pairs(node, "labels"),
        stop_signal: text(node, "stop_signal"),
        stop_grace: span(node, "stop_grace_period"),
        init: node.get("init").and_then(Node::as_bool),
        privileged: flag(node, "privileged"),
        read_only: flag(node, "read_only"),
        tty: flag(node, "tty"),
        stdin_open: flag(node, "stdin_open"),
        cap_add: texts(node, "cap_add"),
        cap_drop: texts(node, "cap_drop"),
        security_opt: texts(node, "security_opt"),
        extra_hosts: texts(node, "extra_hosts")
            .into_iter()
            .map(|host| host.replacen('=', ":", 1))
            .collect(),
        dns: texts(node, "dns"),
        dns_search: texts(node, "dns_search"),
        dns_opt: texts(node, "dns_opt"),
        sysctls: pairs(node, "sysctls"),
        ulimits: entries(node, "ulimits")
            .map(|(key, entry)| Ok((key.clone(), ulimit(key, node, &entry.node)?)))
            .collect::<Result<_, _>>()?,
        devices: items(node, "devices").map(device).collect(),
        group_add: texts(node, "group_add"),
        shm_size: number(node, "shm_size")?,
        pid: text(node, "pid"),
        ipc: text(node, "ipc"),
        userns_mode: text(node, "userns_mode"),
        secrets: grants(node, "secrets", "/run/secrets/")?,
        configs: grants(node, "configs", "/")?,
        profiles: texts(node, "profiles"),
        platform: text(node, "platform"),
        pull_policy: text(node, "pull_policy"),
    })
}

fn items<'a>(node: &'a Node, key: &str) -> impl Iterator<Item = &'a Node> {
    node.get(key).and_then(Node::as_list).unwrap_or_default().iter()
}

/// `None` when the key is absent or null, which keeps the image's own.
fn words(node: &Node, key: &str) -> Option<Vec<String>> {
    node.get(key).map(|_| texts(node, key))
}

fn build(node: &Node) -> Build {
    Build {
        context: text(node, "context").unwrap_or_default().into(),
        dockerfile: text(node, "dockerfile").unwrap_or_default(),
        target: text(node, "target"),
        args: entries(node, "args")
            .map(|(key, entry)| (key.clone(), entry.node.scalar_text()))
            .collect(),
    }
}

/// `deploy.restart_policy` wins over `restart`; what an engine's policy cannot say is listed.
fn restart(node: &Node) -> Result<(Restart, Vec<String>), Fault> {
    if let Some(policy) = node.dig(&["deploy", "restart_policy"]) {
        let mut unenforced = Vec::new();
        for key in ["delay", "window"] {
            if let Some(value) = text(policy, key) {
                unenforced.push(format!("{key}: {value}"));
            }
        }
        let attempts = number::<u32>(policy, "max_attempts")?;
        let restart = match policy.get_text("condition").unwrap_or("any") {
            "none" => Restart::No,
            "on-failure" => Restart::OnFailure { attempts },
            "any" | "" => {
                unenforced.extend(attempts.map(|attempts| format!("max_attempts: {attempts}")));
                Restart::Always
            }
            other => {
                let at = policy.get("condition").map_or(policy.at, |condition| condition.at);
                return Err(Fault::new(at, format!("`{other}` is not a restart condition"))
                    .wide(other.chars().count())
                    .help("use none, on-failure or any"));
            }
        };
        return Ok((restart, unenforced));
    }
    let Some(value) = node.get("restart") else {
        return Ok((Restart::No, Vec::new()));
    };
    let text = value.as_text().unwrap_or_default();
    let restart = match text.split_once(':').unwrap_or((text, "")) {
        ("no" | "", "") => Some(Restart::No),
        ("always", "") => Some(Restart::Always),
        ("unless-stopped", "") => Some(Restart::UnlessStopped),
        ("on-failure", "") => Some(Restart::OnFailure { attempts: None }),
        ("on-failure", attempts) => attempts.parse().ok().map(|attempts| Restart::OnFailure {
            attempts: Some(attempts),
        }),
        _ => None,
    };
    let fault = || {
        Fault::new(value.at, format!("`{text}` is not a restart policy"))
            .wide(text.chars().count())
            .help("use no, always, unless-stopped, on-failure or on-failure:5")
    };
    Ok((restart.ok_or_else(fault)?, Vec::new()))
}

fn port(node: &Node) -> Result<Port, Fault> {
    let target = number(node, "target")?
        .ok_or_else(|| Fault::new(node.at, "this port lacks `target`").help("give the port inside the container"))?;
    Ok(Port {
        host_ip: text(node, "host_ip").unwrap_or_default(),
        published: text(node, "published").unwrap_or_default(),
        target,
        protocol: text(node, "protocol").unwrap_or_else(|| "tcp".to_owned()),
    })
}

fn attachment(node: &Node) -> Result<Attachment, Fault> {
    Ok(Attachment {
        aliases: texts(node, "aliases"),
        ipv4: text(node, "ipv4_address"),
        ipv6: text(node, "ipv6_address"),
        priority: number(node, "priority")?.unwrap_or(0),
    })
}

fn network_mode(node: &Node) -> Result<Option<NetworkMode>, Fault> {
    let Some(value) = node.get("network_mode") else {
        return Ok(None);
    };
    let text = value.as_text().unwrap_or_default();
    let fault = |help: &str| {
        Fault::new(value.at, format!("`{text}` is not a network mode"))
            .wide(text.chars().count())
            .help(help)
    };
    Ok(match text.split_once(':').unwrap_or((text, "")) {
        ("", "") => None,
        ("none", "") => Some(NetworkMode::None),
        ("host", "") => Some(NetworkMode::Host),
        ("bridge" | "default", "") => Some(NetworkMode::Bridge),
        ("service", name) => Some(NetworkMode::Service(
            name.parse().map_err(|_| fault("write `service:NAME`"))?,
        )),
        ("container", name) if !name.is_empty() => Some(NetworkMode::Container(name.to_owned())),
        (name, "") if !text.contains(':') => Some(NetworkMode::Named(name.to_owned())),
        _ => {
            return Err(fault(
                "use none, host, bridge, service:NAME, container:NAME or the name of a network",
            ));
        }
    })
}

fn depends_on(node: &Node) -> Result<std::collections::BTreeMap<ServiceName, Dependency>, Fault> {
    entries(node, "depends_on")
        .map(|(name, entry)| {
            let condition = match entry.node.get_text("condition") {
                Some("service_healthy") => Condition::Healthy,
                Some("service_completed_successfully") => Condition::Completed,
                _ => Condition::Started,
            };
            let required = entry.node.get("required").and_then(Node::as_bool).unwrap_or(true);
            let name = name
                .parse()
                .map_err(|error| Fault::new(entry.key_at, format!("{error}")))?;
            Ok((
                name,
                Dependency {
                    condition,
                    required,
                    restart: flag(&entry.node, "restart"),
                },
            ))
        })
        .collect()
}

fn healthcheck(node: &Node) -> Result<Healthcheck, Fault> {
    let test = if flag(node, "disable") {
        vec!["NONE".to_owned()]
    } else {
        texts(node, "test")
    };
    Ok(Healthcheck {
        test,
        interval: span(node, "interval"),
        timeout: span(node, "timeout"),
        start_period: span(node, "start_period"),
        start_interval: span(node, "start_interval"),
        retries: number(node, "retries")?,
    })
}

fn resources(node: &Node) -> Result<Resources, Fault> {
    let none = Node::null(node.at);
    let limits = node.dig(&["deploy", "resources", "limits"]).unwrap_or(&none);
    let reservations = node.dig(&["deploy", "resources", "reservations"]).unwrap_or(&none);
    // Nothing and less than nothing both mean no limit.
    let either = |first: Option<i64>, second: Option<i64>| {
        let bytes = first.or(second).and_then(|bytes| u64::try_from(bytes).ok());
        bytes.filter(|bytes| *bytes > 0)
    };
    Ok(Resources {
        cpus: fraction(limits, "cpus")
            .or(fraction(node, "cpus"))
            .filter(|cpus| *cpus > 0.0),
        memory: either(number(limits, "memory")?, number(node, "mem_limit")?),
        cpus_reserved: fraction(reservations, "cpus"),
        memory_reserved: either(number(reservations, "memory")?, number(node, "mem_reservation")?),
        memory_swap: number(node, "memswap_limit")?,
        pids: match number(limits, "pids")? {
            Some(pids) => Some(pids),
            None => number(node, "pids_limit")?,
        },
        cpu_shares: number(node, "cpu_shares")?,
        cpuset: text(node, "cpuset"),
        oom_score_adj: number(node, "oom_score_adj")?,
    })
}

fn replicas(node: &Node) -> Result<u32, Fault> {
    let deploy = match node.get("deploy") {
        Some(deploy) => number(deploy, "replicas")?,
        None => None,
    };
    Ok(match deploy {
        Some(replicas) => replicas,
        None => number(node, "scale")?.unwrap_or(1),
    })
}

fn ulimit(name: &str, service: &Node, node: &Node) -> Result<Ulimit, Fault> {
    if node.as_map().is_some() {
        return Ok(Ulimit {
            soft: number(node, "soft")?.unwrap_or(-1),
            hard: number(node, "hard")?.unwrap_or(-1),
        });
    }
    let both = match service.get("ulimits") {
        Some(ulimits) => number(ulimits, name)?.unwrap_or(-1),
        None => -1,
    };
    Ok(Ulimit { soft: both, hard: both })
}

fn device(node: &Node) -> String {
    let source = text(node, "source").unwrap_or_default();
    let target = text(node, "target").unwrap_or_else(|| source.clone());
    let permissions = text(node, "permissions").unwrap_or_else(|| "rwm".to_owned());
    format!("{source}:{target}:{permissions}")
}
