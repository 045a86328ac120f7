//! # rate-limit-shared-key
//!
//! ## What happens
//!
//! `limit_req` or `limit_conn` counts by the client's address, and to nginx all clients have one: that of a load balancer,
//! CDN or proxy in front, because nothing tells nginx to take the real address from a header (`set_real_ip_from`,
//! `real_ip_header`). All users share one budget and are refused together. True for every version of nginx.
//!
//! ## What you see
//!
//! `limiting requests` or `limiting connections` lines that all name one client, and 503 or 429 for users who did little.
//! `$http_x_forwarded_for` in the access log shows different addresses.
//!
//! ## How we know
//!
//! Likely: the key is the client's address, and refused requests from one address of a private network came for different
//! clients, by their X-Forwarded-For; or, where the log does not tell that, by at least three User-Agents, and nginx takes
//! no real address from that proxy. Possible: the same from a public address, which may forge the header, or by two
//! User-Agents.
//!
//! ## What would disprove it
//!
//! The refused requests came for one client, or by a key that is no address.
//!
//! ## What to do
//!
//! Name the proxy with `set_real_ip_from`, and the header that it sets with `real_ip_header`; with several proxies in a row
//! `real_ip_recursive on`.
//!
//! ## Not to be confused with
//!
//! `rate-limited` and `connection-limited` (one client really is too fast, or the limit is too tight for one).
//!
//! ## References
//!
//! nginx: `ngx_http_limit_req_handler`, `ngx_http_realip_handler`, `ngx_http_get_forwarded_addr`.

use super::limits;
use crate::case::{Case, Failure, FailureId, Subject, count};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Ruling};
use crate::remedy::{Remedy, Risk};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use why502_facts::Phrase;
use why502_model::{Limit, LimitKind, RouteId};

pub(super) static CAUSE: Cause = Cause {
    id: "rate-limit-shared-key",
    layer: Layer::Policy,
    acts_on: ActsOn::Config,
    effect: false,
    statuses: &[503, 429],
    scope: Scope::Route,
    supersedes: &["connection-limited", "rate-limited"],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("rate_limit_shared_key.rs"),
};

/// The two limits, and how nginx tells of their refusals.
const KINDS: [(LimitKind, Phrase); 2] =
    [(LimitKind::Requests, Phrase::LimitingRequests), (LimitKind::Connections, Phrase::LimitingConnections)];
/// So many User-Agents behind one address are several clients; one person may use two.
const MIN_AGENTS: usize = 3;

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some(route) = subject.route() else { return Ok(Ruling::NoSign) };
    for (kind, phrase) in KINDS {
        let Ruling::Found(refused) = limits::detect(case, subject, &CAUSE, kind, phrase)? else { continue };
        if !limits::limit_of(case, &refused, kind).is_some_and(counts_by_address) {
            continue;
        }
        if let Some(shared) = Shared::of(case, route, &refused) {
            return Ok(Ruling::found(shared.finding(case, *refused)));
        }
    }
    Ok(Ruling::NoSign)
}

/// Whether a limit counts by the address that nginx takes for the client's, alone or with other things.
fn counts_by_address(limit: &Limit) -> bool {
    let key = limit.key.as_deref().unwrap_or_default();
    let names = ["$binary_remote_addr", "$remote_addr", "${binary_remote_addr}", "${remote_addr}"];
    names.iter().any(|name| key.contains(name))
}

/// Several clients that are refused as one.
struct Shared<'c> {
    /// The address that they share.
    address: IpAddr,
    refused: Vec<(FailureId, &'c Failure)>,
    /// For whom the requests came.
    forwarded: BTreeSet<&'c str>,
    agents: BTreeSet<&'c str>,
}

impl<'c> Shared<'c> {
    /// Those behind the address that most refusals share.
    fn of(case: &'c Case<'_>, route: RouteId, finding: &Finding) -> Option<Self> {
        let mut by_address: BTreeMap<IpAddr, Vec<(FailureId, &Failure)>> = BTreeMap::new();
        let all: Vec<(FailureId, &Failure)> =
            finding.explains.iter().map(|id| (*id, case.failure(*id))).collect();
        for (id, failure) in &all {
            let address = failure.client.as_deref().and_then(|client| client.parse().ok());
            by_address.entry(address?).or_default().push((*id, failure));
        }
        let (address, refused) = by_address.into_iter().max_by_key(|(_, refused)| Case::weigh(refused))?;
        let forwarded = refused.iter().filter_map(|(_, failure)| first_forwarded(failure, address)).collect();
        let agents = refused
            .iter()
            .filter_map(|(_, failure)| failure.user_agent.as_deref())
            .filter(|agent| *agent != "-")
            .collect();
        let shared = Self { address, refused, forwarded, agents };
        let is_most = Case::weigh(&shared.refused) * 2 > Case::weigh(&all);
        (is_most && shared.confidence(case, route).is_some()).then_some(shared)
    }

