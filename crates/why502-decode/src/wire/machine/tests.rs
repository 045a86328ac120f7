use super::*;
use crate::wire::{ProbeAnswer, first_bytes, parse_answer};
use proptest::prelude::*;
use why502_facts::{Blob, CgiRequestSpec, FirstBytes, HttpRequestSpec, ProxyHeader, websocket_request};

fn http() -> ProbeSpec {
    let request = HttpRequestSpec {
        method: "HEAD".to_owned(),
        target: "/".to_owned(),
        version: "1.0".to_owned(),
        headers: Vec::new(),
        idle: None,
        again: false,
        segment: None,
    };
    ProbeSpec::Http { tls: Some(TlsSpec::default()), request }
}

fn http2() -> ProbeSpec {
    let ProbeSpec::Http { request, .. } = http() else { unreachable!() };
    ProbeSpec::Http2 { tls: None, request }
}

fn grpc() -> ProbeSpec {
    ProbeSpec::GrpcHealth { tls: None, headers: vec![("Host".to_owned(), "a".to_owned())] }
}

#[test]
fn an_answer_of_grpc_is_read_to_its_end() {
    let mut machine = Machine::new(&grpc());
    assert!(matches!(machine.want(), Want::Write(_)));
    // A header without an end, a message, a trailer.
    for part in [
        b"\0\0\0\x04\0\0\0\0\0\0\0\x01\x01\x04\0\0\0\x01\x88".as_slice(),
        b"\0\0\x07\0\0\0\0\0\x01\0\0\0\0\x02\x08\x01",
    ] {
        machine.feed(part);
        while machine.want() != Want::Read {}
    }
    machine.feed(b"\0\0\x0f\x01\x05\0\0\0\x01\0\x0bgrpc-status\x010");
    assert_eq!(machine.want(), Want::Done);
    let answer = parse_answer(&grpc(), &machine.into_received());
    assert_eq!(answer.header.unwrap().status, 200);
    let grpc = answer.http2.unwrap().grpc.unwrap();
    assert_eq!((grpc.status, grpc.serving), (0, Some(1)));
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
fn the_header_of_the_proxy_protocol_stands_before_the_handshake() {
    let ProbeSpec::Http { tls, request } = http() else { unreachable!() };
    let spec = ProbeSpec::ProxyProtocol { header: ProxyHeader::Text, tls, request };
    let mut machine = Machine::new(&spec);
    assert_eq!(machine.want(), Want::Announce(b"PROXY UNKNOWN\r\n"));
    assert_eq!(machine.want(), Want::Tls(TlsSpec::default()));
    assert!(matches!(machine.want(), Want::Write(request) if request.starts_with(b"HEAD / ")));
}

#[test]
fn a_connection_is_held_where_that_tells_something() {
    let most = Duration::from_mins(1);
    for (head, wanted) in [
        ("HTTP/1.1 200 OK\r\n\r\n", Want::Idle(most)),
        ("HTTP/1.0 200 OK\r\nconnection: Keep-Alive\r\n\r\n", Want::Idle(most)),
        // Whether it is longer or shorter, whole seconds do not tell.
        ("HTTP/1.1 200 OK\r\nKeep-Alive: timeout=60, max=99\r\n\r\n", Want::Idle(most)),
        ("HTTP/1.1 200 OK\r\nKeep-Alive: max=99, timeout=5\r\n\r\n", Want::Done),
        ("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", Want::Done),
        ("HTTP/1.0 200 OK\r\n\r\n", Want::Done),
        ("SSH-2.0-OpenSSH_9.2\r\n", Want::Read),
    ] {
        let ProbeSpec::Http { request, .. } = http() else { panic!() };
        let request = HttpRequestSpec { idle: Some(most), ..request };
        let mut machine = Machine::new(&ProbeSpec::Http { tls: None, request });
        while machine.want() != Want::Read {}
        machine.feed(head.as_bytes());
        assert_eq!(machine.want(), wanted, "{head}");
        machine.eof();
        assert_eq!(machine.want(), Want::Done);
    }
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
        let wants = wants
            .iter()
            .skip_while(|want| matches!(want, Want::Announce(_) | Want::Listen(_) | Want::Tls(_)))
            .collect::<Vec<_>>();
        assert!(matches!(wants[..2], [Want::Write(_), Want::Read]), "{spec:?} {wants:?}");
    }
}

