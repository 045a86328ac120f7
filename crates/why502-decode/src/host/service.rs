//! Definitions of services: unit files (systemd.syntax(7), systemd.exec(5), systemd.socket(5)), programs of supervisord, run
//! scripts of runit, entries of PM2's list.

mod words;

use self::words::{Expander, split_words};
use super::pm2::read_application;
use why502_facts::{
    Mention, RunitState, Service, ServiceFile, ServiceFileKind, ServiceRecord, Stamp, Supervisor, lossy,
};

/// The length of runsv's status (`svstatus_print` in runit's `sv.c`), in bytes.
const RUNIT_STATUS: usize = 20;
/// Where seconds of TAI64 begin: 2^62, and TAI was 10 s ahead of UTC in 1970, as libtai counts.
const TAI_EPOCH: u64 = (1 << 62) + 10;
/// What stands for the number of a process in the section of a program of supervisord, before its conversion.
const PROCESS_NUMBER: &str = "%(process_num)";
/// So many processes of one program are told apart.
const MAX_PROCESSES: u32 = 64;
/// So many digits a number is filled up to.
const MAX_WIDTH: usize = 10;
/// What runs a script given behind `-c`.
const SHELLS: [&str; 4] = ["bash", "dash", "sh", "zsh"];

/// The services of a record: of a program of supervisord whose processes differ by their numbers, each of them.
pub fn decode_services(records: &[ServiceRecord]) -> Vec<Service> {
    let numbered = |record| process_numbers(record).into_iter().map(move |number| (record, number));
    let decoded = |(record, number)| decode_numbered(record, number);
    records.iter().flat_map(numbered).filter_map(decoded).map(|(service, _)| service).collect()
}

/// A service, and the files of variables that it names; `None` without a definition.
pub fn decode_service(record: &ServiceRecord) -> Option<(Service, Vec<String>)> {
    decode_numbered(record, None)
}

/// The same of one process of a program of supervisord.
fn decode_numbered(record: &ServiceRecord, number: Option<u32>) -> Option<(Service, Vec<String>)> {
    let mut service = Service {
        supervisor: record.supervisor,
        name: record.name.clone(),
        path: record.files.first()?.path.clone(),
        masked: record.masked,
        is_one_shot: false,
        remains_after_exit: false,
        process_name: None,
        commands: Vec::new(),
        environment: Vec::new(),
        listens: Vec::new(),
        starts: None,
        directory: None,
        runtime_directories: Vec::new(),
        mentions: Vec::new(),
        supervisor_pid: record.supervisor_pid,
        runit: record.state.as_ref().and_then(|state| runit_state(state.as_slice())),
    };
    let mut environment_files = Vec::new();
    let mut commands = Vec::new();
    for file in &record.files {
        let text = lossy(file.content.as_slice());
        match record.supervisor {
            Supervisor::Systemd => read_unit(&text, &mut service, &mut commands, &mut environment_files),
            Supervisor::Supervisord => read_program(&text, number, &mut service, &mut commands),
            Supervisor::Pm2 => read_application(&text, &mut service, &mut commands),
            // What an engine runs has no files here.
            Supervisor::Engine => {}
            Supervisor::Runit => read_script(&text, &mut service, &mut commands),
        }
    }
    for file in record.named.iter().filter(|file| file.kind == ServiceFileKind::Environment) {
        service.environment.extend(lossy(file.content.as_slice()).lines().filter_map(variable));
    }
    let mut expander = Expander::new(&service.environment);
    let commands = commands
        .iter()
        .map(|words: &Vec<String>| words.iter().map(|word| expander.expand(word)).collect::<Vec<_>>());
    service.commands = commands.map(with_script).collect();
    service.mentions =
        record.named.iter().filter(|file| file.kind == ServiceFileKind::Command).flat_map(mentions).collect();
    Some((service, environment_files))
}

