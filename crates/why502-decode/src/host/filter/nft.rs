//! `nft -j list ruleset` (libnftables-json(5)).

use super::nft_match::{Read, conditions, key_operands, map_entries, never};
use super::nft_sets::{Scope, Sets, strings};
use super::nft_text::{Texts, read_texts};
use super::words;
use serde_json::Value;
use why502_facts::{
    BaseChain, FilterChain, FilterFamily, FilterRule, FilterStatement, FilterTable, FilterTool,
    FilterVerdict, Hook, PacketField, Translation,
};

/// The tables that a list holds, with the words of its rules from the list as text.
pub(super) fn parse(json: &[u8], text: &[u8]) -> Result<Vec<FilterTable>, String> {
    if json.is_empty() {
        return Ok(Vec::new());
    }
    let Ok(list) = serde_json::from_slice::<Value>(json) else {
        return Err("nft: its list cannot be read".to_owned());
    };
    let objects = list["nftables"].as_array().map_or(&[][..], Vec::as_slice);
    let texts = read_texts(text);
    let mut tables: Vec<FilterTable> = Vec::new();
    let mut sets = Sets::default();
    // Sets come before the rules that use them, but rules may name chains that follow.
    for object in objects {
        if let Some(table) = object.get("table") {
            tables.extend(parse_table(table));
        } else if let Some(set) = object.get("set").or_else(|| object.get("map")) {
            sets.add(set);
        } else if let Some(chain) = object.get("chain") {
            if let Some(table) = table_of(&mut tables, chain) {
                table.chains.extend(parse_chain(chain, &texts));
            }
        } else if let Some(rule) = object.get("rule")
            && let Some(table) = table_of(&mut tables, rule)
            && let Some(chain) =
                table.chains.iter_mut().find(|chain| Some(&*chain.name) == rule["chain"].as_str())
        {
            chain.rules.push(parse_rule(rule, table.family, &sets.of_table_of(rule), &texts));
        }
    }
    Ok(tables)
}

/// Whether a table has only the base chains that iptables(8) makes.
pub(super) fn is_of_iptables(table: &FilterTable) -> bool {
    let own = ["INPUT", "FORWARD", "OUTPUT", "PREROUTING", "POSTROUTING"];
    table.chains.iter().filter(|chain| chain.base.is_some()).all(|chain| own.contains(&&*chain.name))
}

fn family(value: &Value) -> Option<FilterFamily> {
    Some(match value["family"].as_str()? {
        "arp" => FilterFamily::Arp,
        "bridge" => FilterFamily::Bridge,
        "inet" => FilterFamily::Inet,
        "ip" => FilterFamily::Ip,
        "ip6" => FilterFamily::Ip6,
        "netdev" => FilterFamily::Netdev,
        _ => return None,
    })
}

fn table_of<'t>(tables: &'t mut [FilterTable], of: &Value) -> Option<&'t mut FilterTable> {
    let family = family(of)?;
    tables.iter_mut().find(|table| table.family == family && Some(&*table.name) == of["table"].as_str())
}

fn parse_table(table: &Value) -> Option<FilterTable> {
    Some(FilterTable {
        tool: FilterTool::Nft,
        family: family(table)?,
        name: table["name"].as_str()?.to_owned(),
        dormant: strings(&table["flags"]).any(|flag| flag == "dormant"),
        chains: Vec::new(),
    })
}

fn parse_chain(chain: &Value, texts: &Texts) -> Option<FilterChain> {
    let name = chain["name"].as_str()?.to_owned();
    let base = hook(chain).map(|hook| BaseChain {
        hook,
        priority: chain["prio"].as_i64().unwrap_or(0),
        is_nat: chain["type"] == "nat",
        is_route: chain["type"] == "route",
        drops: chain["policy"] == "drop",
        devices: devices(chain, texts),
    });
    Some(FilterChain { name, base, rules: Vec::new() })
}

/// Some versions leave the interfaces out of the JSON.
fn devices(chain: &Value, texts: &Texts) -> Option<Vec<String>> {
    let told: Vec<String> = strings(&chain["dev"]).map(str::to_owned).collect();
    if !told.is_empty() {
        return Some(told);
    }
    texts.devices.get(&texts_key(chain, chain["name"].as_str()?)).cloned()
}

fn texts_key(of: &Value, chain: &str) -> (String, String, String) {
    let word = |name: &str| of[name].as_str().unwrap_or_default().to_owned();
    (word("family"), word("table"), chain.to_owned())
}

fn hook(chain: &Value) -> Option<Hook> {
    Some(match chain["hook"].as_str()? {
        "egress" => Hook::Egress,
        "forward" => Hook::Forward,
        "ingress" => Hook::Ingress,
        "input" => Hook::Input,
        "output" => Hook::Output,
        "postrouting" => Hook::Postrouting,
        "prerouting" => Hook::Prerouting,
        _ => return None,
    })
}

fn parse_rule(rule: &Value, family: FilterFamily, sets: &Scope<'_, '_>, texts: &Texts) -> FilterRule {
    let handle = rule["handle"].as_u64();
    let expressions = rule["expr"].as_array().map_or(&[][..], Vec::as_slice);
    let mut statements = Vec::new();
    let mut counted = None;
    for expression in expressions {
        let Some((kind, value)) = expression.as_object().and_then(|object| object.iter().next()) else {
            statements.push(FilterStatement::UnknownEffect(expression.to_string()));
            continue;
        };
        if kind == "counter" {
            counted = value["packets"].as_u64().zip(value["bytes"].as_u64());
            continue;
        }
        let parsed = statement(kind, value, sets, family);
        // What is counted before a condition is not what the rule takes.
        if parsed.iter().any(is_condition) {
            counted = None;
        }
        statements.extend(parsed);
    }
    let (family_name, table, _) = texts_key(rule, "");
    let text = handle.and_then(|handle| texts.rules.get(&(family_name, table, handle)).cloned());
    let text = text.unwrap_or_else(|| rule["expr"].to_string());
    FilterRule { handle, text, counted, statements }
}

