//! The report, put together from what the engine found.

use super::change::{change_infos, first_failure_info};
use super::summary::{explains, group, impact, masked, peers, place, route_info, routes, statuses};
use super::{
    ActionInfo, ActionKind, EvidenceInfo, FindingInfo, GatewayInfo, HostInfo, OriginInfo, REPORT_SCHEMA,
    RemedyInfo, Report, RuledOut, StepInfo, Tool, Undecided, Unexplained, WindowInfo, diff, gaps, replay,
};
use crate::case::{Case, Failure, FailureId, Subject, count};
use crate::changes::changes;
use crate::engine::{Judged, n_failed, verdict};
use crate::finding::{Confidence, Evidence, Finding, Origin};
use crate::remedy::{Remedy, Risk, Step};
use std::collections::{BTreeMap, BTreeSet};
use why502_facts::{Ask, Datum, Facts, FirstBytes, Observed, ProbeOutcome, Stamp, StepKind};
use why502_model::{Gateway, Model, RouteId, Span};

/// Puts the report together.
pub(crate) fn build_report(facts: &Facts, model: &Model, cases: &[Case<'_>], judged: &[Judged]) -> Report {
    let host = facts.host().known();
    let gateways: Vec<GatewayInfo> = model.gateways.iter().map(gateway_info).collect();
    let verdict = verdict(cases, judged);
    let changed = changes(cases, judged, verdict);
    let mut findings: Vec<FindingInfo> = Vec::new();
    let mut report_ruled_out = BTreeMap::new();
    let mut undecided = BTreeMap::new();
    let mut notes = model.notes.clone();
    let mut replayed = None;
    for (case, judged) in cases.iter().zip(judged) {
        findings.extend(judged.findings.iter().map(|finding| finding_info(case, finding)));
        for (cause, evidence) in &judged.ruled_out {
            let says = evidence.first().map_or(String::new(), |evidence| evidence.says.clone());
            let evidence = evidence.iter().map(|evidence| evidence_info(case, evidence)).collect();
            report_ruled_out.entry(cause.id).or_insert(RuledOut {
                cause: cause.id.to_owned(),
                says,
                evidence,
            });
        }
        for (cause, missing) in &judged.undecided {
            let gaps = missing.iter().map(gaps::gap_info).collect();
            undecided.entry(cause.id).or_insert(Undecided { cause: cause.id.to_owned(), gaps });
        }
        notes.extend(case.strangers.iter().map(|(pid, n_requests)| {
            let requests = count(*n_requests, "failed request");
            format!(
                "not counted: {requests} in the error log by process {pid}, which is none of this instance's"
            )
        }));
        notes.extend(url_notes(case, judged));
        let (info, told) = replay::replay_info(case);
        replayed = replayed.or(info);
        notes.extend(told);
        notes.extend(
            judged.crashed.iter().map(|id| format!("the rule for {id} crashed: please report this as a bug")),
        );
    }
    Report {
        schema: REPORT_SCHEMA.to_owned(),
        tool: Tool { name: "why502".to_owned(), version: facts.manifest.tool_version.clone() },
        captured_at: facts.manifest.captured_at.to_string(),
        host: HostInfo {
            name: host.and_then(|host| host.name.clone()),
            os: host.and_then(|host| host.os.clone()),
            kernel: host.and_then(|host| host.kernel.clone()),
        },
        gateway: gateways.first().cloned(),
        gateways,
        verdict,
        window: window(model, cases, judged),
        findings,
        ruled_out: report_ruled_out.into_values().collect(),
        undecided: undecided.into_values().collect(),
        unexplained: unexplained(cases, judged),
        first_failure: changed.first.as_ref().map(|first| first_failure_info(first, judged)),
        changes: change_infos(&changed),
        replay: replayed,
        actions: actions(facts.iter()),
        gaps: gaps::gaps(facts, cases, &changed.gaps),
        notes,
    }
}

/// How a URL was understood, and what it leaves out.
fn url_notes(case: &Case<'_>, judged: &Judged) -> Vec<String> {
    let Some(asked) = &case.asked else { return Vec::new() };
    let mut notes = Vec::new();
    let server = asked.server.map(|at| &case.gateway.servers[at]);
    let name = server.map(|server| match server.name() {
        "" => format!("the server of {}:{}", server.at.file, server.at.line),
        name => format!("server {name}"),
    });
    let is_told = judged.findings.iter().any(|finding| finding.cause.id == "gateway-not-running");
    if let (Some(name), Some(port), false) = (&name, asked.url.port, is_told)
        && !asked.url.is_served_by(case.gateway)
    {
        notes.push(format!(
            "no server listens on port {port}: it was taken as a request that something in front passes to {name}"
        ));
    }
    if let (Some(name), None) = (&name, &asked.url.host)
        && case.gateway.servers.len() > 1
    {
        let path = &asked.url.path;
        let why = if case.failures.is_empty() { "the default" } else { "where it failed last" };
        notes.push(format!("{path} was taken as a request to {name}, {why}"));
    }
    if asked.is_malformed() {
        let path = &asked.url.path;
        notes.push(format!("nginx answers 400 to {path}: it is no valid path, and no location gets it"));
    }
    let (n_others, are_others) = match asked.n_others {
        0 => return notes,
        1 => ("1 request failed that is another", "it is"),
        many => (&*format!("{many} requests failed that are others"), "they are"),
    };
    notes.push(format!("{n_others}: without the URL {are_others} judged too"));
    notes
}

fn gateway_info(gateway: &Gateway) -> GatewayInfo {
    GatewayInfo {
        kind: gateway.kind.to_owned(),
        flavour: gateway.flavour.clone(),
        version: gateway.version_text.clone(),
        pid: gateway.master,
        config: (!gateway.config.is_empty()).then(|| gateway.config.clone()),
    }
}

fn window(model: &Model, cases: &[Case<'_>], judged: &[Judged]) -> WindowInfo {
    let totals = || cases.iter().filter_map(|case| case.totals.as_ref());
    let in_window = cases
        .iter()
        .flat_map(|case| case.failures().filter(|(id, _)| case.counts(*id)).map(|(_, failure)| failure));
    let before = cases
        .iter()
        .flat_map(|case| case.earlier.iter().chain(&case.looked_back))
        .filter(|failure| failure.counts_by_itself());
    let failed = cases.iter().zip(judged).map(|(case, judged)| n_failed(case, judged)).sum();
    let last: Option<Stamp> = in_window.chain(before).map(|failure| failure.at).max();
    WindowInfo {
        from: model.window.from.map(|from| from.to_string()),
        to: model.window.to.to_string(),
        // What an access log counts is not told by path.
        requests: (totals().next().is_some() && cases.iter().all(|case| case.asked.is_none()))
            .then(|| totals().flat_map(BTreeMap::values).sum()),
        failed: Some(failed).filter(|failed| *failed > 0 || cases.iter().any(Case::has_read_log)),
        last_failure: last.map(|at| at.to_string()),
    }
}

fn finding_info(case: &Case<'_>, finding: &Finding) -> FindingInfo {
    let explanation = (finding.cause.explain)(case, finding);
    let routes = routes(case, finding);
    let peer_texts = peers(case, finding);
    let chief = routes.first().map(|id| case.gateway.route(*id));
    let route_infos: Vec<_> = routes.iter().map(|id| route_info(case, *id)).collect();
    let upstream = group(case, finding).and_then(|group| group.name.clone());
    let first_route = route_infos.first();
    let key = [
        finding.cause.id.to_owned(),
        upstream.clone().unwrap_or_default(),
        peer_texts.first().cloned().unwrap_or_default(),
        first_route.map(|route| route.server.clone()).unwrap_or_default(),
        first_route.and_then(|route| route.location.clone()).unwrap_or_default(),
    ];
    FindingInfo {
        cause: finding.cause.id.to_owned(),
        key: key.join("|"),
        title: explanation.title,
        confidence: finding.confidence,
        acts_on: finding.cause.acts_on,
        root: finding.root,
        effects: finding.effects.iter().map(|id| (*id).to_owned()).collect(),
        why: explanation.why,
        statuses: statuses(case, finding),
        gateway: case.index,
        server: chief.map(|route| case.gateway.server_of(route).name().to_owned()),
        location: chief.and_then(|route| route.location.clone()),
        upstream,
        peer: peer_texts.first().cloned(),
        impact: impact(case, finding),
        routes: route_infos,
        peers: peer_texts,
        r#where: finding
            .at
            .iter()
            .map(|at| place(case, of_route(case, finding, at, routes.first())))
            .collect(),
        explains: explains(case, finding),
        evidence: finding.evidence.iter().map(|evidence| evidence_info(case, evidence)).collect(),
        open: finding.open.iter().map(gaps::open_info).collect(),
        remedies: (finding.cause.remedies)(case, finding)
            .iter()
            .map(|remedy| remedy_info(case, remedy))
            .map(|remedy| if finding.confidence == Confidence::Possible { supposed(remedy) } else { remedy })
            .collect(),
        wont_help: explanation.wont_help,
    }
}

/// A place to change, as the chief route of a finding has it: routes that pass to the same address share a group, which
/// knows only the first place where the address is written.
fn of_route<'c>(case: &'c Case<'_>, finding: &Finding, at: &'c Span, chief: Option<&RouteId>) -> &'c Span {
    let group = finding.subjects.iter().find_map(Subject::group);
    let pass = chief.zip(group).and_then(|(chief, group)| case.pass_of(*chief, Some(group)));
    let is_shared = group
        .map(|group| case.gateway.group(group))
        .is_some_and(|group| group.name.is_none() && group.peers.iter().any(|peer| peer.at == *at));
    pass.filter(|_| is_shared).map_or(at, |pass| &pass.at)
}

