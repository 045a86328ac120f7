//! What the documents say is there is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const DOCUMENTS: [&str; 3] = ["ARCHITECTURE.md", "CONTRIBUTING.md", "README.md"];
const FOLDERS: [&str; 7] = ["corpus/", "crates/", "docs/", "lab/", "scripts/", "spec/", "xtask/"];
const PROGRAMS: [&str; 3] = ["why502", "why502-lab", "why502-xtask"];
/// Dependencies that touch the world.
const EFFECTFUL: [&str; 4] = ["openssl", "rustix", "tempfile", "why502-collect"];

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn read(path: impl AsRef<Path>) -> String {
    let path = project().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What stands between backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// A row of the code map.
struct Row {
    name: String,
    is_pure: bool,
    depends_on: BTreeSet<String>,
}

fn code_map() -> Vec<Row> {
    let text = read("ARCHITECTURE.md");
    let table = text.lines().skip_while(|line| !line.starts_with("| crate |")).skip(2);
    let rows: Vec<Vec<&str>> = table
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let names = |cell: &str| quoted(cell).map(str::to_owned).collect::<BTreeSet<String>>();
    let libraries: BTreeSet<String> =
        rows.iter().flat_map(|row| names(row[0])).filter(|name| !PROGRAMS.contains(&name.as_str())).collect();
    let depends_on = |cell: &str| {
        if cell.starts_with("all but ") { &libraries - &names(cell) } else { names(cell) }
    };
    rows.iter()
        .map(|row| Row {
            name: row[0].trim_matches('`').to_owned(),
            is_pure: row[2] == "no",
            depends_on: depends_on(row[3]),
        })
        .collect()
}

fn folder(name: &str) -> PathBuf {
    match name {
        "why502-lab" => "lab".into(),
        "why502-xtask" => "xtask".into(),
        name => Path::new("crates").join(name),
    }
}

/// The names in a crate's table of normal dependencies.
fn dependencies(name: &str) -> BTreeSet<String> {
    let manifest = read(folder(name).join("Cargo.toml"));
    let table = manifest.split("\n[dependencies]\n").nth(1).unwrap_or("").split("\n[").next().unwrap_or("");
    let names = table.lines().filter_map(|line| line.split(['.', ' ', '=']).next());
    names.filter(|name| !name.is_empty() && !name.starts_with('#')).map(str::to_owned).collect()
}

#[test]
fn dependencies_are_those_of_the_code_map() {
    let rows = code_map();
    let ours: BTreeSet<String> = rows.iter().map(|row| row.name.clone()).collect();
    for entry in fs::read_dir(project().join("crates")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(ours.contains(&name), "the code map has no {name}");
    }
    for row in rows {
        assert_eq!(&dependencies(&row.name) & &ours, row.depends_on, "{}", row.name);
    }
}

#[test]
fn pure_crates_are_fenced() {
    let pure: Vec<Row> = code_map().into_iter().filter(|row| row.is_pure).collect();
    assert_eq!(pure.len(), 5);
    for Row { name, .. } in pure {
        let root = read(folder(&name).join("src/lib.rs"));
        for fence in ["clippy::disallowed_methods", "clippy::disallowed_types", "forbid(unsafe_code)"] {
            assert!(root.contains(fence), "{name}: no {fence}");
        }
        let dependencies = dependencies(&name);
        assert!(!EFFECTFUL.iter().any(|other| dependencies.contains(*other)), "{name}: {dependencies:?}");
    }
}

#[test]
fn every_invariant_names_tests_that_exist() {
    let text = read("ARCHITECTURE.md");
    let section = text.split("## Invariants\n").nth(1).unwrap().split("\nHeld by ").next().unwrap();
    let invariants = section.split("\n\n").last().unwrap();
    for (at, invariant) in
        format!("\n{}", invariants.trim()).replace("\n   ", " ").lines().skip(1).enumerate()
    {
        assert!(invariant.starts_with(&format!("{}. **", at + 1)), "{invariant}");
        let keepers: Vec<(&str, &str)> =
            quoted(invariant).filter_map(|quoted| quoted.split_once("::")).collect();
        assert!(!keepers.is_empty(), "nothing keeps {invariant}");
        for (path, name) in keepers {
            assert!(read(path).contains(&format!("fn {name}(")), "{path} has no {name}");
        }
    }
}

#[test]
fn named_paths_exist() {
    for document in DOCUMENTS {
        let text = read(document);
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let quoted = quoted(&text).filter(|quoted| FOLDERS.iter().any(|folder| quoted.starts_with(folder)));
        let is_place = |path: &&str| !path.contains(['*', '<', '#', ' ', ':']);
        for path in links.chain(quoted).filter(is_place) {
            assert!(project().join(path).exists(), "{document}: {path} is not there");
        }
    }
}

#[test]
fn named_make_targets_exist() {
    let makefile = read("Makefile");
    for document in DOCUMENTS {
        let text = read(document);
        let commands = text.lines().chain(quoted(&text)).filter_map(|line| line.strip_prefix("make "));
        for target in commands.filter_map(|rest| rest.split_whitespace().next()) {
            assert!(makefile.contains(&format!("\n{target}:")), "{document}: there is no make {target}");
        }
    }
}
