//! Running masters, and the binaries behind them.

mod binary;
mod command_line;

pub(crate) use binary::{Build, absolute};

use binary::MARKS;
use command_line::CommandLine;
use why502_facts::{
    Ask, Facts, Gap, GapReason, Invocation, Observed, Process, ProcessList, Root, Security, Stamp,
};

/// Where binaries are looked for when none runs.
const BINARIES: [&str; 8] = [
    "/usr/sbin/nginx",
    "/usr/local/sbin/nginx",
    "/usr/local/nginx/sbin/nginx",
    "/usr/local/openresty/nginx/sbin/nginx",
    "/usr/sbin/angie",
    "/usr/bin/nginx",
    "/opt/gitlab/embedded/sbin/nginx",
    "/opt/bitnami/nginx/sbin/nginx",
];

/// A gateway before its configuration is read.
#[derive(Clone, Debug)]
pub(crate) struct Instance {
    /// What its binary tells.
    pub(crate) build: Build,
    /// The master process.
    pub(crate) master: Option<u32>,
    /// The workers that take new connections.
    pub(crate) workers: Vec<u32>,
    /// When the oldest of these was started.
    pub(crate) loaded: Option<Stamp>,
    /// The binary.
    pub(crate) binary: Option<String>,
    /// The configuration file; empty where nobody knows it.
    pub(crate) config: String,
    /// Whether that is only where the binary which was taken for the master's looks for it.
    pub(crate) is_guessed: bool,
    /// The prefix of relative paths.
    pub(crate) prefix: String,
    /// The error log of the option `-e`.
    pub(crate) error_log: Option<String>,
    /// The directives of the option `-g`.
    pub(crate) directives: Option<String>,
    /// Whether its master is root; `None` where that is not known.
    pub(crate) is_root: Option<bool>,
    pub(crate) root: Root,
    pub(crate) security: Security,
    /// What about it could not be seen.
    pub(crate) gaps: Vec<Gap>,
}

/// What a search for instances found.
#[derive(Debug, Default)]
pub(crate) struct FoundInstances {
    /// The instances to look at.
    pub(crate) instances: Vec<Instance>,
    /// What is still wanted to know them.
    pub(crate) asks: Vec<Ask>,
    /// Remarks for the report.
    pub(crate) notes: Vec<String>,
}

/// The instances to look at, and what is still wanted to know them.
pub(crate) fn find_instances(facts: &Facts) -> FoundInstances {
    let invocation = &facts.manifest.invocation;
    let mut finder = Finder { facts, invocation, asks: Vec::new(), notes: Vec::new() };
    let instances = if invocation.offline { finder.given() } else { finder.on_this_host() };
    FoundInstances { instances, asks: finder.asks, notes: finder.notes }
}

/// How the report calls an instance.
pub(crate) fn title(master: Option<u32>, config: &str) -> String {
    match master {
        Some(pid) if config.is_empty() => format!("pid {pid} (its configuration file is not known)"),
        Some(pid) => format!("pid {pid} ({config})"),
        None => config.to_owned(),
    }
}

struct Finder<'a> {
    facts: &'a Facts,
    invocation: &'a Invocation,
    asks: Vec<Ask>,
    notes: Vec<String>,
}

