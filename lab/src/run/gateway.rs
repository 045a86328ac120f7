//! The real nginx.

use crate::place::Place;
use crate::process::{PATH, find_program, run_bounded, wait_until};
use crate::scenario::{NginxSpec, NginxStep};
use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How long nginx may take for anything.
const PATIENCE: Duration = Duration::from_secs(15);

/// The nginx of a scenario.
#[derive(Debug)]
pub(crate) struct Nginx {
    binary: PathBuf,
    dir: PathBuf,
    spec: NginxSpec,
}

impl Nginx {
    pub(crate) fn new(place: &Place, spec: &NginxSpec) -> Result<Self> {
        Ok(Self { binary: find_program("nginx")?, dir: place.dir.clone(), spec: spec.clone() })
    }

    /// Does what a step says.
    pub(crate) fn take(&self, step: NginxStep, place: &mut Place) -> Result<()> {
        match step {
            NginxStep::Start => self.start(place),
            NginxStep::StartRefused => self.start_refused(place),
            NginxStep::Reload => self.reload(),
            NginxStep::ReloadRefused => self.reload_refused(),
            NginxStep::Reopen => self.reopen(),
            NginxStep::Stop => self.stop(),
        }
    }

    /// Starts it as a daemon, as an init script would.
    pub(super) fn start(&self, place: &mut Place) -> Result<()> {
        let finished = run_bounded(&mut self.command(place), PATIENCE)?;
        if !finished.status.is_some_and(|status| status.success()) {
            bail!("nginx does not start: {}", finished.complaint());
        }
        if !wait_until(PATIENCE, || self.master().is_some_and(|master| !workers(master).is_empty())) {
            bail!("nginx has no workers");
        }
        Ok(())
    }

    fn start_refused(&self, place: &mut Place) -> Result<()> {
        let finished = run_bounded(&mut self.command(place), PATIENCE)?;
        if finished.status.is_some_and(|status| status.success()) {
            bail!("nginx starts, and should not");
        }
        Ok(())
    }

    fn command(&self, place: &mut Place) -> Command {
        for port in listened(&self.config_text()) {
            place.ports.release(port);
        }
        let mut command = Command::new(&self.binary);
        command.arg("-p").arg(&self.dir).arg("-c").arg(self.dir.join(&self.spec.config));
        command.arg("-e").arg(self.dir.join("logs/error.log")).args(&self.spec.args);
        command.env_clear().env("PATH", PATH).envs(&self.spec.env).current_dir("/");
        command
    }

    /// All configuration files of the scenario, one after the other.
    fn config_text(&self) -> String {
        let mut text = String::new();
        let mut folders = vec![self.dir.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.is_file() && path.extension().is_none_or(|extension| extension == "conf") {
                    text.push_str(&fs::read_to_string(path).unwrap_or_default());
                }
            }
        }
        text
    }

    fn reload(&self) -> Result<()> {
        let master = self.running()?;
        let old = workers(master);
        signal(master, Signal::HUP)?;
        let renewed = || {
            let now = workers(master);
            !now.is_empty() && !now.iter().any(|worker| old.contains(worker))
        };
        if !wait_until(PATIENCE, renewed) {
            bail!("nginx does not reload: {}", super::tail(&self.error_log_text(), 3));
        }
        Ok(())
    }

    fn reload_refused(&self) -> Result<()> {
        let emergencies = || self.error_log_text().matches("[emerg]").count();
        let (before, master) = (emergencies(), self.running()?);
        let old = workers(master);
        signal(master, Signal::HUP)?;
        if !wait_until(PATIENCE, || emergencies() > before) || workers(master) != old {
            bail!("nginx reloads, and should not");
        }
        Ok(())
    }

    fn reopen(&self) -> Result<()> {
        signal(self.running()?, Signal::USR1)?;
        let logs = self.error_logs();
        if !wait_until(PATIENCE, || logs.iter().all(|log| log.exists())) {
            bail!("nginx does not reopen its logs");
        }
        Ok(())
    }

    fn stop(&self) -> Result<()> {
        let master = self.running()?;
        signal(master, Signal::QUIT)?;
        if !wait_until(PATIENCE, || !Path::new(&format!("/proc/{}", master.as_raw_pid())).exists()) {
            bail!("nginx does not end");
        }
        Ok(())
    }

    /// The master, if it runs.
    pub(crate) fn master(&self) -> Option<Pid> {
        let text = fs::read_to_string(self.dir.join(&self.spec.pid)).ok()?;
        let pid = Pid::from_raw(text.trim().parse().ok()?)?;
        rustix::process::test_kill_process(pid).ok().map(|()| pid)
    }

    fn running(&self) -> Result<Pid> {
        self.master().context("nginx does not run")
    }

    /// Whether no worker has work at this moment: on a busy machine one may wait for the processor with a line of the
    /// log still to write.
    pub(super) fn rests(&self) -> bool {
        let running = |pid: &u32| state_and_parent(*pid).is_some_and(|(state, _)| state == "R");
        !self.master().is_some_and(|master| workers(master).iter().any(running))
    }

    /// Everything in its error logs.
    pub(super) fn error_log_text(&self) -> String {
        self.error_logs()
            .iter()
            .map(|log| String::from_utf8_lossy(&fs::read(log).unwrap_or_default()).into_owned())
            .collect()
    }

    pub(super) fn config(&self) -> PathBuf {
        self.dir.join(&self.spec.config)
    }

    pub(super) fn error_logs(&self) -> Vec<PathBuf> {
        self.spec.error_logs.iter().map(|log| self.dir.join(log)).collect()
    }

    pub(super) fn access_logs(&self) -> Vec<PathBuf> {
        self.spec.access_logs.iter().map(|log| self.dir.join(log)).collect()
    }
}

fn signal(pid: Pid, signal: Signal) -> Result<()> {
    rustix::process::kill_process(pid, signal).context("nginx cannot be signalled")
}

/// The children of a process.
fn workers(master: Pid) -> Vec<u32> {
    let master = master.as_raw_pid().to_string();
    // A zombie is no worker.
    let is_worker =
        |pid: &u32| state_and_parent(*pid).is_some_and(|(state, parent)| state != "Z" && parent == master);
    let mut found: Vec<u32> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(is_worker)
        .collect();
    found.sort_unstable();
    found
}

/// The state of a process and its parent (proc_pid_stat(5)).
fn state_and_parent(pid: u32) -> Option<(String, String)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Behind the command, which may hold anything.
    let mut fields = stat.rsplit(')').next()?.split_ascii_whitespace().map(str::to_owned);
    Some((fields.next()?, fields.next()?))
}

/// The ports that a configuration listens on.
fn listened(config: &str) -> Vec<u16> {
    let values = config.split("listen").skip(1).filter_map(|rest| rest.split([';', '}']).next());
    let ports = values.filter_map(|value| {
        let address = value.split_ascii_whitespace().next()?;
        address.rsplit(':').next()?.parse().ok()
    });
    ports.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_found_in_any_form_of_listen() {
        let config =
            "listen 127.0.0.1:8080 default_server; listen [::1]:8443 ssl; listen 80;\nlisten unix:/a.sock;";
        assert_eq!(listened(config), [8080, 8443, 80]);
    }
}
