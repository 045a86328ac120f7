//! What other programs wrap around a line.

/// The line as the gateway wrote it.
///
/// The seam for syslog, journald, Docker and CRI prefixes: so far only the carriage return of a copied file is taken off.
pub(crate) fn without_envelope(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}
