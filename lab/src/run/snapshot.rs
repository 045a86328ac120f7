//! That reading changes nothing: what is there before and after a run of why502.
//!
//! Compared are all paths of the scenario's directory, where nginx, its configuration, logs and sockets are: kind, size,
//! mode, owner, time of the last change and of the last reading, content. Before the run every time of reading is set two
//! days back, so that `relatime` would show any further one. Listening sockets are looked for every few milliseconds while
//! why502 runs, in the tables of its network namespace; one that opens and closes between two looks is not seen.

use super::listening;
use crate::judge::{Kind, Miss};
use anyhow::Result;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_OMIT};
use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

/// Larger files are compared by size and times alone.
const MAX_HASHED: u64 = 4 << 20;
/// What backends of the lab write to, and where their programs lie.
const OF_BACKENDS: [&str; 2] = ["out", "bin"];

/// A folder as it was.
#[derive(Debug)]
pub(super) struct Snapshot {
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug, PartialEq, Eq)]
struct Entry {
    mode: u32,
    owner: (u32, u32),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    read: (i64, i64),
    content: u64,
}

impl Entry {
    /// What is different in another.
    fn differences(&self, other: &Self) -> Vec<&'static str> {
        let checks = [
            ("mode", self.mode == other.mode),
            ("owner", self.owner == other.owner),
            ("size", self.size == other.size),
            ("content", self.content == other.content),
            ("time of change", self.modified == other.modified && self.changed == other.changed),
            ("time of reading", self.read == other.read),
        ];
        checks.into_iter().filter(|(_, same)| !same).map(|(name, _)| name).collect()
    }
}

/// Takes a snapshot, and sets the times of reading back.
pub(super) fn take(dir: &Path, ignored: &[String]) -> Result<Snapshot> {
    let mut contents = BTreeMap::new();
    walk(dir, dir, ignored, &mut |name, path| {
        contents.insert(name, content(path));
        age_reading(path);
    })?;
    let mut entries = BTreeMap::new();
    // Contents are read first: reading them touches the times.
    walk_without_reading(dir, &contents, |name, entry| {
        entries.insert(name, entry);
    });
    Ok(Snapshot { entries })
}

impl Snapshot {
    /// What is different now.
    pub(super) fn compare(&self, dir: &Path, ignored: &[String]) -> Result<Vec<Miss>> {
        let mut after = BTreeMap::new();
        // Times first: reading the folders and contents touches them.
        for name in self.entries.keys() {
            if let Some(entry) = entry(&dir.join(name), 0) {
                after.insert(name.clone(), entry);
            }
        }
        let mut names = Vec::new();
        walk(dir, dir, ignored, &mut |name, path| {
            if let Some(entry) = after.get_mut(&name) {
                entry.content = content(path);
            }
            names.push(name);
        })?;
        let mut misses: Vec<Miss> = names
            .iter()
            .filter(|name| !self.entries.contains_key(*name))
            .map(|name| Miss::new(Kind::ReadOnly, format!("{name} was created")))
            .collect();
        for (name, before) in &self.entries {
            match after.get(name) {
                None => misses.push(Miss::new(Kind::ReadOnly, format!("{name} was removed"))),
                Some(now) if now != before => {
                    let says = format!("{name}: {} changed", before.differences(now).join(", "));
                    misses.push(Miss::new(Kind::ReadOnly, says));
                }
                Some(_) => {}
            }
        }
        Ok(misses)
    }
}

fn walk(root: &Path, folder: &Path, ignored: &[String], see: &mut dyn FnMut(String, &Path)) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
        if OF_BACKENDS.contains(&name.as_str()) || ignored.contains(&name) {
            continue;
        }
        if path.symlink_metadata()?.is_dir() {
            walk(root, &path, ignored, see)?;
        }
        see(name, &path);
    }
    Ok(())
}

