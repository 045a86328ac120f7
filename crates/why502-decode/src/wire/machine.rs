//! The machine behind every probe: it says what it wants, and is fed what came.

use super::answer::{Protocol, print};
use super::http1::parse_http_answer;
use super::http2::{acknowledgements, without_compression};
use super::proxy_protocol::print_proxy_header;
use std::time::Duration;
use why502_facts::{ProbeSpec, TlsSpec};

/// How long a peer is given to speak first: servers that do greet as soon as they accept.
pub const GREETING: Duration = Duration::from_millis(400);
/// What ends a WebSocket without a word: a masked close frame without content, its key being zeros (RFC 6455, section 5.2).
const WEBSOCKET_CLOSE: [u8; 6] = [0x88, 0x80, 0, 0, 0, 0];
/// What begins the answer of a server that changes the protocol.
const SWITCHING: &[u8] = b"HTTP/1.1 101";

/// The most bytes of an answer that are kept.
const MAX_RECEIVED: usize = 64 * 1024;
/// How exactly a peer names its idle timeout: servers round to whole seconds, and some add one.
const NAMED_TO: Duration = Duration::from_secs(2);

/// What a machine wants next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Want {
    /// The request once more, on a connection that is open still.
    Again(Vec<u8>),
    /// The header of the PROXY protocol sent, which stands before everything else.
    Announce(&'static [u8]),
    /// Nothing more: close the connection.
    Done,
    /// To hold the connection open for so long at most, without a word, until the peer closes it.
    Idle(Duration),
    /// Bytes of the peer, or so long a silence.
    Listen(Duration),
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
    /// How long the connection is to be held open at most, behind the answer.
    idle: Option<Duration>,
    /// The request that is sent once more behind that.
    again: Option<Vec<u8>>,
    /// What the answer is read as; `None`: no request is sent, and the first bytes are all that is wanted.
    protocol: Option<Protocol>,
    /// What ends the conversation where the peer changed the protocol.
    farewell: Option<Vec<u8>>,
    finished: bool,
    truncated: bool,
}

impl Machine {
    /// The conversation that a probe asks for, once the connection stands.
    pub fn new(spec: &ProbeSpec) -> Self {
        let mut script = Vec::new();
        if let ProbeSpec::ProxyProtocol { header, .. } = spec {
            script.push(Want::Announce(print_proxy_header(*header)));
        }
        script.extend(spec.tls().cloned().map(Want::Tls));
        if matches!(spec, ProbeSpec::WhoSpeaks(_)) {
            script.push(Want::Listen(GREETING));
        }
        if let Some(request) = print(spec) {
            script.extend([Want::Write(request), Want::Read]);
        }
        script.reverse();
        Self {
            script,
            received: Vec::new(),
            looked: 0,
            replies: Vec::new(),
            idle: spec.idle(),
            again: print(spec).filter(|_| spec.again()),
            protocol: Protocol::of(spec),
            farewell: matches!(spec, ProbeSpec::WebSocket { .. }).then(|| WEBSOCKET_CLOSE.to_vec()),
            finished: false,
            truncated: false,
        }
    }

    /// What comes next. `Read` is repeated until enough came; the others are to be done once.
    ///
    /// What came while it listened is fed; a peer that begins to speak is read on, and nothing is sent.
    pub fn want(&mut self) -> Want {
        if self.finished {
            if let Some(farewell) = self.farewell.take().filter(|_| self.received.starts_with(SWITCHING)) {
                return Want::Write(farewell);
            }
            if let Some(most) = self.idle.take() {
                return Want::Idle(most);
            }
            return self.again.take().map_or(Want::Done, Want::Again);
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
        // Who speaks first is not interrupted.
        self.script.retain(|want| *want == Want::Read);
        self.finished = self.truncated || self.received.len() == MAX_RECEIVED || self.has_enough();
        if matches!(self.protocol, Some(Protocol::Http2(_))) && !self.finished {
            let (replies, length) = acknowledgements(&self.received[self.looked..]);
            self.replies.extend(replies);
            self.looked += length;
        }
        if self.finished {
            let again = self.again.is_some();
            self.idle = self.idle.filter(|most| {
                is_worth_holding(&self.received, *most) || (again && is_kept_longer(&self.received, *most))
            });
            self.again = self.again.take().filter(|_| self.idle.is_some());
        }
    }

    /// Takes the peer's close.
    pub fn eof(&mut self) {
        self.finished = true;
        self.farewell = None;
        (self.idle, self.again) = (None, None);
    }

    /// Whether the answer went on after what was kept.
    pub fn truncated(&self) -> bool {
        self.truncated
    }

    /// What the peer sent, as far as it may be kept.
    pub fn into_received(self) -> Vec<u8> {
        match self.protocol {
            Some(Protocol::Http2(until)) => without_compression(self.received, until),
            _ => self.received,
        }
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

/// Whether holding the connection behind an answer tells something: the peer keeps it open, and does not name a time that
/// is, to the second, another one.
fn is_worth_holding(received: &[u8], most: Duration) -> bool {
    let Some(answer) = parse_http_answer(received).filter(|answer| answer.complete) else { return false };
    let is_told = |named: Duration| named.abs_diff(most) > NAMED_TO;
    answer.keeps_open() && !answer.named_idle_timeout().is_some_and(is_told)
}

/// Whether the peer says that it keeps an idle connection for longer: then only somebody on the way ends it before.
fn is_kept_longer(received: &[u8], most: Duration) -> bool {
    let Some(answer) = parse_http_answer(received).filter(|answer| answer.complete) else { return false };
    answer.keeps_open() && answer.named_idle_timeout().is_some_and(|named| named > most)
}

#[cfg(test)]
mod tests;
