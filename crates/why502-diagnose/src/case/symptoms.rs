//! What the lines about one attempt say.

use super::Symptom;
use super::failure::Logged;
use std::sync::Arc;
use why502_facts::{Attempt, Phrase, RequestMessage};
use why502_model::RouteId;

pub(super) fn symptom(attempt: &Attempt, route: Option<RouteId>, logged: Logged) -> Symptom {
    let address = attempt.address();
    Symptom {
        group: owned(attempt.peer.as_ref()).filter(|peer| address.is_none() && !peer.is_empty()),
        peer: address,
        scheme: owned(attempt.scheme.as_ref()),
        tried: attempt.result.clone(),
        logged,
        sent: owned(attempt.path.as_ref()),
        subrequest: owned(attempt.subrequest.as_ref()),
        route,
        is_attempt: true,
        ..symptom_of(&attempt.messages)
    }
}

/// What several lines about one attempt say: the line that tells the failure, and the others.
pub(super) fn symptom_of(messages: &[RequestMessage]) -> Symptom {
    let Some(main) = messages.iter().find(|message| !is_beside(message)).or(messages.first()) else {
        return Symptom::default();
    };
    let others = messages.iter().filter(|message| message.line != main.line);
    Symptom {
        phrase: Some(main.phrase),
        detail: owned(main.detail.as_ref()),
        errno: main.errno,
        phase: main.phase,
        level: Some(main.level),
        line: Some(main.line.clone()),
        writer: Some(main.pid),
        also: others.map(|message| (message.phrase, owned(message.detail.as_ref()))).collect(),
        ..Symptom::default()
    }
}

/// Whether a line stands beside the one that tells why, before or after it.
pub(super) fn is_beside(message: &RequestMessage) -> bool {
    matches!(
        message.phrase,
        Phrase::ServerTemporarilyDisabled | Phrase::FastCgiStderr | Phrase::BufferedToFile
    )
}

pub(super) fn owned(text: Option<&Arc<str>>) -> Option<String> {
    text.map(ToString::to_string)
}
