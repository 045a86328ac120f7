//! The service behind a peer that nobody listens for: who it is, by what its definition names, and what became of it.
//!
//! A service is tied to an address by its definition: a socket unit or an option that says where to listen, a variable of its
//! environment, a file that its command names. Its name alone makes it likely at most.

mod acts;
mod containers;
mod history;
mod units;
mod verdict;
mod words;

pub(super) use self::history::{Event, History, What};
pub(super) use self::verdict::{How, StopKind, Verdict};

use super::outages::{Outage, outage};
use super::ties::{
    Tie, core_of, has_other_role, is_application_server, is_at, is_listen, names, options_of, runs_container,
    told,
};
use crate::case::{Case, PeerSubject, Subject, or_ask};
use crate::cause::Asks;
use crate::finding::{Confidence, Finding};
use why502_facts::{ContainerDetail, Mention, PathWalk, PeerAddress, Service, Supervisor};

/// So many services with the strongest tie are looked at.
const MAX_CANDIDATES: usize = 4;

/// What became of the service behind a peer.
pub(super) struct Judged<'c> {
    pub(super) outage: Outage<'c>,
    pub(super) history: History<'c>,
    pub(super) verdict: Verdict,
}

/// What became of the service behind a peer that nobody listens for, or listened for; an error asks for its definition, its
/// state and its journal.
pub(super) fn judged<'c>(case: &'c Case<'_>, subject: &'c Subject) -> Result<Option<Judged<'c>>, Asks> {
    let Some(outage) = outage(case, subject)? else { return Ok(None) };
    let candidates = candidates(case, outage.peer)?;
    let is_alone = candidates.len() == 1;
    let mut asks = Vec::new();
    let mut found: Option<(History<'c>, Verdict)> = None;
    for mut candidate in candidates.into_iter().take(MAX_CANDIDATES) {
        if !is_alone {
            candidate.tie.strength = candidate.tie.strength.min(Confidence::Likely);
        }
        match history::of(case, &outage, candidate) {
            Err(more) => asks.extend(more),
            Ok(history) => {
                let verdict = verdict::of(case, &outage, &history)
                    .filter(|verdict| is_alone || !verdict.is_of_one_shot());
                found = found.or_else(|| verdict.map(|verdict| (history, verdict)));
            }
        }
    }
    if !asks.is_empty() {
        return Err(asks);
    }
    Ok(found.map(|(history, verdict)| Judged { outage, history, verdict }))
}

/// A service that may be the peer's.
struct Candidate<'c> {
    service: Service,
    tie: Tie,
    /// What its engine says of it, if it is a container.
    container: Option<&'c ContainerDetail>,
}

/// The services that are tied to a peer, those of the strongest tie.
fn candidates<'c>(case: &'c Case<'_>, peer: &PeerSubject) -> Result<Vec<Candidate<'c>>, Asks> {
    let (observed, containers) =
        match (or_ask(case.facts.services(&marks(case, peer))), containers::candidates(case, peer)) {
            (Ok(services), Ok(containers)) => (services, containers),
            (services, containers) => {
                return Err(services.err().into_iter().chain(containers.err()).flatten().collect());
            }
        };
    let services = observed.known().map_or(&[][..], Vec::as_slice);
    let (mut tied, mut asks) = (Vec::new(), Asks::new());
    // What only does something and ends serves nobody.
    for service in services.iter().filter(|service| !service.is_one_shot || service.remains_after_exit) {
        let Some(tie) = tie(case, peer, service) else { continue };
        match is_within_reach(case, peer, service) {
            Err(more) => asks.extend(more),
            Ok(true) => tied.push(Candidate { service: service.clone(), tie, container: None }),
            Ok(false) => {}
        }
    }
    if !asks.is_empty() {
        return Err(asks);
    }
    tied.extend(containers);
    let strongest = tied.iter().map(|candidate| candidate.tie.strength).max();
    Ok(tied.into_iter().filter(|candidate| Some(candidate.tie.strength) == strongest).collect())
}

