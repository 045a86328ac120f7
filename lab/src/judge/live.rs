//! Whether the report of a live run says what an honest one says.

use super::report::{Finding, Got};
use super::{Kind, Miss, acceptable};
use crate::scenario::{Confidence, Expect, Verdict};

/// What is wrong with it. `marked` are the places that the finding may point at, if the scenario marks any.
pub(crate) fn live(expect: &Expect, marked: &[(String, u64)], got: &Got) -> Vec<Miss> {
    let report = &got.report;
    let mut misses = Vec::new();
    if expect.verdict == Verdict::Healthy {
        if report.verdict() != expect.verdict.name() || !report.findings().is_empty() {
            misses.push(Miss::new(Kind::FalseAlarm, format!("got {}", report.summary())));
        }
        return misses;
    }
    if report.verdict() != expect.verdict.name() {
        let says = format!("expected {}, got {}", expect.verdict.name(), report.summary());
        misses.push(Miss::new(Kind::Verdict, says));
    }
    misses.extend(acceptable(Kind::Top1, got, &expect.cause, expect.max_confidence));
    let mut roots = expect.roots();
    roots.sort_unstable();
    // Without a likely root there is nothing to compare, and the verdict has told it.
    if report.roots() != roots && !(expect.verdict == Verdict::Inconclusive && report.roots().is_empty()) {
        let says = format!("expected {{{}}}, got {{{}}}", roots.join(" "), report.roots().join(" "));
        misses.push(Miss::new(Kind::Roots, says));
    }
    if let Some(first) =
        report.findings().into_iter().find(|finding| expect.cause.iter().any(|id| id == finding.cause()))
    {
        misses.extend(details(expect, marked, first));
    }
    let findings = report.findings();
    let forbidden = findings.iter().filter(|finding| expect.forbid.iter().any(|id| id == finding.cause()));
    misses.extend(
        forbidden.map(|finding| Miss::new(Kind::Detail, format!("{} is a finding", finding.cause()))),
    );
    let text = report.text();
    let unsaid = expect.says.iter().filter(|words| !text.contains(words.as_str()));
    misses.extend(unsaid.map(|words| Miss::new(Kind::Detail, format!("{words:?} is nowhere"))));
    let changes = report.changes();
    let is_told = |words: &&String| changes.iter().any(|says| says.contains(words.as_str()));
    let untold = expect.changed.iter().filter(|words| !is_told(words));
    misses.extend(
        untold
            .map(|words| Miss::new(Kind::Detail, format!("no change is {words:?}: {}", changes.join("; ")))),
    );
    misses
}

/// What else is expected of the finding.
fn details(expect: &Expect, marked: &[(String, u64)], finding: Finding<'_>) -> Vec<Miss> {
    let mut says = Vec::new();
    let least = match (expect.confidence, expect.verdict) {
        (Some(confidence), _) => confidence,
        (None, Verdict::Inconclusive) => Confidence::Possible,
        (None, _) => Confidence::Likely,
    };
    if finding.confidence() < least {
        says.push(format!("only {:?}", finding.confidence()));
    }
    for effect in expect.effects.iter().filter(|effect| !finding.effects().contains(&effect.as_str())) {
        says.push(format!("no effect {effect}"));
    }
    if expect.still_failing.is_some() && finding.still_failing() != expect.still_failing {
        says.push(format!("still_failing is {:?}", finding.still_failing()));
    }
    let fields = [
        ("server", &expect.server),
        ("location", &expect.location),
        ("upstream", &expect.upstream),
        ("peer", &expect.peer),
        ("impact", &expect.impact),
    ];
    for (name, wanted) in fields {
        if let Some(wanted) = wanted
            && finding.field(name) != Some(wanted.as_str())
        {
            says.push(format!("{name} is {:?}, not {wanted:?}", finding.field(name)));
        }
    }
    let place = finding.place();
    let is_marked = |(file, line): (&str, u64)| marked.iter().any(|(own, at)| own == file && *at == line);
    if !marked.is_empty() && !place.is_some_and(is_marked) {
        says.push(format!("it points at {place:?}, not at {marked:?}"));
    }
    let remedies = finding.remedies();
    for words in expect.remedy.iter().filter(|words| !remedies.contains(words.as_str())) {
        says.push(format!("no remedy says {words:?}"));
    }
    for words in expect.no_remedy.iter().filter(|words| remedies.contains(words.as_str())) {
        says.push(format!("a remedy says {words:?}"));
    }
    says.into_iter().map(|says| Miss::new(Kind::Detail, says)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::report::Report;
    use super::*;
    use std::time::Duration;

    fn got(verdict: &str, findings: &str) -> Got {
        let json = format!(r#"{{"schema":"why502.report/1","verdict":"{verdict}","findings":[{findings}]}}"#);
        Got { report: Report::parse(json.as_bytes()).unwrap(), exit: Some(1), elapsed: Duration::ZERO }
    }

    fn expect(cause: &str) -> Expect {
        Expect { cause: vec![cause.to_owned()], ..Expect::default() }
    }

    const A: &str = r#"{"cause":"a","confidence":"likely","root":true,"where":[{"file":"/f","line":3}]}"#;

    fn kinds(misses: &[Miss]) -> Vec<Kind> {
        misses.iter().map(|miss| miss.kind).collect()
    }

    #[test]
    fn the_right_answer_misses_nothing() {
        assert!(live(&expect("a"), &[("/f".to_owned(), 3)], &got("broken", A)).is_empty());
    }

    #[test]
    fn another_answer_misses_first_place_and_roots() {
        assert_eq!(kinds(&live(&expect("b"), &[], &got("broken", A))), [Kind::Top1, Kind::Roots]);
    }

    #[test]
    fn a_wrong_place_and_too_much_certainty_are_told() {
        assert_eq!(kinds(&live(&expect("a"), &[("/f".to_owned(), 4)], &got("broken", A))), [Kind::Detail]);
        let modest = Expect { max_confidence: Some(Confidence::Possible), ..expect("a") };
        assert_eq!(kinds(&live(&modest, &[], &got("broken", A))), [Kind::OverConfident]);
    }

    #[test]
    fn what_changed_is_looked_for_among_the_changes_alone() {
        let json = r#"{"schema":"why502.report/1","verdict":"broken","findings":[],"changes":[{"says":"b.conf changed"}]}"#;
        let report = Report::parse(json.as_bytes()).unwrap();
        let got = Got { report, exit: Some(1), elapsed: Duration::ZERO };
        let changed = |words: &str| {
            let expect = Expect { changed: vec![words.to_owned()], ..Expect::default() };
            let misses = live(&expect, &[], &got);
            misses.iter().filter(|miss| miss.says.starts_with("no change")).count()
        };
        assert_eq!((changed("b.conf"), changed("broken")), (0, 1));
    }

    #[test]
    fn any_finding_on_a_healthy_system_is_a_false_alarm() {
        let healthy = Expect { verdict: Verdict::Healthy, ..Expect::default() };
        assert!(live(&healthy, &[], &got("healthy", "")).is_empty());
        assert_eq!(kinds(&live(&healthy, &[], &got("at-risk", A))), [Kind::FalseAlarm]);
    }
}
