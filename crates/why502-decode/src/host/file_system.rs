//! File systems: a line of `/proc/PID/mountinfo` (proc_pid_mountinfo(5)).

use why502_facts::{FileSystem, FileSystemRecord, Mount};

/// Decodes what is known of a file system.
pub fn decode_file_system(record: &FileSystemRecord) -> FileSystem {
    FileSystem {
        path: record.path.clone(),
        space: record.space,
        mount: record.mount.as_ref().and_then(|line| parse_mount(line.as_slice())),
    }
}

/// `36 35 98:0 /root /point rw,noatime master:1 - ext3 /dev/root rw,errors=continue`: behind the options stand any number of
/// tags, which a dash ends.
fn parse_mount(line: &[u8]) -> Option<Mount> {
    let text = String::from_utf8_lossy(line);
    let (mount, file_system) = text.trim_end().split_once(" - ")?;
    let mut mount = mount.split(' ').skip(4);
    let (point, options) = (mount.next()?, mount.next()?);
    let mut file_system = file_system.splitn(3, ' ');
    let (kind, source) = (file_system.next()?, file_system.next()?);
    let is_read_only = |options: &str| options.split(',').any(|option| option == "ro");
    Some(Mount {
        point: unescape(point),
        kind: kind.to_owned(),
        source: unescape(source),
        read_only: is_read_only(options),
        is_read_only_everywhere: file_system.next().is_some_and(is_read_only),
    })
}

/// Space, tab, line feed and backslash are written as three octal digits (`seq_path`, `mangle`).
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let digits =
            tail.get(..3).filter(|_| first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        if let Some(byte) = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            bytes.push(byte);
            rest = &tail[3..];
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    why502_facts::lossy(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use why502_facts::{Blob, FileSystemSpace};

    fn decoded(line: &[u8]) -> FileSystem {
        let mount = Some(Blob::from(line));
        decode_file_system(&FileSystemRecord {
            path: "/".to_owned(),
            space: FileSystemSpace::default(),
            mount,
        })
    }

    #[test]
    fn a_mount_is_read_with_and_without_tags() {
        let line = b"97 27 0:45 / /var/lib/my\\040cache ro,nosuid shared:3 master:1 - tmpfs tmp\\134fs rw,size=64k\n";
        let mount = decoded(line).mount.unwrap();
        assert_eq!((mount.point.as_str(), mount.kind.as_str()), ("/var/lib/my cache", "tmpfs"));
        assert_eq!(mount.source, "tmp\\fs");
        assert!(mount.read_only && !mount.is_read_only_everywhere);
        let whole = decoded(b"27 1 8:1 / / rw - ext4 /dev/sda1 ro,errors=remount-ro").mount.unwrap();
        assert!(!whole.read_only && whole.is_read_only_everywhere);
    }

    #[test]
    fn a_line_that_does_not_fit_is_no_mount() {
        for line in [&b""[..], b"27 1 8:1 / / rw", b"27 1 - ext4"] {
            assert_eq!(decoded(line).mount, None);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parsers_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decoded(&bytes);
        }
    }
}
