//! # response-header-too-big
//!
//! ## What happens
//!
//! The whole response header, status line included, must fit one buffer: `proxy_buffer_size` (`fastcgi_`, `uwsgi_`,
//! `scgi_`, `grpc_buffer_size`), a page of 4 KiB by default. When it does not, nginx gives up on the answer. True for
//! every version of nginx; with a cache the key is kept in the same buffer.
//!
//! ## What you see
//!
//! `upstream sent too big header while reading response header from upstream`, a 502, and `$upstream_bytes_received`
//! equal to the buffer's size. It hits only answers with large headers: fresh logins (`Set-Cookie`), debug headers,
//! long `Content-Security-Policy` or `Link` lines.
//!
//! ## How we know
//!
//! Confirmed: nginx's own message names it. A probe of the same path shows the header's size and its largest line; where
//! the answer to the probe is small, only some users (their cookies) get the large one.
//!
//! ## What would disprove it
//!
//! Nothing: the message has this one meaning. Failures before the last reload may have been mended by it.
//!
//! ## What to do
//!
//! Raise `proxy_buffer_size` together with `proxy_buffers`: `proxy_busy_buffers_size` is derived from both and must stay
//! below the size of all buffers less one, or nginx refuses the configuration.
//!
//! ## Not to be confused with
//!
//! `request-header-too-big-for-upstream` (the other direction), `response-header-invalid`.
//!
//! ## References
//!
//! nginx: `ngx_http_upstream_process_header`, `ngx_http_proxy_merge_loc_conf` (the rule for the buffers).

use crate::case::{Case, PeerSubject, Subject, count, or_ask};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Origin, Ruling};
use crate::remedy::{Remedy, Risk};
use why502_facts::{HttpAnswer, Phrase};
use why502_model::Pass;

pub(super) static CAUSE: Cause = Cause {
    id: "response-header-too-big",
    layer: Layer::Protocol,
    acts_on: ActsOn::Config,
    effect: false,
    statuses: &[502],
    scope: Scope::Route,
    supersedes: &[],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("response_header_too_big.rs"),
};

/// The largest buffer that is advised: beyond it the application's headers should shrink.
const MAX_ADVISED: u64 = 64 << 10;

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let too_big: Vec<_> = case
        .failures_at(subject)
        .flat_map(|(id, failure)| failure.symptoms.iter().map(move |symptom| (id, failure, symptom)))
        .filter(|(_, _, symptom)| symptom.is(Phrase::TooBigHeader))
        .collect();
    if too_big.is_empty() {
        return Ok(Ruling::NoSign);
    }
    for peer in peers(case, subject) {
        or_ask(case.probe(peer))?;
    }
    let last = too_big.iter().map(|(_, failure, _)| failure.at).max();
    let failures: Vec<_> = too_big.iter().map(|(id, ..)| *id).collect();
    let logged =
        Case::lines_evidence(too_big, |n| format!("nginx gave up on {}", count(n, "response header")));
    let measured = measure(case, subject);
    let pass = pass(case, subject);
    let size = measured.as_ref().map(|(answer, _)| answer.head_bytes);
    let limit = pass.map(|pass| pass.buffers.header.value);
    // Stamps of the log are whole seconds: what failed in the second of the reload may have failed after it.
    let reloaded = case.gateway.loaded.zip(last).is_some_and(|(loaded, last)| loaded.0 > last.0 + 1000);
    let still_failing = match (size, limit) {
        (Some(size), Some(limit)) if size > limit => Some(true),
        // The message speaks of the configuration that was loaded then; what is measured fits the one loaded since.
        (Some(_), Some(_)) if reloaded => Some(false),
        // A small answer to one probe says nothing of users with other cookies.
        _ => None,
    };
    let evidence =
        measured.as_ref().map(|(answer, origin)| Evidence::supporting(describe(answer), origin.clone()));
    let at = pass.map(|pass| pass.buffers.header.at.clone().unwrap_or_else(|| pass.at.clone()));
    let finding = Finding::new(&CAUSE, Confidence::Confirmed, subject)
        .explaining(failures)
        .still_failing(still_failing)
        .with(logged)
        .with(evidence)
        .at(at);
    Ok(Ruling::found(finding))
}

fn pass<'c>(case: &'c Case<'_>, subject: &Subject) -> Option<&'c Pass> {
    subject.route().and_then(|route| case.pass_of(route, None))
}

