//! What was typed, resolved: durations, moments, absolute paths, and what the run may do.

use crate::cli::{COMMANDS, nearest};
use crate::failure::Failure;
use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Span, SpanRelativeTo, Timestamp, Zoned};
use std::path::{Path, PathBuf};
use std::time::Duration;
use why502_facts::Stamp;

/// How far back failures count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Since {
    /// As far as there is anything.
    All,
    /// That long.
    Last(Duration),
}

/// Reads `all`, or a duration.
pub(crate) fn parse_since(text: &str) -> Result<Since, String> {
    if text == "all" { Ok(Since::All) } else { parse_duration(text).map(Since::Last) }
}

/// Reads a duration: `90s`, `10m`, `1h30m`, `2d`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let hint = "write a duration with its unit, like 90s, 10m, 1h30m or 2d";
    let span: Span = text.parse().map_err(|_| hint.to_owned())?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| hint.to_owned())?;
    let duration = Duration::try_from(duration).map_err(|_| "a duration cannot be negative".to_owned())?;
    if duration.is_zero() {
        Err("a duration of zero leaves nothing to look at".to_owned())
    } else {
        Ok(duration)
    }
}

/// Reads a moment: `02:10` (the last one), `2026-11-21T02:10` (in the host's zone), `2026-11-21T02:10Z`.
pub(crate) fn parse_moment(text: &str) -> Result<Stamp, String> {
    let now = Zoned::now();
    let moment =
        moment(text, &now).ok_or("write a moment like 02:10, 2026-11-21T02:10 or 2026-11-21T02:10Z")?;
    Ok(Stamp(moment.as_millisecond()))
}

fn moment(text: &str, now: &Zoned) -> Option<Timestamp> {
    // Seconds may be left out, which RFC 3339 does not allow.
    if let Some(local) = text.strip_suffix(['Z', 'z']) {
        return Some(parse_local(local)?.to_zoned(TimeZone::UTC).ok()?.timestamp());
    }
    if let Ok(stamp) = text.parse::<Timestamp>() {
        return Some(stamp);
    }
    if let Some(local) = parse_local(text) {
        return Some(local.to_zoned(now.time_zone().clone()).ok()?.timestamp());
    }
    let time: Time = text.parse().ok()?;
    let today = now.with().time(time).build().ok()?;
    let last = if today > *now { today.yesterday().ok()?.with().time(time).build().ok()? } else { today };
    Some(last.timestamp())
}

fn parse_local(text: &str) -> Option<DateTime> {
    // A time alone is no moment yet.
    text.contains('-').then(|| text.parse().ok()).flatten()
}

/// Commands of the contract that are still to come.
const LATER: [&str; 4] = ["check", "fix", "route", "trace"];

/// Checks a URL as the contract says it begins.
pub(crate) fn parse_url(text: &str) -> Result<String, String> {
    // A scheme is the same in capitals (RFC 3986, 3.1).
    let is_web = |scheme: &str| ["http", "https"].iter().any(|own| scheme.eq_ignore_ascii_case(own));
    let rest = text.split_once("://").filter(|(scheme, _)| is_web(scheme)).map(|(_, rest)| rest);
    if let Some(rest) = rest {
        check_authority(rest.split(['/', '?', '#']).next().unwrap_or_default())?;
    }
    if rest.is_some() || text.starts_with('/') {
        return Ok(text.to_owned());
    }
    if LATER.contains(&text) {
        return Err(format!("this version has no command `{text}` yet"));
    }
    if let [command] = nearest(text, COMMANDS.into_iter()).as_slice() {
        return Err(format!("no command is called {text}: did you mean `why502 {command}`?"));
    }
    let looks_like_host = text.contains('.') || text.contains(':') || text == "localhost";
    Err(if looks_like_host {
        format!("a URL begins with http://, https:// or /: try http://{text}")
    } else {
        format!("a URL begins with http://, https:// or /: try /{text}, or `why502 --help` for the commands")
    })
}

