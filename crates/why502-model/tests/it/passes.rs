//! The values in force for routes that pass requests on: what a backend sees of nginx, and what nginx takes of it.

use crate::Gateway;
use crate::backend::{Backend, Seen};
use crate::client::{Address, ask};
use crate::host::{Host, Running, settled};
use crate::random::Random;
use std::fmt::Write as _;
use why502_model::{Pass, Route, Target};

const HEADERS: [&str; 14] = [
    "Host $host",
    "Host \"\"",
    "Host fixed.test",
    "Host $http_host",
    "Connection \"\"",
    "Connection close",
    "Connection $http_x_b",
    "X-A a",
    "X-A \"\"",
    "x-a lower",
    "X-B $http_x_b",
    "X-Real-IP $remote_addr",
    "Accept-Encoding \"\"",
    "X-Both \"$host and ${http_x_b}\"",
];
const OTHERS: [&str; 8] = [
    "proxy_http_version 1.0;",
    "proxy_http_version 1.1;",
    "proxy_buffer_size 8k;",
    "proxy_buffer_size 16k;",
    "proxy_buffer_size 4k;",
    "proxy_bind 127.0.0.2;",
    "proxy_bind off;",
    "proxy_read_timeout 9s;",
];
/// Where requests are passed to; `PORT` is the backend's.
const TARGETS: [&str; 9] = [
    "http://127.0.0.1:PORT",
    "http://127.0.0.1:PORT/",
    "http://127.0.0.1:PORT/x/",
    "http://127.0.0.1:PORT/x",
    "http://plain",
    "http://plain/y/",
    "http://kept",
    "http://kept/z",
    "http://$target",
];
/// What clients send, besides.
const CLIENT: [(&str, &str); 4] =
    [("x-a", "client"), ("x-b", "bee"), ("accept-encoding", "gzip"), ("user-agent", "test/1")];

/// Settings of a level.
fn settings(random: &mut Random) -> String {
    let mut text = String::new();
    if random.one_in(2) {
        for _ in 0..=random.below(2) {
            let _ = writeln!(text, "proxy_set_header {};", random.pick(&HEADERS));
        }
    }
    let other = random.pick(&OTHERS);
    if random.one_in(2) {
        let _ = writeln!(text, "{other}");
    }
    text
}

fn pass(random: &mut Random, port: u16) -> String {
    format!("proxy_pass {};\n", random.pick(&TARGETS).replace("PORT", &port.to_string()))
}

/// Locations `/0/`, `/1/`, … with others in them, and settings at every level.
fn config(random: &mut Random, port: u16) -> String {
    let mut text = format!(
        "events {{}}\nhttp {{\nproxy_buffers 8 16k;\n\
         upstream plain {{ server 127.0.0.1:{port}; }}\n\
         upstream kept {{ server 127.0.0.1:{port}; keepalive 4; }}\n{}server {{\nlisten unix:s;\nset $target 127.0.0.1:{port};\n{}",
        settings(random),
        settings(random)
    );
    for at in 0..6 {
        let _ = write!(text, "location /{at}/ {{\n{}{}", settings(random), pass(random, port));
        let _ = write!(text, "location /{at}/in/ {{\n{}{}}}\n}}\n", settings(random), pass(random, port));
    }
    text + "}\n}\n"
}

/// A value with its variables.
fn filled(value: &str) -> String {
    value
        .replace("$host", "front.test")
        .replace("$http_host", "Front.test:81")
        .replace("$http_x_b", "bee")
        .replace("${http_x_b}", "bee")
        .replace("$remote_addr", "unix:")
}

