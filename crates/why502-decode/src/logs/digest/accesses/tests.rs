use super::*;
use why502_facts::{AccessLogFormat, AnswerMeasure, FormatEscape, RequestKey, Stamp};

const TEXT: &str = "$remote_addr [$time_local] \"$request\" $status us=$upstream_status ua=$upstream_addr \
    cs=$upstream_cache_status ls=$limit_req_status \"$http_user_agent\"";

fn route(key: &RequestKey<'_>) -> Option<Arc<str>> {
    Some(key.path.get(..2)?.into())
}

fn options() -> DigestOptions<'static> {
    DigestOptions {
        log: "/l",
        from: None,
        to: None,
        max_records: 100,
        route: Some(&route),
        extent: Extent::Diagnosis,
    }
}

fn digest(options: DigestOptions<'static>, text: &str, log: &str) -> AccessDigest {
    let source = AccessLogFormat { text: text.to_owned(), escape: FormatEscape::Default };
    let format = AccessFormat::compile(&source).unwrap();
    let mut digester = AccessDigester::new(options, AccessSource { format: &format, guessed: false });
    let file = Arc::from("/l");
    for (offset, line) in log.lines().enumerate() {
        digester.line(&file, offset as u64, line.as_bytes());
    }
    digester.finish()
}

fn line(second: u32, path: &str, status: &str, rest: &str) -> String {
    format!("::1 [21/Nov/2026:02:10:{second:02} +0000] \"GET {path} HTTP/1.1\" {status} {rest}\n")
}

fn ok(second: u32, path: &str, port: u32) -> String {
    line(second, path, "200", &format!("us=200 ua=127.0.0.1:{port} cs=- ls=- \"curl\""))
}

#[test]
fn successes_are_counted_and_only_the_last_one_kept() {
    let log = ok(1, "/a1", 1) + &ok(2, "/a2", 1) + &ok(3, "/a3", 2) + &ok(4, "/b", 1);
    let digest = digest(options(), TEXT, &log);
    assert!(digest.records.is_empty() && digest.has_upstream);
    let totals: Vec<_> =
        digest.totals.iter().map(|total| (total.route.as_deref(), total.status, total.n_requests)).collect();
    assert_eq!(totals, [(Some("/a"), 200, 3), (Some("/b"), 200, 1)]);
    assert_eq!((digest.totals[0].first.0, digest.totals[0].last.0), (1_795_227_001_000, 1_795_227_003_000));
    let last: Vec<&str> =
        digest.successes.iter().map(|record| &*record.request.as_ref().unwrap().path).collect();
    assert_eq!(last, ["/a2", "/a3", "/b"]);
    assert!(digest.successes.iter().all(|record| record.line.text.is_some()));
}

#[test]
fn the_times_of_successful_answers_are_told_per_route() {
    let text =
        "[$time_local] \"$request\" $status us=$upstream_status uht=$upstream_header_time rt=$request_time";
    let line = |path: &str, status: u16, rest: &str| {
        format!("[21/Nov/2026:02:10:01 +0000] \"GET {path} HTTP/1.1\" {status} {rest}\n")
    };
    let log = line("/a1", 200, "us=200 uht=0.010 rt=9.000")
        + &line("/a2", 304, "us=304 : 304 uht=0.001 : 0.020 rt=9.000")
        + &line("/a3", 200, "us=- uht=- rt=0.000")
        + &line("/a4", 200, "us=504, 200 uht=-, 0.030 rt=9.000")
        + &line("/a5", 504, "us=504 uht=- rt=9.000")
        + &line("/a6", 404, "us=404 uht=0.040 rt=9.000")
        + &line("/b", 101, "us=101 uht=0.002 rt=9.000");
    let told = |digest: &AccessDigest| {
        let one = |own: &why502_facts::RouteAnswers| {
            (own.route.clone().unwrap(), own.measure, own.times.n_values(), own.times.quantile(1000))
        };
        digest.answers.iter().map(one).collect::<Vec<_>>()
    };
    assert_eq!(
        told(&digest(options(), text, &log)),
        [(Arc::from("/a"), AnswerMeasure::Header, 2, Some(20)),]
    );
    // Without a time of the upstream the request's own tells it, if an upstream was asked.
    let coarse = text.replace("uht=$upstream_header_time ", "");
    let log = line("/a1", 200, "us=200 rt=1.000")
        + &line("/a2", 200, "us=- rt=0.000")
        + &line("/a3", 101, "us=101 rt=9.000");
    let found = told(&digest(options(), &coarse, &log));
    assert_eq!((found.len(), found[0].1, found[0].2), (1, AnswerMeasure::Paced, 1));
    // Where the size is told, what clients take at their own pace is left out.
    let sized = coarse.replace("rt=", "$body_bytes_sent rt=");
    let log = line("/a1", 200, "us=200 65536 rt=1.000") + &line("/a2", 200, "us=200 65537 rt=9.000");
    let found = told(&digest(options(), &sized, &log));
    assert_eq!((found.len(), found[0].1, found[0].2), (1, AnswerMeasure::Request, 1));
    let surveyed = DigestOptions { extent: Extent::Survey, ..options() };
    assert!(digest(surveyed, &coarse, &log).answers.is_empty());
}

