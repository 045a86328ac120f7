//! Real incidents, told as the files that an operator could send (`corpus/incidents`), scored as its README says.

use crate::run::{json, project, why502};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

#[derive(Deserialize)]
struct Label {
    id: String,
    expect: Vec<String>,
    max_confidence: String,
    #[serde(default)]
    caps: BTreeMap<String, String>,
    #[serde(default)]
    forbid: Vec<String>,
}

struct Score {
    label: Label,
    cause: String,
    confidence: String,
    forbidden: Vec<String>,
    breaches: Vec<String>,
}

impl Score {
    fn hit(&self) -> bool {
        self.label.expect.contains(&self.cause)
    }

    fn over_confident(&self) -> bool {
        let cap = self.label.caps.get(&self.cause).unwrap_or(&self.label.max_confidence);
        rank(&self.confidence) > rank(cap)
    }
}

fn rank(confidence: &str) -> u8 {
    match confidence {
        "possible" => 1,
        "likely" => 2,
        "confirmed" => 3,
        _ => 0,
    }
}

fn score(directory: &Path) -> Score {
    let label: Label =
        toml::from_str(&std::fs::read_to_string(directory.join("case.toml")).unwrap()).unwrap();
    let mut arguments =
        vec!["diagnose".to_owned(), "--offline".to_owned(), "--since".to_owned(), "all".to_owned()];
    for (option, file) in
        [("--config", "nginx.conf"), ("--error-log", "error.log"), ("--access-log", "access.log")]
    {
        if directory.join(file).exists() {
            arguments.extend([option.to_owned(), directory.join(file).display().to_string()]);
        }
    }
    arguments.extend(["--format".to_owned(), "json".to_owned()]);
    let (report, code) = json(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let findings = report["findings"].as_array().unwrap();
    let text = |finding: &Value, name: &str| finding[name].as_str().unwrap_or("").to_owned();
    let first = findings.first();
    let roots =
        findings.iter().filter(|finding| finding["root"] == true && rank(&text(finding, "confidence")) >= 2);
    let forbidden: Vec<String> =
        roots.map(|root| text(root, "cause")).filter(|id| label.forbid.contains(id)).collect();
    Score {
        cause: first.map_or(String::new(), |first| text(first, "cause")),
        confidence: first.map_or(String::new(), |first| text(first, "confidence")),
        forbidden,
        breaches: contract_breaches(&report, code),
        label,
    }
}

/// What of the contract a report breaks.
fn contract_breaches(report: &Value, code: i32) -> Vec<String> {
    let mut breaches = Vec::new();
    let findings = report["findings"].as_array().unwrap();
    let likely =
        findings.iter().any(|finding| finding["root"] == true && finding["confidence"] != "possible");
    let fits = match report["verdict"].as_str().unwrap() {
        "broken" => code == 1 && likely,
        "inconclusive" => code == 3 && !likely,
        "healthy" => code == 0 && findings.is_empty(),
        "at-risk" | "recovered" => code == 0 && likely,
        _ => false,
    };
    if !fits {
        breaches.push(format!("verdict {} with exit {code}", report["verdict"]));
    }
    if report["gateway"]["pid"] != Value::Null
        || findings.iter().any(|finding| finding["explains"]["still_failing"] != Value::Null)
    {
        breaches.push("claims something about a host".to_owned());
    }
    let gaps = report["gaps"].as_array().unwrap().iter();
    let undecided =
        report["undecided"].as_array().unwrap().iter().flat_map(|entry| entry["gaps"].as_array().unwrap());
    for gap in gaps.chain(undecided) {
        let why = gap["why"].as_str().unwrap();
        if !["not-asked", "denied", "unsupported", "timed-out", "failed"].contains(&why) {
            breaches.push(format!("gap {gap}"));
        }
    }
    breaches
}

/// The cases, with a line for each.
fn scores() -> Vec<Score> {
    let mut directories: Vec<_> = std::fs::read_dir(project().join("corpus/incidents"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    directories.sort();
    directories.iter().map(|directory| score(directory)).collect()
}

#[test]
fn known_causes_are_named_and_nothing_is_claimed_too_much() {
    let listed = String::from_utf8(why502(&["explain", "--list"]).stdout).unwrap();
    let known: Vec<&str> = listed.lines().filter_map(|line| line.split_whitespace().next()).collect();
    let scores = scores();
    let mut table = String::new();
    let (mut hits, mut counted) = (0, 0);
    let (mut over, mut forbidden, mut breaches) = (0, 0, 0);
    for score in &scores {
        let is_known = known.contains(&score.label.expect[0].as_str());
        counted += usize::from(is_known);
        hits += usize::from(is_known && score.hit());
        over += usize::from(score.over_confident());
        forbidden += usize::from(!score.forbidden.is_empty());
        breaches += usize::from(!score.breaches.is_empty());
        let mark = match (is_known, score.hit()) {
            (true, true) => "ok  ",
            (true, false) => "MISS",
            (false, true) => "(ok)",
            (false, false) => "(--)",
        };
        let trouble = if score.over_confident() { " OVER-CONFIDENT" } else { "" };
        let _ = writeln!(
            table,
            "{mark} {:<44} {} {}{trouble} {:?} {:?} (expected {})",
            score.label.id,
            score.cause,
            score.confidence,
            score.forbidden,
            score.breaches,
            score.label.expect.join(" | ")
        );
    }
    let _ = writeln!(table, "Top-1 of known causes {hits}/{counted}");
    // The figures per case are wanted where all is well, too.
    std::io::Write::write_all(&mut std::io::stderr(), table.as_bytes()).unwrap();
    assert!(hits * 100 >= counted * 97, "{hits} of {counted}");
    assert_eq!((over, forbidden, breaches), (0, 0, 0), "over-confident, forbidden, contract");
}
