//! The parameters that a route sends to an application behind FastCGI, SCGI or uwsgi.

use super::locate::Arrival;
use super::pattern::{Case, Pattern};
use super::variables::Template;
use crate::{Gateway, Pass, RequestVars, RouteId};

/// The directory that files are taken from where nothing else is set below the prefix.
const DEFAULT_ROOT: &str = "html";
/// Groups of variables that belong to headers and cookies of the client.
const OF_CLIENT: [&str; 2] = ["http_", "cookie_"];

/// The parameters of a request, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CgiParameters {
    /// Names and values, in order.
    pub known: Vec<(String, String)>,
    /// The names of those whose values what is known does not decide.
    pub unknown: Vec<String>,
    /// The path of the script as the gateway names it: the path of the request there, without what follows the script and
    /// with the index of a directory.
    pub script_name: String,
    /// The two modifiers of a uwsgi packet's header.
    pub modifiers: [u8; 2],
}

impl Gateway {
    /// The parameters that a pass of a route sends for a request without a body of which everything but the path, the host
    /// and the client's address is empty; `None` where it is not seen to come to the route.
    pub fn cgi_parameters(
        &self,
        route: RouteId,
        pass: &Pass,
        request: &RequestVars,
    ) -> Option<CgiParameters> {
        let mut arrival = self.arrive(request, route)?;
        self.set_server(route, &mut arrival);
        set_files(&self.prefix, &mut arrival);
        set_script(&mut arrival);
        let levels = arrival.levels();
        let modifier = |name: &str| levels.setting(name, |text| text.parse().ok(), 0).value;
        let modifiers = [modifier("uwsgi_modifier1"), modifier("uwsgi_modifier2")];
        let script_name = arrival.known("fastcgi_script_name").unwrap_or_default().to_owned();
        let mut parameters = CgiParameters { script_name, modifiers, ..CgiParameters::default() };
        for header in &pass.headers {
            let (name, text) = &header.value;
            set_what_no_client_sends(text, &mut arrival);
            match arrival.text(text) {
                Some(value) if value.is_empty() && pass.optional_headers.contains(name) => {}
                Some(value) => parameters.known.push((name.clone(), value)),
                None => parameters.unknown.push(name.clone()),
            }
        }
        Some(parameters)
    }

    /// What the server itself decides.
    fn set_server(&self, route: RouteId, arrival: &mut Arrival<'_>) {
        let server = self.server_of(self.route(route));
        let listen = server.listens.first();
        let is_tls = listen.is_some_and(|listen| listen.tls);
        arrival.set("server_name", server.name());
        arrival.set("scheme", if is_tls { "https" } else { "http" });
        arrival.set("https", if is_tls { "on" } else { "" });
        if let Some(address) = listen.and_then(|listen| listen.address) {
            arrival.set("server_port", &address.port().to_string());
            if !address.ip().is_unspecified() {
                arrival.set("server_addr", &address.ip().to_string());
            }
        }
        if let Some(version) = self.version_text.as_deref() {
            arrival.set("nginx_version", version);
        }
        for name in ["content_length", "content_type", "remote_user", "request_body", "request_body_file"] {
            arrival.set(name, "");
        }
        arrival.set("server_protocol", "HTTP/1.1");
    }
}

/// `$document_root`, `$request_filename` and their kin (`ngx_http_map_uri_to_path`).
///
/// Links are not followed: `$realpath_root` names the same directory by another path.
fn set_files(prefix: &str, arrival: &mut Arrival<'_>) {
    let levels = arrival.levels();
    let mut nearest = levels.blocks.iter().flat_map(|block| levels.config.children(*block).iter().rev());
    let found = nearest.find(|id| matches!(levels.config.node(**id).name.as_str(), "root" | "alias"));
    let (is_alias, text) = match found {
        Some(id) => {
            let node = levels.config.node(*id);
            (node.name == "alias", node.arg(0).unwrap_or_default().to_owned())
        }
        None => (false, DEFAULT_ROOT.to_owned()),
    };
    let Some(root) = arrival.text(&text) else { return };
    let root = if root.starts_with('/') { root } else { format!("{}/{root}", prefix.trim_end_matches('/')) };
    let uri = arrival.known("uri").unwrap_or_default().to_owned();
    let file = match (is_alias, arrival.prefix()) {
        (false, _) => format!("{}{uri}", root.trim_end_matches('/')),
        (true, Some(prefix)) => format!("{root}{}", uri.strip_prefix(prefix).unwrap_or_default()),
        (true, None) => root.clone(),
    };
    // The slash at the end of a `root` is taken off when it is read, that of an `alias` is part of it.
    let root = if is_alias { root.as_str() } else { root.trim_end_matches('/') };
    arrival.set("document_root", root);
    arrival.set("realpath_root", root);
    arrival.set("request_filename", &file);
}

