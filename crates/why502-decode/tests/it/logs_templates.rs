//! Every message that nginx can write, as extracted from its source, leads to a phrase.

use std::collections::BTreeMap;
use why502_decode::logs::{classify, parse_error_line};
use why502_facts::{Errno, Phrase};

/// A row of the table of templates.
#[derive(Debug)]
struct Row {
    file: &'static str,
    level: &'static str,
    has_errno: bool,
    template: &'static str,
}

/// Templates that deliberately lead to no phrase, each with its reason.
const UNCOVERED: &[(&str, &str)] = &[];

/// Templates that are no text but a place for one, with the texts that the source puts there.
const VARIANTS: &[(&str, &[&str])] = &[
    (
        "(err)",
        &[
            "short DNS response",
            "invalid name in DNS response",
            "name is out of DNS response",
            "compression pointers loop in DNS response",
            "invalid label type in DNS response",
            "invalid number of questions in DNS response",
            "unexpected compression pointer in DNS response",
            "zero-length domain name in DNS response",
            "invalid A record in DNS response",
            "unexpected AAAA record in DNS response",
        ],
    ),
    (
        "NGX_HTTP_CLIENT_ERROR",
        &[
            "client sent invalid method",
            "client sent invalid request",
            "client sent invalid version",
            "client sent invalid method in HTTP/0.9 request",
        ],
    ),
    (
        "%s %V",
        &[
            "a client request body is buffered to a temporary file /var/lib/nginx/body/0000000001",
            "an upstream response is buffered to a temporary file /var/lib/nginx/proxy/1/00/0000000001",
        ],
    ),
    (
        "%s%s",
        &[
            "ngx_slab_alloc() failed: no memory in limit_conn_zone \"lc\"",
            "ngx_slab_alloc() failed: no memory in cache keys zone \"c\"",
            "ngx_slab_alloc() failed: no memory",
            "ngx_slab_free(): page is already free",
        ],
    ),
    (
        "could not allocate node%s",
        &[
            "could not allocate node in limit_req zone \"lr\"",
            "could not allocate node in cache keys zone \"c\"",
            "could not allocate node",
        ],
    ),
    (
        "%s \"%s\" failed",
        &["stat() \"/srv/x\" failed", "open() \"/srv/x\" failed", "lstat() \"/srv/x\" failed"],
    ),
    (
        "%s in upstream \"%V\"",
        &[
            "invalid host in upstream \"a b\"",
            "invalid port in upstream \"a:99999\"",
            "no host in upstream \":80\"",
            "invalid IPv6 address in upstream \"[::\"",
            "no path in the unix domain socket in upstream \"unix:\"",
            "too long path in the unix domain socket in upstream \"unix:/x\"",
        ],
    ),
    (
        "*%uA %sclient %*s connected to %V",
        &[
            "client 127.0.0.1:37748 connected to 127.0.0.1:80",
            "udp client 127.0.0.1:5 connected to 127.0.0.1:53",
        ],
    ),
    ("accept4() failed | accept() failed", &["accept4() failed", "accept() failed"]),
    (
        "%s %P exited on signal %d%s",
        &["worker process 7 exited on signal 11 (core dumped)", "cache manager process 7 exited on signal 9"],
    ),
    ("signal %d (%s) received from %P%s", &["signal 1 (SIGHUP) received from 7, reconfiguring"]),
    (
        "limiting requests%s, excess: %ui.%03ui by zone \"%V\"",
        &[
            "limiting requests, excess: 0.969 by zone \"lr\"",
            "limiting requests, dry run, excess: 0.969 by zone \"lr\"",
        ],
    ),
    (
        "delaying request%s, excess: %ui.%03ui, by zone \"%V\"",
        &[
            "delaying request, excess: 0.969, by zone \"lr\"",
            "delaying request, dry run, excess: 0.969, by zone \"lr\"",
        ],
    ),
    (
        "limiting connections%s by zone \"%V\"",
        &["limiting connections by zone \"lc\"", "limiting connections, dry run, by zone \"lc\""],
    ),
];

