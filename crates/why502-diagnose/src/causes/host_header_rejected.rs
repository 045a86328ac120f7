//! # host-header-rejected
//!
//! ## What happens
//!
//! Without `proxy_set_header Host`, nginx sends the name in `proxy_pass` as the Host: the group's name, or an address. The
//! server behind serves the site under its own name only and refuses all else: a list of allowed hosts (Django's
//! `ALLOWED_HOSTS`, 400), a default server that belongs to nobody (404, 403, 421), a check of the name itself, which may have
//! no underscore (Django, Tomcat). True for every version of nginx.
//!
//! ## What you see
//!
//! Every request of the route is answered with the same 400, 403, 404 or 421, which `$upstream_status` has, too. The error
//! log says nothing.
//!
//! ## How we know
//!
//! Likely: all requests of a route got that status, nginx sends a Host that no client asked for, and the status says so (421);
//! or the probe with that Host gets the same, and it is a 400 to the front page or to several pages, or a 403 or 404 to the
//! front page of a site, while another route gets answers from the same server with another Host. Less than that is what any
//! application answers at times, and is not reported.
//!
//! ## What would disprove it
//!
//! A request of the route that is answered well, or the client's own Host being passed on.
//!
//! ## What to do
//!
//! `proxy_set_header Host $host;`, or let the server behind accept the name that nginx sends.
//!
//! ## Not to be confused with
//!
//! `tls-sni-missing` (the name in the handshake), `plaintext-to-tls-upstream` (400 to everything as well), an application's own
//! 404.
//!
//! ## References
//!
//! nginx: `ngx_http_proxy_headers` (`Host $proxy_host`), `ngx_http_proxy_set_vars`; RFC 9110, sections 7.2 and 15.5.20.

use super::own_answers::may_be_shown;
use crate::case::{Case, Failure, FailureId, PeerSubject, Subject, count, or_ask};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Origin, Ruling};
use crate::plan::host_header;
use crate::remedy::{Remedy, Risk};
use std::collections::BTreeSet;
use why502_model::{Pass, Protocol, RouteId, Span};

pub(super) static CAUSE: Cause = Cause {
    id: "host-header-rejected",
    layer: Layer::Protocol,
    acts_on: ActsOn::Config,
    effect: false,
    statuses: &[400, 403, 404, 421, 502],
    scope: Scope::Route,
    supersedes: &[],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("host_header_rejected.rs"),
};

/// What servers refuse an unknown Host with.
const REFUSALS: [u16; 4] = [BAD_REQUEST, 403, 404, MISDIRECTED];
const BAD_REQUEST: u16 = 400;
const MISDIRECTED: u16 = 421;
/// One request may have any fault of its own.
const MIN_REFUSED: u64 = 2;
/// So many pages, all of which an application refuses, have no fault of their own.
const MIN_PAGES: usize = 3;

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some((route, pass)) = pass_of(case, subject) else { return Ok(Ruling::NoSign) };
    let Some(sent) = foreign_host(case, route, pass) else { return Ok(Ruling::NoSign) };
    let Some((status, refused)) = refused(case, route) else { return Ok(Ruling::NoSign) };
    let Some(origin) = Case::line_of(&refused) else { return Ok(Ruling::NoSign) };
    let peers: Vec<&PeerSubject> = case.peers_behind(route).collect();
    for peer in &peers {
        or_ask(case.probe(peer))?;
    }
    let answers = |peer: &&PeerSubject| Some(case.probe(peer).known()?.answer.as_ref()?.status);
    if peers.iter().any(|peer| answers(peer).is_some_and(|answered| answered != status)) {
        return Ok(Ruling::NoSign);
    }
    let seen = peers.iter().find(|peer| answers(peer).is_some());
    let contrast = served_otherwise(case, route, &sent);
    let is_likely = match status {
        MISDIRECTED => true,
        BAD_REQUEST => seen.is_some() && is_any_page(&refused) && !pass.tls,
        // Any application answers so to some pages, and few to the front page of a site with a name.
        _ => seen.is_some() && contrast.is_some() && is_front_page_of_a_site(case, route, &refused),
    };
    if !is_likely {
        return Ok(Ruling::NoSign);
    }
    let says = format!("all {} of the route answered {status}", count(Case::weigh(&refused), "request"));
    let set = Evidence::supporting(
        format!("what is passed on here has the Host {sent:?}"),
        Origin::File(place(pass)),
    );
    let probed = seen.map(|peer| {
        Evidence::supporting(
            format!("asked with that Host, the server answers {status}"),
            case.probe_origin(peer),
        )
    });
    let open = peers.iter().find_map(|peer| case.probe(peer).gap().cloned()).filter(|_| seen.is_none());
    let finding = Finding::new(&CAUSE, Confidence::Likely, subject)
        .explaining(refused.iter().map(|(id, _)| *id))
        .still_failing(seen.is_some().then_some(true))
        .with([Evidence::supporting(says, origin), set])
        .with(probed)
        .with(contrast)
        .open(open.map(|gap| Case::open(gap, "whether the server refuses that Host now")))
        .at([place(pass)]);
    Ok(Ruling::found(finding))
}

