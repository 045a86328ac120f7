//! Where the limit of a worker's open files comes from: `worker_rlimit_nofile`, the unit, or whoever started nginx.

use crate::case::{Case, or_ask};
use crate::cause::Asks;
use crate::causes::worker_limits::Workers;
use crate::finding::{Evidence, Origin};
use crate::remedy::{Remedy, Risk};
use why502_facts::Unit;
use why502_model::WorkerSettings;

/// Who set the limit that was met, as evidence; nothing where nobody can tell. An error asks for the unit of nginx.
pub(super) fn source(
    case: &Case<'_>,
    workers: &Workers<'_>,
    settings: &WorkerSettings,
) -> Result<Option<Evidence>, Asks> {
    let Some(limit) = workers.limit() else { return Ok(None) };
    let unit = unit(case, workers)?;
    let own = settings.open_files.as_ref();
    if let Some((own, at)) = own.and_then(|own| Some((own, own.at.clone()?))) {
        let says = if own.value == limit {
            format!("worker_rlimit_nofile sets it to {limit}")
        } else {
            format!(
                "worker_rlimit_nofile is {}, and the workers have {limit}: it was not loaded yet, or the kernel refused it",
                own.value
            )
        };
        return Ok(Some(Evidence::context(says, Origin::File(at))));
    }
    let by_unit = unit.and_then(|unit| {
        let (soft, hard) = limits(unit)?;
        let hard = hard.map(|hard| format!(", at most {hard}")).unwrap_or_default();
        let says =
            format!("no worker_rlimit_nofile is set, so that it is what {} gives: {soft}{hard}", unit.name);
        (soft == limit)
            .then(|| Evidence::context(says, Origin::Host(format!("systemctl show {}", unit.name))))
    });
    let inherited = || {
        let says = "no worker_rlimit_nofile is set, so that it is what whoever started nginx had";
        Evidence::context(says, Origin::Derived)
    };
    Ok(Some(by_unit.unwrap_or_else(inherited)))
}

/// What systemd knows of nginx's unit.
fn unit<'c>(case: &'c Case<'_>, workers: &Workers<'_>) -> Result<Option<&'c Unit>, Asks> {
    let Some(name) = workers.unit().filter(|_| !workers.is_contained()) else { return Ok(None) };
    Ok(or_ask(case.facts.unit(name))?.known())
}

/// The soft and the hard limit of a unit's processes.
fn limits(unit: &Unit) -> Option<(u64, Option<u64>)> {
    let hard = unit.property("LimitNOFILE").and_then(|number| number.parse().ok());
    let soft = unit.property("LimitNOFILESoft").and_then(|number| number.parse().ok()).or(hard)?;
    Some((soft, hard))
}

/// A drop-in that raises the limit of nginx's unit, where nginx may not raise it itself.
pub(super) fn raise_unit(case: &Case<'_>, workers: &Workers<'_>, wanted: u64) -> Option<Remedy> {
    let unit = unit(case, workers).ok().flatten()?.name.clone();
    let file = format!("/etc/systemd/system/{unit}.d/zz-why502.conf");
    let remedy = Remedy::new(format!("Let {unit} have {wanted} open files"), Risk::Review)
        .create(file.clone(), format!("[Service]\nLimitNOFILE={wanted}\n"))
        .command(&["systemctl", "daemon-reload"], &[&["rm", &file], &["systemctl", "daemon-reload"]])
        .command(&["systemctl", "restart", &unit], &[&["systemctl", "restart", &unit]]);
    Some(remedy)
}
