//! # unix-socket-other-namespace
//!
//! ## What happens
//!
//! The backend listens on the very path that nginx dials, and the path is not the same file for both: one of them has a
//! private `/tmp`, a mount namespace, a root directory or a volume of its own. nginx finds no file there, or an old socket
//! that nobody listens behind. True for every version of nginx.
//!
//! ## What you see
//!
//! `connect() to unix:… failed (2: No such file or directory)`, or `(111: Connection refused)` where an old file is left,
//! although `ss -xl` shows a listener with that very path and the backend's own log says that it listens.
//!
//! ## How we know
//!
//! A process listens on that path in the kernel, in nginx's network namespace or in another one, and the path was walked
//! as it sees it and as nginx sees it: it finds a socket, nginx none or another file. Confirmed: neither is in a container
//! that the other is not in, or something ties that process to the upstream. Likely: it is in another container, where the
//! path may be another project's, several processes listen on such a path, or only the namespaces were seen; that it speaks
//! the route's protocol is no tie. Possible: it also bears another name, or the engine says that the two containers have
//! neither a project nor a network in common: then it may be another project's, and no volume is to be shared before that
//! is known.
//!
//! ## What would disprove it
//!
//! The path leads both to the same file (then `unix-socket-unlinked`), or nobody listens on it (`unix-socket-missing`). It
//! answered this nginx while that process was up already: then another one has died (`unix-socket-stale`).
//!
//! ## What to do
//!
//! Put the socket into a directory that both see: one below `/run` that the backend's unit makes (`RuntimeDirectory=`), or
//! a volume that is mounted into both containers.
//!
//! ## Not to be confused with
//!
//! `unix-socket-unlinked` (the file was removed), `unix-socket-wrong-path` (it is at another path),
//! `localhost-inside-container` (the same for TCP: there the network namespace decides, here the files do).
//!
//! ## References
//!
//! Linux: unix(7), mount_namespaces(7), `unix_find_bsd` in net/unix/af_unix.c. systemd.exec(5) on `PrivateTmp=`,
//! `RuntimeDirectory=`. nginx: `ngx_event_connect_peer`.

use super::localhost_inside_container::are_strangers;
use super::ties::strength_of;
use super::unix::{Broken, View, broken, missing};
use crate::case::{Case, Subject, or_ask};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Origin, Ruling};
use crate::remedy::{Remedy, Risk};
use why502_facts::{Errno, Observed, PathWalk, PeerAddress, Root, SocketTable};

pub(super) static CAUSE: Cause = Cause {
    id: "unix-socket-other-namespace",
    layer: Layer::Socket,
    acts_on: ActsOn::Host,
    effect: false,
    statuses: &[502],
    scope: Scope::Peer,
    supersedes: &["unix-socket-missing", "unix-socket-stale", "unix-socket-unlinked"],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("unix_socket_other_namespace.rs"),
};

/// A directory that services and gateways of one host share.
const SHARED: &str = "/run";

/// Who listens on the path where nginx does not see it.
struct Holder<'c> {
    /// The process that was asked which files it sees.
    pid: u32,
    pids: &'c [u32],
    /// Whether its file was seen.
    is_seen: bool,
}

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some(broken) = failing(case, subject)? else { return Ok(Ruling::NoSign) };
    let holders = holders(case, &broken)?;
    let Some(holder) = holders.first() else { return Ok(Ruling::NoSign) };
    if let Some(against) = answered_beside(case, &broken, holder) {
        return Ok(Ruling::RuledOut(vec![against]));
    }
    let Some(confidence) = confidence(case, &broken, holder)? else { return Ok(Ruling::NoSign) };
    let confidence = if holders.len() > 1 { confidence.min(Confidence::Likely) } else { confidence };
    let shared = [case.facts.path_walk(case.gateway.root, SHARED), case.path_walk_of(holder.pid, SHARED)];
    let unasked: Asks = shared.into_iter().filter_map(|walk| or_ask(walk).err()).flatten().collect();
    if !unasked.is_empty() {
        return Err(unasked);
    }
    let listens = format!("{} listens on that very path in the kernel", case.owners(holder.pids));
    let origin = |pid| Origin::Host(format!("/proc/{pid}/root{}", broken.path));
    let parting = parting(case, broken.path, holder.pid);
    let files = if holder.is_seen {
        let place =
            parting.map(|place| format!(": from {place} on they see different files")).unwrap_or_default();
        Evidence::supporting(
            format!("its {} is another file than nginx's{place}", broken.path),
            origin(holder.pid),
        )
    } else {
        let says = "its mount namespace or its root directory is another than nginx's";
        Evidence::supporting(says, Origin::Host(format!("/proc/{}/ns/mnt", holder.pid)))
    };
    let gap = (!holder.is_seen).then(|| case.path_walk_of(holder.pid, broken.path).gap().cloned()).flatten();
    let finding = broken
        .finding(case, &CAUSE, confidence, subject)
        .still_failing(Some(true))
        .with([Evidence::supporting(listens, case.sockets_origin()), files])
        .open(gap.map(|gap| Case::open(gap, "what the listener sees at that path")));
    Ok(Ruling::found(finding))
}

