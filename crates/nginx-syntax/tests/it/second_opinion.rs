//! A second opinion: `nginx-lint-parser`, written by others and on other principles (rowan, `&str`).
//!
//! Where the two differ, nginx itself has the last word; the differences that were found are listed below
//! with what nginx says, so that a new one is noticed.

use nginx_lint_parser::parse_string_with_errors;
use nginx_syntax::{Tree, parse};

use crate::fixtures::fixtures;
use crate::nginx::Nginx;
use crate::prediction::predict;
use crate::random::Random;

/// Name and arguments of a directive, as they are written.
type Words = Vec<String>;

fn ours(tree: &Tree) -> Vec<Words> {
    let text = |range| String::from_utf8_lossy(tree.slice(range)).into_owned();
    tree.walk()
        .map(|(_, directive)| {
            let arguments = directive.arguments().map(|argument| text(argument.range()));
            // The other parser takes the quotes off names.
            std::iter::once(text(directive.name().content_range())).chain(arguments).collect()
        })
        .collect()
}

fn theirs(text: &str) -> Vec<Words> {
    let (config, _) = parse_string_with_errors(text);
    config
        .all_directives()
        .map(|directive| {
            let arguments = directive.args.iter().map(|argument| argument.raw.clone());
            std::iter::once(directive.name.clone()).chain(arguments).collect()
        })
        .collect()
}

#[test]
fn both_parsers_find_the_same_directives_in_the_fixtures() {
    let mut n_compared = 0;
    for (name, text) in fixtures() {
        // The other parser takes no text that is not UTF-8, and quirks are its known differences.
        let Ok(text) = String::from_utf8(text) else { continue };
        if name == "quirks.conf" {
            continue;
        }
        // The other parser cuts arguments at variables, so borders are compared elsewhere: with nginx's own.
        let without_borders = |words: Vec<Words>| {
            words.into_iter().map(|words| (words[0].clone(), words[1..].concat())).collect::<Vec<_>>()
        };
        let ours = without_borders(ours(&parse(text.as_bytes()).tree));
        assert_eq!(ours, without_borders(theirs(&text)), "{name}");
        n_compared += 1;
    }
    assert_eq!(n_compared, 7);
}

#[test]
fn both_parsers_find_the_same_directives_in_plain_texts() {
    const WORDS: [&str; 12] = [
        "a",
        "b-1",
        "10.0.0.1:80",
        "$host",
        "'c d'",
        "\"e;{}#\"",
        "/f/*.g",
        "~",
        "=404",
        "'\\''",
        "h=i",
        "unix:/j",
    ];
    const SPACES: [&str; 5] = [" ", "\t", "\n    ", "  ", " # it's {\n"];
    for seed in 0..300 {
        let mut random = Random::new(seed);
        let mut text = String::new();
        let mut depth = 0;
        for _ in 0..random.below(30) {
            match random.below(5) {
                0 if depth > 0 => {
                    depth -= 1;
                    text.push_str("}\n");
                }
                choice => {
                    text.push_str(random.pick(&["listen", "set", "server", "x_y"]));
                    for _ in 0..random.below(4) {
                        text.push_str(random.pick(&SPACES));
                        text.push_str(random.pick(&WORDS));
                    }
                    depth += usize::from(choice == 1);
                    text.push_str(if choice == 1 { " {\n" } else { ";\n" });
                }
            }
        }
        text.push_str(&"}".repeat(depth));
        assert_eq!(ours(&parse(text.as_bytes()).tree), theirs(&text), "seed {seed}: {text}");
        assert_eq!(parse(text.as_bytes()).errors, []);
    }
}

/// Texts that the other parser reads differently; nginx reads them as this crate does.
const KNOWN_DIFFERENCES: [(&str, &str); 13] = [
    ("a /$b;", "a variable does not begin an argument"),
    ("a b\\ c;", "a backslash keeps the blank within the argument"),
    ("a b\\;c;", "a backslash keeps the semicolon within the argument"),
    ("a b\\\nc;", "a backslash keeps the line feed within the argument"),
    ("a ${{b;", "a variable may begin with any number of braces"),
    ("a b}c;", "a brace in the middle of an argument closes nothing"),
    ("a}b c;", "nor in the middle of a name"),
    ("a x{2} y;", "an opening brace ends an argument, also in what looks like a regular expression"),
    ("a $\\{b;", "an escaped brace does not belong to a variable"),
    ("a\x0bb;", "a vertical tab is no white space"),
    ("a b'c d'e;", "a quote in the middle of an argument is a byte like others"),
    ("a =b\"c;d\";", "and what follows it is not quoted"),
    ("a\r\nb\r\n;", "a carriage return is white space, also within a directive"),
];

#[test]
fn known_differences_are_decided_by_nginx() {
    let nginx = Nginx::new();
    for (text, why) in KNOWN_DIFFERENCES {
        let tree = parse(text.as_bytes()).tree;
        assert_ne!(ours(&tree), theirs(text), "no longer: {why}");
        let config = format!("http {{types {{\n{text}\n{text}\n}}}}\n");
        let predicted = predict(config.as_bytes()).expect("no names with a meaning");
        let answer = nginx.check(config.as_bytes());
        assert_eq!(String::from_utf8_lossy(&answer), String::from_utf8_lossy(&predicted), "{why}");
    }
}

/// The other parser accepts texts that nginx refuses.
#[test]
fn missing_spaces_are_an_error_to_nginx() {
    for text in ["a \"b\"c;", "a 'b''c';"] {
        let (_, errors) = parse_string_with_errors(text);
        assert!(errors.is_empty(), "no longer: {text}");
        let words = Nginx::new().complaint(text.as_bytes()).map(|complaint| complaint.words);
        assert_eq!(words, parse(text.as_bytes()).errors.first().map(nginx_syntax::SyntaxError::message));
    }
}
