//! By which times sessions go.

use std::sync::Arc;

use crate::engine::{Clock, Engine};

/// By which times sessions go.
#[derive(Debug, Clone)]
pub struct Clocks {
    /// The machine's. Tokens end and are revoked by it, since their times are those of another machine.
    pub(super) machine: Arc<dyn Clock>,
    /// By which an engine judges and stores. Who is there, and who was when, goes by it, so that it can be
    /// compared with what is stored, as a block is, and does not stand still when the machine's is set back.
    pub(super) judged: Arc<dyn Clock>,
}

impl Clocks {
    /// Those of an engine.
    #[must_use]
    pub fn of(engine: &Engine) -> Self {
        Self { machine: Arc::clone(engine.clock()), judged: engine.judged_clock() }
    }
}
