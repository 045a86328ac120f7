//! How large a request header the known application servers take, as far as their arguments tell.

use super::servers::option_value;
use crate::case::{Case, PeerSubject};
use crate::finding::{Evidence, Origin};
use why502_facts::Process;

/// The size of uWSGI's buffer for a request's header (uWSGI documentation, option `buffer-size`).
const UWSGI_DEFAULT: u64 = 4096;
/// The size of all header lines that Node.js takes since 13.13 (its documentation, `--max-http-header-size`).
const NODE_DEFAULT: u64 = 16_384;

/// An application server of which such a limit is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Server {
    Node,
    Uwsgi,
}

impl Server {
    /// The server that a command is.
    fn named(command: &str) -> Option<Self> {
        match command {
            "node" | "nodejs" => Some(Self::Node),
            _ => command.starts_with("uwsgi").then_some(Self::Uwsgi),
        }
    }

    /// What it calls itself.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Node => "Node.js",
            Self::Uwsgi => "uWSGI",
        }
    }

    /// The option that sets the limit.
    pub(super) fn option(self) -> &'static str {
        match self {
            Self::Node => "--max-http-header-size",
            Self::Uwsgi => "--buffer-size",
        }
    }

    fn default(self) -> u64 {
        match self {
            Self::Node => NODE_DEFAULT,
            Self::Uwsgi => UWSGI_DEFAULT,
        }
    }

    /// The limit that arguments set.
    fn told(self, argv: &[String]) -> Option<u64> {
        let short = (self == Self::Uwsgi).then_some("-b");
        option_value(argv, self.option(), short)?.parse().ok()
    }

    /// Whether arguments name a file or folder that may set options.
    fn reads_a_file(self, argv: &[String]) -> bool {
        const KINDS: [&str; 6] = ["emperor", "ini", "json", "xml", "yaml", "yml"];
        let is_file = |argument: &str| {
            let name = argument.strip_prefix("--").and_then(|option| option.split('=').next());
            name.or_else(|| argument.rsplit_once('.').map(|(_, kind)| kind))
                .is_some_and(|kind| KINDS.contains(&kind))
        };
        self == Self::Uwsgi && argv.iter().skip(1).any(|argument| is_file(argument))
    }
}

/// What a listener was started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HeaderLimit {
    pub(super) server: Server,
    /// In bytes; `None` where a file of its own may say another one than the default.
    pub(super) bytes: Option<u64>,
    /// Whether its arguments say it.
    is_told: bool,
    pid: u32,
}

impl HeaderLimit {
    /// The limit of whoever listens on a peer's address.
    pub(super) fn of(case: &Case<'_>, peer: &PeerSubject) -> Option<Self> {
        case.listeners_of(peer).into_iter().find_map(Self::of_process)
    }

    fn of_process(process: &Process) -> Option<Self> {
        let of_path = process.exe.as_deref().and_then(|path| path.rsplit('/').next());
        let server = [Some(process.comm.as_str()), of_path].into_iter().flatten().find_map(Server::named)?;
        let told = server.told(&process.argv);
        let bytes = told.or_else(|| (!server.reads_a_file(&process.argv)).then_some(server.default()));
        Some(Self { server, bytes, is_told: told.is_some(), pid: process.pid })
    }

    pub(super) fn evidence(&self) -> Evidence {
        let (name, option) = (self.server.name(), self.server.option());
        let says = match self.bytes {
            Some(bytes) if self.is_told => format!("{name} was started with {option} {bytes}"),
            Some(bytes) => {
                format!("{name} was started without {option}, so it takes {bytes} bytes of header")
            }
            None => {
                format!("{name} takes {} bytes of header, if no file says {option}", self.server.default())
            }
        };
        Evidence::supporting(says, Origin::Host(format!("/proc/{}/cmdline", self.pid)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_told_by_arguments() {
        let limit = |line: &str| {
            let argv: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let server = Server::named(&argv[0])?;
            Some((server.told(&argv), server.reads_a_file(&argv)))
        };
        assert_eq!(limit("uwsgi_python3 --socket :3031"), Some((None, false)));
        assert_eq!(limit("uwsgi -b 32768 -s :3031"), Some((Some(32_768), false)));
        assert_eq!(limit("uwsgi --buffer-size=8192"), Some((Some(8192), false)));
        assert_eq!(limit("uwsgi --ini /etc/uwsgi/app"), Some((None, true)));
        assert_eq!(limit("uwsgi /srv/app.yaml -b 5000"), Some((Some(5000), true)));
        assert_eq!(limit("node --max-http-header-size=80000 server.js"), Some((Some(80_000), false)));
        assert_eq!(limit("node server.json"), Some((None, false)));
        assert_eq!(limit("gunicorn"), None);
    }
}
