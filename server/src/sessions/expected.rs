//! Connections with a good token that are not signed in yet, since a hook is asked about them: who is kicked
//! meanwhile is not let in by an answer to a question of before.

use quoth_core::login::SessionId;
use quoth_protocol::{DeviceId, UserId};

use super::Sessions;
use super::state::State;

/// A connection that is to be signed in, which it is [shown for](Sessions::sign_in). Dropped, it is forgotten.
#[derive(Debug)]
pub(crate) struct Expected {
    sessions: Sessions,
    id: SessionId,
}

/// What is known of one.
#[derive(Debug)]
pub(super) struct Waiting {
    user: UserId,
    device: DeviceId,
    /// Why it has been kicked, if it has.
    kicked: Option<String>,
}

impl Sessions {
    /// A user's device is asked about before it may sign in.
    pub(crate) fn expect(&self, user: &UserId, device: &DeviceId) -> Expected {
        let mut state = self.0.state.lock();
        let id = state.next_session();
        state.expected.insert(id, Waiting { user: user.clone(), device: device.clone(), kicked: None });
        drop(state);
        Expected { sessions: self.clone(), id }
    }
}

impl State {
    /// Kicks those of a user who are asked about, or one device; says how many that newly concerns.
    pub(super) fn kick_expected(&mut self, user: &UserId, device: Option<&DeviceId>, reason: &str) -> usize {
        let concerned = self.expected.values_mut().filter(|waiting| {
            waiting.kicked.is_none()
                && waiting.user == *user
                && device.is_none_or(|device| waiting.device == *device)
        });
        concerned.map(|waiting| waiting.kicked = Some(reason.to_owned())).count()
    }

    /// One that was expected signs in, and is expected no more. Says why it was kicked meanwhile, if it was.
    pub(super) fn comes(&mut self, expected: &Expected) -> Option<String> {
        self.expected.remove(&expected.id).and_then(|waiting| waiting.kicked)
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.sessions.0.state.lock().expected.remove(&self.id);
    }
}
