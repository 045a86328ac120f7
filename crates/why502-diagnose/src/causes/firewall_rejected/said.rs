//! What comes back of a connection attempt by ICMP: the word of a filter, wherever its rules stand.

use super::{Refused, attempts_with};
use crate::case::{Case, Reach, Subject, count};
use crate::finding::{Confidence, Evidence, Finding};
use crate::remedy::{Remedy, Risk};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use why502_facts::{Errno, IcmpError, IcmpMeaning, Observed, StepKind};

/// Whoever has asked for a host in vain took longer than that to say that it is not there.
const AT_ONCE: Duration = Duration::from_millis(900);

/// A refusal by ICMP.
pub(super) struct Said {
    /// Who sent it.
    who: IpAddr,
    error: IcmpError,
    /// What connect(2) fails with.
    errno: Errno,
    target: SocketAddr,
}

/// The refusal by ICMP that a probe's connection attempt gets, if only a filter sends such a one.
pub(super) fn said(case: &Case<'_>, refused: &Refused<'_>) -> Option<Said> {
    let Observed::Known(Reach::Failed(errno)) = refused.now else { return None };
    let target = refused.peer.address.inet()?;
    let observed = case.probe(refused.peer);
    let probe = observed.known()?;
    let took = probe.steps.iter().find(|step| step.kind == StepKind::Connect).map(|step| step.micros);
    let is_at_once = took.is_some_and(|micros| Duration::from_micros(micros) < AT_ONCE);
    let is_of_filter = |error: &IcmpError| match error.meaning() {
        IcmpMeaning::Prohibited => true,
        // A host on which nobody listens answers TCP with a reset (RFC 9293, section 3.5.2; RFC 1122, section 3.2.2.1).
        IcmpMeaning::PortUnreachable => refused.way.listens != Some(false),
        // Of itself nobody says so, unless it hands the connection on to another one.
        IcmpMeaning::HostUnreachable | IcmpMeaning::NetworkUnreachable => {
            error.offender == Some(target.ip()) && is_at_once && refused.way.led.is_none()
        }
        IcmpMeaning::Other | IcmpMeaning::TooBig => false,
    };
    let fits = |error: &&IcmpError| error.errno == errno.number() && is_of_filter(error);
    let error = *probe.errors.iter().find(fits)?;
    Some(Said { who: error.offender?, error, errno, target })
}

impl Said {
    /// The finding; likely, since no rule was seen.
    pub(super) fn finding(&self, case: &Case<'_>, subject: &Subject, refused: &Refused<'_>) -> Finding {
        let line = Case::lines_evidence(attempts_with(refused, self.errno), |n| {
            format!("{} failed with {}", count(n, "connection attempt"), self.errno.name())
        });
        let what = match self.error.meaning() {
            IcmpMeaning::Prohibited => "is administratively prohibited",
            IcmpMeaning::PortUnreachable => "finds no port, where a host would send a reset of TCP",
            _ => "does not reach the host, which is its own",
        };
        let says = format!(
            "{} says that a connection to {} {what} ({})",
            self.place(case),
            self.target,
            self.error.name()
        );
        let mut finding = Finding::new(&super::CAUSE, Confidence::Likely, subject)
            .explaining(attempts_with(refused, self.errno).map(|(id, ..)| id))
            .still_failing(Some(true))
            .with(line)
            .with([Evidence::supporting(says, case.probe_origin(refused.peer))])
            .at(case.written_at(refused.peer));
        finding.fails_clients_now = case.is_felt(refused.peer);
        finding
    }

    /// Who says so, in words.
    pub(super) fn place(&self, case: &Case<'_>) -> String {
        if case.is_own(self.who) {
            format!("this host itself ({})", self.who)
        } else if self.who == self.target.ip() {
            format!("the peer's own host ({})", self.who)
        } else {
            format!("the router {}", self.who)
        }
    }

    /// What to do where the rule cannot be seen.
    pub(super) fn remedy(&self, case: &Case<'_>) -> Remedy {
        Remedy::new("Have the connection let through where it is refused", Risk::ShowOnly)
            .advice(format!(
                "{} refuses it, by a rule of its packet filter or a route that prohibits (`nft list ruleset`, `iptables-save`, `ip route`, \
                 `ip rule` there, a security group, an access list): TCP from this gateway to {} has to pass",
                self.place(case),
                self.target
            ))
            .verify(format!("a connection to {} opens", self.target))
    }
}
