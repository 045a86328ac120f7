//! A small world for tests: what it holds are the answers to whatever the model asks.
//!
//! The integration tests take this file in too, so it knows the crate by its root only.

use crate::{Gateway, Model};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use why502_facts::{
    Ask, Datum, Descriptors, FORMAT_VERSION, Facts, FileContent, FileKind, FileStatus, Gap, GapReason,
    HostRecord, Invocation, Manifest, Observed, Process, ProcessList, Stamp,
};

/// The most rounds of asking: more than includes nest in any test.
const MAX_ROUNDS: usize = 100;

/// What there is to be seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    pub(crate) denied: BTreeSet<String>,
    pub(crate) processes: Vec<Process>,
    pub(crate) binaries: BTreeMap<String, Vec<String>>,
    pub(crate) names: BTreeMap<String, Vec<IpAddr>>,
    pub(crate) invocation: Invocation,
}

impl World {
    /// Files of another host: `#- PATH` begins a file, the first one is the configuration.
    pub(crate) fn offline(fixture: &str) -> Self {
        let mut world = Self::default();
        let mut current: Option<String> = None;
        for line in fixture.split_inclusive('\n') {
            if let Some(path) = line.trim_start().strip_prefix("#- ") {
                let path = path.trim_end().to_owned();
                world.invocation.config.get_or_insert_with(|| path.clone());
                world.files.insert(path.clone(), Vec::new());
                current = Some(path);
            } else if let Some(file) = current.as_ref().and_then(|path| world.files.get_mut(path)) {
                file.extend_from_slice(line.as_bytes());
            }
        }
        world.invocation.offline = true;
        world
    }

    /// The same with a master that runs with the configuration, of the given version.
    pub(crate) fn live(version: &str, fixture: &str) -> Self {
        let mut world = Self::offline(fixture);
        world.invocation.offline = false;
        let config = world.invocation.config.take().unwrap_or_default();
        world.processes = vec![
            process(10, 1, &format!("nginx: master process /usr/sbin/nginx -c {config}"), 1_000),
            process(11, 10, "nginx: worker process", 1_000),
        ];
        let version = format!("nginx version: nginx/{version}");
        let options = "configure arguments: --prefix=/usr/share/nginx --conf-path=/etc/nginx/nginx.conf \
                       --error-log-path=/var/log/nginx/error.log --http-log-path=/var/log/nginx/access.log \
                       --with-http_ssl_module --with-http_auth_request_module --with-http_realip_module --with-stream";
        world.strings("/usr/sbin/nginx", &[&version, options]);
        world
    }

    /// The same for what stands in `http { … }` only.
    pub(crate) fn http(inner: &str) -> Self {
        Self::live("1.22.1", &format!("#- /etc/nginx/nginx.conf\nevents {{}}\nhttp {{\n{inner}\n}}\n"))
    }

    pub(crate) fn strings(&mut self, path: &str, strings: &[&str]) {
        self.binaries.insert(path.to_owned(), strings.iter().map(|text| (*text).to_owned()).collect());
    }

    pub(crate) fn name(&mut self, name: &str, addresses: &[&str]) {
        let addresses = addresses.iter().map(|address| address.parse().expect("an address")).collect();
        self.names.insert(name.to_owned(), addresses);
    }

    /// Everything that the model asks for, answered until it asks no more.
    pub(crate) fn facts(&self) -> Facts {
        facts_from(&self.invocation, &|ask| self.answer(ask))
    }

    pub(crate) fn model(&self) -> Model {
        Model::build(&self.facts())
    }

    /// The only gateway.
    pub(crate) fn gateway(&self) -> Gateway {
        let mut gateways = self.model().gateways;
        assert_eq!(gateways.len(), 1, "one gateway");
        gateways.remove(0)
    }

