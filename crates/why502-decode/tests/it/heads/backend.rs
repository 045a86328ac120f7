//! A backend that sends the head that a request asks for, and closes.

use super::Protocol;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// The types of FastCGI's records, and the length of their headers.
const END_REQUEST: u8 = 3;
const STDOUT: u8 = 6;

/// Listens on a port of its own; the address.
pub(super) fn listen(heads: Vec<Vec<u8>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let heads = Arc::new(heads);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let heads = Arc::clone(&heads);
            thread::spawn(move || serve(stream, &heads));
        }
    });
    address
}

/// The folder of all paths of a protocol.
pub(super) fn folder(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::FastCgi => "/fastcgi/",
        Protocol::Http => "/http/",
        Protocol::Scgi => "/scgi/",
        Protocol::Uwsgi => "/uwsgi/",
    }
}

/// The path of a head; its number has the same length for all.
pub(super) fn path(protocol: Protocol, idx: usize) -> String {
    format!("{}{idx:04}", folder(protocol))
}

/// A head as it is sent in a protocol.
pub(super) fn framed(protocol: Protocol, head: &[u8]) -> Vec<u8> {
    if protocol != Protocol::FastCgi {
        return head.to_vec();
    }
    let record = |kind: u8, content: &[u8]| {
        let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[1, kind, 0, 1, high, low, 0, 0], content].concat()
    };
    let output = if head.is_empty() { Vec::new() } else { record(STDOUT, head) };
    [output, record(END_REQUEST, &[0; 8])].concat()
}

fn serve(mut stream: TcpStream, heads: &[Vec<u8>]) {
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut request = Vec::new();
    let mut part = [0; 4096];
    let (protocol, head) = loop {
        match stream.read(&mut part) {
            Ok(n_bytes) if n_bytes > 0 => request.extend_from_slice(&part[..n_bytes]),
            _ => return,
        }
        if let Some(asked) = asked(&request, heads) {
            break asked;
        }
    };
    // nginx hangs up on some of them.
    let _ = stream.write_all(&framed(protocol, head));
    let _ = stream.shutdown(Shutdown::Write);
    // Closing with bytes unread would reset the connection.
    while stream.read(&mut part).is_ok_and(|n_bytes| n_bytes > 0) {}
}

/// The head that a request names, once its name has come: `case=` and the path.
fn asked<'a>(request: &[u8], heads: &'a [Vec<u8>]) -> Option<(Protocol, &'a [u8])> {
    let text = String::from_utf8_lossy(request);
    let path = text.split("case=").nth(1)?;
    let protocol = super::PROTOCOLS.into_iter().find(|protocol| path.starts_with(folder(*protocol)))?;
    let number = path.strip_prefix(folder(protocol))?.get(..4)?;
    Some((protocol, heads.get(number.parse::<usize>().ok()?)?))
}
