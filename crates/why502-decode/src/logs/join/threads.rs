//! Lines by the connection and request line that they are about, and where in them a request's story may begin.

use super::Access;
use super::role::Line;
use super::story::{self, Story};
use foldhash::fast::RandomState;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use why502_facts::{AccessRecord, Phrase, RequestLine, Try};

/// How long a request may have taken if nothing tells: the longest default timeout.
const MAX_LENGTH_MS: i64 = 60_000;
/// Both logs cut fractions of a second off, and a worker's clock is read now and then.
const SLACK_MS: i64 = 2000;
/// So many begins are tried for one access line, the nearest in time first.
const MAX_BEGINS: usize = 64;
/// So many lines are offered to one story.
const MAX_LINES: usize = 64;

/// Whose lines, about what, and what else is known of the line that is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key<'d> {
    client: Option<&'d str>,
    path: &'d str,
    mark: Mark<'d>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Mark<'d> {
    Any,
    Connection(u64),
    Peer(&'d str),
}

/// A line: its time, its thread, its position in that.
type Place = (i64, usize, usize);

/// The lines of one connection about one request line, in order.
#[derive(Debug)]
struct Thread<'d> {
    lines: Vec<Line<'d>>,
    taken: Vec<bool>,
    /// Where stories begin as far as the error log alone tells.
    begins: Vec<bool>,
}

/// What became of the status that lines lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// `error_page CODE =OTHER` turned it into another error.
    AsAnotherError,
    /// The client got it.
    AsMade,
}

/// All threads.
#[derive(Debug)]
pub(super) struct Threads<'d> {
    threads: Vec<Thread<'d>>,
    /// The lines that were not taken.
    open: HashMap<Key<'d>, BTreeSet<Place>, RandomState>,
}

/// The lines that may belong to an access line.
#[derive(Debug)]
struct Match<'d> {
    story: Story<'d>,
    begin: Place,
    /// More attempts explained, then nearer in time, then earlier, is better.
    score: (usize, Reverse<i64>, Reverse<Place>),
}

impl<'d> Threads<'d> {
    /// Threads of lines; without an index where no access line is looked for.
    pub(super) fn new(lines: Vec<Line<'d>>, is_searched: bool) -> Self {
        let mut by_thread: BTreeMap<_, Vec<Line<'d>>> = BTreeMap::new();
        for line in lines {
            let Some(request) = &line.record.context.request else { continue };
            let whose = (line.record.pid, line.record.connection, line.record.context.client.as_deref());
            by_thread.entry((whose, &*request.method, &*request.path)).or_default().push(line);
        }
        let threads: Vec<Thread<'d>> = by_thread.into_values().map(Thread::new).collect();
        let mut open: HashMap<Key<'d>, BTreeSet<Place>, RandomState> = HashMap::default();
        for (idx, thread) in threads.iter().enumerate().filter(|_| is_searched) {
            for (position, line) in thread.lines.iter().enumerate() {
                for key in keys(line) {
                    open.entry(key).or_default().insert((line.at.0, idx, position));
                }
            }
        }
        Self { threads, open }
    }

    /// Finds and takes the lines of the request that an access record is about.
    pub(super) fn find(&mut self, access: Access<'d>, shown: Shown) -> Option<Story<'d>> {
        let record = access.record;
        let request = record.request.as_ref().filter(|_| record.weight == 1 && !self.open.is_empty())?;
        let client = record.client.as_deref().filter(|_| access.names_client);
        let marks = match (record.connection, first_failed(record)) {
            (Some(serial), _) => vec![Mark::Connection(serial)],
            // The path of a unix socket may run into the URI: then the peer is not the same text.
            (None, Some(peer)) => vec![Mark::Peer(peer), Mark::Any],
            (None, None) => vec![Mark::Any],
        };
        let best = marks.into_iter().find_map(|mark| self.best(record, key(client, request, mark), shown))?;
        self.take(&best);
        Some(best.story)
    }

    /// The stories of all lines that were not taken, in the order of the threads.
    pub(super) fn into_stories(self) -> Vec<Story<'d>> {
        let mut stories = Vec::new();
        for thread in self.threads {
            let left: Vec<Line<'d>> = thread.untaken(0).map(|(_, line)| line).collect();
            stories.extend(split(&left).filter(Story::has_substance));
        }
        stories
    }

