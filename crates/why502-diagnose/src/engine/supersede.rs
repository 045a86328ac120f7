//! What is nearer to the root wins: causes over symptoms, the specific over the general.

use crate::case::{Case, FailureId, Subject};
use crate::cause::Cause;
use crate::causes::find_cause;
use crate::finding::{Confidence, Finding};
use std::collections::BTreeSet;

/// Lets every finding win over those that give way to it, then hangs effects onto their roots.
pub(super) fn supersede(case: &Case<'_>, found: Vec<Finding>, over: Vec<Finding>) -> Vec<Finding> {
    let (mut effects, mut findings): (Vec<Finding>, Vec<Finding>) =
        found.into_iter().chain(over).partition(|finding| finding.cause.effect);
    // The surest first: what it wins is not contested again.
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.confidence));
    let mut gone: BTreeSet<usize> = BTreeSet::new();
    for winner in 0..findings.len() {
        if gone.contains(&winner) || findings[winner].confidence < Confidence::Likely {
            continue;
        }
        for loser in 0..findings.len() {
            let stands = loser != winner && !gone.contains(&loser);
            if stands
                && wins(case, &findings[winner], &findings[loser])
                && take_over(&mut findings, winner, loser)
            {
                gone.insert(loser);
            }
        }
    }
    let mut at = 0;
    findings.retain(|_| {
        at += 1;
        !gone.contains(&(at - 1))
    });
    effects.retain(|effect| !hang_onto_roots(case, effect, &mut findings));
    findings.append(&mut effects);
    mark_secondary(case, &mut findings);
    findings
}

/// An effect belongs to the roots below it, and its failures are their consequence: to those that explain some of its
/// failures, else to whatever is wrong with its group or with peers of it. Whether there is one.
fn hang_onto_roots(case: &Case<'_>, effect: &Finding, findings: &mut [Finding]) -> bool {
    let is_root = |finding: &Finding| finding.confidence >= Confidence::Likely && finding.root;
    let shares = |finding: &Finding| !finding.explains.is_disjoint(&effect.explains);
    let any_shares = findings.iter().any(|finding| is_root(finding) && shares(finding));
    let below = |finding: &&mut Finding| {
        is_root(finding) && if any_shares { shares(finding) } else { is_under(case, finding, effect) }
    };
    let mut roots: Vec<&mut Finding> = findings.iter_mut().filter(below).collect();
    // What one root explains already is no consequence of another.
    let told: BTreeSet<FailureId> = roots.iter().flat_map(|root| root.explains.iter().copied()).collect();
    let rest: Vec<FailureId> = effect.explains.difference(&told).copied().collect();
    for root in &mut roots {
        add_effect(root, effect.cause.id);
        root.explains.extend(&rest);
        root.fails_clients_now |= effect.fails_clients_now;
    }
    !roots.is_empty()
}

/// Whether a finding can be the root of an effect of a group without a failure that both explain: an answer of a route's
/// upstream takes no peer out.
fn is_under(case: &Case<'_>, root: &Finding, effect: &Finding) -> bool {
    root.subjects.iter().any(|own| {
        effect.subjects.iter().any(|other| match (own.group(), other.group()) {
            (Some(own), Some(group)) => own == group,
            (None, Some(_)) if matches!(own, Subject::Route(_)) => false,
            _ => overlap(case, own, other),
        })
    })
}

fn add_effect(finding: &mut Finding, id: &'static str) {
    if !finding.effects.contains(&id) {
        finding.effects.push(id);
    }
}

fn wins(case: &Case<'_>, winner: &Finding, loser: &Finding) -> bool {
    supersedes(winner.cause, loser.cause.id)
        && share_a_subject(case, winner, loser)
        && share_failures(winner, loser)
}

/// Whether a cause supersedes another, directly or through one that it supersedes.
fn supersedes(cause: &Cause, id: &str) -> bool {
    cause.supersedes.iter().any(|own| *own == id || find_cause(own).is_some_and(|own| supersedes(own, id)))
}

fn share_failures(winner: &Finding, loser: &Finding) -> bool {
    let is_general = |finding: &Finding| finding.subjects.contains(&Subject::Gateway);
    // Two findings of probes alone are about the same state of things, unless one is about everything.
    (loser.explains.is_empty() && (is_general(loser) || !is_general(winner)))
        || winner.explains.intersection(&loser.explains).next().is_some()
}

fn share_a_subject(case: &Case<'_>, winner: &Finding, loser: &Finding) -> bool {
    winner.subjects.iter().any(|own| loser.subjects.iter().any(|other| overlap(case, own, other)))
}

/// Whether two subjects are about the same traffic.
fn overlap(case: &Case<'_>, one: &Subject, other: &Subject) -> bool {
    match (one, other) {
        // What has no route is told apart by its failures alone.
        (Subject::Gateway | Subject::Nowhere, _) | (_, Subject::Gateway | Subject::Nowhere) => true,
        (Subject::Peer(one), Subject::Peer(other)) => {
            one.address == other.address && one.group == other.group
        }
        (Subject::Route(one), Subject::Route(other)) => one == other,
        (Subject::Route(route), Subject::Peer(peer)) | (Subject::Peer(peer), Subject::Route(route)) => {
            peer.is_of(*route)
        }
        (Subject::Route(route), Subject::Group(group)) | (Subject::Group(group), Subject::Route(route)) => {
            case.pass_of(*route, Some(*group)).is_some()
        }
        (one, other) => one.group() == other.group(),
    }
}

/// The loser's failures that the winner explains are the winner's alone; whether none is left.
fn take_over(findings: &mut [Finding], winner: usize, loser: usize) -> bool {
    let (id, later) = (findings[loser].cause.id, findings[loser].effects.clone());
    for effect in std::iter::once(id).chain(later) {
        add_effect(&mut findings[winner], effect);
    }
    let rest: BTreeSet<_> =
        findings[loser].explains.difference(&findings[winner].explains).copied().collect();
    findings[winner].explains_dropped |= findings[loser].explains_dropped;
    let is_empty = rest.is_empty();
    if is_empty {
        findings[winner].fails_clients_now |= findings[loser].fails_clients_now;
    } else {
        findings[loser].explains = rest;
    }
    is_empty
}

/// A mere possibility beside a likely cause of the same failures is a hint, and no root.
fn mark_secondary(case: &Case<'_>, findings: &mut [Finding]) {
    for at in 0..findings.len() {
        if findings[at].confidence > Confidence::Possible {
            continue;
        }
        let has_better = findings.iter().any(|other| {
            other.confidence > Confidence::Possible
                && share_a_subject(case, other, &findings[at])
                && findings[at].explains.is_subset(&other.explains)
        });
        findings[at].root &= !has_better;
    }
}
