//! The directives that nginx knows: where each may stand, how many arguments it takes, and how they are read.
//!
//! The table is written by `xtask directives` from the `ngx_command_t` arrays of all releases since 1.14.0.

use crate::Version;
use std::collections::BTreeMap;
use std::sync::OnceLock;

const TABLE: &str = include_str!("tables/directives.tsv");

/// A directive as one module of nginx declares it.
#[derive(Clone, Debug)]
pub(crate) struct DirectiveSpec {
    /// The module without its `ngx_`.
    pub(crate) module: &'static str,
    /// Where it may stand.
    pub(crate) contexts: Contexts,
    /// How many arguments it takes.
    pub(crate) arguments: Arguments,
    /// Whether it has a block.
    pub(crate) is_block: bool,
    /// How its value is read.
    pub(crate) value: Value,
    /// The first version that has it; `None`: older than all that are looked at.
    pub(crate) since: Option<Version>,
    /// The first version that no longer has it.
    pub(crate) until: Option<Version>,
}

/// A kind of block in which directives stand: `cf->cmd_type` and `cf->module_type` together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Context {
    Events,
    Http,
    IfInLocation,
    IfInServer,
    LimitExcept,
    Location,
    Mail,
    MailServer,
    Main,
    Server,
    Stream,
    StreamServer,
    StreamUpstream,
    Upstream,
}

/// A set of contexts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Contexts(u16);

/// How many arguments a directive takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arguments {
    /// Any number (`NGX_CONF_ANY`).
    Any,
    /// So many or more (`NGX_CONF_1MORE`, `NGX_CONF_2MORE`).
    AtLeast(usize),
    /// One of these numbers: bit N for N arguments.
    OneOf(u8),
}

/// How a directive's value is read: nginx's ready-made handlers, and `Custom` for those of a module's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Access,
    Array,
    /// Several of these words.
    Bitmask(Vec<&'static str>),
    Buffers,
    Complex,
    Custom,
    /// One of these words.
    Enum(Vec<&'static str>),
    Flag,
    Pairs,
    Milliseconds,
    /// A number, and the bounds that it must keep.
    Number(Option<(i64, i64)>),
    Offset,
    Path,
    Seconds,
    Size,
    Text,
}

/// What nginx declares under a name, in the order of its modules.
pub(crate) fn specs_of(name: &str) -> &'static [DirectiveSpec] {
    table().get(name).map_or(&[], Vec::as_slice)
}

/// All names, in order.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    table().keys().copied()
}

/// The newest release that the table was written from.
pub(crate) fn newest_version() -> Option<Version> {
    let line = TABLE.lines().find_map(|line| line.strip_prefix("# Newest release: "))?;
    line.trim().parse().ok()
}

fn table() -> &'static BTreeMap<&'static str, Vec<DirectiveSpec>> {
    static SPECS: OnceLock<BTreeMap<&'static str, Vec<DirectiveSpec>>> = OnceLock::new();
    SPECS.get_or_init(|| {
        let mut specs: BTreeMap<&'static str, Vec<DirectiveSpec>> = BTreeMap::new();
        for (name, spec) in TABLE.lines().filter(|line| !line.starts_with('#')).filter_map(read_row) {
            specs.entry(name).or_default().push(spec);
        }
        specs
    })
}

fn read_row(line: &'static str) -> Option<(&'static str, DirectiveSpec)> {
    let mut cells = line.split('\t');
    let name = cells.next()?;
    let (module, contexts, arguments) = (cells.next()?, cells.next()?, cells.next()?);
    let (value, since, until) = (cells.next()?, cells.next()?, cells.next()?);
    let (counts, is_block) = match arguments.strip_suffix("{}") {
        Some(counts) => (counts, true),
        None => (arguments, false),
    };
    let spec = DirectiveSpec {
        module,
        contexts: contexts.split(' ').fold(Contexts::default(), Contexts::with_name),
        arguments: read_arguments(counts),
        is_block,
        value: read_value(value),
        since: since.parse().ok(),
        until: until.parse().ok(),
    };
    Some((name, spec))
}

fn read_arguments(counts: &str) -> Arguments {
    match counts {
        "*" => Arguments::Any,
        "flag" => Arguments::OneOf(1 << 1),
        "1+" => Arguments::AtLeast(1),
        "2+" => Arguments::AtLeast(2),
        // Without a number of arguments, none at all fits (`argument_number`): old directives that only explain.
        digits => Arguments::OneOf(digits.bytes().fold(0, |bits, digit| bits | 1u8 << (digit & 7))),
    }
}

