//! # systemd-sandbox-denied
//!
//! ## What happens
//!
//! nginx's own unit forbids it: `RestrictAddressFamilies=` leaves out the family of the backend's address, so that socket(2)
//! fails; `IPAddressDeny=` drops packets to it; `PrivateNetwork=` gives nginx a network with nothing but a loopback of its own;
//! `ProtectHome=`, `InaccessiblePaths=` or `TemporaryFileSystem=` hide the path of its socket. True for every version of nginx.
//!
//! ## What you see
//!
//! `socket() failed (97: Address family not supported by protocol)` and a 500; a timeout while connecting and a 504
//! (`IPAddressDeny=`); `connect() failed (101: Network is unreachable)` or `(111: Connection refused)` (`PrivateNetwork=`); errno 13
//! or 2 on a socket's path that exists for everybody else. The same program started from a shell works.
//!
//! ## How we know
//!
//! Confirmed: the unit of the running workers has the option, it covers this very address or path, the failures are those
//! that it makes, and the process shows it (a filter of system calls, a network or mount namespace of its own, a path that
//! ends there and not for the host; for `IPAddressDeny=` a process outside of the unit connects while nginx, which was started
//! after the unit's files were changed, has reached the address never since then and failed to a moment ago). Likely: systemd
//! could not be asked, or one of these was not seen.
//!
//! ## What would disprove it
//!
//! The unit has no such option, or it does not cover the address; the worker has no filter of system calls or is in the host's
//! namespaces; the same fails outside of the unit too; the backend has answered nginx since the last failure.
//!
//! ## What to do
//!
//! A drop-in that changes the one option by the one address, family or path. The rest of the sandbox stays.
//!
//! ## Not to be confused with
//!
//! `unix-socket-permission` (modes), `selinux-denied`, `apparmor-denied`, `unix-socket-other-namespace` (`PrivateTmp=`),
//! `upstream-not-listening`, `firewall-dropped`. A kernel without IPv6 refuses that family to everybody.
//!
//! ## References
//!
//! systemd.exec(5), systemd.resource-control(5); seccomp(2), network_namespaces(7); systemd: `src/core/namespace.c`,
//! `src/core/bpf-firewall.c`.

mod option;
mod remedy;
#[cfg(test)]
mod tests;

use super::forbidden::{Forbidden, forbidden, no_socket};
use crate::case::{Case, PeerSubject, Reach, Subject, Symptom, or_ask};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Open, Origin, Ruling};
use option::{Sandbox, denies_address, hides, leaves_out_family};
use std::time::Duration;
use why502_facts::{
    Errno, FileKind, FileTimes, Observed, PathTimes, Phase, Phrase, Process, Root, Stamp, Unit,
};

pub(super) static CAUSE: Cause = Cause {
    id: "systemd-sandbox-denied",
    layer: Layer::Socket,
    acts_on: ActsOn::Host,
    effect: false,
    statuses: &[500, 502],
    scope: Scope::Peer,
    supersedes: &[
        "localhost-inside-container",
        "network-unreachable",
        "unix-socket-missing",
        "unix-socket-other-namespace",
        "unix-socket-permission",
        "unix-socket-wrong-path",
        "upstream-connect-timeout",
        "upstream-not-listening",
    ],
    detect: Detect::Alone(detect),
    explain,
    remedies: remedy::remedies,
    manual: manual!("systemd_sandbox_denied.rs"),
};

/// A backend that was away when the last attempt failed may have come back within that time.
const RECENT: Duration = Duration::from_mins(2);
/// How far, in milliseconds, the start of a process may be told too early: the boot's moment has whole seconds.
const SLACK: i64 = 2000;

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some(peer) = subject.peer() else { return Ok(Ruling::NoSign) };
    if !case.symptoms_of(peer).any(|(_, _, symptom)| is_suspect(peer, symptom)) {
        return Ok(Ruling::NoSign);
    }
    let Some(worker) = case.worker() else { return Ok(Ruling::NoSign) };
    let Some(name) = worker.unit.as_deref().filter(|name| name.ends_with(".service")) else {
        return Ok(Ruling::NoSign);
    };
    let unit = or_ask(case.facts.unit(name))?;
    let refused = forbidden(case, subject, no_socket(Errno::AddressFamilyNotSupported))?;
    if let Some(refused) = refused {
        return by_family(case, subject, &refused, &worker, unit);
    }
    let Observed::Known(unit) = unit else { return Ok(Ruling::NoSign) };
    match &peer.address {
        why502_facts::PeerAddress::Unix(path) => by_path(case, subject, path, &worker, unit),
        why502_facts::PeerAddress::Inet(_) => by_network(case, subject, &worker, unit),
    }
}

