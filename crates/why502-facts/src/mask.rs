//! Secrets are masked before a fact enters a bundle, so that nothing behind it can leak one.
//!
//! Masking keeps lengths (every byte becomes `*`), because sizes and positions are evidence, and it is idempotent. It
//! works on single lines of text, whatever they stem from: a directive, a log line, a header, an argument vector.

mod engine;

use self::engine::mask_engine;
use crate::fastcgi::mask_streams;
use crate::{Answer, Blob, Fact, FactBody, RequestLine};
use regex::bytes::{Captures, Regex, RegexBuilder, RegexSet, RegexSetBuilder};
use std::borrow::Cow;
use std::sync::{Arc, LazyLock, OnceLock};

/// A name that holds a secret, as the end of a word: `password`, `db_secret`, `X-Api-Key`.
///
/// The word itself stays readable; what follows it is masked.
const SECRET_NAME: &str = r"(?:authorization|cookie2?|passw(?:or)?d|passphrase|secret(?:[-_]?key)?|api[-_]?key|access[-_]?key|private[-_]?key|auth[-_]?token|access[-_]?token|refresh[-_]?token|token|signature|credentials?|jwt|sessionid|sid)";

/// A name that holds a secret in a query, a cookie or an argument, where `=` tells it from a directive's name.
const SECRET_KEY: &str = r"(?:session(?:[-_]?(?:id|key))?|auth|pwd)";

/// A name that holds a secret in a query, where `?` or `&` tells it from an ordinary word: `key`, `auth_code`, `sig`.
const SECRET_ARGUMENT: &str = r"(?:[\w.-]*key|[\w.-]*sess(?:ion)?(?:[-_]?id)?|[\w.-]*[cx]srf[\w.-]*|saml\w+|(?:[\w.-]*[-_.])?(?:assertion|code|hmac|mac|magic|nonce|otp|pass|pin|pw|sig|state|ticket|totp|verifier))";

/// A directive that sets a header or parameter of the request to an upstream or of the answer.
const SETS_HEADER: &str = r"(?:(?:proxy|grpc)_set_header|(?:fastcgi|uwsgi|scgi)_param|add_header)";

/// What the name of a header that holds a secret has in it.
const SECRET_PART: &str = r"(?:auth|token|secret|key|session|passw)";

/// The name of a variable that holds a secret, without its `$`.
const SECRET_VARIABLE: &str = r"(?:(?:upstream_)?cookie_\w+|(?:(?:sent|upstream)_)?http_(?:\w*(?:auth|token|secret|key|session|passw|credential|signature|jwt)\w*|(?:set_)?cookie2?)|arg_\w*(?:token|key|pass|pwd|secret|auth|sig|sess|sid|code|jwt|otp|pin|ticket|assertion|credential|csrf|xsrf|md5|mac|nonce|state)\w*)";

/// Names of secrets are ASCII, and the tables of Unicode take longer to compile than most logs to read.
fn compile(pattern: &str) -> Option<Regex> {
    RegexBuilder::new(pattern).unicode(false).build().ok()
}

static VARIABLE: LazyLock<Option<Regex>> = LazyLock::new(|| compile(&format!("^(?i:{SECRET_VARIABLE})$")));

/// `map $cookie_sid $backend { … }`: the entries of a map from a secret.
static MAP: LazyLock<Option<Regex>> = LazyLock::new(|| {
    compile(&format!(
        r#"(?i)\bmap[ \t]+["']?\$\{{?{SECRET_VARIABLE}\}}?["']?[ \t]+["']?\$\w+["']?\s*\{{(?P<entries>[^{{}}]*)\}}"#
    ))
});

/// The key of a map's entry, if it is no regular expression and no word of the map itself.
static MAP_KEY: LazyLock<Option<Regex>> = LazyLock::new(|| {
    compile(
        r#"(?:^|;)(?:\s|#[^\n]*\n)*(?:"(?P<secret>[^"~][^"\r\n]*)"|'(?P<secret2>[^'~][^'\r\n]*)'|(?P<secret3>[^\s;"'~#]+))[ \t]+[^;]*"#,
    )
});

