//! A bundle, decoded.

use crate::logs::{self, AccessFormat};
use crate::{host, wire};
use std::collections::BTreeMap;
use std::sync::Arc;
use why502_facts::{
    AccessDigest, AccessLogFormat, Answer, Ask, Bundle, Datum, ErrorDigest, Fact, FactBody, Facts, Gap,
    LogClock, LogClockSource, LogKind, LogSlice, LogSummary, Observed, ProbeReport, Stamp, Transcript,
};

/// Decodes every fact of a bundle. It cannot fail: what cannot be decoded is a gap.
pub fn load(bundle: &Bundle) -> Facts {
    Loader::default().load(bundle)
}

/// Decodes a bundle that grows: what was decoded before is not decoded again.
#[derive(Debug, Default)]
pub struct Loader {
    answers: Vec<(Ask, Stamp, Arc<Observed<Datum>>)>,
    log_summaries: Arc<BTreeMap<String, LogSummary>>,
    clocks: Clocks,
}

/// What the host says of time: every decoded stamp depends on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Clocks {
    booted: Option<Stamp>,
    /// See [`zone`].
    zone: Option<i32>,
}

impl Loader {
    /// Decodes the facts that were added to the bundle since the last call; the facts of then must still be its first.
    pub fn load(&mut self, bundle: &Bundle) -> Facts {
        let clocks = Clocks { booted: booted(bundle), zone: zone(bundle) };
        if clocks != self.clocks {
            *self = Self { clocks, ..Self::default() };
        }
        let new = bundle.facts.get(self.answers.len()..).unwrap_or_default();
        if new.iter().any(|fact| matches!(fact.ask, Ask::Log(_) | Ask::LogTail { .. })) {
            self.log_summaries = Arc::new(log_summaries(bundle));
        }
        let decoded = |fact: &Fact| {
            let datum = decode(&fact.ask, &fact.answer, clocks.booted, clocks.zone);
            (fact.ask.clone(), fact.at, Arc::new(datum))
        };
        self.answers.extend(new.iter().map(decoded));
        let micros = bundle.facts.iter().filter_map(|fact| Some((fact.ask.clone(), fact.micros?)));
        let answers = self.answers.iter().cloned();
        Facts::new(bundle.manifest.clone(), answers, Arc::clone(&self.log_summaries)).with_micros(micros)
    }
}

/// When the host of a bundle was started.
fn booted(bundle: &Bundle) -> Option<Stamp> {
    bundle.facts.iter().find_map(|fact| match &fact.answer {
        Answer::Known(body) => match body.as_ref() {
            FactBody::Host(host) => host.booted,
            _ => None,
        },
        Answer::Absent | Answer::Unknown { .. } => None,
    })
}

/// How far the host's clock was ahead of UTC when the bundle was recorded, in seconds.
fn zone(bundle: &Bundle) -> Option<i32> {
    bundle.facts.iter().find_map(|fact| match &fact.answer {
        Answer::Known(body) => match body.as_ref() {
            FactBody::Host(host) => host.zone.at(bundle.manifest.captured_at),
            _ => None,
        },
        Answer::Absent | Answer::Unknown { .. } => None,
    })
}

fn decode(ask: &Ask, answer: &Answer, booted: Option<Stamp>, zone: Option<i32>) -> Observed<Datum> {
    match answer {
        Answer::Absent => Observed::Absent,
        Answer::Unknown { why, says } => {
            Observed::Unknown(Gap { ask: ask.clone(), why: *why, says: says.clone() })
        }
        Answer::Known(body) => decode_body(ask, body, booted, zone).map_or(Observed::Absent, Observed::Known),
    }
}

