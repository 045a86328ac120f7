//! # protocol-mismatch
//!
//! ## What happens
//!
//! The `*_pass` directive speaks another protocol than the port that it names: HTTP to PHP-FPM, a uwsgi socket or a memcached,
//! FastCGI to a web server, memcached's protocol to Redis, or any of them to something that is no backend at all, such as SSH
//! or a database. True for every version of nginx.
//!
//! ## What you see
//!
//! `recv() failed (104: Connection reset by peer)`, `upstream prematurely closed connection`, `upstream sent no valid HTTP/1.0
//! header`, `upstream sent unsupported FastCGI protocol version: 72` or `memcached sent invalid response: "HTTP/1.1 400 Bad
//! Request"`, each with 502 (with a greeting, status 009 or an empty answer).
//!
//! ## How we know
//!
//! Confirmed: a probe as nginx speaks gets the greeting or the answer of another protocol, or gets nothing, and a question to
//! the server itself (FastCGI's `GET_VALUES`, uwsgi's ping, memcached's `version`) or one in HTTP is answered. Likely: the error log tells
//! first bytes that are those of HTTP or Redis; or nothing is answered, and the listener was started with a `--socket` of uwsgi there.
//!
//! ## What would disprove it
//!
//! An answer in the protocol of the directive.
//!
//! ## What to do
//!
//! Use the directive of the protocol that is spoken there, or dial the port that speaks the one you meant.
//!
//! ## Not to be confused with
//!
//! `tls-to-plaintext-upstream`, `plaintext-to-tls-upstream` (TLS or not), `http-version-mismatch`, `response-not-http` (bytes
//! that are no known protocol), `upstream-closed-before-response`.
//!
//! ## References
//!
//! FastCGI 1.0, section 4.1; uwsgi: `uwsgi_request_ping`; nginx: `ngx_http_fastcgi_process_record`,
//! `ngx_http_memcached_process_header`, `ngx_http_proxy_process_status_line`; memcached: `doc/protocol.txt`; RFC 4253, section 4.2.

use super::plaintext_to_tls_upstream::handshake_spec;
use super::uwsgi_sockets::told_uwsgi;
use crate::case::{Case, Failure, FailureId, PeerSubject, Subject, count, or_ask};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Origin, Ruling};
use crate::plan::{self, is_own_listener};
use crate::remedy::{Remedy, Risk};
use why502_facts::{Errno, FirstBytes, HttpAnswer, Phrase, ProbeOutcome, ProbeReport, ProbeSpec, StepKind};
use why502_model::{Pass, Protocol};

pub(super) static CAUSE: Cause = Cause {
    id: "protocol-mismatch",
    layer: Layer::Protocol,
    acts_on: ActsOn::Config,
    effect: false,
    statuses: &[502],
    scope: Scope::Peer,
    supersedes: &[
        "read-timeout-too-short",
        "response-header-invalid",
        "response-not-http",
        "upstream-closed-before-response",
        "upstream-reset-before-response",
        "upstream-slow",
    ],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("protocol_mismatch.rs"),
};