/// What tells a secret: each one's groups are named `secret`.
static PATTERNS: LazyLock<Vec<String>> = LazyLock::new(|| {
    vec![
        // A URL's user information: scheme://USER:PASSWORD@host.
        r"(?i)[a-z][a-z0-9+.-]*://(?P<secret>[^\s/@\x22'$]+)@".to_owned(),
        // A header line or a directive that sets a header: the rest of the value.
        r"(?im)\b(?:proxy-)?(?:authorization|cookie2?|set-cookie)\b[\x22']?[ \t]*:[ \t]*(?P<secret>[^\r\n]+)".to_owned(),
        r#"(?i)\b(?:http_)?(?:proxy[-_])?(?:authorization|(?:set-)?cookie2?)[\x22']?[ \t]+(?:"(?P<secret>[^"\r\n]+)"|'(?P<secret2>[^'\r\n]+)'|(?P<secret3>[^\s;"'{}()~=!][^\s;"'{}]*))"#.to_owned(),
        // name=value of a query, a cookie, an environment or an argument.
        format!(r"(?i)\b[\w-]*(?:{SECRET_NAME}|{SECRET_KEY})=(?P<secret>[^\s&;,\x22'<>]+)"),
        format!(r"(?i)[?&;]{SECRET_ARGUMENT}=(?P<secret>[^\s&;,\x22'<>]+)"),
        // --name value of an argument vector (separated by NUL), and "name": "value" of JSON.
        format!(r"(?i)--?[\w-]*{SECRET_NAME}\x00(?P<secret>[^\x00]+)"),
        format!(r#"(?i)"[\w-]*{SECRET_NAME}"\s*:\s*"(?P<secret>[^"\r\n]+)""#),
        // A directive or parameter whose name ends so: `set $api_token abc;`, `fastcgi_param DB_PASSWORD "abc";`.
        format!(r#"(?i)(?:^|[\s$"'_-])[\w-]*{SECRET_NAME}[\x22']?[ \t]+(?:"(?P<secret>[^"\r\n]+)"|'(?P<secret2>[^'\r\n]+)'|(?P<secret3>[^\s;"'{{}}~=!^:,)]+))[ \t]*;"#),
        // A header of a request to an upstream: `proxy_set_header X-Auth-User "abc";`.
        format!(r#"(?i)\b{SETS_HEADER}[ \t]+["']?[\w-]*{SECRET_PART}[\w-]*["']?[ \t]+(?:"(?P<secret>[^"\r\n]+)"|'(?P<secret2>[^'\r\n]+)'|(?P<secret3>[^\s;"'{{}}]+))"#),
        // `if ($arg_key = "abc")`.
        format!(r#"(?i)\bif\s*\(\s*\$\{{?{SECRET_VARIABLE}\}}?\s*!?=\s*(?:"(?P<secret>[^"\r\n]+)"|'(?P<secret2>[^'\r\n]+)'|(?P<secret3>[^\s;"'()~=]+))"#),
        // What a link's checksum is made of.
        r#"(?i)\bsecure_link_(?:md5|secret)[ \t]+(?:"(?P<secret>[^"\r\n]+)"|'(?P<secret2>[^'\r\n]+)'|(?P<secret3>[^\s;"']+))"#.to_owned(),
        r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----(?P<secret>.*?)(?:-----END|\z)".to_owned(),
        // A bearer or basic credential, wherever it stands.
        r"(?i)\b(?:bearer|basic|digest)[ \t]+(?P<secret>[a-z0-9+/=_.~-]{8,})".to_owned(),
    ]
});

/// All patterns at once: whether any of them matches is seen in one pass over the text.
static ANY: LazyLock<Option<RegexSet>> =
    LazyLock::new(|| RegexSetBuilder::new(PATTERNS.iter()).unicode(false).build().ok());

/// Each pattern by itself, compiled once it matches something.
static EACH: LazyLock<Vec<OnceLock<Option<Regex>>>> =
    LazyLock::new(|| PATTERNS.iter().map(|_| OnceLock::new()).collect());

/// Whether a text has a byte without which nothing in it is a secret: every pattern has at least one of them.
fn may_hold_secret(text: &[u8]) -> bool {
    text.iter().any(|byte| matches!(byte, b'=' | b':' | b'"' | b' ' | b'\t' | b'\0'))
}

/// Replaces every byte of every secret in `text` by `*`; variables (`$name`) and line ends stay.
pub fn mask_secrets(text: &[u8]) -> Cow<'_, [u8]> {
    let mut masked = Cow::Borrowed(text);
    if !may_hold_secret(text) {
        return masked;
    }
    let mut from = 0;
    while let Some(idx) = first_match(&masked, from) {
        let pattern = EACH[idx].get_or_init(|| compile(&PATTERNS[idx]));
        let captures = pattern.iter().flat_map(|pattern| pattern.captures_iter(&masked));
        let spans: Vec<_> = captures.flat_map(|captures| secrets(&captures)).collect();
        let bytes = masked.to_mut();
        for span in spans {
            mask_span(&mut bytes[span]);
        }
        from = idx + 1;
    }
    for span in map_keys(&masked) {
        mask_key(&mut masked.to_mut()[span]);
    }
    masked
}

/// The first pattern, from one of them on, that matches a text.
fn first_match(text: &[u8], from: usize) -> Option<usize> {
    let any = ANY.as_ref()?;
    if from == 0 && !any.is_match(text) {
        return None;
    }
    any.matches(text).into_iter().find(|idx| *idx >= from)
}

/// Whether a variable of the gateway holds a secret: `http_authorization`, `cookie_sid`, `arg_token`; without its `$`.
pub fn is_secret_variable(name: &str) -> bool {
    VARIABLE.as_ref().is_some_and(|pattern| pattern.is_match(name.as_bytes()))
}

/// The keys of the maps from a secret.
fn map_keys(text: &[u8]) -> Vec<std::ops::Range<usize>> {
    let (Some(map), Some(key)) = (MAP.as_ref(), MAP_KEY.as_ref()) else { return Vec::new() };
    let mut found = Vec::new();
    for entries in map.captures_iter(text).filter_map(|map| map.name("entries")) {
        let keys = key.captures_iter(entries.as_bytes()).flat_map(|captures| secrets(&captures));
        let keys = keys.map(|span| entries.start() + span.start..entries.start() + span.end);
        found.extend(keys.filter(|span| !is_word_of_map(&text[span.clone()])));
    }
    found
}

fn is_word_of_map(key: &[u8]) -> bool {
    matches!(key, b"default" | b"hostnames" | b"include" | b"volatile")
}

/// Masks the key of a map, and keeps apart those of one length: of two that are the same, nginx refuses the second.
fn mask_key(key: &mut [u8]) {
    let is_masked = |byte: &u8| *byte == b'*' || byte.is_ascii_digit();
    if key.first() == Some(&b'*') && key.iter().all(is_masked) {
        return;
    }
    let sum = key.iter().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(*byte)));
    let digits = format!("{:03}", sum % 1000);
    let n_kept = key.len().saturating_sub(1).min(digits.len());
    let begin = key.len() - n_kept;
    key[..begin].fill(b'*');
    key[begin..].copy_from_slice(&digits.as_bytes()[..n_kept]);
}

fn secrets(captures: &Captures<'_>) -> Vec<std::ops::Range<usize>> {
    ["secret", "secret2", "secret3"]
        .iter()
        .filter_map(|name| captures.name(name))
        .map(|found| found.range())
        .collect()
}

/// Masks a value; a variable's name is no secret, and a bearer scheme's name tells what kind of secret it is.
fn mask_span(value: &mut [u8]) {
    let mut at = 0;
    while at < value.len() {
        match value[at] {
            b'$' => {
                at += 1;
                while at < value.len()
                    && (value[at].is_ascii_alphanumeric() || matches!(value[at], b'_' | b'{' | b'}'))
                {
                    at += 1;
                }
            }
            b'\r' | b'\n' | b' ' => at += 1,
            _ => {
                value[at] = b'*';
                at += 1;
            }
        }
    }
}

impl Fact {
    /// The fact with its secrets masked.
    #[must_use]
    pub fn masked(mut self) -> Self {
        if let Answer::Known(body) = &mut self.answer {
            mask_body(body);
        }
        self
    }
}

fn mask_body(body: &mut FactBody) {
    match body {
        FactBody::Container(container) => container.inspected = mask_engine(&container.inspected),
        FactBody::Engine(engine) => {
            engine.containers = mask_engine(&engine.containers);
            engine.networks = mask_engine(&engine.networks);
        }
        FactBody::File(file) => mask_blob(&mut file.content),
        FactBody::KernelLog(log) => mask_blob(&mut log.lines),
        FactBody::LogTail(tail) => mask_blob(&mut tail.bytes),
        FactBody::PackageLog(log) => mask_blob(&mut log.lines),
        FactBody::Probe(transcript) => {
            let mut bytes = transcript.received.as_slice().to_vec();
            mask_streams(&mut bytes, |text| mask_secrets(text).into_owned());
            transcript.received = bytes.into();
        }
        FactBody::Process(process) => {
            mask_blob(&mut process.cmdline);
            for variable in &mut process.listens {
                *variable = crate::lossy(&mask_secrets(variable.as_bytes()));
            }
        }
        FactBody::Processes(table) => {
            table.processes.iter_mut().for_each(|process| mask_blob(&mut process.cmdline));
        }
        FactBody::ServerLogs(logs) => logs.iter_mut().for_each(|log| mask_blob(&mut log.lines)),
        FactBody::Services(services) => {
            let files =
                services.iter_mut().flat_map(|service| service.files.iter_mut().chain(&mut service.named));
            files.for_each(|file| mask_blob(&mut file.content));
        }
        FactBody::Unit(properties) => mask_blob(properties),
        FactBody::UnitJournal(journal) => mask_blob(&mut journal.entries),
        FactBody::ErrorLog(digest) => {
            for record in digest.records.iter_mut().chain(&mut digest.before) {
                mask_text(&mut record.line.text);
                mask_text(&mut record.detail);
                mask_request(&mut record.context.request);
                mask_text(&mut record.context.subrequest);
                if let Some(upstream) = &mut record.context.upstream {
                    mask_text(&mut upstream.path);
                }
            }
            digest.coverage.unparsed.iter_mut().for_each(|line| mask_text(&mut line.text));
        }
        FactBody::AccessLog(digest) => {
            for record in digest.records.iter_mut().chain(&mut digest.successes) {
                mask_text(&mut record.line.text);
                mask_request(&mut record.request);
                mask_text(&mut record.user_agent);
                mask_text(&mut record.forwarded);
            }
            digest.own.iter_mut().for_each(|own| mask_request(&mut own.request));
            digest.coverage.unparsed.iter_mut().for_each(|line| mask_text(&mut line.text));
        }
        FactBody::Addresses(_)
        | FactBody::Audit(_)
        | FactBody::Confinement(_)
        | FactBody::ControlGroups(_)
        | FactBody::Decision(_)
        | FactBody::FileSystem(_)
        | FactBody::FileTimes(_)
        | FactBody::Echo(_)
        | FactBody::Host(_)
        | FactBody::NameReply(_)
        | FactBody::PacketFilter(_)
        | FactBody::NetworkLimits(_)
        | FactBody::OtherSockets(_)
        | FactBody::PathWalk(_)
        | FactBody::Paths(_)
        | FactBody::Route(_)
        | FactBody::Sockets(_)
        | FactBody::Strings(_)
        | FactBody::Waiting(_) => {}
    }
}

fn mask_blob(blob: &mut Blob) {
    if let Cow::Owned(masked) = mask_secrets(blob.as_slice()) {
        *blob = masked.into();
    }
}

/// Both logs are masked alike, so that lines of the same request still join.
fn mask_request(request: &mut Option<RequestLine>) {
    let Some(request) = request else { return };
    if let Cow::Owned(masked) = mask_secrets(request.path.as_bytes()) {
        request.path = crate::lossy(&masked).into();
    }
}

fn mask_text(text: &mut Option<Arc<str>>) {
    let Some(line) = text else { return };
    if let Cow::Owned(masked) = mask_secrets(line.as_bytes()) {
        // A masked byte may have been part of a character: what is left of it is written in hexadecimal.
        *text = Some(crate::lossy(&masked).into());
    }
}

#[cfg(test)]
mod tests;
