//! One gateway, from its instance and its files.

use super::check::check;
use super::instance::Instance;
use super::loader::{Origin, load};
use super::locate::Locator;
use super::logs::{DefaultLogs, read_logs};
use super::modules::Modules;
use super::parameters::Levels;
use super::routes::{Setup, read_routes};
use super::storage::default_temporary_paths;
use super::upstreams::Groups;
use super::variables::Book;
use crate::{Gateway, Setting, Source};
use std::sync::Arc;
use why502_facts::{Ask, Facts};

/// Builds the gateway of an instance as far as the facts go, and what is still wanted for it.
pub(crate) fn build_gateway(facts: &Facts, instance: Instance) -> (Gateway, Vec<Ask>) {
    let origin = Origin {
        root: instance.root,
        path: instance.config.clone(),
        offline: facts.manifest.invocation.offline,
        guessed: instance.is_guessed,
        directives: instance.directives.clone(),
    };
    let mut config = load(facts, &origin);
    let mut asks = std::mem::take(&mut config.asks);
    // What is still to be read may define anything: only the complete configuration is judged.
    let is_whole = asks.is_empty();
    let version = instance.build.version;
    let mut groups = Groups::read(&config, facts, instance.security, version);
    let book = Arc::new(Book::new(&config));
    let setup = Setup { config: &config, book: &book, version, is_root: instance.is_root };
    let routes = read_routes(setup, &mut groups);
    let modules = modules(&config, &instance);
    let problems = if is_whole { check(&config, &modules, &mut groups) } else { Vec::new() };
    asks.append(&mut groups.asks);
    let defaults = DefaultLogs {
        prefix: instance.prefix.clone(),
        error: instance
            .error_log
            .clone()
            .or_else(|| instance.build.path("--error-log-path", "logs/error.log", &instance.prefix)),
        access: instance.build.path("--http-log-path", "logs/access.log", &instance.prefix),
        is_running: instance.master.is_some(),
    };
    let default_temporary_paths = default_temporary_paths(&instance);
    let sources = files(&config);
    // Where nobody knows which configuration a master has, nobody knows where its binary logs by default.
    let is_unknown =
        !origin.offline && sources.is_empty() && (instance.is_guessed || instance.config.is_empty());
    let logs = if is_unknown { Vec::new() } else { read_logs(&config, &routes, &defaults) };
    let user = user(&config);
    let mut unread = instance.gaps;
    unread.append(&mut config.unread);
    let locator = Locator::new(Arc::new(config), book, &routes);
    let gateway = Gateway {
        kind: "nginx",
        flavour: instance.build.flavour,
        version,
        version_text: instance.build.version_text,
        master: instance.master,
        workers: instance.workers,
        loaded: instance.loaded,
        binary: instance.binary,
        config: instance.config,
        prefix: instance.prefix,
        root: instance.root,
        security: instance.security,
        default_temporary_paths,
        user,
        locator,
        servers: routes.servers,
        routes: routes.routes,
        groups: groups.groups,
        logs,
        problems,
        unread,
        sources,
    };
    (gateway, asks)
}

/// The files; what the option `-g` holds is none.
fn files(config: &super::config::Config) -> Vec<Source> {
    config.files.iter().filter(|source| source.path.starts_with('/')).cloned().collect()
}

fn user(config: &super::config::Config) -> Option<Setting<String>> {
    let main = Levels { config, blocks: vec![None] };
    let id = main.last("user")?;
    Some(Setting { value: config.node(id).arg(0)?.to_owned(), at: Some(main.at(id)) })
}

fn modules(config: &super::config::Config, instance: &Instance) -> Modules {
    let loaded = config.named(None, "load_module").filter_map(|id| config.node(id).arg(0));
    Modules {
        flavour: instance.build.flavour.clone(),
        version: instance.build.version,
        options: instance.build.options.clone(),
        loaded: loaded.map(|path| path.rsplit('/').next().unwrap_or(path).to_owned()).collect(),
    }
}
