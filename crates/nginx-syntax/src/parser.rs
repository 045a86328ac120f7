//! From tokens to directives: `ngx_conf_parse` without the handlers.

use std::sync::Arc;

use crate::argument::value_of;
use crate::directive::Terminator;
use crate::error::{SyntaxError, SyntaxErrorKind};
use crate::lexer::{Errors, Lexer, Source};
use crate::token::{MAX_TEXT_BYTES, StoredToken, TokenKind, to_offset};
use crate::tree::{Node, ROOT, Tree};

/// How many errors are reported at most; a file with so many is no configuration.
pub const MAX_ERRORS: usize = 1000;

/// What came of parsing a text.
#[derive(Clone, Debug)]
pub struct Parse {
    /// The tree; it has all bytes of the text, whatever was wrong with it.
    pub tree: Tree,
    /// What nginx refuses, at most [`MAX_ERRORS`]; the first one is what nginx reports before it stops.
    pub errors: Vec<SyntaxError>,
}

/// Parses the text of one configuration file.
///
/// A text of 4 GiB or more is not parsed: the tree is that of an empty text then, and the only error is
/// [`SyntaxErrorKind::TextTooLong`].
pub fn parse(text: impl Into<Arc<[u8]>>) -> Parse {
    parse_text(&text.into(), Source::File, MAX_TEXT_BYTES)
}

/// Parses the directives that nginx was given with its option `-g`.
///
/// They are read like a file, but tokens may have any length, there are no blocks, and an unexpected end has
/// other words.
pub fn parse_command_line(text: impl Into<Arc<[u8]>>) -> Parse {
    parse_text(&text.into(), Source::CommandLine, MAX_TEXT_BYTES)
}

fn parse_text(text: &Arc<[u8]>, source: Source, max_bytes: usize) -> Parse {
    if text.len() > max_bytes {
        let kind = SyntaxErrorKind::TextTooLong { bytes: text.len() as u64 };
        let tree = Tree::new(Arc::default(), Vec::new(), vec![Node::empty_root()]);
        return Parse { tree, errors: vec![SyntaxError { kind, offset: 0, line: 1 }] };
    }
    let mut parser = Parser {
        text,
        source,
        lexer: Lexer::new(text, source),
        errors: Errors::default(),
        tokens: Vec::new(),
        nodes: vec![Node::empty_root()],
        head: None,
        block: ROOT,
        open: Vec::new(),
    };
    parser.run();
    let Parser { tokens, nodes, errors, .. } = parser;
    Parse { tree: Tree::new(Arc::clone(text), tokens, nodes), errors: errors.list }
}

struct Parser<'t> {
    text: &'t [u8],
    source: Source,
    lexer: Lexer<'t>,
    errors: Errors,
    tokens: Vec<StoredToken>,
    nodes: Vec<Node>,
    head: Option<Head>,
    /// The node whose block new directives belong to.
    block: u32,
    /// The braces that are open, the innermost last. A stack of our own: nginx recurses here.
    open: Vec<OpenBrace>,
}

/// A directive of which name and arguments are being read.
#[derive(Clone, Copy)]
struct Head {
    node: u32,
    last_argument: u32,
}

#[derive(Clone, Copy)]
enum OpenBrace {
    Directive {
        node: u32,
    },
    /// A `{` without a directive: kept in mind so that its `}` closes nothing else.
    Stray,
}

/// Whether a block has its `}`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum IsClosed {
    No,
    Yes,
}

