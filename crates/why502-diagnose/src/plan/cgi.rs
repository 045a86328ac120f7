//! The request of a probe to an application behind FastCGI, SCGI or uwsgi: the parameters that the configuration sends, for
//! a request that this program stands in for.

use super::{USER_AGENT, Wanted, wanted_request};
use crate::case::{Case, PeerSubject};
use why502_facts::CgiRequestSpec;
use why502_model::RequestVars;

/// The only method that is ever sent.
const METHOD: &str = "HEAD";
/// Whom the application sees as the client: this host itself.
const CLIENT: &str = "127.0.0.1";

/// A request, and the modifiers of a uwsgi packet.
pub(super) struct Made {
    pub(super) request: CgiRequestSpec,
    pub(super) modifiers: [u8; 2],
}

/// The request as the gateway would send it; `None` where the path is not seen to come to the route.
///
/// A parameter that holds a secret, which is masked here, or that only a real request decides, is left out by name.
pub(super) fn request(case: &Case<'_>, wanted: &Wanted<'_>) -> Option<Made> {
    let host = Some(wanted.host.as_str()).filter(|host| !host.is_empty());
    let found = case.gateway.cgi_parameters(wanted.route, wanted.pass, &vars_of(wanted))?;
    let mut request = CgiRequestSpec { left_out: found.unknown, ..CgiRequestSpec::default() };
    for (name, value) in found.known {
        if value.contains('*') {
            request.left_out.push(name);
        } else if !is_own(&name) {
            request.params.push((name, value));
        }
    }
    if let Some(host) = host.filter(|_| request.param("HTTP_HOST").is_none()) {
        request.params.push(("HTTP_HOST".to_owned(), host.to_owned()));
    }
    // Whatever the configuration says: what is sent reads only, and tells whose it is.
    for (name, value) in [("REQUEST_METHOD", METHOD), ("HTTP_USER_AGENT", USER_AGENT)] {
        request.params.push((name.to_owned(), value.to_owned()));
    }
    request.left_out.sort();
    request.left_out.dedup();
    Some(Made { request, modifiers: found.modifiers })
}

/// What is known of the request that is made up.
fn vars_of(wanted: &Wanted<'_>) -> RequestVars {
    let host = Some(wanted.host.as_str()).filter(|host| !host.is_empty());
    RequestVars::of_request(METHOD, &wanted.path, host)
        .with("remote_addr", CLIENT)
        .with("http_user_agent", USER_AGENT)
}

/// The script that a probe's request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AskedScript {
    /// The path that the client asked for.
    uri: String,
    /// The path of the script as the gateway names it, index and all.
    name: String,
}

/// The script that the probe of a peer asks for.
pub(crate) fn asked_script(case: &Case<'_>, peer: &PeerSubject) -> Option<AskedScript> {
    let wanted = wanted_request(case, peer)?;
    let vars = vars_of(&wanted);
    let found = case.gateway.cgi_parameters(wanted.route, wanted.pass, &vars)?;
    Some(AskedScript { uri: vars.get("uri")?.to_owned(), name: found.script_name })
}

impl AskedScript {
    /// Whether no client names that file: every path falls back to it, or it is what the site begins with.
    pub(crate) fn is_fallback(&self, file: &str) -> bool {
        let is_named = self.uri.starts_with(&self.name) || self.name.starts_with(&self.uri);
        !file.ends_with(&self.name) || !is_named || self.uri == "/"
    }

    /// What stands before the path in the name of the file.
    pub(crate) fn root<'f>(&self, file: &'f str) -> &'f str {
        let directory = || file.rsplit_once('/').map_or("", |(directory, _)| directory);
        file.strip_suffix(self.name.as_str()).unwrap_or_else(directory)
    }
}

/// Whether a parameter is set by the probe itself.
fn is_own(name: &str) -> bool {
    matches!(name, "REQUEST_METHOD" | "HTTP_USER_AGENT")
}

#[cfg(test)]
mod tests {
    use crate::case::Case;
    use crate::fixture::Fixture;
    use why502_decode::load;
    use why502_facts::ProbeSpec;
    use why502_model::Model;

    /// The probe of the only peer.
    fn planned(location: &str) -> ProbeSpec {
        let log = r#"2026/11/21 02:28:30 [error] 101#101: *5 upstream prematurely closed FastCGI stdout while reading response header from upstream, client: 10.0.0.9, server: blog.example.com, request: "POST /shop/1?k=v HTTP/1.1", upstream: "fastcgi://127.0.0.1:9000", host: "blog.example.com""#;
        let log = if location.contains("fastcgi_param") { log } else { "" };
        let text = format!(
            r#"
#- nginx.conf
events {{}}
http {{
    server {{
        listen 80;
        server_name blog.example.com;
        root /srv/blog;
        {location}
    }}
}}
#- error.log
{log}
#- access.log
10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] "POST /shop/1?k=v HTTP/1.1" 503 197 "-" "curl/8"
"#
        );
        let bundle = Fixture::new(&text).bundle();
        let facts = load(&bundle);
        let model = Model::build(&facts);
        let case = Case::new(&facts, &model, 0);
        case.planned(&case.peers[0]).unwrap().clone()
    }

    #[test]
    fn the_parameters_are_those_of_the_configuration_and_the_method_is_head() {
        let spec = planned(
            "location / { try_files $uri /index.php?$args; }
             location ~ \\.php$ { fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;
                 fastcgi_param REQUEST_METHOD $request_method; fastcgi_param QUERY_STRING $query_string;
                 fastcgi_param REQUEST_ID $request_id; fastcgi_param DB_PASSWORD hunter2; fastcgi_pass 127.0.0.1:9000; }",
        );
        let ProbeSpec::FastCgi(request) = spec else { panic!("{spec:?}") };
        let params: Vec<String> =
            request.params.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let agent = format!("HTTP_USER_AGENT=why502/{} (probe)", env!("CARGO_PKG_VERSION"));
        assert_eq!(
            params,
            [
                "SCRIPT_FILENAME=/srv/blog/index.php",
                "QUERY_STRING=",
                "HTTP_HOST=blog.example.com",
                "REQUEST_METHOD=HEAD",
                agent.as_str()
            ]
        );
        assert_eq!(request.left_out, ["DB_PASSWORD", "REQUEST_ID"]);
    }

    #[test]
    fn uwsgi_and_scgi_get_theirs() {
        let spec = planned(
            "location / { uwsgi_param PATH_INFO $document_uri; uwsgi_modifier1 9; uwsgi_pass 127.0.0.1:1; }",
        );
        let ProbeSpec::Uwsgi { tls: None, modifiers: [9, 0], request } = spec else { panic!("{spec:?}") };
        assert_eq!(request.param("PATH_INFO"), Some("/shop/1"));
        let spec = planned("location / { scgi_param SCGI 1; scgi_pass 127.0.0.1:1; }");
        let ProbeSpec::Scgi(request) = spec else { panic!("{spec:?}") };
        assert_eq!((request.param("SCGI"), request.param("REQUEST_METHOD")), (Some("1"), Some("HEAD")));
    }

    #[test]
    fn where_the_path_does_not_come_to_the_route_nothing_is_sent() {
        let spec =
            planned("location / { return 503; } location = /x { internal; fastcgi_pass 127.0.0.1:1; }");
        assert_eq!(spec, ProbeSpec::Connect);
    }
}