fn pass_of<'c>(case: &'c Case<'_>, subject: &Subject) -> Option<(RouteId, &'c Pass)> {
    let route = subject.route()?;
    let pass = case.pass_of(route, None).filter(|pass| pass.protocol == Protocol::Http)?;
    Some((route, pass))
}

/// Where the Host is set, or is not.
fn place(pass: &Pass) -> Span {
    pass.header("Host").and_then(|header| header.at.clone()).unwrap_or_else(|| pass.at.clone())
}

/// The Host that nginx sends, if it is not the client's and none that a site has on the Internet: then the name in
/// `proxy_pass` is that of another site, and is meant to be asked for.
fn foreign_host(case: &Case<'_>, route: RouteId, pass: &Pass) -> Option<String> {
    if pass
        .header("Host")
        .is_some_and(|header| header.value.1.contains('$') && header.value.1 != "$proxy_host")
    {
        return None;
    }
    let server = case.gateway.server_of(case.gateway.route(route));
    let sent = Some(host_header(case, pass, "")).filter(|sent| !sent.is_empty() && !sent.contains('$'))?;
    let name = sent.split(':').next().unwrap_or(&sent);
    let is_asked_for = server.name() == name
        || case.failures_of(route).any(|(_, failure)| failure.host.as_deref() == Some(name));
    (!is_asked_for && !is_public(name)).then_some(sent)
}

/// Whether a name may be one of the Internet: it has a point, ends in letters, and has no underscore.
fn is_public(name: &str) -> bool {
    let is_word = |word: &str| word.bytes().all(|byte| byte.is_ascii_alphabetic());
    name.rsplit_once('.').is_some_and(|(_, last)| last.len() > 1 && is_word(last)) && !name.contains('_')
}

/// The requests of a route, if the upstream refused all of them in the same way.
fn refused<'c>(case: &'c Case<'_>, route: RouteId) -> Option<(u16, Vec<(FailureId, &'c Failure)>)> {
    let mut all = case.failures_of(route).peekable();
    let status = all.peek()?.1.status.filter(|status| REFUSALS.contains(status))?;
    let refused: Vec<(FailureId, &Failure)> = all.collect();
    let is_sent = |failure: &Failure| match failure.attempts().next_back() {
        Some(last) => {
            last.phrase.is_none() && last.tried.as_ref().is_some_and(|tried| tried.status == Some(status))
        }
        None => !failure.tries_logged,
    };
    let fits =
        |failure: &Failure| failure.status == Some(status) && failure.status_logged && is_sent(failure);
    let n_refused = Case::weigh(&refused);
    let is_all = refused.iter().all(|(_, failure)| fits(failure))
        && case.successes_of(route).next().is_none()
        && case.n_total(route).is_none_or(|total| total <= n_refused)
        && may_be_shown(case, route, status, |_| true).is_none();
    (is_all && n_refused >= MIN_REFUSED).then_some((status, refused))
}

