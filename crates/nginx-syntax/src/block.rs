//! Blocks, and the comments in them.

use std::ops::Range;

use crate::directive::Directive;
use crate::token::TokenKind;
use crate::tree::{Node, ROOT, Tree};

/// The directives between two braces, or those at the top of the file.
#[derive(Clone, Copy, Debug)]
pub struct Block<'t> {
    pub(crate) tree: &'t Tree,
    pub(crate) node: u32,
}

/// A comment.
#[derive(Clone, Debug)]
pub struct Comment<'t> {
    pub(crate) tree: &'t Tree,
    pub(crate) range: Range<u32>,
}

impl<'t> Block<'t> {
    /// Iterates over the directives directly in this block.
    pub fn directives(self) -> impl Iterator<Item = Directive<'t>> + Clone {
        let Self { tree, node } = self;
        let end = node + self.stored().n_nodes;
        let first = Directive { tree, node: node + 1 };
        std::iter::successors(Some(first), move |directive| {
            Some(Directive { tree, node: directive.node + tree.node(directive.node).n_nodes })
        })
        .take_while(move |directive| directive.node < end)
    }

    /// Iterates over the directives directly in this block that have the given name.
    pub fn named<'n>(self, name: &'n [u8]) -> impl Iterator<Item = Directive<'t>> + Clone + use<'t, 'n> {
        self.directives().filter(move |directive| directive.is(name))
    }

    /// Iterates over all directives in this block and in the blocks within, in the order of the text.
    ///
    /// Each comes with the number of directives around it within this block.
    pub fn walk(self) -> impl DoubleEndedIterator<Item = (u32, Directive<'t>)> + ExactSizeIterator {
        let Self { tree, node } = self;
        let Node { n_nodes, .. } = self.stored();
        let base = self.owner().map_or(0, |owner| owner.depth() + 1);
        (node + 1..node + n_nodes).map(move |node| {
            let directive = Directive { tree, node };
            (directive.depth() - base, directive)
        })
    }

    /// Iterates over the comments directly in this block: behind its directives or on lines of their own.
    ///
    /// Comments between the arguments of a directive are [`Directive::comments`].
    pub fn comments(self) -> impl Iterator<Item = Comment<'t>> {
        let Self { tree, .. } = self;
        let mut directives = self.directives().peekable();
        let mut tokens = self.inner_tokens();
        std::iter::from_fn(move || {
            while !tokens.is_empty() {
                let token = tokens.start;
                if let Some(directive) =
                    directives.next_if(|directive| tree.node(directive.node).first_token == token)
                {
                    tokens.start = tree.node(directive.node).end_token;
                    continue;
                }
                tokens.start += 1;
                if tree.token_kind(token) == Some(TokenKind::Comment) {
                    return Some(Comment { tree, range: tree.token_range(token) });
                }
            }
            None
        })
    }

    /// Returns the directive that the block belongs to; `None` for the file.
    pub fn owner(self) -> Option<Directive<'t>> {
        (self.node != ROOT).then_some(Directive { tree: self.tree, node: self.node })
    }

    /// Returns the bytes between the braces; for the file, all of them.
    pub fn range(self) -> Range<u32> {
        let tokens = self.inner_tokens();
        self.tree.token_range(tokens.start).start..self.tree.token_range(tokens.end).start
    }

    /// Tells whether there is a `}` that closes the block; the file needs none.
    pub fn is_closed(self) -> bool {
        self.owner().is_none_or(Directive::is_closed)
    }

    /// Returns the tree that the block belongs to.
    pub fn tree(self) -> &'t Tree {
        self.tree
    }

    fn inner_tokens(self) -> Range<u32> {
        let Node { head_end, end_token, .. } = self.stored();
        match self.owner() {
            None => 0..end_token,
            Some(owner) => head_end + 1..end_token - u32::from(owner.is_closed()),
        }
    }

    fn stored(self) -> Node {
        self.tree.node(self.node)
    }
}

impl<'t> Comment<'t> {
    /// Returns where the comment is: from the `#` to the end of the line, the line feed not included.
    pub fn range(&self) -> Range<u32> {
        self.range.clone()
    }

    /// Returns the bytes behind the `#`, without the carriage return of a line that ends in one.
    pub fn text(&self) -> &'t [u8] {
        let text = self.tree.slice(self.range.start + 1..self.range.end);
        text.strip_suffix(b"\r").unwrap_or(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;

    const TEXT: &[u8] = b"#0\na { #1\n b; #2\r\n c #3\n { #4\n }\n #proxy_pass x;\n} #5\n";

    fn texts<'t>(comments: impl Iterator<Item = Comment<'t>>) -> Vec<String> {
        comments.map(|comment| String::from_utf8_lossy(comment.text()).into_owned()).collect()
    }

    #[test]
    fn a_block_has_its_own_comments_only() {
        let tree = parse(TEXT).tree;
        let blocks: Vec<_> = tree.walk().filter_map(|(_, directive)| directive.block()).collect();
        assert_eq!(texts(tree.root().comments()), ["0", "5"]);
        assert_eq!(texts(blocks[0].comments()), ["1", "2", "proxy_pass x;"]);
        assert_eq!(texts(blocks[1].comments()), ["4"]);
        let between = blocks[1].owner().expect("an owner").comments();
        assert_eq!(texts(between), ["3"]);
    }

    #[test]
    fn a_comment_knows_where_it_is() {
        let tree = parse(*b"a; # b\r\n").tree;
        let comment = tree.comments().next().expect("a comment");
        assert_eq!(tree.slice(comment.range()), b"# b\r");
        assert_eq!(comment.text(), b" b");
    }

    #[test]
    fn directives_of_a_block_are_its_own() {
        let tree = parse(*b"a { b { c; } d; b; } b;").tree;
        let names = |block: Block<'_>| {
            block
                .directives()
                .map(|directive| directive.name().value().into_owned())
                .collect::<Vec<_>>()
                .concat()
        };
        assert_eq!(names(tree.root()), b"ab");
        let a = tree.root().directives().next().and_then(Directive::block).expect("a block");
        assert_eq!(names(a), b"bdb");
        assert_eq!(a.named(b"b").count(), 2);
        assert_eq!(a.walk().map(|(depth, _)| depth).collect::<Vec<_>>(), [0, 1, 0, 0]);
    }

    #[test]
    fn a_block_without_an_end_goes_on_to_the_end() {
        let tree = parse(*b"a { b; #c\n ").tree;
        let block = tree.root().directives().next().and_then(Directive::block).expect("a block");
        assert!(!block.is_closed());
        assert_eq!(tree.slice(block.range()), b" b; #c\n ");
        assert_eq!(texts(block.comments()), ["c"]);
        assert!(tree.root().is_closed());
    }

    #[test]
    fn a_block_may_end_with_the_block_in_it() {
        let tree = parse(*b"a { b { }").tree;
        let blocks: Vec<_> = tree.walk().filter_map(|(_, directive)| directive.block()).collect();
        assert_eq!(blocks.iter().map(|block| block.is_closed()).collect::<Vec<_>>(), [false, true]);
        assert_eq!(tree.slice(blocks[0].range()), b" b { }");
    }
}
