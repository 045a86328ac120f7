//! Files that were carried here from another host.

/// The directories in which configuration files lie where nginx is installed.
const HOMES: [&str; 10] = [
    "/etc/nginx",
    "/usr/local/nginx/conf",
    "/usr/local/openresty/nginx/conf",
    "/usr/local/etc/nginx",
    "/opt/homebrew/etc/nginx",
    "/etc/openresty",
    "/etc/angie",
    "/etc/tengine",
    "/var/opt/gitlab/nginx/conf",
    "/opt/bitnami/nginx/conf",
];

/// The paths at which a file of another host's configuration may lie here, the likeliest first.
///
/// `main` is where the configuration file lies here, `written` the absolute path of a file as that host has it. With a
/// configuration in `/tmp/case/etc/nginx`, `/etc/x` is `/tmp/case/etc/x`; with one in `/tmp/case`, `/etc/nginx/x` is
/// `/tmp/case/x`. Nothing but what lies beside the given file is ever named: this host's own files say nothing.
pub(super) fn candidates(main: &str, written: &str) -> Vec<String> {
    let Some(written) = normalized(written) else { return Vec::new() };
    let directory = main.rsplit_once('/').map_or("", |(directory, _)| directory);
    let mut found = Vec::new();
    let mut base = directory;
    for home in HOMES {
        if let Some(own) = directory.strip_suffix(home).filter(|own| !own.is_empty()) {
            base = own;
            found.push(format!("{own}{written}"));
        }
    }
    for home in HOMES {
        if let Some(rest) = written.strip_prefix(home).filter(|rest| rest.starts_with('/')) {
            found.push(format!("{directory}{rest}"));
        }
    }
    found.push(format!("{directory}{written}"));
    if is_below(&written, base) {
        found.insert(0, written.clone());
    }
    // A single file of some other place may have been put beside the configuration by its name alone.
    let name = written.rsplit('/').next().unwrap_or_default();
    if !super::glob::is_pattern(&written) {
        found.push(format!("{directory}/{name}"));
    }
    found.retain(|path| path != main);
    let mut seen = std::collections::BTreeSet::new();
    found.retain(|path| is_below(path, base) && seen.insert(path.clone()));
    found
}

fn is_below(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
}

/// The path without `.` and `..`; `None` if it climbs out of the root.
fn normalized(path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(format!("/{}", parts.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(main: &str, written: &str) -> Option<String> {
        candidates(main, written).into_iter().next()
    }

    #[test]
    fn a_copied_tree_is_searched_by_full_paths() {
        let main = "/tmp/case/etc/nginx/nginx.conf";
        assert_eq!(
            first(main, "/etc/letsencrypt/ssl.conf").as_deref(),
            Some("/tmp/case/etc/letsencrypt/ssl.conf")
        );
        assert_eq!(
            first(main, "/etc/nginx/conf.d/*.conf").as_deref(),
            Some("/tmp/case/etc/nginx/conf.d/*.conf")
        );
        assert_eq!(first(main, "/tmp/case/etc/nginx/x").as_deref(), Some("/tmp/case/etc/nginx/x"));
    }

    #[test]
    fn a_copied_directory_is_searched_below_it() {
        let main = "/tmp/case/nginx.conf";
        assert_eq!(first(main, "/etc/nginx/sites/a").as_deref(), Some("/tmp/case/sites/a"));
        assert_eq!(first(main, "/tmp/case/sites/a").as_deref(), Some("/tmp/case/sites/a"));
        let elsewhere = candidates(main, "/etc/letsencrypt/ssl.conf");
        assert_eq!(elsewhere, ["/tmp/case/etc/letsencrypt/ssl.conf", "/tmp/case/ssl.conf"]);
    }

    #[test]
    fn nothing_outside_of_the_given_directory_is_named() {
        for (main, written) in [
            ("/etc/nginx/nginx.conf", "/etc/letsencrypt/ssl.conf"),
            ("/tmp/case/nginx.conf", "/tmp/case/../other/x"),
            ("/tmp/case/etc/nginx/nginx.conf", "/etc/nginx/../../../x"),
            ("/tmp/case/nginx.conf", "/etc/nginx/../passwd"),
        ] {
            let base = main.strip_suffix("/etc/nginx/nginx.conf").filter(|base| !base.is_empty());
            let base = base.unwrap_or_else(|| main.rsplit_once('/').unwrap().0);
            for path in candidates(main, written) {
                assert!(path.starts_with(&format!("{base}/")) && !path.contains(".."), "{path}");
            }
        }
        assert_eq!(candidates("/tmp/case/nginx.conf", "/../../x"), Vec::<String>::new());
    }
}
