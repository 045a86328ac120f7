//! The report: what a run says, as data. Its JSON form is the contract `why502.report/1`.
//!
//! Fields may be added; a meaning never changes. No face computes anything: text, HTML and the rest are views of this.

mod assemble;
mod change;
mod diff;
mod gaps;
mod replay;
mod summary;

pub(crate) use assemble::{build_report, sent};
pub use change::{ChangeInfo, ChangeKind, FirstFailureInfo};
pub(crate) use summary::first_seen;

use crate::{ActsOn, Confidence, Maker, Risk, Role};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The name and version of the JSON form.
pub const REPORT_SCHEMA: &str = "why502.report/1";

/// The JSON Schema of the JSON form, as it is published in `docs/schema/report-1.json`.
pub fn report_schema() -> String {
    // Serialising a schema that was just built cannot fail.
    let text = serde_json::to_string_pretty(&schemars::schema_for!(Report)).unwrap_or_default();
    text + "\n"
}

/// What a run says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// Always `why502.report/1`.
    pub schema: String,
    /// The program that made it.
    pub tool: Tool,
    /// When the facts were collected (RFC 3339, UTC).
    pub captured_at: String,
    /// The host that they were collected on; null fields where unknown.
    pub host: HostInfo,
    /// The gateways that were judged.
    pub gateways: Vec<GatewayInfo>,
    /// The first of them.
    pub gateway: Option<GatewayInfo>,
    /// What it comes to.
    pub verdict: Verdict,
    /// What was looked at.
    pub window: WindowInfo,
    /// What was found, the most important first.
    pub findings: Vec<FindingInfo>,
    /// What was ruled out.
    pub ruled_out: Vec<RuledOut>,
    /// What could not be decided.
    pub undecided: Vec<Undecided>,
    /// Failed requests that nothing found accounts for.
    pub unexplained: Unexplained,
    /// The failure that `changes` count back from; null where nothing failed.
    #[serde(default)]
    pub first_failure: Option<FirstFailureInfo>,
    /// What changed in the hour before the first failure, the nearest to it first: context, no proof of anything.
    #[serde(default)]
    pub changes: Vec<ChangeInfo>,
    /// What the failing request met when it was replayed; null without `--replay`, or where nothing could be.
    #[serde(default)]
    pub replay: Option<ReplayInfo>,
    /// What was sent.
    pub actions: Vec<ActionInfo>,
    /// What could not be looked at.
    pub gaps: Vec<GapInfo>,
    /// Remarks: other instances, how a URL was understood.
    pub notes: Vec<String>,
}

/// The program that made a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tool {
    /// `why502`.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// The host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HostInfo {
    /// Its name.
    pub name: Option<String>,
    /// Its operating system.
    pub os: Option<String>,
    /// Its kernel.
    pub kernel: Option<String>,
}

/// A gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GatewayInfo {
    /// `nginx`.
    pub kind: String,
    /// `nginx`, `openresty`, `angie`, `tengine`, `freenginx`.
    pub flavour: String,
    /// Its version.
    pub version: Option<String>,
    /// The process id of its master; null if it does not run or nobody looked.
    pub pid: Option<u32>,
    /// Its configuration file; null if none was given.
    pub config: Option<String>,
}

/// What a report comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Nothing fails for clients, and something is set up to fail or hidden by a retry.
    AtRisk,
    /// Something fails, and a root is at least likely.
    Broken,
    /// Nothing fails and nothing was found.
    Healthy,
    /// Something fails, and no root is above possible.
    Inconclusive,
    /// Something failed in the window, and its cause is seen to be gone.
    Recovered,
}

/// The window and what happened in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WindowInfo {
    /// Its begin; null: all there is.
    pub from: Option<String>,
    /// Its end.
    pub to: String,
    /// Requests of the window; null where no access log tells, or where a URL narrows the report to one of them.
    pub requests: Option<u64>,
    /// Failed ones; null where no log could be read.
    pub failed: Option<u64>,
    /// The last failure, also one from before the window.
    pub last_failure: Option<String>,
}

/// A cause that was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FindingInfo {
    /// The id of the cause.
    pub cause: String,
    /// The same finding keeps it from run to run.
    pub key: String,
    /// What is wrong, with its place.
    pub title: String,
    /// How sure it is.
    pub confidence: Confidence,
    /// Whose side must act.
    pub acts_on: ActsOn,
    /// False for an effect or what stands beside a root.
    pub root: bool,
    /// The chain up to the symptom.
    pub effects: Vec<String>,
    /// How this makes the status that the client saw.
    pub why: String,
    /// The statuses that clients saw.
    pub statuses: Vec<u16>,
    /// The gateway, by its place in `gateways`.
    pub gateway: usize,
    /// The server's first name.
    pub server: Option<String>,
    /// The location with its modifier as written.
    pub location: Option<String>,
    /// The group's name.
    pub upstream: Option<String>,
    /// The address dialled.
    pub peer: Option<String>,
    /// The routes that it touches.
    pub routes: Vec<RouteInfo>,
    /// The addresses that it touches.
    pub peers: Vec<String>,
    /// Where to change something; the first is the line to change.
    pub r#where: Vec<Place>,
    /// How much of the traffic of these routes fails.
    pub impact: Option<Impact>,
    /// What it explains.
    pub explains: Explains,
    /// The argument.
    pub evidence: Vec<EvidenceInfo>,
    /// What could not be seen and would make it certain.
    pub open: Vec<GapInfo>,
    /// How to mend it.
    pub remedies: Vec<RemedyInfo>,
    /// Popular advice that is wrong here.
    pub wont_help: Vec<String>,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RouteInfo {
    /// The server's first name.
    pub server: String,
    /// The location with its modifier as written; null for the server itself.
    pub location: Option<String>,
    /// The file.
    pub file: String,
    /// The line.
    pub line: u32,
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Place {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The column in bytes, from 1.
    pub column: u32,
    /// The line's text, masked.
    pub text: Option<String>,
    /// How many bytes of the line are meant, from the column on.
    pub length: u32,
}

/// How much of the traffic of a finding's routes fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Impact {
    /// Nearly all of it.
    Outage,
    /// A good part of it.
    Partial,
    /// Now and then a request.
    Sporadic,
}

