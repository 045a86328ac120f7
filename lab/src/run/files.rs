//! The files of a scenario.

use crate::place::Place;
use crate::place::stamp::parse_offset;
use crate::scenario::{FileSpec, FullFile, Scenario};
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::SystemTime;

/// Folders that every scenario has; nginx's workers write only to `tmp`, backends to `run`.
const FOLDERS: [(&str, u32); 5] =
    [("logs", 0o755), ("run", 0o777), ("tmp", 0o777), ("out", 0o777), ("bin", 0o755)];

/// Makes the folders and writes the files.
pub(crate) fn prepare(place: &Place, scenario: &Scenario) -> Result<()> {
    fs::set_permissions(&place.dir, fs::Permissions::from_mode(0o755))?;
    for (folder, mode) in FOLDERS {
        let path = place.path(folder);
        fs::create_dir_all(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    }
    for (path, spec) in &scenario.files {
        let full = match spec {
            FileSpec::Text(text) => &FullFile { text: text.clone(), ..FullFile::default() },
            FileSpec::Full(full) => full,
        };
        write(&place.path(path), full).with_context(|| path.clone())?;
    }
    Ok(())
}

fn write(path: &Path, file: &FullFile) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    if let Some(target) = &file.link {
        return Ok(std::os::unix::fs::symlink(target, path)?);
    }
    let text = match file.certificate.as_slice() {
        [] => file.text.clone(),
        names => crate::serve::self_signed_pem(names)?,
    };
    fs::write(path, text)?;
    if file.gzip {
        compress(path)?;
    }
    let mode = file.mode.as_deref().unwrap_or("0644");
    fs::set_permissions(path, fs::Permissions::from_mode(parse_mode(mode)?))?;
    if let Some(owner) = &file.owner {
        chown(path, owner)?;
    }
    if let Some(age) = &file.age {
        let ago = parse_offset(&format!("-{age}"))?.unsigned_abs();
        let then = SystemTime::now() - ago;
        fs::File::options().append(true).open(path)?.set_modified(then)?;
    }
    Ok(())
}

/// Compresses a file under its own name.
fn compress(path: &Path) -> Result<()> {
    let mut command = std::process::Command::new(crate::process::find_program("gzip")?);
    let finished = crate::process::run_bounded(
        command.args(["-n", "-c"]).arg(path),
        std::time::Duration::from_secs(10),
    )?;
    fs::File::create(path)?.write_all(&finished.stdout)?;
    Ok(())
}

/// An octal mode.
pub(super) fn parse_mode(mode: &str) -> Result<u32> {
    u32::from_str_radix(mode, 8).with_context(|| format!("{mode:?} is no mode"))
}

/// Gives a file to `user` or `user:group`.
pub(crate) fn chown(path: &Path, owner: &str) -> Result<()> {
    let (user, group) = owner.split_once(':').map_or((owner, None), |(user, group)| (user, Some(group)));
    let user = id("/etc/passwd", user)?;
    let group = group.map(|group| id("/etc/group", group)).transpose()?;
    std::os::unix::fs::chown(path, Some(user), group).with_context(|| path.display().to_string())
}

/// The number of a name in `/etc/passwd` or `/etc/group`: both have it in the third column.
pub(super) fn id(table: &str, name: &str) -> Result<u32> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let text = fs::read_to_string(table)?;
    for line in text.lines() {
        let mut columns = line.split(':');
        if columns.next() == Some(name)
            && let Some(number) = columns.nth(1).and_then(|number| number.parse().ok())
        {
            return Ok(number);
        }
    }
    bail!("{name:?} is not in {table}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_numbers() {
        assert_eq!(id("/etc/passwd", "root").unwrap(), 0);
        assert_eq!(id("/etc/group", "7").unwrap(), 7);
        assert!(id("/etc/passwd", "nobody-at-all").is_err());
        assert_eq!(parse_mode("0640").unwrap(), 0o640);
    }
}
