//! The command line of a master process.

use why502_facts::Process;

/// What nginx writes between its name and the command line in the title of its master (`ngx_master_process_cycle`).
const MASTER: &str = ": master process ";

/// The options of a command line, as `ngx_get_options` reads them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CommandLine {
    /// The program as it was called.
    pub(super) program: Option<String>,
    /// `-c`: the configuration file.
    pub(super) config: Option<String>,
    /// `-p`: the prefix.
    pub(super) prefix: Option<String>,
    /// `-e`: the error log until the configuration is read.
    pub(super) error_log: Option<String>,
    /// `-g`: directives.
    pub(super) directives: Option<String>,
    /// Whether it only tests, prints or signals.
    pub(super) is_short_lived: bool,
}

impl CommandLine {
    /// Reads the command line out of a process's arguments, or out of the title that nginx gave it.
    pub(super) fn of(process: &Process) -> Self {
        let title = process.argv.first().map_or("", String::as_str);
        match title.split_once(MASTER) {
            Some((_, command)) => Self::read(&rejoin(command)),
            None => Self::read(&process.argv),
        }
    }

    fn read(arguments: &[String]) -> Self {
        let mut found = Self { program: arguments.first().cloned(), ..Self::default() };
        let mut rest = arguments.iter().skip(1);
        while let Some(argument) = rest.next() {
            let Some(letters) = argument.strip_prefix('-') else { break };
            for (at, letter) in letters.char_indices() {
                let slot = match letter {
                    'c' => &mut found.config,
                    'e' => &mut found.error_log,
                    'g' => &mut found.directives,
                    'p' => &mut found.prefix,
                    't' | 'T' | 'v' | 'V' | 'h' | '?' | 's' => {
                        found.is_short_lived = true;
                        continue;
                    }
                    _ => continue,
                };
                // The value is glued to its letter, or the next argument.
                let glued = &letters[at + 1..];
                *slot = if glued.is_empty() { rest.next().cloned() } else { Some(glued.to_owned()) };
                break;
            }
        }
        found
    }
}

/// Splits a title into the arguments that nginx joined with blanks: those of `-g` hold blanks themselves.
fn rejoin(command: &str) -> Vec<String> {
    let command = angie_command(command);
    let mut arguments: Vec<String> = Vec::new();
    let mut words = command.split(' ').filter(|word| !word.is_empty()).peekable();
    while let Some(word) = words.next() {
        arguments.push(word.to_owned());
        let is_directives = word == "-g" || (word.starts_with("-g") && !word.ends_with(';'));
        if !is_directives || arguments.len() == 1 {
            continue;
        }
        let mut value = if word == "-g" { String::new() } else { arguments.pop().unwrap_or_default() };
        // Directives end with a `;`, and an option begins with a `-`: one behind the other ends the value.
        while let Some(next) = words.next_if(|next| !(value.ends_with(';') && next.starts_with('-'))) {
            if !value.is_empty() {
                value.push(' ');
            }
            value.push_str(next);
        }
        arguments.push(value);
    }
    arguments
}

/// `v1.5.0 #1 [/usr/sbin/angie -c …]`: Angie puts its version and generation before the command line.
fn angie_command(command: &str) -> &str {
    let bracketed = command.split_once('[').filter(|(before, _)| before.starts_with('v'));
    bracketed.and_then(|(_, rest)| rest.strip_suffix(']')).unwrap_or(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn titled(command: &str) -> CommandLine {
        CommandLine::read(&rejoin(command))
    }

    #[test]
    fn titles_are_read_as_command_lines() {
        let line = titled("/usr/sbin/nginx -c /etc/a.conf -p /srv/ -e stderr");
        assert_eq!(
            (line.config, line.prefix, line.error_log),
            (Some("/etc/a.conf".to_owned()), Some("/srv/".to_owned()), Some("stderr".to_owned()))
        );
        assert_eq!(titled("nginx -c/etc/a.conf -qp/srv").prefix, Some("/srv".to_owned()));
        let bare = CommandLine { program: Some("nginx".to_owned()), ..CommandLine::default() };
        assert_eq!(titled("nginx"), bare);
    }

    #[test]
    fn directives_keep_their_blanks() {
        assert_eq!(titled("nginx -g daemon off;").directives, Some("daemon off;".to_owned()));
        let line = titled("/usr/sbin/nginx -g daemon on; master_process on; -c /etc/a.conf");
        assert_eq!(
            (line.directives, line.config),
            (Some("daemon on; master_process on;".to_owned()), Some("/etc/a.conf".to_owned()))
        );
        let line = titled("nginx -gdaemon off; -p x");
        assert_eq!((line.directives, line.prefix), (Some("daemon off;".to_owned()), Some("x".to_owned())));
        assert_eq!(
            titled("nginx -g worker_processes 2; error_log -x debug; ").directives,
            Some("worker_processes 2; error_log -x debug;".to_owned())
        );
    }

    #[test]
    fn angie_writes_its_version_first() {
        assert_eq!(
            titled("v1.5.0 #1 [/usr/sbin/angie -c /etc/angie/angie.conf]").config,
            Some("/etc/angie/angie.conf".to_owned())
        );
    }

    #[test]
    fn commands_that_end_at_once_are_seen() {
        let of = |arguments: &[&str]| {
            let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
            CommandLine::read(&arguments).is_short_lived
        };
        assert!(of(&["nginx", "-t"]) && of(&["nginx", "-qt", "-c", "x"]) && of(&["nginx", "-s", "reload"]));
        assert!(!of(&["nginx", "-c", "-t"]) && !of(&["nginx", "-g", "daemon off;"]));
    }
}
