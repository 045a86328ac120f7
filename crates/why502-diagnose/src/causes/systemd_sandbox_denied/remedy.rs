//! A drop-in with the one option.

use super::found;
use super::option::Sandbox;
use crate::case::Case;
use crate::finding::Finding;
use crate::remedy::{Remedy, Risk};

pub(super) fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let Some(sandbox) = found(case, finding).filter(|_| finding.still_failing != Some(false)) else {
        return Vec::new();
    };
    let Some((lines, advice)) = lines(&sandbox) else { return Vec::new() };
    let unit = &sandbox.unit;
    // Drop-ins are read in the order of their names, and the last one has the last word.
    let file = format!("/etc/systemd/system/{unit}.d/zz-why502.conf");
    let remedy = Remedy::new(format!("Let {unit} have {}", what(&sandbox)), Risk::Review)
        .create(file.clone(), format!("[Service]\n{lines}"))
        .command(&["systemctl", "daemon-reload"], &[&["rm", &file], &["systemctl", "daemon-reload"]])
        .command(&["systemctl", "restart", unit], &[&["systemctl", "restart", unit]])
        .advice(advice)
        .verify(format!("a request that goes to {} is answered", finding.address()));
    vec![remedy]
}

/// What the drop-in gives back.
fn what(sandbox: &Sandbox) -> String {
    match sandbox.option {
        "RestrictAddressFamilies" => format!("the address family {}", sandbox.about),
        "IPAddressDeny" => format!("the address {}", sandbox.about),
        "PrivateNetwork" => "the host's network".to_owned(),
        _ => format!("the path {}", sandbox.about),
    }
}

/// The lines of the drop-in, and what to mind.
fn lines(sandbox: &Sandbox) -> Option<(String, &'static str)> {
    let about = &sandbox.about;
    Some(match sandbox.option {
        // A further line adds to a list of what is allowed, and takes away from one of what is denied.
        "RestrictAddressFamilies" => (
            format!("RestrictAddressFamilies={about}\n"),
            "the other families stay as they are: lines of this option add up",
        ),
        "IPAddressDeny" => (
            format!("IPAddressAllow={about}\n"),
            "IPAddressAllow wins over IPAddressDeny, which stays; a backend that changes its address needs its network here",
        ),
        "PrivateNetwork" => (
            "PrivateNetwork=no\n".to_owned(),
            "a backend on a unix socket would be reached without any network, and this option could stay",
        ),
        "ProtectHome" => (
            "ProtectHome=read-only\n".to_owned(),
            "nginx could then read home directories, as far as modes allow; a socket below /run needs nothing of this",
        ),
        "InaccessiblePaths" => {
            let others = sandbox.others.iter().map(|path| format!("InaccessiblePaths={path}\n"));
            (
                format!("InaccessiblePaths=\n{}", others.collect::<String>()),
                "the empty line drops all entries, and those that do not hide the socket are set again",
            )
        }
        "TemporaryFileSystem" => {
            let directory =
                about.rsplit_once('/').map(|(directory, _)| directory).filter(|it| !it.is_empty())?;
            (
                format!("BindPaths={directory}\n"),
                "the directory of the socket is bound into the empty file system",
            )
        }
        _ => return None,
    })
}
