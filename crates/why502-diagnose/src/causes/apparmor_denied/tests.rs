use crate::fixture::Fixture;
use crate::report::StepInfo;

const FAMILY: &str = r#"
#- nginx.conf
events {}
http {
    server {
        listen 80;
        location / { proxy_pass http://[::1]:3000; }
    }
}
#- error.log
2026/11/21 02:33:51 [alert] 101#101: *1 socket() failed (13: Permission denied) while connecting to upstream, client: 127.0.0.1, server: , request: "GET / HTTP/1.1", upstream: "http://[::1]:3000/", host: "127.0.0.1"
#- listeners
[::1]:3000 python3
#- probe [::1]:3000
answers
HTTP/1.0 200 OK

#- confinement
/usr/sbin/nginx (enforce)
#- audit.log
type=AVC msg=audit(1795228431.359:49): apparmor="DENIED" operation="create" profile="/usr/sbin/nginx" pid=101 comm="nginx" family="inet6" sock_type="stream" protocol=0 requested_mask="create" denied_mask="create"
#- kernel-log
2026-11-21T01:00:00+00:00 web1 kernel: Linux version 6.1.0
#- glob /etc/apparmor.d/*
/etc/apparmor.d/usr.bin.man
/etc/apparmor.d/usr.sbin.nginx
#- /etc/apparmor.d/usr.sbin.nginx
profile /usr/sbin/nginx {
  network inet stream,
}
"#;

const PATH: &str = r#"
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
0755 0 0 dir /
0755 0 0 dir /run
0755 33 33 dir /run/app
0777 33 33 sock /run/app/app.sock
#- probe unix:/run/app/app.sock
answers
HTTP/1.0 200 OK

#- confinement
/usr/sbin/nginx (enforce)
#- audit.log
absent
#- kernel-log
2026-11-21T01:00:00+00:00 web1 kernel: Linux version 7.2.7
2026-11-21T02:33:51+00:00 web1 kernel: audit: type=1400 audit(1795228431.359:12): apparmor="DENIED" operation="connect" class="file" profile="/usr/sbin/nginx" name="/run/app/app.sock" pid=101 comm="nginx" requested_mask="wr" denied_mask="wr" fsuid=33 ouid=0
"#;

#[test]
fn hit_the_profile_has_no_rule_for_the_family() {
    let fixture = Fixture::new(FAMILY);
    insta::assert_snapshot!(fixture.summary(), @"
    Broken
    Confirmed apparmor-denied: AppArmor's profile /usr/sbin/nginx denies nginx to create a socket of the family inet6, and so [::1]:3000 [1 requests]
    ");
    let report = fixture.report();
    let argv = |step: &StepInfo| match step {
        StepInfo::Command { argv, .. } => argv.join(" "),
        StepInfo::Edit { .. } => String::new(),
    };
    assert_eq!(
        report.findings[0].remedies[0].steps.iter().map(argv).collect::<Vec<_>>(),
        [
            "sed -i s|^}|  network inet6 stream,\\n}| /etc/apparmor.d/usr.sbin.nginx",
            "apparmor_parser -r /etc/apparmor.d/usr.sbin.nginx"
        ]
    );
}

#[test]
fn hit_the_profile_has_no_rule_for_the_path() {
    let fixture = Fixture::new(PATH);
    insta::assert_snapshot!(fixture.summary(), @"
    Broken
    Confirmed apparmor-denied: AppArmor's profile /usr/sbin/nginx denies nginx to connect /run/app/app.sock, and so unix:/run/app/app.sock [1 requests]
    ");
    let advice = fixture.report().findings[0].remedies[0].advice.clone().unwrap();
    assert!(advice.contains("/run/app/app.sock rw,"), "{advice}");
}

#[test]
fn near_miss_the_profile_only_complains() {
    let complains =
        Fixture::new(&FAMILY.replace("DENIED", "ALLOWED")).with("confinement", "/usr/sbin/nginx (complain)");
    insta::assert_snapshot!(complains.summary(), @"
    Inconclusive
    unexplained: 1
    ");
}

#[test]
fn near_miss_the_denial_is_of_another_profile_or_family() {
    for (from, to) in
        [("profile=\"/usr/sbin/nginx\"", "profile=\"/usr/sbin/cupsd\""), ("\"inet6\"", "\"netlink\"")]
    {
        let report = Fixture::new(&FAMILY.replace(from, to)).report();
        assert_eq!(report.findings[0].confidence, crate::Confidence::Likely, "{from}");
    }
}

#[test]
fn near_miss_no_profile_confines_the_workers() {
    insta::assert_snapshot!(Fixture::new(FAMILY).with("confinement", "unconfined").summary(), @"
    Inconclusive
    unexplained: 1
    ");
}

#[test]
fn near_miss_the_modes_deny_it() {
    let closed = PATH.replace("0777 33 33 sock", "0600 1000 1000 sock").replace("DENIED", "ALLOWED");
    let closed = Fixture::new(&closed).with("probe unix:/run/app/app.sock", "errno Permission denied");
    insta::assert_snapshot!(closed.summary(), @"
    Broken
    Confirmed unix-socket-permission: user 33 may not write /run/app/app.sock (mode 0600, owner 1000, group 1000) [1 requests, still failing]
    ");
}

#[test]
fn gap_the_denials_may_not_be_read() {
    insta::assert_snapshot!(Fixture::new(FAMILY).without("audit.log").without("kernel-log").summary(), @"
    Broken
    Likely apparmor-denied: AppArmor's profile /usr/sbin/nginx may deny nginx [::1]:3000 [1 requests]
      open: the kernel's own record of the denial: the fixture does not tell
    ");
}

#[test]
fn gap_nobody_may_see_how_nginx_is_confined() {
    insta::assert_snapshot!(Fixture::new(FAMILY).without("confinement").summary(), @"
    Inconclusive
    Possible apparmor-denied: a profile of AppArmor may deny nginx [::1]:3000 [1 requests]
      open: whether a profile confines nginx: the fixture does not tell
    ");
}
