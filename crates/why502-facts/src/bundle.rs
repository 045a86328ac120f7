//! The bundle: everything that one run learned, in a form that outlives it.
//!
//! A bundle is a set of named entries: `manifest.json`, `facts.jsonl` (one fact per line) and `raw/…` (the contents of
//! files, so that they can be read with a pager). As a file it is a zstd-compressed tar archive of these. A bundle from
//! elsewhere is hostile: names, sizes and counts are bounded, links are refused, nothing is unpacked to disk.

mod limits;

use self::limits::{
    MAX_ENTRIES, MAX_FACTS, MAX_RESERVED, MAX_TOTAL_BYTES, MAX_WINDOW_LOG, check_size, too_large,
};
use crate::{Answer, Blob, Fact, FactBody, Invocation, Stamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};

/// The format that this version writes, and the newest that it reads.
pub const FORMAT_VERSION: FormatVersion = FormatVersion { major: 1, minor: 7 };

const MANIFEST: &str = "manifest.json";
const FACTS: &str = "facts.jsonl";

/// The version of a bundle's format: a reader must refuse a newer major version and may ignore a newer minor one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FormatVersion {
    /// Changes when old readers would misread.
    pub major: u16,
    /// Changes when something is added.
    pub minor: u16,
}

/// What a bundle says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of the format.
    pub format: FormatVersion,
    /// The version of the program that recorded it.
    pub tool_version: String,
    /// When it was recorded: the `now` of the report.
    pub captured_at: Stamp,
    /// What the run was asked to do.
    pub invocation: Invocation,
}

/// Everything that one run learned. It only grows.
#[derive(Clone, Debug, PartialEq)]
pub struct Bundle {
    /// What it says of itself.
    pub manifest: Manifest,
    /// The facts, one per ask.
    pub facts: Vec<Fact>,
}

