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
//! the server itself (FastCGI's `GET_VALUES`, uwsgi's ping, memcached's `version`) is answered. Likely: the error log tells
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
use why502_facts::{Errno, FirstBytes, Phrase, ProbeOutcome, ProbeReport, ProbeSpec, StepKind};
use why502_model::{Pass, Protocol};

pub(super) static CAUSE: Cause = Cause {
    id: "protocol-mismatch",
    layer: Layer::Protocol,
    acts_on: ActsOn::Config,
    effect: false,
    statuses: &[502],
    scope: Scope::Peer,
    supersedes: &[
        "response-header-invalid",
        "response-not-http",
        "upstream-closed-before-response",
        "upstream-reset-before-response",
    ],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("protocol_mismatch.rs"),
};

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
        case.failures_about(peer).filter(|(_, failure)| fits(failure, peer)).collect();
    if failed.is_empty() {
        return Ok(Ruling::NoSign);
    }
    let probe = or_ask(case.probe(peer))?;
    let spoken = match probe.known() {
        Some(report) => who_speaks(case, peer, pass, report)?,
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
fn fits(failure: &Failure, peer: &PeerSubject) -> bool {
    failure.attempts().any(|attempt| {
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

/// Evidence of what speaks at a peer in place of the protocol of the directive, if that is seen.
fn who_speaks(
    case: &Case<'_>,
    peer: &PeerSubject,
    pass: &Pass,
    report: &ProbeReport,
) -> Result<Option<Evidence>, Asks> {
    let protocol = pass.protocol;
    if answers(report, protocol) || !report.connected() {
        return Ok(None);
    }
    if let Some(name) = foreign(protocol, &report.first_bytes) {
        let says = format!("to a {} request {} answers in {name}", protocol.name(), peer.address);
        return Ok(Some(Evidence::supporting(says, case.probe_origin(peer))));
    }
    if !is_unanswered(report) || speaks_tls(case, peer, pass)? {
        return Ok(None);
    }
    // One after the other: the only worker of a pool would wait for the rest of one question, and leave the next one lying.
    for spec in plan::peeks(case, peer) {
        let seen = or_ask(case.probe_with(peer, &spec))?;
        if let Some(name) = seen.known().and_then(|seen| foreign(protocol, &seen.first_bytes)) {
            return Ok(Some(peeked(case, peer, protocol, &spec, name)));
        }
    }
    Ok(None)
}

/// Whether the port speaks TLS: then nothing else is asked of it.
fn speaks_tls(case: &Case<'_>, peer: &PeerSubject, pass: &Pass) -> Result<bool, Asks> {
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
    let of_peek =
        || peeks.find_map(|spec| foreign(protocol, &case.probe_with(peer, &spec).known()?.first_bytes));
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
mod tests {
    use crate::causes::upstream_closed_before_response::tests::HIT as CLOSED;
    use crate::fixture::Fixture;

    const VALUES: &str = "answers\n\\x01\\x0a\\x00\\x00\\x00\\x02\\x00\\x00\\x00\\x00";

    #[test]
    fn hit_http_to_fastcgi() {
        let fixture = Fixture::new(CLOSED).with("probe 127.0.0.1:3000 fastcgi-values", VALUES);
        insta::assert_snapshot!(fixture.summary(), @"
        Broken
        Confirmed protocol-mismatch -> upstream-closed-before-response: HTTP is spoken to 127.0.0.1:3000, which speaks FastCGI [1 requests, still failing]
        ");
    }

    #[test]
    fn hit_http_to_uwsgi() {
        let pong = "answers\nd\\x00\\x00\\x01";
        let fixture = Fixture::new(CLOSED).with("probe 127.0.0.1:3000 uwsgi-ping", pong);
        insta::assert_snapshot!(fixture.summary(), @"
        Broken
        Confirmed protocol-mismatch -> upstream-closed-before-response: HTTP is spoken to 127.0.0.1:3000, which speaks uwsgi [1 requests, still failing]
        ");
    }

    #[test]
    fn hit_the_listener_was_started_for_uwsgi() {
        let listener = "127.0.0.1:3000 uwsgi_python3 --socket 127.0.0.1:3000 --wsgi-file app.py";
        insta::assert_snapshot!(Fixture::new(CLOSED).with("listeners", listener).summary(), @"
        Broken
        Likely protocol-mismatch -> upstream-closed-before-response: HTTP is spoken to 127.0.0.1:3000, which speaks uwsgi [1 requests, still failing]
        ");
    }

    #[test]
    fn hit_a_greeting() {
        let fixture = Fixture::new(CLOSED).with("probe 127.0.0.1:3000", "answers\nSSH-2.0-OpenSSH_9.2");
        insta::assert_snapshot!(fixture.summary(), @"
        Broken
        Confirmed protocol-mismatch -> upstream-closed-before-response: HTTP is spoken to 127.0.0.1:3000, which speaks SSH [1 requests, still failing]
        ");
    }

    fn fastcgi() -> String {
        CLOSED
            .replace("proxy_pass http://backend", "fastcgi_pass backend")
            .replace("upstream: \"http://127.0.0.1:3000/a\"", "upstream: \"fastcgi://127.0.0.1:3000\"")
            .replace(
                "upstream prematurely closed connection",
                "upstream sent unsupported FastCGI protocol version: 72",
            )
    }

    #[test]
    fn hit_fastcgi_to_http() {
        let fixture =
            Fixture::new(&fastcgi()).with("probe 127.0.0.1:3000", "answers\nHTTP/1.1 400 Bad Request\n\n");
        insta::assert_snapshot!(fixture.summary(), @"
        Broken
        Confirmed protocol-mismatch: FastCGI is spoken to 127.0.0.1:3000, which speaks HTTP [1 requests, still failing]
        ");
    }

    /// `shown` is the line that nginx quotes.
    fn memcached(shown: &str) -> String {
        CLOSED
            .replace("proxy_pass http://backend", "set $memcached_key $uri; memcached_pass backend")
            .replace("upstream: \"http://127.0.0.1:3000/a\"", "upstream: \"memcached://127.0.0.1:3000\"")
            .replace(
                "upstream prematurely closed connection",
                &format!("memcached sent invalid response: \"{shown}\""),
            )
    }

    #[test]
    fn hit_memcached_to_http() {
        let fixture = Fixture::new(&memcached("HTTP/1.1 400 Bad Request"))
            .with("probe 127.0.0.1:3000", "answers\nHTTP/1.1 400 Bad Request\n\n");
        insta::assert_snapshot!(fixture.summary(), @"
        Broken
        Confirmed protocol-mismatch: memcached is spoken to 127.0.0.1:3000, which speaks HTTP [1 requests, still failing]
        ");
    }

    #[test]
    fn hit_http_to_memcached() {
        let fixture = Fixture::new(CLOSED)
            .with("probe 127.0.0.1:3000 memcached-version", "answers\nVERSION 1.6.18\n\n");
        insta::assert_snapshot!(fixture.summary(), @"
        Broken
        Confirmed protocol-mismatch -> upstream-closed-before-response: HTTP is spoken to 127.0.0.1:3000, which speaks memcached [1 requests, still failing]
        ");
    }

    #[test]
    fn near_miss_a_memcached_that_refuses_a_key() {
        let fixture = Fixture::new(&memcached("CLIENT_ERROR bad command line format"))
            .with("probe 127.0.0.1:3000", "answers\nVERSION 1.6.18\n\n");
        let summary = fixture.summary();
        assert!(!summary.contains("protocol-mismatch"), "{summary}");
    }

    #[test]
    fn gap_the_line_that_memcached_is_not_stands_in_the_log() {
        for (shown, name) in [
            ("HTTP/1.1 400 Bad Request", "HTTP"),
            ("$-1", "Redis"),
            ("-NOAUTH Authentication required.", "Redis"),
        ] {
            let summary = Fixture::new(&memcached(shown)).without("probe 127.0.0.1:3000").summary();
            let expected = format!(
                "Likely protocol-mismatch: memcached is spoken to 127.0.0.1:3000, which speaks {name}"
            );
            assert!(summary.contains(&expected), "{summary}");
        }
        let summary = Fixture::new(&memcached("hello")).without("probe 127.0.0.1:3000").summary();
        assert!(!summary.contains("protocol-mismatch"), "{summary}");
    }

    #[test]
    fn near_miss_the_application_closes_and_speaks_nothing_else() {
        let summary = Fixture::new(CLOSED).summary();
        assert!(!summary.contains("protocol-mismatch"), "{summary}");
    }

    #[test]
    fn near_miss_an_answer_in_the_protocol_of_the_directive() {
        let answers = "answers fastcgi\nStatus: 500 Oops\n\n";
        let summary = Fixture::new(&fastcgi()).with("probe 127.0.0.1:3000", answers).summary();
        assert!(!summary.contains("protocol-mismatch"), "{summary}");
    }

    #[test]
    fn gap_the_first_bytes_stand_in_the_log() {
        insta::assert_snapshot!(Fixture::new(&fastcgi()).without("probe 127.0.0.1:3000").summary(), @"
        Broken
        Likely protocol-mismatch: FastCGI is spoken to 127.0.0.1:3000, which speaks HTTP [1 requests]
          open: what speaks there: the fixture does not tell
        ");
    }

    #[test]
    fn gap_nobody_may_ask() {
        let summary = Fixture::new(CLOSED).without("probe 127.0.0.1:3000").summary();
        assert!(!summary.contains("protocol-mismatch"), "{summary}");
    }
}
