//! Denials as the kernel words them, in the audit log and in its own: AVC messages of SELinux and those of AppArmor.
//!
//! The audit log prefixes each record with `type=AVC msg=audit(SECONDS.MILLIS:SERIAL): `, the kernel's own log with `audit:
//! type=1400 audit(…): `. Records of one event share its serial number; the SYSCALL record tells the error.

use std::collections::BTreeMap;
use why502_facts::{
    AppArmorDenial, AuditLog, AuditRecord, Confinement, ConfinementRecord, Decision, DecisionRecord, Denial,
    Denied, SeLinuxDenial, Stamp, lossy,
};

/// `SELINUX_AVD_FLAGS_PERMISSIVE` of `security/selinux/include/security.h`.
const PERMISSIVE: u64 = 1;

/// The denials of an audit log, with the errors of their system calls.
pub fn decode_audit(record: &AuditRecord) -> AuditLog {
    let text = lossy(record.lines.as_slice());
    AuditLog { path: record.path.clone(), denials: parse_denials(&text), complete: record.complete }
}

/// The denials in lines of the audit log or of the kernel's log.
pub fn parse_denials(text: &str) -> Vec<Denial> {
    let mut denials: Vec<Denial> = text.lines().filter_map(denial).collect();
    let errors: BTreeMap<u64, i32> = text.lines().filter_map(error_of_call).collect();
    for denial in &mut denials {
        denial.errno = errors.get(&denial.serial).copied();
    }
    denials
}

/// Whether a line is the kernel's own about a denial. Messages of programs (`USER_AVC`) may quote anything.
pub fn is_denial(line: &[u8]) -> bool {
    let find = |words: &[u8]| memchr::memmem::find(line, words);
    let Some(begin) = find(b"audit(") else { return false };
    let is_of_kernel =
        [&b"type=AVC "[..], b"type=1400 "].iter().any(|kind| find(kind).is_some_and(|at| at < begin));
    let is_avc = find(b"avc:").is_some() && find(b"denied").is_some();
    is_of_kernel
        && (is_avc || find(b"apparmor=\"DENIED\"").is_some() || find(b"apparmor=\"ALLOWED\"").is_some())
}

/// The serial number of the event that a line belongs to.
pub fn audit_serial(line: &[u8]) -> Option<u64> {
    Some(event(&lossy(line))?.1)
}

/// When a line's event happened.
pub fn audit_stamp(line: &[u8]) -> Option<Stamp> {
    Some(event(&lossy(line))?.0)
}

/// How a process is confined.
pub fn decode_confinement(record: &ConfinementRecord) -> Confinement {
    let text = |blob: &why502_facts::Blob| lossy(blob.as_slice()).trim_matches(['\0', '\n', ' ']).to_owned();
    let label = record.apparmor.as_ref().or(record.label.as_ref()).map(text).unwrap_or_default();
    if label.is_empty() || label == "unconfined" {
        return Confinement::None;
    }
    // A profile of AppArmor is followed by its mode.
    if let Some((profile, mode)) = label.strip_suffix(')').and_then(|label| label.rsplit_once(" (")) {
        return Confinement::AppArmor { profile: profile.to_owned(), mode: mode.to_owned() };
    }
    // `kernel` is what SELinux calls every process before it has a policy.
    if label == "kernel" {
        return Confinement::None;
    }
    let enforcing = record.enforce.as_ref().map(|enforce| text(enforce) == "1");
    if label.split(':').count() < 3 {
        return Confinement::Other(label);
    }
    Confinement::SeLinux { context: label, enforcing }
}

/// What SELinux decides; `None` if the answer is none.
pub fn decode_decision(record: &DecisionRecord) -> Option<Decision> {
    let answer = lossy(record.answer.as_slice());
    let fields: Vec<&str> = answer.trim_matches(['\0', '\n']).split_ascii_whitespace().collect();
    let allowed = u32::from_str_radix(fields.first()?, 16).ok()?;
    let flags = u64::from_str_radix(fields.get(5)?, 16).ok()?;
    let bit: u32 = lossy(record.bit.as_slice()).trim_matches(['\0', '\n']).parse().ok()?;
    let mask = 1_u32.checked_shl(bit.checked_sub(1)?)?;
    Some(Decision { allowed: allowed & mask != 0, permissive: flags & PERMISSIVE != 0 })
}

/// `…audit(1796042031.179:48): …`: the moment, the serial number, and what follows.
fn event(line: &str) -> Option<(Stamp, u64, &str)> {
    let (_, rest) = line.split_once("audit(")?;
    let (stamp, rest) = rest.split_once(')')?;
    let (moment, serial) = stamp.split_once(':')?;
    let (seconds, millis) = moment.split_once('.')?;
    let (seconds, millis) = (seconds.parse::<i64>().ok()?, millis.parse::<i64>().ok()?);
    let at = Stamp(seconds.checked_mul(1000)?.checked_add(millis)?);
    Some((at, serial.parse().ok()?, rest.trim_start_matches([':', ' '])))
}

