//! Zones of shared memory: limits, caches, groups (`ngx_shared_memory_add`).

use super::Checker;
use crate::Span;
use crate::nginx::config::NodeId;
use crate::nginx::values::{TimeUnit, parse_number, parse_offset, parse_size, parse_time, parse_time_in};

/// A page of memory, in bytes.
pub(super) const PAGE: u64 = 4096;

/// The zones in the order in which they are named first.
#[derive(Debug, Default)]
pub(super) struct Zones {
    zones: Vec<Zone>,
    /// The folders of caches, with the places that nginx prints for them.
    cache_paths: Vec<(String, String)>,
}

#[derive(Debug)]
struct Zone {
    name: String,
    /// The module that it belongs to.
    module: &'static str,
    size: u64,
    /// The key of the directive that defines it.
    key: Option<String>,
    at: Span,
}

/// A zone as a directive names it.
pub(super) struct Named<'n> {
    pub(super) name: &'n str,
    pub(super) module: &'static str,
    /// 0 where it is only used.
    pub(super) size: u64,
}

impl Checker<'_, '_> {
    /// Names a zone; `None` where nginx refuses that.
    pub(super) fn name_zone(&mut self, id: NodeId, arg: usize, named: &Named<'_>) -> Option<usize> {
        let at = self.config.arg_span(id, arg);
        let Named { name, module, size } = *named;
        let Some(place) = self.zones.zones.iter().position(|zone| zone.name == name) else {
            self.zones.zones.push(Zone { name: name.to_owned(), module, size, key: None, at });
            return Some(self.zones.zones.len() - 1);
        };
        let zone = &mut self.zones.zones[place];
        if zone.module != module {
            let words = format!("the shared memory zone \"{name}\" is already declared for a different use");
            self.refuse_arg(id, arg, words);
            return None;
        }
        if zone.size == 0 {
            zone.size = size;
        }
        if size > 0 && size != zone.size {
            let words = format!(
                "the size {size} of shared memory zone \"{name}\" conflicts with already declared size {}",
                zone.size
            );
            self.refuse_arg(id, arg, words);
            return None;
        }
        Some(place)
    }

    /// `limit_req_zone KEY zone=NAME:SIZE rate=RATE`, `limit_conn_zone KEY zone=NAME:SIZE`.
    pub(super) fn limit_zone(&mut self, id: NodeId) {
        let words = self.words(id);
        let directive = self.config.node(id).name.as_str();
        let is_requests = directive == "limit_req_zone";
        let mut found: Option<(usize, &str, u64)> = None;
        for (at, word) in words.iter().enumerate().skip(1) {
            if let Some(zone) = word.strip_prefix("zone=") {
                let sized = zone.split_once(':').and_then(|(name, size)| Some((name, parse_size(size)?)));
                let Some((name, size)) = sized else {
                    return self.refuse_arg(id, at, format!("invalid zone size \"{word}\""));
                };
                if size < 8 * PAGE {
                    return self.refuse_arg(id, at, format!("zone \"{word}\" is too small"));
                }
                found = Some((at, name, size));
            } else if let Some(rate) = word.strip_prefix("rate=").filter(|_| is_requests) {
                let number = rate.strip_suffix("r/s").or_else(|| rate.strip_suffix("r/m")).unwrap_or(rate);
                if parse_number(number).is_none_or(|number| number == 0) {
                    return self.refuse_arg(id, at, format!("invalid rate \"{word}\""));
                }
            } else {
                return self.invalid_parameter(id, at);
            }
        }
        let Some((at, name, size)) = found.filter(|(_, name, _)| !name.is_empty()) else {
            return self.refuse(id, format!("\"{directive}\" must have \"zone\" parameter"));
        };
        let module = if is_requests { "limit_req" } else { "limit_conn" };
        if let Some(place) = self.name_zone(id, at, &Named { name, module, size }) {
            if let Some(key) = &self.zones.zones[place].key {
                let words = format!("{directive} \"{name}\" is already bound to key \"{key}\"");
                return self.refuse_arg(id, at, words);
            }
            self.zones.zones[place].key = words.first().map(|key| (*key).to_owned());
        }
    }

    pub(super) fn limit_req(&mut self, id: NodeId) {
        let words = self.words(id);
        let mut named = None;
        for (at, word) in words.iter().enumerate() {
            let is_positive = |text: &str| parse_number(text).is_some_and(|number| number > 0);
            match word.split_once('=') {
                Some(("zone", name)) => {
                    let Some(place) = self.name_zone(id, at, &Named { name, module: "limit_req", size: 0 })
                    else {
                        return;
                    };
                    named = Some(place);
                }
                Some((what @ ("burst" | "delay"), number)) => {
                    if !is_positive(number) {
                        return self.refuse_arg(id, at, format!("invalid {what} value \"{word}\""));
                    }
                }
                _ if *word == "nodelay" => {}
                _ => return self.invalid_parameter(id, at),
            }
        }
        match named {
            Some(place) => self.limit_once(id, place),
            None => self.refuse(id, "\"limit_req\" must have \"zone\" parameter"),
        }
    }

