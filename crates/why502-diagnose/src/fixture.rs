//! Fixtures: several files in one string, answered like the world would answer.
//!
//! ```text
//! #- nginx.conf            the configuration; `#- /path` is any other file
//! #- error.log             the error log
//! #- access.log            the access log (combined, or `log_format` of the configuration)
//! #- listeners             one per line: 127.0.0.1:3000 node [cwd=/srv/shop] [unit=shop.service] [mnt=7] [arguments]   or   unix:/run/app.sock gunicorn
//!                          a command `hidden`: nobody may see whose it is; `parent=200`: of the process that the first line names,
//!                          `started=…`: when; `env=PORT=3000`: a variable; `mute`: it listens nowhere; `held=2`: it holds so many accepted connections, `queue=3`: so many wait, `state=T`
//! #- addresses             local addresses of the host, one per line
//! #- probe 127.0.0.1:3000  refused | silent | closed | reset | errno WORDS (then lines `icmp 3/1 10.0.0.1`) | answers, then the bytes that the peer sends;
//!                          `answers idle=5003` or `held=6000`: behind that it closes after so many milliseconds, or leaves the
//!                          connection open for so long, where one is held;
//!                          `hangs unacknowledged=1448`: so many bytes stay unacknowledged; ` long`, ` segmented`: to a request that fills
//!                          packets, and to one in small packets; `after=1200`, `shaken=800`: the connection, the handshake takes so many milliseconds;
//!                          `answers tls …`: through TLS, see `shake_hands`; `answers fastcgi`: in records, lines after `stderr ` as errors;
//!                          `#- probe 127.0.0.1:3000 /path`: to a request for that path;
//!                          `#- probe 127.0.0.1:3000 tls`: to a probe of that kind alone; for handshakes also `sni` (with a
//!                          server name), `deep` (verified to any depth), `wide` (everything offered), `tls1.2` (that version alone)
//! #- resolve app           addresses, or `absent`
//! #- ask SERVER app        what a name server (`10.0.0.53:53`, or `system`) says: addresses, absent, silent, refused, SERVFAIL
//! #- file-times, #- package-log dpkg   when files were changed, what was installed: see `fixture/changes.rs`
//! #- kernel-log            the kernel's log as journalctl -o short-iso prints it; its first line tells how far it reaches back
//! #- route 10.0.0.7:3000   the way there, and `#- echo 10.0.0.7`: see `fixture/route.rs`
//! #- server-log            the log file that every listening process holds open
//! #- unit shop.service      `systemctl show`: key=value; `absent`: systemd knows none of that name
//! #- unit-file /etc/systemd/system/shop.service, #- program shop, #- run-script shop: definitions of services, see `fixture/services.rs`
//! #- journal shop.service   one entry per line: a moment, who wrote it, the message
//! #- limits, connected     what the kernel allows, and how many sockets there are: see `fixture/limits.rs`
//! #- nft, iptables           packet filters, see `fixture/filters.rs`
//! #- path /run/app.sock    one component per line: MODE UID GID KIND PATH [LABEL] [DEVICE:INODE], as the walk passed them;
//!                          `#- path /run/app.sock @200`: as that process sees it; `path-in-process`: as nginx does, where it sees others
//! #- engine                what a container engine says, see `engine.rs`
//! #- elsewhere             who listens in other network namespaces, see `elsewhere.rs`
//! #- control-group /GROUP  what a control group may have and lacks, see `fixture/control_group.rs`
//! #- waiting               what processes wait for, see `fixture/waiting.rs`
//! #- worker                uid gid groups…: the worker's credentials (default 33 33 33)
//! #- descriptors           of the worker and its master: `limit=1024/4096` (soft, hard), `open=20`, `sockets=15`, `may-raise=yes`
//! #- file-system /var/tmp  `blocks=LEFT/ALL` (of 4 KiB), `inodes=LEFT/ALL`, `kind=ext4`, `point=/var`, `ro`, `reserved=N` (blocks for root)
//! #- worker-unit           the unit of nginx and how it is apart, see `fixture/access_control.rs`, as all of access control
//! #- options               key=value, one per line: offline, config-gone, own-pid=…, url=…, version=1.22.1, now=…,
//!                          net=7 (nginx's network namespace), container=ab (nginx's container), since=…, no-probe, no-sockets,
//!                          workers=… (when further workers were started), hides-processes, other-worker=… (a worker of another master, of /b.conf)
//! ```
//!
//! A fixture that holds no log has an empty error log. What a fixture does not hold is a gap: nobody could look. `#- listeners` without lines means: nothing listens.

