//! # unix-socket-stale
//!
//! ## What happens
//!
//! The socket's file is there and nobody listens behind it: a process that died without removing it left it over, or the
//! file is no socket at all. The kernel refuses the connection. True for every version of nginx.
//!
//! ## What you see
//!
//! `connect() to unix:… failed (111: Connection refused) while connecting to upstream`, a 502 at once.
//!
//! ## How we know
//!
//! Confirmed: the path leads to a socket as nginx sees it, and a connection is refused now: the kernel refuses a unix
//! socket only where nobody listens. Likely: only the message was seen.
//!
//! ## What would disprove it
//!
//! A connection that opens.
//!
//! ## What to do
//!
//! Start the backend; most remove an old file by themselves, some need it removed first.
//!
//! ## Not to be confused with
//!
//! `unix-socket-missing` (errno 2), `listen-backlog-full` (errno 11), `unix-socket-permission` (errno 13),
//! `upstream-crashed` (the death is on record: then that is the root and this its effect).
//!
//! ## References
//!
//! Linux: unix(7), connect(2), `unix_stream_connect` in net/unix/af_unix.c. nginx: `ngx_event_connect_peer`.

use super::unix::broken;
use crate::case::{Case, Subject};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Ruling};
use crate::remedy::{Remedy, Risk};
use why502_facts::{Errno, FileKind};

pub(super) static CAUSE: Cause = Cause {
    id: "unix-socket-stale",
    layer: Layer::Socket,
    acts_on: ActsOn::Upstream,
    effect: false,
    statuses: &[502],
    scope: Scope::Peer,
    supersedes: &[],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("unix_socket_stale.rs"),
};

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some(refused) = broken(case, subject, Errno::ConnectionRefused)? else { return Ok(Ruling::NoSign) };
    if refused.is_gone() {
        return Ok(Ruling::found(
            refused.finding(case, &CAUSE, Confidence::Likely, subject).still_failing(Some(false)),
        ));
    }
    let refused_now =
        refused.reach == why502_facts::Observed::Known(crate::case::Reach::Failed(Errno::ConnectionRefused));
    let there = refused.kind().map(|kind| {
        let what = if kind == FileKind::Socket { "a socket" } else { "no socket" };
        Evidence::supporting(format!("{} is there and is {what}", refused.path), refused.path_origin())
    });
    let nobody = (refused.listens(case) == Some(false)).then(|| {
        Evidence::supporting(format!("no process listens on {}", refused.path), case.sockets_origin())
    });
    let confidence = if refused_now && there.is_some() { Confidence::Confirmed } else { Confidence::Likely };
    let gap = refused.walk.gap().cloned();
    let finding = refused
        .finding(case, &CAUSE, confidence, subject)
        .still_failing(refused_now.then_some(true))
        .with(there.into_iter().chain(nobody))
        .open(gap.map(|gap| Case::open(gap, "whether the file is there")));
    Ok(Ruling::found(finding))
}

fn explain(_case: &Case<'_>, finding: &Finding) -> Explanation {
    let path =
        finding.subjects.iter().find_map(|subject| subject.peer()?.address.unix_path()).unwrap_or_default();
    let title = if finding.still_failing == Some(false) {
        format!("nobody listened behind the socket {path}")
    } else {
        format!("nobody listens behind the socket {path}")
    };
    Explanation {
        title,
        why: "The file is there, but the process that listened on it is gone, so the kernel refuses the connection. nginx has \
              no peer left to try and answers 502 at once."
            .to_owned(),
        wont_help: vec!["chmod or chown of the socket: a denial is errno 13, this is 111".to_owned()],
    }
}

fn remedies(_case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let path = finding.subjects.iter().find_map(|subject| subject.peer()?.address.unix_path());
    let Some(path) = path.filter(|_| finding.still_failing != Some(false)) else { return Vec::new() };
    vec![
        Remedy::new("Start the backend again", Risk::ShowOnly)
            .advice(format!("start the service that listens on {path}, and read its log for why it ended; if it refuses to start because the file exists, remove the file first"))
            .verify(format!("a connection to unix:{path} opens")),
    ]
}

#[cfg(test)]
mod tests {
    use crate::causes::unix_socket_missing::tests::HIT as MISSING;
    use crate::fixture::Fixture;

    fn hit() -> Fixture {
        let log = MISSING
            .replace("(2: No such file or directory)", "(111: Connection refused)")
            .replace("[crit]", "[error]");
        Fixture::new(&log)
            .with("path /run/shop/app.sock", "0755 0 0 dir /\n0755 0 0 dir /run\n0755 0 0 dir /run/shop\n0777 33 33 sock /run/shop/app.sock")
            .with("probe unix:/run/shop/app.sock", "refused")
    }

    #[test]
    fn hit_a_file_without_a_listener() {
        insta::assert_snapshot!(hit().summary(), @"
        Broken
        Confirmed unix-socket-stale: nobody listens behind the socket /run/shop/app.sock [1 requests, still failing]
        ");
    }

    #[test]
    fn hit_a_file_that_is_no_socket() {
        let file = hit().with(
            "path /run/shop/app.sock",
            "0755 0 0 dir /\n0755 0 0 dir /run\n0755 0 0 dir /run/shop\n0644 33 33 file /run/shop/app.sock",
        );
        insta::assert_snapshot!(file.summary(), @"
        Broken
        Confirmed unix-socket-stale: nobody listens behind the socket /run/shop/app.sock [1 requests, still failing]
        ");
    }

    #[test]
    fn near_miss_a_full_backlog_is_no_refusal() {
        let log = MISSING
            .replace("(2: No such file or directory)", "(11: Resource temporarily unavailable)")
            .replace("[crit]", "[error]");
        let summary = Fixture::new(&log)
            .with("probe unix:/run/shop/app.sock", "errno Resource temporarily unavailable")
            .summary();
        assert!(!summary.contains("unix-socket-stale"), "{summary}");
    }

    #[test]
    fn near_miss_it_listens_again() {
        insta::assert_snapshot!(hit().with("probe unix:/run/shop/app.sock", "connected").summary(), @"
        Recovered
        Likely unix-socket-stale: nobody listened behind the socket /run/shop/app.sock [1 requests, mended]
        ");
    }

    #[test]
    fn gap_only_the_message_was_seen() {
        insta::assert_snapshot!(hit().with("options", "offline").summary(), @"
        Broken
        Likely unix-socket-stale: nobody listens behind the socket /run/shop/app.sock [1 requests]
          open: whether the file is there: not looked at: --offline
        ");
    }
}
