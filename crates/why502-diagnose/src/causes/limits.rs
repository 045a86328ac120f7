//! What the two limits of nginx have in common: a zone, refusals, and the rule that a limit at work is no failure.

use super::config_not_reloaded::newer_source;
use crate::case::{Case, Failure, FailureId, Subject, count};
use crate::cause::{Asks, Cause};
use crate::finding::{Confidence, Evidence, Finding, Origin, Ruling};
use why502_facts::{ErrorLevel, Phrase};
use why502_model::{Action, Limit, LimitKind, RouteId};

/// Rules on a route that a limit of one kind may refuse requests of.
pub(super) fn detect(
    case: &Case<'_>,
    subject: &Subject,
    cause: &'static Cause,
    kind: LimitKind,
    phrase: Phrase,
) -> Result<Ruling, Asks> {
    let route = subject.route();
    let said: Vec<(FailureId, &Failure)> = case
        .failures_at(subject)
        .filter(|(_, failure)| failure.symptoms.iter().any(|symptom| symptom.is(phrase)))
        .collect();
    let mut silent: Vec<(FailureId, &Failure)> = case
        .failures_at(subject)
        .filter(|(_, failure)| route.is_some_and(|route| is_silent_refusal(case, route, failure, kind)))
        .collect();
    // Without upstream fields an upstream may have sent it as well, unless it answers that path well.
    let is_alone = |failure: &Failure| {
        let passes = route.is_some_and(|route| case.gateway.route(route).action.pass().is_some());
        failure.tries_logged || says_rejected(failure) || !passes
    };
    if silent.iter().any(|(_, failure)| !is_alone(failure))
        && !route.map_or(Ok(false), |route| case.answers_well(route))?
    {
        silent.retain(|(_, failure)| is_alone(failure));
    }
    let refused: Vec<_> = said.iter().chain(&silent).copied().collect();
    let n_refused = Case::weigh(&refused);
    let Some(origin) = Case::line_of(&refused)
        .filter(|_| route.is_none_or(|route| case.is_more_than_a_limit_at_work(route, n_refused)))
    else {
        return Ok(Ruling::NoSign);
    };
    let zones: Vec<&str> = said.iter().filter_map(|(_, failure)| zone_of(failure, phrase)).collect();
    let is_it = |limit: &&Limit| zones.is_empty() || zones.contains(&limit.zone.as_str());
    let limit = route.and_then(|route| limits_of(case, route, kind).find(is_it));
    let says = match zones.first() {
        Some(zone) => format!("{} refused by zone \"{zone}\"", count(n_refused, "request")),
        None => format!("{} refused, no upstream was asked", count(n_refused, "request")),
    };
    let is_said = !said.is_empty() || refused.iter().any(|(_, failure)| says_rejected(failure));
    let confidence = if is_said { Confidence::Confirmed } else { Confidence::Likely };
    let set = limit.map(|limit| {
        Evidence::supporting(
            format!("the limit in force here is {} in zone \"{}\"", limit.amount, limit.zone),
            Origin::File(limit.at.clone()),
        )
    });
    let finding = Finding::new(cause, confidence, subject)
        .explaining(refused.iter().map(|(id, _)| *id))
        .still_failing(case.gateway.master.is_some().then(|| limit.is_some() || !is_lifted(case, &refused)))
        .with([Evidence::supporting(says, origin)])
        .with(set)
        .at(limit.map(|limit| limit.at.clone()));
    Ok(Ruling::found(finding))
}

/// Whether the loaded configuration, which has no such limit, was loaded after the last refusal.
fn is_lifted(case: &Case<'_>, refused: &[(FailureId, &Failure)]) -> bool {
    let last = refused.iter().map(|(_, failure)| failure.at).max();
    newer_source(case).is_none() && case.gateway.loaded > last
}

/// The zone that a finding is about: that of the limit in force, or the one that nginx named.
pub(super) fn zone_name(case: &Case<'_>, finding: &Finding, kind: LimitKind, phrase: Phrase) -> String {
    let named =
        || finding.explains.iter().find_map(|id| zone_of(case.failure(*id), phrase).map(str::to_owned));
    limit_of(case, finding, kind).map(|limit| limit.zone.clone()).or_else(named).unwrap_or_default()
}

/// The limit that a finding is about.
pub(super) fn limit_of<'c>(case: &'c Case<'_>, finding: &Finding, kind: LimitKind) -> Option<&'c Limit> {
    let route = finding.subjects.iter().find_map(Subject::route)?;
    let at = finding.at.first();
    limits_of(case, route, kind).find(|limit| at.is_none_or(|at| limit.at == *at))
}

fn limits_of<'c>(case: &'c Case<'_>, route: RouteId, kind: LimitKind) -> impl Iterator<Item = &'c Limit> {
    case.gateway.route(route).limits.iter().filter(move |limit| limit.kind == kind && !limit.dry_run)
}

/// Whether a refusal of a limit of a route would have been told in the error log, which was read.
pub(super) fn is_told(case: &Case<'_>, route: RouteId, limit: &Limit, failure: &Failure) -> bool {
    let directive = match limit.kind {
        LimitKind::Connections => "limit_conn_log_level",
        LimitKind::Requests => "limit_req_log_level",
    };
    let set = case.gateway.in_force(route, directive);
    let level = match set.last().and_then(|set| set.value.first()).map(String::as_str) {
        Some("info") => ErrorLevel::Info,
        Some("notice") => ErrorLevel::Notice,
        Some("warn") => ErrorLevel::Warn,
        _ => ErrorLevel::Error,
    };
    case.error_log_tells(failure, level)
}

fn zone_of(failure: &Failure, phrase: Phrase) -> Option<&str> {
    failure.symptoms.iter().find(|symptom| symptom.is(phrase)).and_then(|symptom| symptom.detail.as_deref())
}

fn says_rejected(failure: &Failure) -> bool {
    failure.limit_status.as_deref() == Some("REJECTED")
}

/// A refusal that the error log does not tell of: its level may hide it, or nobody may read it.
///
/// The route has no other way to that status but an upstream.
fn is_silent_refusal(case: &Case<'_>, route: RouteId, failure: &Failure, kind: LimitKind) -> bool {
    let Some(status) = failure.status.filter(|_| failure.status_logged && failure.symptoms.is_empty()) else {
        return false;
    };
    let of_kind = limits_of(case, route, kind).any(|limit| limit.status == status);
    let other_kind =
        case.gateway.route(route).limits.iter().any(|limit| limit.kind != kind && limit.status == status);
    let returns =
        matches!(&case.gateway.route(route).action, Action::Return(given) if given.status == status);
    let conditional = case.gateway.route(route).conditionals.iter().any(
        |conditional| matches!(&conditional.action, Some(Action::Return(given)) if given.status == status),
    );
    of_kind && !other_kind && !returns && !conditional
}
