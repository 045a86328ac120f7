//! The answers of a container engine's API: Docker Engine API v1.24 and later, which Podman speaks as well.

use serde_json::Value;
use std::net::{IpAddr, SocketAddr};
use why502_facts::{
    Attachment, Civil, Container, ContainerDetail, ContainerPort, Engine, EngineNetwork, EngineRecord,
    RestartPolicy, Stamp,
};

/// Decodes the containers and networks of an engine; `None` if the answer is none of such an API.
pub fn decode_engine(record: &EngineRecord) -> Option<Engine> {
    let parse = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).ok();
    let containers = parse(record.containers.as_slice())?;
    let networks = parse(record.networks.as_slice()).unwrap_or_default();
    Some(Engine {
        containers: containers.as_array()?.iter().filter_map(container).collect(),
        networks: networks.as_array().into_iter().flatten().filter_map(network).collect(),
    })
}

/// Decodes one container (`ContainerInspect`); `None` if the answer is none of such an API.
pub fn decode_container(inspected: &[u8]) -> Option<ContainerDetail> {
    let value: Value = serde_json::from_slice(inspected).ok()?;
    let state = value.get("State")?;
    Some(ContainerDetail {
        state: text(state, "Status"),
        exit_code: state.get("ExitCode").and_then(Value::as_i64),
        oom_killed: state.get("OOMKilled").and_then(Value::as_bool).unwrap_or(false),
        restarts: value.get("RestartCount").and_then(Value::as_u64).unwrap_or(0),
        started: state.get("StartedAt").and_then(Value::as_str).and_then(moment),
        finished: state.get("FinishedAt").and_then(Value::as_str).and_then(moment),
        restart_policy: value.pointer("/HostConfig/RestartPolicy").map(restart_policy).unwrap_or_default(),
        ports: value.pointer("/HostConfig/PortBindings").map(bindings).unwrap_or_default(),
        memory_limit: value.pointer("/HostConfig/Memory").and_then(Value::as_u64).filter(|bytes| *bytes > 0),
        error: text(state, "Error"),
        log_driver: value
            .pointer("/HostConfig/LogConfig/Type")
            .and_then(Value::as_str)
            .unwrap_or("")
            .to_owned(),
        log_path: text(&value, "LogPath"),
        fixed_addresses: fixed_addresses(&value),
    })
}

fn restart_policy(value: &Value) -> RestartPolicy {
    let most = value.get("MaximumRetryCount").and_then(Value::as_u64).filter(|most| *most > 0);
    match value.get("Name").and_then(Value::as_str) {
        Some("always") => RestartPolicy::Always,
        Some("on-failure") => RestartPolicy::OnFailure(most),
        Some("unless-stopped") => RestartPolicy::UnlessStopped,
        _ => RestartPolicy::No,
    }
}

/// `{"3000/tcp":[{"HostIp":"127.0.0.1","HostPort":"8080"}]}`: a port that the engine chooses has no number before it runs.
fn bindings(value: &Value) -> Vec<ContainerPort> {
    let own = |(inner, outer): (&String, &Value)| -> Vec<ContainerPort> {
        let Some(inner) = inner.strip_suffix("/tcp").and_then(|port| port.parse().ok()) else {
            return Vec::new();
        };
        let published = |binding: &Value| {
            let port = binding.get("HostPort")?.as_str()?.parse().ok().filter(|port| *port != 0)?;
            let ip = binding.get("HostIp").and_then(Value::as_str).filter(|ip| !ip.is_empty());
            Some(SocketAddr::new(ip.unwrap_or("0.0.0.0").parse().ok()?, port))
        };
        let bindings = outer.as_array().into_iter().flatten();
        bindings.map(|binding| ContainerPort { inner, published: published(binding) }).collect()
    };
    value.as_object().into_iter().flatten().flat_map(own).collect()
}

