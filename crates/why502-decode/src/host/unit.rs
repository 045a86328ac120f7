//! What `systemctl show` and `journalctl -o json` write of a unit.

use crate::logs::envelope::json::{self, Value};
use why502_facts::{Exit, JournalEntry, JournalRecord, Stamp, Unit, UnitEvent, lossy};

/// The longest message that is kept, in bytes.
const MAX_MESSAGE: usize = 2000;

/// A unit; `None` where systemd knows none of that name.
pub fn decode_unit(shown: &[u8]) -> Option<Unit> {
    let mut unit = Unit::default();
    for line in lossy(shown).lines() {
        let Some((name, value)) = line.split_once('=') else { continue };
        // Some properties have a line for each value.
        let own = unit.properties.entry(name.to_owned()).or_default();
        if !own.is_empty() && !value.is_empty() {
            own.push(' ');
        }
        own.push_str(value);
    }
    let name = unit.property("Id")?.to_owned();
    (unit.property("LoadState") != Some("not-found")).then_some(Unit { name, ..unit })
}

/// The entries of a journal, by time.
pub fn decode_journal(record: &JournalRecord) -> Vec<JournalEntry> {
    let lines = record.entries.as_slice().split(|byte| *byte == b'\n');
    let mut entries: Vec<JournalEntry> = lines.filter_map(entry).collect();
    entries.sort_by_key(|entry| entry.at);
    entries
}

fn entry(line: &[u8]) -> Option<JournalEntry> {
    let (mut at, mut pid, mut message, mut is_systemd) = (None, None, None, false);
    let mut scratch = Vec::new();
    for (key, value) in json::fields(line)? {
        let Value::Text(text) = value else { continue };
        let number = || std::str::from_utf8(text).ok()?.parse::<u64>().ok();
        match key {
            b"__REALTIME_TIMESTAMP" => at = number().and_then(|micros| i64::try_from(micros / 1000).ok()),
            b"_PID" => pid = number().and_then(|pid| u32::try_from(pid).ok()),
            // Fields with an underscore are the journal's own, and no message can forge them.
            b"_COMM" => is_systemd = text == b"systemd",
            b"MESSAGE" => {
                let text = json::unescape(text, &mut scratch);
                message = Some(lossy(&text[..text.len().min(MAX_MESSAGE)]));
            }
            _ => {}
        }
    }
    let message = message?;
    let by_manager = is_systemd || pid == Some(1);
    let event = if by_manager { event(&message) } else { None };
    Some(JournalEntry { at: Stamp(at?), pid, event, by_manager, message })
}

