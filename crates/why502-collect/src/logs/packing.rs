//! How a log is packed, told by its first bytes, and its content, streamed.
//!
//! A name tells little: `access.log.2.gz` may be plain, and what comes through a pipe has no name. What is unpacked is
//! bounded: a small file that unpacks to more than any log ([`MAX_RATIO`]) ends with an error, and so does one whose
//! format asks for more memory than [`MAX_MEMORY`].

use flate2::bufread::GzDecoder;
use liblzma::stream::{CONCATENATED, Stream};
use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The most bytes that a packed byte may stand for, on the average: more than deflate can do, and a hundred times of what
/// logs are packed to.
const MAX_RATIO: u64 = 1100;
/// How much may be unpacked whatever it was packed to.
const FREE: u64 = 1 << 30;
/// The most memory that unpacking may take: `xz -9` needs 65 MiB for its dictionary, `zstd --ultra -22` 128 MiB.
const MAX_MEMORY: u64 = 160 << 20;
/// The same as the logarithm of zstd's window.
const MAX_ZSTD_WINDOW_LOG: u32 = 27;
/// How much is read of a compressed file at once.
const BLOCK: usize = 64 * 1024;

/// How a file is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    Bzip2,
    Gzip,
    Plain,
    Xz,
    Zstd,
}

impl Packing {
    /// The extensions that the programs give their files.
    pub(super) const EXTENSIONS: [&str; 4] = [".bz2", ".gz", ".xz", ".zst"];
    /// How many bytes tell.
    pub(super) const MAGIC: usize = 6;

    /// Tells by the first bytes of a file, [`Self::MAGIC`] of them if it is that long.
    pub(super) fn of(begin: &[u8]) -> Self {
        match begin {
            [0x1f, 0x8b, 8, ..] => Self::Gzip,
            // The second is a skippable frame, which parallel compressors write first.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            // The first block, or, in an empty file, its end.
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, ..]
            | [b'B', b'Z', b'h', b'1'..=b'9', 0x17, 0x72, ..] => Self::Bzip2,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            _ => Self::Plain,
        }
    }

    /// The content of a file that is read from its begin; what is read of the file itself is counted.
    pub(super) fn unpack<'a>(
        self,
        file: impl Read + Send + 'a,
        n_read: Arc<AtomicU64>,
    ) -> io::Result<Box<dyn Read + Send + 'a>> {
        let counted = Counted { file, n_read: Arc::clone(&n_read) };
        if self == Self::Plain {
            return Ok(Box::new(counted));
        }
        let file = BufReader::with_capacity(BLOCK, counted);
        let content: Box<dyn Read + Send> = match self {
            Self::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(file)),
            Self::Gzip => Box::new(Gzip { member: Some(GzDecoder::new(file)) }),
            Self::Xz => {
                let decoder = Stream::new_stream_decoder(MAX_MEMORY, CONCATENATED)?;
                Box::new(liblzma::bufread::XzDecoder::new_stream(file, decoder))
            }
            Self::Zstd => {
                let mut decoder = zstd::Decoder::with_buffer(file)?;
                decoder.window_log_max(MAX_ZSTD_WINDOW_LOG)?;
                Box::new(decoder)
            }
            Self::Plain => Box::new(file),
        };
        Ok(Box::new(Capped {
            content,
            free: FREE,
            n_unpacked: 0,
            begin: n_read.load(Ordering::Relaxed),
            n_read,
        }))
    }
}

/// Counts what is read of a file.
struct Counted<R> {
    file: R,
    n_read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read(buffer)?;
        self.n_read.fetch_add(length as u64, Ordering::Relaxed);
        Ok(length)
    }
}

/// The members of a gzip file, one after the other.
///
/// What follows the last and is none is not looked at: gzip itself warns of it and gives what it has.
struct Gzip<R> {
    member: Option<GzDecoder<R>>,
}

impl<R: BufRead> Read for Gzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let length = member.read(buffer)?;
            if length > 0 || buffer.is_empty() {
                return Ok(length);
            }
            let Some(mut file) = self.member.take().map(GzDecoder::into_inner) else { break };
            if file.fill_buf()?.first() == Some(&0x1f) {
                self.member = Some(GzDecoder::new(file));
            }
        }
        Ok(0)
    }
}

/// Ends with an error where more was unpacked than a log can be packed to.
struct Capped<R> {
    content: R,
    /// How much may be unpacked whatever it was packed to.
    free: u64,
    n_unpacked: u64,
    n_read: Arc<AtomicU64>,
    /// What had been counted when the file began.
    begin: u64,
}

