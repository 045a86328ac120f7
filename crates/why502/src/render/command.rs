//! Commands as they can be pasted into a shell.

/// The words of a command in one line, quoted where a shell would read them otherwise.
pub(crate) fn command_line(words: &[String]) -> String {
    words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=@%+,".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shell_would_read_otherwise_is_quoted() {
        let words = ["kill", "-HUP", "$(id)", "it's", ""].map(str::to_owned);
        assert_eq!(command_line(&words), "kill -HUP '$(id)' 'it'\\''s' ''");
    }
}
