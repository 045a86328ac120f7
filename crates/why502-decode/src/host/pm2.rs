//! PM2: its list of applications (`dump.pm2`), the title of its daemon, and what that writes (`lib/God.js`,
//! `lib/God/Methods.js`, `lib/Worker.js`).

use super::server_words::{SIGNALS, Told, leading_number};
use serde_json::Value;
use why502_facts::{ServerEvent, Service};

/// The home of a daemon by its title: `PM2 v7.0.4: God Daemon (/home/shop/.pm2)`.
pub fn pm2_home(title: &str) -> Option<String> {
    let rest = title.strip_prefix("PM2 v")?;
    let (_, home) = rest.split_once(": God Daemon (")?;
    let (home, _) = home.split_once(')')?;
    home.starts_with('/').then(|| home.trim_end_matches('/').to_owned())
}

/// The entry of an application.
pub(super) fn read_application(text: &str, service: &mut Service, commands: &mut Vec<Vec<String>>) {
    let Ok(entry) = serde_json::from_str::<Value>(text) else { return };
    let word = |name: &str| entry.get(name).and_then(Value::as_str).map(str::to_owned);
    let words = |name: &str| -> Vec<String> {
        match entry.get(name) {
            Some(Value::Array(values)) => {
                values.iter().filter_map(Value::as_str).map(str::to_owned).collect()
            }
            Some(Value::String(text)) => text.split_ascii_whitespace().map(str::to_owned).collect(),
            _ => Vec::new(),
        }
    };
    let interpreter = word("exec_interpreter").filter(|name| name != "none");
    let mut command: Vec<String> = interpreter.into_iter().chain(words("node_args")).collect();
    command.extend(word("pm_exec_path"));
    command.extend(words("args"));
    commands.push(command);
    service.directory = word("pm_cwd").map(|directory| directory.trim_end_matches('/').to_owned());
    let variables = entry.get("env").and_then(Value::as_object).into_iter().flatten();
    let text = |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
    service.environment.extend(variables.filter_map(text));
}

/// What a line of its log tells of an application, whose name stands as the pool; of one that it gives up, the script.
pub(super) fn told(line: &str) -> Option<Told> {
    let (_, says) = line.split_once(": PM2 log: ").filter(|(stamp, _)| is_stamp(stamp))?;
    let told = |event: ServerEvent, name: &str| {
        Some(Told { event, pid: None, pool: Some(name.to_owned()), is_sequel: false })
    };
    if let Some(rest) = says.strip_prefix("Stopping app:") {
        return told(ServerEvent::Stopped, rest.rsplit_once(" id:")?.0);
    }
    if let Some(rest) = says.strip_prefix("Script ") {
        return told(ServerEvent::GaveUp, rest.split_once(" had too many unstable restarts (")?.0);
    }
    let (label, what) = says.strip_prefix("App [")?.split_once("] ")?;
    let (name, _) = label.rsplit_once(':')?;
    if what == "online" {
        return told(ServerEvent::Started, name);
    }
    // A process that exits by itself has a code, and `SIGINT` stands for no signal.
    let (code, signal) = what.strip_prefix("exited with code [")?.split_once("] via signal [")?;
    let signal = SIGNALS.iter().find(|(name, _)| signal.strip_suffix(']') == Some(*name));
    let killed = signal.map(|(_, number)| *number).filter(|number| *number != SIGINT);
    let code = leading_number(code);
    told(killed.map_or(ServerEvent::Exited(code), ServerEvent::Killed), name)
}

/// What PM2 writes where there was no signal.
const SIGINT: u32 = 2;

fn is_stamp(text: &str) -> bool {
    text.len() == 19 && text.as_bytes()[10] == b'T'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_words_are_understood() {
        use ServerEvent::{Exited, GaveUp, Killed, Started, Stopped};
        // As PM2 7.0.4 writes them.
        for (says, event, name) in [
            ("App [shop:0] online", Started, "shop"),
            ("App [shop:0] exited with code [3] via signal [SIGINT]", Exited(Some(3)), "shop"),
            ("App [a:b:12] exited with code [0] via signal [SIGSEGV]", Killed(11), "a:b"),
            ("Stopping app:shop id:0", Stopped, "shop"),
            (
                "Script /srv/loop.js had too many unstable restarts (16). Stopped. \"errored\"",
                GaveUp,
                "/srv/loop.js",
            ),
        ] {
            let told = told(&format!("2026-11-30T16:13:48: PM2 log: {says}")).unwrap();
            assert_eq!((told.event, told.pool.as_deref()), (event, Some(name)), "{says}");
        }
        for line in [
            "2026-11-30T16:13:48: PM2 log: App [shop:0] starting in -fork mode-",
            "2026-11-30T16:13:48: PM2 log: pid=20428 msg=process tree killed (1 pids)",
            "0|shop | PM2 log: App [shop:0] online",
            "é: PM2 log: App [shop:0] online",
        ] {
            assert_eq!(told(line), None, "{line}");
        }
    }

    #[test]
    fn the_daemon_s_title_names_its_home() {
        assert_eq!(pm2_home("PM2 v7.0.4: God Daemon (/home/a/.pm2)").as_deref(), Some("/home/a/.pm2"));
        assert_eq!(pm2_home("PM2 v5.3.0: God Daemon"), None);
        assert_eq!(pm2_home("node /usr/bin/pm2 logs"), None);
    }
}