/// The socket that cannot be connected to now, because its path leads to nothing or to nobody.
fn failing<'c>(case: &'c Case<'_>, subject: &'c Subject) -> Result<Option<Broken<'c>>, Asks> {
    let found = match missing(case, subject)?.filter(|missing| missing.is_absent() || missing.fails_now()) {
        Some(missing) => Some(missing),
        None => broken(case, subject, Errno::ConnectionRefused)?.filter(Broken::fails_now),
    };
    Ok(found.filter(|broken| !broken.is_gone()))
}

/// Those who listen on the path in the kernel and see another file there: in nginx's network namespace, else in the others.
/// None where somebody sees the same as nginx.
fn holders<'c>(case: &'c Case<'_>, broken: &Broken<'_>) -> Result<Vec<Holder<'c>>, Asks> {
    let own = match case.sockets() {
        Observed::Known(table) => views(case, broken, [table])?,
        Observed::Absent | Observed::Unknown(_) => Some(Vec::new()),
    };
    match own {
        None => Ok(Vec::new()),
        Some(own) if !own.is_empty() => Ok(own),
        Some(_) => {
            let Observed::Known(others) = or_ask(case.other_sockets())? else { return Ok(Vec::new()) };
            let tables = others.namespaces.iter().map(|own| &own.table);
            Ok(views(case, broken, tables)?.unwrap_or_default())
        }
    }
}

/// `None` where somebody who listens sees the same as nginx.
fn views<'c>(
    case: &Case<'_>,
    broken: &Broken<'_>,
    tables: impl IntoIterator<Item = &'c SocketTable>,
) -> Result<Option<Vec<Holder<'c>>>, Asks> {
    let (mut found, mut asks) = (Vec::new(), Asks::new());
    let sockets = tables.into_iter().flat_map(|table| &table.unix);
    for socket in sockets.filter(|socket| socket.listening && socket.path == broken.path) {
        match broken.view_of(case, &socket.pids) {
            Err(own) => asks.extend(own),
            Ok(View::Other { pid, is_seen }) => found.push(Holder { pid, pids: &socket.pids, is_seen }),
            Ok(View::Shared) => return Ok(None),
            Ok(View::Unknown(_)) => {}
        }
    }
    if asks.is_empty() { Ok(Some(found)) } else { Err(asks) }
}

/// An answer of the path to this very nginx while the holder was there already: somebody else gave it.
fn answered_beside(case: &Case<'_>, broken: &Broken<'_>, holder: &Holder<'_>) -> Option<Evidence> {
    let (at, line) = case.last_success(broken.peer)?;
    let own = case.gateway.master.and_then(|pid| case.listed(pid))?.started?;
    let theirs = holder.pids.iter().filter_map(|pid| case.listed(*pid)?.started).min()?;
    let says = format!(
        "{} answered this nginx at {at}, when {} was up already",
        broken.path,
        case.owners(holder.pids)
    );
    (at > own && at > theirs).then(|| Evidence::against(says, Origin::Log(line.clone())))
}

