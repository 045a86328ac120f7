//! How many requests an application server works on at once, and how many it holds now.

use super::app_server::{Server, is_program};
use super::servers::option_value;
use crate::case::{Case, PeerSubject, count};
use crate::finding::{Evidence, Origin};
use std::time::Duration;
use why502_facts::Process;

/// How long a master takes to start its first children.
const MAX_STARTING: Duration = Duration::from_secs(2);

/// How many requests a server works on at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Capacity {
    pub(super) n_requests: u64,
    /// `2 workers of 4 threads`.
    pub(super) words: String,
}

/// How many requests a server works on at once, where its kind has such a number and its command line tells it.
///
/// Of PHP-FPM, most pools start and end children as they are needed, and the most that it may have stands in a file: it is
/// told only where all children are as old as their master. Never of servers that work on many requests in one thread.
pub(super) fn capacity(server: &Server<'_>) -> Option<Capacity> {
    let n_processes = count_processes(server);
    let n_threads = if is_program(server.master, "php-fpm") && has_all_first_children(server) {
        1
    } else {
        threads(server.master)?
    };
    let workers = count(n_processes, "worker");
    let words = if n_threads == 1 { workers } else { format!("{workers} of {n_threads} threads") };
    Some(Capacity { n_requests: n_processes * n_threads, words })
}

/// Whether all children were started with their master. PHP-FPM ends the oldest of those that are idle
/// (`fpm_pctl_perform_idle_server_maintenance`), so that such a pool never had more.
fn has_all_first_children(server: &Server<'_>) -> bool {
    let is_first = |worker: &&Process| {
        let started = worker.started.zip(server.master.started);
        started.is_some_and(|(own, master)| own.since(master) <= MAX_STARTING)
    };
    !server.workers.is_empty() && server.workers.iter().all(is_first)
}

/// How many of its processes serve: a master without others serves itself.
fn count_processes(server: &Server<'_>) -> u64 {
    u64::try_from(server.workers.len()).unwrap_or(u64::MAX).max(1)
}

/// How many requests one process of a server works on at once.
fn threads(master: &Process) -> Option<u64> {
    let argv = &master.argv;
    let number = |value: &str| value.parse::<u64>().ok().filter(|number| *number > 0);
    let is_set = |option: &str, short: Option<&str>| option_value(argv, option, short).is_some();
    if is_program(master, "gunicorn") {
        // A title instead of the arguments, or a file, may hide them.
        if argv.len() < 2 || is_set("--config", Some("-c")) {
            return None;
        }
        let n_threads = option_value(argv, "--threads", None).map_or(Some(1), number)?;
        return match option_value(argv, "--worker-class", Some("-k")) {
            None | Some("sync" | "gthread") => Some(n_threads),
            Some(_) => None,
        };
    }
    if is_program(master, "uwsgi") {
        let options =
            ["--ini", "--yaml", "--yml", "--json", "--xml", "--emperor", "--gevent", "--async", "--asyncio"];
        let is_file = |argument: &String| {
            [".ini", ".yaml", ".yml", ".json", ".xml"].iter().any(|ending| argument.ends_with(ending))
        };
        if options.iter().any(|option| is_set(option, None)) || argv.iter().any(is_file) {
            return None;
        }
        return option_value(argv, "--threads", None).map_or(Some(1), number);
    }
    // waitress-serve works with four threads unless told otherwise.
    if is_program(master, "waitress-serve") {
        return option_value(argv, "--threads", None).map_or(Some(4), number);
    }
    is_program(master, "unicorn").then_some(1)
}

