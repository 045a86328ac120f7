//! Variables in values, evaluated as far as the configuration and what is known of a request decide them.

mod book;
mod expression;
mod network;
mod template;

pub(crate) use book::Book;
pub(crate) use expression::Expression;
pub(crate) use template::{Part, Template, TemplateError};

use super::pattern::Captures;
use crate::RequestVars;
use book::Table;
use std::cell::Cell;
use std::collections::BTreeMap;

/// The most values that a combination of variables is followed to.
const MAX_VALUES: usize = 64;
/// The longest value that is followed, in bytes: one that is set to several times itself grows beyond any memory.
const MAX_LENGTH: usize = 16 << 10;
/// How deep variables of variables are followed.
const MAX_DEPTH: usize = 12;
/// How many variables are looked at for one text: tables of tables could ask for billions.
const MAX_LOOKS: usize = 20_000;

/// What a text with variables can become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Evaluated {
    /// The values that it can be seen to take, in the order in which they were found.
    pub(crate) values: Vec<String>,
    /// Whether these are all it can take.
    pub(crate) complete: bool,
}

impl Evaluated {
    /// The one value that it has.
    pub(crate) fn known(value: &str) -> Self {
        Self { values: vec![value.to_owned()], complete: true }
    }

    /// Nothing can be said.
    pub(crate) fn unknown() -> Self {
        Self { values: Vec::new(), complete: false }
    }

    /// The only value, if there is no other.
    pub(crate) fn only(&self) -> Option<&str> {
        match (self.values.as_slice(), self.complete) {
            ([value], true) => Some(value),
            _ => None,
        }
    }

    /// Takes the values of another possibility in.
    pub(crate) fn add(&mut self, other: &Self) {
        for value in &other.values {
            if self.values.contains(value) {
                continue;
            }
            if self.values.len() >= MAX_VALUES {
                self.complete = false;
                break;
            }
            self.values.push(value.clone());
        }
        self.complete &= other.complete;
    }

    /// Every value of this one followed by every value of the next.
    fn followed_by(&self, next: &Self) -> Self {
        let mut values = Vec::new();
        let mut complete = self.complete && next.complete;
        for head in &self.values {
            for tail in &next.values {
                if values.len() < MAX_VALUES && head.len() + tail.len() <= MAX_LENGTH {
                    values.push(format!("{head}{tail}"));
                } else {
                    complete = false;
                }
            }
        }
        Self { values, complete }
    }
}

/// What `set` and matches have left behind when a text is evaluated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// Variables that were set.
    pub(crate) sets: BTreeMap<String, Evaluated>,
    /// The groups of the last match; `None` where it is not known which that was.
    pub(crate) captures: Option<Captures>,
}

/// Everything that decides a text's value.
#[derive(Debug)]
pub(crate) struct Scope<'a> {
    book: &'a Book,
    state: &'a State,
    known: &'a RequestVars,
    looks_left: Cell<usize>,
}

impl<'a> Scope<'a> {
    pub(crate) fn new(book: &'a Book, state: &'a State, known: &'a RequestVars) -> Self {
        Self { book, state, known, looks_left: Cell::new(MAX_LOOKS) }
    }

    /// What a text can become.
    pub(crate) fn text(&self, text: &str) -> Evaluated {
        self.template(&Template::lenient(text), 0)
    }

    /// What a target can become, as far as its authority: an unknown path behind it does not matter.
    pub(crate) fn target(&self, text: &str) -> Evaluated {
        let mut result = Evaluated::known("");
        for part in Template::lenient(text).parts {
            let value = self.part(&part, 0);
            let is_path = matches!(&part, Part::Variable(name) if is_path(name));
            let is_whole =
                |value: &String| value.split_once("://").is_some_and(|(_, rest)| rest.contains('/'));
            let is_behind = !result.values.is_empty() && result.values.iter().all(is_whole);
            if value.values.is_empty() && (is_path || is_behind) {
                return result;
            }
            result = result.followed_by(&value);
        }
        result
    }

    /// What a variable can be.
    pub(crate) fn variable(&self, name: &str) -> Evaluated {
        self.variable_at(name, 0)
    }

