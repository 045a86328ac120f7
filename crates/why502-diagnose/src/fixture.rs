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
mod route;
mod services;
mod waiting;

use self::files::{add_descriptors, file_system};

use crate::plan::asks_upgrade;
use crate::report::Report;
use crate::{diagnose, wanted};
use kernel_log::kernel_log;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use waiting::waiting;
use why502_decode::host::keep_server_words;
use why502_decode::logs::{
    AccessDigester, AccessFormat, AccessSource, DEFAULT_MAX_RECORDS, DigestOptions, ErrorDigester, Extent,
};
use why502_decode::{Loader, load};
use why502_facts::{
    Accepted, AccessDigest, Answer, Ask, Blob, Bundle, Errno, FORMAT_VERSION, Fact, FactBody, Facts,
    FileContent, FileIdentity, FileKind, FileStatus, GapReason, HostRecord, Invocation, LogKind, LogSlice,
    LogTail, Manifest, NameReply, PathComponent, PathWalk, ProbeContext, ProbeOutcome, ProbeSpec, ProbeStep,
    ProcessRecord, ProcessTable, ProxyHeader, RequestKey, Resolver, Root, ServerLogRecord, SocketRecord,
    Stamp, StepKind, TlsAnswer, TlsCertificate, TlsSpec, TlsVerdict, Transcript, ZoneOffset, ZoneOffsets,
    lossy,
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
            Ask::Log(slice) => self.log(&slice.path).map_or_else(unseen, |text| digest(slice, text, model)),
            Ask::Route { target, mark, .. } => {
                let mark = mark.map(|mark| format!(" mark={mark}")).unwrap_or_default();
                let section = self.sections.get(&format!("route {target}{mark}"));
                section.map_or_else(unseen, |text| route::route(text))
            }
            Ask::ServerLogs { .. } => {
                self.sections.get("server-log").map_or_else(unseen, |text| self.server_log(text))
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
                self.sections.get(&section).map_or_else(unseen, |text| walk(path, text))
            }
            Ask::Probe { .. } if self.option("no-probe").is_some() => {
                Answer::unknown(GapReason::NotAsked, "not looked at: --no-probe")
            }
            Ask::Probe { target, spec, .. } => {
                let of = |name: &str| self.sections.get(&format!("probe {target}{name}"));
                let special = tls_name(spec)
                    .or_else(|| upgrade_name(spec))
                    .and_then(of)
                    .or_else(|| size_name(spec).and_then(of))
                    .or_else(|| of(&format!(" {}", target_of(spec))))
                    .or_else(|| of(&format!(" {}", spec_name(spec))));
                // Who closes without the header of the PROXY protocol does not tell what it does behind it, nor does a small request
                // tell of a large one.
                let is_other = matches!(**spec, ProbeSpec::ProxyProtocol { .. })
                    || matches!(size_name(spec), Some(" long" | " segmented"));
                let usual = || of("").filter(|_| !is_other);
                special.or_else(usual).map_or_else(unseen, |text| transcript(text, spec))
            }
            Ask::Resolve { name, resolver: Resolver::System, .. } => {
                self.sections.get(&format!("resolve {name}")).map_or_else(unseen, |text| resolved(text))
            }
            Ask::Resolve { name, resolver, .. } => {
                let server = match resolver {
                    Resolver::Server(server) => server.to_string(),
                    Resolver::System | Resolver::SystemServers => "system".to_owned(),
                };
                self.sections.get(&format!("ask {server} {name}")).map_or_else(unseen, |text| replied(text))
            }
        }
    }

    fn log(&self, path: &str) -> Option<&str> {
        self.sections.get(path.rsplit('/').next()?).map(String::as_str)
    }

    fn server_log(&self, text: &str) -> Answer {
        let lines = keep_server_words(text.as_bytes()).into();
        let log = ServerLogRecord { path: "/var/log/app.log".to_owned(), modified: self.now(), lines };
        Answer::known(FactBody::ServerLogs(vec![log]))
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

    /// nginx, and a process for every listener.
    fn processes(&self) -> ProcessTable {
        let mut processes = vec![process(1, 0, "systemd", "/sbin/init")];
        if self.option("not-running").is_none() {
            let mut master = process(MASTER, 1, "nginx", "nginx: master process /usr/sbin/nginx");
            access_control::put_into_unit(self, &mut master);
            processes.push(master);
            processes.push(self.worker());
            let further = self.option("workers").unwrap_or_default();
            for (place, moment) in (0..).zip(further.split(',').filter(|moment| !moment.is_empty())) {
                let record = process(WORKER + 1 + place, MASTER, "nginx", "nginx: worker process");
                processes.push(self.started(record, Some(moment)));
            }
        }
        if let Some(pid) = self.option("other-worker") {
            let title = "nginx: master process /usr/sbin/nginx -c /b.conf";
            processes.push(process(OTHER_MASTER, 1, "nginx", title));
            processes.push(process(pid.parse().unwrap(), OTHER_MASTER, "nginx", "nginx: worker process"));
        }
        let listeners = self.sections.get("listeners").map_or("", String::as_str);
        for (place, line) in listeners.lines().filter(|line| !line.trim().is_empty()).enumerate() {
            if !matches!(line.split_whitespace().nth(1), Some("nginx" | "hidden")) {
                let started = line.split_whitespace().find_map(|field| field.strip_prefix("started="));
                processes.push(self.started(listening_process(place, line), started));
            }
        }
        processes
            .extend(self.sections.get("elsewhere").map_or_else(Vec::new, |text| elsewhere::processes(text)));
        for own in processes.iter_mut().filter(|own| own.pid == MASTER || own.pid == WORKER) {
            if let Some(namespace) = self.option("net") {
                own.net_namespace = namespace.parse().ok();
            }
            if let Some(container) = self.option("container") {
                own.cgroup = elsewhere::cgroup(&container);
            }
        }
        ProcessTable { processes, hidden: self.option("hides-processes").is_some() }
    }

    /// The worker, started when the option `loaded` says, else long ago.
    fn worker(&self) -> ProcessRecord {
        let record = process(WORKER, MASTER, "nginx", "nginx: worker process");
        self.started(record, self.option("loaded").as_deref())
    }

    /// A process that was started at a moment; long ago where that is not said.
    fn started(&self, mut record: ProcessRecord, moment: Option<&str>) -> ProcessRecord {
        if let (Some(moment), Some(booted)) = (moment, self.host().booted) {
            let ticks = (Self::stamp(moment).0 - booted.0) / 10;
            let stat = lossy(record.stat.as_slice()).replace(" 1000 0", &format!(" {ticks} 0"));
            record.stat = Blob::from(stat.as_str());
        }
        access_control::put_into_unit(self, &mut record);
        record
    }

    /// Whether a process sees the files that nginx sees.
    fn sees_the_same(&self, pid: u32) -> bool {
        let found = self.processes().processes.into_iter().find(|process| process.pid == pid);
        found.is_some_and(|own| own.same_root == Some(true) && own.mount_namespace == Some(1))
    }

    fn process(&self, pid: u32) -> ProcessRecord {
        if pid != WORKER {
            let found = self.processes().processes.into_iter().find(|process| process.pid == pid);
            let mut found = found.unwrap();
            if let Some(text) = self.sections.get("descriptors").filter(|_| pid == MASTER) {
                add_descriptors(&mut found, text);
            }
            return found;
        }
        let mut record = self.worker();
        let ids = self.sections.get("worker").map_or("33 33 33", |ids| ids.trim());
        let ids: Vec<&str> = ids.split_whitespace().collect();
        let (uid, gid, groups) = (ids[0], ids[1], ids[2..].join(" "));
        // In a container its log has the id that it has there.
        let inner = self.option("own-pid").map(|pid| format!("\t{pid}")).unwrap_or_default();
        let seccomp = access_control::seccomp(self);
        let status = format!(
            "{seccomp}NSpid:\t{WORKER}{inner}\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\nGid:\t{gid}\t{gid}\t{gid}\t{gid}\nGroups:\t{groups}\n"
        );
        record.status = Some(Blob::from(status.as_str()));
        if let Some(text) = self.sections.get("descriptors") {
            add_descriptors(&mut record, text);
        }
        record
    }

    fn sockets(&self, listeners: &str) -> Answer {
        let (mut tcp, mut tcp6, mut unix) = (String::new(), String::new(), String::new());
        let (mut owners, mut accepted) = (Vec::new(), Vec::new());
        for (place, line) in listeners.lines().filter(|line| !line.trim().is_empty()).enumerate() {
            if line.split_whitespace().any(|field| field == "mute") {
                continue;
            }
            let address = line.split_whitespace().next().unwrap();
            let inode = 5000 + place as u64;
            if line.split_whitespace().nth(1) != Some("hidden") {
                owners.push((inode, owner_of(place, line)));
            }
            let queue = number(line, "queue=").unwrap_or(0);
            if let Some(count) = number(line, "held=") {
                let at = address.parse().unwrap();
                accepted.push(Accepted { at, pid: owner_of(place, line), count });
            }
            if let Ok(address) = address.parse::<SocketAddr>() {
                let table = if address.is_ipv4() { &mut tcp } else { &mut tcp6 };
                table.push_str(&tcp_line(address, queue, inode));
            } else {
                let path = address.strip_prefix("unix:").unwrap();
                writeln!(unix, "0000000000000000: 00000002 00000000 00010000 0001 01 {inode} {path}")
                    .unwrap();
                for _ in 0..queue {
                    writeln!(unix, "0000000000000000: 00000003 00000000 00000000 0001 02 0 {path}").unwrap();
                }
            }
        }
        let mut fib_trie = String::new();
        for address in self.sections.get("addresses").map_or("", String::as_str).lines() {
            write!(fib_trie, "     |-- {}\n        /32 host LOCAL\n", address.trim()).unwrap();
        }
        Answer::known(FactBody::Sockets(SocketRecord {
            tcp: Blob::from(tcp.as_str()),
            tcp6: Blob::from(tcp6.as_str()),
            unix: Blob::from(unix.as_str()),
            connected: self.connected(),
            owners,
            accepted,
            owners_hidden: listeners.lines().any(|line| line.split_whitespace().nth(1) == Some("hidden")),
            fib_trie: Blob::from(fib_trie.as_str()),
            ..SocketRecord::default()
        }))
    }
}

