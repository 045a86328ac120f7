//! Which location serves a request, over rewrites, redirects and error pages, against a running nginx.

use crate::Gateway;
use crate::client::{Address, Answer, get};
use crate::host::{Host, settled};
use crate::random::Random;
use std::fmt::Write as _;
use std::thread;
use why502_model::{Fallback, FallbackKind, RequestVars, RouteId, Served, Stop};

/// What locations are named by.
const PREFIXES: [&str; 20] = [
    "/",
    "/a",
    "/a/",
    "/a/b",
    "/a/b/",
    "/ab",
    "/A",
    "/b",
    "/b/",
    "/a/b/c",
    "\"/a b\"",
    "/a//b",
    "/a/./b",
    "/a%20b",
    "/caf\u{e9}",
    "/x.php",
    "/a?",
    "/a#",
    "a",
    "/abc/",
];
const PATTERNS: [&str; 20] = [
    "^/a",
    "^/A/B",
    "\\.php$",
    "\\.PHP$",
    "/b$",
    "^/(?<first>[a-z])/",
    "^/.$",
    "//",
    "\\?",
    "%",
    "^/a/b$",
    "c",
    "^/(a|b)/?$",
    "\"^/a{1,2}$\"",
    "\\s",
    "^/caf\u{e9}$",
    "^/caf.$",
    "^/[^/]+$",
    "/$",
    "^/(?i)AB",
];
/// What requests are made of.
const SEGMENTS: [&str; 30] = [
    "a",
    "b",
    "c",
    "ab",
    "A",
    "B",
    "abc",
    "aa",
    ".",
    "..",
    "",
    "%61",
    "%41",
    "%2e",
    "%2E%2e",
    "%2f",
    "a%2Fb",
    "a%20b",
    "%25",
    "a%3F",
    "a%23",
    "caf%c3%a9",
    "caf%ff",
    "%ff",
    "x.php",
    "x.PHP",
    "a+b",
    "a;b",
    "a:b",
    "a=b",
];
const TAILS: [&str; 9] = ["", "", "", "/", "?", "?k=v", "?x=1&k=0", "#x", "?a/../b"];

/// A server that is being written: every location has a number, which its answers carry.
struct Writer<'r> {
    random: &'r mut Random,
    n_locations: usize,
    n_named: usize,
    text: String,
}

