//! Time and space grow with the text and not faster, whatever the text is.

use std::time::{Duration, Instant};

use nginx_syntax::{parse, parse_command_line};

/// Far more than is needed even by a slow machine, far less than quadratic time would take.
const LIMIT: Duration = Duration::from_secs(20);

const N_BYTES: usize = 4 << 20;

fn assert_fast(what: &str, text: Vec<u8>) {
    let n_bytes = text.len();
    let start = Instant::now();
    let parse = parse(text);
    let n_read: usize = parse.tree.walk().map(|(_, directive)| directive.name().value().len()).sum();
    assert!(n_read <= n_bytes);
    assert!(start.elapsed() < LIMIT, "{what}: {:?}", start.elapsed());
}

#[test]
fn hostile_texts_take_linear_time() {
    let repeated = |piece: &[u8]| piece.repeat(N_BYTES / piece.len());
    for piece in [
        &b"a"[..],
        b"a{",
        b"a;",
        b";",
        b"{",
        b"}",
        b"\"",
        b"\"\n",
        b"'\"\n",
        b"a \"\\\"\n",
        b"\"a\"b",
        b"#\n",
        b"#",
        b"\\",
        b"$",
        b"${",
        b"\n",
        b"\xff\0",
        b"a_by_lua_block{",
        b"a_by_lua_block{[[}\n",
        b"a_by_lua_block{[=[}]]",
        b"a_by_lua_block{ \"{\\\"{ }}}",
    ] {
        assert_fast(&piece.escape_ascii().to_string(), repeated(piece));
        assert!(parse_command_line(repeated(piece)).tree.text().len() + piece.len() > N_BYTES);
    }
    for code in [&b"{"[..], b"[", b"[=", b"--", b"\"{", b"{\\\"", b"]=", b"[==[ ]=", b"x"] {
        assert_fast(&code.escape_ascii().to_string(), [b"a_by_lua_block{", &repeated(code)[..]].concat());
    }
}

#[test]
fn long_lists_of_errors_are_cut() {
    let parse = parse(b";".repeat(N_BYTES));
    assert_eq!(parse.errors.len(), nginx_syntax::MAX_ERRORS);
}
