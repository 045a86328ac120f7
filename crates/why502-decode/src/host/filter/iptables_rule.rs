//! One rule of iptables: `[3:180] -A OUTPUT -p tcp -m tcp --dport 3000 -j DROP` (iptables(8), iptables-extensions(8)).

use super::words;
use std::net::IpAddr;
use std::sync::Arc;
use why502_facts::{
    FilterCondition, FilterFamily, FilterItem, FilterOperand, FilterRule, FilterStatement, FilterVerdict,
    PacketField, Translation, prefix_range,
};

/// The rule of a line, and the chain that it stands in.
pub(super) fn rule(line: &str, family: FilterFamily, chains: &[String]) -> Option<(String, FilterRule)> {
    let (counted, rest) = match line.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
        Some((counted, rest)) => (counters(counted), rest),
        None => (None, line),
    };
    let words = split_words(rest);
    let ["-A", chain, ..] = words.iter().map(String::as_str).collect::<Vec<_>>()[..] else { return None };
    let mut reader = Reader { words: &words[2..], at: 0, module: "", family, chains, statements: Vec::new() };
    reader.read();
    let statements = reader.statements;
    let text = rest.strip_prefix("-A ")?.strip_prefix(chain)?.trim().to_owned();
    Some((chain.to_owned(), FilterRule { handle: None, text, counted, statements }))
}

fn counters(text: &str) -> Option<(u64, u64)> {
    let (packets, bytes) = text.split_once(':')?;
    Some((packets.parse().ok()?, bytes.parse().ok()?))
}

/// Words as iptables-save quotes them.
fn split_words(text: &str) -> Vec<String> {
    let (mut words, mut word) = (Vec::new(), None::<String>);
    let mut is_quoted = false;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => {
                is_quoted = !is_quoted;
                word.get_or_insert_default();
            }
            '\\' => word.get_or_insert_default().extend(letters.next()),
            ' ' if !is_quoted => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    words
}

struct Reader<'r> {
    words: &'r [String],
    at: usize,
    /// The match whose options are read.
    module: &'r str,
    family: FilterFamily,
    chains: &'r [String],
    statements: Vec<FilterStatement>,
}

impl<'r> Reader<'r> {
    fn read(&mut self) {
        self.require(
            PacketField::Family,
            false,
            number(if self.family == FilterFamily::Ip6 { 6 } else { 4 }),
        );
        let mut is_negated = false;
        while let Some(word) = self.next() {
            match word {
                "!" => {
                    is_negated = true;
                    continue;
                }
                "-j" => {
                    let target = self.next().unwrap_or_default();
                    self.target(target);
                    return;
                }
                "-g" => {
                    let target = self.next().unwrap_or_default().to_owned();
                    self.statements.push(FilterStatement::Verdict(FilterVerdict::Goto(target)));
                    return;
                }
                "-m" => {
                    self.module = self.next().unwrap_or_default();
                    self.enter_module();
                }
                option => self.option(option, is_negated),
            }
            is_negated = false;
        }
    }

