//! How long why502 takes, as ratios: a small log against a huge one, and against named tools on the same bytes.
//!
//! Two hosts of the lab, each a real nginx whose backend does not listen, have the same lines in the last hour of their
//! logs. One has ten gigabytes of older traffic before them. All is measured in one run, alternating, so that what else
//! the machine does hits all alike. Nothing is judged: a time that fails a build fails it at random.
//!
//! Then the quiet host becomes a busy one, with thousands of processes and tens of thousands of sockets that are really there
//! (`crowd`), and a whole collection is measured once more.

mod crowd;
mod incidents;
mod logs;
mod measure;
mod traffic;

pub use self::crowd::hold;
use self::crowd::{Crowd, N_PROCESSES, N_SOCKETS};
use self::measure::{Measured, Sample, measure};
use self::traffic::Traffic;
use crate::output::{complain, say};
use crate::place::Place;
use crate::process::find_program;
use crate::run::Nginx;
use crate::scenario::{NginxStep, Scenario};
use anyhow::{Context as _, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How many times as often the verdict alone is measured: a percentile of five runs is none.
const VERDICT_FACTOR: usize = 4;
/// What is left free on the disk.
const SPARE: u64 = 1 << 30;
/// The logs that are digested whole are a tenth of the large log: 1 GB.
const LOGS_PART: u64 = 10;
/// Counts the lines of failures, as one does by hand.
const PATTERN: &str = "\" 50[234] ";

const SCENARIO: &str = r#"
title = "nothing listens behind a busy gateway"

[files]
"nginx.conf" = '''
${main}
http {
    ${temp}
    log_format main '$remote_addr - - [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" $upstream_addr $upstream_status $upstream_response_time';
    access_log ${dir}/logs/access.log main;
    upstream app { server 127.0.0.1:${port:app}; }
    server {
        listen 127.0.0.1:${port:web};
        server_name shop.example.com;
        location / { proxy_pass http://app; }
    }
}
'''

[expect]
cause = ["upstream-not-listening"]
"#;

/// What is measured.
#[derive(Debug)]
pub struct Bench {
    /// The program under test.
    pub why502: PathBuf,
    /// Where the logs are built; they are removed at the end.
    pub dir: PathBuf,
    /// The size of the large log in bytes.
    pub large: u64,
    /// The size of the small log in bytes.
    pub small: u64,
    /// How often each is measured.
    pub n_runs: usize,
    /// The only part that is measured, if not all are.
    pub only: Option<Part>,
}

/// A part of what is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// A host with thousands of processes and sockets.
    Host,
    /// Whole logs, against other tools.
    Logs,
    /// The diagnosis of a host, and of the incidents.
    Verdict,
}

/// Builds the hosts and the logs, measures, and prints a table as it grows.
pub fn run(bench: &Bench) -> Result<()> {
    let free = rustix::fs::statvfs(&bench.dir).with_context(|| bench.dir.display().to_string())?;
    let (free, needed) =
        (free.f_bavail * free.f_frsize, bench.large + bench.large / LOGS_PART + bench.small + SPARE);
    say(&format!("{}: {} free, {} needed", bench.dir.display(), gigabytes(free), gigabytes(needed)));
    if free < needed {
        bail!("too little space: --dir names another place, --size makes the large log smaller");
    }
    let dir = tempfile::Builder::new().prefix("why502-bench-").tempdir_in(&bench.dir)?;
    let wanted = |part| bench.only.is_none_or(|only| only == part);
    if wanted(Part::Verdict) {
        verdict(bench, dir.path())?;
        incidents::run(&bench.why502, dir.path(), bench.n_runs)?;
    }
    if wanted(Part::Host) {
        busy_host(bench, dir.path())?;
    }
    if wanted(Part::Logs) {
        logs::run(&bench.why502, dir.path(), bench.large / LOGS_PART, PATTERN)?;
    }
    Ok(())
}

/// The hosts are gone when it ends: other logs take their place.
fn verdict(bench: &Bench, dir: &Path) -> Result<()> {
    let traffic = Traffic::until_now(bench.small / 2);
    let small = Host::build(&dir.join("small"), &traffic, bench.small)?;
    let large = Host::build(&dir.join("large"), &traffic, bench.large)?;
    let mut samples = Samples::default();
    for run in 1..=bench.n_runs {
        complain(&format!("run {run} of {}", bench.n_runs));
        samples.take(bench, &small, &large)?;
    }
    for line in samples.lines(bench) {
        say(&line);
    }
    for host in [small, large] {
        let folder = host.place.path("");
        drop(host);
        std::fs::remove_dir_all(folder)?;
    }
    Ok(())
}

