//! What became of a target as data: the contract `why502.probe/1`.

use crate::report::{ActionInfo, Tool};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The name and version of the JSON form.
pub const PROBE_SCHEMA: &str = "why502.probe/1";

/// The JSON Schema of the JSON form, as it is published in `docs/schema/probe-1.json`.
pub fn probe_schema() -> String {
    // Serialising a schema that was just built cannot fail.
    let text = serde_json::to_string_pretty(&schemars::schema_for!(TargetReport)).unwrap_or_default();
    text + "\n"
}

/// What became of a target that somebody named.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TargetReport {
    /// Always `why502.probe/1`.
    pub schema: String,
    /// The program that made it.
    pub tool: Tool,
    /// When it was begun (RFC 3339, UTC).
    pub captured_at: String,
    /// What was named, and how it was understood.
    pub target: TargetInfo,
    /// From whose place it was dialled.
    pub place: PlaceInfo,
    /// What it comes to: `fail` if a step failed anywhere, else `unknown` if something could not be tried.
    pub verdict: StepVerdict,
    /// How many addresses answered each time.
    pub answered: u64,
    /// How many failed at least once, names that do not resolve included.
    pub failed: u64,
    /// How many could not be tried.
    pub unknown: u64,
    /// Its addresses, in the order of the configuration.
    pub peers: Vec<TargetPeer>,
    /// What was sent.
    pub actions: Vec<ActionInfo>,
    /// Remarks: how the target was understood, what was left out.
    pub notes: Vec<String>,
}

/// A target as it was understood.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TargetInfo {
    /// As typed.
    pub text: String,
    /// What it is.
    pub kind: TargetKind,
    /// The upstream group of the configuration; null where there is none, or it has no name.
    pub upstream: Option<String>,
    /// The first name of the server whose settings are used; null where no route leads there.
    pub server: Option<String>,
    /// The location with its modifier as written.
    pub location: Option<String>,
    /// The file where the group, or the address, is written.
    pub file: Option<String>,
    /// The line.
    pub line: Option<u32>,
}

/// The kinds of targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TargetKind {
    /// A host and a port, or the path of a unix socket.
    Address,
    /// An upstream group of the configuration.
    Group,
    /// A path or URL that the configuration serves.
    Route,
}

/// From whose place a target was dialled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlaceInfo {
    /// The process that was stood in for; null: this program itself.
    pub pid: Option<u32>,
    /// The user id; null where nothing was dialled.
    pub uid: Option<u32>,
    /// Whether user, network namespace and mount namespace were those of that process.
    pub complete: bool,
    /// In words.
    pub says: String,
}

/// How something ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StepVerdict {
    /// As it should.
    Ok,
    /// It could not be tried.
    Unknown,
    /// It failed.
    Fail,
}

/// An address of a target, or a name that leads to none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TargetPeer {
    /// As it is written or was typed.
    pub text: String,
    /// The address that was dialled; null where the name leads to none.
    pub address: Option<String>,
    /// Whether it is marked as down: nginx does not dial it.
    pub down: bool,
    /// Whether it is used only when no other can be.
    pub backup: bool,
    /// What it comes to.
    pub verdict: StepVerdict,
    /// In words.
    pub says: String,
    /// What speaks there, as far as that is known.
    pub speaks: Option<String>,
    /// How long the steps took over all runs.
    pub times: Vec<StepTimes>,
    /// What was done with it, one after the other: a conversation per run, and further ones that ask who speaks there.
    pub conversations: Vec<Conversation>,
}

/// How long a step took over all runs that came to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StepTimes {
    /// Which.
    pub kind: TargetStepKind,
    /// How many runs came to it.
    pub runs: u64,
    /// The shortest time, in microseconds.
    pub min_micros: u64,
    /// That of the run in the middle.
    pub median_micros: u64,
    /// The longest time.
    pub max_micros: u64,
}

/// One connection, and what was said on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Conversation {
    /// Which run it belongs to, from 1.
    pub run: u64,
    /// What was spoken: `HTTP`, `HTTP through TLS`, `FastCGI`, ….
    pub spoken: String,
    /// Whether it only asks who speaks there, because the first one did not tell: its verdict does not count.
    pub aside: bool,
    /// What it comes to.
    pub verdict: StepVerdict,
    /// The steps in their order.
    pub steps: Vec<TargetStep>,
    /// What the handshake told.
    pub tls: Option<TargetTls>,
    /// The header of the answer.
    pub answer: Option<TargetAnswer>,
}

impl Conversation {
    /// Whether it told who speaks there, whatever became of the request.
    pub(super) fn tells(&self) -> bool {
        let is_understood =
            |step: &TargetStep| step.kind == TargetStepKind::Protocol && step.verdict == StepVerdict::Ok;
        self.steps.iter().any(is_understood) || self.tls.as_ref().is_some_and(|tls| tls.established)
    }

    /// Whether it gave the peer a moment to speak first, because nobody knows what it speaks.
    pub(super) fn asks_who_speaks(&self) -> bool {
        self.steps.iter().any(|step| step.kind == TargetStepKind::Listen)
    }
}

/// A step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TargetStep {
    /// Which.
    pub kind: TargetStepKind,
    /// When it began, in microseconds from the begin of the first step.
    pub start_micros: u64,
    /// How long it took; null for a judgement that takes no time.
    pub micros: Option<u64>,
    /// How it ended.
    pub verdict: StepVerdict,
    /// In words.
    pub says: String,
}

/// The kinds of steps, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TargetStepKind {
    /// Resolving the name.
    Name,
    /// Establishing the connection.
    Connect,
    /// Sending the header of the PROXY protocol.
    ProxyHeader,
    /// The TLS handshake.
    Tls,
    /// Waiting for the peer to speak first.
    Listen,
    /// Sending the request.
    Request,
    /// Whether the peer speaks what it was spoken to in.
    Protocol,
    /// Waiting for the header of the answer.
    Answer,
}

impl TargetStepKind {
    /// The name as people read it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Connect => "connect",
            Self::ProxyHeader => "PROXY",
            Self::Tls => "TLS",
            Self::Listen => "listen",
            Self::Request => "request",
            Self::Protocol => "protocol",
            Self::Answer => "answer",
        }
    }
}

/// What a handshake told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TargetTls {
    /// Whether it was completed.
    pub established: bool,
    /// The name that was sent; null: none.
    pub server_name: Option<String>,
    /// The protocol version.
    pub version: Option<String>,
    /// The cipher.
    pub cipher: Option<String>,
    /// Whose certificate the peer has.
    pub subject: Option<String>,
    /// The names and addresses that it is valid for.
    pub names: Vec<String>,
    /// Who issued it.
    pub issuer: Option<String>,
    /// From when it is valid.
    pub not_before: Option<String>,
    /// Until when.
    pub not_after: Option<String>,
    /// The library's words for what the verification found; null where none was made, since nginx makes none.
    pub verified: Option<String>,
}

/// The header of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TargetAnswer {
    /// The status.
    pub status: u16,
    /// The reason phrase.
    pub reason: String,
    /// The size of the header, in bytes: what the gateway's buffer for it must hold.
    pub head_bytes: u64,
    /// Whether it came whole.
    pub complete: bool,
    /// Its lines, secrets masked.
    pub headers: Vec<TargetHeader>,
}

/// A header line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TargetHeader {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test reads the repository's own file")]
    fn the_published_schema_is_that_of_the_types() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/schema/probe-1.json");
        let published = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            published == probe_schema(),
            "run `cargo xtask schema`, and say in CHANGELOG.md what was added"
        );
    }
}
