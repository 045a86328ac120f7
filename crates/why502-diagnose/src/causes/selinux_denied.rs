//! # selinux-denied
//!
//! ## What happens
//!
//! SELinux denies nginx's domain the connection: the policy has no rule that lets it connect to a port of that type, write
//! a socket with that label, or connect to a process of that domain. connect(2) fails with EACCES before anything is sent,
//! whatever modes and owners say and whatever listens there. True for every version of nginx.
//!
//! ## What you see
//!
//! `connect() to … failed (13: Permission denied) while connecting to upstream` at level `crit`, on TCP or on a unix socket
//! whose modes allow it, a 502 at once. `curl` and `sudo -u www-data` connect, since they run in another domain.
//!
//! ## How we know
//!
//! Confirmed: the kernel's own record (AVC) of what a connection needs (`name_connect`, `connectto`, `write` of a socket,
//! `search` of a directory, `read` of a link) denied to nginx itself, for this port or path, within two seconds of a failure, by
//! an enforcing SELinux, and on a unix socket modes that let the worker through. Likely: such a record where the modes may not be
//! seen; or none was found or may be read, but the loaded policy, asked through `/sys/fs/selinux/access`, denies it for the
//! labels of the socket and of who listens. Possible: a record, and modes that deny it now. Whether it stands now is that
//! policy's answer, never that of a probe: a probe runs in another domain.
//!
//! ## What would disprove it
//!
//! SELinux or the domain is permissive, the record is another program's (PHP-FPM may run in nginx's domain), the modes deny it
//! already: they are asked first; an unconfined process of the same user and network
//! namespace is refused in the same way (a `prohibit` route), or the policy allows it for these labels. That no record is
//! found disproves nothing: rules may keep denials silent, and the kernel drops messages.
//!
//! ## What to do
//!
//! The narrowest thing that lets it through: a label for the port or for the socket's directory, or the one boolean that is
//! about it. Where none fits, a module of the policy with the one rule that is missing. Turning SELinux off, or making it
//! permissive, gives up much more than this connection.
//!
//! ## Not to be confused with
//!
//! `unix-socket-permission` (mode, owner or ACL deny it), `apparmor-denied`, `systemd-sandbox-denied`.
//!
//! ## References
//!
//! Linux: security/selinux/hooks.c (`selinux_socket_connect`, `selinux_socket_unix_stream_connect`), security/selinux/avc.c;
//! selinux(8), httpd_selinux(8), semanage-port(8), semanage-fcontext(8), booleans(8).

mod remedy;
#[cfg(test)]
mod tests;

use super::access::denial as mode_denial;
use super::forbidden::{Forbidden, forbidden, no_connection};
use crate::case::{Case, PeerSubject, Subject, or_ask};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Open, Origin, Ruling};
use why502_facts::{
    Ask, Confinement, Denial, Denied, Errno, Gap, GapReason, Observed, PeerAddress, SeLinuxDenial,
    selinux_type,
};

pub(super) static CAUSE: Cause = Cause {
    id: "selinux-denied",
    layer: Layer::Socket,
    acts_on: ActsOn::Host,
    effect: false,
    statuses: &[502],
    scope: Scope::Peer,
    supersedes: &["unix-socket-permission"],
    detect: Detect::Alone(detect),
    explain,
    remedies: remedy::remedies,
    manual: manual!("selinux_denied.rs"),
};

/// What is wanted of something, as SELinux names it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Want {
    /// The context of the object.
    object: String,
    class: String,
    permission: String,
}

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some(refused) = forbidden(case, subject, no_connection(Errno::AccessDenied))? else {
        return Ok(Ruling::NoSign);
    };
    let confinement = match case.confinement() {
        Some(confinement) => or_ask(confinement)?,
        None => return Ok(unseen(case, &refused, subject, None)),
    };
    let (context, enforcing) = match confinement {
        Observed::Known(Confinement::SeLinux { context, enforcing }) => (context.as_str(), *enforcing),
        Observed::Known(_) | Observed::Absent => return Ok(Ruling::NoSign),
        Observed::Unknown(gap) => return Ok(unseen(case, &refused, subject, Some(gap))),
    };
    if refused.is_refused_to_others() && refused.peer.address.inet().is_some() {
        let says = format!(
            "a process outside of {}, in the same network namespace, is refused in the same way",
            selinux_type(context)
        );
        return Ok(Ruling::RuledOut(vec![Evidence::against(says, case.probe_origin(refused.peer))]));
    }
    if let Some((denial, log)) = recorded(case, &refused, context)? {
        return confirmed(case, &refused, subject, (context, enforcing), (denial, log));
    }
    if enforcing == Some(false) {
        return Ok(Ruling::NoSign);
    }
    let unread = case.unseen_denials(context);
    match refused.peer.address.unix_path() {
        Some(_) => by_labels(case, &refused, subject, context, unread),
        None => Ok(by_elimination(case, &refused, subject, unread)),
    }
}

