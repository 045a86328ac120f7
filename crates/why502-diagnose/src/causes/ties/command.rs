//! What a process's command line says of it.

use super::core_of;
use super::words::{APPLICATION_SERVERS, CLIENTS, ENGINES, FASTCGI, OTHER_ROLES, TOOLS};
use crate::finding::Confidence;
use std::net::IpAddr;
use why502_facts::{PeerAddress, Process};
use why502_model::Protocol;

/// The options of a command line with their values: `--port 3000`, `--bind=:3000`. The names are lower-case and bare.
pub(super) fn listen_options(process: &Process) -> impl Iterator<Item = (String, &str)> {
    options_of(&process.argv)
}

/// The same of an argument vector.
pub(crate) fn options_of(argv: &[String]) -> impl Iterator<Item = (String, &str)> {
    let arguments = || argv.iter().map(String::as_str);
    let joined = arguments().filter_map(|argument| argument.split_once('='));
    let apart = arguments().zip(arguments().skip(1)).filter(|(option, _)| !option.contains('='));
    let options = joined.chain(apart).filter(|(option, _)| option.starts_with('-'));
    options.map(|(option, value)| (option.trim_start_matches('-').to_ascii_lowercase(), value))
}

/// Whether an option says where a program is to listen.
pub(crate) fn is_listen(option: impl AsRef<str>) -> bool {
    ["b", "bind", "http", "http-socket", "listen", "p", "port", "server.port", "socket"]
        .contains(&option.as_ref())
}

/// How surely a command line says that its program listens on an address; `None` where it does not say so.
///
/// A program that is known to be a server takes a port to listen on; others, and a client, may take one to connect to. What
/// stands behind a client and `--` (`wait-for-it db:5432 -- node server.js`) is a command of its own, and so is what a shell
/// runs next. Of a container the host sees what is published.
pub(crate) fn told(argv: &[String], address: &PeerAddress) -> Option<Confidence> {
    let is_operator = |word: &String| matches!(word.as_str(), "&&" | "||" | ";" | "|");
    argv.split(is_operator).filter_map(|command| told_by_one(command, address)).max()
}

fn told_by_one(command: &[String], address: &PeerAddress) -> Option<Confidence> {
    if runs_container(command) {
        let is_published = published(command).any(|value| is_at(value, address));
        return is_published.then_some(Confidence::Confirmed);
    }
    if is_client(command) {
        let rest = command.iter().position(|word| word == "--").and_then(|at| command.get(at + 1..))?;
        return told_by_one(rest, address);
    }
    let is_server = command
        .iter()
        .map(|word| file_name(word))
        .any(|name| is_application_server(name) || is_speaker(name));
    let says_listening = |option: &str| matches!(option, "bind" | "http-socket" | "listen" | "server.port");
    let strength = |option: &str| {
        if is_server || says_listening(option) { Confidence::Confirmed } else { Confidence::Likely }
    };
    options_of(command)
        .filter(|(option, value)| is_listen(option) && is_at(value, address))
        .map(|(option, _)| strength(&option))
        .max()
}

/// The words of a command that may name its program: those in front that are no options.
fn heads(command: &[String]) -> impl Iterator<Item = String> {
    let words = command.iter().filter(|word| !word.starts_with('-') && !word.contains('='));
    words.take(3).map(|word| {
        let name = file_name(word);
        name.split_once('.').map_or(name, |(stem, _)| stem).replace('_', "-").to_ascii_lowercase()
    })
}

/// Whether a command only connects to somebody.
fn is_client(command: &[String]) -> bool {
    heads(command).any(|name| CLIENTS.contains(&name.as_str()))
}

/// Whether a command does something else than to serve: it is a client, or works in the background, whatever its environment
/// says.
pub(crate) fn has_other_role(command: &[String]) -> bool {
    if is_client(command) {
        let rest = command.iter().position(|word| word == "--").and_then(|at| command.get(at + 1..));
        return rest.is_none_or(has_other_role);
    }
    // `-k uvicorn.workers.UvicornWorker` is a setting of a server, `-u worker.py` and `-m celery` are programs.
    let is_value = |at: usize| {
        at.checked_sub(1).and_then(|before| command.get(before)).is_some_and(|before| {
            before.starts_with('-') && !matches!(before.as_str(), "-B" | "-O" | "-jar" | "-m" | "-u" | "--")
        })
    };
    command.iter().enumerate().any(|(at, word)| {
        let mut parts = file_name(word).split(|c: char| !c.is_ascii_alphanumeric());
        !word.starts_with('-')
            && !is_value(at)
            && parts.any(|part| OTHER_ROLES.contains(&part.to_ascii_lowercase().as_str()))
    })
}

