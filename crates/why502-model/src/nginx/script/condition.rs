//! The conditions of `if` (`ngx_http_rewrite_if_condition`).

use crate::nginx::pattern::{Case, Pattern};

/// A condition.
#[derive(Clone, Debug)]
pub(crate) struct Condition {
    pub(crate) subject: Subject,
    pub(crate) test: Test,
    pub(crate) is_negated: bool,
}

/// What a condition looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// A file: whether it is there is not known.
    File(String),
    Variable(String),
}

/// What a condition asks.
#[derive(Clone, Debug)]
pub(crate) enum Test {
    /// Whether it is this text, variables in it evaluated.
    Equals(String),
    /// Something about a file.
    File,
    Matches(Pattern),
    /// Whether it is neither empty nor `0`.
    True,
}

/// Why nginx refuses a condition: its words.
pub(crate) type Refusal = String;

/// Reads the arguments of an `if`.
pub(crate) fn parse_condition(arguments: &[&str]) -> Result<Condition, Refusal> {
    let invalid = |word: &str| format!("invalid condition \"{word}\"");
    let (Some(first), Some(last)) = (arguments.first(), arguments.last()) else { return Err(invalid("")) };
    let Some(opened) = first.strip_prefix('(') else { return Err(invalid(first)) };
    let mut words: Vec<&str> = arguments.to_vec();
    words[0] = opened;
    if !last.ends_with(')') {
        return Err(invalid(words.last().copied().unwrap_or_default()));
    }
    if let Some(end) = words.last_mut()
        && (arguments.len() > 1 || end.len() > 1)
    {
        *end = end.strip_suffix(')').unwrap_or(end);
    }
    if words.len() > 1 && words[0].is_empty() {
        words.remove(0);
    }
    if words.len() > 1 && words.last().is_some_and(|word| word.is_empty()) && last.len() == 1 {
        words.pop();
    }
    match words.as_slice() {
        [variable] if is_variable(variable) => Ok(condition(variable, Test::True, false)),
        [variable, operator, value] if is_variable(variable) => compare(variable, operator, value),
        [operator, path] if is_file_test(operator) => {
            let is_negated = operator.starts_with('!');
            Ok(Condition { subject: Subject::File((*path).to_owned()), test: Test::File, is_negated })
        }
        words => Err(invalid(words.first().copied().unwrap_or_default())),
    }
}

fn is_variable(word: &str) -> bool {
    word.len() > 1 && word.starts_with('$')
}

fn is_file_test(word: &str) -> bool {
    matches!(word.strip_prefix('!').unwrap_or(word), "-f" | "-d" | "-e" | "-x")
}

fn compare(variable: &str, operator: &str, value: &str) -> Result<Condition, Refusal> {
    let (bare, is_negated) = operator.strip_prefix('!').map_or((operator, false), |bare| (bare, true));
    let case = match bare {
        "=" => return Ok(condition(variable, Test::Equals(value.to_owned()), is_negated)),
        "~" => Case::Kept,
        "~*" => Case::Ignored,
        _ => return Err(format!("unexpected \"{operator}\" in condition")),
    };
    Ok(condition(variable, Test::Matches(Pattern::compile(value, case)?), is_negated))
}

fn condition(variable: &str, test: Test, is_negated: bool) -> Condition {
    let name = variable.trim_start_matches('$').to_owned();
    Condition { subject: Subject::Variable(name), test, is_negated }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(text: &str) -> Result<String, Refusal> {
        let words: Vec<&str> = text.split(' ').collect();
        let found = parse_condition(&words)?;
        let test = match found.test {
            Test::Equals(value) => format!("= {value}"),
            Test::File => "file".to_owned(),
            Test::Matches(_) => "~".to_owned(),
            Test::True => "true".to_owned(),
        };
        Ok(format!("{:?} {}{test}", found.subject, if found.is_negated { "not " } else { "" }))
    }

    #[test]
    fn conditions_are_read() {
        for (text, read) in [
            ("($a)", "Variable(\"a\") true"),
            ("( $a )", "Variable(\"a\") true"),
            ("($a = b)", "Variable(\"a\") = b"),
            ("($a = b )", "Variable(\"a\") = b"),
            ("($a != b)", "Variable(\"a\") not = b"),
            ("($a ~* ^x(y))", "Variable(\"a\") ~"),
            ("($a !~ x)", "Variable(\"a\") not ~"),
            ("(-f $request_filename)", "File(\"$request_filename\") file"),
            ("(!-e /x)", "File(\"/x\") not file"),
        ] {
            assert_eq!(shape(text).as_deref(), Ok(read), "{text}");
        }
    }

    #[test]
    fn what_nginx_refuses_is_refused_in_its_words() {
        for (text, words) in [
            ("$a", "invalid condition \"$a\""),
            ("($a", "invalid condition \"$a\""),
            ("(a = b)", "invalid condition \"a\""),
            ("()", "invalid condition \")\""),
            ("($a = b c)", "invalid condition \"$a\""),
            ("($a == b)", "unexpected \"==\" in condition"),
            ("(-q /x)", "invalid condition \"-q\""),
            ("($a ~ (x)", "pcre2_compile() failed: missing closing parenthesis in \"(x\""),
        ] {
            assert_eq!(shape(text).as_deref(), Err(&words.to_owned()), "{text}");
        }
    }
}
