//! The survey as data: the contract `why502.logs/1`.

use crate::report::Tool;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The name and version of the JSON form.
pub const LOGS_SCHEMA: &str = "why502.logs/1";

/// The JSON Schema of the JSON form, as it is published in `docs/schema/logs-1.json`.
pub fn logs_schema() -> String {
    // Serialising a schema that was just built cannot fail.
    let text = serde_json::to_string_pretty(&schemars::schema_for!(LogsReport)).unwrap_or_default();
    text + "\n"
}

/// What logs tell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LogsReport {
    /// Always `why502.logs/1`.
    pub schema: String,
    /// The program that made it.
    pub tool: Tool,
    /// The moment of the first entry that counts; null if there is none.
    pub from: Option<String>,
    /// The moment of the last one.
    pub to: Option<String>,
    /// The logs that were read.
    pub logs: Vec<LogInfo>,
    /// The requests of the window; null where no access log tells.
    pub requests: Option<u64>,
    /// How many of them ended with each status; 0: without one.
    pub statuses: Vec<StatusCount>,
    /// The failed requests that were selected: 499, 5xx, answers that are no HTTP, none at all, and cut bodies, unless a
    /// status was asked for.
    pub failed: u64,
    /// Who made them.
    pub made_by: Vec<MakerCount>,
    /// What they have in common, the largest first.
    pub groups: Vec<Group>,
    /// What retries, fallbacks and stale answers hid from clients.
    pub hidden: Hidden,
    /// When they came.
    pub timeline: Timeline,
    /// Minutes with far more of them than usual.
    pub bursts: Vec<Burst>,
    /// Durations that many of them share: a timer ends them.
    pub clusters: Vec<Cluster>,
    /// When peers were taken out.
    pub ejections: Vec<Ejection>,
    /// Who and what was hit most.
    pub top: Top,
    /// What limits these numbers.
    pub notes: Vec<String>,
}

/// A log that was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogInfo {
    /// `access` or `error`.
    pub kind: LogInfoKind,
    /// Its files, oldest first.
    pub files: Vec<String>,
    /// How many bytes were read, unpacked.
    pub bytes: u64,
    /// Its lines in the window.
    pub lines: u64,
    /// Those of them that do not fit the format.
    pub unparsed: u64,
    /// Up to five of these.
    pub unparsed_examples: Vec<String>,
    /// The format of an access log, in nginx's notation.
    pub format: Option<String>,
    /// Whether the format was recognised from the content instead of being named.
    pub guessed: bool,
    /// Whether requests that are much alike were counted together because there were too many to keep one by one.
    pub sampled: bool,
}

/// The kind of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LogInfoKind {
    /// Requests.
    Access,
    /// Messages.
    Error,
}

/// How many requests ended with a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StatusCount {
    /// The status.
    pub status: u16,
    /// How many.
    pub requests: u64,
}

/// Who made an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Maker {
    /// nginx, because an attempt on an upstream failed.
    Gateway,
    /// The upstream itself sent it.
    Upstream,
    /// nginx, without an attempt: a limit, a `return`, a name that does not resolve.
    NoAttempt,
    /// The cache, which kept it.
    Cache,
    /// The client, which left or asked for something that cannot be.
    Client,
    /// These logs do not tell.
    NotTold,
}

/// How many errors somebody made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MakerCount {
    /// Who.
    pub maker: Maker,
    /// How many.
    pub requests: u64,
    /// The statuses that clients saw.
    pub statuses: Vec<StatusCount>,
}

/// The kind of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// What the upstream sent breaks the protocol.
    AnswerInvalid,
    /// The upstream took the request and did not answer in time.
    AnswerTimedOut,
    /// The cache gave an error that it kept.
    Cached,
    /// The client left.
    ClientLeft,
    /// The upstream closed the connection before it answered.
    Closed,
    /// No connection: no route, no socket file, no permission.
    ConnectFailed,
    /// No connection in time.
    ConnectTimedOut,
    /// The answer broke off.
    CutOff,
    /// The file system that nginx writes to was full.
    DiskFull,
    /// nginx could not make or write a file of its own.
    FileNotWritable,
    /// The response header does not fit its buffer.
    HeaderTooBig,
    /// A limit refused it.
    Limited,
    /// nginx itself lacked something: memory, a local address.
    LocalTrouble,
    /// No peer of the group could be chosen.
    NoPeerLeft,
    /// No address to pass it to: a name that does not resolve, a variable without a value.
    NoTarget,
    /// Connected, and no usable answer: closed, reset, too big or invalid, which an access log alone does not tell.
    NoUsableAnswer,
    /// These logs do not tell.
    NotTold,
    /// All connections of a worker were in use.
    OutOfConnections,
    /// nginx had too many files open.
    OutOfFiles,
    /// nginx was told to answer so: `return`, `error_page`, a check.
    OwnAnswer,
    /// The connection was refused.
    Refused,
    /// The upstream reset the connection.
    Reset,
    /// The request could not be sent in time.
    SendTimedOut,
    /// TLS to the upstream failed.
    TlsFailed,
    /// The upstream itself answered so.
    UpstreamAnswer,
}

