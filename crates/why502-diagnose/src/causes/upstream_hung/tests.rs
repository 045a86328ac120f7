use crate::fixture::Fixture;

const HIT: &str = r#"
#- nginx.conf
events {}
http {
    server {
        listen 80;
        server_name shop.example.com;
        location / { proxy_pass http://127.0.0.1:3000; }
        location /api/ { proxy_pass http://127.0.0.1:3000; }
        location /img/ { proxy_pass http://127.0.0.1:3000; }
    }
}
#- error.log
2026/11/21 02:40:30 [error] 101#101: *5 upstream timed out (110: Connection timed out) while reading response header from upstream, client: 10.0.0.9, server: shop.example.com, request: "GET /a HTTP/1.1", upstream: "http://127.0.0.1:3000/a", host: "shop.example.com"
2026/11/21 02:40:31 [error] 101#101: *6 upstream timed out (110: Connection timed out) while reading response header from upstream, client: 10.0.0.9, server: shop.example.com, request: "GET /api/b HTTP/1.1", upstream: "http://127.0.0.1:3000/api/b", host: "shop.example.com"
#- access.log
10.0.0.9 - - [21/Nov/2026:02:30:30 +0000] "GET /a HTTP/1.1" 200 157 "-" "curl/8"
10.0.0.9 - - [21/Nov/2026:02:40:30 +0000] "GET /a HTTP/1.1" 504 157 "-" "curl/8"
10.0.0.9 - - [21/Nov/2026:02:40:31 +0000] "GET /api/b HTTP/1.1" 504 157 "-" "curl/8"
#- listeners
127.0.0.1:3000 node state=T
#- waiting
200 T unknown
#- probe 127.0.0.1:3000
hangs
"#;

fn waiting(lines: &str) -> Fixture {
    Fixture::new(&HIT.replace(" state=T", " held=3")).with("waiting", lines)
}

#[test]
fn hit_the_process_is_stopped() {
    insta::assert_snapshot!(Fixture::new(HIT).summary(), @"
        Broken
        Confirmed upstream-hung -> upstream-slow: node (pid 200) behind 127.0.0.1:3000 is stopped (state T) and answers nothing [2 requests, still failing]
        ");
    // Without a probe the kernel's word for it is enough.
    let unasked = Fixture::new(HIT).with("options", "no-probe").summary();
    assert!(unasked.contains("Confirmed upstream-hung"), "{unasked}");
}

#[test]
fn hit_it_waits_for_a_database() {
    insta::assert_snapshot!(waiting("200 S receive 10.0.0.5:5432\n200 S events\n").summary(), @"
        Broken
        Confirmed upstream-hung -> upstream-slow: node (pid 200) behind 127.0.0.1:3000 answers nothing: it waits for 10.0.0.5:5432 [2 requests, still failing]
        ");
}

#[test]
fn hit_states_that_show_why() {
    for (lines, confidence) in [
        ("200 D unknown\n", "Confirmed"),
        ("200 S frozen\n", "Confirmed"),
        ("200 S lock\n200 S lock\n", "Confirmed"),
        ("200 S events\n200 S lock\n", "Likely"),
        ("200 R busy=150 unknown\n", "Likely"),
    ] {
        let summary = waiting(lines).summary();
        assert!(summary.contains(&format!("{confidence} upstream-hung")), "{lines}{summary}");
    }
    let closed = Fixture::new(&HIT.replace(" state=T", " queue=2")).with("waiting", "200 S time\n").summary();
    assert!(closed.contains("Confirmed upstream-hung"), "{closed}");
}

#[test]
fn near_miss_it_answers_another_page() {
    let answers = Fixture::new(HIT)
        .with("listeners", "127.0.0.1:3000 node held=3")
        .with("waiting", "200 S receive 10.0.0.5:5432\n")
        .with("probe 127.0.0.1:3000 /favicon.ico", "answers\nHTTP/1.1 404 Not Found\n\n");
    let summary = answers.summary();
    assert!(
        !summary.contains("Confirmed upstream-hung") && !summary.contains("Likely upstream-hung"),
        "{summary}"
    );
    assert!(summary.contains("not upstream-hung"), "{summary}");
}

#[test]
fn near_miss_one_child_of_several_is_stopped() {
    let children = "127.0.0.1:3000 php-fpm title=php-fpm:_master_process_(/etc/php-fpm.conf)\n127.0.0.1:3000 php-fpm parent=200 state=T\n127.0.0.1:3000 php-fpm parent=200\n";
    let log = Fixture::new(HIT).with("listeners", children).with("waiting", "201 T unknown\n202 S accept\n");
    assert!(!log.summary().contains("Confirmed upstream-hung"), "{}", log.summary());
}

#[test]
fn near_miss_it_answered_since() {
    let log = Fixture::new(HIT);
    let later = "10.0.0.9 - - [21/Nov/2026:02:41:30 +0000] \"GET /a HTTP/1.1\" 200 157 \"-\" \"curl/8\"\n";
    let summary = log.with("access.log", &(log.section("access.log").to_owned() + later)).summary();
    assert!(!summary.contains("upstream-hung"), "{summary}");
}

#[test]
fn gap_nobody_may_look_at_its_processes() {
    let remote = Fixture::new(&HIT.replace(" state=T", "")).without("waiting").without("listeners");
    insta::assert_snapshot!(remote.summary(), @"
        Broken
        Likely upstream-hung -> upstream-slow: 127.0.0.1:3000 takes connections and answers nothing, on any route [2 requests, still failing]
        ");
}

#[test]
fn gap_logs_alone() {
    let third = "2026/11/21 02:40:32 [error] 101#101: *7 upstream timed out (110: Connection timed out) while reading response header from upstream, client: 10.0.0.9, server: shop.example.com, request: \"GET /img/c HTTP/1.1\", upstream: \"http://127.0.0.1:3000/img/c\", host: \"shop.example.com\"\n";
    let log = Fixture::new(HIT);
    let alone =
        log.with("error.log", &(log.section("error.log").to_owned() + third)).with("options", "offline");
    insta::assert_snapshot!(alone.summary(), @"
        Broken
        Likely upstream-hung -> upstream-slow: 127.0.0.1:3000 takes connections and answers nothing, on any route [3 requests]
        ");
}
