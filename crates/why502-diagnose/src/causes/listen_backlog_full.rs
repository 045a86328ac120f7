//! # listen-backlog-full
//!
//! ## What happens
//!
//! The kernel takes connections for a server and keeps them in the accept queue of its listening socket until the server accepts
//! them; the queue is full where more come than the server accepts. Its length is what the server asked for (`listen(2)`: `listen.backlog` of
//! PHP-FPM, `--backlog` of gunicorn, `--listen` of uWSGI), cut without a word to `net.core.somaxconn` of the server's network
//! namespace, and one more may wait. A full queue of a unix socket refuses at once; to that of TCP the first packet (SYN) is dropped
//! and repeated after 1 s, 3 s, 7 s. True for every version of nginx.
//!
//! ## What you see
//!
//! Of a unix socket `connect() to unix:… failed (11: Resource temporarily unavailable)` and a 502 in no time. Of TCP
//! `upstream timed out (110: Connection timed out) while connecting to upstream` and a 504 after `proxy_connect_timeout`; where
//! `net.ipv4.tcp_abort_on_overflow` is 1, resets (104) as well.
//!
//! ## How we know
//!
//! Confirmed: the kernel answered 11, and the socket is seen with its limit; or the queue is full and a connection in nginx's
//! place is not taken, or while that was tried the listening socket counted drops and its network namespace overflows
//! (`ListenOverflows`). Likely: errno 11 alone; or the listening socket has dropped attempts since it was made (with
//! `ListenOverflows`), and takes connections again. Possible: it overflowed, and a pool whose workers are all busy is the reason.
//!
//! ## What would disprove it
//!
//! Room in the queue while a connection gets no answer, whatever the socket dropped meanwhile: then a packet filter drops it, or
//! the answers are lost, and the repeated first packets count as drops.
//!
//! ## What to do
//!
//! Look at who holds the socket: a process that is stopped or hangs accepts nothing, however long its queue is. For bursts, raise the
//! server's own backlog and, where that is cut, `net.core.somaxconn`, and restart the server: the length is fixed when it begins to listen.
//!
//! ## Not to be confused with
//!
//! `upstream-pool-exhausted` (a queue of usual length, behind workers that are all busy), `upstream-hung` (why nobody accepts),
//! `firewall-dropped` and `host-unreachable` (the same words, and an empty queue), `connect-timeout-too-short`.
//!
//! ## References
//!
//! listen(2), connect(2) (`EAGAIN`), unix(7), sock_diag(7); Linux: `sk_acceptq_is_full` (include/net/sock.h), `tcp_conn_request`
//! (net/ipv4/tcp_input.c), `unix_stream_connect` (net/unix/af_unix.c), Documentation/networking/ip-sysctl.rst; nginx:
//! `ngx_event_connect_peer`.

mod mend;
mod queue;

use self::mend::remedies;
use self::queue::{Overflow, overflow};
use crate::case::{Case, Reach, Subject, count};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Origin, Ruling};
use why502_facts::{Errno, Observed, PeerAddress};

pub(super) static CAUSE: Cause = Cause {
    id: "listen-backlog-full",
    layer: Layer::Connect,
    acts_on: ActsOn::Upstream,
    effect: false,
    statuses: &[502, 504],
    scope: Scope::Peer,
    supersedes: &[
        "connect-timeout-too-short",
        "upstream-connect-timeout",
        "upstream-pool-exhausted",
        "upstream-reset-before-response",
    ],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("listen_backlog_full.rs"),
};

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some(found) = overflow(case, subject)? else { return Ok(Ruling::NoSign) };
    let Some(confidence) = found.confidence(case)? else { return Ok(found.room()) };
    let says = |n| format!("{} not taken", count(n, "connection attempt"));
    let last = found.symptoms.iter().map(|(_, failure, _)| failure.at).max();
    let is_restarted = last.is_some_and(|last| case.started_after(found.peer, last));
    let is_mended = is_restarted && found.reach == Observed::Known(Reach::Connected);
    let is_now = found.is_refused_now();
    let gap = found.before.gap().or_else(|| found.reach.gap()).cloned();
    let mut finding =
        Finding::new(&CAUSE, confidence, subject)
            .explaining(found.symptoms.iter().map(|(id, ..)| *id))
            .still_failing(if is_now { Some(true) } else { is_mended.then_some(false) })
            .with(Case::lines_evidence(found.symptoms.iter().copied(), says))
            .with(evidence(case, &found))
            .open(gap.filter(|_| confidence < Confidence::Confirmed).map(|gap| {
                Case::open(gap, "how many connections wait at the server's socket, and how many may")
            }))
            .at(case.written_at(found.peer));
    finding.fails_clients_now = is_now && case.is_felt(found.peer);
    Ok(Ruling::found(finding))
}

