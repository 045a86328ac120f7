//! The words of supervisord about the programs that it runs (`supervisor/process.py`).

use super::server_words::{SIGNALS, Told, leading_number};
use why502_facts::ServerEvent;

/// The levels that supervisord writes.
const LEVELS: [&str; 7] = ["BLAT", "CRIT", "DEBG", "ERRO", "INFO", "TRAC", "WARN"];

/// What a line tells of a program; `None` if it is no word of supervisord. The program stands as the pool.
pub(super) fn told(line: &str) -> Option<Told> {
    let (event, pid, program) = supervisord(line)?;
    Some(Told { event, pid, pool: Some(program.to_owned()), is_sequel: false })
}

/// `2026-11-21 02:28:30,123 INFO exited: shop (exit status 1; not expected)`.
fn supervisord(line: &str) -> Option<(ServerEvent, Option<u32>, &str)> {
    let (stamp, rest) = line.split_at_checked(23)?;
    let is_stamp = stamp.as_bytes()[19] == b',' && stamp.as_bytes()[10] == b' ';
    let (level, message) = rest.strip_prefix(' ')?.split_once(' ')?;
    if !is_stamp || !LEVELS.contains(&level) {
        return None;
    }
    let (verb, says) = message.split_once(": ")?;
    match verb {
        "spawned" => {
            let (program, pid) = says.strip_prefix('\'')?.split_once("' with pid ")?;
            Some((ServerEvent::Started, leading_number(pid), program))
        }
        "exited" => {
            let (program, how) = says.split_once(" (")?;
            Some((ended(how)?, None, program))
        }
        "stopped" => Some((ServerEvent::Stopped, None, says.split_once(" (")?.0)),
        "gave up" => Some((ServerEvent::GaveUp, None, says.split_once(" entered FATAL state")?.0)),
        _ => None,
    }
}

/// `exit status 1; not expected)`, `terminated by SIGSEGV (core dumped); not expected)`.
fn ended(how: &str) -> Option<ServerEvent> {
    if let Some(code) = how.strip_prefix("exit status ") {
        return Some(ServerEvent::Exited(Some(leading_number(code)?)));
    }
    let name = how.strip_prefix("terminated by ")?;
    let signal = SIGNALS.iter().find(|(signal, _)| name.starts_with(signal)).map(|(_, number)| *number);
    signal.or_else(|| leading_number(name.strip_prefix("signal ")?)).map(ServerEvent::Killed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_words_are_understood() {
        use ServerEvent::{Exited, GaveUp, Killed, Started, Stopped};
        for (line, event, pid) in [
            ("2026-11-21 02:28:30,123 INFO spawned: 'shop' with pid 4711", Started, Some(4711)),
            (
                "2026-11-21 02:28:30,123 INFO exited: shop (exit status 1; not expected)",
                Exited(Some(1)),
                None,
            ),
            ("2026-11-21 02:28:30,123 WARN exited: shop (exit status 0; expected)", Exited(Some(0)), None),
            (
                "2026-11-21 02:28:30,123 INFO exited: shop (terminated by SIGSEGV (core dumped); not expected)",
                Killed(11),
                None,
            ),
            ("2026-11-21 02:28:30,123 INFO stopped: shop (terminated by SIGTERM)", Stopped, None),
            (
                "2026-11-21 02:28:30,123 INFO gave up: shop entered FATAL state, too many start retries too quickly",
                GaveUp,
                None,
            ),
        ] {
            let told = told(line).unwrap();
            assert_eq!((told.event, told.pid, told.pool.as_deref()), (event, pid, Some("shop")), "{line}");
        }
    }

    #[test]
    fn what_others_write_is_no_word_of_it() {
        for line in [
            "2026-11-21 02:28:30,123 INFO success: shop entered RUNNING state, process has stayed up for > than 1 seconds (startsecs)",
            "2026-11-21 02:28:30,123 INFO waiting for shop to stop",
            "exited: shop (exit status 1; not expected)",
            "2026-11-21 02:28:30 INFO exited: shop (exit status 1; not expected)",
            "é",
        ] {
            assert_eq!(told(line), None, "{line}");
        }
    }
}
