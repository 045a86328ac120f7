//! # websocket-upgrade-missing
//!
//! ## What happens
//!
//! A client asks to change to WebSocket by `Upgrade: websocket` and `Connection: Upgrade`. These two headers are for one
//! hop only: nginx drops them unless `proxy_set_header` passes them on, and speaks HTTP/1.0, which knows no upgrade, unless
//! `proxy_http_version 1.1` is set (the default is 1.1 since nginx 1.29.7). The server gets a plain request for an address
//! that only serves WebSocket.
//!
//! ## What you see
//!
//! 426 or 400 for every request of the route, and no session of status 101; in the browser `WebSocket connection failed`.
//!
//! ## How we know
//!
//! Confirmed: asked as nginx asks it, the server answers 426 and says that it wants `Upgrade: websocket`, and the route
//! does not pass that on. Likely: the route passes the headers on over HTTP/1.0, or one of the two only, and most of its
//! requests get 400 or 426; or it gets 426 from a server that takes other requests of the same version.
//!
//! ## What would disprove it
//!
//! A session of status 101 on this route; an answer 426 that wants another protocol than WebSocket.
//!
//! ## What to do
//!
//! Set `proxy_http_version 1.1`, and pass `Upgrade` and `Connection` on, for this route.
//!
//! ## Not to be confused with
//!
//! `upgraded-connection-idle-timeout` (the session begins and is cut), `http-version-mismatch`, `upgrade-header-hardcoded`
//! (the headers stand on a route that is no WebSocket), `host-header-rejected`.
//!
//! ## References
//!
//! nginx: `ngx_http_upstream_process_upgraded`, `ngx_http_proxy_create_request`; RFC 9110, sections 7.8 and 15.5.22;
//! RFC 6455, section 4.

use crate::case::{Case, Failure, FailureId, Subject, count, or_ask};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Origin, Ruling};
use crate::remedy::{Remedy, Risk};
use why502_facts::HttpAnswer;
use why502_model::{Pass, Protocol, RouteId, Span};

pub(super) static CAUSE: Cause = Cause {
    id: "websocket-upgrade-missing",
    layer: Layer::Protocol,
    acts_on: ActsOn::Config,
    effect: false,
    statuses: &[400, 426, 502],
    scope: Scope::Route,
    supersedes: &["host-header-rejected"],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("websocket_upgrade_missing.rs"),
};

/// What an upgrade needs and a route lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lacks {
    /// HTTP/1.1.
    version: bool,
    /// `Upgrade`.
    upgrade: bool,
    /// `Connection` with `upgrade` in it.
    connection: bool,
}

impl Lacks {
    fn of(pass: &Pass) -> Self {
        let connection = header(pass, "Connection").unwrap_or_default();
        Self {
            version: pass.http_version.value == "1.0",
            upgrade: header(pass, "Upgrade").is_none_or(str::is_empty),
            connection: !connection.contains('$') && !connection.to_ascii_lowercase().contains("upgrade"),
        }
    }

    fn anything(self) -> bool {
        self.version || self.upgrade || self.connection
    }

    /// `HTTP/1.1, Upgrade and Connection`.
    fn words(self) -> String {
        let lacking =
            [(self.version, "HTTP/1.1"), (self.upgrade, "Upgrade"), (self.connection, "Connection")];
        let names: Vec<&str> =
            lacking.into_iter().filter(|(lacks, _)| *lacks).map(|(_, name)| name).collect();
        match names.split_last() {
            Some((last, [])) => (*last).to_owned(),
            Some((last, before)) => format!("{} and {last}", before.join(", ")),
            None => String::new(),
        }
    }
}

