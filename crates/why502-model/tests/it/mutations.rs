//! Configurations with mistakes in them that nobody thought of: what nginx accepts has no problem, what it refuses has
//! nginx's own, but for what the model is known not to look at.

use crate::host::{Host, settled};
use crate::random::Random;
use crate::verdicts;
use std::thread;

/// Words that nginx refuses things with and that are not looked for here, with the reason.
const NOT_LOOKED_AT: [(&str, &str); 8] = [
    ("bind() to ", "the sockets of this host"),
    ("mkdir() \"", "the folders of this host"),
    ("open() \"", "the files of this host"),
    ("getpwnam(\"", "the users of this host"),
    ("getgrnam(\"", "the groups of this host"),
    ("syslog ", "what stands behind `syslog:` is not read"),
    ("invalid range \"", "ranges of `geo` are not read"),
    ("in debug_connection \"", "names there are not looked up"),
];

/// Words that replace others.
const WORDS: [&str; 40] = [
    "",
    "0",
    "1",
    "-1",
    "10",
    "99999",
    "1k",
    "10m",
    "1g",
    "5s",
    "100ms",
    "1h30m",
    "on",
    "off",
    "auto",
    "none",
    "default",
    "all",
    "x",
    "a.b",
    "*.a",
    "$uri",
    "$nowhere",
    "${host",
    "$",
    "/a",
    "/a/",
    "=",
    "~",
    "^~",
    "@a",
    "~^/(a|b)$",
    "(",
    "http://127.0.0.1:1",
    "127.0.0.1:81",
    "unix:/x",
    "[::1]:80",
    "nowhere.invalid",
    "zone=z:1m",
    "=404",
];

/// A piece of a configuration: a word, or a mark; and the white space behind it.
#[derive(Clone, Debug)]
struct Piece {
    text: String,
    blank: String,
}

fn split(config: &str) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut quote: Option<char> = None;
    let mut is_new = true;
    for letter in config.chars() {
        let is_mark = quote.is_none() && matches!(letter, ';' | '{' | '}');
        if quote.is_none() && letter.is_whitespace() {
            if let Some(piece) = pieces.last_mut() {
                piece.blank.push(letter);
            }
            is_new = true;
            continue;
        }
        if is_new || is_mark {
            pieces.push(Piece { text: String::new(), blank: String::new() });
        }
        if let Some(piece) = pieces.last_mut() {
            piece.text.push(letter);
        }
        is_new = is_mark;
        quote = match quote {
            Some(open) if open == letter => None,
            None if matches!(letter, '"' | '\'') => Some(letter),
            open => open,
        };
    }
    pieces
}

fn joined(pieces: &[Piece]) -> String {
    pieces.iter().flat_map(|piece| [piece.text.as_str(), &piece.blank]).collect()
}

/// A configuration with one to three mistakes.
fn mutated(configs: &[String], random: &mut Random) -> String {
    let mut pieces = split(&configs[random.below(configs.len())]);
    let other = split(&configs[random.below(configs.len())]);
    for _ in 0..=random.below(2) {
        let at = random.below(pieces.len());
        match random.below(9) {
            0 => drop(pieces.remove(at)),
            1 => pieces.insert(at, pieces[at].clone()),
            2 => pieces[at].text.clone_from(&other[random.below(other.len())].text),
            3 | 4 => random.pick(&WORDS).clone_into(&mut pieces[at].text),
            5 => {
                let with = random.below(pieces.len());
                pieces.swap(at, with);
            }
            6 => {
                let word = (*random.pick(&WORDS)).to_owned();
                pieces.insert(at, Piece { text: word, blank: " ".to_owned() });
            }
            7 => repeat_directive(&mut pieces, at, random),
            _ => mistype(&mut pieces[at].text, random),
        }
        if pieces.is_empty() {
            break;
        }
    }
    for piece in &mut pieces {
        keep_away(&mut piece.text);
    }
    joined(&pieces)
}

/// Absolute paths lead nowhere: `nginx -t` creates logs, folders and sockets.
fn keep_away(word: &mut String) {
    let quotes = word.len() - word.trim_start_matches(['"', '\'']).len();
    if word[quotes..].starts_with('/') {
        word.insert_str(quotes, "/nonexistent");
    }
    *word = word.replace("unix:/", "unix:/nonexistent/");
}

/// Puts a copy of a directive somewhere else.
fn repeat_directive(pieces: &mut Vec<Piece>, at: usize, random: &mut Random) {
    let begin = pieces[..at].iter().rposition(|piece| is_end(&piece.text)).map_or(0, |end| end + 1);
    let Some(length) = pieces[begin..].iter().position(|piece| is_end(&piece.text)) else { return };
    let copy = pieces[begin..=begin + length].to_vec();
    let ends: Vec<usize> = (0..pieces.len()).filter(|at| is_end(&pieces[*at].text)).collect();
    let place = ends[random.below(ends.len())] + 1;
    drop(pieces.splice(place..place, copy));
}

fn is_end(text: &str) -> bool {
    matches!(text, ";" | "{" | "}")
}

/// A slip of the fingers.
fn mistype(text: &mut String, random: &mut Random) {
    let mut letters: Vec<char> = text.chars().collect();
    if letters.is_empty() {
        letters.push('x');
    }
    let at = random.below(letters.len());
    match random.below(4) {
        0 => drop(letters.remove(at)),
        1 => letters.insert(at, letters[at]),
        2 => letters[at] = ['a', '0', '-', '$', '.', '/', ':', '"'][random.below(8)],
        _ => letters.swap(at, 0),
    }
    *text = letters.into_iter().collect();
}

/// What is wrong with the model's verdict; and whether nginx refused.
fn judge(configs: &[String], seed: u64) -> (bool, Option<String>) {
    let config = settled(&mutated(configs, &mut Random::new(seed)));
    let host = Host::new(&[("nginx.conf", config.as_bytes())]);
    let refusal = host.refusal();
    let problems = host.problems();
    let is_known = |refusal: &str| NOT_LOOKED_AT.iter().any(|(words, _)| refusal.contains(words));
    let is_right = match (&refusal, problems.first()) {
        (None, None) => true,
        (None, Some(_)) => false,
        (Some(refusal), first) => Some(refusal) == first || is_known(refusal),
    };
    let difference =
        (!is_right).then(|| format!("seed {seed}: nginx {refusal:?}, here {problems:?}: {config}"));
    (refusal.is_some(), difference)
}

#[test]
fn mistakes_are_judged_as_nginx_judges_them() {
    let configs = verdicts::accepted();
    let n_seeds: u64 = std::env::var("WHY502_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(500);
    let judge_all = |seeds: std::ops::Range<u64>| seeds.map(|seed| judge(&configs, seed)).collect::<Vec<_>>();
    let all = thread::scope(|scope| {
        let first = scope.spawn(|| judge_all(0..n_seeds / 2));
        let second = judge_all(n_seeds / 2..n_seeds);
        [first.join().unwrap(), second].concat()
    });
    let wrong: Vec<&str> = all.iter().filter_map(|(_, difference)| difference.as_deref()).collect();
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), all.len(), wrong.join("\n"));
    let n_refused = all.iter().filter(|(is_refused, _)| *is_refused).count();
    assert!(n_refused * 3 > all.len(), "only {n_refused} refused: the mistakes are too tame");
}
