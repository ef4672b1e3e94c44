//! The devices of each user, and which of them stay when another one signs in.
//!
//! A device is known by its id and counts its connections: the **generation** grows with each of them. Of a
//! device the highest generation counts, in whatever order connections come; connections of the same
//! generation are paths of one sign-in, and are there together. Between devices it is the order of arrival
//! that counts, because generations come from clocks of different machines. A clock may be set back, and
//! somebody else may have said any number: once a device has been without a connection for longer than one
//! can be on its way ([`LATE_MS`]), whatever generation comes is a later one.
//!
//! A device whose connection was **lost** will come back by itself, so it counts as signed in for a while
//! ([`Policy::memory_ms`]). One that somebody or the policy has put out meanwhile, or that may not have heard
//! of it, is told so when it comes back, until it has heard it: otherwise it would put out the one that has
//! won, which would come back as well, and so on. Signing in again after that is somebody's wish, and wins;
//! and so it does when the one that has won is no longer there.

mod policy;
#[cfg(test)]
mod races;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use quoth_protocol::limits::SESSIONS_MAX;
use quoth_protocol::{DeviceId, UserId};

pub use policy::{Class, Policy};

/// Connections of one sign-in at once: the paths that a client races or moves between are two. The oldest one
/// is closed when there is one more.
pub const PATHS_MAX: usize = 2;

/// How long a connection of a device may be on its way behind those that came later, in milliseconds: the
/// handshake and the Hello have 5 s each, and keys and hooks may be asked meanwhile. A client's longest pause
/// between two tries is as long.
pub const LATE_MS: u64 = 30_000;

/// A connection, by a number that the shell gives it and never again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

/// A connection that has shown a good token.
#[derive(Debug, Clone)]
pub struct SignIn<'a> {
    /// Its number.
    pub session: SessionId,
    /// Whose.
    pub user: &'a UserId,
    /// Of which device.
    pub device: &'a DeviceId,
    /// Which of the device's connections; 0: it does not count them, and this one is later than all before.
    pub generation: u64,
    /// What kind of device it says that it is.
    pub platform: &'a str,
}

/// What becomes of a sign-in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It stands, and these connections are to be closed.
    Admitted(Vec<Ejected>),
    /// It is turned away.
    Refused(Reason),
}

/// A connection that is to be closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ejected {
    /// Which.
    pub session: SessionId,
    /// Why.
    pub reason: Reason,
}

/// Why a connection is closed or turned away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// A later one of the same device has taken its place.
    Replaced,
    /// Somebody or the policy has put the device out; a text for people.
    Kicked(String),
}

/// How a connection has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By the client's wish, or with a reason that has come to the client: it does not come back by itself.
    Wanted,
    /// In any other way.
    Lost,
}

/// A device, for those who ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Which.
    pub device: DeviceId,
    /// What it said that it is.
    pub platform: String,
    /// The generation of its latest connection.
    pub generation: u64,
    /// When that signed in, in milliseconds since 1970.
    pub connected_ms: u64,
    /// Its connections; none while it is lost.
    pub sessions: Vec<SessionId>,
}

/// All devices of all users. Times are in milliseconds since 1970, and may stand still or jump.
#[derive(Debug)]
pub struct Logins {
    policy: Policy,
    users: HashMap<UserId, Entries>,
    sessions: HashMap<SessionId, (UserId, DeviceId)>,
    idle: Idle,
    /// The place of the next device that comes.
    next_place: u64,
}

/// The devices of one user. Mostly a few, but a bot may have thousands.
type Entries = BTreeMap<DeviceId, Entry>;

#[derive(Debug)]
struct Entry {
    device: DeviceId,
    platform: String,
    class: Class,
    generation: u64,
    connected_ms: u64,
    sessions: Vec<SessionId>,
    /// Grows with each device that comes, not with one that comes back.
    place: u64,
    state: State,
    /// When it may be forgotten, in milliseconds since 1970, if it has no connection.
    forget_ms: Option<u64>,
}

