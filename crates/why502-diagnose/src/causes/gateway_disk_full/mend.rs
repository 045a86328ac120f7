//! How room is made on a full file system.

use super::{Lack, chief, lack};
use crate::case::Case;
use crate::finding::Finding;
use crate::remedy::{Remedy, Risk};
use why502_model::StorageKind;

pub(super) fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let Some((store, found, is_quota)) = chief(case).filter(|_| finding.still_failing != Some(false)) else {
        return Vec::new();
    };
    let point =
        found.and_then(|found| Some(found.mount.as_ref()?.point.clone())).unwrap_or(store.path.clone());
    let verify = "a request with a large body is answered, and the error log has no new `(28: No space left on device)` lines";
    if is_quota {
        return vec![
            Remedy::new("Raise the quota of nginx's user, or free what it holds", Risk::ShowOnly)
                .advice(format!("`quota -vs` of the workers' user, or `repquota -s {point}`, tells how much is held; `edquota` or `setquota` raise it"))
                .verify(verify),
        ];
    }
    let is_inodes = found.and_then(|found| lack(case, found)) == Some(Lack::Inodes);
    let look = Remedy::new(format!("Make room on {point}"), Risk::ShowOnly).verify(verify);
    let look = if is_inodes {
        look.command(&["df", "-i", &point], &[]).command(&["du", "--inodes", "-xd2", &point], &[]).advice(
            "many small files hold the inodes: sessions, mail queues, a cache without max_size; what a running nginx holds in its temporary paths goes by itself",
        )
    } else {
        look.command(&["df", "-h", &point], &[]).command(&["du", "-xhd2", &point], &[]).advice(
            "files that were removed and are still open (`lsof +L1`) hold their space until their process is restarted or told to reopen its logs; where `du` finds little, that is where it went",
        )
    };
    let bound = match store.kind {
        StorageKind::Cache => "`max_size=` and `min_free=` of the cache path, below what the file system has",
        StorageKind::Log => "rotation with compression (logrotate), and a file system of its own for logs",
        StorageKind::Temporary => {
            "`client_max_body_size` and `proxy_max_temp_file_size` (of each protocol), or a larger file system for that path"
        }
    };
    vec![
        look,
        Remedy::new("Bound what nginx writes there", Risk::ShowOnly)
            .advice(bound)
            .verify("`df` shows room at the busiest hour"),
    ]
}
