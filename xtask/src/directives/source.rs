//! C sources, read just far enough to find the arrays in which modules declare what they offer.

use std::collections::BTreeMap;

/// What a C file declares.
#[derive(Clone, Debug, Default)]
pub(crate) struct Declarations {
    /// The arrays of directives, by name.
    pub(crate) commands: BTreeMap<String, Vec<Command>>,
    /// The modules: name, array of directives, type.
    pub(crate) modules: Vec<(String, String, String)>,
    /// The variables.
    pub(crate) variables: Vec<Variable>,
}

/// A variable of `http`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Variable {
    /// Its name; one that ends in `_` is a prefix.
    pub(crate) name: String,
    /// Whether a configuration may set it.
    pub(crate) is_changeable: bool,
}

/// One `ngx_command_t`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Command {
    pub(crate) name: String,
    /// The flags: contexts and numbers of arguments.
    pub(crate) flags: Vec<String>,
    /// How its value is read.
    pub(crate) value: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(String),
    Mark(char),
}

type Field = Vec<Token>;

/// Reads a C file.
pub(crate) fn read(text: &str) -> Declarations {
    let tokens = tokenize(text);
    let arrays = |kind: &str| {
        let starts = tokens.windows(2).enumerate().filter(|(_, pair)| is_word(&pair[0], kind));
        let named = starts
            .filter_map(|(at, pair)| Some((word(&pair[1])?.to_owned(), initializer(&tokens[at + 2..])?)));
        named.collect::<BTreeMap<String, Vec<Field>>>()
    };
    let choices: BTreeMap<String, Vec<String>> = ["ngx_conf_enum_t", "ngx_conf_bitmask_t"]
        .into_iter()
        .flat_map(&arrays)
        .map(|(name, rows)| (name, rows.iter().filter_map(first_text).collect()))
        .collect();
    let bounds = arrays("ngx_conf_num_bounds_t");
    let strings = arrays("ngx_str_t");
    let mut declared = Declarations::default();
    for (name, rows) in arrays("ngx_command_t") {
        let commands = rows.iter().filter_map(|row| command(row, &choices, &bounds)).collect();
        declared.commands.insert(name, commands);
    }
    for (name, fields) in arrays("ngx_module_t") {
        if let Some([commands, kind]) = fields.get(2..4)
            && let (Some(commands), Some(kind)) = (last_word(commands), last_word(kind))
        {
            declared.modules.push((name, commands, kind));
        }
    }
    let rows = arrays("ngx_http_variable_t").into_values().flatten();
    declared.variables.extend(rows.filter_map(|row| {
        let is_changeable = row.iter().any(|token| is_word(token, "NGX_HTTP_VAR_CHANGEABLE"));
        Some(Variable { name: first_text(&row)?, is_changeable })
    }));
    let added = added_variables(&tokens, &strings).into_iter();
    declared.variables.extend(added.map(|name| Variable { name, is_changeable: true }));
    declared
}

/// Variables that a module adds one by one: `ngx_http_add_variable(cf, &NAME, …)`.
fn added_variables(tokens: &[Token], strings: &BTreeMap<String, Vec<Field>>) -> Vec<String> {
    let calls = tokens.iter().enumerate().filter(|(_, token)| is_word(token, "ngx_http_add_variable"));
    let names = calls.filter_map(|(at, _)| {
        tokens[at..].iter().take(8).filter_map(word).find(|name| strings.contains_key(*name))
    });
    names.filter_map(|name| strings[name].iter().find_map(first_text)).collect()
}

