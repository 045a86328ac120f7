//! The narrowest thing that lets a connection through.

use super::{Want, found, listener_context};
use crate::case::{Case, PeerSubject, or_ask};
use crate::cause::Asks;
use crate::finding::Finding;
use crate::remedy::{Remedy, Risk};
use why502_facts::{Observed, Root, lossy, selinux_type};

/// Where the kernel shows the booleans of the loaded policy that are about web servers' connections.
const BOOLEANS: &str = "/sys/fs/selinux/booleans/httpd_*";
/// Which policy is loaded (selinux_config(5)).
const CONFIG: &str = "/etc/selinux/config";

/// The type that the reference policy and Fedora's give the ports of web servers.
const WEB_PORT: &str = "http_port_t";
/// The types that they give files which web servers make at run time, sockets included: the newer name first.
const RUNTIME_FILES: [&str; 2] = ["httpd_runtime_t", "httpd_var_run_t"];

/// The types of ports that no service of the policy has claimed (corenetwork.te).
const UNCLAIMED_PORTS: [&str; 5] =
    ["ephemeral_port_t", "hi_reserved_port_t", "port_t", "reserved_port_t", "unreserved_port_t"];

/// The boolean that lets a proxy connect to other web servers, caches and FTP servers (apache.te).
const RELAY: &str = "httpd_can_network_relay";

/// The booleans of the reference policy and of Fedora's that let a web server connect to ports of some types, and to nothing
/// else (apache.te, httpd_selinux(8)).
const NARROW_BOOLEANS: &[(&str, &[&str])] = &[
    ("ftp_port_t", &[RELAY]),
    ("gds_db_port_t", &["httpd_can_network_connect_db"]),
    ("gopher_port_t", &[RELAY]),
    ("http_cache_port_t", &[RELAY]),
    ("http_port_t", &[RELAY]),
    ("ldap_port_t", &["httpd_can_connect_ldap", "httpd_can_network_connect_ldap"]),
    ("memcache_port_t", &["httpd_can_network_memcache", "httpd_can_network_connect_memcache"]),
    ("mongod_port_t", &["httpd_can_network_connect_db"]),
    ("mssql_port_t", &["httpd_can_network_connect_db"]),
    ("mysqld_port_t", &["httpd_can_network_connect_db"]),
    ("oracle_port_t", &["httpd_can_network_connect_db"]),
    ("oracledb_port_t", &["httpd_can_network_connect_db"]),
    ("postgresql_port_t", &["httpd_can_network_connect_db"]),
    ("redis_port_t", &["httpd_can_network_redis"]),
    ("squid_port_t", &[RELAY]),
    ("zabbix_port_t", &["httpd_can_connect_zabbix", "httpd_can_network_connect_zabbix"]),
];

/// Directories in which everybody's files lie: a label for all of one would reach too far.
const SHARED: [&str; 6] = ["/", "/run", "/var/run", "/tmp", "/var/tmp", "/srv"];

/// What a remedy has to know; an error asks for it.
pub(super) fn wanted(case: &Case<'_>, context: &str, peer: &PeerSubject, want: &Want) -> Result<(), Asks> {
    let mut asks = Asks::new();
    let mut ask = |asked: Result<(), Asks>| asks.extend(asked.err().into_iter().flatten());
    match want.class.as_str() {
        "sock_file" => {
            for candidate in RUNTIME_FILES {
                ask(or_ask(with_type(want, candidate).decided(case, context)).map(drop));
            }
            ask(or_ask(case.facts.file(Root::Host, CONFIG)).map(drop));
            if let Some(path) = substitutions(case) {
                ask(or_ask(case.facts.file(Root::Host, &path)).map(drop));
            }
            match listener_context(case, peer) {
                Ok(Some(listener)) => ask(or_ask(connect_to(listener).decided(case, context)).map(drop)),
                Ok(None) => {}
                Err(own) => ask(Err(own)),
            }
        }
        _ if want.permission == "name_connect" => {
            ask(or_ask(case.facts.paths(Root::Host, BOOLEANS)).map(drop));
            ask(or_ask(with_type(want, WEB_PORT).decided(case, context)).map(drop));
        }
        _ => {}
    }
    if asks.is_empty() { Ok(()) } else { Err(asks) }
}

