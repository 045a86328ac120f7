//! What ties a listener to an upstream that is dialled elsewhere.
//!
//! A listener on another port or socket is the intended backend only where something says so, and how sure that is depends
//! on what says it. Proof is only what identifies the service itself: its unit or command bears the upstream's name, or its
//! command line names both the listener and an application of that name. A directory, a path, the protocol or the dialled
//! port on a command line fit a neighbour of the backend as well: they make it likely where nothing else fits as well and
//! nothing speaks against it. Debuggers, monitors and known services of another kind are never meant. Everything here is
//! taken from `/proc`; nothing is sent to a listener that the configuration does not name.

mod command;
mod words;

use self::command::{
    file_name, is_command, is_in_command_line, is_in_directory, is_it, is_port, is_speaker, listen_options,
    program, runs, runs_applications, speaks,
};
pub(super) use self::command::{
    has_other_role, is_application_server, is_at, is_listen, is_tool, options_of, runs_container, told,
};
use self::words::{FOREIGN, GENERIC, SIDE_DOORS};
use crate::case::{Case, PeerSubject, count};
use crate::cause::Asks;
use crate::finding::{Confidence, Open};
use crate::plan::is_own_listener;
use crate::remedy::{Remedy, Risk};
use std::collections::BTreeSet;
use why502_facts::{Ask, Gap, GapReason, Observed, PeerAddress, Process};
use why502_model::Host;

/// So many processes are looked at closely.
const MAX_LOOKED_AT: usize = 24;

/// What ties a listener to an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tie {
    /// What it is: a lower-case fragment.
    pub(super) says: String,
    /// How sure it can make a finding at most.
    pub(super) strength: Confidence,
}

/// A listener that may be the intended backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) address: PeerAddress,
    pub(super) pids: Vec<u32>,
    /// What ties it to the upstream; `None` if it merely could be.
    pub(super) tie: Option<Tie>,
}

impl Candidate {
    /// How sure it can be at most that it is meant.
    pub(super) fn strength(&self) -> Confidence {
        self.tie.as_ref().map_or(Confidence::Possible, |tie| tie.strength)
    }

    /// Who holds it, and what ties it to the upstream.
    pub(super) fn says(&self, case: &Case<'_>) -> String {
        let tie = self.tie.as_ref().map(|tie| format!(": {}", tie.says)).unwrap_or_default();
        format!("{} is held by {}{tie}", self.address, case.owners(&self.pids))
    }
}

/// The listener that is meant, and how sure that is: the only one of the strongest ties.
///
/// What could be a neighbour's as well is a mere possibility where some listeners' owners may not be seen.
pub(super) fn meant(
    case: &Case<'_>,
    peer: &PeerSubject,
    candidates: Vec<Candidate>,
) -> Option<(Confidence, Candidate)> {
    let strongest = candidates.iter().map(Candidate::strength).max()?;
    let mut best = candidates.into_iter().filter(|candidate| candidate.strength() == strongest);
    let only = best.next()?;
    if best.next().is_some() {
        return None;
    }
    let is_one_of_many = strongest == Confidence::Likely && hidden_owners(case, peer).is_some();
    Some((if is_one_of_many { Confidence::Possible } else { strongest }, only))
}

/// How a title tells where the backend listens, as sure as it is.
pub(super) fn listens_on(dialled: &PeerAddress, other: &PeerAddress, confidence: Confidence) -> String {
    match confidence {
        Confidence::Confirmed => format!("{dialled} is dialled, and the backend listens on {other}"),
        Confidence::Likely => format!("{dialled} is dialled, and the backend likely listens on {other}"),
        Confidence::Possible => format!("{dialled} is dialled; perhaps the backend listens on {other}"),
    }
}

/// The remedy that dials the listener that is meant. Only where that is proven it is one to apply.
pub(super) fn dial(target: &PeerAddress, dialled: &PeerAddress, confidence: Confidence) -> Remedy {
    let other = || format!("if it is another service, start the one that should listen on {dialled}");
    match confidence {
        Confidence::Confirmed => {
            Remedy::new(format!("Dial {target}, where the backend listens"), Risk::Review)
                .advice(format!("or make the backend listen on {dialled} again"))
        }
        Confidence::Likely => {
            Remedy::new(format!("See that {target} is this backend, then dial it"), Risk::ShowOnly)
                .advice(other())
        }
        Confidence::Possible => Remedy::new(format!("Dial {target}"), Risk::ShowOnly).advice(other()),
    }
}

