//! The report on a target, put together from what was collected in each run.

use super::TargetQuestion;
use super::ask::{asides, spec};
use super::find::{Found, FoundPeer, NoSuchTarget, find, name_to_ask};
use super::judge::judge;
use super::peer::{nameless, peer_info};
use super::report::{PROBE_SCHEMA, PlaceInfo, StepVerdict, TargetInfo, TargetPeer, TargetReport};
use crate::case::{Case, Source};
use crate::report::{Tool, sent};
use std::net::IpAddr;
use why502_facts::{Ask, Facts, Gap, GapReason, Observed, PeerAddress, ProbeReport, ProbeSpec, Security};
use why502_model::Model;

/// The most addresses that are dialled.
const MAX_ADDRESSES: usize = 1000;

/// The name that is to be resolved before a target can be dialled.
pub fn target_names(
    facts: &Facts,
    model: &Model,
    question: &TargetQuestion,
) -> Result<Vec<Ask>, NoSuchTarget> {
    let cases = cases(facts, model);
    Ok(name_to_ask(facts, &find(facts, model, &cases, question)?).into_iter().collect())
}

/// What is wanted next of a target whose names are known.
pub fn target_asks(facts: &Facts, model: &Model, question: &TargetQuestion) -> Vec<Ask> {
    let cases = cases(facts, model);
    let Ok(found) = find(facts, model, &cases, question) else { return Vec::new() };
    let dialled = dialled(&found).take(MAX_ADDRESSES);
    dialled.filter_map(|(peer, address)| next_ask(facts, &found, peer, address, question)).collect()
}

fn cases<'a>(facts: &'a Facts, model: &'a Model) -> Vec<Case<'a>> {
    (0..model.gateways.len()).map(|at| Case::new(facts, model, at)).collect()
}

/// The addresses of a target, each with the peer that it stands for.
fn dialled<'f, 'c>(found: &'f Found<'c>) -> impl Iterator<Item = (&'f FoundPeer<'c>, &'f PeerAddress)> {
    found.peers.iter().flat_map(|peer| {
        let addresses = match &peer.addresses {
            Observed::Known(addresses) => addresses.as_slice(),
            Observed::Absent | Observed::Unknown(_) => &[],
        };
        addresses.iter().map(move |address| (peer, address))
    })
}

fn security(found: &Found<'_>) -> Security {
    found.case.map_or(Security::Own, |case| case.gateway.security)
}

/// Where the gateway's own connections to a peer come from, as far as a probe can come from there.
fn source(found: &Found<'_>, peer: &FoundPeer<'_>) -> Option<IpAddr> {
    let (case, (_, pass)) = found.case.zip(peer.way)?;
    Source::of(case.gateway, pass).address()
}

fn ask(found: &Found<'_>, peer: &FoundPeer<'_>, address: &PeerAddress, spec: ProbeSpec) -> Ask {
    let source = source(found, peer);
    Ask::Probe { security: security(found), target: address.clone(), spec: Box::new(spec), source }
}