/// `$fastcgi_script_name` and `$fastcgi_path_info` (`ngx_http_fastcgi_split`, `ngx_http_fastcgi_script_name_variable`).
fn set_script(arrival: &mut Arrival<'_>) {
    let levels = arrival.levels();
    let uri = arrival.known("uri").unwrap_or_default().to_owned();
    let pattern = levels.text("fastcgi_split_path_info", "").value;
    let captures = Some(pattern)
        .filter(|pattern| !pattern.is_empty())
        .and_then(|pattern| Pattern::compile(&pattern, Case::Kept).ok()?.captures(uri.as_bytes()));
    let group = |number: usize| {
        let captures = captures.as_ref()?;
        Some(why502_facts::lossy(captures.groups.get(number)?.as_deref()?))
    };
    let mut script = group(1).unwrap_or(uri);
    if script.ends_with('/') {
        script.push_str(&levels.text("fastcgi_index", "").value);
    }
    arrival.set("fastcgi_script_name", &script);
    arrival.set("fastcgi_path_info", &group(2).unwrap_or_default());
}

/// Headers and cookies that are not known are not sent: their variables are empty.
fn set_what_no_client_sends(text: &str, arrival: &mut Arrival<'_>) {
    let template = Template::lenient(text);
    let unknown: Vec<String> = arrival.unknown_in(&template).map(str::to_owned).collect();
    for name in unknown.iter().filter(|name| OF_CLIENT.iter().any(|group| name.starts_with(group))) {
        arrival.set(name, "");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::World;

    fn parameters(location: &str, path: &str) -> CgiParameters {
        let http =
            format!("server {{ listen 443 ssl; server_name blog.example; root /srv/blog/; {location} }}");
        let gateway = World::http(&http).gateway();
        let (route, pass) =
            gateway.routes().find_map(|(id, route)| Some((id, route.action.pass()?))).unwrap();
        let request =
            RequestVars::of_request("HEAD", path, Some("blog.example")).with("remote_addr", "127.0.0.1");
        gateway.cgi_parameters(route, pass, &request).unwrap()
    }

    fn value(location: &str, path: &str) -> String {
        let location = location.replace('}', "fastcgi_pass 127.0.0.1:9000; }");
        parameters(&location, path).known.first().map(|(_, value)| value.clone()).unwrap_or_default()
    }

    #[test]
    fn the_script_is_found_as_nginx_finds_it() {
        for (location, path, expected) in [
            (
                "location ~ \\.php$ { fastcgi_param F $document_root$fastcgi_script_name; }",
                "/a.php",
                "/srv/blog/a.php",
            ),
            (
                "location / { fastcgi_index i.php; fastcgi_param F $realpath_root$fastcgi_script_name; }",
                "/x/",
                "/srv/blog/x/i.php",
            ),
            (
                "location / { root web; fastcgi_param F $request_filename; }",
                "/a.php",
                "/usr/share/nginx/web/a.php",
            ),
            (
                "location /b/ { alias /opt/b/; fastcgi_param F $request_filename; }",
                "/b/a.php",
                "/opt/b/a.php",
            ),
            (
                "location ~ ^/c/(.+)$ { alias /opt/c/$1; fastcgi_param F $request_filename; }",
                "/c/a.php",
                "/opt/c/a.php",
            ),
            (
                "location ~ \\.php { fastcgi_split_path_info ^(.+\\.php)(/.*)$; fastcgi_param F $fastcgi_script_name,$fastcgi_path_info; }",
                "/a.php/p",
                "/a.php,/p",
            ),
        ] {
            assert_eq!(value(location, path), expected, "{location}");
        }
    }

    #[test]
    fn what_only_a_request_decides_is_left_out_by_name() {
        let location = "location / { fastcgi_param A $upstream_addr; fastcgi_param HTTPS $https if_not_empty;
            fastcgi_param AUTH $http_authorization if_not_empty; fastcgi_param C $http_cookie;
            fastcgi_param Q $query_string; fastcgi_param N $server_name:$server_port; fastcgi_param L $remote_addr;
            fastcgi_pass 127.0.0.1:1; }";
        let found = parameters(location, "/x?y=1");
        assert_eq!(found.unknown, ["A"]);
        let known: Vec<String> = found.known.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(known, ["HTTPS=on", "C=", "Q=y=1", "N=blog.example:443", "L=127.0.0.1"]);
    }
}
