//! What the causes of names that nginx's own resolver cannot resolve have in common: its name servers, asked one by one for
//! just that name.

use super::names::{Unresolved, unresolved};
use crate::case::{Case, Subject, or_ask};
use crate::cause::{Asks, Cause};
use crate::finding::{Confidence, Evidence, Finding, Open, Origin, Ruling};
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
    /// The servers that nginx may ask, as far as they are written as addresses.
    servers: Vec<SocketAddr>,
    /// How many servers are written.
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
        found.push(Asked { name, replies, gaps, servers: servers.clone(), n_written: written.len(), at });
    }
    if asks.is_empty() { Ok(found) } else { Err(asks) }
}

/// The ask for a name.
fn ask(case: &Case<'_>, name: &str, resolver: Resolver) -> Ask {
    Ask::Resolve { security: case.gateway.security, name: name.to_owned(), resolver }
}

/// A server as `resolver` takes it: an address, perhaps with a port. A name is resolved by the system when nginx is loaded.
fn address(written: &str) -> Option<SocketAddr> {
    let with_port = written.parse::<SocketAddr>().ok();
    let bare = written.trim_start_matches('[').trim_end_matches(']');
    with_port.or_else(|| Some(SocketAddr::new(bare.parse::<IpAddr>().ok()?, PORT)))
}

/// Whether an address is one of the public internet, and no private one (RFC 1918, RFC 4193, RFC 6598) or local one.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let shared = v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64;
            !(v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_unspecified() || shared)
        }
        IpAddr::V6(v6) => {
            !(v6.is_unique_local() || v6.is_loopback() || v6.is_unicast_link_local() || v6.is_unspecified())
        }
    }
}

/// Whether a name can exist in some private network only: its last labels are kept for that (RFC 6761, RFC 6762, RFC 8375;
/// `internal`, `corp`, `home` and `mail` by ICANN).
pub(super) fn is_private_name(name: &str) -> bool {
    const PRIVATE: [&str; 9] =
        ["corp", "home", "home.arpa", "internal", "intranet", "lan", "local", "mail", "test"];
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    PRIVATE
        .iter()
        .any(|last| name.strip_suffix(last).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')))
}

/// What tells one cause of a name that nginx's servers deny and the system has from the other.
pub(super) struct Denied {
    pub(super) cause: &'static Cause,
    /// Whether it is this, by what the system's own name servers say of just that name.
    pub(super) fits: fn(&NameReply) -> bool,
    /// Why the name itself speaks for it, where nobody could ask.
    pub(super) by_word: fn(&Asked<'_>) -> Option<String>,
}

/// Rules on a name that nginx's servers deny: confirmed where all were asked, and the system and its servers as well; likely
/// where nobody could ask, and the name speaks for itself.
pub(super) fn denied(case: &Case<'_>, subject: &Subject, denied: &Denied) -> Result<Ruling, Asks> {
    for asked in asked(case, subject)? {
        let name = asked.name.name.clone();
        let by_word = (denied.by_word)(&asked)
            .filter(|_| asked.name.code == Some(NXDOMAIN) && asked.replies.is_empty());
        if by_word.is_none() && !asked.is_denied_by_all() {
            continue;
        }
        let system = or_ask(case.facts.addresses(case.gateway.security, &name))?;
        match (by_word, system) {
            (Some(says), Observed::Unknown(gap)) => {
                let why = Evidence::supporting(says, Origin::Derived);
                let open = Case::open(gap, "whether the system knows the name");
                let finding = asked.finding(denied.cause, Confidence::Likely, subject);
                return Ok(Ruling::found(finding.with([why]).open([open])));
            }
            (None, Observed::Known(addresses)) => {
                let servers = Resolver::SystemServers;
                let reply = or_ask(case.facts.name_reply(case.gateway.security, &name, servers))?;
                let Some(says) = reply.known().filter(|says| (denied.fits)(says)) else { continue };
                let known = addresses.first().map_or_else(String::new, ToString::to_string);
                let system = Evidence::supporting(
                    format!("the system resolves {name:?}: {known}"),
                    Origin::Probe(ask(case, &name, Resolver::System)),
                );
                let own = Evidence::supporting(
                    format!("asked for just that name, the system's own name server {says}"),
                    Origin::Probe(ask(case, &name, servers)),
                );
                let finding = asked.finding(denied.cause, Confidence::Confirmed, subject);
                return Ok(Ruling::found(finding.still_failing(Some(true)).with([system, own])));
            }
            _ => {}
        }
    }
    Ok(Ruling::NoSign)
}

/// The name that a finding is about.
pub(super) fn name_of(case: &Case<'_>, finding: &Finding) -> String {
    let subject = finding.subjects.first();
    let found = subject.and_then(|subject| asked(case, subject).ok()).unwrap_or_default();
    found.first().map_or_else(|| "the name".to_owned(), |asked| asked.name.name.clone())
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
    fn is_denied_by_all(&self) -> bool {
        self.is_whole() && self.replies.iter().all(|reply| *reply.says == NameReply::NoSuchName)
    }

    /// Whether all servers that nginx may ask are public ones.
    pub(super) fn asks_the_public(&self) -> bool {
        !self.servers.is_empty()
            && self.servers.len() == self.n_written
            && self.servers.iter().all(|server| is_public(server.ip()))
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
    fn private_names_and_public_servers_are_known() {
        for name in ["tools.svc.cluster.local", "staging.test", "db.corp.", "printer.home.arpa"] {
            assert!(is_private_name(name), "{name}");
        }
        for name in ["www.example.com", "local", "mylocal", "api.latest"] {
            assert!(!is_private_name(name), "{name}");
        }
        let public = |text: &str| is_public(text.parse().unwrap());
        assert!(public("8.8.8.8") && public("2606:4700:4700::1111"));
        assert!(
            !public("10.96.0.10") && !public("127.0.0.11") && !public("100.100.2.136") && !public("fd00::1")
        );
    }

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
