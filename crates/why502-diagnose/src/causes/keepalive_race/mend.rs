//! How the two idle timeouts are put into an order in which nothing is lost.

use super::told;
use crate::case::Case;
use crate::causes::idle_timeouts::millis;
use crate::durations::seconds;
use crate::finding::Finding;
use crate::remedy::{Remedy, Risk};
use std::time::Duration;

/// What is left between the two timeouts, so that the gateway closes first: a second, and another one because servers look
/// for idle connections once in a second, so that one may be seen to live a second longer than the timeout is.
const MARGIN: Duration = Duration::from_secs(2);

pub(super) fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let Some((group, kept, idle)) = told(case, finding) else { return Vec::new() };
    let longer =
        kept.map_or("than nginx does".to_owned(), |kept| format!("than nginx's {}", seconds(millis(kept))));
    let raise = Remedy::new(format!("Let the backend keep idle connections longer {longer}"), Risk::ShowOnly)
        .advice(
            "Node.js: server.keepAliveTimeout and above it server.headersTimeout; gunicorn: --keep-alive; uvicorn: --timeout-keep-alive; \
             Apache: KeepAliveTimeout; Tomcat: keepAliveTimeout of the connector",
        )
        .verify("POSTs after a pause are answered");
    let shorter = idle.filter(|_| kept.is_some()).map(below);
    let lower = shorter.map(|timeout| {
        let value = nginx_time(timeout);
        let own = case.gateway.group(group);
        let near = own.keepalive.as_ref().and_then(|keepalive| keepalive.at.clone());
        let near = near.or_else(|| own.peers.last().map(|peer| peer.at.clone()));
        let wanted = [("keepalive_timeout".to_owned(), vec![value.clone()], own.reuse.timeout.at.clone())];
        let mut remedy = Remedy::new(
            format!("Let nginx close idle connections first: keepalive_timeout {value}"),
            Risk::Review,
        )
        .verify("POSTs after a pause are answered");
        for (at, text) in near.map(|near| case.gateway.set_directives(&near, &wanted)).unwrap_or_default() {
            remedy = remedy.edit(at, text);
        }
        remedy
    });
    lower.into_iter().chain([raise]).collect()
}

/// A timeout that leaves the margin; where there is no room for one, half of what there is.
fn below(idle: Duration) -> Duration {
    // Whole seconds: what was measured is a little more than what is set.
    let whole = Duration::from_secs(idle.as_secs());
    match whole.checked_sub(MARGIN) {
        Some(below) if !below.is_zero() => below,
        _ if whole.is_zero() => idle / 2,
        _ => whole.min(MARGIN) / 2,
    }
}

/// As nginx writes it: `4s`, `500ms`.
fn nginx_time(timeout: Duration) -> String {
    if timeout.subsec_millis() == 0 {
        format!("{}s", timeout.as_secs())
    } else {
        format!("{}ms", timeout.as_millis())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_looks_once_in_a_second_is_left_time() {
        // gunicorn's two seconds may be seen as three.
        for (idle, expected) in [
            (500, "250ms"),
            (1000, "500ms"),
            (2000, "1s"),
            (2500, "1s"),
            (3000, "1s"),
            (6000, "4s"),
            (75_000, "73s"),
        ] {
            assert_eq!(nginx_time(below(Duration::from_millis(idle))), expected, "{idle}");
        }
    }
}
