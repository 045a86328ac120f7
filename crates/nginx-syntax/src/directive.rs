//! Directives: a name, its arguments, and what ends them.

use std::ops::Range;

use crate::argument::Argument;
use crate::block::{Block, Comment};
use crate::token::TokenKind;
use crate::tree::{DirectiveId, Node, ROOT, Tree};

/// A directive of a [`Tree`].
#[derive(Clone, Copy, Debug)]
pub struct Directive<'t> {
    pub(crate) tree: &'t Tree,
    pub(crate) node: u32,
}

/// What ends the name and the arguments of a directive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Terminator {
    /// A `{`, and more directives behind it.
    Block,
    /// A `{`, and Lua code behind it.
    LuaBlock,
    /// Nothing: the text ends, or a `}` comes, where a `;` was needed.
    Missing,
    /// A `;`.
    Semicolon,
}

/// The Lua code between the braces of a `*_by_lua_block`.
#[derive(Clone, Copy, Debug)]
pub struct LuaBody<'t> {
    tree: &'t Tree,
    start: u32,
    end: u32,
    is_closed: bool,
}

impl<'t> Directive<'t> {
    /// Returns what names the directive without borrowing the tree.
    pub fn id(self) -> DirectiveId {
        DirectiveId(self.node)
    }

    /// Returns the name: the first argument that nginx reads, with or without quotes.
    pub fn name(self) -> Argument<'t> {
        Argument { tree: self.tree, token: self.stored().first_token }
    }

    /// Tells whether the directive has the given name.
    pub fn is(self, name: &[u8]) -> bool {
        *self.name().value() == *name
    }

    /// Iterates over the arguments, the name not among them.
    pub fn arguments(self) -> impl DoubleEndedIterator<Item = Argument<'t>> + Clone {
        let Node { first_token, head_end, .. } = self.stored();
        let Self { tree, .. } = self;
        let tokens = first_token + 1..head_end;
        tokens
            .filter(|&token| tree.token_kind(token).is_some_and(TokenKind::is_argument))
            .map(|token| Argument { tree, token })
    }

    /// Returns the argument with the given index, the first one behind the name being 0.
    pub fn argument(self, idx: usize) -> Option<Argument<'t>> {
        self.arguments().nth(idx)
    }

    /// Returns what ends the name and the arguments.
    pub fn terminator(self) -> Terminator {
        self.stored().terminator
    }

    /// Returns the block of directives, if the directive has one.
    pub fn block(self) -> Option<Block<'t>> {
        (self.terminator() == Terminator::Block).then_some(Block { tree: self.tree, node: self.node })
    }

    /// Returns the Lua code, if the directive is a `*_by_lua_block { … }`.
    pub fn lua_body(self) -> Option<LuaBody<'t>> {
        if self.terminator() != Terminator::LuaBlock {
            return None;
        }
        let start = self.tree.token_range(self.stored().head_end).end;
        let is_closed = self.is_closed();
        let end = self.range().end - u32::from(is_closed);
        Some(LuaBody { tree: self.tree, start, end, is_closed })
    }

    /// Returns the directive whose block this one is in; `None` at the top of the file.
    pub fn parent(self) -> Option<Self> {
        let parent = self.stored().parent;
        (parent != ROOT).then_some(Self { node: parent, ..self })
    }

    /// Returns the block that this directive is in, the file itself at the top.
    pub fn parent_block(self) -> Block<'t> {
        Block { tree: self.tree, node: self.stored().parent }
    }

    /// Iterates over the directives around this one, from the inside to the outside.
    pub fn ancestors(self) -> impl Iterator<Item = Self> {
        std::iter::successors(self.parent(), |directive| directive.parent())
    }

    /// Returns the number of directives around this one.
    pub fn depth(self) -> u32 {
        self.stored().depth
    }

    /// Iterates over the comments between the name, the arguments and the terminator.
    pub fn comments(self) -> impl DoubleEndedIterator<Item = Comment<'t>> {
        let Node { first_token, head_end, .. } = self.stored();
        let Self { tree, .. } = self;
        let tokens =
            (first_token..head_end).filter(|&token| tree.token_kind(token) == Some(TokenKind::Comment));
        tokens.map(|token| Comment { tree, range: tree.token_range(token) })
    }

    /// Returns the bytes from the beginning of the name up to and with the `;` or the `}`.
    pub fn range(self) -> Range<u32> {
        let Node { first_token, end_token, .. } = self.stored();
        self.tree.token_range(first_token).start..self.tree.token_range(end_token).start
    }

    /// Returns the bytes from the beginning of the name up to and with the `;` or the `{`.
    pub fn head_range(self) -> Range<u32> {
        let Node { first_token, head_end, terminator, .. } = self.stored();
        let end = self.tree.token_range(head_end);
        let end = if terminator == Terminator::Missing { end.start } else { end.end };
        self.tree.token_range(first_token).start..end
    }

    /// Returns the line that nginx prints when it refuses this directive, counted from 1.
    ///
    /// That is the line of the `;` or `{` (or of what stands in its place), for nginx looks at a directive
    /// only when it has read all of it. Behind long Lua code it can be too small: lua-nginx-module does not
    /// count the lines of what it has to skip at the end of its buffer.
    pub fn reported_line(self) -> u32 {
        self.stored().reported_line
    }

    /// Returns the tree that the directive belongs to.
    pub fn tree(self) -> &'t Tree {
        self.tree
    }

    /// Tells whether nothing of the directive is missing: neither its terminator nor the `}` of its block.
    pub(crate) fn is_closed(self) -> bool {
        self.stored().is_closed
    }

    fn stored(self) -> Node {
        self.tree.node(self.node)
    }
}

