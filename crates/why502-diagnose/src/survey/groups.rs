//! Failures by what they have in common.

use super::select::{Selected, Selection};
use super::times::times;
use super::{Count, Example, Family, Group, Maker, StatusCount, Top, select};
use crate::case::Case;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use why502_facts::LineRef;
use why502_model::RouteId;

/// What failures are grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupBy {
    /// The client's address.
    Client,
    /// The kind of failure.
    Family,
    /// The address that was dialled last.
    Peer,
    /// The server and location, or the first segment of the path.
    Route,
    /// The status that the client saw.
    Status,
    /// The upstream group.
    Upstream,
}

/// The keys of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    family: Option<Family>,
    route: Option<String>,
    upstream: Option<String>,
    peer: Option<String>,
    client: Option<String>,
    status: Option<u16>,
}

/// The groups of failures, the largest first.
pub(super) fn groups(case: &Case<'_>, failures: &[&Selected<'_>], selection: &Selection) -> Vec<Group> {
    let by = match selection.group_by.as_slice() {
        [] => &[GroupBy::Family, GroupBy::Route, GroupBy::Upstream, GroupBy::Peer],
        given => given,
    };
    let mut members: BTreeMap<Key, Vec<&Selected<'_>>> = BTreeMap::new();
    for one in failures {
        members.entry(key(one, by)).or_default().push(one);
    }
    let by_route = by == [GroupBy::Route];
    let mut groups: Vec<Group> =
        members.into_iter().filter_map(|(key, members)| group(case, key, &members, by_route)).collect();
    groups.sort_by_key(|group| Reverse(group.requests));
    groups
}

fn key(one: &Selected<'_>, by: &[GroupBy]) -> Key {
    let mut key = Key::default();
    for by in by {
        match by {
            GroupBy::Client => key.client.clone_from(&one.failure.client),
            GroupBy::Family => key.family = Some(one.family),
            GroupBy::Peer => key.peer.clone_from(&one.peer),
            GroupBy::Route => key.route.clone_from(&one.route),
            GroupBy::Status => key.status = one.failure.status,
            GroupBy::Upstream => key.upstream.clone_from(&one.upstream),
        }
    }
    key
}

fn group(case: &Case<'_>, key: Key, members: &[&Selected<'_>], by_route: bool) -> Option<Group> {
    let moments = || members.iter().map(|one| one.failure.at);
    let mut statuses: BTreeMap<u16, u64> = BTreeMap::new();
    for one in members {
        *statuses.entry(one.failure.status.unwrap_or(0)).or_default() += one.failure.weight;
    }
    let makers: BTreeSet<Maker> = members.iter().map(|one| one.maker).collect();
    let Key { family, route, upstream, peer, client, status } = key;
    Some(Group {
        family,
        route,
        upstream,
        peer,
        client,
        status,
        made_by: makers.into_iter().collect(),
        statuses: statuses.into_iter().map(|(status, requests)| StatusCount { status, requests }).collect(),
        requests: members.iter().map(|one| one.failure.weight).sum(),
        of: if by_route {
            of_routes(case, members)
        } else {
            case.totals.as_ref().map(|totals| totals.values().sum())
        },
        first: moments().min()?.to_string(),
        last: moments().max()?.to_string(),
        times: times(members),
        example: members.iter().find_map(|one| one.failure.line()).map(example),
    })
}

/// How many requests the routes of some failures had.
fn of_routes(case: &Case<'_>, members: &[&Selected<'_>]) -> Option<u64> {
    let routes: BTreeSet<RouteId> = members.iter().filter_map(|one| one.failure.entry).collect();
    if routes.is_empty() {
        return None;
    }
    routes.into_iter().map(|route| case.n_total(route)).sum()
}

fn example(line: &LineRef) -> Example {
    Example {
        file: line.file.to_string(),
        offset: line.offset,
        text: line.text.as_deref().map(select::masked),
    }
}

/// Who and what was hit most.
pub(super) fn top(failures: &[&Selected<'_>], most: usize) -> Top {
    let by = |name: for<'s> fn(&'s Selected<'_>) -> Option<&'s str>| {
        counts(failures.iter().filter_map(|one| Some((name(one)?, one.failure.weight))), most)
    };
    Top {
        routes: by(|one| one.route.as_deref()),
        paths: by(|one| one.failure.path.as_deref()),
        peers: by(|one| one.peer.as_deref()),
        clients: by(|one| one.failure.client.as_deref()),
        user_agents: by(|one| one.failure.user_agent.as_deref()),
    }
}

/// The most frequent of some names, masked; between equals the first by name.
pub(super) fn counts<N: AsRef<str> + Ord>(named: impl Iterator<Item = (N, u64)>, most: usize) -> Vec<Count> {
    let mut counts: BTreeMap<N, u64> = BTreeMap::new();
    for (name, weight) in named {
        *counts.entry(name).or_default() += weight;
    }
    // Names that differ in their secrets alone are one.
    let mut masked: BTreeMap<String, u64> = BTreeMap::new();
    for (name, weight) in counts {
        *masked.entry(select::masked(name.as_ref())).or_default() += weight;
    }
    let mut counts: Vec<Count> =
        masked.into_iter().map(|(name, requests)| Count { name, requests }).collect();
    counts.sort_by_key(|count| Reverse(count.requests));
    counts.truncate(most);
    counts
}
