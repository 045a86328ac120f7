//! # conntrack-full
//!
//! ## What happens
//!
//! Where a packet filter keeps state (a rule with `ct state` or `conntrack`, NAT, Docker), the kernel keeps an entry for every
//! connection, at most `net.netfilter.nf_conntrack_max`. When the table is full and no entry can be given up early, the first packet of a
//! new connection is dropped; connections that have an entry work on. True for every version of nginx.
//!
//! ## What you see
//!
//! `upstream timed out (110: Connection timed out) while connecting to upstream` and a 504, towards every upstream at once, for a part of
//! the requests, while kept connections are answered; `nf_conntrack: table full, dropping packet` in the kernel's log.
//!
//! ## How we know
//!
//! Confirmed: a connection in nginx's place gets no answer while the table is full, or while connection tracking counts drops. Likely: the
//! kernel said that the table was full when the attempts failed; or it is full now. Possible: it has dropped packets before.
//!
//! ## What would disprove it
//!
//! A table with room and no drops counted while a connection gets no answer: then somebody else drops it.
//!
//! ## What to do
//!
//! Raise `nf_conntrack_max` (an entry takes about 300 bytes), then see what fills the table: connections without an end, long
//! timeouts, no kept connections to the upstream, an attack.
//!
//! ## Not to be confused with
//!
//! `firewall-dropped` (a rule drops), `listen-backlog-full` (one server's queue), `host-unreachable`, `ephemeral-ports-exhausted`
//! (errno 99).
//!
//! ## References
//!
//! Linux: `__nf_conntrack_alloc` (net/netfilter/nf_conntrack_core.c), Documentation/networking/nf_conntrack-sysctl.rst; nginx:
//! `ngx_http_upstream_connect`.

use super::unanswered::{Unanswered, attempts};
use crate::case::{Case, Reach, Subject, Symptom, count, not_yet, or_ask};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Origin, Ruling};
use crate::remedy::{Remedy, Risk};
use std::time::Duration;
use why502_facts::{
    Errno, Gap, KernelEvent, KernelWord, NetworkLimits, Observed, PeerAddress, Phase, Phrase,
};

pub(super) static CAUSE: Cause = Cause {
    id: "conntrack-full",
    layer: Layer::Connect,
    acts_on: ActsOn::Host,
    effect: false,
    statuses: &[502, 504],
    scope: Scope::Peer,
    supersedes: &["connect-timeout-too-short", "upstream-connect-timeout"],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("conntrack_full.rs"),
};

const MAX: &str = "net.netfilter.nf_conntrack_max";
const COUNT: &str = "net.netfilter.nf_conntrack_count";
/// How far the stamps of the kernel and of nginx may lie apart beyond the time that an attempt takes.
const SLACK: Duration = Duration::from_secs(2);
/// How long an attempt took at most where nobody knows it: nginx's own default for a connection.
const ATTEMPT: Duration = Duration::from_mins(1);

/// A table that may be full, and what was seen of it.
struct Table<'c> {
    found: Unanswered<'c>,
    reach: Observed<Reach>,
    /// A process in the network namespace of the table.
    pid: Option<u32>,
    before: Observed<&'c NetworkLimits>,
    after: Option<&'c NetworkLimits>,
    /// What the kernel said of it when attempts failed.
    said: Option<&'c KernelWord>,
    /// That nobody could read what the kernel said.
    unheard: Option<Gap>,
}

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some(table) = table(case, subject)? else { return Ok(Ruling::NoSign) };
    let is_now = table.is_dropped_now();
    let confidence = if is_now {
        Confidence::Confirmed
    } else if table.said.is_some() || table.is_full() {
        Confidence::Likely
    } else if table.dropped() > 0 && table.reach != Observed::Known(Reach::Silent) {
        Confidence::Possible
    } else {
        return Ok(table.room());
    };
    let says = |n| format!("{} got no answer", count(n, "connection attempt"));
    let gap = table.before.gap().or(table.unheard.as_ref()).cloned();
    let mut finding = table
        .found
        .finding(case, &CAUSE, confidence, subject, says)
        .still_failing(is_now.then_some(true))
        .with(table.evidence(case))
        .open(gap.filter(|_| confidence < Confidence::Confirmed).map(|gap| {
            Case::open(gap, "how full the table of tracked connections was, and whether the kernel dropped packets for it")
        }));
    finding.fails_clients_now = is_now && case.is_felt(table.found.peer);
    Ok(Ruling::found(finding))
}

/// Whether a connection attempt got no answer.
fn is_silence(symptom: &Symptom) -> bool {
    let timed_out = symptom.is(Phrase::UpstreamTimedOut) && symptom.phase == Some(Phase::Connecting);
    timed_out || symptom.connect_failed(Errno::TimedOut)
}