/// What the most important templates must lead to.
const EXPECTED: &[(&str, Phrase)] = &[
    ("no port in upstream \"%V\"", Phrase::NoPortInUpstream),
    ("no resolver defined to resolve %V", Phrase::NoResolver),
    ("no upstream configuration", Phrase::GatewayFault),
    (
        "%V_buffer_size %uz is not enough for cache key, it should be increased to at least %uz",
        Phrase::CacheTrouble,
    ),
    ("cache \"%V\" not found", Phrase::CacheZoneUnknown),
    ("cache file \"%s\" contains invalid header", Phrase::CacheTrouble),
    ("%V could not be resolved (%i: %s)", Phrase::NameNotResolved),
    ("%V could not be resolved (%i: %s) while resolving service %V of %V", Phrase::NameNotResolved),
    ("service %V of %V could not be resolved (%i: %s)", Phrase::NameNotResolved),
    (
        "epoll_wait() reported that client prematurely closed connection, so upstream connection is closed too",
        Phrase::ClientClosed,
    ),
    ("epoll_wait() reported that client prematurely closed connection", Phrase::ClientClosed),
    ("kevent() reported that client prematurely closed connection", Phrase::ClientClosed),
    ("client prematurely closed connection, so upstream connection is closed too", Phrase::ClientClosed),
    ("client prematurely closed connection", Phrase::ClientClosed),
    ("no live upstreams", Phrase::NoLiveUpstreams),
    ("SSL_set_alpn_protos() failed", Phrase::TlsSetupFailed),
    ("upstream SSL certificate verify error: (%l:%s)", Phrase::TlsVerifyFailed),
    ("upstream SSL certificate does not match \"%V\"", Phrase::TlsNameMismatch),
    ("SSL_set_tlsext_host_name(\"%s\") failed", Phrase::TlsSetupFailed),
    ("setsockopt(!TCP_CORK) failed", Phrase::SocketOptionFailed),
    ("upstream prematurely closed connection", Phrase::PrematureClose),
    ("upstream prematurely sent response", Phrase::PrematurelySentResponse),
    ("upstream sent too big header", Phrase::TooBigHeader),
    ("upstream sent too big early hints", Phrase::Noise),
    ("kevent() reported that connect() failed", Phrase::ConnectFailed),
    ("connect() failed", Phrase::ConnectFailed),
    ("connection upgrade in subrequest", Phrase::SubrequestTrouble),
    ("client timed out", Phrase::ClientTimedOut),
    ("upstream timed out", Phrase::UpstreamTimedOut),
    ("upstream sent more data than specified in \"Content-Length\" header", Phrase::MoreDataThanAnnounced),
    ("thread pool \"%V\" not found", Phrase::VariableTrouble),
    ("unlink() \"%s\" failed", Phrase::FileOperationFailed),
    ("upstream sent duplicate header line: \"%V: %V\", previous value: \"%V: %V\", ignored", Phrase::Noise),
    ("upstream sent duplicate header line: \"%V: %V\", previous value: \"%V: %V\"", Phrase::InvalidHeader),
    (
        "upstream sent \"Content-Length\" and \"Transfer-Encoding\" headers at the same time",
        Phrase::InvalidHeader,
    ),
    ("upstream sent invalid \"Content-Length\" header: \"%V: %V\"", Phrase::InvalidHeader),
    ("upstream sent unknown \"Transfer-Encoding\": \"%V\"", Phrase::InvalidHeader),
    ("invalid local address \"%V\"", Phrase::VariableTrouble),
    ("upstream server temporarily disabled", Phrase::ServerTemporarilyDisabled),
    ("invalid URL prefix in \"%V\"", Phrase::InvalidUrlPrefix),
    ("%s in upstream \"%V\"", Phrase::InvalidUpstreamValue),
    ("zero length URI to proxy", Phrase::RequestNotBuilt),
    ("upstream sent no valid HTTP/1.0 header", Phrase::NoValidHttpHeader),
    ("upstream sent HTTP/1.0 response with early hints", Phrase::InvalidHeader),
    ("upstream sent invalid header: \"%*s\\x%02xd...\"", Phrase::InvalidHeader),
    ("upstream sent invalid header", Phrase::InvalidHeader),
    ("upstream sent invalid header \"%V: %V\"", Phrase::InvalidHeader),
    ("upstream sent data after final chunk", Phrase::MoreDataThanAnnounced),
    ("upstream sent data after trailers", Phrase::MoreDataThanAnnounced),
    ("upstream sent invalid chunked response", Phrase::InvalidChunkedResponse),
    ("upstream sent too big trailers", Phrase::InvalidTrailer),
    ("upstream sent invalid trailer: \"%*s\\x%02xd...\"", Phrase::InvalidTrailer),
    ("too long http2 method: \"%V\"", Phrase::RequestNotBuilt),
    ("upstream sent unexpected http2 frame: %d", Phrase::Http2Violation),
    ("upstream sent frame for unknown stream %ui", Phrase::Http2Violation),
    ("upstream rejected request with error %ui", Phrase::Http2Rejected),
    ("upstream sent duplicate :status header", Phrase::Http2Violation),
    ("upstream sent no :status header", Phrase::Http2Violation),
    ("upstream prematurely closed stream", Phrase::Http2StreamClosedEarly),
    ("upstream sent response body larger than indicated content length", Phrase::Http2Violation),
    ("upstream sent goaway with error %ui", Phrase::Http2Goaway),
    ("upstream sent goaway frame with invalid length: %uz", Phrase::Http2Violation),
    ("upstream sent too large http2 frame: %uz", Phrase::Http2TooLargeFrame),
    ("upstream sent too large http2 header", Phrase::Http2Violation),
    ("upstream sent too many settings frames", Phrase::Http2Violation),
    ("no connection data found for keepalive http2 connection", Phrase::GatewayFault),
    ("fastcgi request record is too big: %uz", Phrase::RequestNotBuilt),
    ("upstream sent unexpected FastCGI record: %ui", Phrase::FastCgiInvalid),
    ("upstream prematurely closed FastCGI stdout", Phrase::FastCgiClosedEarly),
    ("FastCGI sent in stderr: \"%*s\"", Phrase::FastCgiStderr),
    ("invalid header after joining FastCGI records", Phrase::GatewayFault),
    ("upstream sent invalid status \"%V\"", Phrase::InvalidStatus),
    ("upstream prematurely closed FastCGI request", Phrase::FastCgiClosedEarly),
    ("upstream sent unsupported FastCGI protocol version: %d", Phrase::FastCgiInvalid),
    ("upstream sent invalid FastCGI record type: %d", Phrase::FastCgiInvalid),
    ("upstream sent unexpected FastCGI request id high byte: %d", Phrase::FastCgiInvalid),
    ("suwsgi protocol requires SSL support", Phrase::RequestNotBuilt),
    ("uwsgi request is too big: %uz", Phrase::RequestNotBuilt),
    ("scgi request length mismatch", Phrase::RequestNotBuilt),
    ("the \"$memcached_key\" variable is not set", Phrase::VariableTrouble),
    ("memcached sent invalid response: \"%V\"", Phrase::MemcachedInvalid),
    ("key: \"%V\" was not found by memcached", Phrase::Noise),
    ("cannot add new server to upstream \"%V\", memory exhausted", Phrase::SharedMemoryFull),
    ("auth request unexpected status: %ui", Phrase::AuthRequestUnexpectedStatus),
    ("etag mismatch in slice response", Phrase::SliceInvalid),
    ("limiting connections%s by zone \"%V\"", Phrase::LimitingConnections),
    ("limiting requests%s, excess: %ui.%03ui by zone \"%V\"", Phrase::LimitingRequests),
    ("delaying request%s, excess: %ui.%03ui, by zone \"%V\"", Phrase::LimitingRequestsDelayed),
    ("could not allocate node%s", Phrase::LimitZoneFull),
    ("open() \"%s\" failed", Phrase::FileOperationFailed),
    ("client intended to send too large body: %O bytes", Phrase::ClientBodyTooLarge),
    ("rewrite or internal redirection cycle while processing \"%V\"", Phrase::RedirectCycle),
    ("rewrite or internal redirection cycle while internally redirecting to \"%V\"", Phrase::RedirectCycle),
    ("access forbidden by rule", Phrase::RefusedLocally),
    ("directory index of \"%s\" is forbidden", Phrase::RefusedLocally),
    ("header already sent", Phrase::GatewayFault),
    ("could not find named location \"%V\"", Phrase::NamedLocationMissing),
    ("subrequests cycle while processing \"%V\"", Phrase::SubrequestTrouble),
    ("cycle while evaluating variable \"%V\"", Phrase::VariableTrouble),
    ("using uninitialized \"%V\" variable", Phrase::VariableUninitialised),
    ("client sent plain HTTP request to HTTPS port", Phrase::ClientRequestInvalid),
    ("client %V closed keepalive connection", Phrase::Noise),
    ("socket() failed", Phrase::SocketFailed),
    ("bind(%V) failed", Phrase::BindFailed),
    ("connect() to %V failed", Phrase::ConnectToFailed),
    ("setsockopt(IP_TRANSPARENT) failed", Phrase::SocketOptionFailed),
    ("setsockopt(SO_KEEPALIVE) failed, ignored", Phrase::Noise),
    ("kevent() reported that upstream closed connection", Phrase::ReceiveFailed),
    ("cannot load certificate \"%s\": %s", Phrase::TlsSetupFailed),
    ("peer closed connection in SSL handshake", Phrase::TlsPeerClosed),
    ("SSL_do_handshake() failed", Phrase::TlsHandshakeFailed),
    ("SSL_read() failed", Phrase::TlsTransferFailed),
    ("SSL_write() failed", Phrase::TlsTransferFailed),
    ("SSL_shutdown() failed", Phrase::Noise),
    ("accept4() failed | accept() failed", Phrase::AcceptFailed),
    ("recv() failed", Phrase::ReceiveFailed),
    ("readv() failed", Phrase::ReceiveFailed),
    ("send() failed", Phrase::SendFailed),
    ("writev() failed", Phrase::SendFailed),
    ("sendfile() failed", Phrase::SendFailed),
    ("%ui worker_connections are not enough", Phrase::WorkerConnections),
    ("%ui worker_connections are not enough, reusing connections", Phrase::WorkerConnectionsLow),
    ("%ui worker_connections exceed open file resource limit: %i", Phrase::FileLimit),
    ("setrlimit(RLIMIT_NOFILE, %i) failed", Phrase::FileLimit),
    ("DNS error (%ui: %s), query id:%ui, name:\"%*s\"", Phrase::DnsTrouble),
    ("unexpected DNS response for %V", Phrase::DnsTrouble),
    ("%s %V", Phrase::BufferedToFile),
    ("broken header: \"%*s\"", Phrase::BrokenProxyProtocol),
    ("%s %P exited on signal %d%s", Phrase::WorkerExitedOnSignal),
    ("%s %P exited with code %d", Phrase::ProcessEvent),
    ("reconfiguring", Phrase::ProcessEvent),
    ("gracefully shutting down", Phrase::ProcessEvent),
    ("connection timed out", Phrase::IdleTimeout),
    ("no port in pass \"%V\"", Phrase::GatewayFault),
];

