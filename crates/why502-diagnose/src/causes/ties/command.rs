//! What a process's command line says of it.

use super::core_of;
use super::words::{
    APPLICATION_SERVERS, CLIENT_WORDS, CLIENTS, ENGINES, FASTCGI, HOSTS, INTERPRETERS, OTHER_ROLES,
    SERVER_SCRIPTS, SERVING, TOOLS,
};
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
/// A program that is known to be a server takes a port to listen on; a script of an interpreter, others, and a client, may take
/// one to connect to. What stands behind a client and `--` (`wait-for-it db:5432 -- node server.js`) is a command of its own,
/// and so is what a shell runs next. Of a container the host sees what is published.
pub(crate) fn told(argv: &[String], address: &PeerAddress) -> Option<Confidence> {
    argv.split(|word| is_operator(word)).filter_map(|command| told_by_one(command, address)).max()
}

fn is_operator(word: &str) -> bool {
    matches!(word, "&&" | "||" | ";" | "|")
}

fn told_by_one(command: &[String], address: &PeerAddress) -> Option<Confidence> {
    if runs_container(command) {
        let is_published = published(command).any(|value| is_at(value, address));
        return is_published.then_some(Confidence::Confirmed);
    }
    if is_client(command) {
        return told_by_one(behind_client(command)?, address);
    }
    if names_another_host(command, address) {
        return None;
    }
    let is_server = is_server(command);
    let says_listening = |option: &str| matches!(option, "bind" | "http-socket" | "listen" | "server.port");
    let strength = |option: &str| {
        if is_server || says_listening(option) { Confidence::Confirmed } else { Confidence::Likely }
    };
    let by_option = options_of(command)
        .filter(|(option, value)| is_listen(option) && is_at(value, address))
        .map(|(option, _)| strength(&option));
    let by_place = places(command).filter(|value| is_at(value, address)).map(|_| Confidence::Confirmed);
    by_option.chain(by_place).max()
}

/// Whether a command names the literal address of somebody else beside its port: `--host 10.9.9.9 --port 3000`.
fn names_another_host(command: &[String], address: &PeerAddress) -> bool {
    let Some(dialled) = address.inet() else { return false };
    let hosts = options_of(command).filter(|(option, _)| HOSTS.contains(&option.as_str()));
    let mut hosts = hosts.filter_map(|(_, value)| literal(value)).peekable();
    hosts.peek().is_some() && !hosts.any(|own| takes(own, dialled.ip()))
}

/// Where built-in servers of interpreters are told to listen: `php -S 127.0.0.1:8000`, `python3 -m http.server 8000`,
/// `manage.py runserver 0.0.0.0:8000`.
fn places(command: &[String]) -> impl Iterator<Item = &str> {
    let is_php = command.first().is_some_and(|word| file_name(word).starts_with("php"));
    command.windows(2).filter_map(move |pair| match pair {
        [before, value] if before == "http.server" || before == "runserver" => Some(value.as_str()),
        [before, value] if is_php && before == "-S" => Some(value.as_str()),
        _ => None,
    })
}

/// Whether a command is known to serve: what a port on it is for is beyond doubt.
fn is_server(command: &[String]) -> bool {
    let script = command.iter().position(|word| is_script(word));
    // `deploy.py gunicorn` is told a name.
    let is_first = |at: usize| script.is_none_or(|script| at <= script);
    let serves_by_name = server_at(command).is_some_and(is_first);
    let at = |wanted: &str| command.iter().position(|word| file_name(word) == wanted);
    let is_told = SERVING
        .iter()
        .any(|(program, what)| at(program).zip(at(what)).is_some_and(|(program, what)| program < what));
    let is_php = command.first().is_some_and(|word| file_name(word).starts_with("php"));
    let is_called_so = || {
        let script = script.and_then(|at| command.get(at));
        script.is_some_and(|script| SERVER_SCRIPTS.contains(&stem(script).as_str()))
    };
    serves_by_name || is_told || (is_php && command.iter().any(|word| word == "-S")) || is_called_so()
}

