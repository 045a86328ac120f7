//! # upgrade-header-hardcoded
//!
//! ## What happens
//!
//! `proxy_set_header Connection "upgrade";` is sent with every request of the route, also with those of clients that ask for
//! no upgrade. Some backends take that for the beginning of a WebSocket, find the rest of it missing, and close the connection or
//! answer 400; with a constant `Upgrade: websocket` beside it, many do. A `map` of `$http_upgrade` without an entry for `""`
//! does the same. True for every version of nginx.
//!
//! ## What you see
//!
//! `upstream prematurely closed connection while reading response header from upstream` and 502, or 400 (426), for every
//! ordinary request of the route, and none by a request to the backend itself. WebSockets work.
//!
//! ## How we know
//!
//! Confirmed: asked with the route's own headers the backend closes or refuses as the log tells, asked for the same without
//! the upgrade it answers, and no ordinary request of the route succeeded. Likely: some did, or the backend asks for a login, or
//! a single request failed. Possible: the log alone tells that all ordinary requests of such a route were closed.
//!
//! ## What would disprove it
//!
//! An ordinary request of the route that is answered well; the same refusal of a request without these headers.
//!
//! ## What to do
//!
//! Send `Connection: upgrade` only where the client asks for an upgrade: a `map` of `$http_upgrade` decides.
//!
//! ## Not to be confused with
//!
//! `websocket-upgrade-missing` (the opposite: an upgrade that is not passed on), `host-header-rejected` (400 to every
//! page as well), `upstream-closed-before-response` (whatever it is asked), `http-version-mismatch`.
//!
//! ## References
//!
//! nginx: `ngx_http_proxy_create_request`, and "WebSocket proxying" in its documentation; RFC 9110, sections 7.6.1 and 7.8;
//! RFC 6455, section 4.2.1.

use super::unanswered::before_header;
use crate::case::{Case, Failure, FailureId, PeerSubject, Subject, Symptom, count, or_ask};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Origin, Ruling};
use crate::plan::{names_upgrade, speaks_http2, upgrade_spec, usual_connection, without_upgrade};
use crate::remedy::{Remedy, Risk};
use why502_facts::{Blob, Errno, Gap, Observed, Phrase, ProbeOutcome, ProbeReport, StepKind};
use why502_model::{MapTable, Pass, Protocol, RouteId, Span, WantedDirective};

pub(super) static CAUSE: Cause = Cause {
    id: "upgrade-header-hardcoded",
    layer: Layer::Protocol,
    acts_on: ActsOn::Config,
    effect: false,
    statuses: &[400, 502],
    scope: Scope::Route,
    supersedes: &[
        "host-header-rejected",
        "upstream-closed-before-response",
        "upstream-reset-before-response",
        "upstream-sent-error",
        "websocket-upgrade-missing",
    ],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("upgrade_header_hardcoded.rs"),
};

/// One request may have any fault of its own.
const MIN_FAILED: u64 = 2;
/// Without a look at the server, so many that are closed are no chance.
const MIN_CLOSED: u64 = 3;
/// The name of a new table, as the documentation of nginx has it.
const TABLE: &str = "$connection_upgrade";

/// How a server ends a request that it does not like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It closes the connection, in good order or not.
    Closed,
    /// It answers that.
    Status(u16),
}

impl End {
    fn words(self) -> String {
        match self {
            Self::Closed => "closes the connection".to_owned(),
            Self::Status(status) => format!("answers {status}"),
        }
    }

    /// Whether a failed request ended so at its last attempt.
    fn is_of(self, failure: &Failure) -> bool {
        match (self, failure.attempts().next_back()) {
            (Self::Closed, last) => last.is_some_and(is_closed),
            (Self::Status(status), Some(last)) => {
                let is_sent = last.tried.as_ref().is_some_and(|tried| tried.status == Some(status));
                failure.status == Some(status) && last.phrase.is_none() && is_sent
            }
            (Self::Status(status), None) => failure.status == Some(status) && !failure.tries_logged,
        }
    }
}

fn is_closed(symptom: &Symptom) -> bool {
    let is_told = symptom.is(Phrase::PrematureClose) || symptom.errno == Some(Errno::ConnectionReset);
    (is_told && before_header(symptom)) || symptom.is_quietly_unanswered()
}

