//! The logs of package managers: what was installed, replaced and removed, and when.

use super::kernel_log::without_year;
use crate::logs::stamps::{date_time, month_day_time, time_iso8601};
use std::time::Duration;
use why502_facts::{
    Civil, PackageAction, PackageChange, PackageLog, PackageLogRecord, PackageManager, Stamp, lossy,
};

/// How far the two lines of one replacement may lie apart: DNF writes of the new version and of the old one.
const MAX_TRANSACTION: Duration = Duration::from_mins(30);
/// The longest name or version that is taken for one, in bytes.
const MAX_WORD: usize = 128;

/// Whether a line of a package manager's log tells of something that was done to a package.
pub fn is_package_line(manager: PackageManager, line: &[u8]) -> bool {
    split(manager, line).is_some_and(|(_, told)| event(manager, told).is_some())
}

/// Where the stamp ends with which a line of a package manager's log begins; `None` if it begins with none.
pub fn package_stamp_end(manager: PackageManager, line: &[u8]) -> Option<usize> {
    split(manager, line).map(|(_, told)| line.len() - told.len())
}

/// What the log of a package manager says; `zone` is how far the host's clock is ahead of UTC, in seconds.
///
/// A line that does not fit is passed over: it was cut, or tells of something else.
pub fn decode_package_log(
    manager: PackageManager,
    record: &PackageLogRecord,
    zone: Option<i32>,
) -> PackageLog {
    let at = |reading: Reading<'_>| match reading {
        Reading::Local(civil) => Some(civil.at_offset(zone?)),
        Reading::Yearless(line) => without_year(line, record.modified?, zone?),
        Reading::Zoned(stamp) => Some(stamp),
    };
    let mut changes: Vec<PackageChange> = Vec::new();
    for line in record.lines.as_slice().split(|byte| *byte == b'\n') {
        let Some((reading, told)) = split(manager, line) else { continue };
        let (Some(at), Some(event)) = (at(reading), event(manager, told)) else { continue };
        take(&mut changes, at, event);
    }
    changes.sort_by(|a, b| (a.at, &a.name).cmp(&(b.at, &b.name)));
    let reaches_back = split(manager, record.oldest.as_slice()).and_then(|(reading, _)| at(reading));
    PackageLog { reaches_back, is_whole: record.is_whole, changes }
}

/// A stamp as it stands in a line.
enum Reading<'l> {
    Local(Civil),
    /// Without its year: the line.
    Yearless(&'l [u8]),
    Zoned(Stamp),
}

/// What a line tells.
#[derive(Debug, PartialEq, Eq)]
struct Event {
    action: PackageAction,
    name: String,
    old: Option<String>,
    new: Option<String>,
}

/// The stamp of a line, and what follows it.
fn split(manager: PackageManager, line: &[u8]) -> Option<(Reading<'_>, &[u8])> {
    match manager {
        // `2021-05-18T15:14:01Z SUBDEBUG …`, since 4.7 with the local zone: `+0000`.
        PackageManager::Dnf => {
            let end = memchr::memchr(b' ', line)?;
            Some((Reading::Zoned(time_iso8601(&line[..end])?), &line[end + 1..]))
        }
        // `2026-11-21 03:10:00 upgrade …` (`log_message` in lib/dpkg/log.c): local time.
        PackageManager::Dpkg => Some((Reading::Local(date_time(line)?), line.get(19..)?.strip_prefix(b" ")?)),
        // `[2026-11-21T03:10:00+0000] [ALPM] …`; before 5.2 there was no zone, and no second.
        PackageManager::Pacman => {
            let end = memchr::memchr(b']', line)?;
            let stamp = time_iso8601(line.get(1..end).filter(|_| line[0] == b'[')?)?;
            Some((Reading::Zoned(stamp), line[end + 1..].strip_prefix(b" ")?))
        }
        // `Nov 21 03:10:00 Updated: …`.
        PackageManager::Yum => {
            month_day_time(line)?;
            Some((Reading::Yearless(line), line.get(15..)?.strip_prefix(b" ")?))
        }
        // `2026-11-21 03:10:00|install|…`: local time (libzypp, `HistoryLog`).
        PackageManager::Zypper => {
            Some((Reading::Local(date_time(line)?), line.get(19..)?.strip_prefix(b"|")?))
        }
    }
}

