//! What an argument names.

use super::{InputError, unreadable};
use crate::glob::{glob, has_wildcard};
use crate::root::RootDir;
use rustix::fs::FileType;
use rustix::io::Errno;

/// A file that an argument stands for.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) path: String,
    /// Whether the argument is its path.
    pub(super) is_named: bool,
}

/// The files that an argument stands for: itself, or those of a directory or a pattern, sorted by bytes.
pub(super) fn expand(root: &RootDir, argument: &str) -> Result<Vec<Found>, InputError> {
    match file_type(root, argument) {
        Ok(FileType::RegularFile) => Ok(vec![Found { path: argument.to_owned(), is_named: true }]),
        Ok(FileType::Directory) => {
            let names = root.list(&absolute(argument)?).map_err(|errno| unreadable(argument, errno))?;
            let parent = argument.strip_suffix('/').unwrap_or(argument);
            let files = regular(root, names.into_iter().map(|name| format!("{parent}/{name}")));
            let empty = || InputError::EmptyDirectory { path: argument.to_owned() };
            if files.is_empty() { Err(empty()) } else { Ok(files) }
        }
        Ok(other) => Err(InputError::NoFile { path: argument.to_owned(), kind: kind(other) }),
        // A file whose name looks like a pattern is a file.
        Err(Errno::NOENT | Errno::NOTDIR) if has_wildcard(argument) => matches(root, argument),
        Err(errno) => Err(unreadable(argument, errno)),
    }
}

fn matches(root: &RootDir, pattern: &str) -> Result<Vec<Found>, InputError> {
    let whole = absolute(pattern)?;
    let found = glob(root, &whole).map_err(|errno| unreadable(pattern, errno))?;
    // What is named relative to the working directory is shown so.
    let parent = whole.strip_suffix(pattern).unwrap_or_default().to_owned();
    let shown = found.into_iter().map(|path| path.strip_prefix(&parent).unwrap_or(&path).to_owned());
    let files = regular(root, shown);
    if files.is_empty() { Err(InputError::NoMatch { pattern: pattern.to_owned() }) } else { Ok(files) }
}

fn regular(root: &RootDir, paths: impl Iterator<Item = String>) -> Vec<Found> {
    let is_regular = |path: &String| file_type(root, path) == Ok(FileType::RegularFile);
    paths.filter(is_regular).map(|path| Found { path, is_named: false }).collect()
}

fn file_type(root: &RootDir, path: &str) -> Result<FileType, Errno> {
    let walk = root.walk(&absolute(path).map_err(|_| Errno::NOENT)?);
    match (walk.stopped, walk.steps.last()) {
        (Some(errno), _) => Err(errno),
        (None, Some(last)) => Ok(FileType::from_raw_mode(last.stat.st_mode)),
        (None, None) => Err(Errno::NOENT),
    }
}

/// A path from the root on.
pub(super) fn absolute(path: &str) -> Result<String, InputError> {
    if path.starts_with('/') {
        return Ok(path.to_owned());
    }
    let here = std::env::current_dir()
        .map_err(|source| InputError::Unreadable { path: "the working directory".to_owned(), source })?;
    Ok(format!("{}/{path}", here.display()))
}

fn kind(file_type: FileType) -> &'static str {
    match file_type {
        FileType::BlockDevice | FileType::CharacterDevice => "a device",
        FileType::Fifo => "a pipe",
        FileType::Socket => "a socket",
        _ => "something else",
    }
}
