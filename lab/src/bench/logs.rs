//! How fast `why502 logs` is, as ratios to named tools over the same bytes in the same run.

mod growth;
mod rivals;

use self::rivals::Rival;
use super::measure::{Measured, Sample, measure};
use crate::output::{complain, say};
use crate::process::find_program;
use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::Command;

/// How often both are measured, one after the other.
const N_PAIRS: usize = 5;
/// The logs of failures alone are a part of the others' size: 300 MB of 1 GB.
const FAILURES_PERCENT: u64 = 30;
/// One of so many requests fails: 0.5 %.
const FAILS: u64 = 200;
/// How many requests end within a second.
const PER_SECOND: u64 = 500;
/// 2026-11-21T00:00:00Z, as the logs are the same in every run.
const BEGIN: i64 = 1_795_219_200;

const COMBINED: &str = "$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent \"$http_referer\" \
    \"$http_user_agent\"";
const TIMES: &str = " rt=$request_time uct=\"$upstream_connect_time\" uht=\"$upstream_header_time\" \
    urt=\"$upstream_response_time\" ua=\"$upstream_addr\" us=\"$upstream_status\"";

/// A log that is measured.
struct Case {
    name: &'static str,
    /// The format of an access log; `None`: an error log.
    format: Option<String>,
    line: fn(u64) -> String,
    size: u64,
    /// Whether only one core may be used.
    one_core: bool,
    target: &'static str,
    /// Tools that do about the same, but for ripgrep, which is always measured.
    rivals: &'static [Rival],
}

/// Builds the logs one after the other, measures, and prints what came out.
pub(super) fn run(why502: &Path, dir: &Path, size: u64, pattern: &str) -> Result<()> {
    let few = size * FAILURES_PERCENT / 100;
    let cases = [
        Case {
            name: "combined, 0.5 % failed",
            format: Some(COMBINED.to_owned()),
            line: |n| combined(n, status(n)),
            size,
            one_core: false,
            target: "at most 1.0 × rg",
            rivals: &[Rival::Gzip],
        },
        Case {
            name: "with upstreams, 0.5 % failed",
            format: Some(COMBINED.to_owned() + TIMES),
            line: |n| with_times(n, status(n)),
            size,
            one_core: false,
            target: "at most 1.5 × rg",
            rivals: &[],
        },
        Case {
            name: "with upstreams, all failed, one core",
            format: Some(COMBINED.to_owned() + TIMES),
            line: |n| with_times(n, 502),
            size: few,
            one_core: true,
            target: "at least 300 MB/s",
            rivals: &[Rival::AngleGrinder, Rival::Lnav, Rival::GoAccess],
        },
        Case {
            name: "error log",
            format: None,
            line: error,
            size: few,
            one_core: false,
            target: "at least 500 MB/s",
            rivals: &[],
        },
    ];
    say(&format!("{:<44} {:>9} {:>9} {:>9}  target", "why502 logs", "median", "rate", "/ rg -c"));
    for case in &cases {
        case.measure(why502, dir, pattern)?;
    }
    growth::run(why502, dir, size)
}

impl Case {
    fn measure(&self, why502: &Path, dir: &Path, pattern: &str) -> Result<()> {
        complain(&format!("{}: {}", self.name, super::gigabytes(self.size)));
        let path = dir.join("engine.log");
        self.write(&path)?;
        let (mut own, mut ripgrep) = (Sample::default(), Sample::default());
        // An error log has no such field: its lines are found by their level.
        let pattern = if self.format.is_some() { pattern } else { "\\[error\\]" };
        for _ in 0..N_PAIRS {
            own.add(&self.survey(why502, dir, &path)?);
            let mut command = Command::new(find_program("rg")?);
            let measured = measure(command.args(["-c", pattern]).arg(&path), &dir.join("count"))?;
            if measured.exit != Some(0) {
                bail!("rg ends with {:?}, and there are failures to find", measured.exit);
            }
            ripgrep.add(&measured);
        }
        let median = own.median().as_secs_f64();
        let bytes = std::fs::metadata(&path)?.len() / 1_000_000;
        let rate = f64::from(u32::try_from(bytes)?) / median;
        let ratio = median / ripgrep.median().as_secs_f64();
        say(&format!("{:<44} {median:>7.3} s {rate:>4.0} MB/s {ratio:>8.2}×  {}", self.name, self.target));
        for rival in self.rivals {
            complain(&format!("{}: {}", self.name, rival.name()));
            say(&rival.compare(why502, dir, &path)?);
        }
        Ok(std::fs::remove_file(&path)?)
    }

