use crate::causes::unix_socket_missing::tests::HIT as MISSING;
use crate::fixture::Fixture;

const SEEN: &str = "0755 0 0 dir / 1:2\n0755 0 0 dir /run 5:1\n0755 0 0 dir /run/shop 9:1\n0777 0 0 sock /run/shop/app.sock 9:4";

fn hit() -> Fixture {
    Fixture::new(MISSING)
        .with("listeners", "unix:/run/shop/app.sock gunicorn mnt=7 root=other unit=orders.service")
        .with(
            "path /run/shop/app.sock",
            "0755 0 0 dir / 1:2\n0755 0 0 dir /run 5:1\n0755 0 0 dir /run/shop 5:3",
        )
        .with("path /run/shop/app.sock @200", SEEN)
        .with("path /run", "0755 0 0 dir / 1:2\n0755 0 0 dir /run 5:1")
        .with("path /run @200", "0755 0 0 dir / 1:2\n0755 0 0 dir /run 5:1")
}

#[test]
fn hit_the_listener_sees_other_files() {
    insta::assert_snapshot!(hit().summary(), @"
    Broken
    Confirmed unix-socket-other-namespace -> unix-socket-missing: /run/shop/app.sock is not the same file for nginx and for the backend in orders.service: each has a /run/shop of its own [1 requests, still failing]
    ");
    let report = hit().report();
    insta::assert_snapshot!(crate::fixture::first_diff(&report), @"
    --- a/etc/nginx/nginx.conf
    +++ b/etc/nginx/nginx.conf
    @@ -1,5 +1,5 @@
     events {}
     http {
    -    upstream shop { server unix:/run/shop/app.sock; }
    +    upstream shop { server unix:/run/orders/app.sock; }
         server {
             listen 80;
    ");
}

#[test]
fn hit_an_old_file_is_left() {
    let log = MISSING
        .replace("(2: No such file or directory)", "(111: Connection refused)")
        .replace("[crit]", "[error]");
    let stale = Fixture::new(&log)
        .with("listeners", "unix:/run/shop/app.sock gunicorn mnt=7 root=other")
        .with("path /run/shop/app.sock", "0755 0 0 dir / 1:2\n0755 0 0 dir /run 5:1\n0755 0 0 dir /run/shop 5:3\n0777 0 0 sock /run/shop/app.sock 5:7")
        .with("path /run/shop/app.sock @200", SEEN)
        .with("probe unix:/run/shop/app.sock", "refused");
    insta::assert_snapshot!(stale.summary(), @"
    Broken
    Confirmed unix-socket-other-namespace -> unix-socket-stale: /run/shop/app.sock is not the same file for nginx and for the backend: each has a /run/shop of its own [1 requests, still failing]
    ");
    // The very file: whoever is refused there is refused by something else.
    let same = stale.with("path /run/shop/app.sock @200", &SEEN.replace("9:4", "5:7"));
    let summary = same.summary();
    assert!(!summary.contains("unix-socket-other-namespace"), "{summary}");
}

#[test]
fn hit_in_another_container() {
    let container = Fixture::new(MISSING)
        .with("options", "net=7\ncontainer=ab")
        .with("elsewhere", "9 unix:/run/shop/app.sock gunicorn container=cd mnt=7 root=other")
        .with("path /run/shop/app.sock @400", SEEN);
    insta::assert_snapshot!(container.summary(), @"
    Broken
    Likely unix-socket-other-namespace -> unix-socket-missing: /run/shop/app.sock is not the same file for nginx and for the backend in the container cdcdcdcdcdcd [1 requests, still failing]
    ");
    let tied = container.with("elsewhere", "9 unix:/run/shop/app.sock shop container=cd mnt=7 root=other");
    assert!(tied.summary().contains("Confirmed unix-socket-other-namespace"), "{}", tied.summary());
    let two = container
        .with("elsewhere", "9 unix:/run/shop/app.sock gunicorn container=cd mnt=7 root=other\n10 unix:/run/shop/app.sock gunicorn container=ef mnt=8 root=other")
        .with("path /run/shop/app.sock @401", SEEN);
    assert!(two.summary().contains("Likely unix-socket-other-namespace"), "{}", two.summary());
}

#[test]
fn near_miss_another_project_s_php() {
    let log = MISSING.replace("proxy_pass http://shop", "fastcgi_pass shop");
    let engine = |theirs: &str| {
        format!("ab web running project=shop net=shop:172.18.0.2\ncd blog-php-1 running {theirs}")
    };
    let other = Fixture::new(&log)
        .with("options", "net=7\ncontainer=ab")
        .with("elsewhere", "9 unix:/run/shop/app.sock php-fpm8.2 container=cd mnt=7 root=other")
        .with("path /run/shop/app.sock @400", SEEN)
        .with("engine", &engine("project=blog net=blog:172.19.0.3"));
    assert!(!other.summary().contains("Confirmed unix-socket-other-namespace"), "{}", other.summary());
    assert!(other.summary().contains("Possible unix-socket-other-namespace"), "{}", other.summary());
    let findings = other.report().findings;
    let own = findings.iter().find(|finding| finding.cause == "unix-socket-other-namespace").unwrap();
    assert_eq!(own.remedies.len(), 1, "{:?}", own.remedies);
    let advice = own.remedies[0].advice.as_deref().unwrap();
    assert!(own.remedies[0].steps.is_empty() && advice.contains("may be another project's"), "{advice}");
    let same = other.with("engine", &engine("project=shop net=shop:172.18.0.3"));
    assert!(same.summary().contains("Likely unix-socket-other-namespace"), "{}", same.summary());
}

#[test]
fn near_miss_the_path_answered_while_the_listener_was_there() {
    let log = MISSING
        .replace("(2: No such file or directory)", "(111: Connection refused)")
        .replace("[crit]", "[error]");
    let listener =
        |started: &str| format!("unix:/run/shop/app.sock gunicorn mnt=7 root=other started={started}");
    let stale = Fixture::new(&log)
        .with("access.log", "10.0.0.9 - - [21/Nov/2026:02:20:00 +0000] \"GET /a HTTP/1.1\" 200 157 \"-\" \"curl/8\"\n")
        .with("listeners", &listener("2026-11-21T02:10:00Z"))
        .with("path /run/shop/app.sock", "0755 0 0 dir / 1:2\n0755 0 0 dir /run 5:1\n0755 0 0 dir /run/shop 5:3\n0777 0 0 sock /run/shop/app.sock 5:7")
        .with("path /run/shop/app.sock @200", SEEN)
        .with("probe unix:/run/shop/app.sock", "refused");
    assert!(!stale.summary().contains("unix-socket-other-namespace ->"), "{}", stale.summary());
    let since = stale.with("listeners", &listener("2026-11-21T02:25:00Z"));
    assert!(since.summary().contains("Likely unix-socket-other-namespace"), "{}", since.summary());
}

#[test]
fn near_miss_the_listener_sees_the_same_files() {
    let same = hit().with("listeners", "unix:/run/shop/app.sock gunicorn");
    let summary = same.summary();
    assert!(summary.contains("Confirmed unix-socket-unlinked"), "{summary}");
    assert!(!summary.contains("unix-socket-other-namespace"), "{summary}");
}

#[test]
fn near_miss_a_service_of_another_kind() {
    let other = hit().with("listeners", "unix:/run/shop/app.sock postgres mnt=7 root=other");
    let summary = other.summary();
    assert!(!summary.contains("unix-socket-other-namespace"), "{summary}");
}

#[test]
fn near_miss_it_connects_again() {
    let summary = hit().with("probe unix:/run/shop/app.sock", "connected").summary();
    assert!(!summary.contains("unix-socket-other-namespace"), "{summary}");
}

#[test]
fn gap_its_files_cannot_be_seen() {
    insta::assert_snapshot!(hit().without("path /run/shop/app.sock @200").summary(), @"
    Broken
    Likely unix-socket-other-namespace -> unix-socket-missing: /run/shop/app.sock is not the same file for nginx and for the backend in orders.service [1 requests, still failing]
      open: what the listener sees at that path: the fixture does not tell
    ");
}

#[test]
fn gap_other_namespaces_cannot_be_seen() {
    let hidden = Fixture::new(MISSING).with("options", "net=7\ncontainer=ab");
    insta::assert_snapshot!(hidden.summary(), @"
    Broken
    Confirmed unix-socket-missing: the socket /run/shop/app.sock does not exist [1 requests, still failing]
    ");
}