impl Writer<'_> {
    fn number(&mut self) -> String {
        self.n_locations += 1;
        format!("r{}", self.n_locations)
    }

    fn server(&mut self, socket: &str) {
        let _ = write!(
            self.text,
            "server {{\nlisten unix:{socket};\nroot empty;\nadd_header X-Route r0 always;\n"
        );
        if self.random.one_in(4) {
            self.text += "merge_slashes off;\n";
        }
        if self.random.one_in(6) {
            self.text += "recursive_error_pages on;\n";
        }
        if self.random.one_in(5) {
            self.error_page();
        }
        if self.random.one_in(3) {
            self.script();
        }
        self.n_named = 1 + self.random.below(2);
        for at in 0..self.n_named {
            let number = self.number();
            let _ = write!(self.text, "location @n{at} {{\nadd_header X-Route {number} always;\n");
            if self.random.one_in(2) {
                self.text += "return 203;\n";
            }
            self.text += "}\n";
        }
        self.locations(Some(""), 0);
        self.text += "}\n";
    }

    /// Locations of one level: those below a path, or in a pattern's location.
    fn locations(&mut self, below: Option<&str>, depth: usize) {
        let mut names: Vec<String> = Vec::new();
        for _ in 0..=self.random.below(if depth == 0 { 8 } else { 3 }) {
            // In a pattern's location only patterns may stand.
            let is_pattern = below.is_none() || self.random.one_in(3);
            let (modifier, path) = if is_pattern {
                (self.random.pick(&["~", "~*"]), self.random.pick(&PATTERNS).to_owned())
            } else {
                let path = self.random.pick(&PREFIXES);
                (self.random.pick(&["", "", "=", "^~"]), path.to_owned())
            };
            let bare = path.trim_matches('"').to_owned();
            // A prefix or exact location of the same path may stand once, and an inner one stands below its outer one.
            let key = if modifier == "=" { format!("={bare}") } else { bare.clone() };
            if !is_pattern && (names.contains(&key) || !below.is_some_and(|below| bare.starts_with(below))) {
                continue;
            }
            names.push(key);
            let number = self.number();
            let _ = write!(self.text, "location {modifier} {path} {{\nadd_header X-Route {number} always;\n");
            self.content(&bare, is_pattern);
            if depth < 2 && modifier != "=" && self.random.one_in(4) {
                self.locations((!is_pattern).then_some(&*bare), depth + 1);
            }
            self.text += "}\n";
        }
    }

    fn content(&mut self, path: &str, is_pattern: bool) {
        if self.random.one_in(5) {
            self.script();
        }
        if self.random.one_in(6) {
            self.error_page();
        }
        match self.random.below(10) {
            0 | 1 => self.text += "return 202;\n",
            2 => self.text += "return 404;\n",
            3 => self.try_files(),
            4 => self.text += "proxy_pass http://unix:nobody;\n",
            5 if !is_pattern && !path.is_empty() => self.text += "proxy_pass http://unix:nobody:/other/;\n",
            6 => self.text += "internal;\n",
            _ => {}
        }
    }

    /// Directives of the rewrite module.
    fn script(&mut self) {
        for _ in 0..=self.random.below(2) {
            let path = self.target();
            let line = match self.random.below(12) {
                0 => "rewrite ^/a/(.*)$ /b/$1 last;".to_owned(),
                1 => format!("rewrite ^/(.)/ {path} last;"),
                2 => format!("rewrite b {path} break;"),
                3 => format!("rewrite ^/ab {path}?y=2 last;"),
                4 => "rewrite ^/x(.*) /x.php?$1? last;".to_owned(),
                5 => "rewrite ^/abc http://other.test/ ;".to_owned(),
                6 => "rewrite ^/aa$ /b permanent;".to_owned(),
                7 => "if ($arg_k = v) { return 410; }".to_owned(),
                8 => format!("if ($uri ~ \"^/(c|abc)(/|$)\") {{ rewrite ^ {path} last; }}"),
                9 => format!("set $t $args; if ($t = k=v) {{ rewrite ^ {path} last; }}"),
                10 => "if ($host = one.test) { return 403; }".to_owned(),
                _ => "rewrite ^/(.*)$ /$1x;".to_owned(),
            };
            // Twelve in a row would be a circle that ends in 500: that is wanted too, now and then.
            let _ = writeln!(self.text, "{line}");
        }
    }

    fn target(&mut self) -> String {
        (self.random.pick(&["/a", "/b/", "/x.php", "/nowhere", "/a//b", "/ab", "/abc", "/a%20b", "/"]))
            .to_owned()
    }

    fn hop(&mut self) -> String {
        if self.random.one_in(2) {
            return format!("@n{}", self.random.below(self.n_named.max(1)));
        }
        self.target()
    }

    fn try_files(&mut self) {
        let hop = self.hop();
        let _ = writeln!(self.text, "try_files /none$uri {hop};");
    }

    fn error_page(&mut self) {
        let hop = self.hop();
        let becomes = self.random.pick(&["", "", "=200 ", "= "]);
        let _ = writeln!(self.text, "error_page 403 404 410 502 {becomes}{hop};");
    }
}

fn target(random: &mut Random) -> String {
    let n_segments = random.below(4);
    let segments: Vec<&str> = (0..=n_segments).map(|_| random.pick(&SEGMENTS)).collect();
    format!("/{}{}", segments.join("/"), random.pick(&TAILS))
}

/// Where a request ended, before error pages.
struct End {
    route: RouteId,
    /// The status where the configuration gives it; a file that is not there, or a peer, is asked otherwise.
    status: Option<u16>,
    /// Whether no error page can take it over.
    is_final: bool,
}

fn end_of(served: &Served) -> End {
    let route = served.steps.last().map_or(RouteId(0), |step| step.route);
    let (status, is_final) = match &served.stop {
        Stop::BadRequest => (Some(400), true),
        Stop::Redirect { status, .. } => (Some(*status), true),
        Stop::Cycle | Stop::EmptyPath => (Some(500), true),
        Stop::Internal => (Some(404), false),
        Stop::Return { status, .. } => (Some(*status), *status < 300),
        Stop::Conditional { .. } | Stop::Route => (None, false),
    };
    assert_eq!(served.undecided, [], "all is known");
    End { route, status, is_final }
}