pub(super) fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let Some((context, Some(want))) = found(case, finding).filter(|_| finding.still_failing != Some(false))
    else {
        return Vec::new();
    };
    let Some(peer) = finding.peer() else { return Vec::new() };
    let remedy = match (peer.address.inet(), peer.address.unix_path(), want.class.as_str()) {
        (Some(address), _, _) if want.permission == "name_connect" => {
            of_port(case, &context, address.port(), &want)
        }
        (_, Some(path), "sock_file") => of_socket(case, &context, path, peer, &want),
        (_, Some(path), "dir" | "lnk_file") => {
            Remedy::new("Move the socket to where nginx's domain may go", Risk::ShowOnly).advice(format!(
                "{}; let the backend make {path} in a directory of its own under /run (`RuntimeDirectory=`), and label that",
                want.says(&context)
            ))
        }
        _ => module(&context, &[want]),
    };
    vec![remedy.verify(format!(
        "a request that goes to {} is answered, and no further denial is recorded",
        peer.address
    ))]
}

/// A boolean that is about ports of that type, or a label for the port.
fn of_port(case: &Case<'_>, context: &str, port: u16, want: &Want) -> Remedy {
    let type_of_port = selinux_type(&want.object);
    let narrow =
        NARROW_BOOLEANS.iter().find(|(name, _)| *name == type_of_port).map_or(&[][..], |(_, names)| *names);
    if let Some(name) = narrow.iter().find(|name| has_boolean(case, name)) {
        return Remedy::new(format!("Switch on the boolean that is about {type_of_port}"), Risk::Review)
            .command(&["setsebool", "-P", name, "on"], &[&["setsebool", "-P", name, "off"]])
            .advice("httpd_can_network_connect would allow connections to every port of every host");
    }
    let port = port.to_string();
    let label = |action: &str| format!("semanage port {action} -t {WEB_PORT} -p tcp {port}");
    let is_unclaimed = UNCLAIMED_PORTS.contains(&type_of_port);
    // An entry of the policy for this very port is modified; one for a range that holds it is not, and wants an entry beside.
    let add = if is_unclaimed { label("-a") } else { format!("{} || {}", label("-a"), label("-m")) };
    let remove = ["semanage", "port", "-d", "-t", WEB_PORT, "-p", "tcp", &port];
    let web = with_type(want, WEB_PORT);
    let decision = web.decided(case, context);
    let is_allowed = matches!(decision, Observed::Known(decision) if decision.allowed);
    let mut notes = Vec::new();
    if !is_unclaimed {
        notes.push(format!("the policy has given port {port} to another service ({type_of_port}): see that none of this host uses it"));
    }
    if decision.is_absent() || (!is_allowed && !has_boolean(case, RELAY)) {
        return module(context, std::slice::from_ref(want)).advice_also(notes);
    }
    let words: Vec<&str> = if is_unclaimed { add.split(' ').collect() } else { vec!["sh", "-c", &add] };
    let mut remedy =
        Remedy::new(format!("Label port {port} as a web server's"), Risk::Review).command(&words, &[&remove]);
    if !is_allowed {
        remedy = remedy.command(&["setsebool", "-P", RELAY, "on"], &[&["setsebool", "-P", RELAY, "off"]]);
        notes.push(format!(
            "{RELAY} lets nginx connect to ports with the label of web servers, `semanage port` gives it to this one"
        ));
    }
    notes.push("httpd_can_network_connect would allow connections to every port of every host".to_owned());
    remedy.advice(notes.join("; "))
}

/// A label for the socket, and a rule for who listens where no label can help.
fn of_socket(case: &Case<'_>, context: &str, path: &str, peer: &PeerSubject, want: &Want) -> Remedy {
    let listener = listener_context(case, peer).ok().flatten().map(connect_to);
    let denied_too = listener.filter(|connect| {
        matches!(connect.decided(case, context), Observed::Known(decision) if !decision.allowed && !decision.permissive)
    });
    let fitting = RUNTIME_FILES.into_iter().find(|candidate| {
        matches!(with_type(want, candidate).decided(case, context), Observed::Known(decision) if decision.allowed)
    });
    let Some(label) = fitting else {
        return module(context, &[Some(want.clone()), denied_too].into_iter().flatten().collect::<Vec<_>>());
    };
    let directory = path
        .rsplit_once('/')
        .map_or("/", |(directory, _)| if directory.is_empty() { "/" } else { directory });
    let is_own = !SHARED.contains(&directory) && !directory.starts_with("/home/");
    let of_policy = |path: &str| literal(&substituted(case, path));
    let (pattern, target) =
        if is_own { (format!("{}(/.*)?", of_policy(directory)), directory) } else { (of_policy(path), path) };
    let remedy = Remedy::new(format!("Label the socket as one that nginx may write ({label})"), Risk::Review)
        .command(
            &["semanage", "fcontext", "-a", "-t", label, &pattern],
            &[&["semanage", "fcontext", "-d", &pattern], &["restorecon", "-R", target]],
        )
        .command(&["restorecon", "-R", target], &[]);
    let mut notes = Vec::new();
    if !is_own {
        notes.push(format!(
            "a socket that is made anew in {directory} gets that directory's label: give it a directory of its own, or run restorecon when the backend has started"
        ));
    }
    let Some(connect) = denied_too else {
        return if notes.is_empty() { remedy } else { remedy.advice(notes.join("; ")) };
    };
    notes.push(format!(
        "then {}, which no label or boolean changes: the module holds that one rule",
        connect.says(context)
    ));
    remedy.append(module(context, &[connect])).advice_also(notes)
}

