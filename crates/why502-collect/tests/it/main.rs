//! Tests of what other processes do: this program is its own helper, as `why502` is, and the follower that is killed.

mod killed;

use libtest_mimic::{Arguments, Failed, Trial};
use std::net::{IpAddr, TcpListener};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;
use why502_collect::{Collector, Policy, RouteOfOwner, helper, run_helper};
use why502_facts::{
    Answer, Ask, Errno, FactBody, PeerAddress, ProbeOutcome, ProbeSpec, RequestKey, Security, TlsSpec,
};

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(helper::ARGUMENT) {
        return run_helper();
    }
    if std::env::args().nth(1).as_deref() == Some(killed::ARGUMENT) {
        return killed::follow();
    }
    let trials = vec![
        Trial::test("a_follower_that_is_killed_loses_nothing_and_counts_nothing_twice", || {
            killed::a_follower_that_is_killed_loses_nothing_and_counts_nothing_twice()
                .map_err(|error| Failed::from(error.to_string()))
        }),
        Trial::test("a_probe_comes_from_the_address_that_it_is_given", || {
            a_probe_comes_from_the_address_that_it_is_given().map_err(|error| Failed::from(error.to_string()))
        }),
        Trial::test("silent_peers_of_several_contexts_share_the_time", || {
            silent_peers_of_several_contexts_share_the_time().map_err(|error| Failed::from(error.to_string()))
        }),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn a_probe_comes_from_the_address_that_it_is_given() -> std::io::Result<()> {
    let server = TcpListener::bind("127.0.0.1:0")?;
    let target = PeerAddress::Inet(server.local_addr()?);
    // All of 127.0.0.0/8 is this host's; the other is an address of documents (RFC 5737).
    let sources = [IpAddr::from([127, 0, 0, 9]), IpAddr::from([192, 0, 2, 1])];
    let asks = sources.map(|source| Ask::Probe {
        security: Security::Own,
        target: target.clone(),
        spec: Box::new(ProbeSpec::Connect),
        source: Some(source),
    });
    let policy = Policy { only_files: None, may_probe: true, reads_logs: true };
    let no_route: Arc<RouteOfOwner> = Arc::new(|_: &str, _: &RequestKey<'_>| None);
    let facts = Collector::new(policy, Duration::from_secs(5)).answer(&asks, &no_route);
    let outcomes: Vec<_> = facts
        .iter()
        .map(|fact| {
            let Answer::Known(body) = &fact.answer else { panic!("{fact:?}") };
            let FactBody::Probe(transcript) = &**body else { panic!("{fact:?}") };
            transcript.steps.last().map(|step| step.outcome)
        })
        .collect();
    let refused = ProbeOutcome::Failed(Errno::AddressNotAvailable);
    assert_eq!(outcomes, [Some(ProbeOutcome::Done), Some(refused)]);
    assert_eq!(server.accept()?.1.ip(), sources[0]);
    Ok(())
}

/// One after the other the third would find no time left: three probes of three seconds do not fit into five.
fn silent_peers_of_several_contexts_share_the_time() -> std::io::Result<()> {
    // It never accepts: whoever connects is never answered.
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let target = PeerAddress::Inet(silent.local_addr()?);
    let mut other = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn()?;
    let contexts = [Security::Own, Security::Process(std::process::id()), Security::Process(other.id())];
    let asks = contexts.map(|security| Ask::Probe {
        security,
        target: target.clone(),
        spec: Box::new(ProbeSpec::Tls(TlsSpec::default())),
        source: None,
    });
    let policy = Policy { only_files: None, may_probe: true, reads_logs: true };
    let no_route: Arc<RouteOfOwner> = Arc::new(|_: &str, _: &RequestKey<'_>| None);
    let facts = Collector::new(policy, Duration::from_secs(5)).answer(&asks, &no_route);
    other.kill()?;
    other.wait()?;
    assert_eq!(facts.len(), asks.len());
    for fact in facts {
        let Answer::Known(body) = &fact.answer else { panic!("{fact:?}") };
        let FactBody::Probe(transcript) = &**body else { panic!("{fact:?}") };
        assert_eq!(transcript.steps.last().map(|step| step.outcome), Some(ProbeOutcome::TimedOut));
    }
    Ok(())
}