    fn confidence(&self, case: &Case<'_>, route: RouteId) -> Option<Confidence> {
        let is_private = is_private(self.address);
        match (self.forwarded.len(), self.agents.len()) {
            (2.., _) if is_private => Some(Confidence::Likely),
            (2.., _) => Some(Confidence::Possible),
            // Whoever writes down where requests come from would show it.
            (1, _) => None,
            (_, n_agents) if is_private && !takes_real_addresses(case, route) => match n_agents {
                MIN_AGENTS.. => Some(Confidence::Likely),
                2 => Some(Confidence::Possible),
                _ => None,
            },
            _ => None,
        }
    }

    fn finding(self, case: &Case<'_>, mut finding: Finding) -> Finding {
        let route = finding.subjects.iter().find_map(Subject::route);
        let confidence = route.and_then(|route| self.confidence(case, route));
        finding.confidence = confidence.unwrap_or(Confidence::Possible);
        finding.explains = self.refused.iter().map(|(id, _)| *id).collect();
        let told = if self.forwarded.is_empty() {
            format!("by {}", count(self.agents.len() as u64, "User-Agent"))
        } else {
            format!("for {} by X-Forwarded-For", count(self.forwarded.len() as u64, "client"))
        };
        let says =
            format!("{} from {}, {told}", count(Case::weigh(&self.refused), "refused request"), self.address);
        finding.with(Case::line_of(&self.refused).map(|origin| Evidence::supporting(says, origin)))
    }
}

/// For whom a request came by its header, if that is somebody else than who sent it.
fn first_forwarded(failure: &Failure, sender: IpAddr) -> Option<&str> {
    let first = failure.forwarded.as_deref()?.split(',').next()?.trim();
    first.parse().is_ok_and(|address: IpAddr| address != sender).then_some(first)
}

/// Whether an address is of a network of one's own: there is a proxy, and not the whole world.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            address.is_private() || address.is_loopback() || is_shared_space(address.octets())
        }
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local(),
    }
}

/// 100.64.0.0/10 (RFC 6598).
fn is_shared_space(octets: [u8; 4]) -> bool {
    octets[0] == 100 && octets[1] & 0xc0 == 64
}

/// Whether nginx takes the client's address from somebody else's word anywhere on a route.
fn takes_real_addresses(case: &Case<'_>, route: RouteId) -> bool {
    !case.gateway.in_force(route, "set_real_ip_from").is_empty()
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let limit = KINDS.iter().find_map(|(kind, _)| limits::limit_of(case, finding, *kind));
    let zone = limit.map_or(String::new(), |limit| format!("zone \"{}\"", limit.zone));
    let address = shared_address(case, finding)
        .map_or(String::new(), |address| format!(", all of whom are {address} to nginx"));
    Explanation {
        title: format!("{zone} counts many users as one{address}"),
        why: "The limit counts by the client's address, and the proxy in front has one for all users. Together they exceed what \
              is meant for each, and nginx refuses them without asking the upstream."
            .to_owned(),
        wont_help: vec![
            "raising the rate: the number of users behind the proxy grows on".to_owned(),
            "scaling or restarting the backend: the refused requests never reach it".to_owned(),
        ],
    }
}

fn shared_address(case: &Case<'_>, finding: &Finding) -> Option<String> {
    finding.explains.first().and_then(|id| case.failure(*id).client.clone())
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let Some(route) = finding.subjects.iter().find_map(Subject::route) else { return Vec::new() };
    let address = shared_address(case, finding).unwrap_or_default();
    let is_forwarded = finding.explains.iter().any(|id| case.failure(*id).forwarded.is_some());
    let verify = "refused requests name the users' own addresses, and few are refused";
    if takes_real_addresses(case, route) || !is_forwarded {
        return vec![
            Remedy::new("Let nginx take the users' addresses from the proxy", Risk::ShowOnly)
                .advice(format!(
                    "set_real_ip_from has to name {address} and every other proxy in front, real_ip_header the header that they \
                     set (X-Real-IP unless it is said), and real_ip_recursive has to be on where several stand in a row"
                ))
                .verify(verify),
        ];
    }
    let wanted = [
        ("set_real_ip_from".to_owned(), vec![address], None),
        ("real_ip_header".to_owned(), vec!["X-Forwarded-For".to_owned()], None),
    ];
    let zone_at = KINDS.iter().find_map(|(kind, _)| limits::limit_of(case, finding, *kind)?.zone_at.clone());
    let mut remedy = Remedy::new("Take the users' addresses from the proxy's header", Risk::Review)
        .advice("name every proxy in front, and none that users reach nginx without: whom it names may claim any address")
        .verify(verify);
    for (at, text) in zone_at.iter().flat_map(|at| case.gateway.set_directives(at, &wanted)) {
        remedy = remedy.edit(at, text);
    }
    vec![remedy]
}

