//! Who is signed in, over all workers: which devices stay, whose tokens are revoked, who is there.
//!
//! The rules are the machines of `quoth_core` ([`login`](quoth_core::login),
//! [`revocation`](quoth_core::revocation), [`presence`](quoth_core::presence)). Here they share one lock, so
//! that a sign-in cannot slip through between a look at the revocations and its entry among the devices, and
//! whatever ends a connection is handed to its own task.

mod alive;
mod attendance;
mod changes;
mod clocks;
mod devices;
mod expected;
mod keep;
mod mailbox;
mod revoked;
mod state;
#[cfg(test)]
mod tests;
mod visits;
mod watches;

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, RwLock};
use quoth_core::login::{Device, Outcome, Policy, Reason, SignIn};
use quoth_core::revocation::{Bearer, Extent, InForce, Revoked};
use quoth_core::session::Identity;
use quoth_protocol::frame::Hello;
use quoth_protocol::presence::Status;
use quoth_protocol::reply::SessionInfo;
use quoth_protocol::{Code, ConversationName, DeviceId, UserId};
use tokio::sync::{Notify, mpsc};

use crate::engine::Statuses;
pub use alive::{Run, runs_in};
pub(crate) use attendance::Members;
pub use attendance::{Attendance, Refused, Watcher};
pub use clocks::Clocks;
pub(crate) use expected::{Arrival, Expected};
use keep::Closed;
pub use keep::{Keep, Kept, Nothing, Registers};
pub use mailbox::{Goodbye, Seen, Told};
pub use revoked::{Revocation, RevocationPlace, revoked_in};
use state::State;
use visits::{Until, Visit};

/// How the devices of a user get along, and what watchers hear.
#[derive(Debug, Clone)]
pub struct SessionsConfig {
    /// Which devices of one user may be signed in together.
    pub policy: Policy,
    /// How long a device that has gone is taken for there, in milliseconds.
    pub leave_ms: u64,
    /// Revocations in force at once.
    pub revocations_max: usize,
    /// How long a token may live, in milliseconds, if that is limited: so long a revocation of all tokens
    /// that were issued before some time has to be kept.
    pub token_lifetime_max_ms: Option<u64>,
}

impl Default for SessionsConfig {
    fn default() -> Self {
        Self { policy: Policy::All, leave_ms: 5_000, revocations_max: 100_000, token_lifetime_max_ms: None }
    }
}

/// How many there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Signed-in connections.
    pub connections: usize,
    /// Users of whom at least one device is connected, or was a moment ago.
    pub users: usize,
    /// Revocations in force.
    pub revocations: usize,
}

/// Why something could not be revoked.
#[derive(Debug, thiserror::Error)]
pub enum RevokeError {
    /// There are as many as there may be.
    #[error(transparent)]
    TooMany(#[from] quoth_core::revocation::TooMany),
    /// It is in force, and would not be after a restart.
    #[error("it is in force, but could not be stored: {0}")]
    NotStored(String),
}

/// All sessions of a server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Sessions(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    /// What those who watch others are to look at anew.
    changes: changes::Changes,
    /// Rings when something is due sooner than it was.
    sooner: Arc<Notify>,
    /// Rings when a device has come or gone, of which that is to be stored.
    went: Arc<Notify>,
    /// Rings when the next revocation may be over sooner than it was.
    revoked: Arc<Notify>,
    /// Held while devices that have gone are stored, so that what is stored of one last is the latest.
    storing: tokio::sync::Mutex<()>,
    keep: RwLock<Arc<dyn Keep>>,
    runs: alive::Runs,
    /// Held by who stores revocations.
    storing_revocations: tokio::sync::Mutex<()>,
    clocks: Clocks,
    config: SessionsConfig,
}

