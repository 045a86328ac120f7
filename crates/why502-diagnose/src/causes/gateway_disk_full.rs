//! # gateway-disk-full
//!
//! ## What happens
//!
//! nginx writes what does not fit its buffers to temporary files, and answers that it keeps to a cache. Where their file system has
//! no block or no inode left (or a quota is used up), that fails. True for every version of nginx.
//!
//! ## What you see
//!
//! `pwritev() "…" failed (28: No space left on device)`, `open()` or `mkdir()` with the same, at level `crit`. For the body of a
//! request the client gets 500, and no upstream is asked; an answer breaks off, often before its first byte. Small requests and
//! answers need no file and work, so every health check is green.
//!
//! ## How we know
//!
//! Confirmed: errno 28 (or 122, a quota) in nginx's own message. Whether blocks or inodes are missing is told by statvfs(3) of
//! the file system that nginx sees there. Likely: the logs are silent, and theirs is full: then nginx cannot write what it has to
//! say.
//!
//! ## What would disprove it
//!
//! Nothing, for the moment of the message. Room that was made since mended it, unless it was the temporary files themselves
//! that filled a small file system: they vanish with their requests.
//!
//! ## What to do
//!
//! Look with `df -h` and `df -i`, find what fills it, and bound it: `max_size` of a cache, rotation of logs.
//!
//! ## Not to be confused with
//!
//! `gateway-temp-path-unwritable` (there is room, and nginx may not write), `gateway-fd-limit` (errno 24).
//!
//! ## References
//!
//! write(2), statvfs(3); nginx: `ngx_create_temp_file`, `ngx_write_chain_to_temp_file`, `ngx_http_log_write`.

mod mend;

use self::mend::remedies;
use super::files::{ByStore, FileFailure, Store, by_store, file_failures};
use crate::case::{Case, Failure, FailureId, Subject, count, or_ask};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Origin, Ruling};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use why502_facts::{Errno, ErrorRecord, FileSystem, Observed, Phrase};
use why502_model::{LogTarget, StorageKind};

pub(super) static CAUSE: Cause = Cause {
    id: "gateway-disk-full",
    layer: Layer::Gateway,
    acts_on: ActsOn::Host,
    effect: false,
    statuses: &[500, 502],
    scope: Scope::Gateway,
    supersedes: &[],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("gateway_disk_full.rs"),
};

/// So many directories and logs are looked at.
const MAX_STORES: usize = 8;
/// Less is no room for what nginx writes at once (`proxy_temp_file_write_size` is two buffers by default).
const NO_ROOM: u64 = 16 << 10;
/// A file system of that size is not filled by one temporary file (`proxy_max_temp_file_size` by default).
const LARGE: u64 = 1 << 30;
/// One part in so many that is free is room.
const ROOM: u64 = 20;
/// A log that was written to so shortly before is on no full file system.
const FRESH: Duration = Duration::from_mins(1);

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let signs = Signs::of(case);
    if signs.stores().next().is_none() {
        return silent_logs(case, subject);
    }
    let scenes = signs.scenes(case)?;
    let ending: Vec<&FileFailure<'_>> = scenes.iter().flat_map(|scene| &scene.ending).collect();
    let lines = ending.iter().map(|failed| (failed.id, failed.failure, failed.symptom));
    let quota = ending.iter().any(|failed| failed.errno == Errno::QuotaExceeded);
    let line = Case::lines_evidence(lines, |n| {
        let why = if quota { "the disk quota is used up" } else { "no space is left (ENOSPC)" };
        format!("{} could not write a file: {why}", count(n, "request"))
    });
    let lost = signs.lost.values().next().map(|record| {
        let says = "lines of a log were lost: no space was left for them";
        Evidence::supporting(says, Origin::Log(record.line.clone()))
    });
    let kept = scenes.iter().flat_map(|scene| &scene.beside).next().map(|failed| {
        let says = "an answer was delivered and could not be kept in the cache";
        Evidence::supporting(says, failed.symptom.line.clone().map_or(Origin::Derived, Origin::Log))
    });
    let still_failing = state(scenes.iter().map(|scene| scene.is_full(case)));
    let ids: BTreeSet<FailureId> = ending.iter().map(|failed| failed.id).collect();
    let mut finding = Finding::new(&CAUSE, Confidence::Confirmed, subject)
        .explaining(ids)
        .still_failing(still_failing)
        .with(line.into_iter().chain(lost).chain(kept))
        .at(scenes.iter().filter_map(|scene| scene.store.at.clone()));
    for scene in &scenes {
        finding = finding.with(scene.space_evidence(case)).open(scene.gap());
    }
    Ok(Ruling::found(finding))
}

/// What speaks of a full file system.
struct Signs<'c> {
    failed: ByStore<'c>,
    /// Logs that lost lines, each with the newest message about it.
    lost: BTreeMap<Store, &'c ErrorRecord>,
}

