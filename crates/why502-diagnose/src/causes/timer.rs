//! A timer of the gateway that ended attempts: as it is configured, and as it was seen.

use crate::durations::{play, seconds};
use crate::finding::{Evidence, Origin};
use std::time::Duration;
use why502_model::{Setting, Span};

/// A timer of a pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Timer {
    /// The directive's name.
    pub(super) name: String,
    /// Its value as configured, in milliseconds.
    pub(super) configured: u32,
    /// Where it is set; `None`: nowhere.
    pub(super) at: Option<Span>,
    /// After how long the attempts ended, where that is well before the value that is configured by now.
    pub(super) ended_at: Option<u32>,
}

impl Timer {
    /// A timer as it is configured, and the durations of attempts that it ended, as far as a log has them.
    pub(super) fn new(name: String, setting: &Setting<Duration>, ended: impl Iterator<Item = u32>) -> Self {
        let configured = milliseconds(setting.value);
        let mut ended: Vec<u32> = ended.collect();
        ended.sort_unstable();
        let ended_at = ended.get(ended.len() / 2).copied();
        Self {
            name,
            configured,
            at: setting.at.clone(),
            ended_at: ended_at.filter(|ended| ended + play(configured) < configured),
        }
    }

    /// The value that was in force, in milliseconds.
    pub(super) fn in_force(&self) -> u32 {
        self.ended_at.unwrap_or(self.configured)
    }

    /// `proxy_read_timeout of 60 s`.
    pub(super) fn words(&self) -> String {
        format!("{} of {}", self.name, seconds(self.in_force()))
    }

    /// Where it is set.
    pub(super) fn evidence(&self) -> Evidence {
        let value = seconds(self.configured);
        match (&self.at, self.ended_at) {
            (at, Some(ended)) => Evidence::context(
                format!("{} is {value} by now, and the attempts ended after {}", self.name, seconds(ended)),
                at.clone().map_or(Origin::Derived, Origin::File),
            ),
            (Some(at), None) => Evidence::supporting(
                format!("{} {value} is in force for this route", self.name),
                Origin::File(at.clone()),
            ),
            (None, None) => Evidence::supporting(
                format!("no {} is set for this route: {value} by default", self.name),
                Origin::Derived,
            ),
        }
    }
}

/// A duration in the unit of logs and directives.
pub(super) fn milliseconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
