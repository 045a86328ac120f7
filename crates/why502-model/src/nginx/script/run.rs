//! Running a script as far as what is known decides it.

use super::{Code, Condition, If, Rewrite, Script, Subject, Test, Then};
use crate::RequestVars;
use crate::nginx::config::NodeId;
use crate::nginx::pattern::Captures;
use crate::nginx::variables::{Book, Evaluated, Part, Scope, State, Template};

/// What is known when a script begins, and what it leaves behind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Run {
    /// The request; its `uri` and `args` change with rewrites.
    pub(crate) known: RequestVars,
    pub(crate) state: State,
    /// The path's bytes where `uri` is the path that came in: it need not be UTF-8.
    pub(crate) exact_path: Option<Vec<u8>>,
    /// Whether a rewrite has changed the path.
    pub(crate) was_rewritten: bool,
    /// Whether the URI was changed so that a location is to be searched again.
    pub(crate) uri_changed: bool,
    /// The last `if` that held, in a location.
    pub(crate) inside: Option<NodeId>,
    /// Conditions that could not be decided.
    pub(crate) undecided: Vec<NodeId>,
    /// Conditions that are known to have held.
    pub(crate) assumed: Vec<NodeId>,
}

impl Run {
    /// The path as patterns and locations see it.
    pub(crate) fn path(&self) -> Vec<u8> {
        let text = || self.known.get("uri").unwrap_or_default().as_bytes().to_vec();
        self.exact_path.clone().unwrap_or_else(text)
    }
}

/// How a script ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Landing {
    /// At its end, or by `break` or `last`.
    Through,
    /// With a redirect.
    Redirected { at: NodeId, status: u16 },
    /// With an answer.
    Returned { at: NodeId, status: u16 },
    /// A rewritten URI of no length: an error 500.
    ZeroLength,
}

/// How a list of codes ends.
enum Flow {
    Next,
    Stop(Landing),
}

/// Runs a script.
///
/// Where a condition cannot be decided, both ways are gone: what is set under it may hold afterwards, and nothing else of
/// it counts.
pub(crate) fn run(script: &Script, book: &Book, run: &mut Run) -> Landing {
    match run_codes(&script.codes, book, run) {
        Flow::Next => Landing::Through,
        Flow::Stop(landing) => landing,
    }
}

fn run_codes(codes: &[Code], book: &Book, run: &mut Run) -> Flow {
    for code in codes {
        let flow = match code {
            Code::Break => {
                // `ngx_http_script_break_code` keeps the location that was found.
                run.uri_changed = false;
                Flow::Stop(Landing::Through)
            }
            Code::If(own) => run_if(own, book, run),
            Code::Return { at, status } => Flow::Stop(Landing::Returned { at: *at, status: *status }),
            Code::Rewrite(own) => run_rewrite(own, book, run),
            Code::Set { name, value } => {
                let value = Scope::new(book, &run.state, &run.known).text(value);
                set(run, name, value);
                Flow::Next
            }
        };
        if matches!(flow, Flow::Stop(_)) {
            return flow;
        }
    }
    Flow::Next
}

fn set(run: &mut Run, name: &str, value: Evaluated) {
    // `$args` is part of the request, and may be set.
    if matches!(name, "args" | "query_string")
        && let Some(args) = value.only()
    {
        run.known.set("args", args);
        run.known.set("query_string", args);
    }
    run.state.sets.insert(name.to_owned(), value);
}

fn run_if(own: &If, book: &Book, run: &mut Run) -> Flow {
    let held = run.assumed.contains(&own.at).then_some(true);
    match held.or_else(|| own.condition.as_ref().and_then(|condition| holds(condition, book, run))) {
        Some(true) => {
            run.inside = Some(own.at);
            run_codes(&own.codes, book, run)
        }
        Some(false) => Flow::Next,
        None => {
            run.undecided.push(own.at);
            let mut taken = run.clone();
            let flow = run_codes(&own.codes, book, &mut taken);
            run.undecided.extend(taken.undecided.split_off(run.undecided.len()));
            // A way that ends in an answer goes nowhere; the others leave behind what they set.
            if !matches!(
                flow,
                Flow::Stop(Landing::Returned { .. } | Landing::Redirected { .. } | Landing::ZeroLength)
            ) {
                join(&mut run.state, &taken.state);
            }
            run.state.captures = None;
            Flow::Next
        }
    }
}

