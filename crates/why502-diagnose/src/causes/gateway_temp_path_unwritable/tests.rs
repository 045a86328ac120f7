use crate::fixture::Fixture;

const HIT: &str = r#"
#- nginx.conf
user www-data;
events {}
http {
    client_body_temp_path /var/lib/nginx/body;
    proxy_temp_path /var/lib/nginx/proxy 1 2;
    server { listen 80; server_name shop.example.com; location / { proxy_pass http://127.0.0.1:3000; } }
}
#- error.log
2026/11/21 02:28:30 [crit] 101#101: *9 open() "/var/lib/nginx/body/0000000001" failed (13: Permission denied), client: 10.0.0.9, server: shop.example.com, request: "POST /a HTTP/1.1", host: "shop.example.com"
#- access.log
10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] "POST /a HTTP/1.1" 500 177 "-" "curl/8"
#- path /var/lib/nginx/body
0755 0 0 dir /
0755 0 0 dir /var
0755 0 0 dir /var/lib
0755 0 0 dir /var/lib/nginx
0700 65534 65534 dir /var/lib/nginx/body
#- listeners
127.0.0.1:3000 node
#- probe 127.0.0.1:3000
answers
HTTP/1.1 200 OK

"#;
const BODY: &str = "path /var/lib/nginx/body";

fn log_with(errno: &str) -> String {
    Fixture::new(HIT).section("error.log").replace("13: Permission denied", errno)
}

fn path_with(last: &str) -> String {
    Fixture::new(HIT).section(BODY).replace("0700 65534 65534 dir /var/lib/nginx/body\n", last)
}

#[test]
fn hit_the_directory_is_another_user_s() {
    insta::assert_snapshot!(Fixture::new(HIT).summary(), @"
    Broken
    Confirmed gateway-temp-path-unwritable: client_body_temp_path /var/lib/nginx/body: user 33 may not search /var/lib/nginx/body (mode 0700, owner 65534, group 65534) [1 requests, still failing]
    ");
}

#[test]
fn hit_a_level_below_was_left_by_the_old_user() {
    let log = r#"2026/11/21 02:28:30 [crit] 101#101: *9 open() "/var/lib/nginx/proxy/1/00/0000000001" failed (13: Permission denied) while reading upstream, client: 10.0.0.9, server: shop.example.com, request: "GET /a HTTP/1.1", upstream: "http://127.0.0.1:3000/a", host: "shop.example.com"
"#;
    let own = "0755 0 0 dir /\n0755 0 0 dir /var\n0755 0 0 dir /var/lib\n0755 0 0 dir /var/lib/nginx\n0700 33 33 dir /var/lib/nginx/proxy\n";
    let levels = Fixture::new(HIT)
        .with("error.log", log)
        .with("access.log", "10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] \"GET /a HTTP/1.1\" 200 0 \"-\" \"curl/8\"\n")
        .with("path /var/lib/nginx/proxy", own)
        .with("path /var/lib/nginx/proxy/1/00", &format!("{own}0700 65534 65534 dir /var/lib/nginx/proxy/1\n0700 65534 65534 dir /var/lib/nginx/proxy/1/00\n"));
    insta::assert_snapshot!(levels.summary(), @"
    Broken
    Confirmed gateway-temp-path-unwritable: proxy_temp_path /var/lib/nginx/proxy: user 33 may not search /var/lib/nginx/proxy/1 (mode 0700, owner 65534, group 65534) [1 requests, still failing]
    ");
}

#[test]
fn hit_the_directory_is_gone() {
    let gone = Fixture::new(HIT)
        .with("error.log", &log_with("2: No such file or directory"))
        .with(BODY, &path_with(""));
    insta::assert_snapshot!(gone.summary(), @"
    Broken
    Confirmed gateway-temp-path-unwritable: client_body_temp_path /var/lib/nginx/body does not exist [1 requests, still failing]
    ");
}

#[test]
fn hit_a_file_stands_in_its_place() {
    let file = Fixture::new(HIT)
        .with("error.log", &log_with("20: Not a directory"))
        .with(BODY, &path_with("0644 0 0 file /var/lib/nginx/body\n"));
    insta::assert_snapshot!(file.summary(), @"
    Broken
    Confirmed gateway-temp-path-unwritable: client_body_temp_path /var/lib/nginx/body: /var/lib/nginx/body is no directory [1 requests, still failing]
    ");
}

#[test]
fn hit_the_mount_is_read_only() {
    let mount = Fixture::new(HIT)
        .with("error.log", &log_with("30: Read-only file system"))
        .with("file-system /var/lib/nginx/body", "ro point=/var kind=xfs");
    insta::assert_snapshot!(mount.summary(), @"
    Broken
    Confirmed gateway-temp-path-unwritable: client_body_temp_path /var/lib/nginx/body is on /var (xfs), which is mounted read-only [1 requests, still failing]
    ");
    insta::assert_snapshot!(mount.with("file-system /var/lib/nginx/body", "point=/var").summary(), @"
    Recovered
    Confirmed gateway-temp-path-unwritable: nginx could not write to client_body_temp_path /var/lib/nginx/body (read-only file system) [1 requests, mended]
    ");
}

#[test]
fn hit_it_was_given_back_since() {
    let mended = Fixture::new(HIT).with(BODY, &path_with("0700 33 33 dir /var/lib/nginx/body\n"));
    insta::assert_snapshot!(mended.summary(), @"
    Recovered
    Likely gateway-temp-path-unwritable: nginx could not write to client_body_temp_path /var/lib/nginx/body (permission denied) [1 requests, mended]
    ");
}

#[test]
fn near_miss_the_modes_allow_it_and_the_workers_are_confined() {
    let confined = Fixture::new(HIT)
        .with(BODY, &path_with("0700 33 33 dir /var/lib/nginx/body\n"))
        .with("/proc/101/attr/current", "system_u:system_r:httpd_t:s0");
    insta::assert_snapshot!(confined.summary(), @"
    Inconclusive
    Possible gateway-temp-path-unwritable: nginx cannot write to client_body_temp_path /var/lib/nginx/body (permission denied) [1 requests]
      open: whether an access control above the modes (SELinux, AppArmor) denies it: what SELinux or AppArmor denied was not looked at
    ");
}

#[test]
fn near_miss_a_password_file_that_may_not_be_read() {
    let log =
        Fixture::new(HIT).section("error.log").replace("/var/lib/nginx/body/0000000001", "/etc/nginx/users");
    insta::assert_snapshot!(Fixture::new(HIT).with("error.log", &log).summary(), @"
    Inconclusive
    unexplained: 1
    ");
}

#[test]
fn gap_only_the_message_was_seen() {
    insta::assert_snapshot!(Fixture::new(HIT).without(BODY).summary(), @"
    Broken
    Likely gateway-temp-path-unwritable: nginx cannot write to client_body_temp_path /var/lib/nginx/body (permission denied) [1 requests]
      open: what keeps the workers from writing there, and whether it still does: the fixture does not tell
    ");
    let missing = Fixture::new(HIT).with("error.log", &log_with("2: No such file or directory"));
    insta::assert_snapshot!(missing.with("options", "offline").summary(), @"
    Broken
    Confirmed gateway-temp-path-unwritable: nginx cannot write to client_body_temp_path /var/lib/nginx/body (no such file or directory) [1 requests]
      open: what keeps the workers from writing there, and whether it still does: not looked at: --offline
    ");
}
