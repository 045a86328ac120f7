//! The variables that matter, and the shapes of those whose values have one.

use super::shape::Shape;

macro_rules! fields {
    ($($field:ident $name:literal $shape:ident;)+) => {
        /// A variable whose value is used.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Field { $(#[doc = concat!("`$", $name, "`.")] $field,)+ }

        impl Field {
            const ALL: &[(Self, &str, Shape)] = &[$((Self::$field, $name, Shape::$shape),)+];
        }
    };
}

fields! {
    Args "args" Word;
    BodyBytesSent "body_bytes_sent" Digits;
    CacheStatus "upstream_cache_status" Word;
    Connection "connection" Digits;
    ForwardedFor "http_x_forwarded_for" Text;
    Host "host" Host;
    HttpHost "http_host" Host;
    LimitConnStatus "limit_conn_status" Word;
    LimitReqStatus "limit_req_status" Word;
    Msec "msec" Decimal;
    RealipRemoteAddr "realip_remote_addr" Word;
    RemoteAddr "remote_addr" Word;
    Request "request" Text;
    RequestMethod "request_method" Word;
    RequestTime "request_time" Decimal;
    RequestUri "request_uri" Word;
    ServerName "server_name" Host;
    ServerProtocol "server_protocol" Word;
    Status "status" Digits;
    TimeIso8601 "time_iso8601" Clock;
    TimeLocal "time_local" TimeLocal;
    UpstreamAddr "upstream_addr" AddressList;
    UpstreamBytesReceived "upstream_bytes_received" NumberList;
    UpstreamBytesSent "upstream_bytes_sent" NumberList;
    UpstreamConnectTime "upstream_connect_time" NumberList;
    UpstreamHeaderTime "upstream_header_time" NumberList;
    UpstreamResponseTime "upstream_response_time" NumberList;
    UpstreamStatus "upstream_status" NumberList;
    Uri "uri" Word;
    UserAgent "http_user_agent" Text;
}

impl Field {
    pub(super) const COUNT: usize = Self::ALL.len();

    /// The variables with one value per attempt.
    pub(super) const TRIES: [Self; 7] = [
        Self::UpstreamAddr,
        Self::UpstreamStatus,
        Self::UpstreamConnectTime,
        Self::UpstreamHeaderTime,
        Self::UpstreamResponseTime,
        Self::UpstreamBytesReceived,
        Self::UpstreamBytesSent,
    ];

    pub(super) fn idx(self) -> usize {
        self as usize
    }
}

/// What a variable's name says of its value.
pub(super) fn look_up(name: &str) -> (Option<Field>, Shape) {
    let name = match name {
        "document_uri" => "uri",
        "query_string" => "args",
        other => other,
    };
    match Field::ALL.iter().find(|(_, known, _)| *known == name) {
        Some(&(field, _, shape)) => (Some(field), shape),
        None => (None, shape_of_other(name)),
    }
}

/// Variables that are skipped, but whose shape helps to find their end.
fn shape_of_other(name: &str) -> Shape {
    match name {
        "bytes_sent"
        | "connection_requests"
        | "content_length"
        | "pid"
        | "proxy_port"
        | "proxy_protocol_port"
        | "realip_remote_port"
        | "remote_port"
        | "request_length"
        | "server_port" => Shape::Digits,
        "connection_time" | "gzip_ratio" => Shape::Decimal,
        "upstream_response_length" | "upstream_queue_time" => Shape::NumberList,
        "hostname" | "proxy_host" | "proxy_protocol_addr" | "scheme" | "server_addr" => Shape::Host,
        // Names of Kubernetes, as ingress-nginx has them, are words too.
        "is_args"
        | "pipe"
        | "proxy_alternative_upstream_name"
        | "proxy_upstream_name"
        | "req_id"
        | "request_completion"
        | "request_id"
        | "ssl_cipher"
        | "ssl_protocol"
        | "ssl_session_id"
        | "ssl_session_reused" => Shape::Word,
        _ => Shape::Text,
    }
}
