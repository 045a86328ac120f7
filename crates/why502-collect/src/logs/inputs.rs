//! The logs that somebody names: files, patterns, directories, the journal, standard input.
//!
//! Rotated files of one log are one [`LogSet`], read oldest first, and an entry that a runtime cut goes on in the next
//! file. What a set holds is told by its content, never by its name: how it is packed, what wraps its lines, which of
//! several programs is the gateway, and whether its lines are requests, errors or both.

mod expand;
mod group;
mod journal;
mod read;
mod sample;

pub use self::read::ReadSummary;

use self::expand::{Found, absolute, expand};
use self::group::group;
use self::journal::{Journal, is_journal};
use self::sample::Sample;
use super::lines::packing_of;
use super::packing::Packing;
use crate::root::RootDir;
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, IsTerminal as _, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use thiserror::Error;
use why502_decode::logs::{Envelope, LogContent};
use why502_facts::Root;

/// What standard input is called on a command line.
const STDIN: &str = "-";

/// Why logs cannot be opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InputError {
    /// Nothing was named.
    #[error("no log is named")]
    Nothing,
    /// A directory without files.
    #[error("{path} holds no files")]
    EmptyDirectory {
        /// The directory.
        path: String,
    },
    /// A journal without an entry, as far as this user may read it.
    #[error("{name} holds no entries that this user may read")]
    EmptyJournal {
        /// How it was named.
        name: String,
    },
    /// A pattern that no file matches.
    #[error("no file matches {pattern}")]
    NoMatch {
        /// The pattern.
        pattern: String,
    },
    /// A pipe, a socket or a device.
    #[error("{path} is {kind}, not a file: pipe it into `-`")]
    NoFile {
        /// Its path.
        path: String,
        /// What it is, with its article.
        kind: &'static str,
    },
    /// A file whose bytes are not text, however it is unpacked.
    #[error("{path} is no log: what it holds is not text")]
    NoLog {
        /// Its path.
        path: String,
    },
    /// Standard input is where somebody types.
    #[error("standard input is a terminal: pipe a log into it")]
    Terminal,
    /// A file that cannot be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// Its path.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Opens what arguments name: paths, patterns for glob(3) that the shell left alone, directories (the files in them, not
/// those in theirs), `journal:`, `journal:UNIT` or `journal:FIELD=VALUE` for the host's own journal, and `-` for standard
/// input.
///
/// The journal, and files of one, are read by `journalctl`. Those of a directory or a pattern are one log.
///
/// A file that is named twice, also by another name, is read once. A log that is not text is an error if it was named
/// itself; among the files of a directory or a pattern it is a set whose content is [`LogContent::Binary`], for the caller
/// to mention.
pub fn open_logs(arguments: &[String]) -> Result<Vec<LogSet>, InputError> {
    let stdin = io::stdin();
    if arguments.iter().any(|argument| argument == STDIN) && stdin.is_terminal() {
        return Err(InputError::Terminal);
    }
    open_with(arguments, Box::new(stdin))
}

fn open_with(arguments: &[String], stdin: Box<dyn Read + Send>) -> Result<Vec<LogSet>, InputError> {
    if arguments.is_empty() {
        return Err(InputError::Nothing);
    }
    let root = RootDir::open(Root::Host).map_err(|errno| unreadable("/", errno))?;
    let mut sets = Vec::new();
    let mut seen = BTreeSet::new();
    let mut files = Vec::new();
    for argument in arguments.iter().filter(|argument| *argument != STDIN) {
        if let Some(journal) = Journal::of_argument(argument) {
            sets.push(LogSet::of_journal(argument, journal)?);
            continue;
        }
        let mut journals = Vec::new();
        for found in expand(&root, argument)? {
            let file = LogFile::open(&root, &found)?;
            let of = if file.is_journal { &mut journals } else { &mut files };
            if seen.insert(file.id) {
                of.push(file);
            }
        }
        if !journals.is_empty() {
            let journal = Journal::of_files(journals.iter().map(|file| &*file.path));
            sets.push(LogSet::of_journal(argument, journal)?);
        }
    }
    for (name, files) in group(&root, files) {
        sets.push(LogSet::of_files(&root, name, files)?);
    }
    if arguments.iter().any(|argument| argument == STDIN) {
        sets.push(LogSet::of_stream(stdin)?);
    }
    match sets.iter().find(|set| set.content != LogContent::Binary) {
        Some(_) => Ok(sets),
        None => Err(InputError::NoLog { path: arguments.join(", ") }),
    }
}

