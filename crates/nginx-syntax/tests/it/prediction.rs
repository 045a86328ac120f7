//! What nginx should write about a configuration, if the tree is right.
//!
//! nginx tells its tokens when one knows how to ask. A `types { … }` block takes lines of any tokens and
//! warns of each extension that it has seen before: `duplicate extension "B", content type: "A", … in
//! FILE:LINE`. So a block with every line twice makes nginx print every token of every line, unescaped, and
//! the line that it has counted up to. Everywhere else names that nobody knows do: `unknown directive "A" in
//! FILE:LINE`. This module predicts all of that output from the tree, byte for byte, with just enough
//! semantics for the frames in which the tests put their texts.

use std::collections::BTreeMap;

use nginx_syntax::{Argument, Directive, SyntaxErrorKind, Terminator, parse};

use crate::nginx::FILE;

/// nginx cuts messages about configurations at this many bytes (`NGX_MAX_CONF_ERRSTR`).
const MAX_MESSAGE_BYTES: usize = 1024;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Context {
    Http,
    Location,
    Main,
    Server,
    Types,
}

/// Predicts everything that `nginx -t` writes; `None` if the text comes to use names that have a meaning.
pub(crate) fn predict(config: &[u8]) -> Option<Vec<u8>> {
    let parse = parse(config);
    let error = parse.errors.first();
    let stops_at = error.map_or(config.len(), |error| match error.kind {
        // The only error that a human should look for far from where nginx stops.
        SyntaxErrorKind::UnclosedBlock => config.len(),
        _ => error.offset as usize,
    });
    let mut output = Output::default();
    for (_, directive) in parse.tree.walk() {
        let is_read = directive.head_range().end as usize <= stops_at;
        if !is_read || directive.terminator() == Terminator::Missing {
            break;
        }
        if !output.directive(directive)? {
            return Some(output.end());
        }
    }
    if let Some(error) = error {
        output.message("emerg", &[&error.message()], error.line);
        return Some(output.end());
    }
    output
        .written
        .extend_from_slice(format!("nginx: the configuration file {FILE} syntax is ok\n").as_bytes());
    output.written.extend_from_slice(b"nginx: [emerg] no \"events\" section in configuration\n");
    Some(output.end())
}

#[derive(Default)]
struct Output {
    written: Vec<u8>,
    /// The content type of each extension, by the extension up to its first NUL: nginx compares with
    /// `strcmp`.
    types: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Output {
    /// Adds what nginx says about a directive; tells whether it goes on, `None` if that cannot be predicted.
    fn directive(&mut self, directive: Directive<'_>) -> Option<bool> {
        let context = context_of(directive)?;
        let line = directive.reported_line();
        let name = directive.name().value();
        if context == Context::Types {
            if directive.terminator() == Terminator::Block {
                self.message("emerg", &[b"unexpected \"{\""], line);
                return Some(false);
            }
            if c_string(&name) == b"include" {
                return None;
            }
            for argument in directive.arguments() {
                self.extension(argument, &name, line);
            }
            return Some(true);
        }
        if opened_by(directive, context).is_some() {
            return Some(true);
        }
        match &*name {
            b"load_module" if context == Context::Main => Some(true),
            b"content_by_lua_block" if context == Context::Location => {
                (!directive.lua_body()?.range().is_empty() && directive.arguments().count() == 0)
                    .then_some(true)
            }
            b"load_module" | b"content_by_lua_block" | b"http" | b"server" | b"location" | b"types" => None,
            _ => {
                self.message("emerg", &[b"unknown directive \"", c_string(&name), b"\""], line);
                Some(false)
            }
        }
    }

    /// Adds what nginx says about an argument of a line in `types { … }` (`ngx_http_core_type`).
    fn extension(&mut self, argument: Argument<'_>, content_type: &[u8], line: u32) {
        let extension = argument.value().to_ascii_lowercase();
        if let Some(old) = self.types.insert(c_string(&extension).to_vec(), content_type.to_vec()) {
            let words: [&[u8]; 7] = [
                b"duplicate extension \"",
                &extension,
                b"\", content type: \"",
                content_type,
                b"\", previous content type: \"",
                &old,
                b"\"",
            ];
            self.message("warn", &words, line);
        }
    }

    fn message(&mut self, level: &str, words: &[&[u8]], line: u32) {
        let mut words = words.concat();
        words.truncate(MAX_MESSAGE_BYTES);
        self.written.extend_from_slice(format!("nginx: [{level}] ").as_bytes());
        self.written.append(&mut words);
        self.written.extend_from_slice(format!(" in {FILE}:{line}\n").as_bytes());
    }

    fn end(mut self) -> Vec<u8> {
        self.written.extend_from_slice(format!("nginx: configuration file {FILE} test failed\n").as_bytes());
        self.written
    }
}

fn context_of(directive: Directive<'_>) -> Option<Context> {
    match directive.parent() {
        None => Some(Context::Main),
        Some(parent) => opened_by(parent, context_of(parent)?),
    }
}

fn opened_by(directive: Directive<'_>, context: Context) -> Option<Context> {
    let n_arguments = directive.arguments().count();
    if directive.terminator() != Terminator::Block {
        return None;
    }
    match (context, &*directive.name().value(), n_arguments) {
        (Context::Main, b"http", 0) => Some(Context::Http),
        (Context::Http, b"server", 0) => Some(Context::Server),
        (Context::Server, b"location", 1) => Some(Context::Location),
        (Context::Http | Context::Server | Context::Location, b"types", 0) => Some(Context::Types),
        _ => None,
    }
}

fn c_string(bytes: &[u8]) -> &[u8] {
    bytes.split(|&byte| byte == 0).next().unwrap_or_default()
}
