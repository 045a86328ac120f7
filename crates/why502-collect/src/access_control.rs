//! What security modules allow and denied: labels of processes, decisions of SELinux, the audit log.

use crate::files::{read_whole, unreadable, words};
use crate::root::RootDir;
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use why502_decode::host::{audit_serial, audit_stamp, decode_decision, is_denial};
use why502_facts::{
    Answer, AuditRecord, ConfinementRecord, DecisionRecord, FactBody, GapReason, Root, Stamp, lossy,
};

/// The audit log, unless auditd.conf(5) names another one.
const AUDIT_LOG: &str = "/var/log/audit/audit.log";
/// The most bytes of one audit log that are read, from its end: as much as auditd lets it grow by default.
const MAX_AUDIT: u64 = 8 << 20;
/// The most denials that are kept, the newest.
const MAX_DENIALS: usize = 400;
/// Where SELinux shows itself.
const SELINUX: &str = "/sys/fs/selinux";

/// How a process is confined.
pub(crate) fn read_confinement(pid: u32) -> Answer {
    let attributes = format!("/proc/{pid}/attr");
    if !Path::new(&format!("/proc/{pid}")).exists() {
        return Answer::Absent;
    }
    let label = match fs::read(format!("{attributes}/current")) {
        Ok(label) => Some(label.into()),
        // Without a module that has labels the kernel knows no value (`proc_pid_attr_read` in fs/proc/base.c), and one
        // that was built without any has no directory.
        Err(error) if is_unlabelled(&error) => None,
        Err(error) => return unreadable(errno(&error), &format!("{attributes}/current")),
    };
    let apparmor = fs::read(format!("{attributes}/apparmor/current")).ok().map(Into::into);
    let enforce = fs::read(format!("{SELINUX}/enforce")).ok().map(Into::into);
    Answer::known(FactBody::Confinement(ConfinementRecord { label, apparmor, enforce }))
}

/// Asks SELinux what it decides, without any effect: `sel_write_access` of `security/selinux/selinuxfs.c` computes the answer
/// from the loaded policy and its booleans.
pub(crate) fn read_decision(subject: &str, object: &str, class: &str, permission: &str) -> Answer {
    let is_word =
        |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/');
    if ![subject, object, class, permission].into_iter().all(is_word) {
        return Answer::unknown(GapReason::Unsupported, "not the names of contexts");
    }
    let decide = || -> io::Result<DecisionRecord> {
        let class_of = format!("{SELINUX}/class/{class}");
        let index = lossy(&fs::read(format!("{class_of}/index"))?);
        let bit = fs::read(format!("{class_of}/perms/{permission}"))?;
        let mut access = OpenOptions::new().read(true).write(true).open(format!("{SELINUX}/access"))?;
        access.write_all(format!("{subject} {object} {}", index.trim()).as_bytes())?;
        let mut answer = [0; 256];
        let length = access.read(&mut answer)?;
        Ok(DecisionRecord { answer: answer[..length].into(), bit: bit.into() })
    };
    match decide() {
        Ok(record) if decode_decision(&record).is_some() => Answer::known(FactBody::Decision(record)),
        Ok(_) => Answer::unknown(GapReason::Failed, format!("{SELINUX}/access answers in another form")),
        // A context that the loaded policy does not know.
        Err(error) if errno(&error) == Errno::INVAL => Answer::Absent,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Answer::unknown(GapReason::Unsupported, format!("{SELINUX} is not there"))
        }
        Err(error) => Answer::unknown(reason(&error), format!("{SELINUX}/access: {}", words(errno(&error)))),
    }
}

/// The denials of the audit log since a moment that hold one of the marks, with the other records of the same events.
pub(crate) fn read_audit(from: Option<Stamp>, marks: &[String]) -> Answer {
    let path = read_whole("/etc/audit/auditd.conf").as_deref().and_then(log_file);
    let path = path.unwrap_or_else(|| AUDIT_LOG.to_owned());
    let mut newest = match read_end(&path) {
        Ok(end) => end,
        Err(errno) => return unreadable(errno, &path),
    };
    let reaches = |end: &End| first_stamp(&end.bytes).zip(from).is_some_and(|(first, from)| first <= from);
    let mut complete = reaches(&newest);
    if !complete && newest.is_whole {
        // The window may begin in the log before this one; where there is none, this is all there ever was.
        complete = match read_end(&format!("{path}.1")) {
            Ok(older) => {
                let reaches = reaches(&older);
                newest.bytes.splice(0..0, older.bytes);
                reaches
            }
            Err(errno) => errno == Errno::NOENT,
        };
    }
    let lines = keep(&newest.bytes, from, marks).into();
    Answer::known(FactBody::Audit(AuditRecord { path, lines, complete }))
}

