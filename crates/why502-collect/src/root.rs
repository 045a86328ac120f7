//! Whose file system a path belongs to, and how it is walked.
//!
//! A root that is not our own is hostile ground: its links may point anywhere. So every path is walked component by
//! component with `O_PATH | O_NOFOLLOW`, links are resolved as text against that root, and `..` never leaves it. That
//! is what `openat2(RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)` does, on every kernel, and it yields each component's
//! status on the way.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, Stat};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::fs::File;
use std::mem::MaybeUninit;
use std::path::{Component, Path};
use std::sync::LazyLock;
use why502_facts::Root;

/// The most links that a path may lead through, as in the kernel (`MAXSYMLINKS`).
const MAX_LINKS: u32 = 40;

const WALK: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// An opened root directory.
#[derive(Debug)]
pub(crate) struct RootDir {
    directory: OwnedFd,
}

/// One component that a walk passed.
#[derive(Debug)]
pub(crate) struct Step {
    /// Its absolute path in the root.
    pub(crate) path: String,
    /// Its status.
    pub(crate) stat: Stat,
    /// Where it leads, if it is a link.
    pub(crate) link: Option<String>,
    /// The component itself, opened with `O_PATH`.
    pub(crate) handle: OwnedFd,
}

/// A walk along a path.
#[derive(Debug)]
pub(crate) struct Walk {
    /// The components that were reached, the root first.
    pub(crate) steps: Vec<Step>,
    /// Why it ended before the end of the path.
    pub(crate) stopped: Option<Errno>,
}

impl RootDir {
    /// Opens a root.
    pub(crate) fn open(root: Root) -> Result<Self, Errno> {
        let path = match root {
            Root::Host => "/".to_owned(),
            Root::Process(pid) => format!("/proc/{pid}/root"),
        };
        // The magic link of a process's root is followed, and nothing behind it is.
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(path, flags, Mode::empty())?;
        Ok(Self { directory })
    }

    /// Walks along an absolute path; links are followed, the last component's too.
    pub(crate) fn walk(&self, path: &str) -> Walk {
        let mut walk = Walk { steps: Vec::new(), stopped: None };
        if let Err(errno) = self.walk_into(path, &mut walk) {
            walk.stopped = Some(errno);
        }
        walk
    }

    fn walk_into(&self, path: &str, walk: &mut Walk) -> Result<(), Errno> {
        let mut todo = names(path);
        // The directories from the root to where the walk stands, for `..`.
        let mut trail = vec![step("/".to_owned(), reopen(self.directory.as_fd())?, None)?];
        walk.steps.push(step("/".to_owned(), reopen(self.directory.as_fd())?, None)?);
        let mut n_links = 0;
        while let Some(name) = todo.pop_front() {
            if name == ".." {
                if trail.len() > 1 {
                    trail.pop();
                }
                continue;
            }
            let Some(parent) = trail.last() else { return Err(Errno::NOENT) };
            let handle = rustix::fs::openat(&parent.handle, name.as_str(), WALK, Mode::empty())?;
            let path = join(&parent.path, &name);
            let link = read_link(&handle)?;
            if let Some(target) = link {
                n_links += 1;
                if n_links > MAX_LINKS {
                    return Err(Errno::LOOP);
                }
                walk.steps.push(step(path, handle, Some(target.clone()))?);
                if target.starts_with('/') {
                    trail.truncate(1);
                }
                for name in names(&target).into_iter().rev() {
                    todo.push_front(name);
                }
                continue;
            }
            walk.steps.push(step(path.clone(), reopen(handle.as_fd())?, None)?);
            trail.push(step(path, handle, None)?);
        }
        Ok(())
    }

    /// Opens a regular file for reading without touching its access time, where the rights allow that.
    pub(crate) fn open_file(&self, path: &str) -> Result<(File, Stat), Errno> {
        let walk = self.walk(path);
        if let Some(errno) = walk.stopped {
            return Err(errno);
        }
        let Some(last) = walk.steps.last() else { return Err(Errno::NOENT) };
        match FileType::from_raw_mode(last.stat.st_mode) {
            FileType::RegularFile => {}
            FileType::Directory => return Err(Errno::ISDIR),
            // A pipe, a device or a socket is no file to read: opening it could block, or do something.
            _ => return Err(Errno::INVAL),
        }
        let file = open_for_reading(last.handle.as_fd(), OFlags::NONBLOCK | OFlags::NOCTTY)?;
        let stat = rustix::fs::fstat(&file)?;
        Ok((file.into(), stat))
    }

