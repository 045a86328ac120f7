//! Control groups of processes, and how short of anything they are: raw as it was read, and decoded.

use crate::Blob;
use serde::{Deserialize, Serialize};

/// Two looks at the control groups of some processes and at the pressure on the whole host, raw.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlGroupRecord {
    /// The processes.
    pub members: Vec<ControlGroupMember>,
    /// The files of their groups, of those above, and `/proc/pressure`; what is not there is left out.
    pub files: Vec<ControlGroupFile>,
    /// The time between the looks, in milliseconds.
    pub millis: u64,
}

/// A process of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlGroupMember {
    /// Its id.
    pub pid: u32,
    /// `/proc/PID/cgroup`.
    pub cgroup: Blob,
}

/// A file at both looks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlGroupFile {
    /// Its path.
    pub path: String,
    /// What it held at first.
    pub first: Blob,
    /// What it held at the end; empty if it was gone.
    pub second: Blob,
}

/// What the control group of a process may have, and what it lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ControlGroup {
    /// The process.
    pub pid: u32,
    /// Its limits of processor time, its own group's first, then those of the groups above.
    pub processor: Vec<ProcessorLimit>,
    /// Its limits of memory, in the same order.
    pub memory: Vec<MemoryLimit>,
    /// What its own group waited for; where the kernel does not tell that of groups, it is empty.
    pub pressure: Vec<Pressure>,
    /// What the whole host waited for.
    pub host_pressure: Vec<Pressure>,
    /// The time between the looks, in milliseconds.
    pub millis: u64,
}

/// A limit of processor time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessorLimit {
    /// The directory of the group.
    pub group: String,
    /// How much of a processor it may use, in thousandths: 200 are a fifth of one.
    pub thousandths: u64,
    /// In how many periods it ran since it was made.
    pub n_periods: u64,
    /// In how many of these it was stopped because it had used up its share.
    pub n_throttled: u64,
    /// In how many periods it ran between the looks.
    pub n_periods_now: u64,
    /// In how many of these it was stopped.
    pub n_throttled_now: u64,
}

/// A limit of memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryLimit {
    /// The directory of the group.
    pub group: String,
    /// What it has, in bytes.
    pub used: u64,
    /// What it may have at all.
    pub max: Option<u64>,
    /// From where on it is slowed down, and its memory is taken back.
    pub high: Option<u64>,
    /// How often it came up against one of both between the looks.
    pub n_reached_now: u64,
    /// How many processes of it were killed for want of memory since it was made, where the kernel counts them.
    pub n_killed: Option<u64>,
}

/// How long tasks waited for something, by the kernel's pressure stall information (Documentation/accounting/psi.rst).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pressure {
    /// For what.
    pub of: Resource,
    /// In which part of the last ten seconds some of them waited, in hundredths of a percent.
    pub some: u32,
    /// In which part all of them did that were not idle.
    pub full: u32,
}

/// What tasks wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// A disk, or what else blocks.
    Io,
    /// Memory that has to be taken from somewhere else first.
    Memory,
    /// A processor.
    Processor,
}
