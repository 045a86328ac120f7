//! # gateway-temp-path-unwritable
//!
//! ## What happens
//!
//! Bodies that do not fit nginx's buffers go to files below `client_body_temp_path`, `proxy_temp_path` and their like, kept
//! answers below a cache path. The workers must be allowed to make files there, and are not: another owner, a directory that is
//! gone, a read-only mount. True for every version of nginx.
//!
//! ## What you see
//!
//! `open() "/var/lib/nginx/body/0000000001" failed (13: Permission denied)` (or 2, 20, 30; `mkdir()` for a level of it) at level
//! `crit`. The body of a request is answered with 500, without an upstream; an answer breaks off while nginx reads it. Small
//! requests and answers work, and so does every health check. Classic: the `user` directive was changed, and what the old user
//! left below these directories stays its own.
//!
//! ## How we know
//!
//! Confirmed: the path was walked, and a mode, owner or ACL denies it to the workers' user, or it does not exist, or the mount is
//! read-only; or the message itself leaves nothing else (errno 2, 20, 30). Likely: errno 13 without a look at the path, or one
//! that the modes no longer explain. Possible: they allow it, and the workers are confined by SELinux or AppArmor.
//!
//! ## What would disprove it
//!
//! Modes that always allowed it: then an access control above them denies it (`selinux-denied`, `apparmor-denied`).
//!
//! ## What to do
//!
//! Give the directory with all that is in it to the workers' user, or make it. A reload as root does that for the directory itself
//! (`ngx_create_paths`), and for nothing above or below it. Where another running nginx with another `user` writes there as well,
//! each start or reload of either gives the directory to its own user: then each needs a path of its own.
//!
//! ## Not to be confused with
//!
//! `gateway-disk-full` (errno 28), `unix-socket-permission` (errno 13 of connect()), a file of the site that may not be read
//! (level `error`, 403), a password file (`auth_basic_user_file`).
//!
//! ## References
//!
//! path_resolution(7), acl(5); nginx: `ngx_create_temp_file`, `ngx_create_paths`, `ngx_http_file_cache_open`.

mod mend;
mod shared;

use self::mend::remedies;
use super::access::{Denial, creation_denial};
use super::files::{FileFailure, Store, by_store, directory_of, file_failures};
use crate::case::{Case, FailureId, Subject, count, or_ask};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Open, Origin, Ruling};
use std::collections::BTreeSet;
use why502_facts::{Ask, Errno, FileKind, FileSystem, Gap, GapReason, Observed, PathWalk, Root, lossy};
use why502_model::StorageKind;

pub(super) static CAUSE: Cause = Cause {
    id: "gateway-temp-path-unwritable",
    layer: Layer::Gateway,
    acts_on: ActsOn::Host,
    effect: false,
    statuses: &[500, 502],
    scope: Scope::Gateway,
    supersedes: &[],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("gateway_temp_path_unwritable.rs"),
};