mod access_control;
mod changes;
mod control_group;
mod elsewhere;
mod engine;
mod files;
mod filters;
mod kernel_log;
mod limits;
mod logs;
mod names;
mod probes;
mod processes;
mod route;
mod services;
mod shown;
mod waiting;

pub(crate) use self::shown::{first_diff, report, summary};

use self::files::{file_system, status};
use self::kernel_log::kernel_log;
use self::waiting::waiting;
use crate::report::Report;
use crate::wanted;
use std::collections::BTreeMap;
use std::time::Duration;
use why502_decode::Loader;
use why502_facts::{
    Answer, Ask, Blob, Bundle, FORMAT_VERSION, Fact, FactBody, Facts, FileContent, FileKind, GapReason,
    HostRecord, Invocation, LogTail, Manifest, Resolver, Root, Stamp, ZoneOffset, ZoneOffsets,
};
use why502_model::Model;

const MASTER: u32 = 100;
const WORKER: u32 = 101;
const OTHER_MASTER: u32 = 190;
const CONFIG: &str = "/etc/nginx/nginx.conf";
/// When fixtures are looked at, unless they say so: shortly after the lines of Appendix C of the reference.
const NOW: &str = "2026-11-21T02:45:00Z";

/// The sections of a fixture.
#[derive(Clone, Debug)]
pub(crate) struct Fixture {
    sections: BTreeMap<String, String>,
}

impl Fixture {
    /// Reads a fixture.
    pub(crate) fn new(text: &str) -> Self {
        let mut sections: BTreeMap<String, String> = BTreeMap::new();
        let mut current = None;
        for line in text.lines() {
            if let Some(name) = line.trim_start().strip_prefix("#- ") {
                sections.insert(name.trim().to_owned(), String::new());
                current = Some(name.trim().to_owned());
            } else if let Some(section) = current.as_ref().and_then(|name| sections.get_mut(name)) {
                section.push_str(line);
                section.push('\n');
            }
        }
        if !sections.contains_key("error.log") && !sections.contains_key("access.log") {
            sections.insert("error.log".to_owned(), String::new());
        }
        Self { sections }
    }

    /// The fixture without a section: what was known there is a gap.
    pub(crate) fn without(&self, name: &str) -> Self {
        assert!(self.sections.contains_key(name), "no section {name}");
        let mut other = self.clone();
        other.sections.remove(name);
        other
    }

    /// The fixture with a section replaced or added.
    pub(crate) fn with(&self, name: &str, text: &str) -> Self {
        let mut other = self.clone();
        other.sections.insert(name.to_owned(), text.to_owned());
        other
    }

    /// The text of a section.
    pub(crate) fn section(&self, name: &str) -> &str {
        &self.sections[name]
    }

    /// The report of the fixture.
    pub(crate) fn report(&self) -> Report {
        report(&self.bundle())
    }

    /// The report as the tests of causes show it: one line per finding, then what was ruled out or left open.
    pub(crate) fn summary(&self) -> String {
        summary(&self.report())
    }

    /// The bundle that a run on the fixture's world would record.
    pub(crate) fn bundle(&self) -> Bundle {
        self.bundle_with(wanted)
    }

    /// The bundle that would be recorded where other things are wanted than a diagnosis wants.
    pub(crate) fn bundle_with(&self, wanted: impl Fn(&Facts, &Model) -> Vec<Ask>) -> Bundle {
        let mut bundle = Bundle::new(self.manifest());
        let mut loader = Loader::default();
        for _ in 0..20 {
            let facts = loader.load(&bundle);
            let model = Model::build(&facts);
            let mut asks = model.asks.clone();
            if asks.is_empty() {
                asks = wanted(&facts, &model);
            }
            asks.retain(|ask| bundle.facts.iter().all(|fact| fact.ask != *ask));
            if asks.is_empty() {
                return bundle;
            }
            let answers: Vec<Fact> = asks
                .into_iter()
                .map(|ask| {
                    let answer = self.answer(&ask, &model);
                    Fact { ask, at: self.now(), answer, micros: None }.masked()
                })
                .collect();
            bundle.facts.extend(answers);
        }
        panic!("the rounds of the fixture do not end");
    }