    pub(crate) fn answer(&self, ask: &Ask) -> Observed<Datum> {
        let known = |datum: Option<Datum>| datum.map_or(Observed::Absent, Observed::Known);
        match ask {
            Ask::File { path, .. } if self.denied.contains(path) => unknown(ask, GapReason::Denied),
            Ask::File { path, .. } => known(self.files.get(path).map(|content| file(content))),
            Ask::Glob { pattern, .. } => {
                let matching = self.files.keys().filter(|path| matches(pattern, path));
                Observed::Known(Datum::Paths(matching.cloned().collect()))
            }
            Ask::Host => Observed::Known(Datum::Host(HostRecord::default())),
            Ask::Process { pid } => {
                known(self.processes.iter().find(|process| process.pid == *pid).cloned().map(Datum::Process))
            }
            Ask::Processes => {
                let list = ProcessList { processes: self.processes.clone(), hidden: false };
                Observed::Known(Datum::Processes(list))
            }
            Ask::Resolve { name, .. } => known(self.names.get(name).cloned().map(Datum::Addresses)),
            Ask::Strings { path, .. } => known(self.binaries.get(path).cloned().map(Datum::Strings)),
            _ => unknown(ask, GapReason::NotAsked),
        }
    }
}

/// Facts that answer whatever the model asks.
pub(crate) fn facts_from(invocation: &Invocation, answer: &dyn Fn(&Ask) -> Observed<Datum>) -> Facts {
    let manifest = Manifest {
        format: FORMAT_VERSION,
        tool_version: "0.0.0".to_owned(),
        captured_at: Stamp(10_000_000),
        invocation: Invocation { timeout: Duration::from_secs(10), ..invocation.clone() },
    };
    let mut answers: BTreeMap<Ask, Arc<Observed<Datum>>> = BTreeMap::new();
    for _ in 0..MAX_ROUNDS {
        let known = answers.iter().map(|(ask, answer)| (ask.clone(), Stamp(0), Arc::clone(answer)));
        let facts = Facts::new(manifest.clone(), known, Arc::default());
        let wanted = Model::build(&facts).asks;
        let before = answers.len();
        for ask in wanted {
            let datum = Arc::new(answer(&ask));
            answers.entry(ask).or_insert(datum);
        }
        if answers.len() == before {
            return facts;
        }
    }
    panic!("the model asks without an end");
}

/// A process with a title.
pub(crate) fn process(pid: u32, parent: u32, title: &str, started: i64) -> Process {
    Process {
        pid,
        own_pid: None,
        parent,
        comm: "nginx".to_owned(),
        state: 'S',
        started: Some(Stamp(started)),
        argv: vec![title.to_owned()],
        exe: Some("/usr/sbin/nginx".to_owned()),
        exe_deleted: false,
        cwd: Some("/".to_owned()),
        uid: 0,
        gid: None,
        groups: Vec::new(),
        memory_cgroup: None,
        unit: None,
        container: None,
        net_namespace: None,
        mount_namespace: None,
        same_root: Some(true),
        listens: Vec::new(),
        tz: None,
        descriptors: Descriptors::default(),
        seccomp: None,
    }
}

/// A file with that content.
pub(crate) fn file(content: &[u8]) -> Datum {
    let status = FileStatus {
        kind: FileKind::File,
        mode: 0o644,
        uid: 0,
        gid: 0,
        owner: None,
        group: None,
        size: content.len() as u64,
        modified: Stamp(500),
        acl: Vec::new(),
    };
    Datum::File(FileContent { content: content.into(), status, truncated: false })
}

/// An answer that could not be had.
pub(crate) fn unknown(ask: &Ask, why: GapReason) -> Observed<Datum> {
    Observed::Unknown(Gap { ask: ask.clone(), why, says: "not in this world".to_owned() })
}

/// A pattern with one star per part of the path, which is all that tests need.
fn matches(pattern: &str, path: &str) -> bool {
    let (patterns, parts): (Vec<&str>, Vec<&str>) = (pattern.split('/').collect(), path.split('/').collect());
    let fits = |(pattern, part): (&&str, &&str)| match pattern.split_once('*') {
        Some((head, tail)) => {
            part.len() >= head.len() + tail.len() && part.starts_with(head) && part.ends_with(tail)
        }
        None => pattern == part,
    };
    patterns.len() == parts.len() && patterns.iter().zip(&parts).all(fits)
}