/// Wordings that the table does not have: other builds, and older releases.
const ELSEWHERE: &[(&str, Phrase)] = &[
    ("too many log messages, limiting", Phrase::LogLinesDropped),
    ("send() to syslog failed", Phrase::LogLinesDropped),
    ("failed to run balancer_by_lua*: no healthy upstream", Phrase::ScriptFailed),
    ("lua balancer: no peer set", Phrase::ScriptFailed),
    ("lua entry thread aborted: runtime error: a.lua:3: boom\nstack traceback:", Phrase::ScriptFailed),
    ("lua tcp socket connect timed out, when connecting to 127.0.0.1:6379", Phrase::ScriptMessage),
    ("[lua] init.lua:12: hello", Phrase::ScriptMessage),
    ("js exception: TypeError: cannot get property", Phrase::ScriptFailed),
    ("disable check peer: 127.0.0.1:80 ", Phrase::HealthCheck),
    ("enable check peer: 127.0.0.1:80 ", Phrase::HealthCheck),
    ("check protocol http error with peer: 127.0.0.1:80 ", Phrase::HealthCheck),
    ("check time out with peer: 127.0.0.1:80 ", Phrase::HealthCheck),
    ("peer is unhealthy", Phrase::HealthCheck),
    ("client closed keepalive connection", Phrase::Noise),
    ("1024 worker_connections are more than open file resource limit: 256", Phrase::FileLimit),
    ("pcre_exec() failed: -8 on \"a\" using \"b\"", Phrase::VariableTrouble),
    ("malloc(4096) failed", Phrase::MemoryExhausted),
    ("posix_memalign(16, 4096) failed", Phrase::MemoryExhausted),
    ("conflicting server name \"a\" on 0.0.0.0:80, ignored", Phrase::ConfigurationWarning),
    ("upstream sent invalid header rc:-5", Phrase::InvalidHeader),
    ("open() \"/srv/favicon.ico\" failed", Phrase::FileOperationFailed),
    ("user \"bob\": password mismatch", Phrase::RefusedLocally),
];

