//! The releases of nginx in its git repository, read file by file.

use super::source::{self, Declarations};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The oldest release that is read; what it knows is taken to be as old as nginx.
pub(crate) const OLDEST: Release = Release(1, 14, 0);

/// A release of nginx.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Release(pub(crate) u16, pub(crate) u16, pub(crate) u16);

/// What the releases declare.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// All releases, the oldest first.
    pub(crate) releases: Vec<Release>,
    /// Directives with the releases that have them.
    pub(crate) directives: BTreeMap<(String, source::Command), BTreeSet<Release>>,
    /// The types of the modules: `NGX_HTTP_MODULE` and so on.
    pub(crate) modules: BTreeMap<String, String>,
    /// The variables with the releases that have them.
    pub(crate) variables: BTreeMap<source::Variable, BTreeSet<Release>>,
    /// The options of `configure` that switch modules on and off.
    pub(crate) options: BTreeSet<String>,
}

/// A git repository, bare or not.
#[derive(Debug)]
pub(crate) struct Repository {
    path: PathBuf,
}

impl Repository {
    pub(crate) fn new(path: &str) -> Self {
        Self { path: PathBuf::from(path) }
    }

    fn git(&self, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new("git").arg("-C").arg(&self.path).args(arguments).output();
        let output = output.map_err(|error| format!("git: {error}"))?;
        if !output.status.success() {
            return Err(format!(
                "git {arguments:?} in {}: {}",
                self.path.display(),
                String::from_utf8_lossy(&output.stderr)
            ));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The files of a commit whose names end so, with the ids of their content.
    fn files(&self, commit: &str, endings: &[&str]) -> Result<Vec<(String, String)>, String> {
        let listing = self.git(&["ls-tree", "-r", commit])?;
        let files = listing.lines().filter_map(|line| {
            let (head, path) = line.split_once('\t')?;
            let blob = head.split_ascii_whitespace().nth(2)?;
            endings.iter().any(|ending| path.ends_with(ending)).then(|| (path.to_owned(), blob.to_owned()))
        });
        Ok(files.collect())
    }

    /// The contents of those ids.
    fn contents(&self, blobs: &BTreeSet<String>) -> Result<BTreeMap<String, String>, String> {
        let fail = |error: std::io::Error| format!("git cat-file: {error}");
        let mut child = Command::new("git")
            .arg("-C")
            .arg(&self.path)
            .args(["cat-file", "--batch"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(fail)?;
        let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("git cat-file: no pipes".to_owned());
        };
        let asked: String = blobs.iter().flat_map(|blob| [blob.as_str(), "\n"]).collect();
        // Fed from a thread of its own: git answers while it is still being asked.
        let feeder = std::thread::spawn(move || input.write_all(asked.as_bytes()));
        let mut output = BufReader::new(output);
        let mut contents = BTreeMap::new();
        for blob in blobs {
            let mut head = String::new();
            output.read_line(&mut head).map_err(fail)?;
            let size = head.split_ascii_whitespace().nth(2).and_then(|size| size.parse::<usize>().ok());
            let mut text = vec![0; size.ok_or_else(|| format!("git cat-file: {head}"))? + 1];
            output.read_exact(&mut text).map_err(fail)?;
            contents.insert(blob.clone(), String::from_utf8_lossy(&text).into_owned());
        }
        feeder.join().map_err(|_| "git cat-file: broken".to_owned())?.map_err(fail)?;
        child.wait().map_err(fail)?;
        Ok(contents)
    }
}

/// Reads all releases of nginx since [`OLDEST`].
pub(crate) fn read(nginx: &Repository) -> Result<History, String> {
    let mut releases: Vec<(Release, String)> = nginx
        .git(&["tag", "--list", "release-*"])?
        .lines()
        .filter_map(|tag| Some((release(tag.strip_prefix("release-")?)?, tag.to_owned())))
        .filter(|(release, _)| *release >= OLDEST)
        .collect();
    releases.sort();
    let mut history =
        History { releases: releases.iter().map(|(release, _)| *release).collect(), ..History::default() };
    let mut files = Vec::new();
    for (release, tag) in &releases {
        files.extend(nginx.files(tag, &[".c"])?.into_iter().map(|(_, blob)| (*release, blob)));
        let options = nginx.git(&["show", &format!("{tag}:auto/options")])?;
        history.options.extend(module_options(&options));
    }
    let blobs: BTreeSet<String> = files.iter().map(|(_, blob)| blob.clone()).collect();
    let declared: BTreeMap<String, Declarations> =
        nginx.contents(&blobs)?.into_iter().map(|(blob, text)| (blob, source::read(&text))).collect();
    for (release, blob) in files {
        history.add(release, &declared[&blob]);
    }
    Ok(history)
}

/// The names of all directives in a repository of somebody else's module.
pub(crate) fn names_of(repository: &Repository) -> Result<Vec<String>, String> {
    let blobs = repository.files("HEAD", &[".c", ".cpp", ".h"])?.into_iter().map(|(_, blob)| blob).collect();
    let declared = repository.contents(&blobs)?;
    let declared: Vec<Declarations> = declared.values().map(|text| source::read(text)).collect();
    let commands = declared.iter().flat_map(|declared| declared.commands.values().flatten());
    Ok(commands.map(|command| command.name.clone()).collect())
}

impl History {
    fn add(&mut self, release: Release, declared: &Declarations) {
        for (module, commands, kind) in &declared.modules {
            self.modules.insert(module.clone(), kind.clone());
            for command in declared.commands.get(commands).into_iter().flatten() {
                let key = (module.clone(), command.clone());
                self.directives.entry(key).or_default().insert(release);
            }
        }
        for variable in &declared.variables {
            self.variables.entry(variable.clone()).or_default().insert(release);
        }
    }
}

fn release(text: &str) -> Option<Release> {
    let mut numbers = text.split('.').map(str::parse);
    match (numbers.next(), numbers.next(), numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor)), Some(Ok(patch)), None) => Some(Release(major, minor, patch)),
        _ => None,
    }
}

/// `--with-http_ssl_module)` and the like.
fn module_options(text: &str) -> impl Iterator<Item = String> {
    let options = text.lines().filter_map(|line| line.trim_start().split_once(')')).map(|(option, _)| option);
    let wanted = options.filter(|option| {
        (option.starts_with("--with-") || option.starts_with("--without-"))
            && (option.ends_with("_module") || option.ends_with("-stream") || option.ends_with("-mail"))
    });
    wanted.map(str::to_owned)
}
