//! Where Lua code ends, according to lua-nginx-module and to this crate.
//!
//! Behind the code stands a directive that nobody knows, and so does whatever the code turns into if it ends
//! too early: nginx names the first directive that it meets there, and the line that it has counted up to.

use nginx_syntax::parse;

use crate::nginx::{Nginx, load_lua};
use crate::prediction::predict;
use crate::random::Random;

const TOKENS: [&[u8]; 26] = [
    b"{", b"{", b"}", b"}", b"[[", b"]]", b"[=[", b"]=]", b"[==[", b"]==]", b"[", b"]", b"--", b"--[[",
    b"--[=[", b"-", b"\"", b"\"", b"'", b"'", b"\\", b"\\\"", b"\n", b"\n", b" ", b"x",
];

fn with_lua(modules: &str, code: &[u8]) -> Vec<u8> {
    let before = format!("{modules}\nhttp {{ server {{ location / {{ content_by_lua_block {{ ");
    [before.as_bytes(), code, b"} end_of_code; }\n}\n}\n"].concat()
}

fn assert_same_end(nginx: &Nginx, config: &[u8], seed: u64) {
    let predicted = predict(config).expect("no other names with a meaning");
    let answer = nginx.check(config);
    assert!(
        answer == predicted,
        "seed {seed}: nginx says\n{}\nof\n{}\nwhere the tree says\n{}",
        String::from_utf8_lossy(&answer),
        config.escape_ascii(),
        String::from_utf8_lossy(&predicted),
    );
}

#[test]
fn code_ends_where_lua_nginx_module_finds_its_end() {
    let (nginx, modules) = (Nginx::new(), load_lua());
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let code: Vec<u8> = (0..random.below(25)).flat_map(|_| random.pick(&TOKENS).to_vec()).collect();
        assert_same_end(&nginx, &with_lua(&modules, &code), seed);
    }
}

/// Code that does not fit into nginx's buffer, with stretches that have nothing for lua-nginx-module to find.
#[test]
fn long_code_ends_where_lua_nginx_module_finds_its_end() {
    let (nginx, modules) = (Nginx::new(), load_lua());
    let mut n_refused_by_lua = 0;
    for seed in 0..250 {
        let mut random = Random::new(seed);
        let mut code = vec![b'\n'; random.below(3)];
        for _ in 0..random.below(12) {
            let filler: &[u8] = random.pick(&[b"x", b"y\n", b"{}", b"--\n", b"\"\"", b"\\"]);
            let length = random.below(2400);
            code.extend(filler.iter().cycle().take(length / filler.len() * filler.len()));
            code.extend_from_slice(random.pick(&TOKENS));
            code.extend_from_slice(random.pick(&[b"", b" ", b"\n"]));
        }
        let config = with_lua(&modules, &code);
        assert_same_end(&nginx, &config, seed);
        let first = parse(config).errors.first().map(ToString::to_string).unwrap_or_default();
        n_refused_by_lua += usize::from(first.to_ascii_lowercase().contains("lua code block"));
    }
    assert!((50..200).contains(&n_refused_by_lua), "{n_refused_by_lua} of 250");
}

