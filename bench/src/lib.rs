//! The bench behind `quoth bench`: loads on a schedule, floors and rivals beside the server, and a report.
//!
//! - **Open loop.** A message carries the time at which it was due, and is published then whatever has become
//!   of those before it; its latency counts from then. A server that stalls shows as the latency of all that
//!   was due meanwhile.
//! - **Everything is checked.** Each delivery's content, order and number go through a history checker;
//!   whatever is lost, doubled, altered or out of order fails the run.
//! - **Floors in the same run.** What the machine can do at the least stands beside every figure.

pub mod acked;
pub mod check;
pub mod command;
pub mod compare;
pub mod figure;
pub mod floor;
mod grid;
pub mod html;
mod lateness;
pub mod load;
pub mod machine;
pub mod outcome;
pub mod pacer;
pub mod payload;
pub mod process;
pub mod profile;
pub mod promises;
pub mod record;
mod refusal;
#[cfg(not(feature = "rivals"))]
#[path = "no_rival.rs"]
pub mod rival;
#[cfg(feature = "rivals")]
pub mod rival;
pub mod run;
pub mod run_folder;
pub mod schedule;
mod standstill;
pub mod surroundings;
pub mod system;
pub mod table;
pub mod target;
pub mod testing;
pub mod unit;
mod untold;
pub mod warning;
pub mod wire;
