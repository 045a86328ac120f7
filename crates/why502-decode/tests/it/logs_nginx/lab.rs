//! A gateway of one process in a folder of its own, and upstreams that misbehave.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

pub(crate) const NGINX: &str = "/usr/sbin/nginx";

/// A running nginx; it is killed, by its process id, when this is dropped.
pub(crate) struct Lab {
    folder: tempfile::TempDir,
    port: u16,
    child: Child,
}

impl Lab {
    /// Starts nginx with the content of an `http` block, in which `DIR` and `PORT` stand for its folder and its port.
    pub(crate) fn start(http: &str, zone: &str) -> Self {
        assert!(
            Path::new(NGINX).exists(),
            "this test needs nginx at {NGINX} (Debian: apt-get install nginx-light)"
        );
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let directory = folder.path().to_str().unwrap();
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {directory}/{name};\n"))
            .concat();
        let http = http.replace("DIR", directory).replace("PORT", &port.to_string());
        // One process: killing it leaves no worker behind.
        let configuration = format!(
            "daemon off;\nmaster_process off;\npid {directory}/pid;\nerror_log {directory}/error.log info;\n\
             events {{ worker_connections 256; }}\nhttp {{\n{temporary}{http}\n}}\n"
        );
        let file = folder.path().join("nginx.conf");
        fs::write(&file, configuration).unwrap();
        let log = folder.path().join("error.log");
        let child = Command::new(NGINX)
            .args(["-p", directory, "-c", file.to_str().unwrap(), "-e", log.to_str().unwrap()])
            .env("TZ", zone)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lab = Self { folder, port, child };
        lab.wait_until_it_listens();
        lab
    }

    fn wait_until_it_listens(&self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let log = String::from_utf8_lossy(&self.read("error.log")).into_owned();
            assert!(Instant::now() < deadline, "nginx does not listen:\n{log}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends requests over one connection, each after the answer to the one before.
    pub(crate) fn ask(&self, paths: &[&str]) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        for (idx, path) in paths.iter().enumerate() {
            let connection = if idx + 1 == paths.len() { "close" } else { "keep-alive" };
            write!(stream, "GET {path} HTTP/1.1\r\nHost: lab.test\r\nConnection: {connection}\r\n\r\n")
                .unwrap();
            if idx + 1 < paths.len() {
                read_answer(&mut stream);
            }
        }
        // An answer of HTTP/0.9, or one that is cut off, ends with the connection.
        let _ = stream.read_to_end(&mut Vec::new());
    }

    /// Sends a request and leaves before its answer.
    pub(crate) fn ask_and_leave(&self, path: &str) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: lab.test\r\n\r\n").unwrap();
        thread::sleep(Duration::from_millis(300));
        drop(stream);
        thread::sleep(Duration::from_millis(300));
    }

    /// A log, after everything was written.
    pub(crate) fn finish(&self, log: &str) -> Vec<u8> {
        thread::sleep(Duration::from_millis(200));
        self.read(log)
    }

    pub(crate) fn read(&self, log: &str) -> Vec<u8> {
        fs::read(self.folder.path().join(log)).unwrap_or_default()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads an answer with a Content-Length.
fn read_answer(stream: &mut TcpStream) {
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    let head = String::from_utf8(answer).unwrap().to_ascii_lowercase();
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next()).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
}

/// A port on which nobody listens, as far as that can be known.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// How an upstream behaves.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Upstream {
    BigHeader,
    Close,
    CutBody,
    Garbage,
    Hang,
    InvalidHeader,
    Ok,
    Reset,
    Sent502,
}

impl Upstream {
    /// Listens on a port of its own; the address.
    pub(crate) fn listen(self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || self.serve(stream));
            }
        });
        address
    }

    fn serve(self, mut stream: TcpStream) {
        let mut request = [0; 4096];
        if matches!(self, Self::Reset) {
            // A socket that is closed with bytes unread sends a reset.
            let _ = stream.peek(&mut request);
            return;
        }
        let _ = stream.read(&mut request);
        let answer = match self {
            Self::BigHeader => format!("HTTP/1.1 200 OK\r\nX-Big: {}\r\n\r\n", "x".repeat(20_000)),
            Self::Close | Self::Reset => return,
            Self::CutBody => "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nten bytes.".to_owned(),
            Self::Garbage => "SSH-2.0-OpenSSH_9.2\r\n".to_owned(),
            Self::Hang => {
                thread::sleep(Duration::from_secs(5));
                return;
            }
            Self::InvalidHeader => "HTTP/1.1 200 OK\r\nBad Name: x\r\n\r\n".to_owned(),
            Self::Ok => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok".to_owned(),
            Self::Sent502 => {
                "HTTP/1.1 502 Bad\r\nContent-Length: 4\r\nConnection: close\r\n\r\nmine".to_owned()
            }
        };
        let _ = stream.write_all(answer.as_bytes());
    }
}
