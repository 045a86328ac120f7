//! What a scenario of the guest lab may say.

use crate::scenario::{Expect, Verdict};
use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A scenario with its name: the path of its file below the folder, without the ending.
#[derive(Clone, Debug)]
pub struct Guest {
    /// `selinux-denied/unlabelled-port`.
    pub name: String,
    /// Its file.
    pub file: PathBuf,
    /// What it says.
    pub scenario: GuestScenario,
}

/// One way to break the guest (or not to), and what an honest diagnosis of it says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuestScenario {
    /// What is the matter, in one line.
    pub title: String,
    /// Why the expectation is the honest one, where that is not plain.
    #[serde(default)]
    pub note: String,
    /// Whether `make test` runs it: one of each kind, a few minutes in all.
    #[serde(default)]
    pub quick: bool,
    /// The security module that it needs; most do not care.
    #[serde(default)]
    pub boot: Boot,
    /// Files by absolute path. They are removed at the end; one that was there before comes back.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// A shell script before nginx is started.
    #[serde(default)]
    pub setup: String,
    /// Whether nginx is started by `setup`, or not at all.
    #[serde(default)]
    pub manual: bool,
    /// What happens then, in order.
    #[serde(default)]
    pub step: Vec<GuestStep>,
    /// Phrases that nginx's error log holds: without them the symptom did not occur.
    #[serde(default)]
    pub log: Vec<String>,
    /// Further arguments of `why502 diagnose`.
    #[serde(default)]
    pub args: Vec<String>,
    /// What it should say.
    pub expect: Expect,
    /// How the remedy of the first finding is put to the test.
    #[serde(default)]
    pub remedy: Option<RemedyTest>,
    /// A shell script at the end, whatever happened before: nothing may be left for the next scenario.
    #[serde(default)]
    pub cleanup: String,
}

/// The security module that a guest is booted with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Boot {
    /// AppArmor, which confines nobody until a scenario loads a profile.
    #[default]
    Apparmor,
    /// SELinux, enforcing, with Debian's policy.
    Selinux,
}

impl Boot {
    /// As the kernel calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Apparmor => "apparmor",
            Self::Selinux => "selinux",
        }
    }
}

/// Something that happens.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GuestStep {
    /// Requests to nginx.
    Request(GuestRequest),
    /// A shell script, which must succeed.
    Run(String),
}

/// Requests with the status that each must get.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GuestRequest {
    /// The URL, or the path at port 80 of the loopback.
    pub url: String,
    /// The status; 0: no answer within ten seconds.
    pub status: u16,
    /// How many.
    pub count: u32,
}

impl Default for GuestRequest {
    fn default() -> Self {
        Self { url: "/".to_owned(), status: 200, count: 1 }
    }
}

/// How a remedy is put to the test: its steps are taken, and the requests succeed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RemedyTest {
    /// Which of the remedies, from 0.
    pub index: usize,
    /// What happens after its steps; not said: `/` is answered 200.
    pub step: Vec<GuestStep>,
}

impl Default for RemedyTest {
    fn default() -> Self {
        Self { index: 0, step: vec![GuestStep::Request(GuestRequest::default())] }
    }
}

/// Reads every scenario of a folder, in order of their names.
pub fn find(folder: &Path) -> Result<Vec<Guest>> {
    let mut files = Vec::new();
    list(folder, &mut files)?;
    files.sort();
    let guests: Vec<Guest> = files.into_iter().map(|file| read(folder, file)).collect::<Result<_>>()?;
    if guests.is_empty() {
        bail!("{}: no scenario there", folder.display());
    }
    Ok(guests)
}

fn read(folder: &Path, file: PathBuf) -> Result<Guest> {
    let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let scenario: GuestScenario = toml::from_str(&text).with_context(|| file.display().to_string())?;
    let is_healthy = scenario.expect.verdict == Verdict::Healthy;
    if is_healthy != scenario.expect.cause.is_empty() {
        bail!("{}: a healthy system has no cause, and any other has one", file.display());
    }
    if let Some(path) = scenario.files.keys().find(|path| !path.starts_with('/')) {
        bail!("{}: {path} is no absolute path", file.display());
    }
    let name = file.strip_prefix(folder).unwrap_or(&file).with_extension("").display().to_string();
    Ok(Guest { name, file, scenario })
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            list(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_can_be_read() {
        let guests = find(&Path::new(env!("CARGO_MANIFEST_DIR")).join("guest")).unwrap();
        assert!(!guests.is_empty());
    }

    #[test]
    fn a_step_is_a_request_or_a_script() {
        let text =
            "[[step]]\nrequest = { status = 502 }\n[[step]]\nrun = \"true\"\n[expect]\ncause = [\"a\"]";
        let scenario: GuestScenario = toml::from_str(&format!("title = \"x\"\n{text}")).unwrap();
        let [GuestStep::Request(request), GuestStep::Run(script)] = scenario.step.as_slice() else {
            panic!("{:?}", scenario.step)
        };
        assert_eq!((request.url.as_str(), request.status, script.as_str()), ("/", 502, "true"));
        assert!(toml::from_str::<GuestScenario>("title = \"x\"\nstop = 1\n[expect]").is_err());
    }
}
