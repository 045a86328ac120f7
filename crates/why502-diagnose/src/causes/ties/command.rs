//! What a process's command line says of it.

use super::core_of;
use super::words::{APPLICATION_SERVERS, FASTCGI};
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

/// Whether the value of an option is an address: its port, or the path of its socket.
pub(crate) fn is_at(value: &str, address: &PeerAddress) -> bool {
    match address {
        PeerAddress::Inet(inet) => is_port(value, inet.port()),
        PeerAddress::Unix(path) => {
            let written = value.strip_prefix("unix:").unwrap_or(value);
            written.strip_prefix("//").unwrap_or(written) == path
        }
    }
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
