use std::collections::BTreeMap;

use crate::model::Reference;
use crate::ports::ImageInfo;

use super::engine::version;
use super::scene::{EngineView, Scene, list};
use super::{Finding, Severity, Subject};

/// The oldest HAProxy the router is made for.
const ROUTER: (u32, u32) = (2, 6);

/// Images: here, of the right architecture, and named so that they stay what they are.
pub fn check(scene: &Scene<'_>) -> Vec<Finding> {
    let users = users(scene);
    let mut found: Vec<Finding> = users.iter().filter_map(|(image, who)| unpinned(image, who)).collect();
    found.extend(router_version(scene));
    if let Some(engine) = scene.engine {
        for (image, who) in &users {
            match engine.images.get(*image) {
                Some(None) => found.push(missing(scene, image, who)),
                Some(Some(info)) => found.extend(architecture(scene, engine, image, info)),
                None => {}
            }
        }
        found.extend(emulated(scene, engine));
    }
    found
}

/// Images by reference, with who wants them.
fn users<'a>(scene: &Scene<'a>) -> BTreeMap<&'a str, Vec<&'a str>> {
    let mut users: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for service in scene.services() {
        if let Some(image) = &service.image {
            users.entry(image).or_default().push(service.name.as_str());
        }
    }
    if scene.config.routed().next().is_some() {
        users.entry(&scene.config.router.image).or_default().push("the router");
    }
    users
}

fn unpinned(image: &str, who: &[&str]) -> Option<Finding> {
    matches!(Reference::split(image).1, None | Some("latest")).then(|| {
        Finding::new(
            Severity::Note,
            "image-unpinned",
            Subject::Image(image.to_owned()),
            format!("the image {image} of {} has no version", list(who)),
            "`latest` is another image tomorrow: a host that is set up again, or a drill elsewhere, gets something else",
            "name a version, such as `name:1.4.2`",
        )
    })
}

fn missing(scene: &Scene<'_>, image: &str, who: &[&str]) -> Finding {
    let what = format!("the image {image} of {} is not on this host", list(who));
    let subject = Subject::Image(image.to_owned());
    let built = scene
        .services()
        .any(|service| service.build.is_some() && service.image.as_deref() == Some(image));
    let (severity, code, reason, remedy) = match (built, image.starts_with("localhost/")) {
        (true, _) => (
            Severity::Warning,
            "image-not-built",
            "the Compose file builds it, and arkwright builds nothing itself: `up` would look for it in a registry",
            "`docker compose build` or `podman build` first",
        ),
        (false, true) => (
            Severity::Warning,
            "image-not-built",
            "a name under localhost/ is of an image that was built here; no registry has it",
            "build it, or load it with `docker load` or `podman load`",
        ),
        (false, false) => (
            Severity::Note,
            "image-missing",
            "the first start takes as long as its download",
            "nothing: `up` pulls it; to see now whether that works, pull it yourself",
        ),
    };
    Finding::new(severity, code, subject, what, reason, remedy)
}

fn architecture(scene: &Scene<'_>, engine: &EngineView, image: &str, info: &ImageInfo) -> Option<Finding> {
    let (own, host) = (info.architecture.as_str(), engine.info.architecture.as_str());
    if own.is_empty() || host.is_empty() || own == host {
        return None;
    }
    let emulator = match own {
        "amd64" => "qemu-x86_64",
        "arm64" => "qemu-aarch64",
        "386" => "qemu-i386",
        other => &format!("qemu-{other}"),
    };
    let handler = std::path::Path::new("/proc/sys/fs/binfmt_misc").join(emulator);
    let emulated = engine.local() && scene.machine.look(&handler).is_ok();
    let native = own == "386" && host == "amd64" || own == "arm" && host == "arm64";
    (!native).then(|| {
        Finding::new(
            if emulated { Severity::Warning } else { Severity::Error },
            "image-architecture",
            Subject::Image(image.to_owned()),
            format!("the image {image} is for {own}, and this host is {host}"),
            match emulated {
                true => "it runs emulated, several times slower",
                false => "its program cannot be run here (`exec format error`)",
            },
            format!("pull or build it for {host}"),
        )
    })
}

/// `platform:` names another architecture than the host's.
fn emulated(scene: &Scene<'_>, engine: &EngineView) -> Vec<Finding> {
    let host = engine.info.architecture.as_str();
    let asked = scene.services().filter_map(|service| {
        let platform = service.platform.as_deref()?;
        let architecture = platform.split('/').nth(1).unwrap_or(platform);
        let same = match architecture {
            "x86_64" => host == "amd64",
            "aarch64" => host == "arm64",
            other => other == host,
        };
        (!same && !host.is_empty()).then_some((service, platform))
    });
    asked
        .map(|(service, platform)| {
            Finding::new(
                Severity::Warning,
                "platform-foreign",
                Subject::service(&service.name),
                format!(
                    "{} asks for `platform: {platform}`, and this host is {host}",
                    service.name
                ),
                "it runs emulated and slower, or not at all",
                format!("remove `platform`, or name linux/{host}"),
            )
        })
        .collect()
}

/// By the tag alone: what is inside an image with another name nobody knows without running it.
fn router_version(scene: &Scene<'_>) -> Option<Finding> {
    let image = &scene.config.router.image;
    scene.config.routed().next()?;
    let tag = Reference::split(image).1?;
    let found = version(tag.split('-').next().unwrap_or_default());
    let haproxy = image.split(['/', ':', '@']).any(|part| part == "haproxy");
    (haproxy && found > (0, 0) && found < ROUTER).then(|| {
        Finding::new(
            Severity::Error,
            "router-old",
            Subject::Image(image.clone()),
            format!(
                "the router's image {image} is older than HAProxy {}.{}",
                ROUTER.0, ROUTER.1
            ),
            "its configuration and runtime commands are of that version",
            "set `router: { image: … }` in arkwright.yaml to a newer one",
        )
    })
}

/// The registry an image comes from, as Docker reads references.
pub fn registry(image: &str) -> &str {
    Reference::named_registry(image).unwrap_or("docker.io")
}
