//! Connections that are not signed in yet, since it is being found out who they are, or since a hook is asked
//! about them: who is kicked meanwhile is not let in by an answer to a question of before.

use std::collections::{BTreeSet, HashMap};

use quoth_core::login::SessionId;
use quoth_protocol::{DeviceId, UserId};

use super::Sessions;
use super::state::State;

/// A connection that has said Hello, of which it is not known yet who it is. Dropped, it is forgotten.
#[derive(Debug)]
pub(crate) struct Arrival {
    sessions: Sessions,
    id: SessionId,
    device: DeviceId,
}

/// Connections of which it is not known who they are, and whom somebody has kicked since the first of them
/// came: whether that is one of them, they are asked when it is known.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    ids: BTreeSet<SessionId>,
    /// Users, and one device of a user, with the number of the latest kick and its reason.
    kicks: HashMap<(UserId, Option<DeviceId>), (SessionId, String)>,
}

impl Arrivals {
    /// Why somebody was kicked behind an arrival, if that was.
    fn kicked(&self, id: SessionId, user: &UserId, device: &DeviceId) -> Option<String> {
        [None, Some(device.clone())].into_iter().find_map(|device| {
            let (kick, reason) = self.kicks.get(&(user.clone(), device))?;
            (*kick > id).then(|| reason.clone())
        })
    }

    /// One is known, or gone. What was before the first one that is left concerns nobody any more.
    fn forget(&mut self, id: SessionId) {
        let was_first = self.ids.first() == Some(&id);
        self.ids.remove(&id);
        if was_first {
            let first = self.ids.first().copied();
            self.kicks.retain(|_, (kick, _)| first.is_some_and(|first| *kick > first));
        }
    }
}

/// A connection that is to be signed in, which it is [shown for](Sessions::sign_in). Dropped, it is
/// forgotten.
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
    /// A connection has said Hello.
    pub(crate) fn arrives(&self, device: &DeviceId) -> Arrival {
        let mut state = self.0.state.lock();
        let id = state.next_session();
        state.arrivals.ids.insert(id);
        drop(state);
        Arrival { sessions: self.clone(), id, device: device.clone() }
    }
}

impl State {
    /// Kicks those of a user who are asked about, or one device; says how many that newly concerns. Those of
    /// whom nobody knows yet that they are the user's are not among these, and are kicked all the same.
    pub(super) fn kick_expected(&mut self, user: &UserId, device: Option<&DeviceId>, reason: &str) -> usize {
        if !self.arrivals.ids.is_empty() {
            let kick = self.next_session();
            self.arrivals.kicks.insert((user.clone(), device.cloned()), (kick, reason.to_owned()));
        }
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

impl Arrival {
    /// It is known now whose it is: it is expected from its arrival on.
    pub(crate) fn expect(self, user: &UserId) -> Expected {
        let mut state = self.sessions.0.state.lock();
        let kicked = state.arrivals.kicked(self.id, user, &self.device);
        let id = state.next_session();
        state.expected.insert(id, Waiting { user: user.clone(), device: self.device.clone(), kicked });
        drop(state);
        Expected { sessions: self.sessions.clone(), id }
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        self.sessions.0.state.lock().arrivals.forget(self.id);
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.sessions.0.state.lock().expected.remove(&self.id);
    }
}