/// The end of a log.
struct End {
    bytes: Vec<u8>,
    /// Whether it is all of it.
    is_whole: bool,
}

fn read_end(path: &str) -> Result<End, Errno> {
    let (mut file, stat) = RootDir::open(Root::Host)?.open_file(path)?;
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    let begin = size.saturating_sub(MAX_AUDIT);
    let bytes = read_from(&mut file, begin).map_err(|error| errno(&error))?;
    Ok(End { bytes, is_whole: begin == 0 })
}

fn read_from(file: &mut File, begin: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(begin))?;
    let mut bytes = Vec::new();
    file.take(MAX_AUDIT).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The lines of denials that hold a mark, and those that tell how their system calls ended.
fn keep(bytes: &[u8], from: Option<Stamp>, marks: &[String]) -> Vec<u8> {
    let is_wanted = |line: &[u8]| {
        is_denial(line)
            && marks.iter().any(|mark| memchr::memmem::find(line, mark.as_bytes()).is_some())
            && from.is_none_or(|from| audit_stamp(line).is_some_and(|at| at >= from))
    };
    let lines = || bytes.split(|byte| *byte == b'\n');
    let mut serials: Vec<u64> = lines().filter(|line| is_wanted(line)).filter_map(audit_serial).collect();
    let serials: BTreeSet<u64> =
        serials.split_off(serials.len().saturating_sub(MAX_DENIALS)).into_iter().collect();
    let mut kept = Vec::new();
    for line in lines() {
        let is_call = line.starts_with(b"type=SYSCALL ");
        if (is_call || is_denial(line)) && audit_serial(line).is_some_and(|serial| serials.contains(&serial))
        {
            kept.extend_from_slice(line);
            kept.push(b'\n');
        }
    }
    kept
}

fn first_stamp(bytes: &[u8]) -> Option<Stamp> {
    bytes.split(|byte| *byte == b'\n').take(16).find_map(audit_stamp)
}

/// `log_file = PATH` of auditd.conf(5).
fn log_file(text: &[u8]) -> Option<String> {
    let text = lossy(text);
    let value =
        text.lines().find_map(|line| line.trim().strip_prefix("log_file")?.trim_start().strip_prefix('='))?;
    Some(value.trim().to_owned()).filter(|path| path.starts_with('/'))
}

fn is_unlabelled(error: &io::Error) -> bool {
    matches!(errno(error), Errno::INVAL | Errno::NOENT | Errno::OPNOTSUPP)
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

fn reason(error: &io::Error) -> GapReason {
    match error.kind() {
        io::ErrorKind::PermissionDenied => GapReason::Denied,
        _ => GapReason::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn avc(serial: u64, comm: &str) -> String {
        format!(
            "type=AVC msg=audit(100.000:{serial}): avc:  denied  {{ write }} for pid=1 comm=\"{comm}\"\n\
             type=SYSCALL msg=audit(100.000:{serial}): success=no exit=-13\n"
        )
    }

    #[test]
    fn this_process_has_a_confinement_or_none() {
        assert!(matches!(read_confinement(std::process::id()), Answer::Known(_)));
        assert_eq!(read_confinement(u32::MAX), Answer::Absent);
    }

    #[test]
    fn denials_with_a_mark_are_kept_with_their_system_calls() {
        let text = avc(1, "nginx") + &avc(2, "cron") + "type=LOGIN msg=audit(100.000:1): comm=\"nginx\"\n";
        let kept = keep(text.as_bytes(), None, &["comm=\"nginx\"".to_owned()]);
        assert_eq!(lossy(&kept), avc(1, "nginx"));
        assert!(keep(text.as_bytes(), Some(Stamp(100_001)), &["nginx".to_owned()]).is_empty());
    }

    #[test]
    fn the_newest_denials_are_kept_of_many() {
        let text: String = (0..1000).map(|serial| avc(serial, "nginx")).collect();
        let kept = lossy(&keep(text.as_bytes(), None, &["nginx".to_owned()]));
        assert_eq!(kept.lines().count(), 2 * MAX_DENIALS);
        assert!(kept.contains(":999)") && !kept.contains(":1)"));
    }

    #[test]
    fn the_log_s_path_is_that_of_its_daemon() {
        assert_eq!(log_file(b"#x\nlog_file = /srv/audit.log\n").as_deref(), Some("/srv/audit.log"));
        assert_eq!(log_file(b"log_format = RAW\n"), None);
    }

    #[test]
    fn a_decision_needs_selinux() {
        let answer = read_decision("u:r:a_t:s0", "u:r:b_t:s0", "tcp_socket", "name_connect");
        assert!(Path::new(SELINUX).exists() || matches!(answer, Answer::Unknown { .. }));
        assert!(matches!(read_decision("a b", "c", "../x", "y"), Answer::Unknown { .. }));
    }
}