fn header<'p>(pass: &'p Pass, name: &str) -> Option<&'p str> {
    pass.header(name).map(|own| own.value.1.as_str())
}

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some((route, pass)) = pass_of(case, subject) else { return Ok(Ruling::NoSign) };
    let lacks = Lacks::of(pass);
    let refused: Vec<_> = case.failures_of(route).filter(|(_, failure)| is_refused(failure)).collect();
    let Some(line) = Case::line_of(&refused).filter(|_| lacks.anything() && !has_session(case, route)) else {
        return Ok(Ruling::NoSign);
    };
    let is_426 = refused.iter().any(|(_, failure)| failure.status == Some(426));
    let wanted = if is_426 { wanted(case, route)? } else { Wanted::Unknown };
    let is_meant = !lacks.upgrade || header(pass, "Connection").is_some_and(|value| value.contains("pgrade"));
    let confidence = match wanted {
        Wanted::WebSocket(_) => Confidence::Confirmed,
        Wanted::Unknown if is_meant && are_most(case, route, &refused) => Confidence::Likely,
        Wanted::Unknown if is_426 && takes_its_version(case, route, lacks) => Confidence::Likely,
        Wanted::Other | Wanted::Unknown => return Ok(Ruling::NoSign),
    };
    let says = format!("{} refused, and no session of status 101", count(Case::weigh(&refused), "request"));
    let set = Evidence::supporting(
        format!("what is passed on here lacks {}", lacks.words()),
        Origin::File(pass.at.clone()),
    );
    let asked = match wanted {
        Wanted::WebSocket(origin) => {
            let says = "asked as nginx asks it, the server answers 426 and wants Upgrade: websocket";
            Some(Evidence::supporting(says, origin))
        }
        Wanted::Other | Wanted::Unknown => None,
    };
    let finding = Finding::new(&CAUSE, confidence, subject)
        .explaining(refused.iter().map(|(id, _)| *id))
        .still_failing(asked.is_some().then_some(true))
        .with([Evidence::supporting(says, line), set])
        .with(asked)
        .at([pass.at.clone()]);
    Ok(Ruling::found(finding))
}

fn pass_of<'c>(case: &'c Case<'_>, subject: &Subject) -> Option<(RouteId, &'c Pass)> {
    let route = subject.route()?;
    let pass = case.pass_of(route, None).filter(|pass| pass.protocol == Protocol::Http)?;
    Some((route, pass))
}

/// Whether an upstream refused a request as one that lacks an upgrade, as far as the logs tell.
fn is_refused(failure: &Failure) -> bool {
    let of_upstream =
        failure.attempts().next_back().map_or(!failure.tries_logged, |last| last.phrase.is_none());
    matches!(failure.status, Some(400 | 426)) && failure.status_logged && of_upstream
}

/// Whether an upgrade worked on a route.
fn has_session(case: &Case<'_>, route: RouteId) -> bool {
    let counted = case.totals.as_ref().is_some_and(|totals| totals.contains_key(&(Some(route), 101)));
    counted || case.failures_of(route).any(|(_, failure)| failure.status == Some(101))
}

/// Whether most requests of a route were refused so.
fn are_most(case: &Case<'_>, route: RouteId, refused: &[(FailureId, &Failure)]) -> bool {
    case.n_total(route).is_none_or(|total| Case::weigh(refused) * 2 >= total)
}

/// Whether the servers behind a route take requests of the version that nginx speaks: then a 426 does not ask for a newer
/// one, as that of some service meshes does.
fn takes_its_version(case: &Case<'_>, route: RouteId, lacks: Lacks) -> bool {
    !lacks.version || case.peers_behind(route).any(|peer| case.last_success(peer).is_some())
}

/// What a server that answers 426 wants.
enum Wanted {
    WebSocket(Origin),
    /// Another protocol, or a newer version of HTTP.
    Other,
    Unknown,
}

