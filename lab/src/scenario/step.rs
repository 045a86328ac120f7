//! What happens, in order.

use serde::{Deserialize, Serialize};
use std::fmt;

/// One thing that happens.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Adds text to a file.
    Append(WriteStep),
    /// Changes a mode, in octal.
    Chmod(ChmodStep),
    /// Changes an owner.
    Chown(ChownStep),
    /// Takes the answers of a request in the background.
    Join(String),
    /// Waits until the error log holds a phrase.
    Log(String),
    /// Makes a directory.
    Mkdir(String),
    /// Does something to nginx.
    Nginx(NginxStep),
    /// Renames a file: what a rotation of logs does.
    Rename(RenameStep),
    /// Replaces text in a file.
    Replace(ReplaceStep),
    /// Sends requests through nginx.
    Request(RequestStep),
    /// Runs a command of the system and waits for it; it must succeed.
    Run(Vec<String>),
    /// Waits, where nothing can be waited for.
    SleepMs(u64),
    /// Starts a backend.
    Start(String),
    /// Ends a backend with SIGTERM and waits for its end.
    Stop(String),
    /// Ends a backend and all that it started with SIGKILL: a crash.
    Kill(String),
    /// Removes a file or an empty directory.
    Unlink(String),
    /// Waits until something listens there.
    WaitListen(String),
    /// Writes a file.
    Write(WriteStep),
}

/// What is done to nginx.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NginxStep {
    /// Reloads, and waits until the new workers are alone.
    Reload,
    /// Reloads, and waits until the master says that it will not.
    ReloadRefused,
    /// Reopens its logs.
    Reopen,
    /// Starts.
    Start,
    /// Tries to start, and must fail.
    StartRefused,
    /// Ends, and waits for the end.
    Stop,
}

/// Text for a file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WriteStep {
    /// The file.
    pub path: String,
    /// The text.
    pub text: String,
}

/// A new mode.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChmodStep {
    /// The file.
    pub path: String,
    /// The mode, in octal.
    pub mode: String,
}

/// A new owner.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChownStep {
    /// The file.
    pub path: String,
    /// `user` or `user:group`.
    pub owner: String,
}

/// A new name.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RenameStep {
    /// The old one.
    pub from: String,
    /// The new one.
    pub to: String,
}

/// Other text in a file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplaceStep {
    /// The file.
    pub path: String,
    /// What is there.
    pub from: String,
    /// What shall be there.
    pub to: String,
}

/// Requests of one kind.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RequestStep {
    /// The method.
    pub method: String,
    /// The path.
    pub path: String,
    /// The Host header; nothing said: the address.
    pub host: Option<String>,
    /// Further header lines.
    pub header: Vec<String>,
    /// The body.
    pub body: Option<String>,
    /// How many.
    pub count: usize,
    /// What each of them must be answered; of several, each must occur.
    pub expect: Expected,
    /// The port, by name.
    pub port: String,
    /// The address that the client has.
    pub client: Option<String>,
    /// Whether all go over one connection.
    pub keepalive: bool,
    /// Whether all are sent at once.
    pub parallel: bool,
    /// The name under which it runs on while the next steps are taken.
    pub background: Option<String>,
    /// After how long the client gives up.
    pub give_up_ms: Option<u64>,
}

impl Default for RequestStep {
    fn default() -> Self {
        Self {
            method: "GET".to_owned(),
            path: "/".to_owned(),
            host: None,
            header: Vec::new(),
            body: None,
            count: 1,
            expect: Expected::One(Answer::Status(200)),
            port: "web".to_owned(),
            client: None,
            keepalive: false,
            parallel: false,
            background: None,
            give_up_ms: None,
        }
    }
}

/// What requests must be answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Expected {
    /// All of them the same.
    One(Answer),
    /// Each one of these, and each of these at least once.
    Mixed(Vec<Answer>),
}

impl Expected {
    /// Whether these answers are as expected.
    pub fn fits(&self, answers: &[Answer]) -> bool {
        let expected = match self {
            Self::One(answer) => std::slice::from_ref(answer),
            Self::Mixed(expected) => expected.as_slice(),
        };
        answers.iter().all(|answer| expected.contains(answer))
            && expected.iter().all(|answer| answers.contains(answer))
    }
}

/// What a client got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Answer {
    /// A status.
    Status(u16),
    /// Something else.
    Other(NoStatus),
}

/// What a client got that was no status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoStatus {
    /// The connection was closed without an answer.
    Closed,
    /// Bytes that are no answer.
    Garbage,
    /// The client gave up, as it was told to.
    GaveUp,
    /// The connection was refused.
    Refused,
    /// A status and a part of the body.
    Truncated,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "{status}"),
            Self::Other(other) => write!(f, "{other:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixed_answers_must_all_occur() {
        let (ok, bad) = (Answer::Status(200), Answer::Status(502));
        assert!(Expected::One(bad).fits(&[bad, bad]) && !Expected::One(bad).fits(&[bad, ok]));
        let mixed = Expected::Mixed(vec![ok, bad]);
        assert!(mixed.fits(&[bad, ok, ok]) && !mixed.fits(&[bad, bad]));
        assert!(!Expected::One(bad).fits(&[]));
    }
}
