//! A folder of configuration files: what the real nginx makes of it, and what the model does.
//!
//! Nothing here needs rights: every path is in the folder, every port above 1023 or a unix socket in the folder.

use crate::testing::{facts_from, file, process, unknown};
use crate::{Gateway, Model};
use std::fs;
use std::net::ToSocketAddrs as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use why502_collect::{Collector, Policy, RouteOfOwner};
use why502_facts::{
    Answer, Ask, Datum, FactBody, Gap, GapReason, HostRecord, Invocation, Observed, ProcessList,
};

pub(crate) const NGINX: &str = "/usr/sbin/nginx";

/// What a configuration begins with, so that nginx writes into the folder only. It stands before the first line of a
/// file without ending it: line numbers stay.
const MAIN: &str = "pid nginx.pid; ";
/// The same behind `http {`.
const HTTP: &str = " client_body_temp_path .temp/body; proxy_temp_path .temp/proxy; fastcgi_temp_path .temp/fastcgi; \
                    uwsgi_temp_path .temp/uwsgi; scgi_temp_path .temp/scgi;";

/// A folder with an `nginx.conf`.
pub(crate) struct Host {
    folder: TempDir,
}

/// A running nginx; it is ended, by its process id, when this is dropped.
pub(crate) struct Running {
    pub(crate) host: Host,
    child: Child,
}

impl Host {
    /// A folder of files, the first of which is the configuration.
    pub(crate) fn new(files: &[(&str, &[u8])]) -> Self {
        assert!(Path::new(NGINX).exists(), "this test needs nginx at {NGINX}: run scripts/setup");
        let folder = tempfile::Builder::new().prefix("why502-").tempdir().unwrap();
        let host = Self { folder };
        fs::create_dir(host.path(".temp")).unwrap();
        for (name, content) in files {
            host.write(name, content);
        }
        host
    }

