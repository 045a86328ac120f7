//! Where the gateway's workers write: temporary files, caches, logs.

use super::instance::{Instance, absolute};
use crate::{Gateway, LogTarget, Span};

/// What is told by `--http-…-temp-path` of `configure`, with what it is without it (`auto/options`, `auto/init`).
const TEMPORARY: [(&str, &str, &str); 5] = [
    ("client_body_temp_path", "--http-client-body-temp-path", "client_body_temp"),
    ("fastcgi_temp_path", "--http-fastcgi-temp-path", "fastcgi_temp"),
    ("proxy_temp_path", "--http-proxy-temp-path", "proxy_temp"),
    ("scgi_temp_path", "--http-scgi-temp-path", "scgi_temp"),
    ("uwsgi_temp_path", "--http-uwsgi-temp-path", "uwsgi_temp"),
];
const CACHES: [&str; 4] = ["fastcgi_cache_path", "proxy_cache_path", "scgi_cache_path", "uwsgi_cache_path"];

/// A directory or a file that the gateway writes to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Storage {
    /// Its absolute path.
    pub path: String,
    /// What it is for.
    pub kind: StorageKind,
    /// The directive that names it: also where that stands nowhere, and its default is in force.
    pub directive: &'static str,
    /// Where it is set; `None` for a default.
    pub at: Option<Span>,
    /// Whether answers are written there from the start (`use_temp_path=off`), and not moved there once they are complete: of a
    /// cache.
    pub is_written_in_place: bool,
}

/// What the gateway writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StorageKind {
    /// Answers that are kept.
    Cache,
    /// A log.
    Log,
    /// Bodies that do not fit into memory.
    Temporary,
}

impl Storage {
    /// The one of several that a file belongs to: the directory nearest to it, as written rather than as it is by default.
    pub fn nearest<'s>(storages: &'s [Self], path: &str) -> Option<&'s Self> {
        let holding = storages.iter().filter(|storage| storage.holds(path));
        holding.max_by_key(|storage| (storage.path.len(), storage.at.is_some()))
    }

    /// Whether a file is in it, or is it.
    pub fn holds(&self, path: &str) -> bool {
        let own = self.path.trim_end_matches('/');
        path.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl Gateway {
    /// Everything that the workers write to, whichever route makes them do it.
    pub fn storages(&self) -> Vec<Storage> {
        let mut found: Vec<Storage> = self
            .default_temporary_paths
            .iter()
            .map(|(directive, path)| Storage {
                path: path.clone(),
                kind: StorageKind::Temporary,
                directive,
                at: None,
                is_written_in_place: true,
            })
            .collect();
        let config = &self.locator.config;
        let temporary = TEMPORARY.map(|(name, ..)| (name, StorageKind::Temporary));
        let caches = CACHES.map(|name| (name, StorageKind::Cache));
        for (directive, kind) in temporary.into_iter().chain(caches) {
            for id in config.everywhere(directive) {
                let Some(path) = config.node(id).arg(0) else { continue };
                let path = absolute(path, &self.prefix);
                let is_moved = config.node(id).parameter("use_temp_path") != Some("off");
                let is_written_in_place = kind == StorageKind::Temporary || !is_moved;
                let at = Some(config.arg_span(id, 0));
                found.push(Storage { path, kind, directive, at, is_written_in_place });
            }
        }
        for sink in &self.logs {
            let LogTarget::File(path) = &sink.target else { continue };
            if path.starts_with("/dev/") {
                continue;
            }
            let directive = match sink.content {
                crate::LogContent::Access { .. } => "access_log",
                crate::LogContent::Error { .. } => "error_log",
            };
            let (path, at) = (path.clone(), sink.at.clone());
            let kind = StorageKind::Log;
            found.push(Storage { path, kind, directive, at, is_written_in_place: true });
        }
        found.sort();
        found
    }

    /// What a file belongs to that the workers write.
    pub fn storage_of(&self, path: &str) -> Option<Storage> {
        Storage::nearest(&self.storages(), path).cloned()
    }
}

/// Where temporary files go by default.
pub(super) fn default_temporary_paths(instance: &Instance) -> Vec<(&'static str, String)> {
    let path = |(directive, option, default): (&'static str, &str, &str)| {
        Some((directive, instance.build.path(option, default, &instance.prefix)?))
    };
    TEMPORARY.into_iter().filter_map(path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::World;

    #[test]
    fn a_file_belongs_to_the_nearest_directory() {
        let http =
            "proxy_cache_path /var/cache/nginx keys_zone=a:1m; proxy_temp_path /var/cache/nginx/tmp 1 2;
            server { client_body_temp_path body; location / { proxy_pass http://127.0.0.1; } }";
        let world = World::http(http);
        let of = |path: &str| {
            let found = world.gateway().storage_of(path)?;
            Some((found.kind, found.directive, found.at.is_some()))
        };
        let cached = "/var/cache/nginx/0a/5fb872aa5fcd671bbd5d0cbf857180a2";
        assert_eq!(of(cached), Some((StorageKind::Cache, "proxy_cache_path", true)));
        let temporary = "/var/cache/nginx/tmp/1/00/0000000001";
        assert_eq!(of(temporary), Some((StorageKind::Temporary, "proxy_temp_path", true)));
        let body = format!("{}/body/0000000001", world.gateway().prefix);
        assert_eq!(of(&body), Some((StorageKind::Temporary, "client_body_temp_path", true)));
        assert_eq!(of("/var/cache/nginx-other/1"), None);
    }
}
