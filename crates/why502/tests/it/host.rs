//! This host: what runs on it, and what may not be read.

use crate::run::{Site, stdout};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::{Command, Output};

/// Runs the program through another one that needs the rights of root; `None`, with the reason, without them.
fn as_root_with(prefix: &[&str], program: &str, arguments: &[&str]) -> Option<Output> {
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    if !is_root {
        skip(&format!("{} needs root", prefix[0]));
        return None;
    }
    let output = Command::new(prefix[0]).args(&prefix[1..]).arg(program).args(arguments).output();
    Some(output.unwrap_or_else(|error| panic!("{prefix:?}: {error}")))
}

fn skip(reason: &str) {
    std::io::Write::write_all(&mut std::io::stderr(), format!("skipped: {reason}\n").as_bytes()).unwrap();
}

#[test]
fn what_a_plain_user_may_not_read_is_a_gap_with_the_command_that_closes_it() {
    let site = Site::new();
    fs::set_permissions(site.path("."), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(site.path("error.log"), fs::Permissions::from_mode(0o600)).unwrap();
    // Where the program was built need not be open to everybody.
    let program = site.path("why502");
    fs::copy(env!("CARGO_BIN_EXE_why502"), &program).unwrap();
    let nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];
    let (config, error_log) = (site.argument("nginx.conf"), site.argument("error.log"));
    let arguments = ["--config", &config, "--error-log", &error_log, "--since", "all", "--no-probe"];
    let program = program.display().to_string();
    let Some(output) = as_root_with(&nobody, &program, &arguments) else { return };
    let text = stdout(&output);
    let words = text.replace("\\\n", "").split_whitespace().collect::<Vec<_>>().join(" ");
    let command = format!("sudo why502 --config {config} --error-log {error_log} --since all --no-probe");
    assert!(text.contains("permission denied"), "{text}");
    assert!(words.contains(&command), "{text}");
    // Root needs no other rights.
    let Some(output) = as_root_with(&["env"], &program, &arguments) else { return };
    assert!(!stdout(&output).contains("sudo"), "{}", stdout(&output));
}

#[test]
fn an_nginx_that_does_not_run_is_named() {
    let site = Site::new();
    let config = site.argument("nginx.conf");
    let alone = ["unshare", "-pf", "--mount-proc"];
    let arguments = ["--config", &config, "--no-probe"];
    let Some(output) = as_root_with(&alone, env!("CARGO_BIN_EXE_why502"), &arguments) else { return };
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("gateway-not-running"), "{text}");
}
