use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::ports::{Enforces, EngineError, EngineInfo, EngineKind};

use super::bollard::Bollard;
use super::lenient;
use super::podman;
use super::wire::{self, Address};

/// A socket that does not answer a version request in this time is taken for dead.
const PATIENCE: Duration = Duration::from_secs(10);

/// Connects to `host` (what `--host` or `DOCKER_HOST` says), or without one to the first of `candidates` that answers.
///
/// Hosts are `unix:///path` or `tcp://address:port`.
pub async fn connect(host: Option<&str>, candidates: &[String]) -> Result<Bollard, EngineError> {
    let hosts: Vec<&str> = match host {
        Some(host) => vec![host],
        None => candidates.iter().map(String::as_str).collect(),
    };
    let mut tried = Vec::new();
    for host in hosts {
        let address = Address::parse(host)?;
        match answers(&address, host).await {
            Ok(info) => {
                return Bollard::new(address, info);
            }
            Err(why) => tried.push(format!("{host} ({why})")),
        }
    }
    Err(EngineError::Unreachable {
        tried: match tried.is_empty() {
            true => "any socket, since none was named".into(),
            false => tried.join(", "),
        },
    })
}

/// Connects once more to an engine that has described itself before; `None` where another one answers by now.
///
/// A ping takes a millisecond. Podman 4.3 runs three programs to describe itself, which takes the best part of a second.
pub async fn reconnect(known: &EngineInfo) -> Option<Bollard> {
    let address = Address::parse(&known.host).ok()?;
    let name = match known.kind {
        EngineKind::Docker => "Docker",
        EngineKind::Podman => "Libpod",
    };
    let said = wire::server(&address, PATIENCE).await.ok()?;
    let same = said.split(' ').next() == Some(&format!("{name}/{}", known.version));
    Bollard::new(address, known.clone()).ok().filter(|_| same)
}

/// What answers there, or in a few words why nothing does.
async fn answers(address: &Address, host: &str) -> Result<EngineInfo, String> {
    let version = ask(address, "/version").await?;
    let info = ask(address, "/info").await?;
    Ok(describe(host, &version, &info))
}

async fn ask(address: &Address, path: &str) -> Result<Value, String> {
    match wire::get(address, path, PATIENCE).await {
        Ok(Ok(Some(value))) if value.is_object() => Ok(value),
        Ok(Ok(_)) => Err("something else than an engine answers".into()),
        Ok(Err(message)) => Err(message),
        Err(EngineError::Broken { source, .. }) => Err(root(source.as_ref())),
        Err(EngineError::Timeout { seconds, .. }) => Err(format!("no answer in {seconds} s")),
        Err(other) => Err(other.to_string()),
    }
}

fn root(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    match innermost.downcast_ref::<std::io::Error>().map(std::io::Error::kind) {
        Some(std::io::ErrorKind::NotFound) => "no such socket".into(),
        Some(std::io::ErrorKind::PermissionDenied) => "permission denied".into(),
        Some(std::io::ErrorKind::ConnectionRefused) => "nothing listens".into(),
        _ => innermost.to_string(),
    }
}

fn describe(host: &str, version: &Value, info: &Value) -> EngineInfo {
    let components = version.pointer("/Components").map_or(&[][..], lenient::items);
    let podman = components.iter().find(|c| lenient::text(c, "/Name") == "Podman Engine");
    let rootless = lenient::strings(info, "/SecurityOptions")
        .iter()
        .any(|option| option.split(',').any(|part| part == "name=rootless"))
        || info.pointer("/Rootless").and_then(Value::as_bool) == Some(true);
    let count = |pointer: &str| info.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
    let named = match lenient::text(version, "/Arch") {
        "" => lenient::text(info, "/Architecture"),
        arch => arch,
    };
    EngineInfo {
        kind: match podman {
            Some(_) => EngineKind::Podman,
            None => EngineKind::Docker,
        },
        version: podman
            .map_or(lenient::text(version, "/Version"), |component| {
                lenient::text(component, "/Version")
            })
            .to_owned(),
        api_version: lenient::text(version, "/ApiVersion").to_owned(),
        host: host.to_owned(),
        rootless,
        architecture: lenient::architecture(named),
        memory: count("/MemTotal"),
        cpus: u32::try_from(count("/NCPU")).unwrap_or(u32::MAX),
        cgroup_version: lenient::text(info, "/CgroupVersion").to_owned(),
        root_dir: Some(lenient::text(info, "/DockerRootDir"))
            .filter(|dir| dir.starts_with('/'))
            .map(PathBuf::from),
        enforces: enforces(info, rootless),
        log_drivers: lenient::strings(info, "/Plugins/Log"),
    }
}