/// The listeners that may be what a peer was meant to be, those with a tie first; an error asks for their processes.
pub(super) fn candidates(case: &Case<'_>, peer: &PeerSubject) -> Result<Vec<Candidate>, Asks> {
    let Observed::Known(table) = case.sockets() else { return Ok(Vec::new()) };
    let tcp =
        table.listeners.iter().map(|listener| (PeerAddress::Inet(listener.address), listener.pids.clone()));
    let unix = table.unix.iter().filter(|socket| socket.listening && socket.stream);
    let unix = unix.map(|socket| (PeerAddress::Unix(socket.path.clone()), socket.pids.clone()));
    let strangers: Vec<(PeerAddress, Vec<u32>)> =
        tcp.chain(unix).filter(|(address, pids)| is_stranger(case, peer, address, pids)).collect();
    look_closely(case, &strangers)?;
    let mut found: Vec<Candidate> = strangers
        .into_iter()
        .filter_map(|(address, pids)| {
            let processes: Vec<&Process> = pids.iter().filter_map(|pid| process(case, *pid)).collect();
            let tie = strongest_tie(case, peer, &address, &processes);
            let may_be = tie.is_some() || processes.iter().any(|process| runs_applications(process));
            may_be.then_some(Candidate { address, pids, tie })
        })
        .collect();
    found.sort_by_key(|candidate| (std::cmp::Reverse(candidate.strength()), candidate.address.clone()));
    Ok(found)
}

/// How sure it is that a listener on the dialled port of another address is meant, by its owner: the port itself is a sign,
/// and a tie beside it is proof, be it the protocol alone. `None` if it is not; an error asks for its processes.
pub(super) fn strength_at(
    case: &Case<'_>,
    peer: &PeerSubject,
    address: &PeerAddress,
    pids: &[u32],
) -> Result<Option<Confidence>, Asks> {
    if !is_stranger(case, peer, address, pids) {
        return Ok(None);
    }
    strength(case, peer, address, pids, |_| true)
}

/// Whether a listener's program is one that speaks nothing but another protocol than the routes to a peer.
pub(super) fn speaks_otherwise(case: &Case<'_>, peer: &PeerSubject, pids: &[u32]) -> bool {
    let Some(protocol) = case.pass_to(peer).map(|pass| pass.protocol) else { return false };
    let is_other = |process: &Process| is_speaker(&process.comm) && !speaks(process, protocol);
    pids.iter().filter_map(|pid| process(case, *pid)).any(is_other)
}

/// How sure it is that who listens on the dialled address, though where nothing of it reaches the gateway, is meant: the
/// address itself is a sign, and a tie beside it is proof. That it speaks the protocol is none: another project's PHP listens on
/// port 9000 as well. `None` if it is not; an error asks for its processes.
pub(super) fn strength_of(
    case: &Case<'_>,
    peer: &PeerSubject,
    address: &PeerAddress,
    pids: &[u32],
) -> Result<Option<Confidence>, Asks> {
    strength(case, peer, address, pids, |found| !found.is_protocol)
}

fn strength(
    case: &Case<'_>,
    peer: &PeerSubject,
    address: &PeerAddress,
    pids: &[u32],
    may_prove: fn(&Found) -> bool,
) -> Result<Option<Confidence>, Asks> {
    if is_never_meant(case, peer, address, pids) {
        return Ok(None);
    }
    look_closely(case, &[(address.clone(), pids.to_vec())])?;
    let processes: Vec<&Process> = pids.iter().filter_map(|pid| process(case, *pid)).collect();
    let names = names(case, peer);
    let found = strongest(case, peer, address, &processes);
    let is_proof = |found: &Found| found.tie.strength >= Confidence::Likely && may_prove(found);
    Ok(Some(if found.as_ref().is_some_and(is_proof) {
        Confidence::Confirmed
    } else if processes.iter().any(|process| is_another_tenants(&names, address, process)) {
        Confidence::Possible
    } else {
        Confidence::Likely
    }))
}

/// Neither the gateway's own listener, nor a peer of the configuration, nor the peer itself.
fn is_stranger(case: &Case<'_>, peer: &PeerSubject, address: &PeerAddress, pids: &[u32]) -> bool {
    let is_gateway =
        pids.iter().any(|pid| case.gateway.workers.contains(pid) || case.gateway.master == Some(*pid));
    *address != peer.address
        && !is_gateway
        && !is_own_listener(case, address)
        && !is_never_meant(case, peer, address, pids)
        && case.peers_at(address).next().is_none()
}

