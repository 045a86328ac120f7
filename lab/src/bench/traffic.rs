//! Logs of any size: the same lines in the last hour, and before them the same block again and again with rising stamps.

use anyhow::Result;
use jiff::{SignedDuration, Zoned};
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

/// The smallest log that is written: below it nothing is older than the window.
pub(super) const MIN_SIZE: u64 = 10_000_000;
/// How long the window's traffic takes: a little less than the hour that counts by default, so that a run that takes its
/// time sees the same lines.
const WINDOW: SignedDuration = SignedDuration::from_mins(50);
/// How much older traffic there is between two stamps.
const BLOCK: usize = 1 << 20;
/// How far the stamps of two blocks are apart.
const STEP: SignedDuration = SignedDuration::from_secs(60);
/// One of so many requests of the window fails, in its last half.
const FAILS: u64 = 50;

/// What the clients did.
#[derive(Debug)]
pub(super) struct Traffic {
    now: Zoned,
    n_requests: u64,
}

impl Traffic {
    /// Traffic that ends now, with about so many bytes of access log in the window.
    pub(super) fn until_now(window_bytes: u64) -> Self {
        let now = Zoned::now();
        let stamp = access_stamp(&now);
        let line = u64::try_from(access_line(1, &stamp, 3000, false).len()).unwrap_or(u64::MAX);
        Self { now, n_requests: window_bytes / line }
    }

    /// Writes an access log of about `size` bytes.
    pub(super) fn write_access_log(&self, path: &Path, peer: u16, size: u64) -> Result<()> {
        let mut window = String::new();
        for request in 0..self.n_requests {
            let stamp = access_stamp(&self.moment(request)?);
            window.push_str(&access_line(request, &stamp, peer, self.fails(request)));
        }
        let line = |request: u64, at: &Zoned| {
            access_line(request, &access_stamp(at), peer, request.is_multiple_of(FAILS))
        };
        self.write(path, size, &line, &access_stamp, &window)
    }

    /// Writes an error log of about `size` bytes of older lines, with a line per failure of the window after them.
    pub(super) fn write_error_log(&self, path: &Path, peer: u16, size: u64) -> Result<()> {
        let mut window = String::new();
        for request in (0..self.n_requests).filter(|request| self.fails(*request)) {
            window.push_str(&error_line(request, &error_stamp(&self.moment(request)?), peer));
        }
        let line = |request: u64, at: &Zoned| error_line(request, &error_stamp(at), peer);
        let length = u64::try_from(window.len())?;
        self.write(path, size + length, &line, &error_stamp, &window)
    }

    /// Writes older blocks up to the window, then the window.
    fn write(
        &self,
        path: &Path,
        size: u64,
        line: &dyn Fn(u64, &Zoned) -> String,
        stamp: &dyn Fn(&Zoned) -> String,
        window: &str,
    ) -> Result<()> {
        let (mut block, places) = block(&self.now, line, stamp);
        let older = size.saturating_sub(u64::try_from(window.len())?);
        let n_blocks = i32::try_from(older / u64::try_from(block.len())?)?;
        let mut at = self.now.checked_sub(WINDOW)?.checked_sub(STEP * (n_blocks + 20))?;
        let mut file = BufWriter::new(File::create(path)?);
        for _ in 0..n_blocks {
            let text = stamp(&at);
            for place in &places {
                block[*place..place + text.len()].copy_from_slice(text.as_bytes());
            }
            file.write_all(&block)?;
            at = at.checked_add(STEP)?;
        }
        file.write_all(window.as_bytes())?;
        Ok(file.flush()?)
    }

    /// When a request of the window ended.
    fn moment(&self, request: u64) -> Result<Zoned> {
        let part = WINDOW.as_millis() * i128::from(request) / i128::from(self.n_requests.max(1));
        let since = SignedDuration::from_millis(i64::try_from(part)?);
        Ok(self.now.checked_sub(WINDOW - since)?)
    }

    fn fails(&self, request: u64) -> bool {
        request.is_multiple_of(FAILS) && request >= self.n_requests / 2
    }
}

/// Lines of one moment, and where their stamps stand.
fn block(
    now: &Zoned,
    line: &dyn Fn(u64, &Zoned) -> String,
    stamp: &dyn Fn(&Zoned) -> String,
) -> (Vec<u8>, Vec<usize>) {
    let mark = stamp(now);
    let (mut text, mut places) = (String::new(), Vec::new());
    for request in 0.. {
        if text.len() >= BLOCK {
            break;
        }
        let line = line(request, now);
        places.extend(line.find(&mark).map(|at| text.len() + at));
        text.push_str(&line);
    }
    (text.into_bytes(), places)
}

fn access_line(request: u64, stamp: &str, peer: u16, fails: bool) -> String {
    let (status, size, time) =
        if fails { (502, 157, "0.000") } else { (200, 1000 + request % 9000, "0.034") };
    format!(
        "10.0.{}.{} - - [{stamp}] \"GET /item/{} HTTP/1.1\" {status} {size} \"https://shop.example.com/\" \
         \"Mozilla/5.0 (X11; Linux x86_64; rv:128.0)\" 127.0.0.1:{peer} {status} {time}\n",
        request / 250 % 250,
        request % 250,
        request % 5000
    )
}

fn error_line(request: u64, stamp: &str, peer: u16) -> String {
    let path = request % 5000;
    format!(
        "{stamp} [error] 4711#4711: *{} connect() failed (111: Connection refused) while connecting to upstream, client: \
         10.0.{}.{}, server: shop.example.com, request: \"GET /item/{path} HTTP/1.1\", upstream: \
         \"http://127.0.0.1:{peer}/item/{path}\", host: \"shop.example.com\"\n",
        request + 1,
        request / 250 % 250,
        request % 250
    )
}

fn access_stamp(at: &Zoned) -> String {
    at.strftime("%d/%b/%Y:%H:%M:%S %z").to_string()
}

fn error_stamp(at: &Zoned) -> String {
    at.strftime("%Y/%m/%d %H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_larger_log_has_the_same_window_and_older_lines_alone_before_it() {
        let directory = tempfile::tempdir().unwrap();
        let traffic = Traffic::until_now(100_000);
        let write = |name: &str, size| {
            let path = directory.path().join(name);
            traffic.write_access_log(&path, 3000, size).unwrap();
            fs::read_to_string(path).unwrap()
        };
        let (small, large) = (write("small", 2_500_000), write("large", 8_000_000));
        assert!(small.len() > 1_000_000 && large.len() > 2 * small.len());
        let n_window = usize::try_from(traffic.n_requests).unwrap();
        let window = |text: &str| text.lines().rev().take(n_window).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(window(&small), window(&large));
        let n_failed = window(&small).iter().filter(|line| line.contains("\" 502 ")).count();
        assert!(n_failed > 0 && n_failed < n_window);
        let stamps: Vec<jiff::Timestamp> = large
            .lines()
            .map(|line| line.split(['[', ']']).nth(1).unwrap())
            .map(|stamp| Zoned::strptime("%d/%b/%Y:%H:%M:%S %z", stamp).unwrap().timestamp())
            .collect();
        assert!(stamps.is_sorted());
        let older = stamps[stamps.len() - n_window - 1];
        assert!(traffic.now.timestamp().duration_since(older) > SignedDuration::from_mins(60));
    }
}