impl Sessions {
    /// Nobody yet. What is due later is done by a task of the current tokio runtime, for as long as somebody
    /// has this.
    #[must_use]
    pub fn start(config: SessionsConfig, keep: Arc<dyn Keep>, clocks: Clocks) -> Self {
        let inner = Arc::new(Inner {
            state: Mutex::new(State::new(&config)),
            changes: changes::Changes::default(),
            sooner: Arc::default(),
            went: Arc::default(),
            revoked: Arc::default(),
            storing: tokio::sync::Mutex::default(),
            keep: RwLock::new(keep),
            runs: alive::Runs::new(clocks.judged.unix_ms()),
            storing_revocations: tokio::sync::Mutex::default(),
            clocks,
            config,
        });
        tokio::spawn(state::run(Arc::downgrade(&inner)));
        tokio::spawn(devices::run(Arc::downgrade(&inner)));
        tokio::spawn(revoked::run(Arc::downgrade(&inner)));
        tokio::spawn(alive::run(Arc::downgrade(&inner)));
        Self(inner)
    }

    /// Puts back what was [revoked](revoked_in) before a restart, and when the server [was there](runs_in)
    /// before crashes.
    pub fn restore(&self, revoked: &[(Revoked, Vec<InForce>)], runs: &[Run]) {
        self.0.runs.restore(runs);
        let mut state = self.0.state.lock();
        for (revoked, in_force) in revoked {
            state.revocations.restore(revoked, in_force);
        }
        drop(state);
        self.0.revoked.notify_one();
    }

    /// A connection has shown a good token at `machine_ms`, in milliseconds since 1970 by the machine's clock, and
    /// is the one that was `expected` if a hook was asked about it. It is so until it is in: under one lock
    /// with the sign-in, so that no kick comes between the two.
    ///
    /// # Errors
    /// When it may not stay.
    pub(crate) fn sign_in(
        &self,
        identity: &Identity,
        hello: &Hello,
        expected: Option<&Expected>,
        machine_ms: u64,
    ) -> Result<Attendance, Box<Refused>> {
        let (user, device) = (&identity.grant.user, &hello.device);
        let mut state = self.0.state.lock();
        if let Some(reason) = expected.and_then(|expected| state.comes(expected)) {
            let goodbye = Goodbye::new(Code::KICKED, reason);
            return Err(Box::new(Refused { goodbye, attendance: None }));
        }
        if let Some(goodbye) = state.revoked(bearer(identity, device), machine_ms) {
            return Err(Box::new(Refused { goodbye, attendance: None }));
        }
        let session = state.next_session();
        let judged_ms = self.0.now_ms();
        let sign_in =
            SignIn { session, user, device, generation: hello.generation, platform: &hello.platform };
        match state.logins.sign_in(&sign_in, judged_ms) {
            Outcome::Admitted(ejected) => {
                for ejected in ejected {
                    state.eject(ejected.session, goodbye(ejected.reason));
                }
                let mailbox = state.admit(session, identity);
                state.came(user, device, judged_ms);
                let change = state.presence.come(user, device, judged_ms);
                self.tell(&mut state, change, judged_ms);
                drop(state);
                self.0.went.notify_one();
                Ok(Attendance::new(self.clone(), session, mailbox))
            }
            Outcome::Refused(reason) => {
                drop(state);
                let attendance = matches!(reason, Reason::Kicked(_))
                    .then(|| Attendance::new(self.clone(), session, Arc::default()));
                Err(Box::new(Refused { goodbye: goodbye(reason), attendance }))
            }
        }
    }

    /// Whether a connection that says this would put out one of the same device.
    pub(crate) fn replaces(&self, user: &UserId, hello: &Hello) -> bool {
        self.0.state.lock().logins.replaces(user, &hello.device, hello.generation)
    }

    /// A user's devices that are connected, or lost and expected back; the latest first.
    #[must_use]
    pub fn devices(&self, user: &UserId) -> Vec<Device> {
        self.0.state.lock().logins.devices(user)
    }

