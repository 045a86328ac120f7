//! TLS as nginx speaks it to an upstream (`ngx_http_proxy_set_ssl`, `ngx_ssl_create`, `ngx_http_upstream_ssl_handshake`).
//!
//! The handshake goes on whatever the verification says, as nginx's own callback lets it go on; the verdict is told beside.

use super::{Recorder, outcome_of};
use crate::files::read_whole;
use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::ssl::{
    ErrorCode, HandshakeError, Ssl, SslContext, SslContextBuilder, SslMethod, SslOptions, SslRef, SslStream,
    SslVerifyMode,
};
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::{X509, X509NameRef, X509Ref, X509VerifyResult};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use why502_decode::wire::asks_certificate;
use why502_facts::{
    ProbeOutcome, ProbeSpec, Stamp, TlsAnswer, TlsCertificate, TlsSpec, TlsVerdict, TlsVerifySpec,
};

/// How many of a peer's raw first bytes are kept in a transcript.
const MAX_KEPT_BYTES: usize = 256;
/// The library's number among the sources of errors (`ERR_LIB_SSL`), and what its reasons for an alert begin with
/// (`SSL_AD_REASON_OFFSET`).
const SSL_LIBRARY: i32 = 20;
const ALERTS_BEGIN: i32 = 1000;
/// The codes of a certificate for another name or address (`X509_V_ERR_HOSTNAME_MISMATCH`, `…_IP_ADDRESS_MISMATCH`).
const OTHER_NAME: [i32; 2] = [62, 64];
/// The versions that can be left out, as nginx names them.
const VERSIONS: [(&str, SslOptions); 4] = [
    ("TLSv1", SslOptions::NO_TLSV1),
    ("TLSv1.1", SslOptions::NO_TLSV1_1),
    ("TLSv1.2", SslOptions::NO_TLSV1_2),
    ("TLSv1.3", SslOptions::NO_TLSV1_3),
];

/// The certificates and keys that probes need: nginx reads them as root, before it becomes its user, and so are they here.
#[derive(Debug, Default)]
pub(crate) struct TlsFiles {
    contents: BTreeMap<String, Option<Vec<u8>>>,
}

impl TlsFiles {
    /// Reads what some probes need in the root where this process is.
    pub(crate) fn read<'s>(specs: impl Iterator<Item = &'s ProbeSpec>) -> Self {
        let mut contents = BTreeMap::new();
        for spec in specs.filter_map(ProbeSpec::tls) {
            let trusted = spec.verify.iter().map(|verify| &verify.trusted);
            let own = spec.certificate.iter().flat_map(|(certificate, key)| [certificate, key]);
            for path in trusted.chain(own) {
                contents.entry(path.clone()).or_insert_with(|| read_whole(path));
            }
        }
        Self { contents }
    }

    fn content(&self, path: &str) -> Result<&[u8], String> {
        let content = self.contents.get(path).and_then(Option::as_deref);
        content.ok_or_else(|| format!("{path}: it cannot be read"))
    }
}

/// What the verification found wrong, in its order.
type Complaints = Arc<Mutex<Vec<X509VerifyResult>>>;

/// Shakes hands; what came of it, what was learned, and the stream if it stands.
pub(super) fn shake_hands(
    recorder: Recorder,
    spec: &TlsSpec,
    files: &TlsFiles,
) -> (ProbeOutcome, TlsAnswer, Option<SslStream<Recorder>>) {
    let mut answer = TlsAnswer::default();
    let complaints = Complaints::default();
    let ssl = match new_client(spec, files, &complaints, &mut answer.unusable) {
        Ok(ssl) => ssl,
        Err(error) => {
            answer.error = Some(error.to_string());
            answer.unusable.push("the settings of TLS: the library refuses them".to_owned());
            return (ProbeOutcome::Refused, answer, None);
        }
    };
    let (outcome, stream) = match ssl.connect(recorder) {
        Ok(stream) => {
            answer.established = true;
            describe(stream.ssl(), stream.get_ref(), &mut answer);
            (ProbeOutcome::Done, Some(stream))
        }
        Err(HandshakeError::Failure(stream) | HandshakeError::WouldBlock(stream)) => {
            describe(stream.ssl(), stream.get_ref(), &mut answer);
            (refusal(stream.error(), &mut answer), None)
        }
        Err(HandshakeError::SetupFailure(error)) => {
            answer.error = Some(error.to_string());
            (ProbeOutcome::Refused, None)
        }
    };
    if let Some(verify) =
        spec.verify.as_ref().filter(|_| !answer.chain.is_empty() && answer.unusable.is_empty())
    {
        answer.verdict = Some(verdict(verify, &complaints));
    }
    (outcome, answer, stream)
}