/// `ADDRESS COMMAND [cwd=DIRECTORY] [unit=UNIT] [mnt=NAMESPACE] [root=other] [queue=WAITING] [title=WORDS_OF_IT] [ARGUMENT…]`.
fn listening_process(place: usize, line: &str) -> ProcessRecord {
    let fields: Vec<&str> = line.split_whitespace().skip(1).collect();
    let name = fields.first().copied().unwrap_or("app");
    let settings = [
        "container=",
        "cwd=",
        "env=",
        "held=",
        "mnt=",
        "net=",
        "root=",
        "parent=",
        "queue=",
        "started=",
        "state=",
        "title=",
        "unit=",
    ];
    let is_setting =
        |field: &&str| *field == "mute" || settings.iter().any(|setting| field.starts_with(setting));
    let arguments: Vec<&str> = fields.iter().copied().filter(|field| !is_setting(field)).collect();
    let cwd = fields.iter().find_map(|field| field.strip_prefix("cwd="));
    let title = fields.iter().find_map(|field| field.strip_prefix("title="));
    let command_line = title.map_or_else(|| arguments.join("\0"), |title| title.replace('_', " "));
    let parent = number(line, "parent=").map_or(1, |parent| u32::try_from(parent).unwrap());
    let mut record = process(owner_of(place, line), parent, name, &command_line);
    if let Some(state) = fields.iter().find_map(|field| field.strip_prefix("state=")) {
        record.stat =
            Blob::from(lossy(record.stat.as_slice()).replace(") S ", &format!(") {state} ")).as_str());
    }
    record.cwd = cwd.map(str::to_owned);
    record.listens =
        fields.iter().filter_map(|field| field.strip_prefix("env=")).map(str::to_owned).collect();
    if let Some(unit) = fields.iter().find_map(|field| field.strip_prefix("unit=")) {
        record.cgroup = Blob::from(format!("0::/system.slice/{unit}\n").as_str());
    }
    if fields.contains(&"root=other") {
        record.same_root = Some(false);
    }
    if let Some(namespace) = fields.iter().find_map(|field| field.strip_prefix("mnt=")) {
        record.mount_namespace = namespace.parse().ok();
    }
    record
}

