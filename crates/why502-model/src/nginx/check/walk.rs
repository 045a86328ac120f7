//! Directive by directive, as `ngx_conf_parse` goes.

use super::Checker;
use crate::nginx::config::{Config, NodeId};
use crate::nginx::directives::{Context, DirectiveSpec};
use crate::nginx::modules::Knowledge;
use crate::nginx::values::parse_number;
use nginx_syntax::Terminator;

/// Where a configuration begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// With a part of an `http` block: the file that includes it was not given.
    Fragment,
    Main,
}

/// What stands in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inside {
    Directives(Context),
    /// Something that only a module knows.
    Foreign,
    /// Rows that the directive's own handler reads (`cf->handler`).
    Rows,
}

impl Start {
    pub(super) fn of(config: &Config) -> Self {
        if config.is_fragment { Self::Fragment } else { Self::Main }
    }
}

impl Checker<'_, '_> {
    pub(super) fn run(&mut self, start: Start) {
        match start {
            Start::Main => self.block(None, Context::Main),
            Start::Fragment => {
                let http = self.config.http();
                self.block(http, Context::Http);
                if let Some(http) = http.filter(|_| !self.stopped) {
                    self.end_http(http);
                }
            }
        }
        if !self.stopped {
            self.finish(start);
        }
    }

    /// The directives of a block, and the faults of the reader where they come.
    fn block(&mut self, owner: Option<NodeId>, context: Context) {
        let children = self.config.children(owner);
        for (at, id) in children.iter().enumerate() {
            self.faults(owner, at);
            if self.stopped {
                return;
            }
            self.directive(*id, context);
            if self.stopped {
                return;
            }
        }
        self.faults(owner, children.len());
    }

    fn faults(&mut self, owner: Option<NodeId>, after: usize) {
        let config = self.config;
        let here = config.faults.iter().filter(|fault| fault.block == owner && fault.after == after);
        for problem in here.flat_map(|fault| &fault.problems) {
            if self.stopped {
                self.rest.push(problem.clone());
            } else {
                self.problems.push(problem.clone());
                self.stopped = true;
            }
        }
    }

    /// `ngx_conf_handler`.
    fn directive(&mut self, id: NodeId, context: Context) {
        let node = self.config.node(id);
        let name = node.name.as_str();
        let specs = match self.modules.knows(name) {
            Knowledge::No => return self.refuse(id, format!("unknown directive \"{name}\"")),
            Knowledge::Perhaps => return,
            Knowledge::Yes(specs) => specs,
        };
        let Some(spec) = specs.iter().copied().find(|spec| spec.contexts.contains(context)) else {
            return self.refuse(id, format!("\"{name}\" directive is not allowed here"));
        };
        let has_block = matches!(node.terminator, Terminator::Block | Terminator::LuaBlock);
        if !spec.is_block && has_block {
            return self.refuse(id, format!("directive \"{name}\" is not terminated by \";\""));
        }
        if spec.is_block && !has_block {
            return self.refuse(id, format!("directive \"{name}\" has no opening \"{{\""));
        }
        if !spec.arguments.accept(node.args.len()) {
            return self.refuse(id, format!("invalid number of arguments in \"{name}\" directive"));
        }
        if self.value(id, spec) && self.begin(id, spec, context) && spec.is_block {
            self.inside(id, context);
        }
    }

    /// Runs what the directive's own handler looks at before it reads on; whether it would.
    fn begin(&mut self, id: NodeId, spec: &DirectiveSpec, context: Context) -> bool {
        let before = self.problems.len();
        match context {
            Context::Main => self.main_directive(id),
            Context::Events => self.event_directive(id),
            Context::Upstream => self.upstream_directive(id),
            Context::Http
            | Context::Server
            | Context::Location
            | Context::IfInServer
            | Context::IfInLocation
            | Context::LimitExcept => self.http_directive(id, spec, context),
            Context::Stream
            | Context::StreamServer
            | Context::StreamUpstream
            | Context::Mail
            | Context::MailServer => {}
        }
        self.problems.len() == before
    }

