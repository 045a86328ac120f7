//! Bundles of runs, kept for ever: what was made to happen once is diagnosed from then on without nginx.

use crate::judge::{self, Miss};
use crate::run::report_of_bundle;
use crate::scenario::Expect;
use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

const EXPECTED: &str = "expected.toml";
const BUNDLE: &str = "bundle.tar.zst";

/// A recorded bundle.
#[derive(Debug)]
pub struct Kept {
    /// Its name: that of the scenario.
    pub name: String,
    bundle: PathBuf,
    recorded: Recorded,
}

/// What is wrong with the report of a recorded bundle.
#[derive(Debug)]
pub struct Replayed {
    /// What is wrong.
    pub misses: Vec<String>,
    /// The report in a line.
    pub got: String,
}

/// What a recorded bundle stands for, with the addresses and paths of its run.
#[derive(Debug, Serialize, Deserialize)]
struct Recorded {
    title: String,
    /// The places that the first finding may point at, if the scenario marked any.
    marked: Vec<(String, u64)>,
    expect: Expect,
}

/// Where a run leaves its bundle, and what is expected of it: in a folder that is taken to the corpus as a whole.
#[derive(Debug)]
pub(crate) struct Recorder {
    folder: PathBuf,
}

impl Recorder {
    /// The recorder of a run with this directory.
    pub(crate) fn of(run: &Path) -> Self {
        Self { folder: run.join("recorded") }
    }

    /// Keeps a bundle with what is expected of it.
    pub(crate) fn keep(
        &self,
        bundle: &Path,
        title: &str,
        marked: &[(String, u64)],
        expect: &Expect,
    ) -> Result<()> {
        let recorded = Recorded { title: title.to_owned(), marked: marked.to_vec(), expect: expect.clone() };
        fs::create_dir_all(&self.folder)?;
        // A bundle is its owner's alone; what is kept in a repository is everybody's.
        fs::write(self.folder.join(BUNDLE), fs::read(bundle).with_context(|| bundle.display().to_string())?)?;
        Ok(fs::write(self.folder.join(EXPECTED), toml::to_string(&recorded)?)?)
    }

    /// Takes what was kept to the corpus.
    pub(crate) fn take_to(&self, corpus: &Path, name: &str) -> Result<()> {
        let folder = corpus.join(name);
        fs::create_dir_all(&folder)?;
        for file in [BUNDLE, EXPECTED] {
            fs::copy(self.folder.join(file), folder.join(file))
                .with_context(|| folder.display().to_string())?;
        }
        Ok(())
    }
}

/// The recorded bundles in order of their names.
pub fn find(corpus: &Path) -> Result<Vec<Kept>> {
    let mut folders = Vec::new();
    list(corpus, &mut folders)?;
    folders.sort();
    if folders.is_empty() {
        bail!("{}: no bundle there", corpus.display());
    }
    folders.into_iter().map(|folder| Kept::read(corpus, &folder)).collect()
}

impl Kept {
    fn read(corpus: &Path, folder: &Path) -> Result<Self> {
        let text = fs::read_to_string(folder.join(EXPECTED))?;
        let recorded = toml::from_str(&text).with_context(|| folder.display().to_string())?;
        let name = folder.strip_prefix(corpus).unwrap_or(folder).display().to_string();
        Ok(Self { name, bundle: folder.join(BUNDLE), recorded })
    }

    /// The ids that must be known for it to be judged.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.recorded.expect.ids()
    }

    /// Diagnoses it again.
    pub fn replay(&self, why502: &Path) -> Result<Replayed> {
        let Recorded { expect, marked, .. } = &self.recorded;
        let got = report_of_bundle(why502, &self.bundle)?;
        let misses = judge::contract(&got).into_iter().chain(judge::live(expect, marked, &got));
        let words = |Miss { kind, says }: Miss| format!("{kind:?}: {says}");
        Ok(Replayed { misses: misses.map(words).collect(), got: got.report.summary() })
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_run_keeps_is_found_in_the_corpus() {
        let dir = tempfile::tempdir().unwrap();
        let (run, corpus) = (dir.path().join("run"), dir.path().join("corpus"));
        fs::create_dir(&run).unwrap();
        fs::write(run.join("b"), "bytes").unwrap();
        let expect =
            Expect { cause: vec!["a".to_owned()], peer: Some("1.2.3.4:5".to_owned()), ..Expect::default() };
        let recorder = Recorder::of(&run);
        recorder.keep(&run.join("b"), "title", &[("/f".to_owned(), 3)], &expect).unwrap();
        assert!(find(&run.join("nowhere")).is_err());
        recorder.take_to(&corpus, "a/name").unwrap();
        let kept = find(&corpus).unwrap();
        assert_eq!((kept.len(), kept[0].name.as_str()), (1, "a/name"));
        assert_eq!(kept[0].recorded.marked, [("/f".to_owned(), 3)]);
        assert_eq!(kept[0].recorded.expect.peer, expect.peer);
        assert_eq!(kept[0].ids().collect::<Vec<_>>(), ["a"]);
    }
}
