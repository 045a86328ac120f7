//! What nginx would refuse in a configuration, in its own words and in the order in which it would come upon it.
//!
//! nginx stops at its first error, and so the first problem is what it prints. It reads directive by directive
//! (`ngx_conf_handler`: is it known, may it stand here, its arguments, its own handler), then merges the levels of an
//! `http` block and initialises its groups at the closing brace, and looks at shared memory at the very end. What is found
//! here follows the same path. Behind the first problem, further ones are what a human would still have to mend.
//!
//! Only what the configuration itself decides is judged: whether certificates, modules and directories are there, nobody
//! looks. Where a module that cannot be looked into might know better, nothing is a problem.

mod conditions;
mod finish;
mod listens;
mod locations;
mod logs;
mod merge;
mod parameters;
mod passes;
mod rows;
mod texts;
mod tls;
mod upstreams;
mod values;
mod walk;
mod zones;

use super::config::{Config, NodeId};
use super::modules::Modules;
use super::upstreams::Groups;
use crate::{Problem, ProblemKind, Span};
use listens::Listens;
use std::collections::BTreeSet;
use std::sync::Arc;
use texts::Variables;
use upstreams::Upstreams;
use walk::Start;
use zones::Zones;

/// The most problems that are listed: a file with so many is no configuration.
const MAX_PROBLEMS: usize = 100;

/// What nginx would refuse in a configuration; its own first error comes first.
pub(crate) fn check(config: &Config, modules: &Modules, groups: &mut Groups<'_>) -> Vec<Problem> {
    let mut checker = Checker {
        config,
        modules,
        groups,
        problems: Vec::new(),
        rest: Vec::new(),
        stopped: false,
        seen: BTreeSet::new(),
        formats: BTreeSet::new(),
        keys: BTreeSet::new(),
        has_hostnames: false,
        compiled: BTreeSet::new(),
        modules_used: false,
        listens: Listens::default(),
        upstreams: Upstreams::default(),
        variables: Variables::default(),
        zones: Zones::default(),
    };
    checker.run(Start::of(config));
    let mut problems = checker.problems;
    problems.append(&mut checker.rest);
    problems.truncate(MAX_PROBLEMS);
    problems
}

struct Checker<'a, 'f> {
    config: &'a Config,
    modules: &'a Modules,
    groups: &'a mut Groups<'f>,
    problems: Vec<Problem>,
    /// What else is wrong in a file behind its first syntax error.
    rest: Vec<Problem>,
    /// Whether the reader itself gave up: nothing behind that was read.
    stopped: bool,
    /// The directives that may stand once in a block and were seen there.
    seen: BTreeSet<(Option<NodeId>, &'a str)>,
    /// The names of log formats.
    formats: BTreeSet<String>,
    /// The keys of the table that is being read.
    keys: BTreeSet<String>,
    /// Whether it has said so far that its keys may be host names with wildcards.
    has_hostnames: bool,
    /// The headers that were compiled.
    compiled: BTreeSet<NodeId>,
    /// Whether a block was read that counts the modules (`cycle->modules_used`).
    modules_used: bool,
    listens: Listens,
    upstreams: Upstreams,
    variables: Variables,
    zones: Zones,
}

impl<'a> Checker<'a, '_> {
    /// Refuses a directive; nginx prints the line of its `;` or `{`.
    fn refuse(&mut self, id: NodeId, message: impl Into<String>) {
        let at = self.config.span(id);
        self.refuse_at(id, at, message);
    }

    /// Refuses an argument of a directive.
    fn refuse_arg(&mut self, id: NodeId, arg: usize, message: impl Into<String>) {
        let at = self.config.arg_span(id, arg);
        self.refuse_at(id, at, message);
    }

    fn refuse_at(&mut self, id: NodeId, at: Span, message: impl Into<String>) {
        let node = self.config.node(id);
        let file = Arc::clone(&self.config.files[node.file].path);
        self.add(ProblemKind::Refused, message.into(), at, Some((file, node.line)));
    }

