//! The digest of an access log.

mod answers;
mod memo;
mod record;
mod successes;
mod tally;
mod timeline;
mod times;
mod totals;
mod trouble;

use self::answers::Answers;
use self::memo::StampMemo;
use self::record::{Scribe, Seen, last_peer, likeness};
use self::successes::Successes;
use self::tally::Run;
use self::timeline::Counts;
use self::times::Times;
use self::totals::Totals;
use self::trouble::{is_own, tells_trouble, trouble};
use super::kind::AccessKind;
use super::line_place::LinePlace;
use super::records::{RecordRoom, Records};
use super::store::{Entry, MAX_EXEMPLARS};
use super::window::{Counter, DigestOptions, Extent, Position};
use super::worth::{Trouble, Worth, of_access_line};
use crate::logs::envelope::without_carriage_return;
use crate::logs::format::{AccessFormat, AccessLine, Spans};
use memchr::memchr_iter;
use std::ops::Range;
use std::sync::Arc;
use why502_facts::{AccessDigest, AccessRecord, AccessWriting, OwnRequest};

/// So many of our own requests are remembered; a run sends a few.
const MAX_OWN: usize = 1000;

/// What lines are read with.
#[derive(Clone, Copy, Debug)]
pub struct AccessSource<'a> {
    /// The format of the lines.
    pub format: &'a AccessFormat,
    /// Whether it was recognised from the content instead of being named.
    pub guessed: bool,
}

/// Digests an access log, line by line, oldest first. Lines outside the window are passed over, and so are lines without
/// a readable time or status: they fit no window, and count as unparsed.
///
/// Requests of this very program (their User-Agent says so) are no traffic: they are not counted, only remembered
/// ([`AccessDigest::own`]), so that the error log's lines about them can be told from others.
#[derive(Debug)]
pub struct AccessDigester<'a> {
    options: DigestOptions<'a>,
    source: AccessSource<'a>,
    counter: Counter,
    /// What was not added to the totals and the series yet.
    run: Option<Run>,
    totals: Totals,
    records: Records<AccessKind, AccessRecord>,
    successes: Successes,
    answers: Answers,
    own: Vec<OwnRequest>,
    scribe: Scribe<'a>,
    stamps: StampMemo,
    /// Room for the places of a line's values.
    spans: Option<Box<Spans>>,
    /// Whether the format tells of anything that can go wrong beside the status.
    tells_trouble: bool,
    /// Only for a survey.
    series: Option<Series>,
}

/// What is told of all requests, failed or not.
#[derive(Debug, Default)]
struct Series {
    counts: Counts,
    times: Times,
}

/// A line, and where it begins among those that were pushed with it.
#[derive(Clone, Copy)]
struct Pushed<'l> {
    line: &'l [u8],
    begin: usize,
}

impl<'a> AccessDigester<'a> {
    /// A digester that has seen no line.
    pub fn new(options: DigestOptions<'a>, source: AccessSource<'a>) -> Self {
        Self {
            options,
            source,
            counter: Counter::default(),
            run: None,
            totals: Totals::default(),
            records: Records::new(options.max_records),
            successes: Successes::default(),
            answers: Answers::new(source.format, options.extent),
            own: Vec::new(),
            scribe: Scribe::new(options),
            stamps: StampMemo::new(source.format),
            spans: None,
            tells_trouble: tells_trouble(source.format),
            series: (options.extent == Extent::Survey).then(Series::default),
        }
    }

    /// A digester for lines that follow others, which left so much room: a part of a whole.
    pub fn with_room(options: DigestOptions<'a>, source: AccessSource<'a>, room: RecordRoom) -> Self {
        let new = Self::new(options, source);
        Self { records: new.records.within(room), ..new }
    }

    /// What room the lines that follow have, once this digester is merged into one that saw all lines before.
    pub fn room(&self) -> RecordRoom {
        self.records.room()
    }

    /// Takes lines, with their ends, and where the first one stands.
    pub fn lines(&mut self, file: &Arc<str>, offset: u64, lines: &[u8]) {
        let mut begin = 0;
        for end in memchr_iter(b'\n', lines).chain(std::iter::once(lines.len())) {
            // The last line may lack its end.
            if begin < lines.len() {
                self.line_of(file, offset + begin as u64, lines, begin..end);
            }
            begin = end + 1;
        }
        self.successes.settle(lines);
    }

    /// Takes a line, without its end, and where it stands.
    pub fn line(&mut self, file: &Arc<str>, offset: u64, line: &[u8]) {
        self.line_of(file, offset, line, 0..line.len());
        self.successes.settle(line);
    }

