//! Tokens against nginx's own, read back from its warnings.

use crate::nginx::Nginx;
use crate::prediction::predict;
use crate::random::Random;

/// Asks nginx about a text inside of `types { … }`, where it tells its tokens, and compares every byte of its
/// answer.
fn assert_same_tokens(nginx: &Nginx, lines: &[u8], seed: u64) {
    // Twice, so that every extension is a duplicate.
    let config = [b"http {types {\n", lines, b"\n", lines, b"\n}}\n"].concat();
    let predicted = predict(&config).expect("a text without meaning");
    let answer = nginx.check(&config);
    assert!(
        answer == predicted,
        "seed {seed}: nginx says\n{}\nof\n{}\nwhere the tree says\n{}",
        String::from_utf8_lossy(&answer),
        config.escape_ascii(),
        String::from_utf8_lossy(&predicted),
    );
}

/// Writes a token that nginx reads as one, of the kinds that are easily got wrong.
fn token(random: &mut Random) -> Vec<u8> {
    const INSIDE: [&[u8]; 22] = [
        b"a",
        b"b1",
        b"t",
        b"n",
        b"Z",
        b"\\\\",
        b"\\\"",
        b"\\'",
        b"\\t",
        b"\\r",
        b"\\n",
        b"\\a",
        b"\\$",
        b"\\{",
        b"\\;",
        b"\\ ",
        b"$",
        b"${t}",
        b"}",
        b"#",
        b"=",
        b"\xc3\xa4",
    ];
    const BETWEEN_QUOTES: [&[u8]; 8] = [b" ", b"\n", b"\t", b"\r\n", b";", b"{", b"$", b"\xff"];
    let quote: &[u8] = random.pick(&[b"\"", b"'", b"", b""]);
    let mut text = quote.to_vec();
    for idx in 0..=random.below(5) {
        match quote {
            b"" if idx == 0 => {
                text.extend_from_slice(random.pick(&[b"a", b"\\t", b"\\", b")", b"$", b"a'", b"=\""]));
            }
            b"" => text.extend_from_slice(random.pick(&INSIDE)),
            _ if random.one_in(3) => text.extend_from_slice(random.pick(&BETWEEN_QUOTES)),
            _ => text.extend_from_slice(random.pick(&INSIDE)),
        }
    }
    text.extend_from_slice(quote);
    text
}

fn line(random: &mut Random) -> Vec<u8> {
    const SPACES: [&[u8]; 7] = [b" ", b" ", b"\t", b"\r\n", b"\n \n", b" # it's \"\n", b"#;}{\n "];
    const ENDS: [&[u8]; 5] = [b";", b";\n", b" ;\r\n", b";#c\n", b"\n;"];
    let mut text = Vec::new();
    for _ in 0..=random.below(4) {
        text.append(&mut token(random));
        // Rarely nothing: words grow together then, and quotes are in the way.
        if !random.one_in(25) {
            text.extend_from_slice(random.pick(&[b" "]));
            text.extend_from_slice(random.pick(&SPACES));
        }
    }
    text.extend_from_slice(random.pick(&ENDS));
    text
}

fn mutate(text: &mut Vec<u8>, random: &mut Random) {
    const SPECIAL: [u8; 14] = *b";{}\"'\\#$ \n)\r\x00a";
    if text.is_empty() {
        return;
    }
    let at = random.below(text.len());
    match random.below(3) {
        0 => drop(text.remove(at)),
        1 => text.insert(at, SPECIAL[random.below(SPECIAL.len())]),
        _ => text[at] = SPECIAL[random.below(SPECIAL.len())],
    }
}

fn assert_same_for_seeds(seeds: std::ops::Range<u64>, n_mutations: usize) {
    let nginx = Nginx::new();
    for seed in seeds {
        let mut random = Random::new(seed);
        let mut lines: Vec<u8> = (0..=random.below(6)).flat_map(|_| line(&mut random)).collect();
        for _ in 0..n_mutations {
            mutate(&mut lines, &mut random);
        }
        assert_same_tokens(&nginx, &lines, seed);
    }
}

