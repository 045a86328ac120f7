//! The `upstream:` field.

use memchr::{memchr, memchr_iter, memchr2, memmem};

/// The `upstream:` field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpstreamText<'a> {
    /// The scheme; empty in a line about TCP or UDP.
    pub scheme: &'a [u8],
    /// The address dialled, or the group's name.
    pub peer: &'a [u8],
    /// The path that was sent, without its query; `None` where the field has none, or not all of it.
    pub path: Option<&'a [u8]>,
}

impl<'a> UpstreamText<'a> {
    /// Reads `SCHEME://PEER[:]URI`. `target` is the request's own target, `cut` tells that the line ends inside the field.
    pub(super) fn read(field: &'a [u8], target: Option<&[u8]>, cut: Cut) -> Option<Self> {
        let after_scheme = memchr_iter(b':', field).find(|at| field[at + 1..].starts_with(b"//"));
        let (scheme, rest) = match after_scheme {
            Some(at) if &field[..at] != b"unix" => (&field[..at], &field[at + 3..]),
            // The line may end inside the scheme.
            _ if cut == Cut::Inside => return None,
            // `stream` prints the bare address.
            _ => (&field[..0], field),
        };
        let peer = if rest.starts_with(b"unix:") {
            unix_peer(scheme, rest, target, cut)?
        } else {
            match (memchr2(b'/', b'?', rest), cut) {
                (Some(at), _) => &rest[..at],
                (None, Cut::No) => rest,
                (None, Cut::Inside) => return None,
            }
        };
        let path = (cut == Cut::No).then(|| sent_path(&rest[peer.len()..])).flatten();
        Some(Self { scheme, peer, path })
    }
}

/// The path of what stands behind a peer.
fn sent_path(behind: &[u8]) -> Option<&[u8]> {
    let uri = behind.strip_prefix(b":").unwrap_or(behind);
    let path = &uri[..memchr(b'?', uri).unwrap_or(uri.len())];
    path.starts_with(b"/").then_some(path)
}

/// Whether a field's end is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// The field is whole.
    No,
    /// The line ends inside it.
    Inside,
}

/// A socket's path is followed by `:` and the URI, but after the peer was released (every `upstream timed out`) by the
/// URI alone, and nothing then tells where the path ends.
fn unix_peer<'a>(scheme: &[u8], rest: &'a [u8], target: Option<&[u8]>, cut: Cut) -> Option<&'a [u8]> {
    const PREFIX: usize = b"unix:".len();
    let path = &rest[PREFIX..];
    if let Some(colon) = separator(path) {
        return Some(&rest[..PREFIX + colon]);
    }
    if cut == Cut::Inside {
        return None;
    }
    if !matches!(scheme, b"http" | b"https") {
        // FastCGI and its like send no URI in the field.
        return Some(rest);
    }
    let mapped_to_itself = target.filter(|target| target.starts_with(b"/") && path.ends_with(target));
    if let Some(target) = mapped_to_itself.filter(|target| target.len() < path.len()) {
        return Some(&rest[..rest.len() - target.len()]);
    }
    let end = [b".sock/".as_slice(), b".socket/"]
        .iter()
        .find_map(|name| memmem::find(path, name).map(|at| at + name.len() - 1));
    Some(&rest[..end.map_or(rest.len(), |end| PREFIX + end)])
}

/// The `:` between a socket's path and the URI: the first one that ends the field or stands before a slash.
fn separator(path: &[u8]) -> Option<usize> {
    let query = memchr(b'?', path).unwrap_or(path.len());
    memchr_iter(b':', &path[..query]).find(|&at| matches!(path.get(at + 1), None | Some(b'/' | b'?')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(field: &str, target: &str) -> (String, String) {
        let text = UpstreamText::read(field.as_bytes(), Some(target.as_bytes()), Cut::No).unwrap();
        let owned = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (owned(text.scheme), owned(text.peer))
    }

    #[test]
    fn peers_are_read_from_every_form() {
        for (field, target, scheme, peer) in [
            ("http://127.0.0.1:3000/a/b", "/a/b", "http", "127.0.0.1:3000"),
            ("http://[::1]:7781/login", "/login", "http", "[::1]:7781"),
            ("http://api/mcp/conn_1", "/x", "http", "api"),
            ("http://127.0.0.1:3000?x=1", "/", "http", "127.0.0.1:3000"),
            ("fastcgi://127.0.0.1:9000", "/", "fastcgi", "127.0.0.1:9000"),
            ("uwsgi://unix:///tmp/uwsgi.sock:", "/", "uwsgi", "unix:///tmp/uwsgi.sock"),
            ("fastcgi://unix:/run/lab/hang.sock", "/", "fastcgi", "unix:/run/lab/hang.sock"),
            ("grpc://unix:/run/xray/vless-grpc.socket:", "/", "grpc", "unix:/run/xray/vless-grpc.socket"),
            ("http://unix:/tmp/gunicorn.sock:/api/heartbeat", "/", "http", "unix:/tmp/gunicorn.sock"),
            ("http://unix:/run/lab/hang.sock/u_hang", "/u_hang", "http", "unix:/run/lab/hang.sock"),
            ("http://unix:/run/lab/hang.sock/mapped?at=1:2", "/u_hang", "http", "unix:/run/lab/hang.sock"),
            ("http://unix:/run/lab/hang/u?t=a:/b", "/u?t=a:/b", "http", "unix:/run/lab/hang"),
            ("127.0.0.1:18101", "/", "", "127.0.0.1:18101"),
            ("unix:/run/a.sock", "/", "", "unix:/run/a.sock"),
        ] {
            assert_eq!(read(field, target), (scheme.to_owned(), peer.to_owned()), "{field}");
        }
    }

    #[test]
    fn half_an_address_is_none() {
        let cut = |field: &'static str| UpstreamText::read(field.as_bytes(), None, Cut::Inside);
        assert_eq!(cut("http://127.0.0.1:30"), None);
        assert_eq!(cut("http://unix:/run/a.so"), None);
        let whole = UpstreamText { scheme: b"http", peer: b"127.0.0.1:3000", path: None };
        assert_eq!(cut("http://127.0.0.1:3000/a"), Some(whole));
    }

    #[test]
    fn the_path_that_was_sent_is_read() {
        for (field, target, path) in [
            ("http://127.0.0.1:3000/a/b?c=/d", "/x", Some("/a/b")),
            ("http://unix:/tmp/gunicorn.sock:/api", "/", Some("/api")),
            ("http://unix:/run/lab/hang.sock/u_hang", "/u_hang", Some("/u_hang")),
            ("fastcgi://127.0.0.1:9000", "/", None),
            ("uwsgi://unix:///tmp/uwsgi.sock:", "/", None),
            ("http://127.0.0.1:3000?x=1", "/", None),
            ("unix:/run/a.sock", "/", None),
        ] {
            let text = UpstreamText::read(field.as_bytes(), Some(target.as_bytes()), Cut::No).unwrap();
            assert_eq!(text.path, path.map(str::as_bytes), "{field}");
        }
    }
}