impl Parser<'_> {
    fn run(&mut self) {
        let mut start = 0;
        while let Some(kind) = self.lexer.next(&mut self.errors) {
            let token = self.push_token(kind, start);
            match kind {
                TokenKind::OpenBrace => self.open_brace(token, start),
                TokenKind::CloseBrace => self.close_brace(token, start),
                TokenKind::Semicolon => self.semicolon(token, start),
                kind if kind.is_argument() => self.argument(token),
                _ => {}
            }
            start = self.lexer.pos();
        }
        self.end();
    }

    fn push_token(&mut self, kind: TokenKind, start: usize) -> u32 {
        let token = to_offset(self.tokens.len());
        self.tokens.push(StoredToken { kind, start: to_offset(start) });
        token
    }

    fn argument(&mut self, token: u32) {
        if let Some(head) = &mut self.head {
            head.last_argument = token;
            return;
        }
        let node = to_offset(self.nodes.len());
        let depth = self.node_mut(self.block).map_or(0, |parent| parent.depth + 1);
        self.nodes.push(Node {
            parent: self.block,
            n_nodes: 1,
            // The root is not a directive: it does not count.
            depth: if self.block == ROOT { 0 } else { depth },
            first_token: token,
            head_end: token + 1,
            end_token: token + 1,
            terminator: Terminator::Missing,
            reported_line: self.lexer.line(),
            is_closed: false,
        });
        self.head = Some(Head { node, last_argument: token });
    }

    fn semicolon(&mut self, token: u32, start: usize) {
        match self.head.take() {
            Some(head) => self.end_head(head, token, Terminator::Semicolon),
            None => self.report(SyntaxErrorKind::UnnamedDirective, start),
        }
    }

    fn open_brace(&mut self, token: u32, start: usize) {
        let Some(head) = self.head.take() else {
            self.report(SyntaxErrorKind::UnnamedBlock, start);
            self.open.push(OpenBrace::Stray);
            return;
        };
        if self.source == Source::CommandLine {
            self.report(SyntaxErrorKind::BlockOnCommandLine, start);
        }
        if self.is_lua(head.node) {
            self.end_head(head, token, Terminator::LuaBlock);
            self.lua_block(head.node, start);
        } else {
            self.end_head(head, token, Terminator::Block);
            self.open.push(OpenBrace::Directive { node: head.node });
            self.block = head.node;
        }
    }

    fn close_brace(&mut self, token: u32, start: usize) {
        let is_unterminated = self.head.is_some();
        if let Some(head) = self.head.take() {
            let offset = self.end_of_argument(head);
            self.report(SyntaxErrorKind::UnterminatedInBlock, offset);
            self.end_head(head, head.last_argument + 1, Terminator::Missing);
        }
        match self.open.pop() {
            Some(OpenBrace::Directive { node }) => self.end_block(node, token + 1, IsClosed::Yes),
            Some(OpenBrace::Stray) => {}
            // nginx has but one complaint of each brace.
            None if is_unterminated => {}
            None => self.report(SyntaxErrorKind::UnmatchedCloseBrace, start),
        }
    }

    fn lua_block(&mut self, node: u32, open_brace: usize) {
        let body = self.lexer.pos();
        let end = self.lexer.lua_body(open_brace, &mut self.errors);
        if end.body_end > body {
            self.push_token(TokenKind::LuaBody, body);
        }
        if end.is_closed {
            self.push_token(TokenKind::CloseBrace, end.body_end);
        }
        let end_token = to_offset(self.tokens.len());
        if let Some(node) = self.node_mut(node) {
            node.end_token = end_token;
            node.is_closed = end.is_closed;
        }
    }

    /// Ends what the end of the text leaves open; nginx complains of one thing only.
    fn end(&mut self) {
        let innermost = self.open.iter().rev().find_map(|open| match open {
            OpenBrace::Directive { node } => Some(*node),
            OpenBrace::Stray => None,
        });
        if let Some(head) = self.head.take() {
            let offset = self.end_of_argument(head);
            self.report(self.lexer.unterminated(), offset);
            self.end_head(head, head.last_argument + 1, Terminator::Missing);
        } else if let Some(node) = innermost {
            let first_token = self.node_mut(node).map_or(0, |node| node.first_token);
            let offset = self.tokens.get(first_token as usize).map_or(0, |token| token.start);
            self.report(SyntaxErrorKind::UnclosedBlock, offset as usize);
        }
        let end_token = to_offset(self.tokens.len());
        while let Some(open) = self.open.pop() {
            if let OpenBrace::Directive { node } = open {
                self.end_block(node, end_token, IsClosed::No);
            }
        }
        self.end_block(ROOT, end_token, IsClosed::Yes);
    }

    fn end_head(&mut self, head: Head, head_end: u32, terminator: Terminator) {
        let has_terminator = u32::from(terminator != Terminator::Missing);
        let line = self.lexer.line();
        if let Some(node) = self.node_mut(head.node) {
            node.head_end = head_end;
            node.end_token = head_end + has_terminator;
            node.terminator = terminator;
            node.reported_line = line;
            node.is_closed = terminator == Terminator::Semicolon;
        }
    }

    fn end_block(&mut self, block: u32, end_token: u32, is_closed: IsClosed) {
        let n_nodes = to_offset(self.nodes.len()) - block;
        if let Some(node) = self.node_mut(block) {
            node.n_nodes = n_nodes;
            node.end_token = end_token;
            node.is_closed = is_closed == IsClosed::Yes;
            self.block = node.parent;
        }
    }

    /// Tells whether nginx would hand the block to lua-nginx-module, or to its twin for streams.
    fn is_lua(&self, node: u32) -> bool {
        let Some(node) = self.nodes.get(node as usize) else {
            return false;
        };
        let Some(name) = self.tokens.get(node.first_token as usize) else {
            return false;
        };
        let raw = self.text.get(name.start as usize..self.token_end(node.first_token)).unwrap_or_default();
        value_of(name.kind, raw).ends_with(b"_by_lua_block")
    }

    /// Returns where the last argument ends: where a human would put the `;`.
    fn end_of_argument(&self, head: Head) -> usize {
        self.token_end(head.last_argument)
    }

    fn token_end(&self, token: u32) -> usize {
        self.tokens.get(token as usize + 1).map_or(self.lexer.pos(), |next| next.start as usize)
    }

    fn node_mut(&mut self, node: u32) -> Option<&mut Node> {
        self.nodes.get_mut(node as usize)
    }

    fn report(&mut self, kind: SyntaxErrorKind, offset: usize) {
        self.errors.report(kind, offset, self.lexer.line());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Draws a tree on one line: `name args;` or `name args{…}`, `!` for a missing terminator.
    fn outline(text: &[u8]) -> String {
        fn draw(block: crate::Block<'_>, out: &mut String) {
            for directive in block.directives() {
                let words = std::iter::once(directive.name()).chain(directive.arguments());
                let words: Vec<_> = words.map(|word| word.value().escape_ascii().to_string()).collect();
                out.push_str(&words.join(" "));
                match directive.block() {
                    Some(block) => {
                        out.push('{');
                        draw(block, out);
                        out.push('}');
                    }
                    None if directive.terminator() == Terminator::LuaBlock => out.push_str("{lua}"),
                    None if directive.terminator() == Terminator::Missing => out.push('!'),
                    None => out.push(';'),
                }
            }
        }
        let mut out = String::new();
        draw(parse(text).tree.root(), &mut out);
        out
    }

    fn errors(text: &[u8]) -> Vec<(SyntaxErrorKind, u32, u32)> {
        parse(text).errors.into_iter().map(|error| (error.kind, error.offset, error.line)).collect()
    }

    #[test]
    fn directives_nest() {
        assert_eq!(outline(b"a;b c{d{}e f;}g;"), "a;b c{d{}e f;}g;");
        assert_eq!(errors(b"a;b c{d{}e f;}g;"), []);
    }

    #[test]
    fn a_missing_semicolon_before_a_brace_is_shown_where_it_is_missing() {
        let text = b"http {\n  a b\n}\nc d;";
        assert_eq!(errors(text), [(SyntaxErrorKind::UnterminatedInBlock, 12, 3)]);
        assert_eq!(outline(text), "http{a b!}c d;");
    }

    #[test]
    fn a_brace_too_many_closes_nothing() {
        assert_eq!(errors(b"a{}\n}\nb;"), [(SyntaxErrorKind::UnmatchedCloseBrace, 4, 2)]);
        assert_eq!(outline(b"a{}\n}\nb;"), "a{}b;");
        for text in [&b"a }"[..], b"'a'}"] {
            assert_eq!(errors(text).len(), 1, "not two errors for one brace: {}", text.escape_ascii());
        }
    }

    #[test]
    fn punctuation_without_a_directive_is_an_error() {
        assert_eq!(errors(b";a;"), [(SyntaxErrorKind::UnnamedDirective, 0, 1)]);
        assert_eq!(errors(b"a{ {b;} c;}"), [(SyntaxErrorKind::UnnamedBlock, 3, 1)]);
        assert_eq!(outline(b"a{ {b;} c;} d;"), "a{b;c;}d;", "the stray brace is closed by its own");
    }

    #[test]
    fn only_the_innermost_open_block_is_reported() {
        assert_eq!(errors(b"a {\n b {\n"), [(SyntaxErrorKind::UnclosedBlock, 5, 3)]);
        assert_eq!(outline(b"a {\n b {\n"), "a{b{}}");
    }

    #[test]
    fn an_end_within_a_directive_is_reported_instead_of_the_open_block() {
        assert_eq!(errors(b"a {\n b c # d\n"), [(SyntaxErrorKind::UnterminatedAtEnd, 8, 3)]);
        assert_eq!(outline(b"a {\n b c # d\n"), "a{b c!}");
    }

    #[test]
    fn lua_code_is_not_looked_into() {
        let text = b"init_by_lua_block { local t = {\"}\"} }\nset_by_lua_block $x { return 1; } a;";
        assert_eq!(outline(text), "init_by_lua_block{lua}set_by_lua_block $x{lua}a;");
        assert_eq!(errors(text), []);
        assert_eq!(
            outline(b"\"log_by_lua_block\"{}a;"),
            "log_by_lua_block{lua}a;",
            "by value, not by spelling"
        );
        assert_eq!(outline(b"log_by_lua_block;by_lua_block{a;}"), "log_by_lua_block;by_lua_block{a;}");
    }

    #[test]
    fn lua_code_without_an_end_takes_the_rest() {
        let text = b"http {\n log_by_lua_block {\n a = {\n}\n";
        assert_eq!(errors(text)[0], (SyntaxErrorKind::LuaBlockUnclosed, 25, 3));
        assert_eq!(outline(text), "http{log_by_lua_block{lua}}");
    }

    #[test]
    fn lua_code_that_only_the_buffer_is_too_small_for_is_read_all_the_same() {
        let text = [b"log_by_lua_block {[[".to_vec(), vec![b'}'; 9000], b"]]}\na;".to_vec()].concat();
        let errors = errors(&text);
        assert_eq!(errors, [(SyntaxErrorKind::LuaBracketUnclosed { bracket: b"]]".to_vec() }, 18, 1)]);
        assert_eq!(outline(&text), "log_by_lua_block{lua}a;");
    }

    #[test]
    fn the_command_line_has_its_own_words() {
        let words = |text: &[u8]| parse_command_line(text).errors.first().map(ToString::to_string);
        assert_eq!(words(b"daemon off;"), None);
        assert_eq!(words(b"daemon off").as_deref(), Some("unexpected end of parameter, expecting \";\""));
        assert_eq!(words(b"daemon 'off").as_deref(), Some("unexpected end of parameter, expecting \";\""));
        assert_eq!(words(b"events {}").as_deref(), Some("block directives are not supported in -g option"));
    }

    #[test]
    fn what_follows_a_block_belongs_to_the_block_around_it() {
        let tree = parse([b"a{".repeat(50), b"b;}".repeat(50)].concat()).tree;
        let after = tree.walk().filter(|(_, directive)| directive.is(b"b"));
        let depths: Vec<_> = after.map(|(depth, directive)| (depth, directive.ancestors().count())).collect();
        assert_eq!(depths, (1..=50).rev().map(|depth| (depth, depth as usize)).collect::<Vec<_>>());
    }

    #[test]
    fn twenty_thousand_nested_blocks_do_not_overflow_the_stack() {
        let depth = 20_000;
        let open = parse(b"a{".repeat(depth));
        assert_eq!(open.errors.len(), 1);
        assert_eq!(open.tree.walk().last().map(|(depth, _)| depth), Some(19_999));
        let closed = parse([b"a{".repeat(depth), b"}".repeat(depth)].concat());
        assert_eq!(closed.errors, []);
    }

    #[test]
    fn a_text_beyond_the_limit_is_an_error_value() {
        let parse = parse_text(&Arc::from(*b"a;b;"), Source::File, 3);
        assert_eq!(parse.errors[0].kind, SyntaxErrorKind::TextTooLong { bytes: 4 });
        assert_eq!((parse.tree.text(), parse.tree.walk().count()), (&b""[..], 0));
    }
}