    fn manifest(&self) -> Manifest {
        let offline = self.option("offline").is_some();
        let given = |name: &str| offline && self.sections.contains_key(name);
        let invocation = Invocation {
            url: self.option("url"),
            config: given("nginx.conf").then(|| CONFIG.to_owned()),
            error_logs: if given("error.log") {
                vec!["/var/log/nginx/error.log".to_owned()]
            } else {
                Vec::new()
            },
            access_logs: if given("access.log") {
                vec!["/var/log/nginx/access.log".to_owned()]
            } else {
                Vec::new()
            },
            since: match self.option("since").as_deref() {
                Some("all") => None,
                Some(seconds) => Some(Duration::from_secs(seconds.parse().unwrap())),
                None => Some(Duration::from_hours(1)),
            },
            offline,
            replay: self.option("replay").is_some(),
            timeout: Duration::from_secs(10),
            ..Invocation::default()
        };
        Manifest {
            format: FORMAT_VERSION,
            tool_version: "0.0.0".to_owned(),
            captured_at: self.now(),
            invocation,
        }
    }

    fn option(&self, name: &str) -> Option<String> {
        self.sections.get("options")?.lines().find_map(|line| {
            let (key, value) = line.trim().split_once('=').unwrap_or((line.trim(), ""));
            (key == name).then(|| value.to_owned())
        })
    }

    fn now(&self) -> Stamp {
        Self::stamp(&self.option("now").unwrap_or_else(|| NOW.to_owned()))
    }

    /// `2026-11-21T02:45:00Z`.
    fn stamp(text: &str) -> Stamp {
        let number = |range: std::ops::Range<usize>| text[range].parse::<i8>().unwrap();
        let date = (text[0..4].parse().unwrap(), number(5..7), number(8..10));
        why502_facts::Civil::from_parts(date, (number(11..13), number(14..16), number(17..19)))
            .unwrap()
            .at_offset(0)
    }