fn denial(line: &str) -> Option<Denial> {
    if !is_denial(line.as_bytes()) {
        return None;
    }
    let (at, serial, body) = event(line)?;
    let fields = Fields(body);
    let (what, only_noted) = if let Some(verdict) = fields.value("apparmor") {
        (Denied::AppArmor(apparmor(&fields)?), verdict != "DENIED")
    } else {
        (Denied::SeLinux(selinux(body, &fields)?), fields.value("permissive").as_deref() == Some("1"))
    };
    let pid = fields.value("pid").and_then(|pid| pid.parse().ok());
    let comm = fields.value("comm");
    Some(Denial { at, serial, pid, comm, what, only_noted, errno: None, line: line.to_owned() })
}

fn apparmor(fields: &Fields<'_>) -> Option<AppArmorDenial> {
    Some(AppArmorDenial {
        profile: fields.value("profile")?,
        operation: fields.value("operation")?,
        name: fields.value("name"),
        family: fields.value("family"),
        socket_type: fields.value("sock_type"),
        mask: fields.value("denied_mask").unwrap_or_default(),
    })
}

fn selinux(body: &str, fields: &Fields<'_>) -> Option<SeLinuxDenial> {
    let permissions = body.split_once('{')?.1.split_once('}')?.0;
    Some(SeLinuxDenial {
        permissions: permissions.split_ascii_whitespace().map(str::to_owned).collect(),
        subject: fields.value("scontext")?,
        object: fields.value("tcontext")?,
        class: fields.value("tclass")?,
        port: fields.value("dest").and_then(|port| port.parse().ok()),
        name: fields.value("name"),
        path: fields.value("path"),
    })
}

/// The serial number and the error of a SYSCALL record that failed.
fn error_of_call(line: &str) -> Option<(u64, i32)> {
    if !line.starts_with("type=SYSCALL ") {
        return None;
    }
    let (_, serial, body) = event(line)?;
    let exit: i32 = Fields(body).value("exit")?.parse().ok()?;
    Some((serial, exit.checked_neg().filter(|errno| *errno > 0)?))
}

/// Fields as the kernel writes them: `name=value`, a text that a process chose in quotes or, where it holds odd bytes, in
/// hexadecimal digits.
struct Fields<'l>(&'l str);

/// The fields whose unquoted values are hexadecimal.
const UNTRUSTED: [&str; 5] = ["comm", "name", "path", "profile", "exe"];

impl Fields<'_> {
    fn value(&self, name: &str) -> Option<String> {
        let mut rest = self.0;
        // Inside of quotes a process may have written whatever it likes.
        while let Some((key, after)) = rest.split_once('=') {
            let key = key.rsplit([' ', '\u{1d}']).next().unwrap_or(key);
            let (value, quoted, after) =
                if let Some((value, after)) = after.strip_prefix('"').and_then(|text| text.split_once('"')) {
                    (value, true, after)
                } else {
                    let end = after.find([' ', '\u{1d}']).unwrap_or(after.len());
                    (&after[..end], false, &after[end..])
                };
            if key == name {
                let hex = if quoted || !UNTRUSTED.contains(&name) { None } else { unhex(value) };
                return Some(hex.unwrap_or_else(|| value.to_owned()));
            }
            rest = after;
        }
        None
    }
}