    /// A user's devices for a [`Reply`](quoth_protocol::reply::Reply): those that are connected, and those
    /// that were before.
    pub async fn session_infos(&self, user: &UserId) -> Vec<SessionInfo> {
        // First, so that none is missed that is stored meanwhile.
        let known = self.0.state.lock().visits.of(user);
        let before = self.merged(known.clone(), self.stored(user).await);
        let state = self.0.state.lock();
        let now_ms = self.0.now_ms();
        let mut infos: Vec<SessionInfo> = state
            .logins
            .devices(user)
            .into_iter()
            .filter(|device| !device.sessions.is_empty())
            .map(|device| SessionInfo {
                status: state.presence.of_device(user, &device.device),
                device: device.device,
                platform: device.platform,
                generation: device.generation,
                connected_ms: device.connected_ms,
                last_seen_ms: now_ms,
            })
            .collect();
        let meanwhile = state.visits.of(user);
        drop(state);
        // Some have gone since they were looked up, and of others the end is not noted yet.
        let as_seen = |visit: Visit| match visit.until {
            Until::Gone(gone_ms) => visit.info(gone_ms),
            Until::There => visit.info(now_ms),
        };
        let (meanwhile, known) = (meanwhile.into_values().map(as_seen), known.into_values().map(as_seen));
        let connected = infos.len();
        for info in meanwhile.chain(before).chain(known) {
            if infos.iter().all(|other| other.device != info.device) {
                infos.push(info);
            }
        }
        infos[connected..].sort_by_key(|info| std::cmp::Reverse(info.last_seen_ms));
        infos
    }

    /// The same devices, with the statuses that [`status`](Self::status) is made of: one that has just gone is
    /// what it was, until that is told.
    pub async fn devices_as_told(&self, user: &UserId) -> Vec<SessionInfo> {
        let mut infos = self.session_infos(user).await;
        let state = self.0.state.lock();
        for info in &mut infos {
            info.status = state.presence.of_device_as_told(user, &info.device);
        }
        infos
    }

    /// What is stored of a user's devices.
    async fn stored(&self, user: &UserId) -> Vec<Visit> {
        devices::load(&*self.0.keep(), user).await.unwrap_or_else(|error| {
            tracing::warn!(%user, error, "the devices of before cannot be read");
            Vec::new()
        })
    }

    /// What is known of a user's devices beside what is stored of them.
    fn merged(&self, known: HashMap<DeviceId, Visit>, stored: Vec<Visit>) -> Vec<SessionInfo> {
        let stored = stored.into_iter().filter(|visit| !known.contains_key(&visit.device));
        let stored: Vec<_> = stored
            .map(|visit| {
                let last_seen_ms = devices::last_seen_ms(&visit, &self.0.runs);
                visit.info(last_seen_ms)
            })
            .collect();
        // Of who is there it is known elsewhere.
        let gone = known.into_values().filter_map(|visit| match visit.until {
            Until::Gone(gone_ms) => Some(visit.info(gone_ms)),
            Until::There => None,
        });
        stored.into_iter().chain(gone).collect()
    }

    /// Puts out a user's devices, or one of them, with a reason for people. Says how many connections that
    /// closes, those included that a hook is asked about.
    pub fn kick(&self, user: &UserId, device: Option<&DeviceId>, reason: &str) -> usize {
        let mut state = self.0.state.lock();
        let ejected = state.logins.kick(user, device, reason, self.0.now_ms());
        let count = ejected.len() + state.kick_expected(user, device, reason);
        for ejected in ejected {
            state.eject(ejected.session, goodbye(ejected.reason));
        }
        count
    }

