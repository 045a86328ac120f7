use crate::fixture::Fixture;
use crate::report::{Report, StepInfo};

/// The texts are those of a Debian 12 guest.
const TCP: &str = r#"
#- nginx.conf
events {}
http {
    server {
        listen 80;
        location / { proxy_pass http://127.0.0.1:3000; }
    }
}
#- error.log
2026/11/21 02:33:51 [crit] 101#101: *1 connect() to 127.0.0.1:3000 failed (13: Permission denied) while connecting to upstream, client: 127.0.0.1, server: , request: "GET / HTTP/1.1", upstream: "http://127.0.0.1:3000/", host: "127.0.0.1"
#- listeners
127.0.0.1:3000 python3
#- probe 127.0.0.1:3000
answers
HTTP/1.0 200 OK

#- confinement
system_u:system_r:httpd_t:s0 1
#- audit.log
type=AVC msg=audit(1795228431.179:48): avc:  denied  { name_connect } for  pid=101 comm="nginx" dest=3000 scontext=system_u:system_r:httpd_t:s0 tcontext=system_u:object_r:ntop_port_t:s0 tclass=tcp_socket permissive=0
type=SYSCALL msg=audit(1795228431.179:48): arch=c000003e syscall=42 success=no exit=-13 a0=a a1=552ac37828 a2=10 comm="nginx" exe="/usr/sbin/nginx" subj=system_u:system_r:httpd_t:s0 key=(null)
#- decision ntop_port_t tcp_socket name_connect
denied
#- decision http_port_t tcp_socket name_connect
denied
#- glob /sys/fs/selinux/booleans/httpd_*
/sys/fs/selinux/booleans/httpd_can_network_connect
/sys/fs/selinux/booleans/httpd_can_network_connect_db
/sys/fs/selinux/booleans/httpd_can_network_relay
"#;

const UNIX: &str = r#"
#- nginx.conf
events {}
http {
    server {
        listen 80;
        location / { proxy_pass http://unix:/run/app/app.sock; }
    }
}
#- error.log
2026/11/21 02:33:51 [crit] 101#101: *3 connect() to unix:/run/app/app.sock failed (13: Permission denied) while connecting to upstream, client: 127.0.0.1, server: , request: "GET / HTTP/1.1", upstream: "http://unix:/run/app/app.sock:/", host: "127.0.0.1"
#- listeners
unix:/run/app/app.sock gunicorn
#- path /run/app/app.sock
0755 0 0 dir / system_u:object_r:root_t:s0
0755 0 0 dir /run system_u:object_r:var_run_t:s0
0755 33 33 dir /run/app system_u:object_r:var_run_t:s0
0777 33 33 sock /run/app/app.sock system_u:object_r:initrc_runtime_t:s0
#- probe unix:/run/app/app.sock
answers
HTTP/1.0 200 OK

#- confinement
system_u:system_r:httpd_t:s0 1
#- confinement 200
system_u:system_r:initrc_t:s0 1
#- audit.log
type=AVC msg=audit(1795228431.359:49): avc:  denied  { write } for  pid=101 comm="nginx" name="app.sock" dev="tmpfs" ino=1156 scontext=system_u:system_r:httpd_t:s0 tcontext=system_u:object_r:initrc_runtime_t:s0 tclass=sock_file permissive=0
#- decision initrc_runtime_t sock_file write
denied
#- decision httpd_runtime_t sock_file write
allowed
#- decision httpd_var_run_t sock_file write
allowed
#- decision initrc_t unix_stream_socket connectto
allowed
#- /etc/selinux/config
SELINUX=enforcing
SELINUXTYPE=default
#- /etc/selinux/default/contexts/files/file_contexts.subs_dist
/var/run /run
"#;

/// The commands and the texts of new files of the first remedy.
fn steps(report: &Report) -> Vec<String> {
    let words = |step: &StepInfo| match step {
        StepInfo::Command { argv, .. } => argv.join(" "),
        StepInfo::Edit { diff, .. } => diff.clone(),
    };
    report.findings[0].remedies[0].steps.iter().map(words).collect()
}

#[test]
fn hit_the_port_has_another_label() {
    let fixture = Fixture::new(TCP);
    insta::assert_snapshot!(fixture.summary(), @"
    Broken
    Confirmed selinux-denied: SELinux denies nginx (httpd_t) the connection to 127.0.0.1:3000 (ntop_port_t: name_connect) [1 requests, still failing]
    ");
    assert_eq!(
        steps(&fixture.report()),
        [
            "sh -c semanage port -a -t http_port_t -p tcp 3000 || semanage port -m -t http_port_t -p tcp 3000",
            "setsebool -P httpd_can_network_relay on"
        ]
    );
}

#[test]
fn hit_a_boolean_is_about_ports_of_that_type() {
    let database = TCP.replace("ntop_port_t", "postgresql_port_t");
    assert_eq!(steps(&Fixture::new(&database).report()), ["setsebool -P httpd_can_network_connect_db on"]);
}

#[test]
fn hit_no_service_has_the_port_and_web_servers_may_be_connected_to() {
    let free = TCP.replace("ntop_port_t", "unreserved_port_t");
    let free = Fixture::new(&free).with("decision http_port_t tcp_socket name_connect", "allowed");
    assert_eq!(steps(&free.report()), ["semanage port -a -t http_port_t -p tcp 3000"]);
}

#[test]
fn hit_the_socket_has_another_label() {
    let fixture = Fixture::new(UNIX);
    insta::assert_snapshot!(fixture.summary(), @"
    Broken
    Confirmed selinux-denied: SELinux denies nginx (httpd_t) the connection to unix:/run/app/app.sock (initrc_runtime_t: write) [1 requests, still failing]
    ");
    assert_eq!(
        steps(&fixture.report()),
        ["semanage fcontext -a -t httpd_runtime_t /run/app(/.*)?", "restorecon -R /run/app"]
    );
}

#[test]
fn hit_no_label_fits_and_the_missing_rule_is_shown() {
    let fixture = Fixture::new(UNIX)
        .with("decision initrc_t unix_stream_socket connectto", "denied")
        .with("audit.log", &UNIX_CONNECT.replace('\n', ""));
    insta::assert_snapshot!(fixture.summary(), @"
    Broken
    Confirmed selinux-denied: SELinux denies nginx (httpd_t) the connection to unix:/run/app/app.sock (initrc_t: connectto) [1 requests, still failing]
    ");
    insta::assert_snapshot!(steps(&fixture.report()).join("\n"), @"
    --- /dev/null
    +++ b/root/why502_httpd_t.cil
    @@ -0,0 +1,2 @@
    +; Made from what SELinux denied: one line for each rule that is missing.
    +(allow httpd_t initrc_t (unix_stream_socket (connectto)))

    semodule -i /root/why502_httpd_t.cil
    ");
}

/// A kernel's log without any denial.
const KERNEL: &str = "2026-11-21T01:00:00+00:00 web1 kernel: Linux version 6.1.0\n";

const UNIX_CONNECT: &str = r#"type=AVC msg=audit(1795228431.359:49): avc:  denied  { connectto } for  pid=101 comm="nginx" path="/run/app/app.sock" scontext=system_u:system_r:httpd_t:s0 tcontext=system_u:system_r:initrc_t:s0 tclass=unix_stream_socket permissive=0"#;

#[test]
fn hit_without_a_record_the_policy_itself_is_asked() {
    let silent = Fixture::new(UNIX).with("audit.log", "absent").with("kernel-log", KERNEL);
    insta::assert_snapshot!(silent.summary(), @"
    Broken
    Likely selinux-denied: SELinux denies nginx (httpd_t) the connection to unix:/run/app/app.sock (initrc_runtime_t: write) [1 requests, still failing]
    ");
}

#[test]
fn hit_the_boolean_was_switched_on_meanwhile() {
    let mended = Fixture::new(TCP).with("decision ntop_port_t tcp_socket name_connect", "allowed");
    insta::assert_snapshot!(mended.summary(), @"
    Recovered
    Confirmed selinux-denied: SELinux denies nginx (httpd_t) the connection to 127.0.0.1:3000 (ntop_port_t: name_connect) [1 requests, mended]
    ");
}

#[test]
fn near_miss_a_denial_of_another_domain_or_port() {
    for (from, to) in [
        ("httpd_t:s0 tcontext", "crond_t:s0 tcontext"),
        ("dest=3000", "dest=3001"),
        ("permissive=0", "permissive=1"),
    ] {
        let other = Fixture::new(&TCP.replace(from, to));
        let report = other.report();
        assert!(report.findings[0].confidence < crate::Confidence::Likely, "{from} {to}");
    }
}

#[test]
fn near_miss_a_route_prohibits_it_to_everybody() {
    let route = Fixture::new(TCP).with("probe 127.0.0.1:3000", "errno Permission denied");
    insta::assert_snapshot!(route.summary(), @"
    Inconclusive
    not selinux-denied: a process outside of httpd_t, in the same network namespace, is refused in the same way
    unexplained: 1
    ");
}

#[test]
fn near_miss_the_modes_deny_it() {
    let closed = UNIX.replace("0777 33 33 sock", "0600 1000 1000 sock");
    let closed = Fixture::new(&closed)
        .with("audit.log", "absent")
        .with("probe unix:/run/app/app.sock", "errno Permission denied");
    insta::assert_snapshot!(closed.summary(), @"
    Broken
    Confirmed unix-socket-permission: user 33 may not write /run/app/app.sock (mode 0600, owner 1000, group 1000) [1 requests, still failing]
    ");
}

/// A directory in which another program of nginx's domain may not create a file, while nginx is kept out by the socket's mode.
const CREATION: &str = r#"type=AVC msg=audit(1795228431.359:49): avc:  denied  { add_name } for  pid=310 comm="php-fpm8.2" name="app" dev="tmpfs" ino=1156 scontext=system_u:system_r:httpd_t:s0 tcontext=system_u:object_r:var_run_t:s0 tclass=dir permissive=0"#;

#[test]
fn near_miss_the_record_is_another_program_s_or_of_something_else() {
    let closed = UNIX.replace("0777 33 33 sock", "0600 1000 1000 sock");
    let closed = Fixture::new(&closed).with("probe unix:/run/app/app.sock", "errno Permission denied");
    let nginx_s = CREATION.replace("pid=310 comm=\"php-fpm8.2\"", "pid=101 comm=\"nginx\"");
    for record in [
        CREATION.to_owned(),
        nginx_s.clone(),
        CREATION.replace("add_name", "search"),
        nginx_s.replace("add_name", "search").replace("pid=101", "pid=310"),
        nginx_s.replace("add_name", "search").replace("comm=\"nginx\"", "comm=\"php-fpm8.2\""),
    ] {
        insta::allow_duplicates! {
            insta::assert_snapshot!(closed.with("audit.log", &record).summary(), @"
            Broken
            Confirmed unix-socket-permission: user 33 may not write /run/app/app.sock (mode 0600, owner 1000, group 1000) [1 requests, still failing]
            ");
        }
    }
}

#[test]
fn near_miss_the_modes_deny_it_beside_a_record() {
    let closed = UNIX.replace("0777 33 33 sock", "0600 1000 1000 sock");
    let closed = Fixture::new(&closed).with("probe unix:/run/app/app.sock", "errno Permission denied");
    let report = closed.report();
    let found: Vec<_> =
        report.findings.iter().map(|finding| (finding.cause.as_str(), finding.confidence)).collect();
    assert_eq!(found[0], ("unix-socket-permission", crate::Confidence::Confirmed), "{found:?}");
    assert!(found[1..].iter().all(|(_, confidence)| *confidence == crate::Confidence::Possible), "{found:?}");
}

#[test]
fn hit_a_former_worker_met_a_directory_that_it_may_not_search() {
    let record = CREATION
        .replace("add_name", "search")
        .replace("pid=310 comm=\"php-fpm8.2\"", "pid=99 comm=\"nginx\"");
    let former = Fixture::new(&UNIX.replace("101#101", "99#99"))
        .with("options", "loaded=2026-11-21T02:40:00Z")
        .with("audit.log", &record);
    assert!(former.summary().contains("Confirmed selinux-denied"), "{}", former.summary());
}

#[test]
fn gap_the_modes_along_the_path_may_not_be_seen() {
    let hidden = Fixture::new(UNIX).without("path /run/app/app.sock");
    assert!(hidden.summary().contains("Likely selinux-denied"), "{}", hidden.summary());
    assert!(hidden.summary().contains("open: whether the modes"), "{}", hidden.summary());
}

#[test]
fn near_miss_selinux_is_permissive() {
    let permissive =
        Fixture::new(UNIX).with("confinement", "system_u:system_r:httpd_t:s0 0").with("audit.log", "absent");
    insta::assert_snapshot!(permissive.summary(), @"
    Recovered
    Likely unix-socket-permission: nginx's worker user may not connect to /run/app/app.sock [1 requests, mended]
    ");
}

#[test]
fn gap_nobody_may_see_how_nginx_is_confined() {
    insta::assert_snapshot!(Fixture::new(TCP).without("confinement").summary(), @"
    Inconclusive
    Possible selinux-denied: an access control above modes and owners may deny nginx the connection to 127.0.0.1:3000 [1 requests]
      open: whether SELinux confines nginx: the fixture does not tell
    ");
}

#[test]
fn gap_the_audit_log_may_not_be_read() {
    insta::assert_snapshot!(Fixture::new(TCP).without("audit.log").summary(), @"
    Inconclusive
    Possible selinux-denied: SELinux may deny nginx (httpd_t) the connection to 127.0.0.1:3000 [1 requests]
      open: the kernel's own record of the denial: the fixture does not tell
    ");
}

#[test]
fn gap_the_policy_may_not_be_asked() {
    insta::assert_snapshot!(Fixture::new(TCP).without("decision ntop_port_t tcp_socket name_connect").summary(), @"
    Broken
    Confirmed selinux-denied: SELinux denies nginx (httpd_t) the connection to 127.0.0.1:3000 (ntop_port_t: name_connect) [1 requests]
    ");
}
