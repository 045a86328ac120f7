//! Limits in force: `limit_req` and `limit_conn` with their zones.

use crate::nginx::config::NodeId;
use crate::nginx::parameters::Levels;
use crate::{Limit, LimitKind};

/// The limits of a place.
pub(super) fn read_limits(levels: &Levels<'_>) -> Vec<Limit> {
    let mut limits = Vec::new();
    for (kind, directive) in [(LimitKind::Requests, "limit_req"), (LimitKind::Connections, "limit_conn")] {
        let status = levels.setting(&format!("{directive}_status"), |text| text.parse().ok(), 503).value;
        let dry_run = levels.flag(&format!("{directive}_dry_run"), false).value;
        for id in levels.nearest(directive) {
            limits.extend(read_limit(levels, id, kind, directive).map(|limit| Limit {
                status,
                dry_run,
                ..limit
            }));
        }
    }
    limits
}

fn read_limit(levels: &Levels<'_>, id: NodeId, kind: LimitKind, directive: &str) -> Option<Limit> {
    let node = levels.config.node(id);
    let zone = match kind {
        LimitKind::Requests => node.parameter("zone")?,
        LimitKind::Connections => node.arg(0)?,
    };
    let zone_id = find_zone(levels, &format!("{directive}_zone"), zone);
    let zone_node = zone_id.map(|id| levels.config.node(id));
    let rate = zone_node.and_then(|node| node.parameter("rate"));
    let number = |name: &str| node.parameter(name).and_then(|value| value.parse().ok());
    let is_nodelay = node.values().any(|value| value == "nodelay");
    Some(Limit {
        kind,
        zone: zone.to_owned(),
        key: zone_node.and_then(|node| node.arg(0)).map(str::to_owned),
        status: 0,
        at: levels.at(id),
        zone_at: zone_id.map(|id| levels.config.span(id)),
        amount: match kind {
            LimitKind::Requests => rate.unwrap_or("1r/s").to_owned(),
            LimitKind::Connections => node.arg(1).unwrap_or_default().to_owned(),
        },
        burst: number("burst").unwrap_or(0),
        delay: if is_nodelay { None } else { Some(number("delay").unwrap_or(0)) },
        dry_run: false,
    })
}

/// The definition of a zone: `limit_req_zone KEY zone=NAME:SIZE rate=RATE`.
fn find_zone(levels: &Levels<'_>, directive: &str, zone: &str) -> Option<NodeId> {
    let config = levels.config;
    let defines = |id: &NodeId| {
        config.node(*id).parameter("zone").is_some_and(|value| value.split(':').next() == Some(zone))
    };
    config.named(config.http(), directive).find(defines)
}

#[cfg(test)]
mod tests {
    use crate::testing::World;

    #[test]
    fn limits_are_found_with_their_zones() {
        let gateway = World::http(
            "limit_req_zone $binary_remote_addr zone=a:10m rate=5r/s;
             limit_conn_zone $server_name zone=c:1m;
             limit_req_status 429;
             server {
                 limit_req zone=a burst=20 nodelay; limit_conn c 10;
                 location /in { proxy_pass http://127.0.0.1; }
                 location /own { limit_req zone=a burst=3 delay=2; limit_req_dry_run on; limit_conn_status 444; }
                 location /gone { limit_req zone=nowhere; }
             }",
        )
        .gateway();
        let shape = |at: usize| {
            let limits = gateway.routes[at].limits.iter();
            let text = limits.map(|own| {
                format!(
                    "{}:{:?} {} +{}/{:?} {} {}",
                    own.zone, own.key, own.amount, own.burst, own.delay, own.status, own.dry_run
                )
            });
            text.collect::<Vec<_>>()
        };
        let conn = "c:Some(\"$server_name\") 10 +0/Some(0)";
        assert_eq!(
            shape(1),
            [
                "a:Some(\"$binary_remote_addr\") 5r/s +20/None 429 false".to_owned(),
                format!("{conn} 503 false")
            ]
        );
        assert_eq!(shape(2)[0], "a:Some(\"$binary_remote_addr\") 5r/s +3/Some(2) 429 true");
        assert_eq!(shape(2)[1], format!("{conn} 444 false"), "limit_conn is inherited");
        assert_eq!(gateway.routes[3].limits[0].zone_at, None);
    }
}
