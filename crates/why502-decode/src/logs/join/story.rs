//! The story of one request: which of the lines that follow each other belong to it, and to which attempt.

mod chapter;

pub(super) use self::chapter::of_try;
use self::chapter::{Chapter, agrees};
use super::role::{Line, Role};
use why502_facts::{Attempt, Phase, Phrase, RequestMessage, Try};

/// Between two lines of a request lies at most a timeout; longer ones than this are rare.
const MAX_GAP_MS: i64 = 600_000;

/// What was made of some lines.
#[derive(Clone, Debug, Default)]
pub(super) struct Story<'d> {
    /// The lines that belong to the request: a prefix of those that were offered.
    pub(super) lines: Vec<Line<'d>>,
    /// How many attempts of the access log have a line.
    pub(super) n_explained: usize,
    pub(super) attempts: Vec<Attempt>,
    pub(super) messages: Vec<RequestMessage>,
}

impl Story<'_> {
    /// Whether any line tells of a failure; asides alone are no story.
    pub(super) fn has_substance(&self) -> bool {
        self.lines.iter().any(|line| line.role != Role::Aside)
    }

    /// The status that the lines lead to: the last one that decides counts.
    pub(super) fn implied_status(&self) -> Option<u16> {
        self.lines.iter().rev().find_map(|line| line.implied)
    }

    pub(super) fn is_cut_off(&self) -> bool {
        self.lines.iter().any(|line| {
            let is_of_answer = line.role == Role::Body && !line.is_of_subrequest();
            // The answer to a subrequest for the next slice is a part of the client's own.
            is_of_answer || line.record.phrase == Phrase::SliceInvalid
        })
    }

    /// Whether all that failed were subrequests that the client's answer does not depend on.
    pub(super) fn is_of_subrequests(&self) -> bool {
        let mut told = self.lines.iter().filter(|line| line.role != Role::Aside).peekable();
        told.peek().is_some() && told.all(Line::is_of_subrequest)
    }
}

/// Reads a story from the lines of one connection and request line. `tries` is what the access log tells of its attempts,
/// if it tells: then a line belongs to the story only if one of them can be meant.
pub(super) fn read<'d>(lines: &[Line<'d>], tries: Option<&[Try]>) -> Story<'d> {
    let mut teller = Teller { tries, ..Teller::default() };
    for line in lines {
        if !teller.take(line) {
            break;
        }
        teller.lines.push(*line);
    }
    let Teller { chapters, lines, messages, .. } = teller;
    let n_explained = chapters.iter().filter(|chapter| chapter.try_idx.is_some()).count();
    Story { lines, n_explained, attempts: chapter::attempts(chapters, tries.unwrap_or_default()), messages }
}

#[derive(Debug, Default)]
struct Teller<'t, 'd> {
    tries: Option<&'t [Try]>,
    next_try: usize,
    chapters: Vec<Chapter>,
    messages: Vec<RequestMessage>,
    lines: Vec<Line<'d>>,
}

impl Teller<'_, '_> {
    /// Takes a line, if it belongs to the request.
    fn take(&mut self, line: &Line<'_>) -> bool {
        if let Some(last) = self.lines.last() {
            let after_the_end = line.record.phase == Some(Phase::SendingToClient) && line.at == last.at;
            if line.at.0 - last.at.0 > MAX_GAP_MS || self.is_over(last) && !after_the_end {
                return false;
            }
        }
        match line.role {
            _ if line.is_of_subrequest() => self.take_of_subrequest(line),
            Role::Request => self.take_of_request(line),
            Role::Aside => self.take_aside(line),
            Role::Attempt | Role::Body => self.take_of_attempt(line),
        }
    }

    /// Whether the request ended with the last line. With the access log's attempts at hand, these decide.
    fn is_over(&self, last: &Line<'_>) -> bool {
        let more_tries = self.tries.is_some_and(|tries| self.next_try < tries.len());
        last.is_final() && !last.is_of_subrequest() && !more_tries
    }