fn evidence_info(case: &Case<'_>, evidence: &Evidence) -> EvidenceInfo {
    let origin = match &evidence.origin {
        Origin::Derived => OriginInfo::Derived,
        Origin::File(at) => OriginInfo::File {
            file: at.file.to_string(),
            line: at.line,
            column: at.column,
            text: case.source_line(at).map(|line| masked(&line)),
        },
        Origin::Host(source) => OriginInfo::Host { source: source.clone() },
        Origin::Log(line) => OriginInfo::Log {
            file: line.file.to_string(),
            offset: line.offset,
            text: line.text.as_deref().map(masked),
        },
        Origin::Probe(ask) => match action(ask, case.facts.look(ask)) {
            Some((kind, target)) => OriginInfo::Probe { action: kind, target },
            None => OriginInfo::Derived,
        },
    };
    EvidenceInfo { role: evidence.role, says: evidence.says.clone(), origin }
}

fn remedy_info(case: &Case<'_>, remedy: &Remedy) -> RemedyInfo {
    let mut splices: BTreeMap<&str, Vec<(&Span, &str)>> = BTreeMap::new();
    let mut steps = Vec::new();
    for step in &remedy.steps {
        if let Step::Edit { at, text } = step {
            splices.entry(&at.file).or_default().push((at, text));
        }
    }
    for (file, splices) in splices {
        if let Some(diff) = diff::unified(case.gateway, file, &splices) {
            steps.push(StepInfo::Edit { file: file.to_owned(), diff });
        }
    }
    for step in &remedy.steps {
        match step {
            Step::Command { argv, undo } => {
                steps.push(StepInfo::Command { argv: argv.clone(), undo: undo.clone() });
            }
            Step::Create { file, text } => {
                steps.push(StepInfo::Edit { file: file.clone(), diff: diff::of_new_file(file, text) });
            }
            Step::Edit { .. } => {}
        }
    }
    RemedyInfo {
        title: remedy.title.clone(),
        risk: remedy.risk,
        steps,
        advice: remedy.advice.clone(),
        verify: remedy.verify.clone(),
    }
}