/// The number of the route that answers in the end, and the status where that is foreseen.
fn foreseen(gateway: &Gateway, server: usize, target: &str, host: &str) -> (Option<String>, Option<u16>) {
    let mut end =
        end_of(&gateway.serve(server, &RequestVars::of_request("GET", target, Some(host))).unwrap());
    let first_status = end.status;
    if first_status == Some(400) {
        return (Some("r0".to_owned()), first_status);
    }
    let (mut had_page, mut n_hops) = (false, 0);
    while !end.is_final {
        let is_tried = |own: &&Fallback| end.status.is_none() && own.kind == FallbackKind::TryFiles;
        let tried = gateway.route(end.route).fallbacks.iter().find(is_tried);
        let page = gateway.error_page(end.route, end.status.unwrap_or(404)).filter(|_| !had_page);
        let Some(next) = tried.or(page) else { break };
        if matches!(next.kind, FallbackKind::ErrorPage { .. }) {
            let recursive = gateway.in_force(end.route, "recursive_error_pages");
            had_page = recursive.first().is_none_or(|own| own.value[0] != "on");
        }
        n_hops += 1;
        end = if next.to.starts_with('@') {
            let route = gateway.find_route(server, &next.to).unwrap();
            let answers = !gateway.in_force(route, "return").is_empty();
            End { route, status: None, is_final: answers }
        } else {
            let request = RequestVars::default().with("uri", &next.to).with("args", "").with("host", host);
            end_of(&gateway.serve_inside(server, &request).unwrap())
        };
        if n_hops > 10 {
            // A circle: it ends somewhere in it.
            return (None, Some(500));
        }
    }
    (Some(number(gateway, end.route)), end.status.filter(|_| n_hops == 0))
}

fn number(gateway: &Gateway, route: RouteId) -> String {
    gateway.in_force(route, "add_header").first().map(|own| own.value[1].clone()).unwrap_or_default()
}

/// Compares random requests to a number of random servers; the differences, and how many were compared.
fn compare(seed: u64, n_servers: usize, n_requests: usize) -> (Vec<String>, usize) {
    let mut random = Random::new(seed);
    let mut texts = Vec::new();
    for at in 0..n_servers {
        let mut writer = Writer { random: &mut random, n_locations: 0, n_named: 0, text: String::new() };
        writer.server(&format!("s{at}"));
        texts.push(writer.text);
    }
    let text = format!("events {{}}\nhttp {{\nlog_not_found off;\n{}}}\n", texts.concat());
    let host = Host::new(&[("nginx.conf", settled(&text).as_bytes())]);
    std::fs::create_dir(host.path("empty")).unwrap();
    assert_eq!((host.refusal(), host.problems()), (None, vec![]), "seed {seed}");
    let gateway = host.gateway();
    let running = host.start(&format!("s{}", n_servers - 1));
    let mut differences = Vec::new();
    for (server, text) in texts.iter().enumerate() {
        let address = Address::Unix(running.host.path(&format!("s{server}")));
        for _ in 0..n_requests {
            let (target, name) = (target(&mut random), random.pick(&["one.test", "two.test"]));
            let answer: Answer = get(&address, &target, name);
            let (route, status) = foreseen(&gateway, server, &target, name);
            let is_there = route.as_ref().is_none_or(|route| answer.header("X-Route") == route);
            if !is_there || status.is_some_and(|status| status != answer.status) {
                differences.push(format!(
                    "seed {seed}: {target} for {name}: nginx {} {}, here {route:?} {status:?}: {text}",
                    answer.header("X-Route"),
                    answer.status
                ));
            }
        }
    }
    (differences, n_servers * n_requests)
}

#[test]
fn locations_are_chosen_as_nginx_chooses_them() {
    let n_seeds: u64 = std::env::var("WHY502_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(8);
    let compare_all = |seeds: std::ops::Range<u64>| {
        let found: Vec<_> = seeds.map(|seed| compare(seed, 12, 40)).collect();
        let n_pairs: usize = found.iter().map(|(_, n_pairs)| n_pairs).sum();
        (found.into_iter().flat_map(|(differences, _)| differences).collect::<Vec<_>>(), n_pairs)
    };
    let ((first, n_first), (second, n_second)) = thread::scope(|scope| {
        let first = scope.spawn(|| compare_all(0..n_seeds / 2));
        let second = compare_all(n_seeds / 2..n_seeds);
        (first.join().unwrap(), second)
    });
    let all = [first, second].concat();
    assert!(all.is_empty(), "{} of {} differ:\n{}", all.len(), n_first + n_second, all.join("\n"));
    assert!(n_first + n_second > 3000, "{} pairs", n_first + n_second);
}
