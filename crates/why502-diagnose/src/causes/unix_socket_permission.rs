//! # unix-socket-permission
//!
//! ## What happens
//!
//! To connect to a unix socket a process must be allowed to search every directory of its path and to write the socket
//! itself. nginx's worker user is not: mode, owner, group or ACL stand in its way. True for every version of nginx.
//!
//! ## What you see
//!
//! `connect() to unix:… failed (13: Permission denied) while connecting to upstream` at level `crit`, a 502 at once; as
//! root everything works.
//!
//! ## How we know
//!
//! Confirmed: the path was walked, and the mode, owner, group and ACL of one component deny the worker's user what it
//! needs. Likely: only the message was seen; a denial by SELinux or AppArmor looks the same.
//!
//! ## What would disprove it
//!
//! Every component allows it: then an access control above the modes denies it (`selinux-denied`, `apparmor-denied`).
//!
//! ## What to do
//!
//! Give the worker's user or group what it needs at that one component, in the backend's own settings, so that it lasts.
//!
//! ## Not to be confused with
//!
//! `selinux-denied`, `apparmor-denied` (the modes allow it), `unix-socket-missing` (errno 2), errno 13 on TCP (never a
//! file's permissions).
//!
//! ## References
//!
//! Linux: unix(7), "Pathname socket ownership and permissions"; path_resolution(7), acl(5).

use super::access::{Denial, denial};
use super::unix::broken;
use crate::case::{Case, Reach, Subject};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Origin, Ruling};
use crate::remedy::{Remedy, Risk};
use why502_facts::{Ask, Errno, FileKind, Gap, GapReason, Observed, PathWalk};

pub(super) static CAUSE: Cause = Cause {
    id: "unix-socket-permission",
    layer: Layer::Socket,
    acts_on: ActsOn::Host,
    effect: false,
    statuses: &[502],
    scope: Scope::Peer,
    supersedes: &[],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("unix_socket_permission.rs"),
};

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some(denied) = broken(case, subject, Errno::AccessDenied)? else { return Ok(Ruling::NoSign) };
    // Where no socket is, the mode is not what keeps anybody from it.
    let is_no_socket =
        |walk: &PathWalk| walk.target().is_some_and(|last| last.status.kind != FileKind::Socket);
    if denied.walk.clone().known().is_some_and(is_no_socket) {
        return Ok(Ruling::NoSign);
    }
    // A probe has the worker's user, and not its domain: where a security module confines the worker, it may be denied still.
    let is_confined = case.is_confined()? == Some(true);
    if denied.is_gone() && !is_confined {
        return Ok(Ruling::found(
            denied.finding(case, &CAUSE, Confidence::Likely, subject).still_failing(Some(false)),
        ));
    }
    let denied_now = denied.reach == Observed::Known(Reach::Failed(Errno::AccessDenied));
    let by_modes = match (denied.walk.clone(), case.worker()) {
        (Observed::Known(walk), Some(worker)) => Some(denial(walk, &worker)),
        _ => None,
    };
    let finding = |confidence| {
        denied.finding(case, &CAUSE, confidence, subject).still_failing(denied_now.then_some(true))
    };
    Ok(match by_modes {
        Some(Ok(Some(found))) => {
            let origin = Origin::Host(found.path.clone());
            Ruling::found(
                finding(Confidence::Confirmed)
                    .still_failing(Some(true))
                    .with([Evidence::supporting(found.says(), origin)]),
            )
        }
        Some(Ok(None)) if denied_now => {
            let says = format!(
                "mode, owner, group and ACL of every component of {} let the worker's user through",
                denied.path
            );
            Ruling::RuledOut(vec![Evidence::against(says, denied.path_origin())])
        }
        // What is seen now does not rule out what was.
        Some(Ok(None)) if is_confined => Ruling::NoSign,
        Some(Ok(None)) => Ruling::found(finding(Confidence::Likely)),
        Some(Err(())) | None => {
            let stopped = denied.walk.clone().known().and_then(|walk| walk.denied.clone());
            let gap = denied.walk.gap().cloned().or_else(|| {
                let ask = Ask::PathWalk { root: case.gateway.root, path: denied.path.to_string() };
                stopped.map(|says| Gap { ask, why: GapReason::Denied, says })
            });
            let open =
                gap.map(|gap| Case::open(gap, "whether the modes deny it, or an access control above them"));
            Ruling::found(finding(Confidence::Likely).open(open))
        }
    })
}

