use super::*;

use why502_facts::{LogClockSource, Phrase, RequestKey, Stamp};

const CLOCK: LogClock = LogClock { offset_seconds: 3600, source: LogClockSource::HostZone };

fn route(key: &RequestKey<'_>) -> Option<Arc<str>> {
    Some(key.path.get(..2)?.into())
}

fn options(max_records: usize) -> DigestOptions<'static> {
    DigestOptions {
        log: "/l",
        from: None,
        to: None,
        max_records,
        route: Some(&route),
        extent: crate::logs::Extent::Diagnosis,
    }
}

fn digest(options: DigestOptions<'static>, log: &str) -> ErrorDigest {
    let mut digester = ErrorDigester::new(options, CLOCK);
    let (file, mut offset) = (Arc::from("/l.1"), 0);
    for line in log.lines() {
        digester.line(&file, offset, line.as_bytes());
        offset += line.len() as u64 + 1;
    }
    digester.finish()
}

fn entry(time: &str, level: &str, says: &str) -> String {
    format!(
        "2026/11/21 {time} [{level}] 7#7: *3 {says}, client: ::1, server: a, request: \"GET /a HTTP/1.1\", upstream: \
             \"http://127.0.0.1:1/a\", host: \"a\"\n"
    )
}

const REFUSED: &str = "connect() failed (111: Connection refused) while connecting to upstream";

#[test]
fn records_tell_where_they_stand() {
    let log = entry("03:10:00", "info", "client ::1 closed keepalive connection")
        + &entry("03:10:01", "error", REFUSED);
    let digest = digest(options(10), &log);
    assert_eq!(digest.levels, [(ErrorLevel::Error, 1), (ErrorLevel::Info, 1)]);
    let [record] = digest.records.as_slice() else { panic!("{:?}", digest.records) };
    assert_eq!(
        (record.phrase, record.route.as_deref(), record.weight),
        (Phrase::ConnectFailed, Some("/a"), 1)
    );
    let first = log.lines().next().unwrap();
    assert_eq!(record.line.offset, first.len() as u64 + 1);
    assert_eq!(record.line.text.as_deref(), Some(log.lines().nth(1).unwrap()));
    let coverage = &digest.coverage;
    assert_eq!((coverage.n_lines, coverage.bytes, coverage.files.len()), (2, log.len() as u64, 1));
    assert_eq!(coverage.first.unwrap().to_string(), "2026-11-21T02:10:00Z");
    assert_eq!(coverage.last.unwrap().to_string(), "2026-11-21T02:10:01Z");
}

#[test]
fn the_window_is_kept_and_what_was_before_it_remembered() {
    let window = DigestOptions {
        from: Some(Stamp(1_795_227_000_500)),
        to: Some(Stamp(1_795_227_060_000)),
        ..options(10)
    };
    let timed_out = "upstream timed out (110: Connection timed out) while connecting to upstream";
    let log = ["03:00:00", "03:01:00"].map(|time| entry(time, "error", REFUSED)).concat()
            + &entry("03:02:00", "error", timed_out)
            // The window begins inside this second.
            + &["03:10:00", "03:11:00", "03:11:01"].map(|time| entry(time, "error", REFUSED)).concat();
    let digest = digest(window, &log);
    assert_eq!(
        digest.records.iter().map(|record| record.at.to_string()).collect::<Vec<_>>(),
        ["2026-11-21T03:10:00", "2026-11-21T03:11:00"]
    );
    // The timeout is no kind of failure that the window holds.
    let [before] = digest.before.as_slice() else { panic!("{:?}", digest.before) };
    assert_eq!((before.at.to_string().as_str(), before.weight), ("2026-11-21T03:00:00", 2));
    assert!(digest.coverage.complete);
}

#[test]
fn an_entry_may_have_several_lines() {
    let open = "2026/11/21 03:10:00 [error] 7#7: *3 FastCGI sent in stderr: \"PHP message: one\n\ntwo\" while reading \
            response header from upstream, client: ::1, server: a, request: \"GET /a HTTP/1.1\", upstream: \
            \"fastcgi://127.0.0.1:9000\", host: \"a\"\nstray\n";
    let digest = digest(options(10), open);
    let [record] = digest.records.as_slice() else { panic!("{:?}", digest.records) };
    assert_eq!(record.detail.as_deref(), Some("PHP message: one\n\ntwo"));
    assert_eq!((record.context.client.as_deref(), record.line.offset), (Some("::1"), 0));
    assert_eq!((digest.coverage.n_lines, digest.coverage.n_unparsed), (2, 1));
    assert_eq!(digest.coverage.unparsed[0].text.as_deref(), Some("stray"));
}

