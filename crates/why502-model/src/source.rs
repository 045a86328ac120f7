//! Where in the configuration something stands.

use nginx_syntax::Tree;
use std::ops::Range;
use std::sync::Arc;

/// A place in a configuration file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The file's path.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: u32,
    /// The column in bytes, from 1.
    pub column: u32,
    /// The first byte.
    pub begin: u32,
    /// The byte after the last.
    pub end: u32,
}

impl Span {
    /// The byte range in the file.
    pub fn range(&self) -> Range<u32> {
        self.begin..self.end
    }
}

/// A value in force, with the place that sets it; `None` for a default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// Where it is set.
    pub at: Option<Span>,
}

impl<T> Setting<T> {
    /// A value that nobody set.
    pub fn default_of(value: T) -> Self {
        Self { value, at: None }
    }
}

/// A configuration file.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its path.
    pub path: Arc<str>,
    /// Its bytes.
    pub text: Arc<[u8]>,
    /// Its directives.
    pub tree: Tree,
    /// When it was changed last.
    pub modified: why502_facts::Stamp,
}
