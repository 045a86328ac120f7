//! The digest of an error log.

mod record;

use self::record::{Said, Scribe};
use super::kind::ErrorKind;
use super::line_place::LinePlace;
use super::pending::{LooseLines, OpenEntry, Taken, is_trace};
use super::records::{RecordRoom, Records};
use super::smallest::Smallest;
use super::store::{Entry, MAX_EXEMPLARS};
use super::window::{Counter, DigestOptions, Position};
use super::worth::{Worth, of_error_line};
use crate::logs::envelope::without_carriage_return;
use crate::logs::error_line::{ErrorLine, is_console, parse_error_line};
use memchr::memchr;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use why502_facts::{Civil, ErrorDigest, ErrorLevel, ErrorRecord, LogClock};

/// So many kinds of lines before the window are remembered.
const MAX_BEFORE: usize = 1024;

/// Digests an error log, line by line, oldest first.
///
/// Lines older than the window may be pushed too, as many as the caller cares to look back: of each kind that the window
/// holds, the first one is kept ([`ErrorDigest::before`]). [`why502_facts::Coverage::complete`] is set once such a line
/// was seen; that the log has no older lines only the caller knows.
#[derive(Debug)]
pub struct ErrorDigester<'a> {
    options: DigestOptions<'a>,
    clock: LogClock,
    counter: Counter,
    levels: BTreeMap<ErrorLevel, u64>,
    records: Records<ErrorKind, ErrorRecord>,
    before: Smallest<ErrorKind, Entry<ErrorKind, ErrorRecord>>,
    scribe: Scribe<'a>,
    /// Lines without a stamp that no entry came before.
    loose: LooseLines,
    /// The stamp of the entry before.
    last: Option<Civil>,
    open: Option<OpenEntry>,
}

impl<'a> ErrorDigester<'a> {
    /// A digester that has seen no line.
    pub fn new(options: DigestOptions<'a>, clock: LogClock) -> Self {
        Self {
            options,
            clock,
            counter: Counter::default(),
            levels: BTreeMap::new(),
            records: Records::new(options.max_records),
            before: Smallest::new(MAX_BEFORE),
            scribe: Scribe::new(options),
            loose: LooseLines::default(),
            last: None,
            open: None,
        }
    }

    /// A digester for lines that follow others, which left so much room: a part of a whole.
    pub fn with_room(options: DigestOptions<'a>, clock: LogClock, room: RecordRoom) -> Self {
        let new = Self::new(options, clock);
        Self { records: new.records.within(room), ..new }
    }

    /// What room the lines that follow have, once this digester is merged into one that saw all lines before.
    pub fn room(&self) -> RecordRoom {
        self.records.room()
    }

    /// Takes lines, with their ends, and where the first one stands.
    pub fn lines(&mut self, file: &Arc<str>, offset: u64, lines: &[u8]) {
        let mut begin = 0;
        while begin < lines.len() {
            let end = memchr(b'\n', &lines[begin..]).map_or(lines.len(), |length| begin + length);
            let line = &lines[begin..end];
            self.line(file, offset + begin as u64, line.strip_suffix(b"\r").unwrap_or(line));
            begin = end + 1;
        }
    }

    /// Takes a line, without its end, and where it stands.
    pub fn line(&mut self, file: &Arc<str>, offset: u64, line: &[u8]) {
        let place = self.counter.line(file, offset, line);
        let line = without_carriage_return(line);
        match parse_error_line(line) {
            Some(parsed) if parsed.at.is_some() => {
                self.close();
                self.last = parsed.at;
                if is_open(&parsed) {
                    self.open = Some(OpenEntry { place: place.keep(), text: line.to_vec() });
                } else {
                    self.entry(place, line, &parsed);
                }
            }
            _ => self.unstamped(place, line),
        }
    }

    /// Takes what a digester with the same options made of the lines that follow.
    ///
    /// The cut may stand anywhere, also inside an entry of several lines.
    pub fn merge(&mut self, later: Self) {
        let n_before = self.counter.n_pushed;
        let (loose, loose_overflowed) = later.loose.into_lines();
        for (mut place, line) in loose {
            place.seq += n_before;
            self.unstamped(place.place(), &line);
        }
        if later.last.is_some() {
            self.close();
        }
        if self.last.is_none() && loose_overflowed {
            self.loose.set_overflowed();
        }
        self.counter.append(later.counter);
        for (level, count) in later.levels {
            *self.levels.entry(level).or_default() += count;
        }
        self.records.append(later.records, n_before);
        for (kind, mut entry) in later.before.into_entries() {
            entry.seq += n_before;
            match self.before.get_mut(&kind) {
                Some(first) => first.record.weight += entry.record.weight,
                None => self.before.insert(kind, entry),
            }
        }
        self.last = later.last.or(self.last);
        if let Some(mut open) = later.open {
            open.place.seq += n_before;
            self.open = Some(open);
        }
    }