fn is_condition(statement: &FilterStatement) -> bool {
    matches!(
        statement,
        FilterStatement::Condition(_) | FilterStatement::Sometimes(_) | FilterStatement::UnknownCondition(_)
    )
}

fn statement(kind: &str, value: &Value, sets: &Scope<'_, '_>, family: FilterFamily) -> Vec<FilterStatement> {
    let verdict = |verdict| vec![FilterStatement::Verdict(verdict)];
    let translate = |translation| vec![FilterStatement::Translate(translation)];
    match kind {
        "match" => conditions(value, sets),
        "vmap" => vmap(value, sets),
        "dnat" => translate(destination(value)),
        "snat" => translate(Translation::Source(address(&value["addr"]))),
        "masquerade" => translate(Translation::Masquerade),
        "redirect" => match (value["port"].is_null(), port(&value["port"])) {
            (false, None) => translate(Translation::DestinationUnknown),
            (_, port) => translate(Translation::Redirect(port)),
        },
        "mangle" => mangle(value),
        "notrack" => vec![FilterStatement::Untrack],
        "limit" | "quota" | "ct count" | "connlimit" => {
            vec![FilterStatement::Sometimes(format!("{kind} {value}"))]
        }
        // An element that may only be added so often is a limit.
        "set" if is_limited(value) => vec![FilterStatement::Sometimes(format!("set {value}"))],
        "set" | "log" | "last" | "flow" | "ct helper" | "ct timeout" | "ct expectation" | "secmark" => {
            Vec::new()
        }
        "xt" => xt(value),
        _ => match parse_verdict(kind, value, family) {
            Some(own) => verdict(own),
            None => vec![FilterStatement::UnknownEffect(format!("{kind} {value}"))],
        },
    }
}

fn is_limited(set: &Value) -> bool {
    set.get("stmt").is_some_and(|statements| !statements.is_null())
}

fn parse_verdict(kind: &str, value: &Value, family: FilterFamily) -> Option<FilterVerdict> {
    let target = || Some(value["target"].as_str()?.to_owned());
    Some(match kind {
        "accept" => FilterVerdict::Accept,
        "continue" => FilterVerdict::Continue,
        "drop" => FilterVerdict::Drop,
        "goto" => FilterVerdict::Goto(target()?),
        "jump" => FilterVerdict::Jump(target()?),
        "queue" => FilterVerdict::Queue,
        "return" => FilterVerdict::Return,
        "reject" => {
            let usual = match family {
                FilterFamily::Ip => "icmp",
                FilterFamily::Ip6 => "icmpv6",
                _ => "icmpx",
            };
            let code = value["expr"].as_str().unwrap_or("port-unreachable");
            FilterVerdict::Reject(words::reject(value["type"].as_str().unwrap_or(usual), code)?)
        }
        _ => return None,
    })
}

/// A single verdict of a map's element.
pub(super) fn element_verdict(value: &Value) -> Option<FilterVerdict> {
    let (kind, value) = value.as_object()?.iter().next()?;
    parse_verdict(kind, value, FilterFamily::Inet)
}

fn vmap(value: &Value, sets: &Scope<'_, '_>) -> Vec<FilterStatement> {
    let unknown = || vec![FilterStatement::UnknownEffect(format!("vmap {value}"))];
    let (operands, mut implied) = match key_operands(&value["key"]) {
        Read::Operands(operands, implied) => (operands, implied),
        Read::Never => return vec![never()],
        Read::Sometimes | Read::Unknown => return unknown(),
    };
    let Some(entries) = map_entries(&value["data"], &operands, sets) else { return unknown() };
    implied.push(FilterStatement::VerdictMap { operands, entries });
    implied
}

fn destination(value: &Value) -> Translation {
    let (has_address, has_port) = (!value["addr"].is_null(), !value["port"].is_null());
    let (to, at) = (address(&value["addr"]), port(&value["port"]));
    if (has_address && to.is_none()) || (has_port && at.is_none()) {
        return Translation::DestinationUnknown;
    }
    Translation::Destination(to, at)
}

fn address(value: &Value) -> Option<std::net::IpAddr> {
    value.as_str()?.parse().ok()
}

fn port(value: &Value) -> Option<u16> {
    u16::try_from(value.as_u64()?).ok()
}

fn mangle(value: &Value) -> Vec<FilterStatement> {
    let field = if value["key"]["meta"]["key"] == "mark" {
        PacketField::Mark
    } else if value["key"]["ct"]["key"] == "mark" {
        PacketField::ConnectionMark
    } else {
        // Anything else that is written into a packet (a header's field, an option) decides nothing.
        return Vec::new();
    };
    vec![FilterStatement::SetMark { field, value: value["value"].as_u64() }]
}

/// A match or a target of iptables that nft does not translate.
fn xt(value: &Value) -> Vec<FilterStatement> {
    let name = value["name"].as_str().unwrap_or("?");
    match (value["type"].as_str(), name) {
        (_, "comment" | "LOG" | "NFLOG" | "TCPMSS" | "TRACE") => Vec::new(),
        (Some("match"), "limit" | "hashlimit" | "statistic" | "connlimit" | "quota") => {
            vec![FilterStatement::Sometimes(format!("xt {name}"))]
        }
        (Some("match"), _) => vec![FilterStatement::UnknownCondition(format!("xt {name}"))],
        _ => vec![FilterStatement::UnknownEffect(format!("xt {name}"))],
    }
}
