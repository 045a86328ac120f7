//! Variables in values, evaluated as far as the configuration decides them.

use super::config::{Config, NodeId};
use super::parameters::Levels;

/// The most values that a combination of variables is followed to.
const MAX_VALUES: usize = 64;
/// How deep variables of variables are followed.
const MAX_DEPTH: usize = 8;

/// What a text with variables can become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Evaluated {
    /// The values that it can be seen to take, in the order in which they were found.
    pub(crate) values: Vec<String>,
    /// Whether these are all it can take.
    pub(crate) complete: bool,
}

impl Evaluated {
    fn known(value: &str) -> Self {
        Self { values: vec![value.to_owned()], complete: true }
    }

    fn unknown() -> Self {
        Self { values: Vec::new(), complete: false }
    }

    fn add(&mut self, other: Self) {
        for value in other.values {
            if !self.values.contains(&value) && self.values.len() < MAX_VALUES {
                self.values.push(value);
            }
        }
        self.complete &= other.complete;
    }
}

/// Evaluates a text at a place in the configuration.
///
/// `known` gives the values of variables that a request decides, where one is at hand.
pub(crate) fn evaluate(text: &str, levels: &Levels<'_>, known: &dyn Fn(&str) -> Option<String>) -> Evaluated {
    Evaluator { levels, known }.text(text, 0)
}

/// The names of the variables in a text.
pub(crate) fn variables_of(text: &str) -> Vec<String> {
    let parts = split(text).into_iter();
    parts
        .filter_map(|part| if let Part::Variable(name) = part { Some(name.to_owned()) } else { None })
        .collect()
}

enum Part<'a> {
    Literal(&'a str),
    Variable(&'a str),
}

/// Splits a text as `ngx_http_script_compile` does: `$name`, `${name}`, everything else is literal.
fn split(text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        let after = &rest[dollar + 1..];
        let (name, length) = if let Some(braced) = after.strip_prefix('{') {
            braced.split_once('}').map_or(("", 0), |(name, _)| (name, name.len() + 2))
        } else {
            let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
            (&after[..end], end)
        };
        if name.is_empty() {
            parts.push(Part::Literal(&rest[..=dollar]));
            rest = after;
            continue;
        }
        if dollar > 0 {
            parts.push(Part::Literal(&rest[..dollar]));
        }
        parts.push(Part::Variable(name));
        rest = &after[length..];
    }
    if !rest.is_empty() {
        parts.push(Part::Literal(rest));
    }
    parts
}

struct Evaluator<'a> {
    levels: &'a Levels<'a>,
    known: &'a dyn Fn(&str) -> Option<String>,
}

impl Evaluator<'_> {
    fn text(&self, text: &str, depth: usize) -> Evaluated {
        let mut result = Evaluated::known("");
        for part in split(text) {
            let part = match part {
                Part::Literal(literal) => Evaluated::known(literal),
                Part::Variable(name) => self.variable(name, depth + 1),
            };
            result = combine(&result, &part);
        }
        result
    }

    fn variable(&self, name: &str, depth: usize) -> Evaluated {
        if depth > MAX_DEPTH {
            return Evaluated::unknown();
        }
        if let Some(value) = (self.known)(name) {
            return Evaluated::known(&value);
        }
        if let Some(set) = self.set(name, depth) {
            return set;
        }
        if let Some(http) = self.levels.config.http() {
            for block in ["map", "geo", "split_clients"] {
                let defines =
                    |id: &NodeId| self.levels.config.node(*id).values().last() == Some(&format!("${name}"));
                if let Some(id) = self.levels.config.named(Some(http), block).find(defines) {
                    return self.table(id, block, depth);
                }
            }
        }
        Evaluated::unknown()
    }

    /// `set` runs from the server inwards: the last that is not under a condition decides, and those under one may.
    fn set(&self, name: &str, depth: usize) -> Option<Evaluated> {
        let config = self.levels.config;
        let mut result: Option<Evaluated> = None;
        for block in self.levels.blocks.iter().rev().flatten() {
            if config.node(*block).name == "http" {
                continue;
            }
            for (id, conditional) in sets_of(config, *block, name) {
                let value = self.text(config.node(id).arg(1).unwrap_or(""), depth);
                match &mut result {
                    Some(result) if conditional => result.add(value),
                    // Set under a condition only, it is empty otherwise.
                    None if conditional => {
                        let mut either = Evaluated::known("");
                        either.add(value);
                        result = Some(either);
                    }
                    _ => result = Some(value),
                }
            }
        }
        result
    }

    /// The values of a `map`, a `geo` or a `split_clients`: one of them, if its source is known.
    fn table(&self, id: NodeId, kind: &str, depth: usize) -> Evaluated {
        let config = self.levels.config;
        let rows: Vec<(&str, &str)> =
            config.node(id).children.iter().map(|row| config.node(*row)).filter_map(row_of).collect();
        let default =
            rows.iter().find(|(key, _)| *key == "default" || *key == "*").map_or("", |(_, value)| *value);
        if kind == "map" {
            let source = self.text(config.node(id).arg(0).unwrap_or(""), depth);
            if let ([value], true) = (source.values.as_slice(), source.complete)
                && let Some(value) = exact_row(&rows, value, default)
            {
                return self.text(value, depth);
            }
        }
        let mut result = self.text(default, depth);
        for (key, value) in &rows {
            if !matches!(
                *key,
                "default" | "hostnames" | "volatile" | "include" | "ranges" | "proxy" | "delete"
            ) {
                result.add(self.text(value, depth));
            }
        }
        // An included table was read as part of the configuration only if it is one.
        result.complete &= !rows.iter().any(|(key, _)| *key == "include");
        result
    }
}

/// A row of a table: nginx reads its key as a directive's name.
fn row_of(row: &super::config::Node) -> Option<(&str, &str)> {
    Some((row.name.as_str(), row.arg(0)?))
}

/// The row that a known source picks, unless patterns would have to be tried.
fn exact_row<'a>(rows: &[(&'a str, &'a str)], value: &str, default: &'a str) -> Option<&'a str> {
    if let Some((_, found)) =
        rows.iter().find(|(key, _)| key.eq_ignore_ascii_case(value) && *key != "default")
    {
        return Some(found);
    }
    let has_patterns = rows.iter().any(|(key, _)| key.starts_with(['~', '*', '.']) || key.ends_with('*'));
    (!has_patterns).then_some(default)
}

/// The `set` directives of a variable in a block, in order, and whether they stand under a condition.
fn sets_of(config: &Config, block: NodeId, name: &str) -> Vec<(NodeId, bool)> {
    let sets = |parent: NodeId| {
        let is_it = |id: &NodeId| config.node(*id).arg(0).and_then(|arg| arg.strip_prefix('$')) == Some(name);
        config.named(Some(parent), "set").filter(is_it).collect::<Vec<_>>()
    };
    let is_condition = config.node(block).name == "if";
    let mut found = Vec::new();
    for child in &config.node(block).children {
        match config.node(*child).name.as_str() {
            "set" if sets(block).contains(child) => found.push((*child, is_condition)),
            "if" => found.extend(sets(*child).into_iter().map(|id| (id, true))),
            _ => {}
        }
    }
    found
}

fn combine(left: &Evaluated, right: &Evaluated) -> Evaluated {
    let mut values = Vec::new();
    for head in &left.values {
        for tail in &right.values {
            if values.len() < MAX_VALUES {
                values.push(format!("{head}{tail}"));
            }
        }
    }
    Evaluated { values, complete: left.complete && right.complete }
}