/// Variables may have either of two values; one that is set on one way only is empty on the other.
fn join(state: &mut State, other: &State) {
    for (name, value) in &other.sets {
        let own = state.sets.entry(name.clone()).or_insert_with(|| Evaluated::known(""));
        own.add(value);
    }
}

/// Whether a condition holds; `None` where that cannot be told.
fn holds(condition: &Condition, book: &Book, run: &mut Run) -> Option<bool> {
    let Subject::Variable(name) = &condition.subject else { return None };
    let scope = Scope::new(book, &run.state, &run.known);
    let value = scope.variable(name);
    let value = value.only()?;
    let result = match &condition.test {
        Test::Equals(text) => value == scope.text(text).only()?,
        Test::File => return None,
        Test::Matches(pattern) => {
            let captures = pattern.captures(value.as_bytes());
            let is_match = captures.is_some();
            run.state.captures = Some(captures.unwrap_or_default());
            is_match
        }
        // A text of one byte that is `0` is false, others are true (`ngx_http_script_if_code`).
        Test::True => !value.is_empty() && value != "0",
    };
    Some(result != condition.is_negated)
}

fn run_rewrite(own: &Rewrite, book: &Book, run: &mut Run) -> Flow {
    if run.known.get("uri").is_none() {
        run.undecided.push(own.at);
        run.state.captures = None;
        return Flow::Next;
    }
    let Some(captures) = own.pattern.captures(&run.path()) else {
        run.state.captures = Some(Captures::default());
        return Flow::Next;
    };
    run.state.captures = Some(captures);
    if let Then::Redirect(status) = own.then {
        return Flow::Stop(Landing::Redirected { at: own.at, status });
    }
    // Only a `?` that is written begins arguments, not one in a value (`ngx_http_script_compile`).
    let (path, args) = match own.replacement.split_once('?') {
        Some((path, args)) => (path, Some(args)),
        None => (own.replacement.as_str(), None),
    };
    let exact_path = run.state.captures.as_ref().and_then(|captures| exact_text(path, captures));
    let scope = Scope::new(book, &run.state, &run.known);
    let (path, args) = (scope.text(path), args.map(|args| scope.text(args)));
    run.uri_changed = own.then != Then::Break;
    let (Some(path), Ok(args)) = (path.only(), args.as_ref().map(|args| args.only().ok_or(())).transpose())
    else {
        // Somewhere else, and nobody knows where.
        run.undecided.push(own.at);
        return Flow::Stop(Landing::Through);
    };
    change_uri(run, path, args, own.keeps_args);
    run.exact_path = exact_path;
    match own.then {
        _ if run.known.get("uri") == Some("") => Flow::Stop(Landing::ZeroLength),
        Then::Continue => Flow::Next,
        Then::Break | Then::Last | Then::Redirect(_) => Flow::Stop(Landing::Through),
    }
}

/// The bytes of a text of captures that are no UTF-8; `None` for any other.
fn exact_text(text: &str, captures: &Captures) -> Option<Vec<u8>> {
    let mut exact = Vec::new();
    for part in Template::lenient(text).parts {
        match part {
            Part::Capture(at) => exact.extend_from_slice(captures.groups.get(at)?.as_deref()?),
            Part::Literal(text) => exact.extend_from_slice(text.as_bytes()),
            Part::Variable(_) => return None,
        }
    }
    std::str::from_utf8(&exact).is_err().then_some(exact)
}

fn change_uri(run: &mut Run, path: &str, args: Option<&str>, keeps_args: bool) {
    let old = run.known.get("args").unwrap_or_default().to_owned();
    let args = match args {
        Some(own) if keeps_args && !old.is_empty() => format!("{own}&{old}"),
        Some(own) => own.to_owned(),
        None if keeps_args => old,
        None => String::new(),
    };
    run.known.set_path(path);
    run.was_rewritten = true;
    run.known.set("is_args", if args.is_empty() { "" } else { "?" });
    run.known.set("args", &args);
    run.known.set("query_string", &args);
}
