//! Who is there: of each device, and of each user the best of the devices.
//!
//! A device that goes is taken for there for a moment longer, so that a reconnect is no event for anybody who
//! watches.

use std::collections::{HashMap, VecDeque};

use quoth_protocol::presence::Status;
use quoth_protocol::{DeviceId, UserId};

/// Somebody's status is another one than before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Whose.
    pub user: UserId,
    /// What it is now.
    pub status: Status,
    /// When a device of the user was last connected, in milliseconds since 1970; the time of the change while
    /// one is.
    pub last_seen_ms: u64,
}

/// All users of whom a device is connected, or was a moment ago. Times are in milliseconds since 1970.
#[derive(Debug)]
pub struct Presence {
    leave_ms: u64,
    users: HashMap<UserId, OfUser>,
    /// Devices that have gone, in the order in which that is told.
    leaving: VecDeque<(u64, UserId, DeviceId)>,
}

#[derive(Debug, Default)]
struct OfUser {
    devices: HashMap<DeviceId, OfDevice>,
    /// What was told last; `None` for offline.
    told: Option<Status>,
}

#[derive(Debug, Clone, Copy)]
struct OfDevice {
    away: bool,
    /// When it has gone; `None` while it is connected.
    gone_ms: Option<u64>,
}

impl OfUser {
    fn status(&self) -> Status {
        if self.devices.values().any(|device| !device.away) {
            Status::Online
        } else if self.devices.is_empty() {
            Status::Offline
        } else {
            Status::Away
        }
    }

    /// When a device was last connected: `now_ms` while one is.
    fn last_seen_ms(&self, now_ms: u64) -> u64 {
        let gone = self.devices.values().map(|device| device.gone_ms.unwrap_or(now_ms));
        gone.max().unwrap_or_default()
    }
}

impl Presence {
    /// Nobody is there. A device that goes is taken for there for `leave_ms` longer.
    #[must_use]
    pub fn new(leave_ms: u64) -> Self {
        Self { leave_ms, users: HashMap::new(), leaving: VecDeque::new() }
    }

    /// A device has come at `now_ms`, or has come back; nobody is away who has just come.
    pub fn come(&mut self, user: &UserId, device: &DeviceId, now_ms: u64) -> Option<Change> {
        let of_user = self.users.entry(user.clone()).or_default();
        of_user.devices.insert(device.clone(), OfDevice { away: false, gone_ms: None });
        self.change(user, 0, now_ms)
    }

    /// Whether somebody sits at a device that is connected.
    pub fn set_away(&mut self, user: &UserId, device: &DeviceId, away: bool, now_ms: u64) -> Option<Change> {
        let of_device = self.users.get_mut(user)?.devices.get_mut(device)?;
        of_device.away = away;
        self.change(user, 0, now_ms)
    }

    /// A device has gone at `now_ms`. What comes of it is told by [`Presence::expire`].
    pub fn go(&mut self, user: &UserId, device: &DeviceId, now_ms: u64) {
        let Some(of_user) = self.users.get_mut(user) else { return };
        let Some(of_device) = of_user.devices.get_mut(device) else { return };
        of_device.gone_ms = Some(now_ms);
        self.leaving.push_back((now_ms.saturating_add(self.leave_ms), user.clone(), device.clone()));
    }

    /// The clock was set back to `now_ms`. Whoever has gone by a time to come has gone now: the others who go
    /// would wait for them.
    pub fn set_back(&mut self, now_ms: u64) {
        for of_device in self.users.values_mut().flat_map(|of_user| of_user.devices.values_mut()) {
            of_device.gone_ms = of_device.gone_ms.map(|gone_ms| gone_ms.min(now_ms));
        }
        let due_ms_max = now_ms.saturating_add(self.leave_ms);
        for (due_ms, ..) in &mut self.leaving {
            *due_ms = (*due_ms).min(due_ms_max);
        }
    }

    /// How many users are there.
    #[must_use]
    pub fn users(&self) -> usize {
        self.users.len()
    }

    /// When something is due next, in milliseconds since 1970.
    #[must_use]
    pub fn due_ms(&self) -> Option<u64> {
        self.leaving.front().map(|(due_ms, ..)| *due_ms)
    }

    /// What has changed by `now_ms` for those whose devices have not come back.
    pub fn expire(&mut self, now_ms: u64) -> Vec<Change> {
        let mut changes = Vec::new();
        while self.due_ms().is_some_and(|due_ms| due_ms <= now_ms) {
            let Some((due_ms, user, device)) = self.leaving.pop_front() else { break };
            let Some(of_user) = self.users.get_mut(&user) else { continue };
            // One that has gone again meanwhile is due later.
            let gone_ms = of_user.devices.get(&device).and_then(|of_device| of_device.gone_ms);
            if let Some(gone_ms) = gone_ms.filter(|gone_ms| gone_ms.saturating_add(self.leave_ms) <= due_ms) {
                of_user.devices.remove(&device);
                changes.extend(self.change(&user, gone_ms, now_ms));
            }
        }
        changes
    }

    /// A user's status, and when a device was last connected, which is `now_ms` while one is. `None` of who
    /// is offline: that is not remembered here.
    #[must_use]
    pub fn of(&self, user: &UserId, now_ms: u64) -> Option<(Status, u64)> {
        let of_user = self.users.get(user)?;
        Some((of_user.status(), of_user.last_seen_ms(now_ms)))
    }