/// The words of a script that a shell is given stand beside the shell's own.
fn with_script(mut command: Vec<String>) -> Vec<String> {
    let is_shell = command
        .first()
        .and_then(|program| program.rsplit('/').next())
        .is_some_and(|program| SHELLS.contains(&program));
    let script = command.iter().position(|word| word == "-c" || word == "-lc" || word == "-ec");
    if let Some(script) = script.filter(|_| is_shell).and_then(|at| command.get(at + 1)).cloned() {
        command.extend(split_words(&script));
    }
    command
}

fn mentions(file: &ServiceFile) -> Vec<Mention> {
    let text = lossy(file.content.as_slice());
    let mention = |line: &str| {
        let (number, text) = line.split_once(':')?;
        Some(Mention { path: file.path.clone(), line: number.parse().ok()?, text: text.trim().to_owned() })
    };
    text.lines().filter_map(mention).collect()
}

/// `NAME=VALUE`, perhaps in quotes and behind `export`; `None` for a comment.
fn variable(line: &str) -> Option<(String, String)> {
    let line = line.trim();
    let line = line.strip_prefix("export ").unwrap_or(line);
    let (name, value) = line.split_once('=')?;
    let is_name = !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !name.starts_with(|first: char| first.is_ascii_digit());
    let value = value.trim();
    let bare = ['"', '\'']
        .iter()
        .find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote))
        .unwrap_or(value);
    is_name.then(|| (name.to_owned(), bare.to_owned()))
}

/// A unit file or its settings: an empty value forgets what a list held before.
fn read_unit(
    text: &str,
    service: &mut Service,
    commands: &mut Vec<Vec<String>>,
    environment_files: &mut Vec<String>,
) {
    let mut section = String::new();
    for line in joined_lines(text) {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            name.clone_into(&mut section);
            continue;
        }
        let Some((key, value)) = line.split_once('=') else { continue };
        let value = specified(value.trim(), &service.name);
        match (section.as_str(), key.trim()) {
            ("Service", "ExecStart") if value.is_empty() => commands.clear(),
            ("Service", "ExecStart") => {
                commands.push(split_words(value.trim_start_matches(['@', '-', ':', '+', '!', '|'])));
            }
            ("Service", "Environment") if value.is_empty() => service.environment.clear(),
            ("Service", "Environment") => {
                service.environment.extend(split_words(&value).iter().filter_map(|word| variable(word)));
            }
            ("Service", "EnvironmentFile") if value.is_empty() => environment_files.clear(),
            ("Service", "EnvironmentFile") => {
                environment_files.push(value.trim_start_matches('-').to_owned());
            }
            ("Service", "Type") => service.is_one_shot = value == "oneshot",
            ("Service", "RemainAfterExit") => {
                service.remains_after_exit = matches!(value.as_str(), "1" | "on" | "true" | "yes");
            }
            ("Service", "WorkingDirectory") => {
                let directory = value.trim_start_matches('-').trim_end_matches('/').to_owned();
                service.directory = directory.starts_with('/').then_some(directory);
            }
            ("Service", "RuntimeDirectory") => {
                service.runtime_directories.extend(split_words(&value));
            }
            ("Socket", "ListenStream") if value.is_empty() => service.listens.clear(),
            ("Socket", "ListenStream") => service.listens.push(value),
            ("Socket", "Service") => service.starts = Some(value),
            _ => {}
        }
    }
}

/// Lines, those that end with a backslash joined with the next; comments in between are passed over.
fn joined_lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut is_open = false;
    for line in text.lines() {
        if is_open && line.trim_start().starts_with(['#', ';']) {
            continue;
        }
        let (part, continues) = match line.strip_suffix('\\') {
            Some(part) => (part, true),
            None => (line, false),
        };
        match lines.last_mut().filter(|_| is_open) {
            Some(last) => {
                last.push(' ');
                last.push_str(part);
            }
            None => lines.push(part.to_owned()),
        }
        is_open = continues;
    }
    lines
}

