//! A service that was judged: what a finding says of it, and what is done with it.

use super::history::AT_ONCE;
use super::{Event, How, Judged};
use crate::case::{Case, Failure, FailureId, Subject, Symptom, count};
use crate::cause::Cause;
use crate::causes::upstream_oom_killed::is_sudden;
use crate::finding::{Confidence, Evidence, Finding, Origin};
use crate::remedy::Remedy;
use std::time::Duration;
use why502_facts::{RestartPolicy, Stamp, Supervisor};

impl Judged<'_> {
    /// A finding about the failures that the verdict explains.
    pub(in super::super) fn finding(
        &self,
        case: &Case<'_>,
        cause: &'static Cause,
        subject: &Subject,
    ) -> Finding {
        let stands = self.outage.stands(case);
        let still_failing = if self.verdict.is_over {
            Some(false)
        } else {
            (stands || self.outage.is_gone()).then_some(true)
        };
        let cap = if still_failing.is_none() { Confidence::Likely } else { Confidence::Confirmed };
        let confidence = self.history.tie.strength.min(cap).min(self.verdict.cap);
        let definition = Origin::Host(self.history.service.path.clone());
        let broken_off = self.broken_off(case);
        let mut finding = self.outage.finding(case, cause, confidence, subject, |at| self.verdict.holds(at));
        finding.explains.extend(broken_off.iter().map(|(id, ..)| *id));
        finding
            .with(Case::lines_evidence(broken_off, |n| {
                format!("{} broke off at the moment of a death", count(n, "request"))
            }))
            .still_failing(still_failing)
            .with([Evidence::supporting(self.history.tie.says.clone(), definition)])
            .with(self.history.evidence(&self.verdict))
            .open(self.history.open.clone())
            .open(self.verdict.open.clone())
    }

    /// The requests that the process had when it died: their connections ended with it.
    fn broken_off<'s>(&'s self, case: &'s Case<'_>) -> Vec<(FailureId, &'s Failure, &'s Symptom)> {
        let deaths = match &self.verdict.how {
            How::Crashed(death) => std::slice::from_ref(death),
            How::Looping(deaths) | How::OutOfMemory(deaths) => deaths.as_slice(),
            How::Starting(_) | How::Stopped(_) => &[],
        };
        // nginx's log has whole seconds.
        let is_then = |at: Stamp, death: &Event| {
            at.after(Duration::from_secs(1)) >= death.from.before(AT_ONCE) && at <= death.to.after(AT_ONCE)
        };
        let symptoms = case.symptoms_of(self.outage.peer);
        let own = symptoms.filter(|(_, failure, symptom)| {
            is_sudden(symptom) && deaths.iter().any(|death| is_then(failure.at, death))
        });
        own.collect()
    }

    /// `shop.service`, `the program shop of supervisord`.
    pub(in super::super) fn name(&self) -> String {
        let name = &self.history.service.name;
        match self.history.service.supervisor {
            Supervisor::Systemd => name.clone(),
            Supervisor::Supervisord => format!("supervisord's program {name}"),
            Supervisor::Runit => format!("runit's service {name}"),
            Supervisor::Engine => format!("the container {name}"),
            Supervisor::Pm2 => format!("PM2's application {name}"),
        }
    }

    /// A remedy with the step that starts the service; where it has to be forgotten first that it failed, with that.
    pub(in super::super) fn started_by(&self, remedy: Remedy, has_failed: bool) -> Remedy {
        let service = &self.history.service;
        let name = service.name.as_str();
        match service.supervisor {
            Supervisor::Systemd => {
                let remedy = if has_failed {
                    remedy.command(&["systemctl", "reset-failed", name], &[])
                } else {
                    remedy
                };
                remedy.command(&["systemctl", "start", name], &[&["systemctl", "stop", name]])
            }
            Supervisor::Supervisord => {
                remedy.command(&["supervisorctl", "start", name], &[&["supervisorctl", "stop", name]])
            }
            Supervisor::Engine => {
                let engine = self.engine();
                remedy.command(&[engine, "start", name], &[&[engine, "stop", name]])
            }
            Supervisor::Pm2 if service.supervisor_pid.is_none() => {
                remedy.command(&["pm2", "resurrect"], &[&["pm2", "kill"]]).advice_also([format!(
                    "as the user of {}; `pm2 startup` and `pm2 save` have it started at boot",
                    service.path
                )])
            }
            Supervisor::Pm2 => remedy.command(&["pm2", "start", name], &[&["pm2", "stop", name]]),
            Supervisor::Runit => {
                let directory = service.path.rsplit_once('/').map_or("", |(directory, _)| directory);
                remedy.command(&["sv", "up", directory], &[&["sv", "down", directory]])
            }
        }
    }

    /// Where it writes what it has to say.
    pub(in super::super) fn log(&self) -> String {
        let name = &self.history.service.name;
        match self.history.service.supervisor {
            Supervisor::Systemd => format!("journalctl --unit={name}"),
            Supervisor::Engine => format!("{} logs {name}", self.engine()),
            Supervisor::Pm2 => format!("pm2 logs {name}"),
            Supervisor::Supervisord | Supervisor::Runit => "its log".to_owned(),
        }
    }

    /// What starts it again by itself, or does not; `None` where nobody says.
    pub(in super::super) fn comes_back(&self) -> Option<String> {
        let name = &self.history.service.name;
        if let Some(container) = self.history.container {
            let policy = container.restart_policy;
            let set = format!("{} update --restart=unless-stopped {name}", self.engine());
            return Some(match policy {
                RestartPolicy::No => {
                    format!("its restart policy is no: nothing starts it again, not even a boot; {set} has that done")
                }
                RestartPolicy::OnFailure(_) => format!(
                    "its restart policy is {}: the engine starts it again only when it fails; {set} has that done at boot as well",
                    policy.words()
                ),
                RestartPolicy::UnlessStopped => {
                    "its restart policy is unless-stopped: once somebody stopped it, it stays down, also after a boot".to_owned()
                }
                RestartPolicy::Always => {
                    "its restart policy is always: once stopped it comes back with the engine, and not before".to_owned()
                }
            });
        }
        let restart = self.history.unit.and_then(|unit| unit.property("Restart"));
        (restart == Some("no")).then(|| {
            "systemd does not start it again by itself: Restart=on-failure in its unit has that done"
                .to_owned()
        })
    }

    fn engine(&self) -> &'static str {
        if self.history.service.path.contains("podman") { "podman" } else { "docker" }
    }
}
