use crate::fixture::{Fixture, first_diff};
use std::fmt::Write as _;

const HIT: &str = r#"
#- nginx.conf
events {}
http {
    server {
        listen 80;
        server_name app.example.com;
        location / {
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
            proxy_pass http://127.0.0.1:3000;
        }
    }
}
#- access.log
10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] "GET / HTTP/1.1" 400 16 "-" "curl/8"
10.0.0.9 - - [21/Nov/2026:02:28:31 +0000] "GET /a HTTP/1.1" 400 16 "-" "curl/8"
10.0.0.9 - - [21/Nov/2026:02:28:32 +0000] "GET /ws HTTP/1.1" 101 16 "-" "curl/8"
#- listeners
127.0.0.1:3000 uvicorn
#- probe 127.0.0.1:3000 upgrade
answers
HTTP/1.1 400 Bad Request

#- probe 127.0.0.1:3000
answers
HTTP/1.1 200 OK

"#;

/// Of a server that closes the connection.
fn closing() -> Fixture {
    let (mut errors, mut accesses) = (String::new(), String::new());
    for (second, path) in [(30, "/"), (31, "/a"), (33, "/b")] {
        writeln!(errors, "2026/11/21 02:28:{second} [error] 101#101: *{second} upstream prematurely closed connection while reading response header from upstream, client: 10.0.0.9, server: app.example.com, request: \"GET {path} HTTP/1.1\", upstream: \"http://127.0.0.1:3000{path}\", host: \"app.example.com\"").unwrap();
        writeln!(
            accesses,
            "10.0.0.9 - - [21/Nov/2026:02:28:{second} +0000] \"GET {path} HTTP/1.1\" 502 157 \"-\" \"curl/8\""
        )
        .unwrap();
    }
    Fixture::new(HIT)
        .with("error.log", &errors)
        .with("access.log", &accesses)
        .with("probe 127.0.0.1:3000 upgrade", "closed")
}

#[test]
fn hit_the_same_without_the_header_is_answered() {
    insta::assert_snapshot!(Fixture::new(HIT).summary(), @"
        Broken
        Confirmed upgrade-header-hardcoded: Connection: upgrade is sent with every request of the route, and 127.0.0.1:3000 answers 400 [2 requests, still failing]
        ");
    insta::assert_snapshot!(closing().summary(), @"
        Broken
        Confirmed upgrade-header-hardcoded -> upstream-closed-before-response: Connection: upgrade is sent with every request of the route, and 127.0.0.1:3000 closes the connection [3 requests, still failing]
        ");
}

#[test]
fn hit_a_table_that_lacks_nothing_s_entry() {
    let text = HIT
        .replace(
            "    server {",
            "    map $http_upgrade $upgrade {\n        default upgrade;\n    }\n    server {",
        )
        .replace("Connection \"upgrade\"", "Connection $upgrade");
    let report = Fixture::new(&text).report();
    assert_eq!(report.findings[0].cause, "upgrade-header-hardcoded");
    insta::assert_snapshot!(first_diff(&report), @r#"
        --- a/etc/nginx/nginx.conf
        +++ b/etc/nginx/nginx.conf
        @@ -3,4 +3,5 @@
             map $http_upgrade $upgrade {
                 default upgrade;
        +        "" close;
             }
             server {
        "#);
}

#[test]
fn hit_some_were_answered() {
    let log = HIT.replace("GET /ws HTTP/1.1\" 101", "GET /b HTTP/1.1\" 200");
    let summary = Fixture::new(&log).summary();
    assert!(summary.contains("Likely upgrade-header-hardcoded"), "{summary}");
}

#[test]
fn near_miss_it_is_refused_without_the_header_too() {
    let summary =
        Fixture::new(HIT).with("probe 127.0.0.1:3000", "answers\nHTTP/1.1 400 Bad Request\n\n").summary();
    assert!(!summary.contains("upgrade-header-hardcoded"), "{summary}");
}

#[test]
fn near_miss_the_server_takes_it() {
    let summary = closing().with("probe 127.0.0.1:3000 upgrade", "answers\nHTTP/1.1 200 OK\n\n").summary();
    assert!(!summary.contains("upgrade-header-hardcoded"), "{summary}");
}

#[test]
fn near_miss_a_table_decides() {
    let text = HIT
        .replace(
            "    server {",
            "    map $http_upgrade $upgrade { default upgrade; '' close; }\n    server {",
        )
        .replace("Connection \"upgrade\"", "Connection $upgrade");
    let summary = Fixture::new(&text).summary();
    assert!(!summary.contains("upgrade-header-hardcoded"), "{summary}");
}

#[test]
fn near_miss_refusals_of_another_kind() {
    let log = HIT.replace("\" 400 16", "\" 404 16");
    let summary = Fixture::new(&log).summary();
    assert!(!summary.contains("upgrade-header-hardcoded"), "{summary}");
}

#[test]
fn gap_nobody_could_ask() {
    let unasked = |fixture: &Fixture| fixture.with("options", "no-probe").summary();
    assert!(!unasked(&Fixture::new(HIT)).contains("upgrade-header-hardcoded"));
    insta::assert_snapshot!(unasked(&closing()), @"
        Broken
        Likely upstream-closed-before-response: 127.0.0.1:3000 takes requests and closes without an answer [3 requests]
        Possible upgrade-header-hardcoded (not a root): Connection: upgrade is sent with every request of the route [3 requests]
          open: what the server makes of that header: not looked at: --no-probe
        ");
}

#[test]
fn the_remedy_makes_it_conditional() {
    insta::assert_snapshot!(first_diff(&Fixture::new(HIT).report()), @r#"
        --- a/etc/nginx/nginx.conf
        +++ b/etc/nginx/nginx.conf
        @@ -1,4 +1,8 @@
         events {}
         http {
        +    map $http_upgrade $connection_upgrade {
        +        default upgrade;
        +        "" close;
        +    }
             server {
                 listen 80;
        @@ -7,5 +11,5 @@
                     proxy_http_version 1.1;
                     proxy_set_header Upgrade $http_upgrade;
        -            proxy_set_header Connection "upgrade";
        +            proxy_set_header Connection $connection_upgrade;
                     proxy_pass http://127.0.0.1:3000;
                 }
        "#);
    let tabled = HIT
        .replace(
            "    server {",
            "    map $http_upgrade $upgrade { default upgrade; '' close; }\n    server {",
        )
        .replace("Upgrade $http_upgrade;", "Upgrade websocket;");
    insta::assert_snapshot!(first_diff(&Fixture::new(&tabled).report()), @r#"
        --- a/etc/nginx/nginx.conf
        +++ b/etc/nginx/nginx.conf
        @@ -7,6 +7,6 @@
                 location / {
                     proxy_http_version 1.1;
        -            proxy_set_header Upgrade websocket;
        -            proxy_set_header Connection "upgrade";
        +            proxy_set_header Upgrade $http_upgrade;
        +            proxy_set_header Connection $upgrade;
                     proxy_pass http://127.0.0.1:3000;
                 }
        "#);
}
