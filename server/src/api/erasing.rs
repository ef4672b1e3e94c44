//! The work of erasing a user, conversation by conversation. Those that cannot be read are left for later, and
//! named.

use quoth_core::membership::Refusal;
use quoth_protocol::{Code, ConversationName, UserId};
use quoth_store::Register;
use serde::{Deserialize, Serialize};

use crate::engine::{Engine, Listed, Taken};

/// What the keys of erasures begin with, in the server's own log.
pub(super) const PREFIX: &[u8] = b"erasure/";

/// Conversations that are looked at before it is noted how far it is.
const CONVERSATIONS_PAGE: usize = 100;

/// Conversations that are named as those whose last owner the user is.
const OWNER_OF_MAX: usize = 100;

/// Conversations that are left for later. Where there are more, the store has another trouble, and the erasure
/// waits where it is.
const SKIPPED_MAX: usize = 1_000;

/// What earlier erasures of a user have taken, all of them together: whoever accounts for it asks again and
/// loses nothing by that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Earlier {
    /// When the first one was asked for, in milliseconds since 1970.
    pub(super) asked_ms: u64,
    /// When all that the last one took was absent, in milliseconds since 1970.
    pub(super) absent_ms: u64,
    /// Messages that were revoked by them.
    pub(super) messages: u64,
    /// Reactions that were taken back by them.
    pub(super) reactions: u64,
    /// Memberships that were ended by them.
    pub(super) memberships: u64,
}

/// How far the erasure of a user is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Erasure {
    /// What those before this one have taken, if they found anything of the user.
    pub(super) earlier: Option<Earlier>,
    /// When it was asked for, in milliseconds since 1970.
    pub(super) asked_ms: u64,
    /// Which key has asked for it.
    pub(super) by: UserId,
    /// Conversations that were looked at.
    pub(super) conversations: u64,
    /// Messages that were revoked by it.
    pub(super) messages: u64,
    /// Reactions that were taken back by it.
    pub(super) reactions: u64,
    /// Memberships that were ended by it.
    pub(super) memberships: u64,
    /// Whether there was anything of the user, as far as was looked.
    pub(super) found: bool,
    /// Conversations, the first of them, whose last owner the user is, and so stays a member.
    pub(super) owner_of: Vec<ConversationName>,
    /// Conversations that could not be read, and are looked at again.
    pub(super) skipped: Vec<ConversationName>,
    /// Why it does not go on for now.
    pub(super) waits_for: Option<String>,
    /// When all of them were absent, in milliseconds since 1970; 0: it goes on.
    pub(super) done_ms: u64,
    /// The last conversation that was looked at.
    pub(super) after: Option<ConversationName>,
    /// Whether nothing is left but for what was skipped.
    pub(super) is_looked_through: bool,
}

impl Erasure {
    pub(super) fn begun(asked_ms: u64, by: UserId) -> Self {
        Self {
            earlier: None,
            asked_ms,
            by,
            conversations: 0,
            messages: 0,
            reactions: 0,
            memberships: 0,
            found: false,
            owner_of: Vec::new(),
            skipped: Vec::new(),
            waits_for: None,
            done_ms: 0,
            after: None,
            is_looked_through: false,
        }
    }

    /// The next one, of a user of whom this one is done.
    pub(super) fn again(self, asked_ms: u64, by: UserId) -> Self {
        let earlier = if self.found { Some(self.and_earlier()) } else { self.earlier };
        Self { earlier, ..Self::begun(asked_ms, by) }
    }

    /// What it has taken, and those before it.
    fn and_earlier(&self) -> Earlier {
        let earlier = self.earlier.as_ref();
        let sum = |own: u64, of: fn(&Earlier) -> u64| own + earlier.map_or(0, of);
        Earlier {
            asked_ms: earlier.map_or(self.asked_ms, |earlier| earlier.asked_ms),
            absent_ms: self.done_ms,
            messages: sum(self.messages, |earlier| earlier.messages),
            reactions: sum(self.reactions, |earlier| earlier.reactions),
            memberships: sum(self.memberships, |earlier| earlier.memberships),
        }
    }