    fn inside(&mut self, id: NodeId, context: Context) {
        let name = self.config.node(id).name.as_str();
        match inside(name, context) {
            Inside::Directives(inner) => self.block(Some(id), inner),
            Inside::Rows => self.rows_of(id),
            Inside::Foreign => return,
        }
        if self.stopped {
            return;
        }
        match (context, name) {
            (Context::Main, "http") => self.end_http(id),
            (Context::Http, "server") => self.end_server(id),
            (Context::Http, "upstream") => self.end_upstream(id),
            (Context::Http, "split_clients") => self.end_split_clients(id),
            _ => {}
        }
    }

    fn rows_of(&mut self, id: NodeId) {
        let children = self.config.children(Some(id));
        for (at, row) in children.iter().enumerate() {
            self.faults(Some(id), at);
            if self.stopped {
                return;
            }
            self.row(id, *row);
        }
        self.faults(Some(id), children.len());
    }

    fn main_directive(&mut self, id: NodeId) {
        match self.config.node(id).name.as_str() {
            "events" | "http" | "mail" | "stream" => self.modules_used = true,
            "load_module" if self.modules_used => {
                self.refuse(id, "\"load_module\" directive is specified too late");
            }
            "worker_priority" => self.worker_priority(id),
            "worker_processes" => self.worker_processes(id),
            "thread_pool" => self.thread_pool(id),
            "error_log" => self.error_log(id),
            _ => {}
        }
    }

    fn event_directive(&mut self, id: NodeId) {
        let value = self.arg(id, 0);
        match self.config.node(id).name.as_str() {
            "use" if !self.modules.has_event_method(value) => {
                self.refuse_arg(id, 0, format!("invalid event type \"{value}\""));
            }
            "worker_connections" if parse_number(value).is_none() => {
                self.refuse_arg(id, 0, format!("invalid number \"{value}\""));
            }
            _ => {}
        }
    }

    fn worker_priority(&mut self, id: NodeId) {
        let priority = self.arg(id, 0);
        if parse_number(priority.strip_prefix(['-', '+']).unwrap_or(priority)).is_none() {
            self.refuse_arg(id, 0, "\"worker_priority\" directive invalid number");
        }
    }

    /// `ngx_thread_pool`.
    fn thread_pool(&mut self, id: NodeId) {
        let mut has_threads = false;
        for (at, word) in self.words(id).into_iter().enumerate().skip(1) {
            let is_positive = |number: &str| parse_number(number).is_some_and(|number| number > 0);
            let wrong = match word.split_once('=') {
                Some(("threads", number)) => {
                    has_threads = true;
                    (!is_positive(number)).then_some("threads")
                }
                Some(("max_queue", number)) => parse_number(number).is_none().then_some("max_queue"),
                _ => None,
            };
            if let Some(name) = wrong {
                return self.refuse_arg(id, at, format!("invalid {name} value \"{word}\""));
            }
        }
        let config = self.config;
        let name = self.arg(id, 0);
        let mut earlier = config.named(None, "thread_pool").take_while(|own| *own != id);
        if !has_threads {
            self.refuse(id, "\"thread_pool\" must have \"threads\" parameter");
        } else if earlier.any(|own| config.node(own).arg(0) == Some(name)) {
            self.refuse_arg(id, 0, format!("duplicate thread pool \"{name}\""));
        }
    }

    fn worker_processes(&mut self, id: NodeId) {
        let number = self.arg(id, 0);
        if number != "auto" && parse_number(number).is_none() {
            self.refuse_arg(id, 0, "\"worker_processes\" directive invalid value");
        }
    }

