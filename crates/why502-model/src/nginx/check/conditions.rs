//! `if`, `set`, `rewrite`, `return`.

use super::Checker;
use crate::nginx::config::NodeId;
use crate::nginx::pattern::{Case, Pattern};
use crate::nginx::script::{Subject, Test, parse_condition};
use crate::nginx::values::parse_number;

impl Checker<'_, '_> {
    pub(super) fn condition(&mut self, id: NodeId) {
        let words = self.words(id);
        let condition = match parse_condition(&words) {
            Ok(condition) => condition,
            Err(words) => return self.refuse(id, words),
        };
        match &condition.subject {
            Subject::Variable(name) => self.use_variable(id, 0, name),
            Subject::File(path) => self.template(id, 0, path),
        }
        match &condition.test {
            Test::Equals(text) => self.template(id, words.len() - 1, text),
            Test::Matches(pattern) => self.define_groups(pattern),
            Test::File | Test::True => {}
        }
    }

    pub(super) fn set(&mut self, id: NodeId) {
        let name = self.arg(id, 0);
        match name.strip_prefix('$') {
            Some(bare) => {
                self.define(id, bare);
                // A variable that is set is used as well (`ngx_http_get_variable_index`).
            }
            None => self.refuse_arg(id, 0, format!("invalid variable name \"{name}\"")),
        }
    }

    pub(super) fn rewrite(&mut self, id: NodeId) {
        if self.arg(id, 1).is_empty() {
            return self.refuse_arg(id, 1, "empty replacement");
        }
        match Pattern::compile(self.arg(id, 0), Case::Kept) {
            Ok(pattern) => self.define_groups(&pattern),
            Err(words) => return self.refuse_arg(id, 0, words),
        }
        let flag = self.config.node(id).arg(2);
        if let Some(flag) = flag.filter(|flag| !matches!(*flag, "last" | "break" | "redirect" | "permanent"))
        {
            self.refuse_arg(id, 2, format!("invalid parameter \"{flag}\""));
        }
    }

    pub(super) fn answer(&mut self, id: NodeId) {
        let words = self.words(id);
        let first = words.first().copied().unwrap_or_default();
        let is_target = words.len() == 1
            && ["http://", "https://", "$scheme"].iter().any(|begin| first.starts_with(begin));
        let is_right = match parse_number(first) {
            Some(status) => status <= 999,
            None => is_target,
        };
        if !is_right {
            self.refuse_arg(id, 0, format!("invalid return code \"{first}\""));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::first;

    #[test]
    fn the_directives_of_the_rewrite_module_are_looked_at() {
        for (directive, words) in [
            ("if $a { }", "invalid condition \"$a\" :1"),
            ("if ($uri == a) { }", "unexpected \"==\" in condition :1"),
            (
                "if ($uri ~ [) { }",
                "pcre2_compile() failed: missing terminating ] for character class in \"[\" :1",
            ),
            ("set a b;", "invalid variable name \"a\" :1"),
            ("rewrite ( /x;", "pcre2_compile() failed: missing closing parenthesis in \"(\" :1"),
            ("rewrite ^ '';", "empty replacement :1"),
            ("rewrite ^ /x lst;", "invalid parameter \"lst\" :1"),
            ("return ok;", "invalid return code \"ok\" :1"),
            ("return 1000;", "invalid return code \"1000\" :1"),
        ] {
            assert_eq!(first(&format!("server {{ {directive} }}")).as_deref(), Some(words), "{directive}");
        }
        let sound = "if (!-f $request_filename) { break; } set $a 1; rewrite ^ https://x/ permanent; return 204; return $scheme://x;";
        assert_eq!(first(&format!("server {{ {sound} }}")), None);
    }
}