    /// A conversation was looked at.
    fn take(&mut self, taken: Taken, name: &ConversationName) {
        self.conversations += 1;
        self.found |= taken != Taken::default();
        self.messages += taken.messages;
        self.reactions += taken.reactions;
        self.memberships += u64::from(taken.has_left);
        if taken.is_last_owner && self.owner_of.len() < OWNER_OF_MAX && !self.owner_of.contains(name) {
            self.owner_of.push(name.clone());
        }
    }
}

/// Erases a user.
pub(super) struct Work<'a> {
    pub(super) engine: &'a Engine,
    pub(super) user: &'a UserId,
    /// Hears how far it is.
    pub(super) tell: &'a (dyn Fn(&Erasure) + Send + Sync),
}

impl Work<'_> {
    /// Looks at all conversations that it has not looked at.
    pub(super) async fn look_through(&self, erasure: &mut Erasure) -> Result<(), Refusal> {
        loop {
            let page = self.engine.list(erasure.after.as_ref(), CONVERSATIONS_PAGE).await;
            let (page, more) = page.map_err(|error| {
                tracing::error!(%error, "the conversations cannot be read");
                Refusal::new(Code::STORE_FAILED, "the conversations cannot be read")
            })?;
            for Listed { name, .. } in page {
                let taken = self.look_at(&name, erasure, erasure.skipped.len() < SKIPPED_MAX).await?;
                match taken {
                    Some(taken) => erasure.take(taken, &name),
                    None => erasure.skipped.push(name.clone()),
                }
                erasure.after = Some(name);
                (self.tell)(erasure);
                if taken != Some(Taken::default()) {
                    // Behind a crash the numbers are those of what was taken, but for one conversation.
                    self.note(erasure).await?;
                }
            }
            self.note(erasure).await?;
            if !more {
                return Ok(());
            }
        }
    }

    /// Looks at those again that were skipped.
    pub(super) async fn look_again(&self, erasure: &mut Erasure) -> Result<(), Refusal> {
        for name in erasure.skipped.clone() {
            if let Some(taken) = self.look_at(&name, erasure, true).await? {
                erasure.take(taken, &name);
                erasure.skipped.retain(|skipped| *skipped != name);
                (self.tell)(erasure);
                self.note(erasure).await?;
            }
        }
        Ok(())
    }

    /// What was taken of a conversation; `None` where it cannot be read and may be skipped.
    async fn look_at(
        &self,
        name: &ConversationName,
        erasure: &Erasure,
        may_skip: bool,
    ) -> Result<Option<Taken>, Refusal> {
        match self.engine.erase(&erasure.by, name, self.user).await {
            Ok(taken) => Ok(Some(taken)),
            // A store that has failed as a whole is no matter of this conversation.
            Err(Refusal { code: Code::STORE_FAILED, .. })
                if may_skip && self.engine.failure().borrow().is_none() =>
            {
                tracing::error!(conversation = %name, user = %self.user, "what it has of an erased user cannot be read");
                Ok(None)
            }
            Err(refusal) => Err(refusal),
        }
    }

    /// Stores how far it is.
    pub(super) async fn note(&self, erasure: &Erasure) -> Result<(), Refusal> {
        let failed = |_| self.engine.not_noted();
        let value = serde_json::to_vec(erasure).expect("memory takes it");
        let register = Register { key: key_of(self.user).into(), value: Some(value.into()) };
        self.engine.note(ConversationName::server(), vec![register]).await.map_err(failed)
    }
}

/// The key of a user's erasure.
pub(super) fn key_of(user: &UserId) -> Vec<u8> {
    [PREFIX, user.as_str().as_bytes()].concat()
}

