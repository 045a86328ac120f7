//! What a binary tells of itself: its version, and what `configure` was told.

use crate::Version;

/// The strings of a binary that tell its version and how it was built (`ngx_show_version_info`).
pub(super) const MARKS: [&str; 2] = [" version: ", "configure arguments:"];

/// What a binary's strings tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Build {
    /// The flavour: `nginx`, `openresty`, `angie`, `tengine`, `freenginx`.
    pub(crate) flavour: String,
    /// The version of nginx that it behaves as.
    pub(crate) version: Option<Version>,
    /// The version as it calls itself.
    pub(crate) version_text: Option<String>,
    /// The arguments of `configure`; `None` where they are not known.
    pub(crate) options: Option<Vec<String>>,
}

impl Build {
    /// Reads the strings of a binary.
    pub(super) fn read(strings: &[String]) -> Self {
        let mut build = Self { flavour: "nginx".to_owned(), ..Self::default() };
        for text in strings {
            if let Some((_, version)) = text.split_once(" version: ") {
                build.read_version(version);
            }
            if let Some((_, arguments)) = text.split_once("configure arguments:") {
                build.options = Some(split_arguments(arguments));
            }
        }
        build
    }

    /// `nginx/1.22.1`, `openresty/1.25.3.1`, `Angie/1.13.0`; Tengine names both itself and the nginx that it is.
    fn read_version(&mut self, text: &str) {
        let Some((flavour, number)) = text.lines().next().unwrap_or("").trim().split_once('/') else {
            return;
        };
        let number = number.split_ascii_whitespace().next().unwrap_or("");
        let flavour = flavour.to_ascii_lowercase();
        // Angie and Tengine number their own way: which nginx they behave as cannot be read from that.
        let numbers_as_nginx = !matches!(flavour.as_str(), "angie" | "tengine");
        if numbers_as_nginx && self.version.is_none() {
            self.version = number.parse().ok();
        }
        if flavour != "nginx" || self.version_text.is_none() {
            self.flavour = flavour;
            self.version_text = Some(number.to_owned());
        }
    }

    /// The value of an option of `configure`; `None` where it was not given, or nobody could look.
    pub(super) fn option(&self, name: &str) -> Option<&str> {
        let options = self.options.iter().flatten();
        options.filter_map(|option| option.strip_prefix(name)?.strip_prefix('=')).next_back()
    }

    /// `--prefix`, or the default of `configure`.
    pub(crate) fn prefix(&self) -> Option<String> {
        self.options.as_ref()?;
        Some(self.option("--prefix").unwrap_or("/usr/local/nginx").to_owned())
    }

    /// A path that `configure` decided. The binary keeps it as it was written, mostly relative: to its own prefix, or to
    /// the one that it is started with (`ngx_process_options`).
    pub(crate) fn path(&self, option: &str, default: &str, prefix: &str) -> Option<String> {
        self.options.as_ref()?;
        Some(absolute(self.option(option).unwrap_or(default), prefix))
    }
}

/// A path relative to the prefix (`ngx_get_full_name`); `stderr` stays what it is.
pub(crate) fn absolute(path: &str, prefix: &str) -> String {
    if path.starts_with('/') || path == "stderr" {
        return path.to_owned();
    }
    format!("{}/{path}", prefix.trim_end_matches('/'))
}

/// Splits the arguments as a shell would: some are quoted and hold blanks.
fn split_arguments(text: &str) -> Vec<String> {
    let mut arguments = Vec::new();
    let mut current = String::new();
    let mut quote = None;
    for character in text.trim().chars() {
        match (quote, character) {
            (Some(open), _) if open == character => quote = None,
            (None, '\'' | '"') => quote = Some(character),
            (None, ' ' | '\n' | '\t') => arguments.push(std::mem::take(&mut current)),
            _ => current.push(character),
        }
    }
    arguments.push(current);
    arguments.retain(|argument| !argument.is_empty());
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(strings: &[&str]) -> Build {
        Build::read(&strings.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn flavours_and_versions_are_read() {
        for (strings, flavour, version, text) in [
            (&["nginx version: nginx/1.22.1\n"][..], "nginx", Some(Version(1, 22, 1)), "1.22.1"),
            (&["nginx version: openresty/1.25.3.1"], "openresty", Some(Version(1, 25, 3)), "1.25.3.1"),
            (&["Angie version: Angie/1.13.0"], "angie", None, "1.13.0"),
            (
                &["Tengine version: Tengine/3.1.0", "nginx version: nginx/1.24.0"],
                "tengine",
                Some(Version(1, 24, 0)),
                "3.1.0",
            ),
            (
                &["nginx version: nginx/1.24.0", "Tengine version: Tengine/3.1.0"],
                "tengine",
                Some(Version(1, 24, 0)),
                "3.1.0",
            ),
            (&["nginx version: freenginx/1.27.2 (x)"], "freenginx", Some(Version(1, 27, 2)), "1.27.2"),
        ] {
            let build = build(strings);
            assert_eq!(
                (&*build.flavour, build.version, build.version_text.as_deref()),
                (flavour, version, Some(text))
            );
        }
    }

    #[test]
    fn configure_arguments_are_split_as_a_shell_does() {
        let build = build(&[
            "configure arguments: --with-cc-opt='-g -O2' --prefix=/usr/share/nginx --conf-path=/etc/nginx/nginx.conf --http-log-path=log/a --error-log-path=stderr",
        ]);
        assert_eq!(build.option("--with-cc-opt"), Some("-g -O2"));
        assert_eq!(build.prefix().as_deref(), Some("/usr/share/nginx"));
        let path = |option| build.path(option, "default", "/srv");
        assert_eq!(path("--conf-path").as_deref(), Some("/etc/nginx/nginx.conf"));
        assert_eq!(path("--http-log-path").as_deref(), Some("/srv/log/a"));
        assert_eq!(path("--error-log-path").as_deref(), Some("stderr"));
        assert_eq!(path("--pid-path").as_deref(), Some("/srv/default"));
    }

    #[test]
    fn without_arguments_nothing_is_claimed() {
        let unknown = build(&["nginx version: nginx/1.22.1"]);
        assert_eq!((unknown.prefix(), unknown.path("--conf-path", "conf/nginx.conf", "/srv")), (None, None));
        assert_eq!(build(&["configure arguments: "]).prefix().as_deref(), Some("/usr/local/nginx"));
    }
}