impl Finder<'_> {
    /// Of another host there is what the options name.
    fn given(&mut self) -> Vec<Instance> {
        let config = self.invocation.config.clone().unwrap_or_default();
        let prefix = self.invocation.prefix.clone().unwrap_or_else(|| directory_of(&config));
        vec![Instance::stopped(
            Build { flavour: "nginx".to_owned(), ..Build::default() },
            None,
            config,
            prefix,
        )]
    }

    fn on_this_host(&mut self) -> Vec<Instance> {
        self.want(&Ask::Host);
        let list = match self.facts.processes() {
            Observed::Known(list) => list.clone(),
            Observed::Unknown(gap) if gap.why == GapReason::NotYet => {
                self.asks.push(gap.ask);
                return Vec::new();
            }
            Observed::Absent | Observed::Unknown(_) => ProcessList::default(),
        };
        let masters: Vec<&Process> =
            list.processes.iter().filter(|process| is_master(process, &list)).collect();
        let current: Vec<&Process> =
            masters.iter().copied().filter(|master| !self.is_replaced(master, &masters, &list)).collect();
        let mut running: Vec<Instance> =
            current.into_iter().map(|master| self.running(master, &list)).collect();
        self.take_given(&mut running);
        let (wanted, others): (Vec<Instance>, Vec<Instance>) =
            running.into_iter().partition(|instance| self.is_wanted(instance));
        for other in &others {
            self.notes.push(format!("another {} runs here: {}", other.build.flavour, other.title()));
        }
        if wanted.is_empty() && self.asks.is_empty() { self.not_running() } else { wanted }
    }

    /// With `--config` or `--pid` only that instance is judged.
    fn is_wanted(&mut self, instance: &Instance) -> bool {
        let invocation = self.invocation;
        invocation.pid.is_none_or(|pid| instance.master == Some(pid))
            && invocation
                .config
                .as_ref()
                .is_none_or(|config| *config == instance.config || self.is_same_file(config, instance))
    }

    /// The configuration that an option names is that of the masters of which nobody knows it, unless another one has it.
    fn take_given(&mut self, running: &mut [Instance]) {
        let Some(config) = self.invocation.config.as_ref() else { return };
        if running.iter().any(|instance| self.is_wanted(instance)) {
            return;
        }
        for unknown in running.iter_mut().filter(|instance| instance.config.is_empty()) {
            unknown.config.clone_from(config);
            if unknown.prefix.is_empty() {
                unknown.prefix = directory_of(config);
            }
        }
    }

    /// Whether a path leads to the configuration file of an instance, over whatever links, in the instance's own view.
    fn is_same_file(&mut self, path: &str, instance: &Instance) -> bool {
        if instance.config.is_empty() {
            return false;
        }
        let root = instance.root;
        let mut target = |path: &str| {
            self.want(&Ask::PathWalk { root, path: path.to_owned() });
            self.facts.path_walk(root, path).known().and_then(|walk| Some(walk.target()?.path.clone()))
        };
        let one = target(path);
        one.is_some() && one == target(&instance.config)
    }

    /// While a binary is replaced (`USR2`), the old master starts the new one: the one whose workers serve counts, the
    /// new one where both do.
    fn is_replaced(&mut self, master: &Process, masters: &[&Process], list: &ProcessList) -> bool {
        if self.invocation.pid.is_some() {
            return false;
        }
        let serves = |master: &Process| list.processes.iter().any(|process| is_worker(process, master.pid));
        let is_stale = |old: &Process, new: &Process| serves(new) || !serves(old);
        let successor = masters.iter().find(|other| other.parent == master.pid);
        let predecessor = masters.iter().find(|other| other.pid == master.parent);
        match (successor, predecessor) {
            (Some(new), _) if is_stale(master, new) => {
                self.notes.push(format!(
                    "the binary is being replaced: the old master, pid {}, still runs beside the new one, pid {}",
                    master.pid, new.pid
                ));
                true
            }
            (None, Some(old)) => !is_stale(old, master),
            _ => false,
        }
    }

    fn running(&mut self, master: &Process, list: &ProcessList) -> Instance {
        let root = if master.same_root == Some(false) { Root::Process(master.pid) } else { Root::Host };
        let unknown = master.same_root.is_none().then(|| Gap {
            ask: Ask::Processes,
            why: GapReason::Denied,
            says: format!(
                "whether process {} sees the same files: its mount namespace may not be read",
                master.pid
            ),
        });
        let (build, guessed) = self.build_of(master, root);
        let options = CommandLine::of(master);
        // Without its binary nobody knows where a master looks for what its command line does not name.
        let prefix = options.prefix.or(build.prefix()).or(self.invocation.prefix.clone());
        let prefix = prefix.map(|prefix| self.relative_to_directory_of(master, prefix));
        let prefix = prefix.filter(|prefix| prefix.starts_with('/'));
        let within = |path: String| match &prefix {
            Some(prefix) => Some(absolute(&path, prefix)),
            None => Some(path).filter(|path| path.starts_with('/')),
        };
        let is_named = options.config.is_some();
        let is_absolute = options.config.as_deref().is_some_and(|path| path.starts_with('/'));
        let compiled = || build.path("--conf-path", "conf/nginx.conf", prefix.as_deref()?);
        let config = options.config.and_then(within).or_else(|| compiled().filter(|_| !is_named));
        let config = config.unwrap_or_default();
        let prefix = prefix.unwrap_or_else(|| directory_of(&config));
        let workers: Vec<&Process> =
            list.processes.iter().filter(|process| is_worker(process, master.pid)).collect();
        // A worker has the user and the groups that connections are made with.
        let place = workers.first().map_or(master.pid, |worker| worker.pid);
        self.want(&Ask::Process { pid: place });
        Instance {
            build,
            master: Some(master.pid),
            loaded: workers.iter().filter_map(|worker| worker.started).min().or(master.started),
            workers: workers.iter().map(|worker| worker.pid).collect(),
            binary: master.exe.clone(),
            config,
            prefix,
            error_log: options.error_log,
            directives: options.directives,
            is_root: Some(master.uid == 0),
            root,
            security: Security::Process(place),
            is_guessed: guessed.is_some() && !is_absolute,
            gaps: unknown.into_iter().chain(guessed).collect(),
        }
    }

    /// What the binary of a master tells, and a gap where nobody may read which one it runs.
    fn build_of(&mut self, master: &Process, root: Root) -> (Build, Option<Gap>) {
        // What lies at the path of a replaced binary is the new one; the one that runs can be read through /proc, which
        // also leads out of a root that does not hold it.
        let running = format!("/proc/{}/exe", master.pid);
        let named = master.exe.clone().filter(|_| !master.exe_deleted).map(|path| (root, path));
        let own = named.into_iter().chain(master.exe.is_some().then(|| (Root::Host, running.clone())));
        if let Some((_, build)) = self.first_build(own.collect()) {
            return (build, None);
        }
        // Without the right to see that, it is the one that an option names or the command line spells out.
        if let Some(given) = self.invocation.binary.clone()
            && let Some((_, build)) = self.first_build(vec![(Root::Host, given)])
        {
            return (build, None);
        }
        let says = format!("the binary of process {} may not be read", master.pid);
        let gap = |says| Gap {
            ask: Ask::Strings { root: Root::Host, path: running, marks: MARKS.map(str::to_owned).to_vec() },
            why: GapReason::Denied,
            says,
        };
        let spelled = CommandLine::of(master).program.filter(|program| program.starts_with('/'));
        match self.first_build(spelled.into_iter().map(|path| (root, path)).collect()) {
            Some((path, build)) => (build, Some(gap(format!("{says}: {path} was taken for it")))),
            None => (Build { flavour: "nginx".to_owned(), ..Build::default() }, Some(gap(says))),
        }
    }

    /// The first of some files that is a gateway's binary; none while one of them is still to be read.
    fn first_build(&mut self, candidates: Vec<(Root, String)>) -> Option<(String, Build)> {
        for (root, path) in candidates {
            match self.facts.strings(root, &path, &MARKS) {
                Observed::Known(strings) if !strings.is_empty() => return Some((path, Build::read(strings))),
                Observed::Unknown(gap) if gap.why == GapReason::NotYet => {
                    self.asks.push(gap.ask);
                    return None;
                }
                Observed::Absent | Observed::Known(_) | Observed::Unknown(_) => {}
            }
        }
        None
    }

    /// A relative prefix is relative to the directory in which the master was started.
    fn relative_to_directory_of(&mut self, master: &Process, prefix: String) -> String {
        if prefix.starts_with('/') {
            return prefix;
        }
        self.want(&Ask::Process { pid: master.pid });
        let directory = self.facts.process(master.pid).known().and_then(|process| process.cwd.clone());
        directory.map_or(prefix.clone(), |directory| absolute(prefix.trim_start_matches("./"), &directory))
    }

    /// Nothing runs: what a binary would use, or what the options name.
    fn not_running(&mut self) -> Vec<Instance> {
        if let Some(pid) = self.invocation.pid {
            self.notes.push(format!("process {pid} is no master of a gateway that could be seen"));
        }
        let candidates: Vec<String> = match &self.invocation.binary {
            Some(binary) => vec![binary.clone()],
            None => BINARIES.iter().map(|path| (*path).to_owned()).collect(),
        };
        let found = candidates.into_iter().find_map(|path| {
            let build = Build::read(&self.strings(Root::Host, &path)?);
            Some((path, build))
        });
        let (binary, build) = match found {
            Some((path, build)) => (Some(path), build),
            None => (None, Build { flavour: "nginx".to_owned(), ..Build::default() }),
        };
        let prefix = self.invocation.prefix.clone().or_else(|| build.prefix());
        let compiled = || build.path("--conf-path", "conf/nginx.conf", prefix.as_deref()?);
        let Some(config) = self.invocation.config.clone().or_else(compiled) else { return Vec::new() };
        let prefix = prefix.unwrap_or_else(|| directory_of(&config));
        vec![Instance::stopped(build, binary, absolute(&config, &prefix), prefix)]
    }

    fn strings(&mut self, root: Root, path: &str) -> Option<Vec<String>> {
        match self.facts.strings(root, path, &MARKS) {
            Observed::Known(strings) => Some(strings.clone()),
            Observed::Absent => None,
            Observed::Unknown(gap) => {
                if gap.why == GapReason::NotYet {
                    self.asks.push(gap.ask);
                }
                None
            }
        }
    }

    fn want(&mut self, ask: &Ask) {
        if let Observed::Unknown(gap) = self.facts.look(ask)
            && gap.why == GapReason::NotYet
        {
            self.asks.push(gap.ask);
        }
    }
}

