//! What the lock protects, and the task that does what is due.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use quoth_core::login::{Device, End, Logins, SessionId};
use quoth_core::presence::Presence;
use quoth_core::revocation::{Bearer, Revocations, Revoked};
use quoth_core::session::Identity;
use quoth_protocol::{Code, DeviceId, UserId};

use tokio::sync::mpsc;

use crate::auth::LEEWAY_S;

use super::changes::Changed;
use super::expected::{Arrivals, Waiting};
use super::mailbox::{Goodbye, Mailbox};
use super::visits::{Until, Visit, Visits};
use super::watches::Watches;
use super::{Inner, SessionsConfig, bearer};

/// The longest wait, so that a jump of the machine's clock is noticed.
const WAIT_MAX: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct State {
    pub(super) logins: Logins,
    pub(super) revocations: Revocations,
    pub(super) presence: Presence,
    pub(super) watches: Watches,
    live: HashMap<SessionId, Live>,
    /// Which of them have a token of this id.
    of_token: HashMap<String, HashSet<SessionId>>,
    last_session: u64,
    /// Those of whom it is not known yet who they are.
    pub(super) arrivals: Arrivals,
    /// Those that a hook is asked about.
    pub(super) expected: HashMap<SessionId, Waiting>,
    /// Those that have come or gone since that was stored.
    pub(super) visits: Visits,
    /// The time by which something was done last, in milliseconds since 1970.
    latest_ms: u64,
    /// Hears of every user whose status has changed.
    observer: Option<mpsc::UnboundedSender<UserId>>,
}

/// A signed-in connection.
#[derive(Debug)]
struct Live {
    mailbox: Arc<Mailbox>,
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
            of_token: HashMap::new(),
            last_session: 0,
            arrivals: Arrivals::default(),
            expected: HashMap::new(),
            visits: Visits::default(),
            latest_ms: 0,
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

    pub(super) fn admit(&mut self, session: SessionId, identity: &Identity) -> Arc<Mailbox> {
        let mailbox = Arc::<Mailbox>::default();
        let (token_id, issued_ms) = (identity.token_id.clone(), identity.issued_ms);
        self.has_token(session, token_id.as_ref());
        self.live.insert(session, Live { mailbox: Arc::clone(&mailbox), token_id, issued_ms });
        mailbox
    }

    fn has_token(&mut self, session: SessionId, token_id: Option<&String>) {
        if let Some(token_id) = token_id {
            self.of_token.entry(token_id.clone()).or_default().insert(session);
        }
    }

    fn has_token_no_more(&mut self, session: SessionId, token_id: Option<&String>) {
        if let Some(token_id) = token_id
            && let Some(sessions) = self.of_token.get_mut(token_id)
        {
            sessions.remove(&session);
            if sessions.is_empty() {
                self.of_token.remove(token_id);
            }
        }
    }

    pub(super) fn is_live(&self, session: SessionId) -> bool {
        self.live.contains_key(&session)
    }

    pub(super) fn eject(&self, session: SessionId, goodbye: Goodbye) {
        if let Some(live) = self.live.get(&session) {
            live.mailbox.goodbye(goodbye);
        }
    }

    /// Tells the connections to end that a new revocation concerns; says how many. Only those are looked at
    /// that it can concern: there may be many others, for which the lock is held meanwhile.
    pub(super) fn eject_revoked(&self, revoked: &Revoked, now_ms: u64) -> usize {
        let concerned: Vec<SessionId> = match revoked {
            // Those that have to end for another reason know it already.
            Revoked::User { user, .. } => {
                self.logins.devices(user).into_iter().flat_map(|device| device.sessions).collect()
            }
            Revoked::Token { id } => self.of_token.get(id).into_iter().flatten().copied().collect(),
        };
        let mut count = 0;
        for session in concerned {
            let Some(live) = self.live.get(&session) else { continue };
            let Some((user, device)) = self.logins.of_session(session) else { continue };
            let token_id = live.token_id.as_deref();
            let bearer = Bearer { user, device, token_id, issued_ms: live.issued_ms };
            if let Some(goodbye) = self.revoked(bearer, now_ms).filter(|_| !live.mailbox.has_goodbye()) {
                live.mailbox.goodbye(goodbye);
                count += 1;
            }
        }
        count
    }

    /// What the bearer of a revoked token is told: why, and how long new ones are refused, too, where that is
    /// for the sake of the issuer's clock alone.
    pub(super) fn revoked(&self, bearer: Bearer<'_>, now_ms: u64) -> Option<Goodbye> {
        let reason = self.revocations.against(bearer, now_ms)?.to_string();
        let good_in_ms = self.revocations.good_in_ms(bearer, now_ms);
        let retry_after_ms = if good_in_ms <= LEEWAY_S * 1_000 { good_in_ms } else { 0 };
        let retry_after_ms = u32::try_from(retry_after_ms).unwrap_or_default();
        Some(Goodbye { retry_after_ms, ..Goodbye::new(Code::TOKEN_REVOKED, reason) })
    }

