//! The real nginx, asked for its opinion with `nginx -t`.
//!
//! No configuration here has an `events` section unless it is broken before its end, so nginx always stops
//! before it would create a file: after parsing it says `no "events" section in configuration`.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

const BINARIES: [&str; 4] =
    ["/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/local/nginx/sbin/nginx", "/usr/bin/nginx"];
const MODULE_FOLDERS: [&str; 4] = [
    "/usr/lib/nginx/modules",
    "/usr/lib64/nginx/modules",
    "/usr/local/nginx/modules",
    "/usr/share/nginx/modules",
];

/// The path of the tested file as it stands in [`Nginx::check`]'s answers.
pub(crate) const FILE: &str = "FILE";

/// An nginx with a folder of its own.
pub(crate) struct Nginx {
    binary: &'static str,
    folder: PathBuf,
}

/// What nginx complained of.
#[derive(PartialEq, Eq)]
pub(crate) struct Complaint {
    pub(crate) words: Vec<u8>,
    /// Missing where nginx complains only after a block, or the whole file, has been read.
    pub(crate) line: Option<u32>,
}

impl Nginx {
    pub(crate) fn new() -> Self {
        static N_FOLDERS: AtomicU32 = AtomicU32::new(0);
        let binary = BINARIES.into_iter().find(|path| Path::new(path).is_file());
        let binary =
            binary.unwrap_or_else(|| panic!("nginx is not installed ({BINARIES:?}); run scripts/setup"));
        let n = N_FOLDERS.fetch_add(1, Ordering::Relaxed);
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("nginx-{}-{n}", std::process::id()));
        fs::create_dir_all(&folder).expect("a temporary folder");
        Self { binary, folder }
    }

    /// Returns all that nginx writes about a configuration, with [`FILE`] for the path of the file.
    pub(crate) fn check(&self, config: &[u8]) -> Vec<u8> {
        self.run(config, &[])
    }

    /// Does the same with directives in the option `-g`.
    pub(crate) fn check_with_option(&self, config: &[u8], directives: &str) -> Vec<u8> {
        self.run(config, &["-g", directives])
    }

    fn run(&self, config: &[u8], options: &[&str]) -> Vec<u8> {
        let file = self.folder.join("nginx.conf");
        fs::write(&file, config).expect("the folder can be written to");
        let output = Command::new(self.binary)
            .args(options)
            .arg("-t")
            .arg("-p")
            .arg(&self.folder)
            .arg("-c")
            .arg(&file)
            .arg("-e")
            .arg(self.folder.join("error.log"))
            .output()
            .expect("nginx can be run");
        let path = file.to_str().expect("the folder of the build has a sane name");
        replace(&output.stderr, path.as_bytes(), FILE.as_bytes())
    }

    /// Returns what nginx refuses a configuration for; `None` if it has read all of it.
    pub(crate) fn complaint(&self, config: &[u8]) -> Option<Complaint> {
        let answer = self.check(config);
        let fail = || panic!("{}", answer.escape_ascii());
        if find(&answer, b"syntax is ok\n").is_some() {
            return None;
        }
        let start = find(&answer, b"nginx: [emerg] ").unwrap_or_else(fail) + b"nginx: [emerg] ".len();
        let message = &answer[start..];
        let end = find(message, format!("\nnginx: configuration file {FILE} test failed\n").as_bytes());
        let message = &message[..end.unwrap_or_else(fail)];
        let place = format!(" in {FILE}:");
        let Some(words_end) = message.windows(place.len()).rposition(|bytes| bytes == place.as_bytes())
        else {
            return Some(Complaint { words: message.to_vec(), line: None });
        };
        let line = String::from_utf8_lossy(&message[words_end + place.len()..]).parse();
        let line = line.unwrap_or_else(|_| panic!("{}", message.escape_ascii()));
        Some(Complaint { words: message[..words_end].to_vec(), line: Some(line) })
    }
}

impl fmt::Debug for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` of line {:?}", self.words.escape_ascii(), self.line)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // What cannot be removed is left to whoever cleans the build folder.
        fs::remove_dir_all(&self.folder).unwrap_or_default();
    }
}

/// Returns the directives that load lua-nginx-module, on one line.
pub(crate) fn load_lua() -> String {
    ["ndk_http_module.so", "ngx_http_lua_module.so"]
        .map(|module| {
            let paths = MODULE_FOLDERS.iter().map(|folder| format!("{folder}/{module}"));
            let path = paths.into_iter().find(|path| Path::new(path).is_file());
            let path =
                path.unwrap_or_else(|| panic!("{module} is not in {MODULE_FOLDERS:?}; run scripts/setup"));
            format!("load_module {path};")
        })
        .concat()
}

fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    text.windows(needle.len()).position(|bytes| bytes == needle)
}

fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut rest = text;
    let mut replaced = Vec::with_capacity(text.len());
    while let Some(start) = find(rest, from) {
        replaced.extend_from_slice(&rest[..start]);
        replaced.extend_from_slice(to);
        rest = &rest[start + from.len()..];
    }
    replaced.extend_from_slice(rest);
    replaced
}
