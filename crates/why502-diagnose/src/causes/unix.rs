//! What the causes of a unix socket have in common: the error of connect(2), and the path as nginx sees it.

use crate::case::{Case, FailureId, PeerSubject, Reach, Subject, count, or_ask};
use crate::cause::{Asks, Cause};
use crate::finding::{Confidence, Evidence, Finding, Origin};
use why502_facts::{Errno, FileKind, Observed, PathWalk};

/// A unix socket that cannot be connected to, or could not.
pub(super) struct Broken<'c> {
    pub(super) peer: &'c PeerSubject,
    pub(super) path: &'c str,
    /// What a probe sees now.
    pub(super) reach: Observed<Reach>,
    /// The path now.
    pub(super) walk: Observed<&'c PathWalk>,
    failures: Vec<FailureId>,
    evidence: Vec<Evidence>,
}

/// The unix socket of a subject, if its path does not exist or did not.
pub(super) fn missing<'c>(case: &'c Case<'_>, subject: &'c Subject) -> Result<Option<Broken<'c>>, Asks> {
    broken(case, subject, Errno::NoEntry)
}

/// The unix socket of a subject, if connecting to it ends with an error, or did; an error asks for its probe and path.
pub(super) fn broken<'c>(
    case: &'c Case<'_>,
    subject: &'c Subject,
    errno: Errno,
) -> Result<Option<Broken<'c>>, Asks> {
    let Some((peer, path)) = subject.peer().and_then(|peer| Some((peer, peer.address.unix_path()?))) else {
        return Ok(None);
    };
    let logged: Vec<_> =
        case.symptoms_of(peer).filter(|(_, _, symptom)| symptom.connect_failed(errno)).collect();
    let reach = or_ask(case.reach(peer))?;
    let now = reach == Observed::Known(Reach::Failed(errno));
    if logged.is_empty() && !now {
        return Ok(None);
    }
    let walk = or_ask(case.path_walk(path))?;
    let failures = logged.iter().map(|(id, ..)| *id).collect();
    let line = Case::lines_evidence(logged, |n| {
        format!("{} failed ({})", count(n, "connection attempt"), errno.name())
    });
    let says = format!("a connection fails now ({})", errno.words().to_lowercase());
    let probed = now.then(|| Evidence::supporting(says, case.probe_origin(peer)));
    let mut evidence: Vec<Evidence> = line.into_iter().chain(probed).collect();
    if reach == Observed::Known(Reach::Connected) {
        evidence
            .push(Evidence::context(format!("unix:{path} accepts connections now"), case.probe_origin(peer)));
    }
    Ok(Some(Broken { peer, path, reach, walk, failures, evidence }))
}

impl Broken<'_> {
    /// Whether a probe connects now.
    pub(super) fn is_gone(&self) -> bool {
        self.reach == Observed::Known(Reach::Connected)
    }

    /// Whether the path was walked and does not exist.
    pub(super) fn is_absent(&self) -> bool {
        matches!(self.walk, Observed::Known(walk) if !walk.complete && walk.denied.is_none())
    }

    /// What the path leads to, if it was walked to its end.
    pub(super) fn kind(&self) -> Option<FileKind> {
        self.walk.clone().known()?.target().map(|target| target.status.kind)
    }

    /// Whether somebody listens on that path in nginx's network namespace; `None` if nobody could look.
    pub(super) fn listens(&self, case: &Case<'_>) -> Option<bool> {
        case.sockets().known().and_then(|table| table.listens(&self.peer.address))
    }

    /// Where the path was looked at.
    pub(super) fn path_origin(&self) -> Origin {
        Origin::Host(self.path.to_owned())
    }

    /// A finding about the socket, with its log line and its probe.
    pub(super) fn finding(
        &self,
        case: &Case<'_>,
        cause: &'static Cause,
        confidence: Confidence,
        subject: &Subject,
    ) -> Finding {
        let mut finding = Finding::new(cause, confidence, subject)
            .explaining(self.failures.iter().copied())
            .with(self.evidence.iter().cloned())
            .at(case.written_at(self.peer));
        finding.fails_clients_now =
            matches!(self.reach, Observed::Known(Reach::Failed(_))) && case.is_felt(self.peer);
        finding
    }
}