/// Where the name of a server stands in a command: no interpreter, which runs whatever it is given.
fn server_at(command: &[String]) -> Option<usize> {
    (0..command.len()).find(|at| {
        let name = command.get(*at).map_or("", |word| file_name(word));
        let is_named = APPLICATION_SERVERS
            .iter()
            .filter(|own| !INTERPRETERS.contains(own))
            .filter_map(|own| name.strip_prefix(own))
            // `pumactl` only talks to puma.
            .any(|rest| !rest.starts_with(|letter: char| letter.is_ascii_alphabetic()));
        (is_named || is_speaker(name)) && !is_value(command, *at)
    })
}

/// Whether a word is a file of a language that an interpreter or a virtual machine runs.
fn is_script(word: &str) -> bool {
    !word.starts_with('-')
        && file_name(word).rsplit_once('.').is_some_and(|(stem, ending)| {
            let endings = ["cjs", "dll", "jar", "js", "mjs", "php", "pl", "psgi", "py", "rb", "ts"];
            !stem.is_empty() && endings.contains(&ending)
        })
}

/// Whether a word is the value of the option before it. `-k uvicorn.workers.UvicornWorker` is a setting of a server, `-u
/// worker.py` and `-m celery` are programs.
fn is_value(command: &[String], at: usize) -> bool {
    at.checked_sub(1).and_then(|before| command.get(before)).is_some_and(|before| {
        let runs_program = matches!(before.as_str(), "-B" | "-O" | "-g" | "-jar" | "-m" | "-u" | "--");
        before.starts_with('-') && !before.contains('=') && !runs_program
    })
}

/// The name of a program without its directory and its endings, in words that dashes part.
fn stem(word: &str) -> String {
    let name = file_name(word);
    name.split_once('.').map_or(name, |(stem, _)| stem).replace('_', "-").to_ascii_lowercase()
}

/// The words of a command that may name its program: those in front that are no options.
fn heads(command: &[String]) -> impl Iterator<Item = String> {
    let words = command.iter().filter(|word| !word.starts_with('-') && !word.contains('='));
    words.take(3).map(|word| stem(word))
}

/// Whether a command only connects to somebody, or looks whether somebody is there: what it is told is whom to ask.
fn is_client(command: &[String]) -> bool {
    // What a server is given has names of its own.
    let before_server = server_at(command).and_then(|at| command.get(..at)).unwrap_or(command);
    let is_script = |word: &&String| is_script(word) || word.strip_suffix(".sh").is_some();
    let script = before_server.iter().find(is_script).map(|word| stem(word));
    heads(before_server).any(|name| CLIENTS.contains(&name.as_str()))
        || heads(before_server).chain(script).any(|name| looks_after(&name))
}

/// Whether a name is one of those that wait for others, check or try them.
fn looks_after(name: &str) -> bool {
    name.split(|letter: char| !letter.is_ascii_alphanumeric())
        .any(|word| CLIENT_WORDS.contains(&word) || word.starts_with("waitfor") || word.ends_with("check"))
}

/// The command that a client runs once it is done.
fn behind_client(command: &[String]) -> Option<&[String]> {
    command.iter().position(|word| word == "--").and_then(|at| command.get(at + 1..))
}

/// Whether a command does something else than to serve: it is a client, or works in the background, whatever its environment
/// says. Of the commands that a shell runs one may serve.
pub(crate) fn has_other_role(command: &[String]) -> bool {
    let mut commands = command.split(|word| is_operator(word));
    commands.clone().any(one_has_other_role)
        && !commands.any(|command| is_server(command) && !one_has_other_role(command))
}

fn one_has_other_role(command: &[String]) -> bool {
    if is_client(command) {
        return behind_client(command).is_none_or(has_other_role);
    }
    // What a server is given has names of its own: `gunicorn jobs.wsgi:app`.
    let before_server = server_at(command).unwrap_or(command.len());
    command.iter().enumerate().take(before_server).any(|(at, word)| {
        let mut parts = file_name(word).split(|c: char| !c.is_ascii_alphanumeric());
        !word.starts_with('-')
            && !is_value(command, at)
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
    literal(host.rsplit('/').next().unwrap_or(host)).is_none_or(|own| takes(own, dialled))
}

/// An address that is written out.
fn literal(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// Whether who listens on an address takes what is dialled.
fn takes(own: IpAddr, dialled: IpAddr) -> bool {
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
mod tests;