fn fixed_addresses(value: &Value) -> Vec<IpAddr> {
    let networks = value.pointer("/NetworkSettings/Networks").and_then(Value::as_object);
    let of_network = |network: &Value| -> Vec<IpAddr> {
        let Some(settings) = network.get("IPAMConfig") else { return Vec::new() };
        let address = |key: &str| settings.get(key)?.as_str()?.parse::<IpAddr>().ok();
        ["IPv4Address", "IPv6Address"].into_iter().filter_map(address).collect()
    };
    networks.into_iter().flatten().flat_map(|(_, network)| of_network(network)).collect()
}

fn container(value: &Value) -> Option<Container> {
    let label = |name: &str| value.get("Labels")?.get(name)?.as_str().map(str::to_owned);
    let of_compose = |name: &str| {
        label(&format!("com.docker.compose.{name}")).or_else(|| label(&format!("io.podman.compose.{name}")))
    };
    let name = value.get("Names").and_then(|names| names.get(0)?.as_str()).unwrap_or("");
    let networks = value.pointer("/NetworkSettings/Networks").and_then(Value::as_object);
    Some(Container {
        id: value.get("Id")?.as_str()?.to_owned(),
        name: name.trim_start_matches('/').to_owned(),
        service: of_compose("service"),
        project: of_compose("project"),
        is_one_off: of_compose("oneoff").is_some_and(|value| value.eq_ignore_ascii_case("true")),
        state: text(value, "State").to_ascii_lowercase(),
        attachments: networks.into_iter().flatten().map(|(name, own)| attachment(name, own)).collect(),
        ports: value.get("Ports").and_then(Value::as_array).into_iter().flatten().filter_map(port).collect(),
    })
}

fn attachment(network: &str, value: &Value) -> Attachment {
    let address = |key: &str| value.get(key)?.as_str()?.parse::<IpAddr>().ok();
    Attachment {
        network: network.to_owned(),
        addresses: ["IPAddress", "GlobalIPv6Address"].into_iter().filter_map(address).collect(),
        gateway: address("Gateway"),
    }
}

/// Only TCP: nginx dials nothing else.
fn port(value: &Value) -> Option<ContainerPort> {
    if value.get("Type")?.as_str()? != "tcp" {
        return None;
    }
    let number = |key: &str| value.get(key)?.as_u64().and_then(|port| u16::try_from(port).ok());
    let host = value.get("IP").and_then(Value::as_str).and_then(|ip| ip.parse::<IpAddr>().ok());
    let published = host.zip(number("PublicPort")).map(|(ip, port)| SocketAddr::new(ip, port));
    Some(ContainerPort { inner: number("PrivatePort")?, published })
}

fn network(value: &Value) -> Option<EngineNetwork> {
    Some(EngineNetwork { name: value.get("Name")?.as_str()?.to_owned(), driver: text(value, "Driver") })
}

fn text(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).unwrap_or("").to_owned()
}

/// `2026-11-21T02:28:30.123456789Z` (RFC 3339); the year 1 stands for never.
fn moment(text: &str) -> Option<Stamp> {
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<i8>().ok();
    let year = text.get(0..4)?.parse().ok()?;
    let date = (year, number(5..7)?, number(8..10)?);
    let civil = Civil::from_parts(date, (number(11..13)?, number(14..16)?, number(17..19)?))?;
    let zone = text.get(19..)?.trim_start_matches(|letter: char| letter == '.' || letter.is_ascii_digit());
    (year > 1).then(|| civil.at_offset(zone_seconds(zone)))
}

