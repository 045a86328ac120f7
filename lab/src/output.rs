//! What the program says.

use std::io::{self, Write as _};

/// A line of the result. A reader that went away needs no more of them.
pub(crate) fn say(line: &str) {
    let mut stdout = io::stdout().lock();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

/// A line about the run itself.
pub(crate) fn complain(line: &str) {
    let _ = writeln!(io::stderr().lock(), "why502-lab: {line}");
}
