//! Durations that failures share: where many take just as long, a timer ends them.

use super::select::Selected;
use super::{Cluster, Family};
use crate::case::Case;
use crate::durations::{self, Common, play};
use std::collections::BTreeMap;
use std::time::Duration;
use why502_model::{Pass, RouteId, Setting};

/// Shorter durations are noise of the machine, in milliseconds.
const MIN_MS: u32 = 900;
/// Well-known timers of applications and balancers, in seconds. What they stand for is a hint, never a proof.
const KNOWN: [(u32, &str); 9] = [
    (5, "Node's keep-alive timeout"),
    (15, "Heroku's and many clients' default"),
    (30, "gunicorn's and Puma's worker timeout, PHP's max_execution_time"),
    (50, "HAProxy's usual timeout server"),
    (55, "App Engine's and Cloud Functions' usual bound"),
    (60, "the default of nginx, AWS load balancers and many clients"),
    (100, "Cloudflare's wait for an origin"),
    (120, "Apache's older default"),
    (300, "the default of Google's balancers' streams, Apache's and IIS's older one"),
];

/// How long a failure took, how many requests it stands for, and where it failed.
type Member = (u32, u64, Option<RouteId>);

/// The clusters, the largest first.
pub(super) fn clusters(case: &Case<'_>, failures: &[&Selected<'_>]) -> Vec<Cluster> {
    let mut kinds: BTreeMap<(Family, Option<&String>), Vec<Member>> = BTreeMap::new();
    for one in failures {
        let last = one.failure.attempts().next_back().and_then(|last| last.tried.as_ref()?.response_ms);
        // What a single attempt took tells a timer better than a request with several.
        if let Some(ms) = last.or(one.failure.request_ms) {
            let members = kinds.entry((one.family, one.route.as_ref())).or_default();
            members.push((ms, one.failure.weight, one.failure.route));
        }
    }
    let mut clusters: Vec<Cluster> = kinds
        .into_iter()
        .filter_map(|((family, route), members)| cluster(case, family, route, members))
        .collect();
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
        for timer in directives(pass, ms) {
            if !timers.contains(&timer) {
                timers.push(timer);
            }
        }
    }
    timers.extend(
        KNOWN.iter().filter(|(seconds, _)| is_near(ms, seconds * 1000)).map(|(_, name)| (*name).to_owned()),
    );
    Some(Cluster { family, route: route.cloned(), ms, requests, of, timers })
}

fn is_near(ms: u32, timer: u32) -> bool {
    // A coarse clock may fire a little early.
    ms + 20 >= timer && ms <= timer + play(timer)
}

/// The directives of a pass whose value a duration comes to.
fn directives(pass: &Pass, ms: u32) -> Vec<String> {
    let prefix = pass.protocol.prefix();
    let timer = |name: &str, setting: &Setting<Duration>| {
        let value = u32::try_from(setting.value.as_millis()).ok()?;
        let at = setting
            .at
            .as_ref()
            .map_or_else(|| "by default".to_owned(), |at| format!("{}:{}", at.file, at.line));
        is_near(ms, value).then(|| format!("{prefix}_{name} {value}ms ({at})"))
    };
    let timeouts = &pass.timeouts;
    [
        timer("read_timeout", &timeouts.read),
        timer("connect_timeout", &timeouts.connect),
        timer("send_timeout", &timeouts.send),
    ]
    .into_iter()
    .flatten()
    .collect()
}
