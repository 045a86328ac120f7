use crate::causes::upstream_closed_before_response::tests::HIT as CLOSED;
use crate::fixture::Fixture;

/// Three attempts on a unix socket with a full queue.
fn unix() -> Fixture {
    let log = CLOSED
        .replace(
            "upstream prematurely closed connection while reading response header from upstream",
            "connect() to unix:/run/app.sock failed (11: Resource temporarily unavailable) while connecting to upstream",
        )
        .replace("http://127.0.0.1:3000/", "http://unix:/run/app.sock:/")
        .replace("server 127.0.0.1:3000", "server unix:/run/app.sock");
    Fixture::new(&log)
        .with(
            "listeners",
            "unix:/run/app.sock gunicorn python3 /usr/bin/gunicorn --backlog 1 app:app queue=2",
        )
        .with("probe unix:/run/app.sock", "errno Resource temporarily unavailable")
        .with("limits", "unix 2 1 - /run/app.sock\nnet.core.somaxconn = 4096")
}

/// An attempt on a socket of TCP that got no answer.
fn tcp() -> Fixture {
    let log = CLOSED
        .replace(
            "upstream prematurely closed connection while reading response header from upstream",
            "upstream timed out (110: Connection timed out) while connecting to upstream",
        )
        .replace("\" 502 157", "\" 504 167");
    Fixture::new(&log)
        .with("listeners", "127.0.0.1:3000 node node server.js queue=6")
        .with("probe 127.0.0.1:3000", "silent")
        .with("limits", "tcp 6 5 2 127.0.0.1:3000\nnet.core.somaxconn = 5\nListenOverflows 2\nListenDrops 2")
        .with(
            "limits again",
            "tcp 6 5 5 127.0.0.1:3000\nnet.core.somaxconn = 5\nListenOverflows 5\nListenDrops 5",
        )
}

/// The first finding's evidence and remedies.
fn told(fixture: &Fixture) -> String {
    let report = fixture.report();
    let finding = &report.findings[0];
    let evidence = finding.evidence.iter().map(|evidence| evidence.says.clone());
    let remedies = finding.remedies.iter().map(|remedy| {
        let commands: Vec<String> = remedy.steps.iter().map(|step| format!("{step:?}")).collect();
        format!("- {}: {} {}", remedy.title, remedy.advice.clone().unwrap_or_default(), commands.join(" "))
    });
    evidence.chain(remedies).collect::<Vec<_>>().join("\n")
}

#[test]
fn hit_the_queue_of_a_unix_socket_is_full() {
    assert!(unix().summary().contains("Confirmed listen-backlog-full"), "{}", unix().summary());
    let told = told(&unix());
    for words in ["its backlog is 1 (Send-Q)", "--backlog 1024"] {
        assert!(told.contains(words), "{words}: {told}");
    }
}

