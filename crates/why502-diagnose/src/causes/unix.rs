//! What the causes of a unix socket have in common: the error of connect(2), and the path as nginx sees it.

use crate::case::{Case, FailureId, PeerSubject, Reach, Subject, count, or_ask};
use crate::cause::{Asks, Cause};
use crate::finding::{Confidence, Evidence, Finding, Origin};
use why502_facts::{Errno, FileKind, Gap, Observed, PathWalk, Process};

/// So many processes that hold a socket are asked which files they see.
const MAX_HOLDERS: usize = 3;

/// How a socket that listens in the kernel stands to the file that the gateway dials.
pub(super) enum View {
    /// Its path is another file for its owner than for the gateway.
    Other {
        /// A process that holds it.
        pid: u32,
        /// Whether the file was seen, and not only that the namespaces are others.
        is_seen: bool,
    },
    /// Both see the same at that path.
    Shared,
    /// Nobody could look.
    Unknown(Option<Gap>),
}

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

    /// Whether a probe fails now.
    pub(super) fn fails_now(&self) -> bool {
        matches!(self.reach, Observed::Known(Reach::Failed(_)))
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

    /// How a socket that listens on the path in the kernel, held by some processes, stands to the file that is dialled; an error
    /// asks for what they see there.
    pub(super) fn view_of(&self, case: &Case<'_>, pids: &[u32]) -> Result<View, Asks> {
        let pids = &pids[..pids.len().min(MAX_HOLDERS)];
        if pids.iter().any(|pid| shares_files(case, *pid) == Some(true)) {
            return Ok(View::Shared);
        }
        let walks = pids.iter().map(|pid| (*pid, case.path_walk_of(*pid, self.path)));
        let (mut asks, mut gap, mut is_gone) = (Asks::new(), None, false);
        let mut view = None;
        for (pid, walk) in walks {
            match or_ask(walk) {
                Err(ask) => asks.extend(ask),
                Ok(Observed::Unknown(own)) => gap = Some(own),
                Ok(Observed::Absent) => {}
                Ok(Observed::Known(walk)) if walk.denied.is_some() => {}
                Ok(Observed::Known(walk)) => match self.is_same_file(walk) {
                    Some(true) => is_gone = true,
                    Some(false) => view = Some(View::Other { pid, is_seen: true }),
                    None => {}
                },
            }
        }
        if !asks.is_empty() {
            return Err(asks);
        }
        // From outside, the namespaces alone tell.
        let other = pids.iter().find(|pid| shares_files(case, **pid) == Some(false));
        let other = other.filter(|_| !is_gone).map(|pid| View::Other { pid: *pid, is_seen: false });
        let shared = is_gone.then_some(View::Shared);
        Ok(view.or(shared).or(other).unwrap_or(View::Unknown(gap)))
    }

    /// Whether the path leads its owner to the same file as the gateway, or both to none; `None` if that was not seen.
    fn is_same_file(&self, theirs: &PathWalk) -> Option<bool> {
        let socket = theirs.target().filter(|target| target.status.kind == FileKind::Socket);
        let Some(socket) = socket else { return Some(true) };
        if self.is_absent() || self.reach == Observed::Known(Reach::Failed(Errno::NoEntry)) {
            return Some(false);
        }
        let own = self.walk.clone().known()?.target()?.identity?;
        Some(own == socket.identity?)
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
        finding.fails_clients_now = self.fails_now() && case.is_felt(self.peer);
        finding
    }
}

/// Whether a process sees the same files as the gateway: the same mount namespace and the same root directory; `None` if
/// that could not be seen, or not be told.
fn shares_files(case: &Case<'_>, pid: u32) -> Option<bool> {
    let (own, theirs): (&Process, &Process) = (case.gateway_process()?, case.listed(pid)?);
    let is_same_mount = own.mount_namespace? == theirs.mount_namespace?;
    match (own.same_root?, theirs.same_root?) {
        // Both may be in another root than ours, and in two.
        (false, false) if is_same_mount => None,
        (own, theirs) => Some(is_same_mount && own == theirs),
    }
}
