//! Files, patterns, paths and the strings of binaries.

use crate::glob::glob;
use crate::root::{RootDir, Step};
use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::AsRawFd as _;
use why502_facts::{
    AclEntry, Answer, FactBody, FileContent, FileKind, FileStatus, GapReason, PathComponent, PathWalk, Root,
    Stamp,
};

/// The most bytes of a file that are kept: more than any configuration has.
const MAX_FILE: u64 = 4 << 20;
/// The most bytes of a binary that are searched for strings.
const MAX_BINARY: u64 = 128 << 20;
/// The longest string that is taken from a binary.
const MAX_STRING: usize = 64 * 1024;

/// A file's content and status.
pub(crate) fn read_file(root: Root, path: &str) -> Answer {
    let opened = RootDir::open(root).and_then(|root| root.open_file(path));
    let (file, stat) = match opened {
        Ok(opened) => opened,
        Err(errno) => return unreadable(errno, path),
    };
    match read_bounded(file, MAX_FILE) {
        Ok((content, truncated)) => {
            let status = file_status(&stat, Vec::new());
            Answer::known(FactBody::File(FileContent { content: content.into(), status, truncated }))
        }
        Err(error) => Answer::unknown(GapReason::Failed, format!("{path}: {error}")),
    }
}

/// The content of a file of this program's own root, as far as it is not too large; `None` if it may not be read.
pub(crate) fn read_whole(path: &str) -> Option<Vec<u8>> {
    let (file, _) = RootDir::open(Root::Host).and_then(|root| root.open_file(path)).ok()?;
    Some(read_bounded(file, MAX_FILE).ok()?.0)
}

/// The content and the status of a regular file that is not larger than `limit` bytes; `None` if it is, or may not be read.
pub(crate) fn read_whole_of(root: Root, path: &str, limit: u64) -> Option<(Vec<u8>, Stat)> {
    let (file, stat) = RootDir::open(root).and_then(|root| root.open_file(path)).ok()?;
    let (content, truncated) = read_bounded(file, limit).ok()?;
    (!truncated).then_some((content, stat))
}

/// The status of a file without its access list.
pub(crate) fn file_status_of(stat: &Stat) -> FileStatus {
    file_status(stat, Vec::new())
}

/// The paths that a pattern matches.
pub(crate) fn list_matches(root: Root, pattern: &str) -> Answer {
    match RootDir::open(root).and_then(|root| glob(&root, pattern)) {
        Ok(paths) => Answer::known(FactBody::Paths(paths)),
        Err(errno) => unreadable(errno, pattern),
    }
}

/// The components of a path.
pub(crate) fn walk_path(root: Root, path: &str) -> Answer {
    let directory = match RootDir::open(root) {
        Ok(directory) => directory,
        Err(errno) => return unreadable(errno, path),
    };
    let walk = directory.walk(path);
    let names = (root == Root::Host).then_some(Names);
    let components = walk.steps.iter().map(|step| component(step, names.as_ref())).collect();
    let denied = match walk.stopped {
        Some(errno @ (Errno::ACCESS | Errno::PERM)) => Some(words(errno)),
        Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) | None => None,
        Some(errno) => return unreadable(errno, path),
    };
    let walk = PathWalk { components, complete: walk.stopped.is_none(), denied };
    Answer::known(FactBody::PathWalk(walk))
}

/// `/proc/PID/exe` leads to the binary that runs, also where its path now names another file, or none: so this link is
/// not resolved as text.
fn running_binary(root: Root, path: &str) -> Option<Result<File, Errno>> {
    let pid = path.strip_prefix("/proc/")?.strip_suffix("/exe")?;
    let is_it = root == Root::Host && !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit());
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    is_it.then(|| rustix::fs::open(path, flags, Mode::empty()).map(File::from))
}

/// Printable strings of a file that contain one of the marks: how a version is read without running anything.
pub(crate) fn find_strings(root: Root, path: &str, marks: &[String]) -> Answer {
    let file = match running_binary(root, path) {
        Some(opened) => opened,
        None => RootDir::open(root).and_then(|root| root.open_file(path)).map(|(file, _)| file),
    };
    let bytes = match file {
        Ok(file) => read_bounded(file, MAX_BINARY),
        Err(errno) => return unreadable(errno, path),
    };
    match bytes {
        Ok((bytes, _)) => {
            let mut found: Vec<String> =
                marks.iter().flat_map(|mark| strings_with(&bytes, mark.as_bytes())).collect();
            found.sort();
            found.dedup();
            Answer::known(FactBody::Strings(found))
        }
        Err(error) => Answer::unknown(GapReason::Failed, format!("{path}: {error}")),
    }
}

/// Turns the error of a look into an answer: absent, denied or failed.
pub(crate) fn unreadable(errno: Errno, path: &str) -> Answer {
    match errno {
        Errno::NOENT | Errno::NOTDIR => Answer::Absent,
        Errno::ACCESS | Errno::PERM => {
            Answer::unknown(GapReason::Denied, format!("{path}: {}", words(errno)))
        }
        Errno::INVAL => Answer::unknown(GapReason::Unsupported, format!("{path} is no regular file")),
        _ => Answer::unknown(GapReason::Failed, format!("{path}: {}", words(errno))),
    }
}

