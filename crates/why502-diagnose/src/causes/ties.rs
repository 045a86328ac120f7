//! What ties a listener to an upstream that is dialled elsewhere.
//!
//! A listener on another port or socket is the intended backend only where something says so: its process is of the kind
//! that the route's protocol needs, or its name, command, directory or unit bears the upstream's name. Everything here is
//! taken from `/proc`; nothing is sent to a listener that the configuration does not name.

use crate::case::{Case, PeerSubject};
use crate::cause::Asks;
use crate::plan::is_own_listener;
use std::collections::BTreeSet;
use why502_facts::{Ask, GapReason, Observed, PeerAddress, Process};
use why502_model::{Host, Protocol};

/// So many processes are looked at closely.
const MAX_LOOKED_AT: usize = 24;
/// Names that say nothing of which upstream is meant.
const GENERIC: &[&str] = &[
    "app",
    "apps",
    "api",
    "backend",
    "backends",
    "cluster",
    "default",
    "fastcgi",
    "fpm",
    "handler",
    "home",
    "http",
    "https",
    "lib",
    "local",
    "localhost",
    "log",
    "logs",
    "main",
    "node",
    "nodes",
    "opt",
    "php",
    "pool",
    "proxy",
    "python",
    "run",
    "server",
    "servers",
    "service",
    "site",
    "sock",
    "sockets",
    "socket",
    "srv",
    "tcp",
    "tmp",
    "unix",
    "upstream",
    "upstreams",
    "uwsgi",
    "var",
    "web",
    "www",
];
/// Commands that run applications: what listens there may be a backend.
const APPLICATION_SERVERS: &[&str] = &[
    "node",
    "bun",
    "deno",
    "python",
    "gunicorn",
    "uvicorn",
    "hypercorn",
    "daphne",
    "granian",
    "java",
    "ruby",
    "puma",
    "unicorn",
    "php",
    "dotnet",
    "beam.smp",
    "perl",
    "waitress",
    "uwsgi",
    "next-server",
    "caddy",
    "httpd",
    "apache2",
    "lighttpd",
];

/// A listener that may be the intended backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) address: PeerAddress,
    pub(super) pids: Vec<u32>,
    /// What ties it to the upstream; `None` if it merely could be.
    pub(super) tie: Option<String>,
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
            let tie = processes.iter().find_map(|process| tie(case, peer, process));
            let may_be = tie.is_some() || processes.iter().any(|process| runs_applications(process));
            may_be.then_some(Candidate { address, pids, tie })
        })
        .collect();
    found.sort_by_key(|candidate| (candidate.tie.is_none(), candidate.address.clone()));
    Ok(found)
}

/// Neither the gateway's own listener, nor a peer of the configuration, nor the peer itself.
fn is_stranger(case: &Case<'_>, peer: &PeerSubject, address: &PeerAddress, pids: &[u32]) -> bool {
    let is_gateway =
        pids.iter().any(|pid| case.gateway.workers.contains(pid) || case.gateway.master == Some(*pid));
    *address != peer.address
        && !is_gateway
        && !is_own_listener(case, address)
        && !case.peers.iter().any(|other| other.address == *address)
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

fn tie(case: &Case<'_>, peer: &PeerSubject, process: &Process) -> Option<String> {
    if let Some(protocol) = case.pass_to(peer).map(|pass| pass.protocol)
        && speaks(process, protocol)
    {
        return Some(format!("{} speaks {}", process.comm, protocol.name()));
    }
    let named = names(case, peer).into_iter().find_map(|name| Some((bears(process, &name)?, name)));
    if let Some((place, name)) = named {
        return Some(format!("its {place} bears the name {name:?}"));
    }
    let port = peer.address.port()?.to_string();
    let is_port = |argument: &String| argument.split([':', '=', ' ']).any(|part| part == port);
    process.argv.iter().skip(1).any(is_port).then(|| format!("its command line names port {port}"))
}

/// Whether a process is of the kind that a protocol needs. HTTP is spoken by too many to tie anything.
fn speaks(process: &Process, protocol: Protocol) -> bool {
    let title = process.argv.first().map_or("", String::as_str);
    match protocol {
        Protocol::FastCgi => ["php-fpm", "php-cgi", "fcgiwrap"]
            .iter()
            .any(|name| process.comm.starts_with(name) || title.starts_with(name)),
        Protocol::Memcached => process.comm == "memcached",
        Protocol::Uwsgi => process.comm.starts_with("uwsgi"),
        Protocol::Grpc | Protocol::Http | Protocol::Scgi => false,
    }
}

/// The names of an upstream that say which one it is.
fn names(case: &Case<'_>, peer: &PeerSubject) -> BTreeSet<String> {
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
    let words = texts
        .iter()
        .flat_map(|text| text.split(|c: char| !c.is_ascii_alphanumeric()).map(str::to_ascii_lowercase));
    words
        .filter(|word| {
            word.len() > 2
                && !GENERIC.contains(&word.as_str())
                && !word.bytes().all(|byte| byte.is_ascii_digit())
        })
        .collect()
}

/// Where a process bears a name.
fn bears(process: &Process, name: &str) -> Option<&'static str> {
    let has = |text: &str| {
        let mut words = text.split(|c: char| !c.is_ascii_alphanumeric()).map(str::to_ascii_lowercase);
        words.any(|word| word == name || (name.len() > 4 && word.starts_with(name)))
    };
    if process.unit.as_deref().is_some_and(has) {
        Some("unit")
    } else if has(&process.comm) || process.exe.as_deref().is_some_and(has) {
        Some("command")
    } else if process.argv.iter().any(|argument| has(argument)) {
        Some("command line")
    } else if process.cwd.as_deref().and_then(|cwd| cwd.rsplit('/').next()).is_some_and(has) {
        Some("directory")
    } else {
        None
    }
}

fn runs_applications(process: &Process) -> bool {
    APPLICATION_SERVERS.iter().any(|name| process.comm.starts_with(name))
}