impl<'c> Signs<'c> {
    fn of(case: &'c Case<'_>) -> Self {
        let full = [Errno::NoSpace, Errno::QuotaExceeded];
        // Whatever it was, nginx wanted to write it there.
        let failed = by_store(case, file_failures(case, &full));
        let records = case.error_records().filter(|record| {
            record.phrase == Phrase::LogLinesDropped
                && record.errno.is_some_and(|errno| full.contains(&errno))
        });
        let lost = records.filter_map(|record| Some((Store::log(case, record.detail.as_deref()?), record)));
        Self { failed, lost: lost.collect() }
    }

    fn stores(&self) -> impl Iterator<Item = &Store> {
        self.failed.keys().chain(self.lost.keys())
    }

    /// Each with its file system; an error asks for those.
    fn scenes(&self, case: &'c Case<'_>) -> Result<Vec<Scene<'c>>, Asks> {
        let (mut scenes, mut asks) = (Vec::new(), Vec::new());
        for store in self.stores().take(MAX_STORES) {
            match or_ask(case.facts.file_system(case.gateway.root, &store.path)) {
                Ok(file_system) => {
                    let failed = self.failed.get(store).cloned().unwrap_or_default();
                    let (ending, beside) = failed.into_iter().partition(|failed| failed.ends_request(store));
                    scenes.push(Scene { store: store.clone(), file_system, ending, beside });
                }
                Err(wanted) => asks.extend(wanted),
            }
        }
        if asks.is_empty() { Ok(scenes) } else { Err(asks) }
    }
}

/// A place that nginx writes to, and its file system now.
struct Scene<'c> {
    store: Store,
    file_system: Observed<&'c FileSystem>,
    ending: Vec<FileFailure<'c>>,
    beside: Vec<FileFailure<'c>>,
}

/// What is missing on a file system now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lack {
    Blocks,
    Inodes,
}

fn lack(case: &Case<'_>, found: &FileSystem) -> Option<Lack> {
    let is_root = case.worker().is_some_and(|worker| worker.uid == 0);
    if found.space.inodes_left(is_root) == Some(0) {
        return Some(Lack::Inodes);
    }
    (found.space.blocks > 0 && found.space.bytes_left(is_root) < NO_ROOM).then_some(Lack::Blocks)
}

impl Scene<'_> {
    fn lack(&self, case: &Case<'_>) -> Option<Lack> {
        lack(case, self.file_system.clone().known()?)
    }

    /// Whether it is full now; `None` where that does not tell whether the failure comes again.
    fn is_full(&self, case: &Case<'_>) -> Option<bool> {
        let found = self.file_system.clone().known()?;
        if lack(case, found).is_some() {
            return Some(true);
        }
        if self.ending.iter().chain(&self.beside).any(|failed| failed.errno == Errno::QuotaExceeded) {
            return None;
        }
        let left = found.space.bytes_left(false);
        let has_room = left >= LARGE || left.saturating_mul(ROOM) >= found.space.bytes();
        // What fills a small one is gone when its request is.
        let may_fill_itself = self.store.kind == StorageKind::Temporary && found.space.bytes() < LARGE;
        (has_room && (!may_fill_itself || self.is_served_since(case))).then_some(false)
    }

    /// Whether a request for the same path was answered well after the last failure.
    fn is_served_since(&self, case: &Case<'_>) -> bool {
        let Some(last) = self.ending.iter().map(|failed| failed.failure).max_by_key(|failure| failure.at)
        else {
            return false;
        };
        let is_same = |failure: &Failure, path: Option<&str>| failure.path.as_deref() == path;
        last.route.is_some_and(|route| {
            let mut served = case.successes_of(route);
            served.any(|success| success.at >= last.at && is_same(last, success.path.as_deref()))
        })
    }

    fn space_evidence(&self, case: &Case<'_>) -> Option<Evidence> {
        let found = self.file_system.clone().known()?;
        let says = format!("{}: {}", self.store.name(), describe(found));
        Some(match self.is_full(case) {
            Some(true) => Evidence::supporting(says, self.store.origin()),
            Some(false) | None => Evidence::context(says, self.store.origin()),
        })
    }

    fn gap(&self) -> Option<crate::finding::Open> {
        let gap = self.file_system.gap()?.clone();
        Some(Case::open(gap, "whether blocks or inodes are missing, and whether they still are"))
    }
}

/// `/var (ext4) has 0 of 16384 MiB and 1200 of 4096 inodes left`.
fn describe(found: &FileSystem) -> String {
    let space = found.space;
    let inodes = space
        .inodes_left(false)
        .map(|left| format!(" and {left} of {} inodes", space.inodes))
        .unwrap_or_default();
    let reserved = space.blocks_free - space.blocks_available.min(space.blocks_free);
    let reserve = if space.blocks_available == 0 && reserved > 0 {
        format!(", beside {} that only root may take", kib(reserved.saturating_mul(space.block_size)))
    } else {
        String::new()
    };
    format!(
        "{} has {} of {}{inodes} left{reserve}",
        mount_name(found),
        kib(space.bytes_left(false)),
        kib(space.bytes())
    )
}

