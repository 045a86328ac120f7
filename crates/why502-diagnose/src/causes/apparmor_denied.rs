//! # apparmor-denied
//!
//! ## What happens
//!
//! nginx's workers run under a profile of AppArmor in enforce mode, and the profile has no rule for what the backend's address
//! needs: the address family (`network inet6 stream,`), then socket(2) fails; or the path of the socket, where the kernel asks
//! for one, then connect(2) fails. True for every version of nginx.
//!
//! ## What you see
//!
//! `socket() failed (13: Permission denied)` at level `alert` and a 500, or `connect() to … failed (13: Permission denied)` and a
//! 502. `curl` and `sudo -u www-data` connect, since no profile confines them.
//!
//! ## How we know
//!
//! Confirmed: the kernel's own record (`apparmor="DENIED"`) of this profile, for this family or path, within two seconds of a
//! failure. Likely: the workers run under an enforced profile, and socket(2) itself was refused, which modes and routes never do.
//! A probe runs outside of the profile: that it connects proves nothing.
//!
//! ## What would disprove it
//!
//! The workers are unconfined, or the profile is in complain mode; modes deny the path already; an unconfined process of the
//! same user and network namespace is refused in the same way.
//!
//! ## What to do
//!
//! Add the one rule to the profile, and load it again. Taking the profile away, or setting it to complain mode, gives up everything
//! else that it protects.
//!
//! ## Not to be confused with
//!
//! `unix-socket-permission` (mode, owner or ACL), `selinux-denied`, `systemd-sandbox-denied` (errno 97 from socket(2)).
//!
//! ## References
//!
//! Linux: security/apparmor/lsm.c, security/apparmor/net.c (`aa_af_perm`), security/apparmor/audit.c; apparmor.d(5),
//! apparmor_parser(8). Whether connect(2) to a path is asked for depends on kernel and policy version: Debian 12 does not.

mod remedy;
#[cfg(test)]
mod tests;

use super::access::denial as mode_denial;
use super::forbidden::{Forbidden, forbidden, no_connection, no_socket};
use crate::case::{Case, PeerSubject, Subject, Symptom, or_ask};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Origin, Ruling};
use why502_facts::{AppArmorDenial, Confinement, Denial, Denied, Errno, Observed, PeerAddress};

pub(super) static CAUSE: Cause = Cause {
    id: "apparmor-denied",
    layer: Layer::Socket,
    acts_on: ActsOn::Host,
    effect: false,
    statuses: &[500, 502],
    scope: Scope::Peer,
    supersedes: &["unix-socket-permission"],
    detect: Detect::Alone(detect),
    explain,
    remedies: remedy::remedies,
    manual: manual!("apparmor_denied.rs"),
};

/// Whether the kernel refused to create or to connect a socket.
fn is_refused(symptom: &Symptom) -> bool {
    no_connection(Errno::AccessDenied)(symptom) || no_socket(Errno::AccessDenied)(symptom)
}

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some(refused) = forbidden(case, subject, is_refused)? else { return Ok(Ruling::NoSign) };
    let Some(confinement) = case.confinement() else { return Ok(Ruling::NoSign) };
    let confinement = match or_ask(confinement)? {
        Observed::Known(confinement) => confinement,
        Observed::Absent => return Ok(Ruling::NoSign),
        Observed::Unknown(gap) => return Ok(unseen(case, &refused, subject, gap)),
    };
    let Confinement::AppArmor { profile, mode } = confinement else { return Ok(Ruling::NoSign) };
    if refused.is_refused_to_others() && refused.peer.address.inet().is_some() {
        let says = "an unconfined process in the same network namespace is refused in the same way";
        return Ok(Ruling::RuledOut(vec![Evidence::against(says, case.probe_origin(refused.peer))]));
    }
    if let Some((denial, log)) = recorded(case, &refused, profile)? {
        let Denied::AppArmor(what) = &denial.what else { return Ok(Ruling::NoSign) };
        remedy::wanted(case, profile)?;
        let says = format!("the kernel denied it by the profile {profile}: {}", says_of(what));
        let since = case.is_served_from(refused.peer, Some(denial.at));
        // Whether the profile that is loaded now has the rule nobody can see: it is compiled.
        let stands = (since || confinement.enforced_profile().is_none()).then_some(false);
        let finding = refused.finding(case, &CAUSE, Confidence::Confirmed, subject, stands);
        return Ok(Ruling::found(finding.with([Evidence::supporting(says, Origin::Host(log.to_owned()))])));
    }
    if confinement.enforced_profile().is_none() {
        return Ok(Ruling::NoSign);
    }
    if let Some(path) = refused.peer.address.unix_path() {
        let walk = or_ask(case.path_walk(path))?;
        let by_modes = walk.known().zip(case.worker()).map(|(walk, worker)| mode_denial(walk, &worker));
        // Modes are looked at first; what cannot be seen of them may be what denies.
        if !matches!(by_modes, Some(Ok(None))) {
            return Ok(Ruling::NoSign);
        }
    }
    let unread = case.unseen_denials(profile);
    // No mode, route or address makes socket(2) fail so; a connection may be refused by something else.
    let is_socket =
        case.symptoms_of(refused.peer).any(|(_, _, symptom)| no_socket(Errno::AccessDenied)(symptom));
    let confidence = if is_socket { Confidence::Likely } else { Confidence::Possible };
    let says = format!("the workers run under the profile {profile} ({mode})");
    let origin = Origin::Host(format!("/proc/{}/attr/current", case.worker().map_or(0, |worker| worker.pid)));
    let open = unread.map(|gap| Case::open(gap, "the kernel's own record of the denial"));
    Ok(Ruling::found(
        refused
            .finding(case, &CAUSE, confidence, subject, None)
            .with([Evidence::supporting(says, origin)])
            .open(open),
    ))
}