fn command(
    row: &Field,
    choices: &BTreeMap<String, Vec<String>>,
    bounds: &BTreeMap<String, Vec<Field>>,
) -> Option<Command> {
    let [Token::Mark('{'), inner @ .., Token::Mark('}')] = row.as_slice() else { return None };
    let fields = split(inner);
    let name = first_text(fields.first()?)?;
    let flags = fields.get(1)?.iter().filter_map(word).map(str::to_owned).collect();
    let setter = last_word(fields.get(2)?)?;
    let post = fields.get(5).and_then(last_word).unwrap_or_default();
    let value = match setter.strip_prefix("ngx_conf_set_").and_then(|rest| rest.strip_suffix("_slot")) {
        Some("num") => {
            match bounds.get(&post).map(|fields| fields.iter().filter_map(number).collect::<Vec<_>>()) {
                Some(numbers) if numbers.len() == 3 => format!("num:{}..{}", numbers[1], numbers[2]),
                _ => "num".to_owned(),
            }
        }
        Some(kind @ ("enum" | "bitmask")) => match choices.get(&post) {
            Some(words) => format!("{kind}:{}", words.join("|")),
            None => "custom".to_owned(),
        },
        Some(kind) => kind.to_owned(),
        None if setter.starts_with("ngx_http_set_complex_value") => "complex".to_owned(),
        None => "custom".to_owned(),
    };
    Some(Command { name, flags, value })
}

/// The fields behind `[…] = {`; those of a structure behind `= {`.
fn initializer(tokens: &[Token]) -> Option<Vec<Field>> {
    let equals = tokens.iter().take(4).position(|token| *token == Token::Mark('='))?;
    if tokens.get(equals + 1) == Some(&Token::Word("ngx_string".to_owned())) {
        let end = tokens[equals..].iter().position(|token| *token == Token::Mark(';'))?;
        return Some(split(&tokens[equals + 1..equals + end]));
    }
    let body = tokens.get(equals + 1..).filter(|rest| rest.first() == Some(&Token::Mark('{')))?;
    let mut depth = 0usize;
    for (at, token) in body.iter().enumerate() {
        match token {
            Token::Mark('{') => depth += 1,
            Token::Mark('}') => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(split(&body[1..at]));
        }
    }
    None
}

/// Splits at the commas that are in no brackets.
fn split(tokens: &[Token]) -> Vec<Field> {
    let (mut fields, mut depth) = (vec![Field::new()], 0i32);
    for token in tokens {
        match token {
            Token::Mark('{' | '(' | '[') => depth += 1,
            Token::Mark('}' | ')' | ']') => depth -= 1,
            Token::Mark(',') if depth == 0 => {
                fields.push(Field::new());
                continue;
            }
            _ => {}
        }
        if let Some(field) = fields.last_mut() {
            field.push(token.clone());
        }
    }
    fields
}

fn first_text(field: &Field) -> Option<String> {
    // Some modules glue two literals together: `ngx_string("a" "b")` does not occur in a name.
    field.iter().find_map(|token| if let Token::Text(text) = token { Some(text.clone()) } else { None })
}

fn last_word(field: &Field) -> Option<String> {
    field.iter().rev().find_map(word).map(str::to_owned)
}

/// A number with its sign, or a name.
fn number(field: &Field) -> Option<String> {
    let sign = if field.contains(&Token::Mark('-')) { "-" } else { "" };
    Some(format!("{sign}{}", last_word(field)?))
}

fn word(token: &Token) -> Option<&str> {
    if let Token::Word(word) = token { Some(word) } else { None }
}

fn is_word(token: &Token, text: &str) -> bool {
    word(token) == Some(text)
}