    /// The names in a directory, sorted by bytes.
    pub(crate) fn list(&self, path: &str) -> Result<Vec<String>, Errno> {
        let walk = self.walk(path);
        if let Some(errno) = walk.stopped {
            return Err(errno);
        }
        let Some(last) = walk.steps.last() else { return Err(Errno::NOENT) };
        let directory = open_for_reading(last.handle.as_fd(), OFlags::DIRECTORY)?;
        let mut buffer = [MaybeUninit::<u8>::uninit(); 8192];
        let mut entries = RawDir::new(&directory, &mut buffer);
        let mut names = Vec::new();
        while let Some(entry) = entries.next() {
            let name = String::from_utf8_lossy(entry?.file_name().to_bytes()).into_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }
}

/// Opens a file for reading that is known as an `O_PATH` handle and to be a regular one.
pub(crate) fn open_handle(handle: &OwnedFd) -> Result<OwnedFd, Errno> {
    open_for_reading(handle.as_fd(), OFlags::NONBLOCK | OFlags::NOCTTY)
}

/// The descriptors of this process, as links to open again.
///
/// In a container's mount namespace `/proc` is that of its own processes, where this one is not: the directory is opened
/// before that is entered, and stays that of this process.
static DESCRIPTORS: LazyLock<Result<OwnedFd, Errno>> = LazyLock::new(|| {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open("/proc/self/fd", flags, Mode::empty())
});

/// Sees to it that files can be opened after another mount namespace was entered.
pub(crate) fn keep_own_descriptors() {
    LazyLock::force(&DESCRIPTORS);
}

/// An `O_PATH` handle is opened for reading through its own descriptor: nothing is looked up again.
fn open_for_reading(handle: BorrowedFd<'_>, more: OFlags) -> Result<OwnedFd, Errno> {
    use std::os::fd::AsRawFd as _;
    let descriptors = DESCRIPTORS.as_ref().map_err(|errno| *errno)?;
    let name = handle.as_raw_fd().to_string();
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | more;
    match rustix::fs::openat(descriptors, &name, flags | OFlags::NOATIME, Mode::empty()) {
        // Only the owner may leave the access time alone.
        Err(Errno::PERM) => rustix::fs::openat(descriptors, &name, flags, Mode::empty()),
        opened => opened,
    }
}

fn reopen(handle: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    rustix::io::fcntl_dupfd_cloexec(handle, 0)
}

fn step(path: String, handle: OwnedFd, link: Option<String>) -> Result<Step, Errno> {
    let stat = rustix::fs::statat(&handle, "", AtFlags::EMPTY_PATH)?;
    Ok(Step { path, stat, link, handle })
}

fn read_link(handle: &OwnedFd) -> Result<Option<String>, Errno> {
    let stat = rustix::fs::statat(handle, "", AtFlags::EMPTY_PATH)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        return Ok(None);
    }
    let target = rustix::fs::readlinkat(handle, "", Vec::new())?;
    Ok(Some(String::from_utf8_lossy(target.to_bytes()).into_owned()))
}

fn names(path: &str) -> VecDeque<String> {
    let components = Path::new(path).components();
    components
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
            Component::ParentDir => Some("..".to_owned()),
            Component::CurDir | Component::Prefix(_) | Component::RootDir => None,
        })
        .collect()
}

fn join(parent: &str, name: &str) -> String {
    if parent == "/" { format!("/{name}") } else { format!("{parent}/{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::os::unix::fs::symlink;

    /// A directory that stands for another process's root, with a secret beside it.
    fn jail() -> (tempfile::TempDir, RootDir) {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), "outside").unwrap();
        let inside = outside.path().join("root");
        std::fs::create_dir_all(inside.join("etc")).unwrap();
        std::fs::write(inside.join("etc/conf"), "inside").unwrap();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(&inside, flags, Mode::empty()).unwrap();
        (outside, RootDir { directory })
    }

    fn read(root: &RootDir, path: &str) -> Result<String, Errno> {
        let (mut file, _) = root.open_file(path)?;
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        Ok(text)
    }

    #[test]
    fn links_and_dots_stay_inside() {
        let (outside, root) = jail();
        let inside = outside.path().join("root");
        let absolute = outside.path().join("secret");
        symlink(&absolute, inside.join("absolute")).unwrap();
        symlink("../../secret", inside.join("etc/relative")).unwrap();
        symlink("/etc/conf", inside.join("good")).unwrap();
        symlink("/proc/self/root", inside.join("magic")).unwrap();
        assert_eq!(read(&root, "/absolute"), Err(Errno::NOENT));
        assert_eq!(read(&root, "/etc/relative"), Err(Errno::NOENT));
        assert_eq!(read(&root, "/../secret"), Err(Errno::NOENT));
        assert_eq!(read(&root, &format!("/magic{}", absolute.display())), Err(Errno::NOENT));
        assert_eq!(read(&root, "/good").as_deref(), Ok("inside"));
        assert_eq!(read(&root, "/etc/../etc/conf").as_deref(), Ok("inside"));
    }

    #[test]
    fn a_circle_of_links_ends() {
        let (outside, root) = jail();
        symlink("b", outside.path().join("root/a")).unwrap();
        symlink("a", outside.path().join("root/b")).unwrap();
        assert_eq!(read(&root, "/a"), Err(Errno::LOOP));
    }

    #[test]
    fn only_regular_files_are_opened() {
        let (outside, root) = jail();
        let pipe = outside.path().join("root/pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert_eq!(read(&root, "/pipe"), Err(Errno::INVAL));
        assert_eq!(read(&root, "/etc"), Err(Errno::ISDIR));
    }

    #[test]
    fn a_walk_shows_every_component_and_where_it_ended() {
        let (outside, root) = jail();
        symlink("etc", outside.path().join("root/link")).unwrap();
        let walk = root.walk("/link/conf/more");
        let paths: Vec<_> = walk.steps.iter().map(|step| step.path.as_str()).collect();
        assert_eq!(paths, ["/", "/link", "/etc", "/etc/conf"]);
        assert_eq!(walk.steps[1].link.as_deref(), Some("etc"));
        assert_eq!(walk.stopped, Some(Errno::NOTDIR));
    }
}
