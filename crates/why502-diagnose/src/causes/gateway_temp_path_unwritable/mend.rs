//! How a path that the workers may not write to is mended.

use super::shared::sharer;
use super::{Now, Scene, chief};
use crate::case::Case;
use crate::causes::access::Denial;
use crate::causes::files::directory_of;
use crate::finding::Finding;
use crate::remedy::{Remedy, Risk};
use why502_facts::{FileStatus, FileSystem, Root};

pub(super) fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let Some(scene) = chief(case).filter(|_| finding.still_failing != Some(false)) else { return Vec::new() };
    let path = scene.store.path.as_str();
    let named = case.gateway.user.as_ref().map(|user| user.value.clone());
    let user =
        named.or_else(|| Some(case.worker()?.uid.to_string())).unwrap_or_else(|| "www-data".to_owned());
    let verify = "a request with a body beyond client_body_buffer_size, and one with an answer beyond the buffers, are answered whole";
    vec![match &scene.now {
        Now::Denied(denial) if scene.store_holds(&denial.path) => {
            match sharer(case, &scene.store, status_of(case, &scene, &denial.path)) {
                Some(why) => own_path_remedy(&scene, denial, &why),
                None => chown_remedy(case, &scene, denial, &user),
            }
            .verify(verify)
        }
        Now::Denied(denial) => Remedy::new(format!("Let {user} through {}", denial.path), Risk::Review)
            .command(
                &["setfacl", "-m", &format!("u:{user}:x"), &denial.path],
                &[&["setfacl", "-x", &format!("u:{user}"), &denial.path]],
            )
            .advice(format!("{}; or move the path below a directory that the workers may search", denial.says()))
            .verify(verify),
        Now::Missing => Remedy::new(format!("Make {path} for {user}"), Risk::Safe)
            .command(&["install", "-d", "-m", "0700", "-o", &user, path], &[&["rmdir", path]])
            .advice("nginx makes the last directory of such a path by itself, but only when it starts or reloads; below /run or /tmp a file of tmpfiles.d(5) makes it again after a reboot")
            .verify(verify),
        Now::NotDirectory(other) => Remedy::new(format!("Make room for the directory {path}"), Risk::ShowOnly)
            .advice(format!("{other} is no directory: move it away, then `install -d -m 0700 -o {user} {path}`"))
            .verify(verify),
        Now::ReadOnly(found) => read_only_remedy(case, &scene, found).verify(verify),
        Now::Fine(_) => Remedy::new("Look for a denial of SELinux or AppArmor", Risk::ShowOnly)
            .advice(format!("`ausearch -m avc -ts recent` or `journalctl -k -g 'apparmor=\"DENIED\"'`; of SELinux `restorecon -Rv {path}` gives a directory in its usual place its label back"))
            .verify(verify),
        Now::Unseen(_) => Remedy::new(format!("See who may write to {path}"), Risk::ShowOnly)
            .command(&["namei", "-l", path], &[])
            .advice(format!("every directory must let {user} through, and the last one let it write; else `findmnt -T {path}` tells a read-only mount"))
            .verify(verify),
    }]
}

/// What another running nginx writes to as well cannot belong to both.
fn own_path_remedy(scene: &Scene<'_>, denial: &Denial, why: &str) -> Remedy {
    let name = scene.store.directive.unwrap_or("temporary path");
    let each = match scene.store.directive {
        Some(name) => format!("set `{name}` of at least one of them to a directory that only it uses"),
        None => "send each to a directory that only it uses".to_owned(),
    };
    Remedy::new(format!("Give each instance its own {name}"), Risk::ShowOnly).advice(format!(
        "{}; {why}: a chown would only shut that one out, and its next start or reload gives the directory back to its own user (ngx_create_paths); {each}, and reload it",
        denial.says()
    ))
}

fn chown_remedy(case: &Case<'_>, scene: &Scene<'_>, denial: &Denial, user: &str) -> Remedy {
    let path = scene.store.path.as_str();
    // A level below may have another owner than the directory itself: it gets its own back after that.
    let mut paths = vec![path];
    if denial.path != path {
        paths.push(&denial.path);
    }
    let give_back = |of: &str| {
        let status = status_of(case, scene, of)?;
        Some(["chown".to_owned(), "-R".to_owned(), format!("{}:{}", status.uid, status.gid), of.to_owned()])
    };
    // Half of it would give a level to somebody who never had it.
    let undo: Vec<[String; 4]> = paths.into_iter().map(give_back).collect::<Option<_>>().unwrap_or_default();
    let undo: Vec<[&str; 4]> =
        undo.iter().map(|words| [&words[0], &words[1], &words[2], &words[3]].map(String::as_str)).collect();
    let undo: Vec<&[&str]> = undo.iter().map(<[&str; 4]>::as_slice).collect();
    Remedy::new(format!("Give {path} with all that is in it to {user}"), Risk::Review)
        .command(&["chown", "-R", &format!("{user}:"), path], &undo)
        .advice(format!("{}; a reload as root gives the directory itself to the user of the `user` directive, and nothing below it", denial.says()))
}

/// The status of a directory that the walks to the scene saw.
fn status_of<'c>(case: &'c Case<'_>, scene: &Scene<'_>, path: &str) -> Option<&'c FileStatus> {
    let failed = scene.failed.iter().map(|failed| directory_of(failed.path));
    let walked = [scene.store.path.as_str()].into_iter().chain(failed);
    let walks = walked.filter_map(|path| case.path_walk(path).known());
    walks
        .flat_map(|walk| &walk.components)
        .find(|component| component.path == path)
        .map(|component| &component.status)
}

fn read_only_remedy(case: &Case<'_>, scene: &Scene<'_>, found: &FileSystem) -> Remedy {
    let path = &scene.store.path;
    let Some(mount) = &found.mount else {
        return Remedy::new(format!("Move {path} to a file system that can be written"), Risk::ShowOnly);
    };
    if mount.is_read_only_everywhere {
        return Remedy::new(format!("Mount {} for writing again", mount.point), Risk::ShowOnly).advice(format!(
            "if the kernel made it read-only after an error (`dmesg -T | grep -i -e 'I/O error' -e remount`), {} must be checked before: writing to it as it is may lose data; if fstab(5) says so, move the path elsewhere",
            mount.source
        ));
    }
    let is_own_namespace = matches!(case.gateway.root, Root::Process(_));
    let advice = if is_own_namespace {
        format!(
            "only this mount is read-only, in nginx's own view: of a systemd unit `ReadWritePaths={path}` (beside ProtectSystem= or ReadOnlyPaths=), of a container a volume or `--tmpfs {path}`"
        )
    } else {
        format!(
            "only this mount is read-only, the file system is not: `mount -o remount,bind,rw {}`, and its line in fstab(5); or move the path elsewhere",
            mount.point
        )
    };
    Remedy::new(format!("Let nginx write below {}", mount.point), Risk::ShowOnly).advice(advice)
}
