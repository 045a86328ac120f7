//! Where the gateway logs, and in which format.

use super::config::{Config, NodeId};
use super::instance::absolute;
use super::parameters::Levels;
use super::routes::Routes;
use crate::gateway::STANDARD_STREAMS;
use crate::{LogContent, LogSink, LogTarget};
use why502_facts::{AccessLogFormat, AccessWriting, ErrorLevel, FormatEscape};

/// The predefined format (`ngx_http_combined_fmt`).
const COMBINED: &str = "$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent \"$http_referer\" \"$http_user_agent\"";

/// Where logs go that the configuration does not name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DefaultLogs {
    /// The prefix of relative paths.
    pub(crate) prefix: String,
    /// The option `-e`, or what the binary was built with.
    pub(crate) error: Option<String>,
    /// What the binary was built with.
    pub(crate) access: Option<String>,
    /// Whether there is a process whose standard streams can be looked at.
    pub(crate) is_running: bool,
}

/// The logs that some route of a configuration writes to.
pub(crate) fn read_logs(config: &Config, routes: &Routes, defaults: &DefaultLogs) -> Vec<LogSink> {
    let mut sinks: Vec<LogSink> = Vec::new();
    let mut add = |sink: LogSink| {
        // What cannot be read is told with its place.
        let is_file = matches!(sink.target, LogTarget::File(_));
        let same = |known: &&mut LogSink| {
            known.target == sink.target
                && (is_file || known.at == sink.at)
                && std::mem::discriminant(&known.content) == std::mem::discriminant(&sink.content)
        };
        match sinks.iter_mut().find(same) {
            Some(known) => merge(known, sink),
            None => sinks.push(sink),
        }
    };
    let main = Levels { config, blocks: vec![None] };
    error_logs(&main, defaults, &[])
        .into_iter()
        .map(|sink| LogSink { tells_requests: false, ..sink })
        .for_each(&mut add);
    for (route, block) in routes.routes.iter().zip(&routes.blocks) {
        let levels = Levels::of(config, *block);
        error_logs(&levels, defaults, &[route.server]).into_iter().for_each(&mut add);
        access_logs(&levels, defaults, route.server).into_iter().for_each(&mut add);
        for under_condition in conditional_blocks(config, *block) {
            access_logs(&Levels::of(config, under_condition), defaults, route.server)
                .into_iter()
                .for_each(&mut add);
        }
    }
    sinks
}

/// The blocks of `if` and `limit_except` in a block: they may log elsewhere.
fn conditional_blocks(config: &Config, block: NodeId) -> Vec<NodeId> {
    let is_conditional = |id: &&NodeId| matches!(config.node(**id).name.as_str(), "if" | "limit_except");
    let mut found = Vec::new();
    for id in config.children(Some(block)).iter().filter(is_conditional) {
        found.push(*id);
        found.extend(conditional_blocks(config, *id));
    }
    found
}

/// Two routes that write to one file: the lower level is what the file holds.
fn merge(known: &mut LogSink, other: LogSink) {
    known.tells_requests |= other.tells_requests;
    known.copies = known.copies.max(other.copies);
    if !known.servers.is_empty() {
        known.servers.extend(
            other
                .servers
                .iter()
                .filter(|server| !known.servers.contains(server))
                .copied()
                .collect::<Vec<_>>(),
        );
    }
    if let (LogContent::Error { level: known }, LogContent::Error { level }) =
        (&mut known.content, other.content)
    {
        *known = (*known).max(level);
    }
}

fn error_logs(levels: &Levels<'_>, defaults: &DefaultLogs, servers: &[usize]) -> Vec<LogSink> {
    let found = levels.nearest("error_log");
    if found.is_empty() {
        let path = defaults.error.as_deref().unwrap_or("logs/error.log");
        let content = LogContent::Error { level: ErrorLevel::Error };
        return vec![LogSink {
            target: target(path, defaults),
            content,
            at: None,
            servers: servers.to_vec(),
            tells_requests: true,
            copies: 1,
        }];
    }
    let sink = |id: NodeId| {
        let node = levels.config.node(id);
        let level = node.values().skip(1).find_map(level).unwrap_or(ErrorLevel::Error);
        Some(LogSink {
            target: target(node.arg(0)?, defaults),
            content: LogContent::Error { level },
            at: Some(levels.at(id)),
            servers: servers.to_vec(),
            tells_requests: true,
            copies: 1,
        })
    };
    found.into_iter().filter_map(sink).collect()
}