/// What the servers behind a route make of its header.
enum Compared<'c> {
    /// One of them ends a request that has it so, and answers the same one without it.
    Refused { peer: &'c PeerSubject, end: End, status: u16 },
    /// It makes no difference.
    Same,
    /// Nobody could ask.
    Unknown(Option<Gap>),
}

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some((route, pass)) = pass_of(case, subject) else { return Ok(Ruling::NoSign) };
    let ends = |failure: &Failure| {
        End::Closed.is_of(failure) || failure.status.is_some_and(|status| End::Status(status).is_of(failure))
    };
    if !case.failures_of(route).any(|(_, failure)| ends(failure)) {
        return Ok(Ruling::NoSign);
    }
    let compared = compared(case, route, pass)?;
    let end = match compared {
        Compared::Refused { end, .. } => end,
        Compared::Unknown(_) => End::Closed,
        Compared::Same => return Ok(Ruling::NoSign),
    };
    let failed: Vec<(FailureId, &Failure)> =
        case.failures_of(route).filter(|(_, failure)| end.is_of(failure)).collect();
    let (n_failed, n_answered) = (Case::weigh(&failed), n_answered(case, route));
    let confidence = match compared {
        _ if n_failed == 0 || n_answered.is_some_and(|answered| answered >= n_failed) => None,
        Compared::Refused { status, .. } => {
            let is_sure = n_answered == Some(0) && n_failed >= MIN_FAILED && !asks_login(status);
            Some(if is_sure { Confidence::Confirmed } else { Confidence::Likely })
        }
        _ => (n_answered == Some(0) && n_failed >= MIN_CLOSED).then_some(Confidence::Possible),
    };
    let Some((confidence, line)) = confidence.zip(Case::line_of(&failed)) else {
        return Ok(Ruling::NoSign);
    };
    let says = match end {
        End::Closed => format!("{} of the route closed without an answer", count(n_failed, "request")),
        End::Status(status) => format!("{} of the route answered {status}", count(n_failed, "request")),
    };
    let header = usual_connection(case, pass).unwrap_or_default();
    let set = Evidence::supporting(
        format!("\"Connection: {header}\" goes with every request of the route"),
        Origin::File(place(case, pass)),
    );
    let mut finding = Finding::new(&CAUSE, confidence, subject)
        .explaining(failed.iter().map(|(id, _)| *id))
        .with([Evidence::supporting(says, line), set])
        .at([place(case, pass)]);
    match compared {
        Compared::Refused { peer, end, status } => {
            let with = upgrade_spec(case, peer, route, pass);
            let origin = |spec| Origin::Probe(case.probe_ask(peer, &spec));
            finding = finding.still_failing(Some(true)).with(with.into_iter().flat_map(|with| {
                let without = without_upgrade(&with);
                [
                    Evidence::supporting(
                        format!("asked with the route's own headers, {} {}", peer.address, end.words()),
                        origin(with),
                    ),
                    Evidence::supporting(
                        format!("asked for the same without the upgrade, it answers {status}"),
                        origin(without),
                    ),
                ]
            }));
            finding.fails_clients_now = case.is_felt(peer);
        }
        Compared::Unknown(gap) => {
            finding = finding.open(gap.map(|gap| Case::open(gap, "what the server makes of that header")));
        }
        Compared::Same => {}
    }
    Ok(Ruling::found(finding))
}

/// A route that speaks HTTP/1 and asks for an upgrade with every request.
fn pass_of<'c>(case: &'c Case<'_>, subject: &Subject) -> Option<(RouteId, &'c Pass)> {
    let route = subject.route()?;
    let pass =
        case.pass_of(route, None).filter(|pass| pass.protocol == Protocol::Http && !speaks_http2(pass))?;
    usual_connection(case, pass).is_some_and(names_upgrade).then_some((route, pass))
}

/// Where the value is decided: in the table that lacks an entry, else where the header is set.
fn place(case: &Case<'_>, pass: &Pass) -> Span {
    let set_at = || pass.header("Connection").and_then(|header| header.at.clone());
    table_of(case, pass).map(|table| table.at.clone()).or_else(set_at).unwrap_or_else(|| pass.at.clone())
}

/// The table that the header is taken from.
fn table_of<'c>(case: &'c Case<'_>, pass: &Pass) -> Option<&'c MapTable> {
    let header = pass.header("Connection")?;
    case.upgrade_tables.iter().find(|table| table.name == header.value.1)
}

/// What the servers behind a route make of its header. An error asks them, with it and without.
fn compared<'c>(case: &'c Case<'_>, route: RouteId, pass: &Pass) -> Result<Compared<'c>, Asks> {
    let (mut gap, mut is_same) = (None, false);
    for peer in case.peers_behind(route) {
        let Some(with) = upgrade_spec(case, peer, route, pass) else { continue };
        let report = match or_ask(case.probe_with(peer, &with))? {
            Observed::Known(report) => report,
            Observed::Absent => continue,
            Observed::Unknown(unknown) => {
                gap = Some(unknown);
                continue;
            }
        };
        is_same = true;
        let Some(end) = end(report) else { continue };
        let without = or_ask(case.probe_with(peer, &without_upgrade(&with)))?;
        let answer = without.known().and_then(|report| report.answer.as_ref()).map(|answer| answer.status);
        if let Some(status) = answer.filter(|status| is_taken(*status)) {
            return Ok(Compared::Refused { peer, end, status });
        }
    }
    Ok(if is_same { Compared::Same } else { Compared::Unknown(gap) })
}

