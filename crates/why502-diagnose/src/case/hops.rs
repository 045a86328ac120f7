//! How a request came to the route where it failed, where that is not by its own path: nginx's log line has the client's
//! request line, and the upstream of another location.

use super::{Case, Failure, FailureId};
use crate::finding::{Evidence, Origin};
use std::collections::BTreeSet;
use why502_model::{Fallback, FallbackKind, Gateway, RouteId, Setting, Span};

/// So many failures of a finding are looked at: each is a search among the locations.
const MAX_LOOKED_AT: usize = 256;
/// So many different hops are told.
const MAX_TOLD: usize = 3;

/// Why a request came from one route to another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Hop {
    /// What an upstream answered sends it there (`X-Accel-Redirect`).
    Accel,
    /// The answer of a subrequest is put before or behind the request's own (`add_before_body`, `add_after_body`).
    Addition,
    /// A subrequest must allow it (`auth_request`).
    AuthRequest,
    /// A copy is sent there, and what is answered is thrown away (`mirror`).
    Mirror,
    /// A page includes it (SSI).
    Part,
    /// The answer is fetched piece by piece (`slice`).
    Slice,
}

/// A hop of a request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Passage {
    pub(crate) hop: Hop,
    /// The route that the client's request came to.
    pub(crate) from: RouteId,
    /// The route where it failed.
    pub(crate) to: RouteId,
    /// What in the configuration makes it.
    pub(crate) at: Span,
}

/// The routes that a `mirror` leads to and that take no requests of clients.
pub(super) fn copies(gateway: &Gateway) -> BTreeSet<RouteId> {
    let mirrors = gateway.routes().flat_map(|(_, route)| {
        let mirrors = route.fallbacks.iter().filter(|fallback| fallback.kind == FallbackKind::Mirror);
        mirrors.map(move |fallback| (route.server, fallback.to.as_str()))
    });
    let distinct: BTreeSet<(usize, &str)> = mirrors.filter(|(_, to)| !to.contains('$')).collect();
    let routes = distinct.into_iter().filter_map(|(server, to)| gateway.find_route(server, to));
    routes.filter(|route| gateway.is_internal(*route)).collect()
}

