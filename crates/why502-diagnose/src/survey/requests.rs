//! The failed requests one by one: access and error log joined.

use super::select::{self, Selected, Selection};
use super::{Family, Maker};
use crate::case::{Case, Symptom};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use why502_facts::{Facts, Outcome};
use why502_model::Model;

/// A failed request. Its JSON form is a line of `why502 logs --format ndjson`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FailedRequestInfo {
    /// When it ended (RFC 3339, UTC).
    pub at: String,
    /// The status that the client got; 0 where none was sent, null where no access log tells.
    pub status: Option<u16>,
    /// Whether a retry, a fallback or a stale answer hid it from the client.
    pub hidden: bool,
    /// Whether the response broke off after its header.
    pub truncated: bool,
    /// Who made it.
    pub maker: Maker,
    /// What kind of failure it is.
    pub family: Family,
    /// The server and location, or the first segment of the path.
    pub route: Option<String>,
    /// The method.
    pub method: Option<String>,
    /// The path without its query.
    pub path: Option<String>,
    /// The Host header.
    pub host: Option<String>,
    /// The client's address.
    pub client: Option<String>,
    /// The User-Agent header.
    pub user_agent: Option<String>,
    /// How long it took, in milliseconds.
    pub request_ms: Option<u32>,
    /// The attempts on upstreams, in order.
    pub attempts: Vec<AttemptInfo>,
    /// Messages about the request that belong to no attempt.
    pub messages: Vec<String>,
    /// How many requests it stands for: much alike ones are counted together where there are too many.
    pub requests: u64,
}

/// An attempt on an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AttemptInfo {
    /// The address that was dialled.
    pub peer: Option<String>,
    /// The group, where no peer could be chosen.
    pub upstream: Option<String>,
    /// `$upstream_status`.
    pub status: Option<u16>,
    /// Time to an established connection, in milliseconds.
    pub connect_ms: Option<u32>,
    /// Time to the response header, in milliseconds.
    pub header_ms: Option<u32>,
    /// Time to the end, in milliseconds.
    pub response_ms: Option<u32>,
    /// What the error log says of it.
    pub message: Option<String>,
}

/// The failed requests of the first gateway of a model that are wanted, by time; those that were hidden among them.
pub fn survey_requests(facts: &Facts, model: &Model, selection: &Selection) -> Vec<FailedRequestInfo> {
    if model.gateways.is_empty() {
        return Vec::new();
    }
    let case = Case::new(facts, model, 0);
    select::select(&case, selection).iter().map(info).collect()
}

fn info(one: &Selected<'_>) -> FailedRequestInfo {
    let failure = one.failure;
    let others = failure.symptoms.iter().filter(|symptom| !symptom.is_attempt);
    FailedRequestInfo {
        at: failure.at.to_string(),
        status: failure.status,
        hidden: failure.is_hidden(),
        truncated: failure.outcome == Outcome::Truncated,
        maker: one.maker,
        family: one.family,
        route: one.route.clone(),
        method: failure.method.clone(),
        path: failure.path.as_deref().map(select::masked),
        host: failure.host.clone(),
        client: failure.client.clone(),
        user_agent: failure.user_agent.as_deref().map(select::masked),
        request_ms: failure.request_ms,
        attempts: failure.attempts().map(attempt).collect(),
        messages: others.filter_map(message).collect(),
        requests: failure.weight,
    }
}

fn attempt(symptom: &Symptom) -> AttemptInfo {
    let tried = symptom.tried.clone().unwrap_or_default();
    AttemptInfo {
        peer: symptom.peer.as_ref().map(ToString::to_string),
        upstream: symptom.group.clone(),
        status: tried.status,
        connect_ms: tried.connect_ms,
        header_ms: tried.header_ms,
        response_ms: tried.response_ms,
        message: message(symptom),
    }
}

/// The line, or where it was not kept, its kind.
fn message(symptom: &Symptom) -> Option<String> {
    let line = symptom.line.as_ref().and_then(|line| line.text.as_deref()).map(select::masked);
    line.or_else(|| symptom.phrase.map(|phrase| format!("{phrase:?}")))
}