/// Whether a command is a shell or a tool that hands its environment on, and names no server that it would run.
pub(crate) fn is_tool(command: &[String]) -> bool {
    heads(command).next().is_some_and(|name| TOOLS.contains(&name.as_str()))
        && !command.iter().any(|word| is_application_server(file_name(word)))
}

/// Whether a command has a container engine run something in a network of its own.
pub(crate) fn runs_container(command: &[String]) -> bool {
    let is_host = |word: &str| matches!(word, "--net=host" | "--network=host");
    let is_apart = command.windows(2).all(|pair| {
        !matches!(pair, [option, value] if matches!(option.as_str(), "--net" | "--network") && value == "host")
    });
    let mut words = command.iter().filter(|word| !word.starts_with('-')).take(3);
    words.any(|word| ENGINES.contains(&file_name(word)))
        && is_apart
        && !command.iter().any(|word| is_host(word))
}

/// The host's side of the ports that a container publishes: `127.0.0.1:8080` of `-p 127.0.0.1:8080:3000/tcp`.
fn published(command: &[String]) -> impl Iterator<Item = &str> {
    let behind = command.windows(2).filter_map(|pair| match pair {
        [option, value] if matches!(option.as_str(), "-p" | "--publish") => Some(value.as_str()),
        _ => None,
    });
    let joined = command.iter().filter_map(|word| word.strip_prefix("--publish="));
    behind.chain(joined).filter_map(|value| Some(value.rsplit_once(':')?.0))
}

/// Whether the value of an option is an address: its port, or the path of its socket. A port beside the literal address of
/// somebody else is another one.
pub(crate) fn is_at(value: &str, address: &PeerAddress) -> bool {
    match address {
        PeerAddress::Inet(inet) => is_port(value, inet.port()) && may_be(value, inet.ip()),
        PeerAddress::Unix(path) => {
            let written = value.strip_prefix("unix:").unwrap_or(value);
            written.strip_prefix("//").unwrap_or(written) == path
        }
    }
}

/// Whether what stands before a port may be an address that is dialled: no literal one, the wildcard, or itself.
fn may_be(value: &str, dialled: IpAddr) -> bool {
    let Some((host, _)) = value.rsplit_once(':') else { return true };
    let host = host.rsplit('/').next().unwrap_or(host);
    let Ok(own) = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() else { return true };
    let (own, dialled) = (own.to_canonical(), dialled.to_canonical());
    own == dialled || own.is_unspecified() || dialled.is_unspecified()
}

pub(super) fn is_port(value: &str, port: u16) -> bool {
    value.rsplit(':').next().and_then(|last| last.parse().ok()) == Some(port)
}

/// What an interpreter or an application server runs: the first argument that is neither an option nor an option's value.
pub(super) fn program(process: &Process) -> Option<&str> {
    let names_program = |option: &str| matches!(option, "-m" | "-jar");
    let takes_value =
        |before: &str| before.starts_with('-') && !before.contains('=') && !names_program(before);
    let arguments = process.argv.iter().zip(process.argv.iter().skip(1));
    arguments
        .filter(|(before, argument)| !argument.starts_with('-') && !takes_value(before))
        .map(|(_, argument)| argument.as_str())
        .find(|argument| !is_application_server(file_name(argument)))
}

pub(super) fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Whether a process is of the kind that a protocol needs. HTTP is spoken by too many to tie anything.
pub(super) fn speaks(process: &Process, protocol: Protocol) -> bool {
    let title = process.argv.first().map_or("", String::as_str);
    match protocol {
        Protocol::FastCgi => {
            FASTCGI.iter().any(|name| process.comm.starts_with(name) || title.starts_with(name))
        }
        Protocol::Memcached => process.comm == "memcached",
        Protocol::Uwsgi => process.comm.starts_with("uwsgi"),
        Protocol::Grpc | Protocol::Http | Protocol::Scgi => false,
    }
}

/// Whether a text is a name, whole: another program of the same product has a longer one.
pub(super) fn is_it(text: &str, name: &str) -> bool {
    core_of(text) == name
}