#[cfg(test)]
mod tests {
    use crate::fixture::{Fixture, first_diff};

    const HIT: &str = r#"
#- nginx.conf
events {}
http {
    limit_req_zone $binary_remote_addr zone=perip:10m rate=10r/s;
    log_format xff '$remote_addr [$time_local] "$request" $status "$http_user_agent" "$http_x_forwarded_for"';
    access_log /var/log/nginx/access.log xff;
    server {
        listen 80;
        server_name shop.example.com;
        limit_req zone=perip;
        location / { proxy_pass http://127.0.0.1:3000; }
    }
}
#- error.log
2026/11/21 02:28:30 [error] 101#101: *3 limiting requests, excess: 0.500 by zone "perip", client: 10.0.0.9, server: shop.example.com, request: "GET /a HTTP/1.1", host: "shop.example.com"
2026/11/21 02:28:30 [error] 101#101: *4 limiting requests, excess: 0.500 by zone "perip", client: 10.0.0.9, server: shop.example.com, request: "GET /b HTTP/1.1", host: "shop.example.com"
#- access.log
10.0.0.9 [21/Nov/2026:02:28:30 +0000] "GET /a HTTP/1.1" 503 "Firefox" "203.0.113.1"
10.0.0.9 [21/Nov/2026:02:28:30 +0000] "GET /b HTTP/1.1" 503 "Firefox" "203.0.113.2, 10.0.0.7"
#- listeners
127.0.0.1:3000 node
#- probe 127.0.0.1:3000
answers
HTTP/1.1 200 OK

"#;

    #[test]
    fn hit_different_users_by_the_header() {
        insta::assert_snapshot!(Fixture::new(HIT).summary(), @r#"
        Broken
        Likely rate-limit-shared-key -> rate-limited: zone "perip" counts many users as one, all of whom are 10.0.0.9 to nginx [2 requests, still failing]
        "#);
    }

    #[test]
    fn hit_different_users_by_their_agents() {
        let agents = HIT.replace("\"203.0.113.1\"", "\"-\"").replace("\"203.0.113.2, 10.0.0.7\"", "\"-\"");
        let two = agents.replacen("\"Firefox\"", "\"Safari\"", 1);
        assert!(!Fixture::new(&two).summary().contains("Likely rate-limit-shared-key"));
        let log = Fixture::new(&two);
        let third = "10.0.0.9 [21/Nov/2026:02:28:31 +0000] \"GET /c HTTP/1.1\" 503 \"curl/8\" \"-\"\n";
        let said = HIT.lines().find(|line| line.contains("*4 limiting")).unwrap();
        let said = said.replace("02:28:30", "02:28:31").replace("*4", "*5").replace("/b", "/c");
        let three = log
            .with("access.log", &(log.section("access.log").to_owned() + third))
            .with("error.log", &format!("{}{said}\n", log.section("error.log")));
        assert!(three.summary().contains("Likely rate-limit-shared-key"), "{}", three.summary());
    }

    #[test]
    fn near_miss_one_user_behind_the_proxy() {
        let one = HIT.replace("203.0.113.2, 10.0.0.7", "203.0.113.1, 10.0.0.7");
        insta::assert_snapshot!(Fixture::new(&one).summary(), @r#"
        Broken
        Confirmed rate-limited: limit_req zone "perip" (10r/s per $binary_remote_addr) refuses requests [2 requests, still failing]
        "#);
    }

    #[test]
    fn near_miss_a_stranger_forges_the_header() {
        let summary = Fixture::new(&HIT.replace("10.0.0.9", "198.51.100.9")).summary();
        assert!(summary.contains("Confirmed rate-limited"), "{summary}");
        assert!(!summary.contains("Likely rate-limit-shared-key"), "{summary}");
    }

    #[test]
    fn near_miss_the_key_is_no_address() {
        let summary = Fixture::new(&HIT.replace("$binary_remote_addr", "$http_x_api_key")).summary();
        assert!(!summary.contains("rate-limit-shared-key"), "{summary}");
    }

    #[test]
    fn gap_without_an_access_log_nobody_knows_the_users() {
        let summary = Fixture::new(HIT).without("access.log").summary();
        assert!(!summary.contains("rate-limit-shared-key"), "{summary}");
    }

    #[test]
    fn remedy_takes_the_address_from_the_header() {
        insta::assert_snapshot!(first_diff(&Fixture::new(HIT).report()), @r#"
        --- a/etc/nginx/nginx.conf
        +++ b/etc/nginx/nginx.conf
        @@ -2,4 +2,6 @@
         http {
             limit_req_zone $binary_remote_addr zone=perip:10m rate=10r/s;
        +    set_real_ip_from 10.0.0.9;
        +    real_ip_header X-Forwarded-For;
             log_format xff '$remote_addr [$time_local] "$request" $status "$http_user_agent" "$http_x_forwarded_for"';
             access_log /var/log/nginx/access.log xff;
        "#);
    }
}
