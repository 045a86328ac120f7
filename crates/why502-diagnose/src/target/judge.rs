//! A conversation with a peer, judged step by step.

use super::report::{
    Conversation, StepVerdict, TargetAnswer, TargetHeader, TargetStep, TargetStepKind, TargetTls,
};
use super::words::{certificate, handshake_failure, milliseconds};
use crate::causes::http2_ends::Http2End;
use why502_facts::{
    Errno, FirstBytes, GrpcAnswer, HttpAnswer, MemcachedAnswer, ProbeOutcome, ProbeReport, ProbeSpec,
    ProbeStep, ProxyHeader, StepKind, TlsAnswer, accepts_websocket, lossy, mask_secrets,
};

/// So many characters of a greeting are told.
const MAX_GREETING: usize = 60;
/// So many header lines of an answer are told.
const MAX_HEADERS: usize = 100;

/// The names of the codes of gRPC, by number (gRPC, `doc/statuscodes.md`).
const GRPC_CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// Judges a conversation.
pub(super) fn judge(spec: &ProbeSpec, report: &ProbeReport, run: u64, aside: bool) -> Conversation {
    let mut steps = Vec::new();
    let mut start_micros = 0;
    for step in &report.steps {
        let (kind, verdict, says) = judge_step(spec, report, step);
        // What is sent after the request acknowledges frames, or says goodbye.
        let is_sent = steps.iter().any(|own: &TargetStep| own.kind == TargetStepKind::Request);
        if is_sent && step.kind == StepKind::Send && step.outcome == ProbeOutcome::Done {
            start_micros += step.micros;
            continue;
        }
        if kind == TargetStepKind::Answer {
            let (verdict, says) = protocol(spec, report);
            steps.push(TargetStep {
                kind: TargetStepKind::Protocol,
                start_micros,
                micros: None,
                verdict,
                says,
            });
        }
        steps.push(TargetStep { kind, start_micros, micros: Some(step.micros), verdict, says });
        start_micros += step.micros;
    }
    // A peer that spoke first was sent nothing, and so no step waits for its answer.
    let spoke_first =
        report.outcome(StepKind::Listen).is_some() && report.outcome(StepKind::Receive).is_none();
    if spoke_first {
        let (verdict, says) = protocol(spec, report);
        steps.push(TargetStep { kind: TargetStepKind::Protocol, start_micros, micros: None, verdict, says });
    }
    let verdict = steps.iter().map(|step| step.verdict).max().unwrap_or(StepVerdict::Unknown);
    Conversation {
        run,
        spoken: spoken(spec),
        aside,
        verdict,
        steps,
        tls: report.tls.as_ref().map(|tls| tls_info(spec, tls)),
        answer: report.answer.as_deref().map(answer_info),
    }
}

/// What speaks there, as far as a conversation told.
pub(super) fn speaks(spec: &ProbeSpec, report: &ProbeReport) -> Option<String> {
    let inner = match report.first_bytes {
        // An application that answers in these may begin with a status line of HTTP, or with header lines alone.
        FirstBytes::Http | FirstBytes::Other if is_cgi(spec) && report.answer.is_some() => {
            spoken_plain(spec).to_owned()
        }
        FirstBytes::Http => report.answer.as_ref().map_or("HTTP/1".to_owned(), |answer| version_of(answer)),
        FirstBytes::Http2 if grpc(report).is_some() => "gRPC".to_owned(),
        FirstBytes::Http2 => "HTTP/2".to_owned(),
        FirstBytes::Tls { .. } => "TLS".to_owned(),
        FirstBytes::Banner(name) => name.to_owned(),
        FirstBytes::FastCgi => "FastCGI".to_owned(),
        FirstBytes::Uwsgi => "uwsgi".to_owned(),
        FirstBytes::Nothing | FirstBytes::Other => {
            return report.tls_stands().then(|| "TLS".to_owned());
        }
    };
    Some(if report.tls_stands() { format!("{inner} through TLS") } else { inner })
}

fn is_cgi(spec: &ProbeSpec) -> bool {
    matches!(spec, ProbeSpec::Scgi(_) | ProbeSpec::Uwsgi { .. })
}

fn version_of(answer: &HttpAnswer) -> String {
    answer.minor_version.map_or("HTTP/1".to_owned(), |minor| format!("HTTP/1.{minor}"))
}

/// What is spoken in a conversation.
fn spoken(spec: &ProbeSpec) -> String {
    match spec {
        ProbeSpec::Tls(_) => "TLS".to_owned(),
        spec if spec.tls().is_some() => format!("{} through TLS", spoken_plain(spec)),
        spec => spoken_plain(spec).to_owned(),
    }
}