    pub(super) fn limit_conn(&mut self, id: NodeId) {
        let (name, number) = (self.arg(id, 0), self.arg(id, 1));
        let Some(place) = self.name_zone(id, 0, &Named { name, module: "limit_conn", size: 0 }) else {
            return;
        };
        let before = self.problems.len();
        self.limit_once(id, place);
        if self.problems.len() > before {
            return;
        }
        match parse_number(number) {
            None | Some(0) => self.refuse_arg(id, 1, format!("invalid number of connections \"{number}\"")),
            Some(number) if number > 65535 => self.refuse_arg(id, 1, "connection limit must be less 65536"),
            Some(_) => {}
        }
    }

    /// One zone may limit a level once.
    fn limit_once(&mut self, id: NodeId, place: usize) {
        let config = self.config;
        let node = config.node(id);
        let name = &self.zones.zones[place].name;
        let uses = |sibling: &NodeId| {
            let other = config.node(*sibling);
            other.name == node.name && (other.parameter("zone") == Some(name) || other.arg(0) == Some(name))
        };
        let before = config.children(node.parent).iter().take_while(|sibling| **sibling != id);
        if before.into_iter().any(uses) {
            self.refuse(id, format!("\"{}\" directive is duplicate", node.name));
        }
    }

    /// `proxy_cache_path PATH keys_zone=NAME:SIZE …` (`ngx_http_file_cache_set_slot`).
    pub(super) fn cache_path(&mut self, id: NodeId, words: &[&str]) {
        let directive = self.config.node(id).name.as_str();
        let mut found = None;
        for (at, word) in words.iter().enumerate().skip(1) {
            if let Some(zone) = word.strip_prefix("keys_zone=") {
                let sized = zone.split_once(':').and_then(|(name, size)| Some((name, parse_size(size)?)));
                let Some((name, size)) = sized else {
                    return self.refuse_arg(id, at, format!("invalid keys zone size \"{word}\""));
                };
                if size < 2 * PAGE {
                    return self.refuse_arg(id, at, format!("keys zone \"{word}\" is too small"));
                }
                found = Some((at, name, size));
            } else if let Some(message) = wrong_cache_parameter(word) {
                return self.refuse_arg(id, at, message);
            }
        }
        let Some((at, name, size)) = found.filter(|(_, name, _)| !name.is_empty()) else {
            return self.refuse(id, format!("\"{directive}\" must have \"keys_zone\" parameter"));
        };
        let path = words.first().copied().unwrap_or_default().trim_end_matches('/');
        if let Some((_, first)) = self.zones.cache_paths.iter().find(|(own, _)| own == path) {
            let words = format!("the same path name \"{path}\" used in {first} and");
            return self.refuse_arg(id, 0, words);
        }
        let node = self.config.node(id);
        let place = format!("{}:{}", self.config.files[node.file].path, node.line);
        self.zones.cache_paths.push((path.to_owned(), place));
        let module = cache_module(directive);
        if let Some(place) = self.name_zone(id, at, &Named { name, module, size }) {
            let zone = &mut self.zones.zones[place];
            if zone.key.is_some() {
                return self.refuse_arg(id, at, format!("duplicate zone \"{name}\""));
            }
            zone.key = words.first().map(|path| (*path).to_owned());
        }
    }

    /// `proxy_cache ZONE`: whether there is such a zone comes to light at the end.
    pub(super) fn use_cache(&mut self, id: NodeId, zone: &str) {
        let module = cache_module(&self.config.node(id).name);
        if zone != "off" {
            self.name_zone(id, 0, &Named { name: zone, module, size: 0 });
        }
    }

    /// Whether a cache's zone is defined.
    pub(super) fn has_cache(&self, zone: &str) -> bool {
        self.zones.zones.iter().any(|own| own.name == zone && own.key.is_some())
    }

    /// `zone NAME [SIZE]` of a group.
    pub(super) fn group_zone(&mut self, id: NodeId) {
        let (name, size) = (self.arg(id, 0), self.config.node(id).arg(1));
        if name.is_empty() {
            return self.refuse_arg(id, 0, "invalid zone name \"\"");
        }
        let size = match size.map(|text| (text, parse_size(text))) {
            None => 0,
            Some((text, None)) => return self.refuse_arg(id, 1, format!("invalid zone size \"{text}\"")),
            Some((_, Some(size))) if size < 8 * PAGE => {
                return self.refuse_arg(id, 1, format!("zone \"{name}\" is too small"));
            }
            Some((_, Some(size))) => size,
        };
        self.name_zone(id, 0, &Named { name, module: "upstream", size });
    }

