//! How one packet gets past a rule: the narrowest change, in the words of whoever manages the rules.

use super::filtered::{Met, OnTheWay, is_elsewhere, tool_name};
use crate::case::Case;
use crate::filter::is_before_tracking;
use crate::remedy::{Remedy, Risk};
use std::net::IpAddr;
use why502_facts::{FilterItem, FilterRule, FilterStatement, FilterTool, FilterVerdict, Hook, PacketField};

/// The ways past a rule; where nobody saw that the link leads to its network namespace, nothing is changed there.
pub(super) fn past(case: &Case<'_>, way: &OnTheWay<'_>, met: &Met<'_>) -> Vec<Remedy> {
    let verify = format!("a connection to {} opens", met.address);
    if let Some(remedy) = by_manager(met) {
        return vec![remedy.verify(verify)];
    }
    let prefix = match met.stop.pid.filter(|pid| is_elsewhere(case, *pid)) {
        Some(pid) => vec!["nsenter".to_owned(), "-t".to_owned(), pid.to_string(), "-n".to_owned()],
        None => Vec::new(),
    };
    let (title, commands, further) = match met.stop.place.tool {
        FilterTool::Nft => by_nft(met),
        FilterTool::IptablesNft | FilterTool::IptablesLegacy => by_iptables(met),
    };
    let is_seen = way.has_seen(case, met);
    let n_shown = if is_seen { commands.len() } else { 1 };
    let further = if is_seen {
        further
    } else {
        "; first see that it is the peer's: the link address that the gateway knows for it (`ip neighbour`) is that of an interface \
         there (`ip link`)"
            .to_owned()
    };
    // Whoever cannot read a rule should not change what stands around it.
    let risk = if n_shown > 1 { Risk::Review } else { Risk::ShowOnly };
    let mut remedy = Remedy::new(title, risk).verify(verify).advice(format!(
        "such a change lasts until the rules are loaded anew: make it where they are written as well, once you know why the rule is \
         there{further}"
    ));
    for (command, undo) in commands.into_iter().take(n_shown) {
        let whole = |words: Vec<String>| prefix.iter().cloned().chain(words).collect::<Vec<String>>();
        let (command, undo) = (whole(command), undo.map(whole));
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        let back: Vec<&str> = undo.iter().flatten().map(String::as_str).collect();
        let backs = [back.as_slice()];
        remedy = remedy.command(&words, if back.is_empty() { &[] } else { &backs });
    }
    vec![remedy]
}

/// A command, and the one that takes it back.
type Change = (Vec<String>, Option<Vec<String>>);

fn words(text: &str) -> Vec<String> {
    text.split_ascii_whitespace().map(str::to_owned).collect()
}

/// Rules that a program made: it would make them again.
fn by_manager(met: &Met<'_>) -> Option<Remedy> {
    let table = met.filter.table(&met.stop.place)?;
    let chain = met.stop.place.chain.as_str();
    let begins = |begin: &str| chain.starts_with(begin);
    let has = |begin: &str| table.chains.iter().any(|own| own.name.starts_with(begin));
    let port = met.there.port();
    let show = |title: &str| Remedy::new(title, Risk::ShowOnly);
    if table.name == "firewalld" || (has("IN_public") && begins("IN_")) {
        let open = format!("--add-port={port}/tcp");
        return Some(
            show("Change firewalld's zone or policy")
                .command(&["firewall-cmd", "--list-all-zones"], &[])
                .advice(format!(
                    "firewalld made this rule and makes it again: let it through there, in the zone of the interface (`firewall-cmd \
                     {open}`, and with --permanent to keep it), or in the policy for what this host sends"
                )),
        );
    }
    if begins("ufw") || (met.stop.place.rule.is_none() && has("ufw-")) {
        return Some(show("Change the rules of ufw").command(&["ufw", "status", "numbered"], &[]).advice(format!(
            "ufw made this rule and makes it again: `ufw allow proto tcp to any port {port}` where the backend is, `ufw allow out \
             proto tcp to {} port {port}` where nginx is",
            met.there.ip()
        )));
    }
    if begins("DOCKER") {
        return Some(show("Change what Docker is told").advice(
            "Docker made this rule and makes it again: connect the two to one network, publish the port, or put an own rule into \
             the chain DOCKER-USER, which Docker leaves alone",
        ));
    }
    if begins("KUBE-") || begins("cali-") || begins("CNI-") || begins("CILIUM") {
        return Some(show("Change the network policy").advice(
            "the cluster's network made this rule and makes it again: look at the NetworkPolicy objects of both ends",
        ));
    }
    if begins("f2b-") || table.name.starts_with("f2b-") {
        let address = met.there.ip();
        return Some(show("Lift the ban").command(&["fail2ban-client", "banned"], &[]).advice(format!(
            "fail2ban made this rule: lift the ban (`fail2ban-client unban ADDRESS`) and put the gateway's or {address} into \
             ignoreip"
        )));
    }
    None
}