    /// Revokes something at `now_ms` and closes what it concerns, with a reason for people, which those are
    /// told too that come later. It is in force when this is first polled, and stored when it is ready. Of what
    /// was revoked before it ends nothing, and where that goes further, it adds nothing.
    ///
    /// # Errors
    /// When there are too many, and when it could not be stored.
    pub async fn revoke(
        &self,
        revoked: &Revoked,
        extent: Extent,
        reason: &str,
        now_ms: u64,
    ) -> Result<Revocation, RevokeError> {
        let extent = self.bounded(extent);
        let revocation = {
            let mut state = self.0.state.lock();
            let covered_by = state.revocations.revoke(revoked, extent, reason)?;
            let in_force = state.revocations.of(revoked).to_vec();
            Revocation { closed: state.eject_revoked(revoked, now_ms), in_force, covered_by }
        };
        self.0.revoked.notify_one();
        self.0.store(std::slice::from_ref(revoked)).await.map_err(RevokeError::NotStored)?;
        Ok(revocation)
    }

    /// A page of what is revoked, in the order of its [places](RevocationPlace), and the last one's place if
    /// there may be further ones.
    ///
    /// # Errors
    /// When it cannot be read, as a sentence.
    pub async fn revocations(
        &self,
        after: Option<&RevocationPlace>,
        limit: usize,
        now_ms: u64,
    ) -> Result<(Vec<(Revoked, InForce)>, Option<RevocationPlace>), String> {
        revoked::page(&*self.0.keep(), after, limit, now_ms).await
    }

    /// Ends all revocations of something. Says whether there were any.
    ///
    /// # Errors
    /// When that could not be stored.
    pub async fn lift(&self, revoked: &Revoked) -> Result<bool, RevokeError> {
        let was = self.0.state.lock().revocations.lift(revoked);
        self.0.store(std::slice::from_ref(revoked)).await.map_err(RevokeError::NotStored)?;
        Ok(was)
    }

    /// Where tokens live so long at most, those that were issued before a time are gone after it by as much.
    fn bounded(&self, extent: Extent) -> Extent {
        let issued = Some(extent.issued_before_ms).filter(|before_ms| *before_ms < u64::MAX);
        let over_ms = issued.zip(self.0.config.token_lifetime_max_ms).map(|(before_ms, lives_ms)| {
            before_ms.saturating_add(lives_ms).saturating_add(crate::auth::LEEWAY_S * 1_000)
        });
        Extent { over_ms: over_ms.map_or(extent.over_ms, |over_ms| over_ms.min(extent.over_ms)), ..extent }
    }

    /// Whether a user is there, and when a device was last connected, in milliseconds since 1970; 0 when none
    /// ever was.
    pub async fn status(&self, user: &UserId) -> (Status, u64) {
        self.statuses_of(&[user]).await[0]
    }

    /// The same of several users, in their order. Of those who are not there the store is asked once.
    pub async fn statuses_of(&self, users: &[&UserId]) -> Vec<(Status, u64)> {
        let (present, known): (Vec<_>, Vec<_>) = {
            let state = self.0.state.lock();
            let now_ms = self.0.now_ms();
            let of = |user: &&UserId| (state.presence.of(user, now_ms), state.visits.of(user));
            users.iter().map(of).unzip()
        };
        let others: Vec<&UserId> = users
            .iter()
            .zip(&present)
            .filter(|(_, present)| present.is_none())
            .map(|(user, _)| *user)
            .collect();
        let mut stored = Vec::new();
        if !others.is_empty() {
            stored = devices::load_each(&*self.0.keep(), &others).await.unwrap_or_else(|error| {
                tracing::warn!(users = others.len(), error, "when users were last there cannot be read");
                Vec::new()
            });
        }
        let mut stored = stored.into_iter();
        let status = |(present, known): (Option<(Status, u64)>, _)| {
            present.unwrap_or_else(|| {
                let before = self.merged(known, stored.next().unwrap_or_default());
                let last_seen_ms = before.iter().map(|info| info.last_seen_ms).max().unwrap_or_default();
                (Status::Offline, last_seen_ms)
            })
        };
        present.into_iter().zip(known).map(status).collect()
    }

    /// When it is told that somebody has gone who was last there at `last_seen_ms`, both in milliseconds
    /// since 1970.
    pub(crate) fn leaves_ms(&self, last_seen_ms: u64) -> u64 {
        last_seen_ms.saturating_add(self.0.config.leave_ms)
    }