/// The newest record of a denial of the domain that is about this peer, and had an effect.
fn recorded<'c>(
    case: &'c Case<'_>,
    refused: &Forbidden<'_>,
    context: &str,
) -> Result<Option<(&'c Denial, &'c str)>, Asks> {
    let is_it = |(denial, _): &(&Denial, &str)| {
        !denial.only_noted
            && case.may_be_of_gateway(denial, &refused.failures)
            && matches!(&denial.what, Denied::SeLinux(what) if is_about(what, context, refused.peer))
    };
    Ok(refused.newest(case, case.denials_of(context)?.into_iter().filter(is_it)))
}

/// Whether a denial is one of a domain, of what a connection to this peer needs.
fn is_about(what: &SeLinuxDenial, context: &str, peer: &PeerSubject) -> bool {
    let is_needed =
        needed(&what.class).is_some_and(|needed| what.permissions.iter().any(|own| own == needed));
    if selinux_type(&what.subject) != selinux_type(context) || !is_needed {
        return false;
    }
    let name = what.name.as_deref();
    match (&peer.address, what.class.as_str()) {
        (PeerAddress::Inet(address), _) => what.port == Some(address.port()),
        (PeerAddress::Unix(path), "unix_stream_socket") => what.path.as_ref().is_none_or(|own| own == path),
        (PeerAddress::Unix(path), "sock_file") => {
            name.is_some_and(|name| path.ends_with(&format!("/{name}")))
        }
        (PeerAddress::Unix(path), "dir" | "lnk_file") => {
            name.is_some_and(|name| path.split('/').any(|component| component == name))
        }
        (PeerAddress::Unix(_), _) => false,
    }
}

/// What a connection needs of an object of a class: of a directory on the way, a link, the socket's file, who listens, a port.
fn needed(class: &str) -> Option<&'static str> {
    match class {
        "dir" => Some("search"),
        "lnk_file" => Some("read"),
        "sock_file" => Some("write"),
        "unix_stream_socket" => Some("connectto"),
        _ => class.ends_with("_socket").then_some("name_connect"),
    }
}

impl Want {
    fn of(what: &SeLinuxDenial) -> Self {
        let permission = needed(&what.class).unwrap_or_default().to_owned();
        Self { object: what.object.clone(), class: what.class.clone(), permission }
    }

    fn decided<'c>(&self, case: &'c Case<'_>, context: &str) -> Observed<&'c why502_facts::Decision> {
        case.facts.decision(context, &self.object, &self.class, &self.permission)
    }

    /// What was denied to whom.
    fn says(&self, context: &str) -> String {
        format!(
            "{} may not {} a {} of type {}",
            selinux_type(context),
            self.permission,
            self.class,
            selinux_type(&self.object)
        )
    }
}

fn confirmed(
    case: &Case<'_>,
    refused: &Forbidden<'_>,
    subject: &Subject,
    (context, enforcing): (&str, Option<bool>),
    (denial, log): (&Denial, &str),
) -> Result<Ruling, Asks> {
    let Denied::SeLinux(what) = &denial.what else { return Ok(Ruling::NoSign) };
    let want = Want::of(what);
    let decision = or_ask(want.decided(case, context))?;
    let stands = match (enforcing, decision) {
        (Some(false), _) => Some(false),
        (_, Observed::Known(decision)) => Some(!decision.allowed && !decision.permissive),
        (_, Observed::Absent | Observed::Unknown(_)) => None,
    };
    if stands != Some(false) {
        remedy::wanted(case, context, refused.peer, &want)?;
    }
    let (confidence, open) = beside_modes(case, refused.peer)?;
    let stands = stands.filter(|_| confidence > Confidence::Possible);
    let says = format!("the kernel denied it then: {}", want.says(context));
    let mut evidence = vec![Evidence::supporting(says, Origin::Host(log.to_owned()))];
    evidence.extend(decided_now(case, context, &want));
    let finding = refused.finding(case, &CAUSE, confidence, subject, stands);
    Ok(Ruling::found(finding.with(evidence).open(open)))
}