    pub(super) fn refresh(
        &mut self,
        session: SessionId,
        identity: &Identity,
        now_ms: u64,
        judged_ms: u64,
    ) -> Result<(), Goodbye> {
        let Some((_, device)) = self.logins.of_session(session) else { return Ok(()) };
        if let Some(goodbye) = self.revoked(bearer(identity, device), now_ms) {
            return Err(goodbye);
        }
        let Some(live) = self.live.get_mut(&session) else { return Ok(()) };
        live.issued_ms = identity.issued_ms;
        let before = std::mem::replace(&mut live.token_id, identity.token_id.clone());
        self.has_token_no_more(session, before.as_ref());
        self.has_token(session, identity.token_id.as_ref());
        // What the token before allowed to watch, this one may not.
        self.watches.review_all(session, judged_ms);
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
            live.mailbox.status();
        }
    }

    /// A device has come at `now_ms`. It is stored as one that is there, so that it was there behind a crash
    /// too.
    pub(super) fn came(&mut self, user: &UserId, device: &DeviceId, now_ms: u64) {
        let Some(came) = self.logins.device(user, device) else { return };
        self.visits.add(user, visit(came, Until::There), now_ms);
    }

    pub(super) fn ended(&mut self, session: SessionId, end: End, now_ms: u64) {
        let Some((user, device)) = self.logins.of_session(session) else { return };
        let (user, device) = (user.clone(), device.clone());
        let before = self.logins.device(&user, &device);
        self.logins.ended(session, end, now_ms);
        self.watches.gone(session);
        let Some(live) = self.live.remove(&session) else { return };
        self.has_token_no_more(session, live.token_id.as_ref());
        if self.logins.is_connected(&user, &device) {
            return;
        }
        self.presence.go(&user, &device, now_ms);
        let Some(before) = before else { return };
        self.visits.add(&user, visit(before, Until::Gone(now_ms)), now_ms);
    }

    /// Whoever watches others is to look anew whom. Nothing that this concerns is handed over from here on
    /// until that is known.
    pub(super) fn changed(&mut self, Changed { conversations, users }: Changed, now_ms: u64) {
        for conversation in conversations {
            self.watches.review(conversation);
        }
        for user in users {
            for session in self.logins.devices(&user).into_iter().flat_map(|device| device.sessions) {
                self.watches.review_all(session, now_ms);
            }
            self.rosters_changed(&user);
        }
    }

    /// Does what is due.
    fn expire(&mut self, now_ms: u64) {
        // By more than a day, or the judged time would not have gone back.
        if now_ms < self.latest_ms {
            self.presence.set_back(now_ms);
            self.visits.set_back(now_ms);
            self.watches.set_back(now_ms);
        }
        self.latest_ms = now_ms;
        self.logins.expire(now_ms);
        for change in self.presence.expire(now_ms) {
            self.watches.change(&change, now_ms);
            self.status_changed(&change.user);
        }
        self.watches.hand_over(now_ms);
    }

    /// How long nothing is due.
    fn wait(&self, now_ms: u64) -> Duration {
        let due_ms = [self.presence.due_ms(), self.watches.due_ms()];
        let due_ms = due_ms.into_iter().flatten().min();
        until(due_ms, now_ms)
    }
}

fn visit(Device { device, platform, generation, connected_ms, sessions: _ }: Device, until: Until) -> Visit {
    Visit { device, platform, generation, connected_ms, until }
}

/// How long it is to a time, and not longer than [`WAIT_MAX`].
pub(super) fn until(due_ms: Option<u64>, now_ms: u64) -> Duration {
    let wait = due_ms.map(|due_ms| Duration::from_millis(due_ms.saturating_sub(now_ms)));
    wait.map_or(WAIT_MAX, |wait| wait.min(WAIT_MAX))
}

/// Does what is due, for as long as somebody has the sessions.
pub(super) async fn run(sessions: Weak<Inner>) {
    loop {
        let Some(inner) = sessions.upgrade() else { return };
        let wait = {
            let mut state = inner.state.lock();
            let now_ms = inner.now_ms();
            state.changed(inner.changes.take(), now_ms);
            let is_spread = state.watches.spread(now_ms);
            state.expire(now_ms);
            if is_spread { state.wait(inner.now_ms()) } else { Duration::ZERO }
        };
        // Without a hold on the sessions, so that they can end.
        let sooner = Arc::clone(&inner.sooner);
        drop(inner);
        if wait.is_zero() {
            // Others have their turn, and the lock.
            tokio::task::yield_now().await;
            continue;
        }
        let _sooner_or_not = tokio::time::timeout(wait, sooner.notified()).await;
    }
}
