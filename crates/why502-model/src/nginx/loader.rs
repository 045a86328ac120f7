//! The files of a configuration with their includes, read without I/O: what is missing is asked for.

use super::config::{Config, Node, NodeId};
use crate::{Problem, ProblemKind, Source};
use nginx_syntax::{Block, Directive, SyntaxError};
use std::collections::BTreeMap;
use std::sync::Arc;
use why502_facts::{Facts, FileContent, GapReason, Observed, Root, Stamp, lossy};

/// The deepest chain of includes; nginx itself ends when it may open no more files.
const MAX_DEPTH: usize = 64;
/// The most files of a configuration.
const MAX_FILES: usize = 8192;
/// How `nginx -T` introduces each file (`src/core/nginx.c`, `main`).
const DUMP_HEADING: &[u8] = b"# configuration file ";

/// Where a configuration is read from.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    /// Whose file system.
    pub(crate) root: Root,
    /// The configuration file.
    pub(crate) path: String,
    /// Whether the files were carried here from another host.
    pub(crate) offline: bool,
}

/// Reads a configuration as far as the facts go.
pub(crate) fn load(facts: &Facts, origin: &Origin) -> Config {
    let mut loader = Loader { facts, origin, dump: BTreeMap::new(), config: Config::default() };
    loader.load_main();
    loader.config
}

struct Loader<'a> {
    facts: &'a Facts,
    origin: &'a Origin,
    /// The files of a dump by `nginx -T`, if the configuration is one.
    dump: BTreeMap<String, Vec<u8>>,
    config: Config,
}

