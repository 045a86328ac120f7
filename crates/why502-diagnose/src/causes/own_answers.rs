//! Where a request ends at this gateway without an upstream's doing: at a `return`, over error pages and over passes to
//! the gateway's own listeners.

use crate::case::{Asked, Case, Failure};
use crate::plan::{host_header, is_own_listener, upstream_path};
use why502_facts::PeerAddress;
use why502_model::{
    Action, Conditional, Fallback, FallbackKind, Gateway, RequestVars, RouteId, Served, Span, Stop, Target,
};

/// Passes to the gateway's own listeners are followed over this many hops.
pub(super) const MAX_HOPS: usize = 8;

/// An answer that the configuration gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OwnAnswer {
    /// The route that gives it.
    pub(super) route: RouteId,
    /// The status that the client gets.
    pub(super) status: u16,
    /// The directive.
    pub(super) at: Span,
    /// The directive in short.
    pub(super) directive: String,
    /// The condition that it depends on and that could not be decided.
    pub(super) condition: Option<String>,
    /// Whether the request came over a listener of this gateway to it.
    pub(super) is_behind_a_hop: bool,
}

/// The answer of the configuration that a failed request got, as far as its status, host and path tell it.
///
/// `None` where an upstream had a hand in it, or where its servers would answer differently.
pub(super) fn own_answer(case: &Case<'_>, failure: &Failure) -> Option<OwnAnswer> {
    let status = failure.status.filter(|status| failure.status_logged && (500..=599).contains(status))?;
    if !no_limit_or_cache(failure) {
        return None;
    }
    if let Some(page) = replaced(case, failure, status) {
        return Some(page);
    }
    if failure.symptoms.iter().any(|symptom| !went_to_itself(case, symptom, status)) {
        return None;
    }
    let of_url = || case.asked.as_ref().and_then(|asked| asked.server);
    let servers: Vec<usize> =
        match failure.entry.map(|route| case.gateway.route(route).server).or_else(of_url) {
            Some(server) => vec![server],
            None => (0..case.gateway.servers.len()).collect(),
        };
    let follow = Follow { case, request: Request::of(failure)?, end: End::Failed { failure, status } };
    let mut answers = servers.into_iter().map(|server| follow.answer(server));
    let first = answers.next()??;
    // A request that no server can be told for ends at one place only if all of them lead there.
    answers.all(|other| other.is_some_and(|other| other.at == first.at)).then_some(first)
}

fn no_limit_or_cache(failure: &Failure) -> bool {
    failure.limit_status.as_deref().is_none_or(|status| !status.starts_with("REJECTED"))
        && failure.cache_status.as_deref().is_none_or(|status| status == "-" || status.is_empty())
}

/// The 50x with which the configuration answers the request of the given URL, whatever the logs tell of it.
///
/// Conditions that depend on what a URL does not tell are taken not to hold.
pub(super) fn asked_answer(case: &Case<'_>) -> Option<OwnAnswer> {
    let asked = case.asked.as_ref()?;
    Follow { case, request: Request::asked(asked), end: End::Asked }.answer(asked.server?)
}

/// Whether an attempt was made on a listener of this gateway, which answered with that status.
fn went_to_itself(case: &Case<'_>, symptom: &crate::case::Symptom, status: u16) -> bool {
    symptom.phrase.is_none()
        && symptom.peer.as_ref().is_some_and(|peer| is_own_listener(case, peer))
        && symptom.tried.as_ref().and_then(|tried| tried.status) == Some(status)
}

/// The error page of a route, if there is one, that may show another status as that one: one of those that `may_come`
/// says may come.
pub(super) fn may_be_shown<'c>(
    case: &'c Case<'_>,
    route: RouteId,
    status: u16,
    may_come: impl Fn(u16) -> bool,
) -> Option<&'c Fallback> {
    let own = case.gateway.route(route);
    let is_meant = |from: &u16| *from != status && may_come(*from);
    own.fallbacks.iter().find(|fallback| {
        matches!(&fallback.kind, FallbackKind::ErrorPage { statuses, .. } if statuses.iter().any(is_meant))
            && becomes(case, own.server, fallback, status)
    })
}

/// Whether an error page gives that status, whichever it takes.
fn becomes(case: &Case<'_>, server: usize, fallback: &Fallback, status: u16) -> bool {
    let FallbackKind::ErrorPage { becomes, .. } = &fallback.kind else { return false };
    *becomes == Some(status) || (*becomes == Some(0) && page_returns(case, server, &fallback.to, status))
}

/// What a peer of a route answers to a probe, if that is one of some statuses.
fn answered_now(case: &Case<'_>, route: RouteId, statuses: &[u16]) -> Option<u16> {
    case.peers_behind(route).find_map(|peer| {
        let status = case.probe(peer).known()?.answer.as_ref()?.status;
        statuses.contains(&status).then_some(status)
    })
}