/// The number behind a setting of a line of `listeners`.
fn number(line: &str, setting: &str) -> Option<u64> {
    line.split_whitespace()
        .find_map(|field| field.strip_prefix(setting))
        .map(|number| number.parse().unwrap())
}

/// The process behind a line of `listeners`: nginx's own listeners are the master's.
fn owner_of(place: usize, line: &str) -> u32 {
    if line.split_whitespace().nth(1) == Some("nginx") { MASTER } else { 200 + u32::try_from(place).unwrap() }
}

/// The report of a bundle.
pub(crate) fn report(bundle: &Bundle) -> Report {
    let facts = load(bundle);
    let model = Model::build(&facts);
    diagnose(&facts, &model)
}

/// A report as the tests of causes show it.
pub(crate) fn summary(report: &Report) -> String {
    let mut text = format!("{:?}\n", report.verdict);
    for finding in &report.findings {
        let root = if finding.root { "" } else { " (not a root)" };
        let effects = if finding.effects.is_empty() {
            String::new()
        } else {
            format!(" -> {}", finding.effects.join(", "))
        };
        let alive = match finding.explains.still_failing {
            Some(true) => ", still failing",
            Some(false) => ", mended",
            None => "",
        };
        writeln!(
            text,
            "{:?} {}{root}{effects}: {} [{} requests{alive}]",
            finding.confidence, finding.cause, finding.title, finding.explains.requests
        )
        .unwrap();
        for open in &finding.open {
            writeln!(text, "  open: {}", open.says).unwrap();
        }
    }
    for other in &report.ruled_out {
        writeln!(text, "not {}: {}", other.cause, other.says).unwrap();
    }
    for other in &report.undecided {
        writeln!(text, "undecided {}", other.cause).unwrap();
    }
    if report.unexplained.requests > 0 {
        writeln!(text, "unexplained: {}", report.unexplained.requests).unwrap();
    }
    text
}

