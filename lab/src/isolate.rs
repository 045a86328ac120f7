//! Children in namespaces of their own, and the end of everything that they started.
//!
//! A scenario is run by two processes. The outer one ([`guard`]) is the first process of a PID namespace where that is
//! allowed, and a subreaper else: whatever daemon the scenario leaves behind becomes its child. It ends everything when the
//! inner one is done, when its time is up, or when the orchestrator goes away (its standard input ends).

use crate::limits::remove_groups;
use crate::process::{PATH, find_program, run_bounded};
use anyhow::Result;
use rustix::process::{Pid, Signal, WaitOptions};
use std::fs;
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How scenarios are kept apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// By namespaces; the arguments of unshare(1).
    Namespaces(Vec<String>),
    /// By ports alone, and why.
    None(String),
}

impl Isolation {
    /// Finds out what this machine allows.
    pub fn find() -> Self {
        if !rustix::process::geteuid().is_root() {
            return Self::None("not root".to_owned());
        }
        let usual = ["--mount", "--pid", "--fork", "--kill-child", "--net", "--uts", "--mount-proc"];
        let usual: Vec<String> = usual.map(str::to_owned).to_vec();
        let mut why = match Self::works(&usual) {
            Ok(()) => return Self::Namespaces(usual),
            Err(error) => format!("{error:#}"),
        };
        // In a root directory that is no mount point the propagation of mounts cannot be changed. It need not be if no
        // mount is shared.
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        if !mounts.contains("shared:") {
            let mut unchanged = usual;
            unchanged.extend(["--propagation", "unchanged"].map(str::to_owned));
            match Self::works(&unchanged) {
                Ok(()) => return Self::Namespaces(unchanged),
                Err(error) => why = format!("{error:#}"),
            }
        }
        Self::None(why)
    }

    fn works(arguments: &[String]) -> Result<()> {
        let mut command = Command::new(find_program("unshare")?);
        command.args(arguments).args(["mount", "--bind", "/tmp", "/srv"]).env("PATH", PATH);
        let finished = run_bounded(&mut command, Duration::from_secs(10))?;
        let fine = finished.status.is_some_and(|status| status.success());
        if fine { Ok(()) } else { Err(anyhow::anyhow!("unshare: {}", finished.complaint())) }
    }

    /// A program in namespaces of its own.
    pub fn command(&self, program: &Path) -> Result<Command> {
        let mut command = match self {
            Self::Namespaces(arguments) => {
                let mut command = Command::new(find_program("unshare")?);
                command.args(arguments).arg(program);
                command
            }
            Self::None(_) => Command::new(program),
        };
        // A signal from the keyboard is the orchestrator's alone.
        command.process_group(0);
        Ok(command)
    }
}

/// Runs this program with these arguments, and ends whatever it leaves behind.
pub fn guard(arguments: &[String]) -> Result<ExitCode> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let mut child = Command::new(std::env::current_exe()?).args(arguments).stdin(Stdio::null()).spawn()?;
    let inner = Pid::from_child(&child);
    let orphaned = std::sync::Arc::new(AtomicBool::new(false));
    let is_orphaned = std::sync::Arc::clone(&orphaned);
    thread::spawn(move || {
        let mut rest = Vec::new();
        // The orchestrator writes nothing: this returns when it is gone, or wants an end.
        let _ = std::io::stdin().read_to_end(&mut rest);
        is_orphaned.store(true, Ordering::Relaxed);
    });
    let mut code = None;
    while code.is_none() && !orphaned.load(Ordering::Relaxed) {
        match rustix::process::wait(WaitOptions::NOHANG)? {
            Some((pid, status)) if pid == inner => code = Some(status.exit_status().unwrap_or(1)),
            Some(_) => {}
            None => thread::sleep(Duration::from_millis(3)),
        }
    }
    if code.is_none() {
        // It may have ended at this very moment.
        let _ = child.kill();
    }
    end_children(Duration::from_secs(5));
    remove_groups(std::process::id());
    let code = code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Ok(ExitCode::from(code))
}

/// Kills the children of this process until none is left; grandchildren become children meanwhile.
fn end_children(bound: Duration) {
    let late = Instant::now() + bound;
    while Instant::now() < late {
        for pid in children_of(std::process::id()) {
            if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
        }
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => {}
            Ok(None) => thread::sleep(Duration::from_millis(2)),
            Err(_) => return,
        }
    }
}

fn children_of(parent: u32) -> Vec<u32> {
    let mut children = Vec::new();
    for task in
        fs::read_dir(Path::new("/proc").join(parent.to_string()).join("task")).into_iter().flatten().flatten()
    {
        let text = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        children.extend(text.split_ascii_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    children
}