/// A bundle cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// An entry is not what it should be.
    #[error("the bundle's {entry} cannot be understood")]
    Corrupt {
        /// The entry.
        entry: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// An entry's name leads out of the bundle, or it is no regular file.
    #[error("the bundle holds {name:?}, which no bundle may hold")]
    Forbidden {
        /// Its name.
        name: String,
    },
    /// An entry is missing.
    #[error("the bundle has no {entry}")]
    Missing {
        /// The entry.
        entry: String,
    },
    /// It is larger than a bundle may be.
    #[error("the bundle is larger than {limit_bytes} bytes or has more than {limit_entries} entries")]
    TooLarge {
        /// The limit of its size.
        limit_bytes: u64,
        /// The limit of its entries.
        limit_entries: usize,
    },
    /// The archive cannot be read.
    #[error("the bundle's archive cannot be read")]
    Unreadable(#[from] io::Error),
    /// It was written by a newer version.
    #[error("the bundle has format {}.{}, and this version reads up to {}.x", found.major, found.minor, supported.major)]
    UnsupportedVersion {
        /// Its format.
        found: FormatVersion,
        /// The newest that can be read.
        supported: FormatVersion,
    },
}

/// The part of a manifest that every version understands.
#[derive(Deserialize)]
struct Version {
    format: FormatVersion,
}

/// A fact as it is stored: the content of a file stands in an entry of its own.
#[derive(Serialize, Deserialize)]
struct StoredFact {
    #[serde(flatten)]
    fact: Fact,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    raw: Option<String>,
}

impl Bundle {
    /// An empty bundle.
    pub fn new(manifest: Manifest) -> Self {
        Self { manifest, facts: Vec::new() }
    }

    /// The entries of the bundle by name.
    pub fn to_entries(&self) -> Result<BTreeMap<String, Vec<u8>>, BundleError> {
        let mut entries = BTreeMap::new();
        let mut lines = Vec::new();
        for fact in &self.facts {
            let stored = store(fact, &mut entries);
            serde_json::to_writer(&mut lines, &stored).map_err(|source| corrupt(FACTS, source))?;
            lines.push(b'\n');
        }
        entries.insert(FACTS.to_owned(), lines);
        let manifest =
            serde_json::to_vec_pretty(&self.manifest).map_err(|source| corrupt(MANIFEST, source))?;
        entries.insert(MANIFEST.to_owned(), manifest);
        // What could not be read again is not written.
        check_size(entries.values().map(|bytes| bytes.len() as u64).sum(), entries.len())?;
        if self.facts.len() > MAX_FACTS {
            return Err(too_large());
        }
        Ok(entries)
    }

    /// Reads a bundle from its entries.
    pub fn from_entries(entries: &BTreeMap<String, Vec<u8>>) -> Result<Self, BundleError> {
        let manifest = entry(entries, MANIFEST)?;
        // The version is read before the rest: a newer manifest may have another shape.
        let Version { format } =
            serde_json::from_slice(manifest).map_err(|source| corrupt(MANIFEST, source))?;
        if format.major != FORMAT_VERSION.major {
            return Err(BundleError::UnsupportedVersion { found: format, supported: FORMAT_VERSION });
        }
        let manifest = serde_json::from_slice(manifest).map_err(|source| corrupt(MANIFEST, source))?;
        let lines = entry(entries, FACTS)?.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        if lines.clone().count() > MAX_FACTS {
            return Err(too_large());
        }
        let facts = lines.map(|line| restore(line, entries)).collect::<Result<_, _>>()?;
        Ok(Self { manifest, facts })
    }

    /// Writes the bundle as a compressed archive.
    pub fn write_archive(&self, writer: impl Write) -> Result<(), BundleError> {
        let mut archive = tar::Builder::new(zstd::Encoder::new(writer, 3)?);
        let seconds = u64::try_from(self.manifest.captured_at.0 / 1000).unwrap_or(0);
        for (name, bytes) in self.to_entries()? {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o600);
            header.set_mtime(seconds);
            archive.append_data(&mut header, name, bytes.as_slice())?;
        }
        archive.into_inner()?.finish()?.flush()?;
        Ok(())
    }

    /// Reads a bundle from a compressed archive.
    pub fn read_archive(reader: impl Read) -> Result<Self, BundleError> {
        let mut unpacked = zstd::Decoder::new(reader)?;
        // What a few bytes unpack to must not be kept longer than what was written here would need.
        unpacked.window_log_max(MAX_WINDOW_LOG)?;
        // Each entry has a header and is padded.
        let headers = (MAX_ENTRIES as u64).saturating_mul(1024);
        let mut archive = tar::Archive::new(unpacked.take(MAX_TOTAL_BYTES + headers));
        let mut entries = BTreeMap::new();
        let mut total = 0;
        for entry in archive.entries()? {
            let mut entry = entry?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            if !entry.header().entry_type().is_file() || !is_entry_name(&name) {
                return Err(BundleError::Forbidden { name });
            }
            // Said by the header, before anything is unpacked.
            total = entry.size().saturating_add(total);
            check_size(total, entries.len() + 1)?;
            let mut bytes = Vec::with_capacity(usize::try_from(entry.size()).unwrap_or(0).min(MAX_RESERVED));
            entry.read_to_end(&mut bytes)?;
            entries.insert(name, bytes);
        }
        Self::from_entries(&entries)
    }

    /// Whether an entry of that name may stand in a bundle.
    pub fn allows_entry(name: &str) -> bool {
        is_entry_name(name)
    }

    /// Fails if entries of that many bytes are more than a bundle may hold.
    pub fn check_limits(total_bytes: u64, n_entries: usize) -> Result<(), BundleError> {
        check_size(total_bytes, n_entries)
    }
}

fn store(fact: &Fact, entries: &mut BTreeMap<String, Vec<u8>>) -> StoredFact {
    let mut fact = fact.clone();
    let mut raw = None;
    if let Answer::Known(body) = &mut fact.answer
        && let FactBody::File(file) = body.as_mut()
    {
        let name = format!("raw/{:05}", entries.len());
        entries.insert(name.clone(), file.content.as_slice().to_vec());
        file.content = Blob::default();
        raw = Some(name);
    }
    StoredFact { fact, raw }
}

fn restore(line: &[u8], entries: &BTreeMap<String, Vec<u8>>) -> Result<Fact, BundleError> {
    let StoredFact { mut fact, raw } =
        serde_json::from_slice(line).map_err(|source| corrupt(FACTS, source))?;
    if let Some(name) = raw
        && let Answer::Known(body) = &mut fact.answer
        && let FactBody::File(file) = body.as_mut()
    {
        file.content = Blob::from(entry(entries, &name)?);
    }
    Ok(fact)
}

fn entry<'a>(entries: &'a BTreeMap<String, Vec<u8>>, name: &str) -> Result<&'a [u8], BundleError> {
    entries.get(name).map(Vec::as_slice).ok_or_else(|| BundleError::Missing { entry: name.to_owned() })
}

fn corrupt(entry: &str, source: serde_json::Error) -> BundleError {
    BundleError::Corrupt { entry: entry.to_owned(), source }
}