/// Whether a failure is one that a sandbox makes: nothing is asked for any other.
fn is_suspect(peer: &PeerSubject, symptom: &Symptom) -> bool {
    let of_address: &[Errno] = match peer.address.inet() {
        Some(_) => &[Errno::ConnectionRefused, Errno::NetworkUnreachable, Errno::NotPermitted],
        None => &[Errno::AccessDenied, Errno::NoEntry],
    };
    no_socket(Errno::AddressFamilyNotSupported)(symptom)
        || of_address.iter().any(|errno| symptom.connect_failed(*errno))
        || (peer.address.inet().is_some() && is_silence(symptom))
}

fn is_silence(symptom: &Symptom) -> bool {
    symptom.phrase == Some(Phrase::UpstreamTimedOut) && symptom.phase == Some(Phase::Connecting)
}

fn by_family(
    case: &Case<'_>,
    subject: &Subject,
    refused: &Forbidden<'_>,
    worker: &Process,
    unit: Observed<&Unit>,
) -> Result<Ruling, Asks> {
    let status = Origin::Host(format!("/proc/{}/status", worker.pid));
    // Without a filter of system calls systemd restricts nothing here.
    if worker.seccomp == Some(0) {
        let says = "the worker runs without a filter of system calls";
        return Ok(Ruling::RuledOut(vec![Evidence::against(says, status)]));
    }
    let filtered = (worker.seccomp == Some(2))
        .then(|| Evidence::supporting("the worker runs under a filter of system calls (seccomp)", status));
    match unit {
        Observed::Known(unit) => {
            let Some(sandbox) = leaves_out_family(unit, &refused.peer.address) else {
                return Ok(Ruling::NoSign);
            };
            let confidence = if filtered.is_some() { Confidence::Confirmed } else { Confidence::Likely };
            let evidence = [Some(sandbox.evidence()), filtered].into_iter().flatten();
            let finding = refused.finding(case, &CAUSE, confidence, subject, Some(true)).with(evidence);
            Ok(Ruling::found(finding))
        }
        Observed::Absent => Ok(Ruling::NoSign),
        Observed::Unknown(gap) => {
            let confidence = if filtered.is_some() { Confidence::Likely } else { Confidence::Possible };
            let open = Case::open(gap, "which address families its unit allows");
            let finding =
                refused.finding(case, &CAUSE, confidence, subject, None).with(filtered).open([open]);
            Ok(Ruling::found(finding))
        }
    }
}

