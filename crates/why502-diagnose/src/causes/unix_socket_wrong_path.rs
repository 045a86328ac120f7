//! # unix-socket-wrong-path
//!
//! ## What happens
//!
//! nginx connects to a socket path that does not exist, while the backend listens on a socket at another path:
//! `php7.4-fpm.sock` after an upgrade to 8.2, `/var/run/app.sock` and `/run/app/app.sock`. True for every version of nginx.
//!
//! ## What you see
//!
//! `connect() to unix:… failed (2: No such file or directory)`, a 502 at once.
//!
//! ## How we know
//!
//! Confirmed: the path does not exist, and exactly one listening socket is that backend's: the unit or command of its
//! process bears the upstream's name, or the command line names that socket and an application of the name. Likely: it is
//! the only one that has the same file name apart from numbers (two versions may stand side by side), the same name in
//! another directory, or the same path in a release beside the one that a link leads to, that speaks the route's protocol, or whose directory bears the name. Possible: it also bears another
//! name. Nothing is sent to it.
//!
//! ## What would disprove it
//!
//! The path exists, or the other socket belongs to something else.
//!
//! ## What to do
//!
//! Point nginx to the socket that the backend has.
//!
//! ## Not to be confused with
//!
//! `unix-socket-missing` (no socket of that backend is known), `unix-socket-unlinked`, `upstream-tcp-unix-mismatch`.
//!
//! ## References
//!
//! nginx: `ngx_event_connect_peer`. Linux: unix(7), `/proc/net/unix`.

use super::ties::{Candidate, Tie, candidates, core_of, dial, is_never_meant, listens_on, meant};
use super::unix::missing;
use crate::case::{Case, PeerSubject, Subject};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Ruling};
use crate::remedy::Remedy;
use why502_facts::{Observed, PeerAddress};

pub(super) static CAUSE: Cause = Cause {
    id: "unix-socket-wrong-path",
    layer: Layer::Socket,
    acts_on: ActsOn::Config,
    effect: false,
    statuses: &[502],
    scope: Scope::Peer,
    supersedes: &["unix-socket-missing"],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("unix_socket_wrong_path.rs"),
};

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some(missing) = missing(case, subject)?.filter(super::unix::Broken::is_absent) else {
        return Ok(Ruling::NoSign);
    };
    // A process that listens on that very path lost its file: that is another cause.
    if missing.listens(case) != Some(false) {
        return Ok(Ruling::NoSign);
    }
    let Some((confidence, other)) = other(case, missing.peer)? else { return Ok(Ruling::NoSign) };
    let absent = Evidence::supporting(format!("{} does not exist", missing.path), missing.path_origin());
    let finding = missing
        .finding(case, &CAUSE, confidence, subject)
        .still_failing(Some(true))
        .with([absent, Evidence::supporting(other.says(case), case.sockets_origin())]);
    Ok(Ruling::found(finding))
}

/// The listening socket that is that backend's, as far as that can be told. What nothing ties to it is none.
fn other(case: &Case<'_>, peer: &PeerSubject) -> Result<Option<(Confidence, Candidate)>, Asks> {
    let Some(path) = peer.address.unix_path() else { return Ok(None) };
    let mut found: Vec<Candidate> = candidates(case, peer)?
        .into_iter()
        .filter(|candidate| candidate.tie.is_some() && candidate.address.unix_path().is_some())
        .collect();
    let Observed::Known(table) = case.sockets() else { return Ok(None) };
    for socket in table.unix.iter().filter(|socket| socket.listening && socket.stream) {
        let address = PeerAddress::Unix(socket.path.clone());
        let is_peer = case.peers_at(&address).next().is_some();
        let Some(says) = alike_in(case, path, &socket.path).filter(|_| !is_peer) else { continue };
        let tie = Some(Tie { says, strength: Confidence::Likely });
        match found.iter_mut().find(|candidate| candidate.address == address) {
            // The name says what a doubtful tie does not.
            Some(known) if known.strength() < Confidence::Likely => known.tie = tie,
            Some(_) => {}
            None if is_never_meant(case, peer, &address, &socket.pids) => {}
            None => found.push(Candidate { address, pids: socket.pids.clone(), tie }),
        }
    }
    // A socket of nearly the same path is meant, whatever else speaks the protocol.
    let is_alike = |candidate: &Candidate| {
        candidate.strength() == Confidence::Confirmed
            || candidate.address.unix_path().is_some_and(|own| alike_in(case, path, own).is_some())
    };
    if found.iter().any(is_alike) {
        found.retain(is_alike);
    }
    Ok(meant(case, peer, found))
}

