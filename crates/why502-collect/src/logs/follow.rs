//! A log that is followed while it is written, rotated and truncated.
//!
//! Lines are shown once they are whole. A file that was renamed is read on as long as it exists: its writers go on with it
//! until they open the log again. When another file stands at the log's path, or the one there was truncated, what was
//! not yet read is searched among the rotated files, also in their copies and archives, by the inode and by a hash of the
//! first bytes. So a [`Position`] that was saved finds its place again after any number of rotations.
//!
//! Nothing is lost and nothing shown twice across a kill if what was made of the lines is saved together with the position
//! ([`Checkpoint`]): the file that holds both is replaced at once, or not at all. What no program can give back: lines that
//! a copytruncate itself loses between its copy and its cut, and files that were deleted while nobody followed; of the
//! latter [`PollSummary::n_gaps`] tells. A file of which no line was read yet is known by its inode alone; a log that was not
//! there at all is followed from the first file that a poll finds.

mod checkpoint;
mod place;

pub use self::checkpoint::Checkpoint;

use self::place::{Candidates, Followed};
use crate::root::RootDir;
use serde::{Deserialize, Serialize};
use std::io;
use std::ops::ControlFlow;
use std::time::Instant;
use why502_facts::Root;

/// How many files are read at once: the log, and those that its writers may not have left yet.
const MAX_FILES: usize = 8;

/// Where the reading of a log begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FollowFrom {
    /// With the first line of the file that is there.
    Begin,
    /// With the next line that is written.
    End,
    /// Where it ended.
    Saved(Position),
}

/// How far a log has been read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The newest file that is not to be read, or not any more.
    before: Option<FilePosition>,
    /// The files that may still grow, oldest first; the log itself last.
    files: Vec<FilePosition>,
}

/// How far a file has been read, and how it is known again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct FilePosition {
    device: u64,
    inode: u64,
    /// Where the next line begins in the unpacked content.
    offset: u64,
    /// Whether the next line's begin was shown already, for it was too long.
    is_skipping: bool,
    /// How many of the first bytes are hashed.
    n_hashed: u64,
    hash: u64,
    /// Whether all that was there had been read.
    is_exhausted: bool,
}

/// What a poll met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PollSummary {
    /// How many lines were shown.
    pub n_lines: u64,
    /// How many of them were longer than a mebibyte, and cut off there.
    pub n_cut: u64,
    /// How many times the log was truncated.
    pub n_truncations: u64,
    /// How many files were added: the log's successors.
    pub n_files: u64,
    /// How many times a file was not found again: if it had more lines than were read, they are lost.
    pub n_gaps: u64,
}

/// Shows a line: the path under which its file was opened, where it begins there, and itself, without its line feed.
type See<'a> = dyn FnMut(&str, u64, &[u8]) -> ControlFlow<()> + 'a;

/// Follows a log.
#[derive(Debug)]
pub struct Follower {
    root: RootDir,
    path: String,
    /// The newest file that is not to be read, or not any more.
    before: Option<FilePosition>,
    /// Oldest first; the log itself last.
    files: Vec<Followed>,
    /// What was found out while opening.
    pending: PollSummary,
}

impl Follower {
    /// Follows the log at an absolute path, which need not exist yet.
    pub fn open(path: &str, from: FollowFrom) -> io::Result<Self> {
        let root = RootDir::open(Root::Host)?;
        let pending = PollSummary::default();
        let mut follower = Self { root, path: path.to_owned(), before: None, files: Vec::new(), pending };
        match from {
            FollowFrom::Begin => follower.begin()?,
            FollowFrom::End => {
                follower.begin()?;
                for file in &mut follower.files {
                    file.go_to_end()?;
                }
            }
            FollowFrom::Saved(position) => follower.restore(&position)?,
        }
        follower.pending.n_files = 0;
        Ok(follower)
    }

    /// How far the log has been read: all lines that were shown, and no other.
    pub fn position(&self) -> Position {
        Position {
            before: self.before.clone(),
            files: self.files.iter().map(|file| file.mark.clone()).collect(),
        }
    }

    /// Shows all lines that are whole by now; ends after the line at which it is told to.
    pub fn poll(&mut self, see: &mut See<'_>) -> io::Result<PollSummary> {
        self.poll_at(Instant::now(), see)
    }