/// The headers that a pass makes of a client's, by `ngx_http_proxy_create_request`.
fn headers_of(pass: &Pass, authority: &str) -> Vec<(String, String)> {
    let is_set = |name: &str| pass.headers.iter().any(|own| own.value.0.eq_ignore_ascii_case(name));
    let mut headers: Vec<(String, String)> = Vec::new();
    for own in &pass.headers {
        headers.push((own.value.0.to_ascii_lowercase(), filled(&own.value.1)));
    }
    for (name, value) in [("host", authority), ("connection", "close")] {
        if !is_set(name) {
            headers.push((name.to_owned(), value.to_owned()));
        }
    }
    let passed = CLIENT.iter().filter(|(name, _)| !is_set(name));
    headers.extend(passed.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    headers.retain(|(_, value)| !value.is_empty());
    headers.sort();
    headers
}

/// The path that a pass makes of a client's.
fn path_of(route: &Route, pass: &Pass, target: &str) -> String {
    let location = route.location.as_deref().unwrap_or_default();
    match &pass.path {
        Some(path) => format!("{path}{}", &target[location.len()..]),
        None => target.to_owned(),
    }
}

/// `$proxy_host` of a pass.
fn authority_of(gateway: &Gateway, pass: &Pass, port: u16) -> String {
    match &pass.target {
        Target::Group(id) if gateway.group(*id).name.is_some() => gateway.group(*id).name.clone().unwrap(),
        _ => format!("127.0.0.1:{port}"),
    }
}

fn request(target: &str, more: &str) -> String {
    let headers: Vec<String> = CLIENT.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let headers = headers.concat();
    format!("GET {target} HTTP/1.1\r\nHost: Front.test:81\r\nConnection: close\r\n{headers}{more}\r\n")
}

fn compare_route(running: &Running, gateway: &Gateway, target: &str, port: u16, shown: &str) {
    let address = Address::Unix(running.host.path("s"));
    let route = gateway.route(gateway.find_route(0, target).unwrap());
    let pass = route.action.pass().unwrap();
    let ask_once = |more: &str| ask(&address, request(target, more).as_bytes());
    let answer = ask_once("");
    assert_eq!(answer.status, 200, "{target}: {shown}");
    let seen = Seen::read(&answer.body);
    let line = format!("GET {} HTTP/{}", path_of(route, pass, target), pass.http_version.value);
    let wanted = headers_of(pass, &authority_of(gateway, pass, port));
    assert_eq!((seen.line, seen.headers), (line, wanted), "{target}: {shown}");
    let from = pass.bind.as_ref().map_or("127.0.0.1", |bind| bind.value.as_str());
    assert_eq!(seen.from, from, "{target}: {shown}");
    // Connections are kept: the next request comes in on the same one.
    let again = Seen::read(&ask_once("").body);
    assert_eq!(again.connection == seen.connection, pass.keeps_alive, "{target}: {shown}");
    // An answer whose head just fits, and one whose head does not.
    let size = pass.buffers.header.value;
    for (size, status) in [(size, 200), (size + 1, 502)] {
        assert_eq!(ask_once(&format!("X-Pad: {size}\r\n")).status, status, "{size} for {target}: {shown}");
    }
}

#[test]
fn passes_do_what_their_values_say() {
    let backend = Backend::start();
    let port = backend.port();
    let mut n_routes = 0;
    for seed in 0..30 {
        let text = config(&mut Random::new(seed), port);
        let host = Host::new(&[("nginx.conf", settled(&text).as_bytes())]);
        assert_eq!((host.refusal(), host.problems()), (None, vec![]), "seed {seed}: {text}");
        let gateway = host.gateway();
        let running = host.start("s");
        for at in 0..6 {
            for target in [format!("/{at}/a?b=c"), format!("/{at}/in/d/e")] {
                compare_route(&running, &gateway, &target, port, &format!("seed {seed}: {text}"));
                n_routes += 1;
            }
        }
    }
    assert_eq!(n_routes, 360);
}

/// Peers that refuse connections are tried as often as the settings say.
#[test]
fn failed_tries_are_repeated_as_the_values_say() {
    const SETTINGS: [&str; 7] = [
        "",
        "proxy_next_upstream off;",
        "proxy_next_upstream error;",
        "proxy_next_upstream timeout;",
        "proxy_next_upstream_tries 2;",
        "proxy_next_upstream_tries 9;",
        "proxy_next_upstream error timeout; proxy_next_upstream_tries 1;",
    ];
    let locations: Vec<String> = SETTINGS
        .iter()
        .enumerate()
        .map(|(at, settings)| format!("location /{at}/ {{ {settings} proxy_pass http://u; }}\n"))
        .collect();
    let text = format!(
        "events {{}}\nhttp {{\nproxy_next_upstream_tries 3;\nupstream u {{ server unix:a max_fails=0; server unix:b max_fails=0; \
         server unix:c max_fails=0; server unix:d max_fails=0; }}\nserver {{ listen unix:s; \
         add_header X-Tried $upstream_addr always;\n{}}}\n}}\n",
        locations.concat()
    );
    let host = Host::with(&text);
    assert_eq!((host.refusal(), host.problems()), (None, vec![]));
    let gateway = host.gateway();
    let running = host.start("s");
    for (at, settings) in SETTINGS.iter().enumerate() {
        let target = format!("/{at}/");
        let answer = ask(&Address::Unix(running.host.path("s")), request(&target, "").as_bytes());
        let n_tries = answer.header("X-Tried").split(", ").count();
        let route = gateway.find_route(0, &target).unwrap();
        let retry = &gateway.route(route).action.pass().unwrap().retry;
        let n_peers = 4;
        let allowed = match usize::try_from(retry.tries.value).unwrap() {
            0 => n_peers,
            tries => tries.min(n_peers),
        };
        let is_repeated = retry.conditions.value.iter().any(|condition| condition == "error");
        assert_eq!(n_tries, if is_repeated { allowed } else { 1 }, "{settings}");
    }
}
