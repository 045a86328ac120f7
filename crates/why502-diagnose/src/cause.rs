//! What a cause is: its place in the catalogue, and the functions that recognise, explain and mend it.

use crate::case::{Case, Subject};
use crate::finding::{Explanation, Finding, Ruling};
use crate::remedy::Remedy;
use serde::{Deserialize, Serialize};
use std::fmt;
use why502_facts::Ask;

/// A cause of the catalogue (`spec/causes.toml`).
pub struct Cause {
    /// The public id: it names the mechanism, and keeps its meaning for ever.
    pub id: &'static str,
    /// The layer: it orders the report.
    pub layer: Layer,
    /// Whose side must act.
    pub acts_on: ActsOn,
    /// Whether it is a symptom, never the root where a cause below it is known.
    pub effect: bool,
    /// What the client usually sees.
    pub statuses: &'static [u16],
    /// What one ruling is about.
    pub(crate) scope: Scope,
    /// The ids that give way to this one where both are about the same failures.
    pub(crate) supersedes: &'static [&'static str],
    /// How it is recognised.
    pub(crate) detect: Detect,
    /// How it is put into words.
    pub(crate) explain: fn(&Case<'_>, &Finding) -> Explanation,
    /// How it is mended.
    pub(crate) remedies: fn(&Case<'_>, &Finding) -> Vec<Remedy>,
    /// The manual page, lifted from the head of the cause's file: Markdown with fixed headings.
    pub manual: &'static str,
}

impl Cause {
    /// What it means: the first sentence of its manual page.
    pub fn summary(&self) -> String {
        let body = self.manual.split_once("## What happens\n\n").map_or("", |(_, body)| body);
        let paragraph = body.split("\n\n").next().unwrap_or(body).replace('\n', " ");
        let end = paragraph.find(". ").map_or(paragraph.len(), |end| end + 1);
        paragraph[..end].to_owned()
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id)
    }
}

/// The layers, from the gateway itself to its policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names are the catalogue's own")]
pub enum Layer {
    Gateway,
    Select,
    Resolve,
    Connect,
    Socket,
    Tls,
    Protocol,
    Response,
    Policy,
}

/// Whose side must act.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum ActsOn {
    /// The client's.
    Client,
    /// The gateway's configuration.
    Config,
    /// The gateway's process.
    Gateway,
    /// The gateway's host.
    Host,
    /// The network between.
    Network,
    /// The upstream's.
    Upstream,
}

/// What one ruling is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The gateway as a whole.
    Gateway,
    /// A group of peers.
    Group,
    /// One address that is dialled.
    Peer,
    /// One address that is dialled, or the gateway as a whole, which is dialled itself.
    PeerOrGateway,
    /// One address that is dialled, or one route, whose name leads to none.
    PeerOrRoute,
    /// One route.
    Route,
}

/// The asks that a rule still has for a subject.
pub(crate) type Asks = Vec<Ask>;

/// How a cause is recognised.
pub(crate) enum Detect {
    /// From the case alone. An error holds everything that the rule still wants to know of this subject.
    Alone(fn(&Case<'_>, &Subject) -> Result<Ruling, Asks>),
    /// From what the others found as well: symptoms, and what stands beside a cause.
    Over(fn(&Case<'_>, &Subject, &[Finding]) -> Result<Ruling, Asks>),
}

/// Lifts the `//!` head of a cause's own file, at compile time.
macro_rules! manual {
    ($file:literal) => {{
        const SOURCE: &str = include_str!($file);
        const LENGTH: usize = $crate::cause::manual_length(SOURCE);
        static MANUAL: [u8; LENGTH] = $crate::cause::manual_text::<LENGTH>(SOURCE);
        match std::str::from_utf8(&MANUAL) {
            Ok(manual) => manual,
            Err(_) => "",
        }
    }};
}
pub(crate) use manual;

/// The length of the text of [`manual_text`].
pub(crate) const fn manual_length(source: &str) -> usize {
    walk_manual::<0>(source).0
}

/// The lines of the `//!` head without the mark and the space behind it.
pub(crate) const fn manual_text<const LENGTH: usize>(source: &str) -> [u8; LENGTH] {
    walk_manual::<LENGTH>(source).1
}

/// Walks the head; only the array's own length is written, so that a length of 0 just counts.
const fn walk_manual<const LENGTH: usize>(source: &str) -> (usize, [u8; LENGTH]) {
    let bytes = source.as_bytes();
    let mut text = [0; LENGTH];
    let (mut at, mut length) = (0, 0);
    while at + 3 <= bytes.len() && bytes[at] == b'/' && bytes[at + 1] == b'/' && bytes[at + 2] == b'!' {
        at += 3;
        if at < bytes.len() && bytes[at] == b' ' {
            at += 1;
        }
        let mut ended = false;
        while !ended && at < bytes.len() {
            if length < LENGTH {
                text[length] = bytes[at];
            }
            ended = bytes[at] == b'\n';
            at += 1;
            length += 1;
        }
    }
    (length, text)
}
