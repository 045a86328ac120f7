//! Parity of response heads: what the real nginx makes of each form, and what the decoder does.
//!
//! One backend sends the head that a request's path numbers, in the protocol that its path names; one nginx passes all of
//! them on. Its logs tell what it made of each.

mod backend;
mod cases;

use self::cases::cases;
use crate::logs_nginx::lab::{Lab, NGINX};
use std::collections::BTreeMap;
use std::process::Command;
use std::thread;
use why502_decode::wire::{parse_fastcgi_answer, parse_http_answer, parse_scgi_answer};
use why502_facts::lossy;

/// The size of the buffer that a header must fit, in bytes.
const BUFFER: usize = 1024;
/// So many clients ask at the same time.
const N_CLIENTS: usize = 4;

/// Protocols in which heads are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Protocol {
    FastCgi,
    Http,
    Scgi,
    Uwsgi,
}

const PROTOCOLS: [Protocol; 4] = [Protocol::FastCgi, Protocol::Http, Protocol::Scgi, Protocol::Uwsgi];

/// What becomes of a head.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate {
    /// It is passed on: its status, and the value of its header `X`.
    Taken { status: u16, value: String },
    /// A line of it is refused.
    Invalid,
    /// It has no status line, in a protocol that needs one.
    NotHttp,
    /// It does not fit the buffer.
    TooBig,
    /// The connection ends before it does.
    Unfinished,
}

#[test]
fn every_head_is_taken_or_refused_as_nginx_does() {
    let cases = cases(BUFFER);
    assert!(cases.len() >= 300, "{} heads", cases.len());
    let lab = Lab::start(&configuration(&backend::listen(cases.clone())), "UTC");
    thread::scope(|scope| {
        for (nth, lab) in [&lab; N_CLIENTS].into_iter().enumerate() {
            let asked = (nth..cases.len()).step_by(N_CLIENTS);
            scope.spawn(move || {
                for path in asked.flat_map(|idx| PROTOCOLS.map(|protocol| backend::path(protocol, idx))) {
                    lab.ask(&[&path]);
                }
            });
        }
    });
    let (errors, accesses) = (lab.finish("error.log"), lab.read("heads.log"));
    let version = version();
    let refusals = refusals(&lossy(&errors));
    let logged = logged(&lossy(&accesses));
    let mut differences = Vec::new();
    for (idx, head) in cases.iter().enumerate() {
        for protocol in PROTOCOLS {
            let path = backend::path(protocol, idx);
            let Some(answer) = logged.get(&path) else { panic!("{path} was not logged") };
            let of_nginx = refusals.get(&path).unwrap_or(answer);
            let own = own_fate(protocol, head, version);
            if !agrees(own.as_ref(), of_nginx) {
                differences.push(format!("{protocol:?} {:?}: {own:?}, nginx {of_nginx:?}", lossy(head)));
            }
        }
    }
    assert!(differences.is_empty(), "{} differences\n{}", differences.len(), differences.join("\n"));
}

/// Whether what the decoder makes of a head is what nginx makes of it. Where it sees no answer at all, why is nginx's to say.
fn agrees(own: Option<&Fate>, of_nginx: &Fate) -> bool {
    own.map_or(!matches!(of_nginx, Fate::Taken { .. }), |own| own == of_nginx)
}

/// What the decoder makes of a head, for a version of nginx.
fn own_fate(protocol: Protocol, head: &[u8], version: (u16, u16, u16)) -> Option<Fate> {
    let sent = backend::framed(protocol, head);
    let seen = &sent[..sent.len().min(BUFFER)];
    let answer = match protocol {
        Protocol::FastCgi => parse_fastcgi_answer(seen).header,
        Protocol::Http => parse_http_answer(seen),
        Protocol::Scgi | Protocol::Uwsgi => parse_scgi_answer(seen),
    }?;
    let is_refused = answer.faults.iter().any(|fault| fault.refused_since() <= version);
    Some(match answer {
        _ if is_refused => Fate::Invalid,
        answer if answer.complete => {
            Fate::Taken { status: answer.status, value: answer.header("X").unwrap_or_default().to_owned() }
        }
        _ if seen.len() == BUFFER => Fate::TooBig,
        _ => Fate::Unfinished,
    })
}

/// Which paths nginx passed no header on for, and why; only the first refusal of a request counts.
fn refusals(log: &str) -> BTreeMap<String, Fate> {
    let mut found = BTreeMap::new();
    for line in log.lines() {
        let Some(path) = line.split("request: \"GET ").nth(1).and_then(|rest| rest.split(' ').next()) else {
            continue;
        };
        if let Some(fate) = refusal(line) {
            found.entry(path.to_owned()).or_insert(fate);
        }
    }
    found
}

fn refusal(line: &str) -> Option<Fate> {
    let says = |text: &str| line.contains(text);
    let is_invalid = says("upstream sent invalid header")
        || says("upstream sent invalid status")
        || says("upstream sent invalid \"Content-Length\"")
        || says("upstream sent unknown \"Transfer-Encoding\"")
        || says("headers at the same time")
        || (says("upstream sent duplicate header line") && !says(", ignored"));
    if is_invalid {
        Some(Fate::Invalid)
    } else if says("upstream sent no valid HTTP/1.0 header") {
        Some(Fate::NotHttp)
    } else if says("upstream sent too big header") {
        Some(Fate::TooBig)
    } else if says("while reading response header from upstream")
        && (says("prematurely closed") || says("unexpected FastCGI record"))
    {
        Some(Fate::Unfinished)
    } else {
        None
    }
}

/// The status and the value that nginx logged for each path.
fn logged(log: &str) -> BTreeMap<String, Fate> {
    let field = |line: &serde_json::Value, name: &str| line[name].as_str().unwrap_or_default().to_owned();
    log.lines()
        // What is no UTF-8 is shown with a backslash, which JSON knows otherwise.
        .map(|line| line.replace("\\x", "\\\\x"))
        .map(|line| serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}")))
        .map(|line| {
            let status = field(&line, "status").parse().unwrap_or(0);
            (field(&line, "path"), Fate::Taken { status, value: field(&line, "value") })
        })
        .collect()
}

/// The version of the nginx that the test runs.
fn version() -> (u16, u16, u16) {
    let output = Command::new(NGINX).arg("-v").output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let numbers = text.trim_end().rsplit('/').next().unwrap().split('.');
    let numbers: Vec<u16> = numbers.map_while(|number| number.parse().ok()).collect();
    (numbers[0], numbers[1], numbers[2])
}

fn configuration(backend: &str) -> String {
    let locations = PROTOCOLS.map(|protocol| {
        let (module, scheme) = match protocol {
            Protocol::FastCgi => ("fastcgi", ""),
            Protocol::Http => ("proxy", "http://"),
            Protocol::Scgi => ("scgi", ""),
            Protocol::Uwsgi => ("uwsgi", ""),
        };
        let tell =
            if module == "proxy" { "proxy_set_header X-Case" } else { &format!("{module}_param CASE") };
        format!(
            "location {} {{
                {module}_pass {scheme}{backend};
                {module}_buffer_size {BUFFER};
                {tell} case=$request_uri;
            }}\n",
            backend::folder(protocol)
        )
    });
    format!(
        "log_format heads escape=json
            '{{\"path\":\"$request_uri\",\"status\":\"$upstream_status\",\"value\":\"$upstream_http_x\"}}';
        access_log DIR/heads.log heads;
        server {{ listen 127.0.0.1:PORT; {} }}",
        locations.concat()
    )
}
