//! How the two idle timeouts are put into an order in which nothing is lost.

use super::told;
use crate::case::Case;
use crate::causes::idle_timeouts::millis;
use crate::durations::seconds;
use crate::finding::Finding;
use crate::remedy::{Remedy, Risk};
use std::time::Duration;

/// What is left between the two timeouts, so that the gateway closes first.
const MARGIN: Duration = Duration::from_secs(1);

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
    let shorter = idle.filter(|_| kept.is_some()).map(|idle| below(idle).map_or(idle / 2, |below| below));
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

/// A timeout that leaves the margin, if there is room for one.
fn below(idle: Duration) -> Option<Duration> {
    // Whole seconds: what was measured is a little more than what is set.
    let whole = Duration::from_secs(idle.as_secs());
    whole.checked_sub(MARGIN).filter(|below| !below.is_zero())
}

/// As nginx writes it: `4s`, `500ms`.
fn nginx_time(timeout: Duration) -> String {
    if timeout.subsec_millis() == 0 {
        format!("{}s", timeout.as_secs())
    } else {
        format!("{}ms", timeout.as_millis())
    }
}
