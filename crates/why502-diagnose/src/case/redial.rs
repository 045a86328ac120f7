//! Edits that make the configuration dial another address.

use super::lookup::passes;
use super::{Case, PeerSubject, Subject};
use crate::finding::Finding;
use crate::remedy::{Remedy, Risk};
use why502_facts::PeerAddress;
use why502_model::{Host, Pass, Peer, Protocol, Span};

/// Text in place of a place.
type Splice = (Span, String);

/// What an address in place of a name changes of what the backend is told, and how that is kept.
enum Kept {
    /// By these further edits; by none where nothing changes.
    By(Vec<Splice>),
    /// By lines that no edit can add without changing something else.
    ByHand(Vec<String>),
}

impl Case<'_> {
    /// A remedy with the edits that make the configuration dial `target` in place of the address that a finding is about,
    /// wherever that is written; `None` where it is not written out.
    ///
    /// What cannot be edited without changing something else is only described: a path that a socket was bound to relative
    /// to its owner's directory says nothing to nginx, and a Host header of `$proxy_host` follows the address.
    pub(crate) fn redial(&self, remedy: Remedy, finding: &Finding, target: &PeerAddress) -> Option<Remedy> {
        self.redial_to(remedy, finding, &target.to_string())
    }

    /// The same with a target as it is written: a name with a port as well.
    pub(crate) fn redial_to(&self, mut remedy: Remedy, finding: &Finding, target: &str) -> Option<Remedy> {
        let peers = finding.subjects.iter().filter_map(Subject::peer);
        let address = &finding.peer()?.address;
        let mut splices: Vec<Splice> = Vec::new();
        let mut by_hand: Vec<String> = Vec::new();
        for (at, configured, pass) in
            peers.filter(|peer| peer.address == *address).flat_map(|peer| self.places_of(peer))
        {
            if splices
                .iter()
                .any(|(own, _)| own.file == at.file && own.begin >= at.begin && own.end <= at.end)
            {
                continue;
            }
            splices.push(self.splice(at, configured, target)?);
            match pass.map_or(Kept::By(Vec::new()), |pass| self.keep_name(configured, pass)) {
                Kept::By(more) => splices.extend(more),
                Kept::ByHand(lines) => by_hand.extend(lines),
            }
        }
        by_hand.sort();
        by_hand.dedup();
        if let Some(path) = target.strip_prefix("unix:").filter(|path| !path.starts_with('/')) {
            let advice = format!(
                "{path} is relative to the directory in which the backend was started: let it bind an absolute path, and dial that"
            );
            return Some(described(remedy, advice));
        }
        if !by_hand.is_empty() {
            let advice = format!(
                "an address in place of the name changes what the backend is told of the host: keep it with `{}`",
                by_hand.join("` and `")
            );
            return Some(described(remedy, advice));
        }
        for (at, text) in splices {
            remedy = remedy.edit(at, text);
        }
        (!remedy.steps.is_empty()).then_some(remedy)
    }

    /// Where the address of a peer is written: in its group, or in every pass that shares the group of an address; then with
    /// the pass.
    fn places_of<'s>(&'s self, peer: &'s PeerSubject) -> Vec<(&'s Span, &'s Peer, Option<&'s Pass>)> {
        let (Some(id), Some(configured)) = (peer.group, self.configured(peer)) else { return Vec::new() };
        if self.gateway.group(id).name.is_some() {
            return vec![(&configured.at, configured, None)];
        }
        let leads = |pass: &&Pass| matches!(pass.target, why502_model::Target::Group(own) if own == id);
        let routes = self.routes_to(id).flat_map(|route| passes(self.gateway.route(route)));
        routes.filter(leads).map(|pass| (&pass.at, configured, Some(pass))).collect()
    }

    fn splice(&self, at: &Span, configured: &Peer, target: &str) -> Option<Splice> {
        let written = self.source_text(at)?;
        // The address is the argument itself, or a part of a URL.
        let offset = u32::try_from(written.find(&configured.text)?).ok()?;
        let begin = at.begin + offset;
        let end = begin + u32::try_from(configured.text.len()).ok()?;
        let span = Span { begin, end, column: at.column + offset, ..at.clone() };
        Some((span, target.to_owned()))
    }

    /// What keeps the Host header and the server name as they follow from the name of a target (`$proxy_host`).
    fn keep_name(&self, configured: &Peer, pass: &Pass) -> Kept {
        let Host::Name(name) = &configured.host else { return Kept::By(Vec::new()) };
        let prefix = match pass.protocol {
            Protocol::Http => "proxy",
            Protocol::Grpc => "grpc",
            Protocol::FastCgi | Protocol::Memcached | Protocol::Scgi | Protocol::Uwsgi => {
                return Kept::By(Vec::new());
            }
        };
        let follows = |value: &str| value.contains("$proxy_host") || value.contains("$grpc_host");
        let host = pass.header("Host");
        let tls = &pass.tls_settings;
        let usual = if pass.tls { 443 } else { 80 };
        let mut lines = Vec::new();
        if host.is_none_or(|host| follows(&host.value.1)) {
            let port = configured.port.filter(|port| *port != usual);
            let port = port.map(|port| format!(":{port}")).unwrap_or_default();
            lines.push(format!("{prefix}_set_header Host {name}{port};"));
        }
        if pass.tls
            && (tls.sends_name.value || tls.verifies.value)
            && (tls.name.at.is_none() || follows(&tls.name.value))
        {
            lines.push(format!("{prefix}_ssl_name {name};"));
        }
        // A header line of its own would make the location lose those that it inherits, and under a condition none may stand.
        let own =
            self.gateway.routes().any(|(_, route)| route.action.pass().is_some_and(|own| own.at == pass.at));
        match self.behind(&pass.at).filter(|_| own && pass.headers.is_empty()) {
            _ if lines.is_empty() => Kept::By(Vec::new()),
            Some((at, gap)) => {
                let text = lines.iter().flat_map(|line| [gap.as_str(), line]).collect();
                Kept::By(vec![(at, text)])
            }
            None => Kept::ByHand(lines),
        }
    }

    /// The place behind the directive that a value ends, and what stands between directives there.
    fn behind(&self, value: &Span) -> Option<(Span, String)> {
        let text = &self.gateway.source(&value.file)?.text;
        let end = usize::try_from(value.end).ok()?;
        let gap = text.get(end..)?.iter().position(|byte| *byte == b';')?;
        if !text[end..end + gap].iter().all(|byte| byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\''))
        {
            return None;
        }
        let line = self.source_line(value)?;
        let directive = line.trim_start();
        let is_alone = directive.starts_with("proxy_pass") || directive.starts_with("grpc_pass");
        let indent = &line[..line.len() - directive.len()];
        let gap_between = if is_alone { format!("\n{indent}") } else { " ".to_owned() };
        let at = value.end + u32::try_from(gap).ok()? + 1;
        Some((Span { begin: at, end: at, ..value.clone() }, gap_between))
    }
}

