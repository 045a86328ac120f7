//! What the kernel says in its log: which lines matter, and what they mean.

mod words;

use crate::logs::stamps::{digits, month_day_time, time_iso8601};
use std::time::Duration;
use why502_facts::{
    Civil, KernelEvent, KernelLog, KernelLogRecord, KernelLogSource, KernelWord, OomKill, Stamp, lossy,
};

/// What stands before the kernel's messages in the files of syslog and in the journal.
const TAG: &[u8] = b" kernel: ";
/// How many lines back the particulars of a kill stand; the table of tasks between them is not kept.
const MAX_PARTICULARS: usize = 8;
/// How long one kill takes from its first line to its last.
const MAX_KILL: Duration = Duration::from_secs(10);
/// A stamp without a year lies at most so long after the last write of its file.
const MAX_AHEAD: Duration = Duration::from_hours(24);

/// Whether a line of a kernel log, in the form of any source, tells of a death, a refusal or a shortage.
pub fn is_kernel_word(line: &[u8]) -> bool {
    words::is_told(line)
}

/// Whether a line of a file of syslog is the kernel's.
pub fn is_kernel_line(line: &[u8]) -> bool {
    memchr::memmem::find(line, TAG).is_some()
}

/// What a record of the kernel's log says; `zone` is how far the host's clock is ahead of UTC, in seconds.
pub fn decode_kernel_log(record: &KernelLogRecord, zone: Option<i32>) -> KernelLog {
    let source = match &record.source {
        KernelLogSource::File { path, .. } => path.clone(),
        KernelLogSource::Journal => "the journal".to_owned(),
        KernelLogSource::Ring { .. } => "/dev/kmsg".to_owned(),
    };
    let split = |line| split(&record.source, line, zone);
    let reaches_back = split(record.oldest.as_slice()).map(|(_, to, _)| to);
    let lines = record.lines.as_slice().split(|byte| *byte == b'\n');
    let lines: Vec<(Stamp, Stamp, String)> =
        lines.filter_map(split).map(|(from, to, text)| (from, to, lossy(text))).collect();
    let mut words: Vec<KernelWord> = Vec::new();
    for (place, (from, to, line)) in lines.iter().enumerate() {
        let Some(event) = words::event(line) else { continue };
        let event = match event {
            KernelEvent::OomKill(kill) => {
                KernelEvent::OomKill(with_particulars(kill, &lines[..place], *from))
            }
            other => other,
        };
        words.push(KernelWord { event, from: *from, to: *to, line: line.clone() });
    }
    // Whether syslog still writes a file shows only in what it wrote.
    let ends =
        if let KernelLogSource::File { modified, .. } = &record.source { Some(*modified) } else { None };
    KernelLog { source, reaches_back, ends, words }
}

/// What the lines before a kill say of it.
fn with_particulars(mut kill: OomKill, before: &[(Stamp, Stamp, String)], at: Stamp) -> OomKill {
    let recent = before.iter().rev().take(MAX_PARTICULARS);
    for (_, _, line) in recent.take_while(|(from, ..)| at.since(*from) <= MAX_KILL) {
        // The particulars of the kill before end here.
        if matches!(words::event(line), Some(KernelEvent::OomKill(_))) && kill.limit_kib.is_some() {
            break;
        }
        words::add_particulars(&mut kill, line);
    }
    kill
}

/// When a line was written, at the earliest and at the latest, and its text.
fn split<'l>(
    source: &KernelLogSource,
    line: &'l [u8],
    zone: Option<i32>,
) -> Option<(Stamp, Stamp, &'l [u8])> {
    match source {
        KernelLogSource::Ring { from, to } => {
            let (micros, text) = split_record(line)?;
            let after = Duration::from_micros(micros);
            Some((from.after(after), to.after(after), text))
        }
        KernelLogSource::Journal => {
            let end = memchr::memchr(b' ', line).unwrap_or(line.len());
            let stamp = unix_stamp(&line[..end])?;
            Some((stamp, stamp, behind_tag(line)))
        }
        KernelLogSource::File { modified, .. } => {
            let end = memchr::memchr(b' ', line).unwrap_or(line.len());
            if let Some(stamp) = time_iso8601(&line[..end]) {
                return Some((stamp, stamp, behind_tag(line)));
            }
            let stamp = without_year(line, *modified, zone?)?;
            // It is cut to the second.
            Some((stamp, stamp.after(Duration::from_millis(999)), behind_tag(line)))
        }
    }
}

/// The microseconds and the text of a record of `/dev/kmsg`: `PRIORITY,SEQUENCE,MICROSECONDS,FLAGS[,…];TEXT`
/// (Documentation/ABI/testing/dev-kmsg).
fn split_record(record: &[u8]) -> Option<(u64, &[u8])> {
    let end = memchr::memchr(b';', record)?;
    let micros = digits(record[..end].split(|byte| *byte == b',').nth(2)?)?;
    Some((micros, &record[end + 1..]))
}

/// `1796041564.319688`.
fn unix_stamp(text: &[u8]) -> Option<Stamp> {
    let (seconds, fraction) = text.split_at(memchr::memchr(b'.', text)?);
    let millis = i64::try_from(digits(fraction.get(1..4)?)?).ok()?;
    Some(Stamp(i64::try_from(digits(seconds)?).ok()?.checked_mul(1000)?.checked_add(millis)?))
}

/// The stamp of RFC 3164, `Nov 30 12:26:03`, of the last year in which it is not later than the file was written.
pub(super) fn without_year(line: &[u8], modified: Stamp, zone: i32) -> Option<Stamp> {
    let newest = Civil::of(modified.after(MAX_AHEAD), zone);
    let year = newest.to_string().get(..4)?.parse::<i16>().ok()?;
    let (month, day, time) = month_day_time(line)?;
    let reading = |year: i16| Civil::from_parts((year, month, day), time);
    // The 29th of February is one of a leap year.
    let mut years = (0..8).filter_map(|back| reading(year - back));
    years.find(|reading| *reading <= newest).map(|reading| reading.at_offset(zone))
}

/// The text behind syslog's head and the kernel's own stamp (`[ 1234.567890] `).
fn behind_tag(line: &[u8]) -> &[u8] {
    let Some(at) = memchr::memmem::find(line, TAG) else { return &[] };
    let text = &line[at + TAG.len()..];
    let stamped = text.strip_prefix(b"[").and_then(|rest| {
        let end = memchr::memchr(b']', rest.get(..rest.len().min(20))?)?;
        let is_stamp = rest[..end].iter().all(|byte| byte.is_ascii_digit() || b" .".contains(byte));
        is_stamp.then(|| rest[end + 1..].trim_ascii_start())
    });
    stamped.unwrap_or(text)
}

#[cfg(test)]
mod tests;
