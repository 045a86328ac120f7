//! The ends: of an `http` block, and of the whole configuration.

use super::Checker;
use super::walk::Start;
use crate::Span;
use crate::nginx::config::NodeId;
use std::sync::Arc;

impl Checker<'_, '_> {
    /// What follows the `}` of `http` (`ngx_http_block`): groups, merged levels, locations, modules, variables, names.
    pub(super) fn end_http(&mut self, http: NodeId) {
        self.init_upstreams();
        self.certificate_keys(http);
        self.merge(http);
        let servers: Vec<NodeId> = self.config.named(Some(http), "server").collect();
        for server in servers {
            self.duplicate_locations(server);
        }
        self.certificates();
        self.unknown_variables();
        self.name_tables();
    }

    /// What follows the end of the file (`ngx_init_cycle`).
    pub(super) fn finish(&mut self, start: Start) {
        let config = self.config;
        if start == Start::Main && config.named(None, "events").next().is_none() && config.is_complete() {
            let file = config.files.iter().find(|source| source.path.starts_with('/'));
            if let Some(source) = file {
                let at = Span { file: Arc::clone(&source.path), line: 1, column: 1, begin: 0, end: 0 };
                self.refuse_unplaced(at, "no \"events\" section in configuration");
            }
        }
        self.unsized_zones();
    }
}