/// What a web server says of a packet that is no request line.
const BAD_REQUEST: u16 = 400;
/// What nginx says of a FastCGI record that begins with the `H` of `HTTP`.
const BEGINS_LIKE_HTTP: &str = "protocol version: 72";

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some((peer, pass)) = subject.peer().and_then(|peer| Some((peer, case.pass_to(peer)?))) else {
        return Ok(Ruling::NoSign);
    };
    // gRPC to HTTP/1 is another version of one protocol.
    if pass.tls || pass.protocol == Protocol::Grpc || is_own_listener(case, &peer.address) {
        return Ok(Ruling::NoSign);
    }
    let failed: Vec<(FailureId, &Failure)> =
        case.failures_about(peer).filter(|(_, failure)| fits(failure, peer, pass.protocol)).collect();
    if failed.is_empty() {
        return Ok(Ruling::NoSign);
    }
    let probe = or_ask(case.probe(peer))?;
    let begin = failed.iter().map(|(_, failure)| failure.at).min();
    let spoken = match probe.known() {
        Some(report) => match spoken_to(case, peer, pass, report) {
            // Who answered others in the protocol of the directive is not asked for another one.
            None if case.is_served_from(peer, begin) => None,
            None => who_speaks(case, peer, pass, report)?,
            spoken => spoken,
        },
        None => None,
    };
    let says = |n| format!("{} got no usable answer", count(n, "request"));
    let line = Case::line_of(&failed).map(|origin| Evidence::supporting(says(Case::weigh(&failed)), origin));
    let finding = |confidence| {
        Finding::new(&CAUSE, confidence, subject)
            .explaining(failed.iter().map(|(id, _)| *id))
            .with(line.clone())
            .at([pass.at.clone()])
    };
    let Some(spoken) = spoken else {
        let answers_now = case.probe(peer).known().is_some_and(|report| answers(report, pass.protocol));
        if let Some(told) =
            probe_is_unanswered(case, peer).then(|| told_uwsgi(case, peer, pass.protocol)).flatten()
        {
            return Ok(Ruling::found(finding(Confidence::Likely).still_failing(Some(true)).with([told])));
        }
        let told = failed.iter().find_map(|(_, failure)| told(failure, peer));
        let open = case.probe(peer).gap().cloned().map(|gap| Case::open(gap, "what speaks there"));
        if told.is_none() || answers_now {
            return Ok(Ruling::NoSign);
        }
        return Ok(Ruling::found(finding(Confidence::Likely).open(open)));
    };
    let mut found = finding(Confidence::Confirmed).still_failing(Some(true)).with([spoken]);
    found.fails_clients_now = case.is_felt(peer);
    Ok(Ruling::found(found))
}

/// Whether a failed request can be this.
fn fits(failure: &Failure, peer: &PeerSubject, protocol: Protocol) -> bool {
    let is_cgi = matches!(protocol, Protocol::Scgi | Protocol::Uwsgi);
    is_cgi && failure.is_answered_by(peer, BAD_REQUEST)
        || failure.attempts().any(|attempt| {
            let phrases = [
                Phrase::FastCgiClosedEarly,
                Phrase::FastCgiInvalid,
                Phrase::InvalidHeader,
                Phrase::MemcachedInvalid,
                Phrase::NoValidHttpHeader,
                Phrase::PrematureClose,
            ];
            let broken = attempt.is_quietly_unanswered()
                || phrases.iter().any(|phrase| attempt.is(*phrase))
                || attempt.errno == Some(Errno::ConnectionReset)
                || attempt.is(Phrase::UpstreamTimedOut);
            attempt.peer.as_ref() == Some(&peer.address) && broken
        })
}

/// The protocol that the error log itself tells, if it does: where the gateway shows the first bytes that it got.
fn told(failure: &Failure, peer: &PeerSubject) -> Option<&'static str> {
    let attempts = failure.attempts().filter(|attempt| attempt.peer.as_ref() == Some(&peer.address));
    attempts.filter_map(|attempt| Some((attempt.phrase?, attempt.detail.as_deref()?))).find_map(
        |(phrase, detail)| match phrase {
            Phrase::FastCgiInvalid => detail.contains(BEGINS_LIKE_HTTP).then_some("HTTP"),
            Phrase::MemcachedInvalid => shown_to_memcached(detail),
            _ => None,
        },
    )
}

/// What a line is of that `memcached sent invalid response: "…"` shows.
fn shown_to_memcached(detail: &str) -> Option<&'static str> {
    let (_, line) = detail.split_once('"')?;
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| line.starts_with(prefix));
    if begins(&["HTTP/1."]) {
        return Some("HTTP");
    }
    // What Redis answers to `get`: a size, none, an error (RESP, "Bulk strings", "Simple errors").
    let is_size = |rest: &str| rest.trim_end_matches(['"', '\r']).parse::<i64>().is_ok();
    let is_redis =
        begins(&["-ERR ", "-NOAUTH ", "-WRONGTYPE "]) || line.strip_prefix('$').is_some_and(is_size);
    is_redis.then_some("Redis")
}

