//! Where the gateway logs, and in which format.

use super::config::{Config, NodeId};
use super::instance::CompiledIn;
use super::parameters::Levels;
use super::routes::Routes;
use crate::{LogContent, LogSink, LogTarget};
use why502_facts::{AccessLogFormat, ErrorLevel, FormatEscape};

/// The predefined format (`ngx_http_combined_fmt`).
const COMBINED: &str = "$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent \"$http_referer\" \"$http_user_agent\"";

/// The logs that some route of a configuration writes to.
pub(crate) fn read_logs(
    config: &Config,
    routes: &Routes,
    prefix: &str,
    compiled: &CompiledIn,
) -> Vec<LogSink> {
    let mut sinks: Vec<LogSink> = Vec::new();
    let mut add = |sink: LogSink| {
        let same = |known: &&mut LogSink| {
            known.target == sink.target
                && std::mem::discriminant(&known.content) == std::mem::discriminant(&sink.content)
        };
        match sinks.iter_mut().find(same) {
            Some(known) => merge(known, sink),
            None => sinks.push(sink),
        }
    };
    let main = Levels { config, blocks: vec![None] };
    error_logs(&main, prefix, compiled, Vec::new()).into_iter().for_each(&mut add);
    for (route, block) in routes.routes.iter().zip(&routes.blocks) {
        let levels = Levels::of(config, *block);
        error_logs(&levels, prefix, compiled, vec![route.server]).into_iter().for_each(&mut add);
        access_logs(&levels, prefix, compiled, route.server).into_iter().for_each(&mut add);
    }
    sinks
}

/// Two routes that write to one file: the lower level is what the file holds.
fn merge(known: &mut LogSink, other: LogSink) {
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

fn error_logs(levels: &Levels<'_>, prefix: &str, compiled: &CompiledIn, servers: Vec<usize>) -> Vec<LogSink> {
    let found = levels.nearest("error_log");
    if found.is_empty() {
        let target = target(compiled.error_log.as_deref().unwrap_or("logs/error.log"), prefix);
        return vec![LogSink {
            target,
            content: LogContent::Error { level: ErrorLevel::Error },
            at: None,
            servers,
        }];
    }
    let sink = |id: NodeId| {
        let node = levels.config.node(id);
        Some(LogSink {
            target: target(node.arg(0)?, prefix),
            content: LogContent::Error {
                level: node.values().skip(1).find_map(level).unwrap_or(ErrorLevel::Error),
            },
            at: Some(levels.at(id)),
            servers: servers.clone(),
        })
    };
    found.into_iter().filter_map(sink).collect()
}

fn access_logs(levels: &Levels<'_>, prefix: &str, compiled: &CompiledIn, server: usize) -> Vec<LogSink> {
    let found = levels.nearest("access_log");
    let combined = || Some(AccessLogFormat { text: COMBINED.to_owned(), escape: FormatEscape::Default });
    if found.is_empty() {
        let target = target(compiled.access_log.as_deref().unwrap_or("logs/access.log"), prefix);
        let content = LogContent::Access { format: combined(), conditional: false };
        return vec![LogSink { target, content, at: None, servers: vec![server] }];
    }
    let sink = |id: NodeId| {
        let node = levels.config.node(id);
        let path = node.arg(0).filter(|path| *path != "off")?;
        let name = node.arg(1).filter(|name| !name.contains('=')).unwrap_or("combined");
        let format =
            find_format(levels.config, name).or_else(|| (name == "combined").then(combined).flatten());
        let conditional = node.values().any(|value| value.starts_with("if="));
        let content = LogContent::Access { format, conditional };
        Some(LogSink {
            target: target(path, prefix),
            content,
            at: Some(levels.at(id)),
            servers: vec![server],
        })
    };
    found.into_iter().filter_map(sink).collect()
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

fn target(text: &str, prefix: &str) -> LogTarget {
    if text == "stderr" || text.starts_with("syslog:") || text.starts_with("memory:") || text.contains('$') {
        return LogTarget::Elsewhere(text.to_owned());
    }
    LogTarget::File(if text.starts_with('/') {
        text.to_owned()
    } else {
        format!("{}/{text}", prefix.trim_end_matches('/'))
    })
}
