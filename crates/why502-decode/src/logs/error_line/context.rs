//! The context that a log's handler appends to a message.

use super::action;
use super::errno;
use super::upstream::{Cut, UpstreamText};
use memchr::{memchr, memchr_iter, memmem, memrchr};
use std::sync::LazyLock;

/// The request, or what else, a message is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LineContext<'a> {
    /// The client's address; `unix:` for a client on a unix socket.
    pub client: Option<&'a [u8]>,
    /// The first name of the server (which may be empty), or a listen address.
    pub server: Option<&'a [u8]>,
    /// The request line.
    pub request: Option<&'a [u8]>,
    /// The URI of the subrequest.
    pub subrequest: Option<&'a [u8]>,
    /// The upstream.
    pub upstream: Option<UpstreamText<'a>>,
    /// The Host header.
    pub host: Option<&'a [u8]>,
    /// The Referer header.
    pub referrer: Option<&'a [u8]>,
    /// The name server.
    pub resolver: Option<&'a [u8]>,
    /// Whether the line ends inside a field.
    pub truncated: bool,
}

static CLIENT: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new(b"client: "));

/// Messages that quote bytes of strangers, newlines and delimiters included.
const QUOTING: [&[u8]; 4] = [
    b"FastCGI sent in stderr: \"",
    b"broken header: \"",
    b"upstream sent invalid header: \"",
    b"upstream sent invalid trailer: \"",
];

/// Splits what follows the head of a line into the message, the action, and the context.
pub(super) fn split(rest: &[u8]) -> (&[u8], Option<&[u8]>, LineContext<'_>) {
    let quoting = QUOTING.iter().any(|prefix| rest.starts_with(prefix));
    let mut first = None;
    for found in CLIENT.find_iter(rest).take(64) {
        let Some(before) = before_client(&rest[..found]) else { continue };
        let Some(context) = client_context(&rest[found + CLIENT.needle().len()..]) else { continue };
        let (message, action) = action::split(before);
        if !quoting || errno::split(message).0.ends_with(b"\"") {
            return (message, action, context);
        }
        first.get_or_insert((message, action, context));
    }
    first.unwrap_or_else(|| without_client(rest))
}

/// What stands before `client: `, if that is the begin of a context.
fn before_client(head: &[u8]) -> Option<&[u8]> {
    head.strip_suffix(b", udp ").or_else(|| head.strip_suffix(b", "))
}

/// Contexts of the gateway's own errands: resolving, accepting, logging, checking.
fn without_client(rest: &[u8]) -> (&[u8], Option<&[u8]>, LineContext<'_>) {
    let mut context = LineContext::default();
    let Some(at) = action::last_while(rest) else { return (rest, None, context) };
    let (message, tail) = (&rest[..at], &rest[at + b" while ".len()..]);
    if let Some(address) = tail.strip_prefix(b"accepting new connection on ") {
        context.server = Some(address);
        return (message, Some(&tail[..b"accepting new connection".len()]), context);
    }
    let (action, fields) = tail.split_at(memchr(b',', tail).unwrap_or(tail.len()));
    if action::phase(action).is_none() {
        return (rest, None, context);
    }
    if let Some(server) = fields.strip_prefix(b", resolver: ") {
        context.resolver = Some(unquoted(server));
    } else if let Some(check) = fields.strip_prefix(b", health check \"") {
        context.upstream = checked_peer(check);
    }
    (message, Some(action), context)
}

/// NGINX Plus: `health check "" of peer 127.0.0.1:8080 in upstream "app"`.
fn checked_peer(check: &[u8]) -> Option<UpstreamText<'_>> {
    let rest = &check[memmem::find(check, b"\" of peer ")? + b"\" of peer ".len()..];
    let peer = &rest[..memmem::find(rest, b" in upstream \"")?];
    Some(UpstreamText { scheme: &peer[..0], peer, path: None })
}

/// Reads the fields after `client: `; `None` if no address stands there, so that it is part of a message.
fn client_context(rest: &[u8]) -> Option<LineContext<'_>> {
    let (client, rest) = if let Some(quoted) = rest.strip_prefix(b"\"") {
        let end = memchr(b'"', quoted)?;
        (&quoted[..end], &quoted[end + 1..])
    } else {
        rest.split_at(memchr(b',', rest).unwrap_or(rest.len()))
    };
    let is_address =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b':' | b'%' | b'_' | b'-');
    let spelled = client.iter().all(is_address) && (client.contains(&b'.') || client.contains(&b':'));
    let followed = rest.starts_with(b", server: ") || b", server: ".starts_with(rest);
    if !spelled || !followed {
        return None;
    }
    let mut context = LineContext { client: Some(client), ..LineContext::default() };
    match rest.strip_prefix(b", server: ") {
        Some(server) => server_and_fields(server, &mut context),
        None => context.truncated = true,
    }
    Some(context)
}

