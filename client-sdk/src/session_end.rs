//! Why a session ended, and what follows from it.

use std::time::Duration;

use quoth_protocol::Action;

use crate::state::Reason;

/// Why a connection, or the attempt at one, ended, and when to try again.
#[derive(Debug)]
pub(crate) struct SessionEnd {
    pub(crate) reason: Reason,
    /// What to do about it: what the reason says, unless there is another path which may lead to the server
    /// next time.
    pub(crate) action: Action,
    /// The server does not want to be asked before this.
    pub(crate) retry_after: Option<Duration>,
    /// The client had just moved to another network.
    pub(crate) moved: bool,
}

impl From<Reason> for SessionEnd {
    fn from(reason: Reason) -> Self {
        Self { action: reason.action(), reason, retry_after: None, moved: false }
    }
}

impl SessionEnd {
    /// A move to another network has ended it, so that it says nothing about the server: nobody is spared by
    /// a wait.
    pub(crate) fn may_retry_at_once(&self) -> bool {
        self.moved && self.may_be_cut_short()
    }

    /// The wait that follows is for a network to come back, which a move may mean.
    pub(crate) fn may_be_cut_short(&self) -> bool {
        self.retry_after.is_none() && self.reason.is_of_the_network()
    }
}
