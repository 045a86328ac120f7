//! The files of a configuration with their includes, read without I/O: what is missing is asked for.

mod dump;
mod fragment;
mod glob;
mod relocate;

use super::config::{Config, Fault, Node, NodeId};
use crate::{Problem, ProblemKind, Source, Span};
use dump::Dump;
use nginx_syntax::{Block, Directive, Parse, SyntaxError, SyntaxErrorKind, Terminator};
use relocate::candidates;
use std::collections::BTreeMap;
use std::sync::Arc;
use why502_facts::{Ask, Facts, FileContent, Gap, GapReason, Observed, Root, Stamp, lossy};

/// The deepest chain of includes; nginx itself ends when it may open no more files.
const MAX_DEPTH: usize = 64;
/// The most files of a configuration, each time that one is included counted.
const MAX_FILES: usize = 8192;
/// The deepest nesting of blocks, includes counted; nginx has no limit but its stack.
const MAX_NESTING: usize = 256;
/// How nginx calls the directives of the option `-g` (`ngx_conf_log_error`).
const COMMAND_LINE: &str = "command line";

/// Where a configuration is read from.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    /// Whose file system.
    pub(crate) root: Root,
    /// The configuration file.
    pub(crate) path: String,
    /// Whether the files were carried here from another host.
    pub(crate) offline: bool,
    /// Whether the path is only a guess: what is not there says nothing.
    pub(crate) guessed: bool,
    /// The directives of the option `-g`, which nginx reads first.
    pub(crate) directives: Option<String>,
}

/// Reads a configuration as far as the facts go.
pub(crate) fn load(facts: &Facts, origin: &Origin) -> Config {
    let mut loader = Loader {
        facts,
        origin,
        dump: None,
        main: origin.path.clone(),
        file_of: BTreeMap::new(),
        n_reads: 0,
        gave_up: false,
        config: Config::default(),
    };
    loader.load_command_line();
    loader.load_main();
    if origin.offline {
        fragment::complete(&mut loader.config);
    }
    loader.config.index();
    loader.config
}

struct Loader<'a> {
    facts: &'a Facts,
    origin: &'a Origin,
    /// The files of a dump by `nginx -T`, if the configuration is one.
    dump: Option<Dump>,
    /// The configuration file: relative includes are relative to its directory.
    main: String,
    file_of: BTreeMap<String, usize>,
    n_reads: usize,
    /// Whether more files include each other than can be opened.
    gave_up: bool,
    config: Config,
}

/// A place in the tree that is being built.
#[derive(Clone, Copy)]
struct Place {
    /// The enclosing block.
    block: Option<NodeId>,
    /// How many blocks and files enclose it.
    nesting: usize,
    /// How many files include each other down to here.
    depth: usize,
}

/// What became of a file that was looked for.
enum Found {
    Text(Vec<u8>, Stamp),
    Missing,
    /// Asked for, or noted as a gap.
    NotSeen,
}