pub(super) fn is_command(process: &Process, name: &str) -> bool {
    is_it(&process.comm, name) || process.exe.as_deref().is_some_and(|exe| is_it(file_name(exe), name))
}

/// Whether a program runs an application of that name: `orders.wsgi:app`, `/opt/orders.jar`.
pub(super) fn runs(process: &Process, name: &str) -> bool {
    program(process).is_some_and(|program| is_it(file_name(program), name))
}

/// Whether an argument is a path whose file or directory bears a name.
pub(super) fn is_in_command_line(process: &Process, name: &str) -> bool {
    process.argv.iter().any(|argument| {
        let value = argument.split_once('=').map_or(argument.as_str(), |(_, value)| value);
        value.rsplit('/').take(2).any(|part| is_it(part, name))
    })
}

pub(super) fn is_in_directory(process: &Process, name: &str) -> bool {
    process.cwd.as_deref().is_some_and(|cwd| is_it(file_name(cwd), name))
}

pub(super) fn runs_applications(process: &Process) -> bool {
    is_application_server(&process.comm)
}

pub(crate) fn is_application_server(command: &str) -> bool {
    APPLICATION_SERVERS.iter().any(|name| command.starts_with(name))
}

/// Whether a command is that of a protocol's server, which says nothing of whose it is.
pub(super) fn is_speaker(command: &str) -> bool {
    command == "memcached" || FASTCGI.iter().any(|name| command.starts_with(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(command: &str) -> Vec<String> {
        command.split(' ').map(str::to_owned).collect()
    }

    fn at(address: &str) -> PeerAddress {
        PeerAddress::Inet(address.parse().unwrap())
    }

    #[test]
    fn a_server_listens_where_a_client_connects() {
        for (command, expected) in [
            ("node server.js --port 3000", Some(Confidence::Confirmed)),
            ("gunicorn -b 0.0.0.0:3000 app:app", Some(Confidence::Confirmed)),
            ("/opt/shop/shopd --listen :3000", Some(Confidence::Confirmed)),
            ("/opt/shop/shopd --port 3000", Some(Confidence::Likely)),
            ("wait-for-it.sh db:5432 -- node server.js --port 3000", Some(Confidence::Confirmed)),
            ("sh -c X wait-for db && node server.js -p 3000", Some(Confidence::Confirmed)),
            ("mysql -P 3000", None),
            ("nmap -p 3000 10.0.0.1", None),
            ("sudo psql -p 3000", None),
            ("redis-cli -p 3000", None),
            ("ssh -p 3000 host", None),
            ("python3 wait_for.py --port 3000", None),
            ("gunicorn -b 10.0.0.9:3000 app:app", None),
            ("gunicorn -b [::1]:3000 app:app", None),
            ("gunicorn -b localhost:3000 app:app", Some(Confidence::Confirmed)),
        ] {
            assert_eq!(told(&words(command), &at("127.0.0.1:3000")), expected, "{command}");
        }
    }

    #[test]
    fn of_a_container_the_published_port_counts() {
        for (command, expected) in [
            ("docker run -p 127.0.0.1:18080:3000 ghost", None),
            ("docker run -p 18080:3000 ghost", None),
            ("docker run ghost --port 3000", None),
            ("docker run -p 3000 ghost", None),
            ("docker run -p 10.0.0.9:3000:80 ghost", None),
            ("docker run -p 3000:80/tcp ghost", Some(Confidence::Confirmed)),
            ("/usr/bin/podman run --publish=127.0.0.1:3000:80 ghost", Some(Confidence::Confirmed)),
            ("docker run --network host node server.js --port 3000", Some(Confidence::Confirmed)),
        ] {
            assert_eq!(told(&words(command), &at("127.0.0.1:3000")), expected, "{command}");
        }
    }

    #[test]
    fn a_worker_has_another_role() {
        for command in [
            "python3 /srv/worker.py",
            "bundle exec sidekiq",
            "php artisan queue:work",
            "python3 -u worker.py",
        ] {
            assert!(has_other_role(&words(command)), "{command}");
        }
        for command in [
            "node server.js",
            "gunicorn --workers 4 app:app",
            "gunicorn -k uvicorn.workers.UvicornWorker app:app",
        ] {
            assert!(!has_other_role(&words(command)), "{command}");
        }
    }
}
