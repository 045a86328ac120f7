//! TLS with clients: certificates, keys, the cache of sessions.

use super::Checker;
use super::zones::{Named, PAGE};
use crate::nginx::config::NodeId;
use crate::nginx::parameters::Levels;
use crate::nginx::values::{parse_flag, parse_number, parse_size};

impl Checker<'_, '_> {
    /// `ngx_http_ssl_session_cache`.
    pub(super) fn session_cache(&mut self, id: NodeId) {
        for (at, word) in self.words(id).into_iter().enumerate() {
            let invalid = format!("invalid session cache \"{word}\"");
            if matches!(word, "off" | "none" | "builtin") {
                continue;
            }
            if let Some(number) = word.strip_prefix("builtin:") {
                if parse_number(number).is_none() {
                    return self.refuse_arg(id, at, invalid);
                }
                continue;
            }
            let zone = word.strip_prefix("shared:").and_then(|zone| zone.split_once(':'));
            let sized = zone.and_then(|(name, size)| Some((name, parse_size(size)?)));
            let Some((name, size)) = sized.filter(|(name, _)| !name.is_empty()) else {
                return self.refuse_arg(id, at, invalid);
            };
            if size < 8 * PAGE {
                return self.refuse_arg(id, at, format!("session cache \"{word}\" is too small"));
            }
            if self.name_zone(id, at, &Named { name, module: "ssl", size }).is_none() {
                return;
            }
        }
    }

    /// Every certificate of a server has its key (`ngx_http_ssl_merge_srv_conf`).
    pub(super) fn certificate_keys(&mut self, http: NodeId) {
        let config = self.config;
        if !config.is_complete() {
            return;
        }
        for server in config.named(Some(http), "server") {
            let levels = Levels::of(config, server);
            let (certificates, keys) =
                (levels.nearest("ssl_certificate"), levels.nearest("ssl_certificate_key"));
            // Gone since 1.25.1.
            let switch =
                levels.last("ssl").filter(|id| config.node(*id).arg(0).and_then(parse_flag) == Some(true));
            match (switch, certificates.last()) {
                (Some(switch), None) => {
                    return self
                        .refuse(switch, "no \"ssl_certificate\" is defined for the \"ssl\" directive");
                }
                (Some(switch), Some(_)) if keys.is_empty() => {
                    let words = "no \"ssl_certificate_key\" is defined for the \"ssl\" directive";
                    return self.refuse(switch, words);
                }
                (switch, Some(last)) if keys.len() < certificates.len() => {
                    let file = config.node(*last).arg(0).unwrap_or_default();
                    let words = format!("no \"ssl_certificate_key\" is defined for certificate \"{file}\"");
                    return match switch {
                        Some(switch) => self.refuse(switch, format!("{words} and the \"ssl\" directive")),
                        None => self.refuse_unplaced(config.span(*last), words),
                    };
                }
                _ => {}
            }
        }
    }

    /// Sockets with TLS need a certificate (`ngx_http_ssl_init`).
    pub(super) fn certificates(&mut self) {
        let config = self.config;
        let has = |server: NodeId, name: &str| {
            let levels = Levels::of(config, server);
            levels.last(name).is_some_and(|id| config.node(id).arg(0) != Some("off"))
        };
        let lacks = |server: &&NodeId| !has(**server, "ssl_certificate");
        let mut found: Option<NodeId> = None;
        for listening in self.listens.addresses.iter().filter(|own| own.tls) {
            let default = listening.default;
            if !lacks(&&default) || found.is_some() {
                continue;
            }
            found = if has(default, "ssl_reject_handshake") {
                let others = listening.servers.iter().filter(|server| !has(**server, "ssl_reject_handshake"));
                others.into_iter().find(lacks).copied()
            } else {
                Some(default)
            };
        }
        if let Some(server) = found.filter(|_| config.is_complete()) {
            self.refuse(server, "no \"ssl_certificate\" is defined for the \"listen ... ssl\" directive");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::first;

    #[test]
    fn session_caches_are_looked_at() {
        for (cache, words) in [
            ("shared:S", "invalid session cache \"shared:S\" :1"),
            ("shared::1m", "invalid session cache \"shared::1m\" :1"),
            ("builtin:x", "invalid session cache \"builtin:x\" :1"),
            ("shared:S:1k", "session cache \"shared:S:1k\" is too small :1"),
        ] {
            assert_eq!(first(&format!("ssl_session_cache {cache};")).as_deref(), Some(words), "{cache}");
        }
        assert_eq!(
            first("ssl_session_cache builtin:100 shared:S:1m; server { ssl_session_cache off; }"),
            None
        );
    }

    #[test]
    fn certificates_have_keys() {
        for (http, words) in [
            (
                "server { ssl_certificate /a; }",
                "no \"ssl_certificate_key\" is defined for certificate \"/a\"",
            ),
            (
                "ssl_certificate /a; ssl_certificate_key /b; server { ssl_certificate /c; ssl_certificate /d; }",
                "no \"ssl_certificate_key\" is defined for certificate \"/d\"",
            ),
            ("server { ssl on; }", "no \"ssl_certificate\" is defined for the \"ssl\" directive :1"),
            (
                "server { ssl on; ssl_certificate /a; }",
                "no \"ssl_certificate_key\" is defined for the \"ssl\" directive :1",
            ),
        ] {
            assert_eq!(first(http).as_deref(), Some(words), "{http}");
        }
        assert_eq!(first("ssl_certificate /a; ssl_certificate_key /b; server { }"), None);
    }
}