    fn answer(&self, ask: &Ask, model: &Model) -> Answer {
        let unseen = || Answer::unknown(GapReason::Denied, "the fixture does not tell");
        if self.option("offline").is_some()
            && !matches!(ask, Ask::File { .. } | Ask::Log(_) | Ask::LogTail { .. })
        {
            return Answer::unknown(GapReason::NotAsked, "not looked at: --offline");
        }
        match ask {
            Ask::Container { socket, id } => {
                self.sections.get("engine").map_or_else(unseen, |text| engine::container(socket, id, text))
            }
            Ask::ControlGroups { pids } => control_group::answer(&self.sections, pids),
            Ask::Engine { socket } => {
                self.sections.get("engine").map_or_else(unseen, |text| engine::engine(socket, text))
            }
            Ask::File { path, .. } => self.file(path),
            Ask::Audit { .. } | Ask::Confinement { .. } | Ask::Decision { .. } | Ask::Glob { .. } => {
                access_control::answer(self, ask).unwrap_or_else(unseen)
            }
            Ask::FileSystem { path, .. } => self
                .sections
                .get(&format!("file-system {path}"))
                .map_or_else(unseen, |text| file_system(path, text)),
            Ask::Echo { target, sizes, .. } => self
                .sections
                .get(&format!("echo {target}"))
                .map_or_else(unseen, |text| route::echo(text, sizes)),
            Ask::FileTimes { .. } | Ask::PackageLog { .. } => {
                changes::answer(&self.sections, ask).unwrap_or_else(unseen)
            }
            Ask::Host => Answer::known(FactBody::Host(self.host())),
            Ask::KernelLog => {
                self.sections.get("kernel-log").map_or_else(unseen, |text| kernel_log(text, self.now()))
            }
            Ask::Waiting { pids } => {
                self.sections.get("waiting").map_or_else(unseen, |text| waiting(text, pids))
            }
            Ask::Processes => Answer::known(FactBody::Processes(self.processes())),
            Ask::Process { pid } => Answer::known(FactBody::Process(self.process(*pid))),
            Ask::Strings { .. } => {
                let version = self.option("version").unwrap_or_else(|| "1.22.1".to_owned());
                Answer::known(FactBody::Strings(vec![
                    format!("nginx version: nginx/{version}"),
                    format!(
                        "configure arguments: --prefix=/usr/share/nginx --conf-path={CONFIG} --error-log-path=/var/log/nginx/error.log --http-log-path=/var/log/nginx/access.log"
                    ),
                ]))
            }
            Ask::NetworkLimits { again, .. } => self.limits(*again).unwrap_or_else(unseen),
            Ask::LogTail { path, .. } => match self.log(path) {
                Some(text) => {
                    let tail = LogTail { bytes: Blob::from(text), size: text.len() as u64 };
                    Answer::known(FactBody::LogTail(tail))
                }
                None => unseen(),
            },
            Ask::Log(slice) => {
                self.log(&slice.path).map_or_else(unseen, |text| logs::digest(slice, text, model))
            }
            Ask::Route { target, mark, .. } => {
                let mark = mark.map(|mark| format!(" mark={mark}")).unwrap_or_default();
                let section = self.sections.get(&format!("route {target}{mark}"));
                section.map_or_else(unseen, |text| route::route(text))
            }
            Ask::ServerLogs { .. } => {
                self.sections.get("server-log").map_or_else(unseen, |text| logs::server_log(text, self.now()))
            }
            Ask::Services { .. } | Ask::Unit { .. } | Ask::UnitJournal { .. } => {
                services::answer(&self.sections, ask)
            }
            Ask::Sockets { .. } => {
                self.sections.get("listeners").map_or_else(unseen, |text| self.sockets(text))
            }
            Ask::PacketFilter { moment, .. } => {
                filters::answer(*moment, |name| self.sections.get(name)).unwrap_or_else(unseen)
            }
            Ask::OtherSockets { .. } => {
                self.sections.get("elsewhere").map_or_else(unseen, |text| elsewhere::sockets(text))
            }
            Ask::PathWalk { root, path } => {
                let is_apart = self.sections.keys().any(|name| name.starts_with("path-in-process "));
                let section = match root {
                    Root::Process(MASTER | WORKER) if is_apart => format!("path-in-process {path}"),
                    Root::Process(pid) if !self.sees_the_same(*pid) => format!("path {path} @{pid}"),
                    Root::Process(_) | Root::Host => format!("path {path}"),
                };
                self.sections.get(&section).map_or_else(unseen, |text| files::walk(path, text))
            }
            Ask::Probe { .. } if self.option("no-probe").is_some() => {
                Answer::unknown(GapReason::NotAsked, "not looked at: --no-probe")
            }
            Ask::Probe { target, spec, .. } => {
                probes::answer(&self.sections, target, spec).unwrap_or_else(unseen)
            }
            Ask::Resolve { name, resolver: Resolver::System, .. } => self
                .sections
                .get(&format!("resolve {name}"))
                .map_or_else(unseen, |text| names::resolved(text)),
            Ask::Resolve { name, resolver, .. } => {
                let server = match resolver {
                    Resolver::Server(server) => server.to_string(),
                    Resolver::System | Resolver::SystemServers => "system".to_owned(),
                };
                self.sections
                    .get(&format!("ask {server} {name}"))
                    .map_or_else(unseen, |text| names::replied(text))
            }
        }
    }

    fn log(&self, path: &str) -> Option<&str> {
        self.sections.get(path.rsplit('/').next()?).map(String::as_str)
    }

    fn file(&self, path: &str) -> Answer {
        if path == CONFIG && self.option("config-gone").is_some() {
            return Answer::Absent;
        }
        let text = if path == CONFIG { self.sections.get("nginx.conf") } else { self.sections.get(path) };
        let Some(text) = text else {
            let unseen = Answer::unknown(GapReason::Denied, "the fixture does not tell");
            return if path == CONFIG { unseen } else { Answer::Absent };
        };
        let mut status = status(FileKind::File, 0o644, 0, 0);
        if let Some(modified) = self.option("modified") {
            status.modified = Self::stamp(&modified);
        }
        Answer::known(FactBody::File(FileContent {
            content: Blob::from(text.as_str()),
            status,
            truncated: false,
        }))
    }

    fn host(&self) -> HostRecord {
        HostRecord {
            name: Some("fixture".to_owned()),
            booted: Some(Stamp(self.now().0 - 86_400_000)),
            zone: ZoneOffsets(vec![ZoneOffset { from: Stamp(0), offset_seconds: 0 }]),
            ..HostRecord::default()
        }
    }
}
