//! Programs of supervisord (its manual, "Configuration File"), as the files of a running supervisord define them.

use super::{is_wanted, named_files, read_definition};
use crate::glob::glob;
use crate::processes::Program;
use crate::root::RootDir;
use std::time::Instant;
use why502_decode::host::{decode_service, supervisord_includes, supervisord_programs};
use why502_facts::{Root, ServiceFile, ServiceFileKind, ServiceRecord, Supervisor};

/// Where it looks for its file, unless told.
const DEFAULTS: [&str; 2] = ["/etc/supervisord.conf", "/etc/supervisor/supervisord.conf"];
/// The most files that its own includes.
const MAX_FILES: usize = 256;

/// The programs whose definition holds a mark.
pub(super) fn read(
    running: &[Program],
    marks: &[String],
    stop: Instant,
) -> Result<Vec<ServiceRecord>, String> {
    let (mut records, mut unread) = (Vec::new(), None);
    let daemons = running.iter().filter(|program| is_supervisord(&program.argv));
    for Program { pid, argv } in daemons.take_while(|_| Instant::now() < stop) {
        let pid = *pid;
        let files = files(pid, argv);
        if files.is_empty() {
            unread = Some(format!("the configuration of supervisord (pid {pid}) cannot be read"));
        }
        let found = files.into_iter().flat_map(|file| programs(pid, &file, marks));
        records.extend(found.filter(|record| is_wanted(record, marks)));
    }
    match unread {
        Some(says) if records.is_empty() => Err(says),
        _ => Ok(records),
    }
}

/// Whether a command line is that of supervisord: a script of Python.
fn is_supervisord(argv: &[String]) -> bool {
    argv.iter().take(2).any(|argument| argument.rsplit('/').next() == Some("supervisord"))
}

/// Its file, and those that it includes.
fn files(pid: u32, argv: &[String]) -> Vec<ServiceFile> {
    let root = Root::Process(pid);
    let read = |path: &str| read_definition(root, path, ServiceFileKind::Definition);
    let cwd = std::fs::read_link(format!("/proc/{pid}/cwd")).map(|cwd| cwd.to_string_lossy().into_owned());
    let absolute = |path: &str| match (path.starts_with('/'), &cwd) {
        (false, Ok(cwd)) => format!("{cwd}/{path}"),
        _ => path.to_owned(),
    };
    let found = match configuration(argv) {
        Some(path) => read(&absolute(path)),
        None => ["supervisord.conf", "etc/supervisord.conf"]
            .iter()
            .map(|path| absolute(path))
            .chain(DEFAULTS.map(str::to_owned))
            .find_map(|path| read(&path)),
    };
    let Some(main) = found else { return Vec::new() };
    let Ok(directory) = RootDir::open(root) else { return vec![main] };
    let patterns = supervisord_includes(&main.path, main.content.as_slice());
    let mut paths: Vec<String> =
        patterns.iter().flat_map(|pattern| glob(&directory, pattern).unwrap_or_default()).collect();
    paths.truncate(MAX_FILES);
    std::iter::once(main).chain(paths.iter().filter_map(|path| read(path))).collect()
}

/// `-c FILE`, `--configuration FILE`, `--configuration=FILE`.
fn configuration(argv: &[String]) -> Option<&str> {
    let joined = argv.iter().find_map(|argument| argument.strip_prefix("--configuration="));
    let is_option = |argument: &String| matches!(argument.as_str(), "-c" | "--configuration");
    let apart = argv.iter().position(is_option).and_then(|at| argv.get(at + 1)).map(String::as_str);
    joined.or(apart)
}

/// The programs of a file, each with its own section.
fn programs(pid: u32, file: &ServiceFile, marks: &[String]) -> Vec<ServiceRecord> {
    let sections = supervisord_programs(file.content.as_slice());
    let record = |(name, section): (String, Vec<u8>)| {
        let mut record = ServiceRecord {
            supervisor: Supervisor::Supervisord,
            name,
            files: vec![ServiceFile { content: section.into(), ..file.clone() }],
            named: Vec::new(),
            masked: false,
            supervisor_pid: Some(pid),
            state: None,
        };
        if let Some((service, _)) = decode_service(&record) {
            let commands = service.commands.iter();
            let named = commands.flat_map(|command| {
                named_files(Root::Process(pid), command, service.directory.as_deref(), marks)
            });
            record.named = named.collect();
        }
        record
    };
    sections.into_iter().map(record).collect()
}