    /// Refuses something at the end of a block: nginx prints the line of its `}`.
    fn refuse_at_end(&mut self, block: NodeId, at: Span, message: impl Into<String>) {
        let node = self.config.node(block);
        let file = Arc::clone(&self.config.files[node.file].path);
        let printed = node.end_line.map(|line| (file, line));
        self.add(ProblemKind::Refused, message.into(), at, printed);
    }

    /// Refuses something of which nginx names no place.
    fn refuse_unplaced(&mut self, at: Span, message: impl Into<String>) {
        self.add(ProblemKind::Refused, message.into(), at, None);
    }

    fn add(&mut self, kind: ProblemKind, message: String, at: Span, printed: Option<(Arc<str>, u32)>) {
        self.problems.push(Problem { kind, message, at, printed });
    }

    fn words(&self, id: NodeId) -> Vec<&'a str> {
        self.config.node(id).values().collect()
    }

    fn arg(&self, id: NodeId, at: usize) -> &'a str {
        self.config.node(id).arg(at).unwrap_or_default()
    }

    /// Whether a definition that is not there is missing: all files were read, and no foreign module defines things.
    fn knows_all(&self) -> bool {
        self.config.is_complete() && !self.stopped
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::World;

    /// The problems as nginx prints them, the file's name left out.
    pub(super) fn problems(config: &str) -> Vec<String> {
        let mut world = World::live("1.22.1", &format!("#- /n\n{config}"));
        world.name("known", &["10.0.0.1"]);
        let gateway = world.gateway();
        gateway.problems.iter().map(|problem| problem.words().replace(" in /n:", " :")).collect()
    }

    /// The same for what stands in `http { … }` on one line.
    pub(super) fn in_http(http: &str) -> Vec<String> {
        problems(&format!("events {{}} http {{ {http} }}"))
    }

    /// Only the first one.
    pub(super) fn first(http: &str) -> Option<String> {
        in_http(http).into_iter().next()
    }

    #[test]
    fn a_sound_configuration_has_no_problems() {
        let config = "user www-data; worker_processes auto; pid /run/n.pid; events { worker_connections 768; }
            http { include /none/*.conf; types { text/html html; } map $uri $x { default 1; ~^/a 2; }
            upstream u { server 10.0.0.1 max_fails=2; server 10.0.0.2 backup; keepalive 4; }
            log_format f '$remote_addr'; access_log /l f buffer=32k;
            limit_req_zone $binary_remote_addr zone=z:1m rate=5r/s;
            server { listen 80 default_server; server_name a .b *.c d.* ~^e; limit_req zone=z burst=2;
            location / { proxy_pass http://u; proxy_set_header Host $host; if ($x = 1) { return 404; } }
            location ~ \\.php$ { fastcgi_pass unix:/run/php.sock; fastcgi_param A $document_root if_not_empty; } } }";
        assert_eq!(problems(config), Vec::<String>::new());
    }

    #[test]
    fn the_first_problem_is_the_one_that_nginx_comes_upon_first() {
        // The merge at the end of `http` comes before a syntax error behind it, and after one within.
        let buffers = "server { location / { proxy_buffer_size 64k; proxy_pass http://10.0.0.1; } }";
        let merged = "\"proxy_busy_buffers_size\" must be less than the size of all \"proxy_buffers\" minus one buffer :1";
        assert_eq!(problems(&format!("events {{}} http {{ {buffers} }}\nx \"y"))[0], merged);
        let broken = problems(&format!("events {{}} http {{ {buffers}\nx \"y\n}}"));
        assert_eq!(broken[0], "unexpected end of file, expecting \";\" or \"}\" :3");
        let both = in_http(&format!("{buffers} server {{ listen 80 y; }}"));
        assert_eq!((both[0].as_str(), both.len()), ("invalid parameter \"y\" :1", 2));
    }
}