impl<'t> LuaBody<'t> {
    /// Returns where the code is: between the braces, which are not part of it.
    pub fn range(self) -> Range<u32> {
        self.start..self.end
    }

    /// Returns the code.
    pub fn text(self) -> &'t [u8] {
        self.tree.slice(self.range())
    }

    /// Tells whether a brace closes the block; without one, the code goes on to the end of the file.
    pub fn is_closed(self) -> bool {
        self.is_closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;

    fn text_of(tree: &Tree, range: Range<u32>) -> String {
        String::from_utf8_lossy(tree.slice(range)).into_owned()
    }

    fn first(tree: &Tree) -> Directive<'_> {
        tree.root().directives().next().expect("a directive")
    }

    #[test]
    fn ranges_end_with_the_terminator() {
        let tree = parse(*b" a b { c; } d;").tree;
        let directive = first(&tree);
        assert_eq!(text_of(&tree, directive.range()), "a b { c; }");
        assert_eq!(text_of(&tree, directive.head_range()), "a b {");
        assert_eq!(directive.block().map(|block| text_of(&tree, block.range())), Some(" c; ".to_owned()));
        let last = tree.root().directives().last().expect("a directive");
        assert_eq!(
            (text_of(&tree, last.range()), text_of(&tree, last.head_range())),
            ("d;".into(), "d;".into())
        );
    }

    #[test]
    fn a_directive_without_a_terminator_ends_with_its_last_argument() {
        let tree = parse(*b"a { b c # d\n}").tree;
        let (_, directive) = tree.walk().last().expect("a directive");
        assert_eq!(directive.terminator(), Terminator::Missing);
        assert_eq!(text_of(&tree, directive.range()), "b c");
        assert_eq!(directive.range(), directive.head_range());
        assert!(!directive.is_closed() && first(&tree).is_closed());
    }

    #[test]
    fn arguments_come_without_the_name() {
        let tree = parse(*b"a 'b c' # d\n e\n;").tree;
        let directive = first(&tree);
        let arguments: Vec<_> = directive.arguments().map(|argument| argument.value().into_owned()).collect();
        assert_eq!(arguments, [b"b c".to_vec(), b"e".to_vec()]);
        assert_eq!(directive.argument(1).map(|argument| argument.value().into_owned()), Some(b"e".to_vec()));
        assert!(directive.argument(2).is_none());
        assert_eq!(directive.comments().map(|comment| comment.text().to_vec()).collect::<Vec<_>>(), [b" d"]);
    }

    #[test]
    fn names_are_compared_by_value() {
        let tree = parse(*b"\"list\\\\en\" 80;").tree;
        assert!(first(&tree).is(b"list\\en") && !first(&tree).is(b"listen"));
    }

    #[test]
    fn parents_are_known() {
        let tree = parse(*b"a { b { c; } }").tree;
        let (_, innermost) = tree.walk().last().expect("a directive");
        let names: Vec<_> =
            innermost.ancestors().map(|directive| directive.name().value().into_owned()).collect();
        assert_eq!(names, [b"b", b"a"]);
        assert_eq!(innermost.depth(), 2);
        assert_eq!(
            innermost.parent_block().owner().map(Directive::id),
            innermost.parent().map(Directive::id)
        );
        assert!(first(&tree).parent().is_none() && first(&tree).parent_block().owner().is_none());
    }

    #[test]
    fn nginx_reports_the_line_of_the_terminator() {
        let tree = parse(*b"a\nb\n;\nc\n{d\n}").tree;
        let lines: Vec<_> = tree.walk().map(|(_, directive)| directive.reported_line()).collect();
        assert_eq!(lines, [3, 5, 6]);
    }

    #[test]
    fn lua_code_is_given_without_its_braces() {
        let tree = parse(*b"log_by_lua_block { x() }\nlog_by_lua_block{}").tree;
        let bodies: Vec<_> = tree.walk().filter_map(|(_, directive)| directive.lua_body()).collect();
        assert_eq!(bodies.iter().map(|body| body.text()).collect::<Vec<_>>(), [&b" x() "[..], b""]);
        assert!(bodies.iter().all(|body| body.is_closed()));
        assert!(first(&tree).block().is_none());
    }

    #[test]
    fn lua_code_without_an_end_is_not_closed() {
        for text in [&b"log_by_lua_block { {}"[..], b"log_by_lua_block {"] {
            let tree = parse(text).tree;
            let body = first(&tree).lua_body().expect("lua");
            assert!(!body.is_closed());
            assert_eq!(body.text(), &text[18..]);
            assert_eq!(first(&tree).range().end as usize, text.len());
        }
    }
}
