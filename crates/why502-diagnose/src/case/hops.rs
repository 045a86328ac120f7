//! How a request came to the route where it failed, where that is not by its own path: nginx's log line has the client's
//! request line, and the upstream of another location.

use super::{Case, Failure, FailureId};
use crate::finding::{Evidence, Origin};
use std::collections::BTreeSet;
use why502_model::{Fallback, FallbackKind, RouteId, Setting, Span};

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
    /// and no directive leads there.
    fn sent_on(&self, from: RouteId, to: RouteId) -> Option<Span> {
        let is_hidden =
            self.gateway.is_internal(to) || self.gateway.route(to).location.as_deref()?.starts_with('@');
        let pass = self.gateway.route(from).action.pass()?;
        (from != to && is_hidden && !self.gateway.reachable(from).contains(&to)).then(|| pass.at.clone())
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
