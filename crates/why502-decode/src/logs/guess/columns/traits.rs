//! What a value can be.

use std::net::IpAddr;

pub(super) fn is_unset(value: &str) -> bool {
    value.is_empty() || value == "-"
}

pub(super) fn is_address(value: &str) -> bool {
    value.parse::<IpAddr>().is_ok()
}

/// A request line, whatever its method is.
pub(super) fn is_request(value: &str) -> bool {
    let mut words = value.split(' ');
    let is_upper = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_uppercase());
    words.next().is_some_and(is_upper) && words.next_back().is_some_and(|last| last.starts_with("HTTP/"))
}

/// A method of HTTP (RFC 9110, RFC 5789), of WebDAV (RFC 4918), or for a cache.
pub(super) fn is_method(value: &str) -> bool {
    const METHODS: [&str; 18] = [
        "CONNECT",
        "COPY",
        "DELETE",
        "GET",
        "HEAD",
        "LOCK",
        "MKCOL",
        "MOVE",
        "OPTIONS",
        "PATCH",
        "POST",
        "PROPFIND",
        "PROPPATCH",
        "PURGE",
        "PUT",
        "REPORT",
        "TRACE",
        "UNLOCK",
    ];
    METHODS.contains(&value)
}

pub(super) fn is_uri(value: &str) -> bool {
    value.starts_with('/')
}

/// A status that the gateway or an upstream sends: few numbers of three digits are one.
pub(super) fn is_status(value: &str) -> bool {
    let number = (value.len() == 3).then(|| value.parse::<u16>().ok()).flatten();
    // 000 and 009 are the gateway's, for no answer at all and for one of HTTP/0.9.
    number.is_some_and(|number| {
        matches!(number, 0 | 9 | 100..=103 | 200..=208 | 226 | 300..=308 | 400..=418 | 421..=426 | 428 | 429 | 431 | 444 | 451)
            || matches!(number, 494..=511 | 520..=527 | 530 | 598 | 599)
    })
}

/// The statuses of attempts.
pub(super) fn is_attempts_status(value: &str) -> bool {
    elements(value).all(|one| one == "-" || is_status(one)) && elements(value).any(is_status)
}

/// The addresses of attempts, or of groups where no peer could be chosen; at least one address.
pub(super) fn is_peers(value: &str) -> bool {
    let is_peer = |one: &str| {
        let port = one.rsplit_once(':').map_or("", |(_, port)| port);
        one.starts_with("unix:") || (!port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
    };
    elements(value).all(|one| !one.contains(' ')) && elements(value).any(is_peer)
}

/// Seconds with milliseconds.
pub(super) fn is_decimal(value: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    value
        .split_once('.')
        .is_some_and(|(seconds, rest)| is_number(seconds) && rest.len() == 3 && is_number(rest))
}

fn elements(value: &str) -> impl Iterator<Item = &str> {
    value.split(", ").flat_map(|part| part.split(" : "))
}
