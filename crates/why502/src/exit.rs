//! Exit codes: a contract that scripts test.

use std::process::ExitCode;
use why502_diagnose::Verdict;

/// Nothing is wrong, or it is hidden or mended.
pub(crate) const WELL: u8 = 0;
/// Something fails, and its cause is found.
pub(crate) const FOUND: u8 = 1;
/// A usage error, a named file is missing, or the tool could not do its job.
pub(crate) const TROUBLE: u8 = 2;
/// Something fails, and what would name the cause could not be seen.
pub(crate) const INCONCLUSIVE: u8 = 3;

/// From which verdict on the exit code is 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum FailOn {
    /// Something fails.
    Broken,
    /// Or it is set up to fail.
    AtRisk,
    /// Or it failed and is mended.
    Recovered,
}

/// The exit code of a verdict.
pub(crate) fn code(verdict: Verdict, fail_on: FailOn) -> ExitCode {
    let fails = match verdict {
        Verdict::Inconclusive => return INCONCLUSIVE.into(),
        Verdict::Healthy => false,
        Verdict::Broken => true,
        Verdict::AtRisk => matches!(fail_on, FailOn::AtRisk | FailOn::Recovered),
        Verdict::Recovered => fail_on == FailOn::Recovered,
    };
    (if fails { FOUND } else { WELL }).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_level_includes_those_before_it() {
        let fails = |verdict, fail_on| code(verdict, fail_on) == ExitCode::from(FOUND);
        for level in [FailOn::Broken, FailOn::AtRisk, FailOn::Recovered] {
            assert!(fails(Verdict::Broken, level));
            assert!(!fails(Verdict::Healthy, level));
            assert_eq!(code(Verdict::Inconclusive, level), ExitCode::from(INCONCLUSIVE));
        }
        assert!(!fails(Verdict::AtRisk, FailOn::Broken) && fails(Verdict::AtRisk, FailOn::AtRisk));
        assert!(!fails(Verdict::Recovered, FailOn::AtRisk) && fails(Verdict::Recovered, FailOn::Recovered));
    }
}
