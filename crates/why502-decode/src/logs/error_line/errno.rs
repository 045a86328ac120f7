//! The error code that `ngx_log_errno` appends to a message: ` (111: Connection refused)`.

use crate::logs::stamps::digits;
use memchr::{memmem, memrchr};
use why502_facts::Errno;

/// Splits the code off the end of a message.
pub(super) fn split(message: &[u8]) -> (&[u8], Option<Errno>) {
    let Some(open) = message.ends_with(b")").then(|| memrchr(b'(', message)).flatten() else {
        return (message, None);
    };
    let Some(before) = message[..open].strip_suffix(b" ") else { return (message, None) };
    // The resolver's codes have the same form and another meaning (`ngx_resolver_strerror`).
    if before.ends_with(b"could not be resolved") {
        return (message, None);
    }
    match code(&message[open + 1..message.len() - 1]) {
        Some(errno) => (before, Some(errno)),
        None => (message, None),
    }
}

/// Finds the code inside a message that goes on with its place in the configuration.
pub(super) fn find(message: &[u8]) -> Option<Errno> {
    let close = memmem::rfind(message, b") in ")?;
    let open = memrchr(b'(', &message[..close])?;
    code(&message[open + 1..close])
}

fn code(text: &[u8]) -> Option<Errno> {
    let (number, words) = text.split_at(memmem::find(text, b": ")?);
    let number = i32::try_from(digits(number)?).ok()?;
    Some(Errno::from_log(number, std::str::from_utf8(&words[2..]).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_code_at_the_end_is_one() {
        assert_eq!(
            split(b"recv() failed (104: Connection reset by peer)"),
            (b"recv() failed".as_slice(), Some(Errno::ConnectionReset))
        );
        // Old builds on a new glibc have no words (`Unknown error`): the number tells.
        assert_eq!(split(b"x (111: Unknown error)").1, Some(Errno::ConnectionRefused));
        for message in [
            "a.test could not be resolved (3: Host not found)",
            "upstream SSL certificate verify error: (18:self-signed certificate)",
            "signal 17 (SIGCHLD) received from 12",
            "x ()",
            "(",
            ")",
            "",
        ] {
            assert_eq!(split(message.as_bytes()), (message.as_bytes(), None), "{message}");
        }
    }
}