/// What the kernel and the processes tell.
fn evidence(case: &Case<'_>, found: &Overflow<'_>) -> Vec<Evidence> {
    let mut evidence = Vec::new();
    let diag = || Origin::Host("sock_diag(7), as ss -lt and ss -lx show it".to_owned());
    for queue in &found.queues {
        let says = format!(
            "{} in the accept queue of {} when it was looked at (Recv-Q), and its backlog is {} (Send-Q): one more than that may wait",
            match queue.waiting {
                1 => "1 connection waited".to_owned(),
                waiting => format!("{waiting} connections waited"),
            },
            queue.address,
            queue.limit
        );
        evidence.push(if queue.is_full() {
            Evidence::supporting(says, diag())
        } else {
            Evidence::context(says, diag())
        });
    }
    if found.dropped() > 0 {
        let while_probed = match found.dropped_meanwhile() {
            0 => String::new(),
            dropped => format!(", {dropped} of them while a connection was tried"),
        };
        let says = format!(
            "that socket has dropped {} since it was made{while_probed}",
            count(found.dropped(), "attempt")
        );
        evidence.push(Evidence::supporting(says, diag()));
    }
    evidence.extend(counters(found));
    match found.reach {
        Observed::Known(Reach::Silent) => evidence.push(Evidence::supporting(
            "a connection attempt gets no answer now",
            case.probe_origin(found.peer),
        )),
        Observed::Known(Reach::Failed(Errno::TryAgain)) => {
            let says = "a connection is refused with the same error now";
            evidence.push(Evidence::supporting(says, case.probe_origin(found.peer)));
        }
        Observed::Known(Reach::Connected) => {
            let says = format!("{} takes connections now", found.peer.address);
            evidence.push(Evidence::context(says, case.probe_origin(found.peer)));
        }
        _ => {}
    }
    evidence.extend(holder(case, found));
    evidence.extend(cut(found));
    evidence
}

/// What the whole namespace counted.
fn counters(found: &Overflow<'_>) -> Option<Evidence> {
    let PeerAddress::Inet(_) = found.peer.address else { return None };
    let (first, last) = (found.counter("ListenOverflows", false)?, found.counter("ListenOverflows", true));
    let process = found.pid.map_or_else(|| "self".to_owned(), |pid| pid.to_string());
    let origin = Origin::Host(format!("/proc/{process}/net/netstat"));
    let drops = found.counter("ListenDrops", last.is_some()).unwrap_or(0);
    match last {
        Some(last) if last > first => {
            let says = format!(
                "ListenOverflows of the network namespace rose from {first} to {last} while a connection was tried, ListenDrops to {drops}"
            );
            Some(Evidence::supporting(says, origin))
        }
        _ if first > 0 => {
            let says = format!("ListenOverflows of the network namespace is {first}, ListenDrops {drops}");
            Some(Evidence::context(says, origin))
        }
        _ => None,
    }
}

/// Who holds the socket, and why it may not accept.
fn holder(case: &Case<'_>, found: &Overflow<'_>) -> Option<Evidence> {
    let server = found.server()?;
    let name = case.owners(&[server.pid]);
    let (what, is_reason) = match found.stopped() {
        Some('T' | 't') => ("is stopped (state T): it accepts nothing", true),
        Some('D') => ("waits for a disk or a device (state D): it accepts nothing meanwhile", true),
        Some(_) => ("has ended and was not collected (state Z): nobody accepts", true),
        None => ("accepts them", false),
    };
    let origin = Origin::Host(format!("/proc/{}/stat", server.pid));
    let says = if is_reason {
        format!("{name}, which holds the socket, {what}")
    } else {
        format!("{name} is who {what}")
    };
    Some(if is_reason { Evidence::supporting(says, origin) } else { Evidence::context(says, origin) })
}

/// That the limit is that of the kernel, not of the server.
fn cut(found: &Overflow<'_>) -> Option<Evidence> {
    let somaxconn = found.somaxconn()?;
    let (asked, option) = found.asked()?;
    let is_cut = found.limit() == Some(somaxconn) && asked > somaxconn;
    is_cut.then(|| {
        let by = option.map_or_else(|| "by default".to_owned(), |option| format!("with {option}"));
        let says = format!(
            "net.core.somaxconn is {somaxconn} there: the {asked} that the server asks for {by} are cut to it"
        );
        Evidence::supporting(says, Case::setting_origin("net.core.somaxconn"))
    })
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let found = finding.subjects.first().and_then(|subject| overflow(case, subject).ok().flatten());
    let address = finding.address();
    let backlog =
        found.as_ref().and_then(Overflow::limit).map(|limit| format!(" with its backlog of {limit}"));
    let who = found.as_ref().and_then(|found| {
        let state = match found.stopped()? {
            'T' | 't' => "is stopped",
            'D' => "waits for a disk or a device",
            _ => "has ended",
        };
        Some(format!(": {} {state}", case.owners(&[found.server()?.pid])))
    });
    let is_unix = address.starts_with("unix:");
    let why = if is_unix {
        "The kernel keeps connections to a server until it accepts them. This queue has no room left, so that a connection to the \
         unix socket fails at once (errno 11) and nginx answers 502."
    } else {
        "The kernel keeps connections to a server until it accepts them. This queue has no room left, so that the first packet of a \
         connection is dropped and repeated until nginx's connect timeout is up and it answers 504."
    };
    Explanation {
        title: format!(
            "the accept queue of {address}{} overflows{}",
            backlog.unwrap_or_default(),
            who.unwrap_or_default()
        ),
        why: why.to_owned(),
        wont_help: vec![
            "raising proxy_connect_timeout: nginx only asks for longer for a place in the same queue, and clients wait meanwhile"
                .to_owned(),
            "raising net.core.somaxconn alone: it only cuts what the server asks for, and only when it begins to listen".to_owned(),
        ],
    }
}

#[cfg(test)]
mod tests;