/// A file of a log.
#[derive(Debug)]
pub struct LogFile {
    path: Arc<str>,
    size: u64,
    packing: Packing,
    /// Device and inode.
    id: (u64, u64),
    /// Whether it was named itself, not found by a pattern or in a directory.
    is_named: bool,
    /// Whether only `journalctl` can read it.
    is_journal: bool,
}

impl LogFile {
    /// Its path, as it was named or found.
    pub fn path(&self) -> &Arc<str> {
        &self.path
    }

    /// How large it is as it is stored, bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    fn open(root: &RootDir, found: &Found) -> Result<Self, InputError> {
        let (file, stat) =
            root.open_file(&absolute(&found.path)?).map_err(|errno| unreadable(&found.path, errno))?;
        let failed = |source: io::Error| InputError::Unreadable { path: found.path.clone(), source };
        let packing = packing_of(&file).map_err(failed)?;
        let is_journal = is_journal(&file).map_err(failed)?;
        Ok(Self {
            path: found.path.as_str().into(),
            size: u64::try_from(stat.st_size).unwrap_or(0),
            packing,
            id: (stat.st_dev, stat.st_ino),
            is_named: found.is_named,
            is_journal,
        })
    }

    /// Opens the file again; under its new name, if it was rotated since.
    fn reopen(&self, root: &RootDir) -> io::Result<File> {
        let path = absolute(&self.path).map_err(io::Error::other)?;
        let is_it = |path: &str| {
            let (file, stat) = root.open_file(path).ok()?;
            ((stat.st_dev, stat.st_ino) == self.id).then_some(file)
        };
        if let Some(file) = is_it(&path) {
            return Ok(file);
        }
        let (parent, _) = path.rsplit_once('/').unwrap_or_default();
        let siblings = root.list(if parent.is_empty() { "/" } else { parent })?;
        let renamed = siblings.iter().find_map(|name| is_it(&format!("{parent}/{name}")));
        renamed.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the file was removed or replaced"))
    }
}

/// Where a log's lines come from.
enum Origin {
    /// Its files, oldest first.
    Files(Vec<LogFile>),
    Journal(Journal),
    /// Standard input, until it is read.
    Stream(Mutex<Option<Box<dyn Read + Send>>>),
}

/// A log: the files that it was rotated into, oldest first, a journal, or standard input.
pub struct LogSet {
    name: String,
    origin: Origin,
    envelope: Envelope,
    /// The programs whose lines are the gateway's, if the wrapping names others too.
    programs: Option<BTreeSet<Vec<u8>>>,
    content: LogContent,
    /// Some of its lines, without their wrapping.
    sample: Vec<Vec<u8>>,
    n_read: Arc<AtomicU64>,
}

impl std::fmt::Debug for LogSet {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("LogSet")
            .field("name", &self.name)
            .field("files", &self.files())
            .field("envelope", &self.envelope)
            .field("content", &self.content)
            .finish_non_exhaustive()
    }
}

impl LogSet {
    /// The path of the log, which its rotated files have in common; how a journal was named; `-` for standard input.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The files, oldest first; none for a journal and for standard input.
    pub fn files(&self) -> &[LogFile] {
        match &self.origin {
            Origin::Files(files) => files,
            Origin::Journal(_) | Origin::Stream(_) => &[],
        }
    }