fn is_entry_name(name: &str) -> bool {
    let is_raw = |name: &str| {
        name.strip_prefix("raw/").is_some_and(|rest| {
            !rest.is_empty() && rest.len() <= 64 && rest.bytes().all(|byte| byte.is_ascii_digit())
        })
    };
    name == MANIFEST || name == FACTS || is_raw(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Ask, FileContent, FileKind, FileStatus, GapReason, Root};
    use proptest::prelude::*;

    pub(super) fn manifest() -> Manifest {
        Manifest {
            format: FORMAT_VERSION,
            tool_version: "0.1.0".to_owned(),
            captured_at: Stamp(1_795_230_600_000),
            invocation: Invocation::default(),
        }
    }

    fn file_fact(path: String, content: Vec<u8>) -> Fact {
        let status = FileStatus {
            kind: FileKind::File,
            mode: 0o644,
            uid: 0,
            gid: 0,
            owner: None,
            group: None,
            size: content.len() as u64,
            modified: Stamp(0),
            acl: Vec::new(),
        };
        let body = FactBody::File(FileContent { content: content.into(), status, truncated: false });
        Fact {
            ask: Ask::File { root: Root::Host, path },
            at: Stamp(1),
            answer: Answer::known(body),
            micros: None,
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(
            archive in any::<Vec<u8>>(),
            other in "\\PC{0,60}|\\{\"format\":\\{\"major\":[0-9]{1,6},\"minor\":0\\}.{0,40}",
            facts in "(\\{\"ask\":\"(host|processes)\",\"at\":-?[0-9]{1,20},\"answer\":\"absent\"(,\"raw\":\"raw/0\")?\\}\n|\\PC{0,20}\n){0,4}",
        ) {
            prop_assert!(Bundle::read_archive(archive.as_slice()).is_err());
            let sound = serde_json::to_string(&manifest()).unwrap();
            for text in [other, sound] {
                let entries = BTreeMap::from([
                    (MANIFEST.to_owned(), text.into_bytes()),
                    (FACTS.to_owned(), facts.clone().into_bytes()),
                ]);
                if let Ok(bundle) = Bundle::from_entries(&entries) {
                    prop_assert!(bundle.to_entries().is_ok());
                }
            }
        }

        #[test]
        fn a_bundle_survives_the_archive(files in prop::collection::vec(("/[a-z/]{1,12}", any::<Vec<u8>>()), 0..8)) {
            let mut bundle = Bundle::new(manifest());
            bundle.facts.extend(files.into_iter().map(|(path, content)| file_fact(path, content)));
            let unknown = Answer::unknown(GapReason::Denied, "permission denied");
            bundle.facts.push(Fact { ask: Ask::Processes, at: Stamp(2), answer: unknown, micros: None });
            let mut archive = Vec::new();
            bundle.write_archive(&mut archive).unwrap();
            prop_assert_eq!(Bundle::read_archive(archive.as_slice()).unwrap(), bundle);
        }

        #[test]
        fn a_damaged_archive_is_an_error_and_no_panic(seed in any::<u16>(), byte in any::<u8>()) {
            let mut bundle = Bundle::new(manifest());
            bundle.facts.push(file_fact("/etc/nginx/nginx.conf".to_owned(), b"events {}".to_vec()));
            let mut archive = Vec::new();
            bundle.write_archive(&mut archive).unwrap();
            let at = usize::from(seed) % archive.len();
            archive[at] = byte;
            let _ = Bundle::read_archive(archive.as_slice());
        }
    }

    #[test]
    fn a_newer_major_version_is_refused_by_name() {
        let mut newer = manifest();
        newer.format.major += 1;
        let mut entries = Bundle::new(newer).to_entries().unwrap();
        entries.insert(FACTS.to_owned(), b"not even json".to_vec());
        let error = Bundle::from_entries(&entries).unwrap_err();
        assert!(matches!(error, BundleError::UnsupportedVersion { .. }), "{error}");
    }

    #[test]
    fn names_that_lead_out_and_links_are_refused() {
        for (name, kind) in
            [("../etc/passwd", tar::EntryType::Regular), ("raw/00001", tar::EntryType::Symlink)]
        {
            let mut archive = tar::Builder::new(zstd::Encoder::new(Vec::new(), 1).unwrap());
            let mut header = tar::Header::new_gnu();
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(kind);
            header.set_size(0);
            header.set_cksum();
            archive.append(&header, io::empty()).unwrap();
            let bytes = archive.into_inner().unwrap().finish().unwrap();
            let error = Bundle::read_archive(bytes.as_slice()).unwrap_err();
            assert!(matches!(error, BundleError::Forbidden { .. }), "{name}: {error}");
        }
    }
}
