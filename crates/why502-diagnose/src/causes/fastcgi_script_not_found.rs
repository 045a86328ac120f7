//! # fastcgi-script-not-found
//!
//! ## What happens
//!
//! nginx reaches the FastCGI application, and the parameter that names the script, `SCRIPT_FILENAME`, is missing or names a
//! file that the application cannot see: a wrong `root`, a folder that was moved, a path of another container. PHP-FPM answers
//! 404 to every page. True for every version of nginx.
//!
//! ## What you see
//!
//! 404 with the body `File not found.` (or `No input file specified.`) and `$upstream_status` 404; in the error log
//! `FastCGI sent in stderr: "Primary script unknown"`, or nothing.
//!
//! ## How we know
//!
//! Confirmed: a request with the parameters of the configuration gets that very answer now, no page of the route is answered
//! well, and the script is seen to be missing where the application lives although no client named it: it is not passed at all,
//! its whole directory is not there, or it is the one that every path falls back to. Likely: the last, and nobody could look
//! into the application's file system; or the file is there, and is not found. Or: nobody could ask, the error
//! log has PHP's words, and the configuration passes no script. A single page that does not exist is no failure.
//!
//! ## What would disprove it
//!
//! A page of the same route that is answered well.
//!
//! ## What to do
//!
//! Pass `SCRIPT_FILENAME $document_root$fastcgi_script_name`, and set `root` to the directory as the application sees it.
//!
//! ## Not to be confused with
//!
//! `upstream-sent-error` (the application's own error), `unix-socket-missing` (no application is reached).
//!
//! ## References
//!
//! nginx: `ngx_http_fastcgi_create_request`, `ngx_http_fastcgi_script_name_variable`; PHP: `sapi/fpm/fpm/fpm_main.c`,
//! `init_request_info`.

use crate::case::{Case, Failure, PeerSubject, Subject, count, or_ask};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Origin, Ruling};
use crate::plan;
use crate::remedy::{Remedy, Risk};
use why502_facts::{CgiRequestSpec, HttpAnswer, Observed, PathWalk, Phrase, ProbeReport, ProbeSpec, Root};
use why502_model::{Pass, Protocol, RouteId, Span};

pub(super) static CAUSE: Cause = Cause {
    id: "fastcgi-script-not-found",
    layer: Layer::Protocol,
    acts_on: ActsOn::Config,
    effect: false,
    statuses: &[404, 502],
    scope: Scope::Route,
    supersedes: &[],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("fastcgi_script_not_found.rs"),
};

/// The parameter that names the script.
const SCRIPT: &str = "SCRIPT_FILENAME";
/// What PHP writes to its error stream when there is no script.
const ERRORS: [&str; 2] = ["Primary script unknown", "Unable to open primary script"];
/// What it answers then.
const BODIES: [&[u8]; 2] = [b"File not found.", b"No input file specified."];

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some((route, pass)) = subject.route().and_then(|route| Some((route, case.pass_of(route, None)?)))
    else {
        return Ok(Ruling::NoSign);
    };
    // Where any page is answered, one that is not there is the client's matter.
    if pass.protocol != Protocol::FastCgi || case.successes_of(route).next().is_some() {
        return Ok(Ruling::NoSign);
    }
    let failed: Vec<_> = case.failures_of(route).filter(|(_, failure)| fits(failure)).collect();
    if failed.is_empty() {
        return Ok(Ruling::NoSign);
    }
    let peers: Vec<&PeerSubject> = case.peers_behind(route).collect();
    for peer in &peers {
        or_ask(case.probe(peer))?;
    }
    let asked = peers.iter().find_map(|peer| Seen::of(case, peer));
    let says = |n| format!("{} got 404, and none of the route was answered", count(n, "request"));
    let line = Case::line_of(&failed).map(|origin| Evidence::supporting(says(Case::weigh(&failed)), origin));
    let finding = |confidence| {
        Finding::new(&CAUSE, confidence, subject)
            .explaining(failed.iter().map(|(id, _)| *id))
            .with(line.clone())
            .at([place(case, route, pass)])
    };
    let Some(asked) = asked else {
        let gap = peers.iter().find_map(|peer| case.probe(peer).gap().cloned());
        let is_told = failed.iter().any(|(_, failure)| told(failure));
        let open = gap.map(|gap| Case::open(gap, "what the application answers"));
        return Ok(match open {
            Some(open) if is_told && !passes_script(pass) => {
                Ruling::found(finding(Confidence::Likely).open([open]))
            }
            _ => Ruling::NoSign,
        });
    };
    if !asked.says_so() {
        return Ok(Ruling::NoSign);
    }
    let Some((confidence, why)) = judge(case, &asked)? else { return Ok(Ruling::NoSign) };
    Ok(Ruling::found(finding(confidence).still_failing(Some(true)).with([asked.evidence(case)]).with(why)))
}

