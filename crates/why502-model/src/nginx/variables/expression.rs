//! A text whose value a request decides, kept for when one is at hand.

use super::{Book, Evaluated, Scope};
use crate::nginx::config::NodeId;
use crate::nginx::pattern::Pattern;
use crate::nginx::script::{Run, Script, run};
use crate::{RequestVars, Values};
use std::sync::Arc;

/// A target with variables, and everything in the configuration that decides it.
#[derive(Clone, Debug)]
pub(crate) struct Expression {
    pub(crate) text: String,
    pub(crate) book: Arc<Book>,
    /// What runs before: the server's directives, then the location's.
    pub(crate) scripts: Vec<Arc<Script>>,
    /// The location's pattern, whose groups are at hand.
    pub(crate) pattern: Option<Pattern>,
    /// The `if`s that the text stands in: they held.
    pub(crate) assumed: Vec<NodeId>,
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && self.assumed == other.assumed
    }
}

impl Expression {
    /// The values that it can take for a request of which something is known.
    pub(crate) fn values_for(&self, request: &RequestVars) -> Values {
        let Evaluated { values, complete } = self.evaluate(request);
        Values { values, complete }
    }

    /// The one value that it has for a request, whole.
    pub(crate) fn only_for(&self, request: &RequestVars) -> Option<String> {
        let state = self.run(request);
        Scope::new(&self.book, &state.state, &state.known).text(&self.text).only().map(str::to_owned)
    }

    pub(crate) fn evaluate(&self, request: &RequestVars) -> Evaluated {
        let state = self.run(request);
        Scope::new(&self.book, &state.state, &state.known).target(&self.text)
    }

    /// What the directives before it leave behind.
    fn run(&self, request: &RequestVars) -> Run {
        let mut state = Run { known: request.clone(), assumed: self.assumed.clone(), ..Run::default() };
        for (at, script) in self.scripts.iter().enumerate() {
            if at > 0
                && let (Some(pattern), Some(uri)) = (&self.pattern, state.known.get("uri"))
            {
                state.state.captures = pattern.captures(uri.as_bytes());
            }
            run(script, &self.book, &mut state);
        }
        state
    }
}
