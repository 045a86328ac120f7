use crate::FindingInfo;
use crate::fixture::{Fixture, first_diff};
use crate::remedy::Risk;

const HIT: &str = r#"
#- nginx.conf
events {}
http {
    upstream backend { server 127.0.0.1:3000; }
    server {
        listen 80;
        server_name shop.example.com;
        location / { proxy_pass http://backend; }
    }
}
#- error.log
2026/11/21 02:28:30 [error] 101#101: *3 connect() failed (111: Connection refused) while connecting to upstream, client: 10.0.0.9, server: shop.example.com, request: "GET /a HTTP/1.1", upstream: "http://127.0.0.1:3000/a", host: "shop.example.com"
#- access.log
10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] "GET /a HTTP/1.1" 502 157 "-" "curl/8"
#- options
net=7
container=ab
#- addresses
172.18.0.2
#- listeners
0.0.0.0:80 nginx
#- elsewhere
9 0.0.0.0:3000 node container=cd
9 address 172.18.0.3
#- engine
ab web running net=shop:172.18.0.2
cd app running net=shop:172.18.0.3
#- probe 127.0.0.1:3000
refused
"#;

#[test]
fn hit_in_another_container_of_the_same_network() {
    insta::assert_snapshot!(Fixture::new(HIT).summary(), @"
    Broken
    Confirmed localhost-inside-container -> upstream-not-listening: 127.0.0.1:3000 is nginx's own container, and the backend listens in the container app [1 requests, still failing]
    ");
    insta::assert_snapshot!(first_diff(&Fixture::new(HIT).report()), @"
    --- a/etc/nginx/nginx.conf
    +++ b/etc/nginx/nginx.conf
    @@ -1,5 +1,5 @@
     events {}
     http {
    -    upstream backend { server 127.0.0.1:3000; }
    +    upstream backend { server app:3000; }
         server {
             listen 80;
    ");
}

#[test]
fn hit_on_the_host() {
    let host = Fixture::new(HIT).with("elsewhere", "1 127.0.0.1:3000 node\n1 address 172.18.0.1");
    insta::assert_snapshot!(host.summary(), @"
    Broken
    Likely localhost-inside-container -> upstream-not-listening: 127.0.0.1:3000 is nginx's own container, and the backend likely listens in the host's network namespace [1 requests, still failing]
    ");
    let report = host.report();
    let remedies = &report.findings[0].remedies;
    assert!(remedies[0].title.contains("listen on an address"), "{remedies:?}");
    assert!(remedies[1].advice.as_deref().unwrap().contains("(here 172.18.0.1)"), "{remedies:?}");
}

#[test]
fn hit_in_a_namespace_without_an_engine() {
    let plain = Fixture::new(HIT)
        .with("options", "net=7")
        .with("addresses", "10.9.0.2")
        .with("elsewhere", "1 0.0.0.0:3000 node\n1 address 10.9.0.1")
        .without("engine");
    insta::assert_snapshot!(plain.summary(), @"
    Broken
    Likely localhost-inside-container -> upstream-not-listening: 127.0.0.1:3000 is nginx's own network namespace, and the backend likely listens in the host's network namespace [1 requests, still failing]
    ");
    assert!(first_diff(&plain.report()).contains("+    upstream backend { server 10.9.0.1:3000; }"));
}

#[test]
fn hit_behind_a_published_port() {
    // The engine's own listener on the host stands for the container's.
    let published = "1 0.0.0.0:3000 docker-proxy\n9 0.0.0.0:3000 node container=cd\n9 address 172.18.0.3";
    let summary = Fixture::new(HIT).with("elsewhere", published).summary();
    assert!(summary.contains("Confirmed localhost-inside-container"), "{summary}");
}

#[test]
fn near_miss_the_engine_knows_nothing_that_both_have_in_common() {
    let apart = "ab web running net=front:172.18.0.2\ncd app running net=back:172.19.0.3";
    let apart = Fixture::new(HIT).with("engine", apart);
    insta::assert_snapshot!(apart.summary(), @"
    Broken
    Confirmed upstream-not-listening: nothing listens on 127.0.0.1:3000 [1 requests, still failing]
    Possible localhost-inside-container (not a root): 127.0.0.1:3000 is nginx's own container, and perhaps the backend listens in the container app [1 requests, still failing]
    ");
    let remedies = own(&apart).remedies;
    assert_eq!(remedies.len(), 1, "{remedies:?}");
    assert_eq!(remedies[0].risk, Risk::ShowOnly);
    assert!(remedies[0].steps.is_empty(), "{remedies:?}");
    let advice = remedies[0].advice.as_deref().unwrap();
    assert!(advice.contains("app may be another project's"), "{advice}");
}

/// The finding of this cause.
fn own(fixture: &Fixture) -> FindingInfo {
    let mut findings = fixture.report().findings.into_iter();
    findings.find(|finding| finding.cause == "localhost-inside-container").unwrap()
}

#[test]
fn hit_another_network_of_the_same_project_is_joined_first() {
    let apart =
        "ab web running project=shop net=front:172.18.0.2\ncd app running project=shop net=back:172.19.0.3";
    let remedies = own(&Fixture::new(HIT).with("engine", apart)).remedies;
    assert_eq!(remedies[0].title, "Attach web to the network back");
}

/// A route to PHP, and a PHP-FPM elsewhere.
fn php(elsewhere: &str) -> Fixture {
    let hit = HIT
        .replace("proxy_pass http://backend", "fastcgi_pass backend")
        .replace("upstream: \"http://127.0.0.1:3000/a\"", "upstream: \"fastcgi://127.0.0.1:3000\"");
    Fixture::new(&hit).with("elsewhere", elsewhere)
}

#[test]
fn near_miss_another_project_s_php() {
    let engine = "ab web running project=shop net=shop:172.18.0.2\ncd blog-php-1 running project=blog service=php net=blog:172.19.0.3";
    let other = php("9 0.0.0.0:3000 php-fpm8.2 container=cd\n9 address 172.19.0.3").with("engine", engine);
    insta::assert_snapshot!(other.summary(), @"
    Broken
    Confirmed upstream-not-listening: nothing listens on 127.0.0.1:3000 [1 requests, still failing]
    Possible localhost-inside-container (not a root): 127.0.0.1:3000 is nginx's own container, and perhaps the backend listens in the container blog-php-1 [1 requests, still failing]
    ");
    let own = own(&other);
    assert!(own.remedies.iter().all(|remedy| remedy.steps.is_empty()), "{:?}", own.remedies);
    assert!(!own.wont_help.iter().any(|told| told.contains("restarting")), "{:?}", own.wont_help);
}

#[test]
fn hit_php_of_the_same_project() {
    let engine = "ab web running project=shop net=shop:172.18.0.2\ncd php running project=shop service=php net=shop:172.18.0.3";
    let same = php("9 0.0.0.0:3000 php-fpm8.2 container=cd\n9 address 172.18.0.3").with("engine", engine);
    assert!(same.summary().contains("Confirmed localhost-inside-container"), "{}", same.summary());
}

#[test]
fn near_miss_php_of_the_host_is_not_opened_to_all() {
    let host = php("1 127.0.0.1:3000 php-fpm8.2\n1 address 172.18.0.1");
    assert!(host.summary().contains("Likely localhost-inside-container"), "{}", host.summary());
    let remedies = own(&host).remedies;
    let advice = remedies[0].advice.as_deref().unwrap();
    assert!(advice.contains("(here 172.18.0.1), never to all addresses"), "{advice}");
    assert!(!advice.contains("0.0.0.0"), "{advice}");
    assert!(remedies.iter().all(|remedy| remedy.risk == Risk::ShowOnly), "{remedies:?}");
}

#[test]
fn near_miss_the_gateway_is_on_the_host() {
    let host = Fixture::new(HIT).with("options", "");
    insta::assert_snapshot!(host.summary(), @"
    Broken
    Confirmed upstream-not-listening: nothing listens on 127.0.0.1:3000 [1 requests, still failing]
    ");
}

#[test]
fn near_miss_nobody_listens_elsewhere() {
    let summary = Fixture::new(HIT).with("elsewhere", "9 0.0.0.0:3001 node container=cd").summary();
    assert!(summary.contains("Confirmed upstream-not-listening"), "{summary}");
    assert!(!summary.contains("localhost-inside-container"), "{summary}");
}

#[test]
fn near_miss_it_was_inside_and_is_gone() {
    let access = "10.0.0.9 - - [21/Nov/2026:02:28:10 +0000] \"GET /a HTTP/1.1\" 200 157 \"-\" \"curl/8\"\n10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] \"GET /a HTTP/1.1\" 502 157 \"-\" \"curl/8\"";
    insta::assert_snapshot!(Fixture::new(HIT).with("access.log", access).summary(), @"
    Broken
    Confirmed upstream-not-listening: nothing listens on 127.0.0.1:3000 [1 requests, still failing]
    not localhost-inside-container: 127.0.0.1:3000 answered this nginx, so the backend was inside
    ");
}

#[test]
fn near_miss_a_service_of_another_kind() {
    let summary = Fixture::new(HIT).with("elsewhere", "9 0.0.0.0:3000 postgres container=cd").summary();
    assert!(!summary.contains("localhost-inside-container"), "{summary}");
}

#[test]
fn near_miss_a_server_of_another_protocol() {
    let summary = Fixture::new(HIT).with("elsewhere", "9 0.0.0.0:3000 memcached container=cd").summary();
    assert!(!summary.contains("localhost-inside-container"), "{summary}");
}

#[test]
fn near_miss_several_projects_have_such_a_port() {
    let two = "9 0.0.0.0:3000 node container=cd\n10 0.0.0.0:3000 node container=ef";
    let engine =
        "ab web running net=a:172.18.0.2\ncd app running net=b:172.19.0.2\nef app2 running net=c:172.20.0.2";
    insta::assert_snapshot!(Fixture::new(HIT).with("elsewhere", two).with("engine", engine).summary(), @"
    Broken
    Confirmed upstream-not-listening: nothing listens on 127.0.0.1:3000 [1 requests, still failing]
    Possible localhost-inside-container (not a root): 127.0.0.1:3000 is nginx's own container, and perhaps the backend listens in the container app [1 requests, still failing]
    ");
}

#[test]
fn gap_other_namespaces_cannot_be_seen() {
    insta::assert_snapshot!(Fixture::new(HIT).without("elsewhere").summary(), @"
    Broken
    Confirmed upstream-not-listening: nothing listens on 127.0.0.1:3000 [1 requests, still failing]
    ");
}

#[test]
fn gap_the_engine_may_not_be_asked() {
    insta::assert_snapshot!(Fixture::new(HIT).without("engine").summary(), @"
    Broken
    Likely localhost-inside-container -> upstream-not-listening: 127.0.0.1:3000 is nginx's own container, and the backend likely listens in the container cdcdcdcdcdcd [1 requests, still failing]
      open: what the engine says of the containers: the fixture does not tell
    ");
}
