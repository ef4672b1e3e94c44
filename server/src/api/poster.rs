//! Publishes of backends, each with a message id by which a repeat is recognised.
//!
//! A publish with an idempotency key has a producer of its own, which is made from the key, and is that
//! producer's message 1. So the log itself knows of it: a repeat gets the first one's place and time, however
//! old it is, also after a restart and while the first one is under way. It costs the view a row for each
//! such message. One without a key can have no repeat, and shares a producer with all others of this process.

use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use quoth_core::authorize::Action;
use quoth_core::conversation::Append;
use quoth_core::membership::{Actor, Refusal};
use quoth_protocol::{Code, ConversationName, ProducerId, UserId};
use rand::RngExt as _;
use tokio::sync::Mutex;

use crate::engine::{Engine, Mailbox, NotStored, Publisher, Role, Stored, Typings};

/// Begins the users of this API's producers. A `$` begins what is the server's own.
const PRODUCER_PREFIX: &str = "$api";

/// Publishes of backends.
pub(super) struct Poster {
    engine: Engine,
    /// The producer of what has no idempotency key.
    user: UserId,
    producer: ProducerId,
    /// Its next number. Held while a publish is handed over, since a producer's numbers must come in order.
    next_n: Mutex<u64>,
}

/// A message of a backend.
#[derive(Debug, Clone)]
pub(super) struct Post {
    pub(super) conversation: ConversationName,
    pub(super) append: Append,
    /// The key by which repeats are recognised, in the namespace of the API key's name.
    pub(super) once: Option<String>,
}

/// A message that was handed over.
pub(super) struct Posted(Arc<Mailbox>);

impl Posted {
    /// What became of it. Dropping the future changes nothing.
    pub(super) async fn outcome(self) -> Result<Stored, NotStored> {
        let mut outcomes = Vec::new();
        loop {
            self.0.take(&mut outcomes);
            match outcomes.pop() {
                Some(outcome) => return outcome.result,
                None => self.0.woken().await,
            }
        }
    }
}

impl Poster {
    pub(super) fn new(engine: Engine) -> Self {
        let user = UserId::new(PRODUCER_PREFIX).expect("a valid id");
        Self { engine, user, producer: ProducerId(rand::rng().random()), next_n: Mutex::new(1) }
    }

    /// Hands a message of a caller over; waits while the queue is full. What is handed over first is stored
    /// first.
    ///
    /// # Errors
    /// Why it is not taken.
    pub(super) async fn post(&self, caller: &UserId, post: Post) -> Result<Posted, NotStored> {
        const FAILED: NotStored = NotStored::Unknown(Code::STORE_FAILED);
        let Post { conversation, mut append, once } = post;
        if conversation.is_me() {
            return Err(NotStored::Refused(Refusal::FORBIDDEN));
        }
        let access = self.engine.access(&conversation, caller).await.map_err(|error| {
            tracing::error!(%error, %conversation, "what is known of a conversation cannot be read");
            FAILED
        })?;
        let actor = Actor::Operator { sender: caller };
        let stand = access.stand(actor);
        let allowed = stand.standing.allows(actor, Action::Publish, self.engine.judged_ms());
        allowed.map_err(NotStored::Refused)?;
        let mailbox = self.engine.mailbox(caller, Arc::<Typings>::default(), false);
        let is_taken = match once {
            Some(key) => {
                append.n = 1;
                let user = producer_of(caller, &key);
                let publisher =
                    Publisher::new(access, Role::Operator, user, ProducerId(0), Arc::clone(&mailbox));
                self.engine.publish(&publisher, append, &stand).await
            }
            None => {
                let publisher = Publisher::new(
                    access,
                    Role::Operator,
                    self.user.clone(),
                    self.producer,
                    Arc::clone(&mailbox),
                );
                let mut next_n = self.next_n.lock().await;
                append.n = *next_n;
                *next_n += 1;
                self.engine.publish(&publisher, append, &stand).await
            }
        };
        if is_taken { Ok(Posted(mailbox)) } else { Err(FAILED) }
    }
}

/// The producer of one idempotency key, as a user that nobody is. A length in front keeps names and keys
/// apart.
fn producer_of(caller: &UserId, key: &str) -> UserId {
    let mut context = Context::new(&SHA256);
    context.update(&caller.as_str().len().to_be_bytes());
    context.update(caller.as_str().as_bytes());
    context.update(key.as_bytes());
    let hash = URL_SAFE_NO_PAD.encode(context.finish());
    UserId::new(format!("{PRODUCER_PREFIX}/{hash}")).expect("48 bytes of ASCII are an id")
}

#[cfg(test)]
mod tests {
    use quoth_protocol::UserId;

    use super::producer_of;

    #[test]
    fn every_caller_has_keys_of_its_own() {
        let of = |caller: &str, key: &str| producer_of(&UserId::new(caller).unwrap(), key);
        assert_eq!(of("shop", "order 1"), of("shop", "order 1"));
        assert_ne!(of("shop", "order 1"), of("shop", "order 2"));
        assert_ne!(of("shop", "s1"), of("shops", "1"));
    }
}
