//! The variables of the gateway, by the names that people give them.

use crate::logs::stamps;

/// The variable that a key clearly names, as far as the value agrees.
pub(super) fn variable(key: &str, value: &str) -> Option<&'static str> {
    let name: String =
        key.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    Some(match name.as_str() {
        "time" | "timestamp" | "timeiso8601" | "timelocal" | "msec" | "datetime" | "date" | "ts" => {
            return time_variable(value);
        }
        // Both are abbreviated so.
        "ua" if value == "-" => return None,
        "ua" | "upstream" if looks_like_peers(value) => "upstream_addr",
        // LTSV calls the client so.
        "host" if value.parse::<std::net::IpAddr>().is_ok() => "remote_addr",
        "status" | "statuscode" | "responsestatus" | "responsecode" | "httpstatus" => "status",
        "remoteaddr" | "remoteip" | "clientip" | "clientaddr" | "client" | "ip" => "remote_addr",
        "forwardedfor" | "xforwardedfor" | "httpxforwardedfor" | "xff" => "http_x_forwarded_for",
        "req" | "request" | "requestline" if value.contains(' ') => "request",
        "requestmethod" | "method" | "httpmethod" | "verb" => "request_method",
        "requesturi" | "uri" | "url" | "path" | "requestpath" => "request_uri",
        "serverprotocol" | "protocol" | "httpversion" => "server_protocol",
        "args" | "querystring" => "args",
        "host" | "vhost" | "domain" => "host",
        "httphost" => "http_host",
        "servername" => "server_name",
        "useragent" | "httpuseragent" | "agent" | "ua" => "http_user_agent",
        "duration" | "reqtime" | "requesttime" | "rt" if value.contains('.') => "request_time",
        "bodybytessent" | "bytes" | "size" => "body_bytes_sent",
        "connection" if value.bytes().all(|byte| byte.is_ascii_digit()) => "connection",
        "uaddr" | "upaddr" | "upstream" | "upstreamaddr" | "upstreamaddress" => "upstream_addr",
        "upstreamstatus" | "us" | "ust" | "ustatus" if is_list_of_numbers(value) => "upstream_status",
        "uct" | "upstreamconnecttime" if is_list_of_numbers(value) => "upstream_connect_time",
        "uht" | "upstreamheadertime" if is_list_of_numbers(value) => "upstream_header_time",
        "apptime" | "upstreamresponsetime" | "upstreamtime" | "urt" if is_list_of_numbers(value) => {
            "upstream_response_time"
        }
        "upstreambytesreceived" => "upstream_bytes_received",
        "upstreambytessent" => "upstream_bytes_sent",
        "cache" | "cachestatus" | "cs" | "ucs" | "upstreamcachestatus" if is_word(value) => {
            "upstream_cache_status"
        }
        "limitreqstatus" => "limit_req_status",
        "limitconnstatus" => "limit_conn_status",
        _ => return None,
    })
}

pub(super) fn time_variable(value: &str) -> Option<&'static str> {
    let value = value.as_bytes();
    if stamps::time_iso8601(value).is_some() {
        Some("time_iso8601")
    } else if stamps::time_local(value).is_some() {
        Some("time_local")
    } else {
        stamps::msec(value).map(|_| "msec")
    }
}

/// Whether a value can be that of `$upstream_addr`, and of no user agent.
fn looks_like_peers(value: &str) -> bool {
    let peer = |peer: &str| {
        let port = peer.rsplit_once(':').map_or("", |(_, port)| port);
        peer.starts_with("unix:") || !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
    };
    value == "-" || value.replace(" : ", ", ").split(", ").all(|one| peer(one) && !one.contains(' '))
}

fn is_list_of_numbers(value: &str) -> bool {
    value.bytes().all(|byte| byte.is_ascii_digit() || b".,: -".contains(&byte))
}

fn is_word(value: &str) -> bool {
    value.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-')
}
