//! What is known of a request, by the gateway's own names for it.

use crate::nginx::{Slashes, parse_target, valid_host};
use std::collections::BTreeMap;

/// What is known of a request: the values of variables such as `host`, `uri` and `http_x_version`.
///
/// A variable that is not here is not known; one that is known to be empty is here with an empty value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestVars {
    values: BTreeMap<String, String>,
}

impl RequestVars {
    /// What a request line and a Host header tell: method, target, path, arguments and host.
    ///
    /// An empty method is one that is not known. Of a target that the gateway refuses only the method is known.
    pub fn of_request(method: &str, target: &str, host: Option<&str>) -> Self {
        let mut vars = Self::default();
        if !method.is_empty() {
            vars.set("request_method", method);
        }
        // Behind doubled slashes `..` may climb higher: the server decides about them.
        let parsed = parse_target(target, Slashes::Merged).or_else(|| parse_target(target, Slashes::Kept));
        let Some(parsed) = parsed else { return vars };
        let host = parsed.host.as_deref().or(host);
        if let Some(host) = host {
            vars.set("http_host", host);
        }
        if let Some(name) = host.and_then(valid_host) {
            vars.set("host", &name);
        }
        vars.set_path(&why502_facts::lossy(&parsed.path));
        vars.set("request_uri", target);
        let args = parsed.args.unwrap_or_default();
        vars.set("is_args", if args.is_empty() { "" } else { "?" });
        vars.set_args(&args);
        vars
    }

    /// The same with one value more.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.set(name, value);
        self
    }

    /// The value of a variable, if it is known; an argument is not there if the arguments are known without it.
    pub fn get(&self, name: &str) -> Option<&str> {
        let value = self.values.get(name).map(String::as_str);
        value.or_else(|| (name.starts_with("arg_") && self.values.contains_key("args")).then_some(""))
    }

    /// Sets a value.
    pub fn set(&mut self, name: &str, value: &str) {
        self.values.insert(name.to_owned(), value.to_owned());
    }

    /// Takes back what was said of the arguments: they are there, and nobody knows them.
    pub fn forget_arguments(&mut self) {
        let is_of_them = |name: &str| {
            matches!(name, "args" | "query_string" | "request_uri" | "is_args") || name.starts_with("arg_")
        };
        self.values.retain(|name, _| !is_of_them(name));
        self.set("is_args", "?");
    }

    /// Sets the path under all its names.
    pub(crate) fn set_path(&mut self, path: &str) {
        self.set("uri", path);
        self.set("document_uri", path);
    }

    /// Takes the path back: it is not known.
    pub(crate) fn forget_path(&mut self) {
        self.values.remove("uri");
        self.values.remove("document_uri");
    }

    /// Sets the arguments under all their names.
    pub(crate) fn set_args(&mut self, args: &str) {
        self.set("args", args);
        self.set("query_string", args);
        // The first of several arguments of one name counts (`ngx_http_arg`), whatever the case of its letters.
        for argument in args.split('&').rev().filter(|argument| !argument.is_empty()) {
            if let Some((name, value)) = argument.split_once('=') {
                self.set(&format!("arg_{}", name.to_ascii_lowercase()), value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_tells_its_parts() {
        let vars = RequestVars::of_request("GET", "/a/%62/../c?x=1&Y=2&x=3", Some("Shop.Example.com:8080"));
        for (name, value) in [
            ("request_method", "GET"),
            ("host", "shop.example.com"),
            ("http_host", "Shop.Example.com:8080"),
            ("uri", "/a/c"),
            ("request_uri", "/a/%62/../c?x=1&Y=2&x=3"),
            ("arg_x", "1"),
            ("arg_y", "2"),
            ("arg_z", ""),
            ("is_args", "?"),
        ] {
            assert_eq!(vars.get(name), Some(value), "{name}");
        }
        assert_eq!(vars.get("remote_addr"), None);
    }

    #[test]
    fn arguments_can_be_unknown() {
        let mut vars = RequestVars::of_request("GET", "/a?x=1", None);
        vars.forget_arguments();
        assert_eq!((vars.get("arg_x"), vars.get("args"), vars.get("uri")), (None, None, Some("/a")));
    }

    #[test]
    fn an_absolute_target_names_the_host() {
        let vars = RequestVars::of_request("GET", "http://a.example/x", Some("b.example"));
        assert_eq!((vars.get("host"), vars.get("uri")), (Some("a.example"), Some("/x")));
    }

    #[test]
    fn of_a_bad_request_little_is_known() {
        let vars = RequestVars::of_request("GET", "/..", Some("a"));
        assert_eq!((vars.get("host"), vars.get("uri"), vars.get("arg_x")), (None, None, None));
    }
}
