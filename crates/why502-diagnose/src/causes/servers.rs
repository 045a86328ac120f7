//! Application servers by their command lines: what an option says, and for how long each keeps an idle connection.

use std::time::Duration;

/// What a command line tells of a server's idle timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// It is set by that option.
    Set(Duration, &'static str),
    /// The default of its kind: a program or a file may have set another one.
    Default(Duration),
}

/// A kind of server.
struct Server {
    /// The name of its program, or of the script or class that an interpreter runs.
    name: &'static str,
    /// The option that sets how many seconds it keeps idle connections.
    option: Option<&'static str>,
    /// What it does without.
    default: Duration,
}

const fn server(name: &'static str, option: Option<&'static str>, seconds: u64) -> Server {
    Server { name, option, default: Duration::from_secs(seconds) }
}

/// From the documentation of each.
const SERVERS: [Server; 8] = [
    // Apache HTTP Server, `KeepAliveTimeout`; the program has two names.
    server("apache2", None, 5),
    server("httpd", None, 5),
    // gunicorn, `keepalive`: workers of the kind `sync` keep none, and say so in their answers.
    server("gunicorn", Some("--keep-alive"), 2),
    // Hypercorn, `keep_alive_timeout`.
    server("hypercorn", Some("--keep-alive"), 5),
    // Node.js, `server.keepAliveTimeout` since 8.0; since 24.6 it closes a second later than it says.
    server("node", None, 5),
    // Tomcat: `keepAliveTimeout` is `connectionTimeout`, 20 s in the server.xml that comes with it.
    server("org.apache.catalina.startup.Bootstrap", None, 20),
    // Puma, `persistent_timeout` up to version 6.
    server("puma", None, PUMA_SECONDS),
    // Uvicorn, `timeout_keep_alive`.
    server("uvicorn", Some("--timeout-keep-alive"), 5),
];
/// Puma's own default up to version 6.
const PUMA_SECONDS: u64 = 20;

/// What the arguments of a process tell of its idle timeout.
pub(super) fn known_timeout(argv: &[String]) -> Option<Known> {
    // A title that a program set for itself is one argument.
    let words: Vec<&str> = argv.iter().flat_map(|argument| argument.split(' ')).collect();
    let is_of = |server: &&Server| words.iter().take(MAX_PLACE).any(|word| is_named(word, server));
    let server = SERVERS.iter().find(is_of)?;
    let set = server.option.and_then(|option| Some(Known::Set(seconds_of(&words, option)?, option)));
    if server.name == "puma" && !is_before_seven(&words) {
        return None;
    }
    Some(set.unwrap_or(Known::Default(server.default)))
}

/// The program's name stands first, or behind the interpreter and its options.
const MAX_PLACE: usize = 8;

fn is_named(word: &str, server: &Server) -> bool {
    word.trim_end_matches(':').rsplit('/').next() == Some(server.name)
}

/// The value of an option of a command line: `--name VALUE`, `--name=VALUE`, `-n VALUE`, `-nVALUE`; the last one counts.
pub(super) fn option_value<'p, T: AsRef<str>>(
    argv: &'p [T],
    long: &str,
    short: Option<&str>,
) -> Option<&'p str> {
    let value = |(place, argument): (usize, &'p T)| {
        let argument = argument.as_ref();
        if argument == long || Some(argument) == short {
            return argv.get(place + 1).map(AsRef::as_ref);
        }
        let joined = argument.strip_prefix(long).and_then(|rest| rest.strip_prefix('='));
        let is_short = |rest: &&str| !rest.is_empty() && !argument.starts_with("--");
        joined.or_else(|| short.and_then(|short| argument.strip_prefix(short)).filter(is_short))
    };
    argv.iter().enumerate().filter_map(value).next_back()
}

fn seconds_of(words: &[&str], option: &str) -> Option<Duration> {
    option_value(words, option, None)?.parse().ok().map(Duration::from_secs)
}

/// Whether Puma's title (`puma 5.6.5 (tcp://…) [app]`) tells a version before 7, which made the timeout 65 s.
fn is_before_seven(words: &[&str]) -> bool {
    let version = words.iter().skip_while(|word| !word.starts_with("puma")).nth(1);
    let major = version.and_then(|version| version.split('.').next()?.parse::<u32>().ok());
    major.is_some_and(|major| major < 7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_known_by_their_command_lines() {
        let seconds = Duration::from_secs;
        for (line, expected) in [
            ("node server.js", Some(Known::Default(seconds(5)))),
            ("/usr/bin/node --inspect /srv/node/app.js", Some(Known::Default(seconds(5)))),
            ("/usr/bin/python3 /usr/bin/gunicorn --threads 4 app:app", Some(Known::Default(seconds(2)))),
            ("gunicorn: master [app:app]", Some(Known::Default(seconds(2)))),
            ("gunicorn --keep-alive 75 app:app", Some(Known::Set(seconds(75), "--keep-alive"))),
            (
                "python3 -m uvicorn app:app --timeout-keep-alive=120",
                Some(Known::Set(seconds(120), "--timeout-keep-alive")),
            ),
            ("java -Xmx1g org.apache.catalina.startup.Bootstrap start", Some(Known::Default(seconds(20)))),
            ("puma 5.6.5 (tcp://127.0.0.1:9292) [shop]", Some(Known::Default(seconds(20)))),
            ("puma 7.0.1 (tcp://127.0.0.1:9292) [shop]", None),
            ("./server --node 3", None),
            ("haproxy -f haproxy.cfg", None),
        ] {
            assert_eq!(known_timeout(&[line.to_owned()]), expected, "{line}");
        }
    }

    #[test]
    fn options_are_read_in_every_form() {
        let argv = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let timeout = |text: &str| option_value(&argv(text), "--timeout", Some("-t")).map(str::to_owned);
        assert_eq!(timeout("gunicorn -t 5 app:app").as_deref(), Some("5"));
        assert_eq!(timeout("gunicorn -t5 --timeout=7 app:app").as_deref(), Some("7"));
        assert_eq!(timeout("gunicorn --timeout 9").as_deref(), Some("9"));
        assert_eq!(timeout("gunicorn --threads 4 --timeout-x=3"), None);
    }
}
