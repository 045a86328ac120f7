//! Which modules a binary has, and therefore which directives it knows.

use super::directives::{DirectiveSpec, names, newest_version, specs_of};
use super::spelling::is_slip_of;
use crate::Version;
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// nginx's own modules: name, type, and the option of `configure` that decides about it.
const OWN: &str = include_str!("tables/modules.tsv");
/// Other people's modules and other flavours of nginx: name, and the directives that they add.
const FOREIGN: &str = include_str!("tables/foreign.tsv");
/// Modules for other systems than those that why502 looks at.
const NOT_HERE: [&str; 5] =
    ["devpoll_module", "eventport_module", "iocp_module", "kqueue_module", "select_module"];
/// Flavours that add directives of their own to those of nginx.
const FLAVOURS: [&str; 3] = ["angie", "freenginx", "tengine"];
/// Names under which a group of foreign directives is built or loaded, where its own is not part of them.
const ALIASES: [(&str, &str); 4] =
    [("ndk", "devel_kit"), ("otel", "opentelemetry"), ("stream_lua", "lua"), ("vts", "vhost_traffic_status")];

/// What a binary is known to be built of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Modules {
    /// The flavour.
    pub(crate) flavour: String,
    /// The version of nginx that it behaves as.
    pub(crate) version: Option<Version>,
    /// The arguments of `configure`; `None` where nobody could look.
    pub(crate) options: Option<Vec<String>>,
    /// The files of the modules that the configuration loads, without their directories.
    pub(crate) loaded: Vec<String>,
}

/// Whether a binary knows a directive.
#[derive(Clone, Debug)]
pub(crate) enum Knowledge {
    /// It does not.
    No,
    /// Somebody else's module knows it, or may.
    Perhaps,
    /// nginx itself does, in these ways.
    Yes(Vec<&'static DirectiveSpec>),
}

impl Modules {
    /// Whether the binary knows a directive of that name.
    pub(crate) fn knows(&self, name: &str) -> Knowledge {
        let all = specs_of(name);
        let is_there =
            |spec: &&DirectiveSpec| spec.is_in(self.version) && self.has(spec.module) != Some(false);
        let known: Vec<_> = all.iter().filter(is_there).collect();
        if !known.is_empty() {
            return Knowledge::Yes(known);
        }
        let is_unknown = match self.foreign(name) {
            Some(is_there) => !is_there,
            // Somebody else's module may know more than is known of it.
            None if all.is_empty() => self.has_only_own_modules() || is_a_slip(name),
            None => self.is_stock(),
        };
        if is_unknown { Knowledge::No } else { Knowledge::Perhaps }
    }

    /// Whether a module of nginx is in the binary or loaded; `None` where that cannot be told.
    pub(crate) fn has(&self, module: &str) -> Option<bool> {
        if NOT_HERE.contains(&module) {
            return Some(false);
        }
        for (parent, prefix) in [("stream", "stream_"), ("mail", "mail_")] {
            let is_part = module.starts_with(prefix);
            if is_part && !self.switched(&format!("--with-{parent}"), &format!("ngx_{parent}_module"))? {
                return Some(false);
            }
        }
        match own_modules().get(module).copied().unwrap_or("-") {
            "-" => Some(true),
            option if option.starts_with("--without-") => {
                Some(self.options.as_ref().is_none_or(|options| !options.iter().any(|own| own == option)))
            }
            option => self.switched(option, &format!("ngx_{module}")),
        }
    }

    /// Whether the binary, which is for Linux, can wait for events in that way.
    pub(crate) fn has_event_method(&self, method: &str) -> bool {
        let is_built = |option: &str| {
            self.options.as_ref().is_none_or(|options| options.iter().any(|own| own == option))
        };
        match method {
            "epoll" => true,
            "poll" => is_built("--with-poll_module"),
            "select" => is_built("--with-select_module"),
            _ => false,
        }
    }

    /// Whether an option of `configure` switches something on, or as a dynamic module that is loaded.
    fn switched(&self, option: &str, file: &str) -> Option<bool> {
        let is_loaded = self.loaded.iter().any(|own| own.strip_suffix(".so").unwrap_or(own) == file);
        if is_loaded {
            return Some(true);
        }
        Some(self.options.as_ref()?.iter().any(|own| own == option))
    }

    /// Whether somebody else's module that knows the name is there; `None` if none is known to have it.
    fn foreign(&self, name: &str) -> Option<bool> {
        let mut groups = groups_of(name).peekable();
        groups.peek()?;
        Some(groups.any(|group| self.may_have_group(group)))
    }

    fn may_have_group(&self, group: &str) -> bool {
        if FLAVOURS.contains(&group) {
            // Without a binary to look into, the flavour is a guess.
            return self.flavour == group || self.options.is_none();
        }
        let Some(options) = &self.options else { return true };
        let is_it = |text: &str| is_of_group(text, group);
        self.loaded.iter().any(|file| is_it(file))
            || options.iter().filter_map(|option| added(option)).any(is_it)
    }

    /// Whether nothing but nginx's own sources of a known version are at work.
    fn is_stock(&self) -> bool {
        let is_old_enough = self.version.is_none_or(|version| Some(version) <= newest_version());
        matches!(self.flavour.as_str(), "nginx" | "") && is_old_enough
    }

