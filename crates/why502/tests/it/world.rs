//! Real backends, each on a port of its own, ended when the world is dropped.

use crate::run::project;
use serde_json::Value;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long a backend may take until it listens.
const STARTING: Duration = Duration::from_secs(20);

/// A directory with the backends that were started in it.
pub(crate) struct World {
    directory: tempfile::TempDir,
    children: Vec<Child>,
}

impl World {
    pub(crate) fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("why502-probe").tempdir().unwrap();
        // nginx's workers are another user's.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(directory.path(), open).unwrap();
        Self { directory, children: Vec::new() }
    }

    /// The path of a file in it.
    pub(crate) fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// Writes a file; `DIR` in it is the directory.
    pub(crate) fn write(&self, name: &str, content: &str) -> String {
        let directory = self.directory.path().display().to_string();
        fs::write(self.directory.path().join(name), content.replace("DIR", &directory)).unwrap();
        self.path(name)
    }

    /// Starts a program and waits until it listens on a port.
    pub(crate) fn start(&mut self, argv: &[&str], port: u16) {
        let mut command = Command::new(argv[0]);
        command.args(&argv[1..]).current_dir(self.directory.path());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.children.push(child.unwrap_or_else(|error| panic!("{argv:?}: {error}")));
        let begin = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begin.elapsed() < STARTING, "{argv:?} does not listen on {port}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Starts nginx with the content of its `http` block, and waits until it listens on a port; its configuration.
    pub(crate) fn nginx(&mut self, name: &str, http: &str, port: u16) -> String {
        let head = format!(
            "daemon off;\nworker_processes 1;\npid DIR/{name}.pid;\nerror_log DIR/{name}-error.log;\nevents {{}}\nhttp {{\n    access_log DIR/{name}-access.log;\n"
        );
        let config = self.write(&format!("{name}.conf"), &format!("{head}{http}\n}}\n"));
        self.start(&["nginx", "-c", &config], port);
        config
    }

    /// A certificate for `app.internal` and its key.
    pub(crate) fn certificate(&self) -> (String, String) {
        let (certificate, key) = (self.path("cert.pem"), self.path("key.pem"));
        let subject = ["-subj", "/CN=app.internal", "-addext", "subjectAltName=DNS:app.internal"];
        let mut command = Command::new("openssl");
        command.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30"]);
        command.args(["-keyout", &key, "-out", &certificate]).args(subject);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        (certificate, key)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for child in &mut self.children {
            // A master ends its workers when it is asked to; a program that is gone already needs no end.
            let _ = Command::new("kill").arg(child.id().to_string()).status();
            let begin = Instant::now();
            while matches!(child.try_wait(), Ok(None)) && begin.elapsed() < Duration::from_secs(3) {
                thread::sleep(Duration::from_millis(10));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A port on which nobody listens, and which no other test that runs at the same time takes: each has a range of its own, below
/// those that the kernel gives to clients.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let slot = std::env::var("NEXTEST_TEST_GLOBAL_SLOT").ok().and_then(|slot| slot.parse::<u16>().ok());
    let begin = 10_000 + slot.unwrap_or(0) % 32 * 640;
    for _ in 0..640 {
        let port = begin + NEXT.fetch_add(1, Ordering::Relaxed) % 640;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port from {begin} on is free");
}

/// Where PHP-FPM is, whatever its version.
pub(crate) fn php_fpm() -> Option<PathBuf> {
    let entries = fs::read_dir("/usr/sbin").ok()?.flatten();
    entries
        .map(|entry| entry.path())
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("php-fpm")))
}

/// Runs `why502 probe` and reads its JSON, with the exit code.
pub(crate) fn probe(arguments: &[&str]) -> (Value, i32) {
    let output = run(&[arguments, &["--format", "json"]].concat());
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{arguments:?}: {error}: {}", String::from_utf8_lossy(&output.stderr));
    });
    if let Err(error) = schema().validate(&report) {
        panic!("{arguments:?}: the report breaks its schema at {}: {error}", error.instance_path());
    }
    (report, output.status.code().unwrap())
}

/// Runs `why502 probe`.
pub(crate) fn run(arguments: &[&str]) -> Output {
    crate::run::why502(&[&["probe"], arguments].concat())
}

fn schema() -> &'static jsonschema::Validator {
    static SCHEMA: OnceLock<jsonschema::Validator> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let text = fs::read_to_string(project().join("docs/schema/probe-1.json")).unwrap();
        jsonschema::validator_for(&serde_json::from_str(&text).unwrap()).unwrap()
    })
}

/// The steps of the first conversation of a peer that counts, each with its verdict: `connect ok, answer fail`.
pub(crate) fn steps(report: &Value, peer: usize) -> String {
    let conversations = report["peers"][peer]["conversations"].as_array().unwrap();
    let counted = conversations.iter().find(|own| own["aside"] == false).unwrap();
    let steps = counted["steps"].as_array().unwrap().iter();
    let words =
        |step: &Value| format!("{} {}", step["kind"].as_str().unwrap(), step["verdict"].as_str().unwrap());
    steps.map(words).collect::<Vec<_>>().join(", ")
}