    fn next(&mut self) -> Option<&'r str> {
        let word = self.words.get(self.at)?;
        self.at += 1;
        Some(word)
    }

    /// The words up to the next option.
    fn skip_values(&mut self) {
        while self.words.get(self.at).is_some_and(|word| !word.starts_with('-') && word != "!") {
            self.at += 1;
        }
    }

    /// A match that needs no option, or whose options are not read one by one.
    fn enter_module(&mut self) {
        match self.module {
            "limit" | "hashlimit" | "statistic" | "connlimit" | "quota" => {
                self.statements.push(FilterStatement::Sometimes(format!("-m {}", self.module)));
                self.skip_module();
            }
            "comment" => self.skip_module(),
            // Headers that no packet of TCP here has: each asks for its own first.
            "ah" | "dst" | "esp" | "frag" | "hbh" | "mh" | "rt" => {
                self.require(PacketField::Protocol, false, number(0));
                self.skip_module();
            }
            "rpfilter" => self.way_back(),
            "addrtype" | "connmark" | "conntrack" | "iprange" | "mark" | "multiport" | "owner" | "state"
            | "tcp" => {}
            other => {
                self.statements.push(FilterStatement::UnknownCondition(format!("-m {other}")));
                self.skip_module();
            }
        }
    }

    /// `-m rpfilter [--loose] [--validmark] [--accept-local] [--invert]`.
    fn way_back(&mut self) {
        let begin = self.at;
        self.skip_module();
        let options = &self.words[begin..self.at];
        let has = |name: &str| options.iter().any(|option| option == name);
        if has("--loose") {
            self.statements.push(FilterStatement::UnknownCondition("-m rpfilter --loose".to_owned()));
        } else {
            self.require(PacketField::SourceRoute, has("--invert"), number(1));
        }
    }

    fn skip_module(&mut self) {
        while self.words.get(self.at).is_some_and(|word| !matches!(word.as_str(), "-m" | "-j" | "-g")) {
            self.at += 1;
        }
    }

    fn option(&mut self, option: &str, is_negated: bool) {
        let begin = self.at;
        let value = self.next().unwrap_or_default();
        let read = match (self.module, option) {
            (_, "-s") => address(value).map(|items| (PacketField::SourceAddress, None, items)),
            (_, "-d") => address(value).map(|items| (PacketField::DestinationAddress, None, items)),
            (_, "-i") => Some((PacketField::InputInterface, None, vec![interface(value)])),
            (_, "-o") => Some((PacketField::OutputInterface, None, vec![interface(value)])),
            (_, "-p") => match value {
                "all" => return,
                value => words::protocol(value).map(|own| (PacketField::Protocol, None, number(own))),
            },
            (_, "--dport" | "--dports" | "--destination-ports") => {
                ports(value).map(|items| (PacketField::DestinationPort, None, items))
            }
            (_, "--sport" | "--sports" | "--source-ports") => {
                ports(value).map(|items| (PacketField::SourcePort, None, items))
            }
            ("tcp", "--tcp-flags") => {
                let (mask, wanted) = (flags(value), self.next().and_then(flags));
                mask.zip(wanted)
                    .map(|(mask, wanted)| (PacketField::TcpFlags, Some(mask.into()), number(wanted)))
            }
            ("conntrack", "--ctstate") | ("state", "--state") => {
                // Whether it is one of these states: any of their bits is set.
                if let Some(bits) = words::status(value) {
                    return self.push(
                        PacketField::ConnectionStatus,
                        Some(bits.into()),
                        !is_negated,
                        number(0),
                    );
                }
                let Some(bits) = states(value) else { return self.unknown(option, begin) };
                return self.push(PacketField::ConnectionState, Some(bits.into()), !is_negated, number(0));
            }
            ("conntrack", "--ctdir") => match value {
                "ORIGINAL" => Some((PacketField::Direction, None, number(0))),
                "REPLY" => Some((PacketField::Direction, None, number(1))),
                _ => None,
            },
            ("owner", "--uid-owner") => numbers(value).map(|items| (PacketField::User, None, items)),
            ("owner", "--gid-owner") => numbers(value).map(|items| (PacketField::Group, None, items)),
            ("mark", "--mark") => marks(value).map(|(mask, items)| (PacketField::Mark, mask, items)),
            ("connmark", "--mark") => {
                marks(value).map(|(mask, items)| (PacketField::ConnectionMark, mask, items))
            }
            ("addrtype", "--dst-type") => Some((PacketField::DestinationKind, None, kinds(value))),
            ("addrtype", "--src-type") => Some((PacketField::SourceKind, None, kinds(value))),
            ("iprange", "--src-range") => range(value).map(|items| (PacketField::SourceAddress, None, items)),
            ("iprange", "--dst-range") => {
                range(value).map(|items| (PacketField::DestinationAddress, None, items))
            }
            _ => None,
        };
        match read {
            Some((field, mask, items)) => self.push(field, mask, is_negated, items),
            None => self.unknown(option, begin),
        }
    }

    fn unknown(&mut self, option: &str, begin: usize) {
        self.at = begin;
        self.skip_values();
        let values = self.words[begin..self.at].join(" ");
        self.statements.push(FilterStatement::UnknownCondition(format!("{option} {values}")));
    }

    fn require(&mut self, field: PacketField, is_negated: bool, items: Vec<FilterItem>) {
        self.push(field, None, is_negated, items);
    }

    fn push(&mut self, field: PacketField, mask: Option<u128>, is_negated: bool, items: Vec<FilterItem>) {
        let items = Arc::new(items.into_iter().map(|item| vec![item]).collect());
        let operands = vec![FilterOperand { field, mask }];
        self.statements.push(FilterStatement::Condition(FilterCondition { operands, is_negated, items }));
    }

    fn target(&mut self, target: &str) {
        let rest: Vec<&str> = self.words[self.at..].iter().map(String::as_str).collect();
        let value =
            |name: &str| rest.iter().position(|word| *word == name).and_then(|at| rest.get(at + 1)).copied();
        let verdict = |verdict| Some(FilterStatement::Verdict(verdict));
        let statement = match target {
            own if self.chains.iter().any(|chain| chain == own) => {
                verdict(FilterVerdict::Jump(own.to_owned()))
            }
            "ACCEPT" => verdict(FilterVerdict::Accept),
            "DROP" => verdict(FilterVerdict::Drop),
            "RETURN" => verdict(FilterVerdict::Return),
            "QUEUE" | "NFQUEUE" => verdict(FilterVerdict::Queue),
            "REJECT" => value("--reject-with")
                .and_then(reject)
                .map(|kind| FilterStatement::Verdict(FilterVerdict::Reject(kind))),
            "DNAT" => Some(FilterStatement::Translate(destination(value("--to-destination")))),
            "REDIRECT" => Some(FilterStatement::Translate(match value("--to-ports").map(str::parse) {
                None => Translation::Redirect(None),
                Some(Ok(port)) => Translation::Redirect(Some(port)),
                Some(Err(_)) => Translation::DestinationUnknown,
            })),
            "SNAT" => {
                let to = value("--to-source").and_then(|to| socket(to)?.0);
                Some(FilterStatement::Translate(Translation::Source(to)))
            }
            "MASQUERADE" => Some(FilterStatement::Translate(Translation::Masquerade)),
            "MARK" => Some(FilterStatement::SetMark {
                field: PacketField::Mark,
                value: value("--set-xmark").or(value("--set-mark")).and_then(whole_mark),
            }),
            "CONNMARK" => {
                let field = if rest.contains(&"--restore-mark") {
                    PacketField::Mark
                } else {
                    PacketField::ConnectionMark
                };
                Some(FilterStatement::SetMark { field, value: value("--set-xmark").and_then(whole_mark) })
            }
            "NOTRACK" => Some(FilterStatement::Untrack),
            "CT" if rest.contains(&"--notrack") => Some(FilterStatement::Untrack),
            // What these do to a packet decides nothing.
            "AUDIT" | "CHECKSUM" | "CLASSIFY" | "CT" | "DSCP" | "HL" | "LOG" | "NFLOG" | "SET" | "TCPMSS"
            | "TOS" | "TRACE" | "TTL" | "ULOG" => return,
            _ => None,
        };
        let unknown = || FilterStatement::UnknownEffect(format!("-j {target}"));
        self.statements.push(statement.unwrap_or_else(unknown));
    }
}

