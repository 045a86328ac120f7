//! Containers as services: the engine publishes a port of the host for one, or it bears the upstream's name.

use super::Candidate;
use super::history::{Event, History, State, What};
use crate::case::{Case, PeerSubject, not_yet};
use crate::cause::Asks;
use crate::causes::ties::{Tie, core_of, names};
use crate::finding::{Confidence, Origin};
use std::net::SocketAddr;
use why502_facts::{
    Container, ContainerDetail, ContainerPort, Exit, Observed, RestartPolicy, Service, Stamp, Supervisor,
};

/// The most containers that are looked at in detail.
const MAX_CONTAINERS: usize = 8;
/// So many digits of an id suffice.
const ID_DIGITS: usize = 12;
/// A process that a signal ended has the code 128 and the signal's number.
const SIGNALLED: i64 = 128;
/// Codes with which a process ends that was told to: by itself, or by SIGINT, SIGKILL or SIGTERM.
const TOLD: [i64; 4] = [0, 130, 137, 143];

/// The containers that are tied to a peer; an error asks for them.
pub(super) fn candidates<'c>(case: &'c Case<'_>, peer: &PeerSubject) -> Result<Vec<Candidate<'c>>, Asks> {
    let Some(address) = peer.address.inet() else { return Ok(Vec::new()) };
    let engines = case.engines()?;
    let names = names(case, peer);
    let is_named = |container: &Container| {
        let own = container.service.iter().chain([&container.name]);
        own.map(|name| core_of(name)).any(|core| !core.is_empty() && names.contains(&core))
    };
    let publishes = |ports: &[ContainerPort]| {
        ports.iter().filter_map(|port| port.published).any(|published| leads_to(published, address))
    };
    let mut looked: Vec<(&str, &'c Container)> = engines
        .containers()
        .filter(|(_, own)| is_named(own) || !own.is_running() || publishes(&own.ports))
        .collect();
    looked.sort_by_key(|(_, own)| (!publishes(&own.ports), !is_named(own)));
    let (mut found, mut asks) = (Vec::new(), Asks::new());
    for (socket, container) in looked.into_iter().take(MAX_CONTAINERS) {
        let id: String = container.id.chars().take(ID_DIGITS).collect();
        let detail = match case.facts.container(socket, &id) {
            Observed::Known(detail) => detail,
            Observed::Unknown(gap) => {
                asks.extend(not_yet(&gap));
                continue;
            }
            Observed::Absent => continue,
        };
        let says = |says: &str| format!("the engine {says} the container {}", container.name);
        let tie = if publishes(&detail.ports) || publishes(&container.ports) {
            let says = format!("{}, when it runs", says(&format!("publishes port {} for", address.port())));
            Tie { says, strength: Confidence::Confirmed }
        } else if is_named(container) && detail.ports.is_empty() {
            Tie { says: says("knows a container of the upstream's name:"), strength: Confidence::Likely }
        } else {
            continue;
        };
        found.push(Candidate { service: service(socket, container), tie, container: Some(detail) });
    }
    if !asks.is_empty() {
        return Err(asks);
    }
    // Of several that were given one port, it was the newest that served.
    found.sort_by_key(|candidate| candidate.container.map(|own| own.started.max(own.finished)));
    let newest = found.iter().rposition(|candidate| candidate.tie.strength == Confidence::Confirmed);
    Ok(newest.map(|at| found.remove(at)).map_or(found, |newest| vec![newest]))
}

/// Whether a published port is that of an address of this host.
fn leads_to(published: SocketAddr, address: SocketAddr) -> bool {
    published.port() == address.port() && (published.ip().is_unspecified() || published.ip() == address.ip())
}

fn service(socket: &str, container: &Container) -> Service {
    Service {
        supervisor: Supervisor::Engine,
        name: container.name.clone(),
        path: socket.to_owned(),
        masked: false,
        is_one_shot: false,
        remains_after_exit: false,
        process_name: None,
        commands: Vec::new(),
        environment: Vec::new(),
        listens: Vec::new(),
        starts: None,
        directory: None,
        runtime_directories: Vec::new(),
        mentions: Vec::new(),
        supervisor_pid: None,
        runit: None,
    }
}

impl History<'_> {
    /// What the engine says of its last run.
    pub(super) fn read_container(&mut self) {
        let Some(container) = self.container else { return };
        self.n_restarts = u32::try_from(container.restarts).unwrap_or(u32::MAX);
        let code = container.exit_code.unwrap_or(0);
        let is_used_up = matches!(container.restart_policy,
            RestartPolicy::OnFailure(Some(most)) if code != 0 && container.restarts >= most);
        self.state = match container.state.as_str() {
            "running" => State::Up(container.started),
            "restarting" => State::Waiting,
            "exited" | "dead" if is_used_up => State::Failed,
            "created" | "exited" | "dead" => State::Down,
            _ => State::Unknown,
        };
        let origin = || Origin::Host(self.service.path.clone());
        let name = &self.service.name;
        let mut events = Vec::new();
        let mut push = |at: Stamp, what: What, says: String| {
            events.push(Event { from: at, to: at, what, says, origin: origin() });
        };
        if let Some(at) = container.finished {
            let says = match self.state {
                // The engine forgets the code when it starts it again.
                State::Up(_) => format!("the process of {name} ended"),
                _ => format!("the process of {name} ended with code {code}"),
            };
            push(at, self.end_of(container, code, is_used_up), says);
        }
        if let Some(at) = container.started.filter(|_| container.state != "created") {
            push(at, What::Started, format!("the process of {name} was started"));
        }
        self.events = events;
    }

    /// What the last end of a container was.
    fn end_of(&self, container: &ContainerDetail, code: i64, is_used_up: bool) -> What {
        let exit = match u32::try_from(code - SIGNALLED) {
            Ok(signal) if signal > 0 => Exit::Signal(signal),
            _ => Exit::Code(u32::try_from(code).unwrap_or(u32::MAX)),
        };
        match self.state {
            State::Up(_) if container.restarts > 0 => What::Died(None),
            State::Up(_) => What::Stopped,
            // The kernel's kill is told of any process of it: the first one's end says whether it was its own.
            _ if container.oom_killed && code == SIGNALLED + 9 => What::OutOfMemory,
            State::Waiting => What::Died(Some(exit)),
            _ if is_used_up => What::Died(Some(exit)),
            // Whoever would have been started again and was not, was stopped by somebody.
            _ if container.restart_policy.restarts(code) || TOLD.contains(&code) => What::Stopped,
            _ => What::Died(Some(exit)),
        }
    }
}
