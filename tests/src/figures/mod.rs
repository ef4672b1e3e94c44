//! Figures: how far the server is from the least that the machine can do, as ratios taken in one run.
//!
//! Every figure takes turns between what is measured and its floor, several rounds, and gives the median of the rounds'
//! ratios. Floors are a relay over bare quinn ([`relay`]) and a bare append with `fdatasync` ([`append`]). Servers and
//! floors are processes of their own; all clients run on one thread of this one.

pub mod append;
mod client;
mod datagrams;
mod fanout;
mod idle;
mod latency;
mod machine;
pub mod relay;
mod report;
mod stalled;
mod start;
mod steady;
mod store;
mod storm;
mod target;
mod throughput;

pub use report::{Goal, Report};

/// How much is measured.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Rounds of each figure but those that last a minute.
    pub rounds: u32,
    /// Length of one turn, in seconds.
    pub turn_s: u64,
    /// Length of the long figures, in seconds.
    pub long_s: u64,
    /// Messages in the folder that a server starts on.
    pub stored_messages: u64,
    /// Connections of `idle`; `storm` has half of it.
    pub connections: usize,
    /// Where the servers' data and the bare files are: the disk that is measured.
    pub dir: std::path::PathBuf,
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Figure {
    /// By which it is chosen.
    pub name: &'static str,
    /// What is divided by what.
    pub what: &'static str,
    /// What it should be.
    pub goal: Goal,
    run: fn(&Plan, &mut Report) -> anyhow::Result<()>,
}

impl Figure {
    /// Measures it.
    ///
    /// # Errors
    /// When something that is measured fails.
    pub fn run(&self, plan: &Plan) -> anyhow::Result<Report> {
        let mut report = Report::default();
        (self.run)(plan, &mut report)?;
        Ok(report)
    }
}

/// All figures, in the order in which they are measured.
pub const FIGURES: &[Figure] = &[
    Figure {
        name: "latency",
        what: "publish to delivered and durable at 1,000/s, p50, over p50 of the relay + p50 of fdatasync",
        goal: Goal::AtMost(1.25),
        run: latency::run,
    },
    Figure {
        name: "throughput",
        what: "durable acked publishes/s, 64 conversations x 64 in flight, over the relay's",
        goal: Goal::AtLeast(0.6),
        run: throughput::run,
    },
    Figure {
        name: "store",
        what: "durable appends/s of the store at 512 outstanding, over a plain file's with the same groups",
        goal: Goal::AtLeast(0.7),
        run: store::run,
    },
    Figure {
        name: "steady",
        what: "longest ack at 20,000 publishes/s, over the longest bare fdatasync",
        goal: Goal::AtMost(3.0),
        run: steady::run,
    },
    Figure {
        name: "fanout",
        what: "deliveries/s, 1 conversation x 500 connections, over the relay's",
        goal: Goal::AtLeast(1.0),
        run: fanout::run,
    },
    Figure {
        name: "datagrams",
        what: "datagrams for each delivery, one message to each of 16 conversations of a connection, 125 times/s",
        goal: Goal::AtMost(0.5),
        run: datagrams::run,
    },
    Figure {
        name: "memory",
        what: "server memory with 500 stalled readers at 1,000/s, over 500 readers that read",
        goal: Goal::AtMost(1.1),
        run: stalled::memory,
    },
    Figure {
        name: "isolation",
        what: "p99 of a connection's other conversations while one is stalled, over none stalled",
        goal: Goal::AtMost(1.2),
        run: stalled::isolation,
    },
    Figure {
        name: "idle",
        what: "server memory for each idle connection with a conversation of its own, over the relay's",
        goal: Goal::AtMost(0.7),
        run: idle::run,
    },
    Figure {
        name: "storm",
        what: "all clients back after a restart, with what they missed, over as many bare QUIC handshakes",
        goal: Goal::AtMost(1.5),
        run: storm::run,
    },
    Figure {
        name: "start",
        what: "start after kill -9 under load to the first answered request, in seconds",
        goal: Goal::AtMost(1.0),
        run: start::run,
    },
];