fn spoken_plain(spec: &ProbeSpec) -> &'static str {
    match spec {
        ProbeSpec::Connect => "TCP",
        ProbeSpec::FastCgi(_) | ProbeSpec::FastCgiValues => "FastCGI",
        ProbeSpec::GrpcHealth { .. } => "gRPC",
        ProbeSpec::Http2 { .. } => "HTTP/2",
        ProbeSpec::MemcachedGet(_) | ProbeSpec::MemcachedVersion => "memcached",
        ProbeSpec::ProxyProtocol { request, .. } if request.version == "2" => "HTTP/2",
        ProbeSpec::Http { .. } | ProbeSpec::ProxyProtocol { .. } | ProbeSpec::WhoSpeaks(_) => "HTTP",
        ProbeSpec::Scgi(_) => "SCGI",
        ProbeSpec::Tls(_) => "TLS",
        ProbeSpec::Uwsgi { .. } | ProbeSpec::UwsgiPing => "uwsgi",
        ProbeSpec::WebSocket { .. } => "WebSocket",
    }
}

fn judge_step(
    spec: &ProbeSpec,
    report: &ProbeReport,
    step: &ProbeStep,
) -> (TargetStepKind, StepVerdict, String) {
    let by_outcome = |well: String| match step.outcome {
        ProbeOutcome::Done => (StepVerdict::Ok, well),
        outcome => (StepVerdict::Fail, failure(outcome, step.micros)),
    };
    let (kind, (verdict, says)) = match step.kind {
        StepKind::Connect => (TargetStepKind::Connect, by_outcome("connected".to_owned())),
        StepKind::Handshake => (TargetStepKind::Tls, handshake(report, step)),
        // The question of a target asks for no hold.
        StepKind::Again => (TargetStepKind::Answer, by_outcome("answered once more".to_owned())),
        StepKind::Idle => (TargetStepKind::Answer, by_outcome("held open".to_owned())),
        StepKind::Listen => (TargetStepKind::Listen, (StepVerdict::Ok, greeting(report))),
        StepKind::Announce => (TargetStepKind::ProxyHeader, by_outcome(announcement(spec).to_owned())),
        StepKind::Send => (TargetStepKind::Request, by_outcome(request(spec))),
        StepKind::Receive => (TargetStepKind::Answer, answer(spec, report, step)),
    };
    (kind, verdict, says)
}

fn failure(outcome: ProbeOutcome, micros: u64) -> String {
    match outcome {
        ProbeOutcome::Closed => "the peer closed the connection".to_owned(),
        ProbeOutcome::Done => "done".to_owned(),
        ProbeOutcome::Failed(Errno::Other(number)) => format!("failed with errno {number}"),
        ProbeOutcome::Failed(errno) => format!("{} ({})", errno.words().to_lowercase(), errno.name()),
        ProbeOutcome::Refused => "refused".to_owned(),
        ProbeOutcome::TimedOut => format!("nothing within {}", milliseconds(micros)),
    }
}

fn handshake(report: &ProbeReport, step: &ProbeStep) -> (StepVerdict, String) {
    let Some(tls) = &report.tls else { return (StepVerdict::Fail, failure(step.outcome, step.micros)) };
    if !tls.established {
        let says = handshake_failure(tls, &report.first_bytes);
        return (StepVerdict::Fail, says.unwrap_or_else(|| failure(step.outcome, step.micros)));
    }
    let refused = tls.verdict.as_ref().and_then(|verdict| match (verdict.code, verdict.is_for_name) {
        (0, Some(false)) => Some("the certificate is for another name".to_owned()),
        (0, _) => None,
        (_, _) => Some(format!("the certificate is not trusted: {}", verdict.says)),
    });
    if let Some(says) = refused {
        return (StepVerdict::Fail, says);
    }
    if let Some(unusable) = tls.unusable.first() {
        return (StepVerdict::Fail, unusable.clone());
    }
    let version = tls.version.clone().unwrap_or_default();
    let about = tls.certificates.first().map(certificate);
    (StepVerdict::Ok, [Some(version), about].into_iter().flatten().collect::<Vec<_>>().join(", "))
}

fn greeting(report: &ProbeReport) -> String {
    if report.outcome(StepKind::Send).is_some() {
        return "it waits to be spoken to".to_owned();
    }
    match report.first_bytes {
        FirstBytes::Nothing => "closed without a word".to_owned(),
        _ => format!("it greets: {}", first_line(report.received.as_slice())),
    }
}

fn first_line(bytes: &[u8]) -> String {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    lossy(line).trim_end().chars().take(MAX_GREETING).collect()
}

