use super::super::compile;
use super::super::marks::{MarkedLine, Marks};
use super::super::quotes::{Known, Unknown};
use super::super::walk::Walk;
use super::*;
use proptest::prelude::*;
use why502_facts::FormatEscape;

const FORMATS: &[&str] = &[
    super::super::COMBINED,
    "$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent \"$http_referer\" \
         \"$http_user_agent\" $request_length $request_time [$proxy_upstream_name] [$proxy_alternative_upstream_name] \
         $upstream_addr $upstream_response_length $upstream_response_time $upstream_status $req_id",
    "$remote_addr - $remote_user [$time_local] \"$request\" $status rt=$request_time us=\"$upstream_status\" \
         ua=\"$upstream_addr\" \"$http_x_forwarded_for\"",
    "$remote_addr - $remote_user [$time_local] $host \"$request\" $status $upstream_addr $upstream_status",
    "$http_x_forwarded_for - $remote_user [$time_local] \"$request\" $status",
    "$remote_user [$time_local] \"$request\" $status $unknown_tail",
    "$remote_user $status [$time_local] $upstream_addr \"$request\" $upstream_status : $host",
    "$host:$server_port $upstream_addr, $upstream_status|$status $request_uri",
    "{\"t\":\"$time_iso8601\",\"s\":$status,\"r\":\"$request\",\"ua\":\"$upstream_addr\",\"us\":\"$upstream_status\"}",
    "time:$time_iso8601\tstatus:$status\treq:$request\tua:$http_user_agent\tup:$upstream_addr",
    "$msec|$remote_addr|$request_method $request_uri|$status|$upstream_addr|$upstream_status",
    "$upstream_addr$upstream_status$request_time $status",
    "$status $upstream_addr $upstream_status $upstream_response_time $unknown_tail",
];

/// What strangers and odd gateways put into lines, and the delimiters of the formats.
fn piece() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "\"",
        "\"",
        "\\\"",
        "\\",
        "\\x22",
        " ",
        " ",
        " - ",
        "-",
        " [",
        "[",
        "] \"",
        "] ",
        "\" ",
        " \"",
        "\" \"",
        "21/Nov/2026:02:28:30 +0000",
        "21/Nov/2026:02:\"8:30 +0000",
        "2026-11-21T02:28:30+00:00",
        "GET / HTTP/1.1",
        "200",
        "502",
        "0.004",
        "127.0.0.1:80",
        "a.test",
        ", ",
        " : ",
        ",",
        ":",
        "unix:/a b",
        "|",
        "\t",
        "status:",
        "{\"t\":\"",
        "\",\"s\":",
        ",\"r\":\"",
        "\",\"ua\":\"",
        "\"}",
        "us=",
        "rt=",
        "1795228110.123",
        "\u{e9}",
        "x",
    ])
}

/// A value of a variable: mostly an honest one.
fn value(name: &str) -> BoxedStrategy<String> {
    let honest = match name {
        "time_local" => "21/Nov/2026:02:28:30 +0000",
        "time_iso8601" => "2026-11-21T02:28:30+00:00",
        "msec" => "1795228110.123",
        "status" | "upstream_status" => "200",
        "request_time" | "upstream_response_time" => "0.004",
        "upstream_addr" => "10.0.0.1:80",
        "request" => "GET /a?b=c HTTP/1.1",
        "body_bytes_sent" | "request_length" | "upstream_response_length" | "server_port" => "80",
        "remote_addr" => "::1",
        _ => "-",
    };
    prop_oneof![
        12 => Just(honest.to_owned()),
        1 => Just("-".to_owned()),
        1 => Just("10.0.0.1:80, 10.0.0.2:80".to_owned()),
        1 => Just("502 : 200".to_owned()),
        2 => prop::collection::vec(piece(), 0..5).prop_map(|pieces| pieces.concat()),
    ]
    .boxed()
}

/// A line of a format, some of whose values are hostile.
fn line(text: &'static str) -> BoxedStrategy<String> {
    let mut parts: Vec<BoxedStrategy<String>> = Vec::new();
    for (place, part) in text.split('$').enumerate() {
        let end = if place == 0 {
            0
        } else {
            part.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').unwrap_or(part.len())
        };
        if place > 0 {
            parts.push(value(&part[..end]));
        }
        parts.push(Just(part[end..].to_owned()).boxed());
    }
    parts.prop_map(|parts| parts.concat()).boxed()
}

fn agree(text: &str, line: &[u8]) -> Result<bool, TestCaseError> {
    let mut read = false;
    for escape in [FormatEscape::Default, FormatEscape::Json, FormatEscape::None] {
        let (lead, steps) = compile::steps(text, escape).unwrap();
        let rules = Direct::compile(&steps).unwrap();
        let mut spans = Spans::default();
        let direct = rules.read(&lead, line, Unknown, &mut spans).map(|()| spans);
        let mut marks = Marks::default();
        marks.find(line);
        if let Some(MarkedLine { line: marked, places, begin }) = marks.lines(line).next()
            && marked == line
        {
            let mut spans = Spans::default();
            let with_marks = rules.read(&lead, line, Known { places, begin }, &mut spans).map(|()| spans);
            prop_assert_eq!(&with_marks, &direct);
        }
        let searched = Walk::run(&lead, &steps, line);
        if direct.is_some() {
            prop_assert_eq!(&direct, &searched, "{:?} {} {}", escape, text, String::from_utf8_lossy(line));
        }
        read |= direct.is_some();
    }
    Ok(read)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn what_is_read_is_what_the_search_finds(
        (text, line) in prop::sample::select(FORMATS).prop_flat_map(|text| (Just(text), line(text))),
        noise in prop::option::of((prop::collection::vec(piece(), 0..3), 0usize..400)),
    ) {
        let mut line = line.into_bytes();
        if let Some((noise, at)) = noise {
            let at = at.min(line.len());
            line.splice(at..at, noise.concat().into_bytes());
        }
        agree(text, &line)?;
    }

    #[test]
    fn no_heap_of_pieces_is_read_otherwise(
        text in prop::sample::select(FORMATS), pieces in prop::collection::vec(piece(), 0..30),
    ) {
        agree(text, pieces.concat().as_bytes())?;
    }
}

#[test]
fn honest_lines_of_most_formats_are_read() {
    let honest = |text: &'static str| {
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        (0..40).any(|_| {
            let line = line(text).new_tree(&mut runner).unwrap().current();
            agree(text, line.as_bytes()).unwrap()
        })
    };
    let unread: Vec<_> = FORMATS.iter().filter(|text| !honest(text)).collect();
    // In these, a value may hold what ends it.
    assert_eq!(unread, [FORMATS[6], FORMATS[10]].each_ref());
}

#[test]
fn a_line_full_of_places_to_go_wrong_is_within_the_searchs_limit() {
    let lines = [
        "::1 - - [21/Nov/2026:02:28:30 +0000] \"GET / HTTP/1.1\" 200 5 \"-\" \"".to_owned()
            + &" [".repeat(9000)
            + "\"",
        "::1 - - [21/Nov/2026:02:28:30 +0000] \"GET / HTTP/1.1\" 200 5 \"-\" \"".to_owned()
            + &" [21/Nov/2026:02:28:30 +0000] ".repeat(900)
            + "\"",
    ];
    for line in lines {
        assert!(agree(FORMATS[0], line.as_bytes()).unwrap());
    }
    let tail = "200 10.0.0.1:80 200 0.004".to_owned() + &" 1".repeat(5000);
    assert!(agree(FORMATS[12], tail.as_bytes()).unwrap());
}
