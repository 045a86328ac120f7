//! What a server says on one connection.

use super::stream::Connection;
use crate::scenario::{Action, Backend, Respond};
use anyhow::{Result, bail};
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::thread;
use std::time::Duration;

/// The longest request head that is read.
const MAX_HEAD: usize = 256 * 1024;

/// How a connection goes on after an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Ended,
    GoesOn,
}

/// A request as far as a server cares.
#[derive(Debug, Default, PartialEq, Eq)]
struct Request {
    method: String,
    path: String,
    body_bytes: usize,
}

/// Serves one connection to its end.
pub(super) fn converse(backend: &Backend, connection: &mut Connection) -> Result<()> {
    for action in &backend.on_connect {
        if act(action, &Request::default(), connection)? == Next::Ended {
            return Ok(());
        }
    }
    let mut pending = Vec::new();
    loop {
        let Some(request) = read_request(backend.raw, connection, &mut pending)? else { return Ok(()) };
        let route = backend.route.iter().find(|route| {
            request.path.starts_with(&route.path)
                && route.method.as_ref().is_none_or(|method| *method == request.method)
        });
        let usual = [Action::Respond(Respond { body: "ok\n".to_owned(), ..Respond::default() })];
        let actions = match route {
            Some(route) => route.actions.as_slice(),
            None if backend.otherwise.is_empty() => usual.as_slice(),
            None => backend.otherwise.as_slice(),
        };
        for action in actions {
            if act(action, &request, connection)? == Next::Ended {
                return Ok(());
            }
        }
        if !backend.keepalive {
            connection.close();
            return Ok(());
        }
    }
}

/// Reads a request with its body; `None` at the end of the connection.
fn read_request(raw: bool, connection: &mut Connection, pending: &mut Vec<u8>) -> Result<Option<Request>> {
    let mut buffer = [0; 16 * 1024];
    let head_end = loop {
        if let Some(at) = pending.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break at + 4;
        }
        if pending.len() > MAX_HEAD {
            bail!("the request head is too long");
        }
        let length = connection.read(&mut buffer)?;
        if length == 0 {
            return Ok(None);
        }
        if raw {
            return Ok(Some(Request::default()));
        }
        pending.extend_from_slice(&buffer[..length]);
    };
    let request = parse_head(&String::from_utf8_lossy(&pending[..head_end]));
    while pending.len() < head_end + request.body_bytes {
        let length = connection.read(&mut buffer)?;
        if length == 0 {
            return Ok(None);
        }
        pending.extend_from_slice(&buffer[..length]);
    }
    pending.drain(..head_end + request.body_bytes);
    Ok(Some(request))
}

fn parse_head(head: &str) -> Request {
    let mut words = head.split(' ');
    let method = words.next().unwrap_or_default().to_owned();
    let path = words.next().unwrap_or_default().to_owned();
    let length = head.lines().filter_map(|line| line.split_once(':'));
    let mut length = length.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let body_bytes = length.next_back().and_then(|(_, value)| value.trim().parse().ok()).unwrap_or(0);
    Request { method, path, body_bytes }
}

fn act(action: &Action, request: &Request, connection: &mut Connection) -> Result<Next> {
    match action {
        Action::BigHeader(bytes) => connection.write_all(big_header(*bytes).as_bytes())?,
        Action::Close => {
            connection.close();
            return Ok(Next::Ended);
        }
        Action::Hang => {
            // Until the client goes.
            let mut rest = [0; 4096];
            while connection.read(&mut rest).is_ok_and(|length| length > 0) {}
            return Ok(Next::Ended);
        }
        Action::Reset => {
            connection.arm_reset();
            return Ok(Next::Ended);
        }
        Action::Respond(respond) => connection.write_all(&answer(respond, request))?,
        Action::Send(text) => connection.write_all(text.as_bytes())?,
        Action::SendHex(digits) => connection.write_all(&decode_hex(digits)?)?,
        Action::WaitMs(time) => thread::sleep(Duration::from_millis(*time)),
    }
    connection.flush()?;
    Ok(Next::GoesOn)
}

