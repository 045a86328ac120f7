//! How many connections and files the workers may have.

use super::parameters::Levels;
use super::values::parse_number;
use crate::{Gateway, Setting, Span};

/// `DEFAULT_CONNECTIONS` of `src/event/ngx_event.c`.
const DEFAULT_CONNECTIONS: u64 = 512;

/// What a worker may have at once, as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerSettings {
    /// `worker_connections`: connections of clients and to upstreams together, listening sockets included.
    pub connections: Setting<u64>,
    /// `worker_rlimit_nofile`, if it is set.
    pub open_files: Option<Setting<u64>>,
    /// Where the `events` block stands; `None` where there is none.
    pub events: Option<Span>,
}

impl Gateway {
    /// What a worker may have at once.
    pub fn worker_settings(&self) -> WorkerSettings {
        let config = &self.locator.config;
        let main = Levels { config, blocks: vec![None] };
        let events = config.named(None, "events").next();
        let connections = match events {
            Some(events) => Levels { config, blocks: vec![Some(events)] }.setting(
                "worker_connections",
                parse_number,
                DEFAULT_CONNECTIONS,
            ),
            None => Setting::default_of(DEFAULT_CONNECTIONS),
        };
        let open_files = main.last("worker_rlimit_nofile").and_then(|id| {
            Some(Setting { value: parse_number(config.node(id).arg(0)?)?, at: Some(main.at(id)) })
        });
        WorkerSettings { connections, open_files, events: events.map(|id| config.span(id)) }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::World;

    #[test]
    fn what_is_set_and_what_is_by_default() {
        let settings = |main: &str| {
            let file = format!("#- /etc/nginx/nginx.conf\n{main} http {{ }}\n");
            World::live("1.22.1", &file).gateway().worker_settings()
        };
        let found = settings("worker_rlimit_nofile 4096; events { use epoll; worker_connections 768; }");
        assert_eq!((found.connections.value, found.open_files.map(|own| own.value)), (768, Some(4096)));
        assert!(found.connections.at.is_some() && found.events.is_some());
        let found = settings("events { }");
        assert_eq!((found.connections.value, found.connections.at, found.open_files), (512, None, None));
    }
}
