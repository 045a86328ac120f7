//! What the causes of names that nginx's own resolver cannot resolve have in common: its name servers, asked one by one for
//! just that name.

use super::names::{Unresolved, unresolved};
use crate::case::{Case, Subject, or_ask};
use crate::cause::{Asks, Cause};
use crate::finding::{Confidence, Evidence, Finding, Open, Origin};
use std::net::{IpAddr, SocketAddr};
use why502_facts::{Ask, Gap, NameReply, Observed, Phrase, Resolver};
use why502_model::{Span, Target};

/// More servers than anybody lists.
const MAX_SERVERS: usize = 8;
/// The port of name servers (`NGX_RESOLVER_PORT`).
const PORT: u16 = 53;
/// The code of nginx's resolver for a name that does not exist (`NGX_RESOLVE_NXDOMAIN`).
pub(super) const NXDOMAIN: u32 = 3;

/// A name that requests of a route could not resolve, and what its servers say of it now.
pub(super) struct Asked<'c> {
    pub(super) name: Unresolved,
    pub(super) replies: Vec<Reply<'c>>,
    /// Servers that nobody could ask.
    pub(super) gaps: Vec<Gap>,
    /// How many servers nginx may ask; they are written as names where fewer were asked.
    n_written: usize,
    at: Option<Span>,
}

/// What a server says.
pub(super) struct Reply<'c> {
    pub(super) server: SocketAddr,
    pub(super) says: &'c NameReply,
    ask: Ask,
}

/// The names that requests of a route could not resolve, with what its resolver's servers say of them. An error asks them.
pub(super) fn asked<'c>(case: &'c Case<'_>, subject: &Subject) -> Result<Vec<Asked<'c>>, Asks> {
    let pass = subject.route().and_then(|route| case.pass_of(route, None));
    let resolver = pass.and_then(|pass| match &pass.target {
        Target::Unresolved(target) => target.resolver.as_ref(),
        Target::Group(group) => case.gateway.group(*group).resolver.as_ref(),
    });
    let written = resolver.map(|resolver| resolver.value.as_slice()).unwrap_or_default();
    let servers: Vec<SocketAddr> =
        written.iter().filter_map(|server| address(server)).take(MAX_SERVERS).collect();
    let (mut found, mut asks) = (Vec::new(), Vec::new());
    for name in unresolved(case, subject).into_iter().filter(|name| name.phrase == Phrase::NameNotResolved) {
        let (mut replies, mut gaps) = (Vec::new(), Vec::new());
        for server in &servers {
            let resolver = Resolver::Server(*server);
            match or_ask(case.facts.name_reply(case.gateway.security, &name.name, resolver)) {
                Err(more) => asks.extend(more),
                Ok(Observed::Known(says)) => {
                    let ask = ask(case, &name.name, resolver);
                    replies.push(Reply { server: *server, says, ask });
                }
                Ok(Observed::Unknown(gap)) => gaps.push(gap),
                Ok(Observed::Absent) => {}
            }
        }
        let at = resolver.and_then(|resolver| resolver.at.clone());
        found.push(Asked { name, replies, gaps, n_written: written.len(), at });
    }
    if asks.is_empty() { Ok(found) } else { Err(asks) }
}

/// The ask for a name.
pub(super) fn ask(case: &Case<'_>, name: &str, resolver: Resolver) -> Ask {
    Ask::Resolve { security: case.gateway.security, name: name.to_owned(), resolver }
}

/// A server as `resolver` takes it: an address, perhaps with a port. A name is resolved by the system when nginx is loaded.
fn address(written: &str) -> Option<SocketAddr> {
    let with_port = written.parse::<SocketAddr>().ok();
    let bare = written.trim_start_matches('[').trim_end_matches(']');
    with_port.or_else(|| Some(SocketAddr::new(bare.parse::<IpAddr>().ok()?, PORT)))
}

impl Asked<'_> {
    /// Whether every server that nginx may ask was asked.
    pub(super) fn is_whole(&self) -> bool {
        !self.replies.is_empty() && self.replies.len() == self.n_written
    }

    /// The servers that say nothing of the name.
    pub(super) fn silent(&self) -> impl Iterator<Item = &Reply<'_>> {
        self.replies.iter().filter(|reply| !reply.says.is_answer())
    }

    /// Whether every server was asked, and all say that there is no such name.
    pub(super) fn is_denied_by_all(&self) -> bool {
        self.is_whole() && self.replies.iter().all(|reply| *reply.says == NameReply::NoSuchName)
    }

    /// A finding about it, with the log line and what the servers say.
    pub(super) fn finding(self, cause: &'static Cause, confidence: Confidence, subject: &Subject) -> Finding {
        let line = self.name.evidence();
        let replies = self.replies.iter().map(|reply| {
            let says = format!("asked for {:?}, {} {}", self.name.name, reply.server, reply.says);
            Evidence::supporting(says, Origin::Probe(reply.ask.clone()))
        });
        let gaps = self
            .gaps
            .iter()
            .map(|gap| Open { gap: gap.clone(), says: "what that name server says".to_owned() });
        Finding::new(cause, confidence, subject)
            .with(line)
            .with(replies)
            .open(gaps)
            .at(self.at.clone())
            .explaining(self.name.failures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_written_with_and_without_a_port() {
        let read = |text: &str| address(text).map(|server| server.to_string());
        assert_eq!(read("10.0.0.53").as_deref(), Some("10.0.0.53:53"));
        assert_eq!(read("10.0.0.53:5353").as_deref(), Some("10.0.0.53:5353"));
        assert_eq!(read("[::1]").as_deref(), Some("[::1]:53"));
        assert_eq!(read("[::1]:5353").as_deref(), Some("[::1]:5353"));
        assert_eq!(read("dns.example"), None);
    }
}