#[test]
fn the_times_of_new_connections_are_told_per_route_and_peer() {
    let text =
        "[$time_local] \"$request\" $status us=$upstream_status ua=$upstream_addr uct=$upstream_connect_time";
    let line = |path: &str, rest: &str| {
        format!("[21/Nov/2026:02:10:01 +0000] \"GET {path} HTTP/1.1\" 200 us=200 {rest}\n")
    };
    let log = line("/a1", "ua=127.0.0.1:1 uct=0.040")
        + &line("/a2", "ua=127.0.0.1:1 uct=0.000")
        + &line("/a3", "ua=127.0.0.1:1 uct=0.020")
        + &line("/a4", "ua=127.0.0.1:2 uct=0.010")
        + &line("/b", "ua=127.0.0.1:1 uct=-");
    let digest = digest(options(), text, &log);
    let told: Vec<_> = digest
        .connects
        .iter()
        .map(|own| (own.route.as_deref(), &*own.peer, own.times.n_values(), own.times.quantile(1000)))
        .collect();
    assert_eq!(told, [(Some("/a"), "127.0.0.1:1", 2, Some(40)), (Some("/a"), "127.0.0.1:2", 1, Some(10))]);
}

#[test]
fn everything_that_did_not_go_well_is_a_record() {
    let rest = "cs=- ls=- \"curl\"";
    let told = [
        line(1, "/a", "502", &format!("us=502 ua=127.0.0.1:1 {rest}")),
        line(1, "/a", "000", &format!("us=- ua=- {rest}")),
        line(1, "/a", "009", &format!("us=200 ua=127.0.0.1:1 {rest}")),
        line(1, "/a", "499", &format!("us=- ua=127.0.0.1:1 {rest}")),
        line(1, "/a", "200", &format!("us=502, 200 ua=127.0.0.1:1, 127.0.0.1:2 {rest}")),
        line(1, "/a", "200", &format!("us=502 : 200 ua=127.0.0.1:1 : 127.0.0.1:2 {rest}")),
        line(1, "/a", "200", "us=502 ua=127.0.0.1:1 cs=STALE ls=- \"curl\""),
        line(1, "/a", "429", "us=- ua=- cs=- ls=REJECTED \"curl\""),
        line(1, "/a", "500", &format!("us=- ua= {rest}")),
    ];
    let digest = digest(options(), TEXT, &told.concat());
    assert_eq!(digest.records.len(), told.len());
    assert_eq!(digest.records[7].limit_status.as_deref(), Some("REJECTED"));
    let died_early = digest.records[8].tries.as_deref().unwrap();
    assert_eq!((died_early.len(), died_early[0].peer.as_deref()), (1, None));
    let fine = line(1, "/a", "200", &format!("us=- ua=- {rest}"))
        + &line(1, "/a", "200", &format!("us=200 : 200 ua=127.0.0.1:1 : 127.0.0.1:2 {rest}"));
    assert!(self::digest(options(), TEXT, &fine).records.is_empty());
}

#[test]
fn answers_with_4xx_are_merged() {
    let missing = line(1, "/a", "404", "us=404 ua=127.0.0.1:1 cs=- ls=- \"curl\"").repeat(10);
    let digest = digest(options(), TEXT, &missing);
    assert_eq!(digest.records.iter().map(|record| record.weight).collect::<Vec<_>>(), [1, 1, 8]);
    assert!(!digest.coverage.sampled);
}

#[test]
fn our_own_requests_are_not_counted() {
    let own = line(1, "/a", "502", "us=502 ua=127.0.0.1:1 cs=- ls=- \"why502/0.1.0 (replay)\"");
    let forged = line(1, "/a", "502", "us=502 ua=127.0.0.1:1 cs=- ls=- \"not why502/0.1.0 (replay)\"");
    let digest = digest(options(), TEXT, &(own + &forged));
    assert_eq!((digest.records.len(), digest.totals[0].n_requests), (1, 1));
    assert_eq!(digest.own[0].request.as_ref().map(|line| &*line.path), Some("/a"));
}

#[test]
fn what_cannot_be_placed_in_time_is_unparsed() {
    let window = DigestOptions { from: Some(Stamp(1_795_227_002_000)), ..options() };
    let log = ok(1, "/a", 1) + &ok(2, "/a", 1) + "garbage\n" + &ok(3, "/a", 1).replace("Nov", "Nov?");
    let digest = digest(window, TEXT, &log);
    assert_eq!((digest.coverage.n_lines, digest.coverage.n_unparsed), (3, 2));
    assert!(digest.coverage.complete);
    let timeless = self::digest(options(), "$status $request_uri", "200 /a\n");
    assert_eq!((timeless.coverage.n_lines, timeless.coverage.n_unparsed), (1, 1));
}

#[test]
fn a_million_paths_and_peers_cost_a_bounded_amount() {
    let log: String = (0..20_000)
        .map(|n| line(n % 60, &format!("/{n}"), "404", &format!("us=404 ua=h{n}.test:80 cs=- ls=- \"{n}\"")))
        .chain((0..20_000).map(|n| ok(n % 60, &format!("/a{n}"), n)))
        .collect();
    let few_routes = |key: &RequestKey<'_>| key.path.starts_with("/a").then(|| Arc::from("a"));
    let options = DigestOptions { route: Some(Box::leak(Box::new(few_routes))), ..options() };
    let digest = digest(options, TEXT, &log);
    assert_eq!(digest.records.iter().map(|record| record.weight).sum::<u64>(), 20_000);
    // There were more kinds than are kept: without peers, few are left.
    assert!(digest.records.len() <= 3, "{}", digest.records.len());
    assert_eq!(digest.successes.len(), 64);
}
