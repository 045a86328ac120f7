//! Services of the host by what their definitions name: unit files of systemd, programs of supervisord, services of runit,
//! applications of PM2.
//!
//! A service that does not run has no process to look at. What is left of it is its definition, and a port, a socket's path
//! or a name in that tells whose it is.

mod pm2;
mod runit;
mod supervisord;
mod systemd;

use crate::files::{file_status_of, read_whole_of};
use crate::processes::running_programs;
use crate::root::RootDir;
use rustix::io::Errno;
use std::time::Instant;
use why502_decode::host::{holds_mark, lines_with_marks};
use why502_facts::{Answer, Blob, FactBody, GapReason, Root, ServiceFile, ServiceFileKind, ServiceRecord};

/// The most services that are kept.
const MAX_SERVICES: usize = 64;
/// The longest file that is read, in bytes: a definition, a program's text, its settings.
const MAX_FILE: u64 = 256 << 10;
/// The most files that the command of one service names and that are read.
const MAX_NAMED: usize = 8;

/// The services whose definition holds one of the marks.
pub(crate) fn read_services(marks: &[String], stop: Instant) -> Answer {
    let mut services = Vec::new();
    let mut gaps = Vec::new();
    let supervised = match running_programs() {
        Ok(running) => vec![
            supervisord::read(&running, marks, stop),
            Ok(runit::read(&running, marks, stop)),
            Ok(pm2::read(&running, marks, stop)),
        ],
        Err(error) => vec![Err(format!("/proc: {error}"))],
    };
    for found in std::iter::once(systemd::read(marks, stop)).chain(supervised) {
        match found {
            Ok(found) => services.extend(found),
            Err(says) => gaps.push(says),
        }
    }
    if services.is_empty()
        && let Some(says) = gaps.into_iter().next()
    {
        return Answer::unknown(GapReason::Denied, says);
    }
    services.truncate(MAX_SERVICES);
    Answer::known(FactBody::Services(services))
}

/// A file of a definition; `None` if it is not there, is no regular file, or may not be read.
fn read_definition(root: Root, path: &str, kind: ServiceFileKind) -> Option<ServiceFile> {
    let (content, stat) = read_whole_of(root, path, MAX_FILE)?;
    Some(ServiceFile { path: path.to_owned(), content: content.into(), kind, status: file_status_of(&stat) })
}

/// Of a file that a command names the lines with a mark; `None` if there are none.
fn read_named(root: Root, path: &str, marks: &[String]) -> Option<ServiceFile> {
    let (content, stat) = read_whole_of(root, path, MAX_FILE)?;
    let lines = lines_with_marks(&content, marks);
    let is_there = !lines.is_empty();
    let kind = ServiceFileKind::Command;
    is_there.then(|| ServiceFile {
        path: path.to_owned(),
        content: Blob::from(lines),
        kind,
        status: file_status_of(&stat),
    })
}

/// The files that a command names: arguments that are paths, seen from the directory that it runs in, and what programs
/// read there by themselves. Programs of the system are no files of the service.
fn named_files(
    root: Root,
    command: &[String],
    directory: Option<&str>,
    marks: &[String],
) -> Vec<ServiceFile> {
    let is_systems = |path: &str| {
        ["/bin/", "/sbin/", "/usr/bin/", "/usr/sbin/", "/usr/lib/systemd/", "/lib/systemd/"]
            .iter()
            .any(|directory| path.starts_with(directory))
    };
    let values =
        command.iter().map(|argument| argument.split_once('=').map_or(argument.as_str(), |(_, value)| value));
    let by_themselves = directory.into_iter().flat_map(|_| [".env", "gunicorn.conf.py"]);
    let candidates =
        values.chain(by_themselves).filter(|value| !value.starts_with('-') && !value.contains(':'));
    let absolute = candidates.filter_map(|value| match (value.starts_with('/'), directory) {
        (true, _) => Some(value.to_owned()),
        (false, Some(directory)) if value.contains('.') => Some(format!("{directory}/{value}")),
        (false, _) => None,
    });
    let mut paths: Vec<String> = absolute.filter(|path| !is_systems(path)).collect();
    paths.dedup();
    paths.truncate(MAX_NAMED);
    paths.iter().filter_map(|path| read_named(root, path, marks)).collect()
}

/// Whether a service has anything to do with the marks: its name, its definition, or a file that it names.
fn is_wanted(record: &ServiceRecord, marks: &[String]) -> bool {
    let files = record.files.iter().chain(&record.named);
    holds_mark(record.name.as_bytes(), marks)
        || files.into_iter().any(|file| holds_mark(file.content.as_slice(), marks))
}

/// The names in a directory; none where it is not there.
fn names_in(root: &RootDir, directory: &str) -> Result<Vec<String>, String> {
    match root.list(directory) {
        Ok(names) => Ok(names),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(Vec::new()),
        Err(errno) => Err(format!("{directory}: {}", crate::files::words(errno))),
    }
}
