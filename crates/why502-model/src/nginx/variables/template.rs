//! Texts with variables, cut into parts as `ngx_http_script_compile` does.

/// A text with variables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Template {
    /// Its parts, in order.
    pub(crate) parts: Vec<Part>,
}

/// A part of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// `$1` to `$9`: a group of the last match.
    Capture(usize),
    /// Plain text.
    Literal(String),
    /// `$name` or `${name}`.
    Variable(String),
}

/// Why nginx refuses a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TemplateError {
    /// `${name` without its `}`; the name.
    BracketMissing(String),
    /// A `$` without a name.
    InvalidName,
}

impl Template {
    /// Cuts a text; `$` needs a name behind it.
    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            if dollar > 0 {
                parts.push(Part::Literal(rest[..dollar].to_owned()));
            }
            let after = &rest[dollar + 1..];
            if let Some(digit @ b'1'..=b'9') = after.bytes().next() {
                parts.push(Part::Capture(usize::from(digit - b'0')));
                rest = &after[1..];
                continue;
            }
            let (name, length) = variable_name(after)?;
            parts.push(Part::Variable(name.to_owned()));
            rest = &after[length..];
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        Ok(Self { parts })
    }

    /// The same for a text that nginx may refuse: it counts as plain then.
    pub(crate) fn lenient(text: &str) -> Self {
        Self::parse(text).unwrap_or_else(|_| Self { parts: vec![Part::Literal(text.to_owned())] })
    }

    /// The names of its variables, in order.
    pub(crate) fn variables(&self) -> impl Iterator<Item = &str> {
        self.parts
            .iter()
            .filter_map(|part| if let Part::Variable(name) = part { Some(name.as_str()) } else { None })
    }
}

/// The name behind a `$`, and how many bytes it takes with its braces.
fn variable_name(after: &str) -> Result<(&str, usize), TemplateError> {
    let is_braced = after.starts_with('{');
    let body = if is_braced { &after[1..] } else { after };
    let end =
        body.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').unwrap_or(body.len());
    let name = &body[..end];
    if is_braced && body.is_empty() {
        return Err(TemplateError::InvalidName);
    }
    if is_braced && !body[end..].starts_with('}') {
        return Err(TemplateError::BracketMissing(name.to_owned()));
    }
    if name.is_empty() {
        return Err(TemplateError::InvalidName);
    }
    Ok((name, if is_braced { end + 2 } else { end }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> String {
        let part = |part: &Part| match part {
            Part::Capture(number) => format!("<{number}>"),
            Part::Literal(text) => text.clone(),
            Part::Variable(name) => format!("[{name}]"),
        };
        Template::parse(text)
            .map_or_else(|error| format!("{error:?}"), |found| found.parts.iter().map(part).collect())
    }

    #[test]
    fn texts_are_cut_as_nginx_cuts_them() {
        for (text, shape) in [
            ("http://$host:80/$1x", "http://[host]:80/<1>x"),
            ("${a}b$c_d-e", "[a]b[c_d]-e"),
            ("$10", "<1>0"),
            ("plain", "plain"),
            ("", ""),
            ("a$", "InvalidName"),
            ("$ a", "InvalidName"),
            ("${}", "InvalidName"),
            ("${", "InvalidName"),
            ("${a", "BracketMissing(\"a\")"),
            ("${a-b}", "BracketMissing(\"a\")"),
        ] {
            assert_eq!(parts(text), shape, "{text}");
        }
    }

    #[test]
    fn a_text_that_nginx_refuses_counts_as_plain() {
        assert_eq!(Template::lenient("a$").parts, [Part::Literal("a$".to_owned())]);
    }
}
