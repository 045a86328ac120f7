//! What a message says: the gateway's templates as tables, and the matcher that reads them.
//!
//! A template is written as the gateway's source has it, with its placeholders replaced by `{}`, or by `{*}` where the
//! placeholder is the phrase's detail. Tables are tried in order, so a special form stands before a general one. Which
//! source a template comes from is told by `spec/nginx-messages.tsv`, and `tests/logs.rs` holds both together.

mod client;
mod fastcgi;
mod file;
mod forks;
mod gateway;
mod http2;
mod matcher;
mod resolver;
mod tls;
mod upstream;

use self::matcher::Index;
use std::sync::LazyLock;
use why502_facts::Phrase;

/// The most frequent tables first: among rules of equal first bytes, the earlier one is tried first.
static INDEX: LazyLock<Index> = LazyLock::new(|| {
    Index::new(&[
        upstream::RULES,
        fastcgi::RULES,
        http2::RULES,
        tls::RULES,
        client::RULES,
        resolver::RULES,
        gateway::RULES,
        forks::RULES,
        file::RULES,
    ])
});

/// Tells what a message says, given without its error code and its context, and what its placeholder held.
pub fn classify(message: &[u8]) -> (Phrase, Option<&[u8]>) {
    INDEX.find(message).unwrap_or((Phrase::Unrecognised, Some(message)))
}

/// Tells what an `[emerg]` message says that belongs to no connection: the gateway starts or reloads its configuration.
///
/// Almost every such message ends the attempt (`ngx_init_cycle` fails): the configuration is refused, whatever it was
/// that could not be opened, resolved or bound.
pub fn classify_start_up(message: &[u8]) -> (Phrase, Option<&[u8]>) {
    match classify(message) {
        found @ (Phrase::MemoryExhausted | Phrase::BindFailed, _) => found,
        _ => (Phrase::ConfigurationRefused, Some(message)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(message: &str) -> (Phrase, Option<&str>) {
        let (phrase, detail) = classify(message.as_bytes());
        (phrase, detail.map(|detail| std::str::from_utf8(detail).unwrap()))
    }

    #[test]
    fn placeholders_become_details() {
        let cases = [
            ("no live upstreams", Phrase::NoLiveUpstreams, None),
            ("connect() to unix:/run/a b.sock failed", Phrase::ConnectToFailed, Some("unix:/run/a b.sock")),
            ("limiting requests, excess: 0.969 by zone \"lr\"", Phrase::LimitingRequests, Some("lr")),
            ("limiting requests, dry run, excess: 0.969 by zone \"lr\"", Phrase::LimitDryRun, Some("lr")),
            ("upstream sent too large http2 frame: 4740180", Phrase::Http2TooLargeFrame, Some("4740180")),
            ("upstream sent goaway with error 11", Phrase::Http2Goaway, Some("11")),
            (
                "upstream sent unsupported FastCGI protocol version: 72",
                Phrase::FastCgiInvalid,
                Some("protocol version: 72"),
            ),
            ("upstream sent unexpected FastCGI record: 3", Phrase::FastCgiClosedEarly, None),
            ("upstream sent unexpected FastCGI record: 9", Phrase::FastCgiInvalid, Some("record: 9")),
            (
                "nx.test could not be resolved (3: Host not found)",
                Phrase::NameNotResolved,
                Some("nx.test could not be resolved (3: Host not found)"),
            ),
            (
                "SSL_do_handshake() failed (SSL: error:0A00010B:SSL routines::wrong version number)",
                Phrase::TlsHandshakeFailed,
                Some("error:0A00010B:SSL routines::wrong version number"),
            ),
            ("1024 worker_connections are not enough", Phrase::WorkerConnections, Some("1024")),
            (
                "1024 worker_connections are not enough, reusing connections",
                Phrase::WorkerConnectionsLow,
                Some("1024"),
            ),
            ("what is this", Phrase::Unrecognised, Some("what is this")),
        ];
        for (message, phrase, detail) in cases {
            assert_eq!(said(message), (phrase, detail), "{message}");
        }
    }

    #[test]
    fn the_excerpt_of_a_stream_may_hold_anything() {
        let text = "FastCGI sent in stderr: \"PHP message: \"quoted\"\nsecond line\"";
        assert_eq!(said(text), (Phrase::FastCgiStderr, Some("PHP message: \"quoted\"\nsecond line")));
        let cut = "FastCGI sent in stderr: \"PHP message: cut";
        assert_eq!(said(cut), (Phrase::FastCgiStderr, Some("PHP message: cut")));
    }

    #[test]
    fn a_refused_start_is_no_request() {
        let message = b"host not found in upstream \"app\" in /etc/nginx/conf.d/a.conf:3".as_slice();
        assert_eq!(classify_start_up(message), (Phrase::ConfigurationRefused, Some(message)));
        let bind = b"bind() to 0.0.0.0:80 failed".as_slice();
        assert_eq!(classify_start_up(bind), (Phrase::BindFailed, Some(b"0.0.0.0:80".as_slice())));
    }
}