impl Case<'_> {
    /// The hop by which a request came to the route where it failed; `None` where it came there by its own path, over a
    /// fallback of the configuration, or nobody can tell how.
    pub(crate) fn passage(&self, failure: &Failure) -> Option<Passage> {
        let to = failure.route?;
        let path = failure.path.as_deref()?;
        let from = self.gateway.find_route(self.gateway.route(to).server, path)?;
        let (hop, at) = match failure.subrequest().and_then(|own| own.subrequest.as_deref()) {
            Some(uri) if uri == path => (Hop::Slice, self.switched_on(from, "slice", "0")?),
            Some(uri) => self.subrequest(from, uri)?,
            None => (Hop::Accel, self.sent_on(from, to)?),
        };
        Some(Passage { hop, from, to, at })
    }

    /// Why a route makes a subrequest of a path.
    fn subrequest(&self, from: RouteId, uri: &str) -> Option<(Hop, Span)> {
        let is_to = |fallback: &&Fallback| fallback.to.split(['?', '$']).next() == Some(uri);
        let made = self.gateway.route(from).fallbacks.iter().filter(is_to).find_map(|fallback| {
            let hop = match fallback.kind {
                FallbackKind::Addition => Hop::Addition,
                FallbackKind::AuthRequest => Hop::AuthRequest,
                FallbackKind::Mirror => Hop::Mirror,
                _ => return None,
            };
            Some((hop, fallback.at.clone()))
        });
        made.or_else(|| Some((Hop::Part, self.switched_on(from, "ssi", "off")?)))
    }

    /// Where a directive is switched on for a route.
    fn switched_on(&self, route: RouteId, name: &str, off: &str) -> Option<Span> {
        let Setting { value, at } = self.gateway.in_force(route, name).pop()?;
        at.filter(|_| value.first().is_some_and(|value| value != off))
    }

    /// The pass of a route whose answer alone can have sent a request on to another one: that takes no requests of clients,
    /// and neither a directive nor a script leads there.
    fn sent_on(&self, from: RouteId, to: RouteId) -> Option<Span> {
        let (gateway, pass) = (self.gateway, self.gateway.route(from).action.pass()?);
        let is_named = gateway.route(to).location.as_deref()?.starts_with('@');
        let is_only_way = (is_named || gateway.is_internal(to))
            && gateway.own_code(from).is_none()
            && gateway.in_force(from, "post_action").is_empty()
            && !gateway.reachable(from).contains(&to);
        (from != to && is_only_way).then(|| pass.at.clone())
    }

    /// What led the requests of a finding to where they failed, where that were hops; the newest are looked at.
    pub(crate) fn hops_evidence(&self, explains: &BTreeSet<FailureId>) -> Vec<Evidence> {
        let newest = explains.iter().rev().take(MAX_LOOKED_AT).map(|id| self.failure(*id));
        let passages: BTreeSet<Passage> = newest.filter_map(|failure| self.passage(failure)).collect();
        passages.iter().take(MAX_TOLD).map(|passage| self.told(passage)).collect()
    }

    fn told(&self, passage: &Passage) -> Evidence {
        let from = self.called(passage.from);
        let to = self.called(passage.to);
        let says = match passage.hop {
            Hop::Accel => {
                format!("the answer of the upstream of {from} sent the request on to {to} (X-Accel-Redirect)")
            }
            Hop::Addition => {
                format!("the answer of {to} is put before or behind that of {from}, which is sent without it")
            }
            Hop::AuthRequest => format!("{from} asks {to} first whether it may serve a request"),
            Hop::Mirror => {
                format!("only copies are sent to {to} (mirror): no client of {from} waits for their answer")
            }
            Hop::Part => format!("pages of {from} include what {to} answers (SSI), and are sent without it"),
            Hop::Slice => {
                format!("{from} fetches a file in slices: where the next one fails, the answer breaks off")
            }
        };
        Evidence::context(says, Origin::File(passage.at.clone()))
    }

    /// What a route is called in a sentence.
    fn called(&self, route: RouteId) -> String {
        self.gateway
            .route(route)
            .location
            .as_ref()
            .map_or("the server".to_owned(), |name| format!("`{name}`"))
    }
}

#[cfg(test)]
mod tests {
    use crate::fixture::Fixture;
    use crate::{Report, Verdict};

    /// What the finding of the dead upstream says of the way of its requests.
    fn way(report: &Report) -> Vec<&str> {
        let finding =
            report.findings.iter().find(|finding| finding.cause == "upstream-not-listening").unwrap();
        let says = finding.evidence.iter().map(|evidence| evidence.says.as_str());
        says.filter(|says| {
            says.starts_with(['`', 'p']) || says.contains("X-Accel") || says.contains("mirror")
        })
        .collect()
    }

    fn refused(path: &str, subrequest: &str, sent: &str) -> String {
        format!(
            "2026/11/21 02:28:30 [error] 101#101: *5 connect() failed (111: Connection refused) while connecting to upstream, \
             client: 10.0.0.9, server: a.example, request: \"GET {path} HTTP/1.1\"{subrequest}, upstream: \
             \"http://127.0.0.1:3001{sent}\", host: \"a.example\"\n"
        )
    }

    fn fixture(locations: &str, log: &str, status: u16) -> Fixture {
        let access = format!(
            "10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] \"GET /a HTTP/1.1\" {status} 157 \"-\" \"curl/8\""
        );
        let text = format!(
            "#- nginx.conf\nevents {{}}\nhttp {{ server {{ listen 80; server_name a.example;\n{locations}\n}} }}\n\
             #- error.log\n{log}#- access.log\n{access}\n#- listeners\n127.0.0.1:3000 node\n\
             #- probe 127.0.0.1:3001\nrefused\n"
        );
        Fixture::new(&text)
    }

