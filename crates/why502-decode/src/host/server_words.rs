//! The words of application servers about their own workers.

use super::{pm2, supervisor_words};
use why502_facts::ServerEvent;

/// What one line tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) event: ServerEvent,
    pub(super) pid: Option<u32>,
    pub(super) pool: Option<String>,
    /// Whether it tells something only behind a word that says why.
    pub(super) is_sequel: bool,
}

/// Signals by their names, as gunicorn writes them.
pub(super) const SIGNALS: &[(&str, u32)] = &[
    ("SIGABRT", 6),
    ("SIGBUS", 7),
    ("SIGFPE", 8),
    ("SIGHUP", 1),
    ("SIGILL", 4),
    ("SIGINT", 2),
    ("SIGKILL", 9),
    ("SIGQUIT", 3),
    ("SIGSEGV", 11),
    ("SIGSYS", 31),
    ("SIGTERM", 15),
    ("SIGTRAP", 5),
];

/// Workers of gunicorn say so when they end, for whatever reason.
const GUNICORN_WORKER_EXITING: &str = "Worker exiting (pid: ";
/// What gunicorn's master writes when it is told to reload or to end.
const GUNICORN_RESTARTS: [&str; 6] = [
    "Handling signal: hup",
    "Handling signal: int",
    "Handling signal: quit",
    "Handling signal: term",
    "Hang up: Master",
    "Shutting down: Master",
];
/// What uWSGI's master writes then.
const UWSGI_RESTARTS: [&str; 5] = [
    "...brutally killing workers...",
    "...gracefully killing workers...",
    "SIGINT/SIGQUIT received...killing workers...",
    "SIGINT/SIGTERM received...killing workers...",
    "binary reloading uWSGI...",
];
/// What PHP-FPM's master writes then.
const PHP_FPM_RESTARTS: [&str; 4] =
    ["Finishing ...", "Reloading in progress ...", "Terminating ...", "reloading: execvp("];

/// What a line tells of a worker, a program, or of all; `None` if it is no word of a server or a supervisor about them.
///
/// The words must begin the message: what an application or a client wrote into the middle of a line is no such word.
pub(super) fn told(line: &str) -> Option<Told> {
    if let Some(told) = supervisor_words::told(line).or_else(|| pm2::told(line)) {
        return Some(told);
    }
    let (message, pool) = message(line);
    let (event, pid) = gunicorn(message).or_else(|| uwsgi(message)).or_else(|| php_fpm(message))?;
    let is_sequel = message.starts_with(GUNICORN_WORKER_EXITING);
    Some(Told { event, pid, pool: pool.map(str::to_owned), is_sequel })
}

/// A line without its stamps, levels and ids, and the pool that one of these names.
fn message(line: &str) -> (&str, Option<&str>) {
    let (mut rest, mut pool) = (line.trim_start(), None);
    // uWSGI's own stamp, ctime(3).
    if let Some(behind) = rest.get(24..).and_then(|behind| behind.strip_prefix(" - ")) {
        rest = behind;
    }
    while let Some((bracket, behind)) = rest.strip_prefix('[').and_then(|open| open.split_once("] ")) {
        pool = bracket.strip_prefix("pool ").or(pool);
        rest = behind;
        let level = rest.split_once(": ").filter(|(level, _)| is_level(level));
        rest = level.map_or(rest, |(_, behind)| behind);
    }
    (rest, pool)
}

fn is_level(word: &str) -> bool {
    matches!(word, "ALERT" | "DEBUG" | "ERROR" | "NOTICE" | "WARNING")
}

fn gunicorn(message: &str) -> Option<(ServerEvent, Option<u32>)> {
    if message.starts_with("WORKER TIMEOUT (pid:") {
        return Some((ServerEvent::TimedOut, number_after(message, "(pid:")));
    }
    if GUNICORN_RESTARTS.iter().any(|words| message.starts_with(words)) {
        return Some((ServerEvent::Restarted, None));
    }
    if message.starts_with("Autorestarting worker after current request.") {
        return Some((ServerEvent::Recycled, None));
    }
    if let Some(rest) = message.strip_prefix(GUNICORN_WORKER_EXITING) {
        return Some((ServerEvent::Recycled, leading_number(rest)));
    }
    // Up to version 20.
    if let Some(rest) = message.strip_prefix("Worker with pid ") {
        let signal = number_after(rest, "was terminated due to signal ")?;
        return Some((ServerEvent::Killed(signal), leading_number(rest)));
    }
    let rest = message.strip_prefix("Worker (pid:")?;
    let pid = leading_number(rest);
    if let Some((_, name)) = rest.split_once(" was sent ") {
        let signal = SIGNALS.iter().find(|(signal, _)| name.starts_with(signal))?.1;
        return Some((ServerEvent::Killed(signal), pid));
    }
    exited(number_after(rest, "exited with code ")?).map(|event| (event, pid))
}

