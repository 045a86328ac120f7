//! # gateway-not-running
//!
//! ## What happens
//!
//! No nginx master runs with this configuration, or it runs and does not listen where the URL points. Who asks gets no
//! connection at all; a proxy in front makes a 502 of that. True for every version of nginx.
//!
//! ## What you see
//!
//! `Connection refused` at the client, a 502 by whatever stands in front, nothing in nginx's access log.
//!
//! ## How we know
//!
//! Confirmed: all processes were seen, and none is a master with this configuration. Likely: other users' processes are
//! hidden.
//!
//! ## What would disprove it
//!
//! A running master.
//!
//! ## What to do
//!
//! Start it; if it does not stay up, its error log says why.
//!
//! ## Not to be confused with
//!
//! `config-invalid` (it does not start because its configuration is refused: then that is the root).
//!
//! ## References
//!
//! nginx: `main` in `src/core/nginx.c`, `ngx_master_process_cycle`.

use crate::case::{Case, Subject};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Origin, Ruling};
use crate::remedy::{Remedy, Risk};
use why502_facts::Observed;

pub(super) static CAUSE: Cause = Cause {
    id: "gateway-not-running",
    layer: Layer::Gateway,
    acts_on: ActsOn::Gateway,
    effect: false,
    statuses: &[],
    scope: Scope::Gateway,
    supersedes: &[],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("gateway_not_running.rs"),
};

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    // Of another host's files nothing is said about processes.
    if case.facts.manifest.invocation.offline {
        return Ok(Ruling::NoSign);
    }
    if case.gateway.master.is_some() {
        return Ok(not_where_the_url_points(case, subject));
    }
    let Observed::Known(list) = case.facts.processes() else { return Ok(Ruling::NoSign) };
    let confidence = if list.hidden { Confidence::Likely } else { Confidence::Confirmed };
    let says = format!("no nginx master runs with {}", case.gateway.config);
    let mut finding = Finding::new(&CAUSE, confidence, subject)
        .still_failing(Some(true))
        .with([Evidence::supporting(says, Origin::Host("/proc".to_owned()))]);
    finding.fails_clients_now = true;
    Ok(Ruling::found(finding))
}

/// With a URL that names a port on which no server listens, the gateway cannot have seen the request.
fn not_where_the_url_points(case: &Case<'_>, subject: &Subject) -> Ruling {
    let Some(port) = case.facts.manifest.invocation.url.as_deref().and_then(port_of) else {
        return Ruling::NoSign;
    };
    let mut listens = case.gateway.servers.iter().flat_map(|server| &server.listens);
    if case.gateway.sources.is_empty()
        || listens.any(|listen| listen.address.is_some_and(|own| own.port() == port))
    {
        return Ruling::NoSign;
    }
    let Observed::Known(table) = case.sockets() else { return Ruling::NoSign };
    if table.on_port(port).next().is_some() {
        return Ruling::NoSign;
    }
    let says = format!("no server of the configuration and no socket of this host listens on port {port}");
    let mut finding = Finding::new(&CAUSE, Confidence::Likely, subject)
        .still_failing(Some(true))
        .with([Evidence::supporting(says, case.sockets_origin())]);
    finding.fails_clients_now = true;
    Ruling::found(finding)
}

fn port_of(url: &str) -> Option<u16> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host_end = authority.rfind(']').unwrap_or(0);
    match authority[host_end..].rsplit_once(':') {
        Some((_, port)) => port.parse().ok(),
        None => Some(if scheme == "https" { 443 } else { 80 }),
    }
}

fn explain(case: &Case<'_>, _finding: &Finding) -> Explanation {
    let title = if case.gateway.master.is_some() {
        "nginx does not listen where the URL points".to_owned()
    } else {
        format!("no nginx runs with {}", case.gateway.config)
    };
    Explanation {
        title,
        why:
            "Nobody accepts connections in nginx's place. Clients get none, and a proxy in front answers 502."
                .to_owned(),
        wont_help: vec!["restarting the backend: nobody passes requests to it".to_owned()],
    }
}

fn remedies(case: &Case<'_>, _finding: &Finding) -> Vec<Remedy> {
    if case.gateway.master.is_some() {
        let advice =
            "add a `listen` for that port to the server that should answer, and reload; or correct the URL";
        return vec![
            Remedy::new("Listen where the URL points", Risk::ShowOnly)
                .advice(advice)
                .verify("a connection opens"),
        ];
    }
    let remedy = Remedy::new("Start nginx", Risk::Review)
        .advice("if it does not stay up, `nginx -t` and the end of its error log say why")
        .verify("a master runs and its listeners accept connections");
    let has_systemd = case
        .facts
        .processes()
        .known()
        .and_then(|list| list.get(1))
        .is_some_and(|init| init.comm == "systemd");
    vec![if has_systemd {
        remedy.command(&["systemctl", "start", "nginx"], &[&["systemctl", "stop", "nginx"]])
    } else {
        remedy
    }]
}

#[cfg(test)]
mod tests {
    use super::port_of;
    use crate::fixture::Fixture;

    const HIT: &str = r"
#- nginx.conf
events {}
http {
    server { listen 80; server_name shop.example.com; location / { proxy_pass http://127.0.0.1:3000; } }
}
#- options
not-running
#- listeners
127.0.0.1:3000 node
#- probe 127.0.0.1:3000
connected
";

    #[test]
    fn hit_nobody_runs() {
        insta::assert_snapshot!(Fixture::new(HIT).summary(), @"
        Broken
        Confirmed gateway-not-running: no nginx runs with /etc/nginx/nginx.conf [0 requests, still failing]
        ");
    }

    #[test]
    fn hit_the_url_names_another_port() {
        let url = Fixture::new(HIT).with("options", "url=http://shop.example.com:8443/");
        insta::assert_snapshot!(url.summary(), @"
        Broken
        Likely gateway-not-running: nginx does not listen where the URL points [0 requests, still failing]
        ");
    }

    #[test]
    fn near_miss_it_runs() {
        insta::assert_snapshot!(Fixture::new(HIT).without("options").summary(), @"Healthy");
    }

    #[test]
    fn near_miss_another_program_listens_there() {
        let other = Fixture::new(HIT).with("options", "url=http://shop.example.com:3000/");
        insta::assert_snapshot!(other.summary(), @"Healthy");
    }

    #[test]
    fn gap_of_another_hosts_files_nothing_is_said() {
        insta::assert_snapshot!(Fixture::new(HIT).with("options", "offline\nnot-running").summary(), @"Healthy");
    }

    #[test]
    fn ports_are_read_from_urls() {
        assert_eq!(port_of("http://a/b"), Some(80));
        assert_eq!(port_of("https://a"), Some(443));
        assert_eq!(port_of("http://[::1]:8080/x"), Some(8080));
        assert_eq!(port_of("/path"), None);
    }
}
