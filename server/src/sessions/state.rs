//! What the lock protects, and the task that does what is due.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use quoth_core::login::{End, Logins, SessionId};
use quoth_core::presence::Presence;
use quoth_core::revocation::{Bearer, Revocations, Revoked};
use quoth_core::session::Identity;
use quoth_protocol::presence::Status;
use quoth_protocol::reply::SessionInfo;
use quoth_protocol::{Code, UserId};

use tokio::sync::mpsc;

use super::devices::{self, Gone};
use super::inbox::{Goodbye, Inbox};
use super::watches::Watches;
use super::{Inner, SessionsConfig, bearer};

/// The longest wait, so that a jump of the machine's clock is noticed, and what was revoked for a time is forgotten.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// How long devices that have gone gather before they are stored, in milliseconds: a flush for each of a thousand that lose their network
/// would be a thousand flushes.
const GATHER_MS: u64 = 1_000;

#[derive(Debug)]
pub(super) struct State {
    pub(super) logins: Logins,
    pub(super) revocations: Revocations,
    pub(super) presence: Presence,
    pub(super) watches: Watches,
    live: HashMap<SessionId, Live>,
    last_session: u64,
    gone: Gone,
    /// When devices that have gone are to be stored.
    store_ms: Option<u64>,
    /// Hears of every user whose status has changed.
    observer: Option<mpsc::UnboundedSender<UserId>>,
}

/// A signed-in connection.
#[derive(Debug)]
struct Live {
    inbox: Arc<Inbox>,
    token_id: Option<String>,
    issued_ms: u64,
}

impl State {
    pub(super) fn new(config: &SessionsConfig) -> Self {
        Self {
            logins: Logins::new(config.policy),
            revocations: Revocations::new(config.revocations_max),
            presence: Presence::new(config.leave_ms),
            watches: Watches::default(),
            live: HashMap::new(),
            last_session: 0,
            gone: Gone::new(),
            store_ms: None,
            observer: None,
        }
    }

    pub(super) fn observe(&mut self, observer: mpsc::UnboundedSender<UserId>) {
        self.observer = Some(observer);
    }

    pub(super) fn next_session(&mut self) -> SessionId {
        self.last_session += 1;
        SessionId(self.last_session)
    }

    pub(super) fn admit(&mut self, session: SessionId, identity: &Identity) -> Arc<Inbox> {
        let inbox = Arc::<Inbox>::default();
        let (token_id, issued_ms) = (identity.token_id.clone(), identity.issued_ms);
        self.live.insert(session, Live { inbox: Arc::clone(&inbox), token_id, issued_ms });
        inbox
    }

    pub(super) fn is_live(&self, session: SessionId) -> bool {
        self.live.contains_key(&session)
    }

    pub(super) fn eject(&self, session: SessionId, goodbye: Goodbye) {
        if let Some(live) = self.live.get(&session) {
            live.inbox.goodbye(goodbye);
        }
    }

    /// Tells all connections to end whose tokens are revoked; says how many.
    pub(super) fn eject_revoked(&self, reason: &str, now_ms: u64) -> usize {
        let mut count = 0;
        for (session, live) in &self.live {
            let Some((user, device)) = self.logins.of_session(*session) else { continue };
            let token_id = live.token_id.as_deref();
            let bearer = Bearer { user, device, token_id, issued_ms: live.issued_ms };
            if self.revocations.has(bearer, now_ms) && !live.inbox.has_goodbye() {
                live.inbox.goodbye(Goodbye { code: Code::TOKEN_REVOKED, reason: reason.to_owned() });
                count += 1;
            }
        }
        count
    }

    pub(super) fn refresh(
        &mut self,
        session: SessionId,
        identity: &Identity,
        now_ms: u64,
    ) -> Result<(), Goodbye> {
        let (Some(live), Some((_, device))) = (self.live.get_mut(&session), self.logins.of_session(session))
        else {
            return Ok(());
        };
        if self.revocations.has(bearer(identity, device), now_ms) {
            return Err(Goodbye { code: Code::TOKEN_REVOKED, reason: String::new() });
        }
        (live.token_id, live.issued_ms) = (identity.token_id.clone(), identity.issued_ms);
        Ok(())
    }