/// Whether a failed request can be this: the application says so, or answered 404.
fn fits(failure: &Failure) -> bool {
    told(failure)
        || failure.status == Some(404)
            && failure.attempts().next_back().is_none_or(|last| {
                last.tried.as_ref().is_none_or(|tried| tried.status.is_none_or(|status| status == 404))
            })
}

/// Whether the error log has the application's words.
fn told(failure: &Failure) -> bool {
    let says_so = |phrase: Phrase, detail: Option<&str>| {
        phrase == Phrase::FastCgiStderr && detail.is_some_and(is_complaint)
    };
    failure.symptoms.iter().any(|symptom| {
        symptom.phrase.is_some_and(|phrase| says_so(phrase, symptom.detail.as_deref()))
            || symptom.also.iter().any(|(phrase, detail)| says_so(*phrase, detail.as_deref()))
    })
}

/// Whether the configuration names a script at all.
fn passes_script(pass: &Pass) -> bool {
    pass.headers.iter().any(|header| header.value.0 == SCRIPT)
}

fn is_complaint(text: &str) -> bool {
    ERRORS.iter().any(|words| text.contains(words))
}

/// A request that was made of the application, and its answer.
struct Seen<'c> {
    peer: &'c PeerSubject,
    request: CgiRequestSpec,
    report: &'c ProbeReport,
    answer: &'c HttpAnswer,
}

impl<'c> Seen<'c> {
    fn of(case: &'c Case<'_>, peer: &'c PeerSubject) -> Option<Self> {
        let ProbeSpec::FastCgi(request) = plan::spec_of(case, peer) else { return None };
        let report = case.probe(peer).known()?;
        Some(Self { peer, request, report, answer: report.answer.as_deref()? })
    }

    /// Whether the application says that there is no script.
    fn says_so(&self) -> bool {
        let body = self.answer.body.as_slice();
        self.answer.status == 404
            && (is_complaint(&self.report.stderr) || BODIES.iter().any(|begin| body.starts_with(begin)))
    }

    /// The script that was named; an empty name is none.
    fn script(&self) -> Option<&str> {
        self.request.param(SCRIPT).filter(|script| !script.is_empty())
    }

    fn evidence(&self, case: &Case<'_>) -> Evidence {
        let words = Some(self.report.stderr.as_str()).filter(|words| is_complaint(words));
        let words = words.map(|words| format!(": {:?}", words.lines().next().unwrap_or_default()));
        let says = format!(
            "asked for {}, {} answers {}{}",
            self.script().unwrap_or("no script at all"),
            self.peer.address,
            self.answer.status,
            words.unwrap_or_default()
        );
        Evidence::supporting(says, case.probe_origin(self.peer))
    }
}

