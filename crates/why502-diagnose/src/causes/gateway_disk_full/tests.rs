use crate::fixture::Fixture;

const HIT: &str = r#"
#- nginx.conf
user www-data;
events {}
http {
    client_body_temp_path /var/lib/nginx/body;
    proxy_cache_path /var/cache/nginx keys_zone=pages:1m;
    server { listen 80; server_name shop.example.com; location / { proxy_pass http://127.0.0.1:3000; } }
}
#- error.log
2026/11/21 02:28:30 [crit] 101#101: *9 pwritev() "/var/lib/nginx/body/0000000001" failed (28: No space left on device), client: 10.0.0.9, server: shop.example.com, request: "POST /a HTTP/1.1", host: "shop.example.com"
#- access.log
10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] "POST /a HTTP/1.1" 500 177 "-" "curl/8"
#- file-system /var/lib/nginx/body
blocks=0/4194304 inodes=5000/1000000 point=/var
#- listeners
127.0.0.1:3000 node
#- probe 127.0.0.1:3000
answers
HTTP/1.1 200 OK

"#;
const WELL: &str = "10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] \"GET /a HTTP/1.1\" 200 17 \"-\" \"curl/8\"\n";
const STORE: &str = "file-system /var/lib/nginx/body";

#[test]
fn hit_no_block_is_left() {
    insta::assert_snapshot!(Fixture::new(HIT).summary(), @"
    Broken
    Confirmed gateway-disk-full: /var (ext4) has no space left for client_body_temp_path /var/lib/nginx/body [1 requests, still failing]
    ");
}

#[test]
fn hit_what_is_left_is_for_root_alone() {
    let reserved = Fixture::new(HIT).with(STORE, "blocks=0/4194304 reserved=200000 point=/var").report();
    let evidence = &reserved.findings[0].evidence;
    assert!(
        evidence.iter().any(|own| own.says.contains("beside 781 MiB that only root may take")),
        "{evidence:?}"
    );
}

#[test]
fn hit_no_inode_is_left() {
    let log = Fixture::new(HIT).section("error.log").replace("pwritev()", "open()");
    let inodes = Fixture::new(HIT)
        .with("error.log", &log)
        .with(STORE, "blocks=900000/4194304 inodes=0/65536 point=/var");
    insta::assert_snapshot!(inodes.summary(), @"
    Broken
    Confirmed gateway-disk-full: /var (ext4) has no inode left for client_body_temp_path /var/lib/nginx/body [1 requests, still failing]
    ");
}

#[test]
fn hit_room_was_made_since() {
    insta::assert_snapshot!(Fixture::new(HIT).with(STORE, "blocks=2000000/4194304 point=/var").summary(), @"
    Recovered
    Confirmed gateway-disk-full: /var (ext4) was full under client_body_temp_path /var/lib/nginx/body [1 requests, mended]
    ");
}

#[test]
fn hit_a_small_one_may_have_filled_itself() {
    let small = Fixture::new(HIT).with(STORE, "blocks=16384/16384 point=/tmp kind=tmpfs");
    insta::assert_snapshot!(small.summary(), @"
    Broken
    Confirmed gateway-disk-full: /tmp (tmpfs) ran full under client_body_temp_path /var/lib/nginx/body [1 requests]
    ");
    let served = "10.0.0.9 - - [21/Nov/2026:02:28:40 +0000] \"POST /a HTTP/1.1\" 200 17 \"-\" \"curl/8\"\n";
    let access = small.section("access.log").to_owned() + served;
    insta::assert_snapshot!(small.with("access.log", &access).summary(), @"
    Recovered
    Confirmed gateway-disk-full: /tmp (tmpfs) was full under client_body_temp_path /var/lib/nginx/body [1 requests, mended]
    ");
}

#[test]
fn hit_a_quota_is_used_up() {
    let log = Fixture::new(HIT)
        .section("error.log")
        .replace("28: No space left on device", "122: Disk quota exceeded");
    let quota = Fixture::new(HIT).with("error.log", &log).with(STORE, "blocks=2000000/4194304 point=/home");
    insta::assert_snapshot!(quota.summary(), @"
    Broken
    Confirmed gateway-disk-full: the disk quota under client_body_temp_path /var/lib/nginx/body is used up [1 requests]
    ");
}

#[test]
fn hit_an_answer_that_could_only_not_be_kept_is_no_failure() {
    let log = r#"2026/11/21 02:28:30 [crit] 101#101: *9 mkdir() "/var/cache/nginx/2" failed (28: No space left on device) while reading upstream, client: 10.0.0.9, server: shop.example.com, request: "GET /a HTTP/1.1", upstream: "http://127.0.0.1:3000/a", host: "shop.example.com"
"#;
    let access = "10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] \"GET /a HTTP/1.1\" 200 177 \"-\" \"curl/8\"\n";
    let kept = Fixture::new(HIT)
        .with("error.log", log)
        .with("access.log", access)
        .with("file-system /var/cache/nginx", "inodes=0/10 point=/var/cache");
    insta::assert_snapshot!(kept.summary(), @"
    AtRisk
    Confirmed gateway-disk-full: /var/cache (ext4) has no inode left for proxy_cache_path /var/cache/nginx [0 requests, still failing]
    ");
}

#[test]
fn hit_logs_that_are_silent_because_theirs_is_full() {
    let silent = Fixture::new(HIT)
        .with("error.log", "")
        .with("access.log", WELL)
        .with("file-system /var/log/nginx/access.log", "blocks=0/1000 point=/var/log")
        .with("file-system /var/log/nginx/error.log", "blocks=0/1000 point=/var/log");
    insta::assert_snapshot!(silent.summary(), @"
    AtRisk
    Likely gateway-disk-full: /var/log (ext4) has no space left for error_log /var/log/nginx/error.log [0 requests, still failing]
    ");
}

#[test]
fn near_miss_a_full_file_system_that_nginx_writes_nothing_to() {
    let well = Fixture::new(HIT)
        .with("error.log", "")
        .with("access.log", WELL)
        .with("file-system /var/log/nginx/access.log", "blocks=10000/20000")
        .with("file-system /var/log/nginx/error.log", "blocks=10000/20000");
    insta::assert_snapshot!(well.summary(), @"Healthy");
}

#[test]
fn gap_the_file_system_cannot_be_seen() {
    insta::assert_snapshot!(Fixture::new(HIT).without(STORE).summary(), @"
    Broken
    Confirmed gateway-disk-full: the file system ran full under client_body_temp_path /var/lib/nginx/body [1 requests]
      open: whether blocks or inodes are missing, and whether they still are: the fixture does not tell
    ");
    let offline = Fixture::new(HIT).with("options", "offline").without("nginx.conf");
    insta::assert_snapshot!(offline.summary(), @"
    Broken
    Confirmed gateway-disk-full: the file system ran full under /var/lib/nginx/body [1 requests]
      open: whether blocks or inodes are missing, and whether they still are: not looked at: --offline
    ");
}