/// Notes the alert that ended a read.
pub(super) fn note_alert(error: &io::Error, answer: &mut TlsAnswer) {
    let error = error.get_ref().and_then(|error| error.downcast_ref::<openssl::ssl::Error>());
    if let Some(stack) = error.and_then(openssl::ssl::Error::ssl_error) {
        answer.alert = alert_in(stack);
        answer.error = Some(stack.to_string());
    }
}

fn new_client(
    spec: &TlsSpec,
    files: &TlsFiles,
    complaints: &Complaints,
    unusable: &mut Vec<String>,
) -> Result<Ssl, ErrorStack> {
    let mut context = SslContext::builder(SslMethod::tls_client())?;
    // nginx decides by options alone, whatever the host's openssl.cnf says.
    context.set_min_proto_version(None)?;
    if !spec.protocols.is_empty() {
        for (_, option) in VERSIONS.iter().filter(|(name, _)| !spec.protocols.iter().any(|own| own == name)) {
            context.set_options(*option);
        }
    }
    if let Some(ciphers) = &spec.ciphers {
        context.set_cipher_list(ciphers)?;
    }
    if !spec.alpn.is_empty() {
        context.set_alpn_protos(&alpn_list(&spec.alpn))?;
    }
    if let Some((certificate, key)) = &spec.certificate
        && let Err(says) = present(&mut context, files, certificate, key)
    {
        unusable.push(says);
    }
    context.set_verify(SslVerifyMode::NONE);
    if let Some(verify) = &spec.verify
        && let Err(says) = trust(&mut context, files, verify, complaints)
    {
        unusable.push(says);
    }
    let mut ssl = Ssl::new(&context.build())?;
    if let Some(name) = &spec.server_name {
        ssl.set_hostname(name)?;
    }
    if let Some(name) = spec.verify.as_ref().and_then(|verify| verify.name.as_deref()) {
        ssl.param_mut().set_host(name)?;
    }
    Ok(ssl)
}

/// Presents a certificate with its chain (`ngx_ssl_certificate`).
fn present(
    context: &mut SslContextBuilder,
    files: &TlsFiles,
    certificate: &str,
    key: &str,
) -> Result<(), String> {
    let chain = X509::stack_from_pem(files.content(certificate)?).map_err(|_| unreadable(certificate))?;
    // A passphrase is never asked for.
    let key_read = PKey::private_key_from_pem_callback(files.content(key)?, |_| Ok(0));
    let private = key_read.map_err(|_| format!("{key}: no key that can be used without a password"))?;
    let mut chain = chain.into_iter();
    let own = chain.next().ok_or_else(|| unreadable(certificate))?;
    context.set_certificate(&own).map_err(|_| unreadable(certificate))?;
    context.set_private_key(&private).map_err(|_| format!("{key}: it does not fit {certificate}"))?;
    for other in chain {
        context.add_extra_chain_cert(other).map_err(|_| unreadable(certificate))?;
    }
    Ok(())
}

/// Names in the form of the extension, each with its length before it (RFC 7301, section 3.1); longer ones than it takes are
/// left out.
fn alpn_list(names: &[String]) -> Vec<u8> {
    let mut list = Vec::new();
    for name in names {
        if let Ok(length) = u8::try_from(name.len()) {
            list.push(length);
            list.extend_from_slice(name.as_bytes());
        }
    }
    list
}

/// Verifies by the authorities of a file (`ngx_ssl_trusted_certificate`), and lets the handshake go on in any case.
fn trust(
    context: &mut SslContextBuilder,
    files: &TlsFiles,
    verify: &TlsVerifySpec,
    complaints: &Complaints,
) -> Result<(), String> {
    let path = &verify.trusted;
    let authorities = X509::stack_from_pem(files.content(path)?).map_err(|_| unreadable(path))?;
    let mut store = X509StoreBuilder::new().map_err(|_| unreadable(path))?;
    for authority in authorities {
        store.add_cert(authority).map_err(|_| unreadable(path))?;
    }
    context.set_cert_store(store.build());
    context.set_verify_depth(verify.depth);
    let complaints = Arc::clone(complaints);
    context.set_verify_callback(SslVerifyMode::PEER, move |is_well, store| {
        if !is_well {
            complaints.lock().unwrap_or_else(PoisonError::into_inner).push(store.error());
        }
        true
    });
    Ok(())
}

