//! Where the result goes, and in what colours.

use crate::run::{Site, command, stderr, stdout};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::{Command, Stdio};

#[test]
fn a_file_holds_what_stdout_would_say_and_the_umask_decides_who_reads_it() {
    let site = Site::new();
    let words = site.whole().join(" ");
    let script = format!(
        "umask 027; {} {words} --oneline --output {}",
        env!("CARGO_BIN_EXE_why502"),
        site.argument("report")
    );
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(output.stdout.is_empty());
    assert_eq!(fs::metadata(site.path("report")).unwrap().permissions().mode() & 0o777, 0o640);
    let said = command().args(site.whole()).arg("--oneline").output().unwrap();
    assert_eq!(fs::read_to_string(site.path("report")).unwrap(), stdout(&said));
    // Nothing is left beside it.
    assert_eq!(fs::read_dir(site.path(".")).unwrap().count(), 4);
}

#[test]
fn what_a_link_leads_to_is_replaced_and_not_the_link() {
    let site = Site::new();
    site.write("real", "old");
    symlink(site.path("real"), site.path("link")).unwrap();
    command().args(site.whole()).arg("--output").arg(site.path("link")).status().unwrap();
    assert!(fs::symlink_metadata(site.path("link")).unwrap().is_symlink());
    assert!(fs::read_to_string(site.path("real")).unwrap().starts_with("broken: "));
}

#[test]
fn devices_are_written_to() {
    let site = Site::new();
    let output = command().args(site.whole()).args(["--output", "/dev/null"]).output().unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    let output = command().args(site.whole()).args(["--output", "/dev/stdout"]).output().unwrap();
    assert!(stdout(&output).starts_with("broken: "));
    assert!(!fs::metadata("/dev/null").unwrap().is_file());
    assert!(fs::symlink_metadata("/dev/stdout").unwrap().is_symlink());
}

#[test]
fn a_directory_that_is_not_there_is_an_error() {
    let site = Site::new();
    let output = command().args(site.whole()).arg("--output").arg(site.path("no/report")).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("no/report"), "{}", stderr(&output));
    assert!(!stderr(&output).contains("at path"), "{}", stderr(&output));
}

#[test]
fn a_reader_who_stops_reading_is_no_failure() {
    let script = format!("set -o pipefail; {} explain --list | head -1", env!("CARGO_BIN_EXE_why502"));
    let output = Command::new("bash").args(["-c", &script]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty(), "{}", stderr(&output));
    // A pipe that is closed before the first byte is the sure case.
    let mut child =
        command().args(["explain", "--list"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty(), "{}", stderr(&output));
}

#[test]
fn colour_is_for_who_asks_for_it() {
    let site = Site::new();
    let colored = |arguments: &[&str], no_color: &str, term: &str| {
        let mut command = command();
        command.args(site.whole()).args(arguments).env("NO_COLOR", no_color).env("TERM", term);
        stdout(&command.output().unwrap()).contains('\x1b')
    };
    assert!(!colored(&[], "", "xterm"), "stdout is no terminal");
    assert!(colored(&["--color", "always"], "1", "dumb"), "an option is stronger than the environment");
    assert!(!colored(&["--color", "never"], "", "xterm"));
}

#[test]
fn a_terminal_is_coloured_unless_it_says_no() {
    let site = Site::new();
    let program = format!("{} {}", env!("CARGO_BIN_EXE_why502"), site.whole().join(" "));
    // script(1) gives the program a terminal.
    let colored = |no_color: &str, term: &str| {
        let output = Command::new("script")
            .args(["-qec", &program, "/dev/null"])
            .env("NO_COLOR", no_color)
            .env("TERM", term)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("are refused"), "{text}");
        text.contains("\x1b[1m")
    };
    assert!(colored("", "xterm"));
    assert!(!colored("1", "xterm"));
    assert!(!colored("", "dumb"));
}