/// How a server ended the request of a probe, if not well.
fn end(report: &ProbeReport) -> Option<End> {
    if let Some(answer) = &report.answer {
        return (answer.status >= 400).then_some(End::Status(answer.status));
    }
    let is_closed = matches!(
        report.outcome(StepKind::Receive),
        Some(ProbeOutcome::Closed | ProbeOutcome::Failed(Errno::ConnectionReset))
    );
    (is_closed && report.received == Blob::default()).then_some(End::Closed)
}

/// Whether an answer tells that the request was taken: the page is there, be it behind a login or for other methods than
/// that of a probe.
fn is_taken(status: u16) -> bool {
    status < 400 || status == 405 || asks_login(status)
}

fn asks_login(status: u16) -> bool {
    matches!(status, 401 | 403 | 407)
}

/// How many ordinary requests of a route were answered well; `None` where no access log tells.
fn n_answered(case: &Case<'_>, route: RouteId) -> Option<u64> {
    let totals = case.totals.as_ref()?.iter();
    let answered = totals.filter(|((own, status), _)| *own == Some(route) && (200..400).contains(status));
    Some(answered.map(|(_, count)| count).sum())
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let found = finding.subjects.first().and_then(|subject| {
        let (route, pass) = pass_of(case, subject)?;
        compared(case, route, pass).ok()
    });
    let what = match found {
        Some(Compared::Refused { peer, end, .. }) => format!(", and {} {}", peer.address, end.words()),
        _ => String::new(),
    };
    Explanation {
        title: format!("Connection: upgrade is sent with every request of the route{what}"),
        why: "The header says that the client wants to change to another protocol, and no such change follows. The backend takes \
              the request for a WebSocket that is none, and gives up on it before the application sees it."
            .to_owned(),
        wont_help: vec![
            "raising timeouts or buffers: the backend ends the request at once".to_owned(),
            "trying the backend with curl: its request has no such header".to_owned(),
        ],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let (mut seen, mut edits): (Vec<Span>, Vec<(Span, String)>) = (Vec::new(), Vec::new());
    let mut table = conditional_table(case);
    for (route, pass) in finding.subjects.iter().filter_map(|subject| pass_of(case, subject)) {
        if seen.contains(&place(case, pass)) {
            continue;
        }
        seen.push(place(case, pass));
        let without = if pass.keeps_alive { "\"\"" } else { "close" };
        if let Some(table) = table_of(case, pass) {
            edits.extend(case.gateway.insert_last(&table.at, &format!("\"\" {without};")));
            continue;
        }
        let name = table.get_or_insert_with(|| {
            let server = &case.gateway.server_of(case.gateway.route(route)).at;
            let text = format!("map $http_upgrade {TABLE} {{\n    default upgrade;\n    \"\" {without};\n}}");
            edits.extend(case.gateway.insert_before(server, &text));
            TABLE.to_owned()
        });
        let header = |own: &str, value: &str| -> Option<WantedDirective> {
            let at = pass.header(own)?.at.clone();
            Some(("proxy_set_header".to_owned(), vec![own.to_owned(), value.to_owned()], at))
        };
        let is_constant = pass.header("Upgrade").is_some_and(|own| !own.value.1.contains('$'));
        let upgrade = header("Upgrade", "$http_upgrade").filter(|_| is_constant);
        let wanted: Vec<WantedDirective> = upgrade.into_iter().chain(header("Connection", name)).collect();
        edits.extend(case.gateway.set_directives(&pass.at, &wanted));
    }
    let remedy = Remedy::new("Ask for an upgrade only where the client does", Risk::Review)
        .verify("an ordinary page of the route is answered, and a WebSocket still gets status 101");
    vec![edits.into_iter().fold(remedy, |remedy, (at, text)| remedy.edit(at, text))]
}

/// A table that the configuration has already, and that asks for an upgrade where the client does.
fn conditional_table(case: &Case<'_>) -> Option<String> {
    let is_conditional = |table: &&MapTable| {
        let asks = table.entries.iter().any(|(key, value)| key == "default" && names_upgrade(value));
        asks && table.of_nothing().is_some_and(|value| !names_upgrade(value))
    };
    case.upgrade_tables.iter().find(is_conditional).map(|table| table.name.clone())
}

#[cfg(test)]
mod tests;
