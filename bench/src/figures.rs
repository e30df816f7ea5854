//! What can be said of a proxy in a lane, and what is aimed at.

use crate::proxies::Kind;

/// One kind of figure. Of all of them less is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Figure {
    /// CPU time of all threads of the proxy, per request.
    CpuPerCall,
    /// Median time of a call, with as many callers at once as the lane has.
    CallTime,
    /// Median latency from the intended moment of sending, less the upstream's own.
    AddedMedian,
    /// The same at the 99th percentile.
    Added99,
    /// The same at the 99.9th percentile.
    Added999,
    /// Median time to the first byte of a stream's body.
    FirstByte,
    /// The same, less the upstream's own.
    AddedFirstByte,
    /// Memory with the lane's streams open.
    Memory,
    /// What each stream adds to the idle process.
    MemoryPerStream,
    /// CPU time per event of open streams.
    CpuPerEvent,
}

impl Figure {
    /// As printed.
    pub fn name(self) -> &'static str {
        match self {
            Self::CpuPerCall => "CPU per request",
            Self::CallTime => "time of a call, p50",
            Self::AddedMedian => "added latency, p50",
            Self::Added99 => "added latency, p99",
            Self::Added999 => "added latency, p99.9",
            Self::FirstByte => "time to first byte, p50",
            Self::AddedFirstByte => "added time to first byte, p50",
            Self::Memory => "memory with all streams open",
            Self::MemoryPerStream => "memory per open stream",
            Self::CpuPerEvent => "CPU per event",
        }
    }

    /// What it is counted in.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Memory => "MiB",
            Self::MemoryPerStream => "KiB",
            _ => "µs",
        }
    }

    /// Whether a ratio within one round means something. Of differences it does not: they can be next to nothing, or
    /// negative; of them only medians are compared.
    pub fn has_ratio(self) -> bool {
        !matches!(self, Self::AddedMedian | Self::Added99 | Self::Added999 | Self::AddedFirstByte)
    }
}

/// What the gateway must not exceed.
#[derive(Clone, Copy, Debug)]
pub struct Aim {
    /// Of what.
    pub figure: Figure,
    /// What it is held against.
    pub against: Against,
    /// With the ledger at `os`.
    pub os: f64,
    /// With the ledger at `fsync`, where one is set.
    pub fsync: Option<f64>,
}

/// What a figure is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Against {
    /// A multiple of another proxy's figure in the same round.
    Proxy(Kind),
    /// A number of the figure's own unit.
    Nothing,
}