/// An `error_page` that made the status out of another one, which is no gateway error itself.
fn replaced(case: &Case<'_>, failure: &Failure, status: u16) -> Option<OwnAnswer> {
    let route = failure.route?;
    let last = failure.attempts().next_back();
    let sent = last.and_then(|last| last.tried.as_ref()).and_then(|tried| tried.status);
    let is_another = |sent: u16| !matches!(sent, 500 | 502..=504) && sent != status;
    let own = case.gateway.route(route);
    own.fallbacks.iter().find_map(|fallback| {
        let FallbackKind::ErrorPage { statuses, .. } = &fallback.kind else { return None };
        let (from, condition) = match (last, sent) {
            (Some(_), Some(sent)) => {
                (statuses.contains(&sent).then_some(sent).filter(|_| own.intercepts_errors)?, None)
            }
            // No attempt was made: what the gateway itself would have said is not logged.
            (None, _) if failure.tries_logged => {
                (*statuses.first()?, Some("in place of another status".to_owned()))
            }
            // The log is silent about attempts: what the peer answers now is what it may have answered then.
            (None, _) if failure.symptoms.is_empty() && own.intercepts_errors => {
                let from = answered_now(case, route, statuses)?;
                (from, Some(format!("as the upstream answers {from} when asked directly")))
            }
            _ => return None,
        };
        let gives = becomes(case, own.server, fallback, status);
        (is_another(from) && gives).then(|| OwnAnswer {
            route,
            status,
            at: fallback.at.clone(),
            directive: format!("error_page {from} ={status} {}", fallback.to),
            condition,
            is_behind_a_hop: false,
        })
    })
}

/// Whether the page of an `error_page` is a route that answers with that status.
fn page_returns(case: &Case<'_>, server: usize, to: &str, status: u16) -> bool {
    let page = case.gateway.find_route(server, to.split(['?', '$']).next().unwrap_or(to));
    let action = page.map(|page| &case.gateway.route(page).action);
    matches!(action, Some(Action::Return(given)) if given.status == status)
}

/// What is known of a request.
struct Request<'a> {
    method: &'a str,
    path: &'a str,
    host: Option<String>,
    has_query: bool,
    client: Option<&'a str>,
}

impl<'a> Request<'a> {
    fn of(failure: &'a Failure) -> Option<Self> {
        Some(Self {
            method: failure.method.as_deref().unwrap_or_default(),
            path: failure.path.as_deref()?,
            host: failure.host.clone(),
            has_query: failure.has_query,
            client: failure.client.as_deref(),
        })
    }

    /// Who opens a URL asks with GET.
    fn asked(asked: &'a Asked) -> Self {
        let url = &asked.url;
        Self {
            method: "GET",
            path: &url.path,
            host: url.host.clone(),
            has_query: url.has_query,
            client: None,
        }
    }
}

/// Which end of the way is looked for.
#[derive(Clone, Copy)]
enum End<'a> {
    /// Any 50x.
    Asked,
    /// The status that a failed request got.
    Failed { failure: &'a Failure, status: u16 },
}

/// A request, followed.
struct Follow<'a, 'c> {
    case: &'a Case<'c>,
    request: Request<'a>,
    end: End<'a>,
}

impl Follow<'_, '_> {
    fn answer(&self, mut server: usize) -> Option<OwnAnswer> {
        let gateway = self.case.gateway;
        let mut path = self.request.path.to_owned();
        let mut host = self.request.host.clone();
        for n_hops in 0..MAX_HOPS {
            let served = gateway.serve(server, &self.known(&path, host.as_deref(), n_hops > 0))?;
            let given = match self.end {
                End::Asked => self.returned(&served, n_hops > 0),
                End::Failed { failure, status } => self.given(failure, status, (server, &served), n_hops > 0),
            };
            if let Some(answer) = given {
                return Some(answer);
            }
            let last = served.steps.last()?;
            if served.stop != Stop::Route {
                return None;
            }
            let hop = next_hop(self.case, last.route, &last.path, host.as_deref().unwrap_or(""))?;
            server = gateway.find_server_at(&hop.host, &hop.address)?;
            (path, host) = (hop.path, Some(hop.host));
        }
        None
    }

    /// What is known of the request where it comes in, or after a hop.
    fn known(&self, path: &str, host: Option<&str>, is_behind_a_hop: bool) -> RequestVars {
        let mut vars = RequestVars::of_request(self.request.method, path, host);
        if self.request.has_query {
            vars.forget_arguments();
        }
        if let Some(client) = self.request.client.filter(|_| !is_behind_a_hop) {
            vars.set("remote_addr", client);
        }
        vars
    }

    /// The answer at the end of the way, as far as its error pages leave it a 50x.
    fn returned(&self, served: &Served, is_behind_a_hop: bool) -> Option<OwnAnswer> {
        let Stop::Return { at, status: returned } = &served.stop else { return None };
        let route = served.steps.last()?.route;
        let status = shown_status(self.case.gateway, route, *returned)?;
        let directive = format!("return {returned}");
        let page = self.case.gateway.error_page(route, *returned).filter(|_| status != *returned);
        Some(OwnAnswer {
            route,
            status,
            at: page.map_or(at, |page| &page.at).clone(),
            directive: page.map_or(directive, |page| format!("error_page {returned} ={status} {}", page.to)),
            condition: unless_decided(served),
            is_behind_a_hop,
        })
        .filter(|answer| matches!(answer.status, 500 | 502..=504))
    }

