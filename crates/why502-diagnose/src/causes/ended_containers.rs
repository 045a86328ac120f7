//! A container that nginx dials by its own address or name, and that does not run: its engine says so, and how it ended. One whose
//! port the host publishes is a service of the host.

use super::upstream_oom_killed::is_sudden;
use crate::case::{Case, Failure, FailureId, PeerSubject, Reach, Subject, Symptom, count, or_ask};
use crate::cause::{Asks, Cause};
use crate::finding::{Confidence, Evidence, Finding, Origin};
use std::net::IpAddr;
use std::time::Duration;
use why502_facts::{Container, ContainerDetail, Errno, Observed, Phase, Phrase, Stamp};
use why502_model::Host;

/// So many containers that do not run are looked at.
const MAX_ENDED: usize = 8;
/// Stamps of nginx's log are whole seconds, and an engine writes down an end a moment later.
const SLACK: Duration = Duration::from_secs(2);

/// How the process of a container ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// By itself, with that code.
    Died(i64),
    /// Its memory limit, which is another cause's.
    OutOfMemory,
    /// It was stopped, or never started.
    Stopped,
}

/// A container that does not run, and the peer that was in it.
#[derive(Debug)]
pub(super) struct Ended<'c> {
    pub(super) container: &'c Container,
    pub(super) end: End,
    finished: Option<Stamp>,
    tie: String,
    strength: Confidence,
    socket: String,
    peer: &'c PeerSubject,
    reach: Observed<Reach>,
    failures: Vec<(FailureId, Stamp)>,
    evidence: Vec<Evidence>,
}

/// The container behind a peer that does not answer, if the engine says that it does not run. An error asks for the engines.
pub(super) fn ended<'c>(case: &'c Case<'_>, subject: &'c Subject) -> Result<Option<Ended<'c>>, Asks> {
    let Some((peer, address)) = subject.peer().and_then(|peer| Some((peer, peer.address.inet()?))) else {
        return Ok(None);
    };
    let attempts: Vec<_> = case.symptoms_of(peer).filter(|(_, _, symptom)| is_unmade(symptom)).collect();
    let reach = match or_ask(case.reach(peer)) {
        Ok(reach) => reach,
        // A silent peer takes long to be seen, so the engines are asked meanwhile if attempts failed.
        Err(mut asks) => {
            let engines = (!attempts.is_empty()).then(|| case.engines());
            asks.extend(engines.and_then(Result::err).unwrap_or_default());
            return Err(asks);
        }
    };
    let is_unmade_now = match &reach {
        Observed::Known(Reach::Silent) => true,
        Observed::Known(Reach::Failed(errno)) => UNMADE.contains(errno),
        _ => false,
    };
    if reach == Observed::Known(Reach::Connected) || (attempts.is_empty() && !is_unmade_now) {
        return Ok(None);
    }
    // Somebody is there.
    let table = case.sockets();
    if table.known().is_some_and(|table| table.listens(&peer.address) == Some(true)) {
        return Ok(None);
    }
    let engines = case.engines()?;
    let own = case.own_container(&engines);
    let dialled = Dialled { ip: address.ip(), names: names_of(case, peer), own };
    // What was started once beside it, or was there before it, has nothing to do with one that runs.
    if engines.containers().any(|(_, container)| container.is_running() && dialled.is(container)) {
        return Ok(None);
    }
    let mut asks = Asks::new();
    let mut found = Vec::new();
    let resting = engines.containers().filter(|(_, container)| is_at_rest(container));
    for (socket, container) in resting.take(MAX_ENDED) {
        let id = container.id.chars().take(12).collect::<String>();
        match or_ask(case.facts.container(socket, &id)) {
            Err(more) => asks.extend(more),
            Ok(detail) => {
                let Some(detail) = detail.known() else { continue };
                let tie = dialled.by_address(container, detail).or_else(|| dialled.by_name(container));
                found.extend(tie.map(|(tie, strength)| (socket, container, detail, tie, strength)));
            }
        }
    }
    if !asks.is_empty() {
        return Err(asks);
    }
    // Of several the last one to end, which is likely that of the others' successor.
    let is_alone = found.len() == 1;
    let last = found.into_iter().max_by_key(|(_, container, detail, ..)| (detail.finished, &container.id));
    let Some((socket, container, detail, tie, strength)) = last else { return Ok(None) };
    let strength = if is_alone { strength } else { strength.min(Confidence::Likely) };
    let failures = attempts.iter().map(|(id, failure, _)| (*id, failure.at)).collect();
    let line =
        Case::lines_evidence(attempts, |n| format!("{} to {address} failed", count(n, "connection attempt")));
    let now = is_unmade_now.then(|| {
        let says = format!("a connection to {address} cannot be made now");
        Evidence::supporting(says, case.probe_origin(peer))
    });
    let ended = Ended {
        container,
        end: end_of(detail),
        finished: detail.finished,
        tie,
        strength,
        socket: socket.to_owned(),
        peer,
        reach,
        failures,
        evidence: line.into_iter().chain(now).collect(),
    };
    let is_explained = ended.failures.is_empty() || ended.explained().next().is_some();
    Ok(is_explained.then_some(ended))
}