fn unhex(text: &str) -> Option<String> {
    let is_hex =
        !text.is_empty() && text.len().is_multiple_of(2) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let pairs = is_hex.then(|| text.as_bytes().chunks_exact(2))?;
    let bytes: Option<Vec<u8>> =
        pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect();
    Some(lossy(&bytes?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As a Debian 12 guest wrote them.
    const SELINUX: &str = concat!(
        "type=AVC msg=audit(1796042031.179:48): avc:  denied  { name_connect } for  pid=1525 comm=\"nginx\" dest=3000 ",
        "scontext=system_u:system_r:httpd_t:s0 tcontext=system_u:object_r:ntop_port_t:s0 tclass=tcp_socket permissive=0\n",
        "type=SYSCALL msg=audit(1796042031.179:48): arch=c000003e syscall=42 success=no exit=-13 a0=a a1=552ac37828 a2=10 ",
        "a3=7fbfe0230c items=0 ppid=1524 pid=1525 auid=4294967295 uid=33 comm=\"nginx\" exe=\"/usr/sbin/nginx\" ",
        "subj=system_u:system_r:httpd_t:s0 key=(null)\u{1d}ARCH=x86_64 SYSCALL=connect AUID=\"unset\" UID=\"www-data\"\n",
        "type=PROCTITLE msg=audit(1796042031.179:48): proctitle=6E67696E783A20776F726B65722070726F63657373\n",
    );

    #[test]
    fn a_denial_of_selinux_is_paired_with_its_system_call() {
        let denials = parse_denials(SELINUX);
        let [denial] = denials.as_slice() else { panic!("{denials:?}") };
        let Denied::SeLinux(what) = &denial.what else { panic!("{denial:?}") };
        assert_eq!((denial.at, denial.pid, denial.errno), (Stamp(1_796_042_031_179), Some(1525), Some(13)));
        assert_eq!(
            (what.permissions.as_slice(), what.port),
            (["name_connect".to_owned()].as_slice(), Some(3000))
        );
        assert_eq!((what.class.as_str(), denial.only_noted), ("tcp_socket", false));
        assert_eq!(what.object, "system_u:object_r:ntop_port_t:s0");
    }

    #[test]
    fn the_kernel_s_log_words_it_alike() {
        let line = "[   39.54] audit: type=1400 audit(1796041989.029:25): avc:  denied  { search } for  pid=1449 \
                    comm=\"systemd-udevd\" name=\"fs\" dev=\"proc\" ino=41 scontext=system_u:system_r:udev_t:s0 \
                    tcontext=system_u:object_r:sysctl_fs_t:s0 tclass=dir permissive=1";
        let denials = parse_denials(line);
        assert!(denials[0].only_noted && denials[0].comm.as_deref() == Some("systemd-udevd"));
    }

    #[test]
    fn a_denial_of_apparmor_is_read() {
        let line = "audit: type=1400 audit(1796042031.179:48): apparmor=\"DENIED\" operation=\"create\" \
                    profile=\"/usr/sbin/nginx\" pid=785 comm=\"nginx\" family=\"inet6\" sock_type=\"stream\" protocol=0 \
                    requested_mask=\"create\" denied_mask=\"create\"";
        let denials = parse_denials(line);
        let Denied::AppArmor(what) = &denials[0].what else { panic!() };
        assert_eq!((what.profile.as_str(), what.family.as_deref()), ("/usr/sbin/nginx", Some("inet6")));
        assert!(parse_denials(&line.replace("DENIED", "ALLOWED"))[0].only_noted);
        assert!(parse_denials(&line.replace("DENIED", "STATUS")).is_empty());
    }

    #[test]
    fn what_a_process_wrote_in_quotes_is_no_field() {
        let line = "type=AVC msg=audit(1.2:3): avc:  denied  { write } for pid=1 comm=\"a scontext=b\" name=612062 \
                    scontext=u:r:httpd_t:s0 tcontext=u:r:var_run_t:s0 tclass=sock_file";
        let denials = parse_denials(line);
        let Denied::SeLinux(what) = &denials[0].what else { panic!() };
        assert_eq!((what.subject.as_str(), what.name.as_deref()), ("u:r:httpd_t:s0", Some("a b")));
    }

    #[test]
    fn what_a_program_says_is_no_denial() {
        let line = SELINUX.replace("type=AVC ", "type=USER_AVC ");
        assert!(parse_denials(&line).is_empty());
    }

    #[test]
    fn labels_tell_the_module() {
        let decode = |label: &str| {
            let record = ConfinementRecord {
                label: Some(label.into()),
                enforce: Some("1".into()),
                ..ConfinementRecord::default()
            };
            decode_confinement(&record)
        };
        let context = "system_u:system_r:httpd_t:s0".to_owned();
        assert_eq!(
            decode("system_u:system_r:httpd_t:s0\0"),
            Confinement::SeLinux { context, enforcing: Some(true) }
        );
        let (profile, mode) = ("/usr/sbin/nginx".to_owned(), "enforce".to_owned());
        assert_eq!(decode("/usr/sbin/nginx (enforce)\n"), Confinement::AppArmor { profile, mode });
        assert_eq!(decode("unconfined\n"), Confinement::None);
        assert_eq!(decode("floor"), Confinement::Other("floor".to_owned()));
        assert_eq!(decode_confinement(&ConfinementRecord::default()), Confinement::None);
    }

    #[test]
    fn a_decision_is_read_bit_by_bit() {
        let record =
            |bit: &str| DecisionRecord { answer: "2 ffffffff 0 fffffffe 1 1\0".into(), bit: bit.into() };
        assert_eq!(decode_decision(&record("2")), Some(Decision { allowed: true, permissive: true }));
        assert_eq!(decode_decision(&record("1")), Some(Decision { allowed: false, permissive: true }));
        assert_eq!(decode_decision(&record("0")), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parsers_panic(text in any::<Vec<u8>>(), label in any::<Vec<u8>>()) {
            let mut line = b"type=AVC msg=audit(1.2:3): avc: denied ".to_vec();
            line.extend(&text);
            let _ = parse_denials(&lossy(&line));
            let _ = parse_denials(&lossy(&text));
            let record = ConfinementRecord { label: Some(label.clone().into()), ..ConfinementRecord::default() };
            let _ = decode_confinement(&record);
            let _ = decode_decision(&DecisionRecord { answer: label.into(), bit: text.into() });
        }
    }
}
