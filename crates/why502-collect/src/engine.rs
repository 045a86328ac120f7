//! A container engine's API on its unix socket: three questions, and nothing that changes anything.
//!
//! The socket is one of this program's own root, found as its process says or where engines put it, and belongs to root or
//! to this program's user: anybody else could answer for an engine. Nothing but `GET` is sent, in HTTP/1.0, so that the end
//! of the answer is the end of the connection (Docker Engine API, `/containers/json`, `/networks`, `/containers/ID/json`).

use crate::files::{unreadable, words};
use crate::root::RootDir;
use rustix::fs::FileType;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use why502_facts::{Answer, ContainerRecord, EngineRecord, FactBody, GapReason, Root};

/// How long an engine may take for one answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// The most bytes of an answer that are kept: some thousand containers.
const MAX_ANSWER: usize = 8 << 20;
/// The most digits of a container's id.
const MAX_ID: usize = 64;

/// What is asked of an engine must be answered with this status.
const OK: &[u8] = b"200";
const NOT_FOUND: &[u8] = b"404";

/// All containers and networks.
pub(crate) fn read_engine(socket: &str) -> Answer {
    let answer = |path: &str| get(socket, path);
    match (answer("/containers/json?all=1"), answer("/networks")) {
        (Ok(containers), Ok(networks)) => Answer::known(FactBody::Engine(EngineRecord {
            containers: containers.into(),
            networks: networks.into(),
        })),
        (Err(unanswered), _) | (_, Err(unanswered)) => unanswered,
    }
}

/// One container in detail.
pub(crate) fn read_container(socket: &str, id: &str) -> Answer {
    // An id is part of a path: nothing else may get into it.
    if id.is_empty() || id.len() > MAX_ID || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Answer::unknown(GapReason::Failed, format!("{id:?} is no container's id"));
    }
    match get(socket, &format!("/containers/{id}/json")) {
        Ok(inspected) => Answer::known(FactBody::Container(ContainerRecord { inspected: inspected.into() })),
        Err(unanswered) => unanswered,
    }
}

/// The body of an answer.
fn get(socket: &str, path: &str) -> Result<Vec<u8>, Answer> {
    let end = Instant::now() + PATIENCE;
    let failed = |error: &std::io::Error| match Errno::from_io_error(error) {
        Some(Errno::AGAIN) | None => Answer::unknown(
            GapReason::TimedOut,
            format!("{socket}: no answer within {} s", PATIENCE.as_secs()),
        ),
        Some(errno) => Answer::unknown(GapReason::Failed, format!("{socket}: {}", words(errno))),
    };
    let mut stream = connect(socket).map_err(|errno| match errno {
        // Somebody listened there once.
        Errno::CONNREFUSED => Answer::unknown(GapReason::Failed, format!("{socket}: no engine listens")),
        errno => unreadable(errno, socket),
    })?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: engine\r\n\r\n");
    stream.set_write_timeout(Some(PATIENCE)).map_err(|error| failed(&error))?;
    stream.write_all(request.as_bytes()).map_err(|error| failed(&error))?;
    let (mut answer, mut chunk) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        stream.set_read_timeout(Some(left)).map_err(|error| failed(&error))?;
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(n_read) => answer.extend_from_slice(&chunk[..n_read]),
            Err(error) => return Err(failed(&error)),
        }
        if answer.len() > MAX_ANSWER {
            let says = format!("{socket}: more than {} MiB in one answer", MAX_ANSWER >> 20);
            return Err(Answer::unknown(GapReason::Unsupported, says));
        }
        if Instant::now() >= end {
            return Err(failed(&Errno::AGAIN.into()));
        }
    }
    body(socket, &answer)
}

/// Connects without waiting: an engine that takes no connections is no engine to wait for.
fn connect(socket: &str) -> Result<UnixStream, Errno> {
    let walk = RootDir::open(Root::Host)?.walk(socket);
    if let Some(errno) = walk.stopped {
        return Err(errno);
    }
    let Some(last) = walk.steps.last() else { return Err(Errno::NOENT) };
    if FileType::from_raw_mode(last.stat.st_mode) != FileType::Socket {
        return Err(Errno::INVAL);
    }
    if last.stat.st_uid != 0 && last.stat.st_uid != rustix::process::geteuid().as_raw() {
        return Err(Errno::PERM);
    }
    // The very file that was looked at.
    let address = SocketAddrUnix::new(format!("/proc/self/fd/{}", last.handle.as_raw_fd()))?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let handle = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&handle, &address)?;
    let stream = UnixStream::from(handle);
    stream.set_nonblocking(false).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    Ok(stream)
}