impl<R: Read> Read for Capped<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.content.read(buffer)?;
        self.n_unpacked += length as u64;
        let n_packed = self.n_read.load(Ordering::Relaxed) - self.begin;
        if self.n_unpacked > self.free + n_packed.saturating_mul(MAX_RATIO) {
            let message = format!(
                "{n_packed} bytes unpack to more than {}: no log is packed so tightly",
                self.n_unpacked
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    /// What a program makes of bytes.
    fn run(command: &[&str], input: &[u8]) -> Vec<u8> {
        let mut child = Command::new(command[0])
            .args(&command[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        let writer = std::thread::spawn(move || stdin.write_all(&input));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        assert!(output.status.success());
        output.stdout
    }

    const PROGRAMS: [(Packing, &[&str]); 4] = [
        (Packing::Bzip2, &["bzip2", "-c"]),
        (Packing::Gzip, &["gzip", "-c"]),
        (Packing::Xz, &["xz", "-c"]),
        (Packing::Zstd, &["zstd", "-qc"]),
    ];

    fn unpack(packed: &[u8]) -> io::Result<Vec<u8>> {
        let packing = Packing::of(&packed[..packed.len().min(Packing::MAGIC)]);
        let mut content = Vec::new();
        packing.unpack(packed, Arc::default())?.read_to_end(&mut content)?;
        Ok(content)
    }

    #[test]
    fn what_the_programs_pack_is_unpacked_one_archive_behind_the_other() {
        let text: Vec<u8> = (0..50_000).flat_map(|n| format!("line {n}\n").into_bytes()).collect();
        for (packing, command) in PROGRAMS {
            let packed = run(command, &text);
            assert_eq!(Packing::of(&packed[..Packing::MAGIC]), packing);
            assert!(unpack(&packed).unwrap() == text, "{packing:?}");
            let empty = run(command, b"");
            assert_eq!(Packing::of(&empty[..Packing::MAGIC]), packing, "an empty file");
            let three = [&packed[..], &empty, &packed].concat();
            assert!(unpack(&three).unwrap() == [&text[..], &text].concat(), "{packing:?}");
        }
        assert_eq!(unpack(b"plain").unwrap(), b"plain");
        assert_eq!(unpack(b"").unwrap(), b"");
    }

    #[test]
    fn what_is_read_of_a_file_is_counted_as_it_is_stored() {
        let packed = run(&["gzip", "-c"], &b"line\n".repeat(10_000));
        let n_read = Arc::new(AtomicU64::new(0));
        let mut content = Packing::Gzip.unpack(&packed[..], Arc::clone(&n_read)).unwrap();
        io::copy(&mut content, &mut io::sink()).unwrap();
        assert_eq!(n_read.load(Ordering::Relaxed), packed.len() as u64);
    }

    #[test]
    fn a_cut_archive_gives_what_it_holds_and_then_says_that_it_is_cut() {
        let text: Vec<u8> = (0..500_000).flat_map(|n| format!("line {n}\n").into_bytes()).collect();
        for (packing, command) in PROGRAMS {
            let packed = run(command, &text);
            let mut content = packing.unpack(&packed[..packed.len() * 2 / 3], Arc::default()).unwrap();
            let mut found = Vec::new();
            let error = content.read_to_end(&mut found).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{packing:?}: {error}");
            assert!(found.len() > text.len() / 3 && text.starts_with(&found), "{packing:?}");
        }
    }

    #[test]
    fn what_follows_a_gzip_file_is_not_looked_at() {
        let packed = [run(&["gzip", "-c"], b"text\n"), vec![0; 512]].concat();
        assert_eq!(unpack(&packed).unwrap(), b"text\n");
    }

    #[test]
    fn a_bomb_ends_with_a_message() {
        let bomb = zstd::encode_all(io::repeat(0).take(64 << 20), 1).unwrap();
        let n_read = Arc::new(AtomicU64::new(0));
        let content = zstd::Decoder::new(Counted { file: &bomb[..], n_read: Arc::clone(&n_read) }).unwrap();
        let mut content = Capped { content, free: 1 << 20, n_unpacked: 0, n_read, begin: 0 };
        let error = io::copy(&mut content, &mut io::sink()).unwrap_err();
        assert!(error.to_string().contains("no log is packed so tightly"), "{error}");
    }

    #[test]
    fn an_archive_that_asks_for_too_much_memory_is_refused() {
        let greedy = run(&["zstd", "-qc", "--long=31"], &[b'a'; 100]);
        assert!(unpack(&greedy).unwrap_err().to_string().contains("memory"));
        // A dictionary of 1.5 GiB; the encoder takes as much as the text needs.
        let greedy = run(&["xz", "-c", "--lzma2=preset=0,dict=1536MiB"], &[b'a'; 100]);
        let error = unpack(&greedy).unwrap_err();
        assert!(error.to_string().contains("memory"), "{error}");
        for usual in
            [["xz", "-9c"].as_slice(), &["zstd", "-qc", "--ultra", "-22"], &["zstd", "-qc", "--long=27"]]
        {
            assert_eq!(unpack(&run(usual, &[b'a'; 100])).unwrap().len(), 100, "{usual:?}");
        }
    }
}
