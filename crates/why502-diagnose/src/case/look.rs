//! What rules look at, three-valued.

use super::lookup::{group_name, passes};
use super::source::Source;
use super::strangers::has_ids_of_proc;
use super::{Case, Failure, FailureId, PeerSubject, Subject, Success, Symptom};
use crate::cause::Asks;
use crate::finding::{Evidence, Open, Origin};
use crate::plan;
use std::collections::BTreeSet;
use std::net::IpAddr;
use why502_facts::{
    Ask, Errno, Gap, GapReason, LineRef, Observed, PathWalk, PeerAddress, ProbeOutcome, ProbeReport,
    ProbeSpec, Process, Security, SocketTable, Stamp, StepKind,
};
use why502_model::{GroupId, Pass, Peer, RouteId};

/// What became of a connection attempt of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    Connected,
    Failed(Errno),
    Silent,
}

/// Turns an observation that was not asked for yet into an ask.
pub(crate) fn or_ask<T>(observed: Observed<T>) -> Result<Observed<T>, Asks> {
    match observed {
        Observed::Unknown(Gap { ask, why: GapReason::NotYet, .. }) => Err(vec![ask]),
        other => Ok(other),
    }
}

/// The ask of a gap that is one because nobody asked yet, where several are gathered.
pub(crate) fn not_yet(gap: &Gap) -> Option<Ask> {
    (gap.why == GapReason::NotYet).then(|| gap.ask.clone())
}