fn rows(when: &str) -> Vec<Row> {
    const TABLE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../spec/nginx-messages.tsv"));
    let rows = TABLE.lines().skip(1).map(|line| line.split('\t').collect::<Vec<_>>());
    rows.filter(|row| row[0] == when)
        .map(|row| Row { file: row[1], level: row[2], has_errno: row[3] == "1", template: row[4] })
        .collect()
}

/// Messages as nginx would print them from a template.
fn instances(template: &str) -> Vec<String> {
    match VARIANTS.iter().find(|(known, _)| *known == template) {
        Some((_, texts)) => texts.iter().map(|&text| text.to_owned()).collect(),
        None => vec![fill(template)],
    }
}

/// Puts plausible values into nginx's own placeholders (`ngx_vslprintf`).
fn fill(template: &str) -> String {
    const VALUES: [(&str, &str); 20] = [
        ("%*s", "X-Foo: a"),
        ("*%uA ", ""),
        ("%02xd", "0a"),
        ("%03ui", "012"),
        ("%04Xi", "8180"),
        ("%.3f", "1.234"),
        ("%uA", "7"),
        ("%ui", "7"),
        ("%uz", "4096"),
        ("%ud", "7"),
        ("%V", "one.test"),
        ("%v", "one.test"),
        ("%s", "some text"),
        ("%i", "7"),
        ("%d", "7"),
        ("%O", "1024"),
        ("%z", "12"),
        ("%P", "4711"),
        ("%l", "10"),
        ("%p", "0000562B0A1C2D3E"),
    ];
    let filled = VALUES.iter().fold(template.to_owned(), |text, (hole, value)| text.replace(hole, value));
    assert!(!filled.contains('%'), "a placeholder of {template:?} has no value: {filled:?}");
    filled
}

