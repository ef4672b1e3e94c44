//! `/v1/users/{user}/erasure`: what there is of a user goes, everywhere. It goes on behind a restart, and
//! says how far it is and what stays.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use bytes::Bytes;
use parking_lot::Mutex;
use quoth_core::membership::Refusal;
use quoth_protocol::{Code, ConversationName, UserId};
use quoth_store::ViewError;
use serde_json::json;
use tokio::sync::{Notify, oneshot};

use super::erasing::{Erasure, PREFIX, Work, decode, key_of};
use super::keys::Scope;
use super::operation::{Answer, Call, Operation, Operations};
use super::problem::Problem;
use crate::engine::Engine;
use crate::session::Service;

/// How long an erasure waits that cannot go on for now, before it is tried again: at first, and at most.
const RETRY_MIN: Duration = Duration::from_secs(60);
const RETRY_MAX: Duration = Duration::from_secs(3_600);

/// Users who are told to be under erasure, at most.
pub(super) const ERASING_MAX: usize = 100;

/// Records of erasures that are read at once.
const RECORDS_PAGE: usize = 1_000;

/// What no erasure takes, for whoever has to account for it.
const STAYS: [&str; 7] = [
    "the user id where events name it: as the sender of what is no message, as who came, went, was muted or banned, in others' mentions and blocks",
    "of messages their place, time and size, and of reactions the events that they were given and taken back, with their text, until retention takes them",
    "titles that the user gave to conversations, and direct conversations with what the others wrote there",
    "membership where the user is the last owner of others (`owner_of`): make somebody else owner and erase again",
    "revocations of the user's tokens, which keep the user out, and this record",
    "backups that were made before, until they are deleted",
    "what backends were told by hooks and events, and what clients keep themselves",
];

/// The erasures of a server. Cheap to clone.
#[derive(Clone)]
pub(super) struct Erasures {
    service: Service,
    under_way: Arc<Mutex<HashMap<UserId, Erasure>>>,
    /// Held by whoever may begin one: of two who ask at once only one does.
    beginning: Arc<tokio::sync::Mutex<()>>,
    /// Rings when somebody asks for one: none waits any longer.
    asked: Arc<Notify>,
}

impl Erasures {
    fn new(service: Service) -> Self {
        let (under_way, beginning, asked) = Default::default();
        Self { service, under_way, beginning, asked }
    }

