//! An attempt while its lines are read.

use crate::logs::join::role::{Line, Role};
use std::sync::Arc;
use why502_facts::{Attempt, Phrase, Try};

/// An attempt of a story.
#[derive(Clone, Debug)]
pub(super) struct Chapter {
    attempt: Attempt,
    /// Which of the access log's attempts it is.
    pub(super) try_idx: Option<usize>,
    /// Whether a line told that the attempt failed.
    pub(super) ended: bool,
}

impl Chapter {
    /// An attempt that begins with a line.
    pub(super) fn new(line: &Line<'_>, try_idx: Option<usize>) -> Self {
        let context = &line.record.context;
        let attempt = Attempt {
            peer: context.upstream.as_ref().map(|upstream| Arc::clone(&upstream.peer)),
            scheme: context.upstream.as_ref().map(|upstream| Arc::clone(&upstream.scheme)),
            path: context.upstream.as_ref().and_then(|upstream| upstream.path.clone()),
            subrequest: context.subrequest.clone(),
            route: line.record.route.clone(),
            messages: vec![line.message()],
            result: None,
        };
        Self { attempt, try_idx, ended: ends(line) }
    }

    /// Adds a line. The one that ends the attempt is moved to the front.
    pub(super) fn add(&mut self, line: &Line<'_>) {
        if ends(line) && !self.ended {
            self.ended = true;
            self.attempt.messages.insert(0, line.message());
        } else {
            self.attempt.messages.push(line.message());
        }
    }

    /// Whether it is an attempt of the main request.
    pub(super) fn is_own(&self) -> bool {
        self.attempt.subrequest.is_none()
    }

    pub(super) fn is_of_subrequest_of(&self, line: &Line<'_>) -> bool {
        self.attempt.subrequest == line.record.context.subrequest && self.is_on_peer_of(line)
    }

    pub(super) fn is_on_peer_of(&self, line: &Line<'_>) -> bool {
        agrees(self.attempt.peer.as_deref(), line)
    }
}

/// All attempts in order: those of the access log, and what else was told where it was told.
pub(super) fn attempts(chapters: Vec<Chapter>, tries: &[Try]) -> Vec<Attempt> {
    let mut told = Vec::with_capacity(chapters.len() + tries.len());
    let mut n_tries = 0;
    for Chapter { mut attempt, try_idx, .. } in chapters {
        if let Some((idx, one)) = try_idx.and_then(|idx| Some((idx, tries.get(idx)?))) {
            // Attempts of which the error log says nothing stand between.
            told.extend(tries[n_tries..idx].iter().map(of_try));
            n_tries = idx + 1;
            // An attempt that died early has its peer in the error log only.
            attempt.peer = one.peer.clone().or(attempt.peer);
            attempt.result = Some(one.clone());
        }
        told.push(attempt);
    }
    told.extend(tries[n_tries..].iter().map(of_try));
    told
}

/// An attempt of which only the access log tells.
pub(in crate::logs::join) fn of_try(one: &Try) -> Attempt {
    Attempt { peer: one.peer.clone(), result: Some(one.clone()), ..Attempt::default() }
}

/// Whether a line ends an attempt; what is passed on as HTTP/0.9 may still be cut off.
fn ends(line: &Line<'_>) -> bool {
    line.role != Role::Aside && line.record.phrase != Phrase::NoValidHttpHeader
}

/// Whether a line is about a peer. After a timeout the path of a unix socket runs into the URI (`unix:/a.sock/uri`).
pub(super) fn agrees(peer: Option<&str>, line: &Line<'_>) -> bool {
    match (peer, line.peer()) {
        (Some(peer), Some(said)) => {
            let runs_on = |long: &str, short: &str| {
                short.starts_with("unix:")
                    && long.strip_prefix(short).is_some_and(|rest| rest.starts_with('/'))
            };
            peer == said || runs_on(said, peer) || runs_on(peer, said)
        }
        (None, None) => true,
        _ => false,
    }
}
