//! What command-line tools write before the lines of several containers, and before each line's stamp.
//!
//! `docker compose logs` pads a container's name and colours it (`web-1  | …`), `kubectl logs --prefix` puts it between
//! brackets (`[pod/web-5d9/nginx] …`). Both, and `docker logs`, show the runtime's stamp if they are asked to.

/// The longest name of a container.
const MAX_NAME: usize = 253;

/// The container and its line, which may begin with a stamp.
pub(super) fn entry(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let line = behind_colours(line);
    let (name, text) = match line.strip_prefix(b"[pod/") {
        Some(rest) => {
            let end = memchr::memchr(b']', rest.get(..rest.len().min(2 * MAX_NAME))?)?;
            (&rest[..end], rest[end + 1..].strip_prefix(b" ")?)
        }
        None => piped(line)?,
    };
    Some((name, text))
}

fn piped(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    let length = line.iter().take(MAX_NAME).take_while(|byte| is_name(byte)).count();
    let (name, rest) = line.split_at(length);
    // A client's address is no container.
    if !name.iter().any(u8::is_ascii_alphabetic) {
        return None;
    }
    let rest = rest.trim_ascii_start().strip_prefix(b"|")?;
    let rest = behind_colours(rest);
    Some((name, rest.strip_prefix(b" ").map_or(rest, behind_colours)))
}

/// Whether the text behind a name is a whole line, not the next column of a format with bars between its fields.
pub(super) fn is_likely((_, text): (&[u8], &[u8])) -> bool {
    memchr::memmem::find(text, b" | ").is_none()
}

/// What follows the terminal's colour sequences, `ESC [ 36 m`.
fn behind_colours(mut text: &[u8]) -> &[u8] {
    while let Some(rest) = text.strip_prefix(b"\x1b[") {
        let length = rest.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b';').count();
        match rest[length..].strip_prefix(b"m") {
            Some(rest) => text = rest,
            None => break,
        }
    }
    text
}
