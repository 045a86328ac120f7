//! The files that say how a host resolves names: resolv.conf(5) and hosts(5).

use std::net::IpAddr;

/// The most name servers that the C library asks (`MAXNS`).
const MAX_SERVERS: usize = 3;

/// How names are looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolverSettings {
    /// The name servers, at most three, in order.
    pub servers: Vec<IpAddr>,
    /// The domains that are tried behind a name.
    pub search: Vec<String>,
    /// With fewer dots than that the domains are tried first.
    pub ndots: usize,
}

/// Reads resolv.conf; without a name server the local one is asked, as the C library does.
pub fn parse_resolv_conf(text: &[u8]) -> ResolverSettings {
    let text = String::from_utf8_lossy(text);
    let mut settings = ResolverSettings { servers: Vec::new(), search: Vec::new(), ndots: 1 };
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        match words.next() {
            Some("nameserver") => {
                let address = words.next().and_then(|word| word.split('%').next()?.parse::<IpAddr>().ok());
                settings.servers.extend(address);
            }
            // Of several `domain` and `search` lines the last one counts.
            Some("domain" | "search") => settings.search = words.map(str::to_owned).collect(),
            Some("options") => {
                let ndots = words.filter_map(|word| word.strip_prefix("ndots:")?.parse().ok()).next_back();
                settings.ndots = ndots.map_or(settings.ndots, |ndots: usize| ndots.min(15));
            }
            _ => {}
        }
    }
    settings.servers.truncate(MAX_SERVERS);
    if settings.servers.is_empty() {
        settings.servers.push(IpAddr::from([127, 0, 0, 1]));
    }
    settings
}

impl ResolverSettings {
    /// The full names that are tried for a name, in order.
    pub fn candidates(&self, name: &str) -> Vec<String> {
        if let Some(full) = name.strip_suffix('.') {
            return vec![full.to_owned()];
        }
        let searched = self.search.iter().map(|domain| format!("{name}.{}", domain.trim_matches('.')));
        let as_it_is = std::iter::once(name.to_owned());
        if name.matches('.').count() >= self.ndots {
            as_it_is.chain(searched).collect()
        } else {
            searched.chain(as_it_is).collect()
        }
    }
}

/// The sources of host names that nsswitch.conf(5) names, without what is to be done after each.
pub fn host_sources(nsswitch: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(nsswitch);
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix("hosts:")).unwrap_or("files dns");
    let line = line.split('#').next().unwrap_or(line);
    let mut is_action = false;
    let mut sources = Vec::new();
    for word in line.split_ascii_whitespace() {
        is_action |= word.starts_with('[');
        if !is_action {
            sources.push(word.to_owned());
        }
        is_action &= !word.ends_with(']');
    }
    sources
}

/// The addresses that a hosts file gives a name.
pub fn find_host(hosts: &[u8], name: &str) -> Vec<IpAddr> {
    let text = String::from_utf8_lossy(hosts);
    let name = name.trim_end_matches('.');
    text.lines()
        .filter_map(|line| {
            let mut words = line.split('#').next()?.split_ascii_whitespace();
            let address = words.next()?.split('%').next()?.parse().ok()?;
            words.any(|word| word.eq_ignore_ascii_case(name)).then_some(address)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_of_names_are_read_without_actions() {
        let switch =
            b"passwd: files\n hosts: files mdns4_minimal [NOTFOUND=return SUCCESS=merge] dns # all\n";
        assert_eq!(host_sources(switch), ["files", "mdns4_minimal", "dns"]);
        assert_eq!(host_sources(b""), ["files", "dns"]);
    }

    #[test]
    fn settings_are_read() {
        let settings = parse_resolv_conf(
            b"# made by dhcp\nnameserver 10.0.0.2\nnameserver fe80::1%eth0\nsearch a.example b.example\noptions edns0 ndots:2\n",
        );
        let expected = ResolverSettings {
            servers: vec!["10.0.0.2".parse().unwrap(), "fe80::1".parse().unwrap()],
            search: vec!["a.example".to_owned(), "b.example".to_owned()],
            ndots: 2,
        };
        assert_eq!(settings, expected);
        assert_eq!(settings.candidates("db"), ["db.a.example", "db.b.example", "db"]);
        assert_eq!(settings.candidates("a.b.c"), ["a.b.c", "a.b.c.a.example", "a.b.c.b.example"]);
        assert_eq!(settings.candidates("db."), ["db"]);
    }

    #[test]
    fn without_a_server_the_local_one_is_asked() {
        assert_eq!(parse_resolv_conf(b"").servers, ["127.0.0.1".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn hosts_are_found_by_any_of_their_names() {
        let hosts =
            b"127.0.0.1 localhost\n10.0.0.5 app app.internal # the old one\n::1 LocalHost\n# 10.0.0.6 app\n";
        let found = |name| find_host(hosts, name).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(found("app.internal"), ["10.0.0.5"]);
        assert_eq!(found("localhost"), ["127.0.0.1", "::1"]);
        assert_eq!(found("old"), Vec::<String>::new());
    }
}