/// The conversations with an address that were led, and the one that is wanted next.
pub(super) fn led<'f>(
    facts: &'f Facts,
    found: &Found<'_>,
    peer: &FoundPeer<'_>,
    address: &PeerAddress,
    question: &TargetQuestion,
) -> (Vec<(ProbeSpec, Observed<&'f ProbeReport>)>, Option<ProbeSpec>) {
    let first = spec(found, peer, question);
    let look = |spec: &ProbeSpec| facts.probe(security(found), address, spec, source(found, peer));
    let is_open =
        |seen: &Observed<&ProbeReport>| matches!(seen, Observed::Unknown(Gap { why: GapReason::NotYet, .. }));
    let seen = look(&first);
    if is_open(&seen) {
        return (Vec::new(), Some(first));
    }
    let further = seen.as_ref().known().map(|report| asides(&first, report, question)).unwrap_or_default();
    let mut led = vec![(first, seen)];
    for spec in further {
        let seen = look(&spec);
        if is_open(&seen) {
            return (led, Some(spec));
        }
        let is_told = seen.as_ref().known().is_some_and(|report| judge(&spec, report, 1, true).tells());
        led.push((spec, seen));
        if is_told {
            break;
        }
    }
    (led, None)
}

fn next_ask(
    facts: &Facts,
    found: &Found<'_>,
    peer: &FoundPeer<'_>,
    address: &PeerAddress,
    question: &TargetQuestion,
) -> Option<Ask> {
    led(facts, found, peer, address, question).1.map(|spec| ask(found, peer, address, spec))
}

/// What came of a target in one run or several, whose facts are given; the model is that of the first.
pub fn report_target(
    runs: &[Facts],
    model: &Model,
    question: &TargetQuestion,
) -> Result<TargetReport, NoSuchTarget> {
    let nothing = || NoSuchTarget { says: "nothing was looked at".to_owned(), known: Vec::new() };
    let facts = runs.first().ok_or_else(nothing)?;
    let cases = cases(facts, model);
    let found = find(facts, model, &cases, question)?;
    let mut peers: Vec<TargetPeer> = dialled(&found)
        .take(MAX_ADDRESSES)
        .map(|(peer, address)| peer_info(runs, &found, peer, address, question))
        .collect();
    peers.extend(found.peers.iter().filter_map(|peer| nameless(facts, peer)));
    let n_left_out = dialled(&found).count().saturating_sub(MAX_ADDRESSES);
    let mut notes = found.notes.clone();
    if n_left_out > 0 {
        notes.push(format!("{n_left_out} more addresses were left out: {MAX_ADDRESSES} are dialled at most"));
    }
    let n_of = |verdict| peers.iter().filter(|peer| peer.verdict == verdict).count() as u64;
    let verdict = peers.iter().map(|peer| peer.verdict).max().unwrap_or(StepVerdict::Unknown);
    Ok(TargetReport {
        schema: PROBE_SCHEMA.to_owned(),
        tool: Tool { name: "why502".to_owned(), version: facts.manifest.tool_version.clone() },
        captured_at: facts.manifest.captured_at.to_string(),
        target: target_info(&found, question),
        place: place(runs, &found, &peers),
        verdict,
        answered: n_of(StepVerdict::Ok),
        failed: n_of(StepVerdict::Fail),
        unknown: n_of(StepVerdict::Unknown),
        peers,
        actions: sent(runs),
        notes,
    })
}

fn target_info(found: &Found<'_>, question: &TargetQuestion) -> TargetInfo {
    let gateway = found.case.map(|case| case.gateway);
    let route = gateway.zip(found.route).map(|(gateway, id)| (gateway, gateway.route(id)));
    TargetInfo {
        text: question.target.text.clone(),
        kind: found.kind,
        upstream: gateway.zip(found.group).and_then(|(gateway, id)| gateway.group(id).name.clone()),
        server: route.map(|(gateway, route)| gateway.server_of(route).name().to_owned()),
        location: route.and_then(|(_, route)| route.location.clone()),
        file: found.at.as_ref().map(|at| at.file.to_string()),
        line: found.at.as_ref().map(|at| at.line),
    }
}

/// From whose place the addresses were dialled: as far as it was taken, the same for all.
fn place(runs: &[Facts], found: &Found<'_>, peers: &[TargetPeer]) -> PlaceInfo {
    let mut reports = runs.iter().flat_map(Facts::iter).filter_map(|(_, answer)| match answer {
        Observed::Known(why502_facts::Datum::Probe(report)) => Some(&report.context),
        _ => None,
    });
    let context = reports.next();
    let pid = match security(found) {
        Security::Process(pid) => Some(pid),
        Security::Own => None,
    };
    let complete = context.is_some_and(|own| own.as_user && own.in_network && own.in_mount);
    let uid = context.map(|own| own.uid);
    let as_whom = uid.map_or(String::new(), |uid| format!(" (uid {uid})"));
    let says = match pid {
        _ if peers.iter().all(|peer| peer.conversations.is_empty()) => "nothing was dialled".to_owned(),
        None => {
            format!("dialled as this program itself{as_whom}: no running nginx was found to stand in for")
        }
        Some(pid) if complete => format!("dialled as nginx's worker {pid} would{as_whom}"),
        Some(pid) => {
            let lacks = [
                (context.is_some_and(|own| !own.as_user), "user"),
                (context.is_some_and(|own| !own.in_network), "network namespace"),
                (context.is_some_and(|own| !own.in_mount), "mount namespace"),
            ];
            let lacks: Vec<&str> = lacks.iter().filter(|(is_so, _)| *is_so).map(|(_, name)| *name).collect();
            format!(
                "dialled{as_whom}, not as nginx's worker {pid}: its {} could not be taken",
                lacks.join(" and ")
            )
        }
    };
    PlaceInfo { pid, uid, complete, says }
}