#[test]
fn who_speaks_first_is_sent_nothing() {
    let ProbeSpec::Http { request, .. } = http() else { unreachable!() };
    let spec = ProbeSpec::WhoSpeaks(request);
    let mut greeted = Machine::new(&spec);
    assert!(matches!(greeted.want(), Want::Listen(_)));
    greeted.feed(b"220-mail.example");
    assert_eq!(greeted.want(), Want::Read);
    greeted.feed(b"\r\n");
    assert_eq!(greeted.want(), Want::Done);
    let mut silent = Machine::new(&spec);
    assert!(matches!(silent.want(), Want::Listen(_)));
    assert!(matches!(silent.want(), Want::Write(_)));
}

#[test]
fn a_websocket_that_was_opened_is_closed() {
    let spec = ProbeSpec::WebSocket { tls: None, request: websocket_request("/ws", Vec::new()) };
    let mut machine = Machine::new(&spec);
    let Want::Write(request) = machine.want() else { panic!("no request") };
    assert!(request.starts_with(b"GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n"));
    machine.feed(b"HTTP/1.1 101 Switching Protocols\r\n\r\n");
    assert_eq!(machine.want(), Want::Write(WEBSOCKET_CLOSE.to_vec()));
    assert_eq!(machine.want(), Want::Done);
    let mut refused = Machine::new(&spec);
    refused.feed(b"HTTP/1.1 426 Upgrade Required\r\n\r\n");
    assert_eq!(refused.want(), Want::Done);
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
    b"\0\0\0\x04\0\0\0\0\0\0\0\x01\x01\x04\0\0\0\x01\x88\0\0\x07\0\0\0\0\0\x01\0\0\0\0\x02\x08\x01",
    b"HTTP/1.1 200 OK\r\n",
    b"Status: 404 Not Found\r\n",
    b"SSH-2.0-OpenSSH_9.2p1\r\n",
    b"VERSION 1.6.18\r\n",
    b"VALUE /a 0 5\r\nhello\r\nEND",
    b"SERVER_ERROR out of memory",
    b"-ERR unknown command\r\n",
    b"\n\0\0\0\x0a8.0",
    b"\x01\x06\0\x01\0\x0d\0\0Status: 200\r\n\x01\x06\0\x01\0\x04\0\0",
    b"\x01\x07\0\x01\0\x04\x04\0oops\0\0\0\0\x01\x06\0\x01\0\x40\0\0Status: 200\r\n",
];

/// A probe of each protocol.
fn specs() -> [ProbeSpec; 13] {
    let request = CgiRequestSpec::default();
    let ProbeSpec::Http { request: http_request, .. } = http() else { unreachable!() };
    [
        http(),
        http2(),
        grpc(),
        ProbeSpec::FastCgi(request.clone()),
        ProbeSpec::FastCgiValues,
        ProbeSpec::MemcachedGet("/a".to_owned()),
        ProbeSpec::MemcachedVersion,
        ProbeSpec::UwsgiPing,
        ProbeSpec::ProxyProtocol { header: ProxyHeader::Text, tls: None, request: http_request.clone() },
        ProbeSpec::Scgi(request.clone()),
        ProbeSpec::Uwsgi { tls: None, modifiers: [0, 0], request },
        ProbeSpec::WebSocket { tls: None, request: websocket_request("/", Vec::new()) },
        ProbeSpec::WhoSpeaks(http_request),
    ]
}
