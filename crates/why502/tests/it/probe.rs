//! `why502 probe`, against real backends.

use crate::run::{stderr, stdout};
use crate::world::{World, free_port, php_fpm, probe, run, steps};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};
use unicode_width::UnicodeWidthStr as _;

/// Serves every connection on a free port as it is told, until the tests end; the port.
pub(crate) fn serve(handle: impl Fn(TcpStream) + Send + Sync + Clone + 'static) -> u16 {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let handle = handle.clone();
            thread::spawn(move || handle(stream));
        }
    });
    port
}

/// Answers every request with 204.
pub(crate) fn well(mut stream: TcpStream) {
    let mut request = [0; 4096];
    let _ = stream.read(&mut request);
    let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\nServer: well\r\n\r\n");
}

#[test]
fn a_group_is_dialled_as_its_route_dials_it() {
    let mut world = World::new();
    let (one, two, gone) = (free_port(), free_port(), free_port());
    let servers = format!(
        "server {{ listen 127.0.0.1:{one}; location / {{ return 200; }} }}
         server {{ listen 127.0.0.1:{two}; location / {{ return 503; }} }}"
    );
    world.nginx("backends", &servers, two);
    let front = free_port();
    let http = format!(
        "upstream shop {{ server 127.0.0.1:{one}; server 127.0.0.1:{two} backup; server 127.0.0.1:{gone} down; }}
         server {{ listen 127.0.0.1:{front}; server_name shop.example.com;
         location /cart/ {{ proxy_set_header Host $host; proxy_pass http://shop; }} location / {{ return 204; }} }}"
    );
    let config = world.nginx("front", &http, front);
    let (report, code) = probe(&["shop", "--config", &config]);
    assert_eq!((code, report["verdict"].as_str()), (1, Some("fail")));
    assert_eq!(report["target"]["kind"], "group");
    assert_eq!(report["target"]["location"], "/cart/");
    assert!(report["place"]["pid"].is_u64() && report["place"]["complete"] == true, "{}", report["place"]);
    assert_eq!(steps(&report, 0), "connect ok, request ok, protocol ok, answer ok");
    assert_eq!(steps(&report, 1), "connect ok, request ok, protocol ok, answer fail");
    assert_eq!(steps(&report, 2), "connect fail");
    assert!(report["peers"][1]["backup"] == true && report["peers"][2]["down"] == true);
    let (by_url, _) = probe(&[&format!("http://shop.example.com:{front}/cart/x"), "--config", &config]);
    assert_eq!(by_url["target"]["kind"], "route");
    assert_eq!(by_url["peers"][0]["conversations"][0]["steps"][1]["says"], "HEAD /cart/x HTTP/1.0");
    let (by_path, _) = probe(&["/cart/x", "--config", &config]);
    assert_eq!(by_path["peers"].as_array().unwrap().len(), 3);
    // None of it went through the nginx that was stood in for.
    assert_eq!(std::fs::read_to_string(world.path("front-access.log")).unwrap(), "");
    let seen = std::fs::read_to_string(world.path("backends-access.log")).unwrap();
    let marked = format!("why502/{} (probe)", env!("CARGO_PKG_VERSION"));
    assert!(!seen.is_empty() && seen.lines().all(|line| line.contains(&marked)), "{seen}");
}

#[test]
fn a_target_that_is_not_there_is_a_usage_error_with_what_was_meant() {
    let world = World::new();
    let http = "events {} http { upstream backend { server 127.0.0.1:1; }
        server { listen 127.0.0.1:8099; location /a { proxy_pass http://backend; } location / { return 204; } } }";
    let config = world.write("nginx.conf", http);
    for (target, words) in [
        ("bakend", "did you mean backend?"),
        ("something-else", "the upstreams here: backend"),
        ("/b", "passes nothing on"),
        ("10.0.0.1", "10.0.0.1:80"),
        ("gopher://a/", "no scheme"),
    ] {
        let output = run(&[target, "--config", &config]);
        assert_eq!(output.status.code(), Some(2), "{target}");
        assert!(stderr(&output).contains(words), "{target}: {}", stderr(&output));
        assert!(output.stdout.is_empty());
    }
    let output = run(&["127.0.0.1:1", "--config", &config, "--sni", "a", "--proto", "http"]);
    assert!(output.status.code() == Some(2) && stderr(&output).contains("--sni"));
}

#[test]
fn who_speaks_there_is_always_told() {
    let mut world = World::new();
    let (certificate, key) = world.certificate();
    let port = free_port();
    let tls = format!(
        "server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {certificate}; ssl_certificate_key {key};
         location / {{ return 200; }} }}"
    );
    world.nginx("tls", &tls, port);
    let config = world.write("nginx.conf", "events {} http {}");
    let look = |target: &str, proto: &[&str]| {
        let (report, code) = probe(&[&[target, "--config", &config], proto].concat());
        (report["peers"][0]["speaks"].as_str().unwrap_or("-").to_owned(), code)
    };
    let tls = format!("127.0.0.1:{port}");
    assert_eq!(look(&tls, &[]), ("HTTP/1.1 through TLS".to_owned(), 0));
    assert_eq!(
        look(&tls, &["--proto", "http"]),
        ("HTTP/1.1 through TLS".to_owned(), 1),
        "TLS on a plain port"
    );
    let plain = format!("127.0.0.1:{}", serve(well));
    assert_eq!(look(&plain, &[]), ("HTTP/1.1".to_owned(), 0));
    assert_eq!(look(&plain, &["--proto", "https"]).1, 1, "HTTP on a TLS port");
    for (greeting, name) in [
        (b"SSH-2.0-OpenSSH_9.2p1\r\n".as_slice(), "SSH"),
        (b"220 mail.example ESMTP\r\n", "SMTP or FTP"),
        (b"J\0\0\0\x0a8.0.36\0abcdefgh", "MySQL"),
    ] {
        let port = serve(move |mut stream: TcpStream| {
            let _ = stream.write_all(greeting);
            // It stays until the client leaves.
            let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
            let _ = stream.read_to_end(&mut Vec::new());
        });
        assert_eq!(look(&format!("127.0.0.1:{port}"), &[]), (name.to_owned(), 0));
        assert_eq!(look(&format!("127.0.0.1:{port}"), &["--proto", "http"]), (name.to_owned(), 1));
    }
    let redis = serve(|mut stream: TcpStream| {
        let mut request = [0; 4096];
        let _ = stream.read(&mut request);
        let _ = stream.write_all(b"-ERR unknown command 'HEAD'\r\n");
    });
    assert_eq!(look(&format!("127.0.0.1:{redis}"), &[]), ("Redis".to_owned(), 0));
    let mute = serve(drop);
    assert_eq!(look(&format!("127.0.0.1:{mute}"), &[]), ("-".to_owned(), 1));
}

#[test]
fn applications_are_asked_in_their_own_protocol() {
    let mut world = World::new();
    let config = world.write("nginx.conf", "events {} http {}");
    let Some(php_fpm) = php_fpm() else { panic!("scripts/setup installs php-fpm") };
    let (php, uwsgi, haproxy) = (free_port(), free_port(), free_port());
    let pool = format!(
        "[global]\nerror_log = DIR/fpm.log\n[www]\nuser = www-data\ngroup = www-data\nlisten = 127.0.0.1:{php}\npm = static\npm.max_children = 1\nping.path = /ping\n"
    );
    let pool = world.write("fpm.conf", &pool);
    world.start(&[php_fpm.to_str().unwrap(), "-F", "-R", "-y", &pool], php);
    let app = "def application(env, start):\n    start('200 OK', [])\n    return [b'']\n";
    let app = world.write("app.py", app);
    let socket = format!("127.0.0.1:{uwsgi}");
    world.start(&["uwsgi_python3", "--socket", &socket, "--wsgi-file", &app, "--need-app"], uwsgi);
    let balancer = format!(
        "defaults\n mode http\n timeout connect 1s\n timeout client 5s\n timeout server 5s\n retries 0\nlisten a\n bind 127.0.0.1:{haproxy}\n server gone 127.0.0.1:1\n"
    );
    let balancer = world.write("haproxy.cfg", &balancer);
    world.start(&["haproxy", "-db", "-f", &balancer], haproxy);
    let look = |target: String, proto: &[&str]| {
        let (report, code) = probe(&[&[&target, "--config", &config], proto].concat());
        let peer = &report["peers"][0];
        (peer["speaks"].as_str().unwrap_or("-").to_owned(), code, peer["says"].as_str().unwrap().to_owned())
    };
    for target in [format!("127.0.0.1:{php}"), format!("fastcgi://127.0.0.1:{php}")] {
        let (speaks, code, says) = look(target, &[]);
        assert_eq!((speaks.as_str(), code), ("FastCGI", 0), "{says}");
    }
    let (_, code, says) = look(format!("fastcgi://127.0.0.1:{php}/ping"), &[]);
    assert!(code == 0 && says.starts_with("200"), "{says}");
    for target in [format!("127.0.0.1:{uwsgi}"), format!("uwsgi://127.0.0.1:{uwsgi}")] {
        let (speaks, code, says) = look(target, &[]);
        assert_eq!((speaks.as_str(), code), ("uwsgi", 0), "{says}");
    }
    let (speaks, code, says) = look(format!("uwsgi://127.0.0.1:{haproxy}/x"), &[]);
    assert_eq!((speaks.as_str(), code), ("HTTP/1.1", 1), "{says}");
    let (speaks, code, says) = look(format!("127.0.0.1:{haproxy}"), &[]);
    assert_eq!((speaks.as_str(), code), ("HTTP/1.1", 1), "{says}");
    assert!(says.contains("503"), "{says}");
}

#[test]
fn a_websocket_is_opened_by_the_rules_and_closed() {
    let mut world = World::new();
    let config = world.write("nginx.conf", "events {} http {}");
    let (port, other) = (free_port(), free_port());
    let server = r#"
const [port, guid] = [process.argv[2], process.argv[3]], { createHash } = require("crypto");
const server = require("http").createServer((request, response) => { response.writeHead(426); response.end(); });
server.on("upgrade", (request, socket) => {
    const accept = createHash("sha1").update(request.headers["sec-websocket-key"] + guid).digest("base64");
    socket.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + accept + "\r\n\r\n");
    socket.on("data", data => require("fs").appendFileSync("frames", data.toString("hex")));
    socket.on("error", () => {});
});
server.listen(port, "127.0.0.1");
"#;
    let server = world.write("server.js", server);
    world.start(&["node", &server, &port.to_string(), "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"], port);
    world.start(&["node", &server, &other.to_string(), "another"], other);
    let target = format!("127.0.0.1:{port}");
    let (report, code) = probe(&[&target, "--proto", "websocket", "--config", &config]);
    assert_eq!(code, 0, "{report}");
    assert_eq!(report["peers"][0]["conversations"][0]["answer"]["status"], 101);
    let begin = Instant::now();
    while std::fs::read_to_string(world.path("frames")).unwrap_or_default() != "888000000000" {
        assert!(begin.elapsed() < Duration::from_secs(5), "no close frame came");
        thread::sleep(Duration::from_millis(20));
    }
    let (report, code) = probe(&[&format!("ws://127.0.0.1:{other}/"), "--config", &config]);
    assert_eq!(code, 1);
    assert!(report["peers"][0]["says"].as_str().unwrap().contains("not the one for the key"), "{report}");
}

#[test]
fn the_proxy_protocol_is_spoken_where_it_is_asked_for() {
    let mut world = World::new();
    let port = free_port();
    world.nginx("behind", &format!("server {{ listen 127.0.0.1:{port} proxy_protocol; return 204; }}"), port);
    let config = world.write("nginx.conf", "events {} http {}");
    let target = format!("127.0.0.1:{port}");
    let (_, code) = probe(&[&target, "--proto", "http", "--config", &config]);
    assert_eq!(code, 1);
    for (protocol, header) in [("proxy-protocol", "PROXY UNKNOWN"), ("proxy-protocol-v2", "version 2, LOCAL")]
    {
        let (report, code) = probe(&[&target, "--proto", protocol, "--config", &config]);
        assert_eq!(code, 0, "{report}");
        assert_eq!(steps(&report, 0), "connect ok, proxy-header ok, request ok, protocol ok, answer ok");
        assert_eq!(report["peers"][0]["conversations"][0]["steps"][1]["says"], header);
    }
}

#[test]
fn names_take_their_time_and_runs_are_summed_up() {
    let world = World::new();
    let config = world.write("nginx.conf", "events {} http {}");
    let target = format!("localhost:{}", serve(well));
    let (report, code) = probe(&[&target, "--repeat", "5", "--config", &config, "--proto", "http"]);
    let at = report["peers"].as_array().unwrap().iter().position(|peer| peer["verdict"] == "ok").unwrap();
    assert!(steps(&report, at).starts_with("name ok, connect ok"), "{report}");
    let times = report["peers"][at]["times"].as_array().unwrap();
    let connect = times.iter().find(|own| own["kind"] == "connect").unwrap();
    assert_eq!(connect["runs"], 5);
    assert!(connect["min_micros"].as_u64() <= connect["max_micros"].as_u64());
    // Where localhost is an address of IPv6 too, nobody listens there.
    assert_eq!(code, i32::from(report["peers"].as_array().unwrap().len() > 1));
    let (report, code) = probe(&["no.such.name.invalid:80", "--config", &config, "--timeout", "4s"]);
    assert!(code == 1 || code == 3, "{report}");
    assert!(report["peers"][0]["says"].as_str().unwrap().starts_with("name: "), "{report}");
}

/// Accepts nothing and has no room left to wait in: whoever connects hears nothing.
fn black_hole() -> (Vec<TcpStream>, rustix::fd::OwnedFd, u16) {
    use rustix::net::{AddressFamily, SocketType, bind, getsockname, listen, socket};
    let own = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&own, &"0.0.0.0:0".parse::<SocketAddr>().unwrap()).unwrap();
    listen(&own, 0).unwrap();
    let address: SocketAddr = getsockname(&own).unwrap().try_into().unwrap();
    let here = SocketAddr::from(([127, 0, 0, 1], address.port()));
    let patience = Duration::from_millis(200);
    let waiting: Vec<TcpStream> =
        (0..16).map_while(|_| TcpStream::connect_timeout(&here, patience).ok()).collect();
    assert!(waiting.len() < 16, "its backlog takes any number");
    (waiting, own, address.port())
}

#[test]
fn a_hundred_peers_are_all_reported_in_time_though_twenty_are_black_holes() {
    let world = World::new();
    let port = serve(well);
    let (_waiting, _listener, hole) = black_hole();
    let well = (1..=80).map(|at| format!("server 127.0.0.{at}:{port};"));
    let holes = (1..=20).map(|at| format!("server 127.0.1.{at}:{hole};"));
    let servers: Vec<String> = well.chain(holes).collect();
    let config = format!(
        "events {{}} http {{ upstream many {{ {} }} server {{ listen 127.0.0.1:8099; location / {{ proxy_pass http://many; }} }} }}",
        servers.join(" ")
    );
    let config = world.write("nginx.conf", &config);
    let begin = Instant::now();
    let (report, code) = probe(&["many", "--config", &config, "--timeout", "4s"]);
    let took = begin.elapsed();
    assert!(took < Duration::from_secs(4), "{took:?}");
    assert_eq!((code, report["peers"].as_array().unwrap().len()), (1, 100));
    assert_eq!(
        (&report["answered"], &report["failed"], &report["unknown"]),
        (&80.into(), &20.into(), &0.into())
    );
    let says = report["peers"][99]["says"].as_str().unwrap();
    assert!(says.starts_with("connect: nothing within "), "{says}");
    let text = stdout(&run(&["many", "--config", &config, "--timeout", "2s"]));
    assert_eq!(text.lines().filter(|line| line.contains("127.0.")).count(), 100, "{text}");
}

#[test]
fn the_text_keeps_its_form() {
    let mut world = World::new();
    let long = "x".repeat(300);
    let noisy = serve(move |mut stream: TcpStream| {
        let mut request = [0; 4096];
        let _ = stream.read(&mut request);
        let answer = format!("HTTP/1.1 500 \x1b[31mred\u{202e} {long}\r\nServer: \x07{long}\r\n\r\n");
        let _ = stream.write_all(answer.as_bytes());
    });
    let port = free_port();
    let http = format!(
        "server {{ listen 127.0.0.1:{port}; server_name a.example; location / {{ proxy_pass http://127.0.0.1:{noisy}; }} }}"
    );
    let config = world.nginx("front", &http, port);
    for arguments in
        [vec!["/"], vec!["/", "--verbose"], vec!["/", "--repeat", "3"], vec!["/", "--color", "always"]]
    {
        let output = run(&[arguments.as_slice(), &["--config", &config]].concat());
        let text = stdout(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(
            !text.contains('\x07') && !text.contains('\u{202e}') && !text.contains("\x1b[31mred"),
            "{text}"
        );
        if !arguments.contains(&"always") {
            assert!(!text.contains('\x1b'));
            assert!(text.lines().all(|line| line.width() <= 80 && line.trim_end() == line), "{text}");
        }
    }
}

#[test]
fn a_path_that_was_typed_is_asked_for() {
    let mut world = World::new();
    let (app, front) = (free_port(), free_port());
    let http = format!(
        "server {{ listen 127.0.0.1:{app}; listen unix:DIR/app.sock; location / {{ return 204; }} location /typed {{ return 201; }} }}"
    );
    world.nginx("app", &http, app);
    let http = format!(
        "server {{ listen 127.0.0.1:{front}; location /cart/ {{ proxy_pass http://127.0.0.1:{app}; }}
         location /unix/ {{ proxy_pass http://unix:DIR/app.sock:/; }} }}"
    );
    let config = world.nginx("front", &http, front);
    for target in
        [format!("http://127.0.0.1:{app}/typed"), format!("http://unix:{}:/typed", world.path("app.sock"))]
    {
        let (report, code) = probe(&[&target, "--config", &config]);
        let answer = &report["peers"][0]["conversations"][0]["answer"];
        assert_eq!((code, &answer["status"]), (0, &201.into()), "{target}: {answer}");
    }
}
