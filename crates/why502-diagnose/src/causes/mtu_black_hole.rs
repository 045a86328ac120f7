//! # mtu-black-hole
//!
//! ## What happens
//!
//! Somewhere on the way lies a link that takes smaller packets than both ends think (a tunnel, a VPN, an overlay), and the ICMP
//! message that would say so is dropped. Connections open and small exchanges work, but full-sized packets vanish, and so do their
//! repetitions. True for every version.
//!
//! ## What you see
//!
//! `upstream timed out (110: Connection timed out) while reading response header from upstream` for large answers, `while sending
//! request to upstream` for large bodies, `while SSL handshaking to upstream` for long certificate chains, and a 504; small answers of
//! the same peer come at once. `ss -ti` shows retransmissions and bytes that nobody acknowledges.
//!
//! ## How we know
//!
//! Confirmed: of the same request with a long header the peer's host acknowledges nothing in full-sized packets, and answers it in small
//! ones. Likely: small ICMP echo requests are answered and large ones are not, with nothing that says why: a filter may do that to echo
//! requests alone.
//!
//! ## What would disprove it
//!
//! A full-sized packet that is acknowledged or answered, or an ICMP "fragmentation needed" that arrives: then the kernel sends smaller
//! ones by itself.
//!
//! ## What to do
//!
//! Let ICMP type 3 code 4 (ICMPv6 type 2) through on the way; or clamp the segment size at the router; or give the route to the peer the
//! size that fits.
//!
//! ## Not to be confused with
//!
//! `upstream-slow`, `read-timeout-too-short` (the answer comes later); `upstream-send-timeout` (the backend does not read);
//! `firewall-dropped` (nothing comes through, whatever its size).
//!
//! ## References
//!
//! RFC 1191, RFC 2923 (section 2.1), RFC 8201, RFC 4821; ip-sysctl (`tcp_mtu_probing`), ip-route(8) (`mtu`); nginx:
//! `ngx_http_upstream_process_header`, `ngx_http_upstream_send_request_handler`.

use super::unanswered::{Unanswered, attempts};
use super::ways::route_origin;
use crate::case::{Case, PeerSubject, Subject, Symptom, count};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Origin, Ruling};
use crate::plan::sized_spec;
use crate::remedy::{Remedy, Risk};
use std::net::{IpAddr, SocketAddr};
use why502_facts::{
    Ask, EchoOutcome, EchoRecord, Gap, GapReason, Observed, PathToPeer, Phase, Phrase, ProbeOutcome,
    ProbeReport, StepKind,
};

pub(super) static CAUSE: Cause = Cause {
    id: "mtu-black-hole",
    layer: Layer::Connect,
    acts_on: ActsOn::Network,
    effect: false,
    statuses: &[502, 504],
    scope: Scope::Peer,
    supersedes: &[
        "read-timeout-too-short",
        "upstream-pool-exhausted",
        "upstream-send-timeout",
        "upstream-slow",
    ],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("mtu_black_hole.rs"),
};

/// What every way takes (RFC 791, RFC 8200), and what tunnels of all kinds leave of 1500 bytes.
const SIZES: [u16; 10] = [84, 576, 768, 1024, 1280, 1340, 1380, 1420, 1450, 1480];
/// The most bytes that a packet carries which fits through everything: 576 without the headers of IP and TCP, with options.
const SMALL_SEGMENT: u16 = 512;
/// The largest packets that are tried.
const MAX_SIZE: u16 = 9000;

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some(target) = subject.peer().and_then(|peer| peer.address.inet()) else { return Ok(Ruling::NoSign) };
    let Some(stuck) = attempts(case, subject, is_stuck)? else { return Ok(Ruling::NoSign) };
    let Some(small) = stuck.report().filter(|probe| probe.connected() && !case.is_local(&stuck.peer.address))
    else {
        return Ok(Ruling::NoSign);
    };
    // What is small must come through: an answer, or the connection alone where the handshake has large packets.
    let is_small_well = small.is_well() || ends(small, StepKind::Handshake) == Some(ProbeOutcome::TimedOut);
    if !is_small_well {
        return Ok(Ruling::NoSign);
    }
    let path = match case.path_to(stuck.peer, target) {
        Observed::Unknown(Gap { ask, why: GapReason::NotYet, .. }) => return Err(vec![ask]),
        Observed::Known(path) => path,
        Observed::Absent | Observed::Unknown(_) => return Ok(Ruling::NoSign),
    };
    let Some(full) = full_size(path) else { return Ok(Ruling::NoSign) };
    let look = Look::take(case, stuck.peer, target, full)?;
    ruling(case, subject, &stuck, target, path, &look)
}

