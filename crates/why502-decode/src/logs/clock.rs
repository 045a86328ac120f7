//! How far an error log's clock is ahead of UTC.
//!
//! The error log's stamps have no zone; the access log's have. A request that failed stands in both: its access line is
//! written when it ends, at or shortly after its error line. Zones are multiples of a quarter of an hour, so each pair of
//! lines of the same client and request allows at most one offset, and the pairs vote.

use super::error_line::parse_error_line;
use super::format::AccessFormat;
use super::request_line::RequestParts;
use super::stamps::stamp_of_error_line;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use why502_facts::{Civil, LogClock, LogClockSource, Stamp};

const QUARTER_HOUR: i64 = 900;
/// From Baker Island to Kiribati.
const OFFSETS: std::ops::RangeInclusive<i64> = -12 * 3600..=14 * 3600;
/// The access line follows within this many seconds: the longest default timeout and some slack.
const MAX_LAG: i64 = 75;
/// A lone pair must be closer than this: by chance, one in a hundred pairs of unrelated lines is.
const MAX_LONE_LAG: i64 = 5;
/// So many lines of one request are compared.
const MAX_SAME: usize = 200;

/// Finds the offset at which error lines and access lines of the same requests agree; `None` if they do not, or two
/// offsets fit about equally well.
///
/// The tails are the ends of the logs; a first line that was cut is skipped by its grammar.
pub fn clock(error_tail: &[u8], access_tails: &[(&AccessFormat, &[u8])]) -> Option<LogClock> {
    let ended = ended_requests(access_tails);
    let mut votes: BTreeMap<i64, (u64, i64)> = BTreeMap::new();
    let mut n_voters = 0;
    for line in error_tail.split(|&byte| byte == b'\n') {
        let Some((with_client, without, at)) = error_keys(line) else { continue };
        let Some(stamps) = ended.get(&with_client).or_else(|| ended.get(&without)) else { continue };
        let fits: BTreeSet<(i64, i64)> = stamps.iter().filter_map(|&ended| fitting(at.0, ended)).collect();
        n_voters += u64::from(!fits.is_empty());
        for (offset, lag) in fits {
            let (count, least) = votes.entry(offset).or_insert((0, lag));
            *count += 1;
            *least = (*least).min(lag);
        }
    }
    let (&offset, &(best, least_lag)) =
        votes.iter().max_by_key(|(offset, (count, _))| (*count, -offset.abs()))?;
    let second = votes.iter().filter(|(other, _)| **other != offset).map(|(_, (count, _))| *count).max();
    let agreed = best * 10 >= n_voters * 6 && second.unwrap_or(0) * 10 <= best * 8;
    let close = best > 1 || least_lag <= MAX_LONE_LAG;
    (agreed && close).then(|| LogClock {
        offset_seconds: i32::try_from(offset).unwrap_or_default(),
        source: LogClockSource::JoinedLines,
    })
}

/// The stamp of the last line of an error log's tail.
pub fn newest_error_stamp(tail: &[u8]) -> Option<Civil> {
    tail.rsplit(|&byte| byte == b'\n').find_map(stamp_of_error_line)
}

/// The stamp of the last line of an access log's tail.
pub fn newest_access_stamp(format: &AccessFormat, tail: &[u8]) -> Option<Stamp> {
    tail.rsplit(|&byte| byte == b'\n').find_map(|line| format.stamp(line))
}

/// The offset at which an access line ends a request of which an error line tells, and how long after it.
fn fitting(civil: i64, ended: i64) -> Option<(i64, i64)> {
    let ahead = civil - ended;
    // The clock of a worker is read before the line is written: one second of slack.
    let offset = (ahead - 1 + QUARTER_HOUR - 1).div_euclid(QUARTER_HOUR) * QUARTER_HOUR;
    let lag = offset - ahead;
    (OFFSETS.contains(&offset) && lag <= MAX_LAG).then_some((offset, lag))
}

