//! The machine behind every probe: it says what it wants, and is fed what came.

use super::http1::{parse_http_answer, print_request};
use why502_facts::{ProbeSpec, TlsSpec};

/// The most bytes of an answer that are kept.
const MAX_RECEIVED: usize = 64 * 1024;

/// What a machine wants next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Want {
    /// Nothing more: close the connection.
    Done,
    /// Bytes of the peer, or its close.
    Read,
    /// A TLS handshake; everything after it goes through TLS.
    Tls(TlsSpec),
    /// These bytes sent.
    Write(Vec<u8>),
}

/// A probe's conversation with a connected peer.
#[derive(Clone, Debug)]
pub struct Machine {
    script: Vec<Want>,
    received: Vec<u8>,
    stop_at_header: bool,
    finished: bool,
    truncated: bool,
}

impl Machine {
    /// The conversation that a probe asks for, once the connection stands.
    pub fn new(spec: &ProbeSpec) -> Self {
        let mut script = match spec {
            ProbeSpec::Connect => Vec::new(),
            ProbeSpec::Tls(tls) => vec![Want::Tls(tls.clone())],
            ProbeSpec::Http { tls, request } => {
                let handshake = tls.clone().map(Want::Tls);
                handshake.into_iter().chain([Want::Write(print_request(request)), Want::Read]).collect()
            }
        };
        script.reverse();
        let stop_at_header = matches!(spec, ProbeSpec::Http { .. });
        Self { script, received: Vec::new(), stop_at_header, finished: false, truncated: false }
    }

    /// What comes next. `Read` is repeated until enough came; the others are to be done once.
    pub fn want(&mut self) -> Want {
        if self.finished {
            return Want::Done;
        }
        match self.script.last() {
            None => Want::Done,
            Some(Want::Read) => Want::Read,
            Some(_) => self.script.pop().unwrap_or(Want::Done),
        }
    }

    /// Takes bytes of the peer.
    pub fn feed(&mut self, bytes: &[u8]) {
        let room = MAX_RECEIVED - self.received.len();
        self.truncated |= bytes.len() > room;
        self.received.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.finished = self.truncated || self.received.len() == MAX_RECEIVED || self.has_enough();
    }

    /// Takes the peer's close.
    pub fn eof(&mut self) {
        self.finished = true;
    }

    /// Whether the answer went on after what was kept.
    pub fn truncated(&self) -> bool {
        self.truncated
    }

    /// What the peer sent.
    pub fn into_received(self) -> Vec<u8> {
        self.received
    }

    /// A header that is complete ends an HTTP conversation; a peer that speaks first is known by its first bytes, and
    /// bytes that are no HTTP need no more than a look.
    fn has_enough(&self) -> bool {
        if !self.stop_at_header {
            return !self.received.is_empty();
        }
        match parse_http_answer(&self.received) {
            Some(answer) => answer.complete,
            None => self.received.len() >= 512,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use why502_facts::HttpRequestSpec;

    fn http() -> ProbeSpec {
        let request = HttpRequestSpec {
            method: "HEAD".to_owned(),
            target: "/".to_owned(),
            version: "1.0".to_owned(),
            headers: Vec::new(),
        };
        ProbeSpec::Http { tls: Some(TlsSpec::default()), request }
    }

    #[test]
    fn a_request_through_tls_shakes_hands_writes_and_reads() {
        let mut machine = Machine::new(&http());
        assert_eq!(machine.want(), Want::Tls(TlsSpec::default()));
        assert_eq!(machine.want(), Want::Write(b"HEAD / HTTP/1.0\r\n\r\n".to_vec()));
        assert_eq!(machine.want(), Want::Read);
        assert_eq!(machine.want(), Want::Read);
        machine.feed(b"HTTP/1.0 200 OK\r\n\r\n");
        assert_eq!(machine.want(), Want::Done);
    }

    #[test]
    fn a_mere_connection_wants_nothing() {
        assert_eq!(Machine::new(&ProbeSpec::Connect).want(), Want::Done);
    }

    #[test]
    fn memory_is_bounded() {
        let mut machine = Machine::new(&http());
        machine.feed(&vec![b'a'; MAX_RECEIVED + 1]);
        assert!(machine.truncated());
        assert_eq!(machine.into_received().len(), MAX_RECEIVED);
    }

    proptest! {
        #[test]
        fn fed_byte_by_byte_is_fed_whole(answer in any::<Vec<u8>>(), is_http in any::<bool>()) {
            let mut bytes = if is_http { b"HTTP/1.1 200 OK\r\n".to_vec() } else { Vec::new() };
            bytes.extend(answer);
            let mut whole = Machine::new(&http());
            whole.feed(&bytes);
            let mut single = Machine::new(&http());
            for byte in &bytes {
                // The driver stops reading once a machine has enough.
                if !single.finished {
                    single.feed(&[*byte]);
                }
            }
            let (whole, single) = (whole.into_received(), single.into_received());
            prop_assert_eq!(super::super::first_bytes(&whole), super::super::first_bytes(&single[..]).clone_with_body(&whole));
        }
    }

    trait CloneWithBody {
        fn clone_with_body(self, whole: &[u8]) -> why502_facts::FirstBytes;
    }

    impl CloneWithBody for why502_facts::FirstBytes {
        /// Byte by byte the reading stops at the header's end; the begin of the body is what the whole has more.
        fn clone_with_body(self, whole: &[u8]) -> why502_facts::FirstBytes {
            match self {
                Self::Http(mut answer) => {
                    let end = usize::try_from(answer.head_bytes).unwrap();
                    if answer.complete {
                        answer.body = (&whole[end..]).into();
                    }
                    Self::Http(answer)
                }
                other => other,
            }
        }
    }
}
