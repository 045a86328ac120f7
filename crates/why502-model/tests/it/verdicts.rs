//! `nginx -t`: what it refuses is a problem of the model, in its own words and at its own place; what it accepts is none.

use crate::host::Host;
use std::thread;

const TABLE: &str = include_str!("verdicts.txt");

/// A configuration of the table.
struct Case {
    line: usize,
    verdict: Verdict,
    config: String,
}

/// What nginx says of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Accepted,
    Refused,
    /// Refused for a reason that nobody looks at here.
    Undecided,
}

fn cases() -> Vec<Case> {
    let lines = TABLE.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    lines.map(|(at, line)| read_case(at + 1, line)).collect()
}

fn read_case(line: usize, text: &str) -> Case {
    let mut parts = text.splitn(3, ' ');
    let (verdict, place) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let text = parts.next().unwrap_or_default().replace("\\n", "\n").replace("\\r", "\r");
    let verdict = match verdict {
        "+" => Verdict::Accepted,
        "-" => Verdict::Refused,
        "?" => Verdict::Undecided,
        other => panic!("line {line}: {other} is no verdict"),
    };
    let config = match place {
        "m" => text,
        "e" => format!("events {{ {text} }}"),
        "h" => in_http(&text),
        "s" => in_server(&text),
        "l" => in_server(&format!("location / {{ {text} }}")),
        "u" => in_http(&format!(
            "upstream u {{ {text} }} server {{ listen unix:s; location / {{ proxy_pass http://u; }} }}"
        )),
        other => panic!("line {line}: {other} is no place"),
    };
    Case { line, verdict, config }
}

/// The configurations of the table that nginx accepts.
pub(crate) fn accepted() -> Vec<String> {
    cases().into_iter().filter(|case| case.verdict == Verdict::Accepted).map(|case| case.config).collect()
}

fn in_http(text: &str) -> String {
    format!("events {{}} http {{ {text} }}")
}

fn in_server(text: &str) -> String {
    in_http(&format!("server {{ listen unix:s; {text} }}"))
}

/// How nginx and the model differ about a configuration.
fn difference(case: &Case) -> Option<String> {
    let host = Host::with(&case.config);
    let (refusal, problems) = (host.refusal(), host.problems());
    let agree = match case.verdict {
        Verdict::Accepted => refusal.is_none() && problems.is_empty(),
        Verdict::Refused => refusal.is_some() && refusal.as_ref() == problems.first(),
        Verdict::Undecided => refusal.is_some() && problems.is_empty(),
    };
    (!agree).then(|| format!("line {}: nginx {refusal:?}, here {problems:?}: {}", case.line, case.config))
}

#[test]
fn the_verdicts_are_those_of_nginx() {
    let cases = cases();
    let half = cases.len() / 2;
    let differences = |cases: &[Case]| cases.iter().filter_map(difference).collect::<Vec<_>>();
    let all = thread::scope(|scope| {
        let first = scope.spawn(|| differences(&cases[..half]));
        let second = differences(&cases[half..]);
        [first.join().unwrap(), second].concat()
    });
    assert!(all.is_empty(), "{} of {} differ:\n{}", all.len(), cases.len(), all.join("\n"));
    assert!(cases.len() > 500, "{} configurations", cases.len());
}