/// The errors of attempts on a container that is not there.
const UNMADE: [Errno; 4] =
    [Errno::ConnectionRefused, Errno::HostUnreachable, Errno::NetworkUnreachable, Errno::TimedOut];

fn is_unmade(symptom: &Symptom) -> bool {
    let timed_out = symptom.is(Phrase::UpstreamTimedOut) && symptom.phase == Some(Phase::Connecting);
    timed_out || UNMADE.iter().any(|errno| symptom.connect_failed(*errno))
}

/// Whether nothing of a container runs. One that is paused or between two starts is something else.
fn is_at_rest(container: &Container) -> bool {
    matches!(container.state.as_str(), "created" | "dead" | "exited") && !container.is_one_off
}

/// By 143 and 137 ends whom the engine asks to end, or kills (signal(7): 128 and the number of the signal).
fn end_of(detail: &ContainerDetail) -> End {
    match detail.exit_code {
        _ if detail.oom_killed => End::OutOfMemory,
        Some(code) if !matches!(code, 0 | 130 | 137 | 143) && detail.error.is_empty() => End::Died(code),
        _ => End::Stopped,
    }
}

/// What nginx dials, of a container.
struct Dialled<'c> {
    ip: IpAddr,
    names: Vec<&'c str>,
    /// nginx's own container.
    own: Option<&'c Container>,
}

/// The names that a peer's address may have come from: nginx looked them up when it was loaded, and keeps the address that the
/// container had then. One that cannot be resolved any more stands for nothing now.
fn names_of<'c>(case: &'c Case<'_>, peer: &PeerSubject) -> Vec<&'c str> {
    let name = |host: &'c Host| if let Host::Name(name) = host { Some(name.as_str()) } else { None };
    match (case.configured(peer), peer.group) {
        (Some(configured), _) => name(&configured.host).into_iter().collect(),
        (None, Some(group)) => {
            case.gateway.group(group).peers.iter().filter_map(|own| name(&own.host)).collect()
        }
        (None, None) => Vec::new(),
    }
}

impl Dialled<'_> {
    fn by_address(&self, container: &Container, detail: &ContainerDetail) -> Option<(String, Confidence)> {
        let says =
            || format!("{} is the address that the container {} has while it runs", self.ip, container.name);
        detail.fixed_addresses.contains(&self.ip).then(|| (says(), Confidence::Confirmed))
    }

    fn by_name(&self, container: &Container) -> Option<(String, Confidence)> {
        let name = self.name_of(container)?;
        let says = format!(
            "{name}, which nginx dials, is the container {} of a network with nginx's",
            container.name
        );
        Some((says, Confidence::Confirmed))
    }

    /// The name by which the engine's name server knows a container in a network of nginx's.
    fn name_of(&self, container: &Container) -> Option<&str> {
        self.own?.shared_networks(container).next()?;
        self.names.iter().copied().find(|name| container.is_called(name))
    }

    fn is(&self, container: &Container) -> bool {
        container.has_address(self.ip) || self.name_of(container).is_some()
    }
}

