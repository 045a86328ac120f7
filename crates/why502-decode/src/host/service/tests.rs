use super::*;
use proptest::prelude::*;
use why502_facts::{Blob, FileKind, FileStatus};

fn file(kind: ServiceFileKind, path: &str, text: &str) -> ServiceFile {
    let status = FileStatus {
        kind: FileKind::File,
        mode: 0o644,
        uid: 0,
        gid: 0,
        owner: None,
        group: None,
        size: 0,
        modified: Stamp(0),
        acl: Vec::new(),
    };
    ServiceFile { path: path.to_owned(), content: Blob::from(text), kind, status }
}

fn record(supervisor: Supervisor, name: &str, text: &str) -> ServiceRecord {
    ServiceRecord {
        supervisor,
        name: name.to_owned(),
        files: vec![file(ServiceFileKind::Definition, "/etc/own", text)],
        named: Vec::new(),
        masked: false,
        supervisor_pid: None,
        state: None,
    }
}

fn words(command: &str) -> Vec<String> {
    command.split(' ').map(str::to_owned).collect()
}

#[test]
fn a_unit_is_read_with_its_settings_and_variables() {
    let text = "[Unit]\nDescription=Shop\n[Service]\nType=simple\nEnvironment=PORT=3000 \"NAME=a b\"\nEnvironmentFile=-/etc/default/shop\n\
                WorkingDirectory=/srv/shop/\nRuntimeDirectory=shop\nExecStart=/usr/bin/old\n";
    let mut record = record(Supervisor::Systemd, "shop.service", text);
    let settings = "[Service]\nExecStart=\nExecStart=-/usr/bin/gunicorn \\\n  # a comment\n  -b 127.0.0.1:${PORT} \"app:a b\" $LATER\n";
    record.files.push(file(ServiceFileKind::Definition, "/etc/own.d/a.conf", settings));
    record.named.push(file(ServiceFileKind::Environment, "/etc/default/shop", "# x=1\nexport LATER='on'\n"));
    record.named.push(file(ServiceFileKind::Command, "/srv/shop/conf.py", "7:bind = \"127.0.0.1:3000\"\n"));
    let (service, files) = decode_service(&record).unwrap();
    let mut expected = words("/usr/bin/gunicorn -b 127.0.0.1:3000");
    expected.extend(["app:a b".to_owned(), "on".to_owned()]);
    assert_eq!(service.commands, [expected]);
    assert_eq!(files, ["/etc/default/shop"]);
    assert_eq!(
        (service.directory.as_deref(), service.runtime_directories),
        (Some("/srv/shop"), words("shop"))
    );
    assert_eq!(
        (service.mentions[0].line, service.mentions[0].text.as_str()),
        (7, "bind = \"127.0.0.1:3000\"")
    );
}

#[test]
fn an_instance_stands_for_what_its_template_says() {
    let text = "[Service]\nExecStart=/usr/bin/node /srv/%p.js --port %i --name %n --rate 5%%\n";
    let (service, _) = decode_service(&record(Supervisor::Systemd, "shop@3000.service", text)).unwrap();
    assert_eq!(
        service.commands,
        [words("/usr/bin/node /srv/shop.js --port 3000 --name shop@3000.service --rate 5%")]
    );
    let socket = "[Socket]\nListenStream=%t/shop/%i.sock\nListenStream=127.0.0.1:3000\n";
    let (service, _) = decode_service(&record(Supervisor::Systemd, "shop@a.socket", socket)).unwrap();
    assert_eq!(service.listens, ["/run/shop/a.sock", "127.0.0.1:3000"]);
}

#[test]
fn variables_that_name_each_other_many_times_cost_little() {
    let many = |name: &str| format!("${name}").repeat(60);
    let variables = ["AB", "BC", "CD", "DE", "EF", "FG"].map(|pair| {
        let (name, other) = pair.split_at(1);
        format!("{name}=\"{}\"", many(other))
    });
    let text = format!("command=node $A\nenvironment={},G=\"\"\n", variables.join(","));
    let (service, _) = decode_service(&record(Supervisor::Supervisord, "shop", &text)).unwrap();
    assert_eq!(service.commands[0][0], "node");
}

#[test]
fn a_one_shot_and_the_names_of_processes_are_told() {
    let unit = |text: &str| decode_service(&record(Supervisor::Systemd, "a.service", text)).unwrap().0;
    let once = unit("[Service]\nType=oneshot\nExecStart=/bin/migrate\n");
    assert!(once.is_one_shot && !once.remains_after_exit);
    assert!(unit("[Service]\nType=oneshot\nRemainAfterExit=yes\n").remains_after_exit);
    assert!(!unit("[Service]\nType=notify\n").is_one_shot);
    let text = "command=node a.js\nprocess_name=%(program_name)s_%(process_num)02d\nnumprocs=2\n";
    let (program, _) = decode_service(&record(Supervisor::Supervisord, "web", text)).unwrap();
    assert_eq!(program.process_name.as_deref(), Some("web_%(process_num)02d"));
}