/// A remedy that is only described.
fn described(mut remedy: Remedy, advice: String) -> Remedy {
    remedy.risk = Risk::ShowOnly;
    remedy.advice(advice)
}

#[cfg(test)]
mod tests {
    use crate::fixture::{Fixture, first_diff};
    use crate::remedy::Risk;

    const NAME: &str = r#"
#- nginx.conf
events {}
http {
    server {
        listen 80;
        server_name login.example.com;
        location / { proxy_pass http://app.internal:7781; }
    }
}
#- error.log
2026/11/21 02:28:30 [error] 101#101: *5 connect() failed (111: Connection refused) while connecting to upstream, client: 10.0.0.9, server: login.example.com, request: "POST /login HTTP/1.1", upstream: "http://[::1]:7781/login", host: "login.example.com"
#- access.log
10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] "POST /login HTTP/1.1" 502 157 "-" "curl/8"
#- resolve app.internal
127.0.0.1 ::1
#- listeners
127.0.0.1:7781 node
#- probe 127.0.0.1:7781
answers
HTTP/1.1 200 OK

#- probe [::1]:7781
refused
"#;

    #[test]
    fn a_host_header_that_follows_from_the_name_is_kept() {
        let diff = first_diff(&Fixture::new(NAME).report());
        let line = "+        location / { proxy_pass http://127.0.0.1:7781; proxy_set_header Host app.internal:7781; }";
        assert!(diff.contains(line), "{diff}");
    }

