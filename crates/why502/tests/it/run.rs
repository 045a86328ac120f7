//! Runs the program.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// The root of the project.
pub(crate) fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_path_buf()
}

/// Runs the program with arguments, in a directory of its own.
pub(crate) fn why502(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_why502")).args(arguments).env("NO_COLOR", "1").output().unwrap()
}

/// Runs the program and reads its JSON report, with the exit code.
pub(crate) fn json(arguments: &[&str]) -> (Value, i32) {
    let output = why502(arguments);
    let code = output.status.code().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{arguments:?}: {error}: {}", String::from_utf8_lossy(&output.stderr));
    });
    if let Err(error) = schema().validate(&report) {
        panic!("{arguments:?}: the report breaks its schema at {}: {error}", error.instance_path());
    }
    (report, code)
}

/// The published schema of the report.
fn schema() -> &'static jsonschema::Validator {
    static SCHEMA: OnceLock<jsonschema::Validator> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let text = std::fs::read_to_string(project().join("docs/schema/report-1.json")).unwrap();
        jsonschema::validator_for(&serde_json::from_str(&text).unwrap()).unwrap()
    })
}
