//! # proxy-pass-variable-invalid
//!
//! ## What happens
//!
//! A `*_pass` that is built from variables becomes something unusable when a request comes: empty, without a scheme, with a
//! port that is none, or without the port that was meant (`$host` never holds one). True for every version of nginx.
//!
//! ## What you see
//!
//! `invalid URL prefix in "…"`, `invalid port in upstream "…"`, `no host in upstream "…"`, `no port in upstream "…"` and a
//! 500; or a connection to port 80 of a host that was asked for on another port.
//!
//! ## How we know
//!
//! Confirmed: nginx's own message quotes the value; or the request names a port, the target is built from `$host`, and the
//! dialled address has the default port instead.
//!
//! ## What would disprove it
//!
//! A target without variables.
//!
//! ## What to do
//!
//! Give the variable a value in every case (`map` with `default`), or use `$http_host`, which keeps the port.
//!
//! ## Not to be confused with
//!
//! `resolver-missing`, `dns-name-not-found` (the value is a name), `upstream-wrong-port` (no variable is involved).
//!
//! ## References
//!
//! nginx: `ngx_http_proxy_eval`, `ngx_http_upstream_init_request`; `ngx_http_variable_host`.

use crate::case::{Case, Failure, FailureId, Subject, Symptom, count};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Origin, Ruling};
use crate::remedy::{Remedy, Risk};
use why502_facts::Phrase;
use why502_model::{Pass, RouteId, Target};

pub(super) static CAUSE: Cause = Cause {
    id: "proxy-pass-variable-invalid",
    layer: Layer::Select,
    acts_on: ActsOn::Config,
    effect: false,
    statuses: &[500, 502],
    scope: Scope::Route,
    supersedes: &[
        "upstream-connect-timeout",
        "upstream-not-listening",
        "upstream-wrong-interface",
        "upstream-wrong-port",
    ],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("proxy_pass_variable_invalid.rs"),
};

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let refused: Vec<(FailureId, &Failure)> =
        case.failures_at(subject).filter(|(_, failure)| value_of(failure).is_some()).collect();
    let lost: Vec<(FailureId, &Failure)> = match subject.route() {
        Some(route) => {
            case.failures_of(route).filter(|(_, failure)| lost_port(case, route, failure).is_some()).collect()
        }
        None => Vec::new(),
    };
    let found: Vec<(FailureId, &Failure)> = refused.iter().chain(&lost).copied().collect();
    let Some(origin) = Case::line_of(&found) else { return Ok(Ruling::NoSign) };
    let says = match (refused.first().and_then(|(_, failure)| value_of(failure)), subject.route()) {
        (Some(value), _) => {
            format!("{} had the unusable target {value}", count(Case::weigh(&found), "request"))
        }
        (None, Some(route)) => {
            let (wanted, dialled) =
                lost.first().and_then(|(_, failure)| lost_port(case, route, failure)).unwrap_or_default();
            format!("the request names port {wanted}, and port {dialled} was dialled")
        }
        (None, None) => return Ok(Ruling::NoSign),
    };
    let pass = subject.route().and_then(|route| case.pass_of(route, None));
    let written = pass.map(|pass| {
        Evidence::supporting(
            format!("the target is built from variables: {}", pass.text),
            Origin::File(pass.at.clone()),
        )
    });
    let finding = Finding::new(&CAUSE, Confidence::Confirmed, subject)
        .explaining(found.iter().map(|(id, _)| *id))
        .still_failing(case.gateway.master.is_some().then_some(true))
        .with([Evidence::supporting(says, origin)])
        .with(written)
        .at(pass.map(|pass| pass.at.clone()));
    Ok(Ruling::found(finding))
}

/// The value that nginx could not use.
fn value_of(failure: &Failure) -> Option<String> {
    let is_value = |symptom: &&Symptom| {
        matches!(
            symptom.phrase,
            Some(Phrase::InvalidUrlPrefix | Phrase::InvalidUpstreamValue | Phrase::NoPortInUpstream)
        )
    };
    let symptom = failure.symptoms.iter().find(is_value)?;
    Some(symptom.detail.as_deref().map_or("\"\"".to_owned(), |detail| format!("{detail:?}")))
}

