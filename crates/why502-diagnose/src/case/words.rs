//! Words that many rules need.

use super::{Case, PeerSubject};
use why502_facts::{Listener, lossy};
use why502_model::Span;

impl Case<'_> {
    /// The processes that hold a listener: `node (pid 4711, app.service)`.
    pub(crate) fn owners(&self, pids: &[u32]) -> String {
        let processes = self.facts.processes();
        let list = processes.known();
        let mut names: Vec<String> = Vec::new();
        for pid in pids.iter().take(3) {
            let name = match list.and_then(|list| list.get(*pid)) {
                Some(process) => match &process.unit {
                    Some(unit) => format!("{} (pid {pid}, {unit})", process.comm),
                    None => format!("{} (pid {pid})", process.comm),
                },
                None => format!("pid {pid}"),
            };
            names.push(name);
        }
        if pids.len() > 3 {
            names.push(format!("{} more", pids.len() - 3));
        }
        if names.is_empty() { "a process that may not be seen".to_owned() } else { names.join(", ") }
    }

    /// A listener with its owner: `127.0.0.1:3000 by node (pid 4711)`.
    pub(crate) fn listener(&self, listener: &Listener) -> String {
        format!("{} by {}", listener.address, self.owners(&listener.pids))
    }

    /// Where the address of a peer is written; for a group's name the line of the peer.
    pub(crate) fn written_at(&self, peer: &PeerSubject) -> Option<Span> {
        match self.configured(peer) {
            Some(configured) => Some(configured.at.clone()),
            None => self.pass_to(peer).map(|pass| pass.at.clone()),
        }
    }

    /// The line of a configuration file that a place is in.
    pub(crate) fn source_line(&self, at: &Span) -> Option<String> {
        let source = self.gateway.source(&at.file)?;
        let begin = usize::try_from(at.begin).ok()?.min(source.text.len());
        let start = source.text[..begin].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let end = source.text[begin..]
            .iter()
            .position(|byte| *byte == b'\n')
            .map_or(source.text.len(), |at| begin + at);
        Some(lossy(source.text[start..end].trim_ascii_end()))
    }
}

/// `1 request`, `12 requests`.
pub(crate) fn count(number: u64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

impl Case<'_> {
    /// The text at a place of the configuration.
    pub(crate) fn source_text(&self, at: &Span) -> Option<String> {
        let source = self.gateway.source(&at.file)?;
        let range = usize::try_from(at.begin).ok()?..usize::try_from(at.end).ok()?;
        source.text.get(range).map(lossy)
    }
}
