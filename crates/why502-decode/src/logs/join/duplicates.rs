//! One request may be written to several logs.

use super::{Access, has_variable};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use why502_facts::{AccessDigest, AccessRecord, Civil, Errno, ErrorDigest, ErrorRecord, Phrase, Stamp};

/// Two stamps of one line differ by no more.
const SAME_MS: i64 = 1000;

/// What an error line is known by in whichever log it stands.
type Said<'d> = (Civil, u32, Option<u64>, Phrase, Option<Errno>, Option<&'d Arc<str>>, Option<&'d Arc<str>>);

/// The records of all error logs, but for those that stand in a log before too (`error_log` may be given twice).
pub(super) fn distinct_errors<'d>(errors: &[&'d ErrorDigest]) -> Vec<&'d ErrorRecord> {
    let mut seen: BTreeMap<Said<'d>, u64> = BTreeMap::new();
    let mut distinct = Vec::new();
    for (idx, digest) in errors.iter().enumerate() {
        let mut fresh = Vec::new();
        for record in &digest.records {
            let known = if idx == 0 { None } else { seen.get_mut(&said(record)).filter(|left| **left > 0) };
            match known {
                Some(left) => *left -= 1,
                None => fresh.push(record),
            }
        }
        if errors.len() > 1 {
            for record in &fresh {
                *seen.entry(said(record)).or_default() += 1;
            }
        }
        distinct.extend(fresh);
    }
    distinct
}

fn said(record: &ErrorRecord) -> Said<'_> {
    let peer = record.context.upstream.as_ref().map(|upstream| &upstream.peer);
    let subrequest = record.context.subrequest.as_ref();
    (record.at, record.pid, record.connection, record.phrase, record.errno, peer, subrequest)
}

/// What an access line is known by in whichever log it stands.
type Asked<'d> = (Option<&'d str>, Option<&'d str>, u16);

/// The records of all access logs in the order of time, but for those that a log which tells more has too.
pub(super) fn distinct_accesses<'d>(accesses: &[&'d AccessDigest]) -> Vec<Access<'d>> {
    let mut by_richness: Vec<&'d AccessDigest> = accesses.to_vec();
    by_richness.sort_by_key(|digest| std::cmp::Reverse(richness(digest)));
    // Requests are compared by what all logs have of them.
    let all_name_clients = accesses.iter().all(|digest| has_variable(&digest.format, "remote_addr"));
    let asked = |record: &'d AccessRecord| asked(record, all_name_clients);
    let mut seen: BTreeMap<Asked<'d>, VecDeque<Stamp>> = BTreeMap::new();
    let mut distinct = Vec::new();
    for (idx, digest) in by_richness.iter().enumerate() {
        let names_client = has_variable(&digest.format, "remote_addr");
        let mut left = seen.clone();
        for record in &digest.records {
            if take_same(&mut left, record, asked(record)) {
                continue;
            }
            distinct.push(Access { record, names_client });
            // What the last log has, no other one is compared with.
            if idx + 1 < by_richness.len() {
                seen.entry(asked(record)).or_default().push_back(record.at);
            }
        }
    }
    distinct.sort_by_key(|access| access.record.at);
    distinct
}

fn richness(digest: &AccessDigest) -> (bool, bool, usize) {
    let has_times = digest.records.iter().any(|record| record.request_ms.is_some());
    (digest.has_upstream, has_times, digest.format.len())
}

fn asked(record: &AccessRecord, with_client: bool) -> Asked<'_> {
    let request = record.request.as_ref();
    // Not every format has the method.
    (record.client.as_deref().filter(|_| with_client), request.map(|request| &*request.path), record.status)
}

/// Takes the same request out of what other logs have, if it is there. All are in the order of time.
fn take_same<'d>(
    left: &mut BTreeMap<Asked<'d>, VecDeque<Stamp>>,
    record: &AccessRecord,
    asked: Asked<'d>,
) -> bool {
    let Some(others) = left.get_mut(&asked) else { return false };
    while others.front().is_some_and(|other| other.0 < record.at.0 - SAME_MS) {
        others.pop_front();
    }
    let same = others.front().is_some_and(|other| other.0 <= record.at.0 + SAME_MS);
    if same {
        others.pop_front();
    }
    same
}