/// Docker's words, which Podman's `/info` has too. Without cgroup v2 nobody but root may limit anything, whatever an
/// engine of somebody else's says.
fn enforces(info: &Value, rootless: bool) -> Enforces {
    let nothing = rootless && matches!(lenient::text(info, "/CgroupVersion"), "1" | "v1");
    let said = |pointer: &str| match nothing {
        true => Some(false),
        false => info.pointer(pointer).and_then(Value::as_bool),
    };
    Enforces {
        memory: said("/MemoryLimit"),
        swap: said("/SwapLimit"),
        cpus: said("/CpuCfsQuota"),
        cpu_shares: said("/CPUShares"),
        cpuset: said("/CPUSet"),
        pids: said("/PidsLimit"),
    }
}

/// Whether containers of this engine need their limits on files and processes spelled out (see [`podman`]).
pub(super) fn needs_limits(info: &EngineInfo) -> bool {
    info.kind == EngineKind::Podman && !info.rootless && podman::lacks_sys_resource()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn without_an_engine_every_place_tried_is_named_with_its_reason() {
        let folder = tempfile::tempdir().expect("a folder");
        let absent = format!("unix://{}/none.sock", folder.path().display());
        let dead = folder.path().join("dead.sock");
        drop(std::os::unix::net::UnixListener::bind(&dead).expect("a socket"));
        let candidates = [absent.clone(), format!("unix://{}", dead.display())];
        let Err(error) = connect(None, &candidates).await else {
            panic!("nothing is there to answer");
        };
        let text = error.to_string();
        assert!(text.contains(&format!("{absent} (no such socket)")), "{text}");
        assert!(text.contains("(nothing listens)"), "{text}");
        assert!(text.contains("--host or DOCKER_HOST"), "{text}");
    }

    #[test]
    fn podman_is_known_by_its_component() {
        let version = json!({ "Components": [{ "Name": "Podman Engine", "Version": "4.3.1" }],
            "Version": "4.3.1", "ApiVersion": "1.41", "Arch": "x86_64" });
        let info = describe(
            "unix:///p",
            &version,
            &json!({ "SecurityOptions": ["name=seccomp", "name=rootless"] }),
        );
        assert_eq!((info.kind, info.rootless), (EngineKind::Podman, true));
        assert_eq!(info.architecture, "amd64");
        let docker = describe("unix:///d", &json!({ "Version": "20.10.24" }), &json!(null));
        assert_eq!((docker.kind, docker.rootless), (EngineKind::Docker, false));
        assert_eq!(docker.enforces, Enforces::default(), "what is not said is not known");
    }

    #[test]
    fn limits_are_what_the_engine_says_and_none_for_a_rootless_one_on_cgroup_v1() {
        let info = json!({ "MemoryLimit": true, "SwapLimit": false, "PidsLimit": "yes", "CgroupVersion": "1" });
        let found = enforces(&info, false);
        assert_eq!((found.memory, found.swap, found.pids), (Some(true), Some(false), None));
        let found = enforces(&info, true);
        assert_eq!((found.memory, found.cpus), (Some(false), Some(false)));
    }
}