impl Loader<'_> {
    fn load_main(&mut self) {
        let path = self.origin.path.clone();
        let Some((text, modified)) = self.text_of(&path) else { return };
        if let Some((main, dump)) = split_dump(&text) {
            self.dump = dump;
            let text = self.dump.get(&main).cloned().unwrap_or_default();
            self.read(&main, text, modified, None, 0);
        } else {
            self.read(&path, text, modified, None, 0);
        }
    }

    /// The bytes of a file; notes what keeps it from being read.
    fn text_of(&mut self, path: &str) -> Option<(Vec<u8>, Stamp)> {
        if let Some(text) = self.dump.get(path) {
            return Some((text.clone(), Stamp(0)));
        }
        match self.facts.file(self.origin.root, path) {
            Observed::Known(FileContent { content, status, .. }) => {
                Some((content.as_slice().to_vec(), status.modified))
            }
            Observed::Absent => None,
            Observed::Unknown(gap) if gap.why == GapReason::NotYet => {
                self.config.asks.push(gap.ask);
                None
            }
            Observed::Unknown(gap) => {
                self.config.unread.push(gap);
                None
            }
        }
    }

    fn read(&mut self, path: &str, text: Vec<u8>, modified: Stamp, parent: Option<NodeId>, depth: usize) {
        let parse = nginx_syntax::parse(text);
        let source = Source { path: Arc::from(path), text: parse.tree.shared_text(), modified };
        let file = self.config.files.len();
        self.config.files.push((source, parse.tree.clone()));
        // nginx stops at its first error; what follows it was never read.
        if let Some(error) = parse.errors.first() {
            let problem = self.syntax_problem(file, error);
            self.config.problems.push(problem);
        }
        self.read_block(parse.tree.root(), file, parent, depth);
    }

    fn read_block(&mut self, block: Block<'_>, file: usize, parent: Option<NodeId>, depth: usize) {
        for directive in block.directives() {
            let id = NodeId(self.config.nodes.len());
            self.config.nodes.push(Node::new(directive, file, parent));
            match parent {
                Some(parent) => self.config.nodes[parent.0].children.push(id),
                None => self.config.roots.push(id),
            }
            if let Some(inner) = directive.block() {
                self.read_block(inner, file, Some(id), depth);
            } else if directive.is(b"include") {
                self.include(id, directive, parent, depth);
            }
        }
    }

    /// `ngx_conf_include`: a pattern takes whatever it matches, a plain name must be there.
    fn include(&mut self, id: NodeId, directive: Directive<'_>, parent: Option<NodeId>, depth: usize) {
        let Some(argument) = directive.argument(0) else { return };
        let written = self.absolute(&lossy(&argument.value()));
        if depth >= MAX_DEPTH || self.config.files.len() >= MAX_FILES {
            self.refuse(id, format!("open() \"{written}\" failed (24: Too many open files)"));
            return;
        }
        for path in self.matches(&written) {
            match self.text_of(&path) {
                Some((text, modified)) => self.read(&path, text, modified, parent, depth + 1),
                None if self.is_missing(&path) => {
                    self.refuse(id, format!("open() \"{written}\" failed (2: No such file or directory)"));
                }
                None => {}
            }
        }
    }

    /// The files that an include names.
    fn matches(&mut self, written: &str) -> Vec<String> {
        let is_pattern = written.bytes().any(|byte| matches!(byte, b'*' | b'?' | b'['));
        if !self.dump.is_empty() {
            return if is_pattern { self.dump_matches(written) } else { vec![written.to_owned()] };
        }
        let here = self.relocate(written);
        if !is_pattern {
            return vec![here];
        }
        match self.facts.paths(self.origin.root, &here) {
            Observed::Known(paths) => paths.clone(),
            Observed::Absent => Vec::new(),
            Observed::Unknown(gap) if gap.why == GapReason::NotYet => {
                self.config.asks.push(gap.ask);
                Vec::new()
            }
            Observed::Unknown(gap) => {
                self.config.unread.push(gap);
                Vec::new()
            }
        }
    }

    /// A dump lists the files that a pattern matched when it was made; the directory and the ends tell which.
    fn dump_matches(&self, pattern: &str) -> Vec<String> {
        let (directory, name) = pattern.rsplit_once('/').unwrap_or(("", pattern));
        let (begin, end) = (
            name.split(['*', '?', '[']).next().unwrap_or(""),
            name.rsplit(['*', '?', ']']).next().unwrap_or(""),
        );
        let fits = |path: &&String| {
            path.rsplit_once('/').is_some_and(|(parent, file)| {
                (parent == directory || directory.contains(['*', '?', '[']))
                    && file.starts_with(begin)
                    && file.ends_with(end)
            })
        };
        self.dump.keys().filter(fits).cloned().collect()
    }

    /// Relative names are relative to the directory of the configuration file (`cycle->conf_prefix`).
    fn absolute(&self, name: &str) -> String {
        if name.starts_with('/') {
            return name.to_owned();
        }
        let main = self.config.files.first().map_or(self.origin.path.as_str(), |(source, _)| &source.path);
        let directory = main.rsplit_once('/').map_or("", |(directory, _)| directory);
        format!("{directory}/{name}")
    }

    /// Files of another host lie in a directory of this one: `/etc/nginx/x` of a configuration in `/tmp/case` is
    /// `/tmp/case/etc/nginx/x` if the configuration lies in `…/etc/nginx`, and `/tmp/case/x` otherwise.
    fn relocate(&self, written: &str) -> String {
        let directory = self.origin.path.rsplit_once('/').map_or("", |(directory, _)| directory);
        if !self.origin.offline || written.starts_with(&format!("{directory}/")) {
            return written.to_owned();
        }
        for home in [
            "/etc/nginx",
            "/usr/local/nginx/conf",
            "/usr/local/openresty/nginx/conf",
            "/usr/local/etc/nginx",
            "/etc/angie",
        ] {
            if let Some(base) = directory.strip_suffix(home) {
                return format!("{base}{written}");
            }
            if let Some(rest) = written.strip_prefix(&format!("{home}/")) {
                return format!("{directory}/{rest}");
            }
        }
        written.to_owned()
    }

    fn is_missing(&self, path: &str) -> bool {
        self.dump.is_empty() && self.facts.file(self.origin.root, path).is_absent()
            // Of another host we may simply not have been given the file.
            && !self.origin.offline
    }

    fn refuse(&mut self, id: NodeId, message: String) {
        let at = self.config.arg_span(id, 0);
        self.config.problems.push(Problem { kind: ProblemKind::Refused, message, at });
    }

    fn syntax_problem(&self, file: usize, error: &SyntaxError) -> Problem {
        let at = self.config.span_in(file, error.offset..error.offset);
        Problem { kind: ProblemKind::Refused, message: lossy(&error.message()), at }
    }
}

/// Splits the output of `nginx -T` into its files; `None` if it is none.
///
/// Each file is introduced by `# configuration file PATH:` and followed by one empty line.
fn split_dump(text: &[u8]) -> Option<(String, BTreeMap<String, Vec<u8>>)> {
    let first = text.split_inclusive(|byte| *byte == b'\n').take(8).find_map(dump_heading)?;
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut current: Option<String> = None;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        if let Some(path) = dump_heading(line) {
            files.entry(path.clone()).or_default();
            current = Some(path);
        } else if let Some(file) = current.as_ref().and_then(|path| files.get_mut(path)) {
            file.extend_from_slice(line);
        }
    }
    Some((first, files))
}

fn dump_heading(line: &[u8]) -> Option<String> {
    let path = line.strip_prefix(DUMP_HEADING)?.trim_ascii_end().strip_suffix(b":")?;
    path.starts_with(b"/").then(|| lossy(path))
}
