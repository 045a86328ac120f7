use super::*;
use proptest::prelude::*;
use std::fmt::Write as _;

const BERLIN: i32 = 3600;

fn decode(manager: PackageManager, lines: &str) -> PackageLog {
    let first = lines.lines().next().unwrap_or_default();
    let oldest = &first[..package_stamp_end(manager, first.as_bytes()).unwrap_or(0)];
    let modified = Some(time_iso8601(b"2026-11-21T05:00:00Z").unwrap());
    let record = PackageLogRecord { lines: lines.into(), oldest: oldest.into(), is_whole: false, modified };
    decode_package_log(manager, &record, Some(BERLIN))
}

/// One change per line.
fn told(manager: PackageManager, lines: &str) -> String {
    let mut text = String::new();
    for change in decode(manager, lines).changes {
        let version = |version: &Option<String>| version.clone().unwrap_or_else(|| "-".to_owned());
        let (old, new) = (version(&change.old), version(&change.new));
        writeln!(text, "{} {:?} {} {old} {new}", change.at, change.action, change.name).unwrap();
    }
    text
}

#[test]
fn dpkg_tells_local_time_and_both_versions() {
    let lines = "\
2026-11-21 04:10:00 startup archives unpack
2026-11-21 04:10:01 upgrade nginx:amd64 1.22.1-9 1.22.1-9+deb12u1
2026-11-21 04:10:01 status half-configured nginx:amd64 1.22.1-9
2026-11-21 04:10:02 install libnginx-mod-http-echo:amd64 <none> 1:0.63-4
2026-11-21 04:10:03 upgrade php8.2-fpm:amd64 8.2.7-1 8.2.7-1
2026-11-21 04:10:04 remove apache2:amd64 2.4.57-2 <none>
2026-11-21 04:10:05 purge apache2:amd64 2.4.57-2 <none>
2026-11-21 04:10:06 configure nginx:amd64 1.22.1-9+deb12u1 <none>
2026-11-21 04:10:07 trigproc libc-bin:amd64 2.36-9 <none>
";
    assert_eq!(
        told(PackageManager::Dpkg, lines).lines().collect::<Vec<_>>(),
        [
            "2026-11-21T03:10:01Z Upgraded nginx 1.22.1-9 1.22.1-9+deb12u1",
            "2026-11-21T03:10:02Z Installed libnginx-mod-http-echo - 1:0.63-4",
            "2026-11-21T03:10:03Z Reinstalled php8.2-fpm 8.2.7-1 8.2.7-1",
            "2026-11-21T03:10:04Z Removed apache2 2.4.57-2 -",
        ]
    );
    let log = decode(PackageManager::Dpkg, lines);
    assert_eq!(log.reaches_back.map(|at| at.to_string()).as_deref(), Some("2026-11-21T03:10:00Z"));
}

#[test]
fn dnf_writes_of_both_versions_of_a_replacement() {
    let lines = "\
2026-11-21T03:10:00+0000 INFO --- logging initialized ---
2026-11-21T03:10:00+0000 SUBDEBUG Upgrade: nginx-1:1.22.1-4.el9.x86_64
2026-11-21T03:10:01+0000 SUBDEBUG Installed: nginx-mod-stream-1:1.22.1-4.el9.x86_64
2026-11-21T03:10:09+0000 SUBDEBUG Upgraded: nginx-1:1.20.1-14.el9.x86_64
2026-11-21T04:10:10+0100 SUBDEBUG Erase: php-fpm-8.0.30-1.el9.x86_64
2026-11-21T03:10:11Z SUBDEBUG Upgraded: openssl-libs-1:3.0.7-24.el9.x86_64
";
    assert_eq!(
        told(PackageManager::Dnf, lines).lines().collect::<Vec<_>>(),
        [
            "2026-11-21T03:10:00Z Upgraded nginx 1:1.20.1-14.el9 1:1.22.1-4.el9",
            "2026-11-21T03:10:01Z Installed nginx-mod-stream - 1:1.22.1-4.el9",
            "2026-11-21T03:10:10Z Removed php-fpm 8.0.30-1.el9 -",
            "2026-11-21T03:10:11Z Upgraded openssl-libs 1:3.0.7-24.el9 -",
        ]
    );
}

#[test]
fn yum_has_no_year() {
    let lines = "\
Dec 31 23:59:59 Installed: nodejs-16.20.2-1.el7.x86_64
Nov 21 04:10:00 Updated: 1:nginx-1.20.1-10.el7.x86_64
Nov 21 04:10:02 Erased: php-fpm
";
    assert_eq!(
        told(PackageManager::Yum, lines).lines().collect::<Vec<_>>(),
        [
            "2025-12-31T22:59:59Z Installed nodejs - 16.20.2-1.el7",
            "2026-11-21T03:10:00Z Upgraded nginx - 1:1.20.1-10.el7",
            "2026-11-21T03:10:02Z Removed php-fpm - -",
        ]
    );
}