/// Evidence that the answer to the probe itself is in another protocol than that of the directive.
fn spoken_to(case: &Case<'_>, peer: &PeerSubject, pass: &Pass, report: &ProbeReport) -> Option<Evidence> {
    let name = foreign(pass.protocol, &report.first_bytes).filter(|_| !answers(report, pass.protocol))?;
    let says = format!("to a {} request {} answers in {name}", pass.protocol.name(), peer.address);
    Some(Evidence::supporting(says, case.probe_origin(peer)))
}

/// Evidence of what speaks at a peer that gave the probe no answer, by further questions.
fn who_speaks(
    case: &Case<'_>,
    peer: &PeerSubject,
    pass: &Pass,
    report: &ProbeReport,
) -> Result<Option<Evidence>, Asks> {
    let protocol = pass.protocol;
    let is_refused = is_refused_by_http(report, protocol);
    if !report.connected() || !is_refused && (!is_unanswered(report) || speaks_tls(case, peer, pass)?) {
        return Ok(None);
    }
    // One after the other: the only worker of a pool would wait for the rest of one question, and leave the next one lying.
    for spec in plan::peeks(case, peer) {
        let seen = or_ask(case.probe_with(peer, &spec))?;
        if let Some(name) = seen.known().and_then(|seen| heard(protocol, &spec, seen)) {
            return Ok(Some(peeked(case, peer, protocol, &spec, name)));
        }
    }
    Ok(None)
}

/// The protocol in which a question is answered, if it is known and another one than that of the directive. A question in HTTP
/// that is taken for a bad one may have come to a server of anything.
fn heard(protocol: Protocol, spec: &ProbeSpec, report: &ProbeReport) -> Option<&'static str> {
    match spec {
        ProbeSpec::WhoSpeaks(_) if report.first_bytes == FirstBytes::Http => {
            report.answer.as_ref().filter(|answer| answer.status != BAD_REQUEST).map(|_| "HTTP")
        }
        _ => foreign(protocol, &report.first_bytes),
    }
}

/// Whether the port speaks TLS: then nothing else is asked of it.
pub(super) fn speaks_tls(case: &Case<'_>, peer: &PeerSubject, pass: &Pass) -> Result<bool, Asks> {
    if pass.protocol != Protocol::Http {
        return Ok(false);
    }
    let handshake = or_ask(case.probe_with(peer, &handshake_spec(pass)))?;
    let tls = handshake.known().and_then(|report| report.tls.as_ref());
    Ok(tls.is_some_and(|tls| tls.established))
}

fn peeked(case: &Case<'_>, peer: &PeerSubject, protocol: Protocol, spec: &ProbeSpec, name: &str) -> Evidence {
    let says = format!(
        "{} gives a {} request no answer, and a question in its own protocol one in {name}",
        peer.address,
        protocol.name()
    );
    Evidence::supporting(says, Origin::Probe(case.probe_ask(peer, spec)))
}

/// Whether the answer to a request of uwsgi or SCGI is that of a web server which takes it for a bad one: nginx passes it on.
fn is_refused_by_http(report: &ProbeReport, protocol: Protocol) -> bool {
    let is_refused = |answer: &HttpAnswer| answer.status == BAD_REQUEST && answer.minor_version.is_some();
    matches!(protocol, Protocol::Scgi | Protocol::Uwsgi) && report.answer.as_deref().is_some_and(is_refused)
}

/// Whether a peer answers in the protocol of the directive.
fn answers(report: &ProbeReport, protocol: Protocol) -> bool {
    match protocol {
        Protocol::Memcached => report.memcached.is_some(),
        _ => report.answer.is_some(),
    }
}

