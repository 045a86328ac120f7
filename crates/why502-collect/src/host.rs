//! The host as a whole.

use jiff::{Timestamp, tz::TimeZone};
use std::fs;
use why502_facts::{Answer, FactBody, HostRecord, Stamp, ZoneOffset, ZoneOffsets};

/// How far around now the changes of the time zone are kept.
const ZONE_SPAN_DAYS: i64 = 400;

/// Name, release, kernel, boot time and time zone.
pub(crate) fn read_host() -> Answer {
    let uname = rustix::system::uname();
    let record = HostRecord {
        name: uname.nodename().to_str().ok().map(str::to_owned),
        os: fs::read_to_string("/etc/os-release").ok().as_deref().and_then(pretty_name),
        kernel: uname.release().to_str().ok().map(str::to_owned),
        booted: Some(boot_time()),
        uid: rustix::process::geteuid().as_raw(),
        zone: zone_offsets(&TimeZone::system()),
    };
    Answer::known(FactBody::Host(record))
}

fn pretty_name(os_release: &str) -> Option<String> {
    let value = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(value.trim_matches('"').to_owned())
}

/// When the clock that start times of processes count from began. `/proc/stat` has it to the second only, and a reload is
/// told from the failures before it by less.
fn boot_time() -> Stamp {
    let since_boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let since_boot_ms = since_boot.tv_sec * 1000 + since_boot.tv_nsec / 1_000_000;
    Stamp(Timestamp::now().as_millisecond() - since_boot_ms)
}

/// The offsets of a zone around now: a bundle must not need the time zone database of the machine that reads it.
fn zone_offsets(zone: &TimeZone) -> ZoneOffsets {
    let now = Timestamp::now();
    let begin = now - jiff::SignedDuration::from_hours(24 * ZONE_SPAN_DAYS);
    let end = now + jiff::SignedDuration::from_hours(24 * ZONE_SPAN_DAYS);
    let offset = |from: Timestamp, offset: jiff::tz::Offset| ZoneOffset {
        from: Stamp(from.as_millisecond()),
        offset_seconds: offset.seconds(),
    };
    let mut offsets = vec![offset(begin, zone.to_offset(begin))];
    let changes = zone.following(begin).take_while(|change| change.timestamp() < end);
    offsets.extend(changes.map(|change| offset(change.timestamp(), change.offset())));
    ZoneOffsets(offsets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn release_and_boot_time_are_read() {
        assert_eq!(pretty_name("NAME=x\nPRETTY_NAME=\"Debian 12\"\n").as_deref(), Some("Debian 12"));
        let told = fs::read_to_string("/proc/stat").unwrap();
        let told = told.lines().find_map(|line| line.strip_prefix("btime ")?.parse::<i64>().ok()).unwrap();
        assert!((boot_time().0 - told * 1000).abs() < 3000, "{:?} {told}", boot_time());
    }

    #[test]
    fn a_zone_with_summer_time_has_several_offsets() {
        assert_eq!(zone_offsets(&TimeZone::UTC).0.len(), 1);
        let berlin = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let offsets = zone_offsets(&berlin);
        assert!(offsets.0.len() >= 4);
        let july = "2026-07-01T00:00:00Z".parse::<Timestamp>().unwrap().as_millisecond();
        if offsets.0[0].from.0 < july {
            assert_eq!(offsets.at(Stamp(july)), Some(7200));
        }
    }
}