fn access_logs(levels: &Levels<'_>, defaults: &DefaultLogs, server: usize) -> Vec<LogSink> {
    let found = levels.nearest("access_log");
    let servers = vec![server];
    if found.is_empty() {
        let path = defaults.access.as_deref().unwrap_or("logs/access.log");
        let content = LogContent::Access { format: Some(combined()), writing: AccessWriting::AtOnce };
        let target = target(path, defaults);
        return vec![LogSink { target, content, at: None, servers, tells_requests: true, copies: 1 }];
    }
    // One `off` silences all logs of its level (`ngx_http_log_handler`).
    if let Some(id) = found.iter().find(|id| levels.config.node(**id).arg(0) == Some("off")) {
        return vec![LogSink {
            target: LogTarget::Elsewhere("off".to_owned()),
            content: LogContent::Access { format: None, writing: AccessWriting::AtOnce },
            at: Some(levels.at(*id)),
            servers,
            tells_requests: true,
            copies: 1,
        }];
    }
    let sink = |id: NodeId| {
        let node = levels.config.node(id);
        let name = node.arg(1).filter(|name| !name.contains('=')).unwrap_or("combined");
        let format = find_format(levels.config, name).or_else(|| (name == "combined").then(combined));
        let is_gathered = ["buffer", "flush", "gzip"].iter().any(|name| node.parameter(name).is_some())
            || node.values().any(|value| value == "gzip");
        let writing = match node.parameter("if") {
            Some(_) => AccessWriting::Selected,
            None if is_gathered => AccessWriting::Buffered,
            None => AccessWriting::AtOnce,
        };
        Some(LogSink {
            target: target(node.arg(0)?, defaults),
            content: LogContent::Access { format, writing },
            at: Some(levels.at(id)),
            servers: servers.clone(),
            tells_requests: true,
            copies: 1,
        })
    };
    let sinks: Vec<LogSink> = found.into_iter().filter_map(sink).collect();
    let copies = |target: &LogTarget| sinks.iter().filter(|other| other.target == *target).count() as u64;
    sinks.iter().map(|sink| LogSink { copies: copies(&sink.target), ..sink.clone() }).collect()
}

fn combined() -> AccessLogFormat {
    AccessLogFormat { text: COMBINED.to_owned(), escape: FormatEscape::Default }
}

/// `log_format NAME [escape=…] STRING…`: the strings are joined without anything between them.
fn find_format(config: &Config, name: &str) -> Option<AccessLogFormat> {
    let id = config.named(config.http(), "log_format").find(|id| config.node(*id).arg(0) == Some(name))?;
    let mut values: Vec<&str> = config.node(id).values().skip(1).collect();
    let escape = match values.first().and_then(|value| value.strip_prefix("escape=")) {
        Some(escape) => {
            values.remove(0);
            match escape {
                "json" => FormatEscape::Json,
                "none" => FormatEscape::None,
                _ => FormatEscape::Default,
            }
        }
        None => FormatEscape::Default,
    };
    Some(AccessLogFormat { text: values.concat(), escape })
}

fn level(text: &str) -> Option<ErrorLevel> {
    Some(match text {
        "emerg" => ErrorLevel::Emerg,
        "alert" => ErrorLevel::Alert,
        "crit" => ErrorLevel::Crit,
        "error" => ErrorLevel::Error,
        "warn" => ErrorLevel::Warn,
        "notice" => ErrorLevel::Notice,
        "info" => ErrorLevel::Info,
        _ if text.starts_with("debug") => ErrorLevel::Debug,
        _ => return None,
    })
}

fn target(text: &str, defaults: &DefaultLogs) -> LogTarget {
    if let Some(stream) = stream(text).filter(|_| defaults.is_running) {
        return LogTarget::File(stream.to_owned());
    }
    let is_elsewhere = text == "stderr"
        || text.starts_with("syslog:")
        || text.starts_with("memory:")
        || text.starts_with("/dev/")
        || text.contains('$');
    if is_elsewhere {
        LogTarget::Elsewhere(text.to_owned())
    } else {
        LogTarget::File(absolute(text, &defaults.prefix))
    }
}