/// The attempts that got no answer, and the table of the gateway's network namespace, or of the host that forwards for it; `None`
/// where nobody tracks connections.
fn table<'c>(case: &'c Case<'_>, subject: &'c Subject) -> Result<Option<Table<'c>>, Asks> {
    if !matches!(subject.peer().map(|peer| &peer.address), Some(PeerAddress::Inet(_))) {
        return Ok(None);
    }
    let pids = namespaces(case);
    let looks: Vec<_> = pids.iter().map(|pid| (*pid, case.facts.network_limits(*pid, false))).collect();
    let log = case.facts.kernel_log();
    let mut asks: Asks = looks.iter().filter_map(|(_, look)| not_yet(look.gap()?)).collect();
    asks.extend(log.gap().and_then(not_yet));
    // The first look is taken while the peer is probed, not after it.
    let found = match attempts(case, subject, is_silence) {
        Ok(Some(found)) => found,
        Ok(None) => return Ok(None),
        Err(probes) => return Err(probes.into_iter().chain(asks).collect()),
    };
    if !asks.is_empty() {
        return Err(asks);
    }
    let reach = case.reach(found.peer);
    // Of two tables the fuller one; who tracks nothing has none.
    let tracked = looks
        .into_iter()
        .filter(|(_, look)| look.as_ref().known().is_none_or(|own| own.number(MAX).is_some()));
    let fullest = tracked.max_by_key(|(_, look)| look.as_ref().known().and_then(|own| permille(own)));
    let Some((pid, before)) = fullest else { return Ok(None) };
    let is_silent = reach == Observed::Known(Reach::Silent);
    let after = if is_silent && before.is_known() {
        or_ask(case.facts.network_limits(pid, true))?.known()
    } else {
        None
    };
    let begin = found.symptoms.iter().map(|(_, failure, symptom)| {
        let took = symptom.tried.as_ref().and_then(|tried| tried.response_ms);
        let took = took.map_or(ATTEMPT, |ms| Duration::from_millis(ms.into()));
        (failure.at.before(took + SLACK), failure.at.after(SLACK))
    });
    let spans: Vec<_> = begin.collect();
    let said = log.as_ref().known().and_then(|log| {
        let is_of_attempt = |word: &&KernelWord| {
            word.event == KernelEvent::ConntrackFull
                && spans.iter().any(|(from, to)| word.from <= *to && word.to >= *from)
        };
        log.words.iter().rev().find(is_of_attempt)
    });
    let unheard = log.gap().cloned();
    Ok(Some(Table { found, reach, pid, before, after, said, unheard }))
}

/// A process of the gateway's network namespace, and one of the host's own where that is another: it forwards what a container
/// sends.
fn namespaces(case: &Case<'_>) -> Vec<Option<u32>> {
    let list = case.facts.processes().known();
    let namespace_of = |pid: u32| list.and_then(|list| list.get(pid)?.net_namespace);
    let own = case.gateway.master;
    let (inner, outer) = (own.and_then(namespace_of), namespace_of(1));
    let is_inside = inner.is_some() && outer.is_some() && inner != outer;
    [own].into_iter().chain(is_inside.then_some(Some(1))).collect()
}

/// How full a table is, in thousandths.
fn permille(limits: &NetworkLimits) -> Option<u64> {
    let (n_entries, most) = (limits.number(COUNT)?, limits.number(MAX)?);
    Some(n_entries.saturating_mul(1000) / most.max(1))
}

