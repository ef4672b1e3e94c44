//! `/v1/users/{user}/erasure`: what there is of a user goes, everywhere. It goes on behind a restart, and
//! says how far it is and what stays.

use std::collections::HashMap;
use std::sync::Arc;

use axum::http::{Method, StatusCode};
use bytes::Bytes;
use parking_lot::Mutex;
use quoth_core::membership::Refusal;
use quoth_protocol::{Code, ConversationName, UserId};
use quoth_store::Register;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::keys::Scope;
use super::operation::{Answer, Call, Operation, Operations};
use super::problem::Problem;
use crate::engine::{Engine, Listed, Taken};
use crate::session::Service;

/// What the keys of erasures begin with, in the server's own log.
const PREFIX: &[u8] = b"erasure/";

/// Conversations that are looked at before it is noted how far it is.
const CONVERSATIONS_PAGE: usize = 100;

/// Conversations that are named as those whose last owner the user is.
const OWNER_OF_MAX: usize = 100;

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

/// How far the erasure of a user is.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Erasure {
    /// When it was asked for, in milliseconds since 1970.
    asked_ms: u64,
    /// Which key has asked for it.
    by: UserId,
    /// Conversations that were looked at.
    conversations: u64,
    /// Messages that were revoked by it.
    messages: u64,
    /// Reactions that were taken back by it.
    reactions: u64,
    /// Memberships that were ended by it.
    memberships: u64,
    /// Conversations, the first of them, whose last owner the user is, and so stays a member.
    owner_of: Vec<ConversationName>,
    /// When all of them were absent, in milliseconds since 1970; 0: it goes on.
    done_ms: u64,
    /// The last conversation that was looked at.
    after: Option<ConversationName>,
}

impl Erasure {
    fn begun(asked_ms: u64, by: UserId) -> Self {
        let (conversations, messages, reactions, memberships) = (0, 0, 0, 0);
        let (owner_of, done_ms, after) = (Vec::new(), 0, None);
        Self { asked_ms, by, conversations, messages, reactions, memberships, owner_of, done_ms, after }
    }

    /// A conversation was looked at.
    fn take(&mut self, taken: Taken, name: ConversationName) {
        self.conversations += 1;
        self.messages += taken.messages;
        self.reactions += taken.reactions;
        self.memberships += u64::from(taken.has_left);
        if taken.is_last_owner && self.owner_of.len() < OWNER_OF_MAX && !self.owner_of.contains(&name) {
            self.owner_of.push(name.clone());
        }
        self.after = Some(name);
    }
}

/// The erasures of a server. Cheap to clone.
#[derive(Clone)]
pub(super) struct Erasures {
    service: Service,
    under_way: Arc<Mutex<HashMap<UserId, Erasure>>>,
}

impl Erasures {
    /// Goes on with those that a stop of the server has interrupted.
    pub(super) fn resume(service: Service) -> Self {
        let erasures = Self { service, under_way: Arc::default() };
        let resumed = erasures.clone();
        tokio::spawn(async move {
            let stored =
                resumed.service.engine.registers(ConversationName::server(), PREFIX, usize::MAX).await;
            match stored {
                Ok(stored) => {
                    for (key, value) in stored {
                        if let Some((user, erasure)) = decode(&key, &value)
                            && erasure.done_ms == 0
                        {
                            resumed.begin(user, erasure);
                        }
                    }
                }
                Err(error) => tracing::error!(%error, "it is not known which users are to be erased"),
            }
        });
        erasures
    }

    /// Begins or goes on, if that is not under way already.
    fn begin(&self, user: UserId, erasure: Erasure) {
        if self.under_way.lock().insert(user.clone(), erasure.clone()).is_some() {
            return;
        }
        let (erasures, phase) = (self.clone(), self.service.phase.clone());
        tokio::spawn(async move {
            let erased = tokio::select! {
                erased = erasures.run(&user, erasure) => erased,
                _ = phase.next(false) => return,
            };
            erasures.under_way.lock().remove(&user);
            if let Err(refusal) = erased {
                let Refusal { code, reason, .. } = refusal;
                tracing::error!(%user, %code, reason, "an erasure has stopped: ask for it again");
            }
        });
    }

