//! Services of runit (runsv(8)): a directory with a script `run` and the state in `supervise`.

use super::{is_wanted, named_files, names_in, read_definition};
use crate::processes::Program;
use crate::root::RootDir;
use std::time::Instant;
use why502_decode::host::decode_service;
use why502_facts::{Root, ServiceFile, ServiceFileKind, ServiceRecord, Supervisor};

/// The most variables of a service (`chpst -e ./env`).
const MAX_VARIABLES: usize = 64;

/// The services whose definition holds a mark.
pub(super) fn read(running: &[Program], marks: &[String], stop: Instant) -> Vec<ServiceRecord> {
    let in_time = running.iter().take_while(|_| Instant::now() < stop);
    in_time.filter_map(|program| service(program, marks)).collect()
}

/// The service of a `runsv`, which stands in its directory.
fn service(program: &Program, marks: &[String]) -> Option<ServiceRecord> {
    let pid = program.pid;
    if program.argv.first()?.rsplit('/').next() != Some("runsv") {
        return None;
    }
    let root = Root::Process(pid);
    let directory = std::fs::read_link(format!("/proc/{pid}/cwd")).ok()?.to_string_lossy().into_owned();
    let run = read_definition(root, &format!("{directory}/run"), ServiceFileKind::Definition)?;
    let state = read_definition(root, &format!("{directory}/supervise/status"), ServiceFileKind::Definition);
    let mut record = ServiceRecord {
        supervisor: Supervisor::Runit,
        name: directory.rsplit('/').next()?.to_owned(),
        files: vec![run],
        named: Vec::new(),
        masked: false,
        supervisor_pid: Some(pid),
        state: state.map(|state| state.content),
    };
    record.named = variables(root, &directory);
    let (service, _) = decode_service(&record)?;
    let within = service.directory.as_deref().unwrap_or(&directory);
    let commands = service.commands.iter();
    let named: Vec<ServiceFile> =
        commands.flat_map(|command| named_files(root, command, Some(within), marks)).collect();
    record.named.extend(named);
    is_wanted(&record, marks).then_some(record)
}

/// The variables of `env`: a file for each, its first line the value.
fn variables(root: Root, directory: &str) -> Vec<ServiceFile> {
    let directory = format!("{directory}/env");
    let names =
        RootDir::open(root).ok().and_then(|root| names_in(&root, &directory).ok()).unwrap_or_default();
    let read = |name: &String| {
        let mut file = read_definition(root, &format!("{directory}/{name}"), ServiceFileKind::Environment)?;
        let value = file.content.as_slice().split(|byte| *byte == b'\n').next().unwrap_or_default();
        file.content = [name.as_bytes(), b"=", value, b"\n"].concat().into();
        Some(file)
    };
    names.iter().take(MAX_VARIABLES).filter_map(read).collect()
}