/// How two paths are alike, by their names or by a link on the way to the first.
fn alike_in(case: &Case<'_>, wanted: &str, other: &str) -> Option<String> {
    let beside = || {
        let walk = case.path_walk(wanted).known()?;
        walk.components.iter().find_map(|part| beside_link(&part.path, part.link.as_deref()?, wanted, other))
    };
    alike(wanted, other).or_else(beside)
}

/// Whether a path is the wanted one in a directory beside that which a link of it leads to: another release.
fn beside_link(link: &str, leads_to: &str, wanted: &str, other: &str) -> Option<String> {
    let rest = wanted.strip_prefix(link).filter(|rest| rest.starts_with('/'))?;
    let (folder, _) =
        leads_to.trim_end_matches('/').rsplit_once('/').filter(|_| leads_to.starts_with('/'))?;
    let release = other.strip_prefix(folder)?.strip_prefix('/')?.strip_suffix(rest)?;
    let is_beside = !release.is_empty() && !release.contains('/');
    is_beside.then(|| format!("the same file in another directory of {folder}, where {link} leads"))
}

/// How two paths are alike: the same file in another directory, or the same name but for its numbers.
fn alike(wanted: &str, other: &str) -> Option<String> {
    let split =
        |path: &str| path.rsplit_once('/').map(|(directory, name)| (directory.to_owned(), name.to_owned()));
    let ((directory, name), (other_directory, other_name)) = (split(wanted)?, split(other)?);
    let without_numbers =
        |name: &str| name.chars().filter(|c| !c.is_ascii_digit() && *c != '.').collect::<String>();
    if name == other_name && directory != other_directory {
        // `puma.sock` is what everybody calls it.
        return (!core_of(&name).is_empty()).then(|| "the same file name in another directory".to_owned());
    }
    let bare = without_numbers(&name);
    let same = bare == without_numbers(&other_name) && name != other_name;
    let is_generic = matches!(bare.as_str(), "sock" | "socket" | "appsock" | "app" | "serversock");
    (same && directory == other_directory && !is_generic)
        .then(|| "the same name but for its numbers".to_owned())
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let peer = finding.peer();
    let other = peer.and_then(|peer| other(case, peer).ok()?);
    let title = match (peer, &other) {
        (Some(peer), Some((_, other))) => listens_on(&peer.address, &other.address, finding.confidence),
        _ => "the backend's socket is at another path".to_owned(),
    };
    let mut wont_help = vec!["chmod or chown: a denial is errno 13, this is 2".to_owned()];
    if finding.confidence == Confidence::Confirmed {
        wont_help
            .insert(0, "restarting the backend: it runs, and would create the same socket again".to_owned());
    }
    Explanation {
        title,
        why: "nginx connects to the socket by its path, and there is no such file. What seems to be the backend runs and \
              listens on another one, so nginx answers 502 at once."
            .to_owned(),
        wont_help,
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let peer = finding.peer();
    let other = peer.and_then(|peer| Some((peer, other(case, peer).ok()??.1.address)));
    let Some((peer, address)) = other else { return Vec::new() };
    let remedy = dial(&address, &peer.address, finding.confidence).verify("the failing request answers");
    case.redial(remedy, finding, &address).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::{alike, beside_link};
    use crate::fixture::Fixture;

    const HIT: &str = r#"
#- nginx.conf
events {}
http {
    server {
        listen 80;
        server_name blog.example.com;
        root /var/www;
        location ~ \.php$ { fastcgi_pass unix:/run/php/php7.4-fpm.sock; }
    }
}
#- error.log
2026/11/21 02:28:30 [crit] 101#101: *3 connect() to unix:/run/php/php7.4-fpm.sock failed (2: No such file or directory) while connecting to upstream, client: 10.0.0.9, server: blog.example.com, request: "GET /index.php HTTP/1.1", upstream: "fastcgi://unix:/run/php/php7.4-fpm.sock:", host: "blog.example.com"
#- access.log
10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] "GET /index.php HTTP/1.1" 502 157 "-" "curl/8"
#- listeners
0.0.0.0:80 nginx
unix:/run/php/php8.2-fpm.sock php-fpm8.2
#- path /run/php/php7.4-fpm.sock
0755 0 0 dir /
0755 0 0 dir /run
0755 0 0 dir /run/php
#- probe unix:/run/php/php7.4-fpm.sock
errno No such file or directory
"#;

    #[test]
    fn hit_another_version() {
        insta::assert_snapshot!(Fixture::new(HIT).summary(), @"
        Broken
        Likely unix-socket-wrong-path -> unix-socket-missing: unix:/run/php/php7.4-fpm.sock is dialled, and the backend likely listens on unix:/run/php/php8.2-fpm.sock [1 requests, still failing]
        ");
    }

    #[test]
    fn hit_the_command_line_names_the_socket_and_the_application() {
        let listener = "unix:/run/blog/blog.sock gunicorn -b unix:/run/blog/blog.sock blog.wsgi:app";
        let site = HIT.replace("/run/php/php7.4-fpm.sock", "/run/blog.sock").replace("fastcgi", "proxy");
        let site = site.replace("proxy_pass unix:", "proxy_pass http://unix:").replace("proxy://", "http://");
        insta::assert_snapshot!(Fixture::new(&site).with("listeners", listener).summary(), @"
        Broken
        Confirmed unix-socket-wrong-path -> unix-socket-missing: unix:/run/blog.sock is dialled, and the backend listens on unix:/run/blog/blog.sock [1 requests, still failing]
        ");
    }

    #[test]
    fn near_miss_another_application_of_the_same_protocol() {
        let site = HIT.replace("/run/php/php7.4-fpm.sock", "/run/app.sock").replace("fastcgi", "uwsgi");
        let other =
            Fixture::new(&site).with("listeners", "unix:/run/other.sock uwsgi --socket /run/other.sock");
        insta::assert_snapshot!(other.summary(), @"
        Broken
        Confirmed unix-socket-missing: the socket /run/app.sock does not exist [1 requests, still failing]
        Possible unix-socket-wrong-path (not a root): unix:/run/app.sock is dialled; perhaps the backend listens on unix:/run/other.sock [1 requests, still failing]
        ");
    }

    #[test]
    fn near_miss_two_backends_of_the_kind() {
        let two = Fixture::new(HIT)
            .with("listeners", "unix:/run/a/pool-a.sock php-fpm8.2\nunix:/run/b/pool-b.sock php-fpm8.2");
        insta::assert_snapshot!(two.summary(), @"
        Broken
        Confirmed unix-socket-missing: the socket /run/php/php7.4-fpm.sock does not exist [1 requests, still failing]
        ");
    }

    #[test]
    fn near_miss_some_other_socket() {
        insta::assert_snapshot!(Fixture::new(HIT).with("listeners", "unix:/run/docker.sock dockerd").summary(), @"
        Broken
        Confirmed unix-socket-missing: the socket /run/php/php7.4-fpm.sock does not exist [1 requests, still failing]
        ");
    }

    #[test]
    fn gap_the_listeners_cannot_be_seen() {
        insta::assert_snapshot!(Fixture::new(HIT).without("listeners").summary(), @"
        Broken
        Likely unix-socket-missing: the socket /run/php/php7.4-fpm.sock does not exist [1 requests, still failing]
          open: whether a process listens on it: the fixture does not tell
        ");
    }

    #[test]
    fn the_remedy_points_to_the_socket() {
        insta::assert_snapshot!(crate::fixture::first_diff(&Fixture::new(HIT).report()), @r"
        --- a/etc/nginx/nginx.conf
        +++ b/etc/nginx/nginx.conf
        @@ -5,5 +5,5 @@
                 server_name blog.example.com;
                 root /var/www;
        -        location ~ \.php$ { fastcgi_pass unix:/run/php/php7.4-fpm.sock; }
        +        location ~ \.php$ { fastcgi_pass unix:/run/php/php8.2-fpm.sock; }
             }
         }
        ");
    }

    #[test]
    fn paths_are_alike_by_name() {
        assert!(alike("/run/php/php7.4-fpm.sock", "/run/php/php8.2-fpm.sock").is_some());
        assert!(alike("/tmp/shop.sock", "/run/shop/shop.sock").is_some());
        assert!(alike("/run/a/app.sock", "/run/b/app.sock").is_none());
        assert!(alike("/srv/a/tmp/puma.sock", "/srv/b/tmp/puma.sock").is_none());
        assert!(alike("/run/shop.sock", "/run/blog.sock").is_none());
    }

    #[test]
    fn another_release_is_beside_the_one_that_a_link_leads_to() {
        let beside = |other: &str| {
            let wanted = "/srv/forum/current/tmp/puma.sock";
            beside_link("/srv/forum/current", "/srv/forum/releases/12", wanted, other).is_some()
        };
        assert!(beside("/srv/forum/releases/13/tmp/puma.sock"));
        assert!(!beside("/srv/forum/releases/13/tmp/other.sock"));
        assert!(!beside("/srv/wiki/releases/13/tmp/puma.sock"));
        assert!(!beside("/srv/forum/releases/old/13/tmp/puma.sock"));
    }
}
