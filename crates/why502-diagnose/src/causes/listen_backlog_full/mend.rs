//! How a queue gets room.

use super::queue::{Overflow, overflow};
use crate::case::Case;
use crate::finding::Finding;
use crate::remedy::{Remedy, Risk};

/// No shorter queue is advised.
const LEAST: u64 = 1024;

pub(super) fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let found = finding.subjects.first().and_then(|subject| overflow(case, subject).ok().flatten());
    let Some(found) = found.filter(|_| finding.still_failing != Some(false)) else { return Vec::new() };
    let longer = found.limit().map_or(LEAST, |limit| (limit * 4).max(LEAST));
    let mut remedies: Vec<Remedy> = waken(case, &found).into_iter().collect();
    remedies.extend(raise_the_cut(case, &found, longer));
    remedies.push(ask_for_more(case, &found, longer));
    if found.stopped().is_none() {
        remedies.push(accept_faster(case, &found));
    }
    remedies
}

/// A server that is stopped goes on.
fn waken(case: &Case<'_>, found: &Overflow<'_>) -> Option<Remedy> {
    let (state, server) = (found.stopped()?, found.server()?);
    let name = case.owners(&[server.pid]);
    let verify = format!("a connection to {} opens", found.peer.address);
    if matches!(state, 'T' | 't') {
        let remedy = Remedy::new(format!("Let {name} go on"), Risk::Review)
            .command(&["kill", "-CONT", &server.pid.to_string()], &[])
            .advice("find out who stopped it (a signal, a debugger, a frozen cgroup): the queue is full since nobody accepts, and a longer one fills as well");
        return Some(remedy.verify(verify));
    }
    let remedy = Remedy::new(format!("Find what {name} waits for"), Risk::ShowOnly)
        .advice("the queue is full since nobody accepts: a longer one fills as well; see what its disk or network file system does, or restart it");
    Some(remedy.verify(verify))
}

/// `net.core.somaxconn`, where it is what limits the queue, or would limit the longer one.
fn raise_the_cut(case: &Case<'_>, found: &Overflow<'_>, longer: u64) -> Option<Remedy> {
    let somaxconn = found.somaxconn().filter(|somaxconn| *somaxconn < longer)?;
    let (name, value, before) = ("net.core.somaxconn", longer.to_string(), somaxconn.to_string());
    let (argv, undo) = case.sysctl(found.pid, (name, &value), Some(&before));
    let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
    let undo: Vec<Vec<&str>> = undo.iter().map(|words| words.iter().map(String::as_str).collect()).collect();
    let undo: Vec<&[&str]> = undo.iter().map(Vec::as_slice).collect();
    let is_container = argv.first() == Some(&"nsenter");
    let keep = if is_container {
        format!("for good it is set where the container is started (docker run --sysctl {name}={value})")
    } else {
        format!("for good it stands in /etc/sysctl.d as {name} = {value}")
    };
    let remedy = Remedy::new(format!("Raise {name} from {before} to {value}"), Risk::Review)
        .command(&argv, &undo)
        .advice(format!("{keep}; the server must ask for more as well, and be restarted: the length of a queue is fixed when it begins to listen"));
    Some(
        remedy.verify(format!(
            "Send-Q of {} in ss -ltn (ss -lx) is what the server asked for",
            found.peer.address
        )),
    )
}

/// The server's own backlog.
fn ask_for_more(case: &Case<'_>, found: &Overflow<'_>, longer: u64) -> Remedy {
    let setting = found.kind().map_or_else(
        || format!("the backlog with which it calls listen(2) (its second argument): {longer}"),
        |kind| kind.setting(longer),
    );
    let name = found.server().map_or_else(|| "the server".to_owned(), |server| case.owners(&[server.pid]));
    let now = found.limit().map(|limit| format!(" (it is {limit} now)")).unwrap_or_default();
    Remedy::new(format!("Let {name} ask for a longer queue"), Risk::ShowOnly)
        .advice(format!("set {setting}{now}, and restart it; a queue takes bursts: where more comes than is accepted for long, any queue fills"))
        .verify(format!("Send-Q of {} in ss -ltn (ss -lx) is larger", found.peer.address))
}

/// More processes, or less work before they accept.
fn accept_faster(case: &Case<'_>, found: &Overflow<'_>) -> Remedy {
    let name = found.server().map_or_else(|| "the server".to_owned(), |server| case.owners(&[server.pid]));
    Remedy::new(format!("See why {name} accepts more slowly than connections come"), Risk::ShowOnly)
        .advice("slow requests that hold every worker, a loop that blocks, too few processes; in nginx, keepalive connections spare it new ones")
        .verify(format!("Recv-Q of {} in ss -ltn (ss -lx) stays near 0 under the same load", found.peer.address))
}
