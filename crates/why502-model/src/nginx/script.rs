//! What a block's `if`, `set`, `rewrite`, `return` and `break` do: the code that `ngx_http_rewrite_module` makes of them.

mod condition;
mod run;

pub(crate) use condition::{Condition, Subject, Test, parse_condition};
pub(crate) use run::{Landing, Run, run};

use super::config::{Config, NodeId};
use super::pattern::{Case, Pattern};

/// The codes of a block, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script {
    pub(crate) codes: Vec<Code>,
}

/// One directive of `ngx_http_rewrite_module`.
#[derive(Clone, Debug)]
pub(crate) enum Code {
    Break,
    If(Box<If>),
    Return { at: NodeId, status: u16 },
    Rewrite(Box<Rewrite>),
    Set { name: String, value: String },
}

/// An `if` with what stands in it.
#[derive(Clone, Debug)]
pub(crate) struct If {
    pub(crate) at: NodeId,
    /// `None` where nginx refuses the condition.
    pub(crate) condition: Option<Condition>,
    pub(crate) codes: Vec<Code>,
}

/// A `rewrite`.
#[derive(Clone, Debug)]
pub(crate) struct Rewrite {
    pub(crate) at: NodeId,
    pub(crate) pattern: Pattern,
    /// What the URI becomes, without a final `?`.
    pub(crate) replacement: String,
    pub(crate) keeps_args: bool,
    pub(crate) then: Then,
}

/// What follows a rewrite that matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// The location stays.
    Break,
    /// The next directive.
    Continue,
    /// The search for a location.
    Last,
    /// A redirect with that status.
    Redirect(u16),
}

impl Script {
    /// Reads the directives of a block.
    pub(crate) fn read(config: &Config, block: NodeId) -> Self {
        Self { codes: read_codes(config, block) }
    }
}

fn read_codes(config: &Config, block: NodeId) -> Vec<Code> {
    config.children(Some(block)).iter().filter_map(|id| read_code(config, *id)).collect()
}

fn read_code(config: &Config, id: NodeId) -> Option<Code> {
    let node = config.node(id);
    match node.name.as_str() {
        "break" => Some(Code::Break),
        "if" => {
            let words: Vec<&str> = node.values().collect();
            let condition = parse_condition(&words).ok();
            Some(Code::If(Box::new(If { at: id, condition, codes: read_codes(config, id) })))
        }
        "return" => {
            // A target alone is a redirect (`ngx_http_rewrite_return`).
            let status = node.arg(0)?.parse().unwrap_or(302);
            Some(Code::Return { at: id, status })
        }
        "rewrite" => read_rewrite(config, id).map(|rewrite| Code::Rewrite(Box::new(rewrite))),
        "set" => {
            let name = node.arg(0)?.strip_prefix('$')?;
            Some(Code::Set { name: name.to_owned(), value: node.arg(1)?.to_owned() })
        }
        _ => None,
    }
}

fn read_rewrite(config: &Config, id: NodeId) -> Option<Rewrite> {
    let node = config.node(id);
    let target = node.arg(1)?;
    let is_elsewhere = ["http://", "https://", "$scheme"].iter().any(|begin| target.starts_with(begin));
    let then = match node.arg(2) {
        Some("redirect") => Then::Redirect(302),
        Some("permanent") => Then::Redirect(301),
        _ if is_elsewhere => Then::Redirect(302),
        Some("last") => Then::Last,
        Some("break") => Then::Break,
        _ => Then::Continue,
    };
    Some(Rewrite {
        at: id,
        pattern: Pattern::compile(node.arg(0)?, Case::Kept).ok()?,
        replacement: target.strip_suffix('?').unwrap_or(target).to_owned(),
        keeps_args: !target.ends_with('?'),
        then,
    })
}
