//! Files that were changed: the configuration, what it names, how names are resolved, the rules of packet filters.
//!
//! A file's content has a time that whoever copies it may set (`cp -p`, `rsync -a`, `tar`, a package); the time of its status
//! cannot be set. So the one tells when it was written, the other that it was put in place, or given away, later.

use super::{AT_ONCE, Change, Span};
use crate::case::Case;
use crate::report::ChangeKind;
use std::collections::BTreeSet;
use why502_facts::{Ask, FileKind, FileTimes, PathTimes, Root, Stamp};
use why502_model::Host;

/// So many paths of a gateway are looked at.
const MAX_PATHS: usize = 400;
/// So many files that were changed at once are told one by one.
const MAX_AT_ONCE: usize = 3;
/// What decides what names mean (nsswitch.conf(5), resolv.conf(5), hosts(5)).
const NAMES: [&str; 3] = ["/etc/hosts", "/etc/nsswitch.conf", "/etc/resolv.conf"];
/// What packet filters are loaded from: nftables of Debian and of Red Hat, netfilter-persistent, the iptables service, ufw,
/// firewalld. Their directories change as well: most are written anew and renamed.
const FIREWALLS: [&str; 12] = [
    "/etc/firewalld/direct.xml",
    "/etc/firewalld/firewalld.conf",
    "/etc/firewalld/policies",
    "/etc/firewalld/zones",
    "/etc/iptables/rules.v4",
    "/etc/iptables/rules.v6",
    "/etc/nftables.conf",
    "/etc/sysconfig/iptables",
    "/etc/sysconfig/nftables.conf",
    "/etc/ufw/before.rules",
    "/etc/ufw/user.rules",
    "/etc/ufw/user6.rules",
];

/// The ask for the times of a gateway's files.
pub(super) fn ask(case: &Case<'_>) -> Option<Ask> {
    let paths = paths(case);
    let is_any = !paths.is_empty();
    is_any.then_some(Ask::FileTimes { root: case.gateway.root, paths })
}

/// The ask for the times of what packet filters are loaded from.
pub(super) fn firewall_ask() -> Ask {
    Ask::FileTimes { root: Root::Host, paths: FIREWALLS.map(str::to_owned).to_vec() }
}

/// What a gateway depends on: its configuration with the directories that it searches, certificates and keys, and, where it
/// dials names, what decides what they mean.
fn paths(case: &Case<'_>) -> Vec<String> {
    let gateway = case.gateway;
    let mut paths: BTreeSet<String> = gateway.sources.iter().map(|source| source.path.to_string()).collect();
    paths.extend(gateway.named_files());
    paths.extend(gateway.searched_directories());
    let mut peers = gateway.groups().flat_map(|(_, group)| &group.peers);
    if peers.any(|peer| matches!(peer.host, Host::Name(_))) {
        paths.extend(NAMES.map(str::to_owned));
    }
    paths.retain(|path| path.starts_with('/'));
    paths.into_iter().take(MAX_PATHS).collect()
}

/// The files of a gateway that were changed.
pub(super) fn changes(case: &Case<'_>, span: Span) -> Vec<Change> {
    let paths = paths(case);
    let observed = case.facts.file_times(case.gateway.root, &paths);
    let Some(times) = observed.known() else { return of_sources(case, span) };
    let found = times.iter().filter_map(|own| change(own, span, ChangeKind::ConfigFile));
    together(without_told_directories(found.collect(), times))
}

/// What is known of the configuration's files where nobody asked for more: when they were written.
fn of_sources(case: &Case<'_>, span: Span) -> Vec<Change> {
    let sources = case.gateway.sources.iter().filter(|source| span.holds(source.modified));
    let found = sources.map(|source| {
        let path = source.path.to_string();
        let says = format!("{path} changed");
        Change::new(source.modified, ChangeKind::ConfigFile, path.clone(), says).told_by(path)
    });
    together(found.collect())
}

/// What packet filters are loaded from, as far as it was changed.
pub(super) fn firewall_changes(case: &Case<'_>, span: Span) -> Vec<Change> {
    let Ask::FileTimes { root, paths } = firewall_ask() else { return Vec::new() };
    let observed = case.facts.file_times(root, &paths);
    let times = observed.known().map_or(&[][..], Vec::as_slice);
    times.iter().filter_map(|own| change(own, span, ChangeKind::Firewall)).collect()
}

fn change(own: &FileTimes, span: Span, kind: ChangeKind) -> Option<Change> {
    let PathTimes::Known { kind: file, modified, changed, linked } = &own.times else { return None };
    let path = &own.path;
    let (at, says) = if *file == FileKind::Directory {
        (*modified, format!("an entry of {path} was added, removed or renamed"))
    } else if span.holds(*modified) {
        (*modified, format!("{path} changed"))
    } else if linked.is_some_and(|at| span.holds(at)) {
        ((*linked)?, format!("a link on the way to {path} changed"))
    } else {
        (*changed, format!("{path} was put in place, or its owner or mode changed"))
    };
    let change = Change::new(at, kind, path.clone(), says).told_by(path.clone());
    let is_directory = *file == FileKind::Directory;
    span.holds(at).then(|| if is_directory { change.beside() } else { change })
}

/// A directory changes with the file that is put into it: that file tells it all.
fn without_told_directories(mut found: Vec<Change>, times: &[FileTimes]) -> Vec<Change> {
    let is_near = |one: Stamp, other: Stamp| one.since(other) <= AT_ONCE && other.since(one) <= AT_ONCE;
    let is_told = |directory: &Change| {
        times.iter().any(|own| {
            let parent = own.path.rsplit_once('/').map(|(parent, _)| parent);
            let PathTimes::Known { kind, modified, changed, .. } = &own.times else { return false };
            parent == Some(directory.subject.as_str())
                && *kind != FileKind::Directory
                && (is_near(*changed, directory.at) || is_near(*modified, directory.at))
        })
    };
    found.retain(|change| change.is_telling || !is_told(change));
    found
}

/// Many files that were changed at once are one change: who deploys writes them all.
fn together(mut found: Vec<Change>) -> Vec<Change> {
    found.sort_by(|a, b| (b.at, &a.subject).cmp(&(a.at, &b.subject)));
    let mut told: Vec<Change> = Vec::new();
    let mut rest = found.as_slice();
    while let Some(newest) = rest.first() {
        let n_near = rest.iter().take_while(|own| newest.at.since(own.at) <= AT_ONCE).count();
        let (near, others) = rest.split_at(n_near);
        rest = others;
        if n_near <= MAX_AT_ONCE {
            told.extend_from_slice(near);
            continue;
        }
        let mut one = newest.clone();
        one.says = format!("{} and {} other files of the configuration changed", one.subject, n_near - 1);
        told.push(one);
    }
    told
}
