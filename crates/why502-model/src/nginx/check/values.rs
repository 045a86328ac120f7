//! Values that nginx's ready-made handlers read, and directives that may stand once.

use super::Checker;
use crate::nginx::config::NodeId;
use crate::nginx::directives::{DirectiveSpec, Value};
use crate::nginx::values::{TimeUnit, parse_flag, parse_number, parse_offset, parse_size, parse_time_in};

/// Directives with handlers of their own that refuse a second one in the same block.
const ONCE: [&str; 55] = [
    "aio",
    "auth_basic_user_file",
    "auth_request",
    "charset",
    "client_body_temp_path",
    "directio",
    "disable_symlinks",
    "events",
    "expires",
    "fastcgi_bind",
    "fastcgi_cache",
    "fastcgi_cache_key",
    "fastcgi_pass",
    "fastcgi_store",
    "geoip_city",
    "geoip_country",
    "geoip_org",
    "grpc_bind",
    "grpc_pass",
    "grpc_ssl_password_file",
    "http",
    "internal",
    "keepalive",
    "keepalive_timeout",
    "limit_except",
    "mail",
    "memcached_bind",
    "memcached_pass",
    "open_file_cache",
    "open_log_file_cache",
    "proxy_bind",
    "proxy_cache",
    "proxy_cache_key",
    "proxy_pass",
    "proxy_ssl_password_file",
    "proxy_store",
    "real_ip_header",
    "resolver",
    "scgi_bind",
    "scgi_cache",
    "scgi_cache_key",
    "scgi_pass",
    "scgi_store",
    "ssl_engine",
    "ssl_password_file",
    "stream",
    "try_files",
    "use",
    "user",
    "userid_expires",
    "uwsgi_pass",
    "worker_connections",
    "worker_cpu_affinity",
    "worker_priority",
    "worker_processes",
];

impl Checker<'_, '_> {
    /// Looks at a directive's value; whether nginx would go on.
    pub(super) fn value(&mut self, id: NodeId, spec: &DirectiveSpec) -> bool {
        let node = self.config.node(id);
        let name = node.name.as_str();
        let is_once = match spec.value {
            Value::Array | Value::Bitmask(_) | Value::Pairs => false,
            Value::Custom => ONCE.contains(&name),
            _ => true,
        };
        if is_once && !self.seen.insert((node.parent, name)) {
            self.refuse(id, format!("\"{name}\" directive is duplicate"));
            return false;
        }
        match self.wrong_value(id, spec) {
            Some((arg, words)) => {
                self.refuse_arg(id, arg, words);
                false
            }
            None => true,
        }
    }

    /// The argument that nginx refuses, and its words.
    fn wrong_value(&self, id: NodeId, spec: &DirectiveSpec) -> Option<(usize, String)> {
        let name = self.config.node(id).name.as_str();
        let value = self.arg(id, 0);
        let invalid = |what: &str| Some((0, format!("\"{name}\" directive {what}")));
        match &spec.value {
            Value::Flag if parse_flag(value).is_none() => Some((
                0,
                format!("invalid value \"{value}\" in \"{name}\" directive, it must be \"on\" or \"off\""),
            )),
            Value::Number(bounds) => match (parse_number(value), bounds) {
                (None, _) => invalid("invalid number"),
                (Some(number), Some(bounds)) => out_of_bounds(number, *bounds).map(|words| (0, words)),
                (Some(_), None) => None,
            },
            Value::Size if parse_size(value).is_none() => invalid("invalid value"),
            Value::Offset if parse_offset(value).is_none() => invalid("invalid value"),
            Value::Milliseconds if parse_time_in(value, TimeUnit::Milliseconds).is_none() => {
                invalid("invalid value")
            }
            Value::Seconds if parse_time_in(value, TimeUnit::Seconds).is_none() => invalid("invalid value"),
            Value::Buffers => {
                let number = parse_number(value).filter(|number| *number > 0);
                let size = parse_size(self.arg(id, 1)).filter(|size| *size > 0);
                if number.is_none() || size.is_none() { invalid("invalid value") } else { None }
            }
            Value::Path if !are_levels(self.words(id).get(1..).unwrap_or_default()) => {
                invalid("invalid value")
            }
            Value::Enum(words) if !has_word(words, value) => Some((0, format!("invalid value \"{value}\""))),
            Value::Bitmask(words) => {
                let mut values = self.config.node(id).values().enumerate();
                let wrong = values.find(|(_, value)| !has_word(words, value));
                wrong.map(|(at, value)| (at, format!("invalid value \"{value}\"")))
            }
            _ => None,
        }
    }
}

/// The levels of folders behind a path (`ngx_conf_set_path_slot`): none is 0, and together they are short.
fn are_levels(words: &[&str]) -> bool {
    let levels: Option<Vec<u64>> =
        words.iter().map(|word| parse_number(word).filter(|level| (1..=10).contains(level))).collect();
    levels.is_some_and(|levels| levels.iter().sum::<u64>() <= 10)
}

/// Words of an enumeration are compared in any case (`ngx_conf_set_enum_slot`).
fn has_word(words: &[&str], value: &str) -> bool {
    words.iter().any(|word| word.eq_ignore_ascii_case(value))
}

/// `ngx_conf_check_num_bounds`: a high bound of -1 is none.
fn out_of_bounds(number: u64, (low, high): (i64, i64)) -> Option<String> {
    let number = i64::try_from(number).unwrap_or(i64::MAX);
    match high {
        -1 if number < low => Some(format!("value must be equal to or greater than {low}")),
        -1 => None,
        _ if number < low || number > high => Some(format!("value must be between {low} and {high}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::first;

    #[test]
    fn values_are_read_as_their_directives_read_them() {
        for (http, words) in [
            (
                "sendfile yes;",
                "invalid value \"yes\" in \"sendfile\" directive, it must be \"on\" or \"off\" :1",
            ),
            ("proxy_read_timeout 5x;", "\"proxy_read_timeout\" directive invalid value :1"),
            ("proxy_buffer_size 1g;", "\"proxy_buffer_size\" directive invalid value :1"),
            ("proxy_buffers 8 0;", "\"proxy_buffers\" directive invalid value :1"),
            ("client_max_body_size -1;", "\"client_max_body_size\" directive invalid value :1"),
            ("types_hash_max_size x;", "\"types_hash_max_size\" directive invalid number :1"),
            ("gzip_comp_level 10;", "value must be between 1 and 9 :1"),
            ("proxy_http_version 3;", "invalid value \"3\" :1"),
            ("proxy_next_upstream error http_501;", "invalid value \"http_501\" :1"),
            ("sendfile on; sendfile off;", "\"sendfile\" directive is duplicate :1"),
            (
                "server { location / { proxy_pass http://10.0.0.1;\nproxy_pass http://10.0.0.2; } }",
                "\"proxy_pass\" directive is duplicate :2",
            ),
        ] {
            assert_eq!(first(http).as_deref(), Some(words), "{http}");
        }
    }

    #[test]
    fn what_may_stand_several_times_does() {
        assert_eq!(
            first(
                "add_header A b; add_header A b; proxy_set_header X y; proxy_set_header X y; sendfile on; server { sendfile on; }"
            ),
            None
        );
    }
}
