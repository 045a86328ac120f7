//! `--replay`: the failing request through a real nginx, beside the same one straight to its upstreams.

use crate::run::json;
use crate::world::{World, free_port};
use serde_json::Value;

/// A front with an application behind it, and a route to nobody.
struct Site {
    world: World,
    config: String,
    front: u16,
}

impl Site {
    fn new() -> Self {
        let mut world = World::new();
        let (app, gone, front) = (free_port(), free_port(), free_port());
        let http = format!(
            "server {{ listen 127.0.0.1:{app}; location / {{ return 404; }} location /secret/ {{ return 200; }} }}"
        );
        world.nginx("app", &http, app);
        let http = format!(
            "server {{ listen 127.0.0.1:{front}; server_name shop.example.com;
             location / {{ proxy_pass http://127.0.0.1:{app}; }}
             location /secret/ {{ deny all; proxy_pass http://127.0.0.1:{app}; }}
             location /gone/ {{ proxy_pass http://127.0.0.1:{gone}; }} }}"
        );
        let config = world.nginx("front", &http, front);
        Self { world, config, front }
    }

    fn replay(&self, path: &str) -> Value {
        let url = format!("http://shop.example.com:{}{path}", self.front);
        json(&[&url, "--replay", "--config", &self.config, "--format", "json"]).0
    }
}

#[test]
fn an_application_s_own_answer_is_told_from_the_gateway_s() {
    let site = Site::new();
    for (path, status, maker) in
        [("/missing", 404, "upstream"), ("/secret/x", 403, "gateway"), ("/gone/", 502, "gateway")]
    {
        let report = site.replay(path);
        let replay = &report["replay"];
        assert_eq!(
            (&replay["through"]["status"], &replay["made_by"]),
            (&status.into(), &maker.into()),
            "{replay}"
        );
        let target = format!("127.0.0.1:{}", site.front);
        let actions = report["actions"].as_array().unwrap();
        assert!(
            actions.iter().any(|own| own["target"] == *target && own["kind"] == "request"),
            "{actions:?}"
        );
    }
    let log = std::fs::read_to_string(site.world.path("front-access.log")).unwrap();
    let marked = format!("why502/{} (replay)", env!("CARGO_PKG_VERSION"));
    assert_eq!(log.lines().count(), 3, "{log}");
    assert!(log.lines().all(|line| line.contains(&marked) && line.contains("\"HEAD /")), "{log}");
}

#[test]
fn its_own_traffic_is_no_failure_and_nothing_is_replayed_unasked() {
    let site = Site::new();
    assert_eq!(site.replay("/gone/")["replay"]["through"]["status"], 502);
    let (report, _) = json(&["--config", &site.config, "--format", "json"]);
    assert_eq!(
        (&report["window"]["failed"], &report["replay"]),
        (&0.into(), &Value::Null),
        "{}",
        report["window"]
    );
    let url = format!("http://shop.example.com:{}/gone/", site.front);
    assert_eq!(json(&[&url, "--config", &site.config, "--format", "json"]).0["replay"], Value::Null);
    let log = std::fs::read_to_string(site.world.path("front-access.log")).unwrap();
    assert_eq!(log.lines().count(), 1, "{log}");
}
