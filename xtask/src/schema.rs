//! The published JSON Schema of the report, written from its types.

use std::path::Path;

/// Where it is published, in the repository.
const PUBLISHED: &str = "docs/schema/report-1.json";

/// Writes it. A test of `why502-diagnose` tells when it is stale.
pub(crate) fn run() -> Result<(), String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    std::fs::write(root.join(PUBLISHED), why502_diagnose::report_schema())
        .map_err(|error| format!("{PUBLISHED}: {error}"))
}
