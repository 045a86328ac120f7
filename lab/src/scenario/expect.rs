//! What an honest diagnosis says.

use serde::{Deserialize, Serialize};

/// What the report of a live run says.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Expect {
    /// Acceptable ids of the first finding, best first; none: healthy.
    pub cause: Vec<String>,
    /// The exact root set; not said: the first of `cause`.
    pub roots: Option<Vec<String>>,
    /// The verdict.
    pub verdict: Verdict,
    /// The least confidence of the first finding; not said: likely.
    pub confidence: Option<Confidence>,
    /// The most.
    pub max_confidence: Option<Confidence>,
    /// Effects that the first finding must have.
    pub effects: Vec<String>,
    /// What it must say of now.
    pub still_failing: Option<bool>,
    /// Its server, location, group and peer.
    pub server: Option<String>,
    /// Its location.
    pub location: Option<String>,
    /// Its group.
    pub upstream: Option<String>,
    /// Its peer.
    pub peer: Option<String>,
    /// Words that must be in its remedies.
    pub remedy: Vec<String>,
    /// Words that must not be in its remedies.
    pub no_remedy: Vec<String>,
    /// Its impact.
    pub impact: Option<String>,
    /// Ids that must be in `ruled_out` or nowhere: never a finding.
    pub forbid: Vec<String>,
    /// Words that must be somewhere in the report.
    pub says: Vec<String>,
    /// Words each of which must be in something that is told to have changed before the first failure.
    pub changed: Vec<String>,
}

impl Expect {
    /// Every id that must be known before it can be met.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        let all = self.cause.iter().chain(self.roots.iter().flatten()).chain(&self.effects);
        all.map(String::as_str).filter(|id| *id != super::NOTHING)
    }

    /// The exact root set.
    pub fn roots(&self) -> Vec<&str> {
        match &self.roots {
            Some(roots) => roots.iter().map(String::as_str).collect(),
            None => self.cause.iter().take(1).map(String::as_str).collect(),
        }
    }
}

/// What a report of files alone says.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Offline {
    /// Acceptable ids of the first finding; not said: those of the live run. `-` is none.
    pub cause: Option<Vec<String>>,
    /// The most confidence.
    pub max_confidence: Option<Confidence>,
    /// Why there is nothing to say offline: it is not run.
    pub skip: Option<String>,
}

/// The same once more with something hidden.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Withhold {
    /// What is hidden, and how.
    pub how: How,
    /// Acceptable ids of the first finding; not said: those of the live run. `-` is none.
    #[serde(default)]
    pub cause: Option<Vec<String>>,
    /// The most confidence.
    #[serde(default)]
    pub max_confidence: Option<Confidence>,
    /// Acceptable verdicts; not said: any that fits the findings.
    #[serde(default)]
    pub verdict: Vec<Verdict>,
    /// A topic that must be among the gaps.
    #[serde(default)]
    pub gap: Option<String>,
}

/// How a fact is withheld.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// Its access logs may not be read; as an unprivileged user.
    AccessLogUnreadable,
    /// An unprivileged user looks, from whom `/proc` hides the processes of others, and who finds neither `/sys` nor the
    /// journal nor any tool of the host.
    Bare,
    /// Its configuration may not be read; as an unprivileged user.
    ConfigUnreadable,
    /// Its error logs may not be read; as an unprivileged user.
    ErrorLogUnreadable,
    /// There are no access logs.
    NoAccessLog,
    /// There are no error logs.
    NoErrorLog,
    /// Nothing may be sent.
    NoProbe,
    /// Nothing may be sent, by an unprivileged user.
    NoProbeUnprivileged,
    /// Only the error log and the configuration, elsewhere.
    OfflineErrorLog,
    /// An unprivileged user looks.
    Unprivileged,
}

/// How sure a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Confidence {
    /// Fits, and so do others.
    Possible,
    /// Fits, one link unseen.
    Likely,
    /// The mechanism itself was seen.
    Confirmed,
}

/// The verdict of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Set up to fail, or a failure is hidden.
    AtRisk,
    /// Something fails, and a root is known.
    #[default]
    Broken,
    /// Nothing fails.
    Healthy,
    /// Something fails, and no root is above possible.
    Inconclusive,
    /// It failed, and the cause is gone.
    Recovered,
}

impl Verdict {
    /// As it stands in a report.
    pub fn name(self) -> &'static str {
        match self {
            Self::AtRisk => "at-risk",
            Self::Broken => "broken",
            Self::Healthy => "healthy",
            Self::Inconclusive => "inconclusive",
            Self::Recovered => "recovered",
        }
    }

    /// The exit code that goes with it.
    pub fn exit_code(self) -> i32 {
        match self {
            Self::Broken => 1,
            Self::Inconclusive => 3,
            Self::AtRisk | Self::Healthy | Self::Recovered => 0,
        }
    }

    /// The verdict of that name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::AtRisk, Self::Broken, Self::Healthy, Self::Inconclusive, Self::Recovered]
            .into_iter()
            .find(|verdict| verdict.name() == name)
    }
}