/// `None` where the body tells that what was asked for is gone (a process that died while it was read).
fn decode_body(ask: &Ask, body: &FactBody, booted: Option<Stamp>, zone: Option<i32>) -> Option<Datum> {
    Some(match body {
        FactBody::AccessLog(digest) => Datum::AccessLog(digest.clone()),
        FactBody::Addresses(addresses) => Datum::Addresses(addresses.clone()),
        FactBody::NameReply(reply) => Datum::NameReply(reply.clone()),
        FactBody::Echo(echo) => Datum::Echo(echo.clone()),
        FactBody::Container(container) => {
            Datum::Container(host::decode_container(container.inspected.as_slice())?)
        }
        FactBody::Engine(engine) => Datum::Engine(host::decode_engine(engine)?),
        FactBody::ErrorLog(digest) => Datum::ErrorLog(digest.clone()),
        FactBody::File(file) => Datum::File(file.clone()),
        FactBody::FileSystem(record) => Datum::FileSystem(host::decode_file_system(record)),
        FactBody::FileTimes(times) => Datum::FileTimes(times.clone()),
        FactBody::Host(host) => Datum::Host(host.clone()),
        FactBody::KernelLog(record) => Datum::KernelLog(host::decode_kernel_log(record, zone)),
        FactBody::LogTail(tail) => Datum::LogTail(tail.clone()),
        FactBody::PackageLog(record) => {
            let Ask::PackageLog { manager } = ask else { return None };
            Datum::PackageLog(host::decode_package_log(*manager, record, zone))
        }
        FactBody::PacketFilter(record) => Datum::PacketFilter(host::decode_packet_filter(record)),
        FactBody::NetworkLimits(record) => Datum::NetworkLimits(host::decode_network_limits(record)),
        FactBody::OtherSockets(sockets) => Datum::OtherSockets(host::decode_other_sockets(sockets)),
        FactBody::PathWalk(walk) => Datum::PathWalk(walk.clone()),
        FactBody::Paths(paths) => Datum::Paths(paths.clone()),
        FactBody::Audit(record) => Datum::Audit(host::decode_audit(record)),
        FactBody::Confinement(record) => Datum::Confinement(host::decode_confinement(record)),
        FactBody::Decision(record) => Datum::Decision(host::decode_decision(record)?),
        FactBody::ControlGroups(record) => Datum::ControlGroups(host::decode_control_groups(record)),
        FactBody::Probe(transcript) => Datum::Probe(decode_transcript(ask, transcript)),
        FactBody::Process(process) => Datum::Process(host::decode_process(process, booted)?),
        FactBody::Processes(table) => Datum::Processes(host::decode_processes(table, booted)),
        FactBody::Route(record) => {
            let Ask::Route { target, mark, .. } = ask else { return None };
            Datum::Route(host::decode_path(record, *target, *mark))
        }
        FactBody::ServerLogs(logs) => Datum::ServerLogs(host::decode_server_logs(logs, zone)),
        FactBody::Services(services) => Datum::Services(host::decode_services(services)),
        FactBody::Sockets(sockets) => Datum::Sockets(host::decode_sockets(sockets)),
        FactBody::Strings(strings) => Datum::Strings(strings.clone()),
        FactBody::Waiting(record) => Datum::Waiting(host::decode_waiting(record)),
        FactBody::Unit(shown) => Datum::Unit(host::decode_unit(shown.as_slice())?),
        FactBody::UnitJournal(journal) => Datum::UnitJournal(host::decode_journal(journal)),
    })
}

fn decode_transcript(ask: &Ask, transcript: &Transcript) -> ProbeReport {
    let received = if transcript.received.as_slice().is_empty() {
        // Before TLS stands, what the peer sent is known from the handshake alone.
        transcript
            .tls
            .as_ref()
            .filter(|tls| !tls.established)
            .map(|tls| tls.first_bytes.clone())
            .unwrap_or_default()
    } else {
        transcript.received.clone()
    };
    let answer = match ask {
        // What came before TLS stood is no answer to the request, which was not sent.
        Ask::Probe { spec, .. } => wire::parse_answer(spec, transcript.received.as_slice()),
        _ => wire::ProbeAnswer::default(),
    };
    ProbeReport {
        context: transcript.context.clone(),
        steps: transcript.steps.clone(),
        tls: transcript.tls.clone(),
        first_bytes: wire::first_bytes(received.as_slice()),
        answer: answer.header.map(Box::new),
        http2: answer.http2.map(Box::new),
        memcached: answer.memcached,
        stderr: answer.stderr,
        received,
        errors: transcript.errors.clone(),
        unacknowledged: transcript.unacknowledged,
    }
}

/// What the logs of each owner tell together: their clock, their newest stamp, their failed requests.
fn log_summaries(bundle: &Bundle) -> BTreeMap<String, LogSummary> {
    let mut logs: BTreeMap<&str, OwnedLogs<'_>> = BTreeMap::new();
    let zone = zone(bundle);
    for fact in &bundle.facts {
        let Answer::Known(body) = &fact.answer else { continue };
        match (&fact.ask, body.as_ref()) {
            (Ask::LogTail { owner, kind, .. }, FactBody::LogTail(tail)) => {
                logs.entry(owner).or_default().tails.push((kind, tail.bytes.as_slice()));
            }
            (Ask::Log(slice), FactBody::ErrorLog(digest)) => {
                let logs = logs.entry(&slice.owner).or_default();
                logs.slices(slice).errors.push((slice, digest));
            }
            (Ask::Log(slice), FactBody::AccessLog(digest)) => {
                let logs = logs.entry(&slice.owner).or_default();
                logs.slices(slice).accesses.push(digest);
            }
            _ => {}
        }
    }
    logs.into_iter().map(|(owner, logs)| (owner.to_owned(), logs.summary(zone))).collect()
}

