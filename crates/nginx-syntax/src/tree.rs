//! The tree: a text, its tokens, and the directives among them.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use crate::block::{Block, Comment};
use crate::directive::{Directive, Terminator};
use crate::position::{LineColumn, LineIndex};
use crate::token::{StoredToken, Token, TokenKind, to_offset};

/// The syntax tree of one configuration file, together with its text.
///
/// Cheap to clone and to send: all clones share one allocation. Every byte of the text is in exactly one
/// token, in the order of the text; directives are runs of tokens. What an error left over (a `;` or `}` too
/// many) is a token that belongs to no directive.
#[derive(Clone)]
pub struct Tree {
    shared: Arc<Shared>,
}

/// Names a directive of one tree, to be kept where a [`Directive`] would borrow for too long.
///
/// Means nothing in another tree, not even in that of the edited text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DirectiveId(pub(crate) u32);

struct Shared {
    text: Arc<[u8]>,
    tokens: Vec<StoredToken>,
    /// In pre-order: the root, its first directive, the first directive in the block of that, and so on.
    nodes: Vec<Node>,
    lines: OnceLock<LineIndex>,
}

/// A directive, or the root: the file taken for the inside of a block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node {
    /// The enclosing node; the root is its own parent.
    pub(crate) parent: u32,
    /// How many nodes the node and all below it are.
    pub(crate) n_nodes: u32,
    /// How many directives enclose the directive.
    pub(crate) depth: u32,
    pub(crate) first_token: u32,
    /// The token that ends the name and the arguments, or the one behind the last argument if none does.
    pub(crate) head_end: u32,
    /// The token behind the last one.
    pub(crate) end_token: u32,
    pub(crate) terminator: Terminator,
    /// The line that nginx had counted up to when it had read the head.
    pub(crate) reported_line: u32,
    /// Whether nothing is missing: neither the terminator nor the `}` of a block.
    pub(crate) is_closed: bool,
}

/// The index of the root among the nodes.
pub(crate) const ROOT: u32 = 0;

impl Tree {
    pub(crate) fn new(text: Arc<[u8]>, tokens: Vec<StoredToken>, nodes: Vec<Node>) -> Self {
        Self { shared: Arc::new(Shared { text, tokens, nodes, lines: OnceLock::new() }) }
    }

