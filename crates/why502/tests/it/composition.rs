//! What the program is made of: the libraries that it needs, and the licences of what is built into it.

use std::collections::BTreeSet;
use std::process::Command;

/// The libraries that may be linked dynamically: those of the C library and the compiler, and the two that nginx itself
/// has from the system. OpenSSL is nginx's own on the host, with its policy and its mends (docs/design/linking.md).
const LIBRARIES: [&str; 8] =
    ["ld-linux", "libc.", "libcrypto.", "libgcc_s.", "libm.", "libpcre2-8.", "libpthread.", "libssl."];
/// The libraries of C that packages link or build (`links` of their manifests), those of other platforms among them.
const LINKED: [&str; 4] = ["lzma", "openssl", "wasm_bindgen", "zstd"];
/// The licences that MIT or Apache-2.0 may be combined with.
const LICENCES: [&str; 10] = [
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
    // That of libbz2, which is the BSD kind.
    "bzip2-1.0.6",
];

#[test]
fn nothing_but_the_system_s_own_libraries_is_linked() {
    let output = Command::new("readelf").args(["-d", env!("CARGO_BIN_EXE_why502")]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let needed: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("(NEEDED)"))
        .map(|line| line.split(['[', ']']).nth(1).unwrap())
        .collect();
    // The program that also runs in the guest lab brings its libraries along.
    assert!(needed.is_empty() || needed.iter().any(|name| name.starts_with("libc.")), "{text}");
    let others: Vec<&&str> =
        needed.iter().filter(|name| !LIBRARIES.iter().any(|library| name.starts_with(library))).collect();
    assert!(others.is_empty(), "{others:?}");
}

#[test]
fn no_other_library_of_c_is_built_in_or_linked() {
    let metadata = metadata();
    let linked: BTreeSet<&str> = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|package| package["links"].as_str())
        .collect();
    let others: Vec<&&str> = linked.iter().filter(|name| !LINKED.contains(name)).collect();
    assert!(others.is_empty(), "{others:?}");
}

#[test]
fn every_dependency_has_a_licence_that_goes_with_ours() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 20);
    let refused: Vec<String> = packages
        .iter()
        .filter(|package| !is_allowed(package["license"].as_str().unwrap_or("none")))
        .map(|package| format!("{}: {}", package["name"], package["license"]))
        .collect();
    assert!(refused.is_empty(), "{refused:#?}");
}

#[test]
fn one_of_several_licences_suffices_and_all_of_several_are_needed() {
    for fine in ["MIT/Apache-2.0", "LGPL-2.1-or-later OR MIT", "(MIT OR Apache-2.0) AND Unicode-3.0"] {
        assert!(is_allowed(fine), "{fine}");
    }
    for not in ["none", "GPL-3.0", "MIT AND GPL-3.0", "", "AGPL-3.0 OR SSPL-1.0"] {
        assert!(!is_allowed(not), "{not}");
    }
}

/// The manifests of all dependencies, those of other platforms too.
fn metadata() -> serde_json::Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--locked"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Whether an expression of SPDX allows what we do. Where several licences hold together, each that it names must.
fn is_allowed(expression: &str) -> bool {
    let mut terms = expression
        .split(|character: char| character.is_whitespace() || "/()".contains(character))
        .filter(|term| !term.is_empty() && !matches!(*term, "AND" | "OR" | "WITH" | "LLVM-exception"));
    if expression.contains(" AND ") {
        terms.all(|term| LICENCES.contains(&term))
    } else {
        terms.any(|term| LICENCES.contains(&term))
    }
}
