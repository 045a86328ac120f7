//! What a container engine says of its containers and networks: raw as its API gave it, and decoded.

use crate::{Blob, Stamp};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

/// All containers and networks of an engine, raw: JSON without the values of environments and of foreign labels.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineRecord {
    /// The answer to `GET /containers/json?all=1`.
    pub containers: Blob,
    /// The answer to `GET /networks`.
    pub networks: Blob,
}

/// One container in detail, raw.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerRecord {
    /// The answer to `GET /containers/ID/json`.
    pub inspected: Blob,
}

/// All containers and networks of an engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Engine {
    /// The containers, stopped ones too.
    pub containers: Vec<Container>,
    /// The networks.
    pub networks: Vec<EngineNetwork>,
}

/// A container, as the list of all has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// Its id, 64 hexadecimal digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The service of a Compose project that it is of.
    pub service: Option<String>,
    /// That project.
    pub project: Option<String>,
    /// Whether it was started beside the project's services, for one command (`docker compose run`).
    pub is_one_off: bool,
    /// `running`, `exited`, `paused`, `restarting`, …
    pub state: String,
    /// The networks that it is attached to.
    pub attachments: Vec<Attachment>,
    /// The ports that it opens.
    pub ports: Vec<ContainerPort>,
}

/// A container in a network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attachment {
    /// The network's name.
    pub network: String,
    /// The container's addresses in it.
    pub addresses: Vec<IpAddr>,
    /// The address of the host in it.
    pub gateway: Option<IpAddr>,
}

/// A port of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContainerPort {
    /// The port inside.
    pub inner: u16,
    /// Where the host publishes it.
    pub published: Option<SocketAddr>,
}

/// A network of an engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineNetwork {
    /// Its name.
    pub name: String,
    /// `bridge`, `host`, `macvlan`, …
    pub driver: String,
}

/// More of one container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerDetail {
    /// `running`, `exited`, …
    pub state: String,
    /// The code with which its process ended last.
    pub exit_code: Option<i64>,
    /// Whether the kernel killed a process of it for its memory limit.
    pub oom_killed: bool,
    /// How often the engine restarted it.
    pub restarts: u64,
    /// When its process was started last.
    pub started: Option<Stamp>,
    /// When its process ended last.
    pub finished: Option<Stamp>,
    /// Whether, and when, the engine starts it again.
    pub restart_policy: RestartPolicy,
    /// The ports that it opens while it runs, as they were set.
    pub ports: Vec<ContainerPort>,
    /// What its process may take of memory, in bytes.
    pub memory_limit: Option<u64>,
    /// What kept it from starting, in the engine's words; empty if nothing did.
    pub error: String,
    /// Who takes its output: `json-file`, `journald`, …
    pub log_driver: String,
    /// The file of its output on the host; empty if the driver has none.
    pub log_path: String,
    /// The addresses that it was given for good.
    pub fixed_addresses: Vec<IpAddr>,
}

/// When an engine starts a container again that ended (`docker run --restart`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RestartPolicy {
    /// Whenever it ends, and with the engine.
    Always,
    /// Never.
    #[default]
    No,
    /// When it ends with another code than 0; so often at most, if that is set.
    OnFailure(Option<u64>),
    /// Whenever it ends, and with the engine, unless somebody stopped it.
    UnlessStopped,
}

impl RestartPolicy {
    /// Its name, as the engine's command line takes it.
    pub fn words(self) -> String {
        match self {
            Self::Always => "always".to_owned(),
            Self::No => "no".to_owned(),
            Self::OnFailure(Some(most)) => format!("on-failure:{most}"),
            Self::OnFailure(None) => "on-failure".to_owned(),
            Self::UnlessStopped => "unless-stopped".to_owned(),
        }
    }

    /// Whether a container that ended with such a code is started again, unless somebody stopped it or it was so often already.
    pub fn restarts(self, code: i64) -> bool {
        match self {
            Self::Always | Self::UnlessStopped => true,
            Self::OnFailure(_) => code != 0,
            Self::No => false,
        }
    }
}

impl Engine {
    /// The container whose id begins so.
    pub fn container(&self, id: &str) -> Option<&Container> {
        self.containers.iter().find(|container| !id.is_empty() && container.id.starts_with(id))
    }
}

impl Container {
    /// Whether its process runs.
    pub fn is_running(&self) -> bool {
        self.state == "running"
    }

    /// Whether the engine's name server knows it by that name, in networks that are not the default one.
    pub fn is_called(&self, name: &str) -> bool {
        let is_short_id = name.len() == 12 && self.id.starts_with(name);
        name == self.name || self.service.as_deref() == Some(name) || is_short_id
    }

    /// The networks with a name server of the engine that two containers share: in the default ones names are unknown.
    pub fn shared_networks<'c>(&'c self, other: &'c Self) -> impl Iterator<Item = &'c str> {
        self.user_networks().filter(|name| other.user_networks().any(|own| own == *name))
    }

    /// The networks that somebody made: all but `bridge`, `host` and `none` (Podman: `podman`).
    pub fn user_networks(&self) -> impl Iterator<Item = &str> {
        let own = self.attachments.iter().map(|own| own.network.as_str());
        own.filter(|name| !matches!(*name, "bridge" | "host" | "none" | "podman"))
    }

    /// Whether two containers are attached to a common network, whatever it is.
    pub fn meets(&self, other: &Self) -> bool {
        self.attachments
            .iter()
            .any(|own| other.attachments.iter().any(|theirs| own.network == theirs.network))
    }

    /// Whether an address is one of its own.
    pub fn has_address(&self, address: IpAddr) -> bool {
        self.attachments.iter().any(|own| own.addresses.contains(&address))
    }

    /// The address of the host in one of its networks.
    pub fn gateway(&self) -> Option<IpAddr> {
        self.attachments.iter().find_map(|own| own.gateway)
    }
}