impl Loader<'_> {
    /// `ngx_conf_param`: what the option `-g` holds is read before the file.
    fn load_command_line(&mut self) {
        let Some(directives) = &self.origin.directives else { return };
        let parse = nginx_syntax::parse_command_line(directives.as_bytes());
        self.read_parsed(COMMAND_LINE, &parse, Stamp(0), Place { block: None, nesting: 0, depth: 0 });
    }

    fn load_main(&mut self) {
        let path = self.main.clone();
        if path.is_empty() {
            return;
        }
        let top = Place { block: None, nesting: 0, depth: 0 };
        match self.text_of(&path) {
            Found::Text(text, modified) => match Dump::split(&text) {
                Some(dump) => {
                    self.main.clone_from(&dump.main);
                    let text = dump.files.get(&dump.main).cloned().unwrap_or_default();
                    self.dump = Some(dump);
                    let main = self.main.clone();
                    self.read(&main, text, modified, top);
                }
                None => self.read(&path, text, modified, top),
            },
            Found::Missing if self.origin.guessed => {
                let ask = Ask::File { root: self.origin.root, path: path.clone() };
                let says =
                    format!("which configuration file nginx loaded: {path}, where it would be, is not there");
                self.config.unread.push(Gap { ask, why: GapReason::Failed, says });
            }
            Found::Missing if !self.origin.offline => {
                let at = Span { file: Arc::from(&*path), line: 1, column: 1, begin: 0, end: 0 };
                let message = format!("open() \"{path}\" failed (2: No such file or directory)");
                self.fault(top, vec![Problem { kind: ProblemKind::Refused, message, at, printed: None }]);
            }
            Found::Missing => self.not_given(&path),
            Found::NotSeen => {}
        }
    }

    fn text_of(&mut self, path: &str) -> Found {
        if let Some(dump) = &self.dump {
            return dump.files.get(path).map_or(Found::Missing, |text| Found::Text(text.clone(), Stamp(0)));
        }
        match self.facts.file(self.origin.root, path) {
            Observed::Known(FileContent { content, status, truncated }) => {
                if *truncated {
                    let ask = Ask::File { root: self.origin.root, path: path.to_owned() };
                    let says = format!("{path} is too large to be read whole");
                    self.config.unread.push(Gap { ask, why: GapReason::Unsupported, says });
                }
                Found::Text(content.as_slice().to_vec(), status.modified)
            }
            Observed::Absent => Found::Missing,
            Observed::Unknown(gap) => {
                self.note(gap);
                Found::NotSeen
            }
        }
    }

    fn note(&mut self, gap: Gap) {
        if gap.why == GapReason::NotYet {
            self.config.asks.push(gap.ask);
        } else {
            self.config.unread.push(gap);
        }
    }

    fn read(&mut self, path: &str, text: Vec<u8>, modified: Stamp, place: Place) {
        self.n_reads += 1;
        match self.file_of.get(path) {
            // `nginx -T` lists a file once, however often it is included.
            Some(&file) => {
                let tree = self.config.files[file].tree.clone();
                let errors = nginx_syntax::parse(tree.shared_text()).errors;
                self.read_tree(&Parse { tree, errors }, file, place);
            }
            None => self.read_parsed(path, &nginx_syntax::parse(text), modified, place),
        }
    }

    fn read_parsed(&mut self, path: &str, parse: &Parse, modified: Stamp, place: Place) {
        let source = Source {
            path: Arc::from(path),
            text: parse.tree.shared_text(),
            tree: parse.tree.clone(),
            modified,
        };
        let file = self.config.files.len();
        self.config.files.push(source);
        self.file_of.insert(path.to_owned(), file);
        self.read_tree(parse, file, place);
    }

    fn read_tree(&mut self, parse: &Parse, file: usize, place: Place) {
        let mut pending = (!parse.errors.is_empty()).then_some(parse.errors.as_slice());
        self.read_block(parse.tree.root(), file, place, &mut pending);
        if let Some(errors) = pending {
            self.syntax_fault(errors, file, place);
        }
    }

    /// Takes the directives of a block over; `pending` holds the file's syntax errors until nginx would meet the first.
    fn read_block(
        &mut self,
        block: Block<'_>,
        file: usize,
        place: Place,
        pending: &mut Option<&[SyntaxError]>,
    ) {
        for directive in block.directives() {
            if let Some(errors) = pending.take_if(|errors| is_before(&errors[0], directive)) {
                self.syntax_fault(errors, file, place);
            }
            let id = NodeId(self.config.nodes.len());
            self.config.nodes.push(Node::new(directive, file, place.block));
            match place.block {
                Some(parent) => self.config.nodes[parent.0].children.push(id),
                None => self.config.roots.push(id),
            }
            let nesting = place.nesting + 1;
            if let Some(inner) = directive.block().filter(|_| nesting < MAX_NESTING) {
                self.read_block(inner, file, Place { block: Some(id), nesting, ..place }, pending);
            } else if directive.is(b"include") && directive.terminator() == Terminator::Semicolon {
                self.include(id, directive, place);
            }
        }
        if let Some(errors) = pending.take_if(|errors| is_at_end(&errors[0], block)) {
            self.syntax_fault(errors, file, place);
        }
    }

    /// `ngx_conf_include`: a pattern takes whatever it matches, a plain name must be there.
    fn include(&mut self, id: NodeId, directive: Directive<'_>, place: Place) {
        let (Some(argument), None) = (directive.argument(0), directive.argument(1)) else { return };
        if self.gave_up {
            return;
        }
        let written = self.absolute(&lossy(&argument.value()));
        if place.depth >= MAX_DEPTH || self.n_reads >= MAX_FILES {
            self.refuse(id, place, format!("open() \"{written}\" failed (24: Too many open files)"));
            // nginx ends here: files that include each other need not be followed any further.
            self.gave_up = true;
            return;
        }
        let inner = Place { nesting: place.nesting + 1, depth: place.depth + 1, ..place };
        if !glob::is_pattern(&written) {
            match self.look_for(&written) {
                (path, Found::Text(text, modified)) => self.read(&path, text, modified, inner),
                (_, Found::Missing) if self.is_elsewhere() => self.not_given(&written),
                (_, Found::Missing) => {
                    self.refuse(
                        id,
                        place,
                        format!("open() \"{written}\" failed (2: No such file or directory)"),
                    );
                }
                (_, Found::NotSeen) => {}
            }
            return;
        }
        for path in self.matches(&written) {
            // What a pattern found and is gone a moment later is a race; the next round sees it.
            if let Found::Text(text, modified) = self.text_of(&path) {
                self.read(&path, text, modified, inner);
            }
        }
    }

    /// Whether the configuration is another host's: what is missing here may well be there.
    fn is_elsewhere(&self) -> bool {
        self.origin.offline || self.dump.is_some()
    }

    fn look_for(&mut self, written: &str) -> (String, Found) {
        if self.dump.is_some() || !self.origin.offline {
            return (written.to_owned(), self.text_of(written));
        }
        for path in candidates(&self.main, written) {
            match self.text_of(&path) {
                Found::Missing => {}
                found => return (path, found),
            }
        }
        (written.to_owned(), Found::Missing)
    }

    /// The files that a pattern names.
    fn matches(&mut self, pattern: &str) -> Vec<String> {
        if let Some(dump) = &self.dump {
            return dump.files.keys().filter(|path| glob::matches(pattern, path)).cloned().collect();
        }
        if !self.origin.offline {
            return self.list(pattern);
        }
        let patterns = candidates(&self.main, pattern);
        if patterns.is_empty() {
            self.not_given(pattern);
        }
        let found = patterns.iter().map(|pattern| self.list(pattern)).find(|paths| !paths.is_empty());
        found.unwrap_or_default()
    }

    fn list(&mut self, pattern: &str) -> Vec<String> {
        match self.facts.paths(self.origin.root, pattern) {
            Observed::Known(paths) => paths.iter().map(|path| glob::as_written(pattern, path)).collect(),
            Observed::Absent => Vec::new(),
            Observed::Unknown(gap) => {
                self.note(gap);
                Vec::new()
            }
        }
    }

    /// Relative names are relative to the directory of the configuration file (`cycle->conf_prefix`).
    fn absolute(&self, name: &str) -> String {
        if name.starts_with('/') {
            return name.to_owned();
        }
        let directory = self.main.rsplit_once('/').map_or("", |(directory, _)| directory);
        format!("{directory}/{name}")
    }

    fn not_given(&mut self, path: &str) {
        let ask = Ask::File { root: self.origin.root, path: path.to_owned() };
        let says = format!("{path} is part of the configuration and was not given");
        self.config.unread.push(Gap { ask, why: GapReason::NotAsked, says });
    }

    fn refuse(&mut self, id: NodeId, place: Place, message: String) {
        let at = self.config.arg_span(id, 0);
        let printed = Some((Arc::clone(&at.file), self.config.node(id).line));
        self.fault(place, vec![Problem { kind: ProblemKind::Refused, message, at, printed }]);
    }

    fn syntax_fault(&mut self, errors: &[SyntaxError], file: usize, place: Place) {
        let problem = |error: &SyntaxError| {
            let at = self.config.span_in(file, error.offset..error.offset);
            let printed = Some((Arc::clone(&at.file), error.line));
            Problem { kind: ProblemKind::Refused, message: lossy(&error.message()), at, printed }
        };
        let problems = errors.iter().map(problem).collect();
        self.fault(place, problems);
    }

    fn fault(&mut self, place: Place, problems: Vec<Problem>) {
        let after = self.config.children(place.block).len();
        self.config.faults.push(Fault { block: place.block, after, problems });
    }
}

/// Whether nginx meets an error before it handles a directive: the handler runs once the head is read.
fn is_before(error: &SyntaxError, directive: Directive<'_>) -> bool {
    match error.kind {
        // Both come to light at the end of what they are in.
        SyntaxErrorKind::UnclosedBlock => false,
        // The module that reads the code runs as the directive's handler.
        SyntaxErrorKind::LuaBlockTooLong
        | SyntaxErrorKind::LuaBlockUnclosed
        | SyntaxErrorKind::LuaBracketUnclosed { .. } => error.offset < directive.range().start,
        _ if directive.terminator() == Terminator::Missing => error.offset <= directive.range().end,
        _ => error.offset < directive.head_range().end,
    }
}

/// Whether nginx meets an error at the end of a block, where it was not met before.
fn is_at_end(error: &SyntaxError, block: Block<'_>) -> bool {
    match error.kind {
        SyntaxErrorKind::UnclosedBlock => !block.is_closed(),
        _ => error.offset <= block.range().end,
    }
}