    /// Returns the file as a block: the directives that no other directive encloses.
    pub fn root(&self) -> Block<'_> {
        Block { tree: self, node: ROOT }
    }

    /// Iterates over all directives in the order of the text, each with the number of directives around it.
    pub fn walk(&self) -> impl DoubleEndedIterator<Item = (u32, Directive<'_>)> + ExactSizeIterator {
        self.root().walk()
    }

    /// Returns the directive of an id of this tree; `None` if the tree has no such directive.
    pub fn directive(&self, id: DirectiveId) -> Option<Directive<'_>> {
        (id.0 != ROOT && (id.0 as usize) < self.shared.nodes.len())
            .then_some(Directive { tree: self, node: id.0 })
    }

    /// Returns the innermost directive with the byte at the offset in its range.
    pub fn directive_at(&self, offset: u32) -> Option<Directive<'_>> {
        let nodes = &self.shared.nodes;
        let below = nodes.partition_point(|node| self.token_range(node.first_token).start <= offset);
        let last = Directive { tree: self, node: to_offset(below.checked_sub(1)?) };
        std::iter::successors(Some(last), |directive| directive.parent())
            .take_while(|directive| directive.node != ROOT)
            .find(|directive| directive.range().contains(&offset))
    }

    /// Iterates over all tokens; their ranges cover the text without a gap.
    pub fn tokens(&self) -> impl DoubleEndedIterator<Item = Token> + ExactSizeIterator {
        (0..self.shared.tokens.len()).map(|idx| self.token(to_offset(idx)))
    }

    /// Returns the token with the byte at the offset.
    pub fn token_at(&self, offset: u32) -> Option<Token> {
        let below = self.shared.tokens.partition_point(|token| token.start <= offset);
        let token = self.token(to_offset(below.checked_sub(1)?));
        token.range.contains(&offset).then_some(token)
    }

    /// Iterates over all comments of the file in the order of the text.
    pub fn comments(&self) -> impl DoubleEndedIterator<Item = Comment<'_>> {
        let comments = self.tokens().filter(|token| token.kind == TokenKind::Comment);
        comments.map(|token| Comment { tree: self, range: token.range })
    }

    /// Returns the whole text.
    pub fn text(&self) -> &[u8] {
        &self.shared.text
    }

    /// Returns the whole text in the form in which it can be kept without a copy.
    pub fn shared_text(&self) -> Arc<[u8]> {
        Arc::clone(&self.shared.text)
    }

    /// Returns the bytes of a range; nothing of a range that is not within the text.
    pub fn slice(&self, range: Range<u32>) -> &[u8] {
        self.shared.text.get(range.start as usize..range.end as usize).unwrap_or_default()
    }

    /// Returns line and column of an offset; an offset behind the text is taken for its end.
    pub fn line_column(&self, offset: u32) -> LineColumn {
        self.lines().line_column(offset)
    }

    /// Returns the number of lines: line feeds and one.
    pub fn n_lines(&self) -> u32 {
        self.lines().n_lines()
    }

    /// Returns where a line is, counted from 1, its line feed included; `None` if the file has fewer lines.
    pub fn line_range(&self, line: u32) -> Option<Range<u32>> {
        self.lines().line_range(line)
    }

    /// Returns the bytes of a line, counted from 1, without its ending; `None` if the file has fewer lines.
    pub fn line(&self, line: u32) -> Option<&[u8]> {
        let bytes = self.slice(self.line_range(line)?);
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        Some(bytes.strip_suffix(b"\r").unwrap_or(bytes))
    }

    fn lines(&self) -> &LineIndex {
        self.shared.lines.get_or_init(|| LineIndex::new(self.text()))
    }

    pub(crate) fn node(&self, node: u32) -> Node {
        self.shared.nodes.get(node as usize).copied().unwrap_or_else(Node::empty_root)
    }

    pub(crate) fn token_kind(&self, idx: u32) -> Option<TokenKind> {
        self.shared.tokens.get(idx as usize).map(|token| token.kind)
    }

    /// Returns where a token is; behind the last one, an empty range at the end of the text.
    pub(crate) fn token_range(&self, idx: u32) -> Range<u32> {
        let start = |idx: usize| {
            self.shared.tokens.get(idx).map_or_else(|| to_offset(self.shared.text.len()), |token| token.start)
        };
        start(idx as usize)..start(idx as usize + 1)
    }

    fn token(&self, idx: u32) -> Token {
        Token { kind: self.token_kind(idx).unwrap_or(TokenKind::Whitespace), range: self.token_range(idx) }
    }
}

impl Node {
    pub(crate) const fn empty_root() -> Self {
        Self {
            parent: ROOT,
            n_nodes: 1,
            depth: 0,
            first_token: 0,
            head_end: 0,
            end_token: 0,
            terminator: Terminator::Block,
            reported_line: 1,
            is_closed: true,
        }
    }
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tree")
            .field("n_bytes", &self.shared.text.len())
            .field("n_tokens", &self.shared.tokens.len())
            .field("n_directives", &(self.shared.nodes.len() - 1))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use crate::{DirectiveId, TokenKind, Tree, parse};

    const TEXT: &[u8] = b"http {\n  # one\n  server { listen 80; } # two\n}\ndaemon off;\n";

    fn tree() -> Tree {
        parse(TEXT).tree
    }