fn unreadable(path: &str) -> String {
    format!("{path}: no certificates can be read from it")
}

/// What nginx would say: its last complaint about the chain, and then whether the name fits.
fn verdict(verify: &TlsVerifySpec, complaints: &Complaints) -> TlsVerdict {
    let complaints = complaints.lock().unwrap_or_else(PoisonError::into_inner);
    let is_about_name = |own: &X509VerifyResult| OTHER_NAME.contains(&own.as_raw());
    let last =
        complaints.iter().rev().find(|own| !is_about_name(own)).copied().unwrap_or(X509VerifyResult::OK);
    TlsVerdict {
        code: last.as_raw(),
        says: last.error_string().to_owned(),
        is_for_name: verify.name.is_some().then(|| !complaints.iter().any(is_about_name)),
    }
}

fn describe(ssl: &SslRef, recorder: &Recorder, answer: &mut TlsAnswer) {
    answer.asks_certificate = asks_certificate(&recorder.first);
    answer.first_bytes = recorder.first[..recorder.first.len().min(MAX_KEPT_BYTES)].into();
    if answer.established {
        answer.version = Some(ssl.version_str().to_owned());
        answer.cipher = ssl.current_cipher().map(|cipher| cipher.name().to_owned());
    }
    if let Some(chain) = ssl.peer_cert_chain() {
        answer.chain =
            chain.iter().filter_map(|certificate| certificate.to_der().ok()).map(Into::into).collect();
        answer.certificates = chain.iter().map(read_certificate).collect();
    }
}

fn read_certificate(certificate: &X509Ref) -> TlsCertificate {
    let others = certificate.subject_alt_names();
    let names = others.iter().flatten().filter_map(|name| {
        let address = || name.ipaddress().and_then(read_address).map(|address| address.to_string());
        name.dnsname().map(str::to_owned).or_else(address)
    });
    TlsCertificate {
        subject: one_line(certificate.subject_name()),
        names: names.collect(),
        issuer: one_line(certificate.issuer_name()),
        not_before: stamp_of(certificate.not_before()),
        not_after: stamp_of(certificate.not_after()),
    }
}

fn read_address(bytes: &[u8]) -> Option<IpAddr> {
    let four = || <[u8; 4]>::try_from(bytes).ok().map(|own| Ipv4Addr::from(own).into());
    <[u8; 16]>::try_from(bytes).ok().map(|own| Ipv6Addr::from(own).into()).or_else(four)
}

/// A name as one line: `CN=shop.internal, O=Shop`.
fn one_line(name: &X509NameRef) -> String {
    let parts = name.entries().map(|entry| {
        let kind = entry.object().nid();
        let kind = if kind == Nid::UNDEF { "?" } else { kind.short_name().unwrap_or("?") };
        let value = entry.data().to_string().unwrap_or_default();
        format!("{kind}={value}")
    });
    parts.collect::<Vec<_>>().join(", ")
}

fn stamp_of(time: &Asn1TimeRef) -> Option<Stamp> {
    let since = Asn1Time::from_unix(0).ok()?.diff(time).ok()?;
    Some(Stamp((i64::from(since.days) * 86_400 + i64::from(since.secs)) * 1000))
}

fn refusal(error: &openssl::ssl::Error, answer: &mut TlsAnswer) -> ProbeOutcome {
    match (error.code(), error.io_error()) {
        (ErrorCode::SYSCALL | ErrorCode::WANT_READ | ErrorCode::WANT_WRITE, Some(error)) => outcome_of(error),
        (ErrorCode::SYSCALL | ErrorCode::ZERO_RETURN, None) => ProbeOutcome::Closed,
        _ => {
            let words = error.ssl_error().map(ToString::to_string);
            // OpenSSL 3 reports a peer that closed without a word as an error of the library.
            let closed = words.as_deref().is_some_and(|words| words.contains("unexpected eof"));
            answer.alert = error.ssl_error().and_then(alert_in);
            answer.error = words;
            if closed { ProbeOutcome::Closed } else { ProbeOutcome::Refused }
        }
    }
}

/// The alert that the peer sent, among the library's errors.
fn alert_in(stack: &ErrorStack) -> Option<u8> {
    let mut of_tls = stack.errors().iter().filter(|error| error.library_code() == SSL_LIBRARY);
    of_tls.find_map(|error| u8::try_from(error.reason_code() - ALERTS_BEGIN).ok())
}