#[test]
fn tokens_are_nginx_s_own() {
    assert_same_for_seeds(0..150, 0);
}

#[test]
fn tokens_of_texts_with_one_mistake_are_nginx_s_own() {
    assert_same_for_seeds(1000..1150, 1);
}

#[test]
fn tokens_of_texts_with_many_mistakes_are_nginx_s_own() {
    assert_same_for_seeds(2000..2150, 8);
}

#[test]
fn tokens_of_noise_are_nginx_s_own() {
    const NOISE: [&[u8]; 20] = [
        b"a",
        b"t",
        b"\"",
        b"'",
        b"\\",
        b"$",
        b"{",
        b"}",
        b";",
        b"#",
        b")",
        b" ",
        b" ",
        b"\n",
        b"\r",
        b"\t",
        b"\0",
        b"\xef\xbb\xbf",
        b"\x0b",
        b"=",
    ];
    let nginx = Nginx::new();
    for seed in 0..250 {
        let mut random = Random::new(seed);
        let text: Vec<u8> = (0..random.below(40)).flat_map(|_| random.pick(&NOISE).to_vec()).collect();
        assert_same_tokens(&nginx, &text, seed);
    }
}

/// Tokens about as long as nginx's buffer, at any place in it.
#[test]
fn tokens_are_too_long_exactly_when_nginx_finds_them_so() {
    let nginx = Nginx::new();
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let mut lines = Vec::new();
        for _ in 0..random.below(6) {
            let padding = random.below(1500);
            let filler = random.pick(&[&b"\n"[..], b" ", b"a b;\n", b"#\n"]);
            lines.extend(filler.iter().cycle().take(padding / filler.len() * filler.len()));
        }
        let length = 4085 + random.below(15);
        let (open, close): (&[u8], &[u8]) = random
            .pick(&[&(b"" as &[u8], b"" as &[u8]), &(b"\"", b"\""), &(b"'", b"'"), &(b"#", b"\n")])
            .to_owned();
        let inside = random.pick(&[&b"x"[..], b"\\n", b"$", b"\n"]);
        lines.extend_from_slice(b"a ");
        lines.extend_from_slice(open);
        lines.extend(inside.iter().cycle().take(length));
        lines.extend_from_slice(close);
        let end: &[u8] = random.pick(&[&b";"[..], b" ;", b"  ;", b"\n b;", b"", b"b", b"{"]);
        lines.extend_from_slice(end);
        assert_same_tokens(&nginx, &lines, seed);
    }
}

/// The same by other means: `use` prints its argument, and counts how many there are.
#[test]
fn single_tokens_are_nginx_s_own() {
    const TOKENS: [&str; 20] = [
        "a",
        "a\\ b",
        "\"a b\"",
        "'a\"b'",
        "${a}",
        "a${b}c",
        "$a",
        "a\\;b",
        "a\\\\b",
        "a\\tb",
        "\"a\\\"b\"",
        "a\\.b",
        "a}b",
        "a#b",
        "\\#a",
        "\\\"a",
        ")",
        "a\"b\"",
        "'\\{'",
        "=",
    ];
    let nginx = Nginx::new();
    for token in TOKENS {
        let config = format!("events {{\nuse {token};\n}}\n");
        let parse = nginx_syntax::parse(config.as_bytes());
        let directive = parse.tree.walk().last().map(|(_, directive)| directive).expect("use");
        let value = directive.argument(0).expect("an argument").value().into_owned();
        let complaint = nginx.complaint(config.as_bytes()).expect("nobody knows such events");
        assert_eq!(directive.arguments().count(), 1, "{token}");
        assert_eq!(complaint.words, [b"invalid event type \"", &value[..], b"\""].concat(), "{token}");
        assert_eq!(complaint.line, Some(directive.reported_line()));

        let twice =
            nginx.complaint(format!("events {{ use {token} {token}; }}").as_bytes()).expect("too many");
        assert_eq!(twice.words, b"invalid number of arguments in \"use\" directive", "{token}");
    }
}