/// The newest record of a denial by the profile that is about this peer, and had an effect.
fn recorded<'c>(
    case: &'c Case<'_>,
    refused: &Forbidden<'_>,
    profile: &str,
) -> Result<Option<(&'c Denial, &'c str)>, Asks> {
    let is_it = |(denial, _): &(&Denial, &str)| {
        !denial.only_noted
            && matches!(&denial.what, Denied::AppArmor(what)
                if what.profile == profile && is_about(what, refused.peer))
    };
    Ok(refused.newest(case, case.denials_of(profile)?.into_iter().filter(is_it)))
}

/// Whether a denial is one of a socket for this peer.
fn is_about(what: &AppArmorDenial, peer: &PeerSubject) -> bool {
    let family = match &peer.address {
        PeerAddress::Unix(_) => "unix",
        PeerAddress::Inet(address) if address.is_ipv4() => "inet",
        PeerAddress::Inet(_) => "inet6",
    };
    let is_family = what.family.as_deref() == Some(family);
    match what.operation.as_str() {
        "create" => is_family,
        "connect" => match (&what.name, peer.address.unix_path()) {
            (Some(name), Some(path)) => name == path,
            _ => is_family,
        },
        _ => false,
    }
}

/// What was denied.
fn says_of(what: &AppArmorDenial) -> String {
    match (&what.name, &what.family) {
        (Some(name), _) => format!("to {} {name}", what.operation),
        (None, Some(family)) => format!("to {} a socket of the family {family}", what.operation),
        (None, None) => format!("to {}", what.operation),
    }
}

/// Nobody could see how nginx is confined; on TCP, and of socket(2), no mode is asked.
fn unseen(case: &Case<'_>, refused: &Forbidden<'_>, subject: &Subject, gap: why502_facts::Gap) -> Ruling {
    let created =
        !case.symptoms_of(refused.peer).any(|(_, _, symptom)| no_socket(Errno::AccessDenied)(symptom));
    if created {
        return Ruling::NoSign;
    }
    let open = Case::open(gap, "whether a profile confines nginx");
    Ruling::found(refused.finding(case, &CAUSE, Confidence::Possible, subject, None).open([open]))
}

/// The profile of the workers, and what it denied, if a record tells.
fn found<'c>(case: &'c Case<'_>, finding: &Finding) -> Option<(&'c str, Option<&'c AppArmorDenial>)> {
    let Observed::Known(Confinement::AppArmor { profile, .. }) = case.confinement()? else { return None };
    let subject = finding.subjects.iter().find(|subject| subject.peer().is_some())?;
    let refused = forbidden(case, subject, is_refused).ok()??;
    let what = recorded(case, &refused, profile).ok()?.and_then(|(denial, _)| match &denial.what {
        Denied::AppArmor(what) => Some(what),
        Denied::SeLinux(_) => None,
    });
    Some((profile, what))
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let address = finding.address();
    let title = match found(case, finding) {
        Some((profile, Some(what))) => {
            format!("AppArmor's profile {profile} denies nginx {}, and so {address}", says_of(what))
        }
        Some((profile, None)) => format!("AppArmor's profile {profile} may deny nginx {address}"),
        None => format!("a profile of AppArmor may deny nginx {address}"),
    };
    Explanation {
        title,
        why: "The kernel refuses the system call with EACCES, because no rule of the profile allows it. A socket that cannot be \
              created is an error of nginx's own, a 500; one that cannot be connected leaves no peer, a 502."
            .to_owned(),
        wont_help: vec![
            "aa-complain, aa-disable or unloading the profile: it gives up everything else that it protects".to_owned(),
            "chmod, chown or running the workers as root: the profile holds for root as well".to_owned(),
            "testing with curl or `sudo -u`: no profile confines these".to_owned(),
        ],
    }
}
