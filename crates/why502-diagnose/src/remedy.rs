//! How a cause is mended: edits of configuration files and commands, shown with their risk.

use serde::{Deserialize, Serialize};
use why502_model::Span;

/// How dangerous a remedy is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Risk {
    /// It can only be described.
    ShowOnly,
    /// Somebody should look at it first.
    Review,
    /// It changes nothing that works.
    Safe,
}

/// A way to mend a cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remedy {
    /// What it does: an imperative sentence without a full stop.
    pub(crate) title: String,
    pub(crate) risk: Risk,
    pub(crate) steps: Vec<Step>,
    /// What to mind, or what to do where no step can be given.
    pub(crate) advice: Option<String>,
    /// How to see that it helped.
    pub(crate) verify: String,
}

/// A step of a remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A command, and the commands that take it back.
    Command { argv: Vec<String>, undo: Vec<Vec<String>> },
    /// A file that does not exist yet, by its path.
    Create { file: String, text: String },
    /// A splice: the bytes at a place become others.
    Edit { at: Span, text: String },
}

impl Remedy {
    pub(crate) fn new(title: impl Into<String>, risk: Risk) -> Self {
        Self { title: title.into(), risk, steps: Vec::new(), advice: None, verify: String::new() }
    }

    pub(crate) fn edit(mut self, at: Span, text: impl Into<String>) -> Self {
        self.steps.push(Step::Edit { at, text: text.into() });
        self
    }

    pub(crate) fn command(mut self, argv: &[&str], undo: &[&[&str]]) -> Self {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        self.steps
            .push(Step::Command { argv: owned(argv), undo: undo.iter().map(|words| owned(words)).collect() });
        self
    }

    pub(crate) fn create(mut self, file: impl Into<String>, text: impl Into<String>) -> Self {
        self.steps.push(Step::Create { file: file.into(), text: text.into() });
        self
    }

    /// The steps of another remedy after its own, with what the other one minds.
    pub(crate) fn append(mut self, other: Self) -> Self {
        self.steps.extend(other.steps);
        self.risk = self.risk.min(other.risk);
        self.advice_also(other.advice)
    }

    /// Further advice before that which it has.
    pub(crate) fn advice_also(mut self, notes: impl IntoIterator<Item = String>) -> Self {
        let notes: Vec<String> = notes.into_iter().chain(self.advice.take()).collect();
        self.advice = (!notes.is_empty()).then(|| notes.join("; "));
        self
    }

    pub(crate) fn advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    pub(crate) fn verify(mut self, verify: impl Into<String>) -> Self {
        self.verify = verify.into();
        self
    }
}