impl Instance {
    /// One that does not run, or of which nobody can tell whether it does.
    fn stopped(build: Build, binary: Option<String>, config: String, prefix: String) -> Self {
        Self {
            build,
            master: None,
            workers: Vec::new(),
            loaded: None,
            binary,
            config,
            prefix,
            error_log: None,
            directives: None,
            is_root: None,
            root: Root::Host,
            security: Security::Own,
            is_guessed: false,
            gaps: Vec::new(),
        }
    }

    fn title(&self) -> String {
        title(self.master, &self.config)
    }
}

fn directory_of(path: &str) -> String {
    path.rsplit_once('/').map_or("", |(directory, _)| directory).to_owned()
}

/// nginx titles its master `nginx: master process COMMAND LINE`; a single process keeps its own arguments.
fn is_master(process: &Process, list: &ProcessList) -> bool {
    let title = process.argv.first().map_or("", String::as_str);
    if process.state == 'Z' {
        return false;
    }
    if title.contains(": master process") {
        // A child bears its parent's title for a moment after it was forked; a new binary's master has workers.
        let is_fork = list.get(process.parent).is_some_and(|parent| parent.argv == process.argv)
            && !list.processes.iter().any(|other| other.parent == process.pid);
        return !is_fork && is_gateway_name(title.split(':').next().unwrap_or(""));
    }
    let is_titled = title.contains(": worker process")
        || title.contains(": cache ")
        || title.contains(": privileged agent process")
        || title.contains("is shutting down");
    let parent_is_gateway = list.get(process.parent).is_some_and(|parent| is_gateway_name(&parent.comm));
    !is_titled
        && !process.argv.is_empty()
        && !parent_is_gateway
        && is_gateway_name(&process.comm)
        && !CommandLine::of(process).is_short_lived
}

