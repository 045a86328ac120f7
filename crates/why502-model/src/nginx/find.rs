//! Places in the configuration that a message of the gateway speaks of.

use crate::{Gateway, Source, Span};
use memchr::memmem;
use nginx_syntax::Directive;
use std::sync::Arc;

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