fn answer(respond: &Respond, request: &Request) -> Vec<u8> {
    let status = respond.status.unwrap_or(200);
    let body = respond.body_bytes.map_or_else(|| respond.body.clone(), |bytes| "x".repeat(bytes));
    let mut head = format!("HTTP/1.1 {status} {}\r\nContent-Length: {}\r\n", reason(status), body.len());
    for (name, value) in &respond.headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    head.push_str("\r\n");
    let mut bytes = head.into_bytes();
    if request.method != "HEAD" {
        bytes.extend_from_slice(body.as_bytes());
    }
    bytes
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        401 => "Unauthorized",
        404 => "Not Found",
        405 => "Method Not Allowed",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Whatever",
    }
}

/// An answer whose head has so many bytes, most of them cookies.
fn big_header(bytes: usize) -> String {
    let begin = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n";
    let end = "\r\n";
    let mut head = begin.to_owned();
    let mut n = 0;
    while head.len() + end.len() < bytes {
        let room = bytes - head.len() - end.len();
        let name = format!("Set-Cookie: part{n}=");
        let fill = room.saturating_sub(name.len() + 2).clamp(1, 1500);
        let _ = write!(head, "{name}{}\r\n", "c".repeat(fill));
        n += 1;
    }
    head + end + "ok\n"
}

fn decode_hex(digits: &str) -> Result<Vec<u8>> {
    let digits: Vec<char> = digits.chars().filter(|digit| !digit.is_whitespace()).collect();
    let pairs = digits.chunks(2).map(|pair| Ok(u8::from_str_radix(&pair.iter().collect::<String>(), 16)?));
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Route;
    use std::net::{TcpListener, TcpStream};

    /// What a client gets from a backend.
    fn talk(backend: Backend, request: &str) -> std::io::Result<String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let server = thread::spawn(move || {
            let mut connection = Connection::tcp(listener.accept().unwrap().0).unwrap();
            converse(&backend, &mut connection).unwrap();
        });
        client.write_all(request.as_bytes())?;
        client.shutdown(std::net::Shutdown::Write)?;
        server.join().unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer)?;
        Ok(answer)
    }

    fn backend(otherwise: Vec<Action>) -> Backend {
        Backend { otherwise, ..Backend::default() }
    }

    #[test]
    fn it_answers_in_good_order_unless_told_otherwise() {
        let answer = talk(Backend::default(), "GET / HTTP/1.0\r\n\r\n").unwrap();
        assert_eq!(answer, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n");
        let answer = talk(Backend::default(), "HEAD / HTTP/1.0\r\n\r\n").unwrap();
        assert!(answer.ends_with("\r\n\r\n"));
    }

    #[test]
    fn it_closes_or_resets_without_an_answer() {
        assert_eq!(talk(backend(vec![Action::Close]), "GET / HTTP/1.0\r\n\r\n").unwrap(), "");
        let error = talk(backend(vec![Action::Reset]), "GET / HTTP/1.0\r\n\r\n").unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }

    #[test]
    fn a_big_header_has_the_size_that_was_asked_for() {
        for bytes in [4096, 4097, 9000, 30_000] {
            let head = big_header(bytes);
            let length = head.find("\r\n\r\n").unwrap() + 4;
            assert!(length.abs_diff(bytes) <= 24, "{length} for {bytes}");
        }
    }

    #[test]
    fn routes_go_by_method_and_path() {
        let refuse = Action::Respond(Respond { status: Some(405), ..Respond::default() });
        let route = Route { method: Some("HEAD".to_owned()), path: String::new(), actions: vec![refuse] };
        let backend = Backend { route: vec![route], keepalive: true, ..Backend::default() };
        let answer = talk(backend, "HEAD / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n").unwrap();
        assert!(answer.starts_with("HTTP/1.1 405 ") && answer.contains("HTTP/1.1 200 OK"), "{answer}");
    }

    #[test]
    fn bytes_are_given_in_hexadecimal() {
        assert_eq!(decode_hex("00 ff 41").unwrap(), [0, 255, 65]);
        assert!(decode_hex("zz").is_err());
    }

    #[test]
    fn a_body_belongs_to_its_request() {
        let backend = Backend { keepalive: true, ..Backend::default() };
        let answer =
            talk(backend, "POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nabcdGET / HTTP/1.1\r\n\r\n").unwrap();
        assert_eq!(answer.matches("HTTP/1.1 200").count(), 2);
    }
}
