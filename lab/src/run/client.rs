//! A client that sends what it is told to, and tells what it got.

use crate::scenario::{Answer, NoStatus, RequestStep};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::fmt::Write as _;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// How long a client waits that has not been told to give up earlier.
const PATIENCE: Duration = Duration::from_secs(20);

/// Sends all requests of a step to a port of the loopback.
pub(super) fn send(step: &RequestStep, port: u16) -> Vec<Answer> {
    if step.parallel {
        let clients: Vec<_> = (0..step.count)
            .map(|_| {
                let step = step.clone();
                thread::spawn(move || send_one(&step, port))
            })
            .collect();
        return clients
            .into_iter()
            .map(|client| client.join().unwrap_or(Answer::Other(NoStatus::Closed)))
            .collect();
    }
    if step.keepalive {
        return send_over_one(step, port);
    }
    (0..step.count).map(|_| send_one(step, port)).collect()
}

fn send_one(step: &RequestStep, port: u16) -> Answer {
    let Some(mut stream) = connect(step, port) else { return Answer::Other(NoStatus::Refused) };
    if stream.write_all(request(step, port, false).as_bytes()).is_err() {
        return Answer::Other(NoStatus::Closed);
    }
    read_answer(&mut stream, step, &mut Vec::new())
}

/// Several requests, one after the other, over as few connections as the server allows.
fn send_over_one(step: &RequestStep, port: u16) -> Vec<Answer> {
    let mut stream = None;
    let mut pending = Vec::new();
    (0..step.count)
        .map(|_| {
            let Some(open) = stream.take().or_else(|| connect(step, port)) else {
                return Answer::Other(NoStatus::Refused);
            };
            let mut open: TcpStream = open;
            if open.write_all(request(step, port, true).as_bytes()).is_err() {
                return Answer::Other(NoStatus::Closed);
            }
            let answer = read_answer(&mut open, step, &mut pending);
            if matches!(answer, Answer::Status(_)) {
                stream = Some(open);
            }
            answer
        })
        .collect()
}

fn connect(step: &RequestStep, port: u16) -> Option<TcpStream> {
    let server = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
    let socket =
        rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).ok()?;
    if let Some(client) = &step.client {
        let own = SocketAddrV4::new(client.parse().ok()?, 0);
        rustix::net::bind(&socket, &own).ok()?;
    }
    rustix::net::connect(&socket, &server).ok()?;
    Some(TcpStream::from(socket))
}

fn request(step: &RequestStep, port: u16, keepalive: bool) -> String {
    let host = step.host.clone().unwrap_or_else(|| format!("127.0.0.1:{port}"));
    let mut text = format!("{} {} HTTP/1.1\r\nHost: {host}\r\n", step.method, step.path);
    if !step.header.iter().any(|line| line.to_ascii_lowercase().starts_with("user-agent:")) {
        text.push_str("User-Agent: lab\r\n");
    }
    for line in &step.header {
        let _ = write!(text, "{line}\r\n");
    }
    if !keepalive {
        text.push_str("Connection: close\r\n");
    }
    if let Some(body) = &step.body {
        let _ = write!(text, "Content-Length: {}\r\n", body.len());
    }
    text.push_str("\r\n");
    text.push_str(step.body.as_deref().unwrap_or_default());
    text
}

/// Reads one answer, to the end of its body.
fn read_answer(stream: &mut TcpStream, step: &RequestStep, pending: &mut Vec<u8>) -> Answer {
    let patience = step.give_up_ms.map_or(PATIENCE, Duration::from_millis);
    let late = Instant::now() + patience;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        if let Some((answer, length)) = whole_answer(pending, step.method == "HEAD") {
            pending.drain(..length);
            return answer;
        }
        let left = late.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        if stream.set_read_timeout(Some(left)).is_err() {
            return Answer::Other(NoStatus::Closed);
        }
        match stream.read(&mut buffer) {
            Ok(0) => return at_end(pending),
            Ok(length) => pending.extend_from_slice(&buffer[..length]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Answer::Other(NoStatus::GaveUp);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return at_end(pending),
        }
    }
}

/// The answer if it has come to its end, and its length.
fn whole_answer(bytes: &[u8], is_head: bool) -> Option<(Answer, usize)> {
    let head_end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..head_end]).to_ascii_lowercase();
    let status = status(bytes)?;
    let header = |name: &str| {
        head.lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(own, _)| *own == name)
            .map(|(_, value)| value.trim())
    };
    let length = if is_head || status == 304 || status == 204 {
        head_end
    } else if header("transfer-encoding") == Some("chunked") {
        head_end + bytes[head_end..].windows(5).position(|window| window == b"0\r\n\r\n")? + 5
    } else {
        head_end + header("content-length")?.parse::<usize>().ok()?
    };
    (bytes.len() >= length).then_some((Answer::Status(status), length))
}

/// What an answer is that ended with its connection.
fn at_end(bytes: &mut Vec<u8>) -> Answer {
    let bytes = std::mem::take(bytes);
    let has_length = String::from_utf8_lossy(&bytes).to_ascii_lowercase().contains("content-length:");
    match (bytes.is_empty(), status(&bytes)) {
        (true, _) => Answer::Other(NoStatus::Closed),
        (false, None) => Answer::Other(NoStatus::Garbage),
        (false, Some(_)) if has_length => Answer::Other(NoStatus::Truncated),
        (false, Some(status)) => Answer::Status(status),
    }
}

fn status(bytes: &[u8]) -> Option<u16> {
    let line = bytes.split(|byte| *byte == b'\n').next()?;
    let rest = line.strip_prefix(b"HTTP/1.")?.get(2..5)?;
    std::str::from_utf8(rest).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_end_of(text: &str) -> Answer {
        at_end(&mut text.as_bytes().to_vec())
    }

    #[test]
    fn answers_end_with_their_body() {
        let bytes = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 3\r\n\r\nabcHTTP";
        assert_eq!(whole_answer(bytes, false), Some((Answer::Status(502), bytes.len() - 4)));
        assert_eq!(whole_answer(&bytes[..bytes.len() - 6], false), None);
        assert_eq!(
            whole_answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", false)
                .unwrap()
                .0,
            Answer::Status(200)
        );
        assert_eq!(
            whole_answer(b"HTTP/1.1 405 No\r\nContent-Length: 9\r\n\r\n", true).unwrap().0,
            Answer::Status(405)
        );
    }

    #[test]
    fn what_ends_early_is_told_apart() {
        assert_eq!(at_end_of(""), Answer::Other(NoStatus::Closed));
        assert_eq!(at_end_of("SSH-2.0\r\n"), Answer::Other(NoStatus::Garbage));
        assert_eq!(
            at_end_of("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"),
            Answer::Other(NoStatus::Truncated)
        );
        assert_eq!(at_end_of("HTTP/1.1 200 OK\r\n\r\nab"), Answer::Status(200));
    }
}
