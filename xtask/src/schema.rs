//! The published JSON Schemas, written from their types.

use std::path::Path;

/// Writes them. Tests of `why502-diagnose` tell when one is stale.
pub(crate) fn run() -> Result<(), String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let published = [
        ("docs/schema/report-1.json", why502_diagnose::report_schema()),
        ("docs/schema/logs-1.json", why502_diagnose::logs_schema()),
        ("docs/schema/probe-1.json", why502_diagnose::probe_schema()),
    ];
    for (path, schema) in published {
        std::fs::write(root.join(path), schema).map_err(|error| format!("{path}: {error}"))?;
    }
    Ok(())
}