    /// Goes on with those that a stop of the server has interrupted, on the current runtime.
    pub(super) fn resume(service: Service) -> Self {
        let erasures = Self::new(service);
        let (resumed, phase) = (erasures.clone(), erasures.service.phase.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = resumed.begin_outstanding() => {}
                _ = phase.next(false) => {}
            }
        });
        erasures
    }

    /// Begins those that are stored and not done, as soon as it can be read which these are.
    async fn begin_outstanding(&self) {
        while let Err(error) = self.begin_stored().await {
            tracing::error!(%error, pause_s = RETRY_MIN.as_secs(), "it is not known of all users whether they are to be erased, and looked for again");
            tokio::time::sleep(RETRY_MIN).await;
        }
    }

    /// Begins those that are stored and not done, but for what cannot be read.
    async fn begin_stored(&self) -> Result<(), ViewError> {
        let damaged = |key: &[u8]| {
            let key = String::from_utf8_lossy(key);
            tracing::error!(%key, "the record of an erasure does not decode: ask for it again");
        };
        let mut begun = Ok(());
        for user in outstanding(&self.service.engine, damaged).await? {
            begun = self.go_on(user).await.and(begun);
        }
        begun
    }

    /// Goes on with one that is stored and has not ended, unless that is under way already.
    async fn go_on(&self, user: UserId) -> Result<(), ViewError> {
        let _alone = self.beginning.lock().await;
        if self.under_way.lock().contains_key(&user) {
            return Ok(());
        }
        match self.stored(&user).await? {
            Some(erasure) if erasure.done_ms == 0 => self.begin(user, erasure),
            _ => {}
        }
        Ok(())
    }

    /// Begins one, or goes on with the one that has not ended, also when whoever asks waits for it no longer:
    /// one that is stored is under way.
    async fn ask(&self, user: &UserId, by: &UserId) -> Result<Erasure, Problem> {
        let (tells, told) = oneshot::channel();
        let (erasures, phase) = (self.clone(), self.service.phase.clone());
        let (user, by) = (user.clone(), by.clone());
        tokio::spawn(async move {
            tokio::select! {
                erasure = erasures.begin_or_go_on(&user, &by) => drop(tells.send(erasure)),
                _ = phase.next(false) => {}
            }
        });
        told.await.unwrap_or_else(|_| Err(Problem::overloaded("the server ends: ask again")))
    }

    /// Begins one, or goes on with the one that has not ended. None waits any longer.
    async fn begin_or_go_on(&self, user: &UserId, by: &UserId) -> Result<Erasure, Problem> {
        let _alone = self.beginning.lock().await;
        let under_way = self.under_way.lock().get(user).cloned();
        let erasure = match under_way {
            // It says itself how far it is: what was known of that a moment ago must not come behind its end.
            Some(erasure) => Erasure { waits_for: None, ..erasure },
            None => {
                let engine = &self.service.engine;
                let stored = self.stored(user).await.map_err(|error| unreadable(&error))?;
                let erasure = match stored {
                    Some(erasure) if erasure.done_ms == 0 => erasure,
                    Some(done) => done.again(engine.judged_ms(), by.clone()),
                    None => Erasure::begun(engine.judged_ms(), by.clone()),
                };
                // Stored before it is said to have begun.
                let noted = Work { engine, user, tell: &|_| {} }.note(&erasure).await;
                noted.map_err(|refusal| Problem::of(refusal.code, refusal.retry_after_ms, refusal.reason))?;
                self.begin(user.clone(), erasure.clone());
                erasure
            }
        };
        self.asked.notify_waiters();
        Ok(erasure)
    }

    /// Begins or goes on with one that is not under way.
    fn begin(&self, user: UserId, erasure: Erasure) {
        self.under_way.lock().insert(user.clone(), erasure.clone());
        let (erasures, phase) = (self.clone(), self.service.phase.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = erasures.finish(&user, erasure) => {}
                _ = phase.next(false) => {}
            }
        });
    }

    /// Tries until all of it is absent.
    async fn finish(&self, user: &UserId, mut erasure: Erasure) {
        let mut pause = RETRY_MIN;
        loop {
            // Whoever asks while it runs may have mended what it fails at.
            let asked = self.asked.notified();
            let why = match self.run(user, &mut erasure).await {
                Ok(()) if erasure.done_ms > 0 => return,
                Ok(()) => "what some conversations have of the user cannot be read (`skipped`)",
                Err(Refusal { reason, .. }) => reason,
            };
            tracing::error!(%user, why, pause_s = pause.as_secs(), "an erasure waits, and is tried again");
            erasure.waits_for = Some(why.to_owned());
            self.under_way.lock().insert(user.clone(), erasure.clone());
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = RETRY_MAX.min(pause * 2),
                () = asked => pause = RETRY_MIN,
            }
            erasure.waits_for = None;
            self.under_way.lock().insert(user.clone(), erasure.clone());
        }
    }

    async fn run(&self, user: &UserId, erasure: &mut Erasure) -> Result<(), Refusal> {
        let engine = &self.service.engine;
        let tell = |erasure: &Erasure| {
            self.under_way.lock().insert(user.clone(), erasure.clone());
        };
        let work = Work { engine, user, tell: &tell };
        if !erasure.is_looked_through {
            work.look_through(erasure).await?;
            // Before its devices are forgotten, which it has too.
            erasure.found |= engine.has_own_log(user).await.map_err(|error| {
                tracing::error!(%error, "what there is of a user cannot be read");
                Refusal::new(Code::STORE_FAILED, "what there is of the user cannot be read")
            })?;
            self.take_own(user).await?;
            erasure.is_looked_through = true;
            work.note(erasure).await?;
        }
        if !erasure.skipped.is_empty() {
            work.look_again(erasure).await?;
            if !erasure.skipped.is_empty() {
                return Ok(());
            }
            // What has become of the user there is told in the user's own log.
            self.take_own(user).await?;
        }
        erasure.done_ms = engine.judged_ms();
        if let Err(refusal) = work.note(erasure).await {
            erasure.done_ms = 0;
            return Err(refusal);
        }
        self.under_way.lock().remove(user);
        tracing::info!(%user, messages = erasure.messages, "a user is erased");
        Ok(())
    }

    /// What there is of the user beside conversations.
    async fn take_own(&self, user: &UserId) -> Result<(), Refusal> {
        self.service.sessions.forget(user).await.map_err(|error| {
            tracing::error!(error, "a user's devices are not forgotten");
            Refusal::new(Code::STORE_FAILED, "the user's devices are not forgotten")
        })?;
        self.service.engine.erase_own_log(user).await
    }

    /// How far it is.
    async fn progress(&self, user: &UserId) -> Result<Option<Erasure>, Problem> {
        let under_way = self.under_way.lock().get(user).cloned();
        match under_way {
            Some(erasure) => Ok(Some(erasure)),
            None => self.stored(user).await.map_err(|error| unreadable(&error)),
        }
    }

    /// How far it was when that was stored last.
    async fn stored(&self, user: &UserId) -> Result<Option<Erasure>, ViewError> {
        let key: Bytes = key_of(user).into();
        let stored = self.service.engine.register(ConversationName::server(), key.clone()).await?;
        Ok(stored.and_then(|value| decode(&key, &value)).map(|(_, erasure)| erasure))
    }
}

