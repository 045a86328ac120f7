//! `nginx -T`: the loader reads the same files in the same order, and nginx's output is as good as the files.

use crate::Gateway;
use crate::host::{Host, settled};
use crate::random::Random;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A file: its name and its content.
type File = (String, Vec<u8>);

fn tree(files: &[(&str, &str)]) -> Vec<File> {
    files.iter().map(|(name, content)| ((*name).to_owned(), content.as_bytes().to_vec())).collect()
}

/// Trees of files with every manner of including.
fn trees() -> Vec<Vec<File>> {
    let one = "events {} http { include conf.d/*.conf; }\n";
    vec![
        tree(&[("nginx.conf", "events {}\n")]),
        tree(&[("nginx.conf", "events {} # no line end")]),
        tree(&[("nginx.conf", "events {}\r\nhttp {\r\n}\r\n")]),
        tree(&[("nginx.conf", one)]),
        tree(&[
            ("nginx.conf", one),
            ("conf.d/b.conf", ""),
            ("conf.d/a.conf", "\n\n"),
            ("conf.d/A.conf", "# x"),
        ]),
        tree(&[
            ("nginx.conf", one),
            ("conf.d/.hidden.conf", "nonsense"),
            ("conf.d/10.conf", "#10"),
            ("conf.d/9.conf", "#9"),
        ]),
        tree(&[
            ("nginx.conf", one),
            ("conf.d/a-b.conf", "#"),
            ("conf.d/a.conf", "#"),
            ("conf.d/a_b.conf", "#"),
            ("conf.d/ab.conf", "#"),
        ]),
        tree(&[
            ("nginx.conf", "events {} http { include */*.conf; include */x; }"),
            ("b/1.conf", "#b"),
            ("a/2.conf", "#a"),
            ("c.conf", "?"),
        ]),
        tree(&[
            ("nginx.conf", "include events.conf; http { include x/[ab]?.conf; include x/[!ab]*; }"),
            ("events.conf", "events { include inner; }"),
            ("inner", "worker_connections 100;"),
            ("x/a1.conf", "#"),
            ("x/b.conf", "#no"),
            ("x/b2.conf", "#"),
            ("x/c3.conf", "#"),
        ]),
        tree(&[
            (
                "nginx.conf",
                "events {} http { include a.conf; include a.conf; include ./a.conf; server { include a.conf; } }",
            ),
            ("a.conf", "# again\n"),
        ]),
        tree(&[
            ("nginx.conf", "events {} http { include \"with blank.conf\"; include 'q.conf'; }"),
            ("with blank.conf", "#1"),
            ("q.conf", "#2"),
        ]),
        tree(&[
            ("nginx.conf", "events {} http { include l1; }"),
            ("l1", "#1\ninclude l2;"),
            ("l2", "#2\ninclude sub/l3;"),
            ("sub/l3", "#3\ninclude l4;"),
            ("l4", "#4"),
        ]),
        tree(&[
            (
                "nginx.conf",
                "events {} http { types { include t; } map $uri $x { include m; } geo $y { include g; } upstream u { include u; } server { listen unix:s; location / { include loc; } if ($x) { include if; } } }",
            ),
            ("t", "text/plain txt;"),
            ("m", "default 1;"),
            ("g", "default 2;"),
            ("u", "server 127.0.0.1:1;"),
            ("loc", "proxy_pass http://u;"),
            ("if", "return 404;"),
        ]),
        tree(&[
            ("nginx.conf", "events {} http { include none/*.conf; include conf.d/*; }"),
            ("conf.d/one", "server { listen unix:s; }\n# configuration file of nobody:\n"),
            ("conf.d/two", "#"),
        ]),
        vec![
            ("nginx.conf".to_owned(), b"events {}\nhttp {\n include l;\n}\n".to_vec()),
            ("l".to_owned(), b"# caf\xe9 \xff\xfe\nlog_format f 'caf\xe9';\r\n".to_vec()),
        ],
    ]
}

/// A tree that nobody thought of.
fn random_tree(seed: u64) -> Vec<File> {
    const NAMES: [&str; 12] = [
        "a.conf",
        "b.conf",
        "B.conf",
        "10-x.conf",
        "9-x.conf",
        "a b.conf",
        "a",
        "b~",
        ".c.conf",
        "x.conf.bak",
        "\u{e9}.conf",
        "_.conf",
    ];
    const PATTERNS: [&str; 11] = [
        "DIR/*.conf",
        "DIR/*",
        "DIR/[a-m]*",
        "DIR/?.conf",
        "DIR/?*.conf*",
        "DIR/*[!f]",
        "./DIR/*.conf",
        "DIR/../DIR/*.conf",
        "DIR//*.conf",
        "DIR/{a,b}.conf*",
        "DIR/*\\.conf",
    ];
    let mut random = Random::new(seed);
    let folders = ["p", "q", "r"];
    let mut files: Vec<File> = Vec::new();
    // A folder includes only folders behind it, so there are no circles.
    for (at, folder) in folders.iter().enumerate() {
        for name in NAMES {
            if random.one_in(2) {
                continue;
            }
            let mut text = format!("# {folder} {name}\n");
            for later in &folders[at + 1..] {
                if random.one_in(4) {
                    let pattern = random.pick(&PATTERNS).replace("DIR", later);
                    let _ = writeln!(text, "include \"{pattern}\";");
                }
            }
            text +=
                ["", "\n", "server { listen unix:s; }", "map $uri $v { default 1; }\r\n"][random.below(4)];
            files.push((format!("{folder}/{name}"), text.into_bytes()));
        }
    }
    let mut include = || {
        let pattern = random.pick(&PATTERNS);
        // No wildcard before `..`: what is no folder has none.
        let folders: &[&str] = if pattern.contains("..") { &folders } else { &["p", "q", "r", "*"] };
        format!(" include \"{}\";\n", pattern.replace("DIR", random.pick(folders)))
    };
    let includes: Vec<String> = (0..4).map(|_| include()).collect();
    files.insert(
        0,
        ("nginx.conf".to_owned(), format!("events {{}}\nhttp {{\n{}}}\n", includes.concat()).into_bytes()),
    );
    files
}

