//! What holds for any text.

use nginx_syntax::{
    Block, Directive, Edit, Parse, Terminator, TokenKind, Tree, apply, format_directive, parse,
    parse_command_line, quote_argument,
};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// The same cases on every machine, and no files left behind.
fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        rng_seed: RngSeed::Fixed(502),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Bytes of which most mean something to nginx or to Lua.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    const PIECES: [&[u8]; 30] = [
        b"a",
        b"b ",
        b" ",
        b"\n",
        b"\r\n",
        b"\t",
        b";",
        b";\n",
        b"{",
        b"}",
        b"}\n",
        b"\"",
        b"'",
        b"\\",
        b"$",
        b"${",
        b"#",
        b"# c\n",
        b")",
        b"\0",
        b"\xff",
        b"\xef\xbb\xbf",
        b"x_by_lua_block {",
        b"--",
        b"[[",
        b"]]",
        b"\"q\"",
        b"'q'",
        b"n",
        b"=",
    ];
    prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..60).prop_map(|pieces| pieces.concat())
}

fn any_text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![3 => soup(), 1 => prop::collection::vec(any::<u8>(), 0..200)]
}

/// A directive as one would think of it, not as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Thought {
    name: Vec<u8>,
    arguments: Vec<Vec<u8>>,
    block: Option<Vec<Thought>>,
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => "[a-z$/.:=*~^|()+-]{1,8}".prop_map(String::into_bytes),
        1 => "[ -~\n\t\r]{0,12}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..12),
    ]
}

fn thoughts() -> impl Strategy<Value = Vec<Thought>> {
    let simple = ("[a-z_]{1,8}".prop_map(String::into_bytes), prop::collection::vec(value(), 0..4))
        .prop_map(|(name, arguments)| Thought { name, arguments, block: None });
    let nested = simple.prop_recursive(6, 32, 4, |inner| {
        ("[a-z]{1,8}", prop::collection::vec(value(), 0..3), prop::collection::vec(inner, 0..5)).prop_map(
            |(name, arguments, block)| Thought { name: name.into_bytes(), arguments, block: Some(block) },
        )
    });
    prop::collection::vec(nested, 0..6)
}

/// How a text is laid out; taken in turn wherever there is a choice.
fn layout() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 1..20)
}

struct Writer<'l> {
    text: Vec<u8>,
    layout: std::iter::Cycle<std::slice::Iter<'l, u8>>,
}

impl Writer<'_> {
    fn choose(&mut self, choices: &[&[u8]]) {
        let choice = usize::from(*self.layout.next().expect("a layout is not empty"));
        self.text.extend_from_slice(choices[choice % choices.len()]);
    }

    fn block(&mut self, block: &[Thought], indentation: &[u8]) {
        for thought in block {
            self.choose(&[b"\n", b"\n", b"\n\n", b" ", b"\n# c; {\n", b""]);
            self.text.extend_from_slice(indentation);
            self.text.extend_from_slice(&quote_argument(&thought.name));
            for argument in &thought.arguments {
                self.choose(&[b" ", b" ", b"\t", b"\n ", b" # it's\n"]);
                self.text.extend_from_slice(&quote_argument(argument));
            }
            self.choose(&[b"", b"", b" ", b"\n"]);
            let Some(inner) = &thought.block else {
                self.choose(&[b";", b";", b"; # d\n"]);
                continue;
            };
            self.choose(&[b"{", b"{\n", b"{ # e\n"]);
            self.block(inner, &[indentation, b"  "].concat());
            self.choose(&[b"\n", b"\n", b" ", b""]);
            self.text.extend_from_slice(indentation);
            self.text.push(b'}');
        }
    }
}

fn written(thoughts: &[Thought], layout: &[u8]) -> Vec<u8> {
    let mut writer = Writer { text: Vec::new(), layout: layout.iter().cycle() };
    writer.block(thoughts, b"");
    writer.choose(&[b"\n", b""]);
    writer.text
}

fn read(block: Block<'_>) -> Vec<Thought> {
    let owned = |argument: nginx_syntax::Argument<'_>| argument.value().into_owned();
    block
        .directives()
        .map(|directive| Thought {
            name: owned(directive.name()),
            arguments: directive.arguments().map(owned).collect(),
            block: directive.block().map(read),
        })
        .collect()
}

