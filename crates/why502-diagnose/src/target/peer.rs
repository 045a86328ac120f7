//! An address of a target over all runs: which conversations count, what they come to, and how long they took.

use super::TargetQuestion;
use super::build::led;
use super::find::{Found, FoundPeer};
use super::judge::{judge, speaks};
use super::report::{Conversation, StepTimes, StepVerdict, TargetPeer, TargetStep, TargetStepKind};
use super::words::milliseconds;
use std::collections::BTreeMap;
use why502_facts::{Ask, Facts, GapReason, Observed, PeerAddress};

/// An address, over all runs.
pub(super) fn peer_info(
    runs: &[Facts],
    found: &Found<'_>,
    peer: &FoundPeer<'_>,
    address: &PeerAddress,
    question: &TargetQuestion,
) -> TargetPeer {
    let mut conversations = Vec::new();
    let mut heard: Option<String> = None;
    let mut n_untried = 0;
    let mut why = None;
    for (run, facts) in (1..).zip(runs) {
        let (led, _) = led(facts, found, peer, address, question);
        for (at, (spec, seen)) in led.iter().enumerate() {
            match seen {
                Observed::Known(report) => {
                    let judged = judge(spec, report, run, at > 0);
                    heard = speaks(spec, report).filter(|_| at == 0 || judged.tells()).or(heard);
                    conversations.push(judged);
                }
                Observed::Unknown(gap) if at == 0 => {
                    n_untried += 1;
                    why = Some(gap.says.clone());
                }
                Observed::Absent | Observed::Unknown(_) => {}
            }
        }
        if let Some(ask) = &peer.name
            && let Some(first) = conversations.iter_mut().find(|own| own.run == run)
        {
            begin_with_name(first, facts, ask, peer, address);
        }
    }
    settle(&mut conversations, question);
    let counted = || conversations.iter().filter(|own| !own.aside);
    let failed: Vec<&Conversation> = counted().filter(|own| own.verdict == StepVerdict::Fail).collect();
    let (verdict, says) = match failed.first() {
        Some(first) if runs.len() > 1 => {
            (StepVerdict::Fail, format!("{} of {} runs failed: {}", failed.len(), runs.len(), failing(first)))
        }
        Some(first) => (StepVerdict::Fail, failing(first)),
        None if n_untried > 0 => (StepVerdict::Unknown, why.unwrap_or_default()),
        None => (StepVerdict::Ok, counted().next_back().map(answering).unwrap_or_default()),
    };
    TargetPeer {
        text: peer.text.clone(),
        address: Some(address.to_string()),
        down: peer.down,
        backup: peer.backup,
        verdict,
        says: with_heard(says, verdict, heard.as_deref(), &conversations),
        speaks: heard,
        times: times(&conversations),
        conversations,
    }
}

/// Where nobody said what speaks there, the conversation that found it out is the one that counts.
fn settle(conversations: &mut [Conversation], question: &TargetQuestion) {
    contradict(conversations);
    if question.protocol.is_some() {
        return;
    }
    let runs: Vec<u64> = conversations.iter().filter(|own| !own.aside).map(|own| own.run).collect();
    for run in runs {
        let is_open = |own: &Conversation| own.run == run && !own.aside && own.asks_who_speaks();
        let told = |own: &Conversation| own.run == run && own.aside && own.tells();
        if !conversations.iter().any(is_open) {
            continue;
        }
        if let Some(at) = conversations.iter().position(told) {
            for own in conversations.iter_mut().filter(|own| own.run == run) {
                own.aside = true;
            }
            conversations[at].aside = false;
        }
    }
}

