//! The begin of a line: stamp, severity, process, connection.

use crate::logs::stamps::{ERROR_STAMP_LEN, digits, stamp_of_error_line};
use memchr::{memchr, memmem};
use why502_facts::{Civil, ErrorLevel};

/// What stands before the message.
#[derive(Debug)]
pub(super) struct Head<'a> {
    pub(super) at: Option<Civil>,
    pub(super) level: ErrorLevel,
    pub(super) pid: u32,
    pub(super) connection: Option<u64>,
    pub(super) rest: &'a [u8],
}

const CONSOLE: &[u8] = b"nginx: [";

/// Whether a line is what nginx prints to its console, without stamp and process (`ngx_log_error_core`).
pub(crate) fn is_console(line: &[u8]) -> bool {
    line.strip_prefix(CONSOLE).and_then(level).is_some()
}

pub(super) fn read(line: &[u8]) -> Option<Head<'_>> {
    if let Some(rest) = line.strip_prefix(CONSOLE) {
        let (level, rest) = level(rest)?;
        return Some(Head { at: None, level, pid: 0, connection: None, rest });
    }
    let at = stamp_of_error_line(line)?;
    let (level, rest) = level(line[ERROR_STAMP_LEN..].strip_prefix(b" [")?)?;
    let (pid, rest) = process(rest)?;
    let (connection, rest) = connection(rest);
    Some(Head { at: Some(at), level, pid, connection, rest })
}

/// Whether a message names a place in the configuration: `… in /etc/nginx/nginx.conf:12` (`ngx_conf_log_error`).
pub(super) fn has_place(message: &[u8]) -> bool {
    let n_digits = message.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    n_digits > 0
        && message[..message.len() - n_digits].ends_with(b":")
        && memmem::rfind(message, b" in ").is_some_and(|at| message[at + 4..].starts_with(b"/"))
}

fn level(text: &[u8]) -> Option<(ErrorLevel, &[u8])> {
    let end = memchr(b']', text.get(..text.len().min(8))?)?;
    let level = match &text[..end] {
        b"emerg" => ErrorLevel::Emerg,
        b"alert" => ErrorLevel::Alert,
        b"crit" => ErrorLevel::Crit,
        b"error" => ErrorLevel::Error,
        b"warn" => ErrorLevel::Warn,
        b"notice" => ErrorLevel::Notice,
        b"info" => ErrorLevel::Info,
        b"debug" => ErrorLevel::Debug,
        _ => return None,
    };
    Some((level, text[end + 1..].strip_prefix(b" ")?))
}

/// `9367#9367: `; the thread's id adds nothing.
fn process(text: &[u8]) -> Option<(u32, &[u8])> {
    let (pid, rest) = text.split_at(memchr(b'#', text.get(..text.len().min(12))?)?);
    let end = memchr(b':', rest)?;
    digits(&rest[1..end])?;
    Some((u32::try_from(digits(pid)?).ok()?, rest[end + 1..].strip_prefix(b" ")?))
}

fn connection(text: &[u8]) -> (Option<u64>, &[u8]) {
    let serial = || {
        let (number, rest) = text.strip_prefix(b"*")?.split_at(memchr(b' ', text)? - 1);
        Some((Some(digits(number)?), &rest[1..]))
    };
    serial().unwrap_or((None, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_strictly() {
        let head = read(b"2026/11/21 02:28:30 [warn] 7#0: *3 text").unwrap();
        assert_eq!(
            (head.level, head.pid, head.connection, head.rest),
            (ErrorLevel::Warn, 7, Some(3), b"text".as_slice())
        );
        assert_eq!(read(b"2026/11/21 02:28:30 [alert] 7#7: text").unwrap().connection, None);
        for line in [
            "2026/11/21 02:28:30 [fatal] 7#7: text",
            "2026/11/21 02:28:30 [error] 7: text",
            "2026/11/21 02:28:30 [error] x#7: text",
            "2026/11/21 02:28:30 [error] 7#x: text",
            "nginx: text",
        ] {
            assert!(read(line.as_bytes()).is_none(), "{line}");
        }
        assert!(is_console(b"nginx: [emerg] text") && !is_console(b"nginx: configuration file"));
    }

    #[test]
    fn a_place_is_a_path_and_a_line() {
        assert!(has_place(b"unknown directive \"a\" in /etc/nginx/nginx.conf:3"));
        assert!(!has_place(b"connect() to 127.0.0.1:80"));
        assert!(!has_place(b"no A or CNAME types in DNS response"));
    }
}