/// Returns the thought at a place in the order of the text, and the list that it is in.
fn nth_mut(thoughts: &mut Vec<Thought>, n: usize) -> Option<(&mut Vec<Thought>, usize)> {
    let mut before = 0;
    for idx in 0..thoughts.len() {
        if before == n {
            return Some((thoughts, idx));
        }
        let size = 1 + thoughts[idx].block.as_ref().map_or(0, |block| count(block));
        if n < before + size {
            return nth_mut(thoughts[idx].block.as_mut()?, n - before - 1);
        }
        before += size;
    }
    None
}

fn count(thoughts: &[Thought]) -> usize {
    thoughts.iter().map(|thought| 1 + thought.block.as_deref().map_or(0, count)).sum()
}

/// Makes an edit in the text and the same change in the thoughts.
fn change(
    kind: usize,
    directive: Directive<'_>,
    thoughts: &mut Vec<Thought>,
    n: usize,
    value: &[u8],
) -> Option<Edit> {
    let line = format_directive(b"new", &[value]);
    let new = || Thought { name: b"new".to_vec(), arguments: vec![value.to_vec()], block: None };
    let (siblings, idx) = nth_mut(thoughts, n)?;
    match kind {
        0 => {
            let last = siblings[idx].arguments.last_mut()?;
            *last = value.to_vec();
            Some(directive.arguments().next_back()?.replace_value(value))
        }
        1 => {
            siblings[idx].arguments = vec![value.to_vec(), b"b".to_vec()];
            Some(directive.replace_arguments(&[value, b"b"]))
        }
        2 => {
            siblings.insert(idx, new());
            Some(directive.insert_before(&line))
        }
        3 => {
            siblings.insert(idx + 1, new());
            directive.insert_after(&line)
        }
        4 => {
            siblings.remove(idx);
            directive.remove()
        }
        5 => {
            siblings[idx].block.as_mut()?.insert(0, new());
            Some(directive.block()?.insert_first(&line))
        }
        6 => {
            siblings[idx].block.as_mut()?.push(new());
            directive.block()?.insert_last(&line)
        }
        7 => {
            siblings[idx].name = value.to_vec();
            Some(directive.name().replace_value(value))
        }
        _ => None,
    }
}

fn texts_of_tokens(tree: &Tree) -> Vec<u8> {
    tree.tokens().flat_map(|token| tree.slice(token.range).to_vec()).collect()
}

/// Calls whatever can be called on a tree, and checks how its parts fit together.
fn assert_consistent(Parse { tree, errors }: &Parse) {
    let end = u32::try_from(tree.text().len()).expect("small");
    for (depth, directive) in tree.walk() {
        assert_eq!(directive.ancestors().count(), depth as usize);
        assert!(directive.range().start <= directive.head_range().end && directive.range().end <= end);
        assert_eq!(tree.directive(directive.id()).map(Directive::range), Some(directive.range()));
        assert_eq!(tree.directive_at(directive.range().start).map(Directive::id), Some(directive.id()));
        assert!(directive.parent().is_none_or(|parent| {
            let inside = parent.block().expect("a parent has a block").range();
            inside.start <= directive.range().start && directive.range().end <= inside.end
        }));
        for argument in std::iter::once(directive.name()).chain(directive.arguments()) {
            assert!(argument.value().len() <= argument.raw().len());
            assert_eq!(
                tree.token_at(argument.range().start).map(|token| token.range),
                Some(argument.range())
            );
        }
        let has_body = directive.block().is_some() || directive.lua_body().is_some();
        assert_eq!(has_body, matches!(directive.terminator(), Terminator::Block | Terminator::LuaBlock));
    }
    let in_blocks: usize = tree
        .walk()
        .filter_map(|(_, directive)| directive.block())
        .map(|block| block.comments().count())
        .sum();
    let in_heads: usize = tree.walk().map(|(_, directive)| directive.comments().count()).sum();
    assert_eq!(tree.comments().count(), tree.root().comments().count() + in_blocks + in_heads);
    for error in errors {
        assert!(error.offset <= end && !error.message().is_empty());
        assert!((1..=tree.n_lines()).contains(&error.line));
    }
    let n_bytes: usize =
        (1..=tree.n_lines()).filter_map(|line| tree.line_range(line)).map(|range| range.len()).sum();
    assert_eq!(n_bytes, tree.text().len());
}

