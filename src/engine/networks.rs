use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use bollard::models::{Ipam, IpamConfig, NetworkConnectRequest, NetworkCreateRequest, NetworkDisconnectRequest};
use serde_json::json;

use crate::model::ContainerId;
use crate::plan::{NetworkAttachment, NetworkSpec, ObservedNetwork, labels};
use crate::ports::EngineError;

use super::body;
use super::bollard::Bollard;
use super::containers::matches_label;
use super::error::{call, refused};
use super::lenient;
use super::limits;
use super::wire;

/// What Podman 4.3 says when another network's interface goes away while it looks for an address that is free.
const VANISHED: &str = "no such network interface";
/// How often that is tried again, and after what pause.
const AGAIN: usize = 10;
const PAUSE: Duration = Duration::from_millis(100);

/// What Docker says of a name that several networks have.
const AMBIGUOUS: &str = " is ambiguous";

impl Bollard {
    pub(super) async fn networks_with(&self, label: &str) -> Result<Vec<ObservedNetwork>, EngineError> {
        let filters = json!({ "label": [label] }).to_string();
        let list = self.list("/networks", &filters, false).await?;
        let mut networks: Vec<ObservedNetwork> = lenient::items(&list)
            .iter()
            .filter_map(lenient::network)
            .filter(|network| matches_label(&network.labels, label))
            .collect();
        networks.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(networks)
    }

    /// By its whole name or id: the engines also answer to the first digits of an id.
    pub(super) async fn inspect_network(&self, name: &str) -> Result<Option<ObservedNetwork>, EngineError> {
        if !wire::askable(name) {
            return Ok(None);
        }
        let found = self
            .get(&format!("/networks/{}", wire::escape(name)), limits::READ)
            .await;
        let found = match found {
            Err(EngineError::Refused { message, .. }) if message.contains(AMBIGUOUS) => {
                let same = self.of_name(name).await?;
                return Ok(same.into_iter().next());
            }
            found => found?,
        };
        let network = found.as_ref().and_then(lenient::network);
        Ok(network.filter(|network| network.name == name || network.id == name))
    }

    /// All networks of this name, the first to be made first.
    async fn of_name(&self, name: &str) -> Result<Vec<ObservedNetwork>, EngineError> {
        let filters = json!({ "name": [name] }).to_string();
        let list = self.list("/networks", &filters, false).await?;
        let mut same: Vec<(&str, ObservedNetwork)> = lenient::items(&list)
            .iter()
            .filter_map(|network| Some((lenient::text(network, "/Created"), lenient::network(network)?)))
            .filter(|(_, network)| network.name == name)
            .collect();
        same.sort_by(|(a, one), (b, other)| (a, &one.id).cmp(&(b, &other.id)));
        Ok(same.into_iter().map(|(_, network)| network).collect())
    }

    /// Docker makes a second network of the same name without a word, so the name is looked up first.
    pub(super) async fn make_network(&self, spec: &NetworkSpec) -> Result<(), EngineError> {
        let what = format!("network {}", spec.name);
        let _turn = self.networking.lock().await;
        if self.inspect_network(&spec.name).await?.is_some() {
            return Err(EngineError::Conflict { what });
        }
        let mut options: HashMap<String, String> = spec.driver_opts.clone().into_iter().collect();
        if spec.dns_disabled && self.podman() {
            options.insert("disable_dns".into(), "true".into());
        }
        let pools: Vec<IpamConfig> = spec
            .subnets
            .iter()
            .map(|pool| IpamConfig {
                subnet: pool.subnet.clone(),
                gateway: pool.gateway.clone(),
                ip_range: pool.ip_range.clone(),
                auxiliary_addresses: None,
            })
            .collect();
        let request = NetworkCreateRequest {
            name: spec.name.clone(),
            driver: spec.driver.clone(),
            internal: Some(spec.internal),
            attachable: Some(spec.attachable),
            enable_ipv6: Some(spec.ipv6),
            options: Some(options),
            labels: Some(spec.labels.clone().into_iter().collect()),
            ipam: (!pools.is_empty()).then(|| Ipam {
                config: Some(pools),
                ..Ipam::default()
            }),
            ..NetworkCreateRequest::default()
        };
        self.count_write();
        let mut made = call(&what, limits::CHANGE, self.docker.create_network(request.clone())).await?;
        for _ in 0..AGAIN {
            if !made.as_ref().is_err_and(|message| message.contains(VANISHED)) {
                break;
            }
            tokio::time::sleep(PAUSE).await;
            made = call(&what, limits::CHANGE, self.docker.create_network(request.clone())).await?;
        }
        match made {
            Ok(created) if self.podman() || self.first_of_its_name(&spec.name, &created.id).await? => Ok(()),
            Ok(created) => {
                self.drop_network(&created.id).await?;
                Err(EngineError::Conflict { what })
            }
            Err(message) => Err(match self.inspect_network(&spec.name).await? {
                Some(_) => EngineError::Conflict { what },
                None => refused(&what, message),
            }),
        }
    }