    fn best(&self, record: &AccessRecord, key: Key<'d>, shown: Shown) -> Option<Match<'d>> {
        let from = record.at.0 - length_ms(record) - SLACK_MS;
        let to = record.at.0 + SLACK_MS;
        let in_time = self.open.get(&key)?.range((from, 0, 0)..(to + 1, 0, 0)).rev();
        let stories = in_time.take(MAX_BEGINS).filter_map(|&begin| {
            let (_, idx, position) = begin;
            let thread = &self.threads[idx];
            if !thread.has_method_of(record) {
                return None;
            }
            // Without attempts to hold lines against, a story may begin only where one before it has ended.
            if record.tries.is_none() && !thread.begins[position] {
                return None;
            }
            let lines = thread.untaken(position).map(|(_, line)| line).take_while(|line| line.at.0 <= to);
            let lines: Vec<Line<'d>> = lines.take(MAX_LINES).collect();
            let story = story::read(&lines, record.tries.as_deref());
            let last = story.lines.last()?;
            let score = (story.n_explained, Reverse((record.at.0 - last.at.0).abs()), Reverse(begin));
            is_consistent(record, &story, shown).then_some(Match { story, begin, score })
        });
        stories.max_by_key(|found| found.score)
    }

    fn take(&mut self, best: &Match<'d>) {
        let (_, idx, begin) = best.begin;
        let thread = &mut self.threads[idx];
        let taken: Vec<(usize, Line<'d>)> = thread.untaken(begin).take(best.story.lines.len()).collect();
        for (position, line) in taken {
            thread.taken[position] = true;
            for key in keys(&line) {
                if let Some(open) = self.open.get_mut(&key) {
                    open.remove(&(line.at.0, idx, position));
                }
            }
        }
        let next = thread.untaken(begin).next();
        if let Some((next, _)) = next {
            thread.begins[next] = true;
        }
    }
}

impl<'d> Thread<'d> {
    fn new(mut lines: Vec<Line<'d>>) -> Self {
        // Lines of one process are in order; several logs of it may not be.
        lines.sort_by_key(|line| line.at);
        let mut begins = vec![false; lines.len()];
        let mut begin = 0;
        for story in split(&lines) {
            begins[begin] = true;
            begin += story.lines.len();
        }
        Self { taken: vec![false; lines.len()], begins, lines }
    }

    /// Whether its requests have an access record's method; many formats leave it out.
    fn has_method_of(&self, record: &AccessRecord) -> bool {
        let own = self.lines.first().and_then(|line| line.record.context.request.as_ref());
        match (&record.request, own) {
            (Some(wanted), Some(own)) => wanted.method.is_empty() || wanted.method == own.method,
            _ => true,
        }
    }

    fn untaken(&self, from: usize) -> impl Iterator<Item = (usize, Line<'d>)> {
        let positions = (from..self.lines.len()).filter(|&position| !self.taken[position]);
        positions.map(|position| (position, self.lines[position]))
    }
}

/// The stories of lines that follow each other, as far as the error log alone tells.
fn split<'s, 'd>(lines: &'s [Line<'d>]) -> impl Iterator<Item = Story<'d>> + use<'s, 'd> {
    let mut rest = lines;
    std::iter::from_fn(move || {
        let story = story::read(&rest[..rest.len().min(MAX_LINES)], None);
        // A story takes its first line at least.
        rest = &rest[story.lines.len()..];
        (!story.lines.is_empty()).then_some(story)
    })
}

/// All keys under which a line can be looked for.
fn keys<'d>(line: &Line<'d>) -> impl Iterator<Item = Key<'d>> + use<'d> {
    let context = &line.record.context;
    let marks = [
        Some(Mark::Any),
        line.record.connection.map(Mark::Connection),
        line.peer().filter(|_| !line.is_of_subrequest()).map(Mark::Peer),
    ];
    let clients = [context.client.as_deref(), None];
    let request = context.request.as_ref();
    marks
        .into_iter()
        .flatten()
        .flat_map(move |mark| clients.into_iter().filter_map(move |client| Some(key(client, request?, mark))))
}

fn key<'d>(client: Option<&'d str>, request: &'d RequestLine, mark: Mark<'d>) -> Key<'d> {
    Key { client, path: &request.path, mark }
}

/// The peer of the first attempt that failed.
fn first_failed(record: &AccessRecord) -> Option<&str> {
    let failed = |one: &&Try| one.status.is_none_or(|status| status >= 500);
    record.tries.iter().flatten().find(failed)?.peer.as_deref()
}

fn length_ms(record: &AccessRecord) -> i64 {
    let of_tries =
        record.tries.iter().flatten().filter_map(|one| one.response_ms).map(i64::from).sum::<i64>();
    record.request_ms.map_or(if of_tries > 0 { of_tries } else { MAX_LENGTH_MS }, i64::from)
}

/// Whether the status that the client got can be what the lines lead to.
fn is_consistent(record: &AccessRecord, story: &Story<'_>, shown: Shown) -> bool {
    if record.tries.as_ref().is_some_and(|tries| !tries.is_empty()) {
        // The attempts fitted one by one, and `error_page` may show the client any status.
        return story.n_explained > 0 || story.has_substance();
    }
    let is_limit = |line: &Line<'_>| {
        matches!(line.record.phrase, Phrase::LimitingConnections | Phrase::LimitingRequests)
    };
    match story.implied_status() {
        // The status of a limit is configured.
        _ if story.lines.iter().any(is_limit) => record.status >= 400,
        Some(implied) if shown == Shown::AsAnotherError => {
            let is_error = |status: u16| (500..600).contains(&status);
            // Only the line tells when the request ended: it must be this very moment.
            let is_then = story.lines.last().is_some_and(|line| (record.at.0 - line.at.0).abs() <= SLACK_MS);
            is_error(implied) && is_error(record.status) && is_then
        }
        Some(implied) => record.status == implied || matches!(record.status, 0 | 499),
        None => true,
    }
}