#[test]
fn pacman_and_zypper_are_read() {
    let lines = "\
[2026-11-21T03:10:00+0000] [PACMAN] Running 'pacman -Syu'
[2026-11-21T03:10:01+0000] [ALPM] transaction started
[2026-11-21T03:10:02+0000] [ALPM] upgraded nginx (1.24.0-1 -> 1.26.0-1)
[2026-11-21T03:10:03+0000] [ALPM] removed php (8.2.1-1)
[2026-11-21 03:10] [ALPM] installed old (1-1)
";
    assert_eq!(
        told(PackageManager::Pacman, lines).lines().collect::<Vec<_>>(),
        [
            "2026-11-21T03:10:02Z Upgraded nginx 1.24.0-1 1.26.0-1",
            "2026-11-21T03:10:03Z Removed php 8.2.1-1 -",
        ]
    );
    let lines = "\
# 2026-11-21 04:09:59 nginx-1.21.5.rpm installed ok
2026-11-21 04:09:00|command|root@shop|'zypper' 'in' 'nginx'|
2026-11-21 04:10:00|install|nginx|1.21.5-150400.3.3.1|x86_64|root@shop|repo-oss|abc|
2026-11-21 04:10:01|remove |apache2|2.4.51-1|x86_64|root@shop|
";
    assert_eq!(
        told(PackageManager::Zypper, lines).lines().collect::<Vec<_>>(),
        [
            "2026-11-21T03:10:00Z Installed nginx - 1.21.5-150400.3.3.1",
            "2026-11-21T03:10:01Z Removed apache2 2.4.51-1 -",
        ]
    );
}

#[test]
fn near_misses_are_passed_over() {
    let garbage = [
        "",
        "2026-11-21 04:10:01",
        "2026-11-21 04:10:01 upgrade",
        "2026-11-21 04:10:01 upgrade nginx:amd64",
        "2026-13-21 04:10:01 upgrade nginx:amd64 1 2",
        "21.11.2026 04:10:01 upgrade nginx:amd64 1 2",
        "2026-11-21 04:10:01 Aktualisierung nginx:amd64 1 2",
        "2026-11-21 04:10:01 upgrade ngi\u{1b}nx 1 2",
        "2026-11-21 04:10:01|install|nginx|1.2",
        "2026-11-21T03:10:00+0000 SUBDEBUG Upgraded: nginx",
        "2026-11-21T03:10:00+0000 SUBDEBUG Upgraded nginx-1-1.x86_64",
        "[2026-11-21T03:10:00+0000 [ALPM] upgraded nginx (1 -> 2)",
        "[2026-11-21T03:10:00+0000] [ALPM] upgraded nginx (1 -> 2",
        "Nob 21 04:10:00 Updated: nginx-1-1.x86_64",
        "Nov 21 04:10:00 Updated nginx-1-1.x86_64",
    ];
    for manager in PackageManager::ALL {
        for line in garbage {
            assert!(!is_package_line(manager, line.as_bytes()), "{manager:?} {line}");
            assert_eq!(told(manager, line), "", "{manager:?} {line}");
        }
    }
}

#[test]
fn local_time_without_a_zone_is_no_moment() {
    let line = "2026-11-21 04:10:01 upgrade nginx:amd64 1 2";
    let record = PackageLogRecord { lines: line.into(), oldest: line.into(), ..PackageLogRecord::default() };
    let log = decode_package_log(PackageManager::Dpkg, &record, None);
    assert_eq!((log.changes.len(), log.reaches_back), (0, None));
}

proptest! {
    #[test]
    fn no_bytes_make_the_parsers_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0_usize..60) {
        for manager in PackageManager::ALL {
            for line in [
                &b"2026-11-21 04:10:01 upgrade nginx:amd64 1.22.1-9 2"[..],
                b"2026-11-21T03:10:00+0000 SUBDEBUG Upgraded: nginx-1:1.2-4.el9.x86_64",
                b"[2026-11-21T03:10:02+0000] [ALPM] upgraded nginx (1.24.0-1 -> 1.26.0-1)",
                b"Nov 21 04:10:00 Updated: 1:nginx-1.20.1-10.el7.x86_64",
            ] {
                let line = [&line[..cut.min(line.len())], &bytes].concat();
                let _ = (is_package_line(manager, &line), package_stamp_end(manager, &line));
                let record = PackageLogRecord {
                    lines: line.clone().into(),
                    oldest: line.into(),
                    is_whole: true,
                    modified: Some(Stamp(1_795_230_600_000)),
                };
                let log = decode_package_log(manager, &record, Some(BERLIN));
                prop_assert!(log.changes.iter().all(|change| !change.name.is_empty()));
            }
        }
    }
}
