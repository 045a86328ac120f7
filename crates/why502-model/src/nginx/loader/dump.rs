//! The output of `nginx -T`: a whole configuration in one text.

use std::collections::BTreeMap;
use why502_facts::lossy;

/// How `nginx -T` introduces each file (`src/core/nginx.c`, `main`).
const HEADING: &[u8] = b"# configuration file ";
/// How many lines of warnings and the like may stand before the first heading.
const MAX_LINES_BEFORE: usize = 64;

/// The files of a dump.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Dump {
    /// The configuration file.
    pub(super) main: String,
    /// All files by path, each once.
    pub(super) files: BTreeMap<String, Vec<u8>>,
}

impl Dump {
    /// Splits the output of `nginx -T` into its files; `None` if it is none.
    ///
    /// Each file is introduced by `# configuration file PATH:` and followed by one line end. A path that comes a second
    /// time begins another dump, which is not read: within one dump nginx lists every file once.
    pub(super) fn split(text: &[u8]) -> Option<Self> {
        let mut lines = text.split_inclusive(|byte| *byte == b'\n');
        let main = lines.by_ref().take(MAX_LINES_BEFORE).find_map(heading)?;
        let mut files = BTreeMap::from([(main.clone(), Vec::new())]);
        let mut current = main.clone();
        for line in lines {
            if let Some(path) = heading(line) {
                if files.contains_key(&path) {
                    break;
                }
                files.insert(path.clone(), Vec::new());
                current = path;
            } else if !is_from_nginx(line)
                && let Some(file) = files.get_mut(&current)
            {
                file.extend_from_slice(line);
            }
        }
        for file in files.values_mut() {
            let end =
                [b"\r\n".as_slice(), b"\n"].into_iter().find_map(|end| Some(file.strip_suffix(end)?.len()));
            file.truncate(end.unwrap_or(file.len()));
        }
        Some(Self { main, files })
    }
}

fn heading(line: &[u8]) -> Option<String> {
    let path = line.strip_prefix(HEADING)?.trim_ascii_end().strip_suffix(b":")?;
    path.starts_with(b"/").then(|| lossy(path))
}

/// `nginx: the configuration file … syntax is ok` and warnings, where stderr was caught too.
fn is_from_nginx(line: &[u8]) -> bool {
    line.starts_with(b"nginx: ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(text: &str) -> Option<Vec<(String, String)>> {
        let files = Dump::split(text.as_bytes())?.files;
        Some(files.into_iter().map(|(path, text)| (path, String::from_utf8(text).unwrap())).collect())
    }

    fn owned(files: &[(&str, &str)]) -> Vec<(String, String)> {
        files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn a_dump_is_split_into_its_files() {
        let text = "# configuration file /etc/n.conf:\na;\n\n# configuration file /etc/c/b.conf:\nb;\n\n\n";
        assert_eq!(files(text), Some(owned(&[("/etc/c/b.conf", "b;\n\n"), ("/etc/n.conf", "a;\n")])));
    }

    #[test]
    fn what_nginx_says_around_it_is_left_out() {
        let text = "nginx: the configuration file /etc/n.conf syntax is ok\n\
                    nginx: configuration file /etc/n.conf test is successful\n\
                    # configuration file /etc/n.conf:\r\na;\r\nnginx: [warn] x\r\n\r\n";
        assert_eq!(files(text), Some(owned(&[("/etc/n.conf", "a;\r\n")])));
    }

    #[test]
    fn of_two_dumps_the_first_is_read() {
        let text = "# configuration file /n:\na;\n\n# configuration file /n:\nb;\n\n";
        assert_eq!(files(text), Some(owned(&[("/n", "a;\n")])));
    }

    #[test]
    fn a_configuration_is_no_dump() {
        assert_eq!(files("# configuration file for nginx:\nevents {}\n"), None);
        assert_eq!(files(""), None);
    }
}