#[test]
fn an_entry_that_never_ends_ends_with_the_next_one() {
    let log = "2026/11/21 03:10:00 [error] 7#7: *3 FastCGI sent in stderr: \"PHP message: cut\n".to_owned()
        + &"x\n".repeat(5000)
        + &entry("03:10:01", "error", REFUSED);
    let digest = digest(options(10), &log);
    assert_eq!(digest.records.len(), 2);
    assert!(digest.records[0].detail.as_deref().unwrap().starts_with("PHP message: cut\nx\nx"));
    assert!(digest.coverage.n_unparsed > 2000);
}

#[test]
fn the_console_speaks_when_the_entry_before_it_did() {
    let console = "nginx: [emerg] unknown directive \"x\" in /etc/nginx/nginx.conf:3\n";
    let digest = digest(options(10), &(console.to_owned() + &entry("03:10:01", "error", REFUSED) + console));
    let at: Vec<_> = digest.records.iter().map(|record| (record.phrase, record.at.to_string())).collect();
    let when = "2026-11-21T03:10:01".to_owned();
    assert_eq!(
        at,
        [
            (Phrase::ConfigurationRefused, when.clone()),
            (Phrase::ConnectFailed, when.clone()),
            (Phrase::ConfigurationRefused, when)
        ]
    );
}

#[test]
fn too_many_failures_are_merged_by_kind_and_minute() {
    let log: String =
        (0..600u32).map(|n| entry(&format!("03:{:02}:{:02}", n / 60, n % 60), "error", REFUSED)).collect();
    let digest = digest(options(100), &log);
    assert!(digest.coverage.sampled);
    assert_eq!(digest.records.iter().map(|record| record.weight).sum::<u64>(), 600);
    // A hundred one by one, the rest of the second minute, and eight further minutes.
    assert_eq!(digest.records.len(), 109);
    assert_eq!(digest.records.iter().filter(|record| record.line.text.is_some()).count(), 3);
}

#[test]
fn small_talk_costs_no_failure_its_record() {
    let chat =
        "FastCGI sent in stderr: \"PHP message: PHP Notice\" while reading response header from upstream";
    let log = entry("03:10:00", "error", chat).repeat(500)
        + &entry("03:10:00", "warn", "using uninitialized \"x\" variable").repeat(500)
        + &entry("03:10:00", "error", REFUSED).repeat(100);
    let digest = digest(options(100), &log);
    let of = |phrase| digest.records.iter().filter(move |record| record.phrase == phrase);
    assert_eq!(of(Phrase::ConnectFailed).count(), 100);
    assert_eq!(of(Phrase::FastCgiStderr).map(|record| record.weight).sum::<u64>(), 500);
    let weights: Vec<u64> = of(Phrase::VariableUninitialised).map(|record| record.weight).collect();
    assert_eq!(weights, [1, 1, 498]);
}

#[test]
fn hostile_lines_cost_a_bounded_amount() {
    let mut digester = ErrorDigester::new(options(1000), CLOCK);
    let file = Arc::from("/l");
    for n in 0..50_000u64 {
        let line = format!(
            "2026/11/21 03:{:02}:00 [error] 7#7: *{n} {REFUSED}, client: 10.0.{}.{}, server: s{n}, request: \"GET \
                 /{n}/{} HTTP/1.1\", upstream: \"http://host{n}.test:80/\", host: \"h{n}\"",
            n % 60,
            n % 256,
            n / 256,
            "x".repeat(1000),
        );
        digester.line(&file, n, line.as_bytes());
    }
    let digest = digester.finish();
    assert_eq!(digest.records.iter().map(|record| record.weight).sum::<u64>(), 50_000);
    assert!(digest.records.len() < 20_000, "{}", digest.records.len());
    let texts = digest.records.iter().filter_map(|record| record.line.text.as_ref());
    assert!(texts.map(|text| text.len()).sum::<usize>() < 10 << 20);
    assert!(digest.records.iter().all(|record| record.context.request.as_ref().unwrap().path.len() <= 512));
}
