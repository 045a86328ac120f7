//! What is known of a request when it comes to a route, over fallbacks too, and what texts with variables become there.

use super::LocationName;
use super::serve::{Sender, Walk};
use crate::nginx::parameters::Levels;
use crate::nginx::script::Run;
use crate::nginx::variables::{Scope, Template};
use crate::{Fallback, FallbackKind, Gateway, RequestVars, RouteId, Stop};

/// Over so many internal redirects a request is followed.
const MAX_REDIRECTS: usize = 4;

/// A request that has come to a route.
#[derive(Debug)]
pub struct Arrival<'a> {
    gateway: &'a Gateway,
    route: RouteId,
    run: Run,
}

impl Gateway {
    /// A client's request where it comes to a route, over rewrites and what a route falls back to; `None` where it is not
    /// seen to come there. Files are not looked at: every fallback may be taken.
    pub fn arrive(&self, request: &RequestVars, route: RouteId) -> Option<Arrival<'_>> {
        let run = self.begin(self.route(route).server, request)?;
        self.arrive_after(run, route, Sender::Client, 0)
    }

    fn arrive_after(&self, run: Run, route: RouteId, sender: Sender, n_before: usize) -> Option<Arrival<'_>> {
        let server = *self.locator.server_routes.get(self.route(route).server)?;
        let mut walk = Walk { gateway: self, run, sender, steps: Vec::new() };
        let stop = walk.go(server);
        let last = walk.steps.last()?.route;
        if !matches!(stop, Stop::Route | Stop::Conditional { .. }) {
            return None;
        }
        if last == route {
            return Some(Arrival { gateway: self, route, run: walk.run });
        }
        if n_before >= MAX_REDIRECTS {
            return None;
        }
        let here = Arrival { gateway: self, route: last, run: walk.run };
        let fallbacks = &self.route(last).fallbacks;
        fallbacks.iter().find_map(|fallback| here.follow(fallback, route, n_before))
    }
}

impl<'a> Arrival<'a> {
    /// Follows a fallback of the route to another one.
    fn follow(&self, fallback: &Fallback, route: RouteId, n_before: usize) -> Option<Self> {
        if fallback.kind == FallbackKind::Rewrite {
            return None;
        }
        if fallback.to.starts_with('@') {
            let named = self.gateway.find_route(self.gateway.route(route).server, &fallback.to)?;
            let mut walk = Walk {
                gateway: self.gateway,
                run: self.run.clone(),
                sender: Sender::Gateway,
                steps: Vec::new(),
            };
            let is_over = walk.rewrite(named).is_some();
            return (named == route && !is_over).then_some(Self {
                gateway: self.gateway,
                route,
                run: walk.run,
            });
        }
        let to = self.text(&fallback.to)?;
        let to = match (&fallback.kind, self.known("uri")?) {
            (FallbackKind::Index, uri) if !uri.ends_with('/') => return None,
            (FallbackKind::Index, uri) if !to.starts_with('/') => format!("{uri}{to}"),
            _ => to,
        };
        let (path, args) = to.split_once('?').map_or((to.as_str(), None), |(path, args)| (path, Some(args)));
        let mut run = Run { known: self.run.known.clone(), ..Run::default() };
        run.state.sets.clone_from(&self.run.state.sets);
        run.known.set_path(path);
        if let Some(args) = args {
            run.known.set_args(args);
        }
        path.starts_with('/').then_some(())?;
        self.gateway.arrive_after(run, route, Sender::Gateway, n_before + 1)
    }

    /// What a text with variables becomes here; `None` where what is known does not decide it.
    pub fn text(&self, text: &str) -> Option<String> {
        let locator = &self.gateway.locator;
        let evaluated = Scope::new(&locator.book, &self.run.state, &self.run.known).text(text);
        evaluated.only().map(str::to_owned)
    }

    /// A variable that is known of the request.
    pub fn known(&self, name: &str) -> Option<&str> {
        self.run.known.get(name)
    }

    /// Makes a variable known.
    pub fn set(&mut self, name: &str, value: &str) {
        self.run.known.set(name, value);
    }

    /// The variables of a text of which nothing is known.
    pub(crate) fn unknown_in<'t>(&self, template: &'t Template) -> impl Iterator<Item = &'t str> {
        let is_unknown = |name: &&str| self.text(&format!("${{{name}}}")).is_none();
        template.variables().filter(is_unknown)
    }

    /// What is in force here.
    pub(crate) fn levels(&self) -> Levels<'a> {
        Levels::of(&self.gateway.locator.config, self.gateway.locator.blocks[self.route.0])
    }

    /// What the location replaces where it has an `alias`: its prefix; `None` for a pattern.
    pub(crate) fn prefix(&self) -> Option<&'a str> {
        match self.gateway.locator.name_of(self.route)? {
            LocationName::Exact(path) | LocationName::Prefix { path, .. } => Some(path),
            LocationName::Named(_) | LocationName::Pattern(..) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::World;
    use crate::{RequestVars, RouteId};

    /// What a text becomes in the last route that has `here` as a header's value, for a path.
    fn arrives(http: &str, path: &str, text: &str) -> Option<String> {
        let gateway = World::http(http).gateway();
        let is_it = |(_, route): &(RouteId, &crate::Route)| {
            route.action.pass().is_some_and(|pass| pass.protocol == crate::Protocol::FastCgi)
        };
        let (route, _) = gateway.routes().find(is_it).unwrap();
        gateway.arrive(&RequestVars::of_request("HEAD", path, Some("a.example")), route)?.text(text)
    }

    const FRONT: &str = "server { location / { try_files $uri $uri/ /index.php?$args; }
        location ~ \\.php$ { set $who $host; fastcgi_pass 127.0.0.1:9000; } }";

    #[test]
    fn a_front_controller_is_come_to_over_try_files() {
        assert_eq!(
            arrives(FRONT, "/shop/1?x=1", "$uri $args $who").as_deref(),
            Some("/index.php x=1 a.example")
        );
        assert_eq!(arrives(FRONT, "/a.php", "$uri $request_uri").as_deref(), Some("/a.php /a.php"));
    }

    #[test]
    fn an_index_and_a_named_location_are_ways_too() {
        let index = FRONT.replace("try_files $uri $uri/ /index.php?$args;", "index index.php;");
        assert_eq!(arrives(&index, "/blog/", "$uri").as_deref(), Some("/blog/index.php"));
        assert_eq!(arrives(&index, "/blog", "$uri"), None);
        let named =
            "server { location / { try_files $uri @php; } location @php { fastcgi_pass 127.0.0.1:1; } }";
        assert_eq!(arrives(named, "/x", "$uri").as_deref(), Some("/x"));
    }

    #[test]
    fn what_nobody_knows_is_not_made_up() {
        assert_eq!(arrives(FRONT, "/a.php", "$upstream_addr"), None);
        assert_eq!(
            arrives(
                "server { location /a { return 200; } location /b { fastcgi_pass 127.0.0.1:1; } }",
                "/a",
                "x"
            ),
            None
        );
    }
}
