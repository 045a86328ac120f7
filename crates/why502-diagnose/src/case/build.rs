//! The case of one gateway, built from the facts and the model.

use super::answers::{answers, connects};
use super::failure::Logged;
use super::hops::copies;
use super::lookup::{Lookup, passes};
use super::peers::{group_of_pass, peers};
use super::source::sources;
use super::strangers::{Strangers, count_by_writer};
use super::symptoms::{is_beside, owned, symptom, symptom_of};
use super::{Asked, Case, Failure, FailureId, Success, Symptom};
use crate::plan::specs;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use why502_facts::{
    AccessDigest, AccessRecord, Attempt, ErrorDigest, ErrorRecord, Facts, FailedRequest, Outcome,
    PeerAddress, Phase, Phrase, Stamp,
};
use why502_model::{FallbackKind, Gateway, LogTarget, Model, RouteId};

/// Builds the case of the gateway at `index`.
pub(super) fn build<'a>(facts: &'a Facts, model: &'a Model, index: usize) -> Case<'a> {
    let gateway = &model.gateways[index];
    let owner = gateway.owner();
    let keys: BTreeMap<String, RouteId> = gateway.routes().map(|(id, route)| (route.key(), id)).collect();
    let slices = model.log_slices(facts, gateway);
    let error_logs: Vec<&ErrorDigest> =
        slices.iter().filter_map(|ask| facts.error_log(ask).known()).collect();
    let access_logs: Vec<&AccessDigest> =
        slices.iter().filter_map(|ask| facts.access_log(ask).known()).collect();
    let logged = logged_by_file(&access_logs);
    let all = |requests: &'a [FailedRequest]| -> Vec<&'a FailedRequest> { requests.iter().collect() };
    let read = |requests: &[&FailedRequest]| -> Vec<Failure> {
        requests.iter().map(|request| failure(request, &keys, &logged)).collect()
    };
    let requests = facts.failed_requests(&owner);
    let strangers = Strangers::among(facts, gateway, requests);
    let (theirs, own): (Vec<&FailedRequest>, Vec<&FailedRequest>) =
        requests.iter().partition(|request| strangers.made(request));
    let (mut failures, mut looked_back) =
        wanted(model, facts, read(&own), read(&all(facts.looked_back_requests(&owner))));
    drop_copies(gateway, &mut failures);
    drop_copies(gateway, &mut looked_back);
    let copies = copies(gateway);
    let part = |failures: Vec<Failure>| -> Vec<Failure> {
        failures.into_iter().flat_map(|failure| part_with_subrequests(gateway, &copies, failure)).collect()
    };
    failures = part(failures);
    looked_back = part(looked_back);
    for failure in &mut failures {
        complete(gateway, failure);
    }
    let mut earlier = part(read(&all(facts.earlier_requests(&owner))));
    drop_copies(gateway, &mut earlier);
    let asked = Asked::narrow(facts, gateway, &mut failures);
    if let Some(asked) = &asked {
        asked.keep_own(gateway, &mut earlier);
        asked.keep_own(gateway, &mut looked_back);
    }
    let mut totals: BTreeMap<(Option<RouteId>, u16), u64> = BTreeMap::new();
    for digest in &access_logs {
        let mut own: BTreeMap<(Option<RouteId>, u16), u64> = BTreeMap::new();
        for total in &digest.totals {
            let route = total.route.as_deref().and_then(|key| keys.get(key)).copied();
            *own.entry((route, total.status)).or_default() += total.n_requests;
        }
        // A request may be written to several logs: what the fullest has is counted.
        for (key, count) in own {
            let known = totals.entry(key).or_default();
            *known = count.max(*known);
        }
    }
    let successes: Vec<Success> = access_logs
        .iter()
        .flat_map(|digest| &digest.successes)
        .map(|record| success(record, &keys))
        .collect();
    // A digest counts the whole window that was read.
    let totals = (facts.view.is_none() && !access_logs.is_empty()).then_some(totals);
    let peers = peers(gateway, &failures);
    // Whose request it would have been, nobody knows.
    let records = error_logs.iter().filter(|_| asked.is_none()).flat_map(|digest| &digest.records);
    let dropped = records.filter(|record| is_dropped(record) && !strangers.wrote(record)).collect();
    let mut case = Case {
        facts,
        gateway,
        index,
        lookup: Lookup::new(gateway, &failures, &peers, &successes, totals.as_ref()),
        peers,
        failures,
        at_work: BTreeSet::new(),
        copies,
        upgrade_tables: gateway.maps_of("$http_upgrade"),
        sources: HashMap::new(),
        specs: HashMap::new(),
        earlier,
        looked_back,
        totals,
        successes,
        answers: answers(&access_logs, &keys),
        connects: connects(&access_logs, &keys),
        error_logs,
        strangers: count_by_writer(&theirs),
        dropped,
        asked,
    };
    case.at_work = at_work(&case);
    case.sources = sources(&case);
    case.specs = specs(&case);
    case
}

