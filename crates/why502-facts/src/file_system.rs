//! File systems: how large, how full, and how they are mounted.

use crate::Blob;
use serde::{Deserialize, Serialize};

/// The file system under a path, raw.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSystemRecord {
    /// The path that was looked at: the one that was asked for, or what exists of it.
    pub path: String,
    /// What statvfs(3) tells.
    pub space: FileSystemSpace,
    /// The line of `/proc/PID/mountinfo` about its mount (proc_pid_mountinfo(5)); `None` where it may not be read.
    pub mount: Option<Blob>,
}

/// What a file system has and what is left of it, as statvfs(3) tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSystemSpace {
    /// The size of a block, in bytes (`f_frsize`).
    pub block_size: u64,
    /// How many blocks it has.
    pub blocks: u64,
    /// How many of them are free.
    pub blocks_free: u64,
    /// How many of them users other than root may take.
    pub blocks_available: u64,
    /// How many inodes it has; 0 where they are not limited.
    pub inodes: u64,
    /// How many of them are free.
    pub inodes_free: u64,
    /// How many of them users other than root may take.
    pub inodes_available: u64,
    /// Whether nothing of it can be written through this mount.
    pub read_only: bool,
}

impl FileSystemSpace {
    /// Its size, in bytes.
    pub fn bytes(&self) -> u64 {
        self.blocks.saturating_mul(self.block_size)
    }

    /// How many bytes a user may still write.
    pub fn bytes_left(&self, is_root: bool) -> u64 {
        let blocks = if is_root { self.blocks_free } else { self.blocks_available };
        blocks.saturating_mul(self.block_size)
    }

    /// How many files a user may still make; `None` where nothing limits them.
    pub fn inodes_left(&self, is_root: bool) -> Option<u64> {
        let left = if is_root { self.inodes_free } else { self.inodes_available };
        (self.inodes > 0).then_some(left)
    }
}

/// The file system under a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSystem {
    /// The path that was looked at: the one that was asked for, or what exists of it.
    pub path: String,
    /// What it has and what is left of it.
    pub space: FileSystemSpace,
    /// Its mount; `None` where that may not be known.
    pub mount: Option<Mount>,
}

/// A mount, as one process sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where it is mounted.
    pub point: String,
    /// The kind of the file system: `ext4`, `tmpfs`, `nfs4`, ….
    pub kind: String,
    /// What is mounted: a device, a server's directory.
    pub source: String,
    /// Whether this very mount is read-only.
    pub read_only: bool,
    /// Whether the file system itself is read-only, through whichever mount.
    pub is_read_only_everywhere: bool,
}
