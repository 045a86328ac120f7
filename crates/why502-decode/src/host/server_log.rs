//! What application servers write of their own workers, and supervisors of their programs: gunicorn (`arbiter.py`), uWSGI (`core/master_checks.c`,
//! `core/master.c`), PHP-FPM (`fpm_children.c`, `fpm_request.c`, `fpm_process_ctl.c`).

use super::server_words::{Told, told};
use crate::logs::stamps::{Reading, server_stamp};
use std::time::Duration;
use why502_facts::{ServerEvent, ServerLogRecord, ServerWord, Stamp, lossy};

/// The most bytes of a line that are kept.
const MAX_LINE: usize = 1024;
/// What stands for the last line of a file where it has no stamp.
const WITHOUT_STAMP: &[u8] = b"...";
/// Time zones differ by quarters of an hour.
const ZONE_STEP_SECONDS: i64 = 900;
/// How long a worker takes to die, from the word that says why to the word that it is dead.
const MAX_DYING: Duration = Duration::from_secs(40);
/// So many words about other workers may stand between these two.
const MAX_BETWEEN: usize = 64;
/// How long after the moment of its stamp a line may be written, in seconds.
const MAX_WRITING_SECONDS: i64 = 5;

/// The lines of a log in which a server speaks of its own workers, and of the lines beside those without a stamp the
/// stamp alone. The last line tells whether the last line of the log had one.
pub fn keep_server_words(log: &[u8]) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut push = |line: &[u8]| {
        kept.extend_from_slice(&line[..line.len().min(MAX_LINE)]);
        kept.push(b'\n');
    };
    let mut stamp_before: Option<&[u8]> = None;
    let (mut n_words, mut wants_stamp, mut ends_with_stamp) = (0, false, false);
    for line in log.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let stamp = server_stamp(line).map(|(_, place)| &line[place]);
        ends_with_stamp = stamp.is_some();
        match (told(&lossy(line)), stamp) {
            (Some(_), Some(_)) => {
                push(line);
                (stamp_before, wants_stamp) = (None, false);
                n_words += 1;
            }
            (Some(_), None) => {
                stamp_before.take().into_iter().for_each(&mut push);
                push(line);
                wants_stamp = true;
                n_words += 1;
            }
            (None, Some(stamp)) if wants_stamp => {
                push(stamp);
                (stamp_before, wants_stamp) = (None, false);
            }
            (None, Some(stamp)) => stamp_before = Some(stamp),
            (None, None) => {}
        }
    }
    if n_words == 0 {
        return Vec::new();
    }
    if ends_with_stamp {
        stamp_before.into_iter().for_each(push);
    } else {
        push(WITHOUT_STAMP);
    }
    kept
}

/// What the logs of a server say, file by file; `zone` is how far the host's clock is ahead of UTC, in seconds.
pub fn decode_server_logs(logs: &[ServerLogRecord], zone: Option<i32>) -> Vec<ServerWord> {
    logs.iter().flat_map(|log| decode_log(log, zone)).collect()
}

fn decode_log(log: &ServerLogRecord, zone: Option<i32>) -> Vec<ServerWord> {
    let lines: Vec<&[u8]> =
        log.lines.as_slice().split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    let readings: Vec<Option<Reading>> =
        lines.iter().map(|line| server_stamp(line).map(|(reading, _)| reading)).collect();
    let zone = readings.last().and_then(|last| zone_of_writer((*last)?, log.modified)).or(zone);
    let stamps: Vec<Option<Stamp>> = readings.iter().map(|reading| stamp((*reading)?, zone)).collect();
    let mut words: Vec<ServerWord> = Vec::new();
    for (place, line) in lines.iter().enumerate() {
        let line = lossy(line);
        let Some(Told { event, pid, pool, is_sequel }) = told(&line) else { continue };
        let before = stamps[..=place].iter().rev().find_map(|stamp| *stamp);
        let is_soon = |word: &&ServerWord| {
            word.from.zip(before).is_none_or(|(one, other)| other.since(one) <= MAX_DYING)
        };
        let is_on_purpose =
            |word: &ServerWord| matches!(word.event, ServerEvent::Recycled | ServerEvent::Restarted);
        let mut recent = words.iter().rev().take(MAX_BETWEEN).filter(is_soon);
        // Whoever was ended over a limit or by a signal is reported as dead once more; later the number is another's.
        if pid.is_some() && recent.clone().any(|word| word.pid == pid && !is_on_purpose(word)) {
            continue;
        }
        if is_sequel && !recent.any(is_on_purpose) {
            continue;
        }
        let after = stamps[place..].iter().find_map(|stamp| *stamp);
        words.push(ServerWord {
            event,
            pid,
            pool,
            from: before,
            // A stamp tells the second.
            to: after.map_or(log.modified, |after| Stamp(after.0 + 999)),
            line,
            path: log.path.clone(),
        });
    }
    words
}

/// A server in a container has a zone of its own: its last line was written when the file was.
fn zone_of_writer(last: Reading, modified: Stamp) -> Option<i32> {
    let Reading::Local(civil) = last else { return None };
    let ahead = civil.0 - modified.0.div_euclid(1000);
    let zone = (ahead + MAX_WRITING_SECONDS).div_euclid(ZONE_STEP_SECONDS) * ZONE_STEP_SECONDS;
    let is_written_at_once = (zone - ahead).abs() <= MAX_WRITING_SECONDS;
    is_written_at_once.then(|| i32::try_from(zone).ok()).flatten()
}