/// A title, the commands, the first of which shows, and what the advice says besides.
type Way = (String, Vec<Change>, String);

fn by_nft(met: &Met<'_>) -> Way {
    let place = &met.stop.place;
    let chain = [place.family.name().to_owned(), place.table.clone(), place.chain.clone()];
    let nft = |begin: &str, rest: Vec<String>| -> Vec<String> {
        words(begin).into_iter().chain(chain.iter().cloned()).chain(rest).collect()
    };
    let see = (nft("nft -a list chain", Vec::new()), None);
    let rule = met.filter.rule(place);
    let handle = rule.and_then(|rule| rule.handle);
    let through = through_nft(met);
    match (rule, handle) {
        (Some(rule), handle) if !has_text(rule) => {
            let handle = handle.map_or_else(String::new, |handle| format!(" handle {handle}"));
            let further = format!(
                "; its own words could not be read here: look at it first, and let this connection through before it (`nft insert rule \
                 {}{handle} {through}`)",
                chain.join(" ")
            );
            ("Let this connection through before the rule".to_owned(), vec![see], further)
        }
        (Some(rule), Some(handle)) if is_dispensable(rule, met) => {
            let text = without_counts(&rule.text);
            let previous = place
                .rule
                .and_then(|at| at.checked_sub(1))
                .and_then(|at| met.filter.chain(place)?.rules.get(at)?.handle);
            // Where it stood: behind the one before it, or first.
            let undo = match previous {
                Some(previous) => nft("nft add rule", vec!["handle".to_owned(), previous.to_string(), text]),
                None => nft("nft insert rule", vec![text]),
            };
            let delete = nft("nft delete rule", vec!["handle".to_owned(), handle.to_string()]);
            (TAKE_AWAY.to_owned(), vec![see, (delete, Some(undo))], String::new())
        }
        (_, handle) => {
            let at = match handle {
                Some(handle) => vec!["handle".to_owned(), handle.to_string()],
                None => Vec::new(),
            };
            let begin = if handle.is_some() { "nft -e -a insert rule" } else { "nft -e -a add rule" };
            let add = nft(begin, at.into_iter().chain([through]).collect());
            let further = format!(
                "; the command prints the handle of the new rule, by which `nft delete rule {} handle` takes it back",
                chain.join(" ")
            );
            ("Let this connection through before the rule".to_owned(), vec![see, (add, None)], further)
        }
    }
}

const TAKE_AWAY: &str = "Take the rule away that is about this very address and port";

/// Whether a rule has the words of its tool, by which it can be made again: nft's own form of it, an array of JSON, is none.
fn has_text(rule: &FilterRule) -> bool {
    !rule.text.is_empty() && !rule.text.starts_with('[')
}

/// Whether connection tracking knows an answer as one where the rule stands.
fn knows_answers(met: &Met<'_>) -> bool {
    let (place, hook) = (&met.stop.place, met.stop.hook);
    let chains = || met.filter.table(place).into_iter().flat_map(|table| &table.chains);
    let own = chains().find(|chain| chain.name == place.chain).filter(|chain| chain.base.is_some());
    // A chain that others call stands wherever these do.
    let is_too_early = chains()
        .filter(|chain| own.is_none_or(|own| own.name == chain.name))
        .filter_map(|chain| chain.base.as_ref())
        .any(|base| base.hook == hook && is_before_tracking(hook, base));
    let mut rules = met.filter.tables.iter().flat_map(|table| &table.chains).flat_map(|chain| &chain.rules);
    let is_untracked = rules.any(|rule| rule.statements.contains(&FilterStatement::Untrack));
    !is_too_early && !is_untracked
}

/// A rule of nftables that lets the packet through, and no other connection's.
fn through_nft(met: &Met<'_>) -> String {
    let family = if met.there.is_ipv6() { "ip6" } else { "ip" };
    if met.carried.is_answer() {
        return if knows_answers(met) {
            "ct state established,related accept".to_owned()
        } else {
            format!("{family} saddr {} tcp sport {} accept", met.there.ip(), met.there.port())
        };
    }
    let source = source(met).map_or_else(String::new, |source| format!("{family} saddr {source} "));
    format!("{source}{family} daddr {} tcp dport {} accept", met.there.ip(), met.there.port())
}

/// `counter packets 3 bytes 180` counts on from there when it is added again: from nothing.
fn without_counts(text: &str) -> String {
    let words: Vec<&str> = text.split(' ').collect();
    let mut kept = Vec::new();
    let mut rest = words.as_slice();
    while let Some((word, following)) = rest.split_first() {
        kept.push(*word);
        rest = match following {
            ["packets", _, "bytes", _, others @ ..] if *word == "counter" => others,
            others => others,
        };
    }
    kept.join(" ")
}

