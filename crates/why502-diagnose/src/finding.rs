//! What a rule finds, and the argument behind it.

use crate::case::{FailureId, PeerSubject, Subject};
use crate::cause::Cause;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use why502_facts::{Ask, Gap, LineRef};
use why502_model::Span;

/// What a rule says of one subject.
#[derive(Debug)]
pub(crate) enum Ruling {
    /// Nothing here speaks of this cause.
    NoSign,
    /// Something spoke of it, and something else rules it out.
    RuledOut(Vec<Evidence>),
    /// It is found.
    Found(Box<Finding>),
}

impl Ruling {
    pub(crate) fn found(finding: Finding) -> Self {
        Self::Found(Box::new(finding))
    }
}

/// How sure a finding is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Confidence {
    /// It fits, and so do others.
    Possible,
    /// It fits, and one link was not seen: `open` names it.
    Likely,
    /// The mechanism itself was seen.
    Confirmed,
}

/// A cause, found.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    pub(crate) cause: &'static Cause,
    pub(crate) confidence: Confidence,
    /// What it is about; several after merging.
    pub(crate) subjects: Vec<Subject>,
    /// The failed requests that it explains.
    pub(crate) explains: BTreeSet<FailureId>,
    /// Whether the mechanism stands now; `None` where nobody could look.
    pub(crate) still_failing: Option<bool>,
    /// Whether it explains the connections that were closed before any request was read, which are no failures with an id.
    pub(crate) explains_dropped: bool,
    /// Whether clients meet it now, seen by a probe and not only in logs.
    pub(crate) fails_clients_now: bool,
    pub(crate) evidence: Vec<Evidence>,
    /// What could not be seen and would make it certain.
    pub(crate) open: Vec<Open>,
    /// The lines to change, the first of them first.
    pub(crate) at: Vec<Span>,
    /// False for an effect whose root is known, and for what stands beside a root. Set by the engine.
    pub(crate) root: bool,
    /// The chain up to the symptom. Set by the engine.
    pub(crate) effects: Vec<&'static str>,
}

impl Finding {
    /// The first peer that it is about.
    pub(crate) fn peer(&self) -> Option<&PeerSubject> {
        self.subjects.iter().find_map(Subject::peer)
    }

    /// The address of that peer; empty if it is about none.
    pub(crate) fn address(&self) -> String {
        self.peer().map_or_else(String::new, |peer| peer.address.to_string())
    }

    /// A finding about a subject.
    pub(crate) fn new(cause: &'static Cause, confidence: Confidence, subject: &Subject) -> Self {
        Self {
            cause,
            confidence,
            subjects: vec![subject.clone()],
            explains: BTreeSet::new(),
            still_failing: None,
            explains_dropped: false,
            fails_clients_now: false,
            evidence: Vec::new(),
            open: Vec::new(),
            at: Vec::new(),
            root: true,
            effects: Vec::new(),
        }
    }

    pub(crate) fn explaining(mut self, failures: impl IntoIterator<Item = FailureId>) -> Self {
        self.explains.extend(failures);
        self
    }

    pub(crate) fn still_failing(mut self, still_failing: Option<bool>) -> Self {
        self.still_failing = still_failing;
        self
    }

    pub(crate) fn with(mut self, evidence: impl IntoIterator<Item = Evidence>) -> Self {
        self.evidence.extend(evidence);
        self
    }

    pub(crate) fn open(mut self, open: impl IntoIterator<Item = Open>) -> Self {
        self.open.extend(open);
        self
    }

    pub(crate) fn at(mut self, at: impl IntoIterator<Item = Span>) -> Self {
        self.at.extend(at);
        self
    }
}

/// One sentence of an argument, and what it rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Evidence {
    pub(crate) role: Role,
    /// A lower-case fragment without a full stop.
    pub(crate) says: String,
    pub(crate) origin: Origin,
}

impl Evidence {
    pub(crate) fn supporting(says: impl Into<String>, origin: Origin) -> Self {
        Self { role: Role::For, says: says.into(), origin }
    }

    pub(crate) fn against(says: impl Into<String>, origin: Origin) -> Self {
        Self { role: Role::Against, says: says.into(), origin }
    }

    pub(crate) fn context(says: impl Into<String>, origin: Origin) -> Self {
        Self { role: Role::Context, says: says.into(), origin }
    }

    /// Whether it speaks for a cause by what this program saw, which elsewhere may look otherwise.
    pub(crate) fn is_seen_from_here(&self) -> bool {
        self.role == Role::For && matches!(self.origin, Origin::Host(_) | Origin::Probe(_))
    }
}

/// Which side of an argument a piece of evidence is on.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// It speaks against the cause.
    Against,
    /// It helps to understand.
    Context,
    /// It speaks for the cause.
    For,
}

/// The bytes that a piece of evidence rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It follows from other evidence.
    Derived,
    /// A place in a configuration file.
    File(Span),
    /// A file of the kernel or the host.
    Host(String),
    /// A log line.
    Log(LineRef),
    /// A probe or a look-up of a name.
    Probe(Ask),
}

/// Something that could not be seen and would make a finding certain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Open {
    pub(crate) gap: Gap,
    /// What it would tell: a lower-case fragment.
    pub(crate) says: String,
}

/// A finding in words.
#[derive(Clone, Debug)]
pub(crate) struct Explanation {
    /// What is wrong, with its place: a lower-case fragment.
    pub(crate) title: String,
    /// How this makes the status that the client saw: two sentences.
    pub(crate) why: String,
    /// The popular advice for this symptom that is wrong here.
    pub(crate) wont_help: Vec<String>,
}