/// A path that the unit hides from nginx, and that leads to a socket for the host.
fn by_path(
    case: &Case<'_>,
    subject: &Subject,
    path: &str,
    worker: &Process,
    unit: &Unit,
) -> Result<Ruling, Asks> {
    let fits = |symptom: &Symptom| {
        symptom.connect_failed(Errno::AccessDenied) || symptom.connect_failed(Errno::NoEntry)
    };
    let Some(refused) = forbidden(case, subject, fits)? else { return Ok(Ruling::NoSign) };
    let Some(sandbox) = hides(unit, path) else { return Ok(Ruling::NoSign) };
    // Whoever sees the same files as this program is in no sandbox.
    if worker.same_root == Some(true) {
        return Ok(Ruling::NoSign);
    }
    let (own, theirs) = match (or_ask(case.facts.path_walk(Root::Host, path)), or_ask(case.path_walk(path))) {
        (Ok(own), Ok(theirs)) => (own, theirs),
        (own, theirs) => return Err(own.err().into_iter().chain(theirs.err()).flatten().collect()),
    };
    let is_socket = |walk: &why502_facts::PathWalk| {
        walk.target().is_some_and(|target| target.status.kind == FileKind::Socket)
    };
    // A path that ends for the host as well is hidden from nobody.
    if !own.as_ref().known().is_some_and(|walk| is_socket(walk)) && own.is_known() {
        return Ok(Ruling::NoSign);
    }
    let ends = |walk: &&why502_facts::PathWalk| {
        !walk.complete || walk.components.iter().any(|component| component.status.mode.trailing_zeros() >= 9)
    };
    let seen = own.is_known() && worker.same_root == Some(false) && theirs.as_ref().known().is_some_and(ends);
    // The path is open to nginx now: the option came later, or it does not hide this.
    if !seen && theirs.is_known() && own.is_known() && worker.same_root == Some(false) {
        return Ok(Ruling::NoSign);
    }
    let confidence = if seen { Confidence::Confirmed } else { Confidence::Likely };
    let open = [own.gap(), theirs.gap()].into_iter().flatten().next().cloned();
    let open = open.map(|gap| Case::open(gap, "where the path leads for nginx, and for the host"));
    let says = format!("{path} leads to a socket for the host, and not in nginx's mount namespace");
    let walked =
        seen.then(|| Evidence::supporting(says, Origin::Host(format!("/proc/{}/root{path}", worker.pid))));
    let finding = refused
        .finding(case, &CAUSE, confidence, subject, seen.then_some(true))
        .with([sandbox.evidence()])
        .with(walked)
        .open(open);
    Ok(Ruling::found(finding))
}

fn by_network(case: &Case<'_>, subject: &Subject, worker: &Process, unit: &Unit) -> Result<Ruling, Asks> {
    let fits = |symptom: &Symptom| {
        symptom.connect_failed(Errno::ConnectionRefused) || symptom.connect_failed(Errno::NetworkUnreachable)
    };
    if unit.is_on("PrivateNetwork")
        && let Some(refused) = forbidden(case, subject, fits)?
    {
        return Ok(by_own_network(case, subject, &refused, worker, unit));
    }
    let fits = |symptom: &Symptom| is_silence(symptom) || symptom.connect_failed(Errno::NotPermitted);
    let Some(refused) = forbidden(case, subject, fits)? else { return Ok(Ruling::NoSign) };
    let Some(address) = refused.peer.address.inet() else { return Ok(Ruling::NoSign) };
    let Some(sandbox) = denies_address(unit, address.ip()) else { return Ok(Ruling::NoSign) };
    let last = refused.failures.iter().map(|id| case.failure(*id).at).max();
    // Whoever is answered is denied nothing.
    if case.is_served_from(refused.peer, last) {
        return Ok(Ruling::NoSign);
    }
    let reaches = refused.reach == Observed::Known(Reach::Connected);
    // A probe is outside of the unit's control group: what it cannot reach either may be gone.
    let (is_seen, open) = if reaches { seen_since_start(case, &refused, unit, last)? } else { (false, None) };
    let confidence = if is_seen { Confidence::Confirmed } else { Confidence::Likely };
    let finding = refused
        .finding(case, &CAUSE, confidence, subject, is_seen.then_some(true))
        .with([sandbox.evidence()])
        .open(open);
    Ok(Ruling::found(finding))
}

/// Whether the option is in force and it is what fails: nothing was answered since nginx was started, that was after the unit's
/// files were changed, and the last attempt failed so shortly ago that nobody needs to have come back since.
fn seen_since_start(
    case: &Case<'_>,
    refused: &Forbidden<'_>,
    unit: &Unit,
    last: Option<Stamp>,
) -> Result<(bool, Option<Open>), Asks> {
    let master = case.gateway.master.and_then(|pid| case.listed(pid));
    let Some(started) = master.and_then(|master| master.started) else { return Ok((false, None)) };
    let of_unit = ["FragmentPath", "DropInPaths"].into_iter().filter_map(|name| unit.property(name));
    let paths: Vec<String> = of_unit.flat_map(str::split_whitespace).map(str::to_owned).collect();
    let times = or_ask(case.facts.file_times(Root::Host, &paths))?;
    let is_older = |own: &FileTimes| match &own.times {
        PathTimes::Known { changed, linked, .. } => {
            (*changed).max(linked.unwrap_or(*changed)).0 <= started.0 + SLACK
        }
        PathTimes::Absent | PathTimes::Unknown { .. } => false,
    };
    let are_older =
        times.as_ref().known().is_some_and(|times| !times.is_empty() && times.iter().all(is_older));
    let is_never_served = case.last_success(refused.peer).is_none_or(|(at, _)| at < started);
    let is_recent = last.is_some_and(|last| {
        last.after(RECENT) >= case.facts.manifest.captured_at && !case.started_after(refused.peer, last)
    });
    let open = times.gap().cloned().map(|gap| Case::open(gap, "whether nginx was started with the option"));
    Ok((are_older && is_never_served && is_recent, open))
}

