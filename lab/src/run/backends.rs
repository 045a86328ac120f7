//! Starting and ending backends.

use super::listening::listens;
use crate::limits::limited;
use crate::place::Place;
use crate::process::{PATH, find_program, wait_until};
use crate::scenario::{Backend, BackendKind};
use crate::serve::BACKEND;
use anyhow::{Context as _, Result, anyhow, bail};
use rustix::process::{Pid, Signal};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long a backend may take to listen, or to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// The backends of a scenario.
#[derive(Debug)]
pub(crate) struct Backends {
    all: Vec<Backend>,
    running: BTreeMap<String, Child>,
}

impl Backends {
    pub(super) fn new(all: Vec<Backend>) -> Self {
        Self { all, running: BTreeMap::new() }
    }

    /// Starts all that no step starts.
    pub(super) fn start_all(&mut self, place: &mut Place) -> Result<()> {
        let names: Vec<String> =
            self.all.iter().filter(|backend| !backend.manual).map(|backend| backend.name.clone()).collect();
        names.iter().try_for_each(|name| self.start(name, place))
    }

    /// Starts a backend and waits until it listens.
    pub(super) fn start(&mut self, name: &str, place: &mut Place) -> Result<()> {
        let backend = self.find(name)?.clone();
        for address in &backend.listen {
            if let Some(port) = address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()) {
                place.ports.release(port);
            }
        }
        let out = place.path("out").join(format!("{name}.log"));
        let file = fs::File::options().create(true).append(true).open(&out)?;
        let mut command = match backend.kind {
            BackendKind::Program => program(&backend, place)?,
            BackendKind::Serve | BackendKind::Dns => server(&backend, place)?,
        };
        // The guard, which is this process's parent, removes the groups at the end.
        command = limited(command, &backend, std::os::unix::process::parent_id())?;
        command.env_clear().env("PATH", PATH).env("HOME", &place.dir).env("LANG", "C.UTF-8");
        // A compiled module would be a file that appears while why502 looks.
        command.env("PYTHONDONTWRITEBYTECODE", "1").envs(&backend.env);
        if backend.kind != BackendKind::Program {
            command.env(BACKEND, serde_json::to_string(&backend)?);
        }
        command.current_dir(backend.cwd.as_ref().map_or_else(|| place.dir.clone(), PathBuf::from));
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).process_group(0);
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        self.running.insert(name.to_owned(), child);
        self.wait_ready(&backend, &out)
    }

    fn wait_ready(&mut self, backend: &Backend, out: &std::path::Path) -> Result<()> {
        let Some(child) = self.running.get_mut(&backend.name) else { return Ok(()) };
        let prefix = if backend.kind == BackendKind::Dns { "udp:" } else { "" };
        let mut ended = None;
        let ready = wait_until(PATIENCE, || {
            ended = child.try_wait().ok().flatten();
            ended.is_some() || backend.listen.iter().all(|address| listens(&format!("{prefix}{address}")))
        });
        if ended.is_some() || !ready {
            let words = fs::read_to_string(out).unwrap_or_default();
            bail!(
                "{} does not listen on {}: {}",
                backend.name,
                backend.listen.join(", "),
                super::tail(&words, 5)
            );
        }
        Ok(())
    }

    /// Ends a backend, all that it started included.
    pub(super) fn end(&mut self, name: &str, signal: Signal) -> Result<()> {
        let mut child = self.running.remove(name).ok_or_else(|| anyhow!("{name} does not run"))?;
        let group = Pid::from_child(&child);
        if signal == Signal::KILL {
            rustix::process::kill_process_group(group, signal)?;
        } else {
            rustix::process::kill_process(group, signal)?;
        }
        if !wait_until(PATIENCE, || child.try_wait().ok().flatten().is_some()) {
            bail!("{name} does not end");
        }
        // Its children may take a moment longer, and hold its sockets that long.
        let gone = wait_until(PATIENCE, || rustix::process::test_kill_process_group(group).is_err());
        if gone { Ok(()) } else { bail!("the children of {name} do not end") }
    }

    fn find(&self, name: &str) -> Result<&Backend> {
        self.all.iter().find(|backend| backend.name == name).ok_or_else(|| anyhow!("no backend {name}"))
    }
}

fn program(backend: &Backend, place: &Place) -> Result<Command> {
    let (name, arguments) = backend.argv.split_first().context("a program needs argv")?;
    let path = if name.starts_with("./") { place.path(name) } else { find_program(name)? };
    let mut command = Command::new(path);
    command.args(arguments);
    Ok(command)
}

/// This program under the name of the one that it plays.
fn server(backend: &Backend, place: &Place) -> Result<Command> {
    let default = [backend.name.clone()];
    let words = backend.process.as_deref().unwrap_or(&default);
    let (name, arguments) = words.split_first().context("a process needs a name")?;
    let path = place.path("bin").join(name);
    if !path.exists() {
        let own = std::env::current_exe()?;
        // A link to another file system cannot be hard; the name of the process is the same.
        fs::hard_link(&own, &path).or_else(|_| std::os::unix::fs::symlink(&own, &path))?;
    }
    let mut command = Command::new(&path);
    command.arg0(name).args(arguments);
    Ok(command)
}