fn server_and_fields<'a>(rest: &'a [u8], context: &mut LineContext<'a>) {
    let end = if rest.starts_with(b"\"") {
        // Angie quotes it.
        match memchr(b'"', &rest[1..]) {
            Some(at) => at + 2,
            None => rest.len(),
        }
    } else {
        memchr_iter(b',', rest).find(|&at| Field::begin(&rest[at..]).is_some()).unwrap_or(rest.len())
    };
    context.server = Some(unquoted(&rest[..end]));
    let mut rest = &rest[end..];
    while let Some((field, value)) = Field::begin(rest) {
        if field == Field::Counters {
            return;
        }
        let Some(end) = field.end(value) else {
            context.truncated = true;
            field.store(value, Cut::Inside, context);
            return;
        };
        field.store(&value[..end], Cut::No, context);
        rest = &value[end + 1..];
    }
    context.truncated = !rest.is_empty();
}

/// The fields after `server:`, in the order in which nginx prints them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Field {
    Request,
    Subrequest,
    Upstream,
    Host,
    Referrer,
    /// The byte counts that end a line about TCP or UDP.
    Counters,
}

const BEGINS: [(&[u8], Field); 8] = [
    (b", request: \"", Field::Request),
    (b", request_line: \"", Field::Request),
    (b", subrequest: \"", Field::Subrequest),
    (b", upstream: \"", Field::Upstream),
    (b", host: \"", Field::Host),
    (b", referrer: \"", Field::Referrer),
    (b", bytes from/to ", Field::Counters),
    (b", bytes_from_client: ", Field::Counters),
];
/// The longest of them.
const MAX_BEGIN: usize = b", bytes_from_client: ".len();

impl Field {
    /// The field that begins here, and what follows its opening quote.
    fn begin(rest: &[u8]) -> Option<(Self, &[u8])> {
        let [b',', b' ', initial, ..] = rest else { return None };
        // Most commas begin no field, and most fields are told by their first letter: comparisons are what this costs.
        BEGINS
            .iter()
            .filter(|(begin, _)| begin[2] == *initial)
            .find_map(|(begin, field)| rest.strip_prefix(*begin).map(|value| (*field, value)))
    }

    /// Where the value ends: at the first quote before a later field or the end of the line.
    fn end(self, value: &[u8]) -> Option<usize> {
        let ends = |&at: &usize| {
            let rest = &value[at + 1..];
            // The line may also end inside the next field's name.
            Self::begin(rest).is_some_and(|(next, _)| next > self)
                || rest.len() <= MAX_BEGIN && BEGINS.iter().any(|(begin, _)| begin.starts_with(rest))
        };
        match self {
            // Only the last quote of the line can end the last field.
            Self::Referrer => value.ends_with(b"\"").then(|| value.len() - 1),
            // Before 1.21.1 a target may hold quotes and spaces, but the version still stands behind it.
            Self::Request => memchr_iter(b'"', value)
                .filter(ends)
                .find(|&at| has_version(&value[..at]))
                .or_else(|| memchr_iter(b'"', value).find(ends)),
            _ => memchr_iter(b'"', value).find(ends),
        }
    }

    fn store<'a>(self, value: &'a [u8], cut: Cut, context: &mut LineContext<'a>) {
        match self {
            Self::Request => context.request = Some(value),
            Self::Subrequest if cut == Cut::No => context.subrequest = Some(value),
            Self::Upstream => {
                let target = context.request.and_then(target);
                context.upstream = UpstreamText::read(value, target, cut);
            }
            Self::Host if cut == Cut::No => context.host = Some(value),
            Self::Referrer => context.referrer = Some(value),
            // Half a host or subrequest would be taken for another one.
            Self::Host | Self::Subrequest | Self::Counters => {}
        }
    }
}

fn has_version(request: &[u8]) -> bool {
    matches!(request, [.., b' ', b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
        if major.is_ascii_digit() && minor.is_ascii_digit())
}

fn target(request: &[u8]) -> Option<&[u8]> {
    let begin = memchr(b' ', request)? + 1;
    let rest = &request[begin..];
    let version = memrchr(b' ', rest).filter(|&at| rest[at + 1..].starts_with(b"HTTP/"));
    Some(&rest[..version.unwrap_or(rest.len())])
}

fn unquoted(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\"").map_or(text, |text| text.strip_suffix(b"\"").unwrap_or(text))
}
