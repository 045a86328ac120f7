//! What asks are about, in the words of the gaps that they leave.

use super::{Ask, LogKind, LogSlice};

/// The topics under which gaps are reported, each with what it is about.
pub const TOPICS: &[(&str, &str)] = &[
    ("access-control", "SELinux and AppArmor: how the gateway is confined, and what the kernel denied"),
    ("access-log", "an access log: how many requests, and which failed"),
    (
        "changes",
        "what was changed before the failures: when files were written, what package managers installed",
    ),
    ("container-engine", "a container engine: its containers, their networks and what became of them"),
    ("control-group", "the control group of a process: its limits, and what it waits for"),
    ("echo", "what answers an ICMP echo request to a peer's address"),
    ("error-log", "an error log: what the gateway says of each failure"),
    ("file", "a file of the configuration, or one that it names"),
    ("file-system", "the file system that the gateway writes to: whether it is full or read-only"),
    ("gateway-binary", "the gateway's program: its version and its compiled-in paths"),
    ("host", "the host: its name, its kernel, its time zone"),
    ("journal", "the journal: what a unit's processes wrote, and what systemd says of them"),
    ("kernel-log", "the kernel's messages: whom it killed, what crashed, what it refused"),
    ("name-resolution", "what a name resolves to"),
    ("network-limits", "what the kernel lets a network namespace do: queues, ports, connection tracking"),
    ("other-sockets", "the sockets of other network namespaces: who listens in other containers"),
    ("packet-filter", "the packet filters of a host: which rules a connection meets"),
    ("probe", "what a peer does when it is dialled as the gateway dials it"),
    ("processes", "the processes of the host: the gateway and its upstreams"),
    ("route", "the way to a peer: routes, policy rules, devices, neighbours"),
    ("server-log", "the log of an application server: what it says of its own workers"),
    ("service", "a service of the host: its unit, its state, who supervises it"),
    ("socket-path", "the path of a unix socket, or of files that the gateway writes: who may walk it"),
    ("sockets", "the sockets of the gateway's network namespace: who listens where"),
];

impl Ask {
    /// The topic under which a gap about this ask is reported: data, listed by `explain --list`.
    pub fn topic(&self) -> &'static str {
        match self {
            Self::Audit { .. } | Self::Confinement { .. } | Self::Decision { .. } => "access-control",
            Self::Container { .. } | Self::Engine { .. } => "container-engine",
            Self::ControlGroups { .. } => "control-group",
            Self::File { .. } | Self::Glob { .. } => "file",
            Self::FileSystem { .. } => "file-system",
            Self::FileTimes { .. } | Self::PackageLog { .. } => "changes",
            Self::Echo { .. } => "echo",
            Self::Host => "host",
            Self::KernelLog => "kernel-log",
            Self::Log(LogSlice { kind: LogKind::Access { .. }, .. })
            | Self::LogTail { kind: LogKind::Access { .. }, .. } => "access-log",
            Self::Log(_) | Self::LogTail { .. } => "error-log",
            Self::PacketFilter { .. } => "packet-filter",
            Self::NetworkLimits { .. } => "network-limits",
            Self::OtherSockets { .. } => "other-sockets",
            Self::PathWalk { .. } => "socket-path",
            Self::Probe { .. } => "probe",
            Self::Process { .. } | Self::Processes | Self::Waiting { .. } => "processes",
            Self::Resolve { .. } => "name-resolution",
            Self::Route { .. } => "route",
            Self::ServerLogs { .. } => "server-log",
            Self::Services { .. } | Self::Unit { .. } => "service",
            Self::Sockets { .. } => "sockets",
            Self::Strings { .. } => "gateway-binary",
            Self::UnitJournal { .. } => "journal",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_topic_is_listed_once_in_order() {
        let source = include_str!("topic.rs");
        let body = source.split_once("pub fn topic(").unwrap().1.split_once("\n    }\n").unwrap().0;
        let used: BTreeSet<&str> = body.split('"').skip(1).step_by(2).collect();
        let listed: Vec<&str> = TOPICS.iter().map(|(topic, _)| *topic).collect();
        assert_eq!(listed, used.into_iter().collect::<Vec<_>>());
    }
}