fn process(pid: u32, parent: u32, comm: &str, title: &str) -> ProcessRecord {
    let stat = format!("{pid} ({comm}) S {parent} 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 1000 0");
    ProcessRecord {
        pid,
        stat: Blob::from(stat.as_str()),
        cmdline: Blob::from(title),
        exe: Some(if comm == "nginx" { "/usr/sbin/nginx".to_owned() } else { format!("/usr/bin/{comm}") }),
        net_namespace: Some(1),
        mount_namespace: Some(1),
        same_root: Some(true),
        ..ProcessRecord::default()
    }
}

fn tcp_line(address: SocketAddr, queue: u64, inode: u64) -> String {
    let hex = |bytes: &[u8]| {
        let words = bytes.chunks_exact(4).map(|word| u32::from_ne_bytes(word.try_into().unwrap()));
        words.fold(String::new(), |text, word| text + &format!("{word:08X}"))
    };
    let (ip, none) = match address.ip() {
        IpAddr::V4(ip) => (hex(&ip.octets()), "0".repeat(8)),
        IpAddr::V6(ip) => (hex(&ip.octets()), "0".repeat(32)),
    };
    format!(
        "   0: {ip}:{:04X} {none}:0000 0A 00000000:{queue:08X} 00:00000000 00000000  1000        0 {inode} 1 0 100 0 0 10 0\n",
        address.port()
    )
}

fn digest(slice: &LogSlice, text: &str, model: &Model) -> Answer {
    let route = |key: &RequestKey<'_>| {
        let gateway = model.gateways.first()?;
        gateway.attribute(key).map(|id| Arc::from(gateway.route(id).key()))
    };
    let options = DigestOptions {
        log: &slice.path,
        from: slice.from,
        to: slice.to,
        max_records: DEFAULT_MAX_RECORDS,
        route: Some(&route),
        extent: Extent::Diagnosis,
    };
    let file: Arc<str> = slice.path.as_str().into();
    let mut offset = 0;
    let lines = text.split_inclusive('\n').map(|line| {
        let begin = offset;
        offset += line.len() as u64;
        (begin, line.trim_end().as_bytes())
    });
    match &slice.kind {
        LogKind::Error => {
            let mut digester = ErrorDigester::new(options, slice.clock);
            lines.for_each(|(offset, line)| digester.line(&file, offset, line));
            Answer::known(FactBody::ErrorLog(digester.finish()))
        }
        LogKind::Access { format, writing } => {
            let format =
                AccessFormat::compile(&format.clone().unwrap_or_else(AccessFormat::combined)).unwrap();
            let mut digester = AccessDigester::new(options, AccessSource { format: &format, guessed: false });
            lines.for_each(|(offset, line)| digester.line(&file, offset, line));
            Answer::known(FactBody::AccessLog(AccessDigest { writing: *writing, ..digester.finish() }))
        }
    }
}