/// How sure a record is beside the modes along a unix socket's path, which the kernel looks at first (`unix_find_bsd` in
/// net/unix/af_unix.c): what they deny SELinux is not asked.
fn beside_modes(case: &Case<'_>, peer: &PeerSubject) -> Result<(Confidence, Option<Open>), Asks> {
    let Some(path) = peer.address.unix_path() else { return Ok((Confidence::Confirmed, None)) };
    let walk = match (or_ask(case.path_walk(path))?, case.worker()) {
        (Observed::Known(walk), Some(worker)) => mode_denial(walk, &worker),
        (Observed::Unknown(gap), _) => {
            let open = Case::open(gap, "whether the modes along the path deny it already");
            return Ok((Confidence::Likely, Some(open)));
        }
        _ => Err(()),
    };
    let confidence = match walk {
        Ok(None) => Confidence::Confirmed,
        Ok(Some(_)) => Confidence::Possible,
        Err(()) => Confidence::Likely,
    };
    Ok((confidence, None))
}

/// What the policy says now, as evidence.
fn decided_now(case: &Case<'_>, context: &str, want: &Want) -> Option<Evidence> {
    let decision = want.decided(case, context).known()?;
    let origin = Origin::Host("/sys/fs/selinux/access".to_owned());
    Some(match (decision.allowed, decision.permissive) {
        (true, _) => Evidence::context("the loaded policy allows it now", origin),
        (false, true) => Evidence::context("the domain is permissive now: nothing is denied it", origin),
        (false, false) => {
            Evidence::supporting(format!("the loaded policy still has it so: {}", want.says(context)), origin)
        }
    })
}

/// Without a record: what the policy says of the socket's label and of the domain of who listens.
fn by_labels(
    case: &Case<'_>,
    refused: &Forbidden<'_>,
    subject: &Subject,
    context: &str,
    unread: Option<Gap>,
) -> Result<Ruling, Asks> {
    let path = refused.peer.address.unix_path().unwrap_or_default();
    let walk = or_ask(case.path_walk(path))?;
    let (Observed::Known(walk), Some(worker)) = (walk, case.worker()) else { return Ok(Ruling::NoSign) };
    // What the modes deny SELinux is not asked.
    if !matches!(mode_denial(walk, &worker), Ok(None)) {
        return Ok(Ruling::NoSign);
    }
    let wants = wants_of_socket(case, refused.peer)?;
    let mut asks = Asks::new();
    let mut all_known = !wants.is_empty();
    let mut denied = None;
    for want in wants {
        match or_ask(want.decided(case, context)) {
            Err(own) => asks.extend(own),
            Ok(Observed::Known(decision)) if !decision.allowed && !decision.permissive => {
                denied = denied.or(Some(want));
            }
            Ok(Observed::Known(_)) => {}
            Ok(Observed::Absent | Observed::Unknown(_)) => all_known = false,
        }
    }
    if !asks.is_empty() {
        return Err(asks);
    }
    let Some(want) = denied else {
        return Ok(if all_known {
            let says = format!("the loaded policy lets {} connect to {path}", selinux_type(context));
            let origin = Origin::Host("/sys/fs/selinux/access".to_owned());
            Ruling::RuledOut(vec![Evidence::against(says, origin)])
        } else {
            Ruling::NoSign
        });
    };
    remedy::wanted(case, context, refused.peer, &want)?;
    let open = unread.map(|gap| Case::open(gap, "the kernel's own record of the denial"));
    Ok(Ruling::found(
        refused
            .finding(case, &CAUSE, Confidence::Likely, subject, Some(true))
            .with(decided_now(case, context, &want))
            .open(open),
    ))
}

