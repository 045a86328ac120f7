//! What the causes of files have in common: which operation failed on which path, and what that path is for.

use crate::case::{Case, Failure, FailureId, Symptom};
use crate::finding::Origin;
use std::collections::BTreeMap;
use why502_facts::{Errno, ErrorLevel, Phase, Phrase};
use why502_model::{Span, Storage, StorageKind};

/// A file operation that failed for a request.
#[derive(Clone, Copy)]
pub(super) struct FileFailure<'c> {
    pub(super) id: FailureId,
    pub(super) failure: &'c Failure,
    pub(super) symptom: &'c Symptom,
    /// The path; of a renaming the new one.
    pub(super) path: &'c str,
    pub(super) errno: Errno,
}

/// What the gateway writes to: a directory of temporary files or of a cache, or a log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Store {
    pub(super) path: String,
    pub(super) kind: StorageKind,
    /// The directive that names it; `None` where no configuration tells.
    pub(super) directive: Option<&'static str>,
    pub(super) at: Option<Span>,
    /// Whether the names of its files tell what it is for.
    is_named: bool,
    /// Whether answers are written into the cache from the start (`use_temp_path=off`).
    is_written_in_place: bool,
}

/// The operations that end a request when they fail. That an answer cannot be kept (`ngx_http_file_cache_update` renames it and
/// sets its time) or removed costs nobody an answer.
const ENDING: [&str; 7] = ["mkdir", "open", "pwrite", "pwritev", "pwritev2", "write", "writev"];

/// The critical failures of file operations with one of these errors, in the order of the failures. What is not critical is
/// about files that a request asked for (`ngx_http_static_handler`).
pub(super) fn file_failures<'c>(case: &'c Case<'_>, errnos: &[Errno]) -> Vec<FileFailure<'c>> {
    let mut found = Vec::new();
    for (id, failure) in case.failures() {
        for symptom in &failure.symptoms {
            let is_critical = symptom.level < Some(ErrorLevel::Error);
            if symptom.phrase != Some(Phrase::FileOperationFailed) || !is_critical {
                continue;
            }
            let Some(errno) = symptom.errno.filter(|errno| errnos.contains(errno)) else { continue };
            let Some((operation, path)) = symptom.detail.as_deref().and_then(operation_and_path) else {
                continue;
            };
            if ENDING.contains(&operation) {
                found.push(FileFailure { id, failure, symptom, path, errno });
            }
        }
    }
    found
}

/// `open() "/var/lib/nginx/body/0000000001" failed`.
fn operation_and_path(detail: &str) -> Option<(&str, &str)> {
    let (operation, rest) = detail.split_once("() \"")?;
    let rest = rest.strip_suffix(" failed").unwrap_or(rest);
    let path = rest.strip_suffix('"').unwrap_or(rest);
    // Of a renaming: `A" to "B`.
    Some((operation, path.rsplit_once("\" to \"").map_or(path, |(_, path)| path)))
}

impl FileFailure<'_> {
    /// What the path belongs to: as configured, else as its name tells.
    fn store(&self, configured: &[Storage]) -> Option<Store> {
        Storage::nearest(configured, self.path).map(Store::of).or_else(|| by_name(self.path))
    }

    /// Whether the request failed for it: an answer that cannot be moved into the cache was delivered all the same.
    pub(super) fn ends_request(&self, store: &Store) -> bool {
        let is_moved =
            store.kind == StorageKind::Cache && !store.is_written_in_place && store.directive.is_some();
        !is_moved || self.symptom.phase != Some(Phase::ReadingBody)
    }
}

/// Temporary files are ten digits (`ngx_create_temp_file`), files of a cache the 32 hexadecimal digits of their key
/// (`ngx_http_file_cache_name`), both below directories of one to three digits (`ngx_create_hashed_filename`).
fn by_name(path: &str) -> Option<Store> {
    let (directory, name) = path.rsplit_once('/')?;
    let is_temporary = name.len() == 10 && name.bytes().all(|byte| byte.is_ascii_digit());
    let key = name.split_once('.').map_or(name, |(key, _)| key);
    let is_cached = key.len() == 32 && key.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_temporary && !is_cached {
        return None;
    }
    let is_level =
        |name: &str| (1..=3).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut store = directory;
    for _ in 0..3 {
        match store.rsplit_once('/') {
            Some((above, name)) if is_level(name) => store = above,
            _ => break,
        }
    }
    let kind = if is_temporary { StorageKind::Temporary } else { StorageKind::Cache };
    let is_written_in_place = true;
    Some(Store { kind, is_named: true, is_written_in_place, ..Store::unnamed(store) })
}

