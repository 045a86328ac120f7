//! # unix-socket-unlinked
//!
//! ## What happens
//!
//! A process still listens on the socket in the kernel, but its file was removed: a `RuntimeDirectory` that another unit
//! wiped, a cleaner of `/tmp`, a second instance that unlinked it and died. A connection needs the file. True for every
//! version of nginx.
//!
//! ## What you see
//!
//! `connect() to unix:… failed (2: No such file or directory)`, although `ss -xl` shows a listener with that very path.
//!
//! ## How we know
//!
//! Confirmed: the path was walked as nginx sees it and does not exist, and a process that sees the same files, or walked
//! as it sees them does not find it either, listens on that path in the kernel.
//!
//! ## What would disprove it
//!
//! The listener finds the file in its own mount namespace: then the path is not the same file (`unix-socket-other-namespace`).
//!
//! ## What to do
//!
//! Restart the backend, so that it creates the file again, and stop what removed it.
//!
//! ## Not to be confused with
//!
//! `unix-socket-missing` (nobody listens), `unix-socket-other-namespace` (PrivateTmp, another container).
//!
//! ## References
//!
//! Linux: unix(7), `/proc/net/unix`; systemd.exec(5) on `RuntimeDirectory`, tmpfiles.d(5).

use super::unix::{View, missing};
use crate::case::{Case, Subject};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Ruling};
use crate::remedy::{Remedy, Risk};
use why502_facts::UnixSocket;

pub(super) static CAUSE: Cause = Cause {
    id: "unix-socket-unlinked",
    layer: Layer::Socket,
    acts_on: ActsOn::Upstream,
    effect: false,
    statuses: &[502],
    scope: Scope::Peer,
    supersedes: &["unix-socket-missing"],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("unix_socket_unlinked.rs"),
};

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some(missing) = missing(case, subject)?.filter(super::unix::Broken::is_absent) else {
        return Ok(Ruling::NoSign);
    };
    let Some(socket) = listener(case, missing.path) else { return Ok(Ruling::NoSign) };
    let (confidence, gap) = match missing.view_of(case, &socket.pids)? {
        View::Other { .. } => return Ok(Ruling::NoSign),
        View::Shared => (Confidence::Confirmed, None),
        View::Unknown(gap) => (Confidence::Likely, gap),
    };
    let absent = Evidence::supporting(format!("{} does not exist", missing.path), missing.path_origin());
    let says = format!("{} still listens on it in the kernel", case.owners(&socket.pids));
    let finding = missing
        .finding(case, &CAUSE, confidence, subject)
        .still_failing(Some(true))
        .with([absent, Evidence::supporting(says, case.sockets_origin())]);
    let gap = case.facts.processes().gap().cloned().or(gap);
    Ok(Ruling::found(
        finding.open(gap.map(|gap| Case::open(gap, "whether the listener sees the same files as nginx"))),
    ))
}

fn listener<'c>(case: &'c Case<'_>, path: &str) -> Option<&'c UnixSocket> {
    case.sockets().known()?.unix.iter().find(|socket| socket.listening && socket.path == path)
}

fn explain(_case: &Case<'_>, finding: &Finding) -> Explanation {
    let path =
        finding.subjects.iter().find_map(|subject| subject.peer()?.address.unix_path()).unwrap_or_default();
    Explanation {
        title: format!("the file {path} was removed under a backend that still listens"),
        why: "A connection to a unix socket goes through its file, and the file is gone although the backend runs. nginx \
              cannot reach it and answers 502 at once."
            .to_owned(),
        wont_help: vec![
            "creating the file by hand: a new file is not the old socket".to_owned(),
            "restarting nginx: it is the backend's file that is missing".to_owned(),
        ],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let path =
        finding.subjects.iter().find_map(|subject| subject.peer()?.address.unix_path()).unwrap_or_default();
    let processes = case.facts.processes();
    let unit = listener(case, path).and_then(|socket| {
        socket.pids.iter().find_map(|pid| processes.clone().known()?.get(*pid)?.unit.clone())
    });
    let remedy = Remedy::new("Restart the backend, so that it creates its socket again", Risk::Review)
        .advice("then find what removed it: a cleaner of /tmp, a RuntimeDirectory shared by two units, a second instance")
        .verify(format!("a connection to unix:{path} opens"));
    vec![match unit {
        Some(unit) if unit.ends_with(".service") => remedy.command(&["systemctl", "restart", &unit], &[]),
        _ => remedy,
    }]
}

#[cfg(test)]
mod tests {
    use crate::causes::unix_socket_missing::tests::HIT;
    use crate::fixture::Fixture;

    fn hit() -> Fixture {
        Fixture::new(HIT).with("listeners", "unix:/run/shop/app.sock gunicorn")
    }

    #[test]
    fn hit_the_file_is_gone() {
        insta::assert_snapshot!(hit().summary(), @"
        Broken
        Confirmed unix-socket-unlinked -> unix-socket-missing: the file /run/shop/app.sock was removed under a backend that still listens [1 requests, still failing]
        ");
    }

    #[test]
    fn near_miss_the_listener_sees_other_files() {
        let other = hit().with("listeners", "unix:/run/shop/app.sock gunicorn mnt=7");
        let summary = other.summary();
        assert!(!summary.contains("unix-socket-unlinked"), "{summary}");
    }

    #[test]
    fn hit_a_sandboxed_listener_does_not_find_it_either() {
        let other = hit().with("listeners", "unix:/run/shop/app.sock gunicorn mnt=7");
        let gone = other.with(
            "path /run/shop/app.sock @200",
            "0755 0 0 dir /\n0755 0 0 dir /run\n0755 0 0 dir /run/shop",
        );
        insta::assert_snapshot!(gone.summary(), @"
        Broken
        Confirmed unix-socket-unlinked -> unix-socket-missing: the file /run/shop/app.sock was removed under a backend that still listens [1 requests, still failing]
        ");
    }

    #[test]
    fn near_miss_nobody_listens() {
        let summary = Fixture::new(HIT).summary();
        assert!(!summary.contains("unix-socket-unlinked"), "{summary}");
    }

    #[test]
    fn gap_the_path_cannot_be_walked() {
        insta::assert_snapshot!(hit().without("path /run/shop/app.sock").summary(), @"
        Broken
        Likely unix-socket-missing: the socket /run/shop/app.sock does not exist [1 requests]
          open: whether the path exists: the fixture does not tell
        ");
    }
}
