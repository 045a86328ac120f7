use crate::fixture::Fixture;
use std::fmt::Write as _;

const BASE: &str = r#"
#- nginx.conf
events {}
http {
    log_format up '$remote_addr [$time_local] "$request" $status $request_time $upstream_addr $upstream_status $upstream_connect_time $upstream_header_time $upstream_response_time';
    access_log /var/log/nginx/access.log up;
    server {
        listen 80;
        server_name shop.example.com;
        location / { proxy_pass http://127.0.0.1:3000; }
    }
}
#- probe 127.0.0.1:3000
answers
HTTP/1.1 200 OK

#- server-log
#- listeners
127.0.0.1:3000 gunicorn -w 2 app:app
127.0.0.1:3000 gunicorn parent=200 -w 2 app:app
127.0.0.1:3000 gunicorn parent=200 -w 2 app:app
"#;
const WORD: &str = "[21-Nov-2026 02:28:01] WARNING: [pool shop] server reached pm.max_children setting (2), consider raising it\n";
/// Master and children of the pool.
const PHP: &str = "127.0.0.1:3000 php-fpm title=php-fpm:_master_process\n127.0.0.1:3000 php-fpm parent=200 title=php-fpm:_pool_shop\n127.0.0.1:3000 php-fpm parent=200 title=php-fpm:_pool_shop\n";
const BUSY: &str = "127.0.0.1:3000 gunicorn queue=2 -w 2 app:app\n127.0.0.1:3000 gunicorn parent=200 held=1 -w 2 app:app\n127.0.0.1:3000 gunicorn parent=200 held=1 -w 2 app:app\n";
const SLOW: [&str; 2] = ["/report", "/report"];

/// Quick answers of the begin, requests that timed out together at second 59 of 02:28, and what else was logged.
fn logged(late: &[&str], more: &str) -> Fixture {
    let mut log = String::new();
    let mut line = |at: &str, path: &str, status: u16, time: &str, header: &str| {
        let _ = writeln!(
            log,
            "10.0.0.9 [21/Nov/2026:{at} +0000] \"GET {path} HTTP/1.1\" {status} {time} 127.0.0.1:3000 {status} 0.000 {header} {time}"
        );
    };
    for second in 10..18 {
        line(&format!("02:27:{second}"), "/", 200, "0.004", "0.004");
    }
    let mut errors = String::new();
    for (connection, path) in late.iter().enumerate() {
        line("02:28:59", path, 504, "60.001", "-");
        let _ = writeln!(
            errors,
            "2026/11/21 02:28:59 [error] 101#101: *{connection} upstream timed out (110: Connection timed out) while reading response header from upstream, client: 10.0.0.9, server: shop.example.com, request: \"GET {path} HTTP/1.1\", upstream: \"http://127.0.0.1:3000{path}\", host: \"shop.example.com\""
        );
    }
    Fixture::new(BASE).with("access.log", &(log + more)).with("error.log", &errors)
}

fn with_quick() -> Fixture {
    logged(&[&SLOW[..], &["/", "/"]].concat(), "")
}

#[test]
fn hit_the_server_says_that_all_were_busy() {
    insta::assert_snapshot!(with_quick().with("listeners", PHP).with("server-log", WORD).summary(), @"
        Broken
        Confirmed upstream-pool-exhausted -> upstream-slow: all workers of php-fpm (pid 200) are busy, and requests wait for one in vain [4 requests]
        not read-timeout-too-short: 9 in 10 of 8 successful answers of this route took at most 0.004 s
        ");
}

#[test]
fn hit_connections_wait_and_each_worker_holds_one() {
    let now = with_quick().with("options", "now=2026-11-21T02:29:30Z").with("probe 127.0.0.1:3000", "hangs");
    insta::assert_snapshot!(now.with("listeners", BUSY).summary(), @"
        Broken
        Confirmed upstream-pool-exhausted -> upstream-slow: all workers of gunicorn (pid 200) are busy, and requests wait for one in vain [4 requests, still failing]
        not read-timeout-too-short: 9 in 10 of 8 successful answers of this route took at most 0.004 s
        ");
    // What is seen an hour later tells nothing of these.
    let later = with_quick().with("listeners", BUSY).summary();
    assert!(later.contains("Likely upstream-pool-exhausted"), "{later}");
}

#[test]
fn hit_more_waited_than_it_has_workers() {
    insta::assert_snapshot!(with_quick().summary(), @"
        Broken
        Likely upstream-pool-exhausted -> upstream-slow: all workers of gunicorn (pid 200) are busy, and requests wait for one in vain [4 requests]
        not read-timeout-too-short: 9 in 10 of 8 successful answers of this route took at most 0.004 s
        ");
}

#[test]
fn hit_its_queue_was_full() {
    let word = "Sat Nov 21 02:28:30 2026 - *** uWSGI listen queue of socket \"127.0.0.1:3000\" (fd: 3) full !!! (101/100) ***\n";
    let uwsgi = BASE.replace("gunicorn", "uwsgi");
    let summary = with_quick()
        .with("listeners", Fixture::new(&uwsgi).section("listeners"))
        .with("server-log", word)
        .summary();
    assert!(
        summary
            .contains("Confirmed upstream-pool-exhausted -> upstream-slow: all workers of uwsgi (pid 200)"),
        "{summary}"
    );
}

#[test]
fn near_miss_one_page_is_slow_and_workers_are_free() {
    for late in [&SLOW[..1], &SLOW[..]] {
        let summary = logged(late, "").summary();
        assert!(!summary.contains("upstream-pool-exhausted"), "{summary}");
    }
    // More of one page than there are workers: the page is slow, and whether others suffer nobody knows.
    let summary = logged(&["/report"; 4], "").summary();
    assert!(!summary.contains("upstream-pool-exhausted"), "{summary}");
}

#[test]
fn near_miss_a_later_request_was_answered_meanwhile() {
    let later = "10.0.0.9 [21/Nov/2026:02:28:30 +0000] \"GET / HTTP/1.1\" 200 0.004 127.0.0.1:3000 200 0.000 0.004 0.004\n";
    let summary =
        logged(&[&SLOW[..], &["/", "/"]].concat(), later).with("listeners", PHP).with("server-log", WORD);
    assert!(!summary.summary().contains("upstream-pool-exhausted"), "{}", summary.summary());
}

#[test]
fn near_miss_words_of_another_time_or_pool() {
    let php = logged(&["/report", "/"], "").with("listeners", PHP);
    let own = php.with("server-log", WORD).summary();
    assert!(own.contains("Likely upstream-pool-exhausted"), "{own}");
    for word in [WORD.replace("02:28:01", "02:20:01"), WORD.replace("pool shop", "pool blog")] {
        let summary = php.with("server-log", &word).summary();
        assert!(!summary.contains("upstream-pool-exhausted"), "{summary}");
    }
}

#[test]
fn near_miss_the_only_request_may_be_slow_by_itself() {
    let summary = logged(&["/report"], "").with("listeners", PHP).with("server-log", WORD).summary();
    assert!(summary.contains("Likely upstream-slow"), "{summary}");
}

#[test]
fn near_miss_nobody_is_at_work() {
    let silent =
        with_quick().with("probe 127.0.0.1:3000", "hangs").with("options", "now=2026-11-21T02:29:30Z");
    let summary = silent.summary();
    assert!(!summary.contains("upstream-pool-exhausted"), "{summary}");
    let stopped = BUSY.replace("held=1", "held=1 state=T");
    let summary = silent.with("listeners", &stopped).summary();
    assert!(!summary.contains("upstream-pool-exhausted"), "{summary}");
}

#[test]
fn near_miss_it_works_on_many_requests_in_one_thread() {
    for other in ["node", "gunicorn -k gevent"] {
        let text = BASE.replace("gunicorn", other);
        let summary = with_quick().with("listeners", Fixture::new(&text).section("listeners")).summary();
        assert!(!summary.contains("upstream-pool-exhausted"), "{summary}");
    }
}

#[test]
fn gap_the_log_may_not_be_read() {
    insta::assert_snapshot!(with_quick().without("server-log").summary(), @"
        Broken
        Likely upstream-pool-exhausted -> upstream-slow: all workers of gunicorn (pid 200) are busy, and requests wait for one in vain [4 requests]
          open: what the server itself says of its workers at that time: the fixture does not tell
        not read-timeout-too-short: 9 in 10 of 8 successful answers of this route took at most 0.004 s
        ");
}

#[test]
fn gap_nobody_sees_who_listens() {
    let summary = with_quick().without("listeners").summary();
    assert!(!summary.contains("upstream-pool-exhausted"), "{summary}");
}
