//! Namespaces of other processes, and entering them.

use rustix::fs::{Mode, OFlags};
use rustix::thread::LinkNameSpaceType;
use std::fs;

/// A namespace that may have to be entered.
pub(crate) enum Namespace {
    /// It is ours already.
    Same,
    /// It is another one, and may not be opened.
    Closed,
    /// It is another one.
    Other(rustix::fd::OwnedFd, LinkNameSpaceType),
}

impl Namespace {
    /// That of a process; it must be made before another one is entered: `/proc` may be another one afterwards.
    pub(crate) fn of(pid: u32, name: &str, kind: LinkNameSpaceType) -> Self {
        let path = format!("/proc/{pid}/ns/{name}");
        let own = fs::read_link(format!("/proc/self/ns/{name}"));
        match (fs::read_link(&path), own) {
            (Ok(theirs), Ok(own)) if theirs == own => Self::Same,
            _ => match rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
                Ok(handle) => Self::Other(handle, kind),
                Err(_) => Self::Closed,
            },
        }
    }

    /// Whether we are in it afterwards.
    pub(crate) fn enter(self) -> bool {
        match self {
            Self::Same => true,
            Self::Closed => false,
            Self::Other(handle, kind) => {
                use rustix::fd::AsFd as _;
                rustix::thread::move_into_link_name_space(handle.as_fd(), Some(kind)).is_ok()
            }
        }
    }
}
