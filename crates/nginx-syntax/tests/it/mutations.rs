//! Whole configurations with mistakes in them: refused by nginx and by this crate for the same reason, if at
//! all.
//!
//! Unlike in the other comparisons, directives here have a meaning, so nginx may stop for one. Then the tree
//! must have the directive that nginx names where nginx sees it, and no error that nginx would have met
//! before.

use nginx_syntax::{Parse, SyntaxError, Terminator, Tree, parse};

use crate::nginx::{Complaint, Nginx};
use crate::random::Random;

const CONFIGS: [&str; 3] = [
    r#"http {
    map $uri $kind {
        default     0;
        "~^/a\d{1,2}" "one";
        '~ b'       two; # it's
    }
    geo $near { default 0; 127.0.0.0/8 1; }
    log_format x '$remote_addr "$request" '
                 "${status}";
    upstream up {
        server 127.0.0.1:1 weight=2;
        server unix:/tmp/x.sock backup;
        keepalive 4;
    }
    server {
        listen 8080;
        server_name a.test *.b.test "~^c\d+\.test$";
        location / {
            proxy_pass http://up;
            proxy_set_header Host $host;
            proxy_set_header Connection "";
        }
        location ~ \.php$ {
            if ($args ~ "a=(.*)") {
                return 200 'a "b" {c} \'d\' ;';
            }
            fastcgi_pass 127.0.0.1:9000;
            fastcgi_param A "${uri}";
        }
        location /x\ y { limit_except GET { deny all; } }
    }
}
"#,
    "worker_processes 1;\r\nhttp\r\n{\r\n\ttypes\r\n\t{\r\n\t\ta/b c d;\r\n\t\t\"e f\" g;\r\n\t}\r\n\tserver\r\n\t{\r\n\t\tset \
     $a 'b';set $c\t\"d\";\r\n\t\tif ($a = \"b\") {\r\n\t\t\trewrite ^/(\\d)$ /$1? last; # }\r\n\t\t}\r\n\t\t\
     location = /e { return 204; }\r\n\t}\r\n}\r\n",
    "http{server{location/{return 200;}}}\n",
];

fn mutated(config: &str, random: &mut Random) -> Vec<u8> {
    const SPECIAL: [&[u8]; 16] = [
        b";", b"{", b"}", b"\"", b"'", b"\\", b"#", b"$", b" ", b"\n", b"${", b";\n}", b"}\n}", b"\0", b")",
        b"\xff",
    ];
    let mut text = config.as_bytes().to_vec();
    for _ in 0..=random.below(2) {
        if text.is_empty() {
            break;
        }
        // Mostly at a place that matters: where punctuation stands.
        let mut at = random.below(text.len());
        if !random.one_in(6) {
            let is_special = |byte: &u8| b";{}\"'\\#$\n".contains(byte);
            at += text[at..].iter().position(is_special).unwrap_or(0);
        }
        let end = at + random.below((text.len() - at).min(4) + 1);
        match random.below(4) {
            0 => drop(text.splice(at..end, [])),
            1 => drop(text.splice(at..=at, [])),
            2 => drop(text.splice(at..at, random.pick(&SPECIAL).to_vec())),
            _ => drop(text.splice(at..=at, random.pick(&SPECIAL).to_vec())),
        }
        if random.one_in(10) {
            text.truncate(random.below(text.len() + 1));
        }
    }
    text
}

/// Returns the name that nginx quotes in a complaint about a directive, and what must be true of its
/// terminator.
fn accused(words: &str) -> Option<(&str, Option<Terminator>)> {
    let about: [(&str, &str, Option<Terminator>); 5] = [
        ("unknown directive \"", "\"", None),
        ("\"", "\" directive is not allowed here", None),
        ("invalid number of arguments in \"", "\" directive", None),
        ("directive \"", "\" is not terminated by \";\"", Some(Terminator::Block)),
        ("directive \"", "\" has no opening \"{\"", Some(Terminator::Semicolon)),
    ];
    about.into_iter().find_map(|(before, after, terminator)| {
        let name = words.strip_prefix(before)?.strip_suffix(after)?;
        Some((name, terminator))
    })
}

/// Tells whether `ngx_conf_read_token` or `ngx_conf_parse` says it; all the rest comes from handlers.
fn is_of_reader(words: &[u8]) -> bool {
    match words.strip_prefix(b"unexpected \"") {
        Some(rest) => matches!(rest, [_, b'"']),
        None => words.starts_with(b"unexpected end of file, ") || words.starts_with(b"too long parameter"),
    }
}

fn assert_directive_at(tree: &Tree, complaint: &Complaint, shown: &str) {
    let words = String::from_utf8_lossy(&complaint.words);
    let Some((name, terminator)) = accused(&words) else { return };
    let is_it = |directive: nginx_syntax::Directive<'_>| {
        let value = directive.name().value();
        let value = value.split(|&byte| byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(value) == name
            && Some(directive.reported_line()) == complaint.line
            && terminator.is_none_or(|terminator| directive.terminator() == terminator)
    };
    assert!(tree.walk().any(|(_, directive)| is_it(directive)), "no such directive: {complaint:?}\n{shown}");
}

/// Compares nginx's verdict with that of this crate; tells whether they were about the same error.
fn assert_same_verdict(nginx: &Nginx, text: &[u8], seed: u64) -> bool {
    let Parse { tree, errors } = parse(text);
    let first: Option<&SyntaxError> = errors.first();
    let complaint = nginx.complaint(text);
    let shown = format!("seed {seed}: nginx {complaint:?}, here {first:?}, of {}", text.escape_ascii());
    match (complaint, first) {
        (None, None) => false,
        (None, Some(_)) => panic!("{shown}"),
        (Some(complaint), Some(error))
            if complaint.words == error.message() && complaint.line == Some(error.line) =>
        {
            true
        }
        (Some(complaint), first) => {
            // Blocks like `map` have a handler of their own that refuses braces.
            let is_of_reader = is_of_reader(&complaint.words);
            assert!(!is_of_reader || complaint.words == b"unexpected \"{\"", "{shown}");
            assert!(first.is_none_or(|error| Some(error.line) >= complaint.line), "{shown}");
            assert_directive_at(&tree, &complaint, &shown);
            false
        }
    }
}

#[test]
fn the_configurations_are_fine_before() {
    let nginx = Nginx::new();
    for config in &CONFIGS[..2] {
        assert_eq!(nginx.complaint(config.as_bytes()), None);
        assert_eq!(parse(config.as_bytes()).errors, []);
    }
}

#[test]
fn mistakes_are_judged_as_nginx_judges_them() {
    let nginx = Nginx::new();
    let mut n_same = 0;
    for seed in 0..450 {
        let mut random = Random::new(seed);
        let config = CONFIGS[random.below(CONFIGS.len())];
        n_same += usize::from(assert_same_verdict(&nginx, &mutated(config, &mut random), seed));
    }
    assert!(n_same > 80, "only {n_same} errors of the reader: the mistakes are too tame");
}
