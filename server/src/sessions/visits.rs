//! Devices that have come or gone, until that is stored.

use std::collections::{HashMap, HashSet};

use quoth_protocol::limits::SESSIONS_MAX;
use quoth_protocol::presence::Status;
use quoth_protocol::reply::SessionInfo;
use quoth_protocol::{DeviceId, UserId};

/// How long devices that have come or gone gather before they are stored, in milliseconds: of a thousand that
/// lose their network at once each would be a flush of its own otherwise.
const GATHER_MS: u64 = 1_000;

/// How long it is waited after a failure before they are stored again, in milliseconds: a full disk is so for
/// longer.
const RETRY_MS: u64 = 10_000;

/// Until when a device was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// It is there, or was when this was stored, and no end of that has been.
    There,
    /// It has gone, in milliseconds since 1970.
    Gone(u64),
}

/// A device that is there, or was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Visit {
    pub(super) device: DeviceId,
    pub(super) platform: String,
    pub(super) generation: u64,
    /// When it came, in milliseconds since 1970.
    pub(super) connected_ms: u64,
    pub(super) until: Until,
}

impl Visit {
    /// The device for a [`Reply`](quoth_protocol::reply::Reply), once it is known when it was last there.
    pub(super) fn info(self, last_seen_ms: u64) -> SessionInfo {
        let Self { device, platform, generation, connected_ms, until: _ } = self;
        SessionInfo { device, platform, generation, status: Status::Offline, connected_ms, last_seen_ms }
    }
}

/// Devices by their users.
pub(super) type ByUser = HashMap<UserId, HashMap<DeviceId, Visit>>;

/// What has become of devices and is not stored yet.
#[derive(Debug, Default)]
pub(super) struct Visits {
    waiting: ByUser,
    /// What is being stored.
    storing: ByUser,
    /// When the next ones are to be stored, in milliseconds since 1970.
    store_ms: Option<u64>,
}

impl Visits {
    /// A device has come or gone at `now_ms`.
    pub(super) fn add(&mut self, user: &UserId, visit: Visit, now_ms: u64) {
        let of_user = self.waiting.entry(user.clone()).or_default();
        of_user.insert(visit.device.clone(), visit);
        bound(of_user);
        self.store_ms.get_or_insert_with(|| now_ms.saturating_add(GATHER_MS));
    }

    /// The clock was set back to `now_ms`: what waits is stored as soon as if it had come now.
    pub(super) fn set_back(&mut self, now_ms: u64) {
        self.store_ms = self.store_ms.map(|store_ms| store_ms.min(now_ms.saturating_add(GATHER_MS)));
    }

    /// When something is to be stored, if anything is.
    pub(super) fn store_ms(&self) -> Option<u64> {
        self.store_ms
    }

    /// Gives what is to be stored now. It is known here until [`Visits::stored`].
    pub(super) fn begin_to_store(&mut self) -> ByUser {
        self.store_ms = None;
        self.storing = std::mem::take(&mut self.waiting);
        self.storing.clone()
    }

    /// It is stored at `now_ms` but for that of some users, which waits again.
    pub(super) fn stored(&mut self, failed: &HashSet<UserId>, now_ms: u64) {
        let storing = std::mem::take(&mut self.storing);
        for (user, visits) in storing.into_iter().filter(|(user, _)| failed.contains(user)) {
            let of_user = self.waiting.entry(user).or_default();
            for (device, visit) in visits {
                // What has become of it meanwhile is later.
                of_user.entry(device).or_insert(visit);
            }
            bound(of_user);
        }
        if !failed.is_empty() {
            self.store_ms = Some(now_ms.saturating_add(RETRY_MS));
        }
    }

    /// What is known of a user's devices here, which is later than what is stored of them.
    pub(super) fn of(&self, user: &UserId) -> HashMap<DeviceId, Visit> {
        let mut of_user = self.storing.get(user).cloned().unwrap_or_default();
        of_user.extend(self.waiting.get(user).cloned().unwrap_or_default());
        of_user
    }

    /// Forgets a user's devices that have gone.
    pub(super) fn forget(&mut self, user: &UserId) {
        for by_user in [&mut self.waiting, &mut self.storing] {
            if let Some(of_user) = by_user.get_mut(user) {
                of_user.retain(|_, visit| visit.until == Until::There);
            }
        }
    }
}

/// Forgets who has gone first of more than are stored: ids of devices cost a client nothing, and the store
/// may take nothing for long.
fn bound(of_user: &mut HashMap<DeviceId, Visit>) {
    while of_user.len() > SESSIONS_MAX {
        let gone = of_user.values().filter_map(|visit| match visit.until {
            Until::Gone(gone_ms) => Some((gone_ms, &visit.device)),
            Until::There => None,
        });
        let Some((_, first)) = gone.min() else { return };
        let first = first.clone();
        of_user.remove(&first);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use quoth_protocol::limits::SESSIONS_MAX;
    use quoth_protocol::{DeviceId, UserId};

    use super::{RETRY_MS, Until, Visit, Visits};

    fn user(id: &str) -> UserId {
        UserId::new(id).unwrap()
    }

    fn visit(id: &str, until: Until) -> Visit {
        let device = DeviceId::new(id).unwrap();
        Visit { device, platform: String::new(), generation: 1, connected_ms: 1, until }
    }

    fn known(visits: &Visits, of: &str) -> Vec<(String, Until)> {
        let of_user = visits.of(&user(of)).into_values();
        let mut known: Vec<_> = of_user.map(|visit| (visit.device.to_string(), visit.until)).collect();
        known.sort_by(|a, b| a.0.cmp(&b.0));
        known
    }

    #[test]
    fn what_could_not_be_stored_waits_again_unless_something_newer_does() {
        let mut visits = Visits::default();
        visits.add(&user("alice"), visit("phone", Until::Gone(10)), 10);
        visits.add(&user("alice"), visit("laptop", Until::Gone(11)), 11);
        visits.add(&user("bob"), visit("phone", Until::Gone(12)), 12);
        assert_eq!(visits.begin_to_store().len(), 2);
        visits.add(&user("alice"), visit("phone", Until::There), 13);
        let phone = |until| ("phone".to_owned(), until);
        let laptop = ("laptop".to_owned(), Until::Gone(11));
        assert_eq!(known(&visits, "alice"), [laptop.clone(), phone(Until::There)], "the newer one counts");
        visits.stored(&HashSet::from([user("alice")]), 20);
        assert_eq!(known(&visits, "alice"), [laptop, phone(Until::There)]);
        assert_eq!(known(&visits, "bob"), []);
        assert_eq!(visits.store_ms(), Some(20 + RETRY_MS));
        visits.forget(&user("alice"));
        assert_eq!(known(&visits, "alice"), [phone(Until::There)], "it is not gone");
        visits.begin_to_store();
        visits.stored(&HashSet::new(), 30);
        assert_eq!((known(&visits, "alice"), visits.store_ms()), (vec![], None));
    }

    #[test]
    fn of_one_user_no_more_wait_than_are_stored() {
        let mut visits = Visits::default();
        visits.add(&user("alice"), visit("there", Until::There), 0);
        for n in 0..2 * SESSIONS_MAX as u64 {
            visits.add(&user("alice"), visit(&format!("device {n}"), Until::Gone(n)), n);
        }
        let known = known(&visits, "alice");
        assert_eq!(known.len(), SESSIONS_MAX);
        assert!(known.iter().all(|(_, until)| *until != Until::Gone(0)), "who has gone first is forgotten");
        assert!(known.contains(&("there".to_owned(), Until::There)));
    }
}
