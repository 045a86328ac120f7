//! Syslog's head, in all the forms in which it is sent and stored.
//!
//! | writer | form |
//! |---|---|
//! | nginx (`ngx_syslog_add_header`), RFC 3164 | `<190>Nov 21 02:28:30 host nginx: …`; without the host under `nohostname` |
//! | RFC 5424 | `<190>1 2026-11-21T02:28:30.1Z host nginx 12 - [id a="b"] …` |
//! | rsyslog's files | `Nov 21 02:28:30 host nginx: …`, `2026-11-21T02:28:30.123456+00:00 host nginx: …` |
//! | `journalctl -o short`, `-precise`, `-iso` | as rsyslog's; `nginx[12]:`; with a fraction; `+0000` |
//! | `-full`, `-unix` | `Sat 2026-11-21 02:28:30 UTC host nginx[12]: …`, `1795228110.123456 host nginx[12]: …` |
//! | `-monotonic`, `-delta` | `[    5.000001] host nginx[12]: …`, `[    5.000001 <    0.000001 >] host nginx[12]: …` |
//! | busybox (`sysklogd/syslogd.c`) | `Nov 21 02:28:30 host user.notice nginx: …`; with `-S` without the host and the kind |

use super::pattern;

/// The program and its line.
pub(super) fn entry(line: &[u8]) -> Option<(&[u8], &[u8])> {
    if let Some(rest) = behind_priority(line) {
        if let Some(rest) = rest.strip_prefix(b"1 ") {
            return new_protocol(rest);
        }
        return host_and_tag(behind_stamp(rest)?);
    }
    host_and_tag(behind_stamp(line)?)
}

/// What follows `<190>`.
fn behind_priority(line: &[u8]) -> Option<&[u8]> {
    let rest = line.strip_prefix(b"<")?;
    let n_digits = rest.iter().take(4).take_while(|byte| byte.is_ascii_digit()).count();
    if !(1..=3).contains(&n_digits) {
        return None;
    }
    rest[n_digits..].strip_prefix(b">")
}

fn behind_stamp(line: &[u8]) -> Option<&[u8]> {
    let rest = if let Some(rest) = pattern::behind(line, b"AAA _0 00:00:00") {
        pattern::behind_fraction(rest).1
    } else if let Some((_, rest)) = pattern::behind_iso(line) {
        rest
    } else if let Some(rest) = pattern::behind(line, b"AAA 0000-00-00 00:00:00 ") {
        let n_letters = rest.iter().take_while(|byte| !byte.is_ascii_whitespace()).count();
        &rest[n_letters..]
    } else if let Some(rest) = line.strip_prefix(b"[") {
        behind_monotonic(rest)?
    } else {
        pattern::behind(line, b"0000000000.000000")?
    };
    rest.strip_prefix(b" ")
}

/// What follows `    5.000001]` or `    5.000001 <    0.000001 >]`: seconds since the system began, and since the entry
/// before.
fn behind_monotonic(text: &[u8]) -> Option<&[u8]> {
    let (seconds, rest) = text.split_at(memchr::memchr(b'.', text.get(..text.len().min(16))?)?);
    let is_number = seconds.trim_ascii_start().iter().all(u8::is_ascii_digit);
    let rest = pattern::behind(rest, b".000000").filter(|_| is_number)?;
    let end = memchr::memchr(b']', rest.get(..rest.len().min(24))?)?;
    let is_delta = rest[..end].iter().all(|byte| byte.is_ascii_digit() || b" .<>".contains(byte));
    is_delta.then_some(&rest[end + 1..])
}

/// The tag and the message, behind a host or not.
///
/// What nginx sends before it has asked for the host's name has an empty one (`ngx_cycle->hostname`).
fn host_and_tag(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (first, rest) = pattern::word(text.trim_ascii_start())?;
    if let Some(tag) = program(first) {
        return Some((tag, rest));
    }
    match pattern::word(rest.trim_ascii_start()) {
        Some((second, rest)) if is_kind(second) => {
            let (tag, message) = pattern::word(rest)?;
            Some((program(tag)?, message))
        }
        Some((second, message)) => Some((program(second)?, message)),
        // An empty message may have lost the space before it.
        None => Some((program(rest)?, b"")),
    }
}