/// `ngx_event_accept` closes a connection for which no slot is left, without an answer.
fn is_dropped(record: &ErrorRecord) -> bool {
    record.phrase == Phrase::WorkerConnections && record.context.client.is_none()
}

/// What the formats of the access logs tell of attempts, by file.
fn logged_by_file(access_logs: &[&AccessDigest]) -> BTreeMap<Arc<str>, Logged> {
    let logged = |digest: &AccessDigest| Logged {
        tries: digest.has_upstream,
        connect: digest.format.contains("$upstream_connect_time"),
        header: digest.format.contains("$upstream_header_time"),
    };
    let of_files = |digest: &&AccessDigest| {
        let logged = logged(digest);
        digest.coverage.files.iter().map(move |file| (Arc::clone(file), logged)).collect::<Vec<_>>()
    };
    access_logs.iter().flat_map(of_files).collect()
}

/// The failures of the part of the window that is wanted, and those before it.
fn wanted(
    model: &Model,
    facts: &Facts,
    mut failures: Vec<Failure>,
    mut before: Vec<Failure>,
) -> (Vec<Failure>, Vec<Failure>) {
    if facts.view.is_some() {
        let is_before = |failure: &Failure| model.window.from.is_some_and(|from| failure.at < from);
        before.extend(failures.iter().filter(|failure| is_before(failure)).cloned());
        failures.retain(|failure| !is_before(failure) && failure.at <= model.window.to);
    }
    (failures, before)
}

/// What an access line says of a request: when, the client, the method, the path, the status, how long it took.
type Written = (Stamp, Option<String>, Option<String>, Option<String>, Option<u16>, Option<u32>);

/// Takes out the further lines of requests that the configuration writes to one file several times: beside the line that
/// was joined with what the error log says, such a copy would be a failure of which it says nothing.
fn drop_copies(gateway: &Gateway, failures: &mut Vec<Failure>) {
    let repeated: Vec<(&str, u64)> = gateway
        .logs
        .iter()
        .filter_map(|sink| match &sink.target {
            LogTarget::File(path) if sink.copies > 1 => Some((path.as_str(), sink.copies)),
            _ => None,
        })
        .collect();
    // Rotated files bear the log's name too.
    let copies = |failure: &Failure| {
        let file = &failure.access_line.as_ref()?.file;
        repeated.iter().find(|(path, _)| file.starts_with(path)).map(|(_, copies)| *copies)
    };
    let written = |failure: &Failure| -> Written {
        let (client, method, path) = (failure.client.clone(), failure.method.clone(), failure.path.clone());
        (failure.at, client, method, path, failure.status, failure.request_ms)
    };
    // How many requests each line stands for.
    let mut n_lines: BTreeMap<Written, (u64, u64)> = BTreeMap::new();
    for (failure, copies) in failures.iter().filter_map(|failure| Some((failure, copies(failure)?))) {
        n_lines.entry(written(failure)).or_insert((0, copies)).0 += failure.weight;
    }
    let mut n_left: BTreeMap<Written, u64> =
        n_lines.into_iter().map(|(line, (n_lines, copies))| (line, n_lines.div_ceil(copies))).collect();
    for failure in failures.iter().filter(|failure| !failure.symptoms.is_empty()) {
        if let Some(left) = n_left.get_mut(&written(failure)) {
            *left = left.saturating_sub(failure.weight);
        }
    }
    failures.retain_mut(|failure| {
        if !failure.symptoms.is_empty() || copies(failure).is_none() {
            return true;
        }
        let Some(left) = n_left.get_mut(&written(failure)) else { return true };
        failure.weight = failure.weight.min(*left);
        *left -= failure.weight;
        failure.weight > 0
    });
}