/// The failures that a finding explains.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Explains {
    /// How many requests.
    pub requests: u64,
    /// The first of them; its onset may lie before the window.
    pub first_seen: Option<String>,
    /// The last of them.
    pub last_seen: Option<String>,
    /// Whether it stands now; null where nobody could look.
    pub still_failing: Option<bool>,
}

/// A piece of evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EvidenceInfo {
    /// Which side of the argument it is on.
    pub role: Role,
    /// What it says.
    pub says: String,
    /// The bytes that it rests on.
    pub origin: OriginInfo,
}

/// The bytes that a piece of evidence rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum OriginInfo {
    /// Other evidence.
    Derived,
    /// A configuration file.
    File {
        /// The file.
        file: String,
        /// The line.
        line: u32,
        /// The column.
        column: u32,
        /// The line's text, masked.
        text: Option<String>,
    },
    /// A file of the kernel or the host.
    Host {
        /// Which.
        source: String,
    },
    /// A log line.
    Log {
        /// The file.
        file: String,
        /// The byte offset.
        offset: u64,
        /// The line, masked; null where only its place was kept.
        text: Option<String>,
    },
    /// A probe.
    Probe {
        /// What was done.
        action: ActionKind,
        /// To what.
        target: String,
    },
}

/// A remedy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RemedyInfo {
    /// What it does.
    pub title: String,
    /// How dangerous it is.
    pub risk: Risk,
    /// Its steps.
    pub steps: Vec<StepInfo>,
    /// What to mind.
    pub advice: Option<String>,
    /// How to see that it helped.
    pub verify: String,
}

/// A step of a remedy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum StepInfo {
    /// A command.
    Command {
        /// Its words.
        argv: Vec<String>,
        /// The commands that take it back.
        undo: Vec<Vec<String>>,
    },
    /// A change of a file.
    Edit {
        /// The file.
        file: String,
        /// The change as a unified diff.
        diff: String,
    },
}

/// A cause that was ruled out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RuledOut {
    /// Its id.
    pub cause: String,
    /// By what.
    pub says: String,
    /// The evidence.
    pub evidence: Vec<EvidenceInfo>,
}

/// A cause that could not be decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Undecided {
    /// Its id.
    pub cause: String,
    /// For want of what.
    pub gaps: Vec<GapInfo>,
}

/// Failed requests that nothing found accounts for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unexplained {
    /// How many.
    pub requests: u64,
    /// Up to three of their lines.
    pub examples: Vec<String>,
}

/// A request, replayed through the gateway, beside the same one straight to its peers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReplayInfo {
    /// Its method and path.
    pub request: String,
    /// The host that it is for.
    pub host: String,
    /// What came through the gateway.
    pub through: ReplayAnswer,
    /// What each peer answered by itself.
    pub direct: Vec<ReplayAnswer>,
    /// Who made what came through the gateway.
    pub made_by: Maker,
    /// By what that is known.
    pub says: String,
}

/// An answer to a replayed request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReplayAnswer {
    /// Whom it was sent to.
    pub target: String,
    /// The status; null where none came.
    pub status: Option<u16>,
    /// The `Server` header.
    pub server: Option<String>,
    /// Headers by which those who pass answers on sign them: `Via`, `CF-RAY`, `X-Cache`, ….
    pub signatures: Vec<String>,
}

/// Something that was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ActionInfo {
    /// What.
    pub kind: ActionKind,
    /// To whom.
    pub target: String,
    /// How often.
    pub count: u64,
    /// How often it was answered: a name resolved, a connection opened, TLS established, a request answered.
    pub answered: u64,
}

/// The kinds of things that are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ActionKind {
    /// A command was run.
    Command,
    /// A connection was opened.
    Connect,
    /// An ICMP echo was sent.
    Icmp,
    /// A request was sent.
    Request,
    /// A name was resolved.
    Resolve,
    /// A TLS handshake was made.
    Tls,
}

/// Something that could not be looked at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct GapInfo {
    /// What about: a topic of `explain --list`.
    pub topic: String,
    /// Why not.
    pub why: GapWhy,
    /// In words.
    pub says: String,
}

/// Why something could not be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum GapWhy {
    /// The rights do not suffice.
    Denied,
    /// Looking failed.
    Failed,
    /// The options forbid it.
    NotAsked,
    /// The time was up.
    TimedOut,
    /// This host or version cannot tell.
    Unsupported,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test reads the repository's own file")]
    fn the_published_schema_is_that_of_the_types() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/schema/report-1.json");
        let published = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            published == report_schema(),
            "run `cargo xtask schema`, and say in CHANGELOG.md what was added"
        );
    }
}
