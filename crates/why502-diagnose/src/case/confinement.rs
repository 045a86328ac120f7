//! How the gateway's workers are confined, and what was denied them.

use super::strangers::has_ids_of_proc;
use super::{Case, FailureId};
use why502_facts::{Ask, AuditLog, Confinement, Denial, Gap, KernelEvent, Observed, Security, Stamp};

/// How far apart, in milliseconds, a denial and the failure that it made may be: the error log has whole seconds.
const TOGETHER_MS: i64 = 2000;

impl Case<'_> {
    /// How the process is confined in whose place probes are made; `None` where no gateway runs.
    pub(crate) fn confinement(&self) -> Option<Observed<&Confinement>> {
        match self.gateway.security {
            Security::Own => None,
            Security::Process(pid) => Some(self.facts.confinement(pid)),
        }
    }

    /// Whether a probe may do what the gateway's workers may not: it runs in this program's domain, not in theirs. `None`
    /// where that may not be known; an unknown that was not asked for yet is an ask.
    pub(crate) fn is_confined(&self) -> Result<Option<bool>, Vec<Ask>> {
        let Some(confinement) = self.confinement() else { return Ok(None) };
        Ok(super::or_ask(confinement)?.known().map(Confinement::denies))
    }

    /// What the audit log holds of denials to processes with a label, since shortly before the first failure.
    pub(crate) fn audit_of(&self, label: &str) -> Observed<&AuditLog> {
        let from = self.failures.first().map(|failure| Stamp(failure.at.0 - TOGETHER_MS));
        self.facts.audit(from, &[label.to_owned()])
    }

    /// All denials to processes with a label that the audit log or the kernel's log holds, each with where it stands; an error
    /// asks for both.
    pub(crate) fn denials_of(&self, label: &str) -> Result<Vec<(&Denial, &str)>, Vec<Ask>> {
        let (audit, kernel) = (super::or_ask(self.audit_of(label)), super::or_ask(self.facts.kernel_log()));
        let (audit, kernel) = match (audit, kernel) {
            (Ok(audit), Ok(kernel)) => (audit, kernel),
            (audit, kernel) => {
                return Err(audit.err().into_iter().chain(kernel.err()).flatten().collect());
            }
        };
        let of_audit = audit
            .known()
            .into_iter()
            .flat_map(|log| log.denials.iter().map(|denial| (denial, log.path.as_str())));
        let of_kernel = kernel.known().into_iter().flat_map(|log| {
            log.words.iter().filter_map(|word| match &word.event {
                KernelEvent::Denied(denial) => Some((&**denial, log.source.as_str())),
                _ => None,
            })
        });
        Ok(of_audit.chain(of_kernel).collect())
    }

    /// Why the kernel's denials could not all be seen; `None` where the audit log was read as far back as was asked.
    /// auditd takes every denial; the kernel's own log loses some.
    pub(crate) fn unseen_denials(&self, label: &str) -> Option<Gap> {
        let audit = self.audit_of(label);
        let kernel = self.facts.kernel_log();
        match audit {
            Observed::Known(_) => None,
            Observed::Unknown(gap) => Some(gap),
            Observed::Absent => kernel.gap().cloned(),
        }
    }

    /// Whether a denial may be one to the gateway, of which some failures tell: to a worker that runs, or to one that wrote of them,
    /// and by the name of its program. Where the log has other ids than `/proc`, that name alone tells.
    pub(crate) fn may_be_of_gateway(&self, denial: &Denial, failures: &[FailureId]) -> bool {
        let program = self.worker().map(|worker| worker.comm).filter(|name| !name.is_empty());
        let is_named = denial.comm.is_none() || program.is_none() || denial.comm == program;
        let is_writer = |pid: u32| {
            let symptoms = failures.iter().flat_map(|id| &self.failure(*id).symptoms);
            symptoms.into_iter().any(|symptom| symptom.writer == Some(pid))
        };
        let is_own = denial.pid.is_none_or(|pid| {
            self.gateway.workers.contains(&pid)
                || self.gateway.master == Some(pid)
                || !has_ids_of_proc(self.facts, self.gateway)
                || is_writer(pid)
        });
        is_named && is_own
    }

    /// Whether a denial and one of some failures fall together.
    pub(crate) fn falls_together(&self, denial: &Denial, failures: &[FailureId]) -> bool {
        let near = |id: &FailureId| (self.failure(*id).at.0 - denial.at.0).abs() <= TOGETHER_MS;
        failures.iter().any(near)
    }
}