/// How sure it is that no client is to blame, and by what; `None` where a client asked for a page that is not there.
fn judge(case: &Case<'_>, seen: &Seen<'_>) -> Result<Option<(Confidence, Option<Evidence>)>, Asks> {
    if seen.request.left_out.iter().any(|name| name == SCRIPT) {
        return Ok(None);
    }
    let Some(script) = seen.script() else { return Ok(Some((Confidence::Confirmed, None))) };
    let Some(asked) = plan::asked_script(case, seen.peer) else { return Ok(None) };
    let is_fallback = asked.is_fallback(script);
    let unseen = Ok(is_fallback.then_some((Confidence::Likely, None)));
    let Some(root) = root_of(case, seen.peer) else { return unseen };
    let walk = match or_ask(case.facts.path_walk(root, script))? {
        Observed::Known(walk) if walk.denied.is_none() => walk,
        _ => return unseen,
    };
    let says = if walk.complete {
        format!("{script} is there, and the application does not come to it")
    } else if let Some(directory) = missing_root(asked.root(script), walk) {
        format!("there is no {directory} where the application lives")
    } else if is_fallback {
        format!("{script}, which no client named, is not there")
    } else {
        return Ok(None);
    };
    let confidence = if walk.complete { Confidence::Likely } else { Confidence::Confirmed };
    Ok(Some((confidence, Some(Evidence::supporting(says, Origin::Host(script.to_owned()))))))
}

/// The directory that the configuration puts before the path of every request, if not even that is there.
fn missing_root<'s>(root: &'s str, walk: &PathWalk) -> Option<&'s str> {
    let is_there = walk.components.iter().any(|component| component.path == root);
    (!is_there && root.starts_with('/') && root.len() > 1).then_some(root)
}

/// The file system of the application: that of the newest process that listens on a peer's address.
fn root_of(case: &Case<'_>, peer: &PeerSubject) -> Option<Root> {
    let table = case.sockets().known()?;
    // A pool may have changed its root: the master, which is older, has not.
    table.holders(&peer.address).into_iter().max().map(Root::Process)
}

/// The line to change: the parameter, or the root that it is made of.
fn place(case: &Case<'_>, route: RouteId, pass: &Pass) -> Span {
    let param = pass.headers.iter().find(|header| header.value.0 == SCRIPT);
    let Some(param) = param else { return pass.at.clone() };
    let is_of_root = ["$document_root", "$realpath_root", "$request_filename"]
        .iter()
        .any(|variable| param.value.1.contains(variable));
    let root = case.gateway.in_force(route, "root").pop().and_then(|root| root.at);
    root.filter(|_| is_of_root).or_else(|| param.at.clone()).unwrap_or_else(|| pass.at.clone())
}

