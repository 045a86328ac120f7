//! # request-header-too-big-for-upstream
//!
//! ## What happens
//!
//! nginx takes request headers of up to 32 KiB (`large_client_header_buffers` 4 of 8 KiB), and the server behind takes less:
//! uWSGI 4 KiB (`buffer-size`), many Java servers 8 KiB, Node.js 16 KiB. Users who carry big cookies or long tokens are
//! refused, all others are served. True for every version of nginx.
//!
//! ## What you see
//!
//! Behind uWSGI `recv() failed (104: Connection reset by peer) while reading response header from upstream` and a 502: it
//! closes with the request unread. Behind Node.js and others the status 431, `Request Header Fields Too Large`, and nothing in
//! the error log. Other requests for the same path are answered.
//!
//! ## How we know
//!
//! Confirmed: the peer itself answered 431, and answers otherwise to the probe, whose header is small. Likely: the same, and
//! nobody could ask; or only requests without a body were reset, which means that the server left bytes unread, others are
//! answered, and the listener is uWSGI, which was not started anew since. Possible: uWSGI is spoken, and nobody could see
//! who listens.
//!
//! ## What would disprove it
//!
//! The probe ends in the same way: then the size of the header does not matter.
//!
//! ## What to do
//!
//! Raise the limit of the server (`--buffer-size 32768`, `--max-http-header-size=32768`), and look for what makes the header
//! that large: cookies that pile up, tokens in cookies.
//!
//! ## Not to be confused with
//!
//! `response-header-too-big` (the other direction), `upstream-rejects-request-body`, `upstream-reset-before-response` (whatever
//! is asked), nginx's own `client sent too large request` (400, and no upstream was asked).
//!
//! ## References
//!
//! uWSGI: `uwsgi_proto_uwsgi_parser`, option `buffer-size`; Node.js: `--max-http-header-size`; RFC 6585, section 5; nginx:
//! `large_client_header_buffers`.

use super::header_limits::{HeaderLimit, Server};
use super::own_answers::may_be_shown;
use super::unanswered::{Unanswered, attempts};
use super::upstream_rejects_request_body::has_body;
use crate::case::{Case, Failure, FailureId, PeerSubject, Subject, Symptom, count, or_ask};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Origin, Ruling};
use crate::remedy::{Remedy, Risk};
use why502_facts::{Errno, Phase, Phrase};
use why502_model::Protocol;

pub(super) static CAUSE: Cause = Cause {
    id: "request-header-too-big-for-upstream",
    layer: Layer::Protocol,
    acts_on: ActsOn::Upstream,
    effect: false,
    statuses: &[400, 431, 502],
    scope: Scope::Peer,
    supersedes: &["upstream-reset-before-response"],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("request_header_too_big_for_upstream.rs"),
};

/// Request Header Fields Too Large.
const TOO_LARGE: u16 = 431;

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some(peer) = subject.peer() else { return Ok(Ruling::NoSign) };
    match by_status(case, subject, peer)? {
        Ruling::NoSign => by_reset(case, subject),
        ruling => Ok(ruling),
    }
}

/// The server says so itself.
fn by_status(case: &Case<'_>, subject: &Subject, peer: &PeerSubject) -> Result<Ruling, Asks> {
    let refused: Vec<(FailureId, &Failure)> =
        case.failures_about(peer).filter(|(_, failure)| is_told(case, peer, failure)).collect();
    let Some(origin) = Case::line_of(&refused) else { return Ok(Ruling::NoSign) };
    let report = or_ask(case.probe(peer))?.known();
    let answer = report.and_then(|report| report.answer.as_ref());
    if answer.is_some_and(|answer| answer.status == TOO_LARGE) {
        return Ok(Ruling::NoSign);
    }
    let is_sent = |failure: &Failure| failure.attempts().next_back().is_some_and(|last| last.peer.is_some());
    let is_seen = answer.is_some() && refused.iter().all(|(_, failure)| is_sent(failure));
    let confidence = if is_seen { Confidence::Confirmed } else { Confidence::Likely };
    let says = format!(
        "{} answered 431, which says that its header is too large",
        count(Case::weigh(&refused), "request")
    );
    let finding = Finding::new(&CAUSE, confidence, subject)
        .explaining(refused.iter().map(|(id, _)| *id))
        .with([Evidence::supporting(says, origin)]);
    Ok(Ruling::found(described(case, peer, finding)))
}