    /// Whether a user is there, as far as it is known without asking the store.
    #[must_use]
    pub fn status_now(&self, user: &UserId) -> Status {
        self.0.state.lock().presence.of(user, self.0.now_ms()).map_or(Status::Offline, |(status, _)| status)
    }

    /// Tells of every user whose status has changed from now on, in place of whom it was told before.
    pub(crate) fn observe(&self) -> mpsc::UnboundedReceiver<UserId> {
        let (observer, observed) = mpsc::unbounded_channel();
        self.0.state.lock().observe(observer);
        observed
    }

    /// How many there are.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let state = self.0.state.lock();
        Counts {
            connections: state.logins.sessions(),
            users: state.presence.users(),
            revocations: state.revocations.len(),
        }
    }

    /// Forgets the devices that a user has had, and so when the user was last seen. Those that are connected
    /// are remembered when they go.
    ///
    /// # Errors
    /// When it could not be stored.
    pub(crate) async fn forget(&self, user: &UserId) -> Result<(), String> {
        devices::forget(&self.0, user).await
    }

    /// Stores what waits to be stored and lets go of the store. To be called at the end, when all connections
    /// are gone.
    pub async fn close(&self) {
        devices::store(&self.0).await;
        alive::end(&self.0).await;
        *self.0.keep.write() = Arc::new(Closed);
    }

    /// What tells rosters who is there.
    pub(crate) fn statuses(&self) -> Arc<dyn Statuses> {
        Arc::new(WeakSessions(Arc::downgrade(&self.0)))
    }

    fn tell(&self, state: &mut State, change: Option<quoth_core::presence::Change>, now_ms: u64) {
        if let Some(change) = change {
            state.watches.change(&change, now_ms);
            state.status_changed(&change.user);
            self.0.sooner.notify_one();
        }
    }
}

impl Inner {
    /// By which it is judged who is there, in milliseconds since 1970.
    fn now_ms(&self) -> u64 {
        self.clocks.judged.unix_ms()
    }

    fn keep(&self) -> Arc<dyn Keep> {
        Arc::clone(&self.keep.read())
    }

    /// Stores what is in force of these. It is looked at by one after the other, so what is stored last is
    /// what is in force, in whatever order they come here.
    async fn store(&self, changed: &[Revoked]) -> Result<(), String> {
        let _storing = self.storing_revocations.lock().await;
        let registers = {
            let state = self.state.lock();
            changed.iter().map(|it| revoked::register(it, state.revocations.of(it))).collect()
        };
        self.keep().keep(ConversationName::server(), registers).await
    }
}

/// Sessions for an engine, which they may have themselves.
#[derive(Debug)]
struct WeakSessions(Weak<Inner>);

impl Statuses for WeakSessions {
    fn of(&self, user: &UserId) -> Status {
        self.0.upgrade().map_or(Status::Online, |inner| Sessions(inner).status_now(user))
    }

    fn members_changed(&self, conversation: &ConversationName) {
        let Some(inner) = self.0.upgrade() else { return };
        inner.changes.members_changed(conversation);
        inner.sooner.notify_one();
    }

    fn block_changed(&self, user: &UserId) {
        let Some(inner) = self.0.upgrade() else { return };
        inner.changes.blocks_changed(user);
        inner.sooner.notify_one();
    }
}

fn goodbye(reason: Reason) -> Goodbye {
    match reason {
        Reason::Replaced => Goodbye::new(Code::REPLACED, "this device has signed in again".to_owned()),
        Reason::Kicked(reason) => Goodbye::new(Code::KICKED, reason),
    }
}

fn bearer<'a>(identity: &'a Identity, device: &'a DeviceId) -> Bearer<'a> {
    Bearer {
        user: &identity.grant.user,
        device,
        token_id: identity.token_id.as_deref(),
        issued_ms: identity.issued_ms,
    }
}