/// How long a long bracket may be depends on what nginx happens to have in its buffer, so the limits must be
/// equal.
#[test]
fn long_brackets_may_be_as_long_as_lua_nginx_module_allows() {
    const EARLIER: &str = "location /0 { content_by_lua_block { [[x]] {} --x\n } }";
    let spaces = |n| " ".repeat(n);
    let words = |n| format!("types {{ {}; }}", "x ".repeat(n));
    // What stands in front of the code in the file, and what in the code.
    let layouts: [(String, &str); 11] = [
        ("\n".to_owned(), ""),
        (spaces(4300), ""),
        (format!("#{}\n", "-".repeat(3000)), "\n"),
        (format!("#{}\n{}", "-".repeat(3900), words(150)), "{}"),
        (spaces(3000) + &words(1000), "--\n"),
        (format!("{}types {{ '{}' z; }}", spaces(3500), spaces(2000)), ""),
        ("\n".repeat(8192), "'a'"),
        (EARLIER.to_owned(), ""),
        (spaces(3000) + EARLIER + &spaces(700), ""),
        (spaces(3500) + EARLIER + &spaces(300), ""),
        (spaces(1700) + EARLIER + &spaces(1500) + &EARLIER.replace("/0", "/1"), "x"),
    ];
    let (nginx, modules) = (Nginx::new(), load_lua());
    for (idx, (padding, before)) in layouts.iter().enumerate() {
        let config = |length: usize| {
            let code = format!("{before}[==[{}]==]", "x".repeat(length));
            let location = format!("location / {{ content_by_lua_block {{{code}}} end; }}");
            format!("{modules}\nhttp {{ server {{ {padding} {location} }} }}\n").into_bytes()
        };
        let is_fine = |words: &[u8]| words == b"unknown directive \"end\"";
        let by_nginx =
            |length| nginx.complaint(&config(length)).is_some_and(|complaint| is_fine(&complaint.words));
        let limit = limit_of(by_nginx);
        assert!((1500..4097).contains(&limit), "layout {idx}: {limit}");
        assert_eq!(limit, limit_of(|length| parse(config(length)).errors.is_empty()), "layout {idx}");
    }
}

/// Returns the largest number for which something holds that holds for all smaller ones.
fn limit_of(holds: impl Fn(usize) -> bool) -> usize {
    let (mut good, mut bad) = (1000, 5000);
    while bad - good > 1 {
        let middle = usize::midpoint(good, bad);
        if holds(middle) { good = middle } else { bad = middle }
    }
    good
}

/// lua-nginx-module reads on when less than half of the buffer is ahead of it.
#[test]
fn the_buffer_is_filled_up_when_lua_nginx_module_does_it() {
    let (nginx, modules) = (Nginx::new(), load_lua());
    let before = format!("{modules}\nhttp {{ server {{ location / {{ content_by_lua_block {{");
    for ahead in 2046..2051 {
        let padding = "#".repeat(4096 - ahead - before.len() - 1);
        for code in ["[[LONG]]", "LONG}{", "LONG\nLONG\n}{", "\n\"LONG\"{}{}", "--LONG{\n"] {
            for length in [2000, 2040, 2048, 2100, 3000, 4000] {
                let code = code.replace("LONG", &"y".repeat(length));
                let config = format!("{padding}\n{before}{code} }} end_of_code; }}}}}}\n");
                assert_same_end(&nginx, config.as_bytes(), ahead as u64);
            }
        }
    }
}

#[test]
fn code_as_it_is_written_is_read_as_a_whole() {
    const CODE: [&str; 8] = [
        " local t = { a = { b = 1 }, [\"}\"] = '{' }\n ngx.say(t.a.b) ",
        " -- it's a } comment\n ngx.exit(502) ",
        " --[[ a\n long }\n comment ]] ngx.say('x') ",
        " local s = [==[ ]] } ]=] ]==] .. \"\\\"}\" ",
        " if a[b[1]] == nil then return \"}\" end ",
        " local re = [[^/(\\d+)/{2}$]] ",
        "\r\n  local x = 'a' -- }\r\n",
        " ngx.say('don\\'t }') ",
    ];
    let (nginx, modules) = (Nginx::new(), load_lua());
    for code in CODE {
        let config = with_lua(&modules, code.as_bytes());
        assert_same_end(&nginx, &config, 0);
        let parse = parse(&config[..]);
        let body = parse.tree.walk().find_map(|(_, directive)| directive.lua_body()).expect("lua");
        assert_eq!(String::from_utf8_lossy(body.text()), format!(" {code}"));
        assert!(parse.errors.is_empty() && body.is_closed());
    }
}
