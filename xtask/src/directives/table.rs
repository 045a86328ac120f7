//! The tables as text: one line per directive, variable, module.

use super::history::{History, OLDEST, Release};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

const NOTE: &str = "# Written by `xtask directives` from nginx's sources; not to be edited.";

/// Names that no array holds: they are made by macros, or their sources are not C.
const MORE_FOREIGN: [(&str, &str); 5] = [
    ("modsecurity", "ModSecurityEnabled ModSecurityConfig ModSecurityPass"),
    ("pagespeed", "pagespeed"),
    ("passenger", "passenger_*"),
    ("passenger", "rails_*"),
    ("pagespeed", "pagespeed_*"),
];

/// Name, module, contexts, arguments, value, first release, first release without it.
pub(crate) fn directives(history: &History) -> String {
    let mut rows: BTreeMap<(String, String, String, String), (Span, String)> = BTreeMap::new();
    for ((module, command), releases) in &history.directives {
        let contexts = contexts(&command.flags);
        let key = (command.name.clone(), module.clone(), contexts, arguments(&command.flags));
        let span = Span::of(releases);
        let row = rows.entry(key).or_insert_with(|| (span, command.value.clone()));
        // The newest way to read its value is taken to hold for all releases: a word more does no harm.
        if span.last >= row.0.last {
            row.1.clone_from(&command.value);
        }
        row.0 = Span { first: row.0.first.min(span.first), last: row.0.last.max(span.last) };
    }
    let mut text = format!(
        "{NOTE}\n# Newest release: {}\n",
        history.releases.last().map_or(String::new(), |newest| newest.text())
    );
    for ((name, module, contexts, arguments), (span, value)) in rows {
        let (since, until) = (span.since(), span.until(history));
        let _ =
            writeln!(text, "{name}\t{}\t{contexts}\t{arguments}\t{value}\t{since}\t{until}", short(&module));
    }
    text
}

/// The names of variables, and `fixed` behind those that no release since the oldest lets a configuration set; names that
/// end in `_` are prefixes.
pub(crate) fn variables(history: &History) -> String {
    let mut fixed: BTreeMap<&str, bool> = BTreeMap::new();
    for (variable, releases) in history.variables.iter().filter(|(variable, _)| !variable.name.is_empty()) {
        let is_fixed = !variable.is_changeable && releases.contains(&OLDEST);
        let slot = fixed.entry(variable.name.as_str()).or_insert(is_fixed);
        *slot &= is_fixed;
    }
    let rows = fixed
        .into_iter()
        .map(|(name, is_fixed)| format!("{name}{}\n", if is_fixed { "\tfixed" } else { "" }));
    format!("{NOTE}\n{}", rows.collect::<String>())
}

/// Module, type, and the option of `configure` that decides about it, if one does.
pub(crate) fn modules(history: &History) -> String {
    let mut text = format!("{NOTE}\n");
    for (module, kind) in &history.modules {
        let own = short(module);
        let names = [own.to_owned(), own.replace("_filter_module", "_module")];
        let is_its = |option: &&String| {
            let name = option.trim_start_matches("--with-").trim_start_matches("--without-");
            names.iter().any(|own| own == name)
        };
        let option = history.options.iter().find(is_its).map_or("-", String::as_str);
        let kind = kind.trim_start_matches("NGX_").trim_end_matches("_MODULE").to_ascii_lowercase();
        let _ = writeln!(text, "{own}\t{kind}\t{option}");
    }
    text
}

/// The groups of other people's modules with the names of their directives.
pub(crate) fn foreign(history: &History, mut groups: BTreeMap<String, Vec<String>>) -> String {
    let own: BTreeSet<&str> = history.directives.keys().map(|(_, command)| command.name.as_str()).collect();
    for (group, names) in MORE_FOREIGN {
        groups.entry(group.to_owned()).or_default().extend(names.split(' ').map(str::to_owned));
    }
    let mut text = format!("{NOTE}\n");
    for (group, mut names) in groups {
        names.sort();
        names.dedup();
        names.retain(|name| !own.contains(name.as_str()));
        let _ = writeln!(text, "{group}\t{}", names.join(" "));
    }
    text
}

/// The releases that have something: gaps between a stable branch and the development are closed.
#[derive(Clone, Copy)]
struct Span {
    first: Release,
    last: Release,
}

impl Span {
    fn of(releases: &BTreeSet<Release>) -> Self {
        let first = releases.first().copied().unwrap_or(OLDEST);
        Self { first, last: releases.last().copied().unwrap_or(first) }
    }

    fn since(self) -> String {
        if self.first == OLDEST { "-".to_owned() } else { self.first.text() }
    }

    fn until(self, history: &History) -> String {
        let next = history.releases.iter().find(|release| **release > self.last);
        next.map_or("-".to_owned(), |release| release.text())
    }
}

impl Release {
    fn text(self) -> String {
        format!("{}.{}.{}", self.0, self.1, self.2)
    }
}

fn short(module: &str) -> &str {
    module.strip_prefix("ngx_").unwrap_or(module)
}

fn contexts(flags: &[String]) -> String {
    let names = flags.iter().filter_map(|flag| {
        Some(match flag.as_str() {
            "NGX_ANY_CONF" => "any",
            "NGX_MAIN_CONF" => "main",
            "NGX_EVENT_CONF" => "events",
            "NGX_HTTP_MAIN_CONF" => "http",
            "NGX_HTTP_SRV_CONF" => "server",
            "NGX_HTTP_LOC_CONF" => "location",
            "NGX_HTTP_UPS_CONF" => "upstream",
            "NGX_HTTP_SIF_CONF" => "if-server",
            "NGX_HTTP_LIF_CONF" => "if-location",
            "NGX_HTTP_LMT_CONF" => "limit_except",
            "NGX_STREAM_MAIN_CONF" => "stream",
            "NGX_STREAM_SRV_CONF" => "stream-server",
            "NGX_STREAM_UPS_CONF" => "stream-upstream",
            "NGX_MAIL_MAIN_CONF" => "mail",
            "NGX_MAIL_SRV_CONF" => "mail-server",
            _ => return None,
        })
    });
    names.collect::<Vec<_>>().join(" ")
}

/// The numbers of arguments as digits, `N+` for that many or more, `*` for any, `flag`; `{}` for a block.
fn arguments(flags: &[String]) -> String {
    let mut digits = BTreeSet::new();
    let (mut text, mut block) = (String::new(), "");
    for flag in flags {
        match flag.strip_prefix("NGX_CONF_") {
            Some("NOARGS") => drop(digits.insert('0')),
            Some("ANY") => "*".clone_into(&mut text),
            Some("FLAG") => "flag".clone_into(&mut text),
            Some("1MORE") => "1+".clone_into(&mut text),
            Some("2MORE") => "2+".clone_into(&mut text),
            Some("BLOCK") => block = "{}",
            Some(take) => digits.extend(take.trim_start_matches("TAKE").chars()),
            None => {}
        }
    }
    if text.is_empty() {
        text = digits.into_iter().collect();
    }
    text + block
}