impl Ended<'_> {
    /// The requests that it had when it died: their connections ended with it.
    fn broken_off<'s>(&'s self, case: &'s Case<'_>) -> Vec<(FailureId, &'s Failure, &'s Symptom)> {
        let died = self.finished.filter(|_| matches!(self.end, End::Died(_)));
        let is_then = |at: Stamp| {
            died.is_some_and(|died| {
                at.after(Duration::from_secs(1)) >= died.before(SLACK) && at <= died.after(SLACK)
            })
        };
        let symptoms = case.symptoms_of(self.peer);
        symptoms.filter(|(_, failure, symptom)| is_sudden(symptom) && is_then(failure.at)).collect()
    }

    fn explained(&self) -> impl Iterator<Item = FailureId> {
        let from = self.finished.map(|at| at.before(SLACK));
        self.failures.iter().filter(move |(_, at)| from.is_none_or(|from| from <= *at)).map(|(id, _)| *id)
    }

    /// A finding about the failures since its end.
    pub(super) fn finding(&self, case: &Case<'_>, cause: &'static Cause, subject: &Subject) -> Finding {
        let is_now = self.reach.is_known();
        let confidence = if is_now { self.strength } else { self.strength.min(Confidence::Likely) };
        let origin = || Origin::Host(self.socket.clone());
        let at = self.finished.map(|at| format!(" since {at}")).unwrap_or_default();
        let code = if let End::Died(code) = self.end { format!(", with code {code}") } else { String::new() };
        let says =
            format!("the engine says that {} is {}{at}{code}", self.container.name, self.container.state);
        let broken_off = self.broken_off(case);
        let mut finding = Finding::new(cause, confidence, subject)
            .explaining(self.explained().chain(broken_off.iter().map(|(id, ..)| *id)))
            .still_failing(is_now.then_some(true))
            .with(self.evidence.iter().cloned())
            .with(Case::lines_evidence(broken_off, |n| {
                format!("{} broke off at the moment of its death", count(n, "request"))
            }))
            .with([Evidence::supporting(self.tie.clone(), origin()), Evidence::supporting(says, origin())])
            .at(case.written_at(self.peer));
        finding.fails_clients_now = is_now && case.is_felt(self.peer);
        finding
    }
}

/// The container behind the first peer of a finding.
pub(super) fn ended_again<'c>(case: &'c Case<'_>, finding: &'c Finding) -> Option<Ended<'c>> {
    let subject = finding.subjects.iter().find(|subject| subject.peer().is_some())?;
    ended(case, subject).ok().flatten()
}

#[cfg(test)]
mod tests {
    use crate::causes::upstream_service_stopped::tests::HIT;
    use crate::fixture::Fixture;

    /// A container is dialled by its own address.
    fn host(engine: &str) -> Fixture {
        Fixture::new(&HIT.replace("127.0.0.1:3000", "172.18.0.9:3000"))
            .without("unit-file /etc/systemd/system/orders.service")
            .with("listeners", "0.0.0.0:80 nginx\n127.0.0.1:2375 dockerd\n")
            .with("engine", engine)
    }

    #[test]
    fn hit_the_container_of_that_address_is_stopped() {
        let stopped = host("cd orders exited fixed=172.18.0.9 exit=143 finished=2026-11-21T02:28:10Z");
        let says = "upstream-service-stopped -> upstream-not-listening: the container orders, which serves 172.18.0.9:3000, is stopped";
        assert!(stopped.summary().contains(says), "{}", stopped.summary());
        let steps = format!("{:?}", stopped.report().findings[0].remedies);
        assert!(steps.contains(r#""docker", "start", "orders""#), "{steps}");
    }

    #[test]
    fn hit_it_died_by_itself() {
        let died = host("cd orders exited fixed=172.18.0.9 exit=1 finished=2026-11-21T02:28:10Z");
        let says = "upstream-crashed -> upstream-not-listening: the container orders, which serves 172.18.0.9:3000, died: exit code 1";
        assert!(died.summary().contains(says), "{}", died.summary());
    }

    #[test]
    fn near_miss_it_ended_after_the_failures_or_is_another() {
        for engine in [
            "cd orders exited fixed=172.18.0.9 exit=143 finished=2026-11-21T02:29:10Z",
            "cd orders exited fixed=172.18.0.8 exit=143 finished=2026-11-21T02:28:10Z",
            "cd orders running fixed=172.18.0.9",
            "cd orders exited oom fixed=172.18.0.9 exit=137 finished=2026-11-21T02:28:10Z",
        ] {
            let summary = host(engine).summary();
            let is_it = summary.contains("upstream-service-stopped") || summary.contains("upstream-crashed");
            assert!(!is_it, "{engine}: {summary}");
        }
    }

    #[test]
    fn gap_the_engine_may_not_be_asked() {
        let summary = host("").without("engine").summary();
        assert!(!summary.contains("upstream-service-stopped"), "{summary}");
    }
}
