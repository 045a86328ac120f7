//! Unit files on disk (systemd.unit(5)), also where systemd does not run.

use super::{is_wanted, named_files, names_in, read_definition};
use crate::root::RootDir;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;
use why502_decode::host::decode_service;
use why502_facts::{Root, ServiceFile, ServiceFileKind, ServiceRecord, Supervisor};

/// Where unit files stand, what wins first.
const DIRECTORIES: [&str; 8] = [
    "/etc/systemd/system",
    "/run/systemd/transient",
    "/run/systemd/system",
    "/run/systemd/generator",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
    "/run/systemd/generator.late",
];
/// The most units that are looked at.
const MAX_UNITS: usize = 4096;
/// The most files of variables of one unit.
const MAX_ENVIRONMENT_FILES: usize = 8;

/// Which directories have a unit of a name, and which have settings for it.
#[derive(Default)]
struct Units {
    paths: BTreeMap<String, Vec<String>>,
    drop_ins: BTreeMap<String, Vec<String>>,
    /// Instances of templates that some other unit wants.
    instances: BTreeSet<String>,
}

/// The units whose files hold a mark.
pub(super) fn read(marks: &[String], stop: Instant) -> Result<Vec<ServiceRecord>, String> {
    let root = RootDir::open(Root::Host).map_err(crate::files::words)?;
    let units = list(&root)?;
    let names = units.paths.keys().filter(|name| !name.contains("@.")).chain(&units.instances);
    let names: BTreeSet<&String> = names.take(MAX_UNITS).collect();
    let in_time = names.into_iter().take_while(|_| Instant::now() < stop);
    let records = in_time.filter_map(|name| record(&root, &units, name, marks));
    Ok(records.filter(|record| is_wanted(record, marks)).collect())
}

fn list(root: &RootDir) -> Result<Units, String> {
    let mut units = Units::default();
    let mut denied = None;
    for directory in DIRECTORIES {
        let names = match names_in(root, directory) {
            Ok(names) => names,
            Err(says) => {
                denied = Some(says);
                continue;
            }
        };
        for name in names {
            let path = format!("{directory}/{name}");
            if is_unit(&name) {
                units.paths.entry(name).or_default().push(path);
            } else if let Some(unit) = name.strip_suffix(".d").filter(|unit| is_unit(unit)) {
                units.drop_ins.entry(unit.to_owned()).or_default().push(path);
            } else if [".wants", ".requires"].iter().any(|ending| name.ends_with(ending)) {
                let wanted = names_in(root, &path).unwrap_or_default();
                let is_instance = |name: &String| is_unit(name) && name.contains('@') && !name.contains("@.");
                units.instances.extend(wanted.into_iter().filter(is_instance));
            }
        }
    }
    match denied {
        Some(says) if units.paths.is_empty() => Err(says),
        _ => Ok(units),
    }
}

fn is_unit(name: &str) -> bool {
    name.ends_with(".service") || name.ends_with(".socket")
}

fn record(root: &RootDir, units: &Units, name: &str, marks: &[String]) -> Option<ServiceRecord> {
    let template = name.split_once('@').and_then(|(prefix, _)| {
        let (_, suffix) = name.rsplit_once('.')?;
        Some(format!("{prefix}@.{suffix}"))
    });
    let own = units.paths.get(name).into_iter().flatten();
    let of_template = template.as_ref().and_then(|template| units.paths.get(template)).into_iter().flatten();
    let paths: Vec<&String> = own.chain(of_template).collect();
    let masked = paths.first().is_some_and(|path| is_null(root, path));
    let fragment =
        paths.iter().find_map(|path| read_definition(Root::Host, path, ServiceFileKind::Definition))?;
    let mut files = vec![fragment];
    for directory in [template.as_deref(), Some(name)].into_iter().flatten() {
        files.extend(drop_ins(root, units, directory));
    }
    let mut record = ServiceRecord {
        supervisor: Supervisor::Systemd,
        name: name.to_owned(),
        files,
        named: Vec::new(),
        masked,
        supervisor_pid: None,
        state: None,
    };
    record.named = named(&record, marks);
    Some(record)
}

/// Settings beside a unit, in the order of their names; a name in an earlier directory hides the same in a later one.
fn drop_ins(root: &RootDir, units: &Units, name: &str) -> Vec<ServiceFile> {
    let mut by_name: BTreeMap<String, String> = BTreeMap::new();
    for directory in units.drop_ins.get(name).into_iter().flatten() {
        let names = names_in(root, directory).unwrap_or_default();
        for name in names.into_iter().filter(|name| name.strip_suffix(".conf").is_some()) {
            by_name.entry(name.clone()).or_insert_with(|| format!("{directory}/{name}"));
        }
    }
    let read = |path: &String| read_definition(Root::Host, path, ServiceFileKind::Definition);
    by_name.values().filter_map(read).collect()
}

/// What the definition of a service names: its files of variables, and of the files of its command the lines with a mark.
fn named(record: &ServiceRecord, marks: &[String]) -> Vec<ServiceFile> {
    let Some((service, environment_files)) = decode_service(record) else { return Vec::new() };
    let variables = environment_files.iter().take(MAX_ENVIRONMENT_FILES);
    let mut files: Vec<ServiceFile> = variables
        .filter_map(|path| read_definition(Root::Host, path, ServiceFileKind::Environment))
        .collect();
    for command in &service.commands {
        files.extend(named_files(Root::Host, command, service.directory.as_deref(), marks));
    }
    files
}

/// Whether a unit file is masked: a link to `/dev/null`, or an empty file.
fn is_null(root: &RootDir, path: &str) -> bool {
    let walk = root.walk(path);
    walk.steps
        .last()
        .is_some_and(|step| step.path == "/dev/null" || step.stat.st_size == 0 && walk.stopped.is_none())
}
