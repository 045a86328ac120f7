//! Requests put together from both kinds of logs.
//!
//! An error line tells what happened to an attempt and when, to the second; an access line tells what became of the
//! request. They are joined by client, method and path, and by the connection's serial number where the access log has
//! it; in time, because a request's error lines stand between its begin and its end; and by the attempts themselves,
//! because a line about a peer can only mean an attempt on that peer that failed in that way. What finds no partner stays
//! an entry of its own.

mod bulk;
mod duplicates;
mod entry;
mod role;
mod story;
mod threads;

use self::role::Line;
use self::threads::{Shown, Threads};
use why502_facts::{AccessDigest, AccessRecord, ErrorDigest, FailedRequest, LogClock};

/// An access record and what is known of its log.
#[derive(Clone, Copy, Debug)]
struct Access<'d> {
    record: &'d AccessRecord,
    /// Whether its client is that of the error log (`$remote_addr`), and not that of some header.
    names_client: bool,
}

/// Puts failed, retried and refused requests together, in the order of their ends.
///
/// The digests must be those of one gateway. Lines about this program's own requests are to be taken out before, by
/// [`remove_own_requests`](super::remove_own_requests).
pub fn join(errors: &[&ErrorDigest], accesses: &[&AccessDigest], clock: LogClock) -> Vec<FailedRequest> {
    let lines = duplicates::distinct_errors(errors).into_iter().filter_map(|record| Line::new(record, clock));
    let (single, merged): (Vec<_>, Vec<_>) = lines.partition(|line| line.record.weight == 1);
    let mut threads = Threads::new(single, !accesses.is_empty());
    let mut joined = Vec::new();
    let mut unmatched = Vec::new();
    for access in duplicates::distinct_accesses(accesses) {
        match threads.find(access, Shown::AsMade) {
            Some(story) => joined.push(entry::of_both(access.record, story)),
            None if access.record.status == 101 => joined.push(entry::of_session(access.record)),
            None => unmatched.push(access),
        }
    }
    // Once all lines that fit are gone, what is left may have been shown to the client as another error.
    let mut lone_accesses = Vec::new();
    for access in unmatched {
        match threads.find(access, Shown::AsAnotherError) {
            Some(story) => joined.push(entry::of_both(access.record, story)),
            None => lone_accesses.push(access.record),
        }
    }
    let stories = threads.into_stories().into_iter();
    let lone_errors = stories
        .filter_map(|story| entry::of_story(story, accesses, clock))
        .chain(merged.iter().filter_map(|line| entry::of_line(line, accesses, clock)))
        .collect();
    joined.extend(bulk::pair(lone_errors, lone_accesses));
    sort(&mut joined);
    joined
}

/// Whether a format has a variable.
fn has_variable(format: &str, name: &str) -> bool {
    format.split('$').skip(1).any(|after| {
        let after = after.strip_prefix('{').unwrap_or(after);
        let ends =
            |rest: &str| !rest.starts_with(|letter: char| letter.is_ascii_alphanumeric() || letter == '_');
        after.strip_prefix(name).is_some_and(ends)
    })
}