#[test]
fn every_run_time_template_leads_to_a_phrase() {
    let rows = rows("run");
    let mut covered = BTreeMap::<&str, usize>::new();
    let mut missing = Vec::new();
    for row in &rows {
        if UNCOVERED.iter().any(|(template, _)| *template == row.template) {
            continue;
        }
        for message in instances(row.template) {
            if classify(message.as_bytes()).0 == Phrase::Unrecognised {
                missing.push(format!("{}: {message}", row.file));
            }
        }
        *covered.entry(row.file).or_default() += 1;
    }
    assert!(missing.is_empty(), "templates without a phrase:\n{}", missing.join("\n"));
    let n_covered: usize = covered.values().sum();
    assert_eq!((n_covered + UNCOVERED.len(), rows.len()), (rows.len(), 560), "the table has changed");
}

#[test]
fn important_templates_lead_to_their_phrases() {
    let known: Vec<&str> = rows("run").iter().map(|row| row.template).collect();
    for (template, phrase) in EXPECTED {
        assert!(known.contains(template), "no such template: {template}");
        let message = &instances(template)[0];
        assert_eq!(classify(message.as_bytes()).0, *phrase, "{message}");
    }
    for (message, phrase) in ELSEWHERE {
        assert_eq!(classify(message.as_bytes()).0, *phrase, "{message}");
    }
    assert!(EXPECTED.len() >= 120, "{}", EXPECTED.len());
}

/// A message keeps its phrase when it stands in a line with an error code, an action and a context.
#[test]
fn templates_survive_in_whole_lines() {
    for row in rows("run").iter().filter(|row| row.level != "debug") {
        for message in instances(row.template) {
            let errno = if row.has_errno { " (104: Connection reset by peer)" } else { "" };
            let line = format!(
                "2026/11/21 02:28:30 [error] 9367#9367: *3 {message}{errno} while reading response header from upstream, \
                 client: 127.0.0.1, server: a, request: \"GET / HTTP/1.1\", upstream: \"http://127.0.0.1:1/\", host: \"a\""
            );
            let parsed = parse_error_line(line.as_bytes()).unwrap();
            assert_eq!(parsed.classify().0, classify(message.as_bytes()).0, "{line}");
            assert_eq!(parsed.errno, row.has_errno.then_some(Errno::ConnectionReset), "{line}");
            assert_eq!(parsed.context.client, Some(b"127.0.0.1".as_slice()), "{line}");
        }
    }
}

#[test]
fn every_refused_configuration_is_recognised() {
    let rows = rows("config");
    assert_eq!(rows.len(), 210, "the table has changed");
    for row in &rows {
        let place = if row.template.ends_with("in %s:%ui") { "" } else { " in /etc/nginx/nginx.conf:12" };
        let message = fill(&row.template.replace("in %s:%ui", "in /etc/nginx/nginx.conf:12"));
        let line = format!("2026/11/21 02:28:30 [{}] 7#7: {message}{place}", row.level);
        let Some(parsed) = parse_error_line(line.as_bytes()) else { panic!("{line}") };
        let phrase = parsed.classify().0;
        let expected = match row.level {
            "emerg" => {
                matches!(phrase, Phrase::ConfigurationRefused | Phrase::BindFailed | Phrase::MemoryExhausted)
            }
            "warn" => phrase == Phrase::ConfigurationWarning,
            // `notice` and `alert` go on, and what they say is what it is.
            _ => true,
        };
        assert!(expected, "{line}: {phrase:?}");
    }
}