/// Whether what a service would listen on is in the network namespace of the gateway, or at a path that both see. Where that
/// cannot be seen, it may be; an error asks for the path.
fn is_within_reach(case: &Case<'_>, peer: &PeerSubject, service: &Service) -> Result<bool, Asks> {
    let supervisor = service.supervisor_pid.unwrap_or(1);
    let is_apart = case.listed(supervisor).is_some_and(|process| case.is_apart_from_gateway(process));
    let processes = case.facts.processes();
    let mut own = processes.known().into_iter().flat_map(|list| &list.processes).filter(|process| {
        service.supervisor == Supervisor::Systemd && process.unit.as_ref() == Some(&service.name)
    });
    if !is_apart || own.any(|process| !case.is_apart_from_gateway(process)) {
        return Ok(true);
    }
    let Some(path) = peer.address.unix_path() else { return Ok(false) };
    let (here, there) = match (or_ask(case.path_walk(path)), or_ask(case.path_walk_of(supervisor, path))) {
        (Ok(here), Ok(there)) => (here, there),
        (here, there) => return Err(here.err().into_iter().chain(there.err()).flatten().collect()),
    };
    let directory = path.rsplit_once('/').map_or("/", |(directory, _)| directory);
    let identity = |walk: &PathWalk| walk.components.iter().find(|own| own.path == directory)?.identity;
    let (here, there) = (here.known().and_then(identity), there.known().and_then(identity));
    Ok(here.is_some() && here == there)
}

/// What the definition of a peer's service may hold: its port or its socket, and the names of the upstream.
fn marks(case: &Case<'_>, peer: &PeerSubject) -> Vec<String> {
    let mut marks: Vec<String> = names(case, peer).into_iter().collect();
    match &peer.address {
        PeerAddress::Inet(inet) => marks.push(inet.port().to_string()),
        PeerAddress::Unix(path) => {
            marks.push(path.clone());
            marks.extend(stem(path).map(str::to_owned));
            marks.extend(runtime_directory(path).map(str::to_owned));
        }
    }
    marks.sort();
    marks.dedup();
    marks
}

/// `php8.2-fpm` of `/run/php/php8.2-fpm.sock`.
fn stem(path: &str) -> Option<&str> {
    let name = path.rsplit('/').next()?;
    let stem = name.strip_suffix(".sock").or_else(|| name.strip_suffix(".socket")).unwrap_or(name);
    (!core_of(stem).is_empty() || stem.bytes().any(|byte| byte.is_ascii_digit())).then_some(stem)
}

/// `shop` of `/run/shop/app.sock`.
fn runtime_directory(path: &str) -> Option<&str> {
    let below = path.strip_prefix("/run/").or_else(|| path.strip_prefix("/var/run/"))?;
    below.rsplit_once('/').map(|(directory, _)| directory)
}

/// What ties a service to a peer.
fn tie(case: &Case<'_>, peer: &PeerSubject, service: &Service) -> Option<Tie> {
    let address = &peer.address;
    let proof = |says: String| Some(Tie { says, strength: Confidence::Confirmed });
    let sign = |says: String| Some(Tie { says, strength: Confidence::Likely });
    if let Some(listen) = service.listens.iter().find(|listen| is_at(listen, address)) {
        return proof(format!("{} listens on {listen}", service.name));
    }
    if let Some(strength) = service.commands.iter().filter_map(|command| is_told(command, address)).max() {
        return Some(Tie { says: format!("the command of {} names {address}", service.name), strength });
    }
    // A container has variables of its own, and a worker in the background those of the server beside it.
    let is_other = service.commands.iter().any(|command| runs_container(command) || has_other_role(command));
    let by_itself = if is_other { Confidence::Likely } else { Confidence::Confirmed };
    if let Some((name, _)) = service.environment.iter().find(|(name, value)| is_set(name, value, address)) {
        let says = format!("{} of {} names {address}", name, service.name);
        return Some(Tie { says, strength: by_itself });
    }
    // What its command or its own variable says wins over what a file says, as a rule.
    let is_elsewhere = is_told_elsewhere(service, is_own_place);
    let said = |line: &Mention| {
        format!("{}:{}, which {} runs with, says {}", line.path, line.line, service.name, line.text)
    };
    if let Some(line) = service.mentions.iter().find(|line| is_setting(&line.text, address)) {
        let strength = if is_elsewhere { Confidence::Likely } else { by_itself };
        return Some(Tie { says: said(line), strength });
    }
    if let Some((name, _)) =
        service.environment.iter().find(|(name, value)| says_where(name) && is_at(value, address))
    {
        return sign(format!("{} of {} names {address}, to listen or to connect to", name, service.name));
    }
    // A line of a program says what it may do: `listen(process.env.PORT || 3000)`.
    let of_program = service.mentions.iter().find(|line| line.text.contains("listen("));
    if let Some(line) = of_program.or(service.mentions.first()).filter(|_| !is_elsewhere) {
        return sign(said(line));
    }
    let bare = service.name.rsplit_once('.').filter(|_| service.supervisor == Supervisor::Systemd);
    let bare = bare.map_or(service.name.as_str(), |(bare, _)| bare);
    let path = address.unix_path();
    if path.and_then(stem) == Some(bare) {
        return sign(format!("{} bears the name of the socket", service.name));
    }
    if let Some(own) = path.and_then(runtime_directory)
        && service.runtime_directories.iter().any(|directory| directory == own)
    {
        return sign(format!("the socket is in the directory of {}", service.name));
    }
    let core = core_of(bare);
    // A path whose directory bears the name is nobody's in particular where another file of it is meant.
    let is_named =
        !core.is_empty() && names(case, peer).contains(&core) && !is_told_elsewhere(service, says_where);
    if is_named { sign(format!("{} bears the name {core:?}", service.name)) } else { None }
}

