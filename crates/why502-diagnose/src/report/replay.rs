//! Who made the answer: the request through the gateway beside the same one straight to its peers.

use super::{ReplayAnswer, ReplayInfo};
use crate::Maker;
use crate::case::Case;
use crate::plan::{self, Replay};
use std::collections::BTreeSet;
use why502_facts::{Ask, HttpAnswer, Observed, PeerAddress, ProbeReport, StepKind};

/// Headers by which those who pass answers on sign them.
const SIGNATURES: [&str; 6] = ["Via", "CF-RAY", "X-Cache", "X-Cache-Status", "X-Amz-Cf-Id", "X-Served-By"];

/// What the replay tells, and remarks about it.
pub(super) fn replay_info(case: &Case<'_>) -> (Option<ReplayInfo>, Vec<String>) {
    let mut notes: Vec<String> = leads_elsewhere(case).into_iter().collect();
    let replay = match plan::replay(case) {
        None => return (None, notes),
        Some(Err(says)) => {
            notes.push(format!("nothing was replayed: {says}"));
            return (None, notes);
        }
        Some(Ok(replay)) => replay,
    };
    let through = match case.facts.look(&replay.ask) {
        Observed::Known(why502_facts::Datum::Probe(report)) => report,
        Observed::Unknown(gap) => {
            notes.push(format!("nothing was replayed: {}", gap.says));
            return (None, notes);
        }
        _ => return (None, notes),
    };
    let Ask::Probe { target, .. } = &replay.ask else { return (None, notes) };
    let direct: Vec<(&PeerAddress, &ProbeReport)> = direct(case, &replay);
    let (made_by, says) = judge(through, &direct);
    let info = ReplayInfo {
        request: format!("HEAD {}", replay.path),
        host: replay.host.clone(),
        through: answer(target, through),
        direct: direct.iter().map(|(address, report)| answer(address, report)).collect(),
        made_by,
        says,
    };
    notes.push(format!("replayed {} of {}: {}", info.request, info.host, info.says));
    (Some(info), notes)
}

/// The same request straight to the peers that it may be passed to.
fn direct<'c>(case: &'c Case<'_>, replay: &Replay) -> Vec<(&'c PeerAddress, &'c ProbeReport)> {
    let routes: BTreeSet<_> = case.gateway.reachable(replay.route).into_iter().collect();
    let peers = case.peers.iter().filter(|peer| peer.routes.iter().any(|route| routes.contains(route)));
    peers.filter_map(|peer| Some((&peer.address, case.probe(peer).known()?))).collect()
}

fn answer(address: &PeerAddress, report: &ProbeReport) -> ReplayAnswer {
    let own = report.answer.as_deref();
    ReplayAnswer {
        target: address.to_string(),
        status: own.map(|own| own.status),
        server: own.and_then(|own| own.header("Server")).map(str::to_owned),
        signatures: own.map(signatures).unwrap_or_default(),
    }
}

fn signatures(answer: &HttpAnswer) -> Vec<String> {
    let signed = |name: &&str| Some(format!("{name}: {}", answer.header(name)?));
    SIGNATURES.iter().filter_map(signed).collect()
}

/// Who made what came through the gateway, and by what that is known.
fn judge(through: &ProbeReport, direct: &[(&PeerAddress, &ProbeReport)]) -> (Maker, String) {
    let Some(own) = through.answer.as_deref() else {
        let says = if through.connected() {
            "nginx took the request and did not answer it"
        } else {
            "nginx itself could not be connected to"
        };
        return (Maker::NotTold, says.to_owned());
    };
    let status = own.status;
    let statuses: BTreeSet<u16> =
        direct.iter().filter_map(|(_, report)| report.answer.as_ref().map(|own| own.status)).collect();
    let asked = direct.iter().filter(|(_, report)| report.outcome(StepKind::Send).is_some()).count();
    let is_hit = own.headers.iter().any(|header| {
        header.name.to_ascii_lowercase().contains("cache")
            && header.value.to_ascii_uppercase().contains("HIT")
    });
    if statuses.contains(&status) {
        return (
            Maker::Upstream,
            format!("{status} is the upstream's own answer: it gives it without nginx too"),
        );
    }
    if is_hit {
        return (Maker::Cache, format!("{status} comes from a cache, as its header says"));
    }
    if !statuses.is_empty() {
        let others: Vec<String> = statuses.iter().map(u16::to_string).collect();
        let says =
            format!("{status} is nginx's own answer: straight to the upstream it is {}", others.join(" or "));
        return (Maker::Gateway, says);
    }
    match (direct.len(), asked) {
        (0, _) => (Maker::NotTold, format!("{status} through nginx; no upstream could be asked beside it")),
        (_, 0) if direct.iter().all(|(_, report)| report.connected()) => {
            (Maker::NotTold, format!("{status} through nginx; its upstreams were connected to and not asked"))
        }
        _ => {
            (Maker::Gateway, format!("{status} is nginx's own answer: no upstream answers the same request"))
        }
    }
}

