//! Rotated siblings of a log: `access.log.1`, `access.log.2.gz`, `access.log-20261121`, `access.log-20261121.zst`.

use crate::root::RootDir;

/// A rotated sibling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rotated {
    /// Its path.
    pub(super) path: String,
}

impl Rotated {
    /// The log itself.
    pub(super) fn live(path: &str) -> Self {
        Self { path: path.to_owned() }
    }

    /// Whether it must be decompressed.
    pub(super) fn is_compressed(&self) -> bool {
        matches!(self.extension(), "gz" | "zst")
    }

    /// What follows the last point of the name.
    pub(super) fn extension(&self) -> &str {
        self.path.rsplit_once('.').map_or("", |(_, extension)| extension)
    }
}

/// The siblings of a log, oldest first.
pub(super) fn rotated(directory: &RootDir, path: &str) -> Vec<Rotated> {
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
    let names = directory.list(if parent.is_empty() { "/" } else { parent }).unwrap_or_default();
    let mut found: Vec<(Age, String)> =
        names.into_iter().filter_map(|other| Some((age(name, &other)?, other))).collect();
    found.sort();
    // A file that was compressed while it is kept beside its archive is read once.
    found.dedup_by(|next, kept| next.0 == kept.0);
    found.into_iter().map(|(_, name)| Rotated { path: format!("{parent}/{name}") }).collect()
}

/// How old a sibling is: dated ones by their date, numbered ones by falling number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Age {
    Dated(String),
    Numbered(std::cmp::Reverse<u32>),
}

fn age(log: &str, other: &str) -> Option<Age> {
    let rest = other.strip_prefix(log)?;
    let rest = rest.strip_suffix(".gz").or_else(|| rest.strip_suffix(".zst")).unwrap_or(rest);
    let mark = rest.strip_prefix(['.', '-', '_'])?;
    let digits: String = mark.chars().filter(char::is_ascii_digit).collect();
    let is_date =
        mark.chars().all(|c| c.is_ascii_digit() || matches!(c, '-' | '_' | '.' | 'T')) && digits.len() >= 6;
    if is_date {
        return Some(Age::Dated(digits));
    }
    mark.parse().ok().map(|number| Age::Numbered(std::cmp::Reverse(number)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use why502_facts::Root;

    #[test]
    fn siblings_are_found_oldest_first() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["a.log", "a.log.1", "a.log.2.gz", "a.log.10.gz", "a.log.bak", "a.log.1.gz", "b.log.1"] {
            std::fs::write(directory.path().join(name), "").unwrap();
        }
        let base = directory.path().display().to_string();
        let root = RootDir::open(Root::Host).unwrap();
        let found: Vec<_> =
            rotated(&root, &format!("{base}/a.log")).into_iter().map(|file| file.path).collect();
        assert_eq!(found, ["a.log.10.gz", "a.log.2.gz", "a.log.1"].map(|name| format!("{base}/{name}")));
    }

    #[test]
    fn dates_are_ages() {
        let of = |name| age("a.log", name);
        assert!(of("a.log-20261120.gz") < of("a.log-20261121"));
        assert!(of("a.log-2026-11-20") < of("a.log-2026-11-21"));
        assert_eq!(of("a.log.old"), None);
        assert_eq!(of("a.log"), None);
    }
}