    #[test]
    fn a_host_header_of_its_own_needs_nothing() {
        let own = NAME.replace("listen 80;", "listen 80; proxy_set_header Host $host;");
        let diff = first_diff(&Fixture::new(&own).report());
        assert!(diff.contains("+        location / { proxy_pass http://127.0.0.1:7781; }"), "{diff}");
    }

    #[test]
    fn where_a_line_would_cut_off_inherited_ones_it_is_only_said() {
        let inherits = NAME.replace("listen 80;", "listen 80; proxy_set_header X-Real-IP $remote_addr;");
        let report = Fixture::new(&inherits).report();
        let remedy = &report.findings[0].remedies[0];
        assert_eq!((remedy.risk, remedy.steps.len()), (Risk::ShowOnly, 0));
        let advice = remedy.advice.as_deref().unwrap_or_default();
        assert!(advice.contains("`proxy_set_header Host app.internal:7781;`"), "{advice}");
    }

    #[test]
    fn every_route_to_the_address_is_changed() {
        let two = NAME.replace(
            "location / {",
            "location /a { proxy_pass http://app.internal:7781/x; }\n        location / {",
        );
        let diff = first_diff(&Fixture::new(&two).report());
        assert_eq!(diff.matches("+        location").count(), 2, "{diff}");
        assert!(diff.contains("http://127.0.0.1:7781/x;"), "{diff}");
    }

    #[test]
    fn a_finding_stands_at_the_location_that_failed() {
        let two = NAME.replace(
            "location / {",
            "location /a { proxy_pass http://app.internal:7781/x; }\n        location / {",
        );
        let report = Fixture::new(&two).report();
        let finding = &report.findings[0];
        assert_eq!((finding.location.as_deref(), finding.r#where[0].line), (Some("/"), 7));
    }

    #[test]
    fn a_relative_path_of_a_socket_is_not_written_to_the_configuration() {
        let php = r#"
#- nginx.conf
events {}
http {
    server {
        listen 80;
        location ~ \.php$ { fastcgi_pass unix:/run/php/php7.4-fpm.sock; }
    }
}
#- error.log
2026/11/21 02:28:30 [crit] 101#101: *3 connect() to unix:/run/php/php7.4-fpm.sock failed (2: No such file or directory) while connecting to upstream, client: 10.0.0.9, server: , request: "GET /index.php HTTP/1.1", upstream: "fastcgi://unix:/run/php/php7.4-fpm.sock:", host: "blog.example.com"
#- access.log
10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] "GET /index.php HTTP/1.1" 502 157 "-" "curl/8"
#- listeners
0.0.0.0:80 nginx
unix:php/php7.4-fpm.sock php-fpm7.4
#- path /run/php/php7.4-fpm.sock
0755 0 0 dir /
0755 0 0 dir /run
0755 0 0 dir /run/php
#- probe unix:/run/php/php7.4-fpm.sock
errno No such file or directory
"#;
        let report = Fixture::new(php).report();
        let finding = &report.findings[0];
        assert_eq!(finding.cause, "unix-socket-wrong-path");
        let remedy = &finding.remedies[0];
        assert_eq!((remedy.risk, remedy.steps.len()), (Risk::ShowOnly, 0));
        assert!(remedy.advice.as_deref().unwrap_or_default().contains("relative"), "{remedy:?}");
    }
}