    /// Ends the log.
    pub fn finish(mut self) -> ErrorDigest {
        self.close();
        self.settle_loose_lines();
        let Self { mut counter, levels, records, before, .. } = self;
        counter.coverage.sampled = records.is_sampled();
        let entries = records.into_entries();
        let kinds: HashSet<&ErrorKind> = entries.iter().map(|entry| &entry.kind).collect();
        let mut before: Vec<_> = before.into_entries().into_values().collect();
        before.retain(|first| kinds.contains(&first.kind));
        before.sort_by_key(|entry| entry.seq);
        ErrorDigest {
            coverage: counter.coverage,
            levels: levels.into_iter().collect(),
            records: entries.into_iter().map(|entry| entry.record).collect(),
            before: before.into_iter().map(|entry| entry.record).collect(),
        }
    }

    fn unstamped(&mut self, place: LinePlace<'_>, line: &[u8]) {
        if self.last.is_none() && self.loose.keep(place, line) {
            return;
        }
        if self.last.is_some() && is_console(line) {
            self.close();
            if let Some(parsed) = parse_error_line(line) {
                self.entry(place, line, &parsed);
            }
            return;
        }
        let taken = self.open.as_mut().map_or(Taken::No, |open| open.take(line));
        if taken != Taken::Yes {
            self.close();
        }
        if taken == Taken::No && !is_trace(line) {
            self.counter.unparsed(place, line);
        }
    }

    /// Ends an entry that waits for further lines.
    fn close(&mut self) {
        let Some(open) = self.open.take() else { return };
        if let Some(parsed) = parse_error_line(&open.text) {
            self.entry(open.place.place(), &open.text, &parsed);
        }
    }

    /// No entry came before these lines: what the console says happened when the log begins, the rest fits nothing.
    fn settle_loose_lines(&mut self) {
        let (loose, _) = std::mem::take(&mut self.loose).into_lines();
        let begin = self.counter.coverage.first.or(self.options.to).or(self.options.from);
        self.last = Some(begin.map_or(Civil(0), |stamp| Civil::of(stamp, self.clock.offset_seconds)));
        for (place, line) in &loose {
            self.unstamped(place.place(), line);
        }
    }

    fn entry(&mut self, place: LinePlace<'_>, line: &[u8], parsed: &ErrorLine<'_>) {
        let Some(at) = parsed.at.or(self.last) else { return };
        let stamp = at.at_offset(self.clock.offset_seconds);
        let position = self.options.position(stamp, 999);
        if parsed.at.is_some() {
            self.counter.stamp(stamp, position);
        }
        if position == Position::After {
            return;
        }
        if position == Position::Inside {
            self.counter.coverage.n_lines += 1;
            *self.levels.entry(parsed.level).or_default() += 1;
        }
        let (phrase, detail) = parsed.classify();
        let worth = of_error_line(phrase, parsed.phase, parsed.level, parsed.errno);
        if worth == Worth::Nothing {
            return;
        }
        let said = Said { at, phrase, detail, parsed };
        match position {
            Position::Inside => self.keep(place, line, &said, worth),
            _ => self.keep_before(place, line, &said),
        }
    }

    fn keep(&mut self, place: LinePlace<'_>, line: &[u8], said: &Said<'_, '_>, worth: Worth) {
        let kind = self.scribe.kind(said);
        let minute = said.at.0.div_euclid(60);
        let Some(rank) = self.records.admit(worth, &kind, minute) else { return };
        let line = if rank < MAX_EXEMPLARS { place.quote(line) } else { place.bare() };
        let record = self.scribe.record(said, &kind, line);
        self.records.push(worth, Entry { seq: place.seq, minute, kind, rank, record });
    }

    fn keep_before(&mut self, place: LinePlace<'_>, line: &[u8], said: &Said<'_, '_>) {
        let kind = self.scribe.kind(said);
        if let Some(first) = self.before.get_mut(&kind) {
            first.record.weight += 1;
        } else if self.before.would_keep(&kind) {
            let record = self.scribe.record(said, &kind, place.quote(line));
            self.before.insert(kind.clone(), Entry { seq: place.seq, minute: 0, kind, rank: 0, record });
        }
    }
}

