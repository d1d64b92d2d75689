use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;

use futures_util::future::join_all;

use super::images::registry;
use super::scene::{Scene, list};
use super::{Finding, Severity, Subject};

const RESOLV_CONF: &str = "/etc/resolv.conf";
/// Where systemd-resolved says whom it asks; Docker reads it in place of its own loopback address.
const RESOLVED: &str = "/run/systemd/resolve/resolv.conf";

/// Names: of registries, and those containers ask for.
pub async fn check(scene: &Scene<'_>) -> Vec<Finding> {
    let mut found = servers(scene);
    found.extend(loopback(scene));
    found.extend(registries(scene).await);
    found
}

fn servers(scene: &Scene<'_>) -> Vec<Finding> {
    let wrong = scene.services().flat_map(|service| {
        let servers = service.dns.iter();
        servers.filter_map(move |server| server.parse::<IpAddr>().is_err().then_some((service, server)))
    });
    wrong
        .map(|(service, server)| {
            Finding::new(
                Severity::Error,
                "dns-server-invalid",
                Subject::service(&service.name),
                format!("{}: `dns` has `{server}`, which is not an IP address", service.name),
                "the engine refuses to make the container",
                "write the server's address",
            )
        })
        .collect()
}

fn nameservers(text: &str) -> Vec<IpAddr> {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .filter_map(|rest| rest.trim().split('%').next()?.parse().ok())
        .collect()
}

fn loopback(scene: &Scene<'_>) -> Option<Finding> {
    let engine = scene.local_engine().filter(|engine| !engine.podman())?;
    let text = match scene.machine.text(RESOLV_CONF.as_ref()) {
        Ok(text) => text,
        Err(error) => {
            return Some(Finding::unchecked(
                Severity::Note,
                "dns-unchecked",
                Subject::Host,
                "which name servers this host asks",
                format!("{RESOLV_CONF}: {error}"),
                "look at it yourself",
            ));
        }
    };
    let servers = nameservers(&text);
    let useless = servers.iter().all(IpAddr::is_loopback);
    (useless && scene.machine.look(RESOLVED.as_ref()).is_err()).then(|| {
        Finding::new(
            Severity::Note,
            "dns-loopback",
            Subject::Host,
            match servers.is_empty() {
                true => format!("{RESOLV_CONF} names no name server"),
                false => format!("{RESOLV_CONF} names loopback addresses only"),
            },
            format!(
                "containers cannot reach those; {} gives them 8.8.8.8 instead, which knows no name of your own network",
                engine.title()
            ),
            "nothing, if containers need public names only; else `dns:` at the services, or in /etc/docker/daemon.json",
        )
    })
}

/// Whether the registries of images that are to be pulled have an address.
async fn registries(scene: &Scene<'_>) -> Vec<Finding> {
    let Some(engine) = scene.local_engine() else {
        return Vec::new();
    };
    let mut wanted: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let built = |image: &String| {
        scene
            .services()
            .any(|service| service.build.is_some() && service.image.as_ref() == Some(image))
    };
    for (image, _) in engine
        .images
        .iter()
        .filter(|(image, info)| info.is_none() && !built(image))
    {
        let host = registry(image).split(':').next().unwrap_or_default();
        if host != "localhost" && host.parse::<IpAddr>().is_err() {
            wanted.entry(host).or_default().push(image);
        }
    }
    let asked = wanted.into_iter().map(|(host, images)| async move {
        let name = if host == "docker.io" {
            "registry-1.docker.io"
        } else {
            host
        };
        scene
            .machine
            .resolve(name)
            .await
            .err()
            .map(|error| unresolved(name, &images, &error))
    });
    join_all(asked).await.into_iter().flatten().collect()
}

fn unresolved(name: &str, images: &[&str], error: &io::Error) -> Finding {
    Finding::new(
        Severity::Warning,
        "registry-unresolved",
        Subject::Host,
        format!("the registry {name} has no address here: {error}"),
        format!("{} could not be pulled from it", list(images)),
        "look at /etc/resolv.conf and the network, or bring the images by `docker load` or `podman load`",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_are_read_as_the_resolver_reads_them() {
        let text = "# nameserver 1.1.1.1\nsearch x\nnameserver 127.0.0.53\nnameserver\tfe80::1%eth0\nnameserver x\n";
        let expected: [IpAddr; 2] = ["127.0.0.53".parse().expect("one"), "fe80::1".parse().expect("one")];
        assert_eq!(nameservers(text), expected);
    }
}
