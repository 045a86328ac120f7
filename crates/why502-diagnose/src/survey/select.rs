//! Which failures are surveyed.

use super::{Family, GroupBy, Maker, classify};
use crate::case::{Case, Failure};
use std::str::FromStr;
use why502_facts::{Outcome, lossy, mask_secrets};

/// What is wanted of the logs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// The statuses; none: all that are failures.
    pub statuses: Vec<StatusRange>,
    /// A group's name, or an address, that a failed attempt went to.
    pub upstream: Option<String>,
    /// A part of a route: of its server, its location, or of the path.
    pub route: Option<String>,
    /// What failures are grouped by; none: by family, route, upstream and peer.
    pub group_by: Vec<GroupBy>,
    /// How many rows a list of the most frequent has.
    pub top: usize,
}

/// A status, or a class of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusRange {
    first: u16,
    last: u16,
}

impl StatusRange {
    fn holds(self, status: u16) -> bool {
        (self.first..=self.last).contains(&status)
    }
}

impl FromStr for StatusRange {
    type Err = String;

    /// Reads `502`, `5xx` or `500-504`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no status: write 502, 5xx or 500-504");
        let number = |text: &str| {
            let is_number = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
            is_number.then(|| text.parse::<u16>().ok()).flatten().ok_or_else(wrong)
        };
        if let Some(class) = text.strip_suffix("xx").or_else(|| text.strip_suffix("XX")) {
            let first = number(&format!("{class}00"))?;
            return Ok(Self { first, last: first + 99 });
        }
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (first, last) = (number(first)?, number(last)?);
        if first <= last { Ok(Self { first, last }) } else { Err(wrong()) }
    }
}

/// A failure that was selected.
#[derive(Clone, Debug)]
pub(super) struct Selected<'c> {
    pub(super) failure: &'c Failure,
    pub(super) maker: Maker,
    pub(super) family: Family,
    /// The server and location, or the first segment of the path.
    pub(super) route: Option<String>,
    /// The name of the group.
    pub(super) upstream: Option<String>,
    /// The address of the last attempt.
    pub(super) peer: Option<String>,
}

/// The failures that are wanted, those that were hidden among them.
pub(super) fn select<'c>(case: &'c Case<'_>, selection: &Selection) -> Vec<Selected<'c>> {
    let selected = case.failures.iter().filter(|failure| is_wanted(failure, selection)).map(|failure| {
        let maker = classify::maker(case, failure);
        Selected {
            failure,
            maker,
            family: classify::family(failure, maker),
            route: route(case, failure),
            upstream: upstream(case, failure),
            peer: peer(failure),
        }
    });
    selected.filter(|one| is_of(one, selection)).collect()
}

fn is_wanted(failure: &Failure, selection: &Selection) -> bool {
    if selection.statuses.is_empty() {
        return !matches!(failure.outcome, Outcome::Answered | Outcome::Upgraded);
    }
    let status = failure.status.unwrap_or(0);
    selection.statuses.iter().any(|range| range.holds(status))
}

fn is_of(one: &Selected<'_>, selection: &Selection) -> bool {
    let of_upstream = selection.upstream.as_ref().is_none_or(|wanted| {
        let dialled = |attempt: &crate::case::Symptom| {
            attempt.group.as_ref() == Some(wanted)
                || attempt.peer.as_ref().is_some_and(|peer| peer.to_string() == *wanted)
        };
        one.upstream.as_ref() == Some(wanted) || one.failure.attempts().any(dialled)
    });
    let of_route = selection.route.as_ref().is_none_or(|wanted| {
        let has_it = |text: Option<&str>| text.is_some_and(|text| text.contains(wanted.as_str()));
        has_it(one.route.as_deref()) || has_it(one.failure.path.as_deref())
    });
    of_upstream && of_route
}

fn route(case: &Case<'_>, failure: &Failure) -> Option<String> {
    if let Some(id) = failure.route {
        let route = case.gateway.route(id);
        let server = case.gateway.server_of(route).name();
        let location = route.location.as_deref().unwrap_or("");
        return Some(format!("{server} {location}").trim().to_owned());
    }
    // Without a configuration the first segment of the path stands for it.
    let path = failure.path.as_deref()?;
    let end = path.get(1..).and_then(|rest| rest.find('/')).map_or(path.len(), |at| at + 1);
    Some(masked(path.get(..end)?))
}

fn upstream(case: &Case<'_>, failure: &Failure) -> Option<String> {
    let last = failure.attempts().next_back()?;
    if let Some(group) = &last.group {
        return Some(group.clone());
    }
    let address = last.peer.as_ref()?;
    let route = failure.route;
    let of_route = |peer: &&crate::case::PeerSubject| route.is_none_or(|route| peer.is_of(route));
    let group = case.peers_at(address).find(of_route)?.group?;
    case.gateway.group(group).name.clone()
}

fn peer(failure: &Failure) -> Option<String> {
    failure.attempts().next_back()?.peer.as_ref().map(ToString::to_string)
}

/// A text without secrets.
pub(super) fn masked(text: &str) -> String {
    lossy(&mask_secrets(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_numbers_classes_or_ranges() {
        let range = |text: &str| text.parse::<StatusRange>();
        assert!(range("502").unwrap().holds(502) && !range("502").unwrap().holds(503));
        assert!(range("5xx").unwrap().holds(599) && !range("5xx").unwrap().holds(499));
        assert!(range("500-504").unwrap().holds(504) && !range("500-504").unwrap().holds(505));
        assert!(range("000").unwrap().holds(0));
        for refused in ["", "5", "50x", "abc", "504-500", "502-", "+02", "9999"] {
            assert!(range(refused).is_err(), "{refused}");
        }
    }
}