/// Whether a peer answered that status: by the log, or because nothing else on the way of the request gives it.
fn is_told(case: &Case<'_>, peer: &PeerSubject, failure: &Failure) -> bool {
    match failure.attempts().next_back() {
        Some(last) => {
            last.peer.as_ref() == Some(&peer.address)
                && last.tried.as_ref().is_some_and(|tried| tried.status == Some(TOO_LARGE))
        }
        None => {
            failure.status == Some(TOO_LARGE)
                && failure.status_logged
                && !failure.tries_logged
                && case.is_single(peer)
                && failure.route.is_some_and(|route| {
                    case.gateway.route(route).action.pass().is_some()
                        && may_be_shown(case, route, TOO_LARGE, |_| true).is_none()
                })
        }
    }
}

/// The server closes with the request unread.
fn by_reset(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some(mut reset) = attempts(case, subject, is_unread)? else { return Ok(Ruling::NoSign) };
    // Whoever does not want a body leaves that unread.
    reset.symptoms.retain(|(_, failure, _)| has_body(failure) == Some(false));
    let last = reset.symptoms.iter().map(|(_, failure, _)| failure.at).max();
    let pass = case.pass_to(reset.peer);
    // A kept connection may have been closed while it was idle, and one that nobody had taken yet is reset by a restart.
    let (Some(last), Some(pass)) = (last, pass.filter(|pass| !pass.keeps_alive)) else {
        return Ok(Ruling::NoSign);
    };
    let Some(served) = served(case, &reset) else { return Ok(Ruling::NoSign) };
    let limit = HeaderLimit::of(case, reset.peer);
    let speaks_uwsgi = pass.protocol == Protocol::Uwsgi;
    let confidence = match &limit {
        Some(limit) if limit.server == Server::Uwsgi && !case.started_after(reset.peer, last) => {
            Confidence::Likely
        }
        None if speaks_uwsgi && case.listeners_of(reset.peer).is_empty() => Confidence::Possible,
        _ => return Ok(Ruling::NoSign),
    };
    let says = |n| format!("{} without a body reset: the server left bytes unread", count(n, "request"));
    let gap = case.sockets().gap().cloned().filter(|_| limit.is_none());
    let open = gap.map(|gap| Case::open(gap, "whether uWSGI listens there, and what it was started with"));
    let finding = reset.finding(case, &CAUSE, confidence, subject, says).with([served]).open(open);
    Ok(Ruling::found(described(case, reset.peer, finding)))
}

/// Whether an attempt was reset before anything came: a close with bytes unread is a reset (tcp(7), RFC 9293 section 3.6.1).
fn is_unread(symptom: &Symptom) -> bool {
    matches!(symptom.phrase, Some(Phrase::ReceiveFailed | Phrase::SendFailed))
        && matches!(symptom.errno, Some(Errno::ConnectionReset | Errno::BrokenPipe))
        && matches!(symptom.phase, Some(Phase::SendingRequest | Phase::ReadingHeader))
}

/// That the peer answers requests with other headers; a probe that is reset, too, speaks against it.
fn served(case: &Case<'_>, reset: &Unanswered<'_>) -> Option<Evidence> {
    if let Some(report) = reset.report() {
        let answer = report.answer.as_ref()?;
        let says = format!("asked for such a path with a small header, it answers {}", answer.status);
        return Some(Evidence::supporting(says, case.probe_origin(reset.peer)));
    }
    let (_, line) = case.last_success(reset.peer)?;
    Some(Evidence::supporting("the peer answers other requests", Origin::Log(line.clone())))
}