const ERRNOS: [Errno; 5] = [
    Errno::AccessDenied,
    Errno::NoEntry,
    Errno::NotDirectory,
    Errno::NotPermitted,
    Errno::ReadOnlyFileSystem,
];
/// So many directories are looked at.
const MAX_STORES: usize = 8;

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let scenes = scenes(case)?;
    let Some(best) = scenes.iter().map(Scene::confidence).max() else { return Ok(Ruling::NoSign) };
    let scenes: Vec<&Scene<'_>> = scenes.iter().filter(|scene| scene.confidence() == best).collect();
    let ending = || {
        scenes.iter().flat_map(|scene| scene.failed.iter().filter(|failed| failed.ends_request(&scene.store)))
    };
    let ids: BTreeSet<FailureId> = ending().map(|failed| failed.id).collect();
    let all = scenes.iter().flat_map(|scene| &scene.failed);
    let line = Case::lines_evidence(all.map(|failed| (failed.id, failed.failure, failed.symptom)), |n| {
        format!("{} could not be written ({})", count(n, "file"), scenes[0].errno().words().to_lowercase())
    });
    let places = scenes.iter().filter_map(|scene| scene.store.at.clone());
    let states: Vec<Option<bool>> = scenes.iter().map(|scene| scene.is_standing()).collect();
    let still_failing = if states.contains(&Some(true)) {
        Some(true)
    } else {
        states.iter().all(|state| *state == Some(false)).then_some(false)
    };
    let mut finding = Finding::new(&CAUSE, best, subject)
        .explaining(ids)
        .still_failing(still_failing)
        .with(line)
        .with(scenes.iter().filter_map(|scene| scene.evidence()))
        .with(owner_evidence(case, &scenes))
        .at(places);
    if finding.at.is_empty() {
        finding = finding.at(case.gateway.user.as_ref().and_then(|user| user.at.clone()));
    }
    Ok(Ruling::found(finding.open(scenes.iter().filter_map(|scene| scene.open()))))
}

/// A directory that could not be written to, and what is seen of it now.
struct Scene<'c> {
    store: Store,
    failed: Vec<FileFailure<'c>>,
    now: Now<'c>,
}

/// What keeps the workers from writing there now.
enum Now<'c> {
    Denied(Denial),
    /// Nothing: neither modes nor mounts. Whether the workers are confined by an access control above these.
    Fine(Option<bool>),
    Missing,
    NotDirectory(String),
    ReadOnly(&'c FileSystem),
    Unseen(Option<Gap>),
}

/// The directories with what is seen of them; an error asks for that.
fn scenes<'c>(case: &'c Case<'_>) -> Result<Vec<Scene<'c>>, Asks> {
    let stores = by_store(case, file_failures(case, &ERRNOS));
    // A path of no store may be that of anything: a password file, a file of the site.
    let is_own = |store: &Store| store.kind != StorageKind::Log && store.is_known();
    let stores = stores.into_iter().filter(|(store, _)| is_own(store)).take(MAX_STORES);
    let (mut scenes, mut asks) = (Vec::new(), Vec::new());
    for (store, failed) in stores {
        match look(case, &store, &failed) {
            Ok(now) => scenes.push(Scene { store, failed, now }),
            Err(wanted) => asks.extend(wanted),
        }
    }
    if asks.is_empty() { Ok(scenes) } else { Err(asks) }
}

fn look<'c>(case: &'c Case<'_>, store: &Store, failed: &[FileFailure<'_>]) -> Result<Now<'c>, Asks> {
    let newest = failed.iter().max_by_key(|failed| failed.failure.at);
    if newest.is_some_and(|newest| newest.errno == Errno::ReadOnlyFileSystem) {
        return Ok(match or_ask(case.facts.file_system(case.gateway.root, &store.path))? {
            Observed::Known(found) if is_read_only(found) => Now::ReadOnly(found),
            Observed::Known(_) => Now::Fine(Some(false)),
            Observed::Absent => Now::Unseen(None),
            Observed::Unknown(gap) => Now::Unseen(Some(gap)),
        });
    }
    let directory = newest.map_or(store.path.as_str(), |newest| directory_of(newest.path));
    let (own, inner) = (or_ask(case.path_walk(&store.path)), or_ask(case.path_walk(directory)));
    let (own, inner) = match (own, inner) {
        (Ok(own), Ok(inner)) => (own, inner),
        (own, inner) => {
            return Err(own.err().into_iter().chain(inner.err()).flatten().collect());
        }
    };
    let walk = match own {
        Observed::Known(walk) => walk,
        Observed::Absent => return Ok(Now::Unseen(None)),
        Observed::Unknown(gap) => return Ok(Now::Unseen(Some(gap))),
    };
    if walk.denied.is_none()
        && let Some(broken) = broken(walk)
    {
        return Ok(broken);
    }
    let unseen = |walk: &PathWalk| {
        let ask = Ask::PathWalk { root: case.gateway.root, path: store.path.clone() };
        walk.denied.clone().map(|says| Gap { ask, why: GapReason::Denied, says })
    };
    let Some(worker) = case.worker() else { return Ok(Now::Unseen(unseen(walk))) };
    // A level of the directory may have another owner than the directory itself.
    let deepest =
        inner.known().filter(|inner| inner.components.len() >= walk.components.len()).unwrap_or(walk);
    match creation_denial(deepest, &worker) {
        Ok(Some(denial)) => Ok(Now::Denied(denial)),
        Err(()) => Ok(Now::Unseen(unseen(deepest))),
        Ok(None) if newest.is_some_and(|newest| is_denial(newest.errno)) => {
            Ok(Now::Fine(is_confined(case, worker.pid)?))
        }
        Ok(None) => Ok(Now::Fine(Some(false))),
    }
}