    #[test]
    fn an_answer_that_sends_a_request_on_is_told() {
        let locations = "location / { proxy_pass http://127.0.0.1:3000; }
            location /in/ { internal; proxy_pass http://127.0.0.1:3001/blobs/; }";
        let report = fixture(locations, &refused("/a", "", "/blobs/7"), 502).report();
        assert_eq!(report.findings[0].location.as_deref(), Some("/in/"));
        assert_eq!(
            way(&report),
            ["the answer of the upstream of `/` sent the request on to `/in/` (X-Accel-Redirect)"]
        );
    }

    #[test]
    fn where_a_script_may_send_it_on_nothing_is_told() {
        let locations = "location / { js_content main.handle; proxy_pass http://127.0.0.1:3000; }
            location /in/ { internal; proxy_pass http://127.0.0.1:3001/blobs/; }";
        let report = fixture(locations, &refused("/a", "", "/blobs/7"), 502).report();
        assert!(way(&report).is_empty(), "{:?}", way(&report));
    }

    #[test]
    fn a_fallback_of_the_configuration_is_no_answer() {
        let locations = "location / { error_page 404 = @b; proxy_pass http://127.0.0.1:3000; }
            location @b { proxy_pass http://127.0.0.1:3001; }";
        let report = fixture(locations, &refused("/a", "", "/a"), 502).report();
        assert_eq!((report.findings[0].location.as_deref(), way(&report).len()), (Some("@b"), 0));
    }

    const MIRROR: &str = "location / { mirror /copy; proxy_pass http://127.0.0.1:3000; }
        location = /copy { internal; proxy_pass http://127.0.0.1:3001$request_uri; }";

    #[test]
    fn a_mirror_fails_no_client() {
        let log = refused("/a", ", subrequest: \"/copy\"", "/a");
        let report = fixture(MIRROR, &log, 200).report();
        assert_eq!((report.verdict, report.findings[0].explains.requests), (Verdict::AtRisk, 0));
        assert_eq!(report.findings[0].location.as_deref(), Some("= /copy"));
        assert_eq!(
            way(&report),
            ["only copies are sent to `= /copy` (mirror): no client of `/` waits for their answer"]
        );
    }

    #[test]
    fn a_dead_mirror_that_nobody_asked_yet_is_no_outage() {
        assert_eq!(fixture(MIRROR, "", 200).report().verdict, Verdict::AtRisk);
    }

    #[test]
    fn a_copy_that_fails_last_made_no_answer() {
        let own = refused("/a", "", "/a").replace("127.0.0.1:3001", "127.0.0.1:3000");
        let log = own + &refused("/a", ", subrequest: \"/copy\"", "/a").replace("02:28:30", "02:28:31");
        let report =
            fixture(MIRROR, &log, 502).with("listeners", "").with("probe 127.0.0.1:3000", "refused").report();
        let first = &report.findings[0];
        assert_eq!((first.location.as_deref(), first.peer.as_deref()), (Some("/"), Some("127.0.0.1:3000")));
        assert_eq!((report.verdict, first.explains.requests), (Verdict::Broken, 1));
    }

    #[test]
    fn a_slice_that_fails_breaks_the_answer_off() {
        let locations =
            "location / { slice 1m; proxy_set_header Range $slice_range; proxy_pass http://127.0.0.1:3001; }";
        let says = "unexpected status code 502 in slice response while sending to client";
        let slice = refused("/a", ", subrequest: \"/a\"", "/a");
        let of_slice =
            slice.replace("connect() failed (111: Connection refused) while connecting to upstream", says);
        let report = fixture(locations, &(slice + &of_slice), 200).report();
        let first = &report.findings[0];
        assert_eq!((report.verdict, first.statuses.as_slice()), (Verdict::Broken, [200].as_slice()));
        assert_eq!(
            way(&report),
            ["`/` fetches a file in slices: where the next one fails, the answer breaks off"]
        );
    }

    #[test]
    fn a_part_of_a_page_that_fails_is_told() {
        let locations = "location / { ssi on; proxy_pass http://127.0.0.1:3000; }
            location /part/ { proxy_pass http://127.0.0.1:3001; }";
        let log = refused("/a", ", subrequest: \"/part/x\"", "/part/x");
        let report = fixture(locations, &log, 200).report();
        assert_eq!(report.verdict, Verdict::AtRisk);
        assert_eq!(
            way(&report),
            ["pages of `/` include what `/part/` answers (SSI), and are sent without it"]
        );
    }
}