fn mount_name(found: &FileSystem) -> String {
    match &found.mount {
        Some(mount) => format!("{} ({})", mount.point, mount.kind),
        None => format!("the file system at {}", found.path),
    }
}

fn kib(bytes: u64) -> String {
    if bytes >= 10 << 20 { format!("{} MiB", bytes >> 20) } else { format!("{} KiB", bytes >> 10) }
}

/// Together: one that is full is enough, and only if all have room it is mended.
fn state(full: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let all: Vec<Option<bool>> = full.collect();
    if all.contains(&Some(true)) {
        return Some(true);
    }
    (!all.is_empty() && all.iter().all(|one| *one == Some(false))).then_some(false)
}

/// A full file system under the logs keeps nginx from telling of anything: their silence says nothing.
fn silent_logs(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let now = case.facts.manifest.captured_at;
    let newest = case.facts.newest(&case.gateway.owner());
    // One that was never written to has not fallen silent.
    let is_silent = newest.is_some_and(|newest| newest.after(FRESH) < now);
    if case.facts.manifest.invocation.offline
        || case.gateway.master.is_none()
        || !is_silent
        || !case.failures.is_empty()
    {
        return Ok(Ruling::NoSign);
    }
    let paths: BTreeSet<&String> = case
        .gateway
        .logs
        .iter()
        .filter_map(|sink| if let LogTarget::File(path) = &sink.target { Some(path) } else { None })
        .filter(|path| !path.starts_with("/dev/"))
        .take(MAX_STORES)
        .collect();
    let mut asks = Vec::new();
    let mut full = Vec::new();
    for path in paths {
        match or_ask(case.facts.file_system(case.gateway.root, path)) {
            Ok(Observed::Known(found)) if lack(case, found) == Some(Lack::Blocks) => {
                full.push((Store::log(case, path), found));
            }
            Ok(_) => {}
            Err(wanted) => asks.extend(wanted),
        }
    }
    if !asks.is_empty() {
        return Err(asks);
    }
    if full.is_empty() {
        return Ok(Ruling::NoSign);
    }
    let evidence = full.iter().map(|(store, found)| {
        Evidence::supporting(format!("{}: {}", store.name(), describe(found)), store.origin())
    });
    let finding = Finding::new(&CAUSE, Confidence::Likely, subject)
        .still_failing(Some(true))
        .with(evidence)
        .at(full.iter().filter_map(|(store, _)| store.at.clone()));
    Ok(Ruling::found(finding))
}

/// The first place that is full, else the first that was, with its file system.
fn chief<'c>(case: &'c Case<'_>) -> Option<(Store, Option<&'c FileSystem>, bool)> {
    let signs = Signs::of(case);
    let scenes = signs.scenes(case).unwrap_or_default();
    let is_quota = |scene: &Scene<'_>| scene.ending.iter().any(|failed| failed.errno == Errno::QuotaExceeded);
    let chief = scenes.iter().find(|scene| scene.lack(case).is_some()).or(scenes.first());
    if let Some(scene) = chief {
        return Some((scene.store.clone(), scene.file_system.clone().known(), is_quota(scene)));
    }
    case.gateway.logs.iter().find_map(|sink| {
        let LogTarget::File(path) = &sink.target else { return None };
        let found = case.facts.file_system(case.gateway.root, path).known()?;
        lack(case, found).map(|_| (Store::log(case, path), Some(found), false))
    })
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let Some((store, found, is_quota)) = chief(case) else {
        return Explanation {
            title: "the file system that nginx writes to is full".to_owned(),
            why: String::new(),
            wont_help: Vec::new(),
        };
    };
    let place = found.map_or_else(|| "the file system".to_owned(), mount_name);
    let title = match found.and_then(|found| lack(case, found)) {
        _ if is_quota => format!("the disk quota under {} is used up", store.name()),
        Some(Lack::Inodes) => format!("{place} has no inode left for {}", store.name()),
        Some(Lack::Blocks) => format!("{place} has no space left for {}", store.name()),
        None if finding.still_failing == Some(false) => format!("{place} was full under {}", store.name()),
        None => format!("{place} ran full under {}", store.name()),
    };
    let why = match store.kind {
        StorageKind::Log => {
            "nginx cannot write its logs, and so what fails does not stand in them: that they are silent says nothing. Bodies that need \
             a file on the same file system fail with 500."
        }
        StorageKind::Cache | StorageKind::Temporary => {
            "What does not fit nginx's buffers must go to a file, and the file system refuses it. The body of a request is answered with \
             500 before any upstream is asked; an answer breaks off. Small ones need no file and work."
        }
    };
    let mut wont_help = vec![
        "restarting the backend, or raising timeouts: it answered, or was not even asked".to_owned(),
        "a health check or curl with a small page: only what needs a file fails".to_owned(),
    ];
    if found.and_then(|found| lack(case, found)) == Some(Lack::Inodes) {
        wont_help.push(
            "`df -h`, or removing a few large files: there is space, and no inode for one more file"
                .to_owned(),
        );
    }
    Explanation { title, why: why.to_owned(), wont_help }
}

#[cfg(test)]
mod tests;