/// The header of the PROXY protocol, in words.
fn announcement(spec: &ProbeSpec) -> &'static str {
    match spec {
        ProbeSpec::ProxyProtocol { header: ProxyHeader::Text, .. } => "PROXY UNKNOWN",
        ProbeSpec::ProxyProtocol { header: ProxyHeader::Binary, .. } => "version 2, LOCAL",
        ProbeSpec::ProxyProtocol { header: ProxyHeader::Malformed, .. } => "PROXY NOTHING",
        _ => "",
    }
}

/// What is sent, in words.
fn request(spec: &ProbeSpec) -> String {
    let text = match spec {
        ProbeSpec::Http { request, .. }
        | ProbeSpec::Http2 { request, .. }
        | ProbeSpec::ProxyProtocol { request, .. }
        | ProbeSpec::WhoSpeaks(request) => {
            format!("{} {} HTTP/{}", request.method, request.target, request.version)
        }
        ProbeSpec::WebSocket { request, .. } => format!("GET {}, Upgrade: websocket", request.target),
        ProbeSpec::FastCgi(request) | ProbeSpec::Scgi(request) | ProbeSpec::Uwsgi { request, .. } => {
            let names = ["SCRIPT_FILENAME", "REQUEST_URI", "PATH_INFO"];
            let target = names.iter().find_map(|name| request.param(name)).unwrap_or("/");
            format!("{} {target}", request.param("REQUEST_METHOD").unwrap_or("HEAD"))
        }
        ProbeSpec::FastCgiValues => "a question for its values".to_owned(),
        ProbeSpec::GrpcHealth { .. } => "a call of grpc.health.v1.Health/Check".to_owned(),
        ProbeSpec::MemcachedGet(key) => format!("get {key}"),
        ProbeSpec::MemcachedVersion => "a question for its version".to_owned(),
        ProbeSpec::UwsgiPing => "a ping".to_owned(),
        ProbeSpec::Connect | ProbeSpec::Tls(_) => String::new(),
    };
    lossy(&mask_secrets(text.as_bytes()))
}

/// Whether the peer speaks what it was spoken to in.
fn protocol(spec: &ProbeSpec, report: &ProbeReport) -> (StepVerdict, String) {
    let spoken = spoken_plain(spec);
    let heard = speaks(spec, report);
    if is_in_protocol(spec, report) {
        return (StepVerdict::Ok, heard.unwrap_or_else(|| spoken.to_owned()));
    }
    let says = match (&report.first_bytes, heard) {
        (FirstBytes::Tls { alert: Some(_) }, _) => "TLS speaks there: it answered with an alert".to_owned(),
        (FirstBytes::Nothing, _) => "it said nothing".to_owned(),
        (FirstBytes::Other, _) => format!("no {spoken}: {}", first_line(report.received.as_slice())),
        (_, heard) => format!("{} speaks there, not {spoken}", heard.unwrap_or_default()),
    };
    (StepVerdict::Fail, says)
}

fn is_in_protocol(spec: &ProbeSpec, report: &ProbeReport) -> bool {
    match spec {
        ProbeSpec::FastCgiValues => report.first_bytes == FirstBytes::FastCgi,
        ProbeSpec::MemcachedGet(_) | ProbeSpec::MemcachedVersion => report.memcached.is_some(),
        ProbeSpec::UwsgiPing => report.first_bytes == FirstBytes::Uwsgi,
        // A server that refuses a request in HTTP/2 does speak it, and may be one of gRPC.
        ProbeSpec::GrpcHealth { .. } => grpc(report).is_some() || Http2End::seen(report).is_some(),
        ProbeSpec::Http2 { .. } => report.answer.is_some() || Http2End::seen(report).is_some(),
        // Whoever speaks there may speak anything.
        ProbeSpec::WhoSpeaks(_) => {
            !matches!(report.first_bytes, FirstBytes::Nothing | FirstBytes::Other | FirstBytes::Tls { .. })
        }
        _ => report.answer.is_some(),
    }
}

fn answer(spec: &ProbeSpec, report: &ProbeReport, step: &ProbeStep) -> (StepVerdict, String) {
    if let Some(answer) = &report.memcached {
        return memcached_answer(answer);
    }
    if let Some(end) = Http2End::seen(report) {
        return (StepVerdict::Fail, format!("the peer refuses with {}", end.words()));
    }
    if let Some(grpc) = grpc(report) {
        return health(grpc);
    }
    let Some(answer) = report.answer.as_deref() else {
        return match step.outcome {
            _ if is_in_protocol(spec, report) => (StepVerdict::Ok, answered_without_header(report)),
            ProbeOutcome::Done => (StepVerdict::Fail, "none in that protocol".to_owned()),
            outcome => (StepVerdict::Fail, failure(outcome, step.micros)),
        };
    };
    let status = format!("{} {}", answer.status, answer.reason);
    if let ProbeSpec::WebSocket { .. } = spec {
        return match accepts_websocket(answer) {
            Ok(()) => (StepVerdict::Ok, format!("{}, accepted", status.trim())),
            Err(says) => (StepVerdict::Fail, says),
        };
    }
    let server = answer.header("Server").map(|server| format!(", {server}")).unwrap_or_default();
    let says = format!("{} in {} bytes{server}", status.trim(), answer.head_bytes);
    match answer.complete {
        true if answer.status < 500 => (StepVerdict::Ok, says),
        true => (StepVerdict::Fail, says),
        false => (StepVerdict::Fail, format!("{}: its header has no end", status.trim())),
    }
}