/// Whether a word is what syslog calls an entry's facility and severity: `user.notice`, `local7.info`.
fn is_kind(word: &[u8]) -> bool {
    const SEVERITIES: [&[u8]; 11] = [
        b"emerg", b"alert", b"crit", b"err", b"error", b"warn", b"warning", b"notice", b"info", b"debug",
        b"panic",
    ];
    let Some(dot) = memchr::memchr(b'.', word) else { return false };
    let is_facility = word[..dot].iter().all(u8::is_ascii_alphanumeric) && dot > 0;
    is_facility && SEVERITIES.contains(&&word[dot + 1..])
}

/// The lines that follow the first of an entry: `journalctl` writes them behind as many spaces as the head is long.
#[derive(Debug, Default)]
pub(super) struct Entries {
    width: usize,
    program: Vec<u8>,
}

impl Entries {
    /// The program and its line, which may continue the entry before it.
    pub(super) fn entry<'a>(&'a mut self, line: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
        if let Some((program, message)) = entry(line) {
            self.width = line.len() - message.len();
            if program != self.program {
                self.program.clear();
                self.program.extend_from_slice(program);
            }
            return Some((program, message));
        }
        let (head, rest) = line.split_at_checked(self.width)?;
        let is_indented = self.width > 0 && head.iter().all(|byte| *byte == b' ');
        is_indented.then_some((&self.program, rest))
    }
}

/// The program in `nginx:` or `nginx[12]:`.
fn program(tag: &[u8]) -> Option<&[u8]> {
    let tag = tag.strip_suffix(b":")?;
    let name = match tag.strip_suffix(b"]") {
        Some(with_pid) => &with_pid[..memchr::memrchr(b'[', with_pid)?],
        None => tag,
    };
    // An address is a host whose name is not known, or a client.
    let is_name = name.iter().any(u8::is_ascii_alphabetic) && !name.contains(&b':');
    is_name.then_some(name)
}

/// `2026-11-21T02:28:30.1Z host nginx 12 - [id a="b"] text`, behind the version.
fn new_protocol(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (stamp, rest) = pattern::word(text)?;
    if stamp != b"-" && pattern::behind_iso(stamp).is_none_or(|(_, rest)| !rest.is_empty()) {
        return None;
    }
    let (_host, rest) = pattern::word(rest)?;
    let (program, rest) = pattern::word(rest)?;
    let (_process, rest) = pattern::word(rest)?;
    let (_kind, rest) = pattern::word(rest)?;
    let message = behind_structured_data(rest)?;
    let message = message.strip_prefix(b"\xef\xbb\xbf").unwrap_or(message);
    // rsyslog keeps the space behind the old protocol's tag, and the tag itself if it did not find it.
    let message = message.strip_prefix(b" ").unwrap_or(message);
    let tagged = if program == b"-" { host_and_tag(message) } else { None };
    Some(tagged.unwrap_or((program, message)))
}

/// What follows `-` or `[id a="b"][id c="d"]`; a bracket in a value is escaped or stands between quotes.
fn behind_structured_data(text: &[u8]) -> Option<&[u8]> {
    let mut rest = match text.strip_prefix(b"-") {
        Some(rest) => rest,
        None => behind_element(text)?,
    };
    while rest.starts_with(b"[") {
        rest = behind_element(rest)?;
    }
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix(b" ") }
}

fn behind_element(text: &[u8]) -> Option<&[u8]> {
    let mut rest = text.strip_prefix(b"[")?;
    let mut is_quoted = false;
    loop {
        let at = memchr::memchr3(b'"', b'\\', b']', rest)?;
        let byte = rest[at];
        rest = &rest[at + 1..];
        match byte {
            b'"' => is_quoted = !is_quoted,
            b'\\' => rest = rest.get(1..)?,
            _ if !is_quoted => return Some(rest),
            _ => {}
        }
    }
}