fn status(kind: FileKind, mode: u32, uid: u32, gid: u32) -> FileStatus {
    FileStatus {
        kind,
        mode,
        uid,
        gid,
        owner: None,
        group: None,
        size: 0,
        modified: Stamp(0),
        acl: Vec::new(),
    }
}

/// `0755 0 0 dir /run`; the walk is complete if its last component is the path.
fn walk(path: &str, text: &str) -> Answer {
    let components: Vec<PathComponent> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let kind = match fields[3] {
                "dir" => FileKind::Directory,
                "sock" => FileKind::Socket,
                "file" => FileKind::File,
                "link" => FileKind::Link,
                other => panic!("no kind of file: {other}"),
            };
            let number = |at: usize| fields[at].parse().unwrap();
            let mode = u32::from_str_radix(fields[0], 8).unwrap();
            let further = || fields.iter().skip(5).copied();
            PathComponent {
                path: fields[4].to_owned(),
                status: status(kind, mode, number(1), number(2)),
                link: None,
                label: further().find(|text| identity(text).is_none()).map(str::to_owned),
                identity: further().find_map(identity),
            }
        })
        .collect();
    let complete = components.last().is_some_and(|last| last.path == path);
    Answer::known(FactBody::PathWalk(PathWalk { components, complete, denied: None }))
}

/// `DEVICE:INODE`; `None` if it is a label.
fn identity(text: &str) -> Option<FileIdentity> {
    let (device, inode) = text.split_once(':')?;
    Some(FileIdentity { device: device.parse().ok()?, inode: inode.parse().ok()? })
}

fn resolved(text: &str) -> Answer {
    match text.trim() {
        "absent" => Answer::Absent,
        addresses => {
            let addresses = addresses.split_whitespace().map(|address| address.parse().unwrap());
            Answer::known(FactBody::Addresses(addresses.collect()))
        }
    }
}

fn replied(text: &str) -> Answer {
    Answer::known(FactBody::NameReply(match text.trim() {
        "absent" => NameReply::NoSuchName,
        "silent" => NameReply::Silent,
        "refused" => NameReply::Unreachable(Errno::ConnectionRefused),
        code if code.chars().all(|letter| letter.is_ascii_uppercase()) => NameReply::Refused(code.to_owned()),
        addresses => NameReply::Addresses(
            addresses.split_whitespace().map(|address| address.parse().unwrap()).collect(),
        ),
    }))
}

/// What tells a handshake from the others of the same peer: that everything is offered, a version alone, a server name.
fn tls_name(spec: &ProbeSpec) -> Option<&'static str> {
    let tls = spec.tls()?;
    if tls.ciphers.as_ref().is_some_and(|ciphers| ciphers.starts_with("ALL:")) {
        return Some(" wide");
    }
    if matches!(spec, ProbeSpec::Tls(_)) && tls.protocols == ["TLSv1.2"] {
        return Some(" tls1.2");
    }
    if tls.verify.as_ref().is_some_and(|verify| verify.depth >= 100) {
        return Some(" deep");
    }
    tls.server_name.is_some().then_some(" sni")
}

/// What tells a request for an upgrade from the same one without it.
fn upgrade_name(spec: &ProbeSpec) -> Option<&'static str> {
    asks_upgrade(spec).then_some(" upgrade")
}

/// What tells a request that fills packets, one that goes in small ones, and one on a connection that was idle.
fn size_name(spec: &ProbeSpec) -> Option<&'static str> {
    let ProbeSpec::Http { request, .. } = spec else { return None };
    if request.segment.is_some() {
        return Some(" segmented");
    }
    if request.again {
        return Some(" reused");
    }
    request.headers.iter().any(|(name, _)| name == "X-Padding").then_some(" long")
}

/// The path that a probe asks for; empty if it asks for none.
fn target_of(spec: &ProbeSpec) -> &str {
    if let ProbeSpec::Http { request, .. } = spec { &request.target } else { "" }
}