fn is_denial(errno: Errno) -> bool {
    matches!(errno, Errno::AccessDenied | Errno::NotPermitted)
}

fn is_read_only(found: &FileSystem) -> bool {
    found.space.read_only
        || found.mount.as_ref().is_some_and(|mount| mount.read_only || mount.is_read_only_everywhere)
}

/// What is wrong with a path that a walk does not come to the end of, or that leads to no directory.
fn broken<'c>(walk: &PathWalk) -> Option<Now<'c>> {
    let last = walk.components.last()?;
    match (last.status.kind, walk.complete) {
        (FileKind::Directory, true) => None,
        (FileKind::Directory | FileKind::Link, _) => Some(Now::Missing),
        _ => Some(Now::NotDirectory(last.path.clone())),
    }
}

/// Whether SELinux or AppArmor bounds what the workers may do; `None` if nobody can tell.
fn is_confined(case: &Case<'_>, pid: u32) -> Result<Option<bool>, Asks> {
    let label = format!("/proc/{pid}/attr/current");
    let paths = [label.as_str(), "/sys/fs/selinux/enforce", "/sys/module/apparmor/parameters/enabled"];
    let mut seen = Vec::new();
    let mut asks = Vec::new();
    for path in paths {
        match or_ask(case.facts.file(Root::Host, path)) {
            Ok(file) => seen.push(file),
            Err(wanted) => asks.extend(wanted),
        }
    }
    if !asks.is_empty() {
        return Err(asks);
    }
    if let Some(Observed::Known(label)) = seen.first() {
        return Ok(Some(!lossy(label.content.as_slice()).contains("unconfined")));
    }
    // Without either of them the file of the label exists, and cannot be read (`proc_pid_attr_read`).
    let has_none = seen.iter().skip(1).all(Observed::is_absent);
    Ok(has_none.then_some(false))
}