fn by_iptables(met: &Met<'_>) -> Way {
    let place = &met.stop.place;
    let name = tool_name(place.tool, met.there.is_ipv6());
    let iptables = |verb: &str, rest: Vec<String>| -> Vec<String> {
        let begin = [name, "-t", &place.table, verb, &place.chain].map(str::to_owned);
        begin.into_iter().chain(rest).collect()
    };
    let see = (
        [name, "-t", &place.table, "-L", &place.chain, "-nv", "--line-numbers"].map(str::to_owned).to_vec(),
        None,
    );
    let number = place.rule.map(|at| (at + 1).to_string());
    if let Some(rule) = met.filter.rule(place).filter(|rule| is_dispensable(rule, met)) {
        let text = split_quoted(&rule.text);
        let undo = iptables("-I", number.into_iter().chain(text.iter().cloned()).collect());
        return (TAKE_AWAY.to_owned(), vec![see, (iptables("-D", text), Some(undo))], String::new());
    }
    let through = if met.carried.is_answer() && !knows_answers(met) {
        words(&format!("-p tcp -s {} --sport {} -j ACCEPT", met.there.ip(), met.there.port()))
    } else if met.carried.is_answer() {
        words("-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT")
    } else {
        let source = source(met).map_or_else(String::new, |source| format!(" -s {source}"));
        words(&format!("-p tcp{source} -d {} --dport {} -j ACCEPT", met.there.ip(), met.there.port()))
    };
    let verb = if number.is_some() { "-I" } else { "-A" };
    let add = iptables(verb, number.into_iter().chain(through.iter().cloned()).collect());
    let title = "Let this connection through before the rule".to_owned();
    (title, vec![see, (add, Some(iptables("-D", through)))], String::new())
}

/// From where a first packet comes, at a hook that others than this host's own programs pass.
fn source(met: &Met<'_>) -> Option<IpAddr> {
    met.stop.ends.0.address.filter(|_| !is_on_the_way_out(met.stop.hook))
}

fn is_on_the_way_out(hook: Hook) -> bool {
    matches!(hook, Hook::Output | Hook::Postrouting | Hook::Egress)
}

/// Words as iptables-save quotes them.
fn split_quoted(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut is_quoted = false;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (letter, words.last_mut()) {
            ('"', _) => is_quoted = !is_quoted,
            (' ', _) if !is_quoted => words.push(String::new()),
            ('\\', Some(word)) => word.extend(letters.next()),
            (letter, Some(word)) => word.push(letter),
            (_, None) => {}
        }
    }
    words
}

/// Whether nothing is lost with a rule: it is about this very address and port alone, and protects it from nobody else.
fn is_dispensable(rule: &FilterRule, met: &Met<'_>) -> bool {
    let is_own = met.carried.is_answer() || is_on_the_way_out(met.stop.hook);
    let is_plain = rule.statements.iter().all(|statement| match statement {
        FilterStatement::Condition(condition) => {
            !condition.is_negated && condition.operands.iter().all(|own| PLAIN.contains(&own.field))
        }
        FilterStatement::Sometimes(_) | FilterStatement::UnknownCondition(_) => false,
        _ => true,
    });
    is_own && is_plain && is_only_about(rule, met)
}

/// What rules that are about one port alone ask for besides.
const PLAIN: [PacketField; 8] = [
    PacketField::ConnectionState,
    PacketField::DestinationAddress,
    PacketField::DestinationPort,
    PacketField::Family,
    PacketField::Protocol,
    PacketField::SourceAddress,
    PacketField::SourcePort,
    PacketField::TcpFlags,
];

/// Whether a rule decides on this very address and port alone: then it has no other use, and its place is no border of a policy. One
/// that names the port alone is about all hosts.
fn is_only_about(rule: &FilterRule, met: &Met<'_>) -> bool {
    let decides = rule.statements.iter().any(|statement| {
        matches!(statement, FilterStatement::Verdict(FilterVerdict::Drop | FilterVerdict::Reject(_)))
    });
    let (address, port) = (met.there.ip(), u64::from(met.there.port()));
    let fields = if met.carried.is_answer() {
        (PacketField::SourceAddress, PacketField::SourcePort)
    } else {
        (PacketField::DestinationAddress, PacketField::DestinationPort)
    };
    let names = |field: PacketField, wanted: FilterItem| {
        rule.statements.iter().any(|statement| {
            let FilterStatement::Condition(condition) = statement else { return false };
            let ([operand], [item]) = (&condition.operands[..], condition.items.as_slice()) else {
                return false;
            };
            let is_asked = operand.field == field && operand.mask.is_none() && !condition.is_negated;
            is_asked && item[..] == [wanted.clone()]
        })
    };
    decides
        && names(fields.0, FilterItem::Addresses(address, address))
        && names(fields.1, FilterItem::Numbers(port, port))
}

/// On whose way a rule stands, in words.
pub(super) fn hook_words(hook: Hook) -> &'static str {
    match hook {
        Hook::Output | Hook::Postrouting | Hook::Egress => "on the way out",
        Hook::Input | Hook::Prerouting | Hook::Ingress => "on the way in",
        Hook::Forward => "on the way through",
    }
}
