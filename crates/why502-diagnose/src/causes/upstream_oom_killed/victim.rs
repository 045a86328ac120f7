//! Whether a process that was killed for want of memory was of the server behind a peer.

use crate::case::Case;
use crate::cause::Asks;
use crate::causes::app_server::{Server, is_within, word_evidence};
use crate::finding::{Evidence, Origin};
use why502_facts::{KernelWord, OomKill, Process, ServerEvent};

/// The signal of every such kill.
pub(super) const SIGKILL: u32 = 9;

/// How far the parents of a process are followed.
const MAX_PARENTS: usize = 8;
/// The names of programs that start several others: the ones beside the server may be gone.
const SUPERVISORS: [&str; 7] = ["PM2", "circusd", "monit", "pm2", "runsv", "s6-", "supervisord"];

/// Whose a killed process was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Belongs {
    /// Another service's.
    Foreign,
    /// Something of its control group lives on: a service of its own, or what starts the peer's server anew.
    Doubtful,
    /// Nothing speaks against the peer's server, and only the time for it.
    Perhaps,
    /// It had the name of the server's processes.
    Alike,
    /// The server's.
    Own,
}

/// Whose a killed process was, and by what that is known. An error asks for what the server says of its workers.
pub(super) fn belongs(
    case: &Case<'_>,
    server: Option<&Server<'_>>,
    word: &KernelWord,
    kill: &OomKill,
) -> Result<(Belongs, Evidence), Asks> {
    let group = kill.cgroup.as_deref().filter(|group| is_telling(case, group));
    let Some(server) = server else { return Ok(without_server(case, word, group)) };
    let told = server.words(case)?;
    let named = told.words.iter().find(|own| {
        own.pid == Some(kill.pid)
            && matches!(own.event, ServerEvent::Killed(SIGKILL) | ServerEvent::Exited(_))
            && is_within(own, word.from, word.to)
    });
    if let Some(named) = named {
        return Ok((Belongs::Own, word_evidence(named)));
    }
    let processes = || std::iter::once(server.master).chain(server.workers.iter().copied());
    let own_group = processes().find(|process| process.memory_cgroup.as_deref() == group);
    if let (Some(group), Some(process)) = (group, own_group)
        && !is_shared(case, server, group)
    {
        let says = format!("{} (pid {}) is in the same control group, {group}", process.comm, process.pid);
        return Ok((Belongs::Own, Evidence::supporting(says, cgroup_of(process))));
    }
    let is_elsewhere = group.is_some()
        && own_group.is_none()
        && processes()
            .all(|process| process.memory_cgroup.as_deref().is_some_and(|own| is_telling(case, own)));
    let alike = processes().find(|process| process.comm == kill.comm).filter(|_| !is_elsewhere);
    Ok(match alike {
        Some(process) => {
            let says =
                format!("a process of the server behind the peer has the same name (pid {})", process.pid);
            (Belongs::Alike, Evidence::supporting(says, Origin::Host(format!("/proc/{}/comm", process.pid))))
        }
        None => (Belongs::Foreign, Evidence::against("it was another service's", Origin::Derived)),
    })
}

/// Whether others than the server live in a control group, or may: what a supervisor starts is with it in one.
fn is_shared(case: &Case<'_>, server: &Server<'_>, group: &str) -> bool {
    let observed = case.facts.processes();
    let Some(list) = observed.known() else { return false };
    let parents = |process: &Process| {
        let begin = list.get(process.parent);
        std::iter::successors(begin, |own| list.get(own.parent)).take(MAX_PARENTS)
    };
    let is_of = |one: &Process, other: &Process| parents(one).any(|parent| parent.pid == other.pid);
    let inside: Vec<&Process> = list
        .processes
        .iter()
        .filter(|process| process.memory_cgroup.as_deref() == Some(group) && process.pid != server.master.pid)
        .collect();
    let is_supervised = inside.iter().any(|process| {
        is_of(server.master, process) && SUPERVISORS.iter().any(|name| process.comm.starts_with(name))
    });
    is_supervised
        || inside.iter().any(|process| !is_of(server.master, process) && !is_of(process, server.master))
}

/// Nobody listens any more: a service that listens elsewhere and lived through the kill shows that it was not the peer's.
fn without_server(case: &Case<'_>, word: &KernelWord, group: Option<&str>) -> (Belongs, Evidence) {
    let observed = case.facts.processes();
    let list = observed.as_ref().known();
    let lives_on = |process: &&Process| {
        process.memory_cgroup.as_deref() == group
            && process.started.is_some_and(|started| started < word.from)
    };
    let others: Vec<&Process> =
        group.and(list).map(|list| list.processes.iter().filter(lives_on).collect()).unwrap_or_default();
    let observed = case.sockets();
    let table = observed.known();
    let listens = |process: &&&Process| table.is_some_and(|table| table.is_held_by(process.pid));
    match (others.iter().find(listens).copied(), others.first()) {
        (None, Some(process)) => {
            let says = format!("{} (pid {}) of its control group lives on", process.comm, process.pid);
            (Belongs::Doubtful, Evidence::context(says, cgroup_of(process)))
        }
        (Some(process), _) => {
            let says = format!("its service lives on: {} (pid {})", process.comm, process.pid);
            (Belongs::Foreign, Evidence::against(says, cgroup_of(process)))
        }
        (None, None) => {
            let says = "nothing listens there any more, and no other service is known that it was of";
            (Belongs::Perhaps, Evidence::supporting(says, case.sockets_origin()))
        }
    }
}

/// Whether a control group tells one service from others: it is not the root, and nginx is not in it.
fn is_telling(case: &Case<'_>, group: &str) -> bool {
    let observed = case.facts.processes();
    let list = observed.as_ref().known();
    let gateway = case.gateway.master.and_then(|pid| list?.get(pid));
    group != "/" && gateway.is_none_or(|process| process.memory_cgroup.as_deref() != Some(group))
}

fn cgroup_of(process: &Process) -> Origin {
    Origin::Host(format!("/proc/{}/cgroup", process.pid))
}