    fn line_of(&mut self, file: &Arc<str>, offset: u64, lines: &[u8], range: Range<usize>) {
        let line = without_carriage_return(&lines[range.clone()]);
        let place = self.counter.line(file, offset, line);
        let format = self.source.format;
        let mut room = self.spans.take().unwrap_or_default();
        let parsed = format.parse_in(line, &mut room);
        self.read_line(place, Pushed { line, begin: range.start }, parsed.as_ref());
        self.spans = Some(room);
    }

    fn read_line(&mut self, place: LinePlace<'_>, pushed: Pushed<'_>, parsed: Option<&AccessLine<'_>>) {
        let line = pushed.line;
        let read = parsed.and_then(|parsed| Some((self.stamps.stamp(parsed)?, parsed.status()?)));
        let Some(((at, status), parsed)) = read.zip(parsed) else {
            self.counter.unparsed(place, &self.source.format.masked(line));
            return;
        };
        // A stamp has whole seconds unless the format has `$msec`.
        let position = self.options.position(at, 999);
        self.counter.stamp(at, position);
        if position != Position::Inside {
            return;
        }
        if is_own(parsed) {
            if self.own.len() < MAX_OWN {
                self.own.push(self.scribe.own_request(parsed, at));
            }
            return;
        }
        self.counter.coverage.n_lines += 1;
        let seen = Seen { at, status, route: self.scribe.route(parsed) };
        if !self.run.as_mut().is_some_and(|run| run.take(seen)) {
            self.end_run();
            self.run = Some(Run::of(seen));
        }
        if let Some(series) = &mut self.series {
            series.times.count(parsed);
        }
        let trouble = if self.tells_trouble { trouble(parsed) } else { Trouble::None };
        match of_access_line(status, trouble) {
            Worth::Nothing if status < 400 => {
                let range = pushed.begin..pushed.begin + line.len();
                self.successes.remember(place, range, seen.route, last_peer(parsed));
                self.answers.count(parsed, seen.route);
            }
            Worth::Nothing => {}
            worth => self.keep(place, line, parsed, seen, worth),
        }
    }

    /// Takes what a digester with the same options made of the lines that follow.
    pub fn merge(&mut self, mut later: Self) {
        self.end_run();
        later.end_run();
        let n_before = self.counter.n_pushed;
        self.counter.append(later.counter);
        self.records.append(later.records, n_before);
        let room = MAX_OWN - self.own.len();
        self.own.extend(later.own.into_iter().take(room));
        let routes = self.scribe.adopt_routes(&later.scribe);
        self.totals.append(later.totals, &routes);
        self.successes.append(later.successes, &routes, n_before);
        self.answers.append(&later.answers, &routes);
        if let Some((series, later)) = self.series.as_mut().zip(later.series) {
            series.counts.append(later.counts);
            series.times.append(later.times);
        }
    }

    /// Ends the log.
    pub fn finish(mut self) -> AccessDigest {
        self.end_run();
        let format = self.source.format;
        let successes = self.successes.read(format, &mut self.scribe);
        let mut coverage = self.counter.coverage;
        coverage.sampled = self.records.is_sampled();
        let (timeline, times) = self.series.map(|series| (series.counts.read(), series.times.read())).unzip();
        AccessDigest {
            coverage,
            format: format.source().text.clone(),
            guessed: self.source.guessed,
            has_upstream: format.has_upstream(),
            writing: AccessWriting::default(),
            totals: self.totals.read(&self.scribe),
            records: self.records.into_entries().into_iter().map(|entry| entry.record).collect(),
            successes,
            answers: self.answers.read(&self.scribe),
            own: self.own,
            timeline,
            times: times.map(Box::new),
        }
    }

    fn end_run(&mut self) {
        let Some(run) = self.run.take() else { return };
        self.totals.count(&run);
        if let Some(series) = &mut self.series {
            series.counts.count(&run);
        }
    }

    fn keep(&mut self, place: LinePlace<'_>, line: &[u8], parsed: &AccessLine<'_>, seen: Seen, worth: Worth) {
        let Scribe { routes, interner, .. } = &mut self.scribe;
        let route = routes.name(seen.route);
        let likeness = likeness(parsed, seen.status, route.map(|route| &**route));
        let minute = seen.at.0.div_euclid(60_000);
        if self.records.count_again(worth, minute, &likeness) {
            return;
        }
        let kind = likeness.stored(interner, route);
        let Some(rank) = self.records.admit(worth, minute, &likeness, &kind) else { return };
        let line =
            if rank < MAX_EXEMPLARS { place.quote(&self.source.format.masked(line)) } else { place.bare() };
        let record = self.scribe.record(parsed, seen, line);
        self.records.push(worth, Entry { seq: place.seq, minute, kind, rank, record });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use why502_facts::{AccessLogFormat, AnswerMeasure, FormatEscape, RequestKey, Stamp};

    const TEXT: &str = "$remote_addr [$time_local] \"$request\" $status us=$upstream_status ua=$upstream_addr \
        cs=$upstream_cache_status ls=$limit_req_status \"$http_user_agent\"";

    fn route(key: &RequestKey<'_>) -> Option<Arc<str>> {
        Some(key.path.get(..2)?.into())
    }

    fn options() -> DigestOptions<'static> {
        DigestOptions {
            log: "/l",
            from: None,
            to: None,
            max_records: 100,
            route: Some(&route),
            extent: Extent::Diagnosis,
        }
    }

