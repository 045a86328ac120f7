//! Places in the configuration that a message of the gateway speaks of.

use crate::{Gateway, Source, Span};
use memchr::memmem;
use nginx_syntax::{Argument, Directive};
use std::sync::Arc;

/// A table of values of one variable for another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapTable {
    /// The variable that it makes, with its dollar sign.
    pub name: String,
    /// Its entries as written: values, `default` and parameters among them.
    pub entries: Vec<(String, String)>,
    /// Where it stands.
    pub at: Span,
}

impl MapTable {
    /// What it makes of an empty value; `None` where patterns or other files decide that
    /// (`ngx_http_map_find`: values first, then patterns, then the default).
    pub fn of_nothing(&self) -> Option<&str> {
        let of = |key: &str| self.entries.iter().find(|(own, _)| own == key).map(|(_, value)| value.as_str());
        let is_open = self.entries.iter().any(|(key, _)| key.starts_with('~') || key == "include");
        of("").or_else(|| if is_open { None } else { Some(of("default").unwrap_or_default()) })
    }
}

impl Gateway {
    /// What stands on a line of a configuration file, counted from 1; `None` if the line is empty or not there.
    pub fn line(&self, file: &str, line: u32) -> Option<Span> {
        let source = self.source(file)?;
        let index = usize::try_from(line.checked_sub(1)?).ok()?;
        let text = source.text.split_inclusive(|byte| *byte == b'\n').nth(index)?;
        let before: usize =
            source.text.split_inclusive(|byte| *byte == b'\n').take(index).map(<[u8]>::len).sum();
        let indent = text.len() - text.trim_ascii_start().len();
        let length = text.trim_ascii().len();
        (length > 0).then(|| span(source, before + indent, length)).flatten()
    }

    /// Whether a directive stands directly in the block of another one, in the same file.
    pub fn is_directly_in(&self, at: &Span, block: &Span) -> bool {
        let Some(source) = self.source(&at.file).filter(|_| at.file == block.file) else { return false };
        let owner = source.tree.directive_at(block.begin);
        let parent = source.tree.directive_at(at.begin).and_then(Directive::parent);
        owner.zip(parent).is_some_and(|(owner, parent)| owner.id() == parent.id())
    }

    /// The tables (`map`) that make another variable of one.
    pub fn maps_of(&self, variable: &str) -> Vec<MapTable> {
        let table = |source: &Source, directive: Directive<'_>| {
            let is_it = directive.is(b"map") && text(directive.argument(0)?) == variable;
            let block = directive.block().filter(|_| is_it)?;
            let entries =
                block.directives().filter_map(|own| Some((text(own.name()), text(own.argument(0)?))));
            let range = directive.head_range();
            Some(MapTable {
                name: text(directive.argument(1)?),
                entries: entries.collect(),
                at: span(source, range.start.try_into().ok()?, range.len())?,
            })
        };
        let all = self
            .sources
            .iter()
            .flat_map(|source| source.tree.walk().filter_map(move |(_, directive)| table(source, directive)));
        all.collect()
    }

    /// The first place where a text stands as an argument, whole.
    pub fn argument(&self, value: &str) -> Option<Span> {
        let is_edge = |byte: Option<&u8>| {
            byte.is_none_or(|byte| byte.is_ascii_whitespace() || b"\"';{}".contains(byte))
        };
        self.sources.iter().find_map(|source| {
            let text = &source.text;
            let mut found = memmem::find_iter(text, value.as_bytes());
            let at = found.find(|at| {
                let before = at.checked_sub(1).and_then(|before| text.get(before));
                is_edge(before) && is_edge(text.get(at + value.len())) && !is_comment(text, *at)
            })?;
            span(source, at, value.len())
        })
    }
}

/// Whether a place stands behind a `#` that begins its line.
fn is_comment(text: &[u8], at: usize) -> bool {
    let begin = memchr::memrchr(b'\n', &text[..at]).map_or(0, |end| end + 1);
    text[begin..at].trim_ascii_start().starts_with(b"#")
}

fn text(argument: Argument<'_>) -> String {
    String::from_utf8_lossy(&argument.value()).into_owned()
}

fn span(source: &Source, begin: usize, length: usize) -> Option<Span> {
    let before = source.text.get(..begin)?;
    let line = memchr::memchr_iter(b'\n', before).count();
    let column = begin - memchr::memrchr(b'\n', before).map_or(0, |end| end + 1);
    Some(Span {
        file: Arc::clone(&source.path),
        line: u32::try_from(line + 1).ok()?,
        column: u32::try_from(column + 1).ok()?,
        begin: u32::try_from(begin).ok()?,
        end: u32::try_from(begin + length).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use crate::testing::World;

    #[test]
    fn a_directive_is_in_one_block() {
        let gateway = World::http(
            "proxy_read_timeout 1s; server { location / { proxy_pass http://127.0.0.1; } \
             location /a { proxy_read_timeout 2s; proxy_pass http://127.0.0.1; } }",
        )
        .gateway();
        let is_own = |route: usize| {
            let route = &gateway.routes[route];
            let read = &route.action.pass().unwrap().timeouts.read;
            gateway.is_directly_in(read.at.as_ref().unwrap(), &route.at)
        };
        assert_eq!((is_own(1), is_own(2)), (false, true));
    }

    #[test]
    fn lines_and_arguments_are_found() {
        let gateway =
            World::http("server {\n  # ssl_certificate /a.pem;\n  ssl_certificate /a.pem;\n\n}").gateway();
        let path = gateway.sources[0].path.to_string();
        let at = gateway.argument("/a.pem").unwrap();
        assert_eq!(
            gateway.line(&path, at.line).map(|line| (line.line, line.begin)),
            Some((at.line, at.begin - 16))
        );
        assert!(gateway.source(&path).unwrap().text[at.begin as usize..].starts_with(b"/a.pem"));
        assert_eq!(gateway.argument("a.pem"), None);
        assert_eq!((gateway.line(&path, at.line + 1), gateway.line(&path, 0)), (None, None));
    }
}