/// A server of TLS answers a plain request with 400, and one of HTTP a request in another protocol: that is no answer.
fn contradict(conversations: &mut [Conversation]) {
    let has_tls = |own: &Conversation| own.tls.as_ref().is_some_and(|tls| tls.established);
    let speaks_http = |own: &Conversation| own.asks_who_speaks() && own.answer.is_some();
    let others: Vec<u64> = conversations
        .iter()
        .filter(|own| own.aside && (has_tls(own) || speaks_http(own)))
        .map(|own| own.run)
        .collect();
    let asked = conversations.iter_mut().filter(|own| !own.aside && others.contains(&own.run));
    for own in asked.filter(|own| own.answer.as_ref().is_some_and(|answer| answer.status == 400)) {
        if let Some(step) = own.steps.iter_mut().find(|step| step.kind == TargetStepKind::Protocol) {
            step.verdict = StepVerdict::Fail;
            step.says = format!("it answers 400 to a request in {}", own.spoken);
            own.verdict = StepVerdict::Fail;
        }
    }
}

/// What fails, in words.
fn failing(conversation: &Conversation) -> String {
    let step = conversation.steps.iter().find(|step| step.verdict == StepVerdict::Fail);
    step.map(|step| format!("{}: {}", step.kind.name(), step.says)).unwrap_or_default()
}

/// How it answers, in words.
fn answering(conversation: &Conversation) -> String {
    let total: u64 = conversation.steps.iter().filter_map(|step| step.micros).sum();
    let last = conversation.steps.last().map(|step| step.says.clone()).unwrap_or_default();
    format!("{last} in {}", milliseconds(total))
}

/// What speaks there instead, beside what failed.
fn with_heard(
    says: String,
    verdict: StepVerdict,
    heard: Option<&str>,
    conversations: &[Conversation],
) -> String {
    let mut asides: Vec<&str> =
        conversations.iter().filter(|own| own.aside).map(|own| own.spoken.as_str()).collect();
    asides.sort_unstable();
    asides.dedup();
    let told = conversations.iter().any(|own| own.aside && own.tells());
    match heard {
        _ if verdict != StepVerdict::Fail || asides.is_empty() => says,
        Some(heard) if told => format!("{says}; {heard} speaks there"),
        _ => format!("{says}, nor is it known by {}", asides.join(", ")),
    }
}

/// Puts the resolution of the name before the other steps.
fn begin_with_name(
    conversation: &mut Conversation,
    facts: &Facts,
    ask: &Ask,
    peer: &FoundPeer<'_>,
    address: &PeerAddress,
) {
    let micros = facts.micros(ask);
    let all = peer.addresses.as_ref().known().map_or(0, Vec::len);
    let place = peer.addresses.as_ref().known().and_then(|all| all.iter().position(|own| own == address));
    let says = match (all, place) {
        (2.., Some(place)) => format!("{address}, {} of {all}", place + 1),
        _ => address.to_string(),
    };
    for step in &mut conversation.steps {
        step.start_micros += micros.unwrap_or(0);
    }
    let step =
        TargetStep { kind: TargetStepKind::Name, start_micros: 0, micros, verdict: StepVerdict::Ok, says };
    conversation.steps.insert(0, step);
}

/// A name that leads to no address.
pub(super) fn nameless(facts: &Facts, peer: &FoundPeer<'_>) -> Option<TargetPeer> {
    let took = peer.name.as_ref().and_then(|ask| facts.micros(ask));
    let took = took.map(|micros| format!(" (asked for {})", milliseconds(micros))).unwrap_or_default();
    let (verdict, says) = match &peer.addresses {
        Observed::Known(addresses) if !addresses.is_empty() => return None,
        Observed::Known(_) | Observed::Absent => {
            (StepVerdict::Fail, format!("name: it does not resolve{took}"))
        }
        Observed::Unknown(gap) if gap.why == GapReason::TimedOut => {
            (StepVerdict::Fail, format!("name: no answer to it in time{took}"))
        }
        Observed::Unknown(gap) => (StepVerdict::Unknown, format!("name: {}", gap.says)),
    };
    Some(TargetPeer {
        text: peer.text.clone(),
        address: None,
        down: peer.down,
        backup: peer.backup,
        verdict,
        says,
        speaks: None,
        times: Vec::new(),
        conversations: Vec::new(),
    })
}

