//! `iptables-save -c` (iptables-save(8)).

use super::iptables_rule::rule;
use why502_facts::{BaseChain, FilterChain, FilterFamily, FilterTable, FilterTool, Hook};

/// The tables that it prints.
pub(super) fn parse(text: &[u8], family: FilterFamily, tool: FilterTool) -> Vec<FilterTable> {
    let mut tables: Vec<FilterTable> = Vec::new();
    for line in String::from_utf8_lossy(text).lines() {
        if let Some(name) = line.strip_prefix('*') {
            let name = name.trim().to_owned();
            tables.push(FilterTable { tool, family, name, dormant: false, chains: Vec::new() });
            continue;
        }
        let Some(table) = tables.last_mut() else { continue };
        if let Some(chain) = line.strip_prefix(':') {
            let mut words = chain.split_ascii_whitespace();
            let (name, policy) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let base = base_chain(&table.name, name, policy);
            table.chains.push(FilterChain { name: name.to_owned(), base, rules: Vec::new() });
            continue;
        }
        let names: Vec<String> = table.chains.iter().map(|chain| chain.name.clone()).collect();
        if let Some((chain, rule)) = rule(line, family, &names)
            && let Some(chain) = table.chains.iter_mut().find(|own| own.name == chain)
        {
            chain.rules.push(rule);
        }
    }
    tables
}

/// Where the kernel enters a chain, and before whom (include/uapi/linux/netfilter_ipv4.h, `enum nf_ip_hook_priorities`).
fn base_chain(table: &str, chain: &str, policy: &str) -> Option<BaseChain> {
    let hook = match chain {
        "FORWARD" => Hook::Forward,
        "INPUT" => Hook::Input,
        "OUTPUT" => Hook::Output,
        "POSTROUTING" => Hook::Postrouting,
        "PREROUTING" => Hook::Prerouting,
        _ => return None,
    };
    let is_nat = table == "nat";
    let priority = match (table, hook) {
        ("raw", _) => -300,
        ("mangle", _) => -150,
        ("nat", Hook::Input | Hook::Postrouting) => 100,
        ("nat", _) => -100,
        ("security", _) => 50,
        _ => 0,
    };
    // net/ipv4/netfilter/iptable_mangle.c, `ipt_mangle_out`.
    let is_route = table == "mangle" && hook == Hook::Output;
    Some(BaseChain { hook, priority, is_nat, is_route, drops: policy == "DROP", devices: None })
}
