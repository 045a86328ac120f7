//! The way of a request through servers and locations, as far as it can be foreseen.

use super::{End, uri};
use crate::nginx::config::NodeId;
use crate::nginx::script::{Landing, Run, run};
use crate::{Gateway, RequestVars, RouteId, Span};

/// How often nginx searches a location anew for one request (`NGX_HTTP_MAX_URI_CHANGES`).
const MAX_CHANGES: usize = 10;

/// The way of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// The routes that it comes to, the first one first.
    pub steps: Vec<Step>,
    /// How it ends, as far as it can be foreseen: files are not looked at.
    pub stop: Stop,
    /// Conditions and rewrites that depend on what is not known; they are taken not to hold.
    pub undecided: Vec<Span>,
}

/// A route on the way of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The route.
    pub route: RouteId,
    /// The path with which the request comes to it.
    pub path: String,
}

/// How the way of a request ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The gateway refuses the request line or the Host header.
    BadRequest,
    /// An `if` of the last route decides what is done.
    Conditional {
        /// The `if`.
        at: Span,
    },
    /// The location is searched over and over: an error 500.
    Cycle,
    /// A rewrite left nothing of the path: an error 500.
    EmptyPath,
    /// The last route takes no requests of clients (`internal`): an error 404.
    Internal,
    /// The last route redirects the client.
    Redirect {
        /// Where that is written; `None` where a missing slash is the reason.
        at: Option<Span>,
        /// The status.
        status: u16,
    },
    /// The configuration answers.
    Return {
        /// Where that is written.
        at: Span,
        /// The status.
        status: u16,
    },
    /// What the last route does.
    Route,
}

impl Gateway {
    /// The way of a client's request that a server takes, as far as it can be foreseen.
    pub fn serve(&self, server: usize, request: &RequestVars) -> Option<Served> {
        self.follow(server, request, Sender::Client)
    }

    /// The way of a request that the gateway itself sends on to a path: to an error page, by `try_files`, as a subrequest.
    ///
    /// The server's own rewrites run for these too (`ngx_http_internal_redirect`).
    pub fn serve_inside(&self, server: usize, request: &RequestVars) -> Option<Served> {
        self.follow(server, request, Sender::Gateway)
    }

    /// Whether a route is only for requests that the gateway itself sends on (`internal`).
    pub fn is_internal(&self, route: RouteId) -> bool {
        !self.in_force(route, "internal").is_empty()
    }

    fn follow(&self, server: usize, request: &RequestVars, sender: Sender) -> Option<Served> {
        let own = *self.locator.server_routes.get(server)?;
        let mut walk = Walk { gateway: self, run: self.begin(server, request)?, sender, steps: Vec::new() };
        let stop = walk.go(own);
        let undecided = walk.run.undecided.iter().map(|id| self.locator.config.span(*id)).collect();
        Some(Served { steps: walk.steps, stop, undecided })
    }

    /// The route that a request comes to first.
    pub(super) fn first_route(&self, server: usize, request: &RequestVars) -> Option<RouteId> {
        let own = *self.locator.server_routes.get(server)?;
        let run = self.begin(server, request)?;
        run.known.get("uri")?;
        let mut walk = Walk { gateway: self, run, sender: Sender::Gateway, steps: Vec::new() };
        if walk.rewrite(own).is_some() {
            return Some(own);
        }
        Some(walk.find(own).0)
    }

    /// The request as the server sees it: slashes are merged by the default server's leave (`ngx_http_process_request_uri`).
    pub(super) fn begin(&self, server: usize, request: &RequestVars) -> Option<Run> {
        let slashes = self.locator.entrances.iter().find(|entrance| entrance.servers.contains(&server));
        let default = slashes.map_or(server, |entrance| entrance.default);
        let mut run = Run { known: request.clone(), ..Run::default() };
        let Some(target) = request.get("request_uri") else { return Some(run) };
        match uri::parse_target(target, *self.locator.slashes.get(default)?) {
            Some(parsed) => {
                run.known.set_path(&why502_facts::lossy(&parsed.path));
                run.exact_path = Some(parsed.path);
            }
            None => run.known.forget_path(),
        }
        Some(run)
    }
}

