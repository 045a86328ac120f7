//! What the gateway was doing: the closed list of `log->action`.

use memchr::memmem;
use std::sync::LazyLock;
use why502_facts::Phase;

const WHILE: &[u8] = b" while ";
/// Forwards: searching backwards is many times slower, and a message has it once or twice.
static FIND_WHILE: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new(WHILE));

/// Where ` while ` stands last.
pub(super) fn last_while(text: &[u8]) -> Option<usize> {
    FIND_WHILE.find_iter(text).last()
}

/// Splits ` while ACTION` off the end of a message. Messages contain ` while ` themselves, so only known actions count.
pub(super) fn split(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    match last_while(text) {
        Some(at) if phase(&text[at + WHILE.len()..]).is_some() => {
            (&text[..at], Some(&text[at + WHILE.len()..]))
        }
        _ => (text, None),
    }
}

/// The phase that an action's words mean (every `log->action` of nginx, Angie and Tengine).
pub(super) fn phase(action: &[u8]) -> Option<Phase> {
    Some(match action {
        b"connecting to upstream" | b"sending PROXY protocol header to upstream" => Phase::Connecting,
        b"SSL handshaking to upstream" | b"QUIC handshaking to upstream" | b"proxy pass SSL handshaking" => {
            Phase::TlsHandshake
        }
        b"sending request to upstream" => Phase::SendingRequest,
        b"reading response header from upstream" => Phase::ReadingHeader,
        b"reading upstream" => Phase::ReadingBody,
        b"sending to client"
        | b"sending early hints to client"
        | b"sending mp4 to client"
        | b"sending flv to client"
        | b"sending slice to client" => Phase::SendingToClient,
        b"proxying upgraded connection" => Phase::Upgraded,
        b"proxying connection"
        | b"proxying"
        | b"proxying and reading from client"
        | b"proxying and reading from upstream"
        | b"proxying and sending to client"
        | b"proxying and sending to upstream" => Phase::Forwarding,
        b"resolving" => Phase::Resolving,
        _ if CLIENT_SIDE.contains(&action) => Phase::ClientSide,
        _ => return None,
    })
}

/// Actions before a request is passed on, after it is finished, or of the gateway's own errands.
const CLIENT_SIDE: &[&[u8]] = &[
    b"waiting for request",
    b"keepalive",
    b"SSL handshaking",
    b"reading client request line",
    b"reading client request headers",
    b"reading client pipelined request line",
    b"reading client request",
    b"reading PROXY protocol",
    b"processing HTTP/2 connection",
    b"closing request",
    b"logging request",
    b"logging to syslog",
    b"requesting certificate status",
    b"accepting new connection",
    // QUIC and HTTP/3.
    b"creating quic connection",
    b"handling quic input",
    b"handling quic packet",
    b"handling quic client input",
    b"handling initial packet",
    b"handling decrypted packet",
    b"handling payload",
    b"handling frames",
    b"parsing quic packet",
    b"parsing quic long header",
    b"parsing frames",
    b"decrypting packet",
    b"preparing ack",
    b"sending frames",
    b"updating keys",
    b"xquic waiting for request",
    // TCP and UDP.
    b"initializing session",
    b"prereading client data",
    b"passing connection to port",
    b"returning text",
    // Mail.
    b"in auth state",
    b"in http auth state",
    b"in starttls state",
    b"in resolving client hostname",
    b"in resolving client address",
    b"in delay pipelining state",
    b"sending client greeting line",
    b"sending response to client",
    b"sending user name to upstream",
    b"sending password to upstream",
    b"sending HELO/EHLO to upstream",
    b"sending client HELO/EHLO to upstream",
    b"sending MAIL FROM to upstream",
    b"sending RCPT TO to upstream",
    b"sending XCLIENT to upstream",
    b"sending AUTH to upstream",
    b"sending LOGIN command to upstream",
    b"reading response from upstream",
    // OpenResty, Tengine, Angie.
    b"loading SSL certificate by lua",
    b"loading SSL client hello by lua",
    b"loading proxy ssl verify by lua",
    b"fetching SSL session by lua",
    b"storing SSL session by lua",
    b"sending response to ACME HTTP challenge",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_actions_are_split_off() {
        assert_eq!(
            split(b"no live upstreams while connecting to upstream"),
            (b"no live upstreams".as_slice(), Some(b"connecting to upstream".as_slice()))
        );
        let message = b"unexpected eof while reading".as_slice();
        assert_eq!(split(message), (message, None));
    }

    #[test]
    fn the_words_of_a_phase_lead_back_to_it() {
        for phase in [
            Phase::Connecting,
            Phase::TlsHandshake,
            Phase::SendingRequest,
            Phase::ReadingHeader,
            Phase::ReadingBody,
            Phase::SendingToClient,
            Phase::Upgraded,
            Phase::Forwarding,
            Phase::Resolving,
        ] {
            assert_eq!(super::phase(phase.words().as_bytes()), Some(phase));
        }
    }
}