fn uwsgi(message: &str) -> Option<(ServerEvent, Option<u32>)> {
    let pid = number_after(message, "(pid: ");
    if message.starts_with("*** HARAKIRI ON WORKER ") {
        return Some((ServerEvent::TimedOut, pid));
    }
    if message.starts_with("DAMN ! worker ") {
        let event = number_after(message, "killed by signal ").map(ServerEvent::Killed);
        return Some((event.unwrap_or(ServerEvent::Exited(None)), pid));
    }
    if UWSGI_RESTARTS.iter().any(|words| message.starts_with(words)) {
        return Some((ServerEvent::Restarted, None));
    }
    if let Some(rest) = message.strip_prefix("...The work of process ") {
        return rest.contains(" is done. ").then(|| (ServerEvent::Recycled, leading_number(rest)));
    }
    let is_merciless = message.starts_with("worker ") && message.ends_with("...NO MERCY !!!");
    if is_merciless || message.starts_with("Gracefully killing worker ") {
        return Some((ServerEvent::Recycled, pid));
    }
    if let Some(rest) = message.strip_prefix("!!! uWSGI process ") {
        let is_fault = rest.contains(" got Segmentation Fault !!!");
        return is_fault.then(|| (ServerEvent::Killed(11), leading_number(rest)));
    }
    let rest = message.strip_prefix("*** ").unwrap_or(message);
    let is_full =
        rest.to_ascii_lowercase().trim_start_matches("uwsgi ").starts_with("listen queue of socket ");
    (is_full && rest.contains(" full !!!")).then_some((ServerEvent::PoolFull, None))
}

fn php_fpm(message: &str) -> Option<(ServerEvent, Option<u32>)> {
    let is_full = message.starts_with("server reached pm.max_children setting (")
        || message.starts_with("server reached max_children setting (");
    if is_full {
        return Some((ServerEvent::PoolFull, None));
    }
    if PHP_FPM_RESTARTS.iter().any(|words| message.starts_with(words)) {
        return Some((ServerEvent::Restarted, None));
    }
    let rest = message.strip_prefix("child ")?;
    let pid = Some(leading_number(rest)?);
    let behind = rest.trim_start_matches(|digit: char| digit.is_ascii_digit());
    if behind.starts_with(", script '") && behind.ends_with(" sec), terminating") {
        return Some((ServerEvent::TimedOut, pid));
    }
    if let Some(rest) = behind.strip_prefix(" exited on signal ") {
        return Some((ServerEvent::Killed(leading_number(rest)?), pid));
    }
    // One that ends with success was ended by its master, or had served its share of requests.
    let code = leading_number(behind.strip_prefix(" exited with code ")?)?;
    Some((exited(code).unwrap_or(ServerEvent::Recycled), pid))
}

/// A worker that ended with success did what it was told.
fn exited(code: u32) -> Option<ServerEvent> {
    (code != 0).then_some(ServerEvent::Exited(Some(code)))
}

fn number_after(text: &str, mark: &str) -> Option<u32> {
    leading_number(text.split_once(mark)?.1)
}