/// `PrivateNetwork=`: the worker's network namespace is not that of process 1, and a probe in it fails as nginx does.
fn by_own_network(
    case: &Case<'_>,
    subject: &Subject,
    refused: &Forbidden<'_>,
    worker: &Process,
    unit: &Unit,
) -> Ruling {
    let sandbox = Sandbox::new(unit, "PrivateNetwork", "yes");
    let of_host = case.facts.processes().known().and_then(|list| list.get(1)?.net_namespace);
    let is_apart = worker.net_namespace.zip(of_host).map(|(own, host)| own != host);
    // Where another unit's network is joined, being apart is meant: whoever it should find is in there.
    let is_joined = ["JoinsNamespaceOf", "NetworkNamespacePath"]
        .into_iter()
        .any(|name| unit.property(name).is_some_and(|value| !value.is_empty()));
    if is_apart == Some(false) || is_joined {
        return Ruling::NoSign;
    }
    let fails = matches!(
        refused.reach,
        Observed::Known(Reach::Failed(Errno::ConnectionRefused | Errno::NetworkUnreachable))
    );
    let confidence = if is_apart == Some(true) && fails { Confidence::Confirmed } else { Confidence::Likely };
    let says = "the worker's network namespace is not the host's";
    let apart = (is_apart == Some(true))
        .then(|| Evidence::supporting(says, Origin::Host(format!("/proc/{}/ns/net", worker.pid))));
    let finding = refused
        .finding(case, &CAUSE, confidence, subject, fails.then_some(true))
        .with([sandbox.evidence()])
        .with(apart);
    Ruling::found(finding)
}

/// The option of the unit that forbids what a finding is about.
fn found(case: &Case<'_>, finding: &Finding) -> Option<Sandbox> {
    let name = case.worker()?.unit?;
    let unit = case.facts.unit(&name).known()?;
    let subject = finding.subjects.iter().find(|subject| subject.peer().is_some())?;
    let address = &subject.peer()?.address;
    let of_family = case
        .symptoms_of(subject.peer()?)
        .any(|(_, _, symptom)| no_socket(Errno::AddressFamilyNotSupported)(symptom))
        .then(|| leaves_out_family(unit, address));
    if let Some(family) = of_family {
        return family;
    }
    match (address.unix_path(), address.inet()) {
        (Some(path), _) => hides(unit, path),
        (None, Some(_)) if unit.is_on("PrivateNetwork") => Some(Sandbox::new(unit, "PrivateNetwork", "yes")),
        (None, Some(address)) => denies_address(unit, address.ip()),
        (None, None) => None,
    }
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let address = finding.address();
    let title = match found(case, finding) {
        Some(sandbox) => {
            format!("{}={} of {} keeps nginx from {address}", sandbox.option, sandbox.value, sandbox.unit)
        }
        None => format!("a sandbox around nginx keeps it from {address}"),
    };
    Explanation {
        title,
        why: "systemd starts nginx with less than the host has, and what the backend's address needs is not among it. The \
              attempt fails inside of nginx's own unit, whatever the backend does."
            .to_owned(),
        wont_help: vec![
            "restarting the backend: it is reachable for everybody but nginx".to_owned(),
            "testing with curl or a shell, also as nginx's user: these run outside of the unit".to_owned(),
            "starting nginx without its unit: it works, and nobody restarts or confines it any more".to_owned(),
        ],
    }
}