/// Whether the name of the URL leads to another host.
fn leads_elsewhere(case: &Case<'_>) -> Option<String> {
    let ask = plan::replay_name(case)?;
    let Ask::Resolve { security, name, .. } = &ask else { return None };
    let addresses = case.facts.addresses(*security, name).known()?;
    case.sockets().known()?;
    let is_here = addresses.iter().any(|ip| case.is_local(&PeerAddress::Inet((*ip, 0).into())));
    (!is_here && !addresses.is_empty()).then(|| {
        let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        format!(
            "{name} leads to {}, no address of this host: what clients see there may come from something in front, and this nginx may never see the request",
            addresses.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use crate::fixture::Fixture;
    use crate::{Maker, Report};

    /// A host where a request to /cart/ failed, and what nginx and its upstream answer to it now.
    fn report(through: &str, direct: &str) -> Report {
        let text = format!(
            r#"
#- nginx.conf
events {{}}
http {{
    server {{
        listen 8080;
        server_name shop.example.com;
        location / {{ proxy_pass http://127.0.0.1:3000; }}
    }}
}}
#- options
replay
#- error.log
2026/11/21 02:28:30 [error] 101#101: *3 upstream prematurely closed connection while reading response header from upstream, client: 10.0.0.9, server: shop.example.com, request: "GET /cart/ HTTP/1.1", upstream: "http://127.0.0.1:3000/cart/", host: "shop.example.com"
#- access.log
10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] "GET /cart/ HTTP/1.1" 502 150 "-" "curl/8"
#- probe 127.0.0.1:8080
{through}
#- probe 127.0.0.1:3000
{direct}
"#
        );
        Fixture::new(&text).report()
    }

    #[test]
    fn an_answer_that_the_upstream_gives_too_is_its_own() {
        let report =
            report("answers\nHTTP/1.1 401 Unauthorized\n\nx", "answers\nHTTP/1.1 401 Unauthorized\n\nx");
        let replay = report.replay.unwrap();
        assert_eq!((replay.made_by, replay.through.status), (Maker::Upstream, Some(401)));
        assert_eq!(replay.request, "HEAD /cart/");
        let sent = report.actions.iter().find(|own| own.target == "127.0.0.1:8080").unwrap();
        assert_eq!((sent.count, sent.answered), (1, 1));
        assert!(
            report.notes.iter().any(|note| note.contains("the upstream's own answer")),
            "{:?}",
            report.notes
        );
    }

    #[test]
    fn an_answer_that_no_upstream_gives_is_the_gateway_s() {
        for (through, direct) in [
            ("answers\nHTTP/1.1 403 Forbidden\n\nx", "answers\nHTTP/1.1 200 OK\n\nx"),
            ("answers\nHTTP/1.1 502 Bad Gateway\n\nx", "refused"),
        ] {
            assert_eq!(report(through, direct).replay.unwrap().made_by, Maker::Gateway, "{through}");
        }
    }

    #[test]
    fn a_cache_signs_what_it_kept() {
        let through = "answers\nHTTP/1.1 404 Not Found\nX-Cache-Status: HIT\n\nx";
        assert_eq!(report(through, "answers\nHTTP/1.1 200 OK\n\nx").replay.unwrap().made_by, Maker::Cache);
    }

    #[test]
    fn nothing_is_made_up_where_nginx_is_silent() {
        assert_eq!(report("silent", "answers\nHTTP/1.1 200 OK\n\nx").replay.unwrap().made_by, Maker::NotTold);
    }
}