    async fn run(&self, user: &UserId, mut erasure: Erasure) -> Result<(), Refusal> {
        let engine = &self.service.engine;
        loop {
            let page = engine.list(erasure.after.as_ref(), CONVERSATIONS_PAGE).await;
            let (page, more) = page.map_err(|error| {
                tracing::error!(%error, "the conversations cannot be read");
                Refusal::new(Code::STORE_FAILED, "the conversations cannot be read")
            })?;
            for Listed { name, .. } in page {
                let taken = engine.erase(&erasure.by, &name, user).await?;
                erasure.take(taken, name);
                self.under_way.lock().insert(user.clone(), erasure.clone());
                if taken != Taken::default() {
                    // Behind a crash the numbers are those of what was taken, but for one conversation.
                    note(engine, ConversationName::server(), vec![register(user, &erasure)]).await?;
                }
            }
            let is_last = !more;
            if is_last {
                self.service.sessions.forget(user).await.map_err(|error| {
                    tracing::error!(error, "a user's devices are not forgotten");
                    Refusal::new(Code::STORE_FAILED, "the user's devices are not forgotten")
                })?;
                engine.erase_own_log(user).await?;
                erasure.done_ms = engine.judged_ms();
            }
            note(engine, ConversationName::server(), vec![register(user, &erasure)]).await?;
            if is_last {
                tracing::info!(%user, messages = erasure.messages, "a user is erased");
                return Ok(());
            }
        }
    }

    /// How far it is.
    async fn progress(&self, user: &UserId) -> Result<Option<Erasure>, Problem> {
        if let Some(erasure) = self.under_way.lock().get(user) {
            return Ok(Some(erasure.clone()));
        }
        let key: Bytes = key_of(user).into();
        let stored = self.service.engine.register(ConversationName::server(), key.clone()).await;
        let stored = stored.map_err(|error| {
            tracing::error!(%error, "an erasure cannot be read");
            Problem::of(Code::STORE_FAILED, 0, "it cannot be read: see the server's log")
        })?;
        Ok(stored.and_then(|value| decode(&key, &value)).map(|(_, erasure)| erasure))
    }
}

async fn note(engine: &Engine, log: ConversationName, registers: Vec<Register>) -> Result<(), Refusal> {
    let failed = |_| Refusal::new(Code::STORE_FAILED, "the store failed");
    engine.note(log, registers).await.map_err(failed)
}

fn key_of(user: &UserId) -> Vec<u8> {
    [PREFIX, user.as_str().as_bytes()].concat()
}

fn register(user: &UserId, erasure: &Erasure) -> Register {
    let value = serde_json::to_vec(erasure).expect("memory takes it");
    Register { key: key_of(user).into(), value: Some(value.into()) }
}

fn decode(key: &[u8], value: &[u8]) -> Option<(UserId, Erasure)> {
    let user = UserId::new(std::str::from_utf8(key.strip_prefix(PREFIX)?).ok()?).ok()?;
    Some((user, serde_json::from_slice(value).ok()?))
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
    let engine = &call.app.service.engine;
    let erasure = match erasures.progress(&user).await? {
        Some(erasure) if erasure.done_ms == 0 => erasure,
        Some(_) | None => Erasure::begun(engine.judged_ms(), call.caller()?.name.clone()),
    };
    // Stored before it is said to have begun.
    note(engine, ConversationName::server(), vec![register(&user, &erasure)])
        .await
        .map_err(|refusal| Problem::of(refusal.code, 0, refusal.reason))?;
    erasures.begin(user.clone(), erasure.clone());
    Answer::of(&told(engine, &user, &erasure))
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
        asked_ms,
        by,
        conversations,
        messages,
        reactions,
        memberships,
        owner_of,
        done_ms,
        after: _,
    } = erasure;
    let (gone_by_ms, is_gone) = engine.gone_since(*done_ms);
    let (state, gone_by_ms) = match done_ms {
        0 => ("under_way", 0),
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
        "conversations": conversations,
        "messages": messages,
        "reactions": reactions,
        "memberships": memberships,
        "owner_of": owner_of,
        "stays": STAYS,
    })
}
