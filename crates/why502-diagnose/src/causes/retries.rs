//! What keeps the gateway from passing a failed request on to another peer (`ngx_http_upstream_next`).

use super::some_peers_failing::is_failure;
use crate::case::{Failure, Symptom};
use crate::durations::seconds;
use std::time::Duration;
use why502_facts::{Phase, Phrase};
use why502_model::{Pass, Span};

/// What forbids the retry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Why {
    /// `proxy_next_upstream` does not name this kind of failure.
    Condition(&'static str),
    /// The method may not be repeated.
    Method(String),
    /// `proxy_next_upstream off`.
    Off,
    /// `proxy_next_upstream_timeout` was over, in milliseconds.
    Timeout(u32),
    /// `proxy_next_upstream_tries` were made.
    Tries(u32),
}

impl Why {
    /// In words, with the directives of a protocol.
    pub(super) fn words(&self, prefix: &str) -> String {
        match self {
            Self::Condition(condition) => format!("{prefix}_next_upstream does not name {condition}"),
            Self::Method(method) => format!("a {method} that was sent is not repeated"),
            Self::Off => format!("{prefix}_next_upstream is off"),
            Self::Timeout(ms) => format!("{prefix}_next_upstream_timeout of {} was over", seconds(*ms)),
            Self::Tries(tries) => format!("{prefix}_next_upstream_tries allows {}", tries_words(*tries)),
        }
    }
}

fn tries_words(tries: u32) -> String {
    if tries == 1 { "1 try".to_owned() } else { format!("{tries} tries") }
}

/// What forbids the retry of a request after its last attempt; `None`: nothing that is configured.
pub(super) fn why(pass: &Pass, failure: &Failure, last: &Symptom) -> Option<Why> {
    let retry = &pass.retry;
    let names = |condition: &str| retry.conditions.value.iter().any(|own| own == condition);
    if names("off") {
        return Some(Why::Off);
    }
    let is_sent = match last.phase {
        Some(phase) => matches!(phase, Phase::SendingRequest | Phase::ReadingHeader),
        None => last.tried.as_ref().is_some_and(|tried| tried.connect_ms.is_some()),
    };
    let method = failure.method.as_deref().filter(|method| matches!(*method, "POST" | "LOCK" | "PATCH"));
    if let Some(method) = method.filter(|_| is_sent && !names("non_idempotent")) {
        return Some(Why::Method(method.to_owned()));
    }
    let condition = condition(last);
    if retry.conditions.at.is_some() && !names(condition) {
        return Some(Why::Condition(condition));
    }
    let n_attempts = u32::try_from(failure.attempts().count()).unwrap_or(u32::MAX);
    if retry.tries.value > 0 && n_attempts >= retry.tries.value {
        return Some(Why::Tries(retry.tries.value));
    }
    let took = failure.request_ms.map(|ms| Duration::from_millis(ms.into()));
    let is_over = !retry.timeout.value.is_zero() && took.is_some_and(|took| took >= retry.timeout.value);
    let limit = u32::try_from(retry.timeout.value.as_millis()).unwrap_or(u32::MAX);
    is_over.then_some(Why::Timeout(limit))
}

/// The condition of `proxy_next_upstream` that a failed attempt falls under (`ngx_http_upstream_next`).
fn condition(last: &Symptom) -> &'static str {
    let timed_out = last.tried.as_ref().is_some_and(|tried| tried.status == Some(504));
    match last.phrase {
        Some(Phrase::UpstreamTimedOut) => "timeout",
        Some(Phrase::InvalidHeader | Phrase::InvalidStatus | Phrase::TooBigHeader) => "invalid_header",
        None if timed_out => "timeout",
        Some(_) | None => "error",
    }
}

/// Where what forbids the retry is set.
pub(super) fn set_at(pass: &Pass, why: &Why) -> Option<Span> {
    match why {
        Why::Condition(_) | Why::Method(_) | Why::Off => pass.retry.conditions.at.clone(),
        Why::Timeout(_) => pass.retry.timeout.at.clone(),
        Why::Tries(_) => pass.retry.tries.at.clone(),
    }
}

/// Whether an attempt got no answer, by a message of nginx or by what the access log tells of it.
pub(super) fn has_failed(symptom: &Symptom) -> bool {
    is_failure(symptom) || symptom.is_quietly_failed()
}
