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
//! hidden, and nobody listens on any address of this configuration; or the URL names an address of this host on which nobody
//! listens: a packet filter may still rewrite it. Of a name that leads elsewhere nothing is said: whatever stands in front
//! may listen on any port.
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

use crate::case::{Case, Subject, or_ask};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Origin, Ruling};
use crate::remedy::{Remedy, Risk};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use why502_facts::{Observed, PeerAddress, SocketTable};
use why502_model::Listen;

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
        return not_where_the_url_points(case, subject);
    }
    let Observed::Known(list) = case.facts.processes() else { return Ok(Ruling::NoSign) };
    let finding = if list.hidden {
        // A master that is not seen holds listeners that are.
        let Observed::Known(table) = or_ask(case.sockets())? else { return Ok(Ruling::NoSign) };
        if !is_deaf(case, table) {
            return Ok(Ruling::NoSign);
        }
        let says = format!("no socket listens on any address of {}", case.gateway.config);
        Finding::new(&CAUSE, Confidence::Likely, subject)
            .with([Evidence::supporting(says, case.sockets_origin())])
    } else {
        let says = format!("no nginx master runs with {}", case.gateway.config);
        Finding::new(&CAUSE, Confidence::Confirmed, subject)
            .with([Evidence::supporting(says, Origin::Host("/proc".to_owned()))])
    };
    let mut finding = finding.still_failing(Some(true));
    finding.fails_clients_now = true;
    Ok(Ruling::found(finding))
}

/// Whether the configuration listens somewhere, and no socket does on any of its addresses.
fn is_deaf(case: &Case<'_>, table: &SocketTable) -> bool {
    let listens = || case.gateway.servers.iter().flat_map(|server| &server.listens);
    let is_held = |listen: &Listen| match (listen.address, &listen.path) {
        // A `listen` without an address of its own is told by its port alone.
        (Some(address), _) => table.on_port(address.port()).next().is_some(),
        (None, Some(path)) => table.listens(&PeerAddress::Unix(path.clone())) != Some(false),
        (None, None) => true,
    };
    listens().next().is_some() && !listens().any(is_held)
}

/// With a URL that names an address of this host on which nobody listens, the gateway cannot have seen the request.
fn not_where_the_url_points(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some(address) = local_address(case).filter(|_| !case.gateway.sources.is_empty()) else {
        return Ok(Ruling::NoSign);
    };
    if case.gateway.find_server("", Some(address)).is_some() {
        return Ok(Ruling::NoSign);
    }
    let Observed::Known(table) = or_ask(case.sockets())? else { return Ok(Ruling::NoSign) };
    let Observed::Known(own) = or_ask(case.facts.sockets(None))? else { return Ok(Ruling::NoSign) };
    // Where the gateway has a network of its own, ports of the host may be mapped into it.
    let listens = |table: &SocketTable| -> Vec<(SocketAddr, u32)> {
        table.listeners.iter().map(|own| (own.address, own.uid)).collect()
    };
    if listens(own) != listens(table) {
        return Ok(Ruling::NoSign);
    }
    // An `[::1]` of that port is `localhost` too.
    let is_named = case.asked.as_ref().is_some_and(|asked| asked.url.address().is_none());
    let is_closed = table.listens(&PeerAddress::Inet(address)) == Some(false);
    if !is_closed || (is_named && table.on_port(address.port()).next().is_some()) {
        return Ok(Ruling::NoSign);
    }
    let says = format!("no server of the configuration and no socket of this host listens on {address}");
    let mut finding = Finding::new(&CAUSE, Confidence::Likely, subject)
        .still_failing(Some(true))
        .with([Evidence::supporting(says, case.sockets_origin())]);
    finding.fails_clients_now = true;
    Ok(Ruling::found(finding))
}

/// The address that the URL names, if it is one of this host.
fn local_address(case: &Case<'_>) -> Option<SocketAddr> {
    let url = &case.asked.as_ref()?.url;
    let address = match url.address() {
        Some(address) => address,
        None if url.host.as_deref().is_some_and(|host| host.eq_ignore_ascii_case("localhost")) => {
            SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), url.port?)
        }
        None => return None,
    };
    case.is_local(&PeerAddress::Inet(address)).then_some(address)
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
    fn hit_it_is_named_before_what_failed_while_it_ran() {
        let line = |second: u32, status: u16| {
            format!(
                "10.0.0.9 - - [21/Nov/2026:02:28:{second} +0000] \"GET /a HTTP/1.1\" {status} 157 \"-\" \"curl/8\"\n"
            )
        };
        let error = "2026/11/21 02:28:30 [error] 101#101: *3 connect() failed (111: Connection refused) while connecting to upstream, client: 10.0.0.9, server: shop.example.com, request: \"GET /a HTTP/1.1\", upstream: \"http://127.0.0.1:3000/a\", host: \"shop.example.com\"\n";
        let report = Fixture::new(HIT)
            .with("error.log", error)
            .with("access.log", &(line(30, 502) + &line(40, 200)))
            .report();
        let causes: Vec<&str> = report.findings.iter().map(|finding| &*finding.cause).collect();
        assert_eq!(causes, ["gateway-not-running", "upstream-not-listening"]);
    }

    #[test]
    fn hit_the_url_names_another_port() {
        let url = Fixture::new(HIT).with("options", "url=http://127.0.0.1:8443/");
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
        for host in ["127.0.0.1", "localhost"] {
            let other = Fixture::new(HIT).with("options", &format!("url=http://{host}:3000/"));
            insta::allow_duplicates! { insta::assert_snapshot!(other.summary(), @"Healthy"); }
        }
    }

    #[test]
    fn near_miss_a_name_may_lead_to_something_in_front() {
        let report = Fixture::new(HIT).with("options", "url=http://shop.example.com:8443/").report();
        assert!(report.findings.is_empty(), "{report:?}");
        let notes = report.notes.join("\n");
        assert!(notes.contains("no server listens on port 8443"), "{notes}");
    }

    #[test]
    fn gap_what_is_seen_from_elsewhere_confirms_nothing() {
        let seen = Fixture::new(crate::causes::upstream_closed_before_response::tests::HIT)
            .with("probe 127.0.0.1:3000", "refused")
            .with("listeners", "0.0.0.0:80 hidden\n");
        assert!(seen.summary().contains("Confirmed upstream-not-listening"), "{}", seen.summary());
        let hidden = seen.with("options", "not-running\nhides-processes").summary();
        assert!(hidden.contains("upstream-not-listening") && !hidden.contains("Confirmed"), "{hidden}");
    }

    #[test]
    fn gap_processes_are_hidden() {
        let hidden = Fixture::new(HIT).with("options", "not-running\nhides-processes");
        insta::assert_snapshot!(hidden.summary(), @"
        Broken
        Likely gateway-not-running: no nginx runs with /etc/nginx/nginx.conf [0 requests, still failing]
        ");
        let held = hidden.with("listeners", "127.0.0.1:3000 node\n0.0.0.0:80 hidden");
        assert_eq!(held.summary(), "Healthy\n");
        assert_eq!(held.without("listeners").summary(), "Healthy\n");
    }

    #[test]
    fn gap_the_sockets_cannot_be_seen() {
        let blind = Fixture::new(HIT).with("options", "url=http://127.0.0.1:8443/").without("listeners");
        insta::assert_snapshot!(blind.summary(), @"Healthy");
    }

    #[test]
    fn gap_of_another_hosts_files_nothing_is_said() {
        insta::assert_snapshot!(Fixture::new(HIT).with("options", "offline\nnot-running").summary(), @"Healthy");
    }
}