fn event(manager: PackageManager, told: &[u8]) -> Option<Event> {
    match manager {
        PackageManager::Dnf => dnf(told),
        PackageManager::Dpkg => dpkg(told),
        PackageManager::Pacman => pacman(told),
        PackageManager::Yum => yum(told),
        PackageManager::Zypper => zypper(told),
    }
}

/// `upgrade nginx:amd64 1.22.1-9 1.22.1-9+deb12u1`; a version that is not there is `<none>`.
fn dpkg(told: &[u8]) -> Option<Event> {
    let mut words = told.split(|byte| *byte == b' ');
    let action = words.next()?;
    let (package, old, new) = (word(words.next()?)?, word(words.next()?)?, words.next().and_then(word));
    let action = match action {
        b"install" => PackageAction::Installed,
        b"upgrade" if new.as_deref() == Some(&*old) => PackageAction::Reinstalled,
        b"upgrade" => PackageAction::Upgraded,
        b"remove" | b"purge" => PackageAction::Removed,
        _ => return None,
    };
    let name = package.split_once(':').map_or(&*package, |(name, _)| name).to_owned();
    let is_version = |version: &String| version != "<none>";
    // What is removed has no new version; dpkg repeats the old one or writes `<none>`.
    let new = new.filter(|new| is_version(new) && action != PackageAction::Removed);
    Some(Event { action, name, old: Some(old).filter(is_version), new })
}

/// `SUBDEBUG Upgrade: nginx-1:1.22.1-4.el9.x86_64` with the new version, `Upgraded: …` with the old one.
fn dnf(told: &[u8]) -> Option<Event> {
    let told = told.strip_prefix(b"SUBDEBUG ").or_else(|| told.strip_prefix(b"INFO "))?;
    let end = memchr::memmem::find(told, b": ")?;
    let (action, is_old) = rpm_action(&told[..end])?;
    let (name, version) = nevra(&word(&told[end + 2..])?)?;
    Some(of_version(action, name, version, is_old))
}

/// `Updated: 1:nginx-1.20.1-10.el7.x86_64`, `Erased: nginx`.
fn yum(told: &[u8]) -> Option<Event> {
    let end = memchr::memmem::find(told, b": ")?;
    let (action, _) = rpm_action(&told[..end])?;
    let package = word(&told[end + 2..])?;
    if action == PackageAction::Removed {
        let name = nevra(&package).map_or(package, |(name, _)| name);
        return Some(Event { action, name, old: None, new: None });
    }
    let (epoch, rest) = package.split_once(':').unwrap_or(("", &package));
    let (name, version) = nevra(rest)?;
    let version = if epoch.is_empty() { version } else { format!("{epoch}:{version}") };
    Some(Event { action, name, old: None, new: Some(version) })
}

/// What the words of DNF and yum mean, and whether the version with them is the one that is gone.
fn rpm_action(word: &[u8]) -> Option<(PackageAction, bool)> {
    Some(match word {
        b"Install" | b"Installed" | b"Dep-Installed" => (PackageAction::Installed, false),
        b"Upgrade" | b"Update" | b"Updated" => (PackageAction::Upgraded, false),
        b"Upgraded" => (PackageAction::Upgraded, true),
        b"Downgrade" => (PackageAction::Downgraded, false),
        b"Downgraded" => (PackageAction::Downgraded, true),
        b"Reinstall" | b"Reinstalled" => (PackageAction::Reinstalled, false),
        b"Erase" | b"Erased" | b"Remove" | b"Removed" | b"Obsoleted" => (PackageAction::Removed, true),
        _ => return None,
    })
}