    fn digest(options: DigestOptions<'static>, text: &str, log: &str) -> AccessDigest {
        let source = AccessLogFormat { text: text.to_owned(), escape: FormatEscape::Default };
        let format = AccessFormat::compile(&source).unwrap();
        let mut digester = AccessDigester::new(options, AccessSource { format: &format, guessed: false });
        let file = Arc::from("/l");
        for (offset, line) in log.lines().enumerate() {
            digester.line(&file, offset as u64, line.as_bytes());
        }
        digester.finish()
    }

    fn line(second: u32, path: &str, status: &str, rest: &str) -> String {
        format!("::1 [21/Nov/2026:02:10:{second:02} +0000] \"GET {path} HTTP/1.1\" {status} {rest}\n")
    }

    fn ok(second: u32, path: &str, port: u32) -> String {
        line(second, path, "200", &format!("us=200 ua=127.0.0.1:{port} cs=- ls=- \"curl\""))
    }

    #[test]
    fn successes_are_counted_and_only_the_last_one_kept() {
        let log = ok(1, "/a1", 1) + &ok(2, "/a2", 1) + &ok(3, "/a3", 2) + &ok(4, "/b", 1);
        let digest = digest(options(), TEXT, &log);
        assert!(digest.records.is_empty() && digest.has_upstream);
        let totals: Vec<_> = digest
            .totals
            .iter()
            .map(|total| (total.route.as_deref(), total.status, total.n_requests))
            .collect();
        assert_eq!(totals, [(Some("/a"), 200, 3), (Some("/b"), 200, 1)]);
        assert_eq!(
            (digest.totals[0].first.0, digest.totals[0].last.0),
            (1_795_227_001_000, 1_795_227_003_000)
        );
        let last: Vec<&str> =
            digest.successes.iter().map(|record| &*record.request.as_ref().unwrap().path).collect();
        assert_eq!(last, ["/a2", "/a3", "/b"]);
        assert!(digest.successes.iter().all(|record| record.line.text.is_some()));
    }

    #[test]
    fn the_times_of_successful_answers_are_told_per_route() {
        let text = "[$time_local] \"$request\" $status us=$upstream_status uht=$upstream_header_time rt=$request_time";
        let line = |path: &str, status: u16, rest: &str| {
            format!("[21/Nov/2026:02:10:01 +0000] \"GET {path} HTTP/1.1\" {status} {rest}\n")
        };
        let log = line("/a1", 200, "us=200 uht=0.010 rt=9.000")
            + &line("/a2", 304, "us=304 : 304 uht=0.001 : 0.020 rt=9.000")
            + &line("/a3", 200, "us=- uht=- rt=0.000")
            + &line("/a4", 200, "us=504, 200 uht=-, 0.030 rt=9.000")
            + &line("/a5", 504, "us=504 uht=- rt=9.000")
            + &line("/a6", 404, "us=404 uht=0.040 rt=9.000")
            + &line("/b", 101, "us=101 uht=0.002 rt=9.000");
        let told = |digest: &AccessDigest| {
            let one = |own: &why502_facts::RouteAnswers| {
                (own.route.clone().unwrap(), own.measure, own.times.n_values(), own.times.quantile(1000))
            };
            digest.answers.iter().map(one).collect::<Vec<_>>()
        };
        assert_eq!(
            told(&digest(options(), text, &log)),
            [(Arc::from("/a"), AnswerMeasure::Header, 2, Some(20)),]
        );
        // Without a time of the upstream the request's own tells it, if an upstream was asked.
        let coarse = text.replace("uht=$upstream_header_time ", "");
        let log = line("/a1", 200, "us=200 rt=1.000")
            + &line("/a2", 200, "us=- rt=0.000")
            + &line("/a3", 101, "us=101 rt=9.000");
        let found = told(&digest(options(), &coarse, &log));
        assert_eq!((found.len(), found[0].1, found[0].2), (1, AnswerMeasure::Request, 1));
        let surveyed = DigestOptions { extent: Extent::Survey, ..options() };
        assert!(digest(surveyed, &coarse, &log).answers.is_empty());
    }