fn host_of(files: &[File]) -> Host {
    let files: Vec<(&str, Vec<u8>)> = files
        .iter()
        .map(|(name, content)| {
            let content = match std::str::from_utf8(content) {
                Ok(text) if name == "nginx.conf" => settled(text).into_bytes(),
                _ => content.clone(),
            };
            (name.as_str(), content)
        })
        .collect();
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, content)| (*name, content.as_slice())).collect();
    Host::new(&files)
}

/// Everything that the model holds, places included.
///
/// A file that was carried here is known by its plain path, one of a dump by the path as nginx was told it.
fn outline(gateway: &Gateway) -> String {
    let plain = |text: &str| {
        let text = ["p", "q", "r"].iter().fold(text.replace("/./", "/"), |text, folder| {
            text.replace(&format!("/{folder}/../{folder}/"), &format!("/{folder}/"))
        });
        text.replace("//", "/")
    };
    let text = |text: &[u8]| text.escape_ascii().to_string();
    let files: BTreeMap<String, String> =
        gateway.sources.iter().map(|source| (plain(&source.path), text(&source.text))).collect();
    let unread: Vec<&str> = gateway.unread.iter().map(|gap| gap.says.as_str()).collect();
    let parts = (&gateway.servers, &gateway.routes, &gateway.groups, &gateway.logs, &gateway.problems);
    plain(&format!("{parts:#?}\n{unread:#?}\n{files:#?}"))
}

fn shown(files: &[File]) -> String {
    let shown = files.iter().map(|(name, content)| format!("#- {name}\n{}", content.escape_ascii()));
    shown.collect::<Vec<_>>().join("\n")
}

fn assert_same_files(files: &[File]) -> usize {
    let host = host_of(files);
    let dump = host.dump().unwrap_or_else(|| panic!("{:?}: {}", host.refusal(), shown(files)));
    let gateway = host.gateway();
    let mut own = Vec::new();
    for source in &gateway.sources {
        own.extend_from_slice(format!("# configuration file {}:\n", source.path).as_bytes());
        own.extend_from_slice(&source.text);
        own.push(b'\n');
    }
    let names = |text: &[u8]| -> Vec<String> {
        let lines = text.split(|byte| *byte == b'\n');
        let headings = lines.filter_map(|line| line.strip_prefix(b"# configuration file "));
        headings.map(|path| String::from_utf8_lossy(path).replace(&host.path(""), "")).collect()
    };
    assert_eq!(names(&own), names(&dump), "{}", shown(files));
    assert_eq!(own.escape_ascii().to_string(), dump.escape_ascii().to_string(), "{}", shown(files));
    gateway.sources.len()
}

fn assert_same_model(files: &[File]) {
    let host = host_of(files);
    let dump = host.dump().unwrap_or_else(|| panic!("{:?}: {}", host.refusal(), shown(files)));
    host.write("dump.txt", &dump);
    let (dumped, read) = (outline(&host.offline("dump.txt")), outline(&host.offline("nginx.conf")));
    let first = dumped.lines().zip(read.lines()).position(|(dumped, read)| dumped != read);
    let around = |text: &str| {
        let from = first.unwrap_or(0).saturating_sub(8);
        text.lines().skip(from).take(12).collect::<Vec<_>>().join("\n")
    };
    assert!(dumped == read, "{}\n{}\n--\n{}", shown(files), around(&dumped), around(&read));
}

#[test]
fn files_and_their_order_are_those_of_nginx() {
    let n_files: usize = trees().iter().map(|files| assert_same_files(files)).sum();
    assert!(n_files > 40, "{n_files} files");
}

#[test]
fn files_of_random_trees_are_those_of_nginx() {
    let n_files: usize = (0..60).map(|seed| assert_same_files(&random_tree(seed))).sum();
    assert!(n_files > 300, "{n_files} files");
}

#[test]
fn a_dump_is_as_good_as_the_files() {
    for files in trees().into_iter().chain((100..140).map(random_tree)) {
        assert_same_model(&files);
    }
}
