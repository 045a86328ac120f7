//! Who holds which sockets: the descriptors of all processes.

use super::{Connections, is_gone};
use crate::processes::{in_parts, process_ids};
use rustix::fs::{Mode, OFlags, RawDir};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::mem::MaybeUninit;
use why502_facts::{Accepted, PeerAddress};

/// The most entries of who holds accepted connections.
const MAX_ACCEPTED: usize = 4096;
/// How much of a directory of descriptors is read at once: some hundreds of them.
const ENTRIES_AT_ONCE: usize = 16 << 10;

/// What the descriptors of all processes tell.
pub(super) struct Found {
    /// Inode and process of listening sockets.
    pub(super) owners: Vec<(u64, u32)>,
    pub(super) accepted: Vec<Accepted>,
    /// Whether somebody may hold one unseen.
    pub(super) hidden: bool,
}

/// The sockets that all processes hold.
pub(super) struct Holdings {
    /// Process and the inodes of its sockets.
    held: Vec<(u32, Vec<u64>)>,
    /// Whether somebody may hold one unseen.
    hidden: bool,
}

/// The sockets that all processes hold, as far as that may be seen.
pub(super) fn holdings() -> Holdings {
    let Ok(pids) = process_ids() else { return Holdings { held: Vec::new(), hidden: true } };
    // Process 1 is always there: if it cannot be seen, `hidepid` hides other users' processes.
    let mut found = Holdings { held: Vec::new(), hidden: !pids.contains(&1) };
    for (pid, held) in in_parts(&pids, |pid| Some((pid, sockets_of(pid)))) {
        match held {
            Ok(held) if held.is_empty() => {}
            Ok(held) => found.held.push((pid, held)),
            Err(error) => found.hidden |= !is_gone(&error),
        }
    }
    found
}

impl Holdings {
    /// Who holds which of the listening sockets, and how many of the connections.
    pub(super) fn owners(self, listening: &BTreeSet<u64>, connections: &Connections) -> Found {
        let mut owners = Vec::new();
        let mut accepted: BTreeMap<(&PeerAddress, u32), u64> = BTreeMap::new();
        for (pid, mut held) in self.held {
            held.sort_unstable();
            held.dedup();
            for at in held.iter().filter_map(|inode| connections.get(inode)) {
                *accepted.entry((at, pid)).or_default() += 1;
            }
            owners
                .extend(held.into_iter().filter(|inode| listening.contains(inode)).map(|inode| (inode, pid)));
        }
        owners.sort_unstable();
        let accepted = accepted.into_iter().take(MAX_ACCEPTED);
        let accepted = accepted.map(|((at, pid), count)| Accepted { at: at.clone(), pid, count }).collect();
        Found { owners, accepted, hidden: self.hidden }
    }
}

/// The inodes of the sockets that a process holds.
pub(super) fn sockets_of(pid: u32) -> io::Result<Vec<u64>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(format!("/proc/{pid}/fd"), flags, Mode::empty())?;
    let (mut inodes, mut buffer) = (Vec::new(), Vec::new());
    let mut entries = [MaybeUninit::<u8>::uninit(); ENTRIES_AT_ONCE];
    let mut descriptors = RawDir::new(&directory, &mut entries);
    while let Some(descriptor) = descriptors.next() {
        // From the open directory on: the way there is not walked again for each of many.
        let descriptor = descriptor?;
        if descriptor.file_name().to_bytes().starts_with(b".") {
            continue;
        }
        let target = match rustix::fs::readlinkat(&directory, descriptor.file_name(), buffer) {
            Ok(target) => target.into_bytes(),
            // It was closed meanwhile.
            Err(Errno::NOENT | Errno::SRCH) => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let text = str::from_utf8(&target).unwrap_or_default();
        let inode =
            text.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']')?.parse::<u64>().ok());
        inodes.extend(inode);
        buffer = target;
    }
    Ok(inodes)
}