/// How sure it is that the holder is the backend; `None` if it is not.
fn confidence(case: &Case<'_>, broken: &Broken<'_>, holder: &Holder<'_>) -> Result<Option<Confidence>, Asks> {
    let strength = strength_of(case, broken.peer, &broken.peer.address, holder.pids)?;
    let (own, theirs) = (case.gateway_process(), case.listed(holder.pid));
    let is_one_host =
        own.and_then(|own| own.container.as_ref()) == theirs.and_then(|own| own.container.as_ref());
    // A file that is left, and answers of old: somebody listened where nginx sees it.
    let was_another = !broken.is_absent() && case.last_success(broken.peer).is_some();
    let Some(strength) = strength else { return Ok(None) };
    if strangers(case, holder.pid)?.is_some() {
        return Ok(Some(Confidence::Possible));
    }
    Ok(Some(match strength {
        // On one host the path says whose it is.
        Confidence::Likely if is_one_host && holder.is_seen && !was_another => Confidence::Confirmed,
        strength if holder.is_seen => strength,
        strength => strength.min(Confidence::Likely),
    }))
}

/// nginx's container and that of a process, by their names, where their engine knows both and nothing that they have in common.
fn strangers<'c>(case: &'c Case<'_>, pid: u32) -> Result<Option<(&'c str, &'c str)>, Asks> {
    let is_contained = case.listed(pid).is_some_and(|process| process.container.is_some());
    if !is_contained || case.gateway_process().is_none_or(|own| own.container.is_none()) {
        return Ok(None);
    }
    let engines = case.engines()?;
    let both = case.own_container(&engines).zip(case.container_of(&engines, pid));
    let strangers = both.filter(|(own, theirs)| are_strangers(own, theirs));
    Ok(strangers.map(|(own, theirs)| (own.name.as_str(), theirs.name.as_str())))
}

/// From which directory on a process sees other files than nginx.
fn parting<'c>(case: &'c Case<'_>, path: &str, pid: u32) -> Option<&'c str> {
    let (own, theirs) = (case.path_walk(path).known()?, case.path_walk_of(pid, path).known()?);
    let differs = own.components.iter().zip(&theirs.components).find(|(own, theirs)| {
        own.path == theirs.path
            && own.identity.zip(theirs.identity).is_some_and(|(own, theirs)| own != theirs)
    });
    differs.map(|(own, _)| own.path.as_str())
}

/// Whether nginx and a process see the same directory for services.
fn shares_run(case: &Case<'_>, pid: u32) -> bool {
    let identity = |walk: &PathWalk| walk.target()?.identity;
    let own = case.facts.path_walk(case.gateway.root, SHARED).known().and_then(identity);
    own.is_some() && own == case.path_walk_of(pid, SHARED).known().and_then(identity)
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let path = finding.peer().and_then(|peer| peer.address.unix_path()).unwrap_or_default();
    let place = found(case, finding).map(|(_, pid)| (case.place_of(pid), parting(case, path, pid)));
    let (place, parting) = place.unwrap_or_default();
    let backend = if place.is_empty() { "the backend".to_owned() } else { format!("the backend in {place}") };
    let what = parting.filter(|parting| *parting != "/" && *parting != path);
    let what = what.map(|parting| format!(": each has a {parting} of its own")).unwrap_or_default();
    let mut wont_help = vec!["chmod, chown or setenforce 0: a denial is errno 13".to_owned()];
    // Where it is perhaps somebody else's, starting the own backend is what helps.
    if finding.confidence > Confidence::Possible {
        let restart = "restarting the backend: it would create the socket where nginx does not see it again";
        wont_help.insert(0, restart.to_owned());
    }
    Explanation {
        title: if finding.confidence == Confidence::Possible {
            format!("{path} is not the same file for nginx and for what is perhaps {backend}{what}")
        } else {
            format!("{path} is not the same file for nginx and for {backend}{what}")
        },
        why: "A unix socket is found by its file, and the backend made the file in a mount namespace, a root directory or a \
              volume that nginx does not see. nginx finds nothing that listens at its own path and answers 502 at once."
            .to_owned(),
        wont_help,
    }
}

