//! `nft -a list ruleset`: the rules as somebody would write them, by their handles.

use std::collections::BTreeMap;

/// What a list as text tells beyond the list as JSON.
#[derive(Default)]
pub(super) struct Texts {
    /// By family, table and handle.
    pub(super) rules: BTreeMap<(String, String, u64), String>,
    /// The interfaces of chains, by family, table and chain.
    pub(super) devices: BTreeMap<(String, String, String), Vec<String>>,
}

/// Reads a list. A rule with a long set goes over several lines and ends at its handle.
pub(super) fn read_texts(text: &[u8]) -> Texts {
    let mut texts = Texts::default();
    let (mut table, mut chain) = (None, None);
    let mut begun = String::new();
    for line in String::from_utf8_lossy(text).lines() {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match (&words[..], &table, &chain) {
            (["table", family, name, ..], _, _) => {
                table = Some(((*family).to_owned(), (*name).to_owned()));
                chain = None;
            }
            (["chain", name, ..], Some(_), None) => chain = Some((*name).to_owned()),
            (["}"], Some(_), Some(_)) if begun.is_empty() => chain = None,
            (["type", _, "hook", ..], Some((family, table)), Some(chain)) => {
                let devices = devices(line);
                if !devices.is_empty() {
                    texts.devices.insert((family.clone(), table.clone(), chain.clone()), devices);
                }
            }
            ([.., "#", "handle", handle], Some((family, table)), Some(_)) => {
                let end = line.rfind("# handle").unwrap_or(line.len());
                begun.push_str(line[..end].trim());
                let rule = std::mem::take(&mut begun);
                if let Ok(handle) = handle.parse() {
                    texts.rules.insert((family.clone(), table.clone(), handle), rule);
                }
            }
            ([_, ..], Some(_), Some(_)) => {
                begun.push_str(line.trim());
                begun.push(' ');
            }
            _ => {}
        }
    }
    texts
}

/// `device "eth0"` or `devices = { "eth0", "eth1" }`.
fn devices(line: &str) -> Vec<String> {
    let Some((_, rest)) = line.split_once("device") else { return Vec::new() };
    let rest = rest.split(" priority").next().unwrap_or(rest);
    rest.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}
