//! One gateway, from its instance and its files.

use super::instance::Instance;
use super::loader::{Origin, load};
use super::locate::Locator;
use super::logs::read_logs;
use super::parameters::Levels;
use super::routes::read_routes;
use super::upstreams::Groups;
use crate::{Gateway, Setting};
use why502_facts::{Ask, Facts};

/// Builds the gateway of an instance as far as the facts go, and what is still wanted for it.
pub(crate) fn build_gateway(facts: &Facts, instance: Instance) -> (Gateway, Vec<Ask>) {
    let offline = facts.manifest.invocation.offline;
    let origin = Origin { root: instance.root, path: instance.config.clone(), offline };
    let mut config = load(facts, &origin);
    let mut groups = Groups::read(&config, facts, instance.security, instance.version);
    let routes = read_routes(&config, &mut groups, instance.version);
    let mut asks = std::mem::take(&mut config.asks);
    asks.append(&mut groups.asks);
    let main = Levels { config: &config, blocks: vec![None] };
    let user = main
        .last("user")
        .and_then(|id| Some(Setting { value: config.node(id).arg(0)?.to_owned(), at: Some(main.at(id)) }));
    let logs = read_logs(&config, &routes, &instance.prefix, &instance.compiled);
    let gateway = Gateway {
        kind: "nginx",
        flavour: instance.flavour,
        version: instance.version,
        version_text: instance.version_text,
        master: instance.master,
        workers: instance.workers,
        loaded: instance.loaded,
        binary: instance.binary,
        config: instance.config,
        prefix: instance.prefix,
        root: instance.root,
        security: instance.security,
        user,
        locator: Locator::new(&routes.servers, &routes.routes),
        servers: routes.servers,
        routes: routes.routes,
        groups: groups.groups,
        logs,
        problems: config.problems,
        unread: config.unread,
        sources: config.files.into_iter().map(|(source, _)| source).collect(),
    };
    (gateway, asks)
}
