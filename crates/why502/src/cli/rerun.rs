//! The same run with the rights that it lacked.

use super::diagnose::{DEFAULT_SINCE, DEFAULT_TIMEOUT};
use crate::render::command_line;
use why502_facts::{Answer, Bundle, FactBody, Invocation};

/// The command that repeats a run as root; `None` where root looked already, or nobody knows who did.
pub(super) fn as_root(bundle: &Bundle) -> Option<String> {
    let uid = bundle.facts.iter().find_map(|fact| match &fact.answer {
        Answer::Known(body) => match &**body {
            FactBody::Host(host) => Some(host.uid),
            _ => None,
        },
        _ => None,
    })?;
    (uid != 0).then(|| command_line(&words(&bundle.manifest.invocation)))
}

fn words(invocation: &Invocation) -> Vec<String> {
    let mut words = vec!["sudo".to_owned(), "why502".to_owned()];
    words.extend(invocation.url.clone());
    let mut option = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            words.extend([name.to_owned(), value]);
        }
    };
    option("--config", invocation.config.clone());
    option("--prefix", invocation.prefix.clone());
    option("--nginx", invocation.binary.clone());
    option("--pid", invocation.pid.map(|pid| pid.to_string()));
    invocation.error_logs.iter().for_each(|file| option("--error-log", Some(file.clone())));
    invocation.access_logs.iter().for_each(|file| option("--access-log", Some(file.clone())));
    option("--log-format", invocation.log_format.as_ref().map(|format| format.text.clone()));
    let since = match (invocation.around, invocation.since) {
        (None, None) => Some("all".to_owned()),
        (None, Some(since)) if since != DEFAULT_SINCE => Some(format!("{}s", since.as_secs())),
        _ => None,
    };
    option("--since", since);
    option("--around", invocation.around.map(|around| around.to_string()));
    let timeout = Some(invocation.timeout).filter(|timeout| *timeout != DEFAULT_TIMEOUT);
    option("--timeout", timeout.map(|timeout| format!("{}s", timeout.as_secs().max(1))));
    if invocation.offline {
        words.push("--offline".to_owned());
    }
    if invocation.no_probe {
        words.push("--no-probe".to_owned());
    }
    if invocation.replay {
        words.push("--replay".to_owned());
    }
    words
}
