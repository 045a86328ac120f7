//! The tables of directives and variables, read out of nginx's C sources.
//!
//! Every module of nginx declares its directives in an array of `ngx_command_t` and its variables in one of
//! `ngx_http_variable_t`. The arrays of all releases since [`history::OLDEST`] are read and merged, so that the table
//! tells from which release to which a directive was known, and in which contexts. Of other people's modules only the
//! names are taken: their versions are not known, so nothing more can be held against a configuration.

mod history;
mod source;
mod table;

use history::Repository;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

/// Reads the sources and writes the tables of `why502-model`.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let (nginx, groups) = arguments.split_first().ok_or("which repository holds nginx?")?;
    let nginx = Repository::new(nginx);
    let history = history::read(&nginx)?;
    let mut others: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for group in groups {
        let (name, repository) = group.split_once('=').ok_or_else(|| format!("not GROUP=GIT: {group}"))?;
        others.entry(name.to_owned()).or_default().extend(history::names_of(&Repository::new(repository))?);
    }
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../crates/why502-model/src/nginx/tables");
    let write = |name: &str, text: String| {
        let path = directory.join(name);
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
    };
    write("directives.tsv", table::directives(&history))?;
    write("variables.tsv", table::variables(&history))?;
    write("modules.tsv", table::modules(&history))?;
    write("foreign.tsv", table::foreign(&history, others))
}