    /// Tells the observer, and the connections of a user, that the user's status has changed.
    pub(super) fn status_changed(&self, user: &UserId) {
        if let Some(observer) = &self.observer {
            let _nobody_hears_any_more = observer.send(user.clone());
        }
        self.rosters_changed(user);
    }

    /// Tells the connections of a user that the rosters where the user reads are others.
    pub(super) fn rosters_changed(&self, user: &UserId) {
        let sessions = self.logins.devices(user).into_iter().flat_map(|device| device.sessions);
        for live in sessions.filter_map(|session| self.live.get(&session)) {
            live.inbox.status();
        }
    }

    pub(super) fn ended(&mut self, session: SessionId, end: End, now_ms: u64) {
        let Some((user, device)) = self.logins.of_session(session) else { return };
        let (user, device) = (user.clone(), device.clone());
        let before = self.logins.device(&user, &device);
        self.logins.ended(session, end, now_ms);
        self.watches.gone(session);
        if self.live.remove(&session).is_none() || self.logins.is_connected(&user, &device) {
            return;
        }
        self.presence.go(&user, &device, now_ms);
        let Some(before) = before else { return };
        let info = SessionInfo {
            device: device.clone(),
            platform: before.platform,
            generation: before.generation,
            status: Status::Offline,
            connected_ms: before.connected_ms,
            last_seen_ms: now_ms,
        };
        self.gone.insert((user, device), info);
        self.store_ms.get_or_insert_with(|| now_ms.saturating_add(GATHER_MS));
    }

    pub(super) fn take_gone(&mut self) -> Gone {
        self.store_ms = None;
        std::mem::take(&mut self.gone)
    }

    /// Devices of a user that have gone and are not stored yet.
    pub(super) fn gone_of(&self, user: &UserId) -> Vec<SessionInfo> {
        let of_user = self.gone.iter().filter(|((of, _), _)| of == user);
        of_user.map(|(_, info)| info.clone()).collect()
    }

    /// Does what is due; gives what is to be forgotten of the revocations.
    fn expire(&mut self, now_ms: u64) -> Vec<Revoked> {
        self.logins.expire(now_ms);
        for change in self.presence.expire(now_ms) {
            self.watches.change(&change, now_ms);
            self.status_changed(&change.user);
        }
        self.watches.hand_over(now_ms);
        self.revocations.expire(now_ms)
    }

    /// How long nothing is due.
    fn wait(&self, now_ms: u64) -> Duration {
        let due_ms = [self.presence.due_ms(), self.watches.due_ms(), self.store_ms];
        let due_ms = due_ms.into_iter().flatten().min();
        let wait = due_ms.map(|due_ms| Duration::from_millis(due_ms.saturating_sub(now_ms)));
        wait.map_or(WAIT_MAX, |wait| wait.min(WAIT_MAX))
    }
}

/// Does what is due, for as long as somebody has the sessions.
pub(super) async fn run(sessions: Weak<Inner>) {
    loop {
        let Some(inner) = sessions.upgrade() else { return };
        let now_ms = inner.clock.unix_ms();
        let (over, gone) = {
            let mut state = inner.state.lock();
            let over = state.expire(now_ms);
            let stores = state.store_ms.is_some_and(|store_ms| store_ms <= now_ms);
            (over, if stores { state.take_gone() } else { Gone::new() })
        };
        forget(&inner, over).await;
        devices::keep(&*inner.keep(), gone).await;
        let wait = inner.state.lock().wait(inner.clock.unix_ms());
        // Without a hold on the sessions, so that they can end.
        let sooner = Arc::clone(&inner.sooner);
        drop(inner);
        let _sooner_or_not = tokio::time::timeout(wait, sooner.notified()).await;
    }
}

async fn forget(inner: &Inner, over: Vec<Revoked>) {
    if over.is_empty() {
        return;
    }
    if let Err(error) = inner.store(&over).await {
        tracing::warn!(
            error,
            "revocations that are over could not be removed from the store; they are without effect"
        );
    }
}
