//! Clients, joins and messages that a hook is asked about. The order of messages is kept, however the answers come.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use quoth_core::conversation::{About, Append};
use quoth_core::session::Identity;
use quoth_protocol::frame::{EventKind, Hello};
use quoth_protocol::reply::Reply;
use quoth_protocol::{Code, ConversationName, Seq, UserId};
use serde_json::{Value, json};

use super::end::End;
use crate::engine::Stand;
use crate::hooks::{Hook, Judgement};
use crate::sessions::Goodbye;

/// What is known of a message that was asked about.
pub(super) struct Judged {
    pub(super) append: Append,
    /// What it was let through by before it was asked about: what has changed since is for the committer to find out.
    pub(super) stand: Stand,
    pub(super) judgement: Judgement,
}

type Judging = Pin<Box<dyn Future<Output = Judged> + Send>>;

/// The messages of a stream that a hook is asked about. Takes no memory before the first.
#[derive(Default)]
pub(super) struct Messages(Option<Box<FuturesOrdered<Judging>>>);

impl Messages {
    pub(super) fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(|judged| judged.is_empty())
    }

    /// Asks about a message of a user behind those before it.
    pub(super) fn ask(
        &mut self,
        hook: Hook,
        conversation: &ConversationName,
        user: &UserId,
        append: Append,
        stand: Stand,
    ) {
        let data = data(conversation, user, &append);
        let judging = Box::pin(async move {
            let judgement = hook.ask(data).await;
            Judged { append, stand, judgement }
        });
        self.0.get_or_insert_default().push_back(judging);
    }

    /// The next message, once it is known what becomes of it. Dropping the future changes nothing.
    pub(super) async fn next(&mut self) -> Judged {
        if let Some(messages) = &mut self.0
            && let Some(judged) = messages.next().await
        {
            return judged;
        }
        std::future::pending().await
    }
}

/// Asks whether a user may join.
///
/// # Errors
/// The reply that says why not.
pub(super) async fn may_join(
    hook: &Hook,
    user: &UserId,
    conversation: &ConversationName,
    is_invited: bool,
) -> Result<(), Reply> {
    let data = json!({ "conversation": conversation, "user": user, "invitation": is_invited });
    let (code, reason) = match hook.ask(data).await {
        Judgement::Allow | Judgement::Change(_) => return Ok(()),
        Judgement::Deny(reason) => (Code::DENIED, reason),
        Judgement::Unavailable => (Code::UNAVAILABLE, UNAVAILABLE.to_owned()),
    };
    Err(Reply::Refused { code, retry_after_ms: 0, reason })
}

/// Asks about what a message is to say from now on; gives back what it may say.
///
/// # Errors
/// The reply that says why not.
pub(super) async fn judge_edit(
    hook: &Hook,
    user: &UserId,
    conversation: &ConversationName,
    seq: Seq,
    body: Bytes,
    mentions: &[UserId],
) -> Result<Bytes, Reply> {
    let about = About { mentions: mentions.to_vec(), ..About::default() };
    let append = Append { n: 0, sender: user.clone(), origin_time_ms: None, body, about };
    let mut data = data(conversation, user, &append);
    data["edits"] = json!(seq);
    let (code, reason) = match hook.ask(data).await {
        Judgement::Allow => return Ok(append.body),
        Judgement::Change(body) => return Ok(body),
        Judgement::Deny(reason) => (Code::DENIED, reason),
        Judgement::Unavailable => (Code::UNAVAILABLE, UNAVAILABLE.to_owned()),
    };
    Err(Reply::Refused { code, retry_after_ms: 0, reason })
}

const UNAVAILABLE: &str = "what has to allow this does not answer";

/// Whether a client may be signed in; the error is how its connection ends. Dropping it ends it.
pub(super) type Asking = Pin<Box<dyn Future<Output = Result<Identity, End>> + Send>>;

/// A client that asks to be signed in.
#[derive(Debug)]
pub(super) struct Connecting {
    hook: Hook,
    data: Value,
}

impl Connecting {
    pub(super) fn new(hook: &Hook, hello: &Hello, peer: SocketAddr) -> Self {
        let Hello { device, platform, client, .. } = hello;
        let data = json!({ "device": device, "platform": platform, "client": client, "address": peer.ip() });
        Self { hook: hook.clone(), data }
    }

    /// Asks about the client, of whom it is known now who it is.
    pub(super) fn ask(self, identity: Identity) -> Asking {
        let Self { hook, mut data } = self;
        data["user"] = json!(identity.grant.user);
        Box::pin(async move {
            match hook.ask(data).await {
                Judgement::Allow | Judgement::Change(_) => Ok(identity),
                Judgement::Deny(reason) => {
                    tracing::info!(reason, user = %identity.grant.user, "a hook has refused a client");
                    Err(End::Goodbye(Goodbye { code: Code::DENIED, reason }))
                }
                Judgement::Unavailable => {
                    Err(End::Close(Code::UNAVAILABLE, "what has to allow this does not answer"))
                }
            }
        })
    }
}

fn data(conversation: &ConversationName, user: &UserId, append: &Append) -> Value {
    let Append { n: _, sender, origin_time_ms, body, about } = append;
    let About { reply_to, mentions, expires_in_ms } = about;
    let event = EventKind::message(body.clone());
    json!({
        "conversation": conversation,
        "user": user,
        "sender": sender,
        "origin_time_ms": origin_time_ms,
        "body": json!(event)["message"]["body"],
        "reply_to": reply_to,
        "mentions": mentions,
        "expires_in_ms": expires_in_ms,
        "edits": null,
    })
}
