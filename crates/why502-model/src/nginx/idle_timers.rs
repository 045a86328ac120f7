//! Timeouts that somebody set where nothing uses them.

use super::values::parse_time;
use crate::{Gateway, Pass, Protocol, Setting, Span};
use nginx_syntax::{Block, Directive, Tree};
use std::sync::Arc;
use std::time::Duration;
use why502_facts::lossy;

/// The protocols whose passes have a read timeout of their own.
const PROTOCOLS: [Protocol; 6] =
    [Protocol::FastCgi, Protocol::Grpc, Protocol::Http, Protocol::Memcached, Protocol::Scgi, Protocol::Uwsgi];

impl Gateway {
    /// The read timeouts of other protocols that are set around a pass, by the names of their directives and the innermost
    /// first, in blocks in which nothing speaks their protocol: whoever set them there meant this pass, and they do nothing.
    /// Only the file in which the pass stands is looked at.
    pub fn idle_read_timeouts(&self, pass: &Pass) -> Vec<(String, Setting<Duration>)> {
        let tree = self.source(&pass.at.file).map(|source| &source.tree);
        let Some(directive) = tree.and_then(|tree| tree.directive_at(pass.at.begin)) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for block in directive.ancestors().filter_map(Directive::block) {
            for protocol in PROTOCOLS.into_iter().filter(|protocol| *protocol != pass.protocol) {
                let name = format!("{}_read_timeout", protocol.prefix());
                let Some(timer) = block.named(name.as_bytes()).last() else { continue };
                if let Some(setting) = setting(timer, &pass.at.file)
                    && !self.speaks(block, protocol)
                {
                    found.push((name, setting));
                }
            }
        }
        found
    }

    /// Whether a pass of a protocol stands in a block, or may stand in a file that is included there.
    fn speaks(&self, block: Block<'_>, protocol: Protocol) -> bool {
        let name = format!("{}_pass", protocol.prefix());
        let has_pass = |tree: &Tree| tree.walk().any(|(_, directive)| directive.is(name.as_bytes()));
        let mut includes = false;
        for (_, directive) in block.walk() {
            if directive.is(name.as_bytes()) {
                return true;
            }
            includes |= directive.is(b"include");
        }
        includes && self.sources.iter().any(|source| has_pass(&source.tree))
    }
}

fn setting(directive: Directive<'_>, file: &Arc<str>) -> Option<Setting<Duration>> {
    let argument = directive.argument(0)?;
    let value = parse_time(&lossy(&argument.value()))?;
    let range = argument.content_range();
    let position = directive.tree().line_column(range.start);
    let at = Span {
        file: Arc::clone(file),
        line: position.line,
        column: position.column,
        begin: range.start,
        end: range.end,
    };
    Some(Setting { value, at: Some(at) })
}

#[cfg(test)]
mod tests {
    use crate::testing::World;

    fn idle(http: &str) -> Vec<(String, u64, u32)> {
        let gateway = World::http(http).gateway();
        let pass = gateway.routes.iter().find_map(|route| route.action.pass()).unwrap();
        let timers = gateway.idle_read_timeouts(pass).into_iter();
        timers.map(|(name, own)| (name, own.value.as_secs(), own.at.map_or(0, |at| at.line))).collect()
    }

    #[test]
    fn a_timer_of_a_protocol_that_nothing_speaks_there_is_idle() {
        let proxied = "location / {\nfastcgi_read_timeout 300s;\nproxy_read_timeout 5s;\nproxy_pass http://127.0.0.1; }";
        let [(name, seconds, line)] = &*idle(&format!("server {{ {proxied} }}")) else { panic!() };
        assert_eq!((name.as_str(), *seconds), ("fastcgi_read_timeout", 300));
        assert!(*line > 0);
        // The same for a PHP location of the server is in use.
        let server = "server { fastcgi_read_timeout 300s; location / { proxy_pass http://127.0.0.1; } ";
        assert_eq!(idle(&format!("{server} }}")).len(), 1);
        assert!(idle(&format!("{server} location /php {{ fastcgi_pass 127.0.0.1:9000; }} }}")).is_empty());
    }

    #[test]
    fn what_is_included_may_use_it() {
        let proxied =
            "server { location / { include /x; uwsgi_read_timeout 1h; proxy_pass http://127.0.0.1; } ";
        assert_eq!(idle(&format!("{proxied} }}")).len(), 1);
        assert!(idle(&format!("{proxied} location /py {{ uwsgi_pass 127.0.0.1:9000; }} }}")).is_empty());
    }
}