impl Scene<'_> {
    /// The error of the newest failure.
    fn errno(&self) -> Errno {
        let newest = self.failed.iter().max_by_key(|failed| failed.failure.at);
        newest.map_or(Errno::AccessDenied, |failed| failed.errno)
    }

    fn confidence(&self) -> Confidence {
        match &self.now {
            Now::Denied(_) | Now::Missing | Now::NotDirectory(_) | Now::ReadOnly(_) => Confidence::Confirmed,
            // The other errors have one meaning.
            Now::Fine(_) | Now::Unseen(_) if !is_denial(self.errno()) => Confidence::Confirmed,
            Now::Fine(Some(false)) | Now::Unseen(_) => Confidence::Likely,
            Now::Fine(_) => Confidence::Possible,
        }
    }

    /// Whether it stands now.
    fn is_standing(&self) -> Option<bool> {
        match &self.now {
            Now::Denied(_) | Now::Missing | Now::NotDirectory(_) | Now::ReadOnly(_) => Some(true),
            Now::Fine(Some(false)) => Some(false),
            Now::Fine(_) | Now::Unseen(_) => None,
        }
    }

    /// What is seen there now: a lower-case fragment.
    fn says(&self) -> Option<String> {
        let name = self.store.name();
        Some(match &self.now {
            Now::Denied(denial) => format!("{name}: {}", denial.says()),
            Now::Missing => format!("{name} does not exist"),
            Now::NotDirectory(path) => format!("{name}: {path} is no directory"),
            Now::ReadOnly(found) => match &found.mount {
                Some(mount) => {
                    format!("{name} is on {} ({}), which is mounted read-only", mount.point, mount.kind)
                }
                None => format!("{name} is on a read-only mount"),
            },
            Now::Fine(_) | Now::Unseen(_) => return None,
        })
    }

    fn evidence(&self) -> Option<Evidence> {
        match &self.now {
            Now::Fine(Some(false)) => {
                let says =
                    format!("{}: nothing keeps the workers' user from writing there now", self.store.name());
                Some(Evidence::context(says, self.store.origin()))
            }
            Now::Fine(_) => {
                let says = format!(
                    "{}: modes, owners and ACLs let the workers' user write there",
                    self.store.name()
                );
                Some(Evidence::against(says, self.store.origin()))
            }
            _ => Some(Evidence::supporting(self.says()?, self.store.origin())),
        }
    }

    fn open(&self) -> Option<Open> {
        match &self.now {
            Now::Unseen(gap) => {
                let gap = gap.clone()?;
                Some(Case::open(gap, "what keeps the workers from writing there, and whether it still does"))
            }
            Now::Fine(None | Some(true)) if is_denial(self.errno()) => {
                let path = "/var/log/audit/audit.log".to_owned();
                let ask = Ask::File { root: Root::Host, path };
                let says = "what SELinux or AppArmor denied was not looked at".to_owned();
                let gap = Gap { ask, why: GapReason::Unsupported, says };
                Some(Case::open(
                    gap,
                    "whether an access control above the modes (SELinux, AppArmor) denies it",
                ))
            }
            _ => None,
        }
    }
}

/// That the directory is another user's than the one of the `user` directive.
fn owner_evidence(case: &Case<'_>, scenes: &[&Scene<'_>]) -> Option<Evidence> {
    let user = case.gateway.user.as_ref()?;
    scenes.iter().any(|scene| matches!(scene.now, Now::Denied(_))).then_some(())?;
    let says = format!("the workers run as the user {}", user.value);
    Some(Evidence::context(says, Origin::File(user.at.clone()?)))
}

fn chief<'c>(case: &'c Case<'_>) -> Option<Scene<'c>> {
    let scenes = scenes(case).ok()?;
    scenes.into_iter().rev().max_by_key(Scene::confidence)
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let title = match chief(case) {
        Some(scene) => scene.says().unwrap_or_else(|| {
            let could = if finding.still_failing == Some(false) { "could not" } else { "cannot" };
            format!(
                "nginx {could} write to {} ({})",
                scene.store.name(),
                scene.errno().words().to_lowercase()
            )
        }),
        None => "nginx cannot write its temporary files".to_owned(),
    };
    Explanation {
        title,
        why: "What does not fit nginx's buffers must go to a file there, and the workers' user may not make one. The body of a \
              request is answered with 500 before any upstream is asked; an answer breaks off. Small ones need no file and work."
            .to_owned(),
        wont_help: vec![
            "restarting the backend, or raising timeouts: it answered, or was not even asked".to_owned(),
            "chmod 777: it opens what others sent to everybody on the host, and the owner stays wrong".to_owned(),
            "turning buffering off: bodies of requests are then no longer retried, and caches still need files".to_owned(),
        ],
    }
}

impl Scene<'_> {
    /// Whether a path is the directory itself, or below it.
    fn store_holds(&self, path: &str) -> bool {
        path.strip_prefix(self.store.path.trim_end_matches('/'))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

#[cfg(test)]
mod tests;
