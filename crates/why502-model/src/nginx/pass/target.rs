//! To whom a pass leads: a group, or what variables decide when a request comes.

use super::Place;
use crate::nginx::address::{Use, parse_url, strip_prefix_ignore_case};
use crate::nginx::upstreams::Groups;
use crate::nginx::variables::{Evaluated, Expression, Part, Template};
use crate::{Host, Pass, Protocol, RequestVars, Setting, Span, Target, Unresolved};

/// The parts of a target as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url<'a> {
    /// Whether it is spoken to through TLS.
    pub(crate) tls: bool,
    /// What stands behind the scheme: host, port and URI.
    pub(crate) rest: &'a str,
    /// The port where none is written.
    pub(crate) default_port: Option<u16>,
    /// Whether a scheme was there, where one may be.
    pub(crate) has_scheme: bool,
}

/// Where a pass aims.
pub(super) struct Aim {
    pub(super) tls: bool,
    pub(super) target: Target,
    pub(super) path: Option<String>,
}

/// Reads where a pass aims; `None` where nginx refuses it.
pub(super) fn aim(
    text: &str,
    protocol: Protocol,
    place: &Place<'_>,
    groups: &mut Groups<'_>,
    at: &Span,
) -> Option<Aim> {
    if !text.contains('$') {
        let url = split_url(protocol, text);
        if protocol == Protocol::Http && !url.has_scheme {
            return None;
        }
        let (group, path) = literal(&url, protocol, groups, at)?;
        return Some(Aim { tls: url.tls, target: Target::Group(group), path });
    }
    let expression = place.expression(text);
    let evaluated = expression.evaluate(&RequestVars::default());
    if let Some(found) = shortcut(&evaluated, protocol, groups, at) {
        return Some(found);
    }
    let tls = split_url(protocol, text).tls;
    Some(Aim {
        tls,
        target: Target::Unresolved(unresolved(expression, evaluated, protocol, place, groups)),
        path: None,
    })
}

/// Takes the scheme off.
pub(crate) fn split_url(protocol: Protocol, text: &str) -> Url<'_> {
    let schemes: &[(&str, bool, Option<u16>)] = match protocol {
        Protocol::Http => &[("http://", false, Some(80)), ("https://", true, Some(443))],
        Protocol::Grpc => &[("grpc://", false, None), ("grpcs://", true, None)],
        Protocol::Uwsgi => &[("uwsgi://", false, None), ("suwsgi://", true, None)],
        Protocol::FastCgi | Protocol::Scgi | Protocol::Memcached => &[],
    };
    let matched = schemes.iter().find_map(|(scheme, tls, port)| {
        strip_prefix_ignore_case(text, scheme).map(|rest| (rest, *tls, *port))
    });
    match matched {
        Some((rest, tls, default_port)) => Url { tls, rest, default_port, has_scheme: true },
        None => Url { tls: false, rest: text, default_port: None, has_scheme: false },
    }
}

/// The group of a target without variables, and its URI.
fn literal(
    url: &Url<'_>,
    protocol: Protocol,
    groups: &mut Groups<'_>,
    at: &Span,
) -> Option<(crate::GroupId, Option<String>)> {
    let purpose = if protocol == Protocol::Http { Use::Target } else { Use::Peer };
    let address = parse_url(url.rest, purpose).ok()?;
    let path = address.uri.clone();
    Some((groups.of_pass(address, url.default_port, at), path))
}

/// A target with variables that can only become one group or literal address is that: nginx looks a value up among its
/// groups before it asks a resolver (`ngx_http_upstream_init_request`).
fn shortcut(evaluated: &Evaluated, protocol: Protocol, groups: &mut Groups<'_>, at: &Span) -> Option<Aim> {
    let url = split_url(protocol, evaluated.only()?);
    let address = parse_url(url.rest, Use::Target).ok()?;
    let is_literal = match &address.host {
        Host::Name(name) => address.port.is_none() && groups.named(name).is_some(),
        Host::Ip(_) => address.port.or(url.default_port).is_some(),
        Host::Unix(_) => true,
    };
    if !is_literal || (protocol == Protocol::Http && !url.has_scheme) {
        return None;
    }
    let group = groups.of_pass(address, url.default_port, at);
    // With variables the URI is sent as it is: it replaces nothing.
    Some(Aim { tls: url.tls, target: Target::Group(group), path: None })
}

