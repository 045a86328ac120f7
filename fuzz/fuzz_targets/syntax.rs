//! A tree holds every byte of its text, whatever they are, and its parts lie where they say.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let parse = nginx_syntax::parse(text);
    assert_eq!(parse.tree.text(), text);
    let tokens: Vec<u8> = parse.tree.tokens().flat_map(|token| text[range(&token.range)].to_vec()).collect();
    assert_eq!(tokens, text, "tokens leave nothing out");
    for (_, directive) in parse.tree.walk() {
        assert!(text.get(range(&directive.range())).is_some());
        directive.arguments().for_each(|argument| drop(argument.value()));
        parse.tree.line_column(directive.range().start);
    }
    for error in &parse.errors {
        assert!(error.offset as usize <= text.len());
        error.message();
    }
    nginx_syntax::parse_command_line(text);
});

fn range(range: &std::ops::Range<u32>) -> std::ops::Range<usize> {
    range.start as usize..range.end as usize
}