fn number(number: u64) -> Vec<FilterItem> {
    vec![FilterItem::Numbers(number, number)]
}

fn reject(name: &str) -> Option<why502_facts::RejectKind> {
    if name == "tcp-reset" {
        return words::reject("tcp reset", "");
    }
    let (kind, code) = name.split_once('-')?;
    words::reject(if kind == "icmp6" { "icmpv6" } else { kind }, code)
}

/// `10.0.0.0/8`, or with a mask in place of a length.
fn address(text: &str) -> Option<Vec<FilterItem>> {
    let (address, length) = text.split_once('/').map_or((text, None), |(own, length)| (own, Some(length)));
    let address: IpAddr = address.parse().ok()?;
    let length = match (length, address) {
        (Some(length), _) => length.parse().ok().or_else(|| mask_length(length))?,
        (None, IpAddr::V4(_)) => 32,
        (None, IpAddr::V6(_)) => 128,
    };
    let (low, high) = prefix_range(address, length)?;
    Some(vec![FilterItem::Addresses(low, high)])
}

fn mask_length(mask: &str) -> Option<u8> {
    let IpAddr::V4(mask) = mask.parse().ok()? else { return None };
    let ones = mask.to_bits().leading_ones();
    let is_prefix = mask.to_bits().count_ones() == ones;
    is_prefix.then(|| u8::try_from(ones).ok()).flatten()
}