    fn template(&self, template: &Template, depth: usize) -> Evaluated {
        let mut result = Evaluated::known("");
        for part in &template.parts {
            result = result.followed_by(&self.part(part, depth));
        }
        result
    }

    fn part(&self, part: &Part, depth: usize) -> Evaluated {
        match part {
            Part::Literal(text) => Evaluated::known(text),
            Part::Variable(name) => self.variable_at(name, depth + 1),
            Part::Capture(number) => match &self.state.captures {
                Some(captures) => {
                    let group = captures.groups.get(*number).and_then(Option::as_deref).unwrap_or_default();
                    Evaluated::known(&why502_facts::lossy(group))
                }
                None => Evaluated::unknown(),
            },
        }
    }

    fn variable_at(&self, name: &str, depth: usize) -> Evaluated {
        let left = self.looks_left.get();
        if depth > MAX_DEPTH || left == 0 {
            return Evaluated::unknown();
        }
        self.looks_left.set(left - 1);
        if let Some(set) = self.state.sets.get(name) {
            return set.clone();
        }
        if let Some(captures) = &self.state.captures
            && let Some((_, number)) = captures.names.iter().find(|(own, _)| own == name)
        {
            return self.part(&Part::Capture(*number), depth);
        }
        if let Some(value) = self.known.get(name) {
            return Evaluated::known(value);
        }
        match self.book.table(name) {
            Some(table) => self.table(table, depth),
            None => self.set_elsewhere(name),
        }
    }

    /// A variable that is set in other places than on the way here: empty, unless the request came from there.
    fn set_elsewhere(&self, name: &str) -> Evaluated {
        let texts = self.book.set_to(name);
        if texts.is_empty() {
            return Evaluated::unknown();
        }
        let mut result = Evaluated { values: vec![String::new()], complete: false };
        for text in texts.iter().filter(|text| !text.contains('$')) {
            result.add(&Evaluated::known(text));
        }
        result.complete = false;
        result
    }

    fn table(&self, table: &Table, depth: usize) -> Evaluated {
        let source = self.template(&Template::lenient(table.source()), depth + 1);
        if let Some(text) = source.only().and_then(|value| table.pick(value)) {
            return self.template(&Template::lenient(text), depth + 1);
        }
        let mut result = Evaluated { values: Vec::new(), complete: table.is_whole() };
        for text in table.values() {
            result.add(&self.template(&Template::lenient(text), depth + 1));
        }
        result
    }
}