    /// Whether no module is there that could define directives and variables of its own.
    pub(crate) fn has_only_own_modules(&self) -> bool {
        self.is_stock()
            && self
                .options
                .as_ref()
                .is_some_and(|options| !options.iter().any(|option| added(option).is_some()))
            && self.loaded.iter().all(|file| is_own_file(file))
    }
}

/// The directory of a module that was added to the build.
fn added(option: &str) -> Option<&str> {
    option.strip_prefix("--add-module=").or_else(|| option.strip_prefix("--add-dynamic-module="))
}

/// Whether a module's directory or file is that of a group: `../headers-more-nginx-module-0.34`, `ngx_http_lua_module.so`.
fn is_of_group(text: &str, group: &str) -> bool {
    let name = text.trim_end_matches('/').rsplit('/').next().unwrap_or(text).replace('-', "_");
    let alias = ALIASES.iter().filter(|(own, _)| *own == group).map(|(_, alias)| *alias);
    std::iter::once(group).chain(alias).any(|part| name.contains(part))
}

fn is_own_file(file: &str) -> bool {
    let module = file.strip_prefix("ngx_").and_then(|rest| rest.strip_suffix(".so")).unwrap_or(file);
    own_modules().contains_key(module) || matches!(module, "stream_module" | "mail_module")
}

fn own_modules() -> &'static BTreeMap<&'static str, &'static str> {
    static MODULES: OnceLock<BTreeMap<&'static str, &'static str>> = OnceLock::new();
    MODULES.get_or_init(|| {
        let rows = OWN.lines().filter(|line| !line.starts_with('#'));
        rows.filter_map(|line| Some((line.split('\t').next()?, line.split('\t').nth(2)?))).collect()
    })
}

fn foreign_rows() -> impl Iterator<Item = (&'static str, &'static str)> {
    FOREIGN.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('\t'))
}

fn groups_of(name: &str) -> impl Iterator<Item = &'static str> {
    foreign_rows()
        .filter(move |(_, names)| {
            names.split(' ').any(|own| {
                own == name || own.strip_suffix('*').is_some_and(|prefix| name.starts_with(prefix))
            })
        })
        .map(|(group, _)| group)
}

/// Whether a name can be no directive of anybody: not written like one, or a slip of one that is known.
fn is_a_slip(name: &str) -> bool {
    let is_written_so = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && name.bytes().any(|byte| byte.is_ascii_alphabetic());
    !is_written_so || names().any(|known| is_slip_of(name, known))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn debian(loaded: &[&str]) -> Modules {
        let options =
            ["--with-compat", "--with-http_ssl_module", "--with-stream=dynamic", "--without-http_geo_module"];
        Modules {
            flavour: "nginx".to_owned(),
            version: Some(Version(1, 22, 1)),
            options: Some(options.map(str::to_owned).to_vec()),
            loaded: loaded.iter().map(|file| (*file).to_owned()).collect(),
        }
    }

    fn says(modules: &Modules, name: &str) -> &'static str {
        match modules.knows(name) {
            Knowledge::No => "no",
            Knowledge::Perhaps => "perhaps",
            Knowledge::Yes(_) => "yes",
        }
    }

    #[test]
    fn a_directive_is_known_with_its_module() {
        let modules = debian(&[]);
        assert_eq!(says(&modules, "ssl_certificate"), "yes");
        assert_eq!(says(&modules, "proxy_pass"), "yes");
        assert_eq!(says(&modules, "geo"), "no", "switched off");
        assert_eq!(says(&modules, "image_filter"), "no", "not switched on");
        assert_eq!(says(&modules, "stream"), "no", "not loaded");
        assert_eq!(says(&debian(&["ngx_stream_module.so"]), "stream"), "yes");
        assert_eq!(says(&modules, "keepalive_time"), "yes");
        assert_eq!(says(&modules, "proxy_pass_trailers"), "no", "of a newer version");
    }

    #[test]
    fn a_foreign_directive_is_known_once_its_module_may_be_there() {
        assert_eq!(says(&debian(&[]), "content_by_lua_block"), "no");
        assert_eq!(says(&debian(&["ngx_http_lua_module.so"]), "content_by_lua_block"), "perhaps");
        assert_eq!(says(&debian(&["ngx_http_headers_more_filter_module.so"]), "more_set_headers"), "perhaps");
        assert_eq!(says(&Modules::default(), "content_by_lua_block"), "perhaps");
        assert_eq!(says(&debian(&[]), "passenger_enabled"), "no");
    }

    #[test]
    fn an_unknown_name_is_refused_only_where_nothing_can_know_it() {
        assert_eq!(says(&debian(&[]), "frobnicate"), "no");
        assert_eq!(says(&debian(&["ngx_http_frob_module.so"]), "frobnicate"), "perhaps");
        assert_eq!(says(&Modules::default(), "frobnicate"), "perhaps");
        assert_eq!(says(&Modules::default(), "proxy_passs"), "no", "a slip");
        assert_eq!(says(&Modules::default(), "proxy-pass"), "no", "no directive is written so");
        let newer = Modules { version: Some(Version(99, 0, 0)), ..debian(&[]) };
        assert_eq!(says(&newer, "frobnicate"), "perhaps");
    }

    #[test]
    fn other_flavours_have_more() {
        let tengine = Modules { flavour: "tengine".to_owned(), ..debian(&[]) };
        assert_eq!(says(&tengine, "check_shm_size"), "perhaps");
        assert_eq!(says(&debian(&[]), "check_shm_size"), "no");
    }
}