/// The listeners of which nobody may see whose they are: one of them may be what a peer was meant to be.
pub(super) fn hidden_owners(case: &Case<'_>, peer: &PeerSubject) -> Option<Open> {
    let table = case.sockets().known()?;
    // Below are the services of the system.
    let tcp = table
        .listeners
        .iter()
        .filter(|own| own.address.port() >= 1024)
        .map(|own| (PeerAddress::Inet(own.address), &own.pids));
    let is_systems = |path: &str| {
        ["@", "/run/dbus/", "/run/systemd/", "/run/user/"].iter().any(|begin| path.starts_with(begin))
    };
    let unix = table.unix.iter().filter(|own| own.listening && own.stream && !is_systems(&own.path));
    let unix = unix.map(|own| (PeerAddress::Unix(own.path.clone()), &own.pids));
    let hidden: Vec<PeerAddress> = tcp
        .chain(unix)
        .filter(|(address, pids)| pids.is_empty() && is_stranger(case, peer, address, pids))
        .map(|(address, _)| address)
        .collect();
    let first = hidden.first()?;
    let says = format!("whose {first} is may not be seen ({})", count(hidden.len() as u64, "such listener"));
    let gap = Gap { ask: Ask::Sockets { pid: case.gateway.master }, why: GapReason::Denied, says };
    Some(Case::open(gap, "whether the backend listens elsewhere"))
}

/// Whether nobody may be led to a listener: the debugger or the metrics of an application (`node --inspect=:9229`, `uwsgi
/// --stats :1717`), a program that watches others, or a known service of another kind.
pub(super) fn is_never_meant(
    case: &Case<'_>,
    peer: &PeerSubject,
    address: &PeerAddress,
    pids: &[u32],
) -> bool {
    let names = names(case, peer);
    pids.iter().filter_map(|pid| process(case, *pid)).any(|process| {
        FOREIGN.contains(&process.comm.as_str())
            || is_debugger(process, address)
            || is_watcher(process, &names)
            || listen_options(process).any(|(option, value)| {
                option.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| SIDE_DOORS.contains(&word))
                    && is_at(value, address)
            })
    })
}

/// Whether a listener is the debugger of an application: `node --inspect`, whose port need not be said.
fn is_debugger(process: &Process, address: &PeerAddress) -> bool {
    let mut options = process.argv.iter().filter(|argument| argument.starts_with("--inspect"));
    options.any(|option| !option.contains('=') && address.port() == Some(9229))
}

/// Whether a program only looks at others, unless that is what the upstream is called.
fn is_watcher(process: &Process, names: &BTreeSet<String>) -> bool {
    let is_side_door = |text: &str| {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric()).map(str::to_ascii_lowercase);
        let is_asked_for = |word: &str| names.iter().any(|name| name.split('-').any(|own| own == word));
        words.into_iter().any(|word| SIDE_DOORS.contains(&word.as_str()) && !is_asked_for(&word))
    };
    let program = program(process).map(file_name);
    [Some(process.comm.as_str()), process.unit.as_deref(), program].into_iter().flatten().any(is_side_door)
}

/// Asks for what only a closer look tells: the directory that a process runs in.
fn look_closely(case: &Case<'_>, strangers: &[(PeerAddress, Vec<u32>)]) -> Result<(), Asks> {
    let pids: BTreeSet<u32> = strangers.iter().filter_map(|(_, pids)| pids.first().copied()).collect();
    let is_missing = |pid: &u32| matches!(case.facts.process(*pid), Observed::Unknown(gap) if gap.why == GapReason::NotYet);
    let wanted: Vec<Ask> =
        pids.into_iter().take(MAX_LOOKED_AT).filter(is_missing).map(|pid| Ask::Process { pid }).collect();
    if wanted.is_empty() { Ok(()) } else { Err(wanted) }
}

/// A process as closely as it was looked at.
fn process<'c>(case: &'c Case<'_>, pid: u32) -> Option<&'c Process> {
    case.facts.process(pid).known().or_else(|| case.facts.processes().known()?.get(pid))
}

/// A tie as it was found.
struct Found {
    tie: Tie,
    /// Whether it is nothing but the protocol, which every server of its kind speaks.
    is_protocol: bool,
}

/// The strongest tie of the processes that hold a listener.
fn strongest_tie(
    case: &Case<'_>,
    peer: &PeerSubject,
    address: &PeerAddress,
    processes: &[&Process],
) -> Option<Tie> {
    strongest(case, peer, address, processes).map(|found| found.tie)
}

