//! What keeps the program from doing its job: one line on stderr, its causes, and a hint.

use crate::exit;
use std::error::Error;
use std::io;
use std::process::ExitCode;

/// Why processes of others are not seen (proc(5), `hidepid`).
const HIDDEN: &str = "/proc hides the processes of other users here";

/// Why a command could not do its job.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: Kind,
    hint: Option<String>,
}

#[derive(Debug, thiserror::Error)]
enum Kind {
    /// Whoever reads our output stopped reading.
    #[error("broken pipe")]
    BrokenPipe,
    /// The options ask for something that cannot be.
    #[error("{0}")]
    Usage(String),
    /// Something that was named cannot be used.
    #[error("{what}")]
    Trouble {
        what: String,
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    },
}

impl Failure {
    /// The options ask for something that cannot be.
    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Self { kind: Kind::Usage(what.into()), hint: None }
    }

    /// Something that was named cannot be used.
    pub(crate) fn trouble(what: impl Into<String>) -> Self {
        Self { kind: Kind::Trouble { what: what.into(), source: None }, hint: None }
    }

    /// Something failed for a reason that has words of its own.
    pub(crate) fn because(what: impl Into<String>, source: impl Error + Send + Sync + 'static) -> Self {
        Self { kind: Kind::Trouble { what: what.into(), source: Some(Box::new(source)) }, hint: None }
    }

    /// `--pid` names no master; where processes are hidden, it may well be one.
    pub(crate) fn no_master(pid: u32, hides_processes: bool) -> Self {
        if hides_processes {
            Self::trouble(format!("--pid {pid}: that process cannot be seen: {HIDDEN}"))
                .hint("run as root, or name the files: --config, --error-log, --access-log")
        } else {
            Self::usage(format!("--pid {pid}: that process is no nginx master"))
                .hint("the masters of this host: pgrep -f 'nginx: master'")
        }
    }

    /// No gateway was found, which another one than root may not say where processes are hidden.
    pub(crate) fn no_gateway(what: &str, hides_processes: bool) -> Self {
        if hides_processes {
            Self::trouble(format!("no nginx can be seen: {HIDDEN}"))
        } else {
            Self::trouble(format!("there is no nginx here {what}"))
        }
    }

    /// What to do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says it on stderr and gives the exit code. A reader who stopped reading is no failure.
    pub(crate) fn report(&self) -> ExitCode {
        if matches!(self.kind, Kind::BrokenPipe) {
            return ExitCode::from(exit::WELL);
        }
        let mut line = format!("why502: error: {}", self.kind);
        let mut source = self.kind.source();
        while let Some(cause) = source {
            line.push_str(": ");
            line.push_str(&cause.to_string());
            source = cause.source();
        }
        crate::output::complain(&line);
        if let Some(hint) = &self.hint {
            crate::output::complain(&format!("  hint: {hint}"));
        }
        ExitCode::from(exit::TROUBLE)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self { kind: Kind::BrokenPipe, hint: None };
        }
        Self::because("cannot write the result", error)
    }
}
