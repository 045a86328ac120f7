//! Any bytes are survived as a configuration, and as what is asked of its model.

use crate::Gateway;
use crate::testing::World;
use proptest::prelude::*;
use proptest::sample::select;
use why502_model::RequestVars;

/// Directives and what stands in and around them, so that something is reached behind the reader.
const PIECES: [&str; 56] = [
    "events {}",
    "http {",
    "server {",
    "location /a {",
    "location ~ ^/(.)$ {",
    "location = /",
    "location @n {",
    "upstream u {",
    "map $uri $m {",
    "geo $g {",
    "split_clients $uri $s {",
    "types {",
    "if ($m = x) {",
    "limit_except GET {",
    "}",
    "}}",
    ";",
    "{",
    "\n",
    "\"",
    "'",
    "#",
    "\\",
    "$",
    "${",
    "listen 80;",
    "listen [::]:443 ssl;",
    "listen unix:/s default_server;",
    "server_name a *.b ~^c$;",
    "proxy_pass http://u;",
    "proxy_pass http://$m$uri;",
    "fastcgi_pass unix:/x;",
    "proxy_set_header Host $host;",
    "set $v $m;",
    "rewrite ^/(.*)$ /$1/x last;",
    "rewrite ^ $v;",
    "return 301 /x;",
    "error_page 404 500 =200 @n;",
    "error_page 502 /a;",
    "try_files $uri @n;",
    "include /etc/nginx/*.conf;",
    "include nginx.conf;",
    "load_module x.so;",
    "default 1;",
    "~^/(?<n>.) $n;",
    "10.0.0.0/8 1;",
    "50% a;",
    "server 10.0.0.1 weight=2;",
    "keepalive 4;",
    "limit_req_zone $uri zone=z:1m rate=1r/s;",
    "limit_req zone=z burst=5;",
    "log_format f '$uri';",
    "access_log /l f;",
    "error_log /e debug;",
    "proxy_buffers 4 4k;",
    "content_by_lua_block { x }",
];

/// Bytes of every kind: pieces of configurations, with others among them.
fn any_config() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => select(&PIECES[..]).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..6),
    ];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.join(&b' '))
}

fn use_gateway(gateway: &Gateway, target: &str, host: &str) {
    for problem in &gateway.problems {
        problem.words();
    }
    for server in 0..gateway.servers.len().min(4) {
        gateway.serve(server, &RequestVars::of_request("GET", target, Some(host)));
        gateway.serve_inside(server, &RequestVars::default().with("uri", target));
        gateway.find_route(server, target);
    }
    gateway.find_server(host, None);
    for (id, _) in gateway.routes().take(4) {
        gateway.reachable(id);
        gateway.all_in_force(id);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_configuration_is_survived(text in any_config(), target in "[/a-c.%0-9?#;@]{0,12}|\\PC{0,8}", host in "\\PC{0,10}") {
        let mut world = World::live("1.22.1", "#- /etc/nginx/nginx.conf\n");
        world.files.insert("/etc/nginx/nginx.conf".to_owned(), text);
        for gateway in world.model().gateways {
            use_gateway(&gateway, &target, &host);
        }
        world.invocation.offline = true;
        world.invocation.config = Some("/etc/nginx/nginx.conf".to_owned());
        use_gateway(&world.gateway(), &target, &host);
    }
}

#[test]
fn files_that_include_each_other_end_where_nginx_ends() {
    let mut world = World::live("1.22.1", "#- /etc/nginx/nginx.conf\n");
    let circle = "include a.conf;\ninclude a.conf;\ninclude a.conf;\n".repeat(20);
    world.files.insert("/etc/nginx/nginx.conf".to_owned(), circle.clone().into_bytes());
    world.files.insert("/etc/nginx/a.conf".to_owned(), circle.into_bytes());
    let gateway = world.gateway();
    let problems: Vec<String> = gateway.problems.iter().map(why502_model::Problem::words).collect();
    assert_eq!(
        problems,
        ["open() \"/etc/nginx/a.conf\" failed (24: Too many open files) in /etc/nginx/a.conf:1"]
    );
    assert_eq!(gateway.sources.len(), 2);
}
