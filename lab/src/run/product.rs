//! The program under test, called as its users call it.

use super::{Order, Stage};
use crate::judge::report::{Got, Report};
use crate::judge::{self, Kind, Miss};
use crate::process::{Finished, PATH, find_program, run_bounded};
use crate::scenario::NOTHING;
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How long a run may take, whatever its own bound is.
const BOUND: Duration = Duration::from_secs(30);
/// The user and group `nobody`.
const NOBODY: u32 = 65_534;

/// The program under test for one scenario.
#[derive(Debug)]
pub(crate) struct Product<'s> {
    order: &'s Order,
    stage: &'s Stage,
    /// What names the gateway: `--pid MASTER`, or what the scenario says.
    gateway: Vec<String>,
}

/// One call of the program.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProductCall {
    pub(crate) arguments: Vec<String>,
    pub(crate) caller: Caller,
}

/// Who calls it, and what of the host it finds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Caller {
    /// The lab itself.
    #[default]
    Own,
    /// `nobody`.
    Nobody,
    /// `nobody`, from whom `/proc` hides the processes of others, and who finds neither `/sys` nor the journal nor any
    /// tool of the host.
    Bare,
}

/// Makes the host bare for `"$@"` and what it starts: the user and the group of `nobody` are `$0`.
const BARE: &str = "mount -t proc -o hidepid=invisible proc /proc && mount -t tmpfs none /sys && \
    for tool in journalctl systemctl nft iptables-save iptables-legacy-save ip6tables-legacy-save; do \
    path=$(command -v $tool) && mount --bind /dev/null \"$path\"; done; \
    exec setpriv --reuid=$0 --regid=$0 --clear-groups -- \"$@\"";

impl ProductCall {
    pub(crate) fn new(arguments: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { arguments: arguments.into_iter().map(Into::into).collect(), caller: Caller::Own }
    }

    pub(crate) fn run(&self, why502: &Path) -> Result<Finished> {
        let mut command = match self.caller {
            Caller::Own | Caller::Nobody => Command::new(why502),
            Caller::Bare => {
                let mut command = Command::new(find_program("unshare")?);
                command.args(["--mount", "--propagation", "unchanged", "sh", "-c", BARE]);
                command.arg(NOBODY.to_string()).arg(why502);
                command
            }
        };
        command.args(&self.arguments).current_dir("/");
        command.env_clear().env("PATH", PATH).env("HOME", "/").env("LANG", "C.UTF-8");
        if self.caller == Caller::Nobody {
            command.uid(NOBODY).gid(NOBODY);
        }
        run_bounded(&mut command, BOUND)
    }

    /// Runs it for its report.
    pub(crate) fn report(&self, why502: &Path) -> Result<Got> {
        let finished = self.run(why502)?;
        let words = || format!("why502 {}: {}", self.arguments.join(" "), finished.complaint());
        let Some(status) = finished.status else { bail!("no end within {BOUND:?}: {}", words()) };
        let report = Report::parse(&finished.stdout).with_context(words)?;
        Ok(Got { report, exit: status.code(), elapsed: finished.elapsed })
    }
}

/// The report of a recorded bundle.
pub(crate) fn report_of_bundle(why502: &Path, bundle: &Path) -> Result<Got> {
    ProductCall::new(["diagnose", "--format", "json", "--bundle", &bundle.display().to_string()])
        .report(why502)
}

impl<'s> Product<'s> {
    pub(super) fn new(order: &'s Order, stage: &'s Stage) -> Self {
        let master = stage.nginx.master().map(|pid| pid.as_raw_pid().to_string());
        let gateway = match (&stage.scenario.why502.args, &master) {
            (Some(args), _) => {
                args.iter().map(|arg| arg.replace("@pid", master.as_deref().unwrap_or("0"))).collect()
            }
            (None, Some(pid)) => vec!["--pid".to_owned(), pid.clone()],
            (None, None) => vec!["--config".to_owned(), stage.nginx.config().display().to_string()],
        };
        Self { order, stage, gateway }
    }

    /// A call that looks at this host.
    pub(super) fn call(&self, command: &str, further: &[&str]) -> ProductCall {
        let mut call = ProductCall::new([command]);
        call.arguments.extend(self.gateway.iter().cloned());
        call.arguments.extend(further.iter().map(|&argument| argument.to_owned()));
        call
    }

    /// Runs a call for its report.
    pub(super) fn report(&self, call: &ProductCall) -> Result<Got> {
        call.report(&self.order.why502)
    }

