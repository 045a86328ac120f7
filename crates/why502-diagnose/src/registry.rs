//! The catalogue agrees with itself, with its directory and with `spec/causes.toml`.

#![expect(clippy::disallowed_methods, reason = "a test reads the repository's own files")]

use crate::cause::{ActsOn, Cause, Layer};
use crate::causes::{CAUSES, find_cause};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const HEADINGS: [&str; 7] = [
    "What happens",
    "What you see",
    "How we know",
    "What would disprove it",
    "What to do",
    "Not to be confused with",
    "References",
];

/// Phrases that no cause looks at, with the reason.
const UNCLAIMED: &[(&str, &str)] = &[
    ("BindFailed", "upstream-bind-address-invalid"),
    ("CacheTrouble", "a cached answer that cannot be used is fetched anew"),
    ("CacheZoneFull", "a 500 of the gateway's own making without a cause of its own"),
    ("CacheZoneUnknown", "a 500 of the gateway's own making without a cause of its own"),
    ("ClientBodyTooLarge", "request-body-too-large"),
    ("ClientRequestInvalid", "the client's own mistake"),
    ("ClientTimedOut", "the client's own pace"),
    ("ConfigurationWarning", "nginx accepted it"),
    ("DnsTrouble", "resolver-unreachable"),
    ("GatewayFault", "a bug or a directive that does not fit: no cause of the catalogue"),
    ("HealthCheck", "a module that open-source nginx does not have"),
    ("IdleTimeout", "stream idle timeouts"),
    ("InvalidTrailer", "response trailers: no cause of the catalogue"),
    ("LimitDryRun", "a limit that only pretends refuses nothing"),
    ("LimitZoneFull", "a full zone refuses by the limit's own status, which the limits' phrases tell"),
    ("LimitingRequestsDelayed", "a delay is no refusal"),
    ("MemoryExhausted", "gateway-out-of-memory"),
    ("MoreDataThanAnnounced", "nginx passes on what was announced: no failure for the client"),
    ("NamedLocationMissing", "a 500 of the configuration's making without a cause of its own"),
    ("ProcessEvent", "the instance's story, not a request's"),
    ("RedirectCycle", "rewrite-cycle"),
    ("RefusedLocally", "deny rules and missing files are no failures"),
    ("RequestNotBuilt", "no cause of the catalogue"),
    ("ScriptFailed", "the script's own mistake"),
    ("ScriptMessage", "the script's own words"),
    ("SharedMemoryFull", "no cause of the catalogue"),
    ("SliceInvalid", "no cause of the catalogue"),
    ("SocketOptionFailed", "no failure of a request"),
    ("SubrequestTrouble", "no cause of the catalogue"),
    ("TlsSetupFailed", "tls-client-certificate causes"),
    ("TlsTransferFailed", "told by its alert, whatever the phrase"),
    ("Unrecognised", "shown as it is"),
    ("VariableTrouble", "no cause of the catalogue"),
    ("VariableUninitialised", "a warning: the value is empty"),
    ("WorkerConnectionsLow", "idle connections were closed in time: no failure"),
];

#[derive(serde::Deserialize)]
struct Spec {
    cause: Vec<SpecCause>,
}

#[derive(serde::Deserialize)]
struct SpecCause {
    id: String,
    layer: Layer,
    acts_on: ActsOn,
    #[serde(default)]
    effect: bool,
    status: Vec<u16>,
}

fn source_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The source of every file of the catalogue, by its name without the ending.
fn files() -> BTreeMap<String, String> {
    sources(&source_directory().join("causes"))
}

/// The source of the parts that a file of the catalogue has in a directory of its own.
fn parts() -> Vec<String> {
    let entries = std::fs::read_dir(source_directory().join("causes")).unwrap();
    let directories = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let production = |(name, source): (String, String)| (name != "tests").then_some(source);
    directories.flat_map(|path| sources(&path).into_iter().filter_map(production)).collect()
}

fn sources(directory: &Path) -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(directory).unwrap();
    entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read_to_string(&path).unwrap())
        })
        .collect()
}

fn file_of(cause: &Cause) -> String {
    cause.id.replace('-', "_")
}

/// The part of a file before its tests.
fn production(source: &str) -> &str {
    source.split("#[cfg(test)]").next().unwrap()
}

