//! Request targets and Host headers, read as nginx reads them.

/// What nginx makes of a request target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ParsedTarget {
    /// The path as locations see it: decoded, without dot segments; any bytes.
    pub(crate) path: Vec<u8>,
    /// What stands behind the `?`.
    pub(crate) args: Option<String>,
    /// The host of an absolute target: it takes the place of the Host header.
    pub(crate) host: Option<String>,
}

/// Whether several slashes in a row count as one (`merge_slashes`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Slashes {
    Kept,
    #[default]
    Merged,
}

/// Reads a request target: a path, or an absolute URI; `None` if nginx answers 400.
pub(crate) fn parse_target(target: &str, slashes: Slashes) -> Option<ParsedTarget> {
    if target.starts_with('/') {
        return normalize(target.as_bytes(), slashes);
    }
    let (scheme, rest) = target.split_once("://")?;
    let is_scheme =
        scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    if !is_scheme || !scheme.starts_with(|first: char| first.is_ascii_alphabetic()) {
        return None;
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    // `empty_path_in_uri`: a slash is put before arguments that follow the host directly.
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    Some(ParsedTarget { host: Some(authority.to_owned()), ..normalize(path.as_bytes(), slashes)? })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Usual,
    Slash,
    Dot,
    DotDot,
}

/// `ngx_http_parse_complex_uri`: a decoded byte is read again in the state in which its `%` stood, but for `%`, `#` and
/// `?`, which lose their meaning.
fn normalize(target: &[u8], slashes: Slashes) -> Option<ParsedTarget> {
    let mut uri: Vec<u8> = Vec::with_capacity(target.len());
    let mut state = State::Usual;
    let mut at = 0;
    let mut args = None;
    while at < target.len() {
        let mut byte = target[at];
        if byte <= 0x20 || byte == 0x7f {
            return None;
        }
        at += 1;
        let mut is_plain = false;
        if byte == b'%' {
            byte = decode(target.get(at..at + 2)?)?;
            at += 2;
            is_plain = matches!(byte, b'%' | b'#' | b'?');
        }
        match byte {
            0 => return None,
            b'?' | b'#' if !is_plain => {
                end_segment(&mut uri, state)?;
                state = State::Usual;
                if byte == b'?' {
                    let end = target[at..]
                        .iter()
                        .position(|byte| *byte == b'#')
                        .map_or(target.len(), |end| at + end);
                    args = Some(String::from_utf8_lossy(&target[at..end]).into_owned());
                }
                break;
            }
            b'/' => {
                match state {
                    State::Usual => uri.push(b'/'),
                    State::Slash if slashes == Slashes::Kept => uri.push(b'/'),
                    State::Slash => {}
                    State::Dot | State::DotDot => end_segment(&mut uri, state)?,
                }
                state = State::Slash;
            }
            b'.' if state == State::Slash => {
                uri.push(byte);
                state = State::Dot;
            }
            b'.' if state == State::Dot => {
                uri.push(byte);
                state = State::DotDot;
            }
            _ => {
                uri.push(byte);
                state = State::Usual;
            }
        }
    }
    end_segment(&mut uri, state)?;
    Some(ParsedTarget { path: uri, args, host: None })
}

/// Resolves a `.` or `..` at the end of what was read; `None` if it climbs out of the root.
fn end_segment(uri: &mut Vec<u8>, state: State) -> Option<()> {
    match state {
        State::Usual | State::Slash => {}
        State::Dot => drop(uri.pop()),
        State::DotDot => {
            // Back to behind the slash of the segment before.
            let from = uri.len().checked_sub(4)?;
            let slash = uri[..=from].iter().rposition(|byte| *byte == b'/')?;
            uri.truncate(slash + 1);
        }
    }
    Some(())
}

fn decode(digits: &[u8]) -> Option<u8> {
    let value = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(value(*digits.first()?)? << 4 | value(*digits.get(1)?)?)
}

/// `ngx_http_validate_host`: the host in lower case without its port and final point; `None` if nginx answers 400.
pub(crate) fn valid_host(host: &str) -> Option<String> {
    let bytes = host.as_bytes();
    let is_bad = |byte: &u8| *byte == b'/' || *byte <= 0x20 || *byte == 0x7f;
    if bytes.iter().any(is_bad) || host.contains("..") {
        return None;
    }
    let end = match bytes.first() {
        Some(b'[') => host.find(']').map_or(host.len(), |close| close + 1),
        _ => host.find(':').unwrap_or(host.len()),
    };
    let name = &host[..end];
    // Only the last point of all counts: `host.:80` keeps its own.
    let name =
        if host.rfind('.') == end.checked_sub(1) { name.strip_suffix('.').unwrap_or(name) } else { name };
    (!name.is_empty()).then(|| name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(target: &str) -> Option<String> {
        parse_target(target, Slashes::Merged).map(|parsed| String::from_utf8(parsed.path).unwrap())
    }

    #[test]
    fn paths_are_made_simple() {
        for (target, simple) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a//b///c", "/a/b/c"),
            ("/a/./b/.", "/a/b/"),
            ("/a/b/..", "/a/"),
            ("/a/b/../", "/a/"),
            ("/a/../b", "/b"),
            ("/a/..b", "/a/..b"),
            ("/a/...", "/a/..."),
            ("/%61%2fb", "/a/b"),
            ("/a%2F%2e%2E/b", "/b"),
            ("/a%252f", "/a%2f"),
            ("/a%3fb", "/a?b"),
            ("/a%23b", "/a#b"),
            ("/a?b/../c", "/a"),
            ("/a/..?b", "/"),
            ("/a#b", "/a"),
            ("/a+b", "/a+b"),
            ("http://h/a", "/a"),
            ("http://h?x", "/"),
            ("http://h:80", "/"),
        ] {
            assert_eq!(path(target).as_deref(), Some(simple), "{target}");
        }
    }

    #[test]
    fn what_nginx_calls_a_bad_request_has_no_path() {
        for target in ["", "a", "*", "/..", "/a/../..", "/%00", "/%4", "/%zz", "/a b", "/%2e%2e", "://x/"] {
            assert_eq!(path(target), None, "{target}");
        }
    }

    #[test]
    fn slashes_may_be_kept() {
        let kept = |target| {
            parse_target(target, Slashes::Kept).map(|parsed| String::from_utf8(parsed.path).unwrap())
        };
        assert_eq!(kept("/a//b").as_deref(), Some("/a//b"));
        assert_eq!(kept("/a//../b").as_deref(), Some("/a/b"));
        assert_eq!(kept("//a").as_deref(), Some("//a"));
    }

    #[test]
    fn absolute_targets_name_their_host() {
        let parsed = parse_target("http://Shop.example.com:80/x?y=1", Slashes::Merged).unwrap();
        assert_eq!(parsed.host.as_deref(), Some("Shop.example.com:80"));
        assert_eq!(parsed.args.as_deref(), Some("y=1"));
    }

    #[test]
    fn hosts_lose_their_port_and_final_point() {
        for (host, name) in [
            ("Example.COM", "example.com"),
            ("example.com:8080", "example.com"),
            ("example.com.", "example.com"),
            ("example.com.:80", "example.com"),
            ("[::1]:80", "[::1]"),
            ("a_b", "a_b"),
        ] {
            assert_eq!(valid_host(host).as_deref(), Some(name), "{host}");
        }
        for host in ["", ".", ":80", "a..b", "a/b", "a b"] {
            assert_eq!(valid_host(host), None, "{host}");
        }
    }
}