/// The remedy of a mere possibility: nothing to apply, only what to look at.
fn supposed(remedy: RemedyInfo) -> RemedyInfo {
    let mut title = remedy.title.chars();
    let begin: String = title.next().map(|first| first.to_lowercase().collect()).unwrap_or_default();
    RemedyInfo {
        title: format!("Look whether it is so; only then {begin}{}", title.as_str()),
        risk: Risk::ShowOnly,
        steps: Vec::new(),
        ..remedy
    }
}

/// Failures that no finding explains; a mere possibility explains nothing.
fn unexplained(cases: &[Case<'_>], judged: &[Judged]) -> Unexplained {
    let mut requests = 0;
    let mut examples = Vec::new();
    for (case, judged) in cases.iter().zip(judged) {
        let explained: BTreeSet<FailureId> =
            judged.findings.iter().flat_map(|finding| finding.explains.iter().copied()).collect();
        let left = case.failures().filter(|(id, _)| case.counts(*id) && !explained.contains(id));
        for (_, failure) in left {
            requests += failure.weight;
            if let Some(line) = example(failure).filter(|_| examples.len() < 3) {
                examples.push(line);
            }
        }
        let is_explained = judged.findings.iter().any(|finding| finding.explains_dropped);
        for record in case.dropped.iter().filter(|_| !is_explained) {
            requests += record.weight;
            if let Some(line) = record.line.text.as_deref().filter(|_| examples.len() < 3) {
                examples.push(masked(line));
            }
        }
    }
    Unexplained { requests, examples }
}

fn example(failure: &Failure) -> Option<String> {
    failure.line().and_then(|line| line.text.as_deref()).map(masked)
}

/// What was sent, summed up per kind and target.
fn actions<'f>(facts: impl Iterator<Item = (&'f Ask, &'f Observed<Datum>)>) -> Vec<ActionInfo> {
    let mut sent: BTreeMap<(ActionKind, String), (u64, u64)> = BTreeMap::new();
    for (ask, answer) in facts {
        if let Some(action) = action(ask, answer.as_ref()) {
            let (count, answered) = sent.entry(action).or_default();
            *count += 1;
            *answered += u64::from(is_answered(answer));
        }
    }
    sent.into_iter()
        .map(|((kind, target), (count, answered))| ActionInfo { kind, target, count, answered })
        .collect()
}