fn is_gateway_name(name: &str) -> bool {
    let name = name.rsplit('/').next().unwrap_or(name);
    matches!(name, "nginx" | "openresty" | "angie" | "tengine" | "freenginx" | "nginx-debug")
}

fn is_worker(process: &Process, master: u32) -> bool {
    let title = process.argv.first().map_or("", String::as_str);
    process.parent == master && title.contains(": worker process") && !title.contains("shutting down")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{World, process};

    const STRINGS: [&str; 2] = [
        "nginx version: nginx/1.22.1",
        "configure arguments: --prefix=/usr/share/nginx --conf-path=/etc/nginx/nginx.conf",
    ];

    fn find(world: &World) -> FoundInstances {
        let facts = world.facts();
        let found = find_instances(&facts);
        assert_eq!(found.asks, [], "the world answers everything");
        found
    }

    fn world(processes: &[Process]) -> World {
        let mut world = World { processes: processes.to_vec(), ..World::default() };
        world.strings("/usr/sbin/nginx", &STRINGS);
        world
    }

    fn outline(found: &FoundInstances) -> Vec<(Option<u32>, &str, &str, Vec<u32>)> {
        let instances = found.instances.iter();
        instances.map(|own| (own.master, &*own.config, &*own.prefix, own.workers.clone())).collect()
    }

    #[test]
    fn a_master_is_found_with_its_workers() {
        let found = find(&world(&[
            process(10, 1, "nginx: master process /usr/sbin/nginx -g daemon on; master_process on;", 100),
            process(11, 10, "nginx: worker process is shutting down", 200),
            process(12, 10, "nginx: worker process", 310),
            process(13, 10, "nginx: worker process", 300),
            process(14, 10, "nginx: cache manager process", 300),
        ]));
        assert_eq!(outline(&found), [(Some(10), "/etc/nginx/nginx.conf", "/usr/share/nginx", vec![12, 13])]);
        let [instance] = &found.instances[..] else { panic!("one") };
        assert_eq!(instance.loaded, Some(Stamp(300)), "the oldest that serves");
        assert_eq!(instance.directives.as_deref(), Some("daemon on; master_process on;"));
        assert_eq!((instance.build.version_text.as_deref(), instance.is_root), (Some("1.22.1"), Some(true)));
    }

    #[test]
    fn a_single_process_is_its_own_master() {
        let mut single = process(20, 1, "nginx", 5);
        single.argv = ["nginx", "-p", "run", "-c", "a.conf"].map(str::to_owned).to_vec();
        single.cwd = Some("/srv".to_owned());
        let found = find(&world(&[single]));
        assert_eq!(outline(&found), [(Some(20), "/srv/run/a.conf", "/srv/run", vec![])]);
    }

    #[test]
    fn commands_and_children_are_no_masters() {
        let mut test = process(30, 1, "nginx", 5);
        test.argv = ["nginx", "-t"].map(str::to_owned).to_vec();
        let mut other = process(31, 1, "python3 nginx: fake", 5);
        other.comm = "python3".to_owned();
        let found = find(&world(&[test, other]));
        assert_eq!(outline(&found), [(None, "/etc/nginx/nginx.conf", "/usr/share/nginx", vec![])]);
    }

    #[test]
    fn while_a_binary_is_replaced_the_new_master_counts() {
        let both = [
            process(10, 1, "nginx: master process nginx", 100),
            process(11, 10, "nginx: worker process", 100),
            process(20, 10, "nginx: master process nginx", 200),
            process(21, 20, "nginx: worker process", 200),
        ];
        let found = find(&world(&both));
        assert_eq!(found.instances.iter().map(|own| own.master).collect::<Vec<_>>(), [Some(20)]);
        assert!(found.notes[0].contains("pid 10"), "{:?}", found.notes);
        let broken = find(&world(&both[..3]));
        assert_eq!(broken.instances.iter().map(|own| own.master).collect::<Vec<_>>(), [Some(10)]);
    }

    #[test]
    fn options_pick_one_of_several() {
        let mut world = world(&[
            process(10, 1, "nginx: master process nginx -c /a.conf", 1),
            process(20, 1, "nginx: master process nginx -c /b.conf", 2),
        ]);
        assert_eq!(find(&world).instances.len(), 2);
        world.invocation.config = Some("/b.conf".to_owned());
        let found = find(&world);
        assert_eq!(found.instances.iter().map(|own| own.master).collect::<Vec<_>>(), [Some(20)]);
        assert_eq!(found.notes, ["another nginx runs here: pid 10 (/a.conf)"]);
        world.invocation.config = None;
        world.invocation.pid = Some(99);
        let found = find(&world);
        assert_eq!(found.instances.iter().map(|own| own.master).collect::<Vec<_>>(), [None]);
    }

    #[test]
    fn a_container_has_its_own_root() {
        let mut master = process(10, 1, "nginx: master process nginx -g daemon off;", 1);
        master.same_root = Some(false);
        let found = find(&world(&[master]));
        assert_eq!(found.instances[0].root, Root::Process(10));
    }

    #[test]
    fn a_master_whose_view_of_the_files_is_unknown_leaves_a_gap() {
        let mut master = process(10, 1, "nginx: master process nginx", 1);
        master.same_root = None;
        let found = find(&world(&[master]));
        assert_eq!(found.instances[0].root, Root::Host);
        let says: Vec<_> = found.instances[0].gaps.iter().map(|gap| gap.says.as_str()).collect();
        assert_eq!(says, ["whether process 10 sees the same files: its mount namespace may not be read"]);
        assert_eq!(find(&world(&[process(10, 1, "nginx: master process nginx", 1)])).instances[0].gaps, []);
    }

    #[test]
    fn a_replaced_binary_is_read_where_it_still_runs() {
        let mut master = process(10, 1, "nginx: master process nginx", 1);
        master.exe_deleted = true;
        let mut world = world(&[master]);
        world.strings("/proc/10/exe", &["nginx version: nginx/1.20.0"]);
        assert_eq!(find(&world).instances[0].build.version_text.as_deref(), Some("1.20.0"));
        world.processes[0].same_root = Some(false);
        assert_eq!(
            find(&world).instances[0].build.version_text.as_deref(),
            Some("1.20.0"),
            "in its own view"
        );
    }

    #[test]
    fn what_a_master_of_an_unreadable_binary_loads_is_not_invented() {
        let mut master = process(10, 1, "nginx: master process nginx", 1);
        master.exe = None;
        let mut hidden = world(&[master]);
        let found = find(&hidden);
        assert_eq!(outline(&found), [(Some(10), "", "", vec![])], "no binary that happens to lie here");
        assert_eq!(found.instances[0].gaps[0].says, "the binary of process 10 may not be read");
        let gateway = hidden.gateway();
        assert!(gateway.problems.is_empty() && gateway.logs.is_empty(), "{:?}", gateway.logs);
        assert!(!gateway.unread.is_empty());
        // What the command line spells out may be read, and what is not there then is no refusal.
        hidden.processes[0].argv = vec!["nginx: master process /usr/sbin/nginx -g daemon on;".to_owned()];
        let found = find(&hidden);
        assert_eq!(outline(&found), [(Some(10), "/etc/nginx/nginx.conf", "/usr/share/nginx", vec![])]);
        assert!(found.instances[0].gaps[0].says.ends_with("/usr/sbin/nginx was taken for it"));
        let gateway = hidden.gateway();
        assert!(gateway.problems.is_empty() && gateway.unread.len() == 2, "{:?}", gateway.unread);
        // A configuration that it names is known.
        for (title, config, n_problems) in [
            ("nginx: master process nginx -c /srv/a.conf", "/srv/a.conf", 1),
            ("nginx: master process nginx -c conf/a.conf", "", 0),
            ("nginx: master process nginx -c conf/a.conf -p /srv", "/srv/conf/a.conf", 0),
        ] {
            hidden.processes[0].argv = vec![title.to_owned()];
            assert_eq!(outline(&find(&hidden))[0].1, config);
            assert_eq!(hidden.gateway().problems.len(), n_problems, "{title}");
        }
    }

    #[test]
    fn options_tell_what_nobody_may_see_of_a_master() {
        let mut master = process(10, 1, "nginx: master process nginx", 1);
        master.exe = None;
        let mut hidden = world(&[master]);
        hidden.invocation.config = Some("/srv/a.conf".to_owned());
        assert_eq!(outline(&find(&hidden)), [(Some(10), "/srv/a.conf", "/srv", vec![])], "it runs");
        hidden.invocation.config = None;
        hidden.invocation.binary = Some("/usr/sbin/nginx".to_owned());
        let found = find(&hidden);
        assert_eq!(outline(&found), [(Some(10), "/etc/nginx/nginx.conf", "/usr/share/nginx", vec![])]);
        assert_eq!(found.instances[0].gaps, []);
    }

    #[test]
    fn the_binary_of_a_chroot_is_read_through_proc() {
        let mut master = process(10, 1, "nginx: master process nginx", 1);
        (master.same_root, master.exe) = (Some(false), Some("/srv/jail/usr/sbin/nginx".to_owned()));
        let mut world = World { processes: vec![master], ..World::default() };
        world.strings("/proc/10/exe", &STRINGS);
        assert_eq!(outline(&find(&world)), [(Some(10), "/etc/nginx/nginx.conf", "/usr/share/nginx", vec![])]);
    }

    #[test]
    fn offline_only_the_given_file_counts() {
        let mut world = world(&[process(10, 1, "nginx: master process nginx", 1)]);
        world.invocation.offline = true;
        world.invocation.config = Some("/tmp/case/nginx.conf".to_owned());
        assert_eq!(outline(&find(&world)), [(None, "/tmp/case/nginx.conf", "/tmp/case", vec![])]);
    }
}