fn ended_requests(access_tails: &[(&AccessFormat, &[u8])]) -> HashMap<Vec<u8>, Vec<i64>> {
    let mut ended: HashMap<Vec<u8>, Vec<i64>> = HashMap::new();
    let mut scratch = Vec::new();
    for (format, tail) in access_tails {
        for line in tail.split(|&byte| byte == b'\n') {
            let Some(parsed) = format.parse(line) else { continue };
            let Some(stamp) = parsed.stamp() else { continue };
            let client = parsed.client().unwrap_or_default();
            // Without the client, good answers of the same path are too many to tell apart.
            if client.is_empty() && !parsed.status().is_some_and(|status| status == 499 || status >= 500) {
                continue;
            }
            let Some(parts) = parsed.request(&mut scratch) else { continue };
            let stamps = ended.entry(key(client, parts)).or_default();
            if stamps.len() < MAX_SAME {
                stamps.push(stamp.0.div_euclid(1000));
            }
        }
    }
    ended
}

/// What an error line's request is known by: with its client, and without, as formats have it that leave it out.
fn error_keys(line: &[u8]) -> Option<(Vec<u8>, Vec<u8>, Civil)> {
    let parsed = parse_error_line(line)?;
    let parts = RequestParts::read(parsed.context.request?)?;
    Some((key(parsed.context.client?, parts), key(b"", parts), parsed.at?))
}

fn key(client: &[u8], parts: RequestParts<'_>) -> Vec<u8> {
    [client, parts.path].join(&b' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(time: &str, client: &str, path: &str) -> String {
        format!(
            "2026/11/21 {time} [error] 1#1: *1 no live upstreams while connecting to upstream, client: {client}, \
             server: a, request: \"GET {path} HTTP/1.1\", upstream: \"http://g{path}\", host: \"a\"\n"
        )
    }

    fn access(time: &str, client: &str, path: &str) -> String {
        format!("{client} - - [21/Nov/2026:{time} +0000] \"GET {path} HTTP/1.1\" 502 157 \"-\" \"-\"\n")
    }

    fn found(errors: &str, accesses: &str) -> Option<i32> {
        let combined = AccessFormat::compile(&AccessFormat::combined()).unwrap();
        clock(errors.as_bytes(), &[(&combined, accesses.as_bytes())]).map(|clock| clock.offset_seconds)
    }

    #[test]
    fn lines_of_the_same_request_agree_on_an_offset() {
        let errors = error("08:00:10", "1.1.1.1", "/a") + &error("08:00:20", "2.2.2.2", "/b");
        let accesses = access("02:30:10", "1.1.1.1", "/a") + &access("02:31:05", "2.2.2.2", "/b");
        assert_eq!(found(&errors, &accesses), Some(19_800));
        let early = error("02:28:30", "1.1.1.1", "/a");
        assert_eq!(found(&early, &access("02:28:30", "1.1.1.1", "/a")), Some(0));
        assert_eq!(found(&early, &access("10:28:31", "1.1.1.1", "/a")), Some(-8 * 3600));
    }

    #[test]
    fn unrelated_or_ambiguous_lines_tell_nothing() {
        let errors = error("08:00:10", "1.1.1.1", "/a");
        assert_eq!(found(&errors, &access("08:00:10", "1.1.1.2", "/a")), None);
        assert_eq!(found(&errors, &access("08:07:00", "1.1.1.1", "/a")), None);
        // A lone pair a minute apart may be chance.
        assert_eq!(found(&errors, &access("08:01:10", "1.1.1.1", "/a")), None);
        // A monitor asks for the same every quarter of an hour.
        let hours = ["08:00:00", "08:15:00", "08:30:00", "08:45:00", "09:00:00"];
        let errors: String = hours.iter().map(|time| error(time, "1.1.1.1", "/health")).collect();
        let accesses: String = hours[1..].iter().map(|time| access(time, "1.1.1.1", "/health")).collect();
        assert_eq!(found(&errors, &accesses), None);
    }

    #[test]
    fn the_newest_stamp_is_that_of_the_last_line() {
        let tail = "cut line\n".to_owned() + &error("08:00:10", "1.1.1.1", "/a") + "  continued\n";
        assert_eq!(newest_error_stamp(tail.as_bytes()).unwrap().to_string(), "2026-11-21T08:00:10");
        let combined = AccessFormat::compile(&AccessFormat::combined()).unwrap();
        let tail = access("08:00:11", "1.1.1.1", "/a") + "cut";
        assert_eq!(
            newest_access_stamp(&combined, tail.as_bytes()).unwrap().to_string(),
            "2026-11-21T08:00:11Z"
        );
    }
}