fn stamp(reading: Reading, zone: Option<i32>) -> Option<Stamp> {
    match reading {
        Reading::Local(civil) => Some(civil.at_offset(zone?)),
        Reading::Zoned(stamp) => Some(stamp),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use why502_facts::Blob;

    /// 2026-11-30T05:00:10Z.
    const MODIFIED: Stamp = Stamp(1_796_014_810_000);

    fn decoded(log: &str, modified: Stamp) -> Vec<ServerWord> {
        let lines = Blob::from(keep_server_words(log.as_bytes()));
        let record = ServerLogRecord { path: "/var/log/app.log".to_owned(), modified, lines };
        decode_server_logs(&[record], Some(0))
    }

    #[test]
    fn a_kill_over_a_limit_is_one_event() {
        let log = "[2026-11-30 06:00:01 +0100] [13] [CRITICAL] WORKER TIMEOUT (pid:15)\n\
                   [2026-11-30 06:00:02 +0100] [13] [ERROR] Worker (pid:15) was sent SIGKILL! Perhaps out of memory?\n";
        let words = decoded(log, MODIFIED);
        assert_eq!(words.len(), 1);
        assert_eq!((words[0].event, words[0].pid), (ServerEvent::TimedOut, Some(15)));
        assert_eq!(words[0].from.unwrap().to_string(), "2026-11-30T05:00:01Z");
    }

    #[test]
    fn numbers_of_processes_come_back() {
        let log = "[2026-11-30 04:00:01 +0000] [1] [CRITICAL] WORKER TIMEOUT (pid:7)\n\
                   [2026-11-30 05:00:01 +0000] [1] [CRITICAL] WORKER TIMEOUT (pid:7)\n";
        assert_eq!(decoded(log, MODIFIED).len(), 2);
    }

    #[test]
    fn a_worker_that_exits_was_recycled_only_if_somebody_says_so() {
        let exiting = "[2026-11-30 04:59:30 +0000] [15] [INFO] Worker exiting (pid: 15)\n";
        let crash = "[2026-11-30 04:59:31 +0000] [13] [ERROR] Worker (pid:15) exited with code 3\n";
        let why = "[2026-11-30 04:59:10 +0000] [15] [INFO] Autorestarting worker after current request.\n";
        let events = |log: &str| decoded(log, MODIFIED).iter().map(|word| word.event).collect::<Vec<_>>();
        let exited = ServerEvent::Exited(Some(3));
        assert_eq!(events(&format!("{exiting}{crash}")), [exited]);
        let recycled = ServerEvent::Recycled;
        assert_eq!(events(&format!("{why}{exiting}{crash}")), [recycled, recycled, exited]);
        let timed_out = "[2026-11-30 04:59:20 +0000] [13] [CRITICAL] WORKER TIMEOUT (pid:15)\n";
        assert_eq!(events(&format!("{why}{timed_out}{exiting}")), [recycled, ServerEvent::TimedOut]);
    }

    #[test]
    fn the_zone_of_a_container_shows_in_its_last_line() {
        let log = "[30-Nov-2026 14:00:03] WARNING: [pool shop] child 20 exited on signal 11 (SIGSEGV) after 1.2 seconds from start\n\
                   [30-Nov-2026 14:00:10] NOTICE: [pool shop] child 21 started\n";
        let words = decoded(log, MODIFIED);
        assert_eq!(words[0].from.unwrap().to_string(), "2026-11-30T05:00:03Z");
        assert_eq!((words[0].event, words[0].pool.as_deref()), (ServerEvent::Killed(11), Some("shop")));
        // Written long after its last stamp: the host's zone is all that is known.
        let later = decoded(log, Stamp(MODIFIED.0 + 400_000));
        assert_eq!(later[0].from.unwrap().to_string(), "2026-11-30T14:00:03Z");
    }

    #[test]
    fn a_line_without_a_stamp_lies_between_its_neighbours() {
        let log = "*** Starting uWSGI 2.0.21 (64bit) on [Mon Nov 30 04:59:00 2026] ***\n\
                   [pid: 39|app: 0|req: 1/1] 10.0.0.9 () {32 vars} [Mon Nov 30 05:00:01 2026] GET /?password=x => 3 bytes\n\
                   !!! uWSGI process 39 got Segmentation Fault !!!\n\
                   DAMN ! worker 1 (pid: 39) died :( trying respawn ...\n\
                   Respawned uWSGI worker 1 (new pid: 41)\n";
        let words = decoded(log, MODIFIED);
        assert_eq!(words.len(), 1);
        assert_eq!((words[0].event, words[0].to), (ServerEvent::Killed(11), MODIFIED));
        assert_eq!(words[0].from.unwrap().to_string(), "2026-11-30T05:00:01Z");
        let kept = lossy(&keep_server_words(log.as_bytes()));
        assert!(!kept.contains("10.0.0.9") && kept.ends_with("...\n"), "{kept}");
    }

    #[test]
    fn a_log_without_such_words_leaves_nothing() {
        assert!(keep_server_words(b"[2026-11-30 06:00:01 +0100] [13] [INFO] Listening\nsecret\n").is_empty());
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parsers_panic(bytes in any::<Vec<u8>>(), modified in any::<i32>()) {
            let lines = Blob::from(bytes.clone());
            let record = ServerLogRecord { path: String::new(), modified: Stamp(modified.into()), lines };
            decode_server_logs(&[record], None);
            keep_server_words(&bytes);
        }

        #[test]
        fn stamps_of_any_text_are_survived(text in "(Mon |\\[|[0-9]{2}-|2026-11-){0,3}[ -~é]{0,40}") {
            keep_server_words(text.as_bytes());
        }
    }
}
