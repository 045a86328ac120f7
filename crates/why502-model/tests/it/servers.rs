//! Which server takes a request: addresses, default servers and names, against a running nginx.

use crate::client::{Address, get};
use crate::host::{Host, settled};
use crate::random::Random;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use why502_facts::PeerAddress;

/// The names that servers have.
const NAMES: [&str; 26] = [
    "a.test",
    "b.test",
    "A.Test",
    "www.a.test",
    "a.b.test",
    "*.a.test",
    "*.b.test",
    "*.test",
    ".a.test",
    ".b.test",
    ".test",
    "a.*",
    "www.*",
    "www.a.*",
    "a.b.*",
    "~^a",
    "~^(?<x>.+)\\.test$",
    "~B",
    "~^www\\.",
    "~\\d",
    "\"\"",
    "_",
    "localhost",
    "127.0.0.1",
    "[::1]",
    "a.test.",
];

/// The names that clients ask for.
const HOSTS: [&str; 30] = [
    "a.test",
    "b.test",
    "A.TEST",
    "a.test.",
    "a.test:81",
    "a.test.:81",
    "www.a.test",
    "x.www.a.test",
    "a.b.test",
    "b.b.test",
    "x.a.b.test",
    "test",
    ".test",
    "a.",
    "a.example",
    "www.example",
    "www.a.example.org",
    "a.b.c.d",
    "localhost",
    "127.0.0.1",
    "[::1]",
    "[::1]:80",
    "_",
    "other",
    "7",
    "aa",
    "a..test",
    "a/b",
    "xn--a",
    "WWW.B",
];

/// Ports that nobody listens on.
fn free_ports<const N: usize>() -> [u16; N] {
    let listeners: Vec<TcpListener> =
        (0..N).map(|_| TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap()).collect();
    std::array::from_fn(|at| listeners[at].local_addr().unwrap().port())
}

/// A place to listen, as it is written, with the places to connect to.
struct Place {
    listen: String,
    connects: Vec<SocketAddr>,
    /// Options that only one of all servers may give.
    option: &'static str,
}

fn places([shared, wide, both]: [u16; 3]) -> Vec<Place> {
    let v4 = |last: u8, port: u16| SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), port));
    let v6 = |port: u16| SocketAddr::from((Ipv6Addr::LOCALHOST, port));
    let place = |listen: String, connects: &[SocketAddr], option| Place {
        listen,
        connects: connects.to_vec(),
        option,
    };
    vec![
        place(format!("127.0.0.1:{shared}"), &[v4(1, shared)], ""),
        place(format!("127.0.0.2:{shared}"), &[v4(2, shared)], "backlog=16"),
        place(format!("{wide}"), &[v4(1, wide), v4(3, wide)], ""),
        place(format!("127.0.0.1:{wide}"), &[v4(1, wide), v4(4, wide)], ""),
        place(format!("*:{wide}"), &[v4(1, wide), v4(5, wide)], ""),
        place(format!("[::1]:{shared}"), &[v6(shared)], ""),
        place(format!("[::]:{wide}"), &[v6(wide)], ""),
        place(format!("[::]:{both} ipv6only=off"), &[v6(both), v4(1, both)], ""),
        place(format!("localhost:{shared}"), &[v4(1, shared)], ""),
    ]
}

/// Servers that answer with their number.
fn config(random: &mut Random, places: &[Place]) -> String {
    let mut text = "events {}\nhttp {\n".to_owned();
    let mut has_default: Vec<&str> = Vec::new();
    let mut has_option: Vec<&str> = Vec::new();
    for server in 0..2 + random.below(5) {
        let _ = writeln!(text, " server {{\n  add_header X-Route s{server} always;");
        let mut own: Vec<&str> = Vec::new();
        for _ in 0..=random.below(3) {
            let place = &places[random.below(places.len())];
            // The same address in other words would be a duplicate.
            let address = canonical(&place.listen);
            let is_free = !own.contains(&address);
            // `ipv6only` stands at one server only, and makes a socket of its own.
            if !is_free || (place.listen.contains(' ') && has_option.contains(&address)) {
                continue;
            }
            own.push(address);
            let mut listen = place.listen.clone();
            if place.listen.contains(' ') {
                has_option.push(address);
            } else if !place.option.is_empty() && !has_option.contains(&address) {
                has_option.push(address);
                listen = format!("{listen} {}", place.option);
            }
            if random.one_in(3) && !has_default.contains(&address) {
                has_default.push(address);
                listen += " default_server";
            }
            let _ = writeln!(text, "  listen {listen};");
        }
        if own.is_empty() {
            let _ = writeln!(text, "  listen unix:own{server};");
        }
        let names: Vec<&str> = (0..random.below(4)).map(|_| random.pick(&NAMES)).collect();
        if !names.is_empty() {
            let _ = writeln!(text, "  server_name {};", names.join(" "));
        }
        text += "  return 200;\n }\n";
    }
    // nginx listens on sockets one by one: once this one is there, all are.
    text + " server { listen unix:up; return 200; }\n}\n"
}

/// One spelling for every address.
fn canonical(listen: &str) -> &str {
    let address = listen.split(' ').next().unwrap_or(listen);
    let address = address.strip_prefix("*:").unwrap_or(address);
    address.strip_prefix("localhost:").unwrap_or(address.strip_prefix("127.0.0.1:").unwrap_or(address))
}

/// Compares all hosts at all addresses of a random configuration; how many.
fn compare(seed: u64, ports: [u16; 3]) -> usize {
    let places = places(ports);
    let text = config(&mut Random::new(seed), &places);
    let host = Host::new(&[("nginx.conf", settled(&text).as_bytes())]);
    assert_eq!((host.refusal(), host.problems()), (None, vec![]), "seed {seed}: {text}");
    let gateway = host.gateway();
    let running = host.start("up");
    let mut n_pairs = 0;
    for connect in places.iter().flat_map(|place| &place.connects) {
        let at = PeerAddress::Inet(*connect);
        if gateway.find_server_at("x", &at).is_none() {
            assert!(std::net::TcpStream::connect(connect).is_err(), "seed {seed}: {connect} is open: {text}");
            continue;
        }
        for name in HOSTS {
            let answer = get(&Address::Tcp(*connect), "/", name);
            let server = gateway.find_server_at(name, &at).unwrap();
            let expected = gateway.routes().find(|(_, route)| route.server == server).map(|(id, _)| {
                gateway.in_force(id, "add_header").iter().map(|own| own.value[1].clone()).collect::<String>()
            });
            let is_bad = matches!(name, "a..test" | "a/b");
            assert_eq!(
                (answer.status, Some(answer.header("X-Route"))),
                (if is_bad { 400 } else { 200 }, expected.as_deref()),
                "seed {seed}: {name} at {connect}: {text}"
            );
            n_pairs += 1;
        }
    }
    drop(running);
    n_pairs
}

#[test]
fn servers_are_chosen_as_nginx_chooses_them() {
    let n_pairs: usize = (0..40).map(|seed| compare(seed, free_ports())).sum();
    assert!(n_pairs > 2000, "{n_pairs} pairs");
}