/// The port that a request names, and the other one that was dialled for it, if `$host` lost it on the way.
fn lost_port(case: &Case<'_>, route: RouteId, failure: &Failure) -> Option<(u16, u16)> {
    let pass = case.pass_of(route, None).filter(|pass| ends_in_host(pass))?;
    let default = if pass.tls { 443 } else { 80 };
    let failed = failure.attempts().find(|attempt| attempt.phrase.is_some())?;
    let dialled = failed.peer.as_ref()?.port().filter(|port| *port == default)?;
    // The target of the request line wins over the Host header (`ngx_http_process_request_line`).
    let target = failure.path.as_deref().and_then(|path| path.split_once("://")).map(|(_, rest)| rest);
    let authority = target.map(|rest| rest.split('/').next().unwrap_or(rest)).or(failure.host.as_deref())?;
    let wanted = port_of(authority).filter(|port| *port != dialled)?;
    // The port that the gateway itself listens on is part of every Host header that names it: it was not meant.
    let server = case.gateway.server_of(case.gateway.route(route));
    let is_own = server.listens.iter().filter_map(|listen| listen.address).any(|own| own.port() == wanted);
    (!is_own).then_some((wanted, dialled))
}

/// Whether the host part of a target ends with `$host`: nothing after it names a port.
fn ends_in_host(pass: &Pass) -> bool {
    if !matches!(pass.target, Target::Unresolved(_)) {
        return false;
    }
    let rest = pass.text.split_once("://").map_or(pass.text.as_str(), |(_, rest)| rest);
    let host = rest.split('/').next().unwrap_or(rest);
    host == "$host" || host == "${host}"
}

