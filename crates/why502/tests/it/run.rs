//! Runs the program.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// The root of the project.
pub(crate) fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_path_buf()
}

/// Runs the program with arguments, in a directory of its own.
pub(crate) fn why502(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_why502")).args(arguments).env("NO_COLOR", "1").output().unwrap()
}

/// Runs the program and reads its JSON report, with the exit code.
pub(crate) fn json(arguments: &[&str]) -> (Value, i32) {
    let output = why502(arguments);
    let code = output.status.code().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{arguments:?}: {error}: {}", String::from_utf8_lossy(&output.stderr));
    });
    if let Err(error) = schema().validate(&report) {
        panic!("{arguments:?}: the report breaks its schema at {}: {error}", error.instance_path());
    }
    (report, code)
}

/// The published schema of the report.
fn schema() -> &'static jsonschema::Validator {
    static SCHEMA: OnceLock<jsonschema::Validator> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let text = std::fs::read_to_string(project().join("docs/schema/report-1.json")).unwrap();
        jsonschema::validator_for(&serde_json::from_str(&text).unwrap()).unwrap()
    })
}

/// The program, to be run with more than arguments.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_why502"));
    command.env_remove("NO_COLOR").env("TERM", "xterm").env("TZ", "UTC");
    command
}

/// What a run wrote to stdout.
pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What a run wrote to stderr.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The files of an incident: a configuration, and both logs of one refused request.
pub(crate) struct Site {
    directory: tempfile::TempDir,
}

impl Site {
    /// One request that was refused by 127.0.0.1:3000.
    pub(crate) fn new() -> Self {
        let site = Self { directory: tempfile::tempdir().unwrap() };
        site.write(
            "nginx.conf",
            "events {}\nhttp {\n    server {\n        listen 8099;\n        server_name shop.example.com;\n        location / { proxy_pass http://127.0.0.1:3000; }\n    }\n}\n",
        );
        site.write("error.log", &refused("2026/11/21 10:00:01", "/cart"));
        site.write("access.log", &answered_502("21/Nov/2026:10:00:01 +0000", "/cart"));
        site
    }

    /// Writes a file of the site.
    pub(crate) fn write(&self, name: &str, content: &str) {
        std::fs::write(self.path(name), content).unwrap();
    }

    /// The path of a file of the site.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The path of a file of the site, as an argument.
    pub(crate) fn argument(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// The options that name some of the site's files, and nothing of the host.
    pub(crate) fn offline(&self, options: &[&str]) -> Vec<String> {
        let mut arguments: Vec<String> = ["--offline", "--since", "all"].map(str::to_owned).to_vec();
        for option in options {
            let file = match *option {
                "--config" => "nginx.conf",
                "--error-log" => "error.log",
                "--access-log" => "access.log",
                other => panic!("{other} names no file of the site"),
            };
            arguments.extend([(*option).to_owned(), self.argument(file)]);
        }
        arguments
    }

    /// All of them.
    pub(crate) fn whole(&self) -> Vec<String> {
        self.offline(&["--config", "--error-log", "--access-log"])
    }
}

/// A line of an error log.
pub(crate) fn refused(at: &str, path: &str) -> String {
    format!(
        "{at} [error] 10#10: *1 connect() failed (111: Connection refused) while connecting to upstream, client: 192.0.2.1, server: shop.example.com, request: \"GET {path} HTTP/1.1\", upstream: \"http://127.0.0.1:3000{path}\", host: \"shop.example.com\"\n"
    )
}

/// A line of an access log.
pub(crate) fn answered_502(at: &str, path: &str) -> String {
    format!("192.0.2.1 - - [{at}] \"GET {path} HTTP/1.1\" 502 157 \"-\" \"curl/8\"\n")
}
