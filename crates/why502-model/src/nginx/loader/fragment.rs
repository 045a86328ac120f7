//! A file that another one includes, given without that one.

use crate::nginx::config::{Config, Node, NodeId};
use nginx_syntax::Terminator;

/// What a whole configuration has outside of any block.
const OF_MAIN: [&str; 4] = ["events", "http", "mail", "stream"];
/// What stands in an `http` block, and in no other.
const OF_HTTP: [&str; 3] = ["server", "upstream", "location"];

/// Puts an `http` block around the servers and groups of a file that has none; a `server` as well around bare locations.
pub(super) fn complete(config: &mut Config) {
    let has = |names: &[&str]| config.roots.iter().any(|id| names.contains(&config.node(*id).name.as_str()));
    if has(&OF_MAIN) || !has(&OF_HTTP) {
        return;
    }
    let has_locations = has(&["location"]);
    let roots = std::mem::take(&mut config.roots);
    let http = add(config, "http", None);
    config.roots.push(http);
    let block = if has_locations {
        let server = add(config, "server", Some(http));
        config.nodes[http.0].children.push(server);
        server
    } else {
        http
    };
    for id in &roots {
        config.nodes[id.0].parent = Some(block);
    }
    config.nodes[block.0].children.extend(roots);
    for fault in config.faults.iter_mut().filter(|fault| fault.block.is_none()) {
        fault.block = Some(block);
    }
    config.is_fragment = true;
}

fn add(config: &mut Config, name: &str, parent: Option<NodeId>) -> NodeId {
    let id = NodeId(config.nodes.len());
    config.nodes.push(Node {
        name: name.to_owned(),
        name_range: 0..0,
        args: Vec::new(),
        file: 0,
        parent,
        children: Vec::new(),
        terminator: Terminator::Block,
        line: 1,
        end_line: None,
    });
    id
}

#[cfg(test)]
mod tests {
    use crate::testing::World;

    #[test]
    fn a_file_of_servers_is_read_as_if_it_were_included() {
        let gateway = World::offline(
            "#- /tmp/site.conf\nupstream u { server 10.0.0.1; }\nserver { server_name a; location / { proxy_pass http://u; } }",
        )
        .gateway();
        assert_eq!(
            (gateway.servers.len(), gateway.groups.len(), gateway.problems.len()),
            (1, 1, 0),
            "{:?}",
            gateway.problems
        );
    }

    #[test]
    fn bare_locations_get_a_server() {
        let gateway =
            World::offline("#- /tmp/x.conf\nlocation /a { proxy_pass http://10.0.0.1; }\n").gateway();
        assert_eq!(gateway.find_route(0, "/a").map(|id| gateway.route(id).at.line), Some(1));
    }

    #[test]
    fn problems_of_such_a_file_are_still_seen() {
        let gateway =
            World::offline("#- /tmp/site.conf\nserver {\n listen 80 y;\n}\nserver { proxy_pass http://x; }")
                .gateway();
        let words: Vec<String> = gateway.problems.iter().map(crate::Problem::words).collect();
        assert_eq!(
            words,
            [
                "invalid parameter \"y\" in /tmp/site.conf:2",
                "\"proxy_pass\" directive is not allowed here in /tmp/site.conf:4"
            ]
        );
    }
}