fn unresolved(
    expression: Expression,
    evaluated: Evaluated,
    protocol: Protocol,
    place: &Place<'_>,
    groups: &Groups<'_>,
) -> Unresolved {
    let levels = &place.levels;
    let resolver = levels.last("resolver").map(|id| {
        let servers = levels.config.node(id).values().filter(|value| !value.contains('='));
        Setting { value: servers.map(str::to_owned).collect(), at: Some(levels.at(id)) }
    });
    let template = Template::lenient(&expression.text);
    Unresolved {
        needs_resolver: needs_resolver(&evaluated, protocol, groups),
        drops_port: drops_port(&template),
        values: evaluated.values,
        complete: evaluated.complete,
        variables: template.variables().map(str::to_owned).collect(),
        resolver,
        expression,
    }
}

/// Says once more whether a target needs a resolver, now that all groups are known.
pub(crate) fn settle(pass: &mut Pass, groups: &Groups<'_>) {
    let protocol = pass.protocol;
    if let Target::Unresolved(own) = &mut pass.target {
        let evaluated = Evaluated { values: own.values.clone(), complete: own.complete };
        own.needs_resolver = needs_resolver(&evaluated, protocol, groups);
    }
}

/// Whether one of the values is a name that is no group.
fn needs_resolver(evaluated: &Evaluated, protocol: Protocol, groups: &Groups<'_>) -> Option<bool> {
    let is_name = |value: &String| {
        let url = split_url(protocol, value);
        let Ok(address) = parse_url(url.rest, Use::Target) else { return false };
        match &address.host {
            // A name with a port is served by a group only if some pass names it with that port.
            Host::Name(name) => {
                groups.named(name).is_none() && !groups.has_implicit(&address, url.default_port)
            }
            Host::Ip(_) | Host::Unix(_) => false,
        }
    };
    if evaluated.values.iter().any(is_name) {
        return Some(true);
    }
    evaluated.complete.then_some(false)
}

