//! What a scenario file may say.

mod backend;
mod expect;
mod load;
mod step;

pub use backend::{Action, Backend, BackendKind, Respond, Route, Tls};
pub use expect::{Confidence, Expect, How, Offline, Verdict, Withhold};
pub use load::{Named, find, read};
pub use step::{Answer, Expected, NginxStep, NoStatus, RequestStep, Step};

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One way to break a gateway (or not to), and what an honest diagnosis of it says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What is the matter, in one line.
    pub title: String,
    /// Why the expectation is the honest one, where that is not plain.
    #[serde(default)]
    pub note: String,
    /// The ids that it counts for beside the expected one: effects, or the id that it nearly is.
    #[serde(default)]
    pub covers: Vec<String>,
    /// The group of scenarios that share their error text.
    #[serde(default)]
    pub twin: Option<String>,
    /// Rights and means that it needs.
    #[serde(default)]
    pub needs: Vec<Need>,
    /// Whether `make test` runs it.
    #[serde(default)]
    pub quick: bool,
    /// Preferred port numbers; without namespaces of our own others are taken.
    #[serde(default)]
    pub ports: BTreeMap<String, u16>,
    /// Files by path in the scenario's directory.
    #[serde(default)]
    pub files: BTreeMap<String, FileSpec>,
    /// Files of the scenario that lie over files of the system, seen by its own processes alone.
    #[serde(default)]
    pub mounts: BTreeMap<String, String>,
    /// How nginx is run.
    #[serde(default)]
    pub nginx: NginxSpec,
    /// What stands behind it.
    #[serde(default)]
    pub backend: Vec<Backend>,
    /// Steps before any backend or nginx is started.
    #[serde(default)]
    pub prepare: Vec<Step>,
    /// Steps after that.
    #[serde(default)]
    pub step: Vec<Step>,
    /// Phrases that the error log holds at the end: without them the symptom did not occur.
    #[serde(default)]
    pub log: Vec<String>,
    /// How why502 is called.
    #[serde(default)]
    pub why502: Call,
    /// What it should say.
    pub expect: Expect,
    /// What it should say of the files alone.
    #[serde(default)]
    pub offline: Offline,
    /// The same again with a deciding fact withheld.
    #[serde(default)]
    pub withhold: Vec<Withhold>,
}

impl Scenario {
    /// The ids that it counts for.
    pub fn covered(&self) -> impl Iterator<Item = &str> {
        let expected = self.expect.cause.iter().take(1).filter(|id| *id != NOTHING);
        expected.chain(&self.covers).map(String::as_str)
    }
}

/// Stands for "no finding" in lists of acceptable ids.
pub const NOTHING: &str = "-";

/// A right or a means that not every machine gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// A container engine of its own; with it namespaces of its own.
    Engine,
    /// Namespaces of its own: its own `/etc/hosts`, its own addresses, its own packet filter.
    OwnHost,
    /// Control groups that limit the memory of its backends.
    MemoryLimit,
    /// Control groups that limit the processor time of its backends.
    ProcessorLimit,
    /// To be root: nginx's workers run as another user.
    Root,
}

/// The content of a file, alone or with its mode and owner.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FileSpec {
    /// Its content.
    Text(String),
    /// More than its content.
    Full(FullFile),
}

/// The content of a file with its mode and owner.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FullFile {
    /// Its content.
    #[serde(default)]
    pub text: String,
    /// Its content is a certificate for these names, with the key in the same file.
    #[serde(default)]
    pub certificate: Vec<String>,
    /// Its mode, in octal.
    #[serde(default)]
    pub mode: Option<String>,
    /// `user` or `user:group`.
    #[serde(default)]
    pub owner: Option<String>,
    /// How long ago it was last changed.
    #[serde(default)]
    pub age: Option<String>,
    /// Whether it is compressed with gzip.
    #[serde(default)]
    pub gzip: bool,
    /// It is a symbolic link to this path.
    #[serde(default)]
    pub link: Option<String>,
}

/// How nginx is run.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NginxSpec {
    /// Its configuration.
    pub config: String,
    /// Its pid file.
    pub pid: String,
    /// Its error logs.
    pub error_logs: Vec<String>,
    /// Its access logs.
    pub access_logs: Vec<String>,
    /// More arguments.
    pub args: Vec<String>,
    /// More of its environment.
    pub env: BTreeMap<String, String>,
    /// Whether only a step starts it.
    pub manual: bool,
}

impl Default for NginxSpec {
    fn default() -> Self {
        Self {
            config: "nginx.conf".to_owned(),
            pid: "run/nginx.pid".to_owned(),
            error_logs: vec!["logs/error.log".to_owned()],
            access_logs: vec!["logs/access.log".to_owned()],
            args: Vec::new(),
            env: BTreeMap::new(),
            manual: false,
        }
    }
}

/// How why502 is called.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Call {
    /// Arguments instead of `--pid MASTER`; `@pid` stands for the master.
    pub args: Option<Vec<String>>,
    /// Paths in the scenario's directory that may change meanwhile: what its own backends write.
    pub may_change: Vec<String>,
}