#[derive(Debug)]
enum State {
    /// It is connected, or lost and expected back.
    Here,
    /// It has gone by its own wish, or has heard why; what other paths of that sign-in are told.
    Gone(Reason),
    /// It was put out and may not have heard why.
    Untold(PutOut),
}

#[derive(Debug)]
struct PutOut {
    reason: String,
    /// The device that has won by the policy; `None` when somebody has done it.
    by: Option<DeviceId>,
    /// Connections that are told so.
    sessions: Vec<SessionId>,
}

/// Devices without a connection, each once, in the order in which they may be forgotten: of all users, and of
/// each.
#[derive(Debug)]
struct Idle {
    memory_ms: u64,
    queue: BTreeSet<(u64, UserId, DeviceId)>,
    by_user: HashMap<UserId, BTreeSet<(u64, DeviceId)>>,
}

impl Idle {
    /// A device has no connection any more. Of its user's the [`SESSIONS_MAX`] latest of those are known: ids
    /// cost a client nothing, so that it could go on with new ones for as long as they are remembered.
    fn add(&mut self, entries: &mut Entries, user: &UserId, device: &DeviceId, now_ms: u64) {
        let Some(entry) = entries.get_mut(device) else { return };
        self.remove(entry, user);
        let forget_ms = now_ms.saturating_add(self.memory_ms);
        entry.forget_ms = Some(forget_ms);
        self.queue.insert((forget_ms, user.clone(), device.clone()));
        let of_user = self.by_user.entry(user.clone()).or_default();
        of_user.insert((forget_ms, device.clone()));
        if of_user.len() > SESSIONS_MAX
            && let Some((forget_ms, device)) = of_user.pop_first()
        {
            entries.remove(&device);
            self.queue.remove(&(forget_ms, user.clone(), device));
        }
    }

    /// A device has a connection again.
    fn remove(&mut self, entry: &mut Entry, user: &UserId) {
        if let Some(forget_ms) = entry.forget_ms.take() {
            self.forget(forget_ms, user, &entry.device);
        }
    }

    fn forget(&mut self, forget_ms: u64, user: &UserId, device: &DeviceId) {
        self.queue.remove(&(forget_ms, user.clone(), device.clone()));
        if let Some(of_user) = self.by_user.get_mut(user) {
            of_user.remove(&(forget_ms, device.clone()));
            if of_user.is_empty() {
                self.by_user.remove(user);
            }
        }
    }

    /// Puts a device out; gives its connections, which are to be closed.
    fn put_out(
        &mut self,
        entries: &mut Entries,
        user: &UserId,
        device: &DeviceId,
        put_out: PutOut,
        now_ms: u64,
    ) -> Vec<Ejected> {
        let Some(entry) = entries.get_mut(device) else { return Vec::new() };
        let sessions = std::mem::take(&mut entry.sessions);
        let kicked = |session: &SessionId| Ejected {
            session: *session,
            reason: Reason::Kicked(put_out.reason.clone()),
        };
        let ejected = sessions.iter().map(kicked).collect();
        entry.state = State::Untold(PutOut { sessions, ..put_out });
        self.add(entries, user, device, now_ms);
        ejected
    }

    /// The next device whose time has come.
    fn take_due(&mut self, now_ms: u64) -> Option<(UserId, DeviceId)> {
        let (forget_ms, user, device) = self.queue.first().filter(|(at_ms, ..)| *at_ms <= now_ms)?.clone();
        self.forget(forget_ms, &user, &device);
        Some((user, device))
    }
}

impl Entry {
    fn device(&self) -> Device {
        Device {
            device: self.device.clone(),
            platform: self.platform.clone(),
            generation: self.generation,
            connected_ms: self.connected_ms,
            sessions: self.sessions.clone(),
        }
    }

    fn is_here(&self) -> bool {
        matches!(self.state, State::Here)
    }

    /// Whether a connection may come at `now_ms` that began before the latest one. Which one that is, nobody
    /// can say when the device has been without one for long.
    fn may_come_late(&self, memory_ms: u64, now_ms: u64) -> bool {
        let gone_ms = self.forget_ms.map(|forget_ms| forget_ms.saturating_sub(memory_ms));
        gone_ms.is_none_or(|gone_ms| now_ms < gone_ms.saturating_add(LATE_MS))
    }
}