/// What was sent in several runs that begin with the same facts: only probes were repeated.
pub(crate) fn sent(runs: &[Facts]) -> Vec<ActionInfo> {
    let further = runs.iter().skip(1).flat_map(Facts::iter);
    let repeated = further.filter(|(ask, _)| matches!(ask, Ask::Probe { .. }));
    actions(runs.iter().take(1).flat_map(Facts::iter).chain(repeated))
}

/// Whether what was sent was answered: at the furthest step that it came to.
fn is_answered(answer: &Observed<Datum>) -> bool {
    match answer {
        Observed::Known(Datum::Probe(probe)) if probe.outcome(StepKind::Send).is_some() => {
            // A question to the server itself is answered by what it speaks.
            let of_itself =
                matches!(probe.first_bytes, FirstBytes::Banner(_) | FirstBytes::FastCgi | FirstBytes::Uwsgi);
            probe.answer.is_some() || of_itself
        }
        Observed::Known(Datum::Probe(probe)) => {
            probe.steps.last().is_some_and(|step| step.outcome == ProbeOutcome::Done)
        }
        Observed::Known(Datum::Echo(echo)) => echo.is_answered(),
        Observed::Known(_) => true,
        Observed::Absent | Observed::Unknown(_) => false,
    }
}

/// What an ask sent: of a probe the furthest step that it came to, not what it was meant to do.
fn action(ask: &Ask, answer: Observed<&Datum>) -> Option<(ActionKind, String)> {
    match (ask, answer) {
        (Ask::Probe { target, .. }, Observed::Known(Datum::Probe(probe))) => {
            let reached = |kind| probe.outcome(kind).is_some();
            let kind = if reached(StepKind::Send) {
                ActionKind::Request
            } else if reached(StepKind::Handshake) {
                ActionKind::Tls
            } else if reached(StepKind::Connect) {
                ActionKind::Connect
            } else {
                return None;
            };
            Some((kind, target.to_string()))
        }
        (Ask::Echo { target, .. }, Observed::Known(_)) => Some((ActionKind::Icmp, target.to_string())),
        (Ask::Resolve { name, .. }, Observed::Known(_) | Observed::Absent) => {
            Some((ActionKind::Resolve, name.clone()))
        }
        _ => None,
    }
}