    /// A device's status, without delay.
    #[must_use]
    pub fn of_device(&self, user: &UserId, device: &DeviceId) -> Status {
        let of_device = self.users.get(user).and_then(|of_user| of_user.devices.get(device));
        match of_device {
            Some(OfDevice { away, gone_ms: None }) if *away => Status::Away,
            Some(OfDevice { gone_ms: None, .. }) => Status::Online,
            _ => Status::Offline,
        }
    }

    /// A device's status as it counts for its user's: one that has just gone is what it was.
    #[must_use]
    pub fn of_device_as_told(&self, user: &UserId, device: &DeviceId) -> Status {
        let of_device = self.users.get(user).and_then(|of_user| of_user.devices.get(device));
        match of_device {
            Some(OfDevice { away: true, .. }) => Status::Away,
            Some(OfDevice { away: false, .. }) => Status::Online,
            None => Status::Offline,
        }
    }

    /// Tells what is to be told of a user, of whom a device was there at `seen_ms` that is forgotten, and
    /// forgets one who is offline.
    fn change(&mut self, user: &UserId, seen_ms: u64, now_ms: u64) -> Option<Change> {
        let of_user = self.users.get_mut(user)?;
        let status = of_user.status();
        if of_user.told.replace(status).unwrap_or(Status::Offline) == status {
            return None;
        }
        // Only now: a user may have thousands of devices.
        let last_seen_ms = of_user.last_seen_ms(now_ms).max(seen_ms);
        if of_user.devices.is_empty() {
            self.users.remove(user);
        }
        Some(Change { user: user.clone(), status, last_seen_ms })
    }
}

#[cfg(test)]
mod tests {
    use quoth_protocol::presence::Status;
    use quoth_protocol::{DeviceId, UserId};

    use super::{Change, Presence};

    fn user() -> UserId {
        UserId::new("alice").unwrap()
    }

    fn device(id: &str) -> DeviceId {
        DeviceId::new(id).unwrap()
    }

    fn change(status: Status, last_seen_ms: u64) -> Change {
        Change { user: user(), status, last_seen_ms }
    }

    #[test]
    fn a_user_is_what_the_best_device_is() {
        let mut presence = Presence::new(0);
        let (phone, laptop) = (device("phone"), device("laptop"));
        assert_eq!(presence.come(&user(), &phone, 1), Some(change(Status::Online, 1)));
        assert_eq!(presence.come(&user(), &laptop, 2), None);
        assert_eq!(presence.set_away(&user(), &phone, true, 3), None);
        assert_eq!(presence.set_away(&user(), &laptop, true, 4), Some(change(Status::Away, 4)));
        assert_eq!(presence.set_away(&user(), &phone, false, 5), Some(change(Status::Online, 5)));
        assert_eq!(presence.of_device(&user(), &laptop), Status::Away);
        presence.go(&user(), &phone, 6);
        assert_eq!(presence.expire(6), [change(Status::Away, 6)]);
        presence.go(&user(), &laptop, 9);
        assert_eq!(presence.expire(10), [change(Status::Offline, 9)], "last seen when the last one went");
        assert_eq!(presence.of(&user(), 10), None);
        assert!(presence.users.is_empty());
    }

    #[test]
    fn a_reconnect_is_no_event() {
        let mut presence = Presence::new(5_000);
        let phone = device("phone");
        presence.come(&user(), &phone, 0);
        presence.go(&user(), &phone, 1_000);
        assert_eq!(presence.of(&user(), 1_500), Some((Status::Online, 1_000)));
        assert_eq!(presence.of_device(&user(), &phone), Status::Offline, "the device itself is not");
        assert_eq!(presence.due_ms(), Some(6_000));
        assert_eq!(presence.expire(5_999), []);
        assert_eq!(presence.come(&user(), &phone, 5_999), None);
        assert_eq!(presence.expire(6_000), []);
        presence.go(&user(), &phone, 7_000);
        presence.come(&user(), &phone, 7_500);
        presence.go(&user(), &phone, 8_000);
        assert_eq!(presence.expire(12_999), [], "that of before was another one");
        assert_eq!(presence.expire(13_000), [change(Status::Offline, 8_000)]);
        assert_eq!(presence.due_ms(), None);
    }

    #[test]
    fn who_has_gone_by_a_clock_that_was_far_ahead_goes_when_it_is_set_back() {
        let mut presence = Presence::new(5_000);
        let [phone, laptop] = ["phone", "laptop"].map(device);
        presence.come(&user(), &phone, 1_000_000);
        presence.come(&user(), &laptop, 1_000_000);
        presence.go(&user(), &phone, 1_000_000);
        presence.set_back(1_000);
        presence.go(&user(), &laptop, 2_000);
        assert_eq!(presence.due_ms(), Some(6_000));
        assert_eq!(presence.expire(6_999), []);
        assert_eq!(presence.expire(7_000), [change(Status::Offline, 2_000)]);
        assert_eq!((presence.due_ms(), presence.users()), (None, 0));
    }

    #[test]
    fn of_two_tabs_one_may_go() {
        let mut presence = Presence::new(5_000);
        presence.come(&user(), &device("tab 1"), 0);
        presence.come(&user(), &device("tab 2"), 0);
        presence.go(&user(), &device("tab 1"), 1_000);
        assert_eq!(presence.expire(100_000), []);
        assert_eq!(presence.of(&user(), 100_000), Some((Status::Online, 100_000)));
    }

    #[test]
    fn who_is_not_connected_is_not_away() {
        let mut presence = Presence::new(0);
        assert_eq!(presence.set_away(&user(), &device("phone"), true, 0), None);
        presence.go(&user(), &device("phone"), 0);
        assert_eq!((presence.expire(1), presence.of(&user(), 1)), (vec![], None));
    }
}
