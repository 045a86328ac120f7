//! Packet filters, listed by the host's own tools in the network namespace where this process is.
//!
//! Legacy tables of iptables are listed only where the kernel has some: asking for one that is not there would make it.

use crate::command::{self, CommandError};
use crate::helper::Place;
use crate::route;
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read as _};
use std::time::{Duration, Instant};
use why502_facts::{Answer, Blob, FactBody, FilterListing, FilterOutput, FilterRecord, GapReason};

/// The most bytes of a list that are kept.
const MAX_LIST: u64 = 4 << 20;
/// The most bytes of a file with addresses or routes.
const MAX_ROUTES: u64 = 256 << 10;
/// Chains that iptables makes, also over nftables.
const CHAINS_OF_IPTABLES: [&[u8]; 5] =
    [b"\"INPUT\"", b"\"FORWARD\"", b"\"OUTPUT\"", b"\"PREROUTING\"", b"\"POSTROUTING\""];

/// Lists the packet filters of the network namespace.
pub(crate) fn list(place: &Place, timeout: Duration) -> Answer {
    if !place.context.in_network {
        return Answer::unknown(GapReason::Denied, "the network namespace may not be entered");
    }
    let deadline = Instant::now() + timeout;
    let json = nft(&["-j", "list", "ruleset"], deadline);
    let text = match &json {
        FilterOutput::Known(_) => nft(&["-a", "list", "ruleset"], deadline),
        FilterOutput::Absent | FilterOutput::Unknown { .. } => FilterOutput::Absent,
    };
    let may_be_of_iptables = match &json {
        FilterOutput::Known(json) => CHAINS_OF_IPTABLES.iter().any(|chain| holds(json.as_slice(), chain)),
        FilterOutput::Absent | FilterOutput::Unknown { .. } => true,
    };
    let over_nft = |program: &str| {
        if may_be_of_iptables { over_nft(program, deadline) } else { FilterOutput::Absent }
    };
    let (ipv4, ipv6) = (over_nft("iptables-nft-save"), over_nft("ip6tables-nft-save"));
    let listings = vec![
        (FilterListing::NftJson, json),
        (FilterListing::NftText, text),
        (FilterListing::IptablesNft, ipv4),
        (FilterListing::Ip6tablesNft, ipv6),
        (FilterListing::IptablesLegacy, legacy("ip", deadline)),
        (FilterListing::Ip6tablesLegacy, legacy("ip6", deadline)),
    ];
    if let Some(refusal) = wholly_unknown(&listings) {
        return refusal;
    }
    Answer::known(FactBody::PacketFilter(FilterRecord {
        listings,
        fib_trie: of_namespace("fib_trie"),
        if_inet6: of_namespace("if_inet6"),
        route: of_namespace("route"),
        ipv6_route: of_namespace("ipv6_route"),
        policy: route::policy(deadline).into(),
    }))
}

/// The gap, where nothing could be listed.
fn wholly_unknown(listings: &[(FilterListing, FilterOutput)]) -> Option<Answer> {
    if listings.iter().any(|(_, output)| matches!(output, FilterOutput::Known(_))) {
        return None;
    }
    listings.iter().find_map(|(_, output)| match output {
        FilterOutput::Unknown { why, says } => Some(Answer::unknown(*why, says.clone())),
        FilterOutput::Absent | FilterOutput::Known(_) => None,
    })
}

/// A file of the network namespace; empty where there is none, or where it is too long.
fn of_namespace(name: &str) -> Blob {
    let read = read_proc(&format!("/proc/thread-self/net/{name}"), MAX_ROUTES);
    read.ok().flatten().unwrap_or_default().into()
}

/// A file of `/proc`, whole; `None` if it is longer than that.
fn read_proc(path: &str, max_bytes: u64) -> Result<Option<Vec<u8>>, Errno> {
    let errno = |error: io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(errno)?;
    file.take(max_bytes + 1).read_to_end(&mut bytes).map_err(errno)?;
    Ok((bytes.len() as u64 <= max_bytes).then_some(bytes))
}

fn holds(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|window| window == word)
}

fn nft(arguments: &[&str], deadline: Instant) -> FilterOutput {
    run("nft", arguments, deadline).unwrap_or_else(|| missing("nft"))
}

/// Rules of iptables over nftables; nft lists them as well, if in other words.
fn over_nft(program: &str, deadline: Instant) -> FilterOutput {
    run(program, &["-c"], deadline).unwrap_or(FilterOutput::Absent)
}

/// Rules of iptables over its own part of the kernel, which nft does not list.
fn legacy(version: &str, deadline: Instant) -> FilterOutput {
    match read_proc(&format!("/proc/thread-self/net/{version}_tables_names"), MAX_ROUTES) {
        Ok(Some(names)) if names.iter().all(u8::is_ascii_whitespace) => return FilterOutput::Absent,
        Err(Errno::NOENT) => return FilterOutput::Absent,
        Err(errno) => {
            let why = match errno {
                Errno::ACCESS | Errno::PERM => GapReason::Denied,
                _ => GapReason::Failed,
            };
            return FilterOutput::Unknown { why, says: format!("{version}tables: legacy tables: {errno}") };
        }
        Ok(_) => {}
    }
    let programs = [format!("{version}tables-legacy-save"), format!("{version}tables-save")];
    // Only where the first is not installed the other one may be the same.
    match programs.iter().find_map(|program| run(program, &["-c"], deadline)) {
        Some(FilterOutput::Known(list)) if holds(list.as_slice(), b"(nf_tables)") => missing(&programs[0]),
        Some(output) => output,
        None => missing(&programs[0]),
    }
}

fn missing(program: &str) -> FilterOutput {
    FilterOutput::Unknown { why: GapReason::Unsupported, says: format!("{program} is not installed") }
}

/// What a program lists; `None` if it is not installed.
fn run(program: &str, arguments: &[&str], deadline: Instant) -> Option<FilterOutput> {
    let unknown = |why, says: &str| FilterOutput::Unknown { why, says: format!("{program}: {says}") };
    Some(match command::run(program, arguments, MAX_LIST, deadline) {
        Ok(output) if output.success => FilterOutput::Known(output.stdout.into()),
        Ok(output) if output.truncated => unknown(GapReason::Unsupported, "its list is longer than is kept"),
        Ok(output) if is_denial(&output.complaint) => unknown(GapReason::Denied, &output.complaint),
        Ok(output) => unknown(GapReason::Failed, &output.complaint),
        Err(CommandError::NotThere) => return None,
        Err(CommandError::Failed(says)) => unknown(GapReason::Failed, &says),
        Err(CommandError::TimedOut) => unknown(GapReason::TimedOut, "it took too long"),
    })
}

fn is_denial(complaint: &str) -> bool {
    ["not permitted", "Permission denied", "must be root"].iter().any(|word| complaint.contains(word))
}
