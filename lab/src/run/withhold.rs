//! The same diagnosis with a deciding fact hidden.

use super::Stage;
use super::product::{Caller, Product};
use crate::judge::{self, Kind, Miss};
use crate::scenario::{Confidence, How, NOTHING, Withhold};
use anyhow::Result;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

/// Hides a fact, runs why502, and shows the fact again.
pub(super) fn judge(product: &Product<'_>, stage: &Stage, withhold: &Withhold) -> Result<Vec<Miss>> {
    let caller = caller(stage, withhold.how);
    let by_right = matches!(withhold.how, How::Bare | How::NoProbeUnprivileged | How::Unprivileged);
    if by_right && caller == Caller::Own {
        // Everything here belongs to this very user: nothing is hidden from it by rights.
        return Ok(Vec::new());
    }
    let nginx = &stage.nginx;
    let hidden = match withhold.how {
        How::AccessLogUnreadable => Hidden::by_mode(nginx.access_logs())?,
        How::ConfigUnreadable => Hidden::by_mode(vec![nginx.config()])?,
        How::ErrorLogUnreadable => Hidden::by_mode(nginx.error_logs())?,
        How::NoAccessLog => Hidden::by_name(nginx.access_logs())?,
        How::NoErrorLog => Hidden::by_name(nginx.error_logs())?,
        How::Bare | How::NoProbe | How::NoProbeUnprivileged | How::OfflineErrorLog | How::Unprivileged => {
            Hidden::default()
        }
    };
    let mut call = match withhold.how {
        // A master that cannot be seen cannot be named.
        How::Bare => product.call_by_files(),
        How::OfflineErrorLog => Product::offline_call(product.files(true, false)),
        How::NoProbe | How::NoProbeUnprivileged => {
            product.call("diagnose", &["--format", "json", "--no-probe"])
        }
        _ => product.call("diagnose", &["--format", "json"]),
    };
    call.caller = caller;
    let got = product.report(&call);
    hidden.show()?;
    let got = got?;
    let label = format!("{:?}", withhold.how);
    let mut misses: Vec<Miss> =
        judge::contract(&got).into_iter().map(|miss| miss.of(Kind::Withheld)).collect();
    let expected = &stage.scenario.expect.cause;
    let nothing = [NOTHING.to_owned()];
    let default = if expected.is_empty() { &nothing[..] } else { expected.as_slice() };
    let acceptable = withhold.cause.as_deref().unwrap_or(default);
    misses.extend(judge::acceptable(Kind::Withheld, &got, acceptable, withhold.max_confidence));
    let verdict = got.report.verdict();
    if !withhold.verdict.is_empty() && !withhold.verdict.iter().any(|wanted| wanted.name() == verdict) {
        misses.push(Miss::new(Kind::Withheld, format!("the verdict is {verdict}")));
    }
    if let Some(topic) = &withhold.gap
        && !got.report.has_gap(topic)
    {
        misses.push(Miss::new(Kind::Withheld, format!("no gap names {topic}")));
    }
    Ok(misses.into_iter().map(|miss| miss.about(&label)).collect())
}

/// Runs why502 on a bare host: whatever the scenario, what is confirmed there is confirmed with everything in sight.
pub(super) fn judge_bare(product: &Product<'_>, stage: &Stage) -> Result<Vec<Miss>> {
    let caller = caller(stage, How::Bare);
    if caller == Caller::Own {
        return Ok(Vec::new());
    }
    let mut call = product.call_by_files();
    call.caller = caller;
    let got = product.report(&call)?;
    let contract = judge::contract(&got).into_iter().map(|miss| miss.of(Kind::Withheld));
    let expect = &stage.scenario.expect;
    let (roots, causes, effects) = (expect.roots(), &expect.cause, &expect.effects);
    let is_known = |id: &str| roots.contains(&id) || causes.iter().chain(effects).any(|known| known == id);
    let findings = got.report.findings();
    let confirmed = findings
        .iter()
        .filter(|finding| finding.confidence() == Confidence::Confirmed && finding.is_likely_root());
    let wrong = confirmed
        .filter(|finding| !is_known(finding.cause()))
        .map(|finding| Miss::new(Kind::OverConfident, finding.summary()));
    Ok(contract.chain(wrong).map(|miss| miss.about("on a bare host")).collect())
}

/// Who calls the program: rights are withheld by root alone, and a bare host is made by namespaces alone.
fn caller(stage: &Stage, how: How) -> Caller {
    match how {
        How::Bare if stage.place.root && stage.place.isolated => Caller::Bare,
        How::AccessLogUnreadable
        | How::ConfigUnreadable
        | How::ErrorLogUnreadable
        | How::NoProbeUnprivileged
        | How::Unprivileged
            if stage.place.root =>
        {
            Caller::Nobody
        }
        _ => Caller::Own,
    }
}

/// Files that are hidden, and how to show them again.
#[derive(Debug, Default)]
struct Hidden {
    modes: Vec<(PathBuf, fs::Permissions)>,
    names: Vec<PathBuf>,
}

impl Hidden {
    fn by_mode(files: Vec<PathBuf>) -> Result<Self> {
        let mut hidden = Self::default();
        for file in files.into_iter().filter(|file| file.exists()) {
            let mode = fs::metadata(&file)?.permissions();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o000))?;
            hidden.modes.push((file, mode));
        }
        Ok(hidden)
    }

    fn by_name(files: Vec<PathBuf>) -> Result<Self> {
        let mut hidden = Self::default();
        for file in files.into_iter().filter(|file| file.exists()) {
            fs::rename(&file, away(&file))?;
            hidden.names.push(file);
        }
        Ok(hidden)
    }

    fn show(self) -> Result<()> {
        for (file, mode) in self.modes {
            fs::set_permissions(file, mode)?;
        }
        for file in self.names {
            fs::rename(away(&file), file)?;
        }
        Ok(())
    }
}

/// A name that no rotation of logs has.
fn away(file: &std::path::Path) -> PathBuf {
    let mut name = std::ffi::OsString::from("withheld-");
    name.push(file.file_name().unwrap_or_default());
    file.with_file_name(name)
}