/// `Z`, `+01:00`.
fn zone_seconds(zone: &str) -> i32 {
    let number = |range: std::ops::Range<usize>| zone.get(range)?.parse::<i32>().ok();
    let seconds = number(1..3).zip(number(4..6)).map_or(0, |(hours, minutes)| hours * 3600 + minutes * 60);
    if zone.starts_with('-') { -seconds } else { seconds }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use why502_facts::Blob;

    /// As Docker 20.10 answers, shortened.
    const CONTAINERS: &str = r#"[{"Id":"ab12","Names":["/shop-app-1"],"State":"running","Labels":{"com.docker.compose.service":"app","com.docker.compose.project":"shop"},
        "Ports":[{"IP":"0.0.0.0","PrivatePort":3000,"PublicPort":8080,"Type":"tcp"},{"PrivatePort":53,"Type":"udp"}],
        "NetworkSettings":{"Networks":{"shop_default":{"IPAddress":"172.18.0.3","Gateway":"172.18.0.1","GlobalIPv6Address":""}}}}]"#;
    const INSPECTED: &str = r#"{"Id":"ab12","State":{"Status":"exited","OOMKilled":true,"ExitCode":137,"Error":"","FinishedAt":"2026-11-21T03:28:30.5+01:00"},
        "RestartCount":3,"LogPath":"/var/lib/docker/containers/ab12/ab12-json.log","HostConfig":{"LogConfig":{"Type":"json-file"},"Memory":67108864,
        "RestartPolicy":{"Name":"on-failure","MaximumRetryCount":5},"PortBindings":{"3000/tcp":[{"HostIp":"","HostPort":"8080"}],"53/udp":[]}},
        "NetworkSettings":{"Networks":{"shop":{"IPAMConfig":{"IPv4Address":"172.18.0.9"}},"b":{"IPAMConfig":null}}}}"#;

    #[test]
    fn containers_are_read_with_their_networks_and_ports() {
        let networks = Blob::from(r#"[{"Name":"shop_default","Driver":"bridge"}]"#);
        let engine = decode_engine(&EngineRecord { containers: CONTAINERS.into(), networks }).unwrap();
        let own = engine.container("ab1").unwrap();
        assert_eq!((own.name.as_str(), own.is_running(), own.is_called("app")), ("shop-app-1", true, true));
        assert_eq!(own.user_networks().collect::<Vec<_>>(), ["shop_default"]);
        assert!(own.has_address("172.18.0.3".parse().unwrap()));
        assert_eq!(own.gateway(), "172.18.0.1".parse().ok());
        let published = "0.0.0.0:8080".parse().ok();
        assert_eq!(own.ports, [ContainerPort { inner: 3000, published }]);
        assert_eq!(engine.networks[0].driver, "bridge");
    }

    #[test]
    fn a_dead_container_tells_how_it_ended() {
        let detail = decode_container(INSPECTED.as_bytes()).unwrap();
        assert_eq!((detail.exit_code, detail.oom_killed, detail.restarts), (Some(137), true, 3));
        let finished = Civil::from_parts((2026, 11, 21), (2, 28, 30)).unwrap().at_offset(0);
        assert_eq!(detail.finished, Some(finished));
        assert_eq!(detail.restart_policy, RestartPolicy::OnFailure(Some(5)));
        let published = "0.0.0.0:8080".parse().ok();
        assert_eq!(detail.ports, [ContainerPort { inner: 3000, published }]);
        assert_eq!((detail.memory_limit, detail.started), (Some(64 << 20), None));
        assert_eq!(detail.fixed_addresses, ["172.18.0.9".parse::<IpAddr>().unwrap()]);
        assert_eq!(moment("0001-01-01T00:00:00Z"), None);
    }

    #[test]
    fn another_answer_is_no_engine() {
        let record = |text: &str| EngineRecord { containers: text.into(), networks: Blob::default() };
        assert_eq!(decode_engine(&record("<html>")), None);
        assert_eq!(decode_engine(&record(r#"{"message":"no"}"#)), None);
        assert_eq!(decode_container(b"{}"), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parsers_panic(bytes in any::<Vec<u8>>(), text in ".{0,40}") {
            let record = EngineRecord { containers: bytes.clone().into(), networks: bytes.clone().into() };
            let _ = decode_engine(&record);
            let _ = decode_container(&bytes);
            let _ = moment(&text);
        }
    }
}
