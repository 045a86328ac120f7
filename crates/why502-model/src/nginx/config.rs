//! A configuration with its includes expanded: one tree of directives over many files.

use crate::{Source, Span};
use nginx_syntax::{Directive, Tree};
use std::ops::Range;
use std::sync::Arc;
use why502_facts::{Ask, Gap, lossy};

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
    /// The files with their trees, in the order of reading.
    pub(crate) files: Vec<(Source, Tree)>,
    /// What the reader itself refuses.
    pub(crate) problems: Vec<crate::Problem>,
    /// What could not be read.
    pub(crate) unread: Vec<Gap>,
    /// Files and patterns that are still wanted.
    pub(crate) asks: Vec<Ask>,
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
        Self {
            name: lossy(&directive.name().value()),
            name_range: directive.name().range(),
            args: args.collect(),
            file,
            parent,
            children: Vec::new(),
        }
    }

    /// The value of the argument at that place.
    pub(crate) fn arg(&self, at: usize) -> Option<&str> {
        self.args.get(at).map(|arg| arg.value.as_str())
    }

    /// The values of all arguments.
    pub(crate) fn values(&self) -> impl Iterator<Item = &str> {
        self.args.iter().map(|arg| arg.value.as_str())
    }
}

impl Config {
    /// The directive of that id.
    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }

    /// The directives of that name directly in a block, in order; outside of any block for `None`.
    pub(crate) fn named(&self, block: Option<NodeId>, name: &str) -> impl Iterator<Item = NodeId> {
        let children = block.map_or(&self.roots, |block| &self.node(block).children);
        children.iter().copied().filter(move |child| self.node(*child).name == name)
    }

    /// The only or first `http` block.
    pub(crate) fn http(&self) -> Option<NodeId> {
        self.named(None, "http").next()
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
        let (source, tree) = &self.files[file];
        let position = tree.line_column(range.start);
        Span {
            file: Arc::clone(&source.path),
            line: position.line,
            column: position.column,
            begin: range.start,
            end: range.end,
        }
    }
}
