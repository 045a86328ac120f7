//! Durations that failures share: where many take just as long, a timer ends them.

use super::select::Selected;
use super::{Cluster, Family};
use crate::case::Case;
use crate::durations::{self, Common};
use crate::timers::{Side, comes_to, known};
use std::collections::BTreeMap;
use std::time::Duration;
use why502_model::{Pass, RouteId, Setting};

/// Shorter durations are noise of the machine, in milliseconds.
const MIN_MS: u32 = 900;
/// What nginx's timers towards an upstream are unless set, in milliseconds.
const NGINX_DEFAULT: u32 = 60_000;
/// How long a failure took, how many requests it stands for, and where it failed.
type Member = (u32, u64, Option<RouteId>);

/// The clusters, the largest first.
pub(super) fn clusters(case: &Case<'_>, failures: &[&Selected<'_>]) -> Vec<Cluster> {
    let mut kinds: BTreeMap<(Family, Option<&String>), Vec<Member>> = BTreeMap::new();
    for one in failures {
        let last = one.failure.attempts().next_back().and_then(|last| last.tried.as_ref()?.response_ms);
        let whole = one.failure.request_ms;
        // What a single attempt took tells a timer better than a request with several; whoever waits in front waits for all.
        if let Some(ms) = if one.family == Family::ClientLeft { whole.or(last) } else { last.or(whole) } {
            let members = kinds.entry((one.family, one.route.as_ref())).or_default();
            members.push((ms, one.failure.weight, one.failure.route));
        }
    }
    let mut clusters = Vec::new();
    let mut spread: BTreeMap<Family, Vec<Member>> = BTreeMap::new();
    for ((family, route), members) in kinds {
        match cluster(case, family, route, members.clone()) {
            Some(found) => clusters.push(found),
            None => spread.entry(family).or_default().extend(members),
        }
    }
    // A timer in front of the gateway, or in the application, ends requests of all routes: few of each.
    let over_routes = spread.into_iter().filter_map(|(family, members)| cluster(case, family, None, members));
    clusters.extend(over_routes);
    clusters.sort_by_key(|cluster| std::cmp::Reverse(cluster.requests));
    clusters
}

fn cluster(
    case: &Case<'_>,
    family: Family,
    route: Option<&String>,
    mut members: Vec<Member>,
) -> Option<Cluster> {
    members.sort_unstable();
    let durations: Vec<(u32, u64)> = members.iter().map(|(ms, weight, _)| (*ms, *weight)).collect();
    let Common { range, ms, requests, of } = durations::common(&durations, MIN_MS)?;
    let inside = &members[range];
    let mut timers: Vec<String> = Vec::new();
    for pass in inside.iter().filter_map(|(_, _, route)| case.pass_of((*route)?, None)) {
        for timer in directives(pass, family, ms) {
            if !timers.contains(&timer) {
                timers.push(timer);
            }
        }
    }
    let is_unknown = inside.iter().all(|(_, _, route)| route.is_none());
    if is_unknown && sides(family).is_empty() && comes_to(ms, NGINX_DEFAULT) {
        timers.push("nginx's default for each of its timers towards an upstream".to_owned());
    }
    timers.extend(sides(family).iter().flat_map(|side| known(*side, ms)).map(str::to_owned));
    Some(Cluster { family, route: route.cloned(), ms, requests, of, timers })
}

/// Where a timer runs that can have ended a failure of a kind, beside the gateway's own.
fn sides(family: Family) -> &'static [Side] {
    match family {
        Family::ClientLeft => &[Side::InFront],
        Family::AnswerTimedOut | Family::ConnectTimedOut | Family::SendTimedOut => &[],
        Family::Closed | Family::CutOff | Family::NoUsableAnswer | Family::Reset => &[Side::Behind],
        // A hop behind this one may be a gateway itself.
        _ => &[Side::Behind, Side::InFront],
    }
}

/// The directives of a pass that can end such failures, and whose value a duration comes to.
fn directives(pass: &Pass, family: Family, ms: u32) -> Vec<String> {
    let prefix = pass.protocol.prefix();
    let timer = |name: &str, setting: &Setting<Duration>| {
        let value = u32::try_from(setting.value.as_millis()).ok()?;
        let at = setting
            .at
            .as_ref()
            .map_or_else(|| "by default".to_owned(), |at| format!("{}:{}", at.file, at.line));
        comes_to(ms, value).then(|| format!("{prefix}_{name} {value}ms ({at})"))
    };
    let timeouts = &pass.timeouts;
    let (connect, send, read) = match family {
        // Whoever is not there any more was not sent away by the gateway.
        Family::ClientLeft | Family::Closed | Family::Reset | Family::UpstreamAnswer => (false, false, false),
        Family::ConnectTimedOut => (true, false, false),
        Family::SendTimedOut => (false, true, false),
        Family::AnswerTimedOut | Family::CutOff => (false, false, true),
        _ => (true, true, true),
    };
    let timers = [
        read.then(|| timer("read_timeout", &timeouts.read)),
        connect.then(|| timer("connect_timeout", &timeouts.connect)),
        send.then(|| timer("send_timeout", &timeouts.send)),
    ];
    timers.into_iter().flatten().flatten().collect()
}