fn sort(requests: &mut [FailedRequest]) {
    requests.sort_by(|one, other| {
        let place =
            |request: &FailedRequest| request.lines().next().map(|line| (line.file.clone(), line.offset));
        one.at.cmp(&other.at).then_with(|| place(one).cmp(&place(other)))
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::{AccessDigester, AccessFormat, AccessSource, DigestOptions, ErrorDigester};
    use std::sync::Arc;
    use why502_facts::{
        AccessLogFormat, Errno, ErrorRecord, FormatEscape, LogClockSource, Outcome, Phrase, RequestKey, Try,
    };

    const CLOCK: LogClock = LogClock { offset_seconds: 0, source: LogClockSource::Assumed };

    const FULL: &str = "$remote_addr [$time_local] \"$request\" $status us=$upstream_status ua=$upstream_addr \
        rt=$request_time c=$connection";

    fn route(key: &RequestKey<'_>) -> Option<Arc<str>> {
        Some(key.path.get(..2)?.into())
    }

    fn options() -> DigestOptions<'static> {
        DigestOptions {
            log: "l",
            from: None,
            to: None,
            max_records: 100_000,
            route: Some(&route),
            extent: crate::logs::Extent::Diagnosis,
        }
    }

    pub(super) fn error_digest(log: &str) -> ErrorDigest {
        let mut digester = ErrorDigester::new(options(), CLOCK);
        let (file, mut offset) = (Arc::from("error.log"), 0);
        for line in log.lines() {
            digester.line(&file, offset, line.as_bytes());
            offset += line.len() as u64 + 1;
        }
        digester.finish()
    }

    pub(super) fn error_records(log: &str) -> Vec<ErrorRecord> {
        error_digest(log).records
    }

    pub(super) fn access_digest(format: &str, log: &str) -> AccessDigest {
        let source = AccessLogFormat { text: format.to_owned(), escape: FormatEscape::Default };
        let format = AccessFormat::compile(&source).unwrap();
        let mut digester = AccessDigester::new(options(), AccessSource { format: &format, guessed: false });
        let (file, mut offset) = (Arc::from("access.log"), 0);
        for line in log.lines() {
            digester.line(&file, offset, line.as_bytes());
            offset += line.len() as u64 + 1;
        }
        digester.finish()
    }

    pub(super) fn tried(peer: &str, status: u16) -> Try {
        Try { peer: Some(peer.into()), status: Some(status), ..Try::default() }
    }

    fn refused(second: u32, connection: u64, path: &str, peer: &str) -> String {
        format!(
            "2026/11/21 02:28:{second:02} [error] 7#7: *{connection} connect() failed (111: Connection refused) while \
             connecting to upstream, client: ::1, server: a, request: \"GET {path} HTTP/1.1\", upstream: \
             \"http://{peer}{path}\", host: \"a\"\n"
        )
    }

    fn combined(second: u32, path: &str, status: u16) -> String {
        format!(
            "::1 - - [21/Nov/2026:02:28:{second:02} +0000] \"GET {path} HTTP/1.1\" {status} 157 \"-\" \"curl\"\n"
        )
    }

    fn full(second: u32, path: &str, status: u16, tries: &str, connection: u64) -> String {
        format!(
            "::1 [21/Nov/2026:02:28:{second:02} +0000] \"GET {path} HTTP/1.1\" {status} {tries} rt=0.010 c={connection}\n"
        )
    }

    /// One line per entry: status, derived status, hidden, the attempts' peers and phrases, the number of lines.
    fn shown(requests: &[FailedRequest]) -> Vec<String> {
        let attempt = |attempt: &why502_facts::Attempt| {
            let port = attempt.address().and_then(|address| address.port());
            let peer = port.map_or("-".to_owned(), |port| port.to_string());
            let phrase = attempt.messages.first().map_or("-".to_owned(), |said| format!("{:?}", said.phrase));
            let status = attempt.result.as_ref().and_then(|one| one.status);
            format!("{peer} {phrase} {}", status.map_or("-".to_owned(), |status| status.to_string()))
        };
        requests
            .iter()
            .map(|request| {
                let messages = request.messages.iter().map(|message| format!("{:?}", message.phrase));
                let attempts: Vec<String> = request.attempts.iter().map(attempt).chain(messages).collect();
                let path = request.request.as_ref().map_or("-", |line| &line.path);
                let hidden = match request.outcome {
                    Outcome::Failed => String::new(),
                    outcome => format!(" {outcome:?}").to_lowercase(),
                };
                let statuses = [request.status, request.implied_status];
                let weight = if request.weight > 1 { format!(" x{}", request.weight) } else { String::new() };
                let status = statuses.map(|status| status.map_or("-".to_owned(), |code| code.to_string()));
                format!(
                    "{path} {}{hidden}{weight} [{}] {}",
                    status.join("/"),
                    attempts.join(", "),
                    request.lines().count()
                )
            })
            .collect()
    }

    #[test]
    fn a_request_is_told_by_both_logs() {
        let errors =
            error_digest(&(refused(1, 3, "/a", "127.0.0.1:1") + &refused(1, 3, "/a", "127.0.0.1:2")));
        let accesses = access_digest(FULL, &full(1, "/a", 502, "us=502, 502 ua=127.0.0.1:1, 127.0.0.1:2", 3));
        let joined = join(&[&errors], &[&accesses], CLOCK);
        assert_eq!(shown(&joined), ["/a 502/502 [1 ConnectFailed 502, 2 ConnectFailed 502] 3"]);
        assert_eq!(joined[0].attempts[0].messages[0].errno, Some(Errno::ConnectionRefused));
        assert_eq!((joined[0].server.as_deref(), joined[0].route.as_deref()), (Some("a"), Some("/a")));
    }

    #[test]
    fn variables_are_found_by_their_whole_names() {
        assert!(has_variable("a $request b", "request") && has_variable("${request}_time", "request"));
        assert!(!has_variable("$request_time request ${requests}", "request"));
    }

    #[test]
    fn each_log_alone_is_enough() {
        let errors =
            error_digest(&(refused(1, 3, "/a", "127.0.0.1:1") + &refused(1, 3, "/b", "127.0.0.1:1")));
        assert_eq!(
            shown(&join(&[&errors], &[], CLOCK)),
            ["/a -/502 [1 ConnectFailed -] 1", "/b -/502 [1 ConnectFailed -] 1"]
        );
        let accesses = access_digest(FULL, &full(1, "/a", 502, "us=502 ua=127.0.0.1:1", 3));
        assert_eq!(shown(&join(&[], &[&accesses], CLOCK)), ["/a 502/- [1 - 502] 1"]);
    }

    #[test]
    fn an_error_that_is_shown_as_another_one_is_the_same_request() {
        let errors =
            error_digest(&(refused(1, 3, "/a", "127.0.0.1:1") + &refused(1, 3, "/a", "127.0.0.1:1")));
        let format = AccessFormat::combined().text;
        let shown_as = |log: &str| shown(&join(&[&errors], &[&access_digest(&format, log)], CLOCK));
        let both = shown_as(&(combined(1, "/a", 503) + &combined(1, "/a", 502)));
        assert_eq!(both, ["/a 502/502 [1 ConnectFailed -] 2", "/a 503/502 [1 ConnectFailed -] 2"]);
        // An answer that is no error, and one of another moment, are other requests.
        for other in [combined(1, "/a", 404), combined(9, "/a", 503)] {
            assert_eq!(shown_as(&(combined(1, "/a", 502) + &other)).len(), 3, "{other}");
        }
    }

    #[test]
    fn identical_requests_of_one_connection_are_kept_apart() {
        let log = refused(1, 3, "/a", "127.0.0.1:1").repeat(3);
        let errors = error_digest(&log);
        let accesses = access_digest(FULL, &full(1, "/a", 502, "us=502 ua=127.0.0.1:1", 3).repeat(3));
        let joined = join(&[&errors], &[&accesses], CLOCK);
        assert_eq!(shown(&joined), ["/a 502/502 [1 ConnectFailed 502] 2"; 3]);
        let plain = access_digest(AccessFormat::combined().text.as_str(), &combined(1, "/a", 502).repeat(3));
        let joined = join(&[&errors], &[&plain], CLOCK);
        assert_eq!(shown(&joined), ["/a 502/502 [1 ConnectFailed -] 2"; 3]);
    }

    #[test]
    fn round_robin_over_two_dead_peers_is_taken_apart() {
        // Two requests of one connection: A then B, then B then A.
        let log = refused(1, 3, "/a", "127.0.0.1:1") + &refused(1, 3, "/a", "127.0.0.1:2");
        let errors = error_digest(&log);
        let first = full(1, "/a", 200, "us=502, 200 ua=127.0.0.1:1, 127.0.0.1:2", 3);
        let second = full(1, "/a", 200, "us=502, 200 ua=127.0.0.1:2, 127.0.0.1:1", 3);
        let joined = join(&[&errors], &[&access_digest(FULL, &(first + &second))], CLOCK);
        assert_eq!(
            shown(&joined),
            [
                "/a 200/502 hidden [1 ConnectFailed 502, 2 - 200] 2",
                "/a 200/502 hidden [2 ConnectFailed 502, 1 - 200] 2"
            ]
        );
    }

    #[test]
    fn a_retry_that_helped_is_seen_without_upstream_variables() {
        let errors = error_digest(&refused(10, 3, "/a", "127.0.0.1:1"));
        let format = AccessFormat::combined().text;
        let around: String = (0..58).map(|second| combined(second, "/a", 200)).collect();
        let around = around + &combined(59, "/a", 200).replace("02:28:59", "02:29:30");
        assert_eq!(
            shown(&join(&[&errors], &[&access_digest(&format, &around)], CLOCK)),
            ["/a -/502 hidden [1 ConnectFailed -] 1"]
        );
        // A log that ends at once may not have been written yet.
        let short = combined(9, "/a", 200) + &combined(11, "/a", 200);
        assert_eq!(
            shown(&join(&[&errors], &[&access_digest(&format, &short)], CLOCK)),
            ["/a -/502 [1 ConnectFailed -] 1"]
        );
    }

    #[test]
    fn a_slice_that_fails_cuts_the_answer_off() {
        let sub = |says: &str| {
            format!(
                "2026/11/21 02:28:01 [error] 7#7: *3 {says}, client: ::1, server: a, request: \"GET /a HTTP/1.1\", \
                 subrequest: \"/a\", upstream: \"http://127.0.0.1:9/a\", host: \"a\"\n"
            )
        };
        let closed =
            sub("upstream prematurely closed connection while reading response header from upstream");
        let told = sub("unexpected status code 502 in slice response while sending to client");
        let errors = error_digest(&(closed + &told));
        assert_eq!(shown(&join(&[&errors], &[], CLOCK)), ["/a -/- truncated [9 PrematureClose -] 2"]);
        let accesses = access_digest(FULL, &full(1, "/a", 206, "us=206 ua=127.0.0.1:9", 3));
        let both = shown(&join(&[&errors], &[&accesses], CLOCK));
        assert_eq!(both, ["/a -/- truncated [9 PrematureClose -] 2"]);
    }

    #[test]
    fn a_subrequest_fails_for_the_client_only_if_the_request_does() {
        let sub = |says: &str| {
            format!(
                "2026/11/21 02:28:01 [error] 7#7: *3 {says} while connecting to upstream, client: ::1, server: a, \
                 request: \"GET /a HTTP/1.1\", subrequest: \"/sub\", upstream: \"http://127.0.0.1:9/sub\", host: \"a\"\n"
            )
        };
        let mirror = error_digest(&sub("connect() failed (111: Connection refused)"));
        assert_eq!(shown(&join(&[&mirror], &[], CLOCK)), ["/a -/- hidden [9 ConnectFailed -] 1"]);
        let auth = sub("connect() failed (111: Connection refused)")
            + "2026/11/21 02:28:01 [error] 7#7: *3 auth request unexpected status: 502 while sending to client, client: \
               ::1, server: a, request: \"GET /a HTTP/1.1\", host: \"a\"\n";
        let errors = error_digest(&auth);
        let accesses = access_digest(FULL, &full(1, "/a", 500, "us=- ua=-", 3));
        assert_eq!(
            shown(&join(&[&errors], &[&accesses], CLOCK)),
            ["/a 500/500 [9 ConnectFailed -, AuthRequestUnexpectedStatus] 3"]
        );
    }

    #[test]
    fn a_request_in_two_access_logs_is_one() {
        let errors = error_digest(&refused(1, 3, "/a", "127.0.0.1:1"));
        let rich = access_digest(FULL, &full(1, "/a", 502, "us=502 ua=127.0.0.1:1", 3));
        let plain = access_digest(
            &AccessFormat::combined().text,
            &(combined(1, "/a", 502) + &combined(9, "/b", 502)),
        );
        assert_eq!(
            shown(&join(&[&errors, &errors], &[&plain, &rich], CLOCK)),
            ["/a 502/502 [1 ConnectFailed 502] 2", "/b 502/- [] 1"]
        );
    }

    #[test]
    fn an_upgraded_connection_is_told_only_if_it_was_cut() {
        let line = "2026/11/21 02:28:09 [info] 7#7: *3 upstream timed out (110: Connection timed out) while proxying \
                    upgraded connection, client: ::1, server: a, request: \"GET /ws HTTP/1.1\", upstream: \
                    \"http://127.0.0.1:1/ws\", host: \"a\"\n";
        let errors = error_digest(line);
        let sessions = full(9, "/ws", 101, "us=101 ua=127.0.0.1:1", 3)
            + &full(9, "/ws", 101, "us=101 ua=127.0.0.1:1", 4);
        let accesses = access_digest(FULL, &sessions);
        assert_eq!(accesses.records.len(), 2);
        assert_eq!(
            shown(&join(&[&errors], &[&accesses], CLOCK)),
            ["/ws 101/- upgraded [1 - 101] 1", "/ws 101/- truncated [1 UpstreamTimedOut 101] 2"]
        );
    }

    #[test]
    fn a_format_without_the_method_is_joined_too() {
        let errors = error_digest(&refused(30, 1, "/a", "127.0.0.1:9"));
        let format = "$remote_addr [$time_local] $request_uri $status";
        let accesses = access_digest(format, "::1 [21/Nov/2026:02:28:30 +0000] /a 502\n");
        let joined = join(&[&errors], &[&accesses], CLOCK);
        assert_eq!(shown(&joined), ["/a 502/502 [9 ConnectFailed -] 2"]);
    }

    #[test]
    fn many_requests_of_one_client_are_joined_fast() {
        // A load balancer in front makes all clients one, and everybody asks for the same.
        let n_requests = 20_000;
        let refusals: String =
            (0..n_requests).map(|n| refused(n / 1000, u64::from(n), "/a", "127.0.0.1:1")).collect();
        let answers: String = (0..n_requests).map(|n| combined(n / 1000, "/a", 502)).collect();
        let (errors, accesses) =
            (error_digest(&refusals), access_digest(&AccessFormat::combined().text, &answers));
        let joined = join(&[&errors], &[&accesses], CLOCK);
        assert_eq!(joined.len(), n_requests as usize);
        assert!(joined.iter().all(|request| request.lines().count() == 2));
    }

    #[test]
    fn too_many_requests_are_joined_by_number() {
        let many = |max_records| {
            let few = DigestOptions { max_records, ..options() };
            let mut errors = ErrorDigester::new(few, CLOCK);
            let source = AccessLogFormat { text: FULL.to_owned(), escape: FormatEscape::Default };
            let format = AccessFormat::compile(&source).unwrap();
            let mut accesses = AccessDigester::new(few, AccessSource { format: &format, guessed: false });
            let file = Arc::from("log");
            for n in 0..1000 {
                let path = format!("/a{n}");
                errors.line(&file, n, refused(1, n, &path, "127.0.0.1:1").trim_end().as_bytes());
                let line = full(1, &path, 502, "us=502 ua=127.0.0.1:1", n);
                accesses.line(&file, n, line.trim_end().as_bytes());
            }
            join(&[&errors.finish()], &[&accesses.finish()], CLOCK)
        };
        assert_eq!(many(2000).len(), 1000);
        let sampled = many(10);
        assert_eq!(sampled.iter().map(|request| request.weight).sum::<u64>(), 1000);
        assert_eq!(sampled.len(), 11);
        assert!(
            sampled.iter().all(|request| request.attempts[0].messages[0].phrase == Phrase::ConnectFailed)
        );
    }
}
