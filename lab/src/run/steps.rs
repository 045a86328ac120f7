//! Taking the steps of a scenario.

use super::{Stage, client, files, listening, run_program};
use crate::process::wait_until;
use crate::scenario::{Answer, RequestStep, Step};
use anyhow::{Context as _, Result, anyhow, bail};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long is waited for what must come.
const PATIENCE: Duration = Duration::from_secs(15);

/// Requests that run on, by name.
#[derive(Debug, Default)]
pub(crate) struct Background {
    running: BTreeMap<String, (RequestStep, JoinHandle<Vec<Answer>>)>,
}

/// Takes steps in order.
pub(super) fn take(stage: &mut Stage, steps: &[Step]) -> Result<()> {
    for (at, step) in (1..).zip(steps) {
        take_one(stage, step).with_context(|| format!("step {at}"))?;
    }
    Ok(())
}

fn take_one(stage: &mut Stage, step: &Step) -> Result<()> {
    let place = &mut stage.place;
    match step {
        Step::Append(write) => {
            let mut file = fs::File::options().append(true).create(true).open(place.path(&write.path))?;
            file.write_all(write.text.as_bytes())?;
        }
        Step::Chmod(change) => {
            let mode = fs::Permissions::from_mode(files::parse_mode(&change.mode)?);
            fs::set_permissions(place.path(&change.path), mode)?;
        }
        Step::Chown(change) => files::chown(&place.path(&change.path), &change.owner)?,
        Step::Join(name) => join(stage, name)?,
        Step::Log(phrase) => {
            if !wait_until(PATIENCE, || stage.nginx.error_log_text().contains(phrase.as_str())) {
                bail!("the error log never says {phrase:?}");
            }
        }
        Step::Mkdir(path) => fs::create_dir_all(place.path(path))?,
        Step::Nginx(step) => stage.nginx.take(*step, place)?,
        Step::Rename(rename) => fs::rename(place.path(&rename.from), place.path(&rename.to))?,
        Step::Replace(replace) => {
            let path = place.path(&replace.path);
            let text = fs::read_to_string(&path)?;
            if !text.contains(&replace.from) {
                bail!("{} has no {:?}", replace.path, replace.from);
            }
            fs::write(path, text.replace(&replace.from, &replace.to))?;
        }
        Step::Request(request) => send(stage, request)?,
        Step::Run(words) => {
            let (name, arguments) = words.split_first().context("run needs a command")?;
            run_program(name, &arguments.iter().map(String::as_str).collect::<Vec<_>>())?;
        }
        Step::SleepMs(time) => thread::sleep(Duration::from_millis(*time)),
        Step::Start(name) => stage.backends.start(name, place)?,
        Step::Stop(name) => stage.backends.end(name, Signal::TERM)?,
        Step::Kill(name) => stage.backends.end(name, Signal::KILL)?,
        Step::Unlink(path) => {
            let path = place.path(path);
            if path.is_dir() { fs::remove_dir(path)? } else { fs::remove_file(path)? }
        }
        Step::WaitListen(address) => {
            if !wait_until(PATIENCE, || listening::listens(address)) {
                bail!("nothing comes to listen on {address}");
            }
        }
        Step::Write(write) => fs::write(place.path(&write.path), &write.text)?,
    }
    Ok(())
}

fn send(stage: &mut Stage, step: &RequestStep) -> Result<()> {
    let port = stage.place.ports.get(&step.port)?;
    if let Some(name) = &step.background {
        let own = step.clone();
        let client = thread::spawn(move || client::send(&own, port));
        stage.background.running.insert(name.clone(), (step.clone(), client));
        return Ok(());
    }
    check(stage, step, &client::send(step, port))
}

fn join(stage: &mut Stage, name: &str) -> Result<()> {
    let (step, client) = stage
        .background
        .running
        .remove(name)
        .ok_or_else(|| anyhow!("no request {name} in the background"))?;
    let answers = client.join().map_err(|_| anyhow!("the client {name} crashed"))?;
    check(stage, &step, &answers)
}

/// The symptom is shown only if the answers are as the scenario states.
fn check(stage: &Stage, step: &RequestStep, answers: &[Answer]) -> Result<()> {
    if step.expect.fits(answers) {
        return Ok(());
    }
    let mut kinds: Vec<String> = answers.iter().map(ToString::to_string).collect();
    kinds.dedup();
    settle(stage);
    let log = super::tail(&stage.nginx.error_log_text(), 4);
    bail!("{} {} was answered {}\n{log}", step.method, step.path, kinds.join(", "))
}

/// Waits until nginx has written its logs: a client has its answer a moment earlier.
pub(super) fn settle(stage: &Stage) {
    let sizes = || {
        let logs = stage.nginx.error_logs().into_iter().chain(stage.nginx.access_logs());
        logs.map(|log| fs::metadata(log).map_or(0, |metadata| metadata.len())).collect::<Vec<_>>()
    };
    let mut last = sizes();
    let mut calm = 0;
    wait_until(Duration::from_secs(2), || {
        let now = sizes();
        calm = if now == last && stage.nginx.rests() { calm + 1 } else { 0 };
        last = now;
        calm >= 12
    });
}
