//! Buffers, retries, TLS and the cache of a pass.

use crate::nginx::config::NodeId;
use crate::nginx::parameters::Levels;
use crate::nginx::values::{TimeUnit, parse_flag, parse_number, parse_size, parse_time_in};
use crate::{Buffers, Protocol, ResponseCache, Retry, Setting, TlsSettings, Version};
use std::time::Duration;

/// A page of memory, in bytes: what buffers are as large as by default.
const PAGE: u64 = 4096;
/// What TLS offers by default: TLS 1.3 since 1.23.4, 1.0 and 1.1 until 1.27.3 (CHANGES).
const WITH_TLS_1_3: Version = Version(1, 23, 4);
const WITHOUT_OLD_TLS: Version = Version(1, 27, 3);

/// Reads the settings of one protocol at a place.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    pub(super) protocol: Protocol,
    pub(super) levels: &'a Levels<'a>,
    pub(super) version: Option<Version>,
}

impl Reader<'_> {
    fn name(&self, rest: &str) -> String {
        format!("{}_{rest}", self.protocol.prefix())
    }

    pub(super) fn time(&self, rest: &str, default: Duration) -> Setting<Duration> {
        self.levels.time(&self.name(rest), default)
    }

    pub(super) fn flag(&self, rest: &str, default: bool) -> Setting<bool> {
        self.levels.flag(&self.name(rest), default)
    }

    /// The first argument of a directive that has no default.
    pub(super) fn optional(&self, rest: &str) -> Option<Setting<String>> {
        let id = self.levels.last(&self.name(rest))?;
        let value = self.levels.config.node(id).arg(0)?.to_owned();
        Some(Setting { value, at: Some(self.levels.at(id)) })
    }

    /// All arguments of a directive, or the default.
    fn words(&self, rest: &str, default: &[&str]) -> Setting<Vec<String>> {
        match self.levels.last(&self.name(rest)) {
            Some(id) => Setting {
                value: self.levels.config.node(id).values().map(str::to_owned).collect(),
                at: Some(self.levels.at(id)),
            },
            None => Setting::default_of(default.iter().map(|word| (*word).to_owned()).collect()),
        }
    }

    pub(super) fn buffers(&self) -> Buffers {
        let has_body_buffers = !matches!(self.protocol, Protocol::Grpc | Protocol::Memcached);
        let body = self.levels.last(&self.name("buffers")).and_then(|id| {
            let node = self.levels.config.node(id);
            let value = (parse_number(node.arg(0)?)?, parse_size(node.arg(1)?)?);
            Some(Setting { value, at: Some(self.levels.at(id)) })
        });
        let busy = self
            .optional("busy_buffers_size")
            .and_then(|busy| Some(Setting { value: parse_size(&busy.value)?, at: busy.at }));
        Buffers {
            header: self.levels.size(&self.name("buffer_size"), PAGE),
            body: has_body_buffers.then(|| body.unwrap_or_else(|| Setting::default_of((8, PAGE)))),
            busy,
            // gRPC never buffers (`ngx_http_grpc_handler`).
            buffering: match self.protocol {
                Protocol::Grpc => Setting::default_of(false),
                _ => self.levels.setting(&self.name("buffering"), parse_flag, true),
            },
        }
    }

    pub(super) fn retry(&self) -> Retry {
        let number = |text: &str| text.parse().ok();
        Retry {
            conditions: self.words("next_upstream", &["error", "timeout"]),
            tries: self.levels.setting(&self.name("next_upstream_tries"), number, 0),
            timeout: self.time("next_upstream_timeout", Duration::ZERO),
        }
    }

    pub(super) fn tls(&self) -> TlsSettings {
        let prefix = self.protocol.prefix();
        TlsSettings {
            sends_name: self.flag("ssl_server_name", false),
            name: self.levels.text(&self.name("ssl_name"), &format!("${prefix}_host")),
            verifies: self.flag("ssl_verify", false),
            verify_depth: self.levels.setting(&self.name("ssl_verify_depth"), |text| text.parse().ok(), 1),
            trusted_certificate: self.optional("ssl_trusted_certificate"),
            certificate: self.optional("ssl_certificate"),
            certificate_key: self.optional("ssl_certificate_key"),
            protocols: self.words("ssl_protocols", self.default_protocols()),
            ciphers: self.levels.text(&self.name("ssl_ciphers"), "DEFAULT"),
            reuses_sessions: self.flag("ssl_session_reuse", true),
        }
    }

    fn default_protocols(&self) -> &'static [&'static str] {
        match self.version {
            Some(version) if version >= WITHOUT_OLD_TLS => &["TLSv1.2", "TLSv1.3"],
            Some(version) if version >= WITH_TLS_1_3 => &["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"],
            Some(_) | None => &["TLSv1", "TLSv1.1", "TLSv1.2"],
        }
    }

    pub(super) fn cache(&self) -> Option<ResponseCache> {
        let zone = self.levels.text(&self.name("cache"), "off");
        if zone.value == "off" {
            return None;
        }
        let valid = self.levels.nearest(&self.name("cache_valid"));
        Some(ResponseCache {
            zone,
            valid: valid.into_iter().filter_map(|id| self.validity(id)).collect(),
            use_stale: self.words("cache_use_stale", &["off"]),
        })
    }

    fn validity(&self, id: NodeId) -> Option<Setting<(Vec<u16>, Duration)>> {
        let values: Vec<&str> = self.levels.config.node(id).values().collect();
        let (time, statuses) = values.split_last()?;
        let status = |text: &&str| if *text == "any" { Some(0) } else { text.parse().ok() };
        let statuses = match statuses {
            // Without statuses these three are meant (`ngx_http_file_cache_valid_set_slot`).
            [] => vec![200, 301, 302],
            statuses => statuses.iter().filter_map(status).collect(),
        };
        let time = parse_time_in(time, TimeUnit::Seconds)?;
        Some(Setting { value: (statuses, time), at: Some(self.levels.at(id)) })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::World;
    use crate::{Gateway, Pass};

    fn gateway(version: &str, http: &str) -> Gateway {
        World::live(version, &format!("#- /etc/nginx/nginx.conf\nevents {{}} http {{ {http} }}")).gateway()
    }

    fn pass(gateway: &Gateway) -> &Pass {
        gateway.routes.last().and_then(|route| route.action.pass()).expect("a pass")
    }

    #[test]
    fn tls_settings_come_with_their_places() {
        let gateway = gateway(
            "1.22.1",
            "proxy_ssl_verify on; proxy_ssl_trusted_certificate /ca.pem; proxy_ssl_protocols TLSv1.2 TLSv1.3;
             server { location / { proxy_ssl_name x.example; proxy_ssl_server_name on; proxy_ssl_verify_depth 3;
             proxy_ssl_session_reuse off; proxy_pass https://127.0.0.1; } }",
        );
        let tls = &pass(&gateway).tls_settings;
        assert!(tls.verifies.value && tls.sends_name.value && !tls.reuses_sessions.value);
        assert_eq!((tls.name.value.as_str(), tls.verify_depth.value), ("x.example", 3));
        assert_eq!(tls.trusted_certificate.as_ref().map(|own| own.value.as_str()), Some("/ca.pem"));
        assert_eq!(tls.protocols.value, ["TLSv1.2", "TLSv1.3"]);
        assert!(tls.protocols.at.is_some() && tls.ciphers.at.is_none() && tls.certificate.is_none());
    }

    #[test]
    fn protocols_have_their_default_by_version() {
        for (version, first, last) in
            [("1.22.1", "TLSv1", "TLSv1.2"), ("1.24.0", "TLSv1", "TLSv1.3"), ("1.28.0", "TLSv1.2", "TLSv1.3")]
        {
            let gateway = gateway(version, "server { location / { proxy_pass https://127.0.0.1; } }");
            let protocols = &pass(&gateway).tls_settings.protocols.value;
            assert_eq!(
                (protocols.first().map(String::as_str), protocols.last().map(String::as_str)),
                (Some(first), Some(last))
            );
        }
    }

    #[test]
    fn siblings_have_directives_of_their_own() {
        let gateway = gateway(
            "1.22.1",
            "proxy_read_timeout 1s; fastcgi_read_timeout 2s; fastcgi_buffer_size 16k; fastcgi_buffers 4 32k;
             server { location / { fastcgi_next_upstream off; fastcgi_pass 127.0.0.1:9000; } }",
        );
        let pass = pass(&gateway);
        assert_eq!(pass.timeouts.read.value.as_secs(), 2);
        assert_eq!(pass.buffers.header.value, 16 << 10);
        assert_eq!(pass.buffers.body.as_ref().map(|own| own.value), Some((4, 32 << 10)));
        assert_eq!(pass.retry.conditions.value, ["off"]);
    }

    #[test]
    fn grpc_and_memcached_have_no_body_buffers() {
        for directive in ["grpc_pass grpc://127.0.0.1:1", "memcached_pass 127.0.0.1:1"] {
            let gateway = gateway("1.22.1", &format!("server {{ location / {{ {directive}; }} }}"));
            assert!(pass(&gateway).buffers.body.is_none(), "{directive}");
        }
    }

    #[test]
    fn the_cache_comes_with_what_it_keeps() {
        let gateway = gateway(
            "1.22.1",
            "proxy_cache_path /c keys_zone=z:1m; proxy_cache_valid any 1m; server { proxy_cache z;
             location / { proxy_cache_valid 10m; proxy_cache_valid 404 502 5s; proxy_cache_use_stale error http_502;
             proxy_pass http://127.0.0.1; } }",
        );
        let cache = pass(&gateway).cache.as_ref().expect("a cache");
        let valid: Vec<(Vec<u16>, u64)> =
            cache.valid.iter().map(|own| (own.value.0.clone(), own.value.1.as_secs())).collect();
        assert_eq!(valid, [(vec![200, 301, 302], 600), (vec![404, 502], 5)]);
        assert_eq!(cache.use_stale.value, ["error", "http_502"]);
        assert_eq!(cache.zone.value, "z");
    }

    #[test]
    fn what_else_matters_is_read() {
        let gateway = gateway(
            "1.22.1",
            "proxy_bind 192.0.2.1; server { proxy_ignore_client_abort on; location / { proxy_request_buffering off;
             proxy_pass http://127.0.0.1; } location /off { proxy_bind off; proxy_pass http://127.0.0.1; } }",
        );
        let first = gateway.routes[1].action.pass().expect("a pass");
        assert_eq!(first.bind.as_ref().map(|own| own.value.as_str()), Some("192.0.2.1"));
        assert!(first.ignores_client_abort.value && !first.buffers_request.value);
        assert!(pass(&gateway).bind.is_none());
    }
}
