//! A configuration with its includes expanded: one tree of directives over many files.

use crate::{Problem, Source, Span};
use nginx_syntax::{Directive, Terminator};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use why502_facts::{Ask, Gap, lossy};

/// How many directives a block may have before they are indexed by name: a scan of fewer costs less than a hash.
const WIDE_BLOCK: usize = 32;

/// Which directive of a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NodeId(pub(crate) usize);

/// The directives of a configuration, includes expanded in place.
#[derive(Clone, Debug, Default)]
pub(crate) struct Config {
    /// The directives, in the order of reading; a parent stands before its children.
    pub(crate) nodes: Vec<Node>,
    /// Those outside of any block.
    pub(crate) roots: Vec<NodeId>,
    /// The files, in the order of first reading.
    pub(crate) files: Vec<Source>,
    /// Where the reader itself stops, in the order of reading.
    pub(crate) faults: Vec<Fault>,
    /// What could not be read.
    pub(crate) unread: Vec<Gap>,
    /// Files and patterns that are still wanted.
    pub(crate) asks: Vec<Ask>,
    /// Whether it is only what another file includes in its `http` block, which was put around it.
    pub(crate) is_fragment: bool,
    /// The directives of wide blocks by name: an `http` block with thousands of servers is looked into for each of them.
    by_name: HashMap<Option<NodeId>, HashMap<String, Vec<NodeId>>>,
}

/// Something at which nginx stops reading: a syntax error, or an include that is not there.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    /// The block in which it happens; `None` outside of any.
    pub(crate) block: Option<NodeId>,
    /// How many directives of that block were read before it.
    pub(crate) after: usize,
    /// What nginx says, and what a human would still have to mend in the same file.
    pub(crate) problems: Vec<Problem>,
}

/// A directive.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// Its name.
    pub(crate) name: String,
    /// Where the name stands in its file.
    pub(crate) name_range: Range<u32>,
    /// Its arguments.
    pub(crate) args: Vec<Arg>,
    /// The file, by its place in [`Config::files`].
    pub(crate) file: usize,
    /// The directive whose block it stands in.
    pub(crate) parent: Option<NodeId>,
    /// The directives in its block.
    pub(crate) children: Vec<NodeId>,
    /// What ends its name and arguments.
    pub(crate) terminator: Terminator,
    /// The line that nginx prints when it refuses it: that of the `;` or `{`.
    pub(crate) line: u32,
    /// The line of the `}` of its block; `None` where it has none.
    pub(crate) end_line: Option<u32>,
}

/// An argument: its value as nginx reads it, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arg {
    /// The value.
    pub(crate) value: String,
    /// Where it stands, without its quotes.
    pub(crate) range: Range<u32>,
}

impl Node {
    /// Takes a directive of one file over.
    pub(crate) fn new(directive: Directive<'_>, file: usize, parent: Option<NodeId>) -> Self {
        let args = directive
            .arguments()
            .map(|argument| Arg { value: lossy(&argument.value()), range: argument.content_range() });
        let end_line = directive.block().filter(|block| block.is_closed()).map(|_| {
            // The `}` is the last byte of a closed directive.
            directive.tree().line_column(directive.range().end - 1).line
        });
        Self {
            name: lossy(&directive.name().value()),
            name_range: directive.name().range(),
            args: args.collect(),
            file,
            parent,
            children: Vec::new(),
            terminator: directive.terminator(),
            line: directive.reported_line(),
            end_line,
        }
    }

    /// The value of the argument at that place.
    pub(crate) fn arg(&self, at: usize) -> Option<&str> {
        self.args.get(at).map(|arg| arg.value.as_str())
    }

    /// The values of all arguments.
    pub(crate) fn values(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.args.iter().map(|arg| arg.value.as_str())
    }

    /// The value of a parameter `name=value` among the arguments.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.values().find_map(|value| value.strip_prefix(name)?.strip_prefix('='))
    }
}

impl Config {
    /// The directive of that id.
    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }

    /// The directives directly in a block, in order; those outside of any block for `None`.
    pub(crate) fn children(&self, block: Option<NodeId>) -> &[NodeId] {
        block.map_or(&self.roots, |block| &self.node(block).children)
    }

    /// The directives of that name directly in a block, in order; outside of any block for `None`.
    pub(crate) fn named(&self, block: Option<NodeId>, name: &str) -> impl DoubleEndedIterator<Item = NodeId> {
        let candidates = match self.by_name.get(&block) {
            Some(named) => named.get(name).map_or(&[][..], Vec::as_slice),
            None => self.children(block),
        };
        candidates.iter().copied().filter(move |child| self.node(*child).name == name)
    }

    /// Indexes the wide blocks, once everything is read.
    pub(crate) fn index(&mut self) {
        let blocks = std::iter::once(None).chain((0..self.nodes.len()).map(|at| Some(NodeId(at))));
        let wide: Vec<_> = blocks.filter(|block| self.children(*block).len() >= WIDE_BLOCK).collect();
        for block in wide {
            let mut named: HashMap<String, Vec<NodeId>> = HashMap::new();
            for child in self.children(block) {
                named.entry(self.node(*child).name.clone()).or_default().push(*child);
            }
            self.by_name.insert(block, named);
        }
    }

    /// The only or first `http` block.
    pub(crate) fn http(&self) -> Option<NodeId> {
        self.named(None, "http").next()
    }

    /// All directives of that name, wherever they stand, in the order of reading.
    pub(crate) fn everywhere(&self, name: &str) -> impl Iterator<Item = NodeId> {
        self.nodes.iter().enumerate().filter(move |(_, node)| node.name == name).map(|(at, _)| NodeId(at))
    }

    /// Whether everything that belongs to the configuration was read.
    pub(crate) fn is_complete(&self) -> bool {
        self.unread.is_empty() && self.asks.is_empty()
    }

    /// Where a directive's name stands.
    pub(crate) fn span(&self, id: NodeId) -> Span {
        let node = self.node(id);
        self.span_in(node.file, node.name_range.clone())
    }

    /// Where an argument of a directive stands; the directive itself if it has no such argument.
    pub(crate) fn arg_span(&self, id: NodeId, at: usize) -> Span {
        let node = self.node(id);
        let range = node.args.get(at).map_or(&node.name_range, |arg| &arg.range);
        self.span_in(node.file, range.clone())
    }

    /// A range of a file as a place.
    pub(crate) fn span_in(&self, file: usize, range: Range<u32>) -> Span {
        let source = &self.files[file];
        let position = source.tree.line_column(range.start);
        Span {
            file: Arc::clone(&source.path),
            line: position.line,
            column: position.column,
            begin: range.start,
            end: range.end,
        }
    }
}
