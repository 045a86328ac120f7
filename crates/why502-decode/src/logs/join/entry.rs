//! Entries of requests.

use super::has_variable;
use super::role::{Line, Role};
use super::story::{self, Story, of_try};
use std::sync::Arc;
use why502_facts::{
    AccessDigest, AccessRecord, AccessWriting, ErrorRecord, FailedRequest, LogClock, Outcome,
};

/// An access log lags behind by its buffer; what is younger may not be written yet.
const MAX_BUFFERED_MS: i64 = 60_000;

/// The entry of a request that stands in both logs.
pub(super) fn of_both(record: &AccessRecord, story: Story<'_>) -> FailedRequest {
    let mut entry = of_access(record);
    entry.implied_status = story.implied_status();
    if entry.outcome == Outcome::Hidden && story.is_cut_off() {
        entry.outcome = Outcome::Truncated;
    }
    // The error log knows the upstream's scheme and the server's first name: it tells routes apart better.
    entry.route = own_route(&story).or(entry.route).or_else(|| any_route(&story));
    if let Some(line) = story.lines.first() {
        let context = &line.record.context;
        entry.server = context.server.clone().or(entry.server);
        entry.host = context.host.clone().or(entry.host);
        entry.client = context.client.clone().or(entry.client);
    }
    entry.attempts = story.attempts;
    entry.messages = story.messages;
    entry
}

/// The entry of a request that stands in an access log only.
pub(super) fn of_access(record: &AccessRecord) -> FailedRequest {
    FailedRequest {
        at: record.at,
        outcome: outcome_of_status(record.status),
        status: Some(record.status),
        implied_status: None,
        server: record.server.clone(),
        host: record.host.clone(),
        client: record.client.clone(),
        request: record.request.clone(),
        route: record.route.clone(),
        attempts: record.tries.iter().flatten().map(of_try).collect(),
        tries_logged: record.tries.is_some(),
        messages: Vec::new(),
        access_line: Some(record.line.clone()),
        request_ms: record.request_ms,
        body_bytes: record.body_bytes,
        user_agent: record.user_agent.clone(),
        forwarded: record.forwarded.clone(),
        cache_status: record.cache_status.clone(),
        limit_status: record.limit_status.clone(),
        weight: record.weight,
    }
}

/// The entry of an upgraded connection of which no error log tells.
pub(super) fn of_session(record: &AccessRecord) -> FailedRequest {
    FailedRequest { outcome: Outcome::Upgraded, ..of_access(record) }
}

/// The entry of a request that stands in an error log only.
pub(super) fn of_story(
    story: Story<'_>,
    accesses: &[&AccessDigest],
    clock: LogClock,
) -> Option<FailedRequest> {
    let entry = of_record(story.lines.last()?.record, clock);
    let (route, implied_status) = (own_route(&story).or_else(|| any_route(&story)), story.implied_status());
    let saved = || accesses.iter().any(|digest| shows_no_failure(digest, route.as_deref(), entry.at.0));
    let outcome = match outcome_of_story(&story) {
        Outcome::Failed if implied_status.is_some() && saved() => Outcome::Hidden,
        outcome => outcome,
    };
    let Story { attempts, messages, .. } = story;
    Some(FailedRequest { outcome, implied_status, route, attempts, messages, ..entry })
}

/// The entry of the many requests that one merged line stands for.
pub(super) fn of_line(line: &Line<'_>, accesses: &[&AccessDigest], clock: LogClock) -> Option<FailedRequest> {
    if line.role == Role::Aside {
        return None;
    }
    let story = story::read(std::slice::from_ref(line), None);
    of_story(story, accesses, clock).map(|entry| FailedRequest { weight: line.record.weight, ..entry })
}

fn of_record(record: &ErrorRecord, clock: LogClock) -> FailedRequest {
    let context = &record.context;
    FailedRequest {
        at: record.at.at_offset(clock.offset_seconds),
        outcome: Outcome::Failed,
        status: None,
        implied_status: None,
        server: context.server.clone(),
        host: context.host.clone(),
        client: context.client.clone(),
        request: context.request.clone(),
        route: record.route.clone(),
        attempts: Vec::new(),
        tries_logged: false,
        messages: Vec::new(),
        access_line: None,
        request_ms: None,
        body_bytes: None,
        user_agent: None,
        forwarded: None,
        cache_status: None,
        limit_status: None,
        weight: record.weight,
    }
}

/// The route that the lines about the request itself tell.
fn own_route(story: &Story<'_>) -> Option<Arc<str>> {
    let mut main = story.lines.iter().rev().filter(|line| !line.is_of_subrequest());
    main.find_map(|line| line.record.route.clone())
}

/// The route that any line tells: a subrequest's, where nothing else is known.
fn any_route(story: &Story<'_>) -> Option<Arc<str>> {
    story.lines.iter().rev().find_map(|line| line.record.route.clone())
}

fn outcome_of_status(status: u16) -> Outcome {
    match status {
        100..400 => Outcome::Hidden,
        400..=498 => Outcome::Answered,
        // 499, the gateway's own errors, nothing at all, and what is no HTTP (9).
        _ => Outcome::Failed,
    }
}

fn outcome_of_story(story: &Story<'_>) -> Outcome {
    if story.is_of_subrequests() {
        return if story.is_cut_off() { Outcome::Truncated } else { Outcome::Hidden };
    }
    match story.implied_status() {
        Some(status) => outcome_of_status(status),
        None if story.is_cut_off() => Outcome::Truncated,
        None => Outcome::Failed,
    }
}

/// Whether a log that must have the request, had it failed, shows the route's requests of that time and no such failure:
/// then a retry or a fallback saved it.
///
/// A format without `$upstream_*` hides every retry that helped, so this is the only sign of one. It is read with care:
/// the log has to know clients and targets as the error log does, to hold every request, to have lost nothing, and to go
/// on until the request must stand in it.
fn shows_no_failure(digest: &AccessDigest, route: Option<&str>, at_ms: i64) -> bool {
    let coverage = &digest.coverage;
    let has = |name| has_variable(&digest.format, name);
    let delay_ms = match digest.writing {
        AccessWriting::AtOnce => 0,
        AccessWriting::Buffered => MAX_BUFFERED_MS,
        AccessWriting::Selected => return false,
    };
    let comparable = has("remote_addr") && (has("request") || has("request_uri"));
    let whole = !coverage.sampled && coverage.n_unparsed == 0;
    let spans = coverage.first.is_some_and(|first| first.0 <= at_ms)
        && coverage.last.is_some_and(|last| last.0 >= at_ms + delay_ms);
    let answers_then = || {
        digest.totals.iter().any(|total| {
            let of_route = route.is_some() && total.route.as_deref() == route && total.status < 400;
            of_route && total.first.0 <= at_ms + MAX_BUFFERED_MS && total.last.0 >= at_ms
        })
    };
    comparable && whole && spans && answers_then()
}