/// A value with the specifiers of its unit's name (systemd.unit(5), "Specifiers").
fn specified(value: &str, unit: &str) -> String {
    if !value.contains('%') {
        return value.to_owned();
    }
    let bare = unit.rsplit_once('.').map_or(unit, |(bare, _)| bare);
    let (prefix, instance) = bare.split_once('@').unwrap_or((bare, ""));
    let mut out = String::new();
    let mut letters = value.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            out.push(letter);
            continue;
        }
        match letters.next() {
            Some('i') => out.push_str(instance),
            // An escaped path: a dash stands for a slash.
            Some('I') => out.push_str(&instance.replace('-', "/")),
            Some('n') => out.push_str(unit),
            Some('N') => out.push_str(bare),
            Some('p') => out.push_str(prefix),
            Some('t') => out.push_str("/run"),
            Some('%') | None => out.push('%'),
            Some(other) => out.extend(['%', other]),
        }
    }
    out
}

/// The section of a program of supervisord, perhaps as it is for the process with a number.
fn read_program(text: &str, number: Option<u32>, service: &mut Service, commands: &mut Vec<Vec<String>>) {
    for line in indented_lines(text) {
        let Some((key, value)) = setting_of_program(&line) else { continue };
        let value = with_number(value, number);
        let value = value.replace("%(program_name)s", &service.name).replace("%%", "%");
        match key {
            "command" => commands.push(split_words(&value)),
            "process_name" => {
                service.process_name = Some(value.replace("%(group_name)s", &service.name));
            }
            "directory" => service.directory = Some(value.trim_end_matches('/').to_owned()),
            "environment" => service.environment.extend(value.split(',').filter_map(variable)),
            "socket" => service.listens.extend(socket_of_program(&value)),
            _ => {}
        }
    }
    // As supervisorctl calls it.
    if let Some(process) =
        service.process_name.as_ref().filter(|name| number.is_some() && **name != service.name)
    {
        service.name = format!("{}:{process}", service.name);
    }
}

/// A setting of a program's section with its value, without the comment behind it, which stands behind a space.
fn setting_of_program(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once('=')?;
    Some((key.trim(), value.split(" ;").next().unwrap_or_default().trim()))
}

/// The numbers of a program's processes, where what they run or where they listen depends on them (`--port
/// 2300%(process_num)d`); else one process stands for all.
fn process_numbers(record: &ServiceRecord) -> Vec<Option<u32>> {
    let (mut n, mut first, mut is_numbered) = (1, 0_u32, false);
    for file in record.files.iter().filter(|_| record.supervisor == Supervisor::Supervisord) {
        for line in indented_lines(&lossy(file.content.as_slice())) {
            match setting_of_program(&line) {
                Some(("numprocs", value)) => n = value.parse().unwrap_or(1),
                Some(("numprocs_start", value)) => first = value.parse().unwrap_or(0),
                Some(("command" | "directory" | "environment" | "socket", value)) => {
                    is_numbered |= value.contains(PROCESS_NUMBER);
                }
                _ => {}
            }
        }
    }
    if !is_numbered {
        return vec![None];
    }
    (first..first.saturating_add(n.clamp(1, MAX_PROCESSES))).map(Some).collect()
}

/// A value with the number of a process, as Python writes it: `%(process_num)d`, `%(process_num)02d`.
fn with_number(value: &str, number: Option<u32>) -> String {
    let Some(number) = number else { return value.to_owned() };
    let mut parts = value.split(PROCESS_NUMBER);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let bare = part.trim_start_matches(|digit: char| digit.is_ascii_digit());
        let format = part.strip_suffix(bare).unwrap_or_default();
        let Some(rest) = bare.strip_prefix(['d', 's']) else {
            out.extend([PROCESS_NUMBER, part]);
            continue;
        };
        let width = format.parse().map_or(0, |width: usize| width.min(MAX_WIDTH));
        let digits =
            if format.starts_with('0') { format!("{number:0width$}") } else { format!("{number:width$}") };
        out.push_str(&digits);
        out.push_str(rest);
    }
    out
}

