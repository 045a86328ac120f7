//! What a service's past says, as evidence.

use super::history::{AT_ONCE, Event, History, State, What};
use super::verdict::{How, StopKind, Verdict};
use crate::case::count;
use crate::finding::{Evidence, Origin};
use why502_facts::{ServerEvent, ServerWord, Service, Stamp, Supervisor};

/// How much of a line is shown.
const MAX_SHOWN: usize = 160;

impl History<'_> {
    /// Whether its supervisor has given up on it.
    pub(in super::super) fn has_given_up(&self) -> bool {
        self.state == State::Failed
    }

    /// The last line that the service wrote until a moment.
    pub(in super::super) fn last_words(&self, moment: Stamp) -> Option<String> {
        let before = self.words.iter().rev().filter(|entry| entry.at <= moment);
        let line = before.map(|entry| entry.message.trim()).find(|line| !line.is_empty())?;
        Some(line.chars().take(MAX_SHOWN).collect())
    }

    /// What shows the verdict.
    pub(super) fn evidence(&self, verdict: &Verdict) -> Vec<Evidence> {
        let told = |event: &Event| {
            let says: String = event.says.chars().take(MAX_SHOWN).collect();
            Evidence::supporting(format!("at {}: {says}", event.from), event.origin.clone())
        };
        let mut evidence: Vec<Evidence> = self.state_evidence().into_iter().collect();
        match &verdict.how {
            How::Crashed(death) | How::Stopped(StopKind::FailedAtStart(Some(death))) => {
                evidence.push(told(death));
                evidence.extend(self.words_evidence(death));
            }
            How::Looping(deaths) | How::OutOfMemory(deaths) => {
                if let [first, .., last] = deaths.as_slice() {
                    let says = format!(
                        "it died {} between {} and {}",
                        count(deaths.len() as u64, "time"),
                        first.from,
                        last.to
                    );
                    evidence.push(Evidence::supporting(says, first.origin.clone()));
                }
                if let Some(last) = deaths.last() {
                    evidence.push(told(last));
                    evidence.extend(self.words_evidence(last));
                }
            }
            How::Starting(since) => {
                let origin = Origin::Host(format!("systemctl show {}", self.service.name));
                let start = self.events.iter().rev().find(|event| event.what == What::Started);
                let origin = start.map_or(origin, |start| start.origin.clone());
                evidence.push(Evidence::supporting(format!("it was started at {since}"), origin));
            }
            How::Stopped(_) => {
                let stop = self.events.iter().rev().find(|event| event.what == What::Stopped);
                evidence.extend(stop.map(told));
            }
        }
        evidence
    }

    fn words_evidence(&self, death: &Event) -> Option<Evidence> {
        let line = self.last_words(death.to.after(AT_ONCE))?;
        Some(Evidence::context(format!("before it ended it wrote: {line}"), death.origin.clone()))
    }

    fn state_evidence(&self) -> Option<Evidence> {
        if let Some(container) = self.container {
            let says = format!(
                "the engine says that {} is {} (restart policy {}, restarted {})",
                self.service.name,
                container.state,
                container.restart_policy.words(),
                count(container.restarts, "time")
            );
            return Some(Evidence::supporting(says, Origin::Host(self.service.path.clone())));
        }
        if self.service.supervisor == Supervisor::Pm2 && self.service.supervisor_pid.is_none() {
            let says = "PM2's daemon does not run, and so nothing of its list does".to_owned();
            return Some(Evidence::supporting(says, Origin::Host(self.service.path.clone())));
        }
        let unit = self.unit?;
        let enabled = unit.property("UnitFileState").map(|state| format!(", {state}")).unwrap_or_default();
        let restarts = match unit.n_restarts() {
            0 => String::new(),
            n => format!(", restarted {}", count(n.into(), "time")),
        };
        let says =
            format!("{} is {} ({}{enabled}{restarts})", unit.name, unit.active_state(), unit.sub_state());
        Some(Evidence::supporting(says, Origin::Host(format!("systemctl show {}", unit.name))))
    }
}

/// Whether a word is about a program of supervisord, by the name of its process, which is the program's own unless the definition
/// says `process_name = %(program_name)s_%(process_num)02d`; or about an application of PM2, or its script.
pub(super) fn is_of(word: &ServerWord, service: &Service) -> bool {
    let pool = word.pool.as_deref().unwrap_or_default();
    if service.supervisor == Supervisor::Pm2 {
        let is_script = || service.commands.iter().flatten().any(|part| part == pool);
        return pool == service.name || word.event == ServerEvent::GaveUp && is_script();
    }
    let own = pool.rsplit(':').next().unwrap_or_default();
    let named = service.process_name.as_deref().unwrap_or(&service.name);
    let Some((before, conversion)) = named.split_once("%(process_num)") else { return own == named };
    let after = conversion.split_once('d').map_or("", |(_, after)| after);
    let number = own.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}
