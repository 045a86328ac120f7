//! TLS: `ngx_event_openssl.c` and the checks of `ngx_http_upstream.c`.

use super::matcher::Rule;
use why502_facts::Phrase;

pub(super) const RULES: &[Rule] = &[
    // `ngx_ssl_error` appends the library's words; without any in its queue the bare message stands.
    Rule::new("SSL_do_handshake() failed (SSL: {*})", Phrase::TlsHandshakeFailed),
    Rule::new("SSL_do_handshake() failed{}", Phrase::TlsHandshakeFailed),
    Rule::new("peer closed connection in SSL handshake", Phrase::TlsPeerClosed),
    Rule::whole("handshake rejected", Phrase::TlsHandshakeFailed),
    Rule::new("upstream SSL certificate verify error: ({*})", Phrase::TlsVerifyFailed),
    Rule::new("upstream SSL certificate does not match \"{*}\"", Phrase::TlsNameMismatch),
    Rule::new("SSL_read() failed (SSL: {*})", Phrase::TlsTransferFailed),
    Rule::new("SSL_read() failed{}", Phrase::TlsTransferFailed),
    Rule::new("SSL_write() failed (SSL: {*})", Phrase::TlsTransferFailed),
    Rule::new("SSL_write() failed{}", Phrase::TlsTransferFailed),
    Rule::new("SSL_sendfile() failed (SSL: {*})", Phrase::TlsTransferFailed),
    Rule::new("SSL_sendfile() failed{}", Phrase::TlsTransferFailed),
    Rule::new("SSL_read_early_data() failed (SSL: {*})", Phrase::TlsTransferFailed),
    Rule::new("SSL_read_early_data() failed{}", Phrase::TlsTransferFailed),
    Rule::new("SSL_write_early_data() failed (SSL: {*})", Phrase::TlsTransferFailed),
    Rule::new("SSL_write_early_data() failed{}", Phrase::TlsTransferFailed),
    // The peer wants another handshake, usually to ask for a client certificate; the connection is then closed.
    Rule::whole("SSL renegotiation disabled", Phrase::TlsTransferFailed),
    Rule::whole("SSL_sendfile() not available", Phrase::GatewayFault),
    Rule::whole("SSL_sendfile() reported that \"{}\" was truncated at {}", Phrase::FileOperationFailed),
    Rule::new("SSL_shutdown() failed{}", Phrase::Noise),
    Rule::new("ignoring stale global SSL error{}", Phrase::Noise),
    Rule::whole("cannot load certificate {}", Phrase::TlsSetupFailed),
    Rule::whole("SSL_use_certificate(\"{}\") failed{}", Phrase::TlsSetupFailed),
    Rule::whole("SSL_use_PrivateKey(\"{}\") failed{}", Phrase::TlsSetupFailed),
    Rule::whole("SSL_set0_chain(\"{}\") failed{}", Phrase::TlsSetupFailed),
    Rule::whole("SSL_set_tlsext_host_name(\"{}\") failed{}", Phrase::TlsSetupFailed),
    Rule::whole("SSL_set_{}() failed{}", Phrase::TlsSetupFailed),
    Rule::whole("SSL_new() failed{}", Phrase::TlsSetupFailed),
];