fn peers<'c>(case: &'c Case<'_>, subject: &Subject) -> impl Iterator<Item = &'c PeerSubject> {
    subject.route().into_iter().flat_map(|route| case.peers_behind(route))
}

/// The answer to the probe of a peer of the route with the largest header.
fn measure(case: &Case<'_>, subject: &Subject) -> Option<(HttpAnswer, Origin)> {
    let answers = peers(case, subject).filter_map(|peer| {
        let answer = case.probe(peer).known()?.answer.as_deref()?;
        Some((answer.clone(), case.probe_origin(peer)))
    });
    answers.max_by_key(|(answer, _)| answer.head_bytes)
}

fn describe(answer: &HttpAnswer) -> String {
    let largest =
        answer.largest_header().map(|header| format!(", {} of them in {}", header.bytes, header.name));
    let more = if answer.complete { "" } else { " and more" };
    format!("the header of the answer takes {} bytes{more}{}", answer.head_bytes, largest.unwrap_or_default())
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let (pass, measured) = facts(case, finding);
    // Without the configuration nobody knows which directive is in force, and with which size.
    let buffer =
        pass.map(|pass| (format!("{}_buffer_size", pass.protocol.prefix()), pass.buffers.header.value));
    let title = match (&measured, &buffer) {
        (Some((answer, _)), Some((directive, limit))) if answer.head_bytes > *limit => {
            format!("the response header takes {} bytes, and {directive} holds {limit}", answer.head_bytes)
        }
        (_, Some((directive, limit))) => {
            format!("the response header does not fit {directive} ({limit} bytes)")
        }
        (_, None) => "the response header does not fit the buffer for it".to_owned(),
    };
    let of_size = buffer.as_ref().map(|(_, limit)| format!(" of {limit} bytes")).unwrap_or_default();
    let directive =
        buffer.map_or("proxy_buffer_size (or that of its protocol)".to_owned(), |(directive, _)| directive);
    Explanation {
        title,
        why: format!(
            "nginx must hold the whole response header in one buffer{of_size}, and the upstream sent more. It drops the \
             answer and sends 502."
        ),
        wont_help: vec![
            format!(
                "raising proxy_buffers or client_header_buffer_size alone: the header must fit {directive}"
            ),
            "raising timeouts: the answer came in time".to_owned(),
        ],
    }
}

fn facts<'c>(case: &'c Case<'_>, finding: &Finding) -> (Option<&'c Pass>, Option<(HttpAnswer, Origin)>) {
    let subject = finding.subjects.first();
    (subject.and_then(|subject| pass(case, subject)), subject.and_then(|subject| measure(case, subject)))
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let (Some(pass), measured) = facts(case, finding) else { return Vec::new() };
    let needed = measured.map_or(0, |(answer, _)| answer.head_bytes);
    let size = advised(pass.buffers.header.value, needed);
    let advice = format!(
        "the size of the largest header is what counts: look at it with the cookies of a user who fails; beyond {} it is the application that should send less",
        kib(MAX_ADVISED)
    );
    let mut remedy = Remedy::new(format!("Give the response header {}", kib(size)), Risk::Review)
        .advice(advice)
        .verify("the failing request answers");
    for (at, text) in plan_edits(case, pass, size) {
        remedy = remedy.edit(at, text);
    }
    vec![remedy]
}

/// The next power of two that holds what is needed with room to spare, and at least twice what is set.
fn advised(current: u64, needed: u64) -> u64 {
    (needed + needed / 4).max(current * 2).max(16 << 10).next_power_of_two().min(MAX_ADVISED)
}

fn kib(bytes: u64) -> String {
    format!("{}k", bytes >> 10)
}

/// Buffers of that size: the header's, and body buffers large enough for the derived `busy_buffers_size`.
fn plan_edits(case: &Case<'_>, pass: &Pass, size: u64) -> Vec<(why502_model::Span, String)> {
    let prefix = pass.protocol.prefix();
    let mut wanted = vec![(format!("{prefix}_buffer_size"), vec![kib(size)], pass.buffers.header.at.clone())];
    if let Some(body) = &pass.buffers.body {
        let (number, each) = body.value;
        // busy = 2 × the larger of both, and must be less than all buffers but one (`ngx_http_proxy_merge_loc_conf`).
        if 2 * size.max(each) > number.saturating_sub(1) * each {
            wanted.push((
                format!("{prefix}_buffers"),
                vec![number.max(4).to_string(), kib(size.max(each))],
                body.at.clone(),
            ));
        }
    }
    if let Some(busy) = &pass.buffers.busy
        && busy.value < size
    {
        wanted.push((format!("{prefix}_busy_buffers_size"), vec![kib(2 * size)], busy.at.clone()));
    }
    case.gateway.set_directives(&pass.at, &wanted)
}