/// What the servers behind a route want of the request that nginx sends them.
fn wanted(case: &Case<'_>, route: RouteId) -> Result<Wanted, Asks> {
    let mut wanted = Wanted::Unknown;
    for peer in case.peers_behind(route) {
        let report = or_ask(case.probe(peer))?;
        let Some(answer) = report.known().and_then(|report| report.answer.as_ref()) else {
            continue;
        };
        if answer.status == 426 {
            if wants_web_socket(answer) {
                return Ok(Wanted::WebSocket(case.probe_origin(peer)));
            }
            wanted = Wanted::Other;
        }
    }
    Ok(wanted)
}

/// A 426 has to say what it wants (RFC 9110, section 15.5.22).
fn wants_web_socket(answer: &HttpAnswer) -> bool {
    let wanted = answer.header("upgrade").unwrap_or_default();
    wanted.split(',').any(|protocol| protocol.trim().eq_ignore_ascii_case("websocket"))
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let pass = finding.subjects.first().and_then(|subject| pass_of(case, subject));
    let lacks = pass.map_or_else(|| "an upgrade".to_owned(), |(_, pass)| Lacks::of(pass).words());
    Explanation {
        title: format!("a WebSocket route does not pass on {lacks}"),
        why: "The headers that ask for an upgrade end at nginx unless they are passed on, over HTTP/1.1. The server gets a plain \
              request for an address that serves WebSocket only, and refuses it."
            .to_owned(),
        wont_help: vec![
            "raising timeouts: the server refused at once".to_owned(),
            "opening the port of the backend: it is reached, and answers".to_owned(),
        ],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let Some((route, pass)) = finding.subjects.first().and_then(|subject| pass_of(case, subject)) else {
        return Vec::new();
    };
    let lacks = Lacks::of(pass);
    let own = &case.gateway.route(route).at;
    let is_own = |at: &Option<Span>| at.clone().filter(|at| case.gateway.is_directly_in(at, own));
    // One header of its own, and a route inherits none from outside (`ngx_conf_merge_ptr_value`).
    let inherits = pass.headers.iter().any(|header| is_own(&header.at).is_none());
    let mut wanted = Vec::new();
    if lacks.version {
        let at = is_own(&pass.http_version.at);
        wanted.push(("proxy_http_version".to_owned(), vec!["1.1".to_owned()], at));
    }
    let headers = [(lacks.upgrade, "Upgrade", "$http_upgrade"), (lacks.connection, "Connection", "upgrade")];
    for (_, name, value) in headers.into_iter().filter(|(lacks, ..)| *lacks && !inherits) {
        let at = pass.header(name).and_then(|header| header.at.clone());
        wanted.push(("proxy_set_header".to_owned(), vec![name.to_owned(), value.to_owned()], at));
    }
    let mut remedy = Remedy::new("Pass the upgrade on", Risk::Review).verify("a session of status 101");
    if inherits && (lacks.upgrade || lacks.connection) {
        remedy = remedy.advice(
            "add `proxy_set_header Upgrade $http_upgrade;` and `proxy_set_header Connection \"upgrade\";` here together with \
             every proxy_set_header that this route inherits: one of its own, and it inherits none",
        );
    }
    for (at, text) in case.gateway.set_directives(&pass.at, &wanted) {
        remedy = remedy.edit(at, text);
    }
    vec![remedy]
}

#[cfg(test)]
mod tests {
    use crate::fixture::{Fixture, first_diff};

    const HIT: &str = r#"
#- nginx.conf
events {}
http {
    server {
        listen 80;
        server_name chat.example.com;
        location /ws/ { proxy_pass http://127.0.0.1:3000; }
    }
}
#- error.log
#- access.log
10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] "GET /ws/room HTTP/1.1" 426 16 "-" "curl/8"
#- listeners
127.0.0.1:3000 node
#- probe 127.0.0.1:3000
answers
HTTP/1.1 426 Upgrade Required
Upgrade: WebSocket

"#;

    #[test]
    fn hit_the_server_wants_it() {
        insta::assert_snapshot!(Fixture::new(HIT).summary(), @"
        Broken
        Confirmed websocket-upgrade-missing: a WebSocket route does not pass on HTTP/1.1, Upgrade and Connection [1 requests, still failing]
        ");
    }

    #[test]
    fn hit_the_headers_go_over_http_1_0() {
        let half = HIT
            .replace(
                "proxy_pass",
                "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; proxy_pass",
            )
            .replace("\" 426 16", "\" 400 16");
        insta::assert_snapshot!(Fixture::new(&half).with("probe 127.0.0.1:3000", "answers\nHTTP/1.1 400 Bad Request\n\n").summary(), @"
        Broken
        Likely websocket-upgrade-missing: a WebSocket route does not pass on HTTP/1.1 [1 requests]
        ");
    }

    #[test]
    fn near_miss_all_is_passed_on() {
        let whole = HIT.replace(
            "proxy_pass",
            "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection; proxy_pass",
        );
        let summary = Fixture::new(&whole).summary();
        assert!(!summary.contains("websocket-upgrade-missing"), "{summary}");
    }

    #[test]
    fn near_miss_the_server_wants_a_newer_http() {
        let newer =
            Fixture::new(HIT).with("probe 127.0.0.1:3000", "answers\nHTTP/1.1 426 Upgrade Required\n\n");
        assert!(!newer.summary().contains("websocket-upgrade-missing"), "{}", newer.summary());
    }

    #[test]
    fn near_miss_a_session_was_opened() {
        let session =
            "10.0.0.9 - - [21/Nov/2026:02:28:20 +0000] \"GET /ws/room HTTP/1.1\" 101 16 \"-\" \"curl/8\"\n";
        let log = Fixture::new(HIT);
        let summary = log.with("access.log", &(log.section("access.log").to_owned() + session)).summary();
        assert!(!summary.contains("websocket-upgrade-missing"), "{summary}");
    }

    #[test]
    fn near_miss_a_bad_request_of_an_ordinary_route() {
        let ordinary = HIT.replace("\" 426 16", "\" 400 16");
        let summary = Fixture::new(&ordinary).summary();
        assert!(!summary.contains("websocket-upgrade-missing"), "{summary}");
    }

    #[test]
    fn gap_nobody_could_ask_the_server() {
        let offline = Fixture::new(HIT).with("options", "offline");
        insta::assert_snapshot!(offline.summary(), @"Healthy");
        let other = "10.0.0.9 - - [21/Nov/2026:02:28:20 +0000] \"GET / HTTP/1.1\" 200 16 \"-\" \"curl/8\"\n";
        let text = HIT.replace(
            "location /ws/",
            "location / { proxy_pass http://127.0.0.1:3000; }\n        location /ws/",
        );
        let served = Fixture::new(&text).with("options", "offline");
        insta::assert_snapshot!(served.with("access.log", &(served.section("access.log").to_owned() + other)).summary(), @"
        Broken
        Likely websocket-upgrade-missing: a WebSocket route does not pass on HTTP/1.1, Upgrade and Connection [1 requests]
        ");
    }

    #[test]
    fn the_remedy_passes_the_upgrade_on() {
        insta::assert_snapshot!(first_diff(&Fixture::new(HIT).report()), @"
        --- a/etc/nginx/nginx.conf
        +++ b/etc/nginx/nginx.conf
        @@ -4,5 +4,5 @@
                 listen 80;
                 server_name chat.example.com;
        -        location /ws/ { proxy_pass http://127.0.0.1:3000; }
        +        location /ws/ { proxy_pass http://127.0.0.1:3000; proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; }
             }
         }
        ");
        let inherited = HIT.replace("listen 80;", "listen 80;\n        proxy_set_header Host $host;");
        let remedy = &Fixture::new(&inherited).report().findings[0].remedies[0];
        assert!(
            remedy.advice.as_deref().is_some_and(|advice| advice.contains("inherits none")),
            "{remedy:?}"
        );
    }
}
