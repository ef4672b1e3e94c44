//! What a socket takes a little of, and no session can count.

use crate::session::{Flood, Limits};

/// Closes who sends much of it.
pub(super) struct Floods {
    /// Pings, pongs and closes of RFC 6455.
    pub(super) control_frames: Flood,
    /// Lanes that are reset before a session has accepted them, and those over the number that a client may
    /// have.
    pub(super) unserved_lanes: Flood,
}

impl Floods {
    /// As the operator has it.
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            control_frames: Flood::new(limits.control_frames_per_second_max),
            unserved_lanes: Flood::new(limits.resets_per_second_max),
        }
    }

    /// Any number of everything.
    pub(super) fn none() -> Self {
        Self { control_frames: Flood::new(0), unserved_lanes: Flood::new(0) }
    }
}