/// Whether an attempt waited for the far end after the connection stood.
fn is_stuck(symptom: &Symptom) -> bool {
    let phases = [Phase::TlsHandshake, Phase::SendingRequest, Phase::ReadingHeader, Phase::ReadingBody];
    symptom.is(Phrase::UpstreamTimedOut) && symptom.phase.is_some_and(|phase| phases.contains(&phase))
}

fn ends(probe: &ProbeReport, kind: StepKind) -> Option<ProbeOutcome> {
    probe.outcome(kind)
}

/// The largest packet that is sent on the way, as this host knows it.
fn full_size(path: &PathToPeer) -> Option<u16> {
    let route = path.route()?;
    let device = route.device.and_then(|device| path.link(device)).map(|link| link.mtu);
    let mtu = route.mtu.into_iter().chain(device).min()?;
    u16::try_from(mtu).ok().map(|mtu| mtu.min(MAX_SIZE)).filter(|mtu| *mtu > SIZES[1])
}

/// What sizes tell.
struct Look<'c> {
    sizes: Vec<u16>,
    echo: Observed<&'c EchoRecord>,
    /// A long request in full-sized packets, and the same in small ones.
    long: Option<(Ask, Observed<&'c ProbeReport>)>,
    short: Option<(Ask, Observed<&'c ProbeReport>)>,
    full: u16,
}

impl<'c> Look<'c> {
    /// Takes it, or asks for all of it at once.
    fn take(case: &'c Case<'_>, peer: &PeerSubject, target: SocketAddr, full: u16) -> Result<Self, Asks> {
        let sizes: Vec<u16> = SIZES.into_iter().filter(|size| *size < full).chain([full]).collect();
        let echo = case.facts.echo(case.gateway.security, target.ip(), &sizes);
        let sized = |segment| {
            let spec = sized_spec(case, peer, full, segment)?;
            Some((case.probe_ask(peer, &spec), case.probe_with(peer, &spec)))
        };
        let look = Self { sizes, echo, long: sized(None), short: sized(Some(SMALL_SEGMENT)), full };
        let gaps = [look.long.as_ref(), look.short.as_ref()]
            .into_iter()
            .flatten()
            .filter_map(|(_, answer)| answer.gap());
        let missing: Asks = gaps
            .chain(look.echo.gap())
            .filter(|gap| gap.why == GapReason::NotYet)
            .map(|gap| gap.ask.clone())
            .collect();
        if missing.is_empty() { Ok(look) } else { Err(missing) }
    }

    /// The largest echo request that was answered and the smallest that was not, where that is in order and nothing says why.
    fn edge(&self) -> Option<(u16, u16)> {
        let echo = self.echo.clone().known()?;
        let is_answered = |outcome: &EchoOutcome| matches!(outcome, EchoOutcome::Answered { .. });
        let first_lost = echo.echoes.iter().position(|echo| !is_answered(&echo.outcome))?;
        let (answered, lost) = echo.echoes.split_at(first_lost);
        let is_silent = lost.iter().all(|echo| echo.outcome == EchoOutcome::Silent);
        Some((answered.last()?.size, lost.first()?.size)).filter(|_| is_silent)
    }

    /// Whether the far end acknowledged none of a request in full-sized packets, and answered it in small ones.
    fn is_told_by_packets(&self) -> bool {
        let known = |look: &Option<(Ask, Observed<&'c ProbeReport>)>| {
            look.as_ref().and_then(|(_, answer)| answer.clone().known())
        };
        let (Some(long), Some(short)) = (known(&self.long), known(&self.short)) else { return false };
        long.connected()
            && ends(long, StepKind::Receive) == Some(ProbeOutcome::TimedOut)
            && long.unacknowledged.is_some_and(|bytes| bytes > 0)
            && (short.answer.is_some() || ends(short, StepKind::Receive) == Some(ProbeOutcome::Closed))
    }

    /// Whether a request in full-sized packets got through.
    fn is_acknowledged(&self) -> bool {
        let long = self.long.as_ref().and_then(|(_, answer)| answer.clone().known());
        long.is_some_and(|long| long.answer.is_some() || long.unacknowledged == Some(0))
    }

    fn evidence(&self, target: SocketAddr, security: why502_facts::Security) -> Vec<Evidence> {
        let mut evidence = Vec::new();
        if self.is_told_by_packets() {
            if let Some((ask, Observed::Known(long))) = &self.long {
                let bytes = long.unacknowledged.unwrap_or_default();
                let says = format!(
                    "a request in packets of {} bytes stays unacknowledged ({bytes} bytes)",
                    self.full
                );
                evidence.push(Evidence::supporting(says, Origin::Probe(ask.clone())));
            }
            if let Some((ask, _)) = &self.short {
                let says = format!(
                    "the same request in packets of {SMALL_SEGMENT} bytes and their headers is answered"
                );
                evidence.push(Evidence::supporting(says, Origin::Probe(ask.clone())));
            }
        }
        if let Some((most, lost)) = self.edge() {
            let says = format!(
                "ICMP echo requests of {most} bytes are answered, of {lost} and more they are not, and nobody says why"
            );
            let ask = Ask::Echo { security, target: target.ip(), sizes: self.sizes.clone() };
            evidence.push(Evidence::supporting(says, Origin::Probe(ask)));
        }
        evidence
    }
}

fn ruling(
    case: &Case<'_>,
    subject: &Subject,
    stuck: &Unanswered<'_>,
    target: SocketAddr,
    path: &PathToPeer,
    look: &Look<'_>,
) -> Result<Ruling, Asks> {
    let is_told = look.is_told_by_packets();
    let edge = look.edge();
    if !is_told && edge.is_none() {
        if look.is_acknowledged() && look.echo.clone().known().is_some_and(EchoRecord::is_answered) {
            let says = format!("full-sized packets come through to {target}");
            return Ok(Ruling::RuledOut(vec![Evidence::against(says, case.probe_origin(stuck.peer))]));
        }
        return Ok(Ruling::NoSign);
    }
    let device = path.route().and_then(|route| path.link(route.device?));
    let size = device.map(|link| {
        let says = format!(
            "{} sends packets of up to {} bytes; nothing smaller is known of the way",
            link.name, look.full
        );
        Evidence::context(says, route_origin(target))
    });
    let small = Evidence::supporting(
        "what is small comes through: a connection and an answer to HEAD",
        case.probe_origin(stuck.peer),
    );
    let says = |n| format!("{} waited in vain for the far end", count(n, "attempt"));
    let confidence =
        if is_told && path.context.in_network { Confidence::Confirmed } else { Confidence::Likely };
    let finding = stuck
        .finding(case, &CAUSE, confidence, subject, says)
        .with([small])
        .with(look.evidence(target, case.gateway.security))
        .with(size)
        .still_failing(Some(true));
    Ok(Ruling::found(finding))
}

/// The size of packets that come through to a finding's peer, as far as it was seen.
fn fitting(case: &Case<'_>, finding: &Finding) -> Option<(SocketAddr, PathToPeer, Option<u16>)> {
    let peer = finding.peer()?;
    let target = peer.address.inet()?;
    let path = case.path_to(peer, target).known()?;
    let look = Look::take(case, peer, target, full_size(path)?).ok()?;
    Some((target, path.clone(), look.edge().map(|(most, _)| most)))
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let most = fitting(case, finding).and_then(|(_, _, most)| most);
    let than = most.map_or_else(|| " of full size".to_owned(), |most| format!(" larger than {most} bytes"));
    Explanation {
        title: format!("packets{than} vanish on the way to {}", finding.address()),
        why: "A link on the way takes smaller packets than both ends send, and the ICMP message that would tell them is lost. The same \
              packet is sent again and again until nginx's timeout is up, and it answers 504."
            .to_owned(),
        wont_help: vec![
            "raising proxy_read_timeout or proxy_send_timeout: the packets never arrive".to_owned(),
            "speeding up or scaling the application: it has answered long since, or never saw the request".to_owned(),
            "proxy_buffer_size and proxy_buffering: they do not change the size of packets".to_owned(),
        ],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let Some((target, path, most)) = fitting(case, finding) else { return Vec::new() };
    let verify = "a request with a large answer, and one with a large body, are answered";
    let mut remedies = vec![
        Remedy::new("Let the routers say it", Risk::ShowOnly)
            .advice(
                "let ICMP type 3 code 4 (ICMPv6 type 2) through all filters on the way, in both directions; where that is not in your hands, \
                 have the router at the narrow link clamp it: nft add rule inet filter forward tcp flags syn tcp option maxseg size set rt mtu",
            )
            .verify(verify),
    ];
    let host = host_route(target.ip());
    let device = path.route().and_then(|route| path.link(route.device?)).map(|link| link.name.clone());
    if let (Some(device), Some(most)) = (device, most.filter(|most| *most >= SIZES[1])) {
        let size = most.to_string();
        let gateway = path.route().and_then(|route| route.gateway).map(|gateway| gateway.to_string());
        let mut add = vec!["ip", "route", "add", host.as_str()];
        add.extend(gateway.iter().flat_map(|gateway| ["via", gateway.as_str()]));
        add.extend(["dev", &device, "mtu", "lock", &size]);
        let undo = ["ip", "route", "del", &host];
        remedies.push(
            Remedy::new("Send smaller packets to this peer", Risk::Review)
                .command(&add, &[&undo])
                .advice("the segment size that this host announces follows it, so that answers become smaller as well")
                .verify(verify),
        );
    }
    remedies
}

fn host_route(ip: IpAddr) -> String {
    format!("{ip}/{}", if ip.is_ipv4() { 32 } else { 128 })
}

#[cfg(test)]
mod tests;