    /// What wraps its lines.
    pub fn envelope(&self) -> Envelope {
        self.envelope
    }

    /// What its lines are.
    pub fn content(&self) -> &LogContent {
        &self.content
    }

    /// Some of its lines, without their wrapping: the first, and of a log that is not packed the last ones too.
    pub(super) fn sample(&self) -> &[Vec<u8>] {
        &self.sample
    }

    /// Whether its newest entries can be read without reading all of it.
    pub(super) fn shows_its_end(&self) -> bool {
        match &self.origin {
            Origin::Files(files) => files.last().is_some_and(|file| file.packing == Packing::Plain),
            Origin::Journal(_) => true,
            Origin::Stream(_) => false,
        }
    }

    /// Whether its lines stand in it as the gateway wrote them.
    pub(super) fn is_bare(&self) -> bool {
        self.envelope == Envelope::Plain && self.programs.is_none()
    }

    /// How large it is as it is stored, bytes; `None` for a journal and for standard input.
    pub fn n_bytes(&self) -> Option<u64> {
        match &self.origin {
            Origin::Files(files) => Some(files.iter().map(|file| file.size).sum()),
            Origin::Journal(_) | Origin::Stream(_) => None,
        }
    }

    /// How much of what is stored has been read so far, bytes; for a progress bar, from another thread too.
    pub fn n_bytes_read(&self) -> u64 {
        self.n_read.load(Ordering::Relaxed)
    }

    fn of_files(root: &RootDir, name: String, files: Vec<LogFile>) -> Result<Self, InputError> {
        let mut sample = Sample::default();
        let mut failure = None;
        for file in files.iter().rev() {
            let older = file.reopen(root).and_then(|opened| Sample::of_file(opened, file.packing, file.size));
            match older {
                Ok(older) => sample.prepend(older),
                Err(source) => {
                    failure.get_or_insert(InputError::Unreadable { path: file.path.to_string(), source });
                }
            }
            // A log that was just rotated is empty, or nearly.
            if sample.is_enough() {
                break;
            }
        }
        // One broken archive among others is told of when it is read.
        if let Some(failure) = failure.filter(|_| sample.is_empty()) {
            return Err(failure);
        }
        let told = sample.tell();
        if let (LogContent::Binary, Some(file)) = (&told.content, files.iter().find(|file| file.is_named)) {
            return Err(InputError::NoLog { path: file.path.to_string() });
        }
        Ok(Self::new(name, Origin::Files(files), told))
    }

    fn of_journal(name: &str, journal: Journal) -> Result<Self, InputError> {
        let failed = |source| InputError::Unreadable { path: name.to_owned(), source };
        let sample = journal.sample().map_err(failed)?;
        if sample.is_empty() {
            return Err(InputError::EmptyJournal { name: name.to_owned() });
        }
        let told = sample.tell();
        Ok(Self::new(name.to_owned(), Origin::Journal(journal), told))
    }

    fn of_stream(stream: Box<dyn Read + Send>) -> Result<Self, InputError> {
        let failed = |source| InputError::Unreadable { path: "standard input".to_owned(), source };
        let n_read = Arc::new(AtomicU64::new(0));
        let (sample, content) = Sample::of_stream(stream, Arc::clone(&n_read)).map_err(failed)?;
        let told = sample.tell();
        let mut set = Self::new(STDIN.to_owned(), Origin::Stream(Mutex::new(Some(content))), told);
        set.n_read = n_read;
        Ok(set)
    }

    fn new(name: String, origin: Origin, told: sample::Told) -> Self {
        Self {
            name,
            origin,
            envelope: told.envelope,
            programs: told.programs,
            content: told.content,
            sample: told.lines,
            n_read: Arc::default(),
        }
    }
}

fn unreadable(path: &str, errno: Errno) -> InputError {
    InputError::Unreadable { path: path.to_owned(), source: errno.into() }
}

#[cfg(test)]
mod tests;
