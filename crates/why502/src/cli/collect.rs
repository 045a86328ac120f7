//! `why502 collect -o FILE`.

use super::diagnose::{Scope, record};
use crate::exit;
use crate::failure::Failure;
use crate::output::complain;
use clap::ValueHint;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use why502_facts::Bundle;

/// The options of `collect`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The bundle: an archive if it ends in .tar.zst, else a directory that does not exist yet.
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::AnyPath)]
    output: PathBuf,
    /// The URL or path that fails: begins with http://, https:// or /.
    #[arg(value_parser = crate::options::parse_url, value_hint = ValueHint::Url)]
    url: Option<String>,
    #[command(flatten)]
    scope: Scope,
}

/// Collects and writes the bundle.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let is_archive = args.output.to_string_lossy().ends_with(".tar.zst");
    if !is_archive && args.output.exists() {
        return Err(Failure::usage(format!("{} exists already", args.output.display()))
            .hint("a bundle is written to a new directory, or to a file that ends in .tar.zst"));
    }
    let bundle = record(&args.scope, args.url.as_deref())?;
    let failed =
        |error: std::io::Error| Failure::because(format!("cannot write {}", args.output.display()), error);
    if is_archive {
        write_archive(&bundle, &args.output)?;
    } else {
        write_directory(&bundle, &args.output).map_err(failed)?;
    }
    complain(&format!(
        "why502: {} facts in {}: why502 diagnose --bundle {}",
        bundle.facts.len(),
        args.output.display(),
        args.output.display()
    ));
    Ok(ExitCode::from(exit::WELL))
}

/// Written beside its place and moved there when it is whole; readable for nobody else.
fn write_archive(bundle: &Bundle, file: &Path) -> Result<(), Failure> {
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = |error: std::io::Error| Failure::because(format!("cannot write {}", file.display()), error);
    let mut temporary = tempfile::NamedTempFile::new_in(directory).map_err(failed)?;
    bundle
        .write_archive(&mut temporary)
        .map_err(|error| Failure::because(format!("cannot write {}", file.display()), error))?;
    temporary.persist(file).map_err(|error| failed(error.error))?;
    Ok(())
}

/// As [`write_archive`]: a bundle tells what only its maker may read.
fn write_directory(bundle: &Bundle, directory: &Path) -> std::io::Result<()> {
    let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = tempfile::TempDir::new_in(parent)?;
    let entries = bundle.to_entries().map_err(std::io::Error::other)?;
    fs::DirBuilder::new().mode(0o700).create(temporary.path().join("raw"))?;
    for (name, bytes) in entries {
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(temporary.path().join(name))?;
        file.write_all(&bytes)?;
    }
    fs::set_permissions(temporary.path(), fs::Permissions::from_mode(0o700))?;
    fs::rename(temporary.keep(), directory)
}