/// The body of an answer of HTTP/1.0.
fn body(socket: &str, answer: &[u8]) -> Result<Vec<u8>, Answer> {
    let head = memchr::memmem::find(answer, b"\r\n\r\n");
    let status = answer.strip_prefix(b"HTTP/1.").and_then(|rest| rest.get(2..5));
    match (head, status) {
        (Some(head), Some(OK)) => Ok(answer[head + 4..].to_vec()),
        (Some(_), Some(NOT_FOUND)) => Err(Answer::Absent),
        (Some(_), Some(status)) => {
            let says =
                format!("{socket}: the engine answers with status {}", String::from_utf8_lossy(status));
            Err(Answer::unknown(GapReason::Failed, says))
        }
        _ => Err(Answer::unknown(GapReason::Unsupported, format!("{socket}: what answers is no engine"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;
    use std::thread;

    fn why(answer: &Answer) -> Option<GapReason> {
        match answer {
            Answer::Unknown { why, .. } => Some(*why),
            Answer::Absent | Answer::Known(_) => None,
        }
    }

    /// A socket whose owner answers every request so, and what it was asked.
    fn served(
        answer: &'static str,
        n_requests: usize,
    ) -> (tempfile::TempDir, String, thread::JoinHandle<Vec<String>>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("engine.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let server = thread::spawn(move || {
            let mut asked = Vec::new();
            for _ in 0..n_requests {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 512];
                let length = stream.read(&mut request).unwrap();
                asked.push(String::from_utf8_lossy(&request[..length]).lines().next().unwrap().to_owned());
                stream.write_all(answer.as_bytes()).unwrap();
            }
            asked
        });
        (directory, path.display().to_string(), server)
    }

    #[test]
    fn both_lists_are_read_and_nothing_but_get_is_sent() {
        let (_directory, socket, server) = served("HTTP/1.0 200 OK\r\nX: y\r\n\r\n[]", 2);
        let Answer::Known(body) = read_engine(&socket) else { panic!("no engine") };
        let FactBody::Engine(record) = *body else { panic!("another answer") };
        assert_eq!((record.containers.as_slice(), record.networks.as_slice()), (&b"[]"[..], &b"[]"[..]));
        let asked = server.join().unwrap();
        assert_eq!(asked, ["GET /containers/json?all=1 HTTP/1.0", "GET /networks HTTP/1.0"]);
    }

    #[test]
    fn a_container_that_is_gone_is_absent() {
        let (_directory, socket, server) = served("HTTP/1.0 404 Not Found\r\n\r\n{}", 1);
        assert_eq!(read_container(&socket, "ab12"), Answer::Absent);
        server.join().unwrap();
    }

    #[test]
    fn no_id_leads_elsewhere() {
        for id in ["", "../images/json", "ab/start", "ab?x", &"a".repeat(65)] {
            assert_eq!(why(&read_container("/nowhere.sock", id)), Some(GapReason::Failed), "{id}");
        }
    }

    #[test]
    fn what_is_no_engine_is_a_gap() {
        let (_directory, socket, server) = served("SSH-2.0-x\r\n\r\n", 2);
        assert_eq!(why(&read_engine(&socket)), Some(GapReason::Unsupported));
        server.join().unwrap();
        assert_eq!(read_engine("/nowhere/engine.sock"), Answer::Absent);
    }

    #[test]
    fn files_and_pipes_are_not_connected_to() {
        let directory = tempfile::tempdir().unwrap();
        let (file, pipe) = (directory.path().join("file"), directory.path().join("pipe"));
        std::fs::write(&file, "").unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
        for path in [file, pipe] {
            assert_eq!(why(&read_engine(&path.display().to_string())), Some(GapReason::Unsupported));
        }
    }

    #[test]
    fn a_silent_engine_holds_nobody_up() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("engine.sock");
        let _silent = UnixListener::bind(&path).unwrap();
        let begin = Instant::now();
        assert_eq!(why(&read_container(&path.display().to_string(), "ab12")), Some(GapReason::TimedOut));
        assert!(begin.elapsed() < PATIENCE * 2);
    }
}
