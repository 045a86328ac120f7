//! A bundle, decoded.

use crate::{host, wire};
use std::collections::BTreeMap;
use why502_facts::{
    Answer, Ask, Bundle, Datum, FactBody, Facts, Gap, LogSummary, Observed, ProbeReport, Stamp, Transcript,
};

/// Decodes every fact of a bundle. It cannot fail: what cannot be decoded is a gap.
pub fn load(bundle: &Bundle) -> Facts {
    let booted = bundle.facts.iter().find_map(|fact| match &fact.answer {
        Answer::Known(body) => match body.as_ref() {
            FactBody::Host(host) => host.booted,
            _ => None,
        },
        Answer::Absent | Answer::Unknown { .. } => None,
    });
    let answers =
        bundle.facts.iter().map(|fact| (fact.ask.clone(), fact.at, decode(&fact.ask, &fact.answer, booted)));
    Facts::new(bundle.manifest.clone(), answers, log_summaries(bundle))
}

fn decode(ask: &Ask, answer: &Answer, booted: Option<Stamp>) -> Observed<Datum> {
    match answer {
        Answer::Absent => Observed::Absent,
        Answer::Unknown { why, says } => {
            Observed::Unknown(Gap { ask: ask.clone(), why: *why, says: says.clone() })
        }
        Answer::Known(body) => decode_body(body, booted).map_or(Observed::Absent, Observed::Known),
    }
}

/// `None` where the body tells that what was asked for is gone (a process that died while it was read).
fn decode_body(body: &FactBody, booted: Option<Stamp>) -> Option<Datum> {
    Some(match body {
        FactBody::AccessLog(digest) => Datum::AccessLog(digest.clone()),
        FactBody::Addresses(addresses) => Datum::Addresses(addresses.clone()),
        FactBody::ErrorLog(digest) => Datum::ErrorLog(digest.clone()),
        FactBody::File(file) => Datum::File(file.clone()),
        FactBody::Host(host) => Datum::Host(host.clone()),
        FactBody::LogTail(tail) => Datum::LogTail(tail.clone()),
        FactBody::PathWalk(walk) => Datum::PathWalk(walk.clone()),
        FactBody::Paths(paths) => Datum::Paths(paths.clone()),
        FactBody::Probe(transcript) => Datum::Probe(decode_transcript(transcript)),
        FactBody::Process(process) => Datum::Process(host::decode_process(process, booted)?),
        FactBody::Processes(table) => Datum::Processes(host::decode_processes(table, booted)),
        FactBody::Sockets(sockets) => Datum::Sockets(host::decode_sockets(sockets)),
        FactBody::Strings(strings) => Datum::Strings(strings.clone()),
    })
}

fn decode_transcript(transcript: &Transcript) -> ProbeReport {
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
    ProbeReport {
        context: transcript.context.clone(),
        steps: transcript.steps.clone(),
        tls: transcript.tls.clone(),
        first_bytes: wire::first_bytes(received.as_slice()),
        received,
    }
}

fn log_summaries(_bundle: &Bundle) -> BTreeMap<String, LogSummary> {
    BTreeMap::new()
}