pub(super) fn leading_number(text: &str) -> Option<u32> {
    let end = text.find(|digit: char| !digit.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(line: &str) -> Option<(ServerEvent, Option<u32>)> {
        told(line).map(|told| (told.event, told.pid))
    }

    #[test]
    fn every_server_s_words_are_understood() {
        use ServerEvent::{Exited, Killed, PoolFull, Recycled, Restarted, TimedOut};
        let known = [
            ("[2026-11-30 06:00:46 +0000] [13] [CRITICAL] WORKER TIMEOUT (pid:15)", TimedOut, Some(15)),
            (
                "[2026-11-30 06:01:01 +0000] [13] [WARNING] Worker with pid 14 was terminated due to signal 6",
                Killed(6),
                Some(14),
            ),
            (
                "[2026-11-30 06:01:01 +0000] [13] [ERROR] Worker (pid:14) was sent SIGSEGV!",
                Killed(11),
                Some(14),
            ),
            (
                "[2026-11-30 06:01:01 +0000] [13] [ERROR] Worker (pid:14) exited with code 3",
                Exited(Some(3)),
                Some(14),
            ),
            ("Mon Nov 30 05:00:00 2026 - *** HARAKIRI ON WORKER 1 (pid: 7, try: 1) ***", TimedOut, Some(7)),
            ("DAMN ! worker 2 (pid: 8) died, killed by signal 9 :( trying respawn ...", Killed(9), Some(8)),
            ("DAMN ! worker 2 (pid: 8) died :( trying respawn ...", Exited(None), Some(8)),
            ("!!! uWSGI process 39 got Segmentation Fault !!!", Killed(11), Some(39)),
            (
                "Mon Nov 30 05:00:00 2026 - *** uWSGI listen queue of socket \"/run/a.sock\" (fd: 3) full !!! (101/100) ***",
                PoolFull,
                None,
            ),
            (
                "[30-Nov-2026 05:00:00] WARNING: [pool www] child 14, script '/srv/slow.php' (request: \"GET /a\") execution timed out (1.251512 sec), terminating",
                TimedOut,
                Some(14),
            ),
            (
                "[30-Nov-2026 05:00:00] WARNING: [pool www] child 14 exited on signal 11 (SIGSEGV - core dumped) after 1.3 seconds from start",
                Killed(11),
                Some(14),
            ),
            (
                "[30-Nov-2026 05:00:00] WARNING: [pool www] child 14 exited with code 255 after 1.3 seconds from start",
                Exited(Some(255)),
                Some(14),
            ),
            (
                "[30-Nov-2026 05:00:00] WARNING: [pool www] server reached pm.max_children setting (5), consider raising it",
                PoolFull,
                None,
            ),
            (
                "[2026-11-30 09:45:25 +0000] [15252] [INFO] Autorestarting worker after current request.",
                Recycled,
                None,
            ),
            ("[2026-11-30 09:45:28 +0000] [15252] [INFO] Worker exiting (pid: 15252)", Recycled, Some(15252)),
            ("[2026-11-30 09:44:53 +0000] [13795] [INFO] Handling signal: term", Restarted, None),
            ("[2026-11-30 09:44:54 +0000] [13795] [INFO] Shutting down: Master", Restarted, None),
            ("...gracefully killing workers...", Restarted, None),
            ("Gracefully killing worker 1 (pid: 15133)...", Recycled, Some(15133)),
            ("worker 1 (pid: 15133) is taking too much time to die...NO MERCY !!!", Recycled, Some(15133)),
            ("...The work of process 15135 is done. Seeya!", Recycled, Some(15135)),
            ("[30-Nov-2026 09:44:47] NOTICE: Reloading in progress ...", Restarted, None),
            ("[30-Nov-2026 09:44:53] NOTICE: Terminating ...", Restarted, None),
            (
                "[30-Nov-2026 05:00:00] NOTICE: [pool www] child 14 exited with code 0 after 1.3 seconds from start",
                Recycled,
                Some(14),
            ),
        ];
        for (line, expected, pid) in known {
            assert_eq!(event(line), Some((expected, pid)), "{line}");
        }
    }

    #[test]
    fn what_others_write_is_no_word_of_the_server() {
        for line in [
            "[2026-11-30 06:00:46 +0000] [15] [INFO] Booting worker with pid: 15",
            "[30-Nov-2026 05:00:00] NOTICE: [pool www] child 14 started",
            "[30-Nov-2026 05:00:00] WARNING: [pool www] child 5 said into stderr: \"Reloading in progress ...\"",
            "worker 1 buried after 1 seconds",
            "[30-Nov-2026 05:00:00] WARNING: [pool www] child 5 said into stderr: \"WORKER TIMEOUT (pid:5)\"",
            "10.0.0.9 - - [30/Nov/2026:05:00:00 +0000] \"GET /?WORKER TIMEOUT (pid:5) HTTP/1.1\" 200 3",
            "Respawned uWSGI worker 1 (new pid: 41)",
            "é[",
        ] {
            assert_eq!(event(line), None, "{line}");
        }
    }
}