/// That every worker of a server holds a connection and others wait to be accepted; `None` where that is not so, or not
/// seen. `is_silent`: whether a probe got no answer, which shows what those that accept more than they serve work on.
pub(super) fn busy_now(
    case: &Case<'_>,
    peer: &PeerSubject,
    server: &Server<'_>,
    is_silent: bool,
) -> Option<Evidence> {
    let observed = case.sockets();
    let table = observed.known()?;
    let capacity = capacity(server);
    // One process of which nobody knows how it works may do anything.
    if server.workers.is_empty() && capacity.is_none() {
        return None;
    }
    let serving = if server.workers.is_empty() { vec![server.master] } else { server.workers.clone() };
    // Whoever is stopped, waits for a disk or is dead is not at work.
    if serving.iter().any(|worker| matches!(worker.state, 'D' | 'T' | 't' | 'X' | 'Z')) {
        return None;
    }
    let held: Vec<u64> = serving.iter().map(|worker| table.accepted_by(&peer.address, worker.pid)).collect();
    let (n_held, n_waiting) = (held.iter().sum::<u64>(), table.queue(&peer.address));
    // Of those whose kind is not known, each may hold a connection that it does not work on: then silence must tell.
    let is_at_work = is_silent || capacity.as_ref().is_some_and(|capacity| n_held >= capacity.n_requests);
    let is_queued = n_waiting > 0 && held.iter().all(|held| *held > 0) && is_at_work;
    // What is held alone may be connections that nginx keeps, or those of workers of another class than the arguments tell.
    let keeps_none = case.pass_to(peer).is_some_and(|pass| !pass.keeps_alive);
    let is_overfull = is_silent
        && keeps_none
        && says_class(server.master)
        && capacity.is_some_and(|capacity| n_held > capacity.n_requests);
    let waiting = count(n_waiting, "connection");
    let says = if is_queued {
        let holding = match serving.len() {
            1 => "its worker holds one".to_owned(),
            n_workers => format!("each of its {n_workers} workers holds one"),
        };
        format!("{waiting} waited to be accepted at {} when it was looked at, and {holding}", peer.address)
    } else if is_overfull {
        format!("it held {} when it was looked at, and did not answer", count(n_held, "connection"))
    } else {
        return None;
    };
    Some(Evidence::supporting(says, case.sockets_origin()))
}

/// Whether the arguments say of what class the workers are: gunicorn reads a file of the working directory and the environment,
/// too.
fn says_class(master: &Process) -> bool {
    let is_set = |option: &str, short: Option<&str>| option_value(&master.argv, option, short).is_some();
    !is_program(master, "gunicorn") || is_set("--worker-class", Some("-k")) || is_set("--threads", None)
}

/// The command line of a server as the origin of what it tells.
pub(super) fn command_line(server: &Server<'_>) -> Origin {
    Origin::Host(format!("/proc/{}/cmdline", server.master.pid))
}

#[cfg(test)]
mod tests {
    use super::*;
    use why502_facts::{Blob, ProcessRecord, ProcessTable};

    fn capacity_of(line: &str, n_workers: usize) -> Option<u64> {
        let record = |pid: u32, parent: u32| ProcessRecord {
            pid,
            stat: Blob::from(
                format!("{pid} (app) S {parent} 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 1000 0").as_str(),
            ),
            // A title is one argument.
            cmdline: Blob::from(line.replace(if line.contains(": ") { "\0" } else { " " }, "\0").as_str()),
            ..ProcessRecord::default()
        };
        let workers = (0..n_workers).map(|at| record(8 + u32::try_from(at).unwrap(), 7));
        let table =
            ProcessTable { processes: std::iter::once(record(7, 1)).chain(workers).collect(), hidden: false };
        let list = why502_decode::host::decode_processes(&table, None);
        let (master, workers) = list.processes.split_first().unwrap();
        capacity(&Server { master, workers: workers.iter().collect() }).map(|capacity| capacity.n_requests)
    }

    #[test]
    fn command_lines_tell_how_many_requests_are_served_at_once() {
        for (line, n_workers, expected) in [
            ("python3 /usr/bin/gunicorn -w 3 app:app", 3, Some(3)),
            ("gunicorn --threads=4 -w 2 app:app", 2, Some(8)),
            ("gunicorn -k gevent app:app", 1, None),
            ("gunicorn -c conf.py app:app", 1, None),
            ("gunicorn: master [app:app]", 2, None),
            ("uwsgi_python3 --master --processes 2 --threads 3", 2, Some(6)),
            ("uwsgi --socket 127.0.0.1:3031 --wsgi-file app.py", 0, Some(1)),
            ("uwsgi --gevent 100 --socket 127.0.0.1:3031", 0, None),
            ("uwsgi --ini /etc/uwsgi/shop.ini", 4, None),
            ("/usr/bin/uwsgi /etc/uwsgi/shop.ini", 4, None),
            ("python3 /usr/bin/waitress-serve --port 8080 app:app", 0, Some(4)),
            ("unicorn -E production", 5, Some(5)),
            ("node server.js", 0, None),
            ("php-fpm: master process (/etc/php/8.2/fpm/php-fpm.conf)", 5, None),
        ] {
            assert_eq!(capacity_of(line, n_workers), expected, "{line}");
        }
    }
}
