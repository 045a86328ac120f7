//! What container engines of the host say of the gateway's container and of the others.

use super::{Case, or_ask};
use crate::cause::Asks;
use std::collections::BTreeSet;
use why502_facts::{Container, Engine, Gap, Observed, Process};

/// Where engines listen unless they are told otherwise.
const DOCKER: &str = "/var/run/docker.sock";
const PODMAN: &str = "/run/podman/podman.sock";
/// So many sockets are asked.
const MAX_SOCKETS: usize = 4;

/// The engines of the host, as far as they answer.
pub(crate) struct Engines<'c> {
    known: Vec<(String, &'c Engine)>,
    /// Why others, or none, could be asked.
    pub(crate) gap: Option<Gap>,
}

impl<'c> Engines<'c> {
    /// The container whose id begins so, with its engine's socket.
    pub(crate) fn container(&self, id: &str) -> Option<&'c Container> {
        self.known.iter().find_map(|(_, engine)| engine.container(id))
    }

    /// All containers, each with its engine's socket.
    pub(crate) fn containers(&self) -> impl Iterator<Item = (&str, &'c Container)> {
        self.known.iter().flat_map(|(socket, engine)| {
            engine.containers.iter().map(move |container| (socket.as_str(), container))
        })
    }
}

impl Case<'_> {
    /// The engines of the host; an error asks for them. Where nothing runs in a container, there is none to ask.
    pub(crate) fn engines(&self) -> Result<Engines<'_>, Asks> {
        let (mut engines, mut asks) = (Engines { known: Vec::new(), gap: None }, Asks::new());
        for socket in self.engine_sockets() {
            match or_ask(self.facts.engine(&socket)) {
                Err(own) => asks.extend(own),
                Ok(Observed::Known(engine)) => engines.known.push((socket, engine)),
                Ok(Observed::Unknown(gap)) => engines.gap = Some(gap),
                Ok(Observed::Absent) => {}
            }
        }
        if asks.is_empty() { Ok(engines) } else { Err(asks) }
    }

    /// The container of a process, as its engine tells it.
    pub(crate) fn container_of<'e>(&self, engines: &Engines<'e>, pid: u32) -> Option<&'e Container> {
        engines.container(self.listed(pid)?.container.as_deref()?)
    }

    /// The container of the gateway.
    pub(crate) fn own_container<'e>(&self, engines: &Engines<'e>) -> Option<&'e Container> {
        self.container_of(engines, self.gateway_process()?.pid)
    }

    /// Whether the gateway is in another network namespace than the host's first process; `None` if that may not be seen.
    pub(crate) fn is_apart(&self) -> Option<bool> {
        let own = self.gateway_process()?;
        let host = self.listed(1).and_then(|init| init.net_namespace);
        own.net_namespace.zip(host).map(|(own, host)| own != host)
    }

    /// The sockets of the engines that run, as their command lines say.
    fn engine_sockets(&self) -> BTreeSet<String> {
        let processes = self.facts.processes();
        let Some(list) = processes.known() else { return BTreeSet::new() };
        let mut sockets = BTreeSet::new();
        // An engine with files of its own names a path of its own.
        for process in list.processes.iter().filter(|process| process.same_root != Some(false)) {
            match process.comm.as_str() {
                "dockerd" => sockets.extend(own_sockets(process, DOCKER)),
                "podman" => sockets.extend(own_sockets(process, PODMAN)),
                "conmon" => {
                    sockets.insert(PODMAN.to_owned());
                }
                _ => {}
            }
        }
        if sockets.is_empty() && list.processes.iter().any(|process| process.container.is_some()) {
            sockets.extend([DOCKER, PODMAN].map(str::to_owned));
        }
        sockets.into_iter().take(MAX_SOCKETS).collect()
    }
}

/// The unix sockets of an engine's command line (`dockerd -H unix:///run/a.sock`, `podman system service unix:///run/b.sock`),
/// or the usual one.
fn own_sockets(process: &Process, usual: &str) -> Vec<String> {
    let path = |argument: &String| {
        let (_, path) = argument.split_once("unix://")?;
        (argument.starts_with("unix://") || argument.starts_with("-H") || argument.starts_with("--host"))
            .then(|| path.to_owned())
    };
    let named: Vec<String> =
        process.argv.iter().filter_map(path).filter(|path| path.starts_with('/')).collect();
    if named.is_empty() { vec![usual.to_owned()] } else { named }
}
