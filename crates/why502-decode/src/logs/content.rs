//! What lines are: an error log's, an access log's, or both in one file.

use super::error_line::begins_entry;
use super::guess::guess_format;
use why502_facts::AccessLogFormat;

/// How many lines are tried one by one where most are neither.
const MAX_SINGLE: usize = 200;

/// What a log holds, told from some of its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogContent {
    /// Requests, or at least text that is not an error log.
    Access {
        /// The format; `None` if it is none of the known ones.
        format: Option<AccessLogFormat>,
        /// How many lines fit it.
        hits: usize,
        /// How many lines were tried; 0 if the log is empty.
        tried: usize,
    },
    /// Bytes that are not text: no log at all.
    Binary,
    /// An error log.
    Error,
    /// Both in one stream, as a container's output has them; [`LogSide::of`] tells them apart.
    Mixed {
        /// The format of the requests.
        format: AccessLogFormat,
        /// How many lines fit it.
        hits: usize,
        /// How many lines were tried: those that no error entry begins with.
        tried: usize,
    },
}

impl LogContent {
    /// What lines are, without their wrapping and their ends. They may come from anywhere in the log.
    pub fn tell(lines: &[&[u8]]) -> Self {
        let lines = lines.iter().copied().filter(|line| !line.trim_ascii().is_empty());
        let (errors, others): (Vec<&[u8]>, Vec<&[u8]>) = lines.partition(|line| begins_entry(line));
        let guessed = guess_format(&others);
        if errors.is_empty() {
            return match guessed {
                Some((format, hits, tried)) => Self::Access { format: Some(format), hits, tried },
                None if is_binary(&others) => Self::Binary,
                None => Self::Access { format: None, hits: 0, tried: others.len() },
            };
        }
        // What a container says while it starts may outnumber its first requests.
        match guessed.or_else(|| guess_few(&others)) {
            Some((format, hits, tried)) => Self::Mixed { format, hits, tried },
            None => Self::Error,
        }
    }
}

/// Which log a line of a mixed one belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogSide {
    /// The requests' log, or neither: a line that continues an error entry does not show it.
    Access,
    /// The error log.
    Error,
}

impl LogSide {
    /// The side of a line.
    pub fn of(line: &[u8]) -> Self {
        if begins_entry(line) { Self::Error } else { Self::Access }
    }
}

/// The format of those lines that have a known one.
fn guess_few(lines: &[&[u8]]) -> Option<(AccessLogFormat, usize, usize)> {
    let step = lines.len().div_ceil(MAX_SINGLE).max(1);
    let fitting: Vec<&[u8]> =
        lines.iter().step_by(step).copied().filter(|line| guess_format(&[line]).is_some()).collect();
    let (format, hits, _) = guess_format(&fitting)?;
    Some((format, hits, lines.len().div_ceil(step)))
}

/// Text has few control bytes. What a gateway logs unescaped has some; a tenth is too many.
fn is_binary(lines: &[&[u8]]) -> bool {
    let is_control = |byte: &&u8| matches!(byte, 0..=8 | 11..=12 | 14..=26 | 28..=31 | 127);
    let bytes = || lines.iter().flat_map(|line| line.iter());
    let n_control = bytes().filter(is_control).count();
    n_control * 10 > bytes().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ERROR: &[u8] = b"2026/11/21 02:28:30 [error] 7#7: *3 connect() failed (111: Connection refused)";
    const ACCESS: &[u8] =
        br#"203.0.113.25 - - [21/May/2020:08:30:12 +0000] "GET / HTTP/1.1" 502 157 "-" "Mozilla/5.0""#;

    #[test]
    fn a_log_is_told_by_what_it_holds() {
        assert_eq!(LogContent::tell(&[ERROR, b"  a continuation", b""]), LogContent::Error);
        assert_eq!(LogContent::tell(&[b"nginx: [emerg] bind() failed"]), LogContent::Error);
        let LogContent::Access { format: Some(_), hits: 2, tried: 3 } =
            LogContent::tell(&[ACCESS, b"x", ACCESS])
        else {
            panic!()
        };
        assert_eq!(LogContent::tell(&[]), LogContent::Access { format: None, hits: 0, tried: 0 });
        assert_eq!(
            LogContent::tell(&[b"hello", b"you"]),
            LogContent::Access { format: None, hits: 0, tried: 2 }
        );
    }

    #[test]
    fn bytes_that_are_no_text_are_no_log() {
        assert_eq!(
            LogContent::tell(&[b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0>\0"]),
            LogContent::Binary
        );
        // A colour and a tab are text; one stray byte does not make a program of a log.
        assert_ne!(LogContent::tell(&[b"\x1b[1m\thello, a longer line\x01"]), LogContent::Binary);
    }

    #[test]
    fn a_containers_output_holds_both() {
        let start_up = [b"/docker-entrypoint.sh: Configuration complete".as_slice(); 40];
        let lines = [&start_up, [ERROR, ACCESS, ERROR, ACCESS].as_slice()].concat();
        let LogContent::Mixed { hits: 2, tried: 42, .. } = LogContent::tell(&lines) else { panic!() };
        assert_eq!((LogSide::of(ERROR), LogSide::of(ACCESS)), (LogSide::Error, LogSide::Access));
    }
}