    #[test]
    fn everything_that_did_not_go_well_is_a_record() {
        let rest = "cs=- ls=- \"curl\"";
        let told = [
            line(1, "/a", "502", &format!("us=502 ua=127.0.0.1:1 {rest}")),
            line(1, "/a", "000", &format!("us=- ua=- {rest}")),
            line(1, "/a", "009", &format!("us=200 ua=127.0.0.1:1 {rest}")),
            line(1, "/a", "499", &format!("us=- ua=127.0.0.1:1 {rest}")),
            line(1, "/a", "200", &format!("us=502, 200 ua=127.0.0.1:1, 127.0.0.1:2 {rest}")),
            line(1, "/a", "200", &format!("us=502 : 200 ua=127.0.0.1:1 : 127.0.0.1:2 {rest}")),
            line(1, "/a", "200", "us=502 ua=127.0.0.1:1 cs=STALE ls=- \"curl\""),
            line(1, "/a", "429", "us=- ua=- cs=- ls=REJECTED \"curl\""),
            line(1, "/a", "500", &format!("us=- ua= {rest}")),
        ];
        let digest = digest(options(), TEXT, &told.concat());
        assert_eq!(digest.records.len(), told.len());
        assert_eq!(digest.records[7].limit_status.as_deref(), Some("REJECTED"));
        let died_early = digest.records[8].tries.as_deref().unwrap();
        assert_eq!((died_early.len(), died_early[0].peer.as_deref()), (1, None));
        let fine = line(1, "/a", "200", &format!("us=- ua=- {rest}"))
            + &line(1, "/a", "200", &format!("us=200 : 200 ua=127.0.0.1:1 : 127.0.0.1:2 {rest}"));
        assert!(self::digest(options(), TEXT, &fine).records.is_empty());
    }

    #[test]
    fn answers_with_4xx_are_merged() {
        let missing = line(1, "/a", "404", "us=404 ua=127.0.0.1:1 cs=- ls=- \"curl\"").repeat(10);
        let digest = digest(options(), TEXT, &missing);
        assert_eq!(digest.records.iter().map(|record| record.weight).collect::<Vec<_>>(), [1, 1, 8]);
        assert!(!digest.coverage.sampled);
    }

    #[test]
    fn our_own_requests_are_not_counted() {
        let own = line(1, "/a", "502", "us=502 ua=127.0.0.1:1 cs=- ls=- \"why502/0.1.0 (replay)\"");
        let forged = line(1, "/a", "502", "us=502 ua=127.0.0.1:1 cs=- ls=- \"not why502/0.1.0 (replay)\"");
        let digest = digest(options(), TEXT, &(own + &forged));
        assert_eq!((digest.records.len(), digest.totals[0].n_requests), (1, 1));
        assert_eq!(digest.own[0].request.as_ref().map(|line| &*line.path), Some("/a"));
    }

    #[test]
    fn what_cannot_be_placed_in_time_is_unparsed() {
        let window = DigestOptions { from: Some(Stamp(1_795_227_002_000)), ..options() };
        let log = ok(1, "/a", 1) + &ok(2, "/a", 1) + "garbage\n" + &ok(3, "/a", 1).replace("Nov", "Nov?");
        let digest = digest(window, TEXT, &log);
        assert_eq!((digest.coverage.n_lines, digest.coverage.n_unparsed), (3, 2));
        assert!(digest.coverage.complete);
        let timeless = self::digest(options(), "$status $request_uri", "200 /a\n");
        assert_eq!((timeless.coverage.n_lines, timeless.coverage.n_unparsed), (1, 1));
    }

    #[test]
    fn a_million_paths_and_peers_cost_a_bounded_amount() {
        let log: String = (0..20_000)
            .map(|n| {
                line(n % 60, &format!("/{n}"), "404", &format!("us=404 ua=h{n}.test:80 cs=- ls=- \"{n}\""))
            })
            .chain((0..20_000).map(|n| ok(n % 60, &format!("/a{n}"), n)))
            .collect();
        let few_routes = |key: &RequestKey<'_>| key.path.starts_with("/a").then(|| Arc::from("a"));
        let options = DigestOptions { route: Some(Box::leak(Box::new(few_routes))), ..options() };
        let digest = digest(options, TEXT, &log);
        assert_eq!(digest.records.iter().map(|record| record.weight).sum::<u64>(), 20_000);
        // There were more kinds than are kept: without peers, few are left.
        assert!(digest.records.len() <= 3, "{}", digest.records.len());
        assert_eq!(digest.successes.len(), 64);
    }
}