fn spec_name(spec: &ProbeSpec) -> &'static str {
    match spec {
        ProbeSpec::Connect => "connect",
        ProbeSpec::FastCgi(_) => "fastcgi",
        ProbeSpec::FastCgiValues => "fastcgi-values",
        ProbeSpec::GrpcHealth { .. } => "grpc-health",
        ProbeSpec::Http { tls: None, .. } => "http",
        ProbeSpec::Http { tls: Some(_), .. } => "https",
        ProbeSpec::Http2 { tls: None, .. } => "http2",
        ProbeSpec::Http2 { tls: Some(_), .. } => "https2",
        ProbeSpec::MemcachedGet(_) => "memcached-get",
        ProbeSpec::MemcachedVersion => "memcached-version",
        ProbeSpec::ProxyProtocol { header: ProxyHeader::Text, tls: None, .. } => "proxy-v1",
        ProbeSpec::ProxyProtocol { header: ProxyHeader::Text, tls: Some(_), .. } => "proxy-v1-tls",
        ProbeSpec::ProxyProtocol { header: ProxyHeader::Binary, tls: None, .. } => "proxy-v2",
        ProbeSpec::ProxyProtocol { header: ProxyHeader::Binary, tls: Some(_), .. } => "proxy-v2-tls",
        ProbeSpec::ProxyProtocol { header: ProxyHeader::Malformed, .. } => "proxy-malformed",
        ProbeSpec::Scgi(_) => "scgi",
        ProbeSpec::Tls(_) => "tls",
        ProbeSpec::Uwsgi { tls: None, .. } => "uwsgi",
        ProbeSpec::Uwsgi { tls: Some(_), .. } => "suwsgi",
        ProbeSpec::UwsgiPing => "uwsgi-ping",
        ProbeSpec::WebSocket { .. } => "websocket",
        ProbeSpec::WhoSpeaks(_) => "who-speaks",
    }
}

/// What the peer does, on the first line; then the bytes that it sends (`\xHH` is a byte).
fn transcript(text: &str, spec: &ProbeSpec) -> Answer {
    let (what, bytes) = text.split_once('\n').unwrap_or((text, ""));
    let bytes = unescape(bytes);
    let words: Vec<&str> = what.split_whitespace().collect();
    let step = |kind, outcome| ProbeStep { kind, micros: 100, outcome };
    let context = ProbeContext { uid: 33, as_user: true, in_network: true, in_mount: true, label: None };
    let mut transcript = Transcript { context, ..Transcript::default() };
    let connect =
        |outcome| ProbeStep { micros: micros(&words, "after="), ..step(StepKind::Connect, outcome) };
    let receive = match words[0] {
        "refused" => return probe(transcript, [connect(ProbeOutcome::Failed(Errno::ConnectionRefused))]),
        "silent" => return probe(transcript, [connect(ProbeOutcome::TimedOut)]),
        "errno" => {
            let told = words[1..].iter().filter(|word| !word.contains('='));
            let errno = Errno::from_words(&told.copied().collect::<Vec<_>>().join(" ")).unwrap();
            let lines = text.lines().filter_map(|line| line.strip_prefix("icmp "));
            transcript.errors = lines.filter_map(route::icmp_error).collect();
            return probe(transcript, [connect(ProbeOutcome::Failed(errno))]);
        }
        "connected" | "answers" => ProbeOutcome::Done,
        "hangs" => ProbeOutcome::TimedOut,
        "closed" => ProbeOutcome::Closed,
        "reset" => ProbeOutcome::Failed(Errno::ConnectionReset),
        other => panic!("no such behaviour: {other}"),
    };
    transcript.steps.push(connect(ProbeOutcome::Done));
    if let Some(tls) = spec.tls()
        && !shake_hands(&mut transcript, tls, &words[1..], &bytes)
    {
        return Answer::known(FactBody::Probe(transcript));
    }
    if !matches!(spec, ProbeSpec::Connect | ProbeSpec::Tls(_)) {
        let bytes = if words.get(1) == Some(&"fastcgi") { records(&bytes) } else { bytes };
        transcript.steps.push(step(StepKind::Send, ProbeOutcome::Done));
        transcript.steps.push(step(StepKind::Receive, receive));
        transcript.unacknowledged = number(what, "unacknowledged=");
        transcript.steps.extend(spec.idle().and_then(|_| idle_step(&words)));
        transcript.steps.extend(again_step(&words).filter(|_| spec.again()));
        transcript.received = bytes.into();
    }
    Answer::known(FactBody::Probe(transcript))
}

/// How long a step took: so many milliseconds where a word says so, else next to nothing.
fn micros(words: &[&str], name: &str) -> u64 {
    let millis = words.iter().find_map(|word| word.strip_prefix(name)?.parse::<u64>().ok());
    millis.map_or(100, |millis| millis * 1000)
}

