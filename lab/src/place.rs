//! Where a scenario happens: its directory, its ports, and the placeholders that name them.
//!
//! `${dir}` the directory · `${port:NAME}` a port of its own · `${sock:NAME}` a path for a unix socket · `${main}` what a
//! configuration begins with (user, workers, pid, error log, events) · `${temp}` nginx's temporary paths ·
//! `${time:error:-2h}` and `${time:access:-2h}` a stamp as a log has it · `${lab}` this program. Every other `${…}` is
//! nginx's own.

mod ports;
pub(crate) mod stamp;

pub(crate) use ports::Ports;

use anyhow::{Result, anyhow};
use jiff::Zoned;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Where a scenario happens.
#[derive(Debug)]
pub(crate) struct Place {
    /// Its directory.
    pub(crate) dir: PathBuf,
    /// Its ports.
    pub(crate) ports: Ports,
    /// Whether it has namespaces of its own.
    pub(crate) isolated: bool,
    /// Whether it is run by root.
    pub(crate) root: bool,
    now: Zoned,
}

impl Place {
    pub(crate) fn new(dir: PathBuf, isolated: bool) -> Self {
        Self {
            dir,
            ports: Ports::new(isolated),
            isolated,
            root: rustix::process::geteuid().is_root(),
            now: Zoned::now(),
        }
    }

    /// A path of the scenario: relative ones are in its directory.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.dir.join(path)
    }

    /// Replaces the placeholders in everything that a value says.
    pub(crate) fn expand_all<T: Serialize + DeserializeOwned>(&mut self, value: &T) -> Result<T> {
        let mut tree = serde_json::to_value(value)?;
        self.walk(&mut tree)?;
        Ok(serde_json::from_value(tree)?)
    }

    fn walk(&mut self, tree: &mut Value) -> Result<()> {
        match tree {
            Value::String(text) => *text = self.expand(text)?,
            Value::Array(items) => items.iter_mut().try_for_each(|item| self.walk(item))?,
            Value::Object(fields) => fields.values_mut().try_for_each(|field| self.walk(field))?,
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
        Ok(())
    }

    /// Replaces the placeholders in a text.
    pub(crate) fn expand(&mut self, text: &str) -> Result<String> {
        let mut expanded = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            expanded.push_str(&rest[..start]);
            let inner = &rest[start + 2..];
            let end = inner.find('}').ok_or_else(|| anyhow!("no }} after {:?}", &rest[start..]))?;
            match self.value(&inner[..end])? {
                Some(value) => expanded.push_str(&value),
                None => expanded.push_str(&rest[start..=(start + 2 + end)]),
            }
            rest = &inner[end + 1..];
        }
        expanded.push_str(rest);
        Ok(expanded)
    }

    /// The value of a placeholder; `None` if it is nginx's.
    fn value(&mut self, name: &str) -> Result<Option<String>> {
        let dir = self.dir.display();
        let value = match name.split_once(':') {
            None => match name {
                "dir" => dir.to_string(),
                "lab" => std::env::current_exe()?.display().to_string(),
                "main" => self.main(),
                "php-fpm" => crate::process::find_php_fpm()?.display().to_string(),
                "temp" => ["client_body", "fastcgi", "proxy", "scgi", "uwsgi"]
                    .map(|kind| format!("{kind}_temp_path {dir}/tmp/{kind};"))
                    .join(" "),
                _ => return Ok(None),
            },
            Some(("port", port)) => self.ports.get(port)?.to_string(),
            Some(("sock", socket)) => format!("{dir}/run/{socket}.sock"),
            Some(("time", time)) => stamp::stamp(&self.now, time)?,
            Some(_) => return Err(anyhow!("unknown placeholder ${{{name}}}")),
        };
        Ok(Some(value))
    }

    /// What every configuration begins with. A master without rights would warn of `user`.
    fn main(&self) -> String {
        let dir = self.dir.display();
        let user = if self.root { "user www-data;\n" } else { "" };
        format!(
            "{user}worker_processes 1;\npid {dir}/run/nginx.pid;\nerror_log {dir}/logs/error.log;\n\
             events {{ worker_connections 512; }}"
        )
    }
}

/// Where a marker stands in the files of a folder: file and line.
pub(crate) fn find_marker(dir: &Path, files: &[String], marker: &str) -> Vec<(String, u64)> {
    let mut places = Vec::new();
    for file in files {
        let path = dir.join(file);
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        for (line, _) in (1..).zip(text.lines()).filter(|(_, text)| text.contains(marker)) {
            places.push((path.display().to_string(), line));
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        Place::new(PathBuf::from("/srv"), true)
    }

    #[test]
    fn placeholders_are_replaced_and_nginx_keeps_its_own() {
        let mut place = place();
        let text = place.expand("${dir}/a ${host} ${sock:app} ${port:web}-${port:web}").unwrap();
        assert_eq!(text, "/srv/a ${host} /srv/run/app.sock 8080-8080");
        assert!(place.expand("${port:app").is_err() && place.expand("${colour:red}").is_err());
    }

    #[test]
    fn everything_that_a_value_says_is_expanded() {
        let value = vec![("x".to_owned(), vec!["${dir}".to_owned()])];
        assert_eq!(place().expand_all(&value).unwrap(), [("x".to_owned(), vec!["/srv".to_owned()])]);
    }

    #[test]
    fn the_begin_of_a_configuration_is_whole() {
        let main = place().main();
        assert!(main.contains("pid /srv/run/nginx.pid;") && main.ends_with('}'), "{main}");
    }
}