/// Failures that have their keys in common.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Group {
    /// The kind of failure; null if they are not grouped by it.
    pub family: Option<Family>,
    /// The route: server and location, where a configuration tells it, else the first segment of the path.
    pub route: Option<String>,
    /// The upstream group.
    pub upstream: Option<String>,
    /// The address that was dialled last.
    pub peer: Option<String>,
    /// The client's address.
    pub client: Option<String>,
    /// The status that the client saw.
    pub status: Option<u16>,
    /// Who made them.
    pub made_by: Vec<Maker>,
    /// The statuses that clients saw.
    pub statuses: Vec<StatusCount>,
    /// How many.
    pub requests: u64,
    /// Of how many requests: of the route's with a grouping by route, else of all; null where no access log tells.
    pub of: Option<u64>,
    /// The first.
    pub first: String,
    /// The last.
    pub last: String,
    /// How long they took, where the logs tell.
    pub times: Times,
    /// A line that shows one.
    pub example: Option<Example>,
}

/// How long requests took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Times {
    /// To an established connection of the last attempt.
    pub connect: Option<Percentiles>,
    /// To the response header of the last attempt.
    pub header: Option<Percentiles>,
    /// To the end of the last attempt.
    pub response: Option<Percentiles>,
    /// The request as a whole.
    pub request: Option<Percentiles>,
}

impl Times {
    /// Those that are known with their names, in the order in which they pass.
    pub fn named(&self) -> impl DoubleEndedIterator<Item = (&'static str, Percentiles)> {
        let all = [
            ("connect", self.connect),
            ("header", self.header),
            ("response", self.response),
            ("request", self.request),
        ];
        all.into_iter().filter_map(|(name, percentiles)| Some((name, percentiles?)))
    }
}

/// Percentiles by nearest rank, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Percentiles {
    /// Of how many.
    pub of: u64,
    /// Half of them took at most so long.
    pub p50_ms: u32,
    /// 95 in 100.
    pub p95_ms: u32,
    /// 99 in 100.
    pub p99_ms: u32,
}

/// A log line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Example {
    /// The file.
    pub file: String,
    /// The byte offset of its first byte, in the unpacked content.
    pub offset: u64,
    /// Its text, secrets masked.
    pub text: Option<String>,
}

/// What clients did not notice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hidden {
    /// Requests that a retry, a fallback or a stale answer saved.
    pub requests: u64,
    /// The peers whose failures were hidden, with how many.
    pub peers: Vec<Count>,
}

/// Something with a number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Count {
    /// What.
    pub name: String,
    /// How many requests.
    pub requests: u64,
}

/// When failures came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Timeline {
    /// The width of a column, in seconds.
    pub seconds: u32,
    /// The begin of the first column; null if there is none.
    pub from: Option<String>,
    /// The failures of each column.
    pub failed: Vec<u64>,
    /// All requests of each column, whatever became of them and whichever were asked for; null where no access log tells,
    /// or not as finely: within a minute they are not told apart.
    pub requests: Option<Vec<u64>>,
}

/// A minute with far more failures than usual.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Burst {
    /// The first failure of it.
    pub from: String,
    /// The last one.
    pub to: String,
    /// How many.
    pub requests: u64,
    /// What nginx's own log says happened just before: a reload, a start, a reopening of logs, a worker that died.
    pub after: Option<String>,
}

/// A duration that many failures share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cluster {
    /// The kind of failure.
    pub family: Family,
    /// The route; null where they are spread over several, or it is not known.
    pub route: Option<String>,
    /// The duration in the middle, in milliseconds.
    pub ms: u32,
    /// How many took just so long.
    pub requests: u64,
    /// Of how many of that kind and route whose duration is known.
    pub of: u64,
    /// Timers of that value that can have ended them: directives in force with their place; of requests that clients left,
    /// well-known ones of balancers and clients in front; of answers that broke off, those of applications.
    pub timers: Vec<String>,
}

/// A time in which a peer was taken out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ejection {
    /// The address.
    pub peer: String,
    /// The group; null where no configuration tells.
    pub upstream: Option<String>,
    /// Since when.
    pub from: String,
    /// Until when, at least.
    pub to: String,
    /// How many failures led to it, as far as the logs tell.
    pub failures: u64,
    /// Whether nginx's own log says so; else it follows from the failures, `max_fails` and `fail_timeout`.
    pub told: bool,
    /// Whether each worker decides for itself, so that others may have gone on.
    pub per_worker: bool,
}

/// Who and what was hit most.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Top {
    /// Routes.
    pub routes: Vec<Count>,
    /// Paths without their queries.
    pub paths: Vec<Count>,
    /// Addresses that were dialled last.
    pub peers: Vec<Count>,
    /// Clients' addresses.
    pub clients: Vec<Count>,
    /// The User-Agent headers of clients, as far as the access log has them.
    pub user_agents: Vec<Count>,
}