    fn take_of_request(&mut self, line: &Line<'_>) -> bool {
        // After attempts, only what is said on the way to the client is still about them; or a fallback had no peer.
        let next_try = self.tries.and_then(|tries| tries.get(self.next_try));
        let takes = if self.chapters.iter().any(Chapter::is_own) {
            line.record.phase == Some(Phase::SendingToClient)
        } else {
            self.tries.is_none_or(<[Try]>::is_empty)
        };
        let takes = takes || next_try.is_some_and(|one| one.peer.is_none());
        if takes {
            self.messages.push(line.message());
        }
        takes
    }

    fn take_of_subrequest(&mut self, line: &Line<'_>) -> bool {
        let known = self
            .chapters
            .iter_mut()
            .rev()
            // What is said of the request after an attempt is about that attempt's answer.
            .find(|chapter| {
                chapter.is_of_subrequest_of(line) && (!chapter.ended || line.role == Role::Request)
            });
        match known {
            Some(chapter) => chapter.add(line),
            None if line.peer().is_none() || line.role == Role::Request => self.messages.push(line.message()),
            None => self.chapters.push(Chapter::new(line, None)),
        }
        true
    }

    fn take_aside(&mut self, line: &Line<'_>) -> bool {
        if line.peer().is_none() {
            self.messages.push(line.message());
            return true;
        }
        // `temporarily disabled` stands before a timeout and after every other failure.
        let may_follow = line.record.phrase == Phrase::ServerTemporarilyDisabled;
        if let Some(last) = self.last_of(line)
            && (may_follow || !last.ended)
        {
            last.add(line);
            return true;
        }
        self.begin(line, |_| true)
    }

    fn take_of_attempt(&mut self, line: &Line<'_>) -> bool {
        if let Some(last) = self.last_of(line)
            && (!last.ended || line.role == Role::Body)
        {
            last.add(line);
            return true;
        }
        // Without the access log: no request tries a peer twice, but for a stale connection (then it looks like two).
        let tried = |chapter: &Chapter| chapter.ended && chapter.is_own() && chapter.is_on_peer_of(line);
        if self.tries.is_none() && self.chapters.iter().any(tried) {
            return false;
        }
        let implied = line.implied;
        self.begin(line, |one| match (one.status, implied) {
            // The response that was cut off, or passed on as HTTP/0.9, had a status of its own.
            (Some(status), None | Some(9)) => status < 500,
            (Some(status), Some(implied)) => status == implied,
            (None, _) => true,
        })
    }

    /// Begins the next attempt, if the access log has one that fits.
    fn begin(&mut self, line: &Line<'_>, fits: impl Fn(&Try) -> bool) -> bool {
        let mut try_idx = None;
        if let Some(tries) = self.tries {
            let mut left = tries.iter().enumerate().skip(self.next_try);
            let found =
                left.find(|(_, one)| fits(one) && (one.peer.is_none() || agrees(one.peer.as_deref(), line)));
            let Some((idx, _)) = found else { return false };
            self.next_try = idx + 1;
            try_idx = Some(idx);
        }
        self.chapters.push(Chapter::new(line, try_idx));
        true
    }