/// Whether a definition says where its service listens, by an option, a socket or a variable with such a name. Where that is
/// not the address, its name ties it to nothing.
fn is_told_elsewhere(service: &Service, names_place: fn(&str) -> bool) -> bool {
    let port = |value: &str| value.rsplit(':').next().is_some_and(|port| port.parse::<u16>().is_ok());
    let is_place = |value: &str| port(value) || value.contains('/');
    // The `-p` of gunicorn and others names a file with their process id.
    let is_told = |(option, value): (String, &str)| {
        is_listen(&option) && if option == "p" { port(value) } else { is_place(value) }
    };
    let by_command = service.commands.iter().any(|command| options_of(command).any(is_told));
    let by_variable = service.environment.iter().any(|(name, value)| names_place(name) && is_place(value));
    by_command || by_variable || !service.listens.is_empty()
}

/// How surely a command line says that it listens on an address.
fn is_told(command: &[String], address: &PeerAddress) -> Option<Confidence> {
    let strength = told(command, address);
    if strength == Some(Confidence::Confirmed) || runs_container(command) {
        return strength;
    }
    if let PeerAddress::Unix(path) = address {
        // Nothing but the socket has that path.
        let names_it = command.iter().any(|word| {
            let value = word.split_once('=').map_or(word.as_str(), |(_, value)| value);
            value == path || value.strip_prefix("unix:") == Some(path)
        });
        return if names_it { Some(Confidence::Confirmed) } else { strength };
    }
    // `php -S 127.0.0.1:8000`, `python3 -m http.server 8000`, `manage.py runserver 0.0.0.0:8000`.
    let runs_application =
        command.iter().any(|word| is_application_server(word.rsplit('/').next().unwrap_or(word)));
    let is_value = |at: usize| {
        at.checked_sub(1).and_then(|before| command.get(before)).is_some_and(|before| {
            before.starts_with('-') && !matches!(before.as_str(), "-S" | "-b" | "-l" | "--")
        })
    };
    let names_it = runs_application
        && command
            .iter()
            .enumerate()
            .skip(1)
            .any(|(at, word)| !word.starts_with('-') && !is_value(at) && is_at(word, address));
    if names_it { Some(Confidence::Confirmed) } else { strength }
}

/// Whether a variable says where its own process listens: one whose name means nobody else.
pub(super) fn is_set(name: &str, value: &str, address: &PeerAddress) -> bool {
    is_own_place(name) && is_at(value, address)
}

/// Whether the name of a variable is that of the place where its own process listens.
fn is_own_place(name: &str) -> bool {
    says_where(name) && name_words(name).all(|word| PLACES.contains(&&*word) || OWN.contains(&&*word))
}

/// The words of a name that say where.
const PLACES: [&str; 7] = ["ADDR", "ADDRESS", "BIND", "HTTP", "LISTEN", "PORT", "SOCKET"];
/// The words beside them that mean nobody else. `ORDERS_PORT` may as well tell a client whom to ask.
const OWN: [&str; 9] = ["APP", "HOST", "HTTPS", "LISTENER", "NODE", "SERVER", "TCP", "UNIX", "WEB"];

/// Whether the name of a variable is that of a place, to listen at or to connect to.
fn says_where(name: &str) -> bool {
    name_words(name).any(|word| PLACES.contains(&&*word))
}

fn name_words(name: &str) -> impl Iterator<Item = String> {
    name.split(['_', '-', '.']).map(str::to_ascii_uppercase)
}

/// Whether a line of settings says that its program listens there: `bind = "127.0.0.1:3000"`, `listen: 3000`.
fn is_setting(line: &str, address: &PeerAddress) -> bool {
    let around: &[_] = &[' ', '\t', '"', '\'', ',', ';'];
    line.split_once(['=', ':'])
        .is_some_and(|(name, value)| is_set(name.trim_matches(around), value.trim_matches(around), address))
}

/// The service behind the first peer of a finding, as it was judged.
pub(super) fn judged_again<'c>(case: &'c Case<'_>, finding: &'c Finding) -> Option<Judged<'c>> {
    let subject = finding.subjects.iter().find(|subject| subject.peer().is_some())?;
    judged(case, subject).ok().flatten()
}

#[cfg(test)]
mod tests;
