//! How a file is laid out: indentation, line endings, and what else stands on a line.

use std::ops::Range;

use crate::block::Block;
use crate::directive::Directive;
use crate::token::to_offset;
use crate::tree::Tree;

const DEFAULT_INDENTATION_STEP: &[u8] = b"    ";

/// Returns the line ending of the file: that of its first line, a line feed if it has but one line.
pub(crate) fn line_ending(text: &[u8]) -> &'static [u8] {
    let first = text.iter().position(|&byte| byte == b'\n');
    let is_crlf = first.and_then(|idx| idx.checked_sub(1)).and_then(|idx| text.get(idx)) == Some(&b'\r');
    if is_crlf { b"\r\n" } else { b"\n" }
}

/// Returns the blanks and tabs in front of the offset, if nothing else stands before it on its line.
pub(crate) fn indentation_before(tree: &Tree, offset: u32) -> Option<&[u8]> {
    let before = tree.slice(line_start(tree, offset)..offset);
    before.iter().all(|&byte| is_blank(byte)).then_some(before)
}

/// Returns the blanks and tabs at the beginning of the line that the offset is on.
pub(crate) fn indentation_of_line(tree: &Tree, offset: u32) -> &[u8] {
    let line = tree.slice(line_start(tree, offset)..to_offset(tree.text().len()));
    line.get(..blank_len(line)).unwrap_or_default()
}

/// Returns the indentation for directives of a block.
///
/// That of its first directive on a line of its own, or one step more than that of the block's owner.
pub(crate) fn indentation_in(block: Block<'_>) -> Vec<u8> {
    let tree = block.tree();
    let existing = block.directives().find_map(indentation);
    match (existing, block.owner()) {
        (Some(indentation), _) => indentation.to_vec(),
        (None, Some(owner)) => {
            [indentation_of_line(tree, owner.range().start), indentation_step(tree)].concat()
        }
        (None, None) => Vec::new(),
    }
}

/// Returns where the line's content ends, if only blanks and perhaps a comment stand behind the offset.
pub(crate) fn end_of_bare_line(tree: &Tree, offset: u32) -> Option<u32> {
    let rest = tree.slice(offset..to_offset(tree.text().len()));
    let rest = rest.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let rest = rest.strip_suffix(b"\r").unwrap_or(rest);
    let n_blanks = blank_len(rest);
    // Behind a terminator and blanks, a `#` begins a comment (`last_space` in `ngx_conf_read_token`).
    matches!(rest.get(n_blanks), None | Some(b'#')).then(|| offset + to_offset(rest.len()))
}

/// Returns the lines that a range touches, from the first one's beginning to behind the last one's line feed.
pub(crate) fn whole_lines(tree: &Tree, range: Range<u32>) -> Range<u32> {
    let last = tree.line_range(tree.line_column(range.end).line);
    line_start(tree, range.start)..last.map_or(range.end, |line| line.end)
}

/// Returns the number of blanks and tabs that the text begins with.
pub(crate) fn blank_len(text: &[u8]) -> usize {
    text.iter().position(|&byte| !is_blank(byte)).unwrap_or(text.len())
}

/// Returns where the line of the offset starts.
pub(crate) fn line_start(tree: &Tree, offset: u32) -> u32 {
    offset - (tree.line_column(offset).column - 1)
}

/// Returns how much deeper the file indents a block than its owner, by the first block that shows it.
fn indentation_step(tree: &Tree) -> &[u8] {
    tree.walk()
        .find_map(|(_, directive)| {
            let outer = indentation(directive.parent()?)?;
            let step = indentation(directive)?.strip_prefix(outer)?;
            (!step.is_empty()).then_some(step)
        })
        .unwrap_or(DEFAULT_INDENTATION_STEP)
}

/// Returns the indentation of a directive that begins its line.
fn indentation(directive: Directive<'_>) -> Option<&[u8]> {
    indentation_before(directive.tree(), directive.range().start)
}

const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;

    fn indentation_in_last_block(text: &[u8]) -> Vec<u8> {
        let tree = parse(text).tree;
        let block = tree.walk().filter_map(|(_, directive)| directive.block()).next_back().expect("a block");
        indentation_in(block)
    }

    #[test]
    fn the_first_line_tells_the_line_ending() {
        assert_eq!(line_ending(b"a;\r\nb;\n"), b"\r\n");
        assert_eq!(line_ending(b"a;\nb;\r\n"), b"\n");
        assert_eq!(line_ending(b"\n"), b"\n");
        assert_eq!(line_ending(b"a;"), b"\n");
    }

    #[test]
    fn a_block_is_indented_like_its_first_directive() {
        assert_eq!(indentation_in_last_block(b"a {\n   b;\n c;\n}"), b"   ");
        assert_eq!(indentation_in_last_block(b"a { b;\n\tc;\n}"), b"\t");
    }

    #[test]
    fn an_empty_block_is_indented_by_the_file_s_own_step() {
        assert_eq!(indentation_in_last_block(b"a {\n\tb {\n\t}\n}"), b"\t\t");
        assert_eq!(
            indentation_in_last_block(b"a {\nb;\n}\na {\n  b {\n  }\n}"),
            b"    ",
            "flat blocks show none"
        );
        assert_eq!(indentation_in_last_block(b"  a {\n  }"), b"      ");
        assert_eq!(indentation_in(parse(*b"# nothing").tree.root()), b"");
    }

    #[test]
    fn a_line_is_bare_up_to_its_comment() {
        let tree = parse(*b"a; # b;\r\nc; d;\ne;").tree;
        assert_eq!(end_of_bare_line(&tree, 2), Some(7));
        assert_eq!(end_of_bare_line(&tree, 11), None);
        assert_eq!(end_of_bare_line(&tree, 17), Some(17));
    }

    #[test]
    fn whole_lines_include_the_line_feed() {
        let tree = parse(*b"a;\n b {\n }\nc;").tree;
        assert_eq!(whole_lines(&tree, 4..10), 3..11);
        assert_eq!(whole_lines(&tree, 11..13), 11..13);
    }

    #[test]
    fn only_blanks_are_indentation() {
        let tree = parse(*b"a; \t b;\n \tc;").tree;
        assert_eq!(indentation_before(&tree, 5), None);
        assert_eq!(indentation_before(&tree, 10), Some(&b" \t"[..]));
        assert_eq!(indentation_of_line(&tree, 11), b" \t");
    }
}