fn read_value(text: &'static str) -> Value {
    let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
    let words = || rest.split('|').collect();
    match kind {
        "access" => Value::Access,
        "bitmask" => Value::Bitmask(words()),
        "bufs" => Value::Buffers,
        "complex" => Value::Complex,
        "enum" => Value::Enum(words()),
        "flag" => Value::Flag,
        "keyval" => Value::Pairs,
        "msec" => Value::Milliseconds,
        "num" => Value::Number(
            rest.split_once("..").and_then(|(low, high)| Some((low.parse().ok()?, high.parse().ok()?))),
        ),
        "off" => Value::Offset,
        "path" => Value::Path,
        "sec" => Value::Seconds,
        "size" => Value::Size,
        "str" => Value::Text,
        "str_array" => Value::Array,
        _ => Value::Custom,
    }
}

impl Contexts {
    /// Whether a context is among them.
    pub(crate) fn contains(self, context: Context) -> bool {
        self.0 & context.bit() != 0
    }

    fn with_name(self, name: &str) -> Self {
        let bits = match name {
            "any" => u16::MAX,
            name => Context::ALL.into_iter().find(|context| context.name() == name).map_or(0, Context::bit),
        };
        Self(self.0 | bits)
    }
}

impl Context {
    /// All of them.
    pub(crate) const ALL: [Self; 14] = [
        Self::Events,
        Self::Http,
        Self::IfInLocation,
        Self::IfInServer,
        Self::LimitExcept,
        Self::Location,
        Self::Mail,
        Self::MailServer,
        Self::Main,
        Self::Server,
        Self::Stream,
        Self::StreamServer,
        Self::StreamUpstream,
        Self::Upstream,
    ];

    fn bit(self) -> u16 {
        1 << self as u16
    }

    /// The name in the table.
    fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Http => "http",
            Self::IfInLocation => "if-location",
            Self::IfInServer => "if-server",
            Self::LimitExcept => "limit_except",
            Self::Location => "location",
            Self::Mail => "mail",
            Self::MailServer => "mail-server",
            Self::Main => "main",
            Self::Server => "server",
            Self::Stream => "stream",
            Self::StreamServer => "stream-server",
            Self::StreamUpstream => "stream-upstream",
            Self::Upstream => "upstream",
        }
    }
}

impl Arguments {
    /// Whether so many arguments are right; nginx counts the name too and takes at most eight words in all.
    pub(crate) fn accept(self, n_arguments: usize) -> bool {
        match self {
            Self::Any => true,
            Self::AtLeast(least) => n_arguments >= least,
            Self::OneOf(bits) => n_arguments < 8 && bits & (1 << n_arguments) != 0,
        }
    }
}

impl DirectiveSpec {
    /// Whether a version has it; every version does whose number is not known.
    pub(crate) fn is_in(&self, version: Option<Version>) -> bool {
        version.is_none_or(|version| {
            self.since.is_none_or(|since| version >= since) && self.until.is_none_or(|until| version < until)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_whole() {
        assert!(names().count() > 600, "{}", names().count());
        assert!(newest_version() >= Some(Version(1, 31, 4)));
        let rows = TABLE.lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(table().values().map(Vec::len).sum::<usize>(), rows);
    }

    #[test]
    fn rows_are_read() {
        let [spec] = specs_of("proxy_send_timeout") else { panic!("one module has it") };
        assert_eq!(
            (spec.module, spec.is_block, &spec.value),
            ("http_proxy_module", false, &Value::Milliseconds)
        );
        assert!(spec.contexts.contains(Context::Location) && !spec.contexts.contains(Context::IfInLocation));
        assert!(spec.arguments.accept(1) && !spec.arguments.accept(0) && !spec.arguments.accept(2));
        let server = specs_of("server").iter().map(|spec| spec.is_block).collect::<Vec<_>>();
        assert!(server.contains(&true) && server.contains(&false), "a block in http, a peer in upstream");
    }

    #[test]
    fn versions_decide() {
        let [old, new] = specs_of("keepalive") else { panic!("it changed once") };
        assert!(old.is_in(Some(Version(1, 22, 1))) && !old.is_in(Some(Version(1, 29, 7))));
        assert!(!new.is_in(Some(Version(1, 22, 1))) && new.is_in(Some(Version(1, 29, 7))) && new.is_in(None));
    }

    #[test]
    fn include_may_stand_anywhere() {
        let [include] = specs_of("include") else { panic!("one module has it") };
        assert!(Context::ALL.into_iter().all(|context| include.contexts.contains(context)));
    }

    #[test]
    fn numbers_of_arguments_are_nginx_s() {
        assert!(Arguments::AtLeast(1).accept(20) && !Arguments::AtLeast(2).accept(1));
        assert!(!Arguments::OneOf(0xff).accept(8));
        assert!(Arguments::Any.accept(0));
    }
}