/// A whole collection on a quiet host, and on a busy one.
fn busy_host(bench: &Bench, dir: &Path) -> Result<()> {
    let host = Host::build(&dir.join("host"), &Traffic::until_now(bench.small / 2), bench.small)?;
    let mut samples: [Sample; 4] = Default::default();
    let [quiet, quiet_collected, busy, collected] = &mut samples;
    for _ in 0..bench.n_runs {
        quiet.add(&host.diagnose(&bench.why502)?);
        quiet_collected.add(&host.collect(&bench.why502)?);
    }
    complain(&format!("starting {N_PROCESSES} processes, opening {N_SOCKETS} sockets"));
    let crowd = Crowd::gather()?;
    for run in 1..=bench.n_runs {
        complain(&format!("run {run} of {}", bench.n_runs));
        busy.add(&host.diagnose(&bench.why502)?);
        collected.add(&host.collect(&bench.why502)?);
    }
    drop(crowd);
    say(&format!("{:<44} {:>9} {:>9}  {:>8}  target", "", "median", "p95", "memory"));
    let crowded = format!("{N_PROCESSES} processes, {N_SOCKETS} sockets");
    let names = [
        ("diagnose, quiet host".to_owned(), ""),
        ("collect, quiet host".to_owned(), ""),
        (format!("diagnose, {crowded}"), "at most 1.5 s, 150 MiB"),
        (format!("collect, {crowded}"), "at most 1.5 s, 150 MiB"),
    ];
    for ((name, target), sample) in names.iter().zip(&samples) {
        let [median, p95] = [sample.median(), sample.p95()].map(seconds);
        let peak = sample.peak_kib().div_ceil(1024);
        say(&format!("{name:<44} {median:>9} {p95:>9}  {peak:>4} MiB  {target}"));
    }
    let folder = host.place.path("");
    drop(host);
    std::fs::remove_dir_all(folder)?;
    Ok(())
}

/// A gateway with its logs; it ends with this.
struct Host {
    place: Place,
    nginx: Nginx,
}

impl Host {
    fn build(dir: &Path, traffic: &Traffic, size: u64) -> Result<Self> {
        std::fs::create_dir(dir)?;
        let mut place = Place::new(dir.to_owned(), false);
        let scenario: Scenario = place.expand_all(&toml::from_str::<Scenario>(SCENARIO)?)?;
        crate::run::prepare(&place, &scenario)?;
        let peer = place.ports.get("app")?;
        complain(&format!("writing {} of logs", gigabytes(size)));
        traffic.write_access_log(&place.path("logs/access.log"), peer, size)?;
        traffic.write_error_log(&place.path("logs/error.log"), peer, size / 100)?;
        let nginx = Nginx::new(&place, &scenario.nginx)?;
        nginx.take(NginxStep::Start, &mut place)?;
        Ok(Self { place, nginx })
    }

    fn access_log(&self) -> PathBuf {
        self.place.path("logs/access.log")
    }

    /// Diagnoses this gateway; anything but the verdict `broken` is not what shall be measured.
    fn diagnose(&self, why502: &Path) -> Result<Measured> {
        let master = self.nginx.master().context("nginx does not run")?;
        let mut command = Command::new(why502);
        command.args(["diagnose", "--format", "json", "--pid", &master.as_raw_pid().to_string()]);
        let measured = measure(&mut command, &self.place.path("out/report.json"))?;
        match measured.exit {
            Some(1) => Ok(measured),
            exit => bail!("why502 ends with {exit:?}, and the gateway is broken"),
        }
    }

    /// Records a bundle of this gateway.
    fn collect(&self, why502: &Path) -> Result<Measured> {
        let master = self.nginx.master().context("nginx does not run")?;
        let bundle = self.place.path("out/bundle.tar.zst");
        let mut command = Command::new(why502);
        command.args(["collect", "--pid", &master.as_raw_pid().to_string(), "-o"]).arg(&bundle);
        let measured = measure(&mut command, &self.place.path("out/collected"))?;
        if measured.exit != Some(0) {
            bail!("why502 collect ends with {:?}", measured.exit);
        }
        std::fs::remove_file(bundle)?;
        Ok(measured)
    }