fn walk_without_reading(dir: &Path, contents: &BTreeMap<String, u64>, mut see: impl FnMut(String, Entry)) {
    for (name, content) in contents {
        if let Some(entry) = entry(&dir.join(name), *content) {
            see(name.clone(), entry);
        }
    }
}

fn entry(path: &Path, content: u64) -> Option<Entry> {
    let metadata = path.symlink_metadata().ok()?;
    // A connection to a unix socket counts as reading it, and that is what a probe does; whoever follows a link reads it.
    let is_passed = metadata.file_type().is_socket() || metadata.is_symlink();
    Some(Entry {
        mode: metadata.mode(),
        owner: (metadata.uid(), metadata.gid()),
        size: metadata.len(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
        read: if is_passed { (0, 0) } else { (metadata.atime(), metadata.atime_nsec()) },
        content,
    })
}

fn content(path: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    let readable =
        path.symlink_metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() <= MAX_HASHED);
    if readable {
        fs::read(path).unwrap_or_default().hash(&mut hasher);
    }
    hasher.finish()
}

/// Sets the time of the last reading two days back. Only the owner may; for others readings stay unseen.
fn age_reading(path: &Path) {
    let two_days_ago = SystemTime::now() - Duration::from_hours(48);
    let seconds = two_days_ago.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let times = Timestamps {
        last_access: Timespec { tv_sec: seconds.try_into().unwrap_or(0), tv_nsec: 0 },
        last_modification: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
    };
    let _ = rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW);
}

/// Looks for new listening sockets while something runs.
#[derive(Debug)]
pub(super) struct Watch {
    done: Arc<AtomicBool>,
    watcher: JoinHandle<Vec<String>>,
}

impl Watch {
    pub(super) fn begin() -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let before = listening::all();
        let is_done = Arc::clone(&done);
        let watcher = thread::spawn(move || {
            let mut new = Vec::new();
            loop {
                // One more look is taken after the end: what listens until then is seen for certain.
                let is_last = is_done.load(Ordering::Relaxed);
                new.extend(listening::all().into_iter().filter(|socket| !before.contains(socket)));
                if is_last {
                    break;
                }
                thread::sleep(Duration::from_millis(4));
            }
            new.sort();
            new.dedup();
            new
        });
        Self { done, watcher }
    }

    /// The sockets that came to listen meanwhile.
    pub(super) fn end(self) -> Vec<Miss> {
        self.done.store(true, Ordering::Relaxed);
        let new = self.watcher.join().unwrap_or_default();
        new.into_iter().map(|socket| Miss::new(Kind::ReadOnly, format!("{socket} listened"))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(change: impl FnOnce(&Path)) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("logs")).unwrap();
        fs::write(folder.path().join("logs/error.log"), "a").unwrap();
        let before = take(folder.path(), &[]).unwrap();
        change(folder.path());
        before.compare(folder.path(), &[]).unwrap().into_iter().map(|miss| miss.says).collect()
    }

    #[test]
    fn nothing_is_different_by_itself() {
        assert_eq!(changes(|_| {}), Vec::<String>::new());
    }

    #[test]
    fn what_is_written_made_or_removed_is_seen() {
        assert!(
            changes(|dir| fs::write(dir.join("logs/error.log"), "b").unwrap())[0]
                .contains("content, time of change changed")
        );
        assert!(
            changes(|dir| fs::write(dir.join("new"), "").unwrap())
                .iter()
                .any(|change| change == "new was created")
        );
        assert!(
            changes(|dir| fs::remove_file(dir.join("logs/error.log")).unwrap())
                .iter()
                .any(|change| change.ends_with("was removed"))
        );
    }

    #[test]
    fn a_listening_socket_is_seen() {
        let watch = Watch::begin();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.sock");
        let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let seen: Vec<String> = watch.end().into_iter().map(|miss| miss.says).collect();
        assert!(seen.iter().any(|says| says.contains("w.sock")), "{seen:?}");
    }
}
