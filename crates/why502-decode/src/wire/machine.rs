//! The machine behind every probe: it says what it wants, and is fed what came.

use super::answer::{Protocol, print};
use super::http2::acknowledgements;
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
    /// How much of it is whole frames of HTTP/2 that were looked through for what is to be acknowledged.
    looked: usize,
    /// What is to be acknowledged.
    replies: Vec<u8>,
    /// What the answer is read as; `None`: no request is sent, and the first bytes are all that is wanted.
    protocol: Option<Protocol>,
    finished: bool,
    truncated: bool,
}

impl Machine {
    /// The conversation that a probe asks for, once the connection stands.
    pub fn new(spec: &ProbeSpec) -> Self {
        let mut script: Vec<Want> = spec.tls().cloned().map(Want::Tls).into_iter().collect();
        if let Some(request) = print(spec) {
            script.extend([Want::Write(request), Want::Read]);
        }
        script.reverse();
        Self {
            script,
            received: Vec::new(),
            looked: 0,
            replies: Vec::new(),
            protocol: Protocol::of(spec),
            finished: false,
            truncated: false,
        }
    }

    /// What comes next. `Read` is repeated until enough came; the others are to be done once.
    pub fn want(&mut self) -> Want {
        if self.finished {
            return Want::Done;
        }
        if !self.replies.is_empty() {
            return Want::Write(std::mem::take(&mut self.replies));
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
        if self.protocol == Some(Protocol::Http2) && !self.finished {
            let (replies, length) = acknowledgements(&self.received[self.looked..]);
            self.replies.extend(replies);
            self.looked += length;
        }
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

    /// A header that is complete ends a conversation; a peer that speaks first is known by its first bytes, and bytes of
    /// another protocol need no more than a look.
    fn has_enough(&self) -> bool {
        match self.protocol {
            None => !self.received.is_empty(),
            Some(protocol) => protocol.has_enough(&self.received),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{ProbeAnswer, first_bytes, parse_answer};
    use proptest::prelude::*;
    use why502_facts::{Blob, CgiRequestSpec, FirstBytes, HttpRequestSpec};

    fn http() -> ProbeSpec {
        let request = HttpRequestSpec {
            method: "HEAD".to_owned(),
            target: "/".to_owned(),
            version: "1.0".to_owned(),
            headers: Vec::new(),
        };
        ProbeSpec::Http { tls: Some(TlsSpec::default()), request }
    }

    fn http2() -> ProbeSpec {
        let ProbeSpec::Http { request, .. } = http() else { unreachable!() };
        ProbeSpec::Http2 { tls: None, request }
    }

    #[test]
    fn frames_are_acknowledged_before_more_is_read() {
        let mut machine = Machine::new(&http2());
        assert!(matches!(machine.want(), Want::Write(_)));
        assert_eq!(machine.want(), Want::Read);
        machine.feed(b"\0\0\0\x04\0\0\0\0\0");
        assert_eq!(machine.want(), Want::Write(b"\0\0\0\x04\x01\0\0\0\0".to_vec()));
        assert_eq!(machine.want(), Want::Read);
        machine.feed(b"\0\0\x01\x01\x05\0\0\0\x01\x88");
        assert_eq!(machine.want(), Want::Done);
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
    fn every_protocol_writes_a_request_and_reads() {
        for spec in specs() {
            let mut machine = Machine::new(&spec);
            let wants: Vec<Want> = std::iter::repeat_with(|| machine.want()).take(3).collect();
            let wants = wants.iter().skip_while(|want| matches!(want, Want::Tls(_))).collect::<Vec<_>>();
            assert!(matches!(wants[..2], [Want::Write(_), Want::Read]), "{spec:?} {wants:?}");
        }
    }

    #[test]
    fn a_few_bytes_do_not_tell_the_protocol() {
        let asked = ProbeSpec::Scgi(CgiRequestSpec::default());
        let packet = b"\n\0\0\0\xff\x10\x04too many".as_slice();
        let record = b"\x01\x07\0\0\xff\0\0\0_^^U".as_slice();
        for (spec, bytes, expected) in [
            (asked, packet, FirstBytes::Banner("MySQL")),
            (ProbeSpec::FastCgiValues, record, FirstBytes::FastCgi),
        ] {
            let mut machine = Machine::new(&spec);
            while !matches!(machine.want(), Want::Read) {}
            for byte in bytes {
                if machine.want() == Want::Read {
                    machine.feed(&[*byte]);
                }
            }
            assert_eq!(first_bytes(&machine.into_received()), expected);
        }
    }

    #[test]
    fn memory_is_bounded() {
        for spec in specs() {
            let mut machine = Machine::new(&spec);
            machine.feed(&vec![1; MAX_RECEIVED + 1]);
            assert!(machine.truncated());
            assert_eq!(machine.into_received().len(), MAX_RECEIVED);
        }
    }

    /// What is read of an answer: the begin of its body may be longer where more was fed at once.
    fn answered(spec: &ProbeSpec, bytes: &[u8]) -> (FirstBytes, ProbeAnswer) {
        let mut answer = parse_answer(spec, bytes);
        if let Some(header) = &mut answer.header {
            header.body = Blob::default();
        }
        (first_bytes(bytes), answer)
    }

    proptest! {
        #[test]
        fn fed_byte_by_byte_is_fed_whole(begin in 0..BEGINNINGS.len(), rest in any::<Vec<u8>>(), end in 0..2_usize) {
            let bytes = [BEGINNINGS[begin], rest.as_slice(), [b"".as_slice(), b"\r\n\r\nbody"][end]].concat();
            for spec in specs() {
                let mut whole = Machine::new(&spec);
                whole.feed(&bytes);
                let mut single = Machine::new(&spec);
                for byte in &bytes {
                    // The driver stops reading once a machine has enough.
                    if !single.finished {
                        single.feed(&[*byte]);
                    }
                }
                let (whole, single) = (whole.into_received(), single.into_received());
                prop_assert_eq!(answered(&spec, &whole), answered(&spec, &single));
            }
        }
    }

    const BEGINNINGS: &[&[u8]] = &[
        b"",
        b"\0\0\0\x04\0\0\0\0\0",
        b"\0\0\0\x04\0\0\0\0\0\0\0\x01\x01\x05\0\0\0\x01\x88",
        b"\0\0\0\x04\0\0\0\0\0\0\0\x08\x06\0\0\0\0\0",
        b"HTTP/1.1 200 OK\r\n",
        b"Status: 404 Not Found\r\n",
        b"\x01\x06\0\x01\0\x0d\0\0Status: 200\r\n\x01\x06\0\x01\0\x04\0\0",
        b"\x01\x07\0\x01\0\x04\x04\0oops\0\0\0\0\x01\x06\0\x01\0\x40\0\0Status: 200\r\n",
    ];

    /// A probe of each protocol.
    fn specs() -> [ProbeSpec; 8] {
        let request = CgiRequestSpec::default();
        [
            http(),
            http2(),
            ProbeSpec::Http2Settings,
            ProbeSpec::FastCgi(request.clone()),
            ProbeSpec::FastCgiValues,
            ProbeSpec::UwsgiPing,
            ProbeSpec::Scgi(request.clone()),
            ProbeSpec::Uwsgi { tls: None, modifiers: [0, 0], request },
        ]
    }
}