impl Case<'_> {
    /// The symptoms of failed attempts on a peer, with their failures.
    pub(crate) fn symptoms_of<'s>(
        &'s self,
        peer: &'s PeerSubject,
    ) -> impl Iterator<Item = (FailureId, &'s Failure, &'s Symptom)> {
        self.failures_on(&peer.address).flat_map(move |(id, failure)| {
            let symptoms = failure.symptoms.iter().filter(move |symptom| {
                // A subrequest was made by a route of its own, whatever became of the request.
                let own = symptom.route.filter(|_| symptom.subrequest.is_some());
                let route = own.or(failure.route);
                symptom.peer.as_ref() == Some(&peer.address)
                    && route.is_none_or(|route| peer.routes.is_empty() || peer.is_of(route))
            });
            symptoms.map(move |symptom| (id, failure, symptom))
        })
    }

    /// The failures of a route, with their ids.
    pub(crate) fn failures_of(&self, route: RouteId) -> impl Iterator<Item = (FailureId, &Failure)> {
        self.failures_routed(Some(route))
    }

    fn failures_routed(&self, route: Option<RouteId>) -> impl Iterator<Item = (FailureId, &Failure)> {
        let ids = self.lookup.failures_of_route.get(&route).into_iter().flatten();
        ids.map(|id| (*id, self.failure(*id)))
    }

    /// The failures that may be of a group: those of its routes, and those of which nobody knows the route.
    pub(crate) fn failures_of_group(&self, group: GroupId) -> impl Iterator<Item = (FailureId, &Failure)> {
        let routes = self.routes_to(group).map(Some).chain([None]);
        let ids: BTreeSet<FailureId> =
            routes.flat_map(|route| self.failures_routed(route)).map(|(id, _)| id).collect();
        ids.into_iter().map(|id| (id, self.failure(id)))
    }

    /// The failures with an attempt on an address.
    pub(crate) fn failures_on(&self, address: &PeerAddress) -> impl Iterator<Item = (FailureId, &Failure)> {
        let ids = self.lookup.failures_of_address.get(address).into_iter().flatten();
        ids.map(|id| (*id, self.failure(*id)))
    }

    /// The failures that may be of a peer: those with an attempt on its address, and those of its routes.
    pub(crate) fn failures_about(&self, peer: &PeerSubject) -> impl Iterator<Item = (FailureId, &Failure)> {
        let of_routes = peer.routes.iter().flat_map(|route| self.failures_of(*route));
        let ids: BTreeSet<FailureId> =
            self.failures_on(&peer.address).chain(of_routes).map(|(id, _)| id).collect();
        ids.into_iter().map(|id| (id, self.failure(id)))
    }

    /// The addresses that the gateway listens on at a port.
    pub(crate) fn listens_on_port(&self, port: u16) -> impl Iterator<Item = IpAddr> {
        self.lookup.listens_of_port.get(&port).into_iter().flatten().copied()
    }

    /// Whether the gateway listens on a unix socket.
    pub(crate) fn listens_on_path(&self, path: &str) -> bool {
        self.lookup.listen_paths.contains(path)
    }

    /// The routes that pass, or may pass, to a group.
    pub(crate) fn routes_to(&self, group: GroupId) -> impl Iterator<Item = RouteId> {
        self.lookup.routes_of_group.get(&group).into_iter().flatten().copied()
    }

    /// The peers of a group; of none: those whose target only a request decides.
    pub(crate) fn peers_of(&self, group: Option<GroupId>) -> impl Iterator<Item = &PeerSubject> {
        self.lookup.peers_of_group.get(&group).into_iter().flatten().map(|at| &self.peers[*at])
    }

    /// The peers that a route passes to.
    pub(crate) fn peers_behind(&self, route: RouteId) -> impl Iterator<Item = &PeerSubject> {
        self.lookup.peers_of_route.get(&route).into_iter().flatten().map(|at| &self.peers[*at])
    }

    /// The peers of an address, one per group that has it.
    pub(crate) fn peers_at(&self, address: &PeerAddress) -> impl Iterator<Item = &PeerSubject> {
        self.lookup.peers_of_address.get(address).into_iter().flatten().map(|at| &self.peers[*at])
    }

    /// The successes of a route.
    pub(crate) fn successes_of(&self, route: RouteId) -> impl Iterator<Item = &Success> {
        self.lookup.successes_of_route.get(&route).into_iter().flatten().map(|at| &self.successes[*at])
    }

    /// The failures of a subject that is a route, or of none.
    pub(crate) fn failures_at(&self, subject: &Subject) -> impl Iterator<Item = (FailureId, &Failure)> {
        let wanted = match subject {
            Subject::Route(route) => Some(Some(*route)),
            Subject::Nowhere => Some(None),
            Subject::Gateway | Subject::Group(_) | Subject::Peer(_) => None,
        };
        wanted.into_iter().flat_map(|route| self.failures_routed(route))
    }

    /// The sockets of the gateway's network namespace.
    pub(crate) fn sockets(&self) -> Observed<&SocketTable> {
        self.facts.sockets(self.gateway.master)
    }

    /// Where the sockets were read.
    pub(crate) fn sockets_origin(&self) -> Origin {
        let pid = self.gateway.master.map_or_else(|| "self".to_owned(), |pid| pid.to_string());
        Origin::Host(format!("/proc/{pid}/net/tcp"))
    }

    /// Whether an address is one of the gateway's own host and network namespace.
    pub(crate) fn is_local(&self, address: &PeerAddress) -> bool {
        match address {
            PeerAddress::Unix(_) => true,
            PeerAddress::Inet(inet) => {
                inet.ip().is_loopback()
                    || self.sockets().known().is_some_and(|table| table.is_local(inet.ip()))
            }
        }
    }

    /// The probe that is made of every peer: see [`plan::spec_of`].
    pub(crate) fn probe(&self, peer: &PeerSubject) -> Observed<&ProbeReport> {
        self.probe_with(peer, &plan::spec_of(self, peer))
    }

    /// A certain probe of a peer; unknown where the gateway's connections come from where no probe can come from.
    pub(crate) fn probe_with(&self, peer: &PeerSubject, spec: &ProbeSpec) -> Observed<&ProbeReport> {
        let source = self.source(peer);
        if source == Source::Other {
            let says =
                "nginx dials it from an address that the configuration binds, and that a probe cannot take";
            let ask = self.probe_ask(peer, spec);
            return Observed::Unknown(Gap { ask, why: GapReason::NotAsked, says: says.to_owned() });
        }
        self.facts.probe(self.gateway.security, &peer.address, spec, source.address())
    }

    /// The ask for the probe of a peer.
    pub(crate) fn probe_ask(&self, peer: &PeerSubject, spec: &ProbeSpec) -> Ask {
        let spec = Box::new(spec.clone());
        let source = self.source(peer).address();
        Ask::Probe { security: self.gateway.security, target: peer.address.clone(), spec, source }
    }

    /// Where the probe of a peer stands in a report.
    pub(crate) fn probe_origin(&self, peer: &PeerSubject) -> Origin {
        Origin::Probe(self.probe_ask(peer, &plan::spec_of(self, peer)))
    }

    /// What became of the connection attempt of a peer's probe.
    pub(crate) fn reach(&self, peer: &PeerSubject) -> Observed<Reach> {
        self.probe(peer).map(|report| match report.outcome(StepKind::Connect) {
            Some(ProbeOutcome::Done) => Reach::Connected,
            Some(ProbeOutcome::Failed(errno)) => Reach::Failed(errno),
            _ => Reach::Silent,
        })
    }

    /// The components of a unix socket's path, as the gateway sees it.
    pub(crate) fn path_walk(&self, path: &str) -> Observed<&PathWalk> {
        self.facts.path_walk(self.gateway.root, path)
    }

    /// The peer as configured, if the address still is one of its group.
    pub(crate) fn configured(&self, peer: &PeerSubject) -> Option<&Peer> {
        self.gateway.group(peer.group?).peers.get(peer.place?)
    }

    /// The pass of the first route that leads to a peer.
    pub(crate) fn pass_to(&self, peer: &PeerSubject) -> Option<&Pass> {
        peer.routes.iter().find_map(|route| self.pass_of(*route, peer.group))
    }

    /// The pass of a route: its own, or that of a condition, which leads to a group.
    pub(crate) fn pass_of(&self, route: RouteId, group: Option<GroupId>) -> Option<&Pass> {
        let leads = |pass: &&Pass| match (&pass.target, group) {
            (why502_model::Target::Group(own), Some(group)) => *own == group,
            (why502_model::Target::Unresolved(unresolved), Some(group)) => {
                let name = self.gateway.group(group).name.as_deref();
                unresolved.values.iter().any(|value| Some(group_name(value)) == name)
            }
            (_, None) => true,
        };
        passes(self.gateway.route(route)).find(leads)
    }

    /// The last moment in the window at which a peer answered a request well, with the line.
    pub(crate) fn last_success(&self, peer: &PeerSubject) -> Option<(Stamp, &LineRef)> {
        let told = self.lookup.successes_of_address.get(&peer.address).into_iter().flatten();
        let told = told.map(|at| &self.successes[*at]);
        // Without upstream fields a success of a route with one address is a success of that address.
        let routes = if self.is_single(peer) { peer.routes.as_slice() } else { &[] };
        let of_routes = routes.iter().flat_map(|route| self.successes_of(*route));
        told.chain(of_routes.filter(|success| success.peer.is_none()))
            .max_by_key(|success| success.at)
            .map(|success| (success.at, &success.line))
    }

    /// Whether a peer answered a request well at a moment or later.
    pub(crate) fn is_served_from(&self, peer: &PeerSubject, moment: Option<Stamp>) -> bool {
        self.last_success(peer).is_some_and(|(at, _)| Some(at) >= moment)
    }

    /// Whether everybody who listens on a peer's address was started after a moment of the log, as far as that can be seen. Logs
    /// have whole seconds: who was started in that very second may have been there.
    pub(crate) fn started_after(&self, peer: &PeerSubject, moment: Stamp) -> bool {
        let listeners = self.listeners_of(peer);
        !listeners.is_empty()
            && listeners
                .iter()
                .all(|process| process.started.is_some_and(|started| started.0 >= moment.0 + 1000))
    }

    /// The processes that are seen to listen on a peer's address; none where one of them may not be seen.
    pub(crate) fn listeners_of(&self, peer: &PeerSubject) -> Vec<&Process> {
        let (Observed::Known(table), Observed::Known(list)) = (self.sockets(), self.facts.processes()) else {
            return Vec::new();
        };
        let pids = table.holders(&peer.address);
        pids.iter().map(|pid| list.get(*pid)).collect::<Option<_>>().unwrap_or_default()
    }

    /// Whether a worker that serves now, and so knows no other configuration, wrote of an attempt.
    pub(crate) fn is_of_serving_worker(&self, attempt: &Symptom) -> bool {
        attempt.writer.is_some_and(|pid| self.gateway.workers.contains(&pid))
            && has_ids_of_proc(self.facts, self.gateway)
    }

    /// Whether all peers of a route answer a probe, and none with an error of a gateway; an error asks for the probes.
    pub(crate) fn answers_well(&self, route: RouteId) -> Result<bool, Asks> {
        let peers: Vec<&PeerSubject> = self.peers_behind(route).collect();
        for peer in &peers {
            or_ask(self.probe(peer))?;
        }
        let is_well = |peer: &&PeerSubject| self.probe(peer).known().is_some_and(ProbeReport::is_well);
        Ok(!peers.is_empty() && peers.iter().all(is_well))
    }

    /// Whether a peer is the only address of its group.
    pub(crate) fn is_single(&self, peer: &PeerSubject) -> bool {
        peer.group.is_some_and(|group| self.gateway.group(group).has_one_address())
    }

    /// The first of some log lines as evidence, with how many there are.
    pub(crate) fn lines_evidence<'s>(
        symptoms: impl IntoIterator<Item = (FailureId, &'s Failure, &'s Symptom)>,
        says: impl Fn(u64) -> String,
    ) -> Option<Evidence> {
        let mut count = 0;
        let mut line: Option<&LineRef> = None;
        for (_, failure, symptom) in symptoms {
            count += failure.weight;
            let candidate = symptom.line.as_ref().or(failure.access_line.as_ref());
            // The newest line that is kept in full is shown.
            if let Some(candidate) = candidate
                && (line.is_none() || candidate.text.is_some())
            {
                line = Some(candidate);
            }
        }
        Some(Evidence::supporting(says(count), Origin::Log(line?.clone())))
    }

    /// What is open because of a gap.
    pub(crate) fn open(gap: Gap, says: &str) -> Open {
        Open { gap, says: says.to_owned() }
    }

    /// The process in whose place probes run, with its user and groups; `None` if it may not be seen or nothing runs.
    pub(crate) fn worker(&self) -> Option<Process> {
        match self.gateway.security {
            Security::Own => None,
            Security::Process(pid) => self.facts.process(pid).known().cloned(),
        }
    }

    /// Whether a failure of a peer is felt by clients: it is sent more than copies, and no other peer of its group is known
    /// to be well.
    pub(crate) fn is_felt(&self, peer: &PeerSubject) -> bool {
        if !peer.routes.is_empty() && peer.routes.iter().all(|route| self.copies.contains(route)) {
            return false;
        }
        let Some(group) = peer.group else { return true };
        let others = self.peers_of(Some(group)).filter(|other| other.address != peer.address);
        !others.into_iter().any(|other| {
            self.configured(other).is_some_and(|peer| !peer.down)
                && self.reach(other) == Observed::Known(Reach::Connected)
        })
    }
}

impl Case<'_> {
    /// Whether refusals of a limit are more than the limit at work: under one in a hundred of a route's requests is none
    /// of our business. Where no access log tells the number of requests, they count.
    pub(crate) fn is_more_than_a_limit_at_work(&self, route: RouteId, n_refused: u64) -> bool {
        self.n_total(route).is_none_or(|total| n_refused * 100 >= total)
    }

    /// The sum of the weights of failures.
    pub(crate) fn weigh<'f>(failures: impl IntoIterator<Item = &'f (FailureId, &'f Failure)>) -> u64 {
        failures.into_iter().map(|(_, failure)| failure.weight).sum()
    }

    /// A line that shows one of some failures: the newest that was kept in full.
    pub(crate) fn line_of<'f>(
        failures: impl IntoIterator<Item = &'f (FailureId, &'f Failure)>,
    ) -> Option<Origin> {
        let mut newest: Option<&LineRef> = None;
        for (_, failure) in failures {
            if let Some(line) = failure.line()
                && (newest.is_none() || line.text.is_some())
            {
                newest = Some(line);
            }
        }
        newest.map(|line| Origin::Log(line.clone()))
    }
}
