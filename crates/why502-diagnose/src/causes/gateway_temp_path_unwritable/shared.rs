//! Whether another running nginx writes to the same directory, with another user.

use crate::case::Case;
use crate::causes::files::Store;
use crate::causes::masters::Masters;
use why502_facts::{FileStatus, Process};
use why502_model::{Gateway, Model, Storage};

/// Why another instance of this host needs the directory as it is: a lower-case fragment. `status` is that of what denies.
pub(super) fn sharer(case: &Case<'_>, store: &Store, status: Option<&FileStatus>) -> Option<String> {
    let masters = Masters::of(case)?;
    let own = masters.live()?;
    let own_user = case.worker().map(|worker| worker.uid);
    let mut model = None;
    for other in masters.beside() {
        let user = masters.workers_of(other.pid).next().map(|worker| worker.uid);
        // What belongs to the user of both is well for both.
        if user.is_some() && user == own_user {
            continue;
        }
        let as_user = user.map(|user| format!(" as the user {user}")).unwrap_or_default();
        let name = format!("another nginx (pid {})", other.pid);
        // With `--pid` or `--config` the model holds no other gateways.
        let model = model.get_or_insert_with(|| Model::build(case.facts));
        let known = model.gateways.iter().find(|gateway| gateway.master == Some(other.pid));
        if known.map_or_else(|| may_use(case, store, own, other), |known| uses(known, &store.path)) {
            let may = if known.is_some() { "writes" } else { "may write" };
            return Some(format!("{name} {may} there too{as_user}"));
        }
        // Root writes anywhere, and owns much that nobody made for nginx.
        if user.is_some_and(|user| user != 0) && status.map(|status| status.uid) == user {
            return Some(format!("it belongs to the user of {name}"));
        }
    }
    None
}

/// Whether a gateway writes to a path: one that is configured, or a default that nothing in its configuration replaces.
fn uses(gateway: &Gateway, path: &str) -> bool {
    let storages = gateway.storages();
    let is_replaced = |default: &Storage| {
        storages.iter().any(|storage| storage.directive == default.directive && storage.at.is_some())
    };
    storages.iter().any(|storage| storage.path == path && (storage.at.is_some() || !is_replaced(storage)))
}

/// Whether an instance of which nobody knows the configuration may write to a path: one that its binary uses by default.
fn may_use(case: &Case<'_>, store: &Store, own: &Process, other: &Process) -> bool {
    let is_default = case.gateway.default_temporary_paths.iter().any(|(_, path)| *path == store.path);
    is_default && own.exe.is_some() && own.exe == other.exe
}
