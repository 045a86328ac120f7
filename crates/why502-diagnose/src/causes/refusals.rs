//! Refused configurations: what nginx itself said when it was started or reloaded.

use crate::case::{Case, or_ask};
use crate::cause::Asks;
use why502_facts::{ErrorRecord, Observed, Phrase, Stamp};
use why502_model::Span;

/// A refusal that stands: since then nginx was not loaded anew, and nothing was changed.
pub(super) struct Refusal<'c> {
    pub(super) record: &'c ErrorRecord,
    /// nginx's words.
    pub(super) says: &'c str,
    /// The place that they speak of.
    pub(super) at: Option<Span>,
}

/// The newest refusal, if it stands, and if it is about something outside of the configuration's text: what the text alone
/// tells is judged by reading it.
pub(super) fn standing_refusal<'c>(case: &'c Case<'_>) -> Result<Option<Refusal<'c>>, Asks> {
    let Some(refusal) = newest(case).filter(|refusal| stands(case, refusal.record)) else { return Ok(None) };
    let Some(missing) = missing_file(refusal.says) else { return Ok(Some(refusal)) };
    let is_there_now = or_ask(case.path_walk(missing))?.known().is_some_and(|walk| walk.complete);
    Ok((!is_there_now).then_some(refusal))
}

/// The name in the newest refusal that stands: of a host that was not found, or of one without a port.
pub(super) fn refused_name<'c>(case: &'c Case<'_>) -> Option<(&'c str, Refusal<'c>)> {
    let refusal = newest(case).filter(|refusal| stands(case, refusal.record))?;
    Some((name_in(refusal.says)?, refusal))
}

/// The name that is refused by words of nginx.
pub(super) fn name_in(says: &str) -> Option<&str> {
    let begins = ["host not found in upstream \"", "no port in upstream \"", "host not found in resolver \""];
    let rest = begins.iter().find_map(|begin| says.strip_prefix(begin))?;
    let (name, _) = rest.split_once('"')?;
    Some(name.rsplit_once(':').map_or(name, |(name, _)| name))
}

/// The newest message of a refused configuration that speaks of a name or place.
pub(super) fn refusal_naming<'c>(case: &'c Case<'_>, what: &str) -> Option<&'c ErrorRecord> {
    let speaks = |record: &&ErrorRecord| record.detail.as_deref().is_some_and(|detail| detail.contains(what));
    records(case).filter(speaks).max_by_key(|record| record.at)
}

fn records<'c>(case: &'c Case<'_>) -> impl Iterator<Item = &'c ErrorRecord> {
    let records = case.error_logs.iter().flat_map(|digest| &digest.records);
    records.filter(|record| record.phrase == Phrase::ConfigurationRefused)
}

fn newest<'c>(case: &'c Case<'_>) -> Option<Refusal<'c>> {
    let record = records(case).max_by_key(|record| record.at)?;
    let says = record.detail.as_deref()?;
    is_about_the_world(says).then(|| Refusal { record, says, at: place(case, says) })
}

/// Whether words speak of a name, a file or a certificate, and not of the text.
fn is_about_the_world(says: &str) -> bool {
    let begins = [
        "SSL_CTX_",
        "cannot load certificate",
        "getgrnam(",
        "getpwnam(",
        "host not found in ",
        "no port in upstream ",
    ];
    begins.iter().any(|begin| says.starts_with(begin))
        || says.contains("() failed (")
        || says.contains("failed (SSL:")
}

/// Nothing was loaded since, and of a running host's files none was changed since.
fn stands(case: &Case<'_>, record: &ErrorRecord) -> bool {
    let Some(clock) = case.facts.clock(&case.gateway.owner()) else { return false };
    let at = record.at.at_offset(clock.offset_seconds);
    // Stamps are whole seconds.
    let is_later = |other: Stamp| other.0 >= at.0 + 1000;
    let reloaded = case.gateway.loaded.is_some_and(is_later);
    let changed = !case.facts.manifest.invocation.offline
        && case.gateway.sources.iter().any(|source| is_later(source.modified));
    !reloaded && !changed
}

/// The place at the end of the words, else that of the first argument which they quote.
fn place(case: &Case<'_>, says: &str) -> Option<Span> {
    let printed = says.rsplit_once(" in ").and_then(|(_, place)| place.rsplit_once(':'));
    let on_line = printed.and_then(|(file, line)| case.gateway.line(file, line.parse().ok()?));
    on_line.or_else(|| says.split('"').skip(1).step_by(2).find_map(|quoted| case.gateway.argument(quoted)))
}

/// The file that was not there.
fn missing_file(says: &str) -> Option<&str> {
    let path = says.split('"').nth(1).filter(|path| path.starts_with('/'))?;
    says.contains("No such file or directory").then_some(path)
}

/// Whether nobody runs, as far as anybody could look.
pub(super) fn is_stopped(case: &Case<'_>) -> bool {
    case.gateway.master.is_none()
        && !case.facts.manifest.invocation.offline
        && matches!(case.facts.processes(), Observed::Known(_))
}