/// The finding with what is known of the listener's limit.
fn described(case: &Case<'_>, peer: &PeerSubject, finding: Finding) -> Finding {
    let limit = HeaderLimit::of(case, peer);
    finding.with(limit.map(|limit| limit.evidence()))
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let limit = finding.peer().and_then(|peer| HeaderLimit::of(case, peer));
    let bytes =
        limit.and_then(|limit| limit.bytes).map_or(String::new(), |bytes| format!(" above {bytes} bytes"));
    Explanation {
        title: format!("{} refuses requests whose header is too large{bytes}", finding.address()),
        why: "The header of these requests is larger than the server behind nginx takes, as it is for users with many or big \
              cookies. It refuses them unread, while requests with a small header are answered."
            .to_owned(),
        wont_help: vec![
            "raising large_client_header_buffers: nginx took the header, the server behind does not".to_owned(),
            "raising proxy_buffer_size: that is for the header of the response".to_owned(),
        ],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let limit = finding.peer().and_then(|peer| HeaderLimit::of(case, peer));
    let how = match limit.map(|limit| limit.server) {
        Some(server @ Server::Node) => format!("start {} with {}=32768", server.name(), server.option()),
        Some(server @ Server::Uwsgi) => {
            format!(
                "start {} with {} 32768, or set buffer-size in its configuration",
                server.name(),
                server.option()
            )
        }
        None => "raise the limit of the server on request headers".to_owned(),
    };
    vec![
        Remedy::new("Let the server take larger request headers", Risk::ShowOnly)
            .advice(format!("{how}; then look which cookie or token of these users is that large"))
            .verify("a user who was refused is answered"),
    ]
}

#[cfg(test)]
mod tests {
    use crate::fixture::Fixture;

    const RESET: &str = r#"
#- nginx.conf
events {}
http {
    server {
        listen 80;
        server_name shop.example.com;
        location / { uwsgi_pass 127.0.0.1:3000; }
    }
}
#- error.log
2026/11/21 02:28:30 [error] 101#101: *5 recv() failed (104: Connection reset by peer) while reading response header from upstream, client: 10.0.0.9, server: shop.example.com, request: "GET /a HTTP/1.1", upstream: "uwsgi://127.0.0.1:3000", host: "shop.example.com"
#- access.log
10.0.0.8 - - [21/Nov/2026:02:28:29 +0000] "GET /a HTTP/1.1" 200 12 "-" "curl/8"
10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] "GET /a HTTP/1.1" 502 157 "-" "curl/8"
#- listeners
127.0.0.1:3000 uwsgi --socket 127.0.0.1:3000
#- probe 127.0.0.1:3000
answers
HTTP/1.1 200 OK

"#;

    const STATUS: &str = r#"
#- nginx.conf
events {}
http {
    log_format up '$remote_addr [$time_local] "$request" $status $upstream_addr $upstream_status';
    access_log /var/log/nginx/access.log up;
    server {
        listen 80;
        server_name shop.example.com;
        location / { proxy_pass http://127.0.0.1:3000; }
    }
}
#- access.log
10.0.0.8 [21/Nov/2026:02:28:29 +0000] "GET /a HTTP/1.1" 200 127.0.0.1:3000 200
10.0.0.9 [21/Nov/2026:02:28:30 +0000] "GET /a HTTP/1.1" 431 127.0.0.1:3000 431
#- listeners
127.0.0.1:3000 node server.js
#- probe 127.0.0.1:3000
answers
HTTP/1.1 200 OK

"#;

    #[test]
    fn hit_a_reset_of_uwsgi() {
        insta::assert_snapshot!(Fixture::new(RESET).summary(), @"
        Broken
        Likely request-header-too-big-for-upstream -> upstream-reset-before-response: 127.0.0.1:3000 refuses requests whose header is too large above 4096 bytes [1 requests]
        ");
    }

    #[test]
    fn hit_the_server_says_so() {
        insta::assert_snapshot!(Fixture::new(STATUS).summary(), @"
        Broken
        Confirmed request-header-too-big-for-upstream: 127.0.0.1:3000 refuses requests whose header is too large above 16384 bytes [1 requests]
        ");
    }

    #[test]
    fn near_miss_a_small_header_is_refused_as_well() {
        let reset = Fixture::new(RESET).with("probe 127.0.0.1:3000", "reset").summary();
        assert!(!reset.contains("request-header-too-big"), "{reset}");
        let status = Fixture::new(STATUS).with("probe 127.0.0.1:3000", "answers\nHTTP/1.1 431 No\n\n");
        assert!(!status.summary().contains("request-header-too-big"), "{}", status.summary());
    }

    #[test]
    fn near_miss_a_body_may_be_what_was_not_read() {
        let summary = Fixture::new(&RESET.replace("GET /a", "POST /a")).summary();
        assert!(!summary.contains("request-header-too-big"), "{summary}");
    }

    #[test]
    fn near_miss_another_server_may_have_crashed() {
        let summary = Fixture::new(&RESET.replace("3000 uwsgi", "3000 python3")).summary();
        assert!(!summary.contains("request-header-too-big"), "{summary}");
    }

    #[test]
    fn near_miss_a_431_of_nginx_itself() {
        let own = STATUS.replace("431 127.0.0.1:3000 431", "431 - -");
        let summary = Fixture::new(&own).summary();
        assert!(!summary.contains("request-header-too-big"), "{summary}");
    }

    #[test]
    fn gap_nobody_could_ask() {
        let status = Fixture::new(STATUS).without("probe 127.0.0.1:3000").summary();
        assert!(status.contains("Likely request-header-too-big-for-upstream"), "{status}");
        let reset = Fixture::new(RESET).with("options", "offline").summary();
        assert!(!reset.contains("Likely request-header-too-big-for-upstream"), "{reset}");
    }
}
