//! Which files are one log.

use super::LogFile;
use super::expand::absolute;
use crate::logs::rotation::{Age, log_of, without_packing};
use crate::root::RootDir;
use std::collections::BTreeMap;

/// The logs, in the order in which they were first named: the name and the files, oldest first.
pub(super) fn group(root: &RootDir, files: Vec<LogFile>) -> Vec<(String, Vec<LogFile>)> {
    let names: Vec<String> = files.iter().map(|file| file.path.to_string()).collect();
    let mut order: Vec<String> = Vec::new();
    let mut logs: BTreeMap<String, Vec<(Age, LogFile)>> = BTreeMap::new();
    for file in files {
        let (log, age) = place(root, &names, &file.path);
        // The same directory has several names.
        let key = absolute(&log).unwrap_or_else(|_| log.clone());
        let key = key.replace("/./", "/");
        if !logs.contains_key(&key) {
            order.push(key.clone());
        }
        logs.entry(key).or_default().push((age, file));
    }
    let name_of = |files: &[(Age, LogFile)]| match files {
        [(_, only)] => only.path.to_string(),
        _ => files.last().map(|(_, file)| place(root, &names, &file.path).0).unwrap_or_default(),
    };
    order
        .into_iter()
        .filter_map(|key| logs.remove(&key))
        .map(|mut files| {
            files.sort_by(|(one, left), (other, right)| {
                // What was packed is older than what is still written.
                let is_plain = |file: &LogFile| without_packing(&file.path).len() == file.path.len();
                one.cmp(other).then(is_plain(left).cmp(&is_plain(right)))
            });
            drop_twins(&mut files);
            (name_of(&files), files.into_iter().map(|(_, file)| file).collect())
        })
        .collect()
}

/// A file that is kept while it is packed has the same content as its archive, of which a part may be missing.
fn drop_twins(files: &mut Vec<(Age, LogFile)>) {
    let mut idx = 1;
    while idx < files.len() {
        let (one, other) = (&files[idx - 1], &files[idx]);
        let is_twin = one.0 != Age::Live && without_packing(&one.1.path) == &*other.1.path;
        if is_twin {
            files.remove(idx - 1);
        } else {
            idx += 1;
        }
    }
}

/// The path of the log that a file belongs to, and its age.
///
/// A number alone is a weak mark: `access-10.0.0.1` is no rotated `access-10.0.0`. It counts if the log is there as well, or
/// is called a log.
fn place(root: &RootDir, named: &[String], path: &str) -> (String, Age) {
    let (parent, name) = match path.rsplit_once('/') {
        Some((parent, name)) => (format!("{parent}/"), name),
        None => (String::new(), path),
    };
    let (log, age) = log_of(name);
    let log = format!("{parent}{log}");
    let is_there =
        || named.contains(&log) || absolute(&log).is_ok_and(|log| root.walk(&log).stopped.is_none());
    if matches!(age, Age::Numbered(_)) && !log.ends_with("log") && !is_there() {
        return (without_packing(path).to_owned(), Age::Live);
    }
    (log, age)
}