fn found(case: &Case<'_>, finding: &Finding) -> Option<(String, Option<Denial>)> {
    let path = finding.subjects.iter().find_map(|subject| subject.peer()?.address.unix_path())?;
    let denied = case
        .path_walk(path)
        .known()
        .zip(case.worker())
        .and_then(|(walk, worker)| denial(walk, &worker).ok()?);
    Some((path.to_owned(), denied))
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let title = match found(case, finding) {
        Some((_, Some(denied))) if finding.still_failing != Some(false) => denied.says(),
        Some((path, _)) => format!("nginx's worker user may not connect to {path}"),
        None => "nginx's worker user may not connect to the socket".to_owned(),
    };
    Explanation {
        title,
        why: "To connect, the worker's user needs to search every directory of the path and to write the socket, and one of \
              them denies it. nginx has no peer left to try and answers 502 at once."
            .to_owned(),
        wont_help: vec![
            "chmod 777 of the socket alone: every directory above it must be searchable too, and the next restart resets it".to_owned(),
            "restarting the backend: it would create the socket with the same mode again".to_owned(),
        ],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let Some((path, denied)) = found(case, finding).filter(|_| finding.still_failing != Some(false)) else {
        return Vec::new();
    };
    let advice = match &denied {
        Some(denied) => denied.advice(&path),
        None => format!(
            "see with `namei -l {path}` which component denies the worker's user; if none does, look for denials of SELinux or AppArmor"
        ),
    };
    vec![
        Remedy::new("Let the worker's user through at that one component", Risk::ShowOnly)
            .advice(advice)
            .verify(format!("a connection to unix:{path} as the worker's user opens")),
    ]
}

#[cfg(test)]
mod tests {
    use crate::causes::unix_socket_missing::tests::HIT as MISSING;
    use crate::fixture::Fixture;

    const OPEN: &str = "0755 0 0 dir /\n0755 0 0 dir /run\n0755 1000 1000 dir /run/shop\n";

    fn hit() -> Fixture {
        let log = MISSING.replace("(2: No such file or directory)", "(13: Permission denied)");
        Fixture::new(&log)
            .with("path /run/shop/app.sock", &format!("{OPEN}0660 1000 1000 sock /run/shop/app.sock"))
            .with("listeners", "unix:/run/shop/app.sock gunicorn")
            .with("probe unix:/run/shop/app.sock", "errno Permission denied")
    }

    #[test]
    fn hit_the_socket_may_not_be_written() {
        insta::assert_snapshot!(hit().summary(), @"
        Broken
        Confirmed unix-socket-permission: user 33 may not write /run/shop/app.sock (mode 0660, owner 1000, group 1000) [1 requests, still failing]
        ");
    }

    #[test]
    fn hit_a_directory_may_not_be_searched() {
        let closed = "0755 0 0 dir /\n0755 0 0 dir /run\n0750 1000 1000 dir /run/shop\n0777 1000 1000 sock /run/shop/app.sock";
        insta::assert_snapshot!(hit().with("path /run/shop/app.sock", closed).summary(), @"
        Broken
        Confirmed unix-socket-permission: user 33 may not search /run/shop (mode 0750, owner 1000, group 1000) [1 requests, still failing]
        ");
    }

    #[test]
    fn near_miss_the_modes_allow_it() {
        insta::assert_snapshot!(hit().with("path /run/shop/app.sock", &format!("{OPEN}0666 1000 1000 sock /run/shop/app.sock")).summary(), @"
        Inconclusive
        not unix-socket-permission: mode, owner, group and ACL of every component of /run/shop/app.sock let the worker's user through
        unexplained: 1
        ");
    }

    #[test]
    fn near_miss_the_group_lets_it_through() {
        let member = hit().with("worker", "33 33 33 1000");
        insta::assert_snapshot!(member.summary(), @"
        Inconclusive
        not unix-socket-permission: mode, owner, group and ACL of every component of /run/shop/app.sock let the worker's user through
        unexplained: 1
        ");
    }

    #[test]
    fn near_miss_the_worker_is_confined_and_the_probe_is_not() {
        let confined = hit()
            .with("path /run/shop/app.sock", &format!("{OPEN}0666 1000 1000 sock /run/shop/app.sock"))
            .with("probe unix:/run/shop/app.sock", "answers\nHTTP/1.1 200 OK\n\n")
            .with("confinement", "/usr/sbin/nginx (enforce)");
        insta::assert_snapshot!(confined.summary(), @"
        Inconclusive
        Possible apparmor-denied: AppArmor's profile /usr/sbin/nginx may deny nginx unix:/run/shop/app.sock [1 requests]
          open: the kernel's own record of the denial: the fixture does not tell
        ");
    }

    #[test]
    fn gap_only_the_message_was_seen() {
        insta::assert_snapshot!(hit().with("options", "offline").summary(), @"
        Broken
        Likely unix-socket-permission: nginx's worker user may not connect to /run/shop/app.sock [1 requests]
          open: whether the modes deny it, or an access control above them: not looked at: --offline
        ");
    }

    #[test]
    fn gap_the_path_cannot_be_walked() {
        insta::assert_snapshot!(hit().without("path /run/shop/app.sock").summary(), @"
        Broken
        Likely unix-socket-permission: nginx's worker user may not connect to /run/shop/app.sock [1 requests, still failing]
          open: whether the modes deny it, or an access control above them: the fixture does not tell
        ");
    }
}