/// The logs of one owner.
#[derive(Default)]
struct OwnedLogs<'a> {
    tails: Vec<(&'a LogKind, &'a [u8])>,
    window: Slices<'a>,
    before: Slices<'a>,
}

/// The digests of one span of time.
#[derive(Default)]
struct Slices<'a> {
    errors: Vec<(&'a LogSlice, &'a ErrorDigest)>,
    accesses: Vec<&'a AccessDigest>,
}

impl Slices<'_> {
    /// The error digests without the lines about requests of our own, and the clock that they were read with.
    fn errors(&self, clock: LogClock) -> (Vec<ErrorDigest>, LogClock) {
        // A digest was read with the clock that was known then.
        let used = self.errors.first().map_or(clock, |(slice, _)| slice.clock);
        let mut errors: Vec<ErrorDigest> = self.errors.iter().map(|(_, digest)| (*digest).clone()).collect();
        for digest in &mut errors {
            logs::remove_own_requests(digest, &self.accesses, used);
        }
        (errors, used)
    }
}

impl<'a> OwnedLogs<'a> {
    /// A look back before the window is bounded by its size; the window is not.
    fn slices(&mut self, slice: &LogSlice) -> &mut Slices<'a> {
        if slice.max_bytes.is_some() { &mut self.before } else { &mut self.window }
    }

    fn summary(&self, zone: Option<i32>) -> LogSummary {
        let clock = self.clock(zone);
        let (errors, used) = self.window.errors(clock);
        let (before, before_used) = self.before.errors(clock);
        let earlier: Vec<ErrorDigest> = errors
            .iter()
            .map(|digest| ErrorDigest { records: digest.before.clone(), ..ErrorDigest::default() })
            .collect();
        LogSummary {
            clock: Some(clock),
            newest: self.newest(clock),
            failed: logs::join(&errors.iter().collect::<Vec<_>>(), &self.window.accesses, used),
            earlier: logs::join(&earlier.iter().collect::<Vec<_>>(), &[], used),
            looked_back: logs::join(&before.iter().collect::<Vec<_>>(), &self.before.accesses, before_used),
        }
    }

    /// Lines of the same requests decide; else the host's zone, else UTC is assumed.
    fn clock(&self, zone: Option<i32>) -> LogClock {
        let formats = self.access_tails();
        let accesses: Vec<(&AccessFormat, &[u8])> =
            formats.iter().map(|(format, tail)| (format, *tail)).collect();
        let joined = self.error_tails().find_map(|tail| logs::clock(tail, &accesses));
        let of_host =
            zone.map(|offset_seconds| LogClock { offset_seconds, source: LogClockSource::HostZone });
        joined.or(of_host).unwrap_or(LogClock { offset_seconds: 0, source: LogClockSource::Assumed })
    }

    fn newest(&self, clock: LogClock) -> Option<Stamp> {
        let errors = self.error_tails().filter_map(logs::newest_error_stamp);
        let errors = errors.map(|civil| civil.at_offset(clock.offset_seconds));
        let formats = self.access_tails();
        let accesses = formats.iter().filter_map(|(format, tail)| logs::newest_access_stamp(format, tail));
        errors.chain(accesses).max()
    }

    fn error_tails(&self) -> impl Iterator<Item = &[u8]> {
        self.tails.iter().filter(|(kind, _)| matches!(kind, LogKind::Error)).map(|(_, tail)| *tail)
    }

    fn access_tails(&self) -> Vec<(AccessFormat, &[u8])> {
        let tails = self.tails.iter().filter_map(|(kind, tail)| match kind {
            LogKind::Access { format, .. } => Some((format, *tail)),
            LogKind::Error => None,
        });
        tails.filter_map(|(format, tail)| Some((access_format(format.as_ref(), tail)?, tail))).collect()
    }
}

fn access_format(format: Option<&AccessLogFormat>, tail: &[u8]) -> Option<AccessFormat> {
    let named = format.cloned().or_else(|| {
        let lines: Vec<&[u8]> = tail.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
        logs::guess_format(&lines).map(|(format, ..)| format)
    });
    AccessFormat::compile(&named?).ok()
}