    pub(super) fn live(&self) -> Result<Got> {
        self.report(&self.call("diagnose", &["--format", "json"]))
    }

    /// Collects into an archive and unpacks it beside.
    pub(super) fn collect(&self) -> Result<PathBuf> {
        let folder = self.stage.place.path("out");
        let archive = folder.join("bundle.tar.zst");
        let finished =
            self.call("collect", &["-o", &archive.display().to_string()]).run(&self.order.why502)?;
        if !finished.status.is_some_and(|status| status.success()) {
            bail!("why502 collect: {}", finished.complaint());
        }
        let bytes = fs::read(&archive)?;
        tar::Archive::new(zstd::Decoder::new(bytes.as_slice())?).unpack(folder.join("bundle"))?;
        Ok(archive)
    }

    /// The same bundle gives the same report in both forms, and one that agrees with the live one.
    pub(super) fn agreement(&self, live: &Got, archive: &Path) -> Result<Vec<Miss>> {
        let packed = report_of_bundle(&self.order.why502, archive)?;
        let unpacked = report_of_bundle(&self.order.why502, &archive.with_file_name("bundle"))?;
        let mut misses = Vec::new();
        if packed.report != unpacked.report {
            misses.push(Miss::new(Kind::Bundle, "the archive and the directory give different reports"));
        }
        let (mut one, mut other) = (live.report.essence(), packed.report.essence());
        if !self.stage.place.isolated {
            // They tell of the other nginxes of this host, which come and go.
            for report in [&mut one, &mut other] {
                report["notes"].take();
            }
        }
        if one != other {
            misses.push(Miss::new(Kind::Bundle, judge::report::first_difference(&one, &other)));
        }
        if packed.exit != live.exit {
            let says = format!("live exits with {:?}, the bundle with {:?}", live.exit, packed.exit);
            misses.push(Miss::new(Kind::Bundle, says));
        }
        Ok(misses)
    }

    /// The first lines of the text report, and what is wrong with its form.
    pub(super) fn text(&self, archive: &Path, misses: &mut Vec<Miss>) -> Result<Vec<String>> {
        let bundle = archive.display().to_string();
        let finished = ProductCall::new(["diagnose", "--color", "never", "--bundle", &bundle])
            .run(&self.order.why502)?;
        misses.extend(judge::text(&finished.stdout));
        let text = String::from_utf8_lossy(&finished.stdout);
        Ok(text.lines().take(3).map(str::to_owned).collect())
    }

    /// The arguments that name the files of the scenario: its configuration and the logs that exist.
    pub(super) fn files(&self, error_logs: bool, access_logs: bool) -> Vec<String> {
        let nginx = &self.stage.nginx;
        let mut arguments = vec!["--config".to_owned(), nginx.config().display().to_string()];
        let mut add = |option: &str, logs: Vec<PathBuf>| {
            for log in logs.into_iter().filter(|log| log.exists()) {
                arguments.extend([option.to_owned(), log.display().to_string()]);
            }
        };
        if error_logs {
            add("--error-log", nginx.error_logs());
        }
        if access_logs {
            add("--access-log", nginx.access_logs());
        }
        arguments
    }

    /// A call that looks at this host and names the gateway by its files.
    pub(super) fn call_by_files(&self) -> ProductCall {
        let mut call = ProductCall::new(["diagnose", "--format", "json"]);
        call.arguments.extend(self.files(true, true));
        call
    }

    /// A call that knows these files alone.
    pub(super) fn offline_call(files: Vec<String>) -> ProductCall {
        let mut call = ProductCall::new(["diagnose", "--format", "json", "--offline"]);
        call.arguments.extend(files);
        call
    }

    /// What is wrong with the report of the files alone.
    pub(super) fn offline(&self) -> Result<Vec<Miss>> {
        let scenario = &self.stage.scenario;
        if scenario.offline.skip.is_some() {
            return Ok(Vec::new());
        }
        let got = self.report(&Self::offline_call(self.files(true, true)))?;
        let default = if scenario.expect.cause.is_empty() {
            vec![NOTHING.to_owned()]
        } else {
            scenario.expect.cause.clone()
        };
        let acceptable = scenario.offline.cause.as_ref().unwrap_or(&default);
        let mut misses: Vec<Miss> = judge::contract(&got)
            .into_iter()
            .chain(got.report.host_claims())
            .map(|miss| miss.of(Kind::Offline))
            .collect();
        misses.extend(judge::acceptable(Kind::Offline, &got, acceptable, scenario.offline.max_confidence));
        Ok(misses)
    }
}
