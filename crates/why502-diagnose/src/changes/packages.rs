//! Packages that were installed, replaced or removed, those first that a gateway and its upstreams run on.

use super::{Change, Span};
use crate::case::{Case, PeerSubject};
use crate::report::ChangeKind;
use std::collections::BTreeSet;
use why502_facts::{Ask, Gap, GapReason, PackageAction, PackageChange, PackageLog, PackageManager, Process};

/// So many packages that matter are told one by one.
const MAX_TOLD: usize = 6;
/// So many names of the others are told.
const MAX_NAMES: usize = 5;
/// What a gateway runs on, whatever its upstreams are: itself with its modules, TLS, the C library, names, the kernel and
/// its packet filters, service managers, containers. The beginnings of names, of Debian, Red Hat, SUSE and Arch.
const OF_EVERY_HOST: [&str; 37] = [
    "angie",
    "apparmor",
    "ca-certificates",
    "containerd",
    "crypto-policies",
    "docker",
    "firewalld",
    "freenginx",
    "glibc",
    "iptables",
    "kernel",
    "libc-bin",
    "libc6",
    "libcrypto",
    "libnftables",
    "libnginx-mod",
    "libnss",
    "libopenssl",
    "libpcre",
    "libssl",
    "linux-image",
    "moby-engine",
    "musl",
    "netfilter-persistent",
    "nftables",
    "nginx",
    "openresty",
    "openssl",
    "openssl-libs",
    "podman",
    "runc",
    "selinux-policy",
    "systemd",
    "tengine",
    "ufw",
    "uwsgi",
    "zlib",
];
/// What the packages of a runtime are called, by the begin of its program's name.
const RUNTIMES: [(&str, &[&str]); 12] = [
    ("apache2", &["apache2", "libapache2-mod"]),
    ("beam", &["elixir", "erlang"]),
    ("dotnet", &["aspnetcore", "dotnet"]),
    ("gunicorn", &["gunicorn", "python"]),
    ("httpd", &["httpd", "mod_"]),
    ("java", &["java", "jdk", "jre", "openjdk", "temurin", "tomcat"]),
    ("node", &["libnode", "nodejs"]),
    ("perl", &["libperl", "perl"]),
    ("php", &["libapache2-mod-php", "php"]),
    ("python", &["libpython", "python"]),
    ("ruby", &["libruby", "puma", "ruby"]),
    ("uwsgi", &["python", "uwsgi"]),
];

/// The asks for the logs of all package managers: where one is not used, its log is not there.
pub(super) fn asks() -> Vec<Ask> {
    PackageManager::ALL.map(|manager| Ask::PackageLog { manager }).to_vec()
}

/// What was done to packages, and which logs do not reach back far enough to tell.
pub(super) fn changes(
    case: &Case<'_>,
    peers: &[(&Case<'_>, &PeerSubject)],
    span: Span,
) -> (Vec<Change>, Vec<Gap>) {
    let families = families(peers);
    let (mut told, mut gaps) = (Vec::new(), Vec::new());
    for manager in PackageManager::ALL {
        if let Some(log) = case.facts.package_log(manager).known() {
            gaps.extend(cut(manager, log, span));
            told.extend(of_log(manager, log, &families, span));
        }
    }
    (told, gaps)
}

/// The log of a package manager that begins within the span, while older ones were there.
fn cut(manager: PackageManager, log: &PackageLog, span: Span) -> Option<Gap> {
    let path = manager.log();
    let says = match log.reaches_back {
        _ if log.is_whole => return None,
        Some(begin) if begin <= span.from => return None,
        Some(begin) => {
            format!("{path} was read back to {begin} only: what was installed before is not known")
        }
        None => format!("no line of {path} tells when it was written"),
    };
    Some(Gap { ask: Ask::PackageLog { manager }, why: GapReason::Unsupported, says })
}

fn of_log(manager: PackageManager, log: &PackageLog, families: &[String], span: Span) -> Vec<Change> {
    let within: Vec<&PackageChange> = log.changes.iter().rev().filter(|own| span.holds(own.at)).collect();
    let (matter, others): (Vec<&PackageChange>, Vec<&PackageChange>) =
        within.into_iter().partition(|own| families.iter().any(|family| own.name.starts_with(family)));
    let (first, further) = matter.split_at(matter.len().min(MAX_TOLD));
    let mut told: Vec<Change> = first.iter().map(|own| change(manager, own)).collect();
    let beside: Vec<&PackageChange> = further.iter().chain(&others).copied().collect();
    if let [only] = beside.as_slice() {
        told.push(change(manager, only).beside());
    } else if let Some(at) = beside.iter().map(|own| own.at).max() {
        let names: BTreeSet<&str> = beside.iter().map(|own| own.name.as_str()).collect();
        let shown: Vec<&str> = names.iter().copied().take(MAX_NAMES).collect();
        let more = if names.len() > MAX_NAMES { ", …" } else { "" };
        let other = if told.is_empty() { "" } else { "other " };
        let subject = format!("{} {other}packages", names.len());
        let says = format!("{subject} were installed, replaced or removed: {}{more}", shown.join(", "));
        told.push(Change::new(at, ChangeKind::Package, subject, says).told_by(manager.log()).beside());
    }
    told
}

fn change(manager: PackageManager, own: &PackageChange) -> Change {
    let what = match own.action {
        PackageAction::Downgraded => "downgraded",
        PackageAction::Installed => "installed",
        PackageAction::Reinstalled => "reinstalled",
        PackageAction::Removed => "removed",
        PackageAction::Upgraded => "upgraded",
    };
    let versions = match (&own.old, &own.new) {
        (Some(old), Some(new)) if old != new => format!(" ({old} to {new})"),
        (_, Some(version)) | (Some(version), None) => format!(" ({version})"),
        (None, None) => String::new(),
    };
    let says = format!("package {} {what}{versions}", own.name);
    Change::new(own.at, ChangeKind::Package, own.name.clone(), says).told_by(manager.log())
}

/// The beginnings of the names of packages that matter: those of every host, and those of who listens for the peers.
fn families(peers: &[(&Case<'_>, &PeerSubject)]) -> Vec<String> {
    let mut families: BTreeSet<String> = OF_EVERY_HOST.iter().map(|&name| name.to_owned()).collect();
    for process in peers.iter().flat_map(|(case, peer)| case.listeners_of(peer)) {
        for name in names(process) {
            let of_runtime = RUNTIMES.iter().filter(|(begin, _)| name.starts_with(begin));
            let known: Vec<&str> = of_runtime.flat_map(|(_, names)| names.iter().copied()).collect();
            // Most programs are in a package of their name: `haproxy`, `memcached`.
            let own = name.trim_end_matches(|end: char| end.is_ascii_digit() || end == '.' || end == '-');
            if known.is_empty() && own.len() > 2 {
                families.insert(own.to_owned());
            }
            families.extend(known.into_iter().map(str::to_owned));
        }
    }
    families.into_iter().collect()
}

/// The names of a process's program: of its executable, and of its command.
fn names(process: &Process) -> BTreeSet<&str> {
    let exe = process.exe.as_deref().map(|path| path.rsplit('/').next().unwrap_or(path));
    exe.into_iter().chain([process.comm.as_str()]).filter(|name| !name.is_empty()).collect()
}
