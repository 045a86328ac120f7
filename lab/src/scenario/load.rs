//! Scenario files, and what is wrong with them.

use super::Scenario;
use anyhow::{Context as _, Result, anyhow, bail};
use std::fs;
use std::path::{Path, PathBuf};

/// A scenario with its name: the path of its file below the folder, without the ending.
#[derive(Clone, Debug)]
pub struct Named {
    /// `upstream-not-listening/literal`.
    pub name: String,
    /// Its file.
    pub file: PathBuf,
    /// What it says.
    pub scenario: Scenario,
}

/// Reads every scenario of a folder, in order of their names.
pub fn find(folder: &Path) -> Result<Vec<Named>> {
    let mut files = Vec::new();
    list(folder, &mut files)?;
    files.sort();
    let mut found: Vec<Named> = Vec::new();
    for file in files {
        let relative = file.strip_prefix(folder).unwrap_or(&file).with_extension("");
        let name = relative.to_string_lossy().into_owned();
        let scenario = read(&file)?;
        found.push(Named { name, file, scenario });
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    if found.is_empty() {
        bail!("{}: no scenario there", folder.display());
    }
    Ok(found)
}

/// Reads one scenario.
pub fn read(file: &Path) -> Result<Scenario> {
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    parse(&text).map_err(|message| anyhow!("{}:{message}", file.display()))
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            list(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    Ok(())
}

/// Reads one scenario; an error begins with the line.
fn parse(text: &str) -> Result<Scenario, String> {
    let scenario: Scenario = toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let line = text.get(..at).unwrap_or(text).matches('\n').count() + 1;
        format!("{line}: {}", error.message())
    })?;
    check(&scenario).map_err(|message| format!("1: {message}"))?;
    Ok(scenario)
}

/// What the types cannot say.
fn check(scenario: &Scenario) -> Result<(), String> {
    let expect = &scenario.expect;
    if expect.cause.is_empty() != (expect.verdict == super::Verdict::Healthy) {
        return Err("a healthy system has no cause, and any other has one".to_owned());
    }
    let names: Vec<&str> = scenario.backend.iter().map(|backend| backend.name.as_str()).collect();
    for (at, name) in names.iter().enumerate() {
        if name.is_empty() || names[..at].contains(name) {
            return Err(format!("every backend needs a name of its own, {name:?} is none"));
        }
    }
    for step in scenario.prepare.iter().chain(&scenario.step) {
        use super::Step::{Kill, Start, Stop};
        if let Start(name) | Stop(name) | Kill(name) = step
            && !names.contains(&name.as_str())
        {
            return Err(format!("no backend is called {name:?}"));
        }
    }
    for backend in &scenario.backend {
        let is_program = backend.kind == super::BackendKind::Program;
        let has = |need: super::Need| scenario.needs.contains(&need);
        if backend.memory.is_some() && !(is_program && has(super::Need::MemoryLimit)) {
            return Err("memory is limited of programs alone, and needs \"memory-limit\"".to_owned());
        }
        if backend.processor_percent.is_some() && !(is_program && has(super::Need::ProcessorLimit)) {
            return Err(
                "processor time is limited of programs alone, and needs \"processor-limit\"".to_owned()
            );
        }
    }
    if !scenario.mounts.is_empty() && !scenario.needs.contains(&super::Need::OwnHost) {
        return Err("mounts need \"own-host\"".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_line() {
        let error = parse("title = \"x\"\n[expect]\ncause = [\"a\"]\ncolour = 1\n").unwrap_err();
        assert!(error.starts_with("4: unknown field `colour`"), "{error}");
        let error =
            parse("title = \"x\"\n[[step]]\nstart = \"app\"\n[expect]\ncause = [\"a\"]\n").unwrap_err();
        assert_eq!(error, "1: no backend is called \"app\"");
    }

    #[test]
    fn a_cause_and_a_healthy_verdict_do_not_go_together() {
        assert!(parse("title = \"x\"\n[expect]\nverdict = \"healthy\"\n").is_ok());
        assert!(parse("title = \"x\"\n[expect]\nverdict = \"healthy\"\ncause = [\"a\"]\n").is_err());
        assert!(parse("title = \"x\"\n[expect]\n").is_err());
    }

    #[test]
    fn every_scenario_can_be_read() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        let scenarios = find(&folder).unwrap();
        assert!(!scenarios.is_empty());
    }
}