#[test]
fn the_processes_of_a_program_differ_by_their_numbers() {
    let text = "command=node a.js --port 2300%(process_num)d ; why\nprocess_name=%(program_name)s_%(process_num)02d\n\
        environment=NAME=\"w%(process_num)03d\"\nnumprocs=2\nnumprocs_start=8\n";
    let services = decode_services(&[record(Supervisor::Supervisord, "web", text)]);
    let told: Vec<_> = services.iter().map(|own| (own.name.as_str(), own.process_name.as_deref())).collect();
    assert_eq!(told, [("web:web_08", Some("web_08")), ("web:web_09", Some("web_09"))]);
    assert_eq!(services[1].commands, [words("node a.js --port 23009")]);
    assert_eq!(services[1].environment, [("NAME".to_owned(), "w009".to_owned())]);
    // Where only their names differ, one stands for all.
    let alike = "command=node a.js\nprocess_name=%(program_name)s_%(process_num)02d\nnumprocs=2\n";
    assert_eq!(decode_services(&[record(Supervisor::Supervisord, "web", alike)]).len(), 1);
    let many = "command=node %(process_num)d %(process_num)x %(process_num)099999d\nnumprocs=4000000000\n";
    let services = decode_services(&[record(Supervisor::Supervisord, "web", many)]);
    assert_eq!(services.len(), MAX_PROCESSES as usize);
    assert_eq!(services[3].commands, [words("node 3 %(process_num)x 0000000003")]);
}

#[test]
fn the_script_of_a_shell_is_looked_into() {
    let text = "[Service]\nExecStart=/bin/sh -c 'cd /srv && exec node app.js --port ${PORT:-3000}'\n";
    let (service, _) = decode_service(&record(Supervisor::Systemd, "a.service", text)).unwrap();
    assert!(service.commands[0].ends_with(&words("exec node app.js --port 3000")));
}

#[test]
fn programs_of_supervisord_are_read() {
    let text = b"[supervisord]\nlogfile=/var/log/s.log\n[program:shop]\ncommand=node app.js --name %(program_name)s ; why\ndirectory=/srv/shop\n\
        environment=PORT=\"3000\",MODE='x'\n[include]\nfiles = conf.d/*.conf\n  /srv/*.ini\n[fcgi-program:php]\nsocket=unix:///run/php.sock\ncommand=php-cgi\n";
    let programs = supervisord_programs(text);
    assert_eq!(programs.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["shop", "php"]);
    let decoded = |at: usize| {
        let (name, section) = &programs[at];
        decode_service(&record(Supervisor::Supervisord, name, &lossy(section))).unwrap().0
    };
    assert_eq!(decoded(0).commands, [words("node app.js --name shop")]);
    assert_eq!(decoded(0).environment[0], ("PORT".to_owned(), "3000".to_owned()));
    assert_eq!(decoded(1).listens, ["/run/php.sock"]);
    assert_eq!(supervisord_includes("/etc/s/s.conf", text), ["/etc/s/conf.d/*.conf", "/srv/*.ini"]);
}

#[test]
fn a_run_script_is_read() {
    let text = "#!/bin/sh\nexec 2>&1\nexport PORT=3000\ncd /srv/shop\nMODE=x exec chpst -u www node app.js --port \"$PORT\"\n";
    let (service, _) = decode_service(&record(Supervisor::Runit, "shop", text)).unwrap();
    assert_eq!(service.commands, [words("chpst -u www node app.js --port 3000")]);
    assert_eq!(service.directory.as_deref(), Some("/srv/shop"));
}

#[test]
fn the_state_of_runit_is_read() {
    let mut status = (TAI_EPOCH + 1_795_228_110).to_be_bytes().to_vec();
    status.extend(250_000_000_u32.to_be_bytes());
    status.extend(4711_u32.to_le_bytes());
    status.extend([0, b'u', 0, 1]);
    let state = runit_state(&status).unwrap();
    assert_eq!((state.since, state.pid, state.wanted_up), (Stamp(1_795_228_110_250), Some(4711), true));
    status[17] = b'd';
    assert!(!runit_state(&status).unwrap().wanted_up);
    assert_eq!(runit_state(&status[1..]), None);
}

#[test]
fn words_are_split_as_they_are_quoted() {
    assert_eq!(split_words("a 'b c'\"d\" e\\ f ''"), ["a", "b cd", "e f", ""]);
    assert_eq!(Expander::new(&[("A".to_owned(), "$A".to_owned())]).expand("${A}:$B-$C"), "$A:$B-$C");
}

proptest! {
    #[test]
    fn no_bytes_make_the_parsers_panic(bytes in any::<Vec<u8>>(), text in "[\\[\\]=${}:a-z%\\\\ \n'\"é-]{0,80}") {
        for text in [lossy(&bytes), text] {
            for supervisor in [Supervisor::Systemd, Supervisor::Supervisord, Supervisor::Runit] {
                decode_service(&record(supervisor, "a@b.service", &format!("[Service]\nEnvironment=A=$A$A\nExecStart={text}\n{text}")));
            }
            supervisord_programs(text.as_bytes());
            supervisord_includes("/a", text.as_bytes());
        }
        runit_state(&bytes);
    }
}