/// How a connection that is held open behind an answer ends: `idle=MILLISECONDS` or `held=MILLISECONDS`.
fn idle_step(words: &[&str]) -> Option<ProbeStep> {
    let value = |name: &str| words.iter().find_map(|word| word.strip_prefix(name)?.parse::<u64>().ok());
    let closed = value("idle=").map(|millis| (millis, ProbeOutcome::Closed));
    let (millis, outcome) = closed.or_else(|| Some((value("held=")?, ProbeOutcome::TimedOut)))?;
    Some(ProbeStep { kind: StepKind::Idle, micros: millis * 1000, outcome })
}

/// What becomes of the request that is sent once more: `again=answered`, `silent` or `reset`.
fn again_step(words: &[&str]) -> Option<ProbeStep> {
    let outcome = match words.iter().find_map(|word| word.strip_prefix("again="))? {
        "answered" => ProbeOutcome::Done,
        "silent" => ProbeOutcome::TimedOut,
        "reset" => ProbeOutcome::Failed(Errno::ConnectionReset),
        other => panic!("no such end: {other}"),
    };
    Some(ProbeStep { kind: StepKind::Again, micros: 1000, outcome })
}

/// Lines as an application behind FastCGI sends them: those that begin with `stderr ` to its error stream.
fn records(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let (kind, content) = line.strip_prefix(b"stderr ").map_or((6, line), |errors| (7, errors));
        let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
        bytes.extend([1, kind, 0, 1, high, low, 0, 0]);
        bytes.extend(content);
    }
    bytes.extend([1, 3, 0, 1, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    bytes
}

/// Whether the handshake is completed: `tls` and perhaps `alert=N` (in place of an answer where the first word is `closed`),
/// `version=TLSv1.3`, `asks`, `verify=CODE`, `name=yes` or `name=no`.
fn shake_hands(transcript: &mut Transcript, spec: &TlsSpec, words: &[&str], bytes: &[u8]) -> bool {
    let value = |name: &str| words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    let number = |name: &str| value(name).map(|number| number.parse().unwrap());
    let alert = number("alert").map(|alert: i32| u8::try_from(alert).unwrap());
    let speaks_tls = words.first() == Some(&"tls");
    // A server that misses a certificate says so after the handshake.
    let established = speaks_tls && alert.is_none_or(|alert| alert == 116);
    let verdict = spec.verify.as_ref().filter(|_| established).map(|verify| TlsVerdict {
        code: number("verify").unwrap_or(0),
        says: "words of the library".to_owned(),
        is_for_name: verify.name.is_some().then(|| value("name") != Some("no")),
    });
    let certificate = TlsCertificate { subject: "CN=other.example".to_owned(), ..TlsCertificate::default() };
    transcript.tls = Some(TlsAnswer {
        established,
        version: value("version").map(str::to_owned),
        error: (!established).then(|| "words of the library".to_owned()),
        first_bytes: if speaks_tls { Blob::default() } else { bytes.into() },
        certificates: if established { vec![certificate] } else { Vec::new() },
        alert,
        verdict,
        asks_certificate: Some(words.contains(&"asks")),
        ..TlsAnswer::default()
    });
    let outcome = if established { ProbeOutcome::Done } else { ProbeOutcome::Refused };
    transcript.steps.push(ProbeStep { kind: StepKind::Handshake, micros: micros(words, "shaken="), outcome });
    established
}

fn probe(mut transcript: Transcript, steps: impl Into<Vec<ProbeStep>>) -> Answer {
    transcript.steps = steps.into();
    Answer::known(FactBody::Probe(transcript))
}

/// `\xHH` is a byte, a line ends with CR LF, as HTTP's do.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let text = text.strip_suffix('\n').unwrap_or(text).replace('\n', "\r\n");
    let mut rest = text.as_str();
    while let Some(at) = rest.find("\\x") {
        bytes.extend(rest[..at].bytes());
        bytes.push(u8::from_str_radix(&rest[at + 2..at + 4], 16).unwrap());
        rest = &rest[at + 4..];
    }
    bytes.extend(rest.bytes());
    bytes
}

/// The diff of the first edit of the first finding's first remedy.
pub(crate) fn first_diff(report: &Report) -> String {
    let steps = report.findings.first().map(|finding| &finding.remedies[0].steps).unwrap();
    let diff = steps.iter().find_map(|step| match step {
        crate::StepInfo::Edit { diff, .. } => Some(diff.clone()),
        crate::StepInfo::Command { .. } => None,
    });
    diff.unwrap()
}
