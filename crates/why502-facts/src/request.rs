//! What a run was asked to do: recorded, so that a replay does the same.

use crate::{AccessLogFormat, Stamp};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The options of a run that decide what is looked at and how it is judged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Invocation {
    /// The URL or path that fails, as typed.
    pub url: Option<String>,
    /// The configuration file to use instead of the running gateway's.
    pub config: Option<String>,
    /// The prefix for relative paths.
    pub prefix: Option<String>,
    /// The gateway's binary.
    pub binary: Option<String>,
    /// The master process to look at.
    pub pid: Option<u32>,
    /// Error logs to read instead of those that the configuration names.
    pub error_logs: Vec<String>,
    /// Access logs to read instead of those that the configuration names.
    pub access_logs: Vec<String>,
    /// The format of access logs that the configuration does not describe.
    pub log_format: Option<AccessLogFormat>,
    /// How far back failures count; `None`: all.
    pub since: Option<Duration>,
    /// The end of the window; `None`: now, or the newest stamp of files from elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Stamp>,
    /// The moment around which failures count.
    pub around: Option<Stamp>,
    /// Only the files given: nothing of this host.
    pub offline: bool,
    /// Nothing is sent.
    pub no_probe: bool,
    /// The failing request is replayed through the gateway too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replay: bool,
    /// The bound of the whole run.
    pub timeout: Duration,
}
