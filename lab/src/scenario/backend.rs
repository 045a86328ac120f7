//! What stands behind nginx.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A backend: a real program, or a server of the lab's own.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Backend {
    /// What steps call it.
    pub name: String,
    /// What it is.
    pub kind: BackendKind,
    /// Where it listens: `127.0.0.1:3000`, `[::1]:3000`, `unix:/path`. Of a program: what is waited for.
    pub listen: Vec<String>,
    /// Whether only a step starts it.
    pub manual: bool,

    /// A program with its arguments.
    pub argv: Vec<String>,
    /// The directory that it runs in.
    pub cwd: Option<String>,
    /// More of its environment.
    pub env: BTreeMap<String, String>,
    /// The memory, in bytes, that it may take with all that it starts; a suffix K or M is understood. It runs in a control
    /// group of its own, and the kernel kills one of its processes where it wants more.
    pub memory: Option<String>,
    /// The part of one processor, in percent, that it may use with all that it starts. It runs in a control group of its own,
    /// and the kernel stops it where it wants more.
    pub processor_percent: Option<u32>,

    /// Of a server of the lab: the name of its process and further words of its command line.
    pub process: Option<Vec<String>>,
    /// What it does before it reads anything.
    pub on_connect: Vec<Action>,
    /// What it does with requests that begin so; the first that fits.
    pub route: Vec<Route>,
    /// What it does with all others; nothing said: it answers 200.
    pub otherwise: Vec<Action>,
    /// Whether it reads bytes, whatever they are, rather than HTTP.
    pub raw: bool,
    /// Whether it keeps connections for further requests.
    pub keepalive: bool,
    /// Whether it speaks TLS.
    pub tls: Option<Tls>,
    /// The mode of its unix socket, in octal.
    pub socket_mode: Option<String>,
    /// `user` or `user:group` of its unix socket.
    pub socket_owner: Option<String>,
    /// Of a name server: addresses by name. Other names do not exist.
    pub zone: BTreeMap<String, Vec<String>>,
}

/// What a backend is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BackendKind {
    /// A name server of the lab.
    Dns,
    /// A real program.
    Program,
    /// A server of the lab.
    #[default]
    Serve,
}

/// What a server does with some requests.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// The method; any if not said.
    #[serde(default)]
    pub method: Option<String>,
    /// What the path begins with.
    #[serde(default)]
    pub path: String,
    /// What it does.
    #[serde(rename = "do")]
    pub actions: Vec<Action>,
}

/// One thing that a server does on a connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Sends a 200 whose header has at least so many bytes.
    BigHeader(usize),
    /// Closes the connection in good order.
    Close,
    /// Keeps the connection open and says nothing more.
    Hang,
    /// Closes the connection with a reset.
    Reset,
    /// Sends an answer in good order.
    Respond(Respond),
    /// Sends text.
    Send(String),
    /// Sends bytes, in hexadecimal digits.
    SendHex(String),
    /// Waits.
    WaitMs(u64),
}

/// An answer in good order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Respond {
    /// Its status; nothing said: 200.
    pub status: Option<u16>,
    /// Further headers.
    pub headers: BTreeMap<String, String>,
    /// Its body.
    pub body: String,
    /// A body of so many bytes instead.
    pub body_bytes: Option<usize>,
}

/// How a server speaks TLS.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// The names in its certificate, which it signs itself.
    pub names: Vec<String>,
}
