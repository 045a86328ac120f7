//! `why502 probe` in HTTP/2 and gRPC, against real servers.

use crate::probe::{serve, well};
use crate::world::{World, free_port, probe, steps};

#[test]
fn grpc_is_asked_for_its_health_and_http2_for_a_header() {
    let mut world = World::new();
    let config = world.write("nginx.conf", "events {} http {}");
    let server = r#"
import sys, grpc
from concurrent import futures
port, health, pem = sys.argv[1:]

class Health(grpc.GenericRpcHandler):
    def service(self, details):
        if details.method != "/grpc.health.v1.Health/Check" or health == "none":
            return None
        def check(request, context):
            # The whole server is asked for, in good order and under this program's name.
            assert request == b""
            assert dict(context.invocation_metadata())["user-agent"].startswith("why502/")
            if health == "down":
                context.abort(grpc.StatusCode.UNAVAILABLE, "going away")
            return b"\x08" + bytes([int(health)])
        return grpc.unary_unary_rpc_method_handler(check)

server = grpc.server(futures.ThreadPoolExecutor(2), handlers=[Health()])
if pem == "plain":
    server.add_insecure_port("127.0.0.1:" + port)
else:
    certificate, key = (open(path, "rb").read() for path in pem.split(","))
    server.add_secure_port("127.0.0.1:" + port, grpc.ssl_server_credentials([(key, certificate)]))
server.start()
server.wait_for_termination()
"#;
    let server = world.write("health.py", server);
    let (certificate, key) = world.certificate();
    let pem = format!("{certificate},{key}");
    let look = |target: String, proto: &[&str]| {
        let (report, code) = probe(&[&[&target, "--config", &config], proto].concat());
        let peer = &report["peers"][0];
        (code, peer["speaks"].as_str().unwrap_or("-").to_owned(), peer["says"].as_str().unwrap().to_owned())
    };
    // Debian's Python has gRPC, another one in the path may not.
    let mut start = |health: &str, pem: &str| {
        let port = free_port();
        world.start(&["/usr/bin/python3", &server, &port.to_string(), health, pem], port);
        port
    };
    for (health, expected) in [("1", 0), ("2", 1), ("down", 1), ("none", 0)] {
        let port = start(health, "plain");
        let (code, speaks, says) = look(format!("127.0.0.1:{port}"), &["--proto", "grpc"]);
        assert_eq!((code, speaks.as_str()), (expected, "gRPC"), "{health}: {says}");
        let words = match health {
            "1" => "SERVING in",
            "2" => "answer: NOT_SERVING",
            "down" => "UNAVAILABLE: going away",
            _ => "UNIMPLEMENTED: gRPC is spoken",
        };
        assert!(says.starts_with(words) || says.ends_with(words), "{health}: {says}");
        let (_, speaks, says) = look(format!("127.0.0.1:{port}"), &["--proto", "h2"]);
        assert_eq!(speaks, "HTTP/2", "{says}");
    }
    let port = start("1", &pem);
    let (code, speaks, says) = look(format!("grpcs://127.0.0.1:{port}"), &[]);
    assert_eq!((code, speaks.as_str()), (0, "gRPC through TLS"), "{says}");
    let (code, _, says) = look(format!("127.0.0.1:{port}"), &["--proto", "grpc"]);
    assert_eq!(code, 1, "TLS is wanted: {says}");
    let port = serve(well);
    for proto in ["grpc", "h2"] {
        let (code, speaks, says) = look(format!("127.0.0.1:{port}"), &["--proto", proto]);
        assert_eq!((code, speaks.as_str()), (1, "HTTP/1"), "{says}");
    }
}

#[test]
fn a_server_of_http2_answers_or_refuses() {
    let mut world = World::new();
    let config = world.write("nginx.conf", "events {} http {}");
    let port = free_port();
    let server = r#"
const server = require("http2").createServer();
server.on("stream", (stream, header) => {
    stream.on("error", () => {});
    if (header[":path"] === "/full") return stream.close(7);
    if (header[":path"] === "/calm") return stream.session.destroy(11);
    stream.respond({ ":status": header[":method"] === "HEAD" ? 204 : 405, server: "some" });
    stream.end();
});
server.on("session", session => session.on("error", () => {}));
server.listen(process.argv[2], "127.0.0.1");
"#;
    let server = world.write("server.js", server);
    world.start(&["node", &server, &port.to_string()], port);
    let look = |path: &str, proto: &str| {
        let target = format!("http://127.0.0.1:{port}{path}");
        let (report, code) = probe(&[&target, "--proto", proto, "--config", &config]);
        (code, steps(&report, 0), report["peers"][0]["says"].as_str().unwrap().to_owned())
    };
    let (code, steps, says) = look("/", "h2");
    assert_eq!((code, steps.as_str()), (0, "connect ok, request ok, protocol ok, answer ok"), "{says}");
    assert!(says.starts_with("204"), "{says}");
    let (code, steps, says) = look("/full", "h2");
    assert_eq!((code, steps.as_str()), (1, "connect ok, request ok, protocol ok, answer fail"), "{says}");
    assert_eq!(says, "answer: the peer refuses with RST_STREAM with code 7 (REFUSED_STREAM)");
    let (code, _, says) = look("/calm", "h2");
    assert_eq!(
        (code, says.as_str()),
        (1, "answer: the peer refuses with GOAWAY with code 11 (ENHANCE_YOUR_CALM)")
    );
    // A server of HTTP/2 that answers such a call as any other request is none of gRPC.
    let (code, steps, says) = look("/", "grpc");
    assert_eq!((code, steps.as_str()), (1, "connect ok, request ok, protocol fail, answer ok"), "{says}");
    assert!(says.contains("HTTP/2 speaks there, not gRPC"), "{says}");
}
