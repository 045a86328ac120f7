//! `log_format`, `access_log`, `error_log`.

use super::Checker;
use crate::nginx::config::NodeId;
use crate::nginx::values::{parse_number, parse_size, parse_time};

const LEVELS: [&str; 8] = ["debug", "info", "notice", "warn", "error", "crit", "alert", "emerg"];
const DEBUG_LEVELS: [&str; 7] =
    ["debug_core", "debug_alloc", "debug_mutex", "debug_event", "debug_http", "debug_mail", "debug_stream"];

impl Checker<'_, '_> {
    pub(super) fn log_format(&mut self, id: NodeId) {
        let name = self.arg(id, 0);
        if name == "combined" || !self.formats.insert(name.to_owned()) {
            return self.refuse_arg(id, 0, format!("duplicate \"log_format\" name \"{name}\""));
        }
        let escape = self.arg(id, 1).strip_prefix("escape=");
        if let Some(escape) = escape.filter(|escape| !matches!(*escape, "default" | "json" | "none")) {
            self.refuse_arg(id, 1, format!("unknown log format escaping \"{escape}\""));
        }
    }

    pub(super) fn access_log(&mut self, id: NodeId) {
        let words = self.words(id);
        if words.first() == Some(&"off") {
            if let Some(second) = words.get(1) {
                self.refuse_arg(id, 1, format!("invalid parameter \"{second}\""));
            }
            return;
        }
        let name = words.get(1).copied().unwrap_or("combined");
        // Names of formats are looked up in any case.
        let is_known = name.eq_ignore_ascii_case("combined")
            || self.formats.iter().any(|format| format.eq_ignore_ascii_case(name));
        if !is_known && self.config.is_complete() {
            return self.refuse_arg(id, 1, format!("unknown log format \"{name}\""));
        }
        for (at, word) in words.iter().enumerate().skip(2) {
            if let Some(message) = wrong_parameter(word) {
                return self.refuse_arg(id, at, message);
            }
            if let Some(text) = word.strip_prefix("if=") {
                self.template(id, at, text);
            }
        }
        self.log_buffer(id, &words);
    }

    /// What buffers ask for (`ngx_http_log_set_log`).
    fn log_buffer(&mut self, id: NodeId, words: &[&str]) {
        let target = words.first().copied().unwrap_or_default();
        let has = |wanted: &[&str]| {
            words.iter().skip(2).any(|word| wanted.contains(&word.split('=').next().unwrap_or(word)))
        };
        if !has(&["buffer", "gzip"]) {
            if has(&["flush"]) {
                self.refuse(id, format!("no buffer is defined for access_log \"{target}\""));
            }
        } else if target.starts_with("syslog:") {
            self.refuse(id, "logs to syslog cannot be buffered");
        } else if target.contains('$') {
            self.refuse(id, "buffered logs cannot have variables in name");
        }
    }

    /// `ngx_log_set_levels`.
    pub(super) fn error_log(&mut self, id: NodeId) {
        let words = self.words(id);
        let mut has_level = false;
        let mut has_debug = false;
        for (at, word) in words.iter().enumerate().skip(1) {
            if LEVELS.contains(word) {
                if has_level || has_debug {
                    return self.refuse_arg(id, at, format!("duplicate log level \"{word}\""));
                }
                has_level = true;
            } else if DEBUG_LEVELS.contains(word) && !has_level {
                has_debug = true;
            } else {
                return self.refuse_arg(id, at, format!("invalid log level \"{word}\""));
            }
        }
    }
}

/// What nginx says of a parameter behind the name of the format.
fn wrong_parameter(word: &str) -> Option<String> {
    let is_set = |size: Option<u64>| size.is_some_and(|size| size > 0);
    if let Some(size) = word.strip_prefix("buffer=") {
        return (!is_set(parse_size(size))).then(|| format!("invalid buffer size \"{size}\""));
    }
    if let Some(time) = word.strip_prefix("flush=") {
        let is_wrong = parse_time(time).is_none_or(|time| time.is_zero());
        return is_wrong.then(|| format!("invalid flush time \"{time}\""));
    }
    if let Some(level) = word.strip_prefix("gzip=") {
        let is_wrong = parse_number(level).is_none_or(|level| !(1..=9).contains(&level));
        return is_wrong.then(|| format!("invalid compression level \"{level}\""));
    }
    (word != "gzip" && !word.starts_with("if=")).then(|| format!("invalid parameter \"{word}\""))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{first, problems};

    #[test]
    fn logs_and_their_formats_are_looked_at() {
        for (http, words) in [
            ("access_log /l f;", "unknown log format \"f\" :1"),
            ("access_log /l f;\nlog_format f x;", "unknown log format \"f\" :1"),
            ("log_format f x;\nlog_format f y;", "duplicate \"log_format\" name \"f\" :2"),
            ("log_format combined x;", "duplicate \"log_format\" name \"combined\" :1"),
            ("log_format f escape=xml x;", "unknown log format escaping \"xml\" :1"),
            ("access_log off x;", "invalid parameter \"x\" :1"),
            ("access_log /l combined buffer=x;", "invalid buffer size \"x\" :1"),
            ("access_log /l combined flush=0;", "invalid flush time \"0\" :1"),
            ("access_log /l combined gzip=10;", "invalid compression level \"10\" :1"),
            ("access_log /l combined buffered;", "invalid parameter \"buffered\" :1"),
            ("error_log /l loud;", "invalid log level \"loud\" :1"),
            ("error_log /l warn error;", "duplicate log level \"error\" :1"),
        ] {
            assert_eq!(first(http).as_deref(), Some(words), "{http}");
        }
        assert_eq!(
            first(
                "log_format F x; access_log /l f buffer=4k flush=1m gzip if=$uri; error_log /l debug_http debug_event;"
            ),
            None
        );
        assert_eq!(problems("error_log /l x;\nevents {}")[0], "invalid log level \"x\" :1");
    }
}