    /// A folder with one file, which has all that keeps nginx in the folder.
    pub(crate) fn with(config: &str) -> Self {
        Self::new(&[("nginx.conf", settled(config).as_bytes())])
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn write(&self, name: &str, content: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(Path::new(&path).parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn nginx(&self, option: &str) -> Output {
        self.command().arg(option).output().expect("nginx can be run")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(NGINX);
        command.args(["-p", &self.path(""), "-c", &self.path("nginx.conf"), "-e", &self.path("error.log")]);
        command.stdin(Stdio::null()).current_dir(self.folder.path());
        command
    }

    /// What `nginx -t` refuses the configuration for, as it prints it: the folder's path left out, and ` in FILE:LINE` at
    /// the end where it names a place; `None` if it accepts it.
    pub(crate) fn refusal(&self) -> Option<String> {
        let output = self.nginx("-t");
        if output.status.success() {
            return None;
        }
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let begin = text.find("nginx: [emerg] ").unwrap_or_else(|| panic!("no reason: {text}"));
        let message = &text[begin + "nginx: [emerg] ".len()..];
        let end = message.find("\nnginx: ").unwrap_or(message.len());
        Some(self.shortened(message[..end].trim_end_matches('\n')))
    }

    /// The output of `nginx -T`, if it accepts the configuration.
    pub(crate) fn dump(&self) -> Option<Vec<u8>> {
        let output = self.nginx("-T");
        output.status.success().then_some(output.stdout)
    }

    /// The problems of the model as nginx prints them.
    pub(crate) fn problems(&self) -> Vec<String> {
        self.gateway().problems.iter().map(|problem| self.shortened(&problem.words())).collect()
    }

    /// A text without the folder's path.
    fn shortened(&self, text: &str) -> String {
        text.replace(&self.path(""), "")
    }

    /// The model of a master that runs with these files.
    pub(crate) fn gateway(&self) -> Gateway {
        let master = format!(
            "nginx: master process {NGINX} -p {} -c {} -e {}",
            self.path(""),
            self.path("nginx.conf"),
            self.path("error.log")
        );
        let processes = vec![process(10, 1, &master, 1_000), process(11, 10, "nginx: worker process", 1_000)];
        let list = Datum::Processes(ProcessList { processes, hidden: false });
        only(Model::build(&facts_from(&Invocation::default(), &|ask| match ask {
            Ask::Processes => Observed::Known(list.clone()),
            Ask::Host => Observed::Known(Datum::Host(HostRecord::default())),
            Ask::Resolve { name, .. } => resolve(name),
            Ask::Strings { .. } => Observed::Known(strings_of_nginx(ask)),
            ask => from_disk(ask),
        })))
    }

    /// The model of a file that was carried here.
    pub(crate) fn offline(&self, config: &str) -> Gateway {
        let invocation =
            Invocation { offline: true, config: Some(self.path(config)), ..Invocation::default() };
        only(Model::build(&facts_from(&invocation, &from_disk)))
    }

    /// Starts nginx and waits until it listens on a unix socket of the folder.
    pub(crate) fn start(self, socket: &str) -> Running {
        let mut command = self.command();
        command.args(["-g", "daemon off; master_process off;"]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("nginx can be run");
        let running = Running { host: self, child };
        let deadline = Instant::now() + Duration::from_secs(10);
        while std::os::unix::net::UnixStream::connect(running.host.path(socket)).is_err() {
            assert!(
                Instant::now() < deadline,
                "nginx does not listen: {}",
                fs::read_to_string(running.host.path("error.log")).unwrap_or_default()
            );
            thread::sleep(Duration::from_millis(5));
        }
        running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One process without workers: it cannot be gone already, and nothing is left behind.
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
    }
}

/// A configuration with the directives that keep nginx in its folder.
pub(crate) fn settled(config: &str) -> String {
    let begin = config.find("http {").or_else(|| config.find("http{")).filter(|at| {
        // Only where `http` is a word of its own.
        config[..*at]
            .chars()
            .next_back()
            .is_none_or(|before| before.is_whitespace() || before == ';' || before == '}')
    });
    match begin {
        Some(begin) => {
            let brace = begin + config[begin..].find('{').unwrap_or(0) + 1;
            format!("{MAIN}{}{HTTP}{}", &config[..brace], &config[brace..])
        }
        None => format!("{MAIN}{config}"),
    }
}

fn only(mut model: Model) -> Gateway {
    assert_eq!(model.gateways.len(), 1, "one gateway");
    model.gateways.remove(0)
}

/// Names as nginx looks them up: with the system's resolver, which takes odd spellings of addresses too.
fn resolve(name: &str) -> Observed<Datum> {
    match (name, 0).to_socket_addrs() {
        Ok(found) => Observed::Known(Datum::Addresses(found.map(|address| address.ip()).collect())),
        Err(_) => Observed::Absent,
    }
}

fn from_disk(ask: &Ask) -> Observed<Datum> {
    match ask {
        // Not through the collector: it would mask what looks like a password.
        Ask::File { path, .. } => {
            return fs::read(path).map_or(Observed::Absent, |content| Observed::Known(file(&content)));
        }
        Ask::Glob { .. } => {}
        _ => return unknown(ask, GapReason::NotAsked),
    }
    match look(ask) {
        Answer::Absent => Observed::Absent,
        Answer::Unknown { why, says } => Observed::Unknown(Gap { ask: ask.clone(), why, says }),
        Answer::Known(body) => match *body {
            FactBody::Paths(paths) => Observed::Known(Datum::Paths(paths)),
            other => panic!("{other:?} answers {ask:?}"),
        },
    }
}

/// The strings of the binary; it is large, so one look serves all tests of a process.
fn strings_of_nginx(ask: &Ask) -> Datum {
    static STRINGS: OnceLock<Vec<String>> = OnceLock::new();
    let strings = STRINGS.get_or_init(|| match look(ask) {
        Answer::Known(body) => match *body {
            FactBody::Strings(strings) => strings,
            other => panic!("{other:?} answers {ask:?}"),
        },
        other => panic!("{other:?} answers {ask:?}"),
    });
    Datum::Strings(strings.clone())
}

fn look(ask: &Ask) -> Answer {
    let policy = Policy { only_files: None, may_probe: false, reads_logs: true };
    let collector = Collector::new(policy, Duration::from_secs(10));
    let no_route: Arc<RouteOfOwner> = Arc::new(|_, _| None);
    collector.answer(std::slice::from_ref(ask), &no_route).remove(0).answer
}