#[cfg(test)]
mod tests {
    use super::advised;
    use crate::fixture::Fixture;

    const HIT: &str = r#"
#- nginx.conf
events {}
http {
    upstream backend { server 127.0.0.1:3000; }
    server {
        listen 80;
        server_name shop.example.com;
        location / {
            proxy_pass http://backend;
        }
    }
}
#- error.log
2026/11/21 02:28:33 [error] 101#101: *11 upstream sent too big header while reading response header from upstream, client: 10.0.0.9, server: shop.example.com, request: "GET /login HTTP/1.1", upstream: "http://127.0.0.1:3000/login", host: "shop.example.com"
#- access.log
10.0.0.9 - - [21/Nov/2026:02:28:33 +0000] "GET /login HTTP/1.1" 502 157 "-" "curl/8"
#- listeners
127.0.0.1:3000 node
"#;

    fn answer(n_bytes: usize) -> String {
        format!("answers\nHTTP/1.1 200 OK\nServer: x\nSet-Cookie: session={}\n\n", "a".repeat(n_bytes))
    }

    fn hit() -> Fixture {
        Fixture::new(HIT).with("probe 127.0.0.1:3000", &answer(5000))
    }

    #[test]
    fn hit_with_the_header_measured() {
        insta::assert_snapshot!(hit().summary(), @"
        Broken
        Confirmed response-header-too-big: the response header takes 5050 bytes, and proxy_buffer_size holds 4096 [1 requests, still failing]
        ");
    }

    #[test]
    fn hit_by_the_message_alone() {
        insta::assert_snapshot!(Fixture::new(HIT).with("options", "offline").summary(), @"
        Broken
        Confirmed response-header-too-big: the response header does not fit proxy_buffer_size (4096 bytes) [1 requests]
        ");
    }

    #[test]
    fn near_miss_an_invalid_header_is_another_matter() {
        let log = "2026/11/21 02:28:33 [error] 101#101: *11 upstream sent invalid header: \"Foo\\x20...\" while reading response header from upstream, client: 10.0.0.9, server: shop.example.com, request: \"GET /login HTTP/1.1\", upstream: \"http://127.0.0.1:3000/login\", host: \"shop.example.com\"";
        let summary = hit().with("error.log", log).with("probe 127.0.0.1:3000", &answer(10)).summary();
        assert!(!summary.contains("response-header-too-big"), "{summary}");
    }

    #[test]
    fn near_miss_a_large_header_that_fits() {
        let config = HIT.replace(
            "proxy_pass http://backend;",
            "proxy_pass http://backend; proxy_buffer_size 16k; proxy_buffers 8 16k;",
        );
        let fits = Fixture::new(&config)
            .with("probe 127.0.0.1:3000", &answer(5000))
            .with("error.log", "")
            .with("access.log", "");
        insta::assert_snapshot!(fits.summary(), @"Healthy");
    }

    #[test]
    fn gap_the_size_cannot_be_measured() {
        insta::assert_snapshot!(Fixture::new(HIT).summary(), @"
        Broken
        Confirmed response-header-too-big: the response header does not fit proxy_buffer_size (4096 bytes) [1 requests]
        ");
    }

    #[test]
    fn the_remedy_keeps_the_rule_of_the_busy_buffers() {
        insta::assert_snapshot!(crate::fixture::first_diff(&hit().report()), @"
        --- a/etc/nginx/nginx.conf
        +++ b/etc/nginx/nginx.conf
        @@ -7,4 +7,6 @@
                 location / {
                     proxy_pass http://backend;
        +            proxy_buffer_size 16k;
        +            proxy_buffers 8 16k;
                 }
             }
        ");
    }

    #[test]
    fn sizes_are_powers_of_two_with_room_to_spare() {
        assert_eq!(advised(4096, 0), 16 << 10);
        assert_eq!(advised(4096, 15_000), 32 << 10);
        assert_eq!(advised(16 << 10, 17_000), 32 << 10);
        assert_eq!(advised(64 << 10, 0), 64 << 10);
    }
}
