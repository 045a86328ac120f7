//! What is in force somewhere: the levels from a location up, and the lookups by nginx's rules of inheritance.

use super::config::{Config, NodeId};
use super::values::{parse_flag, parse_size, parse_time};
use crate::{Setting, Span};
use std::time::Duration;

/// The levels of a place in the configuration, the innermost first: `if`, location, enclosing locations, server, http,
/// and `None` for what stands outside of any block.
#[derive(Clone, Debug)]
pub(crate) struct Levels<'a> {
    pub(crate) config: &'a Config,
    pub(crate) blocks: Vec<Option<NodeId>>,
}

impl<'a> Levels<'a> {
    /// The levels of a block.
    pub(crate) fn of(config: &'a Config, block: NodeId) -> Self {
        let mut blocks = Vec::new();
        let mut next = Some(block);
        while let Some(block) = next {
            blocks.push(Some(block));
            next = config.node(block).parent;
        }
        blocks.push(None);
        Self { config, blocks }
    }

    /// The directives of that name at the nearest level that has any: nginx replaces such arrays wholesale.
    pub(crate) fn nearest(&self, name: &str) -> Vec<NodeId> {
        let mut found = self.blocks.iter().map(|block| self.config.named(*block, name).collect::<Vec<_>>());
        found.find(|found| !found.is_empty()).unwrap_or_default()
    }

    /// The last directive of that name at the nearest level that has one.
    pub(crate) fn last(&self, name: &str) -> Option<NodeId> {
        self.nearest(name).pop()
    }

    /// The first argument of a directive in force, read by `parse`; what cannot be read counts as the default.
    pub(crate) fn setting<T>(&self, name: &str, parse: impl Fn(&str) -> Option<T>, default: T) -> Setting<T> {
        let found = self.last(name).and_then(|id| {
            let value = parse(self.config.node(id).arg(0)?)?;
            Some(Setting { value, at: Some(self.config.arg_span(id, 0)) })
        });
        found.unwrap_or_else(|| Setting::default_of(default))
    }

    /// A time in force.
    pub(crate) fn time(&self, name: &str, default: Duration) -> Setting<Duration> {
        self.setting(name, parse_time, default)
    }

    /// A size in bytes in force.
    pub(crate) fn size(&self, name: &str, default: u64) -> Setting<u64> {
        self.setting(name, parse_size, default)
    }

    /// A flag in force.
    pub(crate) fn flag(&self, name: &str, default: bool) -> Setting<bool> {
        self.setting(name, parse_flag, default)
    }

    /// A text in force.
    pub(crate) fn text(&self, name: &str, default: &str) -> Setting<String> {
        self.setting(name, |text| Some(text.to_owned()), default.to_owned())
    }

    /// The place of a directive's first argument.
    pub(crate) fn at(&self, id: NodeId) -> Span {
        self.config.arg_span(id, 0)
    }
}
