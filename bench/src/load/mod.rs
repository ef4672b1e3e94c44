//! Loads: what clients do to a system, whichever it is.
//!
//! | module | kind of profile |
//! |---|---|
//! | [`traffic`] | open and closed: members publish and read, every delivery is checked |
//! | [`catchup`] | readers that come back to a backlog |
//! | [`storm`] | all clients come back after a restart |
//! | [`idle`] | connections that do nothing |
//! | [`connect`] | cold starts |
//!
//! What nobody reads is read back behind the load ([`read_back`]).

mod at_once;
mod backlog;
pub mod catchup;
mod conductor;
pub mod connect;
mod conversation;
mod crew;
pub mod idle;
mod member;
mod meter;
pub mod read_back;
pub mod single;
mod stage;
pub mod storm;
pub mod traffic;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// How far a load has come.
#[derive(Debug, Default)]
pub struct Progress {
    /// Of what is under way, how many are done: clients that have connected, come back or read, as the load
    /// has it.
    pub done: AtomicU64,
    /// And how many there are of them; 0 when nothing is counted at the moment.
    pub to_do: AtomicU64,
    /// Milliseconds behind the begin of the warm-up; 0 while clients connect.
    pub elapsed_ms: AtomicU64,
    /// Whether it is to end before its time.
    pub is_interrupted: AtomicBool,
}

/// The user has asked to leave.
#[derive(Debug)]
pub struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

impl Progress {
    /// Ends the work if it is to end.
    ///
    /// # Errors
    /// [`Interrupted`].
    pub fn go_on(&self) -> Result<(), Interrupted> {
        if self.is_interrupted.load(Relaxed) { Err(Interrupted) } else { Ok(()) }
    }

    /// Waits until the work is to end.
    pub(crate) async fn ended(&self) -> Interrupted {
        const INTERVAL: Duration = Duration::from_millis(100);
        loop {
            if let Err(interrupted) = self.go_on() {
                return interrupted;
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }
}

/// How long a timeline's tick is: short enough to see a pause in, and no more than some hundred in a run.
#[must_use]
pub fn tick(length: Duration) -> Duration {
    const TICKS: u32 = 200;
    (length / TICKS).max(Duration::from_millis(100))
}