#[test]
fn the_list_is_the_directory() {
    let listed: BTreeSet<String> = CAUSES.iter().map(|cause| file_of(cause)).collect();
    let files = files();
    let with_cause: BTreeSet<String> = files
        .iter()
        .filter(|(_, source)| source.contains("pub(super) static CAUSE"))
        .map(|(name, _)| name.clone())
        .collect();
    assert_eq!(listed, with_cause);
}

#[test]
fn ids_are_sorted_unique_and_kebab() {
    let ids: Vec<&str> = CAUSES.iter().map(|cause| cause.id).collect();
    let mut sorted = ids.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(ids, sorted);
    let is_kebab = |id: &&str| {
        id.split('-').all(|word| {
            !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        })
    };
    assert!(ids.iter().all(is_kebab));
}

#[test]
fn fields_are_those_of_the_specification() {
    let text = std::fs::read_to_string(source_directory().join("../../../spec/causes.toml")).unwrap();
    let spec: Spec = toml::from_str(&text).unwrap();
    for cause in CAUSES {
        let own = spec.cause.iter().find(|own| own.id == cause.id).unwrap();
        let fields = (cause.layer, cause.acts_on, cause.effect, cause.statuses);
        assert_eq!(fields, (own.layer, own.acts_on, own.effect, own.status.as_slice()), "{}", cause.id);
    }
}

#[test]
fn every_manual_has_its_headings_in_order() {
    for cause in CAUSES {
        let headings: Vec<&str> = cause.manual.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        assert_eq!(headings, HEADINGS, "{}", cause.id);
        assert_eq!(cause.manual.lines().next(), Some(format!("# {}", cause.id).as_str()));
        assert!(!cause.summary().is_empty() && cause.summary().ends_with('.'), "{}", cause.id);
    }
}

#[test]
fn every_cause_has_a_hit_a_near_miss_and_a_gap() {
    let files = files();
    for cause in CAUSES {
        let file = file_of(cause);
        let parts = source_directory().join("causes").join(&file);
        let tests = if parts.is_dir() { sources(&parts).remove("tests") } else { None };
        let source = tests.as_ref().unwrap_or(&files[&file]);
        for kind in ["hit", "near_miss", "gap"] {
            assert!(source.contains(&format!("fn {kind}_")), "{}: no test of kind {kind}", cause.id);
        }
    }
}

#[test]
fn what_is_superseded_exists_and_supersedes_nothing_back() {
    fn reaches(from: &Cause, id: &str) -> bool {
        from.supersedes.iter().any(|own| *own == id || reaches(find_cause(own).unwrap(), id))
    }
    for cause in CAUSES {
        for id in cause.supersedes {
            assert!(find_cause(id).is_some(), "{} supersedes {id}", cause.id);
        }
        assert!(!reaches(cause, cause.id), "{} supersedes itself", cause.id);
    }
}

#[test]
fn every_phrase_is_claimed_or_deliberately_not() {
    let path = source_directory().join("../../why502-facts/src/phrase.rs");
    let source = std::fs::read_to_string(path).unwrap();
    let body = source.split_once("pub enum Phrase {").unwrap().1.split_once("\n}").unwrap().0;
    let phrases: BTreeSet<&str> = body
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with(|first: char| first.is_ascii_uppercase()))
        .map(|line| line.trim_end_matches(','))
        .collect();
    let sources = files().into_values().chain(parts());
    let causes: String = sources.map(|source| production(&source).to_owned()).collect();
    let is_claimed = |phrase: &&&str| {
        let claim = format!("Phrase::{phrase}");
        causes
            .match_indices(&claim)
            .any(|(at, _)| !causes[at + claim.len()..].starts_with(|next: char| next.is_ascii_alphanumeric()))
    };
    let claimed: BTreeSet<&str> = phrases.iter().filter(is_claimed).copied().collect();
    let unclaimed: BTreeSet<&str> = UNCLAIMED.iter().map(|(phrase, _)| *phrase).collect();
    let missing: Vec<&&str> =
        phrases.difference(&claimed).filter(|phrase| !unclaimed.contains(**phrase)).collect();
    assert!(missing.is_empty(), "claimed by no cause, and not listed: {missing:?}");
    let stale: Vec<&&str> = unclaimed.intersection(&claimed).collect();
    assert!(stale.is_empty(), "listed, and claimed: {stale:?}");
    let unknown: Vec<&&str> = unclaimed.difference(&phrases).collect();
    assert!(unknown.is_empty(), "listed, and no phrase: {unknown:?}");
}