/// The script that the peer of a finding was asked for.
fn script_of<'c>(case: &'c Case<'_>, finding: &Finding) -> Option<(&'c PeerSubject, Option<String>)> {
    let route = finding.subjects.first()?.route()?;
    let peer = case.peers_behind(route).next()?;
    match plan::spec_of(case, peer) {
        ProbeSpec::FastCgi(request) => {
            let script = request.param(SCRIPT).filter(|script| !script.is_empty());
            Some((peer, script.map(str::to_owned)))
        }
        _ => None,
    }
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let title = match script_of(case, finding) {
        Some((peer, Some(script))) => format!("{} finds no script {script}", peer.address),
        Some((peer, None)) => format!("{} is not told which script to run", peer.address),
        None => "the FastCGI application finds no script".to_owned(),
    };
    Explanation {
        title,
        why: "nginx tells the application by SCRIPT_FILENAME which file to run, and the application finds none by that name. It \
              answers 404 to every page, and nginx passes that on."
            .to_owned(),
        wont_help: vec![
            "restarting PHP-FPM or nginx: they reach each other, and the path stays wrong".to_owned(),
            "raising timeouts or buffers: the answer came at once".to_owned(),
        ],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let advice = match script_of(case, finding) {
        Some((_, Some(script))) => format!(
            "let `root` and SCRIPT_FILENAME name the file as the application sees it (now {script}); in a container that is the path there"
        ),
        _ => "add `fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;` beside the other parameters of this location"
            .to_owned(),
    };
    vec![
        Remedy::new("Name the script as the application sees it", Risk::ShowOnly)
            .advice(advice)
            .verify("the failing page answers"),
    ]
}

#[cfg(test)]
mod tests {
    use crate::fixture::Fixture;

    const HIT: &str = r#"
#- nginx.conf
events {}
http {
    server {
        listen 80;
        server_name blog.example.com;
        root /srv/old;
        location ~ \.php$ {
            fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;
            fastcgi_pass 127.0.0.1:9000;
        }
    }
}
#- error.log
2026/11/21 02:28:30 [error] 101#101: *5 FastCGI sent in stderr: "Primary script unknown" while reading response header from upstream, client: 10.0.0.9, server: blog.example.com, request: "GET /index.php HTTP/1.1", upstream: "fastcgi://127.0.0.1:9000", host: "blog.example.com"
#- access.log
10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] "GET /index.php HTTP/1.1" 404 27 "-" "curl/8"
#- listeners
127.0.0.1:9000 php-fpm
#- probe 127.0.0.1:9000
answers fastcgi
stderr Primary script unknown
Status: 404 Not Found
Content-type: text/html

File not found.
#- path /srv/old/index.php
0755 0 0 dir /
0755 0 0 dir /srv
"#;

    #[test]
    fn hit_the_directory_is_not_there() {
        insta::assert_snapshot!(Fixture::new(HIT).summary(), @"
        Broken
        Confirmed fastcgi-script-not-found: 127.0.0.1:9000 finds no script /srv/old/index.php [1 requests, still failing]
        ");
    }

    #[test]
    fn hit_the_script_is_not_passed() {
        let log = HIT.replace(
            "fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;",
            "fastcgi_param A b;",
        );
        insta::assert_snapshot!(Fixture::new(&log).with("error.log", "").summary(), @"
        Broken
        Confirmed fastcgi-script-not-found: 127.0.0.1:9000 is not told which script to run [1 requests, still failing]
        ");
    }

    #[test]
    fn hit_the_front_controller_is_not_there() {
        let front = HIT
            .replace("location ~", "location / { try_files $uri /index.php; } location ~")
            .replace("GET /index.php", "GET /shop/1");
        let there = "0755 0 0 dir /\n0755 0 0 dir /srv\n0755 0 0 dir /srv/old\n";
        insta::assert_snapshot!(Fixture::new(&front).with("path /srv/old/index.php", there).summary(), @"
        Broken
        Confirmed fastcgi-script-not-found: 127.0.0.1:9000 finds no script /srv/old/index.php [1 requests, still failing]
        ");
    }

    #[test]
    fn near_miss_a_page_that_a_client_made_up() {
        let there = "0755 0 0 dir /\n0755 0 0 dir /srv\n0755 0 0 dir /srv/old\n";
        insta::assert_snapshot!(Fixture::new(HIT).with("path /srv/old/index.php", there).summary(), @"Healthy");
    }

    #[test]
    fn near_miss_other_pages_are_answered() {
        let log = "10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] \"GET /index.php HTTP/1.1\" 404 27 \"-\" \"curl/8\"\n\
                   10.0.0.9 - - [21/Nov/2026:02:28:31 +0000] \"GET /a.php HTTP/1.1\" 200 27 \"-\" \"curl/8\"\n";
        let summary = Fixture::new(HIT).with("access.log", log).summary();
        assert!(!summary.contains("fastcgi-script-not-found"), "{summary}");
    }

    #[test]
    fn near_miss_an_application_that_answers_404_by_itself() {
        let own = "answers fastcgi\nStatus: 404 Not Found\n\nno such article";
        let summary = Fixture::new(HIT).with("error.log", "").with("probe 127.0.0.1:9000", own).summary();
        assert!(!summary.contains("fastcgi-script-not-found"), "{summary}");
    }

    #[test]
    fn gap_nobody_may_ask() {
        insta::assert_snapshot!(Fixture::new(HIT).without("probe 127.0.0.1:9000").summary(), @"
Healthy");
    }

    #[test]
    fn gap_nobody_may_ask_and_no_script_is_passed() {
        let log = HIT.replace("fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;", "");
        insta::assert_snapshot!(Fixture::new(&log).without("probe 127.0.0.1:9000").summary(), @"
        Broken
        Likely fastcgi-script-not-found: 127.0.0.1:9000 is not told which script to run [1 requests]
          open: what the application answers: the fixture does not tell
        ");
    }

    #[test]
    fn gap_the_file_system_may_not_be_seen() {
        let summary = Fixture::new(HIT).without("path /srv/old/index.php").summary();
        assert!(!summary.contains("Confirmed"), "{summary}");
    }
}