/// The protocol that some first bytes are of, if it is known and another one.
///
/// An answer of HTTP is one of uwsgi and SCGI too.
fn foreign(protocol: Protocol, first_bytes: &FirstBytes) -> Option<&'static str> {
    let name = match first_bytes {
        FirstBytes::Banner(name) => name,
        FirstBytes::FastCgi => "FastCGI",
        FirstBytes::Http if matches!(protocol, Protocol::FastCgi | Protocol::Memcached) => "HTTP",
        FirstBytes::Uwsgi => "uwsgi",
        FirstBytes::Http
        | FirstBytes::Http2
        | FirstBytes::Nothing
        | FirstBytes::Other
        | FirstBytes::Tls { .. } => {
            return None;
        }
    };
    (name != protocol.name()).then_some(name)
}

fn probe_is_unanswered(case: &Case<'_>, peer: &PeerSubject) -> bool {
    case.probe(peer).known().is_some_and(is_unanswered)
}

/// Whether a request was sent and not a byte came back.
fn is_unanswered(report: &ProbeReport) -> bool {
    let ended = matches!(
        report.outcome(StepKind::Receive),
        Some(ProbeOutcome::Closed | ProbeOutcome::TimedOut | ProbeOutcome::Failed(Errno::ConnectionReset))
    );
    ended && report.first_bytes == FirstBytes::Nothing
}

/// What speaks at the peer of a finding.
fn name_of(case: &Case<'_>, finding: &Finding) -> Option<(&'static str, Protocol)> {
    let peer = finding.peer()?;
    let protocol = case.pass_to(peer)?.protocol;
    let of_probe = case.probe(peer).known().and_then(|report| foreign(protocol, &report.first_bytes));
    let mut peeks = plan::peeks(case, peer).into_iter();
    let of_peek = || peeks.find_map(|spec| heard(protocol, &spec, case.probe_with(peer, &spec).known()?));
    let of_arguments = || told_uwsgi(case, peer, protocol).map(|_| "uwsgi");
    let of_log = || finding.explains.iter().find_map(|id| told(case.failure(*id), peer));
    Some((of_probe.or_else(of_peek).or_else(of_arguments).or_else(of_log)?, protocol))
}

/// The directive for a protocol that nginx speaks.
fn directive(name: &str) -> Option<&'static str> {
    match name {
        "FastCGI" => Some("fastcgi_pass"),
        "HTTP" => Some("proxy_pass"),
        "memcached" => Some("memcached_pass"),
        "uwsgi" => Some("uwsgi_pass"),
        _ => None,
    }
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let address = finding.address();
    let title = match name_of(case, finding) {
        Some((name, protocol)) => format!("{} is spoken to {address}, which speaks {name}", protocol.name()),
        None => format!("{address} speaks another protocol than the one that nginx speaks to it"),
    };
    Explanation {
        title,
        why: "The port takes the connection and cannot read what nginx sends. It closes, or answers in its own words, and nginx \
              has no usable answer."
            .to_owned(),
        wont_help: vec![
            "raising buffers or timeouts: the two sides speak different protocols".to_owned(),
            "restarting the backend: it does what it is set up to do".to_owned(),
        ],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let Some((name, protocol)) = name_of(case, finding) else { return Vec::new() };
    let advice = match directive(name) {
        Some(directive) => format!(
            "use `{directive}` with the parameters of that protocol in place of `{}_pass`, or dial the port on which the backend speaks {}",
            protocol.prefix(),
            protocol.name()
        ),
        None => format!(
            "dial the port of the backend: {} is no backend of a web server, it speaks {name}",
            finding.address()
        ),
    };
    vec![
        Remedy::new("Speak the protocol of the port, or dial another one", Risk::ShowOnly)
            .advice(advice)
            .verify("the failing request answers"),
    ]
}

#[cfg(test)]
mod tests;
