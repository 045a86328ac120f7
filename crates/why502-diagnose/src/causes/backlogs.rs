//! How long a queue each server asks for, and where that is set.

use super::app_server::is_program;
use super::servers::option_value;
use why502_facts::Process;

/// The backlog of a kind of server.
pub(super) struct Backlog {
    /// The name of its program, or of what an interpreter runs.
    program: &'static str,
    /// The option of its command line.
    option: Option<(&'static str, Option<&'static str>)>,
    /// What it asks for unless told otherwise.
    default: u64,
    /// The setting, as its manual names it, with the number put in at `{}`.
    setting: &'static str,
}

/// From the documentation of each.
const BACKLOGS: [Backlog; 10] = [
    // Apache HTTP Server, `ListenBackLog`.
    backlog("apache2", None, 511, "ListenBackLog {} in its configuration"),
    backlog("httpd", None, 511, "ListenBackLog {} in its configuration"),
    // gunicorn, `backlog`.
    backlog(
        "gunicorn",
        Some(("--backlog", None)),
        2048,
        "gunicorn's --backlog {} (backlog = {} in its file)",
    ),
    // HAProxy, `backlog`; without it that of `maxconn`.
    backlog("haproxy", None, 2000, "backlog {} in the frontend of HAProxy"),
    // nginx, `listen`.
    backlog("nginx", None, 511, "backlog={} behind the listen directive of that nginx"),
    // Node.js, `server.listen()`.
    backlog("node", None, 511, "the backlog of server.listen(): server.listen({ port, host, backlog: {} })"),
    // PHP-FPM, `listen.backlog`.
    backlog("php-fpm", None, 511, "listen.backlog = {} in the PHP-FPM pool"),
    // Puma: a parameter of `bind`.
    backlog("puma", None, 1024, "backlog={} in Puma's bind, as in tcp://0.0.0.0:9292?backlog={}"),
    // uvicorn.
    backlog("uvicorn", Some(("--backlog", None)), 2048, "uvicorn's --backlog {}"),
    // uWSGI, `listen`.
    backlog("uwsgi", Some(("--listen", Some("-l"))), 100, "uWSGI's --listen {} (listen = {} in its file)"),
];

const fn backlog(
    program: &'static str,
    option: Option<(&'static str, Option<&'static str>)>,
    default: u64,
    setting: &'static str,
) -> Backlog {
    Backlog { program, option, default, setting }
}

/// The kind of a server's process.
pub(super) fn backlog_of(process: &Process) -> Option<&'static Backlog> {
    BACKLOGS.iter().find(|backlog| is_program(process, backlog.program))
}

impl Backlog {
    /// What the arguments of a process ask for, with the option; without one what its kind asks for.
    pub(super) fn asked(&self, process: &Process) -> (u64, Option<&'static str>) {
        let set = self.option.and_then(|(long, short)| {
            let value = option_value(&process.argv, long, short)?.parse().ok()?;
            Some((value, Some(long)))
        });
        set.unwrap_or((self.default, None))
    }

    /// The setting with a number.
    pub(super) fn setting(&self, number: u64) -> String {
        self.setting.replace("{}", &number.to_string())
    }
}