    /// The last attempt of the main request, if it is on the line's peer.
    fn last_of(&mut self, line: &Line<'_>) -> Option<&mut Chapter> {
        let last = self.chapters.iter_mut().rev().find(|chapter| chapter.is_own())?;
        last.is_on_peer_of(line).then_some(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::join::tests::{error_records, tried};
    use why502_facts::{LogClock, LogClockSource};

    const CLOCK: LogClock = LogClock { offset_seconds: 0, source: LogClockSource::Assumed };

    fn line(seconds: u32, says: &str, upstream: &str) -> String {
        format!(
            "2026/11/21 02:28:{seconds:02} [error] 1#1: *3 {says}, client: ::1, server: a, request: \"GET /x HTTP/1.1\"\
             {upstream}, host: \"a\"\n"
        )
    }

    fn refused(seconds: u32, peer: &str) -> String {
        let says = "connect() failed (111: Connection refused) while connecting to upstream";
        line(seconds, says, &format!(", upstream: \"http://{peer}/x\""))
    }

    /// How many lines a story takes, and on which peers its attempts were, with the phrase that ended them.
    fn told(log: &str, tries: Option<&[Try]>) -> (usize, Vec<String>) {
        let records = error_records(log);
        let lines: Vec<Line<'_>> = records.iter().filter_map(|record| Line::new(record, CLOCK)).collect();
        let story = read(&lines, tries);
        let show = |attempt: &Attempt| {
            let status = attempt.result.as_ref().and_then(|one| one.status);
            let phrases: Vec<Phrase> = attempt.messages.iter().map(|message| message.phrase).collect();
            format!("{} {phrases:?} {status:?}", attempt.peer.as_deref().unwrap_or("-"))
        };
        let messages = story.messages.iter().map(|message| format!("{:?}", message.phrase));
        (story.lines.len(), story.attempts.iter().map(show).chain(messages).collect())
    }

    #[test]
    fn without_an_access_log_a_peer_is_tried_once() {
        let log = refused(1, "127.0.0.1:1") + &refused(1, "127.0.0.1:2") + &refused(2, "127.0.0.1:1");
        let (n_lines, attempts) = told(&log, None);
        assert_eq!(n_lines, 2);
        assert_eq!(attempts, ["127.0.0.1:1 [ConnectFailed] None", "127.0.0.1:2 [ConnectFailed] None"]);
    }

    #[test]
    fn lines_find_the_attempts_that_failed_that_way() {
        let stale = line(
            1,
            "upstream prematurely closed connection while reading response header from upstream",
            ", upstream: \"http://127.0.0.1:1/x\"",
        );
        let tries = [tried("127.0.0.1:1", 502), tried("127.0.0.1:1", 200)];
        let (n_lines, attempts) = told(&stale, Some(&tries));
        assert_eq!(n_lines, 1);
        assert_eq!(attempts, ["127.0.0.1:1 [PrematureClose] Some(502)", "127.0.0.1:1 [] Some(200)"]);
        // The second of two failed attempts has the line; nothing is said of the other peer.
        let tries = [tried("127.0.0.1:9", 502), tried("127.0.0.1:1", 502)];
        assert_eq!(told(&stale, Some(&tries)).1[1], "127.0.0.1:1 [PrematureClose] Some(502)");
        assert_eq!(told(&stale, Some(&[tried("127.0.0.1:1", 504)])).0, 0);
        assert_eq!(told(&stale, Some(&[])).0, 0);
    }

    #[test]
    fn a_group_without_peers_ends_the_selection() {
        let none = line(1, "no live upstreams while connecting to upstream", ", upstream: \"http://app/x\"");
        let log = refused(1, "127.0.0.1:1") + &none + &refused(1, "127.0.0.1:2");
        let (n_lines, attempts) = told(&log, None);
        assert_eq!((n_lines, attempts[1].as_str()), (2, "app [NoLiveUpstreams] None"));
        // With a fallback to another group the access log knows better.
        let tries = [tried("127.0.0.1:1", 502), tried("app", 502), tried("127.0.0.1:2", 502)];
        assert_eq!(told(&log, Some(&tries)).0, 3);
    }

    #[test]
    fn what_is_said_beside_a_failure_goes_with_it() {
        let stderr = line(
            1,
            "FastCGI sent in stderr: \"PHP message: boom\" while reading response header from upstream",
            ", upstream: \"fastcgi://127.0.0.1:9000\"",
        );
        let closed = line(
            1,
            "upstream prematurely closed FastCGI stdout while reading response header from upstream",
            ", upstream: \"fastcgi://127.0.0.1:9000\"",
        );
        let named = line(1, "could not find named location \"@x\" while sending to client", "");
        let (n_lines, attempts) = told(&(stderr + &closed + &named), None);
        assert_eq!(n_lines, 3);
        assert_eq!(
            attempts,
            ["127.0.0.1:9000 [FastCgiClosedEarly, FastCgiStderr] None", "NamedLocationMissing"]
        );
    }

    #[test]
    fn every_request_without_an_attempt_ends_itself() {
        let limited = line(1, "limiting requests, excess: 0.9 by zone \"z\"", "");
        assert_eq!(told(&limited.repeat(3), None).0, 1);
        assert_eq!(told(&limited.repeat(3), Some(&[])).0, 1);
    }
}
