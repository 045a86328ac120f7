//! The case: one gateway, what failed at it, and everything that is known, indexed for the rules.

mod answers;
mod asked;
mod build;
mod confinement;
mod containers;
mod elsewhere;
mod failure;
mod family;
mod hops;
mod limits;
mod logs;
mod look;
mod lookup;
mod peers;
mod redial;
mod reuse;
mod source;
mod strangers;
mod subject;
mod symptoms;
mod words;

pub(crate) use answers::AnswerTimes;
pub(crate) use asked::Asked;
pub(crate) use containers::Engines;
pub(crate) use failure::{Failure, FailureId, Symptom};
pub(crate) use limits::Home;
pub(crate) use logs::LogTopic;
pub(crate) use look::{Reach, not_yet, or_ask};
pub(crate) use lookup::passes;
pub(crate) use reuse::Reuse;
pub(crate) use source::Source;
pub(crate) use subject::{PeerSubject, Subject};
pub(crate) use words::count;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use why502_facts::{ErrorDigest, ErrorRecord, Facts, Histogram, PeerAddress, ProbeSpec, Stamp};
use why502_model::{Gateway, GroupId, MapTable, Model, RouteId};

/// One gateway, and what is known of it.
#[derive(Debug)]
pub(crate) struct Case<'a> {
    pub(crate) facts: &'a Facts,
    pub(crate) gateway: &'a Gateway,
    /// Its place among the gateways of the report.
    pub(crate) index: usize,
    /// The failed and the retried requests of the window, by time.
    pub(crate) failures: Vec<Failure>,
    /// Refusals of a limit at work: no failures.
    pub(crate) at_work: BTreeSet<FailureId>,
    /// Per kind of failure, the first of them before the window.
    pub(crate) earlier: Vec<Failure>,
    /// The failed requests of the day before a window without any.
    pub(crate) looked_back: Vec<Failure>,
    /// The addresses that the gateway dials, or dialled.
    pub(crate) peers: Vec<PeerSubject>,
    /// Requests of the window per route and status; `None` where no access log tells.
    pub(crate) totals: Option<BTreeMap<(Option<RouteId>, u16), u64>>,
    /// The last success of each route and peer.
    pub(crate) successes: Vec<Success>,
    /// How long successful answers took, per route.
    answers: BTreeMap<Option<RouteId>, AnswerTimes>,
    /// How long new connections took to be made for successful requests, per route and peer.
    connects: BTreeMap<(RouteId, &'a str), &'a Histogram>,
    /// The digests of its error logs.
    pub(crate) error_logs: Vec<&'a ErrorDigest>,
    /// Lines of its error logs about connections of clients that were closed before any request was read.
    pub(crate) dropped: Vec<&'a ErrorRecord>,
    /// How many failed requests in its error logs are another instance's, by the process that wrote of them.
    pub(crate) strangers: BTreeMap<u32, u64>,
    /// All of it by what rules ask for.
    lookup: lookup::Lookup,
    /// The routes that are sent nothing but copies: no client waits for what is answered there.
    copies: BTreeSet<RouteId>,
    /// The tables that decide by the upgrade that a client asks for.
    pub(crate) upgrade_tables: Vec<MapTable>,
    /// Where connections to a peer come from, if the configuration says so.
    sources: HashMap<(Option<GroupId>, PeerAddress), Source>,
    /// The probe of each peer.
    specs: HashMap<(Option<GroupId>, PeerAddress), ProbeSpec>,
    /// What the given URL asks for: apart from it nothing is judged.
    pub(crate) asked: Option<Asked>,
}

/// A request that an upstream answered well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Success {
    pub(crate) at: Stamp,
    pub(crate) route: Option<RouteId>,
    /// The address, where the log tells it.
    pub(crate) peer: Option<PeerAddress>,
    /// How long the request took, in milliseconds.
    pub(crate) request_ms: Option<u32>,
    /// How long the connection took to be made, in milliseconds.
    pub(crate) connect_ms: Option<u32>,
    pub(crate) path: Option<String>,
    pub(crate) line: why502_facts::LineRef,
}

impl<'a> Case<'a> {
    /// The case of one gateway of a model.
    pub(crate) fn new(facts: &'a Facts, model: &'a Model, index: usize) -> Self {
        build::build(facts, model, index)
    }

    /// The failure of that id.
    pub(crate) fn failure(&self, id: FailureId) -> &Failure {
        &self.failures[id.0]
    }

    /// The probe of a peer, once the case is built.
    pub(crate) fn planned(&self, peer: &PeerSubject) -> Option<&ProbeSpec> {
        self.specs.get(&(peer.group, peer.address.clone()))
    }

    /// The failures with their ids.
    pub(crate) fn failures(&self) -> impl Iterator<Item = (FailureId, &Failure)> {
        self.failures.iter().enumerate().map(|(at, failure)| (FailureId(at), failure))
    }

    /// Whether a failure is one by itself: see [`Failure::counts_by_itself`]; a limit at work makes none.
    pub(crate) fn counts(&self, id: FailureId) -> bool {
        self.failure(id).counts_by_itself() && !self.at_work.contains(&id)
    }

    /// How many requests the failures of a finding stand for; hidden ones do not count.
    pub(crate) fn n_requests<'i>(&self, ids: impl IntoIterator<Item = &'i FailureId>) -> u64 {
        ids.into_iter()
            .map(|id| self.failure(*id))
            .filter(|failure| !failure.is_hidden())
            .map(|failure| failure.weight)
            .sum()
    }

    /// How many requests of a route there were in the window; `None` where no access log tells.
    pub(crate) fn n_total(&self, route: RouteId) -> Option<u64> {
        self.totals.as_ref().map(|_| self.lookup.totals_of_route.get(&route).copied().unwrap_or(0))
    }
}