/// Keeps what became of subrequests apart from what became of their requests: each is a failure of its own. They make no
/// client's answer, but that of a request which needs leave, of which the gateway says so, and of one in slices.
fn part_with_subrequests(
    gateway: &Gateway,
    copies: &BTreeSet<RouteId>,
    mut failure: Failure,
) -> impl Iterator<Item = Failure> {
    let has_own_line = |route: RouteId| {
        let setting = gateway.in_force(route, "log_subrequest").pop();
        setting.is_some_and(|setting| setting.value.first().is_some_and(|value| value == "on"))
    };
    let is_error = failure.status_logged && failure.status.is_some_and(|status| status >= 500);
    let needs_leave = failure.symptoms.iter().any(|symptom| symptom.is(Phrase::AuthRequestUnexpectedStatus));
    let of_copy = failure.route.is_some_and(|route| copies.contains(&route) && has_own_line(route));
    let about = failure.subrequest().map(|own| own.route.is_some_and(has_own_line));
    let mut parted = None;
    if is_error && !needs_leave && (of_copy || about == Some(true)) {
        // The line in the access log is that of the subrequest itself (`ngx_http_finalize_request`).
        failure.outcome = Outcome::Hidden;
    } else if !needs_leave && (about.is_none() || is_error) {
        // Something else made the answer. Where no line says what, an upstream answered with an error.
        parted = take_subrequests(&mut failure);
    }
    parted.into_iter().chain([failure])
}

/// The failure of the subrequests of a failed request, which is left without them.
fn take_subrequests(failure: &mut Failure) -> Option<Failure> {
    let is_of_subrequest = |symptom: &Symptom| symptom.subrequest.is_some();
    let (symptoms, own): (Vec<Symptom>, Vec<Symptom>) =
        failure.symptoms.drain(..).partition(is_of_subrequest);
    failure.symptoms = own;
    let route = symptoms.last()?.route;
    let parted = Failure {
        outcome: Outcome::Hidden,
        status: None,
        status_logged: false,
        route: route.or(failure.route),
        access_line: None,
        tries_logged: false,
        symptoms,
        ..failure.clone()
    };
    failure.route = failure.entry;
    Some(parted)
}

/// Fills in what a failure's lines lack because nginx cut them at 2048 bytes: whom it dialled, if that can only be one.
fn complete(gateway: &Gateway, failure: &mut Failure) {
    let asked = failure.symptoms.iter().find(|symptom| symptom.is(Phrase::AuthRequestUnexpectedStatus));
    if asked.is_some() && !failure.symptoms.iter().any(|symptom| symptom.subrequest.is_some()) {
        // nginx says nothing of the subrequest itself where its upstream answered.
        failure.route = failure.entry.and_then(|entry| auth_route(gateway, entry)).or(failure.route);
        return;
    }
    let Some(address) = failure.route.and_then(|route| only_address(gateway, route)) else { return };
    for symptom in &mut failure.symptoms {
        let is_about_upstream = matches!(
            symptom.phase,
            Some(Phase::Connecting | Phase::TlsHandshake | Phase::SendingRequest | Phase::ReadingHeader)
        );
        if is_about_upstream && symptom.peer.is_none() && symptom.group.is_none() {
            symptom.peer = Some(address.clone());
            symptom.is_attempt = true;
        }
    }
}

/// The route that a route asks for leave.
fn auth_route(gateway: &Gateway, route: RouteId) -> Option<RouteId> {
    let route = gateway.route(route);
    let asks = route.fallbacks.iter().find(|fallback| fallback.kind == FallbackKind::AuthRequest)?;
    gateway.find_route(route.server, &asks.to)
}

/// The only address that a route passes requests to.
fn only_address(gateway: &Gateway, route: RouteId) -> Option<PeerAddress> {
    let route = gateway.route(route);
    let mut passes = passes(route);
    let group = passes.next().filter(|_| passes.next().is_none()).and_then(group_of_pass)?;
    let mut addresses = gateway
        .group(group)
        .peers
        .iter()
        .flat_map(|peer| peer.addresses.as_ref().known().into_iter().flatten());
    addresses.next().filter(|_| addresses.next().is_none()).cloned()
}