/// The standard stream that a log is written to. `stderr` is nginx's own word for it, and stands for descriptor 2.
fn stream(text: &str) -> Option<&'static str> {
    match text {
        "/dev/stdout" | "/dev/fd/1" | "/proc/self/fd/1" => Some(STANDARD_STREAMS[0]),
        "stderr" | "/dev/stderr" | "/dev/fd/2" | "/proc/self/fd/2" => Some(STANDARD_STREAMS[1]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::World;
    use crate::{LogContent, LogTarget};
    use why502_facts::{AccessWriting, FormatEscape, Root};

    /// Target, content and servers of every sink.
    fn sinks(http: &str) -> Vec<String> {
        let gateway = World::http(http).gateway();
        let shape = |sink: &crate::LogSink| {
            let target = match &sink.target {
                LogTarget::File(path) => path.clone(),
                LogTarget::Elsewhere(text) => format!("({text})"),
            };
            let content = match &sink.content {
                LogContent::Access { format, writing } => {
                    let length = format.as_ref().map_or("none".to_owned(), |own| own.text.len().to_string());
                    format!(
                        "access {length}{}",
                        if *writing == AccessWriting::AtOnce {
                            String::new()
                        } else {
                            format!(" {writing:?}")
                        }
                    )
                }
                LogContent::Error { level } => format!("error {level:?}"),
            };
            format!("{target} {content} {:?}", sink.servers)
        };
        gateway.logs.iter().map(shape).collect()
    }

    const COMBINED: usize = super::COMBINED.len();

    #[test]
    fn without_directives_the_built_in_paths_hold() {
        let expected = [
            "/var/log/nginx/error.log error Error []".to_owned(),
            format!("/var/log/nginx/access.log access {COMBINED} [0]"),
        ];
        assert_eq!(sinks("server { }"), expected);
    }

    #[test]
    fn logs_are_those_of_the_nearest_level() {
        let http = "log_format f '$a' '$b'; access_log /l/http f; error_log /l/e warn; error_log stderr info;
            server { access_log off; location /x { access_log /l/x f if=$c; access_log syslog:server=10.0.0.1 f; } }
            server { error_log logs/own debug_http; access_log /l/$host; if ($a) { access_log /l/if f; } }";
        assert_eq!(
            sinks(http),
            [
                "/var/log/nginx/error.log error Error []",
                "/l/e error Warn [0]",
                "/dev/stderr error Info [0]",
                "(off) access none [0]",
                "/l/x access 4 Selected [0]",
                "(syslog:server=10.0.0.1) access 4 [0]",
                "/usr/share/nginx/logs/own error Debug [1]",
                &format!("(/l/$host) access {COMBINED} [1]"),
                "/l/if access 4 [1]",
            ]
        );
    }

    #[test]
    fn a_log_named_twice_on_one_level_holds_each_request_twice() {
        let http = "access_log /l/a; access_log /l/a; server { } server { access_log /l/b; }";
        let gateway = World::http(http).gateway();
        let of = |path: &str| {
            let target = LogTarget::File(path.to_owned());
            gateway.logs.iter().find(|sink| sink.target == target).map(|sink| sink.copies)
        };
        assert_eq!((of("/l/a"), of("/l/b")), (Some(2), Some(1)));
    }

    #[test]
    fn one_file_of_several_servers_is_one_log() {
        let http = "access_log /l/a; server { error_log /l/e; } server { error_log /l/e info; }";
        let own = sinks(http);
        assert!(
            own.contains(&"/l/e error Info [0, 1]".to_owned())
                && own.contains(&format!("/l/a access {COMBINED} [0, 1]")),
            "{own:?}"
        );
    }

    #[test]
    fn requests_are_told_where_a_route_writes() {
        let http =
            "error_log /l/e; server { location /a { access_log off; } location /b { access_log off; } }";
        let gateway = World::http(http).gateway();
        let told: Vec<_> = gateway.logs.iter().map(|sink| (&sink.target, sink.tells_requests)).collect();
        let (file, elsewhere) =
            (|path: &str| LogTarget::File(path.to_owned()), LogTarget::Elsewhere("off".to_owned()));
        assert_eq!(
            told,
            [
                (&file("/var/log/nginx/error.log"), false),
                (&file("/l/e"), true),
                (&file("/var/log/nginx/access.log"), true),
                (&elsewhere, true),
                (&elsewhere, true),
            ]
        );
        let gateway = World::http("server { }").gateway();
        assert!(gateway.logs.iter().all(|sink| sink.tells_requests));
    }

    #[test]
    fn standard_streams_are_those_of_the_master_and_no_files_of_anybody_else() {
        let http = "access_log /dev/stdout; error_log /dev/stderr notice; server { }";
        let own = sinks(http);
        assert!(own.contains(&"/dev/stderr error Notice [0]".to_owned()), "{own:?}");
        let live = World::http(http).gateway();
        assert_eq!(live.root_of_log("/dev/stdout"), Root::Process(10));
        assert_eq!(live.root_of_log("/var/log/nginx/access.log"), live.root);
        let config = format!("#- /etc/nginx/nginx.conf\nevents {{}}\nhttp {{\n{http}\n}}\n");
        let target = LogTarget::Elsewhere("/dev/stdout".to_owned());
        assert!(World::offline(&config).gateway().logs.iter().any(|sink| sink.target == target));
    }

    #[test]
    fn formats_are_joined_and_escaped_as_told() {
        let gateway = World::http(
            "log_format j escape=json '{\"a\":' '\"$a\"}'; access_log /l j; access_log /m gone; server { }",
        )
        .gateway();
        let formats: Vec<_> = gateway
            .logs
            .iter()
            .filter_map(|sink| match &sink.content {
                LogContent::Access { format, .. } => {
                    Some(format.as_ref().map(|own| (own.text.as_str(), own.escape)))
                }
                LogContent::Error { .. } => None,
            })
            .collect();
        assert_eq!(formats, [Some(("{\"a\":\"$a\"}", FormatEscape::Json)), None]);
    }
}
