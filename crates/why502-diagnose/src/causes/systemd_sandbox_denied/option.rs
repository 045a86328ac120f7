//! What the options of a unit forbid, as `systemctl show` prints them.

use crate::finding::{Evidence, Origin};
use std::net::IpAddr;
use why502_facts::{PeerAddress, Unit};

/// An option of a unit that forbids something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sandbox {
    /// The unit.
    pub(super) unit: String,
    /// The option.
    pub(super) option: &'static str,
    /// Its value, or the part of it that forbids.
    pub(super) value: String,
    /// What of the address it is about: a family, a path, a network address.
    pub(super) about: String,
    /// The other parts of its value.
    pub(super) others: Vec<String>,
}

impl Sandbox {
    pub(super) fn new(unit: &Unit, option: &'static str, value: &str) -> Self {
        Self {
            unit: unit.name.clone(),
            option,
            value: value.to_owned(),
            about: String::new(),
            others: Vec::new(),
        }
    }

    fn about(self, about: impl Into<String>) -> Self {
        Self { about: about.into(), ..self }
    }

    pub(super) fn evidence(&self) -> Evidence {
        let says = format!("{} has {}={}", self.unit, self.option, self.value);
        Evidence::supporting(says, Origin::Host(format!("systemctl show {}", self.unit)))
    }
}

/// `RestrictAddressFamilies=`: a list of what is allowed, or behind `~` of what is not; `none` allows nothing.
pub(super) fn leaves_out_family(unit: &Unit, address: &PeerAddress) -> Option<Sandbox> {
    let value = unit.property("RestrictAddressFamilies")?;
    let family = match address {
        PeerAddress::Unix(_) => "AF_UNIX",
        PeerAddress::Inet(address) if address.is_ipv4() => "AF_INET",
        PeerAddress::Inet(_) => "AF_INET6",
    };
    let lists = |list: &str| list.split_whitespace().any(|name| name == family);
    let left_out = match value.strip_prefix('~') {
        Some(denied) => lists(denied),
        None => !lists(value),
    };
    left_out.then(|| Sandbox::new(unit, "RestrictAddressFamilies", value).about(family))
}

/// `IPAddressDeny=` without an `IPAddressAllow=` that wins over it (systemd.resource-control(5)).
pub(super) fn denies_address(unit: &Unit, address: IpAddr) -> Option<Sandbox> {
    let covers = |name: &str| {
        let networks = unit.property(name).unwrap_or_default();
        networks.split_whitespace().any(|network| is_within(address, network))
    };
    let denied = covers("IPAddressDeny") && !covers("IPAddressAllow");
    let value = unit.property("IPAddressDeny")?;
    denied.then(|| Sandbox::new(unit, "IPAddressDeny", value).about(address.to_string()))
}

/// Whether an address is within a network (`10.0.0.0/8`, `::1/128`, or an address alone).
fn is_within(address: IpAddr, network: &str) -> bool {
    let (base, length) = network.split_once('/').unwrap_or((network, "128"));
    let (Ok(base), Ok(length)) = (base.parse::<IpAddr>(), length.parse::<u32>()) else { return false };
    match (address, base) {
        (IpAddr::V4(address), IpAddr::V4(base)) => {
            let rest = 32_u32.saturating_sub(length);
            (u64::from(address.to_bits()) >> rest) == (u64::from(base.to_bits()) >> rest)
        }
        (IpAddr::V6(address), IpAddr::V6(base)) => {
            let rest = 128_u32.saturating_sub(length);
            let shifted = |bits: u128| bits.checked_shr(rest).unwrap_or(0);
            shifted(address.to_bits()) == shifted(base.to_bits())
        }
        _ => false,
    }
}

/// The option that hides a path: `InaccessiblePaths=`, `TemporaryFileSystem=`, `ProtectHome=` (systemd.exec(5)). What is bound
/// into it again is not hidden.
pub(super) fn hides(unit: &Unit, path: &str) -> Option<Sandbox> {
    let is_bound = ["BindPaths", "BindReadOnlyPaths"].iter().any(|name| {
        let bound = unit.property(name).unwrap_or_default();
        bound.split_whitespace().any(|entry| entry.split(':').any(|side| is_below(path, side)))
    });
    if is_bound {
        return None;
    }
    for option in ["InaccessiblePaths", "TemporaryFileSystem"] {
        let entries: Vec<&str> = unit.property(option).unwrap_or_default().split_whitespace().collect();
        let place = |entry: &str| {
            entry.trim_start_matches(['-', '+']).split(':').next().unwrap_or_default().to_owned()
        };
        if let Some(hiding) = entries.iter().find(|entry| is_below(path, &place(entry))) {
            let others = entries.iter().filter(|entry| *entry != hiding).map(|&entry| entry.to_owned());
            let sandbox = Sandbox::new(unit, option, hiding).about(path);
            return Some(Sandbox { others: others.collect(), ..sandbox });
        }
    }
    let value = unit.property("ProtectHome").filter(|value| matches!(*value, "yes" | "tmpfs"))?;
    let is_home = ["/home", "/root", "/run/user"].iter().any(|home| is_below(path, home));
    is_home.then(|| Sandbox::new(unit, "ProtectHome", value).about(path))
}

fn is_below(path: &str, directory: &str) -> bool {
    let directory = directory.trim_end_matches('/');
    !directory.is_empty()
        && path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(name: &str, value: &str) -> Unit {
        Unit { name: "nginx.service".to_owned(), properties: [(name.to_owned(), value.to_owned())].into() }
    }

    #[test]
    fn a_family_is_left_out_of_a_list_or_is_in_one_of_denied_ones() {
        let socket = PeerAddress::Unix("/run/a.sock".to_owned());
        let out = |value: &str| leaves_out_family(&unit("RestrictAddressFamilies", value), &socket).is_some();
        assert!(out("AF_INET AF_INET6") && out("~AF_UNIX AF_NETLINK") && out("none"));
        assert!(!out("AF_INET AF_UNIX") && !out("~AF_INET") && !out("~") && !out(""));
    }

    #[test]
    fn an_address_is_denied_unless_it_is_allowed_too() {
        let mut unit = unit("IPAddressDeny", "::/0 0.0.0.0/0");
        let address = "10.1.2.3".parse().unwrap();
        assert!(denies_address(&unit, address).is_some());
        unit.properties.insert("IPAddressAllow".to_owned(), "127.0.0.0/8 10.1.0.0/16".to_owned());
        assert!(denies_address(&unit, address).is_none());
        assert!(is_within("fd00::1".parse().unwrap(), "fd00::/8") && !is_within(address, "fd00::/8"));
        assert!(is_within(address, "10.1.2.3") && !is_within(address, "10.1.2.4"));
    }

    #[test]
    fn a_path_is_hidden_below_what_an_option_names() {
        let hidden = |name: &str, value: &str, path: &str| hides(&unit(name, value), path).is_some();
        assert!(hidden("InaccessiblePaths", "-/srv /run/app", "/run/app/app.sock"));
        assert!(!hidden("InaccessiblePaths", "/run/app", "/run/application.sock"));
        assert!(hidden("TemporaryFileSystem", "/var:ro", "/var/lib/app.sock"));
        assert!(
            hidden("ProtectHome", "yes", "/home/app/app.sock")
                && !hidden("ProtectHome", "read-only", "/home/a")
        );
        assert!(!hidden("ProtectHome", "yes", "/srv/home/app.sock"));
    }
}
