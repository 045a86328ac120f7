//! Where a line may hold secrets: the values of variables such as `$http_authorization`, `$cookie_sid` or `$arg_token`.

use super::compile::Step;
use super::variable::Field;
use super::walk::Spans;
use std::ops::Range;

/// Values that stand between two fields, or at an end of the line, and of which one is a secret. Where one of them ends
/// and the next begins is not known for sure: they go together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Secret {
    before: Option<Field>,
    /// The length of the literal before the first of them.
    lead: usize,
    after: Option<Field>,
    /// The length of the literal behind the last of them.
    trail: usize,
}

impl Secret {
    /// Those of a format.
    pub(super) fn of(lead: &[u8], steps: &[Step]) -> Vec<Self> {
        let mut found = Vec::new();
        let mut at: usize = 0;
        for run in steps.chunk_by(|one, other| one.field.is_none() && other.field.is_none()) {
            let before = at.checked_sub(1).map(|before| &steps[before]);
            let after = steps.get(at + run.len());
            at += run.len();
            if run.iter().any(|step| step.is_secret) {
                found.push(Self {
                    before: before.and_then(|step| step.field),
                    lead: before.map_or(lead.len(), |step| step.literal.needle().len()),
                    after: after.and_then(|step| step.field),
                    trail: run.last().map_or(0, |step| step.literal.needle().len()),
                });
            }
        }
        found
    }

    /// Where it stands in a line that was read.
    pub(super) fn range(&self, line: &[u8], spans: &Spans) -> Option<Range<usize>> {
        let begin = self.before.map_or(Some(0), |field| Some(spans.range(field)?.end))? + self.lead;
        let end = self.after.map_or(Some(line.len()), |field| Some(spans.range(field)?.start))?;
        let end = end.checked_sub(self.trail)?;
        (begin <= end && end <= line.len()).then_some(begin..end)
    }
}