#[test]
fn hit_the_queue_of_tcp_is_full_and_its_drops_grow() {
    insta::assert_snapshot!(tcp().summary(), @"
    Broken
    Confirmed listen-backlog-full -> upstream-connect-timeout: the accept queue of 127.0.0.1:3000 with its backlog of 5 overflows [1 requests, still failing]
    ");
    insta::assert_snapshot!(told(&tcp()), @r#"
    1 connection attempt not taken
    6 connections waited in the accept queue of 127.0.0.1:3000 when it was looked at (Recv-Q), and its backlog is 5 (Send-Q): one more than that may wait
    that socket has dropped 5 attempts since it was made, 3 of them while a connection was tried
    ListenOverflows of the network namespace rose from 2 to 5 while a connection was tried, ListenDrops to 5
    a connection attempt gets no answer now
    node (pid 200) is who accepts them
    net.core.somaxconn is 5 there: the 511 that the server asks for by default are cut to it
    - Raise net.core.somaxconn from 5 to 1024: for good it stands in /etc/sysctl.d as net.core.somaxconn = 1024; the server must ask for more as well, and be restarted: the length of a queue is fixed when it begins to listen Command { argv: ["sysctl", "-w", "net.core.somaxconn=1024"], undo: [["sysctl", "-w", "net.core.somaxconn=5"]] }
    - Let node (pid 200) ask for a longer queue: set the backlog of server.listen(): server.listen({ port, host, backlog: 1024 }) (it is 5 now), and restart it; a queue takes bursts: where more comes than is accepted for long, any queue fills 
    - See why node (pid 200) accepts more slowly than connections come: slow requests that hold every worker, a loop that blocks, too few processes; in nginx, keepalive connections spare it new ones
    "#);
}

#[test]
fn near_miss_a_stopped_process_holds_the_socket() {
    let stopped = tcp().with("listeners", "127.0.0.1:3000 node node server.js queue=6 state=T");
    insta::assert_snapshot!(stopped.summary(), @"
    Broken
    Confirmed upstream-hung -> listen-backlog-full, upstream-connect-timeout: node (pid 200) behind 127.0.0.1:3000 is stopped (state T) and answers nothing [1 requests, still failing]
    ");
    assert!(told(&stopped).contains("kill"), "{}", told(&stopped));
}

#[test]
fn hit_drops_of_the_past_are_likely() {
    let now = "tcp 0 5 7 127.0.0.1:3000\nListenOverflows 7\nListenDrops 7";
    let past = tcp().with("limits", now).with("probe 127.0.0.1:3000", "connected");
    insta::assert_snapshot!(past.summary(), @"
    Broken
    Likely listen-backlog-full -> upstream-connect-timeout: the accept queue of 127.0.0.1:3000 with its backlog of 5 overflows [1 requests]
    ");
}

#[test]
fn hit_resets_where_the_kernel_is_set_to_send_them() {
    let log = CLOSED.replace(
        "upstream prematurely closed connection while reading response header from upstream",
        "recv() failed (104: Connection reset by peer) while reading response header from upstream",
    );
    let limits = "tcp 6 5 9 127.0.0.1:3000\nnet.ipv4.tcp_abort_on_overflow = 1\nListenOverflows 9";
    let resets = Fixture::new(&log)
        .with("listeners", "127.0.0.1:3000 node node server.js queue=6")
        .with("probe 127.0.0.1:3000", "reset")
        .with("limits", limits);
    insta::assert_snapshot!(resets.summary(), @"
    Broken
    Likely listen-backlog-full -> upstream-reset-before-response: the accept queue of 127.0.0.1:3000 with its backlog of 5 overflows [1 requests]
    ");
    let usual = resets.with("limits", &limits.replace("overflow = 1", "overflow = 0"));
    assert!(!usual.summary().contains("listen-backlog-full"), "{}", usual.summary());
}

#[test]
fn near_miss_the_queue_has_room_and_nobody_answers() {
    let limits = "tcp 0 511 0 127.0.0.1:3000\nListenOverflows 9\nListenDrops 9";
    let dropped = tcp().with("limits", limits).with("limits again", limits);
    insta::assert_snapshot!(dropped.summary(), @"
    Broken
    Confirmed upstream-connect-timeout: connection attempts to 127.0.0.1:3000 get no answer within 60 s [1 requests, still failing]
    not listen-backlog-full: 0 of 512 places in the accept queue of 127.0.0.1:3000 were taken when it was looked at
    ");
}

#[test]
fn near_miss_the_answers_are_lost_and_repeated_packets_are_dropped() {
    let before = "tcp 0 128 0 127.0.0.1:3000\nListenOverflows 9\nListenDrops 9";
    let after = before.replace("128 0", "128 11").replace("ListenDrops 9", "ListenDrops 20");
    let lost = tcp().with("limits", before).with("limits again", &after);
    insta::assert_snapshot!(lost.summary(), @"
    Broken
    Confirmed upstream-connect-timeout: connection attempts to 127.0.0.1:3000 get no answer within 60 s [1 requests, still failing]
    not listen-backlog-full: 0 of 129 places in the accept queue of 127.0.0.1:3000 were taken when it was looked at
    ");
    // The overflows are those of another queue, or nobody may see them.
    let others = lost.with("limits again", &before.replace("Overflows 9", "Overflows 12"));
    assert!(!others.summary().contains("Confirmed listen-backlog-full"), "{}", others.summary());
    let unseen = "tcp 0 128 0 127.0.0.1:3000";
    let unseen = lost.with("limits", unseen).with("limits again", &unseen.replace("128 0", "128 11"));
    assert!(!unseen.summary().contains("Confirmed listen-backlog-full"), "{}", unseen.summary());
}

#[test]
fn hit_the_queue_was_full_between_both_looks() {
    let before = "tcp 4 5 2 127.0.0.1:3000\nListenOverflows 2\nListenDrops 2";
    let after = before.replace("5 2 ", "5 4 ").replace("Overflows 2", "Overflows 4");
    let between = tcp().with("limits", before).with("limits again", &after);
    insta::assert_snapshot!(between.summary(), @"
    Broken
    Confirmed listen-backlog-full -> upstream-connect-timeout: the accept queue of 127.0.0.1:3000 with its backlog of 5 overflows [1 requests, still failing]
    ");
}

#[test]
fn near_miss_the_full_queue_is_that_of_another_port() {
    let limits = "tcp 6 5 9 127.0.0.1:4000\ntcp 0 511 0 127.0.0.1:3000\nListenOverflows 9";
    let other = tcp().with("limits", limits).with("limits again", limits);
    assert!(!other.summary().contains("Confirmed listen-backlog-full"), "{}", other.summary());
    assert!(!other.summary().contains("Likely listen-backlog-full"), "{}", other.summary());
}

#[test]
fn near_miss_a_far_host_has_no_queue_here() {
    let far = CLOSED
        .replace(
            "upstream prematurely closed connection while reading response header from upstream",
            "upstream timed out (110: Connection timed out) while connecting to upstream",
        )
        .replace("\" 502 157", "\" 504 167")
        .replace("127.0.0.1:3000", "10.0.0.7:3000");
    let far = Fixture::new(&far).with("probe 10.0.0.7:3000", "silent").with("listeners", "");
    assert!(!far.summary().contains("listen-backlog-full"), "{}", far.summary());
}

#[test]
fn gap_nobody_may_look_at_the_queue() {
    insta::assert_snapshot!(unix().without("limits").without("probe unix:/run/app.sock").summary(), @"
    Broken
    Likely listen-backlog-full: the accept queue of unix:/run/app.sock overflows [1 requests]
      open: how many connections wait at the server's socket, and how many may: the fixture does not tell
    ");
    insta::assert_snapshot!(tcp().without("limits").without("limits again").summary(), @"
    Broken
    Confirmed upstream-connect-timeout: connection attempts to 127.0.0.1:3000 get no answer within 60 s [1 requests, still failing]
    ");
    let hidden = tcp().with("limits", "hidden").with("limits again", "hidden");
    insta::assert_snapshot!(hidden.summary(), @"
    Broken
    Confirmed upstream-connect-timeout: connection attempts to 127.0.0.1:3000 get no answer within 60 s [1 requests, still failing]
    ");
}