    /// The first zone that nobody gave a size (`ngx_init_cycle`).
    pub(super) fn unsized_zones(&mut self) {
        if !self.knows_all() {
            return;
        }
        let zones = self.zones.zones.iter().filter(|zone| zone.size == 0);
        let found: Vec<(Span, String)> = zones.map(|zone| (zone.at.clone(), zone.name.clone())).collect();
        for (at, name) in found {
            self.refuse_unplaced(at, format!("zero size shared memory zone \"{name}\""));
        }
    }
}

fn cache_module(directive: &str) -> &'static str {
    match directive.split('_').next() {
        Some("fastcgi") => "fastcgi",
        Some("scgi") => "scgi",
        Some("uwsgi") => "uwsgi",
        _ => "proxy",
    }
}

/// What nginx says of another parameter of a cache.
fn wrong_cache_parameter(word: &str) -> Option<String> {
    let Some((name, value)) = word.split_once('=') else {
        return Some(format!("invalid parameter \"{word}\""));
    };
    let is_right = match name {
        "levels" => is_levels(value),
        "use_temp_path" => {
            let is_flag = matches!(value, "on" | "off");
            return (!is_flag)
                .then(|| format!("invalid use_temp_path value \"{word}\", it must be \"on\" or \"off\""));
        }
        "inactive" => parse_time_in(value, TimeUnit::Seconds).is_some(),
        "max_size" | "min_free" => parse_offset(value).is_some(),
        "loader_files" | "manager_files" => parse_number(value).is_some(),
        "loader_sleep" | "loader_threshold" | "manager_sleep" | "manager_threshold" => {
            parse_time(value).is_some()
        }
        // Of nginx Plus.
        "purger" | "purger_files" | "purger_sleep" | "purger_threshold" => return None,
        _ => return Some(format!("invalid parameter \"{word}\"")),
    };
    let quoted = if name == "levels" { "\"levels\"".to_owned() } else { format!("{name} value") };
    (!is_right).then(|| format!("invalid {quoted} \"{word}\""))
}

/// Up to three levels of one or two digits each.
fn is_levels(text: &str) -> bool {
    let levels: Vec<&str> = text.split(':').collect();
    levels.len() <= 3 && levels.iter().all(|level| matches!(*level, "1" | "2"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::first;

    #[test]
    fn zones_are_defined_and_used_as_nginx_wants_it() {
        for (http, words) in [
            ("limit_req_zone $uri zone=a rate=1r/s;", "invalid zone size \"zone=a\" :1"),
            ("limit_req_zone $uri zone=a:1k rate=1r/s;", "zone \"zone=a:1k\" is too small :1"),
            ("limit_req_zone $uri zone=a:1m rate=0r/s;", "invalid rate \"rate=0r/s\" :1"),
            (
                "limit_req_zone $uri rate=1r/s rate=1r/m;",
                "\"limit_req_zone\" must have \"zone\" parameter :1",
            ),
            (
                "limit_conn_zone $uri zone=a:1m; limit_conn_zone $host zone=a:1m;",
                "limit_conn_zone \"a\" is already bound to key \"$uri\" :1",
            ),
            (
                "limit_conn_zone $uri zone=a:1m; limit_req zone=a;",
                "the shared memory zone \"a\" is already declared for a different use :1",
            ),
            (
                "limit_conn_zone $uri zone=a:1m; server { limit_conn a 0; }",
                "invalid number of connections \"0\" :1",
            ),
            (
                "limit_req_zone $uri zone=a:1m rate=1r/s; server { limit_req zone=a;\nlimit_req zone=a burst=2; }",
                "\"limit_req\" directive is duplicate :2",
            ),
            (
                "limit_req_zone $uri zone=a:1m rate=1r/s; limit_req zone=a burst=0;",
                "invalid burst value \"burst=0\" :1",
            ),
            ("limit_req burst=1;", "\"limit_req\" must have \"zone\" parameter :1"),
            ("server { limit_req zone=gone; }", "zero size shared memory zone \"gone\""),
            ("proxy_cache_path /c keys_zone=a;", "invalid keys zone size \"keys_zone=a\" :1"),
            ("proxy_cache_path /c levels=1:3 keys_zone=a:1m;", "invalid \"levels\" \"levels=1:3\" :1"),
            ("proxy_cache_path /c levels=1:2;", "\"proxy_cache_path\" must have \"keys_zone\" parameter :1"),
            (
                "proxy_cache_path /c keys_zone=a:1m; proxy_cache_path /d keys_zone=a:1m;",
                "duplicate zone \"a\" :1",
            ),
            ("upstream u { zone z 1k; server 10.0.0.1; }", "zone \"z\" is too small :1"),
            ("upstream u { zone z; server 10.0.0.1; }", "zero size shared memory zone \"z\""),
        ] {
            assert_eq!(first(http).as_deref(), Some(words), "{http}");
        }
        let sound = "limit_req zone=a burst=5 delay=2; limit_req_zone $uri zone=a:1m rate=30r/m; proxy_cache_path /c levels=1:2 keys_zone=c:1m inactive=1d max_size=1g use_temp_path=off; proxy_cache c;";
        assert_eq!(first(sound), None);
    }
}