    fn write(&self, path: &Path) -> Result<()> {
        let mut file = BufWriter::new(File::create(path)?);
        write_lines(&mut file, 0, self.size, self.line)?;
        Ok(file.flush()?)
    }

    fn survey(&self, why502: &Path, dir: &Path, path: &Path) -> Result<Measured> {
        if !self.one_core {
            return survey(why502, dir, path);
        }
        let mut command = Command::new(find_program("taskset")?);
        command.args(["-c", "0"]).arg(why502);
        run_survey(command, dir, path)
    }
}

/// Writes lines from the `n`th one on, until there are so many bytes of them; returns the number of the next line.
fn write_lines(to: &mut impl Write, mut n: u64, size: u64, line: fn(u64) -> String) -> Result<u64> {
    let mut written = 0;
    while written < size {
        let line = line(n);
        written += line.len() as u64;
        to.write_all(line.as_bytes())?;
        n += 1;
    }
    Ok(n)
}

/// Surveys a log on all cores; anything but lines that were understood is not what shall be measured.
fn survey(why502: &Path, dir: &Path, log: &Path) -> Result<Measured> {
    run_survey(Command::new(why502), dir, log)
}

fn run_survey(mut command: Command, dir: &Path, log: &Path) -> Result<Measured> {
    let report = dir.join("survey.json");
    let measured = measure(command.arg("logs").arg(log).args(["--format", "json"]), &report)?;
    if measured.exit != Some(0) {
        bail!("why502 logs ends with {:?}", measured.exit);
    }
    let report: Value = serde_json::from_slice(&std::fs::read(&report)?).context("the survey")?;
    let log = &report["logs"][0];
    if log["lines"].as_u64().is_none_or(|lines| lines == 0) || log["unparsed"] != 0 {
        bail!("{} of {} lines were not understood", log["unparsed"], log["lines"]);
    }
    Ok(measured)
}

fn status(n: u64) -> u16 {
    match n {
        _ if n.is_multiple_of(FAILS) => 502,
        _ if n.is_multiple_of(10) => 304,
        _ => 200,
    }
}

fn combined(n: u64, status: u16) -> String {
    let mut line = head(n, status);
    line.push('\n');
    line
}

fn with_times(n: u64, status: u16) -> String {
    let (time, peer) = (n % 900, n % 5);
    let mut line = head(n, status);
    // Writing to a String cannot fail.
    let _ = writeln!(
        line,
        " rt=0.{time:03} uct=\"0.001\" uht=\"0.{time:03}\" urt=\"0.{time:03}\" ua=\"10.0.0.{peer}:8080\" us=\"{status}\""
    );
    line
}

fn head(n: u64, status: u16) -> String {
    let (client, path) = (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 48, n * 7919 % 2000);
    format!(
        "203.0.{}.{} - - [{}] \"GET /api/items/{path}?page={} HTTP/1.1\" {status} {} \
         \"https://shop.example.com/list?category={}\" \"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\"",
        client >> 8,
        client & 255,
        moment(n, "%d/%b/%Y:%H:%M:%S +0000"),
        n % 97,
        n % 9000 + 100,
        n % 50
    )
}

fn error(n: u64) -> String {
    let says = match n % 4 {
        0 => "connect() failed (111: Connection refused) while connecting to upstream",
        1 => "upstream timed out (110: Connection timed out) while reading response header from upstream",
        2 => "upstream prematurely closed connection while reading response header from upstream",
        _ => "no live upstreams while connecting to upstream",
    };
    let (path, peer) = (n * 7919 % 2000, n % 5);
    format!(
        "{} [error] 4711#4711: *{n} {says}, client: 203.0.113.{}, server: shop.example.com, request: \"GET \
         /api/items/{path}?page={n} HTTP/1.1\", upstream: \"http://10.0.0.{peer}:8080/api/items/{path}?page={n}\", host: \
         \"shop.example.com\"\n",
        moment(n, "%Y/%m/%d %H:%M:%S"),
        n % 250
    )
}

/// When a request ended.
fn moment(n: u64, notation: &str) -> String {
    let second = BEGIN.saturating_add_unsigned(n / PER_SECOND);
    jiff::Timestamp::from_second(second).unwrap_or_default().strftime(notation).to_string()
}