    fn poll_at(&mut self, now: Instant, see: &mut See<'_>) -> io::Result<PollSummary> {
        let mut summary = std::mem::take(&mut self.pending);
        self.look(&mut summary)?;
        let mut idx = 0;
        while idx < self.files.len() {
            let is_live = idx + 1 == self.files.len();
            let flow = self.files[idx].read(&mut summary, see)?;
            if flow.is_break() {
                return Ok(summary);
            }
            let is_succeeded = self.files.get(idx + 1).is_some_and(|next| next.mark.offset > 0);
            let is_over =
                !is_live && (self.files[idx].is_over(now, is_succeeded)? || self.files.len() > MAX_FILES);
            if is_over {
                let flow = self.files[idx].end(&mut summary, see)?;
                let mark = self.files.remove(idx).mark;
                // Of a file of which nothing was read nothing is known.
                self.before = if mark.n_hashed > 0 { Some(mark) } else { self.before.take() };
                if flow.is_break() {
                    return Ok(summary);
                }
            } else {
                idx += 1;
            }
        }
        Ok(summary)
    }

    /// Begins with the log, if it is there; what was rotated before is not to be read.
    fn begin(&mut self) -> io::Result<()> {
        let candidates = Candidates::of(&self.root, &self.path);
        self.before = candidates.newest_rotated()?;
        if let Some(live) = candidates.live()? {
            self.files.push(live);
        }
        Ok(())
    }

    /// Finds out whether the log was rotated, truncated or created anew.
    fn look(&mut self, summary: &mut PollSummary) -> io::Result<()> {
        let is_intact = self.files.last().map(Followed::is_intact).transpose()?;
        if is_intact == Some(false)
            && let Some(truncated) = self.files.pop()
        {
            summary.n_truncations += 1;
            self.find_again(&truncated.mark)?;
            self.add_newer()?;
        } else {
            let id = Candidates::live_id(&self.root, &self.path);
            let is_other = id.is_some() && id != self.files.last().map(|live| live.mark.id());
            // An empty file may have been written, copied and truncated since: there are no bytes to know it by.
            let is_suspect =
                self.files.last_mut().map(Followed::has_changed_unread).transpose()?.unwrap_or(false);
            if is_other || is_suspect {
                self.add_newer()?;
            }
        }
        summary.n_files += std::mem::take(&mut self.pending.n_files);
        summary.n_gaps += std::mem::take(&mut self.pending.n_gaps);
        Ok(())
    }

    fn restore(&mut self, position: &Position) -> io::Result<()> {
        self.before.clone_from(&position.before);
        for (idx, mark) in position.files.iter().enumerate() {
            let n_gaps = self.pending.n_gaps;
            self.find_again(mark)?;
            // A rotated file that was read to its end may be gone.
            if mark.is_exhausted && idx + 1 < position.files.len() {
                self.pending.n_gaps = n_gaps;
            }
        }
        self.add_newer()
    }

    /// Goes on where a file was left: in itself, its copy or its archive.
    fn find_again(&mut self, mark: &FilePosition) -> io::Result<()> {
        let candidates = Candidates::of(&self.root, &self.path);
        match candidates.find(mark) {
            Some(place) => self.files.push(candidates.open(place, Some(mark))?),
            None => self.pending.n_gaps += 1,
        }
        Ok(())
    }

    /// Adds the files that are newer than all that is known; if nothing of that is there any more, the log itself.
    fn add_newer(&mut self) -> io::Result<()> {
        let candidates = Candidates::of(&self.root, &self.path);
        let marks = || self.before.iter().chain(self.files.iter().map(|file| &file.mark));
        let known = marks().filter(|mark| mark.n_hashed > 0);
        let newest = known.clone().filter_map(|mark| candidates.find(mark)).max();
        // Nothing is older than a log that began without rotated files.
        let is_all_new = known.count() == 0;
        for place in candidates.newer(newest, is_all_new) {
            let file = candidates.open(place, None)?;
            if self.files.iter().all(|known| known.mark.id() != file.mark.id()) {
                self.files.push(file);
                self.pending.n_files += 1;
            }
        }
        // What was copied out of a log is older than what that holds now. What has no name any more is older than all.
        self.files.sort_by_key(|file| candidates.place(file.mark.id()));
        Ok(())
    }
}

impl FilePosition {
    fn id(&self) -> (u64, u64) {
        (self.device, self.inode)
    }
}

#[cfg(test)]
mod tests;
