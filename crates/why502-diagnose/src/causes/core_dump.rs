//! Where the kernel leaves the memory of a process that its own fault ended (core(5)): it names the function, and is the first that
//! whoever looks for the fault wants.

use crate::case::{Case, or_ask};
use crate::cause::Asks;
use why502_facts::{Root, lossy};

/// Where the kernel writes it to, or whom it hands it to.
const CORE_PATTERN: &str = "/proc/sys/kernel/core_pattern";
/// The signals that a program's own fault raises: SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGSYS. Each of them leaves
/// a core dump where that is allowed (signal(7)).
const FAULTS: [u32; 7] = [4, 5, 6, 7, 8, 11, 31];

/// Whether a signal is one that a program's own fault raises.
pub(super) fn is_fault(signal: u32) -> bool {
    FAULTS.contains(&signal)
}

/// Looks where core dumps go; an error asks for that.
pub(super) fn look(case: &Case<'_>) -> Result<(), Asks> {
    or_ask(case.facts.file(Root::Host, CORE_PATTERN)).map(|_| ())
}

/// Where to find the core dump of a program, as far as the kernel says: a lower-case fragment.
pub(super) fn place(case: &Case<'_>, program: Option<&str>) -> String {
    let file = case.facts.file(Root::Host, CORE_PATTERN);
    let Some(pattern) = file.known().map(|file| lossy(file.content.as_slice())) else {
        return format!("a core dump (with coredumpctl, or where {CORE_PATTERN} says)");
    };
    describe(pattern.trim(), program)
}

fn describe(pattern: &str, program: Option<&str>) -> String {
    let Some(handler) = pattern.strip_prefix('|') else {
        if pattern.is_empty() {
            return "a core dump, once kernel.core_pattern is not empty and the limit of core files is not 0"
                .to_owned();
        }
        let place = if pattern.starts_with('/') { "" } else { " in its working directory" };
        return format!(
            "a core dump{place} (kernel.core_pattern is {pattern}), if its limit of core files is not 0"
        );
    };
    let handler = handler.split_ascii_whitespace().next().unwrap_or_default();
    match handler.rsplit('/').next().unwrap_or(handler) {
        "systemd-coredump" => {
            let program = program.map(|program| format!(" {program}")).unwrap_or_default();
            format!("a core dump (coredumpctl info{program})")
        }
        "apport" => "a core dump (below /var/crash, where apport leaves it)".to_owned(),
        "false" | "true" => {
            format!("a core dump, once kernel.core_pattern is no longer {pattern}, which drops each")
        }
        _ => format!("a core dump (kernel.core_pattern hands it to {handler})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_core_dump_is_told() {
        let told = [
            ("", "a core dump, once kernel.core_pattern is not empty and the limit of core files is not 0"),
            (
                "core",
                "a core dump in its working directory (kernel.core_pattern is core), if its limit of core files is not 0",
            ),
            (
                "/var/cores/%e.%p",
                "a core dump (kernel.core_pattern is /var/cores/%e.%p), if its limit of core files is not 0",
            ),
            (
                "|/usr/lib/systemd/systemd-coredump %P %u %g %s %t %c %h",
                "a core dump (coredumpctl info nginx)",
            ),
            ("|/usr/share/apport/apport -p%p", "a core dump (below /var/crash, where apport leaves it)"),
            (
                "|/bin/false",
                "a core dump, once kernel.core_pattern is no longer |/bin/false, which drops each",
            ),
            ("|/opt/crash/catch %p", "a core dump (kernel.core_pattern hands it to /opt/crash/catch)"),
        ];
        for (pattern, says) in told {
            assert_eq!(describe(pattern, Some("nginx")), says);
        }
    }
}