    /// Whether nobody made a network of this name at the same time and a moment earlier: with two of them Docker refuses
    /// every use of the name.
    async fn first_of_its_name(&self, name: &str, id: &str) -> Result<bool, EngineError> {
        Ok(self.of_name(name).await?.first().is_none_or(|network| network.id == id))
    }

    /// Of the networks of a project that a refusal calls ambiguous the first one stays; whether there were several.
    ///
    /// Docker may end the making of a network long after whoever asked for it was cut off and asked again.
    pub(super) async fn leave_one_of(&self, refusal: &str) -> Result<bool, EngineError> {
        let name = refusal
            .split_once(AMBIGUOUS)
            .and_then(|(before, _)| before.rsplit(' ').next());
        let Some(name) = name else { return Ok(false) };
        let same = self.of_name(name).await?;
        for network in same
            .iter()
            .skip(1)
            .filter(|network| network.labels.contains_key(labels::PROJECT))
        {
            // One that somebody is attached to is refused, and stays.
            if let Err(error) = self.drop_network(&network.id).await {
                tracing::warn!("a second network {name} stays: {error}");
            }
        }
        Ok(same.len() > 1)
    }

    pub(super) async fn drop_network(&self, name: &str) -> Result<(), EngineError> {
        let Some(network) = self.inspect_network(name).await? else {
            return Ok(());
        };
        let what = format!("the removal of network {name}");
        self.count_write();
        let mut removed = call(&what, limits::CHANGE, self.docker.remove_network(&wire::escape(name))).await?;
        // Not by its id at once: Podman 4.3 then also removes one that is in use.
        if removed.as_ref().is_err_and(|message| message.contains(AMBIGUOUS)) {
            let id = wire::escape(&network.id);
            removed = call(&what, limits::CHANGE, self.docker.remove_network(&id)).await?;
        }
        match removed {
            Ok(()) => Ok(()),
            Err(message) => match self.inspect_network(name).await? {
                Some(_) => Err(refused(&what, message)),
                None => Ok(()),
            },
        }
    }

    pub(super) async fn attach(
        &self,
        network: &str,
        id: &ContainerId,
        aliases: &[String],
        ipv4: Option<&str>,
        ipv6: Option<&str>,
    ) -> Result<(), EngineError> {
        let what = format!("connecting {id} to {network}");
        let attachment = NetworkAttachment {
            network: network.to_owned(),
            aliases: aliases.to_vec(),
            ipv4: ipv4.map(str::to_owned),
            ipv6: ipv6.map(str::to_owned),
        };
        let request = NetworkConnectRequest {
            container: id.to_string(),
            endpoint_config: Some(body::endpoint(&attachment)),
        };
        self.count_write();
        let name_in_path = wire::escape(network);
        let mut connected = call(
            &what,
            limits::CHANGE,
            self.docker.connect_network(&name_in_path, request.clone()),
        )
        .await?;
        if let Err(message) = &connected
            && self.leave_one_of(message).await?
        {
            connected = call(
                &what,
                limits::CHANGE,
                self.docker.connect_network(&name_in_path, request),
            )
            .await?;
        }
        let Err(message) = connected else {
            return Ok(());
        };
        let Some(container) = self.inspect_container(id.as_str()).await? else {
            return Err(EngineError::NotFound {
                what: format!("container {id}"),
            });
        };
        let wanted: Option<IpAddr> = ipv4.or(ipv6).and_then(|ip| ip.parse().ok());
        match container.networks.get(network) {
            None if self.inspect_network(network).await?.is_none() => Err(EngineError::NotFound {
                what: format!("network {network}"),
            }),
            None => Err(refused(&what, message)),
            Some(found)
                if aliases.iter().all(|alias| found.aliases.contains(alias))
                    && (wanted.is_none() || found.ip.is_none() || wanted == found.ip) =>
            {
                Ok(())
            }
            Some(_) => Err(EngineError::Conflict {
                what: format!("the connection of {} to {network}", container.name),
            }),
        }
    }

    pub(super) async fn detach(&self, network: &str, id: &ContainerId) -> Result<(), EngineError> {
        let what = format!("disconnecting {id} from {network}");
        let request = NetworkDisconnectRequest {
            container: id.to_string(),
            force: Some(true),
        };
        self.count_write();
        let name_in_path = wire::escape(network);
        let disconnected = self.docker.disconnect_network(&name_in_path, request);
        match call(&what, limits::CHANGE, disconnected).await? {
            Ok(()) => Ok(()),
            Err(message) => match self.inspect_container(id.as_str()).await? {
                Some(container) if container.networks.contains_key(network) => Err(refused(&what, message)),
                _ => Ok(()),
            },
        }
    }
}