/// Whether the context of an entry is still to come: a message about a connection that ends without one.
fn is_open(parsed: &ErrorLine<'_>) -> bool {
    parsed.connection.is_some()
        && parsed.context.client.is_none()
        && parsed.action.is_none()
        && parsed.level < ErrorLevel::Info
}

#[cfg(test)]
mod tests {
    use super::*;

    use why502_facts::{LogClockSource, Phrase, RequestKey, Stamp};

    const CLOCK: LogClock = LogClock { offset_seconds: 3600, source: LogClockSource::HostZone };

    fn route(key: &RequestKey<'_>) -> Option<Arc<str>> {
        Some(key.path.get(..2)?.into())
    }

    fn options(max_records: usize) -> DigestOptions<'static> {
        DigestOptions {
            log: "/l",
            from: None,
            to: None,
            max_records,
            route: Some(&route),
            extent: crate::logs::Extent::Diagnosis,
        }
    }

    fn digest(options: DigestOptions<'static>, log: &str) -> ErrorDigest {
        let mut digester = ErrorDigester::new(options, CLOCK);
        let (file, mut offset) = (Arc::from("/l.1"), 0);
        for line in log.lines() {
            digester.line(&file, offset, line.as_bytes());
            offset += line.len() as u64 + 1;
        }
        digester.finish()
    }

    fn entry(time: &str, level: &str, says: &str) -> String {
        format!(
            "2026/11/21 {time} [{level}] 7#7: *3 {says}, client: ::1, server: a, request: \"GET /a HTTP/1.1\", upstream: \
             \"http://127.0.0.1:1/a\", host: \"a\"\n"
        )
    }

    const REFUSED: &str = "connect() failed (111: Connection refused) while connecting to upstream";

    #[test]
    fn records_tell_where_they_stand() {
        let log = entry("03:10:00", "info", "client ::1 closed keepalive connection")
            + &entry("03:10:01", "error", REFUSED);
        let digest = digest(options(10), &log);
        assert_eq!(digest.levels, [(ErrorLevel::Error, 1), (ErrorLevel::Info, 1)]);
        let [record] = digest.records.as_slice() else { panic!("{:?}", digest.records) };
        assert_eq!(
            (record.phrase, record.route.as_deref(), record.weight),
            (Phrase::ConnectFailed, Some("/a"), 1)
        );
        let first = log.lines().next().unwrap();
        assert_eq!(record.line.offset, first.len() as u64 + 1);
        assert_eq!(record.line.text.as_deref(), Some(log.lines().nth(1).unwrap()));
        let coverage = &digest.coverage;
        assert_eq!((coverage.n_lines, coverage.bytes, coverage.files.len()), (2, log.len() as u64, 1));
        assert_eq!(coverage.first.unwrap().to_string(), "2026-11-21T02:10:00Z");
        assert_eq!(coverage.last.unwrap().to_string(), "2026-11-21T02:10:01Z");
    }

    #[test]
    fn the_window_is_kept_and_what_was_before_it_remembered() {
        let window = DigestOptions {
            from: Some(Stamp(1_795_227_000_500)),
            to: Some(Stamp(1_795_227_060_000)),
            ..options(10)
        };
        let timed_out = "upstream timed out (110: Connection timed out) while connecting to upstream";
        let log = ["03:00:00", "03:01:00"].map(|time| entry(time, "error", REFUSED)).concat()
            + &entry("03:02:00", "error", timed_out)
            // The window begins inside this second.
            + &["03:10:00", "03:11:00", "03:11:01"].map(|time| entry(time, "error", REFUSED)).concat();
        let digest = digest(window, &log);
        assert_eq!(
            digest.records.iter().map(|record| record.at.to_string()).collect::<Vec<_>>(),
            ["2026-11-21T03:10:00", "2026-11-21T03:11:00"]
        );
        // The timeout is no kind of failure that the window holds.
        let [before] = digest.before.as_slice() else { panic!("{:?}", digest.before) };
        assert_eq!((before.at.to_string().as_str(), before.weight), ("2026-11-21T03:00:00", 2));
        assert!(digest.coverage.complete);
    }

    #[test]
    fn an_entry_may_have_several_lines() {
        let open = "2026/11/21 03:10:00 [error] 7#7: *3 FastCGI sent in stderr: \"PHP message: one\n\ntwo\" while reading \
            response header from upstream, client: ::1, server: a, request: \"GET /a HTTP/1.1\", upstream: \
            \"fastcgi://127.0.0.1:9000\", host: \"a\"\nstray\n";
        let digest = digest(options(10), open);
        let [record] = digest.records.as_slice() else { panic!("{:?}", digest.records) };
        assert_eq!(record.detail.as_deref(), Some("PHP message: one\n\ntwo"));
        assert_eq!((record.context.client.as_deref(), record.line.offset), (Some("::1"), 0));
        assert_eq!((digest.coverage.n_lines, digest.coverage.n_unparsed), (2, 1));
        assert_eq!(digest.coverage.unparsed[0].text.as_deref(), Some("stray"));
    }

    #[test]
    fn an_entry_that_never_ends_ends_with_the_next_one() {
        let log = "2026/11/21 03:10:00 [error] 7#7: *3 FastCGI sent in stderr: \"PHP message: cut\n"
            .to_owned()
            + &"x\n".repeat(5000)
            + &entry("03:10:01", "error", REFUSED);
        let digest = digest(options(10), &log);
        assert_eq!(digest.records.len(), 2);
        assert!(digest.records[0].detail.as_deref().unwrap().starts_with("PHP message: cut\nx\nx"));
        assert!(digest.coverage.n_unparsed > 2000);
    }

    #[test]
    fn the_console_speaks_when_the_entry_before_it_did() {
        let console = "nginx: [emerg] unknown directive \"x\" in /etc/nginx/nginx.conf:3\n";
        let digest =
            digest(options(10), &(console.to_owned() + &entry("03:10:01", "error", REFUSED) + console));
        let at: Vec<_> = digest.records.iter().map(|record| (record.phrase, record.at.to_string())).collect();
        let when = "2026-11-21T03:10:01".to_owned();
        assert_eq!(
            at,
            [
                (Phrase::ConfigurationRefused, when.clone()),
                (Phrase::ConnectFailed, when.clone()),
                (Phrase::ConfigurationRefused, when)
            ]
        );
    }

    #[test]
    fn too_many_failures_are_merged_by_kind_and_minute() {
        let log: String = (0..600u32)
            .map(|n| entry(&format!("03:{:02}:{:02}", n / 60, n % 60), "error", REFUSED))
            .collect();
        let digest = digest(options(100), &log);
        assert!(digest.coverage.sampled);
        assert_eq!(digest.records.iter().map(|record| record.weight).sum::<u64>(), 600);
        // A hundred one by one, the rest of the second minute, and eight further minutes.
        assert_eq!(digest.records.len(), 109);
        assert_eq!(digest.records.iter().filter(|record| record.line.text.is_some()).count(), 3);
    }

    #[test]
    fn small_talk_costs_no_failure_its_record() {
        let chat =
            "FastCGI sent in stderr: \"PHP message: PHP Notice\" while reading response header from upstream";
        let log = entry("03:10:00", "error", chat).repeat(500)
            + &entry("03:10:00", "warn", "using uninitialized \"x\" variable").repeat(500)
            + &entry("03:10:00", "error", REFUSED).repeat(100);
        let digest = digest(options(100), &log);
        let of = |phrase| digest.records.iter().filter(move |record| record.phrase == phrase);
        assert_eq!(of(Phrase::ConnectFailed).count(), 100);
        assert_eq!(of(Phrase::FastCgiStderr).map(|record| record.weight).sum::<u64>(), 500);
        let weights: Vec<u64> = of(Phrase::VariableUninitialised).map(|record| record.weight).collect();
        assert_eq!(weights, [1, 1, 498]);
    }

    #[test]
    fn hostile_lines_cost_a_bounded_amount() {
        let mut digester = ErrorDigester::new(options(1000), CLOCK);
        let file = Arc::from("/l");
        for n in 0..50_000u64 {
            let line = format!(
                "2026/11/21 03:{:02}:00 [error] 7#7: *{n} {REFUSED}, client: 10.0.{}.{}, server: s{n}, request: \"GET \
                 /{n}/{} HTTP/1.1\", upstream: \"http://host{n}.test:80/\", host: \"h{n}\"",
                n % 60,
                n % 256,
                n / 256,
                "x".repeat(1000),
            );
            digester.line(&file, n, line.as_bytes());
        }
        let digest = digester.finish();
        assert_eq!(digest.records.iter().map(|record| record.weight).sum::<u64>(), 50_000);
        assert!(digest.records.len() < 20_000, "{}", digest.records.len());
        let texts = digest.records.iter().filter_map(|record| record.line.text.as_ref());
        assert!(texts.map(|text| text.len()).sum::<usize>() < 10 << 20);
        assert!(
            digest.records.iter().all(|record| record.context.request.as_ref().unwrap().path.len() <= 512)
        );
    }
}