    fn http_directive(&mut self, id: NodeId, spec: &DirectiveSpec, context: Context) {
        match self.config.node(id).name.as_str() {
            "access_log" => self.access_log(id),
            "alias" | "root" => self.root(id),
            "auth_request" | "mirror" => {}
            "auth_request_set" | "set" => self.set(id),
            "error_log" => self.error_log(id),
            "error_page" => self.error_page(id),
            "fastcgi_pass" | "grpc_pass" | "memcached_pass" | "proxy_pass" | "scgi_pass" | "uwsgi_pass" => {
                self.pass(id, context);
            }
            "geo" | "map" | "split_clients" => self.table(id),
            "if" => self.condition(id),
            "limit_conn" => self.limit_conn(id),
            "limit_conn_zone" | "limit_req_zone" => self.limit_zone(id),
            "limit_except" => self.limit_except(id),
            "limit_req" => self.limit_req(id),
            "listen" => self.listen(id),
            "location" => self.location(id, context),
            "log_format" => self.log_format(id),
            "resolver" => self.resolver(id),
            "return" => self.answer(id),
            "rewrite" => self.rewrite(id),
            "server_name" => self.server_name(id),
            "ssl_session_cache" => self.session_cache(id),
            "upstream" => self.upstream(id),
            _ => self.parameters(id, spec),
        }
        self.texts(id);
    }
}

/// What stands in the block of a directive.
fn inside(name: &str, context: Context) -> Inside {
    match (context, name) {
        (Context::Main, "events") => Inside::Directives(Context::Events),
        (Context::Main, "http") => Inside::Directives(Context::Http),
        (Context::Main, "stream") => Inside::Directives(Context::Stream),
        (Context::Main, "mail") => Inside::Directives(Context::Mail),
        (Context::Http, "server") => Inside::Directives(Context::Server),
        (Context::Http, "upstream") => Inside::Directives(Context::Upstream),
        (Context::Stream, "server") => Inside::Directives(Context::StreamServer),
        (Context::Stream, "upstream") => Inside::Directives(Context::StreamUpstream),
        (Context::Mail, "server") => Inside::Directives(Context::MailServer),
        (_, "location") => Inside::Directives(Context::Location),
        (_, "limit_except") => Inside::Directives(Context::LimitExcept),
        (Context::Server, "if") => Inside::Directives(Context::IfInServer),
        (_, "if") => Inside::Directives(Context::IfInLocation),
        (_, "charset_map" | "geo" | "map" | "split_clients" | "types") => Inside::Rows,
        _ => Inside::Foreign,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::problems;

    #[test]
    fn names_places_and_numbers_are_looked_at_in_that_order() {
        for (config, words) in [
            ("events {} htp { }", "unknown directive \"htp\" :1"),
            ("events {}\nserver\n{\n}", "\"server\" directive is not allowed here :3"),
            (
                "events {} http { server { location / { root /a /b; } } }",
                "invalid number of arguments in \"root\" directive :1",
            ),
            (
                "events {} http { server { location / { root /a { } } } }",
                "directive \"root\" is not terminated by \";\" :1",
            ),
            ("events;", "directive \"events\" has no opening \"{\" :1"),
            (
                "events {} http {\n server { if ($a) { proxy_pass http://x; } } }",
                "\"proxy_pass\" directive is not allowed here :2",
            ),
            ("events { use kqueue2; }", "invalid event type \"kqueue2\" :1"),
            ("worker_processes many;\nevents {}", "\"worker_processes\" directive invalid value :1"),
            ("events {}\nload_module x.so;", "\"load_module\" directive is specified too late :2"),
            ("http { }", "no \"events\" section in configuration"),
            (
                "events {} http { server { content_by_lua_block { x } } }",
                "unknown directive \"content_by_lua_block\" :1",
            ),
        ] {
            assert_eq!(problems(config).first().map(String::as_str), Some(words), "{config}");
        }
    }

    #[test]
    fn a_missing_semicolon_is_told_where_nginx_tells_it() {
        let config = "events {}\nhttp {\n server {\n  listen 80\n  server_name a;\n }\n}";
        assert_eq!(problems(config)[0], "invalid parameter \"server_name\" :5");
        let config = "events {}\nhttp {\n server {\n  root /a\n }\n}";
        assert_eq!(problems(config)[0], "unexpected \"}\" :5");
    }

    #[test]
    fn what_a_foreign_module_may_know_is_no_problem() {
        assert_eq!(
            problems(
                "load_module modules/ngx_http_lua_module.so; events {} http { init_by_lua_block { a } lua_x y; }"
            ),
            Vec::<String>::new()
        );
    }
}
