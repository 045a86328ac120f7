//! The rule to add, and where.

use super::found;
use crate::case::{Case, or_ask};
use crate::cause::Asks;
use crate::finding::Finding;
use crate::remedy::{Remedy, Risk};
use why502_facts::{AppArmorDenial, Root, lossy};

/// Where profiles lie (apparmor.d(5)).
const PROFILES: &str = "/etc/apparmor.d/*";

/// What a remedy has to know; an error asks for it.
pub(super) fn wanted(case: &Case<'_>, profile: &str) -> Result<(), Asks> {
    or_ask(case.facts.paths(Root::Host, PROFILES))?;
    match file_of(case, profile) {
        Some(file) => or_ask(case.facts.file(Root::Host, file)).map(drop),
        None => Ok(()),
    }
}

pub(super) fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let Some((profile, Some(what))) = found(case, finding).filter(|_| finding.still_failing != Some(false))
    else {
        return Vec::new();
    };
    let rule = rule(what);
    let verify = format!(
        "a request that goes to {} is answered, and no further denial is recorded",
        finding.address()
    );
    let mut advice =
        format!("the rule is `{rule}`; a `deny` rule of the profile for the same would win over it");
    let Some(file) = file_of(case, profile).filter(|file| has_one_end(case, file) && is_plain(&rule)) else {
        advice.push_str("; load the profile's file with `apparmor_parser -r` afterwards");
        return vec![
            Remedy::new(format!("Add the rule to the profile {profile}"), Risk::ShowOnly)
                .advice(advice)
                .verify(verify),
        ];
    };
    let insert = format!("s|^}}|  {rule}\\n}}|");
    let remove = format!("\\|^  {rule}$|d");
    let load = ["apparmor_parser", "-r", file];
    vec![
        Remedy::new(format!("Add the rule to the profile {profile}"), Risk::Review)
            .command(&["sed", "-i", &insert, file], &[&["sed", "-i", &remove, file]])
            .command(&load, &[&load])
            .advice(advice)
            .verify(verify),
    ]
}

/// The rule that allows what was denied (apparmor.d(5), "Network Rules", "File Permission Access Modes").
fn rule(what: &AppArmorDenial) -> String {
    match (&what.name, &what.family) {
        (Some(path), _) => format!("{path} rw,"),
        (None, family) => {
            let words = [family.as_deref(), what.socket_type.as_deref()].into_iter().flatten();
            words.fold("network".to_owned(), |rule, word| rule + " " + word) + ","
        }
    }
}

/// Whether a rule can stand in a command of sed as it is, and names no pattern.
fn is_plain(rule: &str) -> bool {
    rule.bytes().all(|byte| byte.is_ascii_alphanumeric() || b" /._-,:@".contains(&byte))
}

/// The file that a profile is in, by the names that packages give it.
fn file_of<'c>(case: &'c Case<'_>, profile: &str) -> Option<&'c str> {
    let name = profile.trim_start_matches('/').replace('/', ".");
    let paths = case.facts.paths(Root::Host, PROFILES).known()?;
    paths.iter().map(String::as_str).find(|path| path.rsplit('/').next() == Some(&name))
}

/// Whether a file ends one profile: a rule in front of that end is in no other.
fn has_one_end(case: &Case<'_>, file: &str) -> bool {
    let content = case.facts.file(Root::Host, file).known();
    content.is_some_and(|content| {
        lossy(content.content.as_slice()).lines().filter(|line| line.starts_with('}')).count() == 1
    })
}