/// Whose erasure a register has, and how far that is.
pub(super) fn decode(key: &[u8], value: &[u8]) -> Option<(UserId, Erasure)> {
    let user = UserId::new(std::str::from_utf8(key.strip_prefix(PREFIX)?).ok()?).ok()?;
    Some((user, serde_json::from_slice(value).ok()?))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use bytes::Bytes;
    use quoth_core::conversation::{About, Append};
    use quoth_protocol::Seq;
    use quoth_protocol::frame::Durability;
    use quoth_store::testing::{Overridden, ViewOverride};
    use quoth_store::{MemoryView, PageLimit, Store, Stretch, View, ViewError};

    use super::super::erasure::erasing;
    use super::super::poster::{Post, Poster};
    use super::*;
    use crate::engine::{Execution, SystemClock};

    /// A view in which a conversation is damaged for a time.
    struct DamagedView(MemoryView, Arc<AtomicBool>);

    impl ViewOverride for DamagedView {
        fn inner(&self) -> &dyn View {
            &self.0
        }

        fn after(&self, name: &ConversationName, after: Seq, limit: PageLimit) -> Result<Stretch, ViewError> {
            if self.1.load(Ordering::Relaxed) && name.as_str() == "damaged" {
                let what = "damaged for a test";
                return Err(ViewError::DamagedRow { conversation: name.clone(), seq: after.next(), what });
            }
            self.0.after(name, after, limit)
        }
    }

    #[tokio::test]
    async fn one_that_is_damaged_holds_up_no_other_and_is_looked_at_again() {
        let is_damaged = Arc::new(AtomicBool::new(false));
        let mut store = Store::memory();
        store.view = Arc::new(Overridden(DamagedView(MemoryView::new(), Arc::clone(&is_damaged))));
        let clock = Arc::new(SystemClock);
        let (engine, stopper) = Engine::start(store, Durability::Memory, clock, Execution::Threads);
        let (bob, ops) = (UserId::new("bob").unwrap(), UserId::new("ops").unwrap());
        let names: Vec<_> = ["a", "b", "c", "d", "damaged", "e", "f"].map(ConversationName::new).into();
        let poster = Poster::new(engine.clone());
        for name in names {
            let (body, about) = ("text".into(), About::default());
            let append = Append { n: 0, sender: bob.clone(), origin_time_ms: None, body, about };
            let post = Post { conversation: name.unwrap(), append, once: None };
            poster.post(&ops, post).await.unwrap().outcome().await.unwrap();
        }
        is_damaged.store(true, Ordering::Relaxed);
        let mut erasure = Erasure::begun(1, ops);
        let work = Work { engine: &engine, user: &bob, tell: &|_| {} };
        work.look_through(&mut erasure).await.unwrap();
        work.look_again(&mut erasure).await.unwrap();
        let damaged = ConversationName::new("damaged").unwrap();
        assert_eq!((erasure.messages, &erasure.skipped), (6, &vec![damaged]));
        let key: Bytes = key_of(&bob).into();
        let stored = engine.register(ConversationName::server(), key.clone()).await.unwrap().unwrap();
        let (of, mut stored) = decode(&key, &stored).unwrap();
        assert_eq!((of, &stored.skipped), (bob.clone(), &erasure.skipped), "a restart knows of it");
        assert_eq!(
            erasing(&engine).await.unwrap(),
            std::slice::from_ref(&bob),
            "and whoever asks is told of it"
        );
        is_damaged.store(false, Ordering::Relaxed);
        work.look_again(&mut stored).await.unwrap();
        assert_eq!((stored.messages, &stored.skipped), (7, &vec![]));
        stored.done_ms = 2;
        work.note(&stored).await.unwrap();
        assert_eq!(erasing(&engine).await.unwrap(), []);
        stored.owner_of.push(ConversationName::new("a").unwrap());
        work.note(&stored).await.unwrap();
        assert_eq!(erasing(&engine).await.unwrap(), std::slice::from_ref(&bob), "it waits for another owner");
        drop(stopper);
    }
}
