//! Named sets and maps, and the elements of these and of anonymous ones.

use super::nft::element_verdict;
use super::nft_match::item;
use serde_json::Value;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use why502_facts::{FilterItem, FilterOperand, FilterVerdict, PacketField};

/// The elements of a set: each with one item per operand.
pub(super) type Elements = Arc<Vec<Vec<FilterItem>>>;
/// The elements of a map of verdicts.
pub(super) type Entries = Arc<Vec<(Vec<FilterItem>, FilterVerdict)>>;

/// A set of a table, as it is read for these fields.
type SetKey = (String, String, Vec<PacketField>);

/// All named sets and maps of a list.
#[derive(Default)]
pub(super) struct Sets<'v> {
    named: BTreeMap<(String, String), &'v Value>,
    /// Those that rules used already: a large set is used by many.
    read: RefCell<BTreeMap<SetKey, Option<Elements>>>,
}

/// Those of one table.
pub(super) struct Scope<'s, 'v> {
    sets: &'s Sets<'v>,
    table: String,
}

impl<'v> Sets<'v> {
    pub(super) fn add(&mut self, set: &'v Value) {
        if let Some(name) = set["name"].as_str() {
            self.named.insert((table_key(set), name.to_owned()), set);
        }
    }

    /// What a rule may name.
    pub(super) fn of_table_of(&self, rule: &Value) -> Scope<'_, 'v> {
        Scope { sets: self, table: table_key(rule) }
    }
}

impl Scope<'_, '_> {
    fn named(&self, name: &str) -> Option<&Value> {
        self.sets.named.get(&(self.table.clone(), name.to_owned())).copied()
    }

    /// What operands are compared with: a named set, an anonymous one, or a single element. `None`: it is not understood.
    pub(super) fn elements(&self, right: &Value, operands: &[FilterOperand]) -> Option<Elements> {
        let name = right.as_str().and_then(|text| text.strip_prefix('@'));
        let Some(name) = name else { return read_elements(right, operands).map(Arc::new) };
        let fields = operands.iter().map(|operand| operand.field).collect();
        let key = (self.table.clone(), name.to_owned(), fields);
        if let Some(read) = self.sets.read.borrow().get(&key) {
            return read.clone();
        }
        // A set without elements is printed without them.
        let elements = self.named(name).and_then(|set| match set.get("elem") {
            Some(elements) => list(elements, operands),
            None => Some(Vec::new()),
        });
        let elements = elements.map(Arc::new);
        self.sets.read.borrow_mut().insert(key, elements.clone());
        elements
    }

    /// What a map of verdicts holds. `None`: it is not understood.
    pub(super) fn entries(&self, data: &Value, operands: &[FilterOperand]) -> Option<Entries> {
        let elements = match data.as_str().and_then(|text| text.strip_prefix('@')) {
            Some(name) => self.named(name)?.get("elem"),
            None => data.get("set"),
        };
        let elements = elements.map_or(Some(&[][..]), |elements| elements.as_array().map(Vec::as_slice))?;
        let entry = |element: &Value| {
            let (key, verdict) = (element.get(0)?, element.get(1)?);
            Some((element_items(key, operands)?, element_verdict(verdict)?))
        };
        elements.iter().map(entry).collect::<Option<Vec<_>>>().map(Arc::new)
    }
}

fn read_elements(right: &Value, operands: &[FilterOperand]) -> Option<Vec<Vec<FilterItem>>> {
    match right.get("set") {
        Some(set) => list(set, operands),
        None => Some(vec![element_items(right, operands)?]),
    }
}

fn list(elements: &Value, operands: &[FilterOperand]) -> Option<Vec<Vec<FilterItem>>> {
    match elements.as_array() {
        Some(elements) => elements.iter().map(|element| element_items(element, operands)).collect(),
        None => Some(vec![element_items(elements, operands)?]),
    }
}

/// The items of one element, which may bear a timeout, a counter, a comment.
fn element_items(element: &Value, operands: &[FilterOperand]) -> Option<Vec<FilterItem>> {
    let element = element.get("elem").and_then(|own| own.get("val")).unwrap_or(element);
    if element == "*" {
        return Some(vec![FilterItem::Any; operands.len()]);
    }
    match (operands, element.get("concat").and_then(Value::as_array)) {
        ([operand], None) => Some(vec![item(element, operand.field)?]),
        (operands, Some(parts)) if parts.len() == operands.len() => {
            parts.iter().zip(operands).map(|(part, operand)| item(part, operand.field)).collect()
        }
        _ => None,
    }
}

/// The words of a list, or of a single word.
pub(super) fn strings(value: &Value) -> impl Iterator<Item = &str> {
    let list = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
    list.iter().filter_map(Value::as_str)
}

fn table_key(of: &Value) -> String {
    format!("{} {}", of["family"].as_str().unwrap_or_default(), of["table"].as_str().unwrap_or_default())
}