/// `[ALPM] upgraded nginx (1.24.0-1 -> 1.26.0-1)`, `[ALPM] installed nginx (1.26.0-1)`.
fn pacman(told: &[u8]) -> Option<Event> {
    let told = std::str::from_utf8(told.strip_prefix(b"[ALPM] ")?).ok()?;
    let (action, rest) = told.split_once(' ')?;
    let (name, versions) = rest.split_once(" (")?;
    let versions = versions.strip_suffix(')')?;
    let name = word(name.as_bytes())?;
    let action = match action {
        "downgraded" => PackageAction::Downgraded,
        "installed" => PackageAction::Installed,
        "reinstalled" => PackageAction::Reinstalled,
        "removed" => PackageAction::Removed,
        "upgraded" => PackageAction::Upgraded,
        _ => return None,
    };
    let (old, new) = match versions.split_once(" -> ") {
        Some((old, new)) => (Some(old), Some(new)),
        None if action == PackageAction::Removed => (Some(versions), None),
        None => (None, Some(versions)),
    };
    let version = |text: Option<&str>| text.and_then(|text| word(text.as_bytes()));
    Some(Event { action, name, old: version(old), new: version(new) })
}

/// `install|nginx|1.21.5-150400.3.3.1|x86_64|root@shop|repository|checksum|`; `remove ` is padded.
fn zypper(told: &[u8]) -> Option<Event> {
    let mut fields = told.split(|byte| *byte == b'|');
    let action = fields.next()?.trim_ascii();
    let (name, version) = (word(fields.next()?)?, word(fields.next()?)?);
    // The architecture follows: without it the line was cut.
    fields.next()?;
    match action {
        b"install" => Some(Event { action: PackageAction::Installed, name, old: None, new: Some(version) }),
        b"remove" => Some(Event { action: PackageAction::Removed, name, old: Some(version), new: None }),
        _ => None,
    }
}

/// The name and the version of `nginx-1:1.22.1-4.el9.x86_64`.
fn nevra(package: &str) -> Option<(String, String)> {
    let (rest, architecture) = package.rsplit_once('.')?;
    let (rest, release) = rest.rsplit_once('-')?;
    let (name, version) = rest.rsplit_once('-')?;
    let parts = [name, version, release, architecture];
    parts.iter().all(|part| !part.is_empty()).then(|| (name.to_owned(), format!("{version}-{release}")))
}

fn of_version(action: PackageAction, name: String, version: String, is_old: bool) -> Event {
    let (old, new) = if is_old { (Some(version), None) } else { (None, Some(version)) };
    Event { action, name, old, new }
}

/// A name or a version: printable, without spaces, not longer than these are.
fn word(text: &[u8]) -> Option<String> {
    let is_word = !text.is_empty() && text.len() <= MAX_WORD && text.iter().all(u8::is_ascii_graphic);
    is_word.then(|| lossy(text))
}

/// Adds what a line tells; the second line about one package in one transaction completes the first.
fn take(changes: &mut Vec<PackageChange>, at: Stamp, event: Event) {
    let Event { action, name, old, new } = event;
    let is_half = |change: &&mut PackageChange| {
        let completes = (change.old.is_none() && new.is_none()) || (change.new.is_none() && old.is_none());
        change.name == name
            && change.action == action
            && action != PackageAction::Removed
            && completes
            && at.since(change.at) <= MAX_TRANSACTION
    };
    if let Some(change) = changes.iter_mut().rev().find(is_half) {
        change.old = change.old.take().or(old);
        change.new = change.new.take().or(new);
        return;
    }
    // What is purged was removed before.
    let is_again = |change: &PackageChange| {
        action == PackageAction::Removed
            && change.action == action
            && change.name == name
            && at.since(change.at) <= MAX_TRANSACTION
    };
    if !changes.iter().rev().any(is_again) {
        changes.push(PackageChange { at, action, name, old, new });
    }
}

#[cfg(test)]
mod tests;