/// Whether pages are refused whatever they are: the front page, or several.
fn is_any_page(refused: &[(FailureId, &Failure)]) -> bool {
    let is_read = |failure: &Failure| matches!(failure.method.as_deref(), None | Some("GET" | "HEAD"));
    let pages: BTreeSet<&str> = refused
        .iter()
        .filter(|(_, failure)| is_read(failure))
        .filter_map(|(_, failure)| failure.path.as_deref())
        .collect();
    pages.contains("/") || pages.len() >= MIN_PAGES
}

/// Whether the front page of a server with a name of the Internet is refused.
fn is_front_page_of_a_site(case: &Case<'_>, route: RouteId, refused: &[(FailureId, &Failure)]) -> bool {
    is_public(case.gateway.server_of(case.gateway.route(route)).name())
        && refused.iter().any(|(_, failure)| failure.path.as_deref() == Some("/"))
}

/// That another route is served by the same server, with another Host.
fn served_otherwise(case: &Case<'_>, route: RouteId, sent: &str) -> Option<Evidence> {
    let addresses = case.peers_behind(route).map(|peer| &peer.address);
    let others = addresses.flat_map(|address| case.peers_at(address)).flat_map(|peer| &peer.routes);
    others.filter(|other| **other != route).find_map(|other| {
        let pass = case.pass_of(*other, None)?;
        let name = case.gateway.server_of(case.gateway.route(*other)).name();
        let success = case.successes_of(*other).next()?;
        let host = host_header(case, pass, name);
        (host != sent).then(|| {
            let says = format!("another route gets answers from the same server, with the Host {host:?}");
            Evidence::supporting(says, Origin::Log(success.line.clone()))
        })
    })
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let sent = finding.subjects.first().and_then(|subject| {
        let (route, pass) = pass_of(case, subject)?;
        foreign_host(case, route, pass)
    });
    let sent = sent.unwrap_or_default();
    Explanation {
        title: format!("the server behind does not serve the Host \"{sent}\" that nginx sends"),
        why: "nginx puts the name in proxy_pass into the request where nothing says otherwise, and not the name that the client \
              asked for. The server behind knows no site of that name and refuses every request."
            .to_owned(),
        wont_help: vec![
            "changing server_name here: it does not change what is passed on".to_owned(),
            "trying the server with curl and the site's name: nginx sends another one".to_owned(),
        ],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let Some((route, pass)) = finding.subjects.first().and_then(|subject| pass_of(case, subject)) else {
        return Vec::new();
    };
    let own = &case.gateway.route(route).at;
    let is_own = |at: &Option<Span>| at.as_ref().is_some_and(|at| case.gateway.is_directly_in(at, own));
    let mut remedy = Remedy::new("Pass on the Host that the client asked for", Risk::Review)
        .verify("the front page is answered");
    // One header of its own, and a route inherits none from outside (`ngx_conf_merge_ptr_value`).
    if pass.headers.iter().any(|header| !is_own(&header.at)) {
        return vec![remedy.advice(
            "add `proxy_set_header Host $host;` where the other proxy_set_header of this route stand: with one of its own, a \
             location inherits none",
        )];
    }
    let at = pass.header("Host").and_then(|header| header.at.clone());
    let wanted = [("proxy_set_header".to_owned(), vec!["Host".to_owned(), "$host".to_owned()], at)];
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
    upstream shop_app { server 127.0.0.1:3000; }
    server {
        listen 80;
        server_name shop.example.com;
        location / { proxy_pass http://shop_app; }
    }
}
#- access.log
10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] "GET / HTTP/1.1" 400 16 "-" "curl/8"
10.0.0.9 - - [21/Nov/2026:02:28:31 +0000] "GET /a HTTP/1.1" 400 16 "-" "curl/8"
#- listeners
127.0.0.1:3000 gunicorn
#- probe 127.0.0.1:3000
answers
HTTP/1.1 400 Bad Request

"#;

    fn of_status(status: &str) -> Fixture {
        Fixture::new(
            &HIT.replace("\" 400", &format!("\" {status}")).replace("1.1 400", &format!("1.1 {status}")),
        )
    }

    #[test]
    fn hit_every_page_is_refused() {
        insta::assert_snapshot!(Fixture::new(HIT).summary(), @r#"
        Broken
        Likely host-header-rejected: the server behind does not serve the Host "shop_app" that nginx sends [2 requests, still failing]
        "#);
    }

    #[test]
    fn hit_the_status_says_so() {
        let summary = of_status("421").summary();
        assert!(summary.contains("Likely host-header-rejected"), "{summary}");
    }

    #[test]
    fn hit_another_site_of_the_server_is_answered() {
        let other = "server { listen 80; server_name b.example.com; location / { proxy_set_header Host $host; proxy_pass http://shop_app; } }\n    server {";
        let log = "log_format h '$remote_addr [$time_local] $host \"$request\" $status';\n    access_log /var/log/nginx/access.log h;\n";
        let fixture = of_status("404");
        let config = fixture.section("nginx.conf").replacen("server {", other, 1).replacen(
            "upstream",
            &format!("{log}upstream"),
            1,
        );
        let lines = "10.0.0.9 [21/Nov/2026:02:28:30 +0000] shop.example.com \"GET / HTTP/1.1\" 404\n"
            .repeat(2)
            + "10.0.0.9 [21/Nov/2026:02:28:30 +0000] b.example.com \"GET / HTTP/1.1\" 200\n";
        let summary = fixture.with("nginx.conf", &config).with("access.log", &lines).summary();
        assert!(summary.contains("Likely host-header-rejected"), "{summary}");
    }

    #[test]
    fn near_miss_pages_that_are_not_there() {
        let summary = of_status("404").summary();
        assert!(!summary.contains("host-header-rejected"), "{summary}");
    }

    #[test]
    fn near_miss_the_client_s_host_is_passed_on() {
        let passed = HIT.replace("proxy_pass", "proxy_set_header Host $host; proxy_pass");
        let summary = Fixture::new(&passed).summary();
        assert!(!summary.contains("host-header-rejected"), "{summary}");
    }

    #[test]
    fn near_miss_a_page_is_answered() {
        let good = HIT.replace("GET /a HTTP/1.1\" 400", "GET /a HTTP/1.1\" 200");
        let summary = Fixture::new(&good).summary();
        assert!(!summary.contains("host-header-rejected"), "{summary}");
    }

    #[test]
    fn near_miss_another_site_is_meant() {
        let meant = HIT
            .replace("upstream shop_app", "upstream api.example.net")
            .replace("//shop_app", "//api.example.net");
        let summary = Fixture::new(&meant).summary();
        assert!(!summary.contains("host-header-rejected"), "{summary}");
    }

    #[test]
    fn gap_nobody_could_ask() {
        let summary = Fixture::new(HIT).without("probe 127.0.0.1:3000").summary();
        assert!(!summary.contains("host-header-rejected"), "{summary}");
    }

    #[test]
    fn remedy_passes_the_host_on() {
        insta::assert_snapshot!(first_diff(&Fixture::new(HIT).report()), @"
        --- a/etc/nginx/nginx.conf
        +++ b/etc/nginx/nginx.conf
        @@ -5,5 +5,5 @@
                 listen 80;
                 server_name shop.example.com;
        -        location / { proxy_pass http://shop_app; }
        +        location / { proxy_pass http://shop_app; proxy_set_header Host $host; }
             }
         }
        ");
    }
}
