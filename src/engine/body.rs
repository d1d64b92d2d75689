//! A [`ContainerSpec`] as the engines' API takes it.

use std::collections::{BTreeSet, HashMap};

use bollard::models::{
    ContainerCreateBody, DeviceMapping, EndpointIpamConfig, EndpointSettings, HealthConfig, HostConfig,
    HostConfigLogConfig, Mount, MountBindOptions, MountBindOptionsPropagationEnum, MountTmpfsOptions, MountType,
    MountVolumeOptions, NetworkingConfig, PortBinding, PortMap, ResourcesUlimits, RestartPolicy, RestartPolicyNameEnum,
};

use crate::plan::{ContainerSpec, NetworkAttachment, SpecMount};
use crate::ports::EngineError;
use crate::stack::{Healthcheck, Port, Restart, Ulimit};

use super::limits;
use super::podman;

/// What differs between engines in how a container is described.
pub(super) struct Dialect<'a> {
    pub podman: bool,
    pub spell_limits: bool,
    /// The name this engine knows the image by.
    pub image: &'a str,
    /// What `host-gateway` stands for, where the engine does not know.
    pub host_gateway: Option<String>,
    /// To be asked before those of `dns`.
    pub name_server: Option<String>,
}

/// `ports` are the published ones as this engine takes them.
pub(super) fn body(
    spec: &ContainerSpec,
    ports: &[Port],
    dialect: &Dialect,
) -> Result<ContainerCreateBody, EngineError> {
    let (binds, mounts) = mounts(spec, dialect)?;
    let exposed: BTreeSet<String> = spec
        .ports
        .iter()
        .map(|port| format!("{}/{}", port.target, port.protocol))
        .chain(spec.expose.iter().cloned())
        .collect();
    let first = spec.networks.first();
    let host_config = HostConfig {
        network_mode: spec.network_mode.clone().or_else(|| first.map(|f| f.network.clone())),
        port_bindings: Some(port_bindings(ports)),
        restart_policy: Some(restart(&spec.restart)),
        binds: Some(binds),
        mounts: Some(mounts),
        log_config: log_config(spec, dialect)?,
        memory: spec.resources.memory.map(signed),
        memory_reservation: spec.resources.memory_reserved.map(signed),
        memory_swap: spec.resources.memory_swap,
        nano_cpus: spec.resources.cpus.map(|cpus| (cpus * 1e9).round() as i64),
        cpu_shares: spec.resources.cpu_shares,
        cpuset_cpus: spec.resources.cpuset.clone(),
        pids_limit: spec.resources.pids,
        oom_score_adj: spec.resources.oom_score_adj,
        init: spec.init,
        privileged: Some(spec.privileged),
        readonly_rootfs: Some(spec.read_only),
        cap_add: some(&spec.cap_add),
        cap_drop: some(&spec.cap_drop),
        security_opt: some(&spec.security_opt),
        extra_hosts: some(&extra_hosts(spec, dialect)),
        dns: name_servers(spec, dialect),
        dns_search: some(&spec.dns_search),
        dns_options: some(&spec.dns_opt),
        sysctls: (!spec.sysctls.is_empty()).then(|| spec.sysctls.clone().into_iter().collect()),
        ulimits: some(&ulimits(spec, dialect.spell_limits)),
        devices: some(&spec.devices.iter().map(|d| device(d)).collect::<Vec<_>>()),
        group_add: some(&spec.group_add),
        shm_size: spec.shm_size.map(signed),
        pid_mode: spec.pid.clone(),
        ipc_mode: spec.ipc.clone(),
        userns_mode: spec.userns_mode.clone(),
        ..HostConfig::default()
    };
    Ok(ContainerCreateBody {
        image: Some(dialect.image.to_owned()),
        cmd: spec.command.clone(),
        entrypoint: spec.entrypoint.clone(),
        env: Some(
            spec.environment
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect(),
        ),
        hostname: spec.hostname.clone(),
        domainname: spec.domainname.clone(),
        user: spec.user.clone(),
        working_dir: spec.working_dir.clone(),
        labels: Some(spec.labels.clone().into_iter().collect()),
        exposed_ports: Some(exposed.into_iter().collect()),
        healthcheck: spec.healthcheck.as_ref().map(healthcheck),
        stop_signal: spec.stop_signal.clone(),
        // Without one Podman kills at once.
        stop_timeout: spec
            .stop_grace
            .map(|grace| grace.whole_seconds())
            .or(dialect.podman.then_some(limits::USUAL_GRACE.as_secs() as i64)),
        tty: Some(spec.tty),
        open_stdin: Some(spec.stdin_open),
        networking_config: first.map(|first| NetworkingConfig {
            endpoints_config: Some(HashMap::from([(first.network.clone(), endpoint(first))])),
        }),
        host_config: Some(host_config),
        ..ContainerCreateBody::default()
    })
}

