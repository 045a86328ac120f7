//! Rotated siblings of a log: `access.log.1`, `access.log.2.gz`, `access.log-20261121`, `access.log-20261121.zst`.

use super::packing::Packing;
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

    /// Whether its name says that it must be decompressed.
    pub(super) fn is_compressed(&self) -> bool {
        without_packing(&self.path).len() < self.path.len()
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

/// How old a sibling is: dated ones by their date, numbered ones by falling number, the log itself last.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Age {
    Dated(String),
    Numbered(std::cmp::Reverse<u32>),
    Live,
}

fn age(log: &str, other: &str) -> Option<Age> {
    let mark = without_packing(other.strip_prefix(log)?).strip_prefix(['.', '-', '_'])?;
    dated(mark).or_else(|| numbered(mark))
}

/// The log that a name belongs to, and how old it says to be; the log itself if it bears no mark of a rotation.
///
/// A date stands at the end or before the last extension (`access-20261120.log`, logrotate's `extension`); a number
/// only at the end. What may be a port or a version is no date.
pub(super) fn log_of(name: &str) -> (String, Age) {
    let name = without_packing(name);
    let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    if let Some(age) = numbered(extension).filter(|_| !stem.is_empty() && extension.len() < 6) {
        return (stem.to_owned(), age);
    }
    if let Some((log, age)) = split_date(name) {
        return (log.to_owned(), age);
    }
    if let Some((log, age)) = split_date(stem)
        && !log.is_empty()
    {
        return (format!("{log}.{extension}"), age);
    }
    (name.to_owned(), Age::Live)
}

/// The log's name and the date behind it: `access.log-20261120`, `access_2026-11-20T10`.
fn split_date(name: &str) -> Option<(&str, Age)> {
    let is_mark = |letter: char| letter.is_ascii_digit() || matches!(letter, '-' | '_' | '.' | 'T');
    let begin = name.rfind(|letter| !is_mark(letter)).map_or(0, |at| at + 1);
    let mark = name[begin..].trim_start_matches(|letter: char| !letter.is_ascii_digit());
    let log = name[..name.len() - mark.len()].strip_suffix(['.', '-', '_'])?;
    let age = dated(mark)?;
    let Age::Dated(digits) = &age else { return None };
    is_calendar(digits).then_some((log, age))
}

/// Whether digits begin with a year, a month and a day of it, or are the seconds of a moment of this century.
fn is_calendar(digits: &str) -> bool {
    let number = |range: std::ops::Range<usize>| digits.get(range).and_then(|part| part.parse::<u32>().ok());
    let is_day =
        matches!((number(0..4), number(4..6), number(6..8)), (Some(1990..=2199), Some(1..=12), Some(1..=31)));
    is_day || (digits.len() == 10 && digits >= "1000000000")
}

fn dated(mark: &str) -> Option<Age> {
    let digits: String = mark.chars().filter(char::is_ascii_digit).collect();
    let is_date =
        mark.chars().all(|c| c.is_ascii_digit() || matches!(c, '-' | '_' | '.' | 'T')) && digits.len() >= 6;
    is_date.then_some(Age::Dated(digits))
}

fn numbered(mark: &str) -> Option<Age> {
    let is_number = mark.bytes().all(|byte| byte.is_ascii_digit());
    mark.parse().ok().filter(|_| is_number).map(|number| Age::Numbered(std::cmp::Reverse(number)))
}

/// The name without the extension of the program that packed the file.
pub(super) fn without_packing(name: &str) -> &str {
    Packing::EXTENSIONS.iter().find_map(|extension| name.strip_suffix(extension)).unwrap_or(name)
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

    #[test]
    fn a_name_tells_its_log_and_its_age() {
        let dated = |digits: &str| Age::Dated(digits.to_owned());
        let numbered = |number| Age::Numbered(std::cmp::Reverse(number));
        for (name, log, age) in [
            ("access.log", "access.log", Age::Live),
            ("access.log.1", "access.log", numbered(1)),
            ("access.log.12.gz", "access.log", numbered(12)),
            ("access.log.gz", "access.log", Age::Live),
            ("access.log-20261120", "access.log", dated("20261120")),
            ("access.log-20261120.zst", "access.log", dated("20261120")),
            ("access.log-2026112011.xz", "access.log", dated("2026112011")),
            ("access.log-1795228110", "access.log", dated("1795228110")),
            ("access-20261120.log.bz2", "access.log", dated("20261120")),
            ("access.2026-11-20.log", "access.log", dated("20261120")),
            ("access_2026-11-20T10.log", "access.log", dated("2026112010")),
            ("a-json.log.3", "a-json.log", numbered(3)),
            ("access-8080.log", "access-8080.log", Age::Live),
            ("access-10.0.0.1.log", "access-10.0.0.1.log", Age::Live),
            ("20261120.log", "20261120.log", Age::Live),
            ("build-99999999.log", "build-99999999.log", Age::Live),
            (".1", ".1", Age::Live),
            ("", "", Age::Live),
        ] {
            assert_eq!(log_of(name), (log.to_owned(), age), "{name}");
        }
    }
}
