//! `/v1/publish`: one message, one message to many conversations, many messages.

use axum::http::{Method, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use quoth_core::conversation::{About, Append, each_once};
use quoth_protocol::limits::{BODY_BYTES_MAX, MENTIONS_MAX};
use quoth_protocol::{Code, ConversationName, Seq, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::idempotency::{self, HEADER};
use super::keys::Scope;
use super::operation::{Answer, Call, Operation, Operations, given};
use super::poster::{Post, Posted};
use super::problem::Problem;
use crate::engine::{NotStored, Stored};

/// Messages of one request, counted once for each conversation that they go to.
const MESSAGES_MAX: usize = 1_000;

/// What an idempotency key does.
const ONCE: &str = "a request that is repeated with it stores nothing anew and is answered with the first one's seq and time, for as long \
                    as the conversation is kept; the same as `idempotency_key` in the body";

pub(super) fn operations(operations: Operations) -> Operations {
    let post = |id, path, summary, request, response| Operation {
        id,
        method: Method::POST,
        path,
        scope: Some(Scope::Publish),
        summary,
        parameters: vec![idempotency::parameter(ONCE)],
        request: Some(request),
        response,
        refusals: &[404, 409, 429, 500],
    };
    operations
        .add(post("publish", "/v1/publish", "Publish a message", "Publish", "Stored"), publish)
        .add(
            post(
                "broadcast",
                "/v1/publish/broadcast",
                "Publish a message to many conversations",
                "Broadcast",
                "Results",
            ),
            broadcast,
        )
        .add(
            Operation {
                parameters: Vec::new(),
                ..post(
                    "publishBatch",
                    "/v1/publish/batch",
                    "Publish many messages in order",
                    "Batch",
                    "Results",
                )
            },
            batch,
        )
}

/// A message that goes to any number of conversations.
struct Unaddressed {
    append: Append,
    once: Option<String>,
}

/// What a message is, besides where it goes.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Message {
    #[serde(default, deserialize_with = "given")]
    conversation: Option<ConversationName>,
    #[serde(default, deserialize_with = "given")]
    conversations: Option<Vec<ConversationName>>,
    #[serde(default, deserialize_with = "given")]
    text: Option<String>,
    #[serde(default, deserialize_with = "given")]
    base64: Option<String>,
    #[serde(default, deserialize_with = "given")]
    publish_as: Option<UserId>,
    #[serde(default, deserialize_with = "given")]
    origin_time_ms: Option<u64>,
    #[serde(default, deserialize_with = "given")]
    reply_to: Option<u64>,
    #[serde(default)]
    mentions: Vec<UserId>,
    #[serde(default)]
    expires_in_ms: u64,
    #[serde(default, deserialize_with = "given")]
    idempotency_key: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch {
    messages: Vec<Message>,
}

/// A stored message.
#[derive(Debug, Serialize)]
struct Done<'a> {
    conversation: &'a ConversationName,
    seq: u64,
    time_ms: u64,
    duplicate: bool,
}

async fn publish(call: Call) -> Result<Answer, Problem> {
    let mut message: Message = call.json()?;
    message.take_key(call.header(HEADER)?)?;
    let conversation = message.conversation.take().filter(|_| message.conversations.is_none());
    let conversation =
        conversation.ok_or_else(|| Problem::invalid("the body: give conversation, and not conversations"))?;
    let caller = call.caller()?;
    let post = message.post(&caller.name)?.to(conversation.clone());
    let posted = call.app.poster.post(&caller.name, post).await.map_err(refused)?;
    let stored = posted.outcome().await.map_err(refused)?;
    Answer::of(&Done::new(&conversation, stored))
}

async fn broadcast(call: Call) -> Result<Answer, Problem> {
    let mut message: Message = call.json()?;
    message.take_key(call.header(HEADER)?)?;
    let conversations = message.conversations.take().filter(|_| message.conversation.is_none());
    let conversations = conversations
        .ok_or_else(|| Problem::invalid("the body: give conversations, and not conversation"))?;
    check_count(conversations.len())?;
    let caller = &call.caller()?.name;
    let post = message.post(caller)?;
    let posts = conversations.into_iter().map(|conversation| post.to(conversation)).collect();
    results(&call, posts).await
}

async fn batch(call: Call) -> Result<Answer, Problem> {
    let Batch { messages } = call.json()?;
    let caller = &call.caller()?.name;
    let mut posts = Vec::new();
    for (index, mut message) in messages.into_iter().enumerate() {
        let told = |problem: Problem| Problem {
            detail: format!("messages[{index}]: {}", problem.detail),
            ..problem
        };
        let to = match (message.conversation.take(), message.conversations.take()) {
            (Some(one), None) => vec![one],
            (None, Some(many)) if !many.is_empty() => many,
            _ => return Err(told(Problem::invalid("give either conversation or conversations"))),
        };
        check_count(posts.len() + to.len()).map_err(told)?;
        message.take_key(None).map_err(told)?;
        let post = message.post(caller).map_err(told)?;
        posts.extend(to.into_iter().map(|conversation| post.to(conversation)));
    }
    check_count(posts.len())?;
    results(&call, posts).await
}

/// Publishes in order, and tells what became of each: one that is refused holds up no other.
async fn results(call: &Call, posts: Vec<Post>) -> Result<Answer, Problem> {
    let caller = &call.caller()?.name;
    let mut handed_over: Vec<(ConversationName, Result<Posted, NotStored>)> = Vec::with_capacity(posts.len());
    for post in posts {
        handed_over.push((post.conversation.clone(), call.app.poster.post(caller, post).await));
    }
    let (mut results, mut stored_count, count) = (Vec::new(), 0, handed_over.len());
    for (conversation, posted) in handed_over {
        let outcome = match posted {
            Ok(posted) => posted.outcome().await,
            Err(error) => Err(error),
        };
        results.push(match outcome {
            Ok(stored) => {
                stored_count += 1;
                json!(Done::new(&conversation, stored))
            }
            Err(error) => json!({ "conversation": conversation, "problem": refused(error).json() }),
        });
    }
    Answer::of(
        &json!({ "stored": stored_count, "refused": count - stored_count, "results": Value::Array(results) }),
    )
}

fn check_count(count: usize) -> Result<(), Problem> {
    match count {
        0 => Err(Problem::invalid(
            "there is nothing to publish: give at least one message and one conversation",
        )),
        1..=MESSAGES_MAX => Ok(()),
        _ => Err(Problem::invalid(format!(
            "a request has at most {MESSAGES_MAX} messages, counted once for each conversation: send several requests"
        ))),
    }
}

fn refused(error: NotStored) -> Problem {
    let code = error.code();
    let (retry_after_ms, detail) = match error {
        _ if code == Code::STALE_MESSAGE_ID => (
            0,
            "a message with this idempotency key was stored and is no longer kept: send a new one with another key",
        ),
        NotStored::Refused(refusal) if code == Code::FORBIDDEN => {
            let detail = "nobody publishes there: names that begin with $, and those that only the server gives (group/, channel/, \
                          direct/, notes/) before it has given them";
            (refusal.retry_after_ms, detail)
        }
        NotStored::Refused(refusal) => (refusal.retry_after_ms, refusal.reason),
        NotStored::Unknown(_) => (
            0,
            "the store failed or the server is stopping, and it may be stored: try again with the same idempotency key",
        ),
    };
    Problem::of(code, retry_after_ms, detail)
}

impl<'a> Done<'a> {
    fn new(conversation: &'a ConversationName, stored: Stored) -> Self {
        let Stored { seq, time_ms, duplicate } = stored;
        Self { conversation, seq: seq.0, time_ms, duplicate }
    }
}

impl Message {
    /// Takes the idempotency key of the header, and checks it.
    fn take_key(&mut self, header: Option<&str>) -> Result<(), Problem> {
        if let Some(header) = header {
            if self.idempotency_key.as_deref().is_some_and(|key| key != header) {
                return Err(Problem::invalid(format!(
                    "{HEADER} and idempotency_key differ: give one of them"
                )));
            }
            self.idempotency_key = Some(header.to_owned());
        }
        self.idempotency_key.as_deref().map_or(Ok(()), idempotency::check)
    }

    /// What is published to each of its conversations. It is made once: many of them share its body.
    fn post(&self, caller: &UserId) -> Result<Unaddressed, Problem> {
        let body = body(self.text.as_deref(), self.base64.as_deref())?;
        if self.mentions.len() > MENTIONS_MAX {
            return Err(Problem::invalid(format!("a message mentions at most {MENTIONS_MAX} users")));
        }
        if self.origin_time_ms.is_some() && self.publish_as.is_none() {
            return Err(Problem::invalid(
                "origin_time_ms is for messages of others: give publish_as as well",
            ));
        }
        let sender = self.publish_as.clone().unwrap_or_else(|| caller.clone());
        let about = About {
            reply_to: self.reply_to.map(Seq),
            mentions: each_once(self.mentions.clone()),
            expires_in_ms: self.expires_in_ms,
        };
        let origin_time_ms = self.origin_time_ms;
        let append = Append { n: 0, sender, origin_time_ms, body, about };
        Ok(Unaddressed { append, once: self.idempotency_key.clone() })
    }
}

/// What a message says.
pub(super) fn body(text: Option<&str>, base64: Option<&str>) -> Result<Bytes, Problem> {
    let body = match (text, base64) {
        (Some(text), None) => Bytes::copy_from_slice(text.as_bytes()),
        (None, Some(base64)) => STANDARD.decode(base64).map(Bytes::from).map_err(|error| {
            Problem::invalid(format!("base64 is no base64 (RFC 4648, section 4): {error}"))
        })?,
        _ => return Err(Problem::invalid("give either text or base64")),
    };
    if body.len() > BODY_BYTES_MAX {
        let detail = format!(
            "a message has at most {BODY_BYTES_MAX} bytes, this one has {}: larger media travel by reference",
            body.len()
        );
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail));
    }
    Ok(body)
}

impl Unaddressed {
    fn to(&self, conversation: ConversationName) -> Post {
        Post { conversation, append: self.append.clone(), once: self.once.clone() }
    }
}

#[cfg(test)]
mod tests {
    use quoth_protocol::{ConversationName, UserId};

    use super::Message;

    #[test]
    fn conversations_share_the_body_of_a_broadcast() {
        for message in [
            Message { text: Some("hello".to_owned()), ..Message::default() },
            Message { base64: Some("aGVsbG8=".to_owned()), ..Message::default() },
        ] {
            let post = message.post(&UserId::new("bot").unwrap()).unwrap();
            let bodies = ["one", "two"].map(|name| post.to(ConversationName::new(name).unwrap()).append.body);
            assert_eq!(bodies[0], "hello");
            assert_eq!(bodies[0].as_ptr(), bodies[1].as_ptr(), "there are up to 1,000");
        }
    }
}