impl Table<'_> {
    /// Whether it has no room: at the limit the kernel gives up some entries for others, and the number stays just around it.
    fn is_full(&self) -> bool {
        let looks = [self.before.as_ref().known().copied(), self.after];
        looks.into_iter().flatten().filter_map(permille).any(|full| full >= 995)
    }

    fn drops(limits: Option<&NetworkLimits>) -> Option<u64> {
        limits?.conntrack.map(|own| own.drop)
    }

    /// How many packets were dropped since the host was booted.
    fn dropped(&self) -> u64 {
        Self::drops(self.before.as_ref().known().copied()).unwrap_or(0)
    }

    /// How many of them between both looks.
    fn dropped_meanwhile(&self) -> u64 {
        Self::drops(self.after).map_or(0, |after| after.saturating_sub(self.dropped()))
    }

    /// Whether a connection in nginx's place got no answer, and the table is the reason.
    fn is_dropped_now(&self) -> bool {
        let has_dropped = self.dropped_meanwhile() > 0 || Self::drops(self.after).is_none();
        self.reach == Observed::Known(Reach::Silent)
            && (self.is_full() && has_dropped || self.dropped_meanwhile() > 0 && self.said.is_some())
    }

    /// `4 of 4`.
    fn filled(&self) -> Option<String> {
        let limits = self.after.or(self.before.as_ref().known().copied())?;
        Some(format!("{} of {}", limits.number(COUNT)?, limits.number(MAX)?))
    }

    fn evidence(&self, case: &Case<'_>) -> Vec<Evidence> {
        let mut evidence = Vec::new();
        if let Some(filled) = self.filled() {
            let says = format!(
                "{filled} entries of the table of tracked connections were taken when it was looked at"
            );
            let origin = Case::setting_origin(COUNT);
            evidence.push(if self.is_full() {
                Evidence::supporting(says, origin)
            } else {
                Evidence::context(says, origin)
            });
        }
        if self.dropped() + self.dropped_meanwhile() > 0 {
            let process = self.pid.map_or_else(|| "self".to_owned(), |pid| pid.to_string());
            let meanwhile = match self.dropped_meanwhile() {
                0 => String::new(),
                dropped => format!(", {dropped} of them while a connection was tried"),
            };
            let counted =
                self.after.or(self.before.as_ref().known().copied()).and_then(|limits| limits.conntrack);
            let early = counted.filter(|own| own.early_drop > 0).map_or_else(String::new, |own| {
                format!("; it gave up {} early to make room", count(own.early_drop, "other"))
            });
            let says = format!(
                "connection tracking has dropped {} since the boot{meanwhile}{early}",
                count(self.dropped() + self.dropped_meanwhile(), "packet")
            );
            evidence.push(Evidence::supporting(
                says,
                Origin::Host(format!("/proc/{process}/net/stat/nf_conntrack")),
            ));
        }
        if let Some(word) = self.said {
            let source =
                case.facts.kernel_log().known().map_or("the kernel's log", |log| log.source.as_str());
            let says = format!("the kernel said when an attempt failed: {}", word.line);
            evidence.push(Evidence::supporting(says, Origin::Host(source.to_owned())));
        }
        match self.reach {
            Observed::Known(Reach::Silent) => evidence.push(Evidence::supporting(
                "a connection attempt gets no answer now",
                case.probe_origin(self.found.peer),
            )),
            Observed::Known(Reach::Connected) => {
                let says = format!("{} takes connections now", self.found.peer.address);
                evidence.push(Evidence::context(says, case.probe_origin(self.found.peer)));
            }
            _ => {}
        }
        evidence
    }

    /// That the table has room, where this was seen.
    fn room(&self) -> Ruling {
        let looks = [self.before.as_ref().known().copied(), self.after];
        let fullest = looks.into_iter().flatten().filter_map(permille).max();
        let Some(filled) = fullest.filter(|_| !self.is_full()) else { return Ruling::NoSign };
        let says = format!(
            "less than {} % of the table of tracked connections was taken when it was looked at",
            filled / 10 + 1
        );
        Ruling::RuledOut(vec![Evidence::against(says, Case::setting_origin(COUNT))])
    }
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let found = finding.subjects.first().and_then(|subject| table(case, subject).ok().flatten());
    let filled = found.filter(Table::is_full).and_then(|table| table.filled());
    let state = filled.map_or_else(|| "was full".to_owned(), |filled| format!("is full ({filled} entries)"));
    Explanation {
        title: format!("the table of tracked connections {state}, and first packets to {} were dropped", finding.address()),
        why: "The packet filter of this host keeps an entry for every connection. The table has no room for another one, so that the \
              kernel drops the first packet of a new connection; nginx hears nothing and answers 504."
            .to_owned(),
        wont_help: vec![
            "raising proxy_connect_timeout: repeated packets find the same full table".to_owned(),
            "restarting nginx or the upstream: neither sees the packet".to_owned(),
        ],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let found = finding.subjects.first().and_then(|subject| table(case, subject).ok().flatten());
    let Some(table) = found else { return Vec::new() };
    let mut remedies = Vec::new();
    if let Some(most) = table.before.as_ref().known().and_then(|limits| limits.number(MAX)) {
        let wanted = most.saturating_mul(2).max(65_536);
        // It is one number for the whole host: no other namespace may set it.
        let (set, undo) = (format!("{MAX}={wanted}"), format!("{MAX}={most}"));
        let remedy = Remedy::new(format!("Raise nf_conntrack_max from {most} to {wanted}"), Risk::Review)
            .command(&["sysctl", "-w", &set], &[&["sysctl", "-w", &undo]])
            .advice(format!(
                "an entry takes about 300 bytes of the kernel's memory, {} MiB for all; for good it stands in /etc/sysctl.d, and the \
                 module must be loaded before that is read; nf_conntrack_buckets grows with it (a quarter of it or more)",
                wanted.saturating_mul(300) >> 20
            ));
        remedies.push(remedy.verify(format!(
            "{COUNT} stays below {MAX}, and no new lines of a full table come into the kernel's log"
        )));
    }
    remedies.push(
        Remedy::new("See what fills the table", Risk::ShowOnly)
            .advice(format!(
                "conntrack -L (or /proc/net/nf_conntrack) by state and address: entries without traffic live for days \
                 (nf_conntrack_tcp_timeout_established is 432000 s by default: a day is enough for most), closed ones for two minutes; kept \
                 connections to the upstream (keepalive) need fewer; what needs no state can be left out (a notrack rule for {})",
                table.found.peer.address
            ))
            .verify(format!("{COUNT} falls")),
    );
    remedies
}

#[cfg(test)]
mod tests;