fn unreadable(error: &ViewError) -> Problem {
    tracing::error!(%error, "an erasure cannot be read");
    Problem::of(Code::STORE_FAILED, 0, "it cannot be read: see the server's log")
}

/// Whose erasures are stored and go on. Hears of records that are none any more.
///
/// # Errors
/// When the view cannot be read.
async fn outstanding(engine: &Engine, damaged: impl Fn(&[u8])) -> Result<Vec<UserId>, ViewError> {
    erasures_that(engine, usize::MAX, |erasure| erasure.done_ms == 0, damaged).await
}

/// Whose erasures are such, the first `max` of them. Hears of records that are none any more.
///
/// # Errors
/// When the view cannot be read.
async fn erasures_that(
    engine: &Engine,
    max: usize,
    are_such: impl Fn(&Erasure) -> bool,
    damaged: impl Fn(&[u8]),
) -> Result<Vec<UserId>, ViewError> {
    let (mut users, mut after) = (Vec::new(), None);
    loop {
        let page = engine.registers_after(ConversationName::server(), PREFIX, after, RECORDS_PAGE).await?;
        let is_last = page.len() < RECORDS_PAGE;
        after = page.last().map(|(key, _)| key.clone());
        for (key, value) in page {
            match decode(&key, &value) {
                Some((user, erasure)) if are_such(&erasure) => users.push(user),
                Some(_) => {}
                None => damaged(&key),
            }
            if users.len() == max {
                return Ok(users);
            }
        }
        if is_last {
            return Ok(users);
        }
    }
}

/// Users who are being erased, and those who stay somewhere as the last owner, the first of them.
///
/// # Errors
/// When the view cannot be read.
pub(super) async fn erasing(engine: &Engine) -> Result<Vec<UserId>, ViewError> {
    let is_unfinished = |erasure: &Erasure| erasure.done_ms == 0 || !erasure.owner_of.is_empty();
    erasures_that(engine, ERASING_MAX, is_unfinished, |_| {}).await
}

pub(super) fn operations(operations: Operations) -> Operations {
    const PATH: &str = "/v1/users/{user}/erasure";
    let operation = |id, method, summary| Operation {
        id,
        method,
        path: PATH,
        scope: Some(Scope::Admin),
        summary,
        parameters: Vec::new(),
        request: None,
        response: "Erasure",
        refusals: &[404],
    };
    operations
        .add(
            operation(
                "erase",
                Method::POST,
                "Take a user's messages, reactions, memberships, receipts, devices and own log away, in all conversations as they are when each is looked at. Revoke the user's tokens first",
            ),
            |call| async move { erase(&call).await },
        )
        .add(
            operation("erasure", Method::GET, "How far the erasure of a user is"),
            |call| async move { progress(&call).await },
        )
}

async fn erase(call: &Call) -> Result<Answer, Problem> {
    let (user, erasures): (UserId, _) = (call.path("user")?, &call.app.erasures);
    let erasure = erasures.ask(&user, &call.caller()?.name).await?;
    Answer::of(&told(&call.app.service.engine, &user, &erasure))
}

async fn progress(call: &Call) -> Result<Answer, Problem> {
    let user: UserId = call.path("user")?;
    match call.app.erasures.progress(&user).await? {
        Some(erasure) => Answer::of(&told(&call.app.service.engine, &user, &erasure)),
        None => Err(Problem::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "nobody has asked to erase this user: POST does",
        )),
    }
}

fn told(engine: &Engine, user: &UserId, erasure: &Erasure) -> serde_json::Value {
    let Erasure {
        earlier,
        asked_ms,
        by,
        conversations,
        messages,
        reactions,
        memberships,
        found,
        owner_of,
        skipped,
        waits_for,
        done_ms,
        after: _,
        is_looked_through,
    } = erasure;
    let (gone_by_ms, is_gone) = engine.gone_since(*done_ms);
    let (state, gone_by_ms) = match done_ms {
        0 if waits_for.is_some() => ("waiting", 0),
        0 => ("under_way", 0),
        _ if !owner_of.is_empty() => ("last_owner", gone_by_ms),
        _ if is_gone => ("gone", gone_by_ms),
        _ => ("absent", gone_by_ms),
    };
    json!({
        "user": user,
        "by": by,
        "state": state,
        "asked_ms": asked_ms,
        "absent_ms": done_ms,
        "gone_by_ms": gone_by_ms,
        "conversations_looked_at": conversations,
        "messages": messages,
        "reactions": reactions,
        "memberships": memberships,
        // Before all was looked at it is not known of a user of whom there was nothing so far.
        "found": (*found || *is_looked_through).then_some(found),
        "earlier": earlier,
        "owner_of": owner_of,
        "skipped": skipped,
        "waits_for": waits_for,
        "stays": STAYS,
    })
}

#[cfg(test)]
mod tests;