/// The strongest tie of the processes that hold a listener; where one of them is somebody else's, it is a mere possibility.
fn strongest(
    case: &Case<'_>,
    peer: &PeerSubject,
    address: &PeerAddress,
    processes: &[&Process],
) -> Option<Found> {
    let names = names(case, peer);
    let ties = processes.iter().filter_map(|process| tie(case, peer, &names, address, process));
    let rank = |found: &Found| (found.tie.strength, !found.is_protocol);
    let strongest = ties.reduce(|one, other| if rank(&other) > rank(&one) { other } else { one })?;
    let doubted = strongest.tie.strength < Confidence::Confirmed
        && processes.iter().any(|process| {
            is_another_tenants(&names, address, process) || is_another_program(&names, process)
        });
    let strength = if doubted { Confidence::Possible } else { strongest.tie.strength };
    Some(Found { tie: Tie { strength, ..strongest.tie }, ..strongest })
}

fn tie(
    case: &Case<'_>,
    peer: &PeerSubject,
    names: &BTreeSet<String>,
    address: &PeerAddress,
    process: &Process,
) -> Option<Found> {
    let named =
        |find: fn(&Process, &str) -> bool| names.iter().find(|name| find(process, name)).map(String::as_str);
    let found = |says: String, strength| Found { tie: Tie { says, strength }, is_protocol: false };
    let proof = |says: String| found(says, Confidence::Confirmed);
    let sign = |says: String| found(says, Confidence::Likely);
    if let Some(name) = named(|process, name| process.unit.as_deref().is_some_and(|unit| is_it(unit, name))) {
        return Some(proof(format!("its unit bears the name {name:?}")));
    }
    if let Some(name) = named(is_command) {
        return Some(proof(format!("its command bears the name {name:?}")));
    }
    let is_bound = listen_options(process).any(|(option, value)| is_listen(option) && is_at(value, address));
    if let Some(name) = named(runs).filter(|_| is_bound) {
        return Some(proof(format!("its command line names that address and runs {name:?}")));
    }
    if let Some(name) = named(is_in_command_line) {
        return Some(sign(format!("its command line bears the name {name:?}")));
    }
    if let Some(name) = named(is_in_directory) {
        return Some(sign(format!("its directory bears the name {name:?}")));
    }
    if let Some(protocol) = case.pass_to(peer).map(|pass| pass.protocol)
        && speaks(process, protocol)
    {
        let says = format!("{} speaks {}", process.comm, protocol.name());
        return Some(Found { is_protocol: true, ..sign(says) });
    }
    // A listener on that very port says nothing with it.
    let port = peer.address.port().filter(|port| address.port() != Some(*port))?;
    let is_told = listen_options(process).any(|(option, value)| is_listen(option) && is_port(value, port));
    is_told.then(|| sign(format!("its command line names port {port}")))
}

/// Whether a pool or a socket has a name of its own that is not the upstream's.
fn is_another_tenants(names: &BTreeSet<String>, address: &PeerAddress, process: &Process) -> bool {
    let pool = process.argv.first().and_then(|title| title.split_once(": pool ")).map(|(_, pool)| pool);
    have_another_name(names, [pool, address.unix_path().map(file_name)])
}

/// Whether what runs has a name of its own that is not the upstream's: another program of the same directory.
fn is_another_program(names: &BTreeSet<String>, process: &Process) -> bool {
    let command =
        Some(process.comm.as_str()).filter(|comm| !is_application_server(comm) && !is_speaker(comm));
    have_another_name(names, [program(process).map(file_name), command])
}

fn have_another_name(names: &BTreeSet<String>, texts: [Option<&str>; 2]) -> bool {
    let mut theirs = texts.into_iter().flatten().map(core_of).filter(|name| !name.is_empty()).peekable();
    theirs.peek().is_some() && !theirs.any(|name| names.contains(&name))
}

/// The names of an upstream that say which one it is.
pub(super) fn names(case: &Case<'_>, peer: &PeerSubject) -> BTreeSet<String> {
    let mut texts: Vec<String> = Vec::new();
    if let Some(group) = peer.group {
        texts.extend(case.gateway.group(group).name.clone());
    }
    if let Some(Host::Name(name)) = case.configured(peer).map(|configured| &configured.host) {
        texts.extend(name.split('.').next().map(str::to_owned));
    }
    if let Some(path) = peer.address.unix_path() {
        // The directories above are the system's, or shared by many.
        texts.extend(path.rsplit('/').take(2).map(str::to_owned));
    }
    texts.iter().map(|text| core_of(text)).filter(|name| name.len() > 2).collect()
}

/// What is left of a name without the words that say nothing of which one is meant.
pub(super) fn core_of(text: &str) -> String {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric()).map(str::to_ascii_lowercase);
    let tells = |word: &String| {
        let kind = word.trim_end_matches(|c: char| c.is_ascii_digit());
        !kind.is_empty() && !GENERIC.contains(&kind)
    };
    words.filter(tells).collect::<Vec<_>>().join("-")
}