/// Checks the host and port of a URL, which may stand behind a user's name.
fn check_authority(authority: &str) -> Result<(), String> {
    let place = authority.rsplit('@').next().unwrap_or(authority);
    let host_end = place.rfind(']').unwrap_or(0);
    let (host, port) = match place[host_end..].find(':') {
        Some(at) => (&place[..host_end + at], Some(&place[host_end + at + 1..])),
        None => (place, None),
    };
    if host.is_empty() {
        return Err("the URL names no host".to_owned());
    }
    match port.filter(|port| !port.is_empty()) {
        Some(port) if !port.parse::<u16>().is_ok_and(|number| number > 0) => {
            Err(format!("{port} is no port: it is a number from 1 to 65535"))
        }
        _ => Ok(()),
    }
}

/// A path as seen from the directory that the program was started in.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path)
        .map_err(|error| Failure::because(format!("cannot resolve {}", path.display()), error))
}

/// A path that an option names must be there.
pub(crate) fn existing(path: &Path, option: &str) -> Result<String, Failure> {
    let absolute = absolute(path)?;
    if let Err(error) = std::fs::metadata(&absolute) {
        // Standing in its way is no reason to doubt that it is there; the collector says what it may not read.
        if error.kind() != std::io::ErrorKind::PermissionDenied {
            return Err(Failure::because(format!("{option} {}", path.display()), error)
                .hint("the file that an option names must exist"));
        }
    }
    in_words(absolute, path, option)
}

/// A path that an option names must lead to a regular file: a pipe or a device has no end.
pub(crate) fn existing_file(path: &Path, option: &str) -> Result<String, Failure> {
    if std::fs::metadata(path).is_ok_and(|status| !status.is_file()) {
        return Err(Failure::usage(format!("{option} {} is no regular file", path.display())));
    }
    existing(path, option)
}

fn in_words(absolute: PathBuf, path: &Path, option: &str) -> Result<String, Failure> {
    match absolute.into_os_string().into_string() {
        Ok(path) => Ok(path),
        Err(_) => Err(Failure::usage(format!("{option}: {} is no UTF-8", path.display()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        assert_eq!(parse_duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("1h30m"), Ok(Duration::from_mins(90)));
        assert_eq!(parse_duration("2d"), Ok(Duration::from_hours(48)));
        for refused in ["", "90", "x", "0s", "-1h"] {
            assert!(parse_duration(refused).is_err(), "{refused}");
        }
        assert_eq!(parse_since("all"), Ok(Since::All));
    }

    #[test]
    fn a_time_alone_is_the_last_one() {
        // No name of a zone: a host need not have a zone database.
        let now: DateTime = "2026-11-21T03:00:00".parse().unwrap();
        let now = now.to_zoned(TimeZone::fixed(jiff::tz::offset(1))).unwrap();
        let at = |text: &str| {
            moment(text, &now).map(|stamp| stamp.to_zoned(now.time_zone().clone()).datetime().to_string())
        };
        assert_eq!(at("02:10").as_deref(), Some("2026-11-21T02:10:00"));
        assert_eq!(at("23:10").as_deref(), Some("2026-11-20T23:10:00"));
        assert_eq!(at("2026-11-19T02:10").as_deref(), Some("2026-11-19T02:10:00"));
        assert_eq!(
            moment("2026-11-21T02:10Z", &now).map(|stamp| stamp.to_string()).as_deref(),
            Some("2026-11-21T02:10:00Z")
        );
        assert_eq!(at("yesterday"), None);
    }

    #[test]
    fn a_url_has_a_host_and_a_port_that_there_is() {
        for good in ["HTTP://a/b", "http://a:/", "https://[::1]:443/x", "http://me:pw@a:80?q=:0"] {
            assert!(parse_url(good).is_ok(), "{good}");
        }
        for bad in ["http://a:99999/", "http://a:0", "http://[::1]:x/", "http:///a", "http://:80/"] {
            assert!(parse_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_no_url_gets_a_suggestion() {
        assert!(parse_url("http://a/b").is_ok() && parse_url("/api").is_ok());
        assert!(parse_url("example.com/a").unwrap_err().contains("http://example.com/a"));
        assert!(parse_url("diagnos").unwrap_err().contains("`why502 diagnose`"));
        assert!(parse_url("restart").unwrap_err().contains("--help"));
    }
}