/// What a connection to a unix socket needs, by the labels that can be seen.
fn wants_of_socket(case: &Case<'_>, peer: &PeerSubject) -> Result<Vec<Want>, Asks> {
    let path = peer.address.unix_path().unwrap_or_default();
    let walk = or_ask(case.path_walk(path))?;
    let label = walk.known().and_then(|walk| walk.target()?.label.clone());
    let file =
        label.map(|object| Want { object, class: "sock_file".to_owned(), permission: "write".to_owned() });
    let listener = listener_context(case, peer)?.map(|object| Want {
        object,
        class: "unix_stream_socket".to_owned(),
        permission: "connectto".to_owned(),
    });
    Ok(file.into_iter().chain(listener).collect())
}

/// The context of who listens on a peer's address.
fn listener_context(case: &Case<'_>, peer: &PeerSubject) -> Result<Option<String>, Asks> {
    let Some(listener) = case.listeners_of(peer).first().map(|process| process.pid) else { return Ok(None) };
    Ok(match or_ask(case.facts.confinement(listener))? {
        Observed::Known(Confinement::SeLinux { context, .. }) => Some(context.clone()),
        _ => None,
    })
}

/// Without a record, on TCP: which type the port has only the policy knows, and something else may have refused it.
fn by_elimination(
    case: &Case<'_>,
    refused: &Forbidden<'_>,
    subject: &Subject,
    unread: Option<Gap>,
) -> Ruling {
    let open = unread.map(|gap| Case::open(gap, "the kernel's own record of the denial"));
    let says = "no mode or owner is asked for a TCP connection, and nginx's domain is confined by SELinux";
    Ruling::found(
        refused
            .finding(case, &CAUSE, Confidence::Possible, subject, None)
            .with([Evidence::context(says, Origin::Derived)])
            .open(open),
    )
}

/// Nobody could see how nginx is confined. A unix socket is refused by modes more often than by anything else.
fn unseen(case: &Case<'_>, refused: &Forbidden<'_>, subject: &Subject, gap: Option<Gap>) -> Ruling {
    if refused.peer.address.unix_path().is_some() {
        return Ruling::NoSign;
    }
    let not_running = || Gap {
        ask: Ask::Processes,
        why: GapReason::NotAsked,
        says: "no worker of nginx was looked at".to_owned(),
    };
    let gap = gap.unwrap_or_else(|| case.facts.processes().gap().cloned().unwrap_or_else(not_running));
    let open = Case::open(gap, "whether SELinux confines nginx");
    Ruling::found(refused.finding(case, &CAUSE, Confidence::Possible, subject, None).open([open]))
}

/// The context of the workers, and what was denied to it: by a record, else by the policy.
fn found(case: &Case<'_>, finding: &Finding) -> Option<(String, Option<Want>)> {
    let Observed::Known(Confinement::SeLinux { context, .. }) = case.confinement()? else { return None };
    let subject = finding.subjects.iter().find(|subject| subject.peer().is_some())?;
    let refused = forbidden(case, subject, no_connection(Errno::AccessDenied)).ok()??;
    let of_record = recorded(case, &refused, context).ok()?.and_then(|(denial, _)| match &denial.what {
        Denied::SeLinux(what) => Some(Want::of(what)),
        Denied::AppArmor(_) => None,
    });
    let by_policy = || {
        let wants = wants_of_socket(case, refused.peer).ok()?;
        wants.into_iter().find(|want| want.decided(case, context).known().is_some_and(|now| !now.allowed))
    };
    Some((context.clone(), of_record.or_else(by_policy)))
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let address = finding.address();
    let title = match found(case, finding) {
        Some((context, Some(want))) if finding.confidence > Confidence::Possible => {
            let (domain, object) = (selinux_type(&context), selinux_type(&want.object));
            format!(
                "SELinux denies nginx ({domain}) the connection to {address} ({object}: {})",
                want.permission
            )
        }
        Some((context, _)) => {
            format!("SELinux may deny nginx ({}) the connection to {address}", selinux_type(&context))
        }
        None => {
            format!("an access control above modes and owners may deny nginx the connection to {address}")
        }
    };
    Explanation {
        title,
        why: "The kernel refuses connect(2) with EACCES before anything is sent, because no rule of the policy allows it to \
              nginx's domain. nginx has no peer left to try and answers 502 at once."
            .to_owned(),
        wont_help: vec![
            "setenforce 0 or a permissive domain: it gives up every other protection as well, and comes back with the next boot"
                .to_owned(),
            "chmod, chown or running the workers as root: SELinux does not ask for modes or users".to_owned(),
            "testing with curl or `sudo -u`: these run in another domain and connect".to_owned(),
        ],
    }
}
