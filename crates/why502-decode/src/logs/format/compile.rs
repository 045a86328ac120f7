//! From the notation of `log_format` to steps.

use super::shape::Shape;
use super::variable::{self, Field};
use memchr::memmem;
use why502_facts::{FormatEscape, is_secret_variable};

/// Why a format is none.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FormatError {
    /// A `${` is not closed.
    NoClosingBrace {
        /// The offset of its `$`.
        at: usize,
    },
    /// A `$` has no name behind it.
    NoName {
        /// Its offset.
        at: usize,
    },
    /// There is no variable at all.
    NoVariable,
}

impl std::fmt::Display for FormatError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoClosingBrace { at } => write!(f, "the variable at offset {at} lacks its closing brace"),
            Self::NoName { at } => write!(f, "the `$` at offset {at} names no variable"),
            Self::NoVariable => write!(f, "the format holds no variable"),
        }
    }
}

impl std::error::Error for FormatError {}

/// How the end of a value is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// At the next quote: it is escaped inside values.
    Quote,
    /// At the next quote that no backslash escapes.
    JsonQuote,
    /// After the value itself.
    Own,
    /// At any occurrence of the literal behind it.
    Literal,
}

/// A variable and the literal behind it.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) field: Option<Field>,
    pub(super) shape: Shape,
    pub(super) ending: Ending,
    pub(super) literal: memmem::Finder<'static>,
    /// Whether the value is a secret, whatever the format writes before it.
    pub(super) is_secret: bool,
}

/// A variable as it was written.
#[derive(Debug)]
struct Written<'a> {
    name: &'a str,
    literal: String,
}

pub(super) fn steps(text: &str, escape: FormatEscape) -> Result<(Vec<u8>, Vec<Step>), FormatError> {
    let (lead, written) = read(text)?;
    if written.is_empty() {
        return Err(FormatError::NoVariable);
    }
    let mut steps: Vec<Step> = Vec::with_capacity(written.len());
    let mut at = 0;
    while at < written.len() {
        let (taken, field, shape) = fuse(&written[at..]);
        let literal = &written[at + taken - 1].literal;
        // A variable that stands twice in a format says the same twice.
        let field = field.filter(|field| steps.iter().all(|step| step.field != Some(*field)));
        let is_secret = written[at..at + taken].iter().any(|variable| is_secret_variable(variable.name));
        steps.push(Step { is_secret, ..step(field, shape, literal, escape) });
        at += taken;
    }
    Ok((lead.into_bytes(), steps))
}

fn step(field: Option<Field>, shape: Shape, literal: &str, escape: FormatEscape) -> Step {
    let ending = match (literal.starts_with('"'), escape) {
        (true, FormatEscape::Default) => Ending::Quote,
        (true, FormatEscape::Json) => Ending::JsonQuote,
        _ if shape.ends_itself() || literal.is_empty() => Ending::Own,
        _ => Ending::Literal,
    };
    Step {
        field,
        shape,
        ending,
        literal: memmem::Finder::new(literal.as_bytes()).into_owned(),
        is_secret: false,
    }
}

/// Joins variables between which nothing stands and of which the first does not end itself: they cannot be told apart.
fn fuse(written: &[Written<'_>]) -> (usize, Option<Field>, Shape) {
    // The idiom that rebuilds `$request_uri` from the rewritten URI.
    if let [uri, is_args, args, ..] = written
        && matches!(uri.name, "uri" | "document_uri")
        && is_args.name == "is_args"
        && matches!(args.name, "args" | "query_string")
        && uri.literal.is_empty()
        && is_args.literal.is_empty()
    {
        return (3, Some(Field::RequestUri), Shape::Word);
    }
    let (field, shape) = variable::look_up(written[0].name);
    let mut taken = 1;
    let told_apart = shape.ends_itself() || shape == Shape::Host || shape == Shape::NumberList;
    if told_apart || !written[0].literal.is_empty() || written.len() == 1 {
        return (taken, field, shape);
    }
    while taken < written.len() && written[taken - 1].literal.is_empty() {
        taken += 1;
    }
    (taken, None, Shape::Text)
}

fn read(text: &str) -> Result<(String, Vec<Written<'_>>), FormatError> {
    let first = text.find('$').unwrap_or(text.len());
    let mut written = Vec::new();
    let mut at = first;
    while at < text.len() {
        let rest = &text[at + 1..];
        let (name, after) = match rest.strip_prefix('{') {
            Some(braced) => {
                let name = name(braced);
                let after =
                    braced[name.len()..].strip_prefix('}').ok_or(FormatError::NoClosingBrace { at })?;
                (name, after)
            }
            None => (name(rest), &rest[name(rest).len()..]),
        };
        if name.is_empty() {
            return Err(FormatError::NoName { at });
        }
        let literal = &after[..after.find('$').unwrap_or(after.len())];
        at = text.len() - after.len() + literal.len();
        written.push(Written { name, literal: literal.to_owned() });
    }
    Ok((text[..first].to_owned(), written))
}

fn name(text: &str) -> &str {
    let end = text.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    &text[..end.unwrap_or(text.len())]
}