/// `tcp://127.0.0.1:3000`, `unix:///run/shop.sock` of a `fcgi-program`.
fn socket_of_program(value: &str) -> Option<String> {
    value.strip_prefix("unix://").or_else(|| value.strip_prefix("tcp://")).map(str::to_owned)
}

/// Lines without comments; one that is indented goes on with the one before it (Python's `configparser`).
fn indented_lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with([';', '#'])) {
        match lines.last_mut().filter(|_| line.starts_with([' ', '\t'])) {
            Some(last) => {
                last.push(' ');
                last.push_str(line.trim());
            }
            None => lines.push(line.to_owned()),
        }
    }
    lines
}

/// The programs of a file of supervisord, each with the lines of its section.
pub fn supervisord_programs(file: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut programs: Vec<(String, Vec<u8>)> = Vec::new();
    let mut is_within = false;
    for line in lossy(file).lines() {
        if let Some(section) = line.trim_end().strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let program = section.strip_prefix("program:").or_else(|| section.strip_prefix("fcgi-program:"));
            is_within = program.is_some();
            programs.extend(program.map(|name| (name.trim().to_owned(), Vec::new())));
        } else if let Some((_, lines)) = programs.last_mut().filter(|_| is_within) {
            lines.extend_from_slice(line.as_bytes());
            lines.push(b'\n');
        }
    }
    programs
}

/// The patterns of the files that a file of supervisord includes, absolute.
pub fn supervisord_includes(path: &str, file: &[u8]) -> Vec<String> {
    let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
    let text = lossy(file);
    let Some((_, behind)) = text.split_once("[include]") else { return Vec::new() };
    let section = behind.split("\n[").next().unwrap_or_default();
    let lines = indented_lines(section);
    let files = lines.iter().filter_map(|line| line.split_once('=')).filter(|(key, _)| key.trim() == "files");
    let patterns =
        files.flat_map(|(_, value)| value.split(" ;").next().unwrap_or_default().split_whitespace());
    let patterns = patterns.map(|pattern| pattern.replace("%(here)s", directory));
    patterns
        .map(|pattern| if pattern.starts_with('/') { pattern } else { format!("{directory}/{pattern}") })
        .collect()
}

/// The script of a service of runit: what it sets, where it goes, and what it runs.
fn read_script(text: &str, service: &mut Service, commands: &mut Vec<Vec<String>>) {
    for line in joined_lines(text) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let words = split_words(line);
        let is_prefix =
            |word: &&String| matches!(word.as_str(), "exec" | "export" | "env") || variable(word).is_some();
        let n_prefix = words.iter().take_while(is_prefix).count();
        let (prefix, command) = words.split_at(n_prefix);
        service.environment.extend(prefix.iter().filter_map(|word| variable(word)));
        match command {
            [cd, directory, ..] if cd == "cd" => service.directory = Some(directory.clone()),
            [first, ..] if !first.starts_with(|letter: char| letter.is_ascii_digit()) => {
                commands.push(command.to_vec());
            }
            _ => {}
        }
    }
}

/// The state of a service of runit: a TAI64N stamp, the process in little endian, paused, wanted (`u` or `d`), …
fn runit_state(status: &[u8]) -> Option<RunitState> {
    let status: &[u8; RUNIT_STATUS] = status.try_into().ok()?;
    let (seconds, rest) = status.split_first_chunk::<8>()?;
    let (nanoseconds, rest) = rest.split_first_chunk::<4>()?;
    let (pid, rest) = rest.split_first_chunk::<4>()?;
    let seconds = i64::try_from(u64::from_be_bytes(*seconds).checked_sub(TAI_EPOCH)?).ok()?;
    let millis = i64::from(u32::from_be_bytes(*nanoseconds) / 1_000_000);
    let pid = u32::from_le_bytes(*pid);
    Some(RunitState {
        since: Stamp(seconds.checked_mul(1000)?.checked_add(millis)?),
        pid: (pid != 0).then_some(pid),
        wanted_up: rest.get(1) != Some(&b'd'),
    })
}

#[cfg(test)]
mod tests;
