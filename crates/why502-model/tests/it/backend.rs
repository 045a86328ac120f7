//! A backend that answers with what it was asked.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// A listening backend; it listens no more when this is dropped.
pub(crate) struct Backend {
    address: SocketAddr,
    is_over: Arc<AtomicBool>,
}

/// What a backend saw of a request.
#[derive(Debug)]
pub(crate) struct Seen {
    /// Which connection it came in on, from 0.
    pub(crate) connection: usize,
    /// From which address.
    pub(crate) from: String,
    pub(crate) line: String,
    /// Names in lower case with their values, sorted.
    pub(crate) headers: Vec<(String, String)>,
}

impl Backend {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        thread::spawn(move || {
            let n_connections = AtomicUsize::new(0);
            for stream in listener.incoming().map_while(Result::ok) {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let number = n_connections.fetch_add(1, Ordering::Relaxed);
                thread::spawn(move || serve(stream, number));
            }
        });
        Self { address, is_over }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // Wakes the thread that waits for connections; if nobody waits any more, all is well too.
        TcpStream::connect(self.address).map(drop).unwrap_or_default();
    }
}

impl Seen {
    /// Reads what [`serve`] wrote.
    pub(crate) fn read(body: &str) -> Self {
        let mut lines = body.lines();
        let mut connection = lines.next().unwrap_or_default().split(' ');
        let number = connection.next().and_then(|number| number.parse().ok());
        let from = connection.next().unwrap_or_default().to_owned();
        let line = lines.next().unwrap_or_default().to_owned();
        let headers = lines.filter_map(|line| line.split_once(": "));
        let mut headers: Vec<(String, String)> =
            headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        headers.sort();
        Self { connection: number.unwrap_or_else(|| panic!("{body:?} was not seen")), from, line, headers }
    }
}

/// Answers with connection, client and head of each request; `X-Pad: N` asks for an answer whose head has N bytes.
fn serve(mut stream: TcpStream, number: usize) {
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let from = stream.peer_addr().unwrap().ip();
    while let Some(head) = read_head(&mut stream) {
        let value = |name: &str| {
            let lines = head.lines().filter_map(|line| line.split_once(": "));
            lines.filter(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
        };
        let body = format!("{number} {from}\n{}", head.replace("\r\n", "\n"));
        let ends = value("Connection") == Some("close")
            || head.lines().next().is_some_and(|line| line.ends_with("1.0"));
        let connection = if ends { "close" } else { "keep-alive" };
        let mut answer =
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: {connection}\r\n", body.len());
        if let Some(size) = value("X-Pad").and_then(|size| size.parse::<usize>().ok()) {
            let rest = size.saturating_sub(answer.len() + "X-Fill: \r\n\r\n".len());
            let _ = write!(answer, "X-Fill: {}\r\n", "x".repeat(rest));
        }
        answer += "\r\n";
        // nginx may have hung up: that is what some tests are about.
        if stream.write_all(answer.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).is_err()
            || ends
        {
            return;
        }
    }
}

fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        let n_bytes = stream.read(&mut byte).unwrap_or(0);
        if n_bytes == 0 {
            return None;
        }
        head.extend_from_slice(&byte);
    }
    Some(String::from_utf8_lossy(&head).into_owned())
}
