//! Where a request may go on: rewrites, subrequests, `try_files`, `index`, `error_page`.

use crate::nginx::config::{Config, NodeId};
use crate::nginx::parameters::Levels;
use crate::{Action, Fallback, FallbackKind};

/// The fallbacks of a block, in the order of the phases in which they come.
pub(super) fn read_fallbacks(levels: &Levels<'_>, block: NodeId, action: &Action) -> Vec<Fallback> {
    let config = levels.config;
    let mut found = rewrites(config, block);
    // An answer of the configuration itself ends in the rewrite phase; only error pages may still come.
    if !matches!(action, Action::Return(_)) {
        found.extend(subrequest(levels, "auth_request", &FallbackKind::AuthRequest));
        found.extend(subrequest(levels, "mirror", &FallbackKind::Mirror));
        for directive in ["add_before_body", "add_after_body"] {
            found.extend(subrequest(levels, directive, &FallbackKind::Addition));
        }
        found.extend(try_files(config, block));
        if *action == Action::Local {
            found.extend(indices(levels));
        }
    }
    found.extend(levels.nearest("error_page").into_iter().filter_map(|id| error_page(config, id)));
    found
}

/// Those that stand in a block under a condition itself.
pub(super) fn read_own_fallbacks(config: &Config, block: NodeId) -> Vec<Fallback> {
    let mut found = rewrites(config, block);
    found.extend(config.named(Some(block), "error_page").filter_map(|id| error_page(config, id)));
    found
}

fn rewrites(config: &Config, block: NodeId) -> Vec<Fallback> {
    let mut found = Vec::new();
    for id in config.named(Some(block), "rewrite") {
        let node = config.node(id);
        // `redirect`, `permanent` and an absolute URL answer; `break` stays in the location.
        let leaves = matches!(node.arg(2), None | Some("last"));
        let is_path = |to: &&str| {
            leaves && !["http://", "https://", "$scheme"].iter().any(|begin| to.starts_with(begin))
        };
        if let Some(to) = node.arg(1).filter(is_path) {
            let to = to.split('?').next().unwrap_or(to).to_owned();
            found.push(Fallback { kind: FallbackKind::Rewrite, to, at: config.arg_span(id, 1) });
        }
    }
    found
}

fn subrequest(levels: &Levels<'_>, directive: &str, kind: &FallbackKind) -> Vec<Fallback> {
    let to = |id: NodeId| {
        let to = levels.config.node(id).arg(0).filter(|to| *to != "off")?;
        Some(Fallback { kind: kind.clone(), to: to.to_owned(), at: levels.at(id) })
    };
    levels.nearest(directive).into_iter().filter_map(to).collect()
}

/// `try_files` is not inherited; its last argument is a path, a name or `=status`.
fn try_files(config: &Config, block: NodeId) -> Option<Fallback> {
    let id = config.named(Some(block), "try_files").last()?;
    let last = config.node(id).args.len().checked_sub(1)?;
    let to = config.node(id).arg(last)?;
    let to = to.split('?').next().unwrap_or(to).to_owned();
    Some(Fallback { kind: FallbackKind::TryFiles, to, at: config.arg_span(id, last) })
}

fn indices(levels: &Levels<'_>) -> Vec<Fallback> {
    let Some(id) = levels.last("index") else { return Vec::new() };
    let node = levels.config.node(id);
    let index = |(at, name): (usize, &str)| Fallback {
        kind: FallbackKind::Index,
        to: name.to_owned(),
        at: levels.config.arg_span(id, at),
    };
    node.values().enumerate().map(index).collect()
}

/// `error_page CODE… [=[STATUS]] URI`.
fn error_page(config: &Config, id: NodeId) -> Option<Fallback> {
    let values: Vec<&str> = config.node(id).values().collect();
    let (to, rest) = values.split_last()?;
    let becomes =
        rest.iter().find_map(|value| value.strip_prefix('=')).map(|status| status.parse().unwrap_or(0));
    let statuses = rest.iter().filter_map(|value| value.parse().ok()).collect();
    Some(Fallback {
        kind: FallbackKind::ErrorPage { statuses, becomes },
        to: (*to).to_owned(),
        at: config.arg_span(id, values.len() - 1),
    })
}

#[cfg(test)]
mod tests {
    use crate::FallbackKind;
    use crate::testing::World;

    fn fallbacks(http: &str) -> Vec<String> {
        let gateway = World::http(http).gateway();
        let name = |kind: &FallbackKind| match kind {
            FallbackKind::ErrorPage { statuses, becomes } => format!("{statuses:?}{becomes:?}"),
            kind => format!("{kind:?}"),
        };
        let last = gateway.routes.last().unwrap();
        last.fallbacks.iter().map(|own| format!("{} {}", name(&own.kind), own.to)).collect()
    }

    #[test]
    fn subrequests_and_error_pages_are_inherited_and_try_files_is_not() {
        let server = "auth_request /auth; error_page 502 503 =200 /down; try_files $uri @a; mirror /m; index a.php b.html; add_after_body /foot;";
        let found = fallbacks(&format!("server {{ {server} location / {{ }} }}"));
        let inherited = [
            "AuthRequest /auth",
            "Mirror /m",
            "Addition /foot",
            "Index a.php",
            "Index b.html",
            "[502, 503]Some(200) /down",
        ];
        assert_eq!(found, inherited);
    }

    #[test]
    fn a_lower_level_replaces_what_it_inherits() {
        let http = "error_page 502 /a; server { error_page 504 = /b; location / { error_page 500 @c; auth_request off; proxy_pass http://127.0.0.1; } }";
        assert_eq!(fallbacks(http), ["[500]None @c"]);
    }

    #[test]
    fn rewrites_that_answer_or_stay_lead_nowhere() {
        let http = "server { location / { rewrite ^/a /b?x=1 last; rewrite ^/c /d break; rewrite ^/e https://x/; rewrite ^/f /g permanent; } }";
        assert_eq!(fallbacks(http), ["Rewrite /b"]);
    }

    #[test]
    fn an_answer_of_the_configuration_goes_to_error_pages_only() {
        let http = "server { error_page 503 /m.html; auth_request /auth; location / { return 503; } }";
        assert_eq!(fallbacks(http), ["[503]None /m.html"]);
    }
}