/// What a memcached said; a key that is not there is 404 to the gateway, and any other line 502.
fn memcached_answer(answer: &MemcachedAnswer) -> (StepVerdict, String) {
    let verdict = if answer.is_good() { StepVerdict::Ok } else { StepVerdict::Fail };
    let says = match answer {
        MemcachedAnswer::ClientError(why) => format!("CLIENT_ERROR {why}"),
        MemcachedAnswer::Error(why) => format!("ERROR {why}").trim_end().to_owned(),
        MemcachedAnswer::Missing => "no such key".to_owned(),
        MemcachedAnswer::ServerError(why) => format!("SERVER_ERROR {why}"),
        MemcachedAnswer::Value { key, length } => format!("{length} bytes of {key}"),
        MemcachedAnswer::Version(version) => format!("version {version}"),
    };
    (verdict, lossy(&mask_secrets(says.as_bytes())))
}

/// What a call of gRPC came to, if one was made and answered.
fn grpc(report: &ProbeReport) -> Option<&GrpcAnswer> {
    report.http2.as_deref()?.grpc.as_ref()
}

/// What the answer of the health service says; a server without that service speaks gRPC all the same, and one that wants
/// to know who calls does so too.
fn health(answer: &GrpcAnswer) -> (StepVerdict, String) {
    let code = usize::try_from(answer.status).ok().and_then(|code| GRPC_CODES.get(code)).copied();
    let name = code.map_or_else(|| format!("grpc-status {}", answer.status), str::to_owned);
    match (code, answer.serving) {
        (Some("OK"), Some(1)) => (StepVerdict::Ok, "SERVING".to_owned()),
        (Some("OK"), Some(2)) => (StepVerdict::Fail, "NOT_SERVING".to_owned()),
        (Some("OK"), _) => (StepVerdict::Fail, "OK, and no health that is known".to_owned()),
        (Some("UNIMPLEMENTED" | "NOT_FOUND"), _) => {
            (StepVerdict::Ok, format!("{name}: gRPC is spoken, and no health service tells of the server"))
        }
        (Some("PERMISSION_DENIED" | "UNAUTHENTICATED"), _) => {
            (StepVerdict::Ok, format!("{name}: gRPC is spoken, and not to everybody"))
        }
        _ if answer.message.is_empty() => (StepVerdict::Fail, name),
        _ => {
            let says: String = answer.message.chars().take(MAX_GREETING).collect();
            (StepVerdict::Fail, format!("{name}: {says}"))
        }
    }
}

fn answered_without_header(report: &ProbeReport) -> String {
    match report.first_bytes {
        FirstBytes::Banner(_) => first_line(report.received.as_slice()),
        _ => "answered".to_owned(),
    }
}

fn tls_info(spec: &ProbeSpec, tls: &TlsAnswer) -> TargetTls {
    let own = tls.certificates.first();
    TargetTls {
        established: tls.established,
        server_name: spec.tls().and_then(|tls| tls.server_name.clone()),
        version: tls.version.clone(),
        cipher: tls.cipher.clone(),
        subject: own.map(|own| own.subject.clone()),
        names: own.map(|own| own.names.clone()).unwrap_or_default(),
        issuer: own.map(|own| own.issuer.clone()),
        not_before: own.and_then(|own| own.not_before).map(|at| at.to_string()),
        not_after: own.and_then(|own| own.not_after).map(|at| at.to_string()),
        verified: tls.verdict.as_ref().map(|verdict| verdict.says.clone()),
    }
}

fn answer_info(answer: &HttpAnswer) -> TargetAnswer {
    let headers = answer.headers.iter().take(MAX_HEADERS);
    TargetAnswer {
        status: answer.status,
        reason: answer.reason.clone(),
        head_bytes: answer.head_bytes,
        complete: answer.complete,
        headers: headers
            .map(|header| TargetHeader { name: header.name.clone(), value: header.value.clone() })
            .collect(),
    }
}
