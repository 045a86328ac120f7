//! Any bytes as a configuration: they are loaded, checked, and asked for servers, routes and values.
#![no_main]

#[path = "../../crates/why502-model/src/testing.rs"]
#[expect(dead_code, reason = "the unit tests use more of it")]
mod testing;

use libfuzzer_sys::fuzz_target;
use testing::World;
use why502_model::{Gateway, Model, RequestVars};

fuzz_target!(|text: &[u8]| {
    let mut world = World::live("1.22.1", "#- /etc/nginx/nginx.conf\n");
    world.files.insert("/etc/nginx/nginx.conf".to_owned(), text.to_vec());
    // What it includes may include it again.
    world.files.insert("/etc/nginx/conf.d/a.conf".to_owned(), text.iter().rev().copied().collect());
    for is_offline in [false, true] {
        if is_offline {
            world.invocation.offline = true;
            world.invocation.config = Some("/etc/nginx/nginx.conf".to_owned());
        }
        world.model().gateways.iter().for_each(use_gateway);
    }
});

fn use_gateway(gateway: &Gateway) {
    gateway.problems.iter().for_each(|problem| drop(problem.words()));
    for server in 0..gateway.servers.len().min(4) {
        for target in ["/", "/a.php/x?y=1", "/%ff//..;", "http://h/%2e%2e"] {
            let request = RequestVars::of_request("GET", target, Some("a.test"));
            gateway.serve(server, &request);
            gateway.find_route(server, target);
        }
    }
    gateway.find_server("a.test", None);
    for (id, _) in gateway.routes().take(16) {
        gateway.reachable(id);
        gateway.all_in_force(id);
    }
}
