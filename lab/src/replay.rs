//! Bundles of runs, kept for ever: what was made to happen once is diagnosed from then on without nginx.

use crate::judge;
use crate::run::report_of_bundle;
use crate::scenario::{Expect, Named};
use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

const EXPECTED: &str = "expected.toml";
const BUNDLE: &str = "bundle.tar.zst";

/// What a recorded bundle stands for.
#[derive(Debug, Serialize, Deserialize)]
struct Recorded {
    title: String,
    expect: Expect,
}

/// A recorded bundle with what is wrong with its report.
#[derive(Debug)]
pub struct Replayed {
    /// Its name: that of the scenario.
    pub name: String,
    /// The ids that must be known for it to be judged.
    pub ids: Vec<String>,
    /// What is wrong.
    pub misses: Vec<String>,
    /// The report in a line.
    pub got: String,
}

/// Keeps a bundle with what is expected of it.
pub(crate) fn record(corpus: &Path, named: &Named, bundle: &Path) -> Result<()> {
    let folder = corpus.join(&named.name);
    fs::create_dir_all(&folder)?;
    fs::copy(bundle, folder.join(BUNDLE)).with_context(|| bundle.display().to_string())?;
    // Paths and ports of one run are in the bundle; placeholders in the expectation would not be replaced.
    let mut expect = named.scenario.expect.clone();
    let fields = [&mut expect.server, &mut expect.location, &mut expect.upstream, &mut expect.peer];
    for field in fields {
        if field.as_ref().is_some_and(|text| text.contains("${")) {
            *field = None;
        }
    }
    for words in [&mut expect.remedy, &mut expect.no_remedy, &mut expect.says] {
        words.retain(|text| !text.contains("${"));
    }
    let recorded = Recorded { title: named.scenario.title.clone(), expect };
    fs::write(folder.join(EXPECTED), toml::to_string(&recorded)?)?;
    Ok(())
}

/// Diagnoses every recorded bundle again.
pub fn replay(corpus: &Path, why502: &Path) -> Result<Vec<Replayed>> {
    let mut folders = Vec::new();
    list(corpus, &mut folders)?;
    folders.sort();
    let mut all = Vec::new();
    for folder in folders {
        let text = fs::read_to_string(folder.join(EXPECTED))?;
        let recorded: Recorded = toml::from_str(&text).with_context(|| folder.display().to_string())?;
        let got = report_of_bundle(why502, &folder.join(BUNDLE))?;
        let misses = judge::contract(&got).into_iter().chain(judge::live(&recorded.expect, &[], &got));
        all.push(Replayed {
            name: folder.strip_prefix(corpus).unwrap_or(&folder).display().to_string(),
            ids: recorded
                .expect
                .cause
                .iter()
                .chain(recorded.expect.roots.iter().flatten())
                .cloned()
                .collect(),
            misses: misses.map(|miss| format!("{:?}: {}", miss.kind, miss.says)).collect(),
            got: got.report.summary(),
        });
    }
    Ok(all)
}

fn list(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            if path.join(EXPECTED).is_file() {
                found.push(path);
            } else {
                list(&path, found)?;
            }
        }
    }
    Ok(())
}