    /// The answer at the end of a failed request's way, or one on the way whose condition could not be decided.
    fn given(
        &self,
        failure: &Failure,
        status: u16,
        (server, served): (usize, &Served),
        is_behind_a_hop: bool,
    ) -> Option<OwnAnswer> {
        let gateway = self.case.gateway;
        let last = served.steps.last()?.route;
        let directive = format!("return {status}");
        if let Stop::Return { at, status: returned } = &served.stop {
            let (at, condition) = (at.clone(), unless_decided(served));
            let answer = OwnAnswer { route: last, status, at, directive, condition, is_behind_a_hop };
            return (*returned == status).then_some(answer);
        }
        if let Some(answer) = self.missing_file(last, failure, status) {
            return Some(OwnAnswer { is_behind_a_hop, ..answer });
        }
        let own_server =
            gateway.routes().find(|(_, route)| route.server == server && route.location.is_none());
        let visited =
            own_server.map(|(id, _)| id).into_iter().chain(served.steps.iter().map(|step| step.route));
        visited.into_iter().find_map(|route| {
            let returns = |conditional: &&Conditional| {
                matches!(&conditional.action, Some(Action::Return(given)) if given.status == status)
                    && served.undecided.contains(&conditional.at)
            };
            let conditional = gateway.route(route).conditionals.iter().find(returns)?;
            let Some(Action::Return(given)) = &conditional.action else { return None };
            Some(OwnAnswer {
                route,
                status,
                at: given.at.clone(),
                directive: directive.clone(),
                condition: Some(format!("if ({})", conditional.condition)),
                is_behind_a_hop,
            })
        })
    }

    /// A `try_files` that ends with that status.
    fn missing_file(&self, route: RouteId, failure: &Failure, status: u16) -> Option<OwnAnswer> {
        let own = self.case.gateway.route(route);
        let is_it = |fallback: &&Fallback| {
            fallback.kind == FallbackKind::TryFiles && fallback.to == format!("={status}")
        };
        let fallback = own.fallbacks.iter().find(is_it)?;
        let may_pass = own.action.pass().is_some() && !failure.tries_logged;
        Some(OwnAnswer {
            route,
            status,
            at: fallback.at.clone(),
            directive: format!("try_files … {}", fallback.to),
            condition: may_pass.then(|| "where no file is found".to_owned()),
            is_behind_a_hop: false,
        })
    }
}

/// What an answer depends on where conditions before it could not be decided.
fn unless_decided(served: &Served) -> Option<String> {
    (!served.undecided.is_empty()).then(|| "unless a condition before it holds".to_owned())
}

/// The status that a client gets for one that a route answers with (`ngx_http_send_error_page`): an error page keeps it, or
/// says another one, or `=` leaves it to the page. `None` where that cannot be told.
fn shown_status(gateway: &Gateway, route: RouteId, status: u16) -> Option<u16> {
    let Some(page) = gateway.error_page(route, status) else { return Some(status) };
    // Anything else is a redirect of the client's.
    if !page.to.starts_with(['/', '@']) {
        return None;
    }
    match page.kind {
        FallbackKind::ErrorPage { becomes: Some(0), .. } => {
            let to = page.to.split('?').next().filter(|to| to.starts_with('/') && !to.contains('$'))?;
            let request = RequestVars::of_request("GET", to, None);
            match gateway.serve_inside(gateway.route(route).server, &request)?.stop {
                Stop::Return { status, .. } => Some(status),
                _ => None,
            }
        }
        FallbackKind::ErrorPage { becomes: Some(other), .. } => Some(other),
        _ => Some(status),
    }
}

/// A pass to a listener of this gateway.
pub(super) struct Hop {
    pub(super) address: PeerAddress,
    pub(super) host: String,
    pub(super) path: String,
}

/// Where a route passes a request to, if that is a listener of this gateway and nothing else.
pub(super) fn next_hop(case: &Case<'_>, route: RouteId, path: &str, host: &str) -> Option<Hop> {
    let pass = case.pass_of(route, None)?;
    let address = own_address(case, &pass.target)?;
    let host = host_header(case, pass, host);
    let path = upstream_path(case, route, pass, path);
    Some(Hop { address, host, path })
}

/// The only address of a group, if it is a listener of this gateway.
fn own_address(case: &Case<'_>, target: &Target) -> Option<PeerAddress> {
    let Target::Group(group) = *target else { return None };
    let mut addresses = case
        .peers
        .iter()
        .filter(|peer| peer.group == Some(group) && peer.place.is_some())
        .map(|peer| &peer.address);
    let address = addresses.next()?;
    (addresses.next().is_none() && is_own_listener(case, address)).then(|| address.clone())
}
