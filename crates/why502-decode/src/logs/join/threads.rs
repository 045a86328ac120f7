//! Lines by the connection and request line that they are about.

use super::Access;
use super::role::Line;
use super::story::{self, Story};
use std::collections::{BTreeMap, HashMap};
use why502_facts::{AccessRecord, RequestLine, Stamp};

/// How long a request may have taken if nothing tells: the longest default timeout.
const MAX_LENGTH_MS: i64 = 60_000;
/// Both logs cut fractions of a second off, and a worker's clock is read now and then.
const SLACK_MS: i64 = 2000;
/// So many begins are tried for one access line.
const MAX_BEGINS: usize = 64;
/// So many lines are offered to one story.
const MAX_LINES: usize = 64;

/// Whose lines, and about what.
type Key<'d> = (Option<&'d str>, &'d str, &'d str);

/// The lines of one connection about one request line, in order.
#[derive(Debug)]
struct Thread<'d> {
    connection: Option<u64>,
    lines: Vec<Line<'d>>,
    taken: Vec<bool>,
    /// Everything before is taken.
    n_done: usize,
}

/// All threads.
#[derive(Debug)]
pub(super) struct Threads<'d> {
    threads: Vec<Thread<'d>>,
    /// By client, method and path, and by method and path alone.
    by_key: HashMap<Key<'d>, Vec<usize>>,
}

/// The lines that may belong to an access line.
#[derive(Debug)]
struct Match<'d> {
    story: Story<'d>,
    thread: usize,
    begin: usize,
    /// More attempts explained, then nearer in time, then earlier, is better.
    score: (usize, std::cmp::Reverse<i64>),
}

impl<'d> Threads<'d> {
    pub(super) fn new(lines: Vec<Line<'d>>) -> Self {
        let mut by_thread: BTreeMap<(u32, Option<u64>, Key<'d>), Vec<Line<'d>>> = BTreeMap::new();
        for line in lines {
            let Some(request) = &line.record.context.request else { continue };
            let key = key(line.record.context.client.as_deref(), request);
            by_thread.entry((line.record.pid, line.record.connection, key)).or_default().push(line);
        }
        let mut threads = Vec::with_capacity(by_thread.len());
        let mut by_key: HashMap<Key<'d>, Vec<usize>> = HashMap::new();
        for ((_, connection, (client, method, path)), mut lines) in by_thread {
            // Lines of one process are in order; several logs of it may not be.
            lines.sort_by_key(|line| line.at);
            for key in [(client, method, path), (None, method, path)] {
                by_key.entry(key).or_default().push(threads.len());
            }
            let taken = vec![false; lines.len()];
            threads.push(Thread { connection, lines, taken, n_done: 0 });
        }
        Self { threads, by_key }
    }

    /// Finds and takes the lines of the request that an access record is about.
    pub(super) fn find(&mut self, access: Access<'d>) -> Option<Story<'d>> {
        let record = access.record;
        let request = record.request.as_ref().filter(|_| record.weight == 1)?;
        let client = record.client.as_deref().filter(|_| access.names_client);
        let candidates = self.by_key.get(&key(client, request))?;
        let mut best: Option<Match<'d>> = None;
        for &idx in candidates {
            let thread = &self.threads[idx];
            let other_connection = record.connection.is_some() && thread.connection != record.connection;
            if other_connection || thread.n_done == thread.lines.len() {
                continue;
            }
            thread.matches(idx, record, &mut best);
        }
        let best = best?;
        self.threads[best.thread].take(best.begin, best.story.lines.len());
        Some(best.story)
    }

    /// The stories of all lines that were not taken, in the order of the threads.
    pub(super) fn into_stories(self) -> Vec<Story<'d>> {
        let mut stories = Vec::new();
        for thread in self.threads {
            let left: Vec<Line<'d>> = thread.untaken(0).map(|(_, line)| line).collect();
            let mut rest = left.as_slice();
            while !rest.is_empty() {
                let story = story::read(&rest[..rest.len().min(MAX_LINES)], None);
                // A story takes its first line at least.
                rest = &rest[story.lines.len().max(1)..];
                if story.has_substance() {
                    stories.push(story);
                }
            }
        }
        stories
    }
}

impl<'d> Thread<'d> {
    /// Looks for the best story for a record that begins in its time.
    fn matches(&self, idx: usize, record: &'d AccessRecord, best: &mut Option<Match<'d>>) {
        let from = record.at.0 - length_ms(record) - SLACK_MS;
        let first = self.lines.partition_point(|line| line.at.0 < from).max(self.n_done);
        let in_time: Vec<(usize, Line<'d>)> = self
            .untaken(first)
            .take_while(|(_, line)| line.at.0 <= record.at.0 + SLACK_MS)
            .take(MAX_BEGINS + MAX_LINES)
            .collect();
        let lines: Vec<Line<'d>> = in_time.iter().map(|(_, line)| *line).collect();
        let mut skip_to = 0;
        for (begin, (position, _)) in in_time.iter().enumerate().take(MAX_BEGINS) {
            if begin < skip_to {
                continue;
            }
            let offered = &lines[begin..lines.len().min(begin + MAX_LINES)];
            let story = story::read(offered, record.tries.as_deref());
            let Some(last) = story.lines.last() else { continue };
            if record.tries.is_none() {
                // Without attempts to hold lines against, a story may begin only where one before has ended.
                skip_to = begin + story.lines.len();
            }
            if !is_consistent(record, &story) {
                continue;
            }
            let score = (story.n_explained, std::cmp::Reverse(distance_ms(record.at, last.at)));
            if best.as_ref().is_none_or(|best| score > best.score) {
                *best = Some(Match { story, thread: idx, begin: *position, score });
            }
        }
    }

    fn untaken(&self, from: usize) -> impl Iterator<Item = (usize, Line<'d>)> {
        let positions = from.max(self.n_done)..self.lines.len();
        positions.filter(|&position| !self.taken[position]).map(|position| (position, self.lines[position]))
    }

    fn take(&mut self, begin: usize, n_lines: usize) {
        let positions: Vec<usize> = self.untaken(begin).map(|(position, _)| position).take(n_lines).collect();
        for position in positions {
            self.taken[position] = true;
        }
        while self.taken.get(self.n_done) == Some(&true) {
            self.n_done += 1;
        }
    }
}

fn key<'d>(client: Option<&'d str>, request: &'d RequestLine) -> Key<'d> {
    (client, &request.method, &request.path)
}

fn distance_ms(one: Stamp, other: Stamp) -> i64 {
    (one.0 - other.0).abs()
}

fn length_ms(record: &AccessRecord) -> i64 {
    let of_tries =
        record.tries.iter().flatten().filter_map(|one| one.response_ms).map(i64::from).sum::<i64>();
    record.request_ms.map_or(if of_tries > 0 { of_tries } else { MAX_LENGTH_MS }, i64::from)
}

/// Whether the status that the client got can be what the lines lead to.
fn is_consistent(record: &AccessRecord, story: &Story<'_>) -> bool {
    if record.tries.as_ref().is_some_and(|tries| !tries.is_empty()) {
        // The attempts fitted one by one, and `error_page` may show the client any status.
        return story.n_explained > 0 || story.has_substance();
    }
    let limited = story.lines.iter().any(|line| {
        use why502_facts::Phrase::{LimitingConnections, LimitingRequests};
        matches!(line.record.phrase, LimitingConnections | LimitingRequests)
    });
    match story.implied_status() {
        // The status of a limit is configured.
        _ if limited => record.status >= 400,
        Some(implied) => record.status == implied || matches!(record.status, 0 | 499),
        None => true,
    }
}