impl Logins {
    /// Nobody, with this policy.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            users: HashMap::new(),
            sessions: HashMap::new(),
            idle: Idle { memory_ms: policy.memory_ms(), queue: BTreeSet::new(), by_user: HashMap::new() },
            next_place: 0,
        }
    }

    /// A connection signs in at `now_ms`.
    pub fn sign_in(&mut self, sign_in: &SignIn<'_>, now_ms: u64) -> Outcome {
        let SignIn { session, user, device, generation, platform } = *sign_in;
        let class = Class::of_platform(platform);
        let place = self.next_place;
        let entries = self.users.entry(user.clone()).or_default();
        let mut ejected = Vec::new();
        // Whether the device is out and the one that has won is there.
        let is_out = match entries.get(device).map(|entry| &entry.state) {
            Some(State::Untold(PutOut { by: Some(winner), .. })) => {
                entries.get(winner).is_some_and(Entry::is_here)
            }
            Some(State::Untold(_)) => true,
            Some(State::Here | State::Gone(_)) | None => false,
        };
        let known = entries.get_mut(device);
        let memory_ms = self.idle.memory_ms;
        let generation = match &known {
            Some(entry) if generation == 0 => entry.generation.saturating_add(1),
            _ => generation,
        };
        match known {
            Some(entry) if generation < entry.generation && entry.may_come_late(memory_ms, now_ms) => {
                return Outcome::Refused(Reason::Replaced);
            }
            Some(entry) if generation == entry.generation && entry.is_here() => {
                self.idle.remove(entry, user);
                entry.sessions.push(session);
                if entry.sessions.len() > PATHS_MAX {
                    ejected.push(Ejected { session: entry.sessions.remove(0), reason: Reason::Replaced });
                }
            }
            // A path of a sign-in that is over.
            Some(entry) if generation == entry.generation => {
                return Outcome::Refused(match &entry.state {
                    State::Untold(put_out) => Reason::Kicked(put_out.reason.clone()),
                    State::Gone(reason) => reason.clone(),
                    State::Here => Reason::Replaced,
                });
            }
            Some(entry) => {
                entry.generation = generation;
                if let State::Untold(put_out) = &mut entry.state
                    && is_out
                {
                    // Untold still: the client may have left this connection.
                    put_out.sessions.push(session);
                    let reason = Reason::Kicked(put_out.reason.clone());
                    self.sessions.insert(session, (user.clone(), device.clone()));
                    return Outcome::Refused(reason);
                }
                if !entry.is_here() {
                    (entry.state, entry.place) = (State::Here, place);
                }
                self.idle.remove(entry, user);
                let before = std::mem::replace(&mut entry.sessions, vec![session]);
                ejected
                    .extend(before.into_iter().map(|session| Ejected { session, reason: Reason::Replaced }));
                (entry.class, entry.connected_ms) = (class, now_ms);
                platform.clone_into(&mut entry.platform);
            }
            None => {
                let entry = Entry {
                    device: device.clone(),
                    platform: platform.to_owned(),
                    class,
                    generation,
                    connected_ms: now_ms,
                    sessions: vec![session],
                    place,
                    state: State::Here,
                    forget_ms: None,
                };
                entries.insert(device.clone(), entry);
            }
        }
        self.next_place += 1;
        self.sessions.insert(session, (user.clone(), device.clone()));
        let winner = if platform.is_empty() { device.to_string() } else { format!("{device} ({platform})") };
        let reason = format!("signed in on {winner}");
        for loser in self.policy.losers(entries, device) {
            let put_out = PutOut { reason: reason.clone(), by: Some(device.clone()), sessions: Vec::new() };
            ejected.extend(self.idle.put_out(entries, user, &loser, put_out, now_ms));
        }
        Outcome::Admitted(ejected)
    }

    /// Whether a sign-in of a device would put out a connection of the same one.
    #[must_use]
    pub fn replaces(&self, user: &UserId, device: &DeviceId, generation: u64) -> bool {
        let entry = self.users.get(user).and_then(|entries| entries.get(device));
        entry.is_some_and(|entry| match entry.sessions.len() {
            0 => false,
            _ if generation == 0 || generation > entry.generation => true,
            paths => generation == entry.generation && paths >= PATHS_MAX,
        })
    }

    /// A connection that was admitted or refused has ended at `now_ms`.
    pub fn ended(&mut self, session: SessionId, end: End, now_ms: u64) {
        let Some((user, device)) = self.sessions.remove(&session) else { return };
        let Some(entries) = self.users.get_mut(&user) else { return };
        let Some(entry) = entries.get_mut(&device) else { return };
        let before = entry.sessions.len();
        entry.sessions.retain(|other| *other != session);
        let was_its = entry.sessions.len() < before;
        match &mut entry.state {
            State::Here if was_its && entry.sessions.is_empty() => {
                if end == End::Wanted {
                    entry.state = State::Gone(Reason::Replaced);
                }
                self.idle.add(entries, &user, &device, now_ms);
            }
            State::Untold(put_out) if put_out.sessions.contains(&session) => {
                put_out.sessions.retain(|other| *other != session);
                if end == End::Wanted {
                    entry.state = State::Gone(Reason::Kicked(put_out.reason.clone()));
                }
            }
            // One of before, which another one has replaced, or one of several paths.
            State::Here | State::Untold(_) | State::Gone(_) => {}
        }
    }

    /// Puts out a user's devices at `now_ms`, or one of them, with a text for people. Gives what is to be
    /// closed.
    pub fn kick(
        &mut self,
        user: &UserId,
        device: Option<&DeviceId>,
        reason: &str,
        now_ms: u64,
    ) -> Vec<Ejected> {
        let Some(entries) = self.users.get_mut(user) else { return Vec::new() };
        let here = entries.values().filter(|entry| entry.is_here());
        let meant: Vec<DeviceId> = here
            .filter(|entry| device.is_none_or(|device| entry.device == *device))
            .map(|entry| entry.device.clone())
            .collect();
        let mut ejected = Vec::new();
        for device in meant {
            let put_out = PutOut { reason: reason.to_owned(), by: None, sessions: Vec::new() };
            ejected.extend(self.idle.put_out(entries, user, &device, put_out, now_ms));
        }
        ejected
    }

    /// Forgets at `now_ms` what has been gone for long.
    pub fn expire(&mut self, now_ms: u64) {
        while let Some((user, device)) = self.idle.take_due(now_ms) {
            let Some(entries) = self.users.get_mut(&user) else { continue };
            entries.remove(&device);
            if entries.is_empty() {
                self.users.remove(&user);
            }
        }
    }

    /// A user's devices that are connected, or lost and expected back; the latest first.
    #[must_use]
    pub fn devices(&self, user: &UserId) -> Vec<Device> {
        let entries = self.users.get(user).into_iter().flat_map(Entries::values);
        let here = entries.filter(|entry| entry.is_here());
        let mut devices: Vec<Device> = here.map(Entry::device).collect();
        devices.sort_by_key(|device| std::cmp::Reverse(device.connected_ms));
        devices
    }

    /// One of a user's devices, connected or not.
    #[must_use]
    pub fn device(&self, user: &UserId, device: &DeviceId) -> Option<Device> {
        self.users.get(user)?.get(device).map(Entry::device)
    }

    /// Whether a device has a connection that stands.
    #[must_use]
    pub fn is_connected(&self, user: &UserId, device: &DeviceId) -> bool {
        self.device(user, device).is_some_and(|device| !device.sessions.is_empty())
    }

    /// Whose connection it is.
    #[must_use]
    pub fn of_session(&self, session: SessionId) -> Option<(&UserId, &DeviceId)> {
        self.sessions.get(&session).map(|(user, device)| (user, device))
    }

    /// How many connections there are, those that are being closed among them.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// How many users are known, those that have gone a moment ago among them.
    #[must_use]
    pub fn users(&self) -> usize {
        self.users.len()
    }
}