/// Variables that begin with a slash: what stands before them is all of the authority.
fn is_path(name: &str) -> bool {
    matches!(name, "request_uri" | "uri" | "document_uri")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nginx::config::Config;
    use crate::nginx::loader::{Origin, load};
    use crate::testing::{World, facts_from};

    fn config(http: &str) -> Config {
        let world = World::http(http);
        let facts = facts_from(&world.invocation, &|ask| world_answer(&world, ask));
        let origin = Origin {
            root: why502_facts::Root::Host,
            guessed: false,
            path: "/etc/nginx/nginx.conf".to_owned(),
            offline: false,
            directives: None,
        };
        load(&facts, &origin)
    }

    fn world_answer(world: &World, ask: &why502_facts::Ask) -> why502_facts::Observed<why502_facts::Datum> {
        world.answer(ask)
    }

    fn values(http: &str, text: &str, known: &RequestVars) -> (Vec<String>, bool) {
        let book = Book::new(&config(http));
        let state = State::default();
        let result = Scope::new(&book, &state, known).text(text);
        (result.values, result.complete)
    }

    fn list(values: &[&str], complete: bool) -> (Vec<String>, bool) {
        (values.iter().map(|value| (*value).to_owned()).collect(), complete)
    }

    const MAP: &str = "map $http_x $b { default a:1; ~^v(?<n>\\d) v:2; V3 c:3; \\~x d:4; }";

    #[test]
    fn a_map_without_a_known_source_has_all_its_values() {
        assert_eq!(
            values(MAP, "http://$b", &RequestVars::default()),
            list(&["http://a:1", "http://v:2", "http://c:3", "http://d:4"], true)
        );
    }

    #[test]
    fn a_known_source_picks_a_row() {
        for (source, value) in
            [("V3", "c:3"), ("v3", "c:3"), ("v7", "v:2"), ("V7", "a:1"), ("~x", "d:4"), ("", "a:1")]
        {
            let known = RequestVars::default().with("http_x", source);
            assert_eq!(values(MAP, "$b", &known), list(&[value], true), "{source}");
        }
    }

    #[test]
    fn maps_know_host_names() {
        let map = "map $host $b { hostnames; default d; a.x exact; *.a.x lead; .b.x point; www.* tail; }";
        for (host, value) in [
            ("a.x", "exact"),
            ("A.x.", "exact"),
            ("c.a.x", "lead"),
            ("b.x", "point"),
            ("www.c", "tail"),
            ("q", "d"),
        ] {
            let known = RequestVars::default().with("host", host);
            assert_eq!(values(map, "$b", &known), list(&[value], true), "{host}");
        }
    }

    #[test]
    fn maps_of_maps_are_followed_and_cycles_end() {
        let nested = "map $uri $a { default x; } map $a $b { x y; default z; }";
        assert_eq!(values(nested, "$b", &RequestVars::default()), list(&["y"], true));
        let cycle = "map $uri $a { default $b; } map $uri $b { default $a; }";
        assert_eq!(values(cycle, "$a", &RequestVars::default()), list(&[], false));
    }

    #[test]
    fn geo_is_decided_by_a_known_address() {
        let geo = "geo $b { default d; 10.0.0.0/8 ten; 10.1.0.0/16 one; 2001:db8::/32 six; }";
        for (address, value) in
            [("10.2.0.1", "ten"), ("10.1.0.1", "one"), ("2001:db8::1", "six"), ("192.0.2.1", "d")]
        {
            let known = RequestVars::default().with("remote_addr", address);
            assert_eq!(values(geo, "$b", &known), list(&[value], true), "{address}");
        }
        assert_eq!(values(geo, "$b", &RequestVars::default()).0.len(), 4);
    }

    #[test]
    fn values_that_grow_without_end_are_not_followed() {
        let sets = "set $q $q$q$q$q$q$q$q$q;".repeat(40);
        let http = format!("server {{ location / {{ set $q aaaaaaaa; {sets} proxy_pass http://$q; }} }}");
        let gateway = World::http(&http).gateway();
        let pass = gateway.routes().find_map(|(_, route)| route.action.pass()).unwrap();
        let crate::Target::Unresolved(target) = &pass.target else { panic!("{:?}", pass.target) };
        assert!(!target.complete && target.values.iter().all(|value| value.len() <= MAX_LENGTH + 7));
    }

    #[test]
    fn split_clients_can_be_any_of_its_values() {
        let split = "split_clients $remote_addr $b { 50% a; * b; }";
        assert_eq!(values(split, "$b", &RequestVars::default()), list(&["a", "b"], true));
    }

    #[test]
    fn the_authority_is_known_before_an_unknown_path() {
        let book = Book::new(&config(MAP));
        let (state, known) = (State::default(), RequestVars::default().with("http_x", "V3"));
        let scope = Scope::new(&book, &state, &known);
        assert_eq!(scope.target("http://$b$request_uri").only(), Some("http://c:3"));
        assert_eq!(scope.target("http://$b/x$arg_y").only(), Some("http://c:3/x"));
        assert_eq!(scope.target("http://$arg_y/x"), Evaluated::unknown());
    }

    #[test]
    fn what_is_set_elsewhere_may_hold_here() {
        let http = "server { location /a { set $t one; } location /b { proxy_pass http://$t; } }";
        assert_eq!(values(http, "$t", &RequestVars::default()), list(&["", "one"], false));
    }

    #[test]
    fn tables_of_tables_do_not_take_forever() {
        let table = |level: u32| {
            let next = level + 1;
            let rows = (0..60).map(|row| format!("k{row} $v{next}{row}; l{row} $v{next}; "));
            format!("map $arg_x $v{level} {{ {} }} ", rows.collect::<String>())
        };
        let http: String = (0..10).map(table).collect();
        assert!(!values(&http, "$v0", &RequestVars::default()).1);
    }
}
