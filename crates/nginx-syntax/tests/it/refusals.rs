//! Texts that nginx refuses or just about accepts, in every place of a configuration: same words, same line.

use crate::nginx::Nginx;
use crate::prediction::predict;

/// Where the snippets are put; nobody knows their names, so nginx stops at the first one outside of `types`.
const FRAMES: [(&str, &str); 5] = [
    ("", ""),
    ("\r\nhttp\r\n{", "}\r\n"),
    ("http {\ntypes {\n", "\n}\n}"),
    ("http { # {\n server { location / {", "\n}}}\n"),
    ("http { types { a ", "; } }"),
];

const SNIPPETS: [&[u8]; 66] = [
    b"",
    b"\n",
    b"\xef\xbb\xbf",
    b"\xef\xbb\xbfa b;",
    b"# only a comment",
    b"# a comment; { } \" '\n",
    b";",
    b";;",
    b"\n\n;\n",
    b"{",
    b"{}",
    b"}",
    b"}}",
    b"\n}\n}\n}\n}",
    b"a",
    b"a;",
    b"a\n;\n",
    b"a\n",
    b"a #;\n",
    b"a b",
    b"a b }",
    b"a b\n\n}\n",
    b"a { b c }",
    b"a {",
    b"a { b;",
    b"a { b; } }",
    b"a { { b; } }",
    b"a {;}",
    b"a \"b\"c;",
    b"a \"b\"\n c;",
    b"a 'b''c';",
    b"a 'b'\"c\";",
    b"a \"b\"#c\n;",
    b"a \"b\"}",
    b"a \"b\");",
    b"a \"b\")) c;",
    b"a \"b\"){}",
    b"a 'b'{}",
    b"a 'b'\\;",
    b"a \"b",
    b"a \"b;\n c;\n",
    b"a 'b;\n c;\n d \"e';\n",
    b"a 'it's';",
    b"\"\";",
    b"'' '';",
    b"\"",
    b"'",
    b"\\",
    b"a\\",
    b"a \\;",
    b"a \\}",
    b"a b\\{ c;",
    b"a b\\\n c;",
    b"a ${b};",
    b"a ${b c};",
    b"a ${{b{c};",
    b"a $\\{b};",
    b"a ${b;\n",
    b"a \"${b\";",
    b"a }b;",
    b"a b}c;",
    b"a {b}c;",
    b"a#b c#d;",
    b"a\0b c\0d;",
    b"\0;",
    b"a\x0bb\x0c;",
];

#[test]
fn the_first_error_is_nginx_s_own() {
    let nginx = Nginx::new();
    let mut n_refused = 0;
    for snippet in SNIPPETS {
        for (before, after) in FRAMES {
            let config = [before.as_bytes(), snippet, after.as_bytes()].concat();
            let Some(predicted) = predict(&config) else {
                panic!("{} cannot be predicted", config.escape_ascii());
            };
            let answer = nginx.check(&config);
            assert_eq!(
                answer.escape_ascii().to_string(),
                predicted.escape_ascii().to_string(),
                "{}",
                config.escape_ascii()
            );
            n_refused += usize::from(!nginx_syntax::parse(config).errors.is_empty());
        }
    }
    // Both opinions must have been heard often.
    let n_cases = SNIPPETS.len() * FRAMES.len();
    assert!((n_cases / 4..n_cases * 3 / 4).contains(&n_refused), "{n_refused} of {n_cases}");
}

#[test]
fn what_is_given_on_the_command_line_has_its_own_words() {
    // With `-g`, nginx names no line, and no file.
    for (text, words) in [
        ("daemon off", Some("unexpected end of parameter, expecting \";\"")),
        ("events {}", Some("block directives are not supported in -g option")),
        ("}", Some("unexpected \"}\"")),
        ("daemon 'off'x;", Some("unexpected \"x\"")),
        ("daemon off; worker_processes 2;", None),
    ] {
        let nginx = Nginx::new();
        let errors = nginx_syntax::parse_command_line(text.as_bytes()).errors;
        assert_eq!(errors.first().map(ToString::to_string).as_deref(), words);
        let expected = match words {
            Some(words) => format!("nginx: [emerg] {words} in command line\n"),
            None => "nginx: [emerg] no \"events\" section in configuration\n".to_owned(),
        };
        let answer = String::from_utf8(nginx.check_with_option(b"", text)).expect("ascii");
        assert!(answer.contains(&expected), "{text}: {answer}");
    }
}