proptest! {
    #![proptest_config(config(3000))]

    #[test]
    fn tokens_are_the_text_again(text in any_text()) {
        for parse in [parse(&text[..]), parse_command_line(&text[..])] {
            prop_assert_eq!(texts_of_tokens(&parse.tree), &text[..]);
            prop_assert!(parse.tree.tokens().all(|token| !token.range.is_empty()));
        }
    }

    #[test]
    fn trees_are_consistent(text in any_text()) {
        assert_consistent(&parse(&text[..]));
        assert_consistent(&parse_command_line(&text[..]));
    }

    #[test]
    fn edits_apply_to_the_text_that_they_were_made_for(text in any_text(), value in value(), n in any::<prop::sample::Index>()) {
        let tree = parse(&text[..]).tree;
        let directives: Vec<_> = tree.walk().map(|(_, directive)| directive).collect();
        if !directives.is_empty() {
            let directive = directives[n.index(directives.len())];
            let block = directive.block().unwrap_or_else(|| directive.parent_block());
            let edits = [
                // Another name would have Lua code read as directives.
                directive.lua_body().is_none().then(|| directive.name().replace_value(&value)),
                Some(directive.replace_arguments(&[&value])),
                Some(directive.insert_before(b"n;")),
                directive.insert_after(b"n;"),
                directive.remove(),
                Some(block.insert_first(b"n;")),
                block.insert_last(b"n;"),
            ];
            for edit in edits.into_iter().flatten() {
                let edited = apply(&text, std::slice::from_ref(&edit)).expect("an edit for this text");
                let (before, after) = (parse(&text[..]).errors, parse(&edited[..]).errors);
                // Behind an open quote, code or escape, anything that is written may come to mean something, and
                // so it may behind Lua code with a quote too many.
                let is_open = |kind| matches!(kind, TokenKind::UnclosedQuoted | TokenKind::LuaBody);
                let is_open_ended = tree.tokens().any(|token| is_open(token.kind))
                    || before.iter().any(|error| error.to_string().starts_with("unexpected end of file"));
                prop_assert!(after.len() <= before.len() || is_open_ended, "{:?} {:?} {:?}", edit, before, after);
            }
        }
    }

    #[test]
    fn values_are_read_back(values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..30), 1..5)) {
        let arguments: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
        let Parse { tree, errors } = parse(format_directive(b"a", &arguments));
        prop_assert_eq!(errors, []);
        let directive = tree.walk().next().map(|(_, directive)| directive).expect("a directive");
        let read: Vec<_> = directive.arguments().map(|argument| argument.value().into_owned()).collect();
        prop_assert_eq!(read, values);
    }
}

proptest! {
    #![proptest_config(config(1000))]

    #[test]
    fn what_was_written_is_read(thoughts in thoughts(), layout in layout()) {
        let text = written(&thoughts, &layout);
        let Parse { tree, errors } = parse(&text[..]);
        prop_assert_eq!(errors, []);
        prop_assert_eq!(read(tree.root()), thoughts);
    }

    #[test]
    fn a_beginning_of_a_good_text_lacks_only_its_end(thoughts in thoughts(), layout in layout(), cut in any::<prop::sample::Index>()) {
        let text = written(&thoughts, &layout);
        let cut = cut.index(text.len() + 1);
        let words: Vec<_> = parse(&text[..cut]).errors.iter().map(ToString::to_string).collect();
        prop_assert!(words.first().is_none_or(|words| words.starts_with("unexpected end of file")), "{:?}", words);
    }

    #[test]
    fn an_edit_changes_what_it_means_and_nothing_else(
        thoughts in thoughts(),
        layout in layout(),
        value in value(),
        n in any::<prop::sample::Index>(),
        kind in 0..8_usize,
    ) {
        let text = written(&thoughts, &layout);
        let tree = parse(&text[..]).tree;
        let n_directives = tree.walk().len();
        if n_directives > 0 {
            let n = n.index(n_directives);
            let directive = tree.walk().nth(n).map(|(_, directive)| directive).expect("a directive");
            let mut changed = thoughts;
            if let Some(edit) = change(kind, directive, &mut changed, n, &value) {
                let text = apply(&text, &[edit]).expect("an edit for this text");
                let Parse { tree, errors } = parse(&text[..]);
                prop_assert_eq!(errors, [], "{}", text.escape_ascii());
                prop_assert_eq!(read(tree.root()), changed, "{}", text.escape_ascii());
            }
        }
    }

    #[test]
    fn comments_are_what_stands_behind_a_sharp_at_the_beginning_of_a_token(thoughts in thoughts(), layout in layout()) {
        let tree = parse(written(&thoughts, &layout)).tree;
        for token in tree.tokens().filter(|token| token.kind == TokenKind::Comment) {
            prop_assert!(tree.slice(token.range.clone()).starts_with(b"#"));
            prop_assert!(!tree.slice(token.range).contains(&b'\n'));
        }
    }
}
