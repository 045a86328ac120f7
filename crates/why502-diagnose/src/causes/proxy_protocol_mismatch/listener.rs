//! The gateway's own side: a header that its listeners miss, or that they do not expect.

use super::CAUSE;
use crate::case::{Case, Failure, FailureId, Subject, count};
use crate::finding::{Confidence, Evidence, Finding, Origin, Ruling};
use why502_facts::{ErrorRecord, PeerAddress, Phrase};
use why502_model::Listen;

/// Less than that may be somebody who tries the port.
const MIN_CONNECTIONS: u64 = 3;
/// The method that nginx reads where the header stands in place of a request line.
const BEGIN: &str = "PROXY";
/// What follows it (`proxy-protocol.txt`, section 2.1).
const FAMILIES: [&str; 3] = ["TCP4", "TCP6", "UNKNOWN"];
const BAD_REQUEST: u16 = 400;

/// On which side the header is.
pub(super) enum Mismatch<'c> {
    /// A listener expects it, and connections begin without.
    Missing { listen: &'c Listen, lines: Vec<&'c ErrorRecord> },
    /// Requests begin with it, and nobody expects it.
    Unexpected { refused: Vec<(FailureId, &'c Failure)> },
}

pub(super) fn detect(case: &Case<'_>, subject: &Subject) -> Ruling {
    let Some(mismatch) = mismatch(case) else { return Ruling::NoSign };
    let finding = Finding::new(&CAUSE, Confidence::Likely, subject);
    Ruling::found(match mismatch {
        Mismatch::Missing { listen, lines } => {
            let number = lines.iter().map(|record| record.weight).sum();
            let says = format!("{} began without the header", count(number, "connection"));
            let line =
                lines.last().map(|record| Evidence::supporting(says, Origin::Log(record.line.clone())));
            let mut finding = finding.with(line).at(listen.at.clone());
            finding.fails_clients_now = true;
            finding
        }
        Mismatch::Unexpected { refused } => {
            let says = format!("{} began with the header", count(Case::weigh(&refused), "request"));
            let line = Case::line_of(&refused).map(|origin| Evidence::supporting(says, origin));
            finding.explaining(refused.iter().map(|(id, _)| *id)).with(line)
        }
    })
}

/// What the logs tell of a mismatch on this side; the missing header first.
pub(super) fn mismatch<'c>(case: &'c Case<'_>) -> Option<Mismatch<'c>> {
    missing(case).or_else(|| unexpected(case))
}

/// The listener of the gateway at an address, if it expects the header. One of the very address is it before one of all
/// addresses (`ngx_http_add_addresses`).
pub(super) fn expecting<'c>(case: &'c Case<'_>, address: &PeerAddress) -> Option<&'c Listen> {
    let listens = || case.gateway.servers.iter().flat_map(|server| &server.listens);
    let is_exact = |listen: &&Listen| match address {
        PeerAddress::Unix(path) => listen.path.as_ref() == Some(path),
        PeerAddress::Inet(inet) => listen.address == Some(*inet),
    };
    let is_wildcard = |listen: &&Listen| match (address, listen.address) {
        (PeerAddress::Inet(inet), Some(own)) => {
            let is_of_family = own.is_ipv4() == inet.is_ipv4() || listen.ipv6_only == Some(false);
            own.port() == inet.port() && own.ip().is_unspecified() && is_of_family && case.is_local(address)
        }
        _ => false,
    };
    let serving = listens().find(is_exact).or_else(|| listens().find(is_wildcard))?;
    // The setting of any `listen` of an address is that of all of them (`ngx_http_add_addresses`).
    listens().find(|listen| is_same(listen, serving) && listen.proxy_protocol)
}

/// Whether two `listen`s are of one socket, however they spell its address.
fn is_same(one: &Listen, other: &Listen) -> bool {
    match (one.address, other.address) {
        (Some(own), Some(their)) => own == their,
        (None, None) if one.path.is_some() || other.path.is_some() => one.path == other.path,
        // An address that nobody knows is known by its text alone.
        _ => one.text == other.text,
    }
}

/// A listener that expects the header, on which connections begin without it and nobody was served.
fn missing<'c>(case: &'c Case<'_>) -> Option<Mismatch<'c>> {
    let listens = case.gateway.servers.iter().flat_map(|server| &server.listens);
    listens.filter(|listen| listen.proxy_protocol).find_map(|listen| {
        let lines: Vec<&ErrorRecord> = broken(case).filter(|record| is_of(record, listen)).collect();
        let number: u64 = lines.iter().map(|record| record.weight).sum();
        let is_it = number >= MIN_CONNECTIONS && !serves_anybody(case, listen) && !is_dialled(case, listen);
        is_it.then_some(Mismatch::Missing { listen, lines })
    })
}

fn broken<'c>(case: &'c Case<'_>) -> impl Iterator<Item = &'c ErrorRecord> {
    let records = case.error_logs.iter().flat_map(|digest| &digest.records);
    // Whose request it would have been, nobody knows.
    records.filter(|record| record.phrase == Phrase::BrokenProxyProtocol && case.asked.is_none())
}

/// Before a request was read, nginx names the address that it listens on (`ngx_http_log_error`).
fn is_of(record: &ErrorRecord, listen: &Listen) -> bool {
    let Some(server) = record.context.server.as_deref() else { return false };
    match (&listen.address, &listen.path) {
        (Some(address), _) => server == address.to_string(),
        (None, Some(path)) => server.strip_prefix("unix:") == Some(path),
        (None, None) => false,
    }
}

/// Whether a request came through to a server that listens there, by this listener or by another one of the server's.
fn serves_anybody(case: &Case<'_>, listen: &Listen) -> bool {
    let Some(totals) = &case.totals else { return true };
    totals.iter().any(|((route, _), number)| {
        let is_there = route.is_none_or(|route| {
            let server = case.gateway.server_of(case.gateway.route(route));
            server.listens.iter().any(|own| is_same(own, listen))
        });
        *number > 0 && is_there
    })
}

/// Whether the gateway itself dials that listener: then its peer is what the finding is about.
fn is_dialled(case: &Case<'_>, listen: &Listen) -> bool {
    case.peers.iter().any(|peer| expecting(case, &peer.address).is_some_and(|own| is_same(own, listen)))
}

/// Requests that begin with the header.
fn unexpected<'c>(case: &'c Case<'_>) -> Option<Mismatch<'c>> {
    let refused: Vec<(FailureId, &Failure)> = case
        .failures()
        .filter(|(_, failure)| {
            let is_family =
                |path: &String| path.split(' ').next().is_some_and(|word| FAMILIES.contains(&word));
            failure.status == Some(BAD_REQUEST)
                && failure.method.as_deref() == Some(BEGIN)
                && failure.path.as_ref().is_some_and(is_family)
        })
        .collect();
    let number = Case::weigh(&refused);
    let is_well = |status: u16| (200..400).contains(&status);
    let totals = case.totals.iter().flatten().filter(|((_, status), _)| is_well(*status));
    let n_served: u64 = totals.map(|(_, number)| *number).sum();
    // Who sends it sends it always: beside many that are served it is somebody who tries the port.
    (number >= MIN_CONNECTIONS && number >= n_served).then_some(Mismatch::Unexpected { refused })
}
