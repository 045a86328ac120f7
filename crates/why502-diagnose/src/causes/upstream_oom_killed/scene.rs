//! What a kill explains of a peer's failures.

use super::victim::{Belongs, belongs};
use super::{is_refused, is_sudden, kill_evidence};
use crate::case::{Case, FailureId};
use crate::cause::Asks;
use crate::causes::app_server::{SLACK, Server};
use crate::causes::unanswered::Unanswered;
use crate::finding::{Confidence, Evidence};
use std::time::Duration;
use why502_facts::{KernelWord, OomKill, Stamp};

/// Stamps of logs are cut to the second.
const SECOND: Duration = Duration::from_secs(1);
/// Who is refused for the first time so long after a kill is refused for another reason, as far as anybody knows.
const MAX_QUIET: Duration = Duration::from_mins(10);
/// Without anything else that ties a kill to a peer, its time must: so close are the last answer and the first refusal.
const MAX_COINCIDENCE: Duration = Duration::from_secs(30);

/// The earliest and the latest moment of something.
type Span = (Stamp, Stamp);

/// A kill, and what it explains of a peer's failures.
pub(super) struct Death {
    pub(super) at: Span,
    pub(super) confidence: Confidence,
    pub(super) explains: Vec<FailureId>,
    /// What tells of it, and what ties it to the peer.
    pub(super) evidence: Vec<Evidence>,
}

/// What all kills are judged by.
pub(super) struct Scene<'s, 'c> {
    pub(super) case: &'c Case<'c>,
    pub(super) found: &'s Unanswered<'c>,
    pub(super) server: Option<&'s Server<'c>>,
}

impl<'c> Scene<'_, 'c> {
    /// What a kill explains; `None` if nothing. An error asks for what the server says itself.
    pub(super) fn judge(
        &self,
        source: &str,
        word: &'c KernelWord,
        kill: &'c OomKill,
    ) -> Result<Option<Death>, Asks> {
        let at = (word.from, word.to);
        let (sudden, refused) = (self.sudden_at(at), self.refused_since(at));
        if sudden.is_empty() && refused.is_empty() {
            return Ok(None);
        }
        let (owner, tie) = belongs(self.case, self.server, word, kill)?;
        let refused = if self.is_survived(at) { Vec::new() } else { refused };
        let is_at_once = self.is_at_once(&sudden);
        let is_soon = self.is_between(at);
        let confidence = match owner {
            Belongs::Own if is_at_once || !refused.is_empty() => Confidence::Confirmed,
            Belongs::Own if !sudden.is_empty() || !refused.is_empty() => Confidence::Likely,
            // A name is borne by many: the kill must also fall between an answer and a refusal, or cut a request off.
            Belongs::Alike if is_at_once || (!refused.is_empty() && is_soon) => Confidence::Likely,
            Belongs::Perhaps | Belongs::Doubtful if !refused.is_empty() && is_at_once => Confidence::Likely,
            // Several services may die in the same minute.
            Belongs::Perhaps if !refused.is_empty() && is_soon => Confidence::Possible,
            _ => return Ok(None),
        };
        let mut explains = sudden;
        explains.extend(refused);
        let evidence = vec![kill_evidence(source, word, kill), tie];
        Ok(Some(Death { at, confidence, explains, evidence }))
    }

    /// What the loss of a process explains that the service manager tells of the peer's own unit; `None` if nothing.
    pub(super) fn lost(&self, at: Span, evidence: Vec<Evidence>) -> Option<Death> {
        let mut explains = self.sudden_at(at);
        let is_at_once = self.is_at_once(&explains);
        if !self.is_survived(at) {
            explains.extend(self.refused_since(at));
        }
        let confidence = if is_at_once { Confidence::Confirmed } else { Confidence::Likely };
        (!explains.is_empty()).then_some(Death { at, confidence, explains, evidence })
    }

    /// Whoever was there before the kill and still is refuses nobody.
    fn is_survived(&self, (from, _): Span) -> bool {
        self.server.is_some_and(|server| server.master.started.is_some_and(|started| started < from))
    }

    /// Whether attempts broke off at a kill: among many that did so at other times, one may be chance.
    fn is_at_once(&self, sudden: &[FailureId]) -> bool {
        let n_sudden = self.found.symptoms.iter().filter(|(_, _, symptom)| is_sudden(symptom)).count();
        !sudden.is_empty() && sudden.len() * 2 >= n_sudden
    }

    /// The attempts that broke off when somebody was killed.
    pub(super) fn sudden_at(&self, (from, to): Span) -> Vec<FailureId> {
        let is_then = |at: Stamp| at.after(SECOND) >= from.before(SLACK) && at <= to.after(SLACK);
        let symptoms = self.found.symptoms.iter();
        let own = symptoms.filter(|(_, failure, symptom)| is_sudden(symptom) && is_then(failure.at));
        own.map(|(id, ..)| *id).collect()
    }

    /// The refusals from a kill on, before any request was answered again.
    fn refused_since(&self, at: Span) -> Vec<FailureId> {
        let is_quiet = |first: Stamp| first <= at.1.after(MAX_QUIET);
        if !self.first_refused_after(at).is_some_and(is_quiet) {
            return Vec::new();
        }
        let answered = self.first_answer_after(at);
        let refused = self.refusals_after(at);
        let own = refused.filter(|(_, at)| answered.is_none_or(|answered| *at < answered));
        own.map(|(id, _)| id).collect()
    }

    fn first_refused_after(&self, at: Span) -> Option<Stamp> {
        let first = self.refusals_after(at).map(|(_, at)| at).min()?;
        // Whoever was refused before it already was not refused because of it.
        let answered = self.case.last_success(self.found.peer).map(|(at, _)| at);
        let is_refused_before = self.found.symptoms.iter().any(|(_, failure, symptom)| {
            is_refused(symptom)
                && failure.at.after(SECOND) < at.0.before(SLACK)
                && answered.is_none_or(|answered| answered < failure.at)
        });
        (!is_refused_before).then_some(first)
    }

    /// Whether a kill lies between an answer and a refusal that follow each other closely.
    fn is_between(&self, at: Span) -> bool {
        let answered = self.case.last_success(self.found.peer).map(|(at, _)| at);
        let refused = self.first_refused_after(at);
        answered.zip(refused).is_some_and(|(answered, refused)| {
            answered <= at.1.after(SECOND) && refused.since(answered) <= MAX_COINCIDENCE
        })
    }

    fn refusals_after(&self, (from, _): Span) -> impl Iterator<Item = (FailureId, Stamp)> {
        let begin = from.before(SECOND);
        let refused = self.found.symptoms.iter().filter(|(_, _, symptom)| is_refused(symptom));
        refused.filter(move |(_, failure, _)| failure.at >= begin).map(|(id, failure, _)| (*id, failure.at))
    }

    /// When the peer answered for the first time after a kill, as far as the logs tell.
    fn first_answer_after(&self, (_, to): Span) -> Option<Stamp> {
        let routes = self.found.peer.routes.iter();
        let answers =
            routes.flat_map(|route| self.case.successes_of(*route)).filter(|success| match &success.peer {
                Some(peer) => *peer == self.found.peer.address,
                None => self.case.is_single(self.found.peer),
            });
        answers.map(|success| success.at).filter(|at| *at > to.after(SECOND)).min()
    }
}