/// A system error in the words of the C library, in lower case.
pub(crate) fn words(errno: Errno) -> String {
    why502_facts::Errno::from_linux(errno.raw_os_error()).words().to_lowercase()
}

fn read_bounded(file: File, limit: u64) -> io::Result<(Vec<u8>, bool)> {
    let mut content = Vec::new();
    file.take(limit + 1).read_to_end(&mut content)?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let truncated = content.len() > limit;
    content.truncate(limit);
    Ok((content, truncated))
}

fn strings_with<'a>(bytes: &'a [u8], mark: &'a [u8]) -> impl Iterator<Item = String> + 'a {
    let is_text = |byte: &u8| matches!(byte, b' '..=b'~' | b'\t' | b'\n' | 0x80..);
    memchr::memmem::find_iter(bytes, mark).filter_map(move |at| {
        let begin = bytes[..at].iter().rposition(|byte| !is_text(byte)).map_or(0, |end| end + 1);
        let end =
            bytes[at..].iter().position(|byte| !is_text(byte)).map_or(bytes.len(), |length| at + length);
        (end - begin <= MAX_STRING).then(|| why502_facts::lossy(&bytes[begin..end]))
    })
}

/// Names of users and groups are looked up in the host's own files only; a container's are not ours to read.
struct Names;

impl Names {
    fn of(file: &str, id: u32) -> Option<String> {
        let text = std::fs::read_to_string(file).ok()?;
        text.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1)?.parse() == Ok(id)).then(|| name.to_owned())
        })
    }
}

fn component(step: &Step, names: Option<&Names>) -> PathComponent {
    let mut status = file_status(&step.stat, acl(step));
    if names.is_some() {
        status.owner = Names::of("/etc/passwd", status.uid);
        status.group = Names::of("/etc/group", status.gid);
    }
    PathComponent { path: step.path.clone(), status, link: step.link.clone() }
}

fn file_status(stat: &Stat, acl: Vec<AclEntry>) -> FileStatus {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => FileKind::Directory,
        FileType::RegularFile => FileKind::File,
        FileType::Socket => FileKind::Socket,
        FileType::Symlink => FileKind::Link,
        _ => FileKind::Other,
    };
    let millis = i64::try_from(stat.st_mtime_nsec).unwrap_or(0) / 1_000_000;
    FileStatus {
        kind,
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        owner: None,
        group: None,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        modified: Stamp(stat.st_mtime * 1000 + millis),
        acl,
    }
}

/// The access ACL as the kernel stores it: a version, then entries of tag, permissions and id (`posix_acl_xattr.h`).
fn acl(step: &Step) -> Vec<AclEntry> {
    let path = format!("/proc/self/fd/{}", step.handle.as_raw_fd());
    let mut buffer = [0; 4096];
    let Ok(length) = rustix::fs::getxattr(path, "system.posix_acl_access", &mut buffer) else {
        return Vec::new();
    };
    let Some(entries) = buffer.get(4..length) else { return Vec::new() };
    let short = |bytes: &[u8]| u16::from_le_bytes([bytes[0], bytes[1]]);
    let entry = |bytes: &[u8]| AclEntry {
        tag: short(bytes),
        permissions: short(&bytes[2..]),
        id: u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
    };
    entries.chunks_exact(8).map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_binary_that_was_deleted_is_read_where_it_runs() {
        let directory = tempfile::tempdir().unwrap();
        let binary = directory.path().join("sleeper");
        std::fs::copy("/bin/sleep", &binary).unwrap();
        let mut child = std::process::Command::new(&binary).arg("60").spawn().unwrap();
        std::fs::remove_file(&binary).unwrap();
        let answer = find_strings(Root::Host, &format!("/proc/{}/exe", child.id()), &["GLIBC".to_owned()]);
        child.kill().unwrap();
        child.wait().unwrap();
        let Answer::Known(body) = answer else { panic!("{answer:?}") };
        assert!(matches!(*body, FactBody::Strings(found) if !found.is_empty()));
    }

    #[test]
    fn a_missing_file_is_absent_and_a_directory_unsupported() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().display().to_string();
        assert_eq!(read_file(Root::Host, &format!("{path}/none")), Answer::Absent);
        assert!(matches!(read_file(Root::Host, &path), Answer::Unknown { why: GapReason::Failed, .. }));
    }

    #[test]
    fn strings_are_cut_at_unprintable_bytes() {
        let bytes = b"\0nginx/1.22.1\0\x01configure arguments: --with-x\0nginx version: nginx/1.22.1\0";
        let found: Vec<_> = strings_with(bytes, b"nginx/").collect();
        assert_eq!(found, ["nginx/1.22.1", "nginx version: nginx/1.22.1"]);
    }

    #[test]
    fn a_walk_keeps_modes_and_stops_where_it_ends() {
        let directory = tempfile::tempdir().unwrap();
        let inner = directory.path().join("inner");
        std::fs::create_dir(&inner).unwrap();
        std::fs::set_permissions(&inner, PermissionsExt::from_mode(0o750)).unwrap();
        let Answer::Known(body) = walk_path(Root::Host, &format!("{}/sock", inner.display())) else {
            panic!()
        };
        let FactBody::PathWalk(walk) = *body else { panic!() };
        assert!(!walk.complete && walk.denied.is_none());
        assert_eq!(walk.components.last().unwrap().status.mode, 0o750);
    }
}