/// How long the steps took over all runs.
fn times(conversations: &[Conversation]) -> Vec<StepTimes> {
    let mut all: BTreeMap<TargetStepKind, Vec<u64>> = BTreeMap::new();
    for step in conversations.iter().filter(|own| !own.aside).flat_map(|own| &own.steps) {
        all.entry(step.kind).or_default().extend(step.micros);
    }
    let summed_up = all.into_iter().filter_map(|(kind, mut micros)| {
        micros.sort_unstable();
        Some(StepTimes {
            kind,
            runs: micros.len() as u64,
            min_micros: *micros.first()?,
            median_micros: *micros.get(micros.len() / 2)?,
            max_micros: *micros.last()?,
        })
    });
    summed_up.collect()
}

#[cfg(test)]
mod tests {
    use crate::fixture::Fixture;
    use crate::target::{ProbeTarget, StepVerdict, TargetQuestion, TargetReport, report_target, target_asks};
    use why502_decode::load;
    use why502_facts::Facts;
    use why502_model::Model;

    const CONFIG: &str = r"
#- nginx.conf
events {}
http {
    upstream shop { server 127.0.0.1:3000; server 127.0.0.1:3001 backup; }
    server {
        listen 80;
        server_name shop.example.com;
        location /cart/ { proxy_pass http://shop; }
    }
}
";

    /// The report on a target of a host, once nothing more is wanted.
    fn report(text: &str, target: &str) -> TargetReport {
        let question = TargetQuestion {
            target: ProbeTarget::parse(target).unwrap(),
            protocol: None,
            server_name: None,
            host: None,
        };
        let asks = |facts: &Facts, model: &Model| target_asks(facts, model, &question);
        let facts = load(&Fixture::new(text).bundle_with(asks));
        let model = Model::build(&facts);
        report_target(&[facts], &model, &question).unwrap()
    }

    fn outcomes(report: &TargetReport) -> Vec<(StepVerdict, &str, Option<&str>)> {
        report.peers.iter().map(|peer| (peer.verdict, peer.says.as_str(), peer.speaks.as_deref())).collect()
    }

    #[test]
    fn what_fails_first_is_what_a_peer_comes_to() {
        let text = format!(
            "{CONFIG}#- probe 127.0.0.1:3000 http\nanswers\nHTTP/1.1 200 OK\n\nwell\n#- probe 127.0.0.1:3001\nrefused\n"
        );
        let report = report(&text, "shop");
        let [(StepVerdict::Ok, _, Some("HTTP/1.1")), (StepVerdict::Fail, says, None)] = outcomes(&report)[..]
        else {
            panic!("{:?}", outcomes(&report))
        };
        assert_eq!(says, "connect: connection refused (ECONNREFUSED)");
        assert_eq!((report.verdict, report.answered, report.failed), (StepVerdict::Fail, 1, 1));
    }

    #[test]
    fn a_plain_request_to_a_server_of_tls_fails_though_it_is_answered() {
        let text = format!(
            "{CONFIG}#- options\nurl=/cart/\n#- probe 127.0.0.1:3000 http\nanswers\nHTTP/1.1 400 Bad Request\n\n#- probe 127.0.0.1:3000 https\nanswers tls\nHTTP/1.1 200 OK\n\n#- probe 127.0.0.1:3001\nrefused\n"
        );
        let report = report(&text, "/cart/");
        let (verdict, says, speaks) = outcomes(&report)[0];
        assert_eq!((verdict, speaks), (StepVerdict::Fail, Some("HTTP/1.1 through TLS")));
        assert!(says.starts_with("protocol: it answers 400"), "{says}");
    }

    #[test]
    fn nothing_that_nobody_could_look_at_fails() {
        let text = format!("{CONFIG}#- options\nno-probe\n");
        let report = report(&text, "shop");
        assert_eq!((report.verdict, report.unknown), (StepVerdict::Unknown, 2));
    }
}