impl Store {
    fn of(storage: &Storage) -> Self {
        Self {
            path: storage.path.clone(),
            kind: storage.kind,
            directive: Some(storage.directive),
            at: storage.at.clone(),
            is_named: false,
            is_written_in_place: storage.is_written_in_place,
        }
    }

    /// A directory of which only a failure tells that the gateway writes to it.
    fn unnamed(directory: &str) -> Self {
        let path = directory.to_owned();
        Self {
            path,
            kind: StorageKind::Temporary,
            directive: None,
            at: None,
            is_named: false,
            is_written_in_place: true,
        }
    }

    /// A log of the gateway.
    pub(super) fn log(case: &Case<'_>, path: &str) -> Self {
        match case.gateway.storage_of(path).filter(|storage| storage.path == path) {
            Some(storage) => Self::of(&storage),
            None => Self { kind: StorageKind::Log, ..Self::unnamed(path) },
        }
    }

    /// The directive with the path, or the path alone.
    pub(super) fn name(&self) -> String {
        match self.directive {
            Some(directive) => format!("{directive} {}", self.path),
            None => self.path.clone(),
        }
    }

    /// Whether the gateway's configuration, or the kind of names in it, tells what it is for.
    pub(super) fn is_known(&self) -> bool {
        self.directive.is_some() || self.is_named
    }

    /// Where it was looked at.
    pub(super) fn origin(&self) -> Origin {
        Origin::Host(self.path.clone())
    }
}

/// The failures by what their paths belong to.
pub(super) type ByStore<'c> = BTreeMap<Store, Vec<FileFailure<'c>>>;

/// The failures by what their paths belong to; those that belong to nothing else by the directory that they are in.
pub(super) fn by_store<'c>(case: &Case<'_>, failures: Vec<FileFailure<'c>>) -> ByStore<'c> {
    let configured = if failures.is_empty() { Vec::new() } else { case.gateway.storages() };
    let mut stores = ByStore::new();
    for failure in failures {
        let store = failure.store(&configured).unwrap_or_else(|| Store::unnamed(directory_of(failure.path)));
        stores.entry(store).or_default().push(failure);
    }
    stores
}

/// The directory that a path is in.
pub(super) fn directory_of(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) | None => "/",
        Some((directory, _)) => directory,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_and_paths_are_told() {
        let open = "open() \"/var/lib/nginx/body/0000000001\" failed";
        assert_eq!(operation_and_path(open), Some(("open", "/var/lib/nginx/body/0000000001")));
        assert_eq!(operation_and_path("rename() \"/t/1\" to \"/c/a/2\" failed"), Some(("rename", "/c/a/2")));
        assert_eq!(operation_and_path("thread operation took too long"), None);
    }

    #[test]
    fn names_tell_what_no_configuration_does() {
        let of = |path: &str| by_name(path).map(|store| (store.path, store.kind));
        let temporary = |path: &str| Some((path.to_owned(), StorageKind::Temporary));
        assert_eq!(of("/var/lib/nginx/proxy/1/00/0000000001"), temporary("/var/lib/nginx/proxy"));
        assert_eq!(of("/var/lib/nginx/body/0000000001"), temporary("/var/lib/nginx/body"));
        let cached = "/var/cache/nginx/2/0a/5fb872aa5fcd671bbd5d0cbf857180a2";
        let cache = Some(("/var/cache/nginx".to_owned(), StorageKind::Cache));
        assert_eq!(of(cached), cache);
        assert_eq!(of(&format!("{cached}.0000000002")), cache);
        for other in ["/etc/nginx/.htpasswd", "/srv/www/2024/photo.jpg", "/srv/www/12345"] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
