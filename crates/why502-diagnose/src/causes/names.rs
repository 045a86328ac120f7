//! Names that could not be resolved: when a request came, or when the configuration was loaded.

use super::refusals::{name_in, refused_name};
use crate::case::{Case, Failure, FailureId, Subject, count};
use crate::finding::{Evidence, Origin};
use why502_facts::{LineRef, Phrase};
use why502_model::{ProblemKind, RouteId, Span};

/// A name that nginx could not resolve for a request.
#[derive(Clone, Debug)]
pub(super) struct Unresolved {
    pub(super) name: String,
    /// The resolver's code, if one answered.
    pub(super) code: Option<u32>,
    pub(super) phrase: Phrase,
    pub(super) failures: Vec<FailureId>,
    n_requests: u64,
    line: Option<LineRef>,
}

impl Unresolved {
    /// The log line that names it.
    pub(super) fn evidence(&self) -> Option<Evidence> {
        let says = match self.phrase {
            Phrase::NoResolver => {
                format!("{} had no resolver for {:?}", count(self.n_requests, "request"), self.name)
            }
            _ => format!(
                "nginx's resolver has no address of {:?} ({})",
                self.name,
                count(self.n_requests, "request")
            ),
        };
        Some(Evidence::supporting(says, Origin::Log(self.line.clone()?)))
    }
}

/// The names that requests of a route could not resolve.
pub(super) fn unresolved(case: &Case<'_>, subject: &Subject) -> Vec<Unresolved> {
    let mut found: Vec<Unresolved> = Vec::new();
    for (id, failure) in case.failures_at(subject) {
        let Some((name, code, phrase)) = name_of(failure) else { continue };
        let same =
            found.iter_mut().find(|known| known.name == name && known.code == code && known.phrase == phrase);
        let line = failure.line().cloned();
        match same {
            Some(known) => {
                known.failures.push(id);
                known.n_requests += failure.weight;
                if line.as_ref().is_some_and(|line| line.text.is_some()) {
                    known.line = line;
                }
            }
            None => found.push(Unresolved {
                name,
                code,
                phrase,
                failures: vec![id],
                n_requests: failure.weight,
                line,
            }),
        }
    }
    found
}

fn name_of(failure: &Failure) -> Option<(String, Option<u32>, Phrase)> {
    failure.symptoms.iter().find_map(|symptom| {
        let detail = symptom.detail.as_deref()?;
        match symptom.phrase? {
            Phrase::NoResolver => Some((detail.to_owned(), None, Phrase::NoResolver)),
            Phrase::NameNotResolved => {
                // `NAME could not be resolved (3: Host not found)`
                let (name, rest) = detail.split_once(" could not be resolved (")?;
                Some((name.to_owned(), rest.split(':').next()?.parse().ok(), Phrase::NameNotResolved))
            }
            _ => None,
        }
    })
}

/// A name that keeps the configuration from being loaded, and where it stands.
#[derive(Clone, Debug)]
pub(super) struct NotLoaded {
    pub(super) name: String,
    pub(super) at: Span,
    /// Whether it could be a host's: a name without a port can only be a group's.
    pub(super) may_be_host: bool,
}

/// The names that keep a route's configuration from being loaded: as the configuration is read here, and as nginx itself
/// said.
pub(super) fn not_loaded(case: &Case<'_>, route: RouteId) -> Vec<NotLoaded> {
    let problems = case.gateway.problems.iter().filter_map(|problem| {
        let (name, may_be_host) = match &problem.kind {
            ProblemKind::HostNotFound { name } => (name.as_str(), true),
            ProblemKind::Refused => (name_in(&problem.message)?, false),
        };
        Some(NotLoaded { name: name.to_owned(), at: problem.at.clone(), may_be_host })
    });
    let mut found: Vec<NotLoaded> = problems.collect();
    if let Some((name, refusal)) = refused_name(case)
        && found.iter().all(|known| known.name != name)
        && let Some(at) = refusal.at
    {
        let may_be_host = refusal.says.starts_with("host not found");
        found.push(NotLoaded { name: name.to_owned(), at, may_be_host });
    }
    found.retain(|problem| is_of_route(case, route, &problem.at));
    found
}

/// Whether a place is the target of a route, or a peer of the group that it passes to.
fn is_of_route(case: &Case<'_>, route: RouteId, at: &Span) -> bool {
    let Some(pass) = case.pass_of(route, None) else { return false };
    let same = |own: &Span| own.file == at.file && own.line == at.line;
    let of_group = match &pass.target {
        why502_model::Target::Group(group) => {
            case.gateway.group(*group).peers.iter().any(|peer| same(&peer.at))
        }
        why502_model::Target::Unresolved(_) => false,
    };
    same(&pass.at) || of_group
}

/// The group whose name a name misses by a letter or two.
pub(super) fn near_group<'c>(case: &'c Case<'_>, name: &str) -> Option<(&'c str, &'c Span)> {
    let groups = case.gateway.groups.iter().filter_map(|group| Some((group.name.as_deref()?, &group.at)));
    groups.filter(|(own, _)| is_near(own, name)).min_by_key(|(own, _)| distance(own, name))
}

/// Whether two names differ by at most two letters of at least five, or only in their separators and case.
fn is_near(one: &str, other: &str) -> bool {
    let plain = |text: &str| {
        text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase()
    };
    let (one, other) = (plain(one), plain(other));
    let allowed = match one.len().min(other.len()) {
        0..4 => 0,
        4..6 => 1,
        _ => 2,
    };
    one == other || distance(&one, &other) <= allowed
}

/// The Levenshtein distance.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, letter) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (place, own) in other.iter().enumerate() {
            let substituted = diagonal + usize::from(*own != letter);
            diagonal = row[place + 1];
            row[place + 1] = substituted.min(diagonal + 1).min(row[place] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_near_by_a_letter_or_two() {
        assert!(
            is_near("backend", "backnd")
                && is_near("shop_app", "shop-app")
                && is_near("api-server", "api-sevrer")
        );
        assert!(!is_near("api", "app") && !is_near("shop", "blog") && !is_near("web1", "db01"));
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