fn port_of(authority: &str) -> Option<u16> {
    let (host, port) = authority.rsplit_once(':')?;
    (!host.ends_with(':')).then(|| port.parse().ok()).flatten()
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let route = finding.subjects.iter().find_map(Subject::route);
    let pass = route.and_then(|route| case.pass_of(route, None));
    let text = pass.map_or("the target".to_owned(), |pass| pass.text.clone());
    let failures: Vec<&Failure> = finding.explains.iter().map(|id| case.failure(*id)).collect();
    let lost = route.and_then(|route| failures.iter().find_map(|failure| lost_port(case, route, failure)));
    let value = failures.iter().find_map(|failure| value_of(failure));
    let title = match (lost, value) {
        (_, Some(value)) => format!("{text} becomes {value}, which is no target"),
        (Some((wanted, dialled)), None) => {
            format!("{text} loses the port: {wanted} was asked for, {dialled} is dialled")
        }
        (None, None) => format!("{text} becomes something unusable"),
    };
    Explanation {
        title,
        why: "The target is put together from variables when a request comes, and what comes out is not what was meant. nginx \
              has nothing to dial, or dials the wrong port."
            .to_owned(),
        wont_help: vec!["restarting the backend: it is never dialled on its own address".to_owned()],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let pass = finding.subjects.iter().find_map(Subject::route).and_then(|route| case.pass_of(route, None));
    let Some(pass) = pass else { return Vec::new() };
    if ends_in_host(pass) {
        let text = pass.text.replacen("${host}", "$http_host", 1).replacen("$host", "$http_host", 1);
        return vec![
            Remedy::new("Keep the port: $http_host holds it", Risk::Review)
                .edit(pass.at.clone(), text)
                .advice("a target that clients name lets them reach whatever nginx can reach: allow only the hosts that are meant")
                .verify("the failing request answers"),
        ];
    }
    let names = match &pass.target {
        Target::Unresolved(unresolved) => {
            unresolved.variables.iter().map(|name| format!("${name}")).collect::<Vec<_>>().join(", ")
        }
        Target::Group(_) => String::new(),
    };
    vec![
        Remedy::new("Give the variable a usable value in every case", Risk::ShowOnly)
            .advice(format!("{names}: a `map` needs a `default`, a `set` must run before the pass, a captured group may be empty"))
            .verify("the failing request answers"),
    ]
}

#[cfg(test)]
mod tests {
    use crate::fixture::Fixture;

    const LOST: &str = r#"
#- nginx.conf
events {}
http {
    server {
        listen 3128;
        resolver 10.0.0.2;
        location / { proxy_pass http://$host; }
    }
}
#- error.log
2026/11/21 02:28:30 [error] 101#101: *1 connect() failed (111: Connection refused) while connecting to upstream, client: 10.0.0.9, server: , request: "GET http://10.0.0.5:8000/ HTTP/1.1", upstream: "http://10.0.0.5:80/", host: "10.0.0.5:8000"
#- access.log
10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] "GET http://10.0.0.5:8000/ HTTP/1.1" 502 157 "-" "curl/8"
#- listeners
0.0.0.0:3128 nginx
#- probe 10.0.0.5:80
refused
"#;

    const EMPTY: &str = r#"
#- nginx.conf
events {}
http {
    map $http_x_tenant $backend { a http://127.0.0.1:3000; }
    server {
        listen 80;
        server_name shop.example.com;
        location / { proxy_pass $backend; }
    }
}
#- error.log
2026/11/21 02:28:30 [error] 101#101: *1 invalid URL prefix in "", client: 10.0.0.9, server: shop.example.com, request: "GET /a HTTP/1.1", host: "shop.example.com"
#- access.log
10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] "GET /a HTTP/1.1" 500 177 "-" "curl/8"
#- listeners
127.0.0.1:3000 node
"#;

    #[test]
    fn hit_the_port_is_lost() {
        insta::assert_snapshot!(Fixture::new(LOST).summary(), @"
        Broken
        Confirmed proxy-pass-variable-invalid -> upstream-not-listening: http://$host loses the port: 8000 was asked for, 80 is dialled [1 requests, still failing]
        ");
    }

    #[test]
    fn hit_an_empty_variable() {
        insta::assert_snapshot!(Fixture::new(EMPTY).summary(), @r#"
        Broken
        Confirmed proxy-pass-variable-invalid: $backend becomes "", which is no target [1 requests, still failing]
        "#);
    }

    #[test]
    fn near_miss_the_port_of_the_gateway_itself() {
        let own = LOST
            .replace("GET http://10.0.0.5:8000/ HTTP", "GET / HTTP")
            .replace("host: \"10.0.0.5:8000\"", "host: \"10.0.0.5:3128\"");
        let summary = Fixture::new(&own).summary();
        assert!(!summary.contains("proxy-pass-variable-invalid"), "{summary}");
    }

    #[test]
    fn near_miss_no_variable_is_involved() {
        let literal = LOST.replace("http://$host", "http://10.0.0.5");
        let summary = Fixture::new(&literal).summary();
        assert!(!summary.contains("proxy-pass-variable-invalid"), "{summary}");
    }

    #[test]
    fn gap_without_the_configuration_the_message_is_enough() {
        insta::assert_snapshot!(Fixture::new(EMPTY).without("nginx.conf").summary(), @r#"
        Broken
        Confirmed proxy-pass-variable-invalid: the target becomes "", which is no target [1 requests, still failing]
        "#);
    }

    #[test]
    fn the_remedy_keeps_the_port() {
        insta::assert_snapshot!(crate::fixture::first_diff(&Fixture::new(LOST).report()), @"
        --- a/etc/nginx/nginx.conf
        +++ b/etc/nginx/nginx.conf
        @@ -4,5 +4,5 @@
                 listen 3128;
                 resolver 10.0.0.2;
        -        location / { proxy_pass http://$host; }
        +        location / { proxy_pass http://$http_host; }
             }
         }
        ");
    }
}
