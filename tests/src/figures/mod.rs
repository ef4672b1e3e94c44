//! Figures that need what no client sees: the store without a server, a folder of ten million messages, a
//! server's memory while readers stall or catch up. What clients see is measured by `quoth bench`.
//!
//! Every figure takes turns between what is measured and its floor, several rounds, and gives the median of
//! the rounds' ratios. The floor is a bare append with `fdatasync` ([`append`]) or the same without what is
//! asked about. Servers are processes of their own; all clients run on one thread of this one.

pub mod append;
mod backup;
mod bare_fjall;
mod before;
mod bulk;
mod catch_up;
mod client;
mod expire;
mod flood;
mod hostile;
mod inbox;
mod kick;
mod last;
mod live;
mod machine;
mod report;
mod sign_ins;
mod stalled;
mod start;
mod steady;
mod store;
mod stored;
mod target;

pub use quoth_bench::outcome::Goal;
pub use report::Report;

/// How much is measured.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Rounds of each figure but those that last a minute.
    pub rounds: u32,
    /// Length of one turn, in seconds.
    pub turn_s: u64,
    /// Length of the long figures, in seconds.
    pub long_s: u64,
    /// Messages in the folder that a server starts on, and that the last ones are read of.
    pub stored_messages: u64,
    /// Messages that a reader catches up with.
    pub catch_up_messages: u64,
    /// Messages of a store that is backed up.
    pub kept_messages: u64,
    /// Conversations of the user with many.
    pub inbox_conversations: u64,
    /// Sessions that sign in at once.
    pub sign_ins: u64,
    /// Length of the flood of first packets, and of the quiet before it, in seconds.
    pub flood_s: u64,
    /// Length of each attack of hostile peers, and of the quiet before two, in seconds.
    pub attack_s: u64,
    /// Where the programs `quoth` and `quoth-server` of an earlier build are.
    pub before: Option<std::path::PathBuf>,
    /// Where the servers' data and the bare files are: the disk that is measured.
    pub dir: std::path::PathBuf,
}

/// What is measured together.
#[derive(Debug, Clone, Copy)]
pub struct Figure {
    /// By which it is chosen.
    pub name: &'static str,
    /// What comes of it.
    pub rows: &'static [Row],
    run: fn(&Plan, &mut Report) -> anyhow::Result<()>,
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// What is divided by what.
    pub what: &'static str,
    /// What it should be.
    pub goal: Goal,
}

impl Figure {
    /// Whether it is measured where none is named.
    #[must_use]
    pub fn is_of_all(&self, plan: &Plan) -> bool {
        self.name != BEFORE || plan.before.is_some()
    }

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

/// The figure that needs programs of an earlier build.
const BEFORE: &str = "before";

/// All figures, in the order in which they are measured.
pub const FIGURES: &[Figure] = &[
    Figure {
        name: "store",
        rows: &[Row {
            what: "durable appends/s of the store at 512 outstanding, over a plain file's with the same groups",
            goal: Goal::AtLeast(0.7),
        }],
        run: store::run,
    },
    Figure {
        name: "steady",
        rows: &[Row {
            what: "longest ack at 20,000 publishes/s, over the longest bare fdatasync",
            goal: Goal::AtMost(3.0),
        }],
        run: steady::run,
    },
    Figure {
        name: "memory",
        rows: &[Row {
            what: "server memory with 500 stalled readers at 1,000/s, over 500 readers that read",
            goal: Goal::AtMost(1.1),
        }],
        run: stalled::memory,
    },
    Figure {
        name: "isolation",
        rows: &[Row {
            what: "p99 of a connection's other conversations while one is stalled, over none stalled",
            goal: Goal::AtMost(1.2),
        }],
        run: stalled::isolation,
    },
    Figure {
        name: "start",
        rows: &[Row {
            what: "start after kill -9 under load to the first answered request, in seconds",
            goal: Goal::AtMost(1.0),
        }],
        run: start::run,
    },
    Figure {
        name: "last",
        rows: &[
            Row {
                what: "last 50 of a conversation from its tail, over a bare fjall range read of as many rows",
                goal: Goal::AtMost(0.1),
            },
            Row { what: "the same from a view that has them in its cache", goal: Goal::AtMost(1.2) },
        ],
        run: last::run,
    },
    Figure {
        name: "catch-up",
        rows: &[
            Row {
                what: "MB/s of a reader that catches up, over a bare quinn stream of as many bytes",
                goal: Goal::AtLeast(0.5),
            },
            Row { what: "server memory that it takes meanwhile, in MiB", goal: Goal::AtMost(8.0) },
        ],
        run: catch_up::run,
    },
    Figure {
        name: "inbox",
        rows: &[Row {
            what: "first page of an inbox of 10,000 conversations, over one of 50",
            goal: Goal::AtMost(1.3),
        }],
        run: inbox::run,
    },
    Figure {
        name: "backup",
        rows: &[
            Row {
                what: "MB/s of a backup of a running server, over cp of the same folder",
                goal: Goal::AtLeast(0.5),
            },
            Row { what: "p99 of a publish while it is backed up, over quiet", goal: Goal::AtMost(1.5) },
        ],
        run: backup::run,
    },
    Figure {
        name: "expire",
        rows: &[
            Row {
                what: "p99 of a delivery while half of what is stored expires and is reclaimed, over quiet",
                goal: Goal::AtMost(1.3),
            },
            Row { what: "p99.9 of the same", goal: Goal::AtMost(3.0) },
            Row {
                what: "disk behind it, over a store that never had what expired",
                goal: Goal::AtMost(1.25),
            },
            Row { what: "how late the last of it goes, in windows", goal: Goal::AtMost(1.0) },
        ],
        run: expire::run,
    },
    Figure {
        name: "sign-ins",
        rows: &[Row {
            what: "server time of a storm of sign-ins with tokens of a key set (RS256), over the same without verification",
            goal: Goal::AtMost(1.2),
        }],
        run: sign_ins::run,
    },
    Figure {
        name: "flood",
        rows: &[
            Row {
                what: "p99 of connecting under 20,000 first packets/s from 65,535 addresses, over none",
                goal: Goal::AtMost(3.0),
            },
            Row { what: "server memory that they take at the most, in MiB", goal: Goal::AtMost(64.0) },
            Row { what: "first packets/s that were really sent", goal: Goal::AtLeast(19_000.0) },
        ],
        run: flood::run,
    },
    Figure {
        name: "hostile",
        rows: &[
            Row {
                what: "p99 of an honest conversation's deliveries while peers attack over QUIC and WebSocket, \
                       over the same attacks on another server of the machine",
                goal: Goal::AtMost(2.0),
            },
            Row { what: "the same, over no attack", goal: Goal::AtMost(2.0) },
        ],
        run: hostile::run,
    },
    Figure {
        name: "kick",
        rows: &[Row {
            what: "kick of a user with 100 devices to the end of the last stream, in seconds",
            goal: Goal::AtMost(1.0),
        }],
        run: kick::run,
    },
    Figure {
        name: BEFORE,
        rows: &[Row {
            what: "durable acked publishes/s, 64 conversations x 64 in flight, over an earlier build's",
            goal: Goal::AtLeast(0.95),
        }],
        run: before::run,
    },
];