/// Who sends a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    Client,
    Gateway,
}

pub(super) struct Walk<'a> {
    pub(super) gateway: &'a Gateway,
    pub(super) sender: Sender,
    pub(super) run: Run,
    pub(super) steps: Vec<Step>,
}

impl Walk<'_> {
    pub(super) fn go(&mut self, server: RouteId) -> Stop {
        if self.run.known.get("uri").is_none() {
            return Stop::BadRequest;
        }
        if let Some(stop) = self.rewrite(server) {
            self.steps.push(Step { route: server, path: self.path() });
            return stop;
        }
        for _ in 0..=MAX_CHANGES {
            let (route, end) = self.find(server);
            self.steps.push(Step { route, path: self.path() });
            if self.is_internal(route) {
                return Stop::Internal;
            }
            if end == End::Redirect {
                return Stop::Redirect { at: None, status: 301 };
            }
            // The server's own directives ran before; they do not run again (`ngx_http_rewrite_handler`).
            if route == server {
                return Stop::Route;
            }
            if let Some(stop) = self.rewrite(route) {
                return stop;
            }
            if !self.run.uri_changed {
                let inside = self.run.inside.map(|at| Stop::Conditional { at: self.span(at) });
                return inside.unwrap_or(Stop::Route);
            }
        }
        Stop::Cycle
    }

    /// Whether a route refuses the request: it is for those that the gateway sends on, by a rewrite too.
    fn is_internal(&self, route: RouteId) -> bool {
        self.sender == Sender::Client && !self.run.was_rewritten && self.gateway.is_internal(route)
    }

    fn path(&self) -> String {
        self.run.known.get("uri").unwrap_or_default().to_owned()
    }

    fn find(&mut self, server: RouteId) -> (RouteId, End) {
        let found = self.gateway.locator.find(server, &self.run.path());
        if found.captures.is_some() {
            self.run.state.captures = found.captures;
        }
        (found.route, found.end)
    }

    /// Runs the directives of a route; how the way ends if they end it.
    pub(super) fn rewrite(&mut self, route: RouteId) -> Option<Stop> {
        let locator = &self.gateway.locator;
        self.run.uri_changed = false;
        self.run.inside = None;
        match run(&locator.scripts[route.0], &locator.book, &mut self.run) {
            Landing::Through => None,
            Landing::Redirected { at, status } => Some(Stop::Redirect { at: Some(self.span(at)), status }),
            Landing::Returned { at, status } => Some(Stop::Return { at: self.span(at), status }),
            Landing::ZeroLength => Some(Stop::EmptyPath),
        }
    }

    fn span(&self, at: NodeId) -> Span {
        self.gateway.locator.config.span(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::World;

    /// The way as text: `path location`, and how it ends.
    fn way(http: &str, target: &str) -> String {
        let gateway = World::http(http).gateway();
        let served = gateway.serve(0, &RequestVars::of_request("GET", target, Some("a.example"))).unwrap();
        let name = |route: RouteId| gateway.route(route).location.as_deref().unwrap_or("server");
        let steps: Vec<String> =
            served.steps.iter().map(|step| format!("{} {}", step.path, name(step.route))).collect();
        let stop = match served.stop {
            Stop::Conditional { at } => format!("if {}", at.line),
            Stop::Redirect { status, .. } => format!("redirect {status}"),
            Stop::Return { status, .. } => format!("return {status}"),
            stop => format!("{stop:?}").to_ascii_lowercase(),
        };
        let undecided = if served.undecided.is_empty() { "" } else { " ?" };
        format!("{} -> {stop}{undecided}", steps.join(", "))
    }

    #[test]
    fn rewrites_lead_from_location_to_location() {
        let http = "server { rewrite ^/old/(.*) /new/$1;
            location /new/ { rewrite ^/new/x /last last; rewrite ^/new/y /broken break; }
            location /last { return 404; } location / { } }";
        assert_eq!(way(http, "/old/x"), "/new/x /new/, /last /last -> return 404");
        assert_eq!(way(http, "/new/y"), "/new/y /new/ -> route");
        assert_eq!(way(http, "/z"), "/z / -> route");
    }

    #[test]
    fn conditions_are_decided_by_what_is_known() {
        let http = "server { if ($host = a.example) { set $x 1; } if ($arg_k) { return 403; }
            location / { if ($x) { proxy_pass http://127.0.0.1:1; } if ($http_y) { return 410; } } }";
        assert_eq!(way(http, "/"), "/ / -> if 4 ?");
        assert_eq!(way(http, "/?k=1"), "/ server -> return 403");
        assert_eq!(way(http, "/?k=0"), "/ / -> if 4 ?");
    }

    #[test]
    fn circles_and_bad_requests_end() {
        let http = "server { location / { rewrite ^ /; } location /e { rewrite ^ $arg_q last; } }";
        assert!(way(http, "/").ends_with("-> cycle"));
        assert_eq!(way(http, "/../x"), " -> badrequest");
        assert!(way(http, "/e").ends_with("-> emptypath"));
    }

    #[test]
    fn a_missing_slash_and_absolute_targets_redirect() {
        let http = "server { location /x/ { proxy_pass http://127.0.0.1:1; }
            location /r { rewrite ^/r(.*) https://b.example$1 permanent; } location /t { return https://b.example; } }";
        assert_eq!(way(http, "/x"), "/x /x/ -> redirect 301");
        assert_eq!(way(http, "/r/1"), "/r/1 /r -> redirect 301");
        assert_eq!(way(http, "/t"), "/t /t -> return 302");
    }

    #[test]
    fn internal_locations_refuse_clients_only() {
        let http = "server { rewrite ^/r /i/x; location /i/ { internal; location /i/in/ { return 204; } return 203; }
            location /i/p/ { internal; proxy_pass http://127.0.0.1:1; } }";
        assert_eq!(way(http, "/i/x"), "/i/x /i/ -> internal");
        assert_eq!(way(http, "/i/in/x"), "/i/in/x /i/in/ -> internal", "nested locations inherit it");
        assert_eq!(way(http, "/i/p"), "/i/p /i/p/ -> internal", "before a missing slash redirects");
        assert_eq!(way(http, "/r"), "/i/x /i/ -> return 203", "a rewrite makes a request internal");
        let gateway = World::http(http).gateway();
        let served = gateway.serve_inside(0, &RequestVars::default().with("uri", "/i/x")).unwrap();
        assert!(matches!(served.stop, Stop::Return { status: 203, .. }));
    }

    #[test]
    fn only_a_written_question_mark_begins_arguments() {
        let http = "server { location /a { rewrite ^/a(.*) /b$1x last; } location /b? { return 201; }
            location /b { return 202; } }";
        assert_eq!(way(http, "/a%3Fy"), "/a?y /a, /b?yx /b? -> return 201");
    }

    #[test]
    fn paths_need_not_be_utf_8() {
        let http =
            "server { location ~ ^/.$ { rewrite ^/(.)$ /x/$1 last; } location ~ ^/x/.$ { return 201; } }";
        assert!(way(http, "/%ff").ends_with("-> return 201"));
    }

    #[test]
    fn slashes_are_merged_by_the_default_server_s_leave() {
        let http = "server { merge_slashes off; location /a//b { return 201; } location / { return 202; } }";
        assert_eq!(way(http, "/a//b"), "/a//b /a//b -> return 201");
        let merged = "server { location /a//b { return 201; } location / { return 202; } }";
        assert_eq!(way(merged, "/a//b"), "/a/b / -> return 202");
    }

    #[test]
    fn captures_of_a_location_s_pattern_are_known() {
        let http = "server { location ~ ^/u/(?<who>\\w+) { set $t $who; if ($t = bob) { return 204; } } }";
        assert_eq!(way(http, "/u/bob"), "/u/bob ~ ^/u/(?<who>\\w+) -> return 204");
        assert_eq!(way(http, "/u/eve"), "/u/eve ~ ^/u/(?<who>\\w+) -> route");
    }
}