pub(super) fn endpoint(attachment: &NetworkAttachment) -> EndpointSettings {
    let fixed = attachment.ipv4.is_some() || attachment.ipv6.is_some();
    EndpointSettings {
        aliases: some(&attachment.aliases),
        ipam_config: fixed.then(|| EndpointIpamConfig {
            ipv4_address: attachment.ipv4.clone(),
            ipv6_address: attachment.ipv6.clone(),
            link_local_ips: None,
        }),
        ..EndpointSettings::default()
    }
}

fn some<T: Clone>(items: &[T]) -> Option<Vec<T>> {
    (!items.is_empty()).then(|| items.to_vec())
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn port_bindings(ports: &[Port]) -> PortMap {
    let mut map = PortMap::new();
    for port in ports {
        let binding = PortBinding {
            host_ip: Some(port.host_ip.clone()),
            host_port: Some(port.published.clone()),
        };
        map.entry(format!("{}/{}", port.target, port.protocol))
            .or_default()
            .get_or_insert_default()
            .push(binding);
    }
    map
}

fn restart(policy: &Restart) -> RestartPolicy {
    let (name, attempts) = match policy {
        Restart::No => (RestartPolicyNameEnum::NO, None),
        Restart::Always => (RestartPolicyNameEnum::ALWAYS, None),
        Restart::UnlessStopped => (RestartPolicyNameEnum::UNLESS_STOPPED, None),
        Restart::OnFailure { attempts } => (RestartPolicyNameEnum::ON_FAILURE, attempts.map(i64::from)),
    };
    RestartPolicy {
        name: Some(name),
        maximum_retry_count: attempts,
    }
}

fn healthcheck(check: &Healthcheck) -> HealthConfig {
    let nanos = |span: Option<crate::model::Span>| span.map(crate::model::Span::nanos);
    HealthConfig {
        test: some(&check.test),
        interval: nanos(check.interval),
        timeout: nanos(check.timeout),
        start_period: nanos(check.start_period),
        start_interval: nanos(check.start_interval),
        retries: check.retries.map(i64::from),
    }
}

/// Podman's `local` driver answers 500 from deep inside, so what it cannot do is said here.
fn log_config(spec: &ContainerSpec, dialect: &Dialect) -> Result<Option<HostConfigLogConfig>, EngineError> {
    let Some(logging) = &spec.logging else { return Ok(None) };
    if let Some(driver) = &logging.driver
        && dialect.podman
        && !["json-file", "k8s-file", "journald", "none", "passthrough"].contains(&driver.as_str())
    {
        return Err(EngineError::Unsupported {
            what: format!("log {} with the driver `{driver}`", spec.name),
            why: "Podman has json-file, k8s-file, journald and none; change `logging.driver`".into(),
        });
    }
    Ok(Some(HostConfigLogConfig {
        typ: logging.driver.clone(),
        config: Some(logging.options.clone().into_iter().collect()),
    }))
}

fn extra_hosts(spec: &ContainerSpec, dialect: &Dialect) -> Vec<String> {
    let resolved = |entry: &String| match (entry.strip_suffix(":host-gateway"), &dialect.host_gateway) {
        (Some(name), Some(address)) => format!("{name}:{address}"),
        _ => entry.clone(),
    };
    spec.extra_hosts.iter().map(resolved).collect()
}

fn ulimits(spec: &ContainerSpec, spell_limits: bool) -> Vec<ResourcesUlimits> {
    let mut all = spec.ulimits.clone();
    if spell_limits {
        for (name, limit) in podman::LIMITS {
            all.entry(name.to_owned()).or_insert(limit);
        }
    }
    all.into_iter()
        .map(|(name, Ulimit { soft, hard })| ResourcesUlimits {
            name: Some(name),
            soft: Some(soft),
            hard: Some(hard),
        })
        .collect()
}

fn device(text: &str) -> DeviceMapping {
    let mut parts = text.split(':');
    let host = parts.next().unwrap_or_default();
    DeviceMapping {
        path_on_host: Some(host.to_owned()),
        path_in_container: Some(parts.next().unwrap_or(host).to_owned()),
        cgroup_permissions: Some(parts.next().unwrap_or("rwm").to_owned()),
    }
}

/// Binds in the short form where only it can say something (SELinux), and on Podman, whose long form is cut at commas;
/// everything else in the long form, which never makes a missing folder on Docker.
fn mounts(spec: &ContainerSpec, dialect: &Dialect) -> Result<(Vec<String>, Vec<Mount>), EngineError> {
    let (mut binds, mut mounts) = (Vec::new(), Vec::new());
    for mount in &spec.mounts {
        match mount {
            SpecMount::Bind {
                source,
                target,
                read_only,
                propagation,
                selinux,
            } => {
                let source = source.to_str().ok_or_else(|| EngineError::Unsupported {
                    what: format!("mount {} into {}", source.display(), spec.name),
                    why: "its name is not UTF-8; rename it".into(),
                })?;
                if selinux.is_some() || dialect.podman && !source.contains(':') && !target.contains(':') {
                    let mut options = vec![if *read_only { "ro" } else { "rw" }];
                    options.extend(propagation.as_deref());
                    options.extend(selinux.as_deref());
                    binds.push(format!("{source}:{target}:{}", options.join(",")));
                } else {
                    mounts.push(Mount {
                        typ: Some(MountType::BIND),
                        source: Some(source.to_owned()),
                        target: Some(target.clone()),
                        read_only: Some(*read_only),
                        bind_options: self::propagation(propagation.as_deref(), spec)?,
                        ..Mount::default()
                    });
                }
            }
            SpecMount::Volume {
                source,
                target,
                read_only,
                nocopy,
            } => mounts.push(Mount {
                typ: Some(MountType::VOLUME),
                source: source.clone(),
                target: Some(target.clone()),
                read_only: Some(*read_only),
                volume_options: nocopy.then(|| MountVolumeOptions {
                    no_copy: Some(true),
                    ..MountVolumeOptions::default()
                }),
                ..Mount::default()
            }),
            SpecMount::Tmpfs { target, size, mode } => mounts.push(Mount {
                typ: Some(MountType::TMPFS),
                target: Some(target.clone()),
                tmpfs_options: (size.is_some() || mode.is_some()).then(|| MountTmpfsOptions {
                    size_bytes: size.map(signed),
                    mode: mode.map(i64::from),
                    options: None,
                }),
                ..Mount::default()
            }),
        }
    }
    let cut = |part: &Option<String>| part.as_deref().is_some_and(|text| text.contains(','));
    if dialect.podman && mounts.iter().any(|m| cut(&m.source) || cut(&m.target)) {
        return Err(EngineError::Unsupported {
            what: format!("create {}", spec.name),
            why: "a mount of it has both `:` and `,` in its path, or a `,` in a volume's; Podman reads neither".into(),
        });
    }
    Ok((binds, mounts))
}

fn propagation(word: Option<&str>, spec: &ContainerSpec) -> Result<Option<MountBindOptions>, EngineError> {
    use MountBindOptionsPropagationEnum as Propagation;
    let Some(word) = word else { return Ok(None) };
    let propagation = match word {
        "private" => Propagation::PRIVATE,
        "rprivate" => Propagation::RPRIVATE,
        "shared" => Propagation::SHARED,
        "rshared" => Propagation::RSHARED,
        "slave" => Propagation::SLAVE,
        "rslave" => Propagation::RSLAVE,
        other => {
            return Err(EngineError::Unsupported {
                what: format!("mount into {} with propagation `{other}`", spec.name),
                why: "there are private, shared and slave, each also with an r before".into(),
            });
        }
    };
    Ok(Some(MountBindOptions {
        propagation: Some(propagation),
        ..MountBindOptions::default()
    }))
}

/// At most three are ever asked.
fn name_servers(spec: &ContainerSpec, dialect: &Dialect) -> Option<Vec<String>> {
    let servers: Vec<String> = dialect.name_server.iter().chain(&spec.dns).cloned().collect();
    some(&servers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialect(podman: bool) -> Dialect<'static> {
        Dialect {
            podman,
            spell_limits: podman,
            image: "image",
            host_gateway: podman.then(|| "10.88.0.1".to_owned()),
            name_server: None,
        }
    }

    fn spec() -> ContainerSpec {
        let bind = |source: &str, selinux: Option<&str>| SpecMount::Bind {
            source: source.into(),
            target: "/t".into(),
            read_only: true,
            propagation: None,
            selinux: selinux.map(str::to_owned),
        };
        let attachment = |network: &str| NetworkAttachment {
            network: network.into(),
            aliases: vec!["web".into()],
            ..NetworkAttachment::default()
        };
        ContainerSpec {
            name: "c".into(),
            mounts: vec![bind("/plain", None), bind("/labelled", Some("Z"))],
            networks: vec![attachment("one"), attachment("two")],
            extra_hosts: vec!["host.docker.internal:host-gateway".into(), "a:::1".into()],
            ulimits: [("nofile".to_owned(), Ulimit { soft: 5, hard: 6 })].into(),
            ..ContainerSpec::default()
        }
    }

    #[test]
    fn a_container_is_created_with_its_first_network_only() {
        let body = body(&spec(), &[], &dialect(false)).expect("a body");
        let networks = body
            .networking_config
            .and_then(|n| n.endpoints_config)
            .expect("endpoints");
        assert_eq!(networks.keys().collect::<Vec<_>>(), ["one"]);
        assert_eq!(networks["one"].aliases.as_deref(), Some(&["web".to_owned()][..]));
        assert_eq!(body.host_config.and_then(|h| h.network_mode).as_deref(), Some("one"));
    }

    #[test]
    fn docker_takes_long_mounts_and_podman_short_ones() {
        let host = |podman| {
            body(&spec(), &[], &dialect(podman))
                .expect("a body")
                .host_config
                .expect("host")
        };
        let docker = host(false);
        assert_eq!(docker.binds.as_deref(), Some(&["/labelled:/t:ro,Z".to_owned()][..]));
        assert_eq!(docker.mounts.map(|m| m.len()), Some(1));
        let podman = host(true);
        assert_eq!(
            podman.binds.as_deref(),
            Some(&["/plain:/t:ro".to_owned(), "/labelled:/t:ro,Z".to_owned()][..])
        );
    }

    #[test]
    fn podman_gets_both_limits_and_the_gateways_address() {
        let host = |podman| {
            body(&spec(), &[], &dialect(podman))
                .expect("a body")
                .host_config
                .expect("host")
        };
        let limits = |host: &HostConfig| -> Vec<(String, i64)> {
            let all = host.ulimits.iter().flatten();
            all.filter_map(|l| Some((l.name.clone()?, l.hard?))).collect()
        };
        assert_eq!(limits(&host(false)), [("nofile".to_owned(), 6)]);
        assert_eq!(
            limits(&host(true)),
            [("nofile".to_owned(), 6), ("nproc".to_owned(), 10_000)]
        );
        let hosts = |podman| host(podman).extra_hosts.unwrap_or_default();
        assert_eq!(hosts(false), ["host.docker.internal:host-gateway", "a:::1"]);
        assert_eq!(hosts(true), ["host.docker.internal:10.88.0.1", "a:::1"]);
    }

    #[test]
    fn what_podman_cannot_log_or_mount_is_said_before_it_is_asked() {
        let mut local = spec();
        local.logging = Some(crate::stack::Logging {
            driver: Some("local".into()),
            options: Default::default(),
        });
        assert!(body(&local, &[], &dialect(false)).is_ok());
        assert!(matches!(
            body(&local, &[], &dialect(true)),
            Err(EngineError::Unsupported { .. })
        ));
        let mut odd = spec();
        odd.mounts = vec![SpecMount::Bind {
            source: "/a:b,type=tmpfs".into(),
            target: "/t".into(),
            read_only: false,
            propagation: None,
            selinux: None,
        }];
        assert!(body(&odd, &[], &dialect(false)).is_ok());
        assert!(matches!(
            body(&odd, &[], &dialect(true)),
            Err(EngineError::Unsupported { .. })
        ));
    }
}
