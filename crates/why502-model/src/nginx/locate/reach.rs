//! Where a request may go on from a route: internal redirects and subrequests.

use super::LocationName;
use crate::{Fallback, FallbackKind, Gateway, RequestVars, Route, RouteId};
use std::collections::{BTreeSet, VecDeque};

impl Gateway {
    /// The routes that a request of a route may go on to, the nearest first, the route itself included.
    pub fn reachable(&self, from: RouteId) -> Vec<RouteId> {
        self.reachable_with(from, None)
    }

    /// The same where the path of the request is known.
    pub(super) fn reachable_with(&self, from: RouteId, path: Option<&str>) -> Vec<RouteId> {
        let mut seen = BTreeSet::from([from]);
        let mut queue = VecDeque::from([(from, path.map(str::to_owned))]);
        let mut order = Vec::new();
        while let Some((id, path)) = queue.pop_front() {
            order.push(id);
            for fallback in self.fallbacks(id) {
                for next in self.lands_on(id, fallback, path.as_deref()) {
                    if seen.insert(next) {
                        // After a rewrite the path is another one; elsewhere it was replaced too.
                        queue.push_back((next, None));
                    }
                }
            }
        }
        order
    }

    /// The first fallback of a route that takes over a status.
    pub fn error_page(&self, route: RouteId, status: u16) -> Option<&Fallback> {
        let takes = |kind: &FallbackKind| matches!(kind, FallbackKind::ErrorPage { statuses, .. } if statuses.contains(&status));
        self.route(route).fallbacks.iter().find(|fallback| takes(&fallback.kind))
    }

    /// The fallbacks of a route, those under a condition included.
    fn fallbacks(&self, route: RouteId) -> impl Iterator<Item = &Fallback> {
        let route = self.route(route);
        route.fallbacks.iter().chain(route.conditionals.iter().flat_map(|own| &own.fallbacks))
    }

    /// The routes that a fallback may lead to.
    fn lands_on(&self, from: RouteId, fallback: &Fallback, path: Option<&str>) -> Vec<RouteId> {
        let route = self.route(from);
        if fallback.to.starts_with('@') {
            return self.find_route(route.server, &fallback.to).into_iter().collect();
        }
        let to = match fallback.kind {
            FallbackKind::Index => {
                let directory = path.map_or_else(|| self.directory_of(from, route), str::to_owned);
                format!("{}/{}", directory.trim_end_matches('/'), fallback.to.trim_start_matches('/'))
            }
            _ => fallback.to.clone(),
        };
        match to.split_once('$') {
            None if to.starts_with('/') => self.location_of(route.server, &to).into_iter().collect(),
            Some((known, _)) if known.starts_with('/') => {
                // Behind arguments, variables do not matter.
                if known.contains('?') {
                    return self.location_of(route.server, known).into_iter().collect();
                }
                self.locations_below(route.server, known)
            }
            _ => Vec::new(),
        }
    }

    /// The location that a path inside the server comes to.
    fn location_of(&self, server: usize, path: &str) -> Option<RouteId> {
        let mut request = RequestVars::default();
        request.set_path(path.split('?').next().unwrap_or(path));
        self.first_route(server, &request)
    }

    /// The locations for paths that begin so: the one for just that, those of longer paths, and those of patterns, of which
    /// the rest of the path decides.
    fn locations_below(&self, server: usize, begin: &str) -> Vec<RouteId> {
        let mut found: Vec<RouteId> = self.location_of(server, begin).into_iter().collect();
        let may_serve = |id: RouteId| match self.locator.name_of(id) {
            Some(LocationName::Pattern(..)) => true,
            Some(LocationName::Exact(path) | LocationName::Prefix { path, .. }) => path.starts_with(begin),
            Some(LocationName::Named(_)) | None => false,
        };
        let others =
            self.routes().filter(|(id, route)| route.server == server && may_serve(*id)).map(|(id, _)| id);
        found.extend(others);
        found
    }

    /// A directory that a route serves: its own path, or the root.
    fn directory_of(&self, id: RouteId, route: &Route) -> String {
        match (self.locator.name_of(id), &route.location) {
            (Some(LocationName::Exact(path) | LocationName::Prefix { path, .. }), Some(_)) => path.clone(),
            _ => "/".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::World;

    fn reach(http: &str, path: &str) -> Vec<String> {
        let gateway = World::http(http).gateway();
        let from = gateway.find_route(0, path).unwrap();
        let name = |id| gateway.route(id).location.clone().unwrap_or_else(|| "server".to_owned());
        gateway.reachable(from).into_iter().map(name).collect()
    }

    const SERVER: &str = "server {
        index index.php;
        auth_request /auth;
        error_page 502 @down;
        location / { try_files $uri $uri/ /app.php?$args; }
        location ~ \\.php$ { fastcgi_pass 127.0.0.1:9000; auth_request off; }
        location = /auth { internal; proxy_pass http://127.0.0.1:1; auth_request off; }
        location @down { return 503; }
        location /files/ { rewrite ^/files/(.*)$ /store/$1 last; error_page 404 https://b.example/; }
        location /store/ { proxy_pass http://127.0.0.1:2; }
        location /alone { if ($arg_x) { rewrite ^ /store/x last; } proxy_pass http://127.0.0.1:3; error_page 404 /nowhere; }
    }";

    #[test]
    fn every_way_on_is_followed() {
        let root = reach(SERVER, "/");
        assert_eq!(root[0], "/");
        for expected in ["= /auth", "~ \\.php$", "@down"] {
            assert!(root.iter().any(|name| name == expected), "{expected} in {root:?}");
        }
        assert!(!root.iter().any(|name| name == "/store/"), "{root:?}");
    }

    #[test]
    fn rewrites_with_captures_lead_below_what_is_known() {
        let files = reach(SERVER, "/files/x");
        assert_eq!(files[..2], ["/files/", "/store/"]);
    }

    #[test]
    fn fallbacks_under_a_condition_count() {
        assert!(reach(SERVER, "/alone").iter().any(|name| name == "/store/"));
    }

    #[test]
    fn error_pages_are_found_by_status() {
        let gateway = World::http(SERVER).gateway();
        let route = gateway.find_route(0, "/").unwrap();
        assert_eq!(gateway.error_page(route, 502).map(|page| page.to.as_str()), Some("@down"));
        assert!(gateway.error_page(route, 404).is_none());
    }
}
