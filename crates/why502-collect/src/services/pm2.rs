//! Applications of PM2, as its list says that survives a restart (`dump.pm2`), and as its log names them. PM2 itself is never run.
//!
//! The list holds the whole environment of whoever started an application: of that, only variables that say where to listen
//! are kept.

use super::{is_wanted, named_files, read_definition};
use crate::processes::{Program, is_listen_variable};
use crate::root::RootDir;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::time::Instant;
use why502_decode::host::{decode_service, pm2_home};
use why502_facts::{Blob, Root, ServiceFile, ServiceFileKind, ServiceRecord, Supervisor};

/// What is kept of an application.
const KEPT: [&str; 10] = [
    "args",
    "autorestart",
    "exec_interpreter",
    "exec_mode",
    "max_restarts",
    "name",
    "node_args",
    "pm_cwd",
    "pm_exec_path",
    "status",
];
/// The most applications of one list.
const MAX_APPLICATIONS: usize = 256;
/// The most homes without a daemon that are looked at.
const MAX_HOMES: usize = 256;

/// The applications whose definition holds a mark.
pub(super) fn read(running: &[Program], marks: &[String], stop: Instant) -> Vec<ServiceRecord> {
    let home = |program: &Program| Some((program.pid, pm2_home(program.argv.first()?)?));
    let daemons: Vec<(u32, String)> = running.iter().filter_map(home).collect();
    let homes: BTreeSet<&String> = daemons.iter().map(|(_, home)| home).collect();
    // Without its daemon, as after a boot that nobody told to start it, nothing of the list runs.
    let left: Vec<String> =
        homes_on_disk().into_iter().filter(|home| !homes.contains(home) && Instant::now() < stop).collect();
    let running = daemons.iter().map(|(pid, home)| (Root::Process(*pid), Some(*pid), home));
    let gone = left.iter().map(|home| (Root::Host, None, home));
    let records = running.chain(gone).flat_map(|(root, pid, home)| applications(root, pid, home, marks));
    records.filter(|record| is_wanted(record, marks)).collect()
}

/// The homes of PM2 that users of this host have.
fn homes_on_disk() -> Vec<String> {
    let Ok(root) = RootDir::open(Root::Host) else { return Vec::new() };
    let users = super::names_in(&root, "/home").unwrap_or_default();
    let users = users.iter().map(|user| format!("/home/{user}/.pm2"));
    std::iter::once("/root/.pm2".to_owned()).chain(users).take(MAX_HOMES).collect()
}

/// The applications of a list, one record each: those of one name are copies of one.
fn applications(root: Root, pid: Option<u32>, home: &str, marks: &[String]) -> Vec<ServiceRecord> {
    let list = read_definition(root, &format!("{home}/dump.pm2"), ServiceFileKind::Definition);
    let Some(list) = list else { return Vec::new() };
    let Ok(Value::Array(entries)) = serde_json::from_slice(list.content.as_slice()) else {
        return Vec::new();
    };
    let mut names = BTreeSet::new();
    let own = entries.into_iter().take(MAX_APPLICATIONS).filter_map(|entry| {
        let Value::Object(entry) = entry else { return None };
        let name = entry.get("name")?.as_str()?.to_owned();
        names.insert(name.clone()).then(|| (name, kept(&entry)))
    });
    let record = |(name, content): (String, Blob)| {
        let mut record = ServiceRecord {
            supervisor: Supervisor::Pm2,
            name,
            files: vec![ServiceFile { content, ..list.clone() }],
            named: Vec::new(),
            masked: false,
            supervisor_pid: pid,
            state: None,
        };
        if let Some((service, _)) = decode_service(&record) {
            let commands = service.commands.iter();
            let directory = service.directory.as_deref();
            record.named =
                commands.flat_map(|command| named_files(root, command, directory, marks)).collect();
        }
        record
    };
    own.map(record).collect()
}

/// What is kept of an application's entry. Its environment stands in it twice: by itself and among the settings.
fn kept(entry: &Map<String, Value>) -> Blob {
    let mut own: Map<String, Value> =
        KEPT.iter().filter_map(|name| Some(((*name).to_owned(), entry.get(*name)?.clone()))).collect();
    let environment = entry.get("env").and_then(Value::as_object);
    let listens = environment.into_iter().flatten().chain(entry).filter_map(|(name, value)| {
        let value = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => return None,
        };
        is_listen_variable(name, &value).then(|| (name.clone(), Value::String(value)))
    });
    let listens: Map<String, Value> = listens.collect();
    own.insert("env".to_owned(), Value::Object(listens));
    serde_json::to_vec(&own).map(Blob::from).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_an_environment_is_kept_but_where_to_listen() {
        let entry = r#"{"name":"shop","pm_exec_path":"/srv/shop/server.js","API_TOKEN":"x","PORT":"3000",
            "env":{"PORT":3000,"API_TOKEN":"x","HOME":"/root"},"status":"online"}"#;
        let Ok(Value::Object(entry)) = serde_json::from_str(entry) else { panic!("no entry") };
        let kept = why502_facts::lossy(kept(&entry).as_slice());
        assert!(kept.contains(r#""env":{"PORT":"3000"}"#), "{kept}");
        assert!(!kept.contains("TOKEN") && !kept.contains("HOME"), "{kept}");
    }
}