/// Words, strings and marks; comments and the preprocessor's lines are left out, all branches of an `#if` are kept.
fn tokenize(text: &str) -> Vec<Token> {
    let text = without_directives(&without_comments(text));
    let mut tokens = Vec::new();
    let mut rest = text.as_str();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' | '\'' => {
                let content = quoted(rest, first);
                if first == '"' {
                    tokens.push(Token::Text(content.to_owned()));
                }
                (content.len() + 2).min(rest.len())
            }
            _ if first.is_alphanumeric() || first == '_' => {
                let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
                tokens.push(Token::Word(rest[..end].to_owned()));
                end
            }
            _ => {
                if !first.is_whitespace() {
                    tokens.push(Token::Mark(first));
                }
                first.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    tokens
}

/// The content of a literal, escapes as they are.
fn quoted(text: &str, quote: char) -> &str {
    let mut is_escaped = false;
    let end = text[1..].find(|c: char| {
        let ends = c == quote && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        ends
    });
    &text[1..end.map_or(text.len(), |end| end + 1)]
}

fn without_comments(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(['/', '"']) {
        let (before, tail) = rest.split_at(start);
        result.push_str(before);
        let length = if tail.starts_with("/*") {
            tail.find("*/").map_or(tail.len(), |end| end + 2)
        } else if tail.starts_with("//") {
            tail.find('\n').unwrap_or(tail.len())
        } else if tail.starts_with('"') {
            let length = (quoted(tail, '"').len() + 2).min(tail.len());
            result.push_str(&tail[..length]);
            length
        } else {
            result.push('/');
            1
        };
        rest = &tail[length..];
    }
    result.push_str(rest);
    result
}

fn without_directives(text: &str) -> String {
    let mut continues = false;
    let kept = text.lines().filter(|line| {
        let is_directive = continues || line.trim_start().starts_with('#');
        continues = is_directive && line.ends_with('\\');
        !is_directive
    });
    kept.flat_map(|line| [line, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = r#"
        static ngx_conf_enum_t  ngx_x_modes[] = {
            { ngx_string("off"), 0 }, { ngx_string("on"), 1 }, { ngx_null_string, 0 }
        };
        static ngx_conf_num_bounds_t  ngx_x_bounds = { ngx_conf_check_num_bounds, 1, -1 };
        /* static ngx_command_t gone[] = { */
        static ngx_command_t  ngx_x_commands[] = {
        #if (NGX_X)
            { ngx_string("x_mode"), // the mode
              NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
              ngx_conf_set_enum_slot, NGX_HTTP_LOC_CONF_OFFSET, offsetof(ngx_x_t, mode), &ngx_x_modes },
        #endif
            { ngx_string("x_level"), NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
              ngx_conf_set_num_slot, 0, 0, &ngx_x_bounds },
            { ngx_string("x"), NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS, ngx_x, 0, 0, NULL },
            ngx_null_command
        };
        static ngx_str_t  ngx_x_name = ngx_string("x_added");
        ngx_module_t  ngx_x_module = { NGX_MODULE_V1, &ngx_x_ctx, ngx_x_commands, NGX_HTTP_MODULE, NULL };
        static ngx_http_variable_t  ngx_x_vars[] = {
            { ngx_string("x_value"), NULL, ngx_x_get, 0, 0, 0 }, ngx_http_null_variable
        };
        int f() { var = ngx_http_add_variable(cf, &ngx_x_name, 0); }
    "#;

    #[test]
    fn the_arrays_of_a_module_are_found() {
        let declared = read(SOURCE);
        let commands = &declared.commands["ngx_x_commands"];
        let values: Vec<(&str, &str)> =
            commands.iter().map(|command| (&*command.name, &*command.value)).collect();
        assert_eq!(values, [("x_mode", "enum:off|on"), ("x_level", "num:1..-1"), ("x", "custom")]);
        assert_eq!(commands[0].flags, ["NGX_HTTP_MAIN_CONF", "NGX_CONF_TAKE1"]);
        let module = ("ngx_x_module".to_owned(), "ngx_x_commands".to_owned(), "NGX_HTTP_MODULE".to_owned());
        assert_eq!(declared.modules, [module]);
        let variables: Vec<(&str, bool)> =
            declared.variables.iter().map(|variable| (&*variable.name, variable.is_changeable)).collect();
        assert_eq!(variables, [("x_value", false), ("x_added", true)]);
    }

    #[test]
    fn comments_in_strings_stay() {
        assert_eq!(without_comments(r#"a /* b */ "c // d" e // f"#), r#"a  "c // d" e "#);
    }
}