/// The dialled path and the process that holds it elsewhere.
fn found<'f>(case: &Case<'_>, finding: &'f Finding) -> Option<(&'f str, u32)> {
    let subject = finding.subjects.iter().find(|subject| subject.peer().is_some())?;
    let path = subject.peer()?.address.unix_path()?;
    let broken = failing(case, subject).ok()??;
    Some((path, holders(case, &broken).ok()?.first()?.pid))
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let Some((path, pid)) = found(case, finding) else { return Vec::new() };
    let container = |pid: u32| case.listed(pid).is_some_and(|process| process.container.is_some());
    let gateway = case.gateway_process().map(|process| process.pid);
    if let Some((own, theirs)) = strangers(case, pid).ok().flatten() {
        return vec![see_whose_it_is(path, own, theirs)];
    }
    if container(pid) || gateway.is_some_and(container) {
        return vec![one_volume(case, path, pid, gateway)];
    }
    let (directory, file) = path.rsplit_once('/').unwrap_or(("", path));
    let backend_is_private = case.listed(pid).is_some_and(|process| process.same_root == Some(false));
    let private = if case.gateway.root != Root::Host && !backend_is_private { gateway } else { Some(pid) };
    let unit = |pid: Option<u32>| pid.and_then(|pid| case.listed(pid)?.unit.clone());
    let service = unit(Some(pid)).filter(|unit| unit.ends_with(".service"));
    let name = service.as_deref().and_then(|unit| unit.strip_suffix(".service")).unwrap_or("app");
    let shared = format!("{SHARED}/{name}/{file}");
    let both = if shares_run(case, pid) { ", which both see" } else { "" };
    let makes = match &service {
        Some(unit) => format!("RuntimeDirectory={name} in {unit} (systemctl edit {unit}) makes it"),
        None => format!(
            "whatever starts the backend makes it (RuntimeDirectory={name} of its unit, where systemd does)"
        ),
    };
    let mut remedies = Vec::new();
    if directory != format!("{SHARED}/{name}") {
        let verify = format!("a connection to unix:{shared} opens and the failing request answers");
        let remedy = Remedy::new(format!("Move the socket to {SHARED}/{name}{both}"), Risk::ShowOnly)
            .advice(format!("{makes}; let the backend listen on unix:{shared}, restart it, then dial that"))
            .verify(verify);
        remedies.extend(case.redial(remedy, finding, &PeerAddress::Unix(shared)));
    }
    let is_temporary = ["/tmp", "/var/tmp"].iter().any(|own| path.starts_with(&format!("{own}/")));
    let whose = unit(private).unwrap_or_else(|| format!("process {}", private.unwrap_or(pid)));
    let advice = if is_temporary {
        format!(
            "PrivateTmp= of {whose} gives it a /tmp of its own: a socket for others does not belong there; where it must stay, PrivateTmp=no in a drop-in of that unit makes both see one /tmp"
        )
    } else {
        format!(
            "see which mounts hide {directory} from one of them (findmnt -N {pid}, findmnt -N {}): {whose} has files of its own there",
            gateway.unwrap_or(0)
        )
    };
    let title = if is_temporary { "Or let both see one /tmp" } else { "Or let both see one directory" };
    remedies.push(
        Remedy::new(title, Risk::ShowOnly)
            .advice(advice)
            .verify(format!("a connection to unix:{path} opens")),
    );
    remedies
}

/// The remedy where the engine knows nothing that ties the container to nginx's: none that gives it what is nginx's.
fn see_whose_it_is(path: &str, own: &str, theirs: &str) -> Remedy {
    let advice = format!(
        "the engine knows neither a project nor a network that {own} shares with {theirs}, so the socket of {theirs} may be another project's: if the backend belongs into {own} or beside it, start that, so that it listens on unix:{path}; only if {theirs} is meant, give both one volume"
    );
    Remedy::new(format!("See whose backend {theirs} is before a directory is shared with it"), Risk::ShowOnly)
        .advice(advice)
        .verify(format!("a connection to unix:{path} opens"))
}

/// The remedy where containers part the files.
fn one_volume(case: &Case<'_>, path: &str, pid: u32, gateway: Option<u32>) -> Remedy {
    let directory = path.rsplit_once('/').map_or("/", |(directory, _)| directory);
    let name = |pid: Option<u32>| {
        let place = pid.map(|pid| case.place_of(pid)).unwrap_or_default();
        if place.is_empty() { "the host".to_owned() } else { place }
    };
    let (own, theirs) = (name(gateway), name(Some(pid)));
    let advice = format!(
        "give {own} and {theirs} the same volume or directory of the host at {directory} (`-v NAME:{directory}`, or `volumes:` of both services); the worker's user must be allowed to write the socket"
    );
    Remedy::new(format!("Mount one directory into both at {directory}"), Risk::ShowOnly)
        .advice(advice)
        .verify(format!("a connection to unix:{path} opens"))
}

#[cfg(test)]
mod tests;
