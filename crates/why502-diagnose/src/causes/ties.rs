//! What ties a listener to an upstream that is dialled elsewhere.
//!
//! A listener on another port or socket is the intended backend only where something says so: its process is of the kind
//! that the route's protocol needs, or its name, command, directory or unit bears the upstream's name. Everything here is
//! taken from `/proc`; nothing is sent to a listener that the configuration does not name.

use crate::case::{Case, PeerSubject, count};
use crate::cause::Asks;
use crate::finding::Open;
use crate::plan::is_own_listener;
use std::collections::BTreeSet;
use why502_facts::{Ask, Gap, GapReason, Observed, PeerAddress, Process};
use why502_model::{Host, Protocol};

/// So many processes are looked at closely.
const MAX_LOOKED_AT: usize = 24;
/// Names that say nothing of which upstream is meant.
const GENERIC: &[&str] = &[
    "app",
    "application",
    "apps",
    "api",
    "asgi",
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
    "index",
    "jar",
    "js",
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
    "py",
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
    "wsgi",
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
            let tie = processes.iter().find_map(|process| tie(case, peer, &address, process));
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
        && !is_debugger(case, address, pids)
        && !case.peers.iter().any(|other| other.address == *address)
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

/// Whether a listener is the debugger of an application, to which nobody may be led: `node --inspect=127.0.0.1:9229`.
fn is_debugger(case: &Case<'_>, address: &PeerAddress, pids: &[u32]) -> bool {
    let port = address.port().map(|port| port.to_string());
    let inspects = |process: &Process| {
        let mut options = process.argv.iter().filter(|argument| argument.starts_with("--inspect"));
        options.any(|option| match option.split_once('=') {
            Some((_, at)) => at.rsplit(':').next() == port.as_deref(),
            None => port.as_deref() == Some("9229"),
        })
    };
    pids.iter().filter_map(|pid| process(case, *pid)).any(inspects)
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

fn tie(case: &Case<'_>, peer: &PeerSubject, address: &PeerAddress, process: &Process) -> Option<String> {
    let names = names(case, peer);
    if let Some(protocol) = case.pass_to(peer).map(|pass| pass.protocol)
        && speaks(process, protocol)
        && !is_somebody_elses(&names, address, process)
    {
        return Some(format!("{} speaks {}", process.comm, protocol.name()));
    }
    let named = names.into_iter().find_map(|name| Some((bears(process, &name)?, name)));
    if let Some((place, name)) = named {
        return Some(format!("its {place} bears the name {name:?}"));
    }
    let port = peer.address.port()?.to_string();
    is_told_to_listen(process, &port).then(|| format!("its command line names port {port}"))
}

/// Whether an upstream has a name of its own, and the listener another one: pools of several tenants.
fn is_somebody_elses(names: &BTreeSet<String>, address: &PeerAddress, process: &Process) -> bool {
    let pool =
        process.argv.first().and_then(|title| title.split_once(": pool ")).map(|(_, pool)| core_of(pool));
    let socket = address.unix_path().and_then(|path| path.rsplit('/').next()).map(core_of);
    let theirs: Vec<String> = [pool, socket].into_iter().flatten().filter(|name| !name.is_empty()).collect();
    !names.is_empty() && !theirs.is_empty() && !theirs.iter().any(|name| names.contains(name))
}

/// Whether a command line says that the process is to listen on a port: `--port 3000`, `-p 3000`, `--bind=:3000`.
fn is_told_to_listen(process: &Process, port: &str) -> bool {
    let is_option = |option: &str| {
        let option = option.trim_start_matches('-').to_ascii_lowercase();
        ["port", "p", "b", "bind", "listen"].contains(&option.as_str())
    };
    let is_port = |value: &str| value.rsplit(':').next() == Some(port);
    let joined = process.argv.iter().filter_map(|argument| argument.split_once('='));
    let apart = process
        .argv
        .iter()
        .zip(process.argv.iter().skip(1))
        .map(|(one, other)| (one.as_str(), other.as_str()));
    joined.chain(apart).any(|(option, value)| option.starts_with('-') && is_option(option) && is_port(value))
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
    texts.iter().map(|text| core_of(text)).filter(|name| name.len() > 2).collect()
}

/// What is left of a name without the words that say nothing of which one is meant.
fn core_of(text: &str) -> String {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric()).map(str::to_ascii_lowercase);
    let tells = |word: &String| {
        let kind = word.trim_end_matches(|c: char| c.is_ascii_digit());
        !kind.is_empty() && !GENERIC.contains(&kind)
    };
    words.filter(tells).collect::<Vec<_>>().join("-")
}

/// Where a process bears a name, whole: another program of the same product has a longer one.
fn bears(process: &Process, name: &str) -> Option<&'static str> {
    let is_it = |text: &str| core_of(text) == name;
    let last = |path: &str| is_it(path.rsplit('/').next().unwrap_or(path));
    let argument = |argument: &String| {
        let value = argument.split_once('=').map_or(argument.as_str(), |(_, value)| value);
        // A path: its file, or the directory that the file lies in.
        value.rsplit('/').take(2).any(is_it)
    };
    if process.unit.as_deref().is_some_and(is_it) {
        Some("unit")
    } else if is_it(&process.comm) || process.exe.as_deref().is_some_and(last) {
        Some("command")
    } else if process.argv.iter().any(argument) {
        Some("command line")
    } else if process.cwd.as_deref().is_some_and(last) {
        Some("directory")
    } else {
        None
    }
}

fn runs_applications(process: &Process) -> bool {
    APPLICATION_SERVERS.iter().any(|name| process.comm.starts_with(name))
}