/// The source of a module of the policy, made from what was denied. It is shown: whoever loads it should have read it.
fn module(context: &str, wants: &[Want]) -> Remedy {
    let domain = selinux_type(context);
    let name = format!("why502_{domain}");
    let file = format!("/root/{name}.cil");
    let mut source = "; Made from what SELinux denied: one line for each rule that is missing.\n".to_owned();
    for want in wants {
        let (object, class, permission) = (selinux_type(&want.object), &want.class, &want.permission);
        let object = if object == domain { "self" } else { object };
        source.extend(["(allow ", domain, " ", object, " (", class, " (", permission, ")))\n"]);
    }
    Remedy::new("Add the one rule that is missing, after reading it", Risk::ShowOnly)
        .create(file.clone(), source)
        .command(&["semodule", "-i", &file], &[&["semodule", "-r", &name]])
        .advice("no boolean, port label or file context fits; the better way is a domain of its own for the backend")
}

fn connect_to(listener: String) -> Want {
    Want { object: listener, class: "unix_stream_socket".to_owned(), permission: "connectto".to_owned() }
}

/// The same want of an object of another type.
fn with_type(want: &Want, name: &str) -> Want {
    let mut parts: Vec<&str> = want.object.split(':').collect();
    if let Some(own) = parts.get_mut(2) {
        *own = name;
    }
    // What is made for the system's files and ports has its user and its role (`object_r`).
    if let [user, role, ..] = parts.as_mut_slice() {
        (*user, *role) = ("system_u", "object_r");
    }
    Want { object: parts.join(":"), ..want.clone() }
}

fn has_boolean(case: &Case<'_>, name: &str) -> bool {
    let paths = case.facts.paths(Root::Host, BOOLEANS).known();
    paths.is_some_and(|paths| paths.iter().any(|path| path.ends_with(&format!("/{name}"))))
}

/// The file that says which paths stand for which in the policy's patterns (`/var/run` for `/run`).
fn substitutions(case: &Case<'_>) -> Option<String> {
    let config = case.facts.file(Root::Host, CONFIG).known()?;
    let text = lossy(config.content.as_slice());
    let name = text.lines().find_map(|line| line.trim().strip_prefix("SELINUXTYPE="))?.trim();
    let is_name = !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    is_name.then(|| format!("/etc/selinux/{name}/contexts/files/file_contexts.subs_dist"))
}

/// A path as the policy's patterns have it: each line of the file is an alias and what it stands for.
fn substituted(case: &Case<'_>, path: &str) -> String {
    let text = substitutions(case)
        .and_then(|file| case.facts.file(Root::Host, &file).known())
        .map(|file| lossy(file.content.as_slice()));
    let found = text.iter().flat_map(|text| text.lines()).find_map(|line| {
        let (alias, original) = line.trim().split_once(char::is_whitespace)?;
        let rest = path.strip_prefix(alias)?;
        rest.starts_with('/').then(|| format!("{}{rest}", original.trim()))
    });
    found.unwrap_or_else(|| path.to_owned())
}

/// A path as a regular expression that matches it alone.
fn literal(path: &str) -> String {
    let mut text = String::new();
    for character in path.chars() {
        if matches!(
            character,
            '.' | '^' | '$' | '|' | '(' | ')' | '[' | ']' | '{' | '}' | '*' | '+' | '?' | '\\'
        ) {
            text.push('\\');
        }
        text.push(character);
    }
    text
}