    fn search(&self, program: &str, arguments: &[&str]) -> Result<Measured> {
        let mut command = Command::new(find_program(program)?);
        command.args(arguments).arg(self.access_log());
        let measured = measure(&mut command, &self.place.path("out/count"))?;
        match measured.exit {
            Some(0) => Ok(measured),
            exit => bail!("{program} ends with {exit:?}, and there are failures to find"),
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Err(error) = self.nginx.take(NginxStep::Stop, &mut self.place) {
            complain(&format!("{error:#}"));
        }
    }
}

/// Everything that was measured.
#[derive(Debug, Default)]
struct Samples {
    small: Sample,
    large: Sample,
    tail_and_grep: Sample,
    ripgrep: Sample,
    verdict: Sample,
}

impl Samples {
    fn take(&mut self, bench: &Bench, small: &Host, large: &Host) -> Result<()> {
        self.small.add(&small.diagnose(&bench.why502)?);
        self.large.add(&large.diagnose(&bench.why502)?);
        // The file's name is the shell's first argument.
        let script = format!("tail -c 64M \"$0\" | grep -c '{PATTERN}'");
        self.tail_and_grep.add(&large.search("sh", &["-c", &script])?);
        self.ripgrep.add(&large.search("rg", &["-c", PATTERN])?);
        for _ in 0..VERDICT_FACTOR {
            self.verdict.add(&small.diagnose(&bench.why502)?);
        }
        Ok(())
    }

    fn lines(&self, bench: &Bench) -> Vec<String> {
        let sizes = [bench.small, bench.large].map(gigabytes);
        let timed = |what: &str, sample: &Sample, target: &str| {
            let [median, p95] = [sample.median(), sample.p95()].map(seconds);
            format!("{what:<44} {median:>9} {p95:>9}  {target}")
        };
        let ratio = |what: &str, other: &Sample, target: &str| {
            let ratio = self.large.median().as_secs_f64() / other.median().as_secs_f64();
            format!("{what:<44} {ratio:>8.3}× {:>9}  {target}", "")
        };
        let peak = |what: &str, sample: &Sample| {
            let mebibytes = sample.peak_kib().div_ceil(1024);
            format!("{what:<44} {mebibytes:>5} MiB {:>9}  at most 100 MiB", "")
        };
        vec![
            format!("{:<44} {:>9} {:>9}  target", "", "median", "p95"),
            timed(&format!("why502 diagnose, log of {}", sizes[0]), &self.small, ""),
            timed(&format!("why502 diagnose, log of {}", sizes[1]), &self.large, ""),
            timed("tail -c 64M | grep -c, the large log", &self.tail_and_grep, ""),
            timed("rg -c, the large log", &self.ripgrep, ""),
            timed(&format!("verdict, {} runs", self.verdict.len()), &self.verdict, "median at most 0.5 s"),
            ratio("large / small log", &self.small, "at most 1.2"),
            ratio("large log / tail -c 64M | grep -c", &self.tail_and_grep, ""),
            ratio("large log / rg -c", &self.ripgrep, ""),
            peak("peak memory, small log", &self.small),
            peak("peak memory, large log", &self.large),
        ]
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.3} s", time.as_secs_f64())
}

/// A size in the unit that suits it.
fn gigabytes(bytes: u64) -> String {
    let megabytes = bytes / 1_000_000;
    if megabytes < 1000 {
        format!("{megabytes} MB")
    } else {
        format!("{}.{} GB", megabytes / 1000, megabytes % 1000 / 100)
    }
}

/// Reads `10G`, `500M`: decimal units, as files are sold.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no size like 1G or 500M");
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let unit = match unit {
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        _ => return Err(wrong()),
    };
    let number = number.parse::<u64>().map_err(|_| wrong())?;
    number.checked_mul(unit).filter(|size| *size >= traffic::MIN_SIZE).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse_size("10G"), Ok(10_000_000_000));
        assert_eq!(parse_size("20M"), Ok(20_000_000));
        for wrong in ["", "10", "G", "-1G", "1M", "99999999999999G", "1é"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_host_is_a_scenario() {
        assert!(toml::from_str::<Scenario>(SCENARIO).is_ok());
        assert_eq!(
            (gigabytes(10_500_000_000), gigabytes(10_000_000)),
            ("10.5 GB".to_owned(), "10 MB".to_owned())
        );
    }
}