fn interface(name: &str) -> FilterItem {
    FilterItem::Name(match name.strip_suffix('+') {
        Some(begin) => format!("{begin}*"),
        None => name.to_owned(),
    })
}

/// `80,443,8000:8100`.
fn ports(text: &str) -> Option<Vec<FilterItem>> {
    let port = |text: &str| text.parse::<u16>().ok().map(u64::from);
    let item = |part: &str| match part.split_once(':') {
        Some((low, high)) => {
            let low = if low.is_empty() { Some(0) } else { port(low) };
            let high = if high.is_empty() { Some(65535) } else { port(high) };
            Some(FilterItem::Numbers(low?, high?))
        }
        None => port(part).map(|port| FilterItem::Numbers(port, port)),
    };
    text.split(',').map(item).collect()
}

fn numbers(text: &str) -> Option<Vec<FilterItem>> {
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    Some(vec![FilterItem::Numbers(low.parse().ok()?, high.parse().ok()?)])
}

fn range(text: &str) -> Option<Vec<FilterItem>> {
    let (low, high) = text.split_once('-')?;
    Some(vec![FilterItem::Addresses(low.parse().ok()?, high.parse().ok()?)])
}

fn flags(text: &str) -> Option<u64> {
    text.split(',').map(words::tcp_flag).try_fold(0, |all, own| Some(all | own?))
}

fn states(text: &str) -> Option<u64> {
    text.split(',').map(words::state).try_fold(0, |all, own| Some(all | own?))
}

/// `0x1/0xff`.
fn marks(text: &str) -> Option<(Option<u128>, Vec<FilterItem>)> {
    let (value, mask) = text.split_once('/').map_or((text, None), |(value, mask)| (value, Some(mask)));
    let mask = match mask {
        Some(mask) => Some(words::number(mask)?.into()),
        None => None,
    };
    Some((mask, number(words::number(value)?)))
}

/// The mark that is set; `None` where some bits of the old one stay.
fn whole_mark(text: &str) -> Option<u64> {
    let (value, mask) = text.split_once('/').unwrap_or((text, "0xffffffff"));
    (words::number(mask)? >= 0xffff_ffff).then(|| words::number(value))?
}

fn kinds(text: &str) -> Vec<FilterItem> {
    text.split(',').map(|kind| FilterItem::Name(kind.to_ascii_lowercase())).collect()
}

/// `10.0.0.1`, `10.0.0.1:80`, `:80`, `[2001:db8::1]:80`; `None` for ranges and what else there is.
fn socket(text: &str) -> Option<(Option<IpAddr>, Option<u16>)> {
    if let Ok(address) = text.trim_matches(['[', ']']).parse() {
        return Some((Some(address), None));
    }
    let (address, port) = text.rsplit_once(':')?;
    let address = match address.trim_matches(['[', ']']) {
        "" => None,
        address => Some(address.parse().ok()?),
    };
    Some((address, Some(port.parse().ok()?)))
}

fn destination(to: Option<&str>) -> Translation {
    match to.and_then(socket) {
        Some((address, port)) => Translation::Destination(address, port),
        None => Translation::DestinationUnknown,
    }
}