/// What the service manager tells of a unit.
fn event(message: &str) -> Option<UnitEvent> {
    let is_unit = |name: &str| [".service", ".socket", ".scope"].iter().any(|suffix| name.ends_with(suffix));
    let Some((_, says)) = message.split_once(": ").filter(|(name, _)| is_unit(name)) else {
        let first = message.split(' ').next()?;
        return match first {
            "Started" => Some(UnitEvent::Started),
            "Starting" => Some(UnitEvent::Starting),
            "Stopped" => Some(UnitEvent::Stopped),
            "Stopping" => Some(UnitEvent::Stopping),
            _ => None,
        };
    };
    if let Some(how) = says.strip_prefix("Main process exited, code=") {
        let status: u32 = how.split_once("status=")?.1.split('/').next()?.parse().ok()?;
        return match how.split(',').next()? {
            "exited" => Some(UnitEvent::Exited(Exit::Code(status))),
            "killed" | "dumped" => Some(UnitEvent::Exited(Exit::Signal(status))),
            _ => None,
        };
    }
    if let Some(counter) = says.strip_prefix("Scheduled restart job, restart counter is at ") {
        return Some(UnitEvent::RestartScheduled(counter.trim_end_matches('.').parse().ok()?));
    }
    // `src/core/unit.c`: `unit_check_oom` and `unit_check_oomd_kill`.
    if says.starts_with("systemd-oomd killed ") && says.ends_with(" process(es) in this unit.") {
        return Some(UnitEvent::ProcessOutOfMemory);
    }
    [
        ("A process of this unit has been killed by the OOM killer", UnitEvent::ProcessOutOfMemory),
        ("Failed with result 'oom-kill'", UnitEvent::OutOfMemory),
        ("Failed with result '", UnitEvent::Failed),
        ("Start request repeated too quickly", UnitEvent::StartLimitHit),
        ("Deactivated successfully", UnitEvent::Deactivated),
        ("Succeeded", UnitEvent::Deactivated),
    ]
    .into_iter()
    .find(|(words, _)| says.starts_with(words))
    .map(|(_, event)| event)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_unit_is_read_and_one_that_is_not_there_is_none() {
        let shown = b"Id=shop.service\nLoadState=loaded\nActiveState=failed\nResult=exit-code\nNRestarts=4\nExecMainCode=1\nExecMainStatus=3\nListen=127.0.0.1:80 (Stream)\nListen=/run/a.sock (Stream)\n";
        let unit = decode_unit(shown).unwrap();
        assert_eq!(
            (unit.name.as_str(), unit.active_state(), unit.n_restarts()),
            ("shop.service", "failed", 4)
        );
        assert_eq!(unit.exit(), Some(Exit::Code(3)));
        assert_eq!(unit.property("Listen"), Some("127.0.0.1:80 (Stream) /run/a.sock (Stream)"));
        assert_eq!(decode_unit(b"Id=no.service\nLoadState=not-found\nActiveState=inactive\n"), None);
        assert_eq!(decode_unit(b""), None);
    }

    #[test]
    fn the_manager_s_words_are_understood_and_others_are_not() {
        use UnitEvent::{
            Deactivated, Exited, Failed, OutOfMemory, ProcessOutOfMemory, RestartScheduled, StartLimitHit,
            Started, Stopping,
        };
        for (message, expected) in [
            ("shop.service: Main process exited, code=exited, status=1/FAILURE", Some(Exited(Exit::Code(1)))),
            ("shop.service: Main process exited, code=killed, status=9/KILL", Some(Exited(Exit::Signal(9)))),
            (
                "shop.service: Main process exited, code=dumped, status=11/SEGV",
                Some(Exited(Exit::Signal(11))),
            ),
            ("shop.service: Failed with result 'exit-code'.", Some(Failed)),
            ("shop.service: Failed with result 'oom-kill'.", Some(OutOfMemory)),
            (
                "shop.service: A process of this unit has been killed by the OOM killer.",
                Some(ProcessOutOfMemory),
            ),
            ("shop.service: systemd-oomd killed 3 process(es) in this unit.", Some(ProcessOutOfMemory)),
            ("shop.service: Scheduled restart job, restart counter is at 3.", Some(RestartScheduled(3))),
            ("shop.service: Start request repeated too quickly.", Some(StartLimitHit)),
            ("shop.service: Deactivated successfully.", Some(Deactivated)),
            ("Started shop.service - Shop.", Some(Started)),
            ("Stopping Shop...", Some(Stopping)),
            ("shop.service: Consumed 1.2s CPU time.", None),
            ("Reloading.", None),
        ] {
            assert_eq!(event(message), expected, "{message}");
        }
    }

    #[test]
    fn only_the_manager_tells_events() {
        let line = |pid: u32, comm: &str| {
            format!(
                "{{\"MESSAGE\":\"Started \\u0022x\\u0022\",\"_PID\":\"{pid}\",\"_COMM\":\"{comm}\",\"__REALTIME_TIMESTAMP\":\"1795228110250999\",\"UNIT\":\"shop.service\"}}\n"
            )
        };
        let entries = format!("{}{}not json\n", line(1, "systemd"), line(77, "node"));
        let record = JournalRecord { entries: entries.as_str().into(), truncated: false };
        let decoded = decode_journal(&record);
        assert_eq!(decoded[0].at, Stamp(1_795_228_110_250));
        assert_eq!(
            decoded.iter().map(|entry| entry.event).collect::<Vec<_>>(),
            [Some(UnitEvent::Started), None]
        );
        assert_eq!(decoded[1].pid, Some(77));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parsers_panic(bytes in any::<Vec<u8>>(), text in "[{}\":,a-zA-Z=. ']{0,60}") {
            decode_unit(&bytes);
            event(&text);
            let entries = [bytes.as_slice(), b"\n", text.as_bytes()].concat();
            decode_journal(&JournalRecord { entries: entries.into(), truncated: false });
        }
    }
}
