use crate::causes::upstream_closed_before_response::tests::HIT as CLOSED;
use crate::fixture::Fixture;

const VALUES: &str = "answers\n\\x01\\x0a\\x00\\x00\\x00\\x02\\x00\\x00\\x00\\x00";

#[test]
fn hit_http_to_fastcgi() {
    let fixture = Fixture::new(CLOSED).with("probe 127.0.0.1:3000 fastcgi-values", VALUES);
    insta::assert_snapshot!(fixture.summary(), @"
        Broken
        Confirmed protocol-mismatch -> upstream-closed-before-response: HTTP is spoken to 127.0.0.1:3000, which speaks FastCGI [1 requests, still failing]
        ");
}

#[test]
fn hit_http_to_uwsgi() {
    let pong = "answers\nd\\x00\\x00\\x01";
    let fixture = Fixture::new(CLOSED).with("probe 127.0.0.1:3000 uwsgi-ping", pong);
    insta::assert_snapshot!(fixture.summary(), @"
        Broken
        Confirmed protocol-mismatch -> upstream-closed-before-response: HTTP is spoken to 127.0.0.1:3000, which speaks uwsgi [1 requests, still failing]
        ");
}

#[test]
fn hit_the_listener_was_started_for_uwsgi() {
    let listener = "127.0.0.1:3000 uwsgi_python3 --socket 127.0.0.1:3000 --wsgi-file app.py";
    insta::assert_snapshot!(Fixture::new(CLOSED).with("listeners", listener).summary(), @"
        Broken
        Likely protocol-mismatch -> upstream-closed-before-response: HTTP is spoken to 127.0.0.1:3000, which speaks uwsgi [1 requests, still failing]
        ");
}

#[test]
fn hit_a_greeting() {
    let fixture = Fixture::new(CLOSED).with("probe 127.0.0.1:3000", "answers\nSSH-2.0-OpenSSH_9.2");
    insta::assert_snapshot!(fixture.summary(), @"
        Broken
        Confirmed protocol-mismatch -> upstream-closed-before-response: HTTP is spoken to 127.0.0.1:3000, which speaks SSH [1 requests, still failing]
        ");
}

fn fastcgi() -> String {
    CLOSED
        .replace("proxy_pass http://backend", "fastcgi_pass backend")
        .replace("upstream: \"http://127.0.0.1:3000/a\"", "upstream: \"fastcgi://127.0.0.1:3000\"")
        .replace(
            "upstream prematurely closed connection",
            "upstream sent unsupported FastCGI protocol version: 72",
        )
}

#[test]
fn hit_fastcgi_to_http() {
    let fixture =
        Fixture::new(&fastcgi()).with("probe 127.0.0.1:3000", "answers\nHTTP/1.1 400 Bad Request\n\n");
    insta::assert_snapshot!(fixture.summary(), @"
        Broken
        Confirmed protocol-mismatch: FastCGI is spoken to 127.0.0.1:3000, which speaks HTTP [1 requests, still failing]
        ");
}

/// `shown` is the line that nginx quotes.
fn memcached(shown: &str) -> String {
    CLOSED
        .replace("proxy_pass http://backend", "set $memcached_key $uri; memcached_pass backend")
        .replace("upstream: \"http://127.0.0.1:3000/a\"", "upstream: \"memcached://127.0.0.1:3000\"")
        .replace(
            "upstream prematurely closed connection",
            &format!("memcached sent invalid response: \"{shown}\""),
        )
}

#[test]
fn hit_memcached_to_http() {
    let fixture = Fixture::new(&memcached("HTTP/1.1 400 Bad Request"))
        .with("probe 127.0.0.1:3000", "answers\nHTTP/1.1 400 Bad Request\n\n");
    insta::assert_snapshot!(fixture.summary(), @"
        Broken
        Confirmed protocol-mismatch: memcached is spoken to 127.0.0.1:3000, which speaks HTTP [1 requests, still failing]
        ");
}

#[test]
fn hit_http_to_memcached() {
    let fixture =
        Fixture::new(CLOSED).with("probe 127.0.0.1:3000 memcached-version", "answers\nVERSION 1.6.18\n\n");
    insta::assert_snapshot!(fixture.summary(), @"
        Broken
        Confirmed protocol-mismatch -> upstream-closed-before-response: HTTP is spoken to 127.0.0.1:3000, which speaks memcached [1 requests, still failing]
        ");
}

#[test]
fn near_miss_a_memcached_that_refuses_a_key() {
    let fixture = Fixture::new(&memcached("CLIENT_ERROR bad command line format"))
        .with("probe 127.0.0.1:3000", "answers\nVERSION 1.6.18\n\n");
    let summary = fixture.summary();
    assert!(!summary.contains("protocol-mismatch"), "{summary}");
}

#[test]
fn gap_the_line_that_memcached_is_not_stands_in_the_log() {
    for (shown, name) in [
        ("HTTP/1.1 400 Bad Request", "HTTP"),
        ("$-1", "Redis"),
        ("-NOAUTH Authentication required.", "Redis"),
    ] {
        let summary = Fixture::new(&memcached(shown)).without("probe 127.0.0.1:3000").summary();
        let expected =
            format!("Likely protocol-mismatch: memcached is spoken to 127.0.0.1:3000, which speaks {name}");
        assert!(summary.contains(&expected), "{summary}");
    }
    let summary = Fixture::new(&memcached("hello")).without("probe 127.0.0.1:3000").summary();
    assert!(!summary.contains("protocol-mismatch"), "{summary}");
}

fn uwsgi() -> Fixture {
    let text = CLOSED
        .replace("proxy_pass http://backend", "uwsgi_pass backend")
        .replace("upstream: \"http://127.0.0.1:3000/a\"", "upstream: \"uwsgi://127.0.0.1:3000\"");
    Fixture::new(&text).with("probe 127.0.0.1:3000 who-speaks", "answers\nHTTP/1.1 200 OK\n\n")
}

#[test]
fn hit_uwsgi_to_http() {
    insta::assert_snapshot!(uwsgi().summary(), @"
        Broken
        Confirmed protocol-mismatch -> upstream-closed-before-response: uwsgi is spoken to 127.0.0.1:3000, which speaks HTTP [1 requests, still failing]
        ");
}

#[test]
fn hit_uwsgi_to_a_web_server_that_answers_400() {
    let access = "10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] \"GET /a HTTP/1.1\" 400 157 \"-\" \"curl/8\"\n";
    let fixture = uwsgi()
        .with("error.log", "")
        .with("access.log", access)
        .with("probe 127.0.0.1:3000", "answers\nHTTP/1.1 400 Bad Request\n\n");
    let summary = fixture.summary();
    assert!(summary.contains("uwsgi is spoken to 127.0.0.1:3000, which speaks HTTP"), "{summary}");
    // An application may answer so, and the port speaks no HTTP.
    let summary = fixture.with("probe 127.0.0.1:3000 who-speaks", "closed").summary();
    assert!(!summary.contains("protocol-mismatch"), "{summary}");
}

#[test]
fn near_miss_the_application_closes_and_speaks_nothing_else() {
    let summary = Fixture::new(CLOSED).summary();
    assert!(!summary.contains("protocol-mismatch"), "{summary}");
}

#[test]
fn near_miss_an_answer_in_the_protocol_of_the_directive() {
    let answers = "answers fastcgi\nStatus: 500 Oops\n\n";
    let summary = Fixture::new(&fastcgi()).with("probe 127.0.0.1:3000", answers).summary();
    assert!(!summary.contains("protocol-mismatch"), "{summary}");
}

#[test]
fn gap_the_first_bytes_stand_in_the_log() {
    insta::assert_snapshot!(Fixture::new(&fastcgi()).without("probe 127.0.0.1:3000").summary(), @"
        Broken
        Likely protocol-mismatch: FastCGI is spoken to 127.0.0.1:3000, which speaks HTTP [1 requests]
          open: what speaks there: the fixture does not tell
        ");
}

#[test]
fn gap_nobody_may_ask() {
    let summary = Fixture::new(CLOSED).without("probe 127.0.0.1:3000").summary();
    assert!(!summary.contains("protocol-mismatch"), "{summary}");
}