/// Refusals of limits, on routes where they are under one in a hundred of the requests.
fn at_work(case: &Case<'_>) -> BTreeSet<FailureId> {
    let mut refused: BTreeMap<RouteId, (u64, BTreeSet<FailureId>)> = BTreeMap::new();
    for (id, failure) in case.failures() {
        let is_said = failure
            .symptoms
            .iter()
            .any(|symptom| symptom.is(Phrase::LimitingRequests) || symptom.is(Phrase::LimitingConnections));
        if let Some(route) = failure.route
            && (is_said || failure.limit_status.as_deref() == Some("REJECTED"))
        {
            let (count, ids) = refused.entry(route).or_default();
            *count += failure.weight;
            ids.insert(id);
        }
    }
    let few =
        refused.into_iter().filter(|(route, (count, _))| !case.is_more_than_a_limit_at_work(*route, *count));
    few.flat_map(|(_, (_, ids))| ids).collect()
}

fn failure(
    request: &FailedRequest,
    keys: &BTreeMap<String, RouteId>,
    logged: &BTreeMap<Arc<str>, Logged>,
) -> Failure {
    let logged =
        request.access_line.as_ref().and_then(|line| logged.get(&line.file)).copied().unwrap_or_default();
    let line = request.request.as_ref();
    let messages = request.messages.iter().map(|message| symptom_of(std::slice::from_ref(message)));
    let route_of = |key: Option<&Arc<str>>| key.and_then(|key| keys.get(&**key)).copied();
    let entry = route_of(request.route.as_ref());
    let subrequest = failed_subrequest(request);
    let symptoms: Vec<Symptom> = request
        .attempts
        .iter()
        .map(|attempt| symptom(attempt, route_of(attempt.route.as_ref()), logged))
        .chain(messages)
        .collect();
    Failure {
        at: request.at,
        outcome: request.outcome,
        status: request.status.or(request.implied_status),
        status_logged: request.status.is_some(),
        route: subrequest.and_then(|own| route_of(own.route.as_ref())).or(entry),
        entry,
        method: line.map(|line| line.method.to_string()).filter(|method| !method.is_empty()),
        path: line.map(|line| line.path.to_string()),
        has_query: line.is_some_and(|line| line.has_query),
        host: owned(request.host.as_ref()),
        client: owned(request.client.as_ref()),
        user_agent: owned(request.user_agent.as_ref()),
        forwarded: owned(request.forwarded.as_ref()),
        symptoms,
        access_line: request.access_line.clone(),
        tries_logged: logged.tries,
        request_ms: request.request_ms,
        cache_status: owned(request.cache_status.as_ref()),
        limit_status: owned(request.limit_status.as_ref()),
        weight: request.weight,
    }
}

/// The subrequest that a failure is about: its last one, unless the request itself failed on an upstream.
fn failed_subrequest(request: &FailedRequest) -> Option<&Attempt> {
    let failed = |attempt: &Attempt| {
        let is_told = attempt.messages.iter().any(|message| !is_beside(message));
        is_told || attempt.result.as_ref().and_then(|tried| tried.status).is_some_and(|status| status >= 500)
    };
    let (own, others): (Vec<&Attempt>, Vec<&Attempt>) =
        request.attempts.iter().partition(|attempt| attempt.subrequest.is_none());
    others.last().copied().filter(|_| !own.into_iter().any(failed))
}

fn success(record: &AccessRecord, keys: &BTreeMap<String, RouteId>) -> Success {
    let last = record.tries.as_ref().and_then(|tries| tries.last());
    Success {
        at: record.at,
        route: record.route.as_deref().and_then(|key| keys.get(key)).copied(),
        peer: last.and_then(|tried| tried.peer.as_deref()).and_then(|peer| peer.parse().ok()),
        request_ms: record.request_ms,
        connect_ms: last.and_then(|tried| tried.connect_ms),
        path: record.request.as_ref().map(|request| request.path.to_string()),
        line: record.line.clone(),
    }
}
