//! Where the result goes: stdout, or a file that is never half-written.

use crate::failure::Failure;
use crate::render::terminal;
use std::fs;
use std::io::{self, IsTerminal as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// When to use colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set or TERM is dumb.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Color {
    /// Whether a result that goes to `file`, or to stdout, is coloured.
    pub(crate) fn applies(self, file: Option<&Path>) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => {
                let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
                let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
                file.is_none() && io::stdout().is_terminal() && !is_set("NO_COLOR") && !is_dumb
            }
        }
    }
}

/// Writes the result to a file, or to stdout.
pub(crate) fn write_result(text: &str, file: Option<&Path>) -> Result<(), Failure> {
    let Some(file) = file else {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        return Ok(stdout.flush()?);
    };
    write_file(text.as_bytes(), file)
        .map_err(|error| Failure::because(format!("cannot write {}", file.display()), error))
}

/// Writes beside the file and moves it there when it is whole; a pipe or a device is written to as it is.
fn write_file(bytes: &[u8], file: &Path) -> io::Result<()> {
    // /dev/stdout may lead to a pipe, which has no path of its own.
    if fs::metadata(file).is_ok_and(|target| !target.is_file()) {
        return fs::OpenOptions::new().write(true).open(file)?.write_all(bytes);
    }
    // What a link leads to is replaced, not the link.
    let file = fs::canonicalize(file).unwrap_or_else(|_| match fs::read_link(file) {
        Ok(target) => file.parent().unwrap_or(Path::new("")).join(target),
        Err(_) => file.to_path_buf(),
    });
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Said before a temporary name would be.
    fs::metadata(directory)?;
    // As any program would create it: the umask decides.
    let permissions = fs::Permissions::from_mode(0o666);
    let mut temporary = tempfile::Builder::new().permissions(permissions).tempfile_in(directory)?;
    temporary.write_all(bytes)?;
    temporary.persist(file).map_err(|error| error.error)?;
    Ok(())
}

/// Says something on stderr; if nobody listens, nothing is lost.
pub(crate) fn complain(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", terminal(line));
}