/// Whether the host is a variable that never holds a port, and none is written behind it.
fn drops_port(template: &Template) -> bool {
    let rest = match template.parts.as_slice() {
        [Part::Literal(scheme), rest @ ..] if scheme.ends_with("://") => rest,
        [Part::Variable(scheme), Part::Literal(mark), rest @ ..] if scheme == "scheme" && mark == "://" => {
            rest
        }
        _ => return false,
    };
    let has_no_port =
        |name: &str| matches!(name, "host" | "server_name" | "server_addr" | "hostname" | "ssl_server_name");
    match rest {
        [Part::Variable(name), rest @ ..] if has_no_port(name) => match rest.first() {
            Some(Part::Literal(text)) => !text.starts_with([':', '.', '-']),
            _ => true,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::World;
    use crate::{Gateway, RequestVars, Target, Unresolved};

    fn gateway(http: &str) -> Gateway {
        let mut world = World::http(http);
        world.name("app", &["10.0.0.9"]);
        world.gateway()
    }

    fn target(gateway: &Gateway) -> &Target {
        &gateway.routes.last().and_then(|route| route.action.pass()).expect("a pass").target
    }

    fn unresolved(gateway: &Gateway) -> &Unresolved {
        match target(gateway) {
            Target::Unresolved(unresolved) => unresolved,
            Target::Group(id) => panic!("group {id:?}"),
        }
    }

    fn group(gateway: &Gateway) -> Option<&str> {
        match target(gateway) {
            Target::Group(id) => Some(gateway.group(*id).peers[0].text.as_str()),
            Target::Unresolved(_) => None,
        }
    }

    #[test]
    fn a_name_in_another_case_is_the_group() {
        let gateway =
            gateway("upstream App { server 10.0.0.1; } server { location / { proxy_pass http://aPP/x; } }");
        assert_eq!(group(&gateway), Some("10.0.0.1"));
        assert_eq!(gateway.routes[1].action.pass().and_then(|pass| pass.path.as_deref()), Some("/x"));
    }

    #[test]
    fn what_nginx_refuses_is_no_pass() {
        for text in ["127.0.0.1:80", "http://", "http://a:0", "http://unix:"] {
            let gateway = gateway(&format!("server {{ location / {{ proxy_pass {text}; }} }}"));
            assert!(gateway.routes[1].action.pass().is_none(), "{text}");
        }
    }

    #[test]
    fn variables_that_decide_nothing_are_seen_through() {
        for http in [
            "server { set $b 10.0.0.1:80; location / { proxy_pass http://$b; } }",
            "server { location / { set $b 10.0.0.1; proxy_pass http://$b:80$request_uri; } }",
            "server { location / { set $a 10.0.0.1:80; set $b $a; proxy_pass http://$b/x$is_args$args; } }",
            "map $uri $b { default 10.0.0.1:80; } server { location / { proxy_pass http://$b; } }",
        ] {
            assert_eq!(group(&gateway(http)), Some("10.0.0.1:80"), "{http}");
        }
        let named = gateway(
            "upstream u { server 10.0.0.1; } server { location / { set $u u; proxy_pass http://$u; } }",
        );
        assert_eq!(group(&named), Some("10.0.0.1"));
    }

    #[test]
    fn a_nested_location_does_not_run_what_its_parent_sets() {
        let gateway =
            gateway("server { location / { set $b 10.0.0.1:80; location /n { proxy_pass http://$b; } } }");
        let own = unresolved(&gateway);
        assert_eq!(
            (own.values.as_slice(), own.complete),
            (&["http://".to_owned(), "http://10.0.0.1:80".to_owned()][..], false)
        );
    }

    #[test]
    fn what_a_request_decides_is_evaluated_for_it() {
        let gateway = gateway(
            "map $http_x_v $b { default app:1; v2 app:2; } server { set $c 1; if ($arg_c) { set $c $arg_c; }
             location ~ ^/u/(?<who>\\w+) { if ($request_method = POST) { set $b2 w; } proxy_pass http://$b/$c/$who; } }",
        );
        let own = unresolved(&gateway);
        assert_eq!(own.values, ["http://app:1/1/", "http://app:2/1/"]);
        assert!(!own.complete, "an argument decides");
        assert_eq!((own.needs_resolver, own.drops_port), (Some(true), false));
        let request = RequestVars::of_request("GET", "/u/bob?c=7", Some("h")).with("http_x_v", "v2");
        let values = own.values_for(&request);
        assert_eq!((values.values, values.complete), (vec!["http://app:2/7/bob".to_owned()], true));
    }

    #[test]
    fn a_condition_that_the_pass_stands_in_held() {
        let gateway = gateway(
            "server { location / { if ($http_x) { set $b 10.0.0.2:80; } if ($http_y) { set $b 10.0.0.3:80; proxy_pass http://$b; } } }",
        );
        let conditional =
            gateway.routes[1].conditionals[1].action.as_ref().and_then(crate::Action::pass).unwrap();
        let Target::Group(id) = &conditional.target else { panic!("decided") };
        assert_eq!(gateway.group(*id).peers[0].text, "10.0.0.3:80");
    }

    #[test]
    fn ports_are_dropped_by_variables_that_hold_none() {
        for (text, drops) in [
            ("http://$host", true),
            ("http://$host$request_uri", true),
            ("$scheme://$server_name/x", true),
            ("http://$host:8080", false),
            ("http://$http_host", false),
            ("http://$host.internal", false),
            ("http://app.$host", false),
        ] {
            let gateway = gateway(&format!("server {{ location / {{ proxy_pass {text}; }} }}"));
            assert_eq!(unresolved(&gateway).drops_port, drops, "{text}");
        }
    }

    #[test]
    fn the_resolver_in_force_is_named() {
        let gateway = gateway(
            "resolver 10.0.0.53 valid=30s; server { location / { resolver 10.0.0.54 10.0.0.55 ipv6=off; proxy_pass http://$host; } }",
        );
        let own = unresolved(&gateway);
        assert_eq!(
            own.resolver.as_ref().map(|own| own.value.clone()),
            Some(vec!["10.0.0.54".to_owned(), "10.0.0.55".to_owned()])
        );
        assert_eq!(own.needs_resolver, None, "anything may come");
    }

    #[test]
    fn a_name_that_another_pass_names_needs_no_resolver() {
        let gateway = gateway(
            "map $uri $b { default app:81; /x app:82; } server { location /a { proxy_pass http://app:81; }
             location / { proxy_pass http://$b; } } server { location / { proxy_pass http://app:82; } }",
        );
        let Some(Target::Unresolved(own)) = gateway.routes[2].action.pass().map(|pass| &pass.target) else {
            panic!("unresolved")
        };
        assert_eq!(own.needs_resolver, Some(false));
    }
}