    fn name_at(tree: &Tree, needle: &str) -> Option<String> {
        let offset =
            tree.text().windows(needle.len()).position(|bytes| bytes == needle.as_bytes()).expect("needle");
        let directive = tree.directive_at(u32::try_from(offset).expect("small"))?;
        Some(String::from_utf8_lossy(&directive.name().value()).into_owned())
    }

    #[test]
    fn a_tree_can_be_sent_and_shared() {
        fn assert_send_sync<T: Send + Sync + 'static>() {}
        assert_send_sync::<Tree>();
        let tree = tree();
        assert!(std::ptr::eq(tree.text(), tree.clone().text()), "a clone shares the text");
    }

    #[test]
    fn a_walk_gives_every_directive_with_its_depth() {
        let tree = tree();
        let walked: Vec<_> =
            tree.walk().map(|(depth, directive)| (depth, directive.name().value().into_owned())).collect();
        let expected: [(u32, &[u8]); 4] = [(0, b"http"), (1, b"server"), (2, b"listen"), (0, b"daemon")];
        assert_eq!(walked, expected.map(|(depth, name)| (depth, name.to_vec())));
    }

    #[test]
    fn the_innermost_directive_around_an_offset_is_found() {
        let tree = tree();
        assert_eq!(name_at(&tree, "listen").as_deref(), Some("listen"));
        assert_eq!(name_at(&tree, "} # two").as_deref(), Some("server"));
        assert_eq!(name_at(&tree, "# one").as_deref(), Some("http"));
        assert_eq!(name_at(&tree, "\ndaemon"), None, "between two directives");
        assert_eq!(tree.directive_at(u32::MAX).map(crate::Directive::id), None);
    }

    #[test]
    fn an_id_finds_its_directive_again() {
        let tree = tree();
        for (_, directive) in tree.walk() {
            assert_eq!(tree.directive(directive.id()).map(crate::Directive::range), Some(directive.range()));
        }
        assert!(tree.directive(DirectiveId(0)).is_none() && tree.directive(DirectiveId(5)).is_none());
    }

    #[test]
    fn tokens_cover_the_text() {
        let tree = tree();
        let mut end = 0;
        for token in tree.tokens() {
            assert_eq!(token.range.start, end);
            assert!(!token.range.is_empty());
            assert_eq!(tree.token_at(end), Some(token.clone()));
            end = token.range.end;
        }
        assert_eq!(end as usize, TEXT.len());
        assert_eq!(tree.token_at(end), None);
    }

    #[test]
    fn comments_are_found_wherever_they_are() {
        let tree = tree();
        let comments: Vec<_> = tree.comments().map(|comment| comment.text().to_vec()).collect();
        assert_eq!(comments, [b" one".to_vec(), b" two".to_vec()]);
        assert_eq!(tree.tokens().filter(|token| token.kind == TokenKind::Comment).count(), 2);
    }

    #[test]
    fn lines_are_given_without_their_ending() {
        let tree = parse(*b"a;\r\nb;\n\nc").tree;
        let lines: Vec<_> = (1..=5).map(|line| tree.line(line)).collect();
        assert_eq!(lines, [Some(&b"a;"[..]), Some(b"b;"), Some(b""), Some(b"c"), None]);
        assert_eq!(tree.n_lines(), 4);
    }

    #[test]
    fn an_empty_text_has_a_root_and_nothing_else() {
        let tree = parse(*b"").tree;
        assert_eq!((tree.walk().count(), tree.tokens().count(), tree.text()), (0, 0, &b""[..]));
        assert_eq!(tree.root().range(), 0..0);
        assert!(tree.directive_at(0).is_none());
        assert_eq!(format!("{tree:?}"), "Tree { n_bytes: 0, n_tokens: 0, n_directives: 0, .. }");
    }

    #[test]
    fn a_range_outside_of_the_text_has_no_bytes() {
        let tree = tree();
        assert_eq!(tree.slice(0..4), b"http");
        assert_eq!(tree.slice(4..u32::MAX), b"");
    }
}
