//! Erases a user, conversation by conversation, and what the user's own log has.

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream;
use quoth_core::inbox::{CHANGED, LARGE, MOVED, PINNED, READ, SETTINGS};
use quoth_core::membership::{Change, Refusal};
use quoth_core::messages::{Alteration, HIDDEN, REACTION, reacted};
use quoth_core::receipts;
use quoth_core::retention::Keeping;
use quoth_protocol::frame::EventKind;
use quoth_protocol::membership::ConversationKind;
use quoth_protocol::{Code, ConversationName, Seq, UserId};
use quoth_store::{OF_EVENT, PageLimit, Register, View, ViewError};

use super::Engine;
use super::changes::{Caller, What, unreadable};
use super::frame::event;

/// What is read of a conversation at once.
const PAGE: PageLimit = PageLimit { records: 1_000, bytes: 1024 * 1024 };

/// Messages that are on their way to the log at once: few of those that wait there, so that others hardly
/// wait longer.
const AT_ONCE_MAX: usize = 64;

/// Registers that are read, or removed, at once.
const REGISTERS_PAGE: usize = 1_000;

/// What the keys of a user's own log begin with that go by themselves. Whom the user has blocked is a state,
/// which goes by events; what the list has of a conversation goes when the user leaves it.
const OF_OWN_LOG: [&[u8]; 4] = [&[HIDDEN], &[READ], &[SETTINGS], &[PINNED]];

/// What the keys of a user's own log begin with that stay: of events that were taken away, and of the list,
/// as far as the user is in conversations still.
const STAYING: [u8; 4] = [OF_EVENT, MOVED, LARGE, CHANGED];

/// What an erasure has taken of a user from one conversation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Messages that were revoked.
    pub(crate) messages: u64,
    /// Reactions to others' messages that were taken back.
    pub(crate) reactions: u64,
    /// The user was a member and is none.
    pub(crate) has_left: bool,
    /// The user stays a member, as the last owner of others.
    pub(crate) is_last_owner: bool,
}

impl Engine {
    /// Takes what a conversation has of a user by now, as the operator: the membership, messages, reactions,
    /// and how far the user has read.
    ///
    /// # Errors
    /// When the view cannot be read, or it is not known what becomes of something. What was taken by then is.
    pub(crate) async fn erase(
        &self,
        operator: &UserId,
        name: &ConversationName,
        user: &UserId,
    ) -> Result<Taken, Refusal> {
        let _one_at_a_time = self.inner.space.erasing().await;
        let (has_left, is_last_owner) = self.end_membership(operator, name, user).await?;
        let messages = self.erase_messages(operator, name, user).await?;
        let reactions = self.take_reactions(name, user).await?;
        let cursor = Bytes::from(receipts::key_of(user));
        let stored = self.register(name.clone(), cursor.clone()).await.map_err(|error| unreadable(&error))?;
        if stored.is_some() {
            self.remove(name, [cursor]).await?;
        }
        Ok(Taken { messages, reactions, has_left, is_last_owner })
    }

    /// Whether the user was a member of a group or channel and is none any more, and whether the user has to
    /// stay.
    async fn end_membership(
        &self,
        operator: &UserId,
        name: &ConversationName,
        user: &UserId,
    ) -> Result<(bool, bool), Refusal> {
        let is_member = self.with_state(name, |state| {
            state.is_some_and(|state| {
                matches!(state.kind(), ConversationKind::Group | ConversationKind::Channel)
                    && state.present(user).is_some()
            })
        });
        if !is_member.await.map_err(|error| unreadable(&error))? {
            return Ok((false, false));
        }
        let caller = Caller::Operator(operator.clone());
        match self.change(caller, name, Change::Remove { user: user.clone() }).await {
            Ok(_) => Ok((true, false)),
            Err(Refusal { code: Code::LAST_OWNER, .. }) => Ok((false, true)),
            Err(refusal) => Err(refusal),
        }
    }

    /// Revokes all messages, and says how many there were. What is absent already, by its time to live or by
    /// how long the conversation is kept, is on the disk until its space is freed: it goes without a word.
    async fn erase_messages(
        &self,
        operator: &UserId,
        name: &ConversationName,
        user: &UserId,
    ) -> Result<u64, Refusal> {
        let head =
            self.applied_bounds(name, Keeping::default()).await.map_err(|error| unreadable(&error))?.head;
        let (mut cursor, mut erased) = (Seq::ZERO, 0);
        while cursor < head {
            let (log, sender) = (name.clone(), user.clone());
            let read = move |view: &dyn View| texts_of(view, &log, &sender, cursor);
            let Texts { messages, edits, reached, bytes } =
                self.inner.reads.run(read).await.map_err(|error| unreadable(&error))?;
            let revoked = messages.into_iter().map(|seq| async move {
                let caller = Caller::Operator(operator.clone());
                match self.alter(caller, name, seq, Alteration::Revoke).await {
                    Ok(_) => Ok(None),
                    Err(Refusal { code: Code::NOT_FOUND_MESSAGE, .. }) => Ok(Some(seq)),
                    Err(refusal) => Err(refusal),
                }
            });
            // The edits of a message that was revoked have gone with it; of others the texts are there.
            let mut absent = edits;
            let mut revoked = stream::iter(revoked).buffered(AT_ONCE_MAX);
            while let Some(one) = revoked.next().await {
                match one? {
                    None => erased += 1,
                    Some(seq) => absent.push(seq),
                }
            }
            if !absent.is_empty() {
                self.take_events(name.clone(), absent).await.map_err(|_| self.not_noted())?;
            }
            self.inner.space.pace(bytes).await;
            if reached == cursor {
                break;
            }
            cursor = reached;
        }
        Ok(erased)
    }

    /// Takes all reactions back in the user's own name, as whoever reads the events has to count, and says
    /// how many there were.
    async fn take_reactions(&self, name: &ConversationName, user: &UserId) -> Result<u64, Refusal> {
        let (mut after, mut taken): (Option<Bytes>, u64) = (None, 0);
        self.inner.reads.applied(self.released()).await;
        loop {
            let (log, from) = (name.clone(), after.take());
            let read =
                move |view: &dyn View| view.registers(&log, &REACTION, from.as_deref(), REGISTERS_PAGE);
            let rows = self.inner.reads.run(read).await.map_err(|error| unreadable(&error))?;
            let bytes = rows.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum();
            if rows.len() == REGISTERS_PAGE {
                after = rows.last().map(|(key, _)| key.clone());
            }
            for (key, _) in rows {
                let Some((seq, reaction, _)) = reacted(&key).filter(|(_, _, by)| by == user) else {
                    continue;
                };
                let caller = Caller::Operator(user.clone());
                match self.alter(caller, name, seq, Alteration::React { reaction, on: false }).await {
                    Ok(_) => taken += 1,
                    // The message has expired: nobody counts, and the register is all that is left.
                    Err(Refusal { code: Code::NOT_FOUND_MESSAGE, .. }) => self.remove(name, [key]).await?,
                    Err(refusal) => return Err(refusal),
                }
            }
            self.inner.space.pace(bytes).await;
            if after.is_none() {
                return Ok(taken);
            }
        }
    }

    /// Takes what a user's own log has: its events, the list of conversations but for those that the user is
    /// in, what was hidden, and whom the user has blocked.
    ///
    /// # Errors
    /// As of [`Engine::erase`].
    pub(crate) async fn erase_own_log(&self, user: &UserId) -> Result<(), Refusal> {
        let failed = |error: ViewError| unreadable(&error);
        let (me, log) = (Caller::Operator(user.clone()), ConversationName::of_user(user));
        for blocked in self.blocked_by(user).await.map_err(failed)? {
            self.block(me.clone(), blocked, false).await?;
        }
        for prefix in OF_OWN_LOG {
            loop {
                let rows = self.registers(log.clone(), prefix, REGISTERS_PAGE).await.map_err(failed)?;
                if rows.is_empty() {
                    break;
                }
                self.remove(&log, rows.into_iter().map(|(key, _)| key)).await?;
            }
        }
        // It goes with the others: so there is one at least, and what registers were is due as contents are.
        let head = self.applied_bounds(&log, Keeping::default()).await.map_err(failed)?.head;
        let what = What::Own { me: user.clone(), kind: EventKind::Revoked { seq: head } };
        self.ask(me, what, vec![log.clone()], 0).await?;
        let mut cursor = Seq::ZERO;
        loop {
            self.inner.reads.applied(self.released()).await;
            let of = log.clone();
            let read = move |view: &dyn View| view.after(&of, cursor, PAGE);
            let read = self.inner.reads.run(read).await.map_err(failed)?;
            if read.to <= cursor {
                return Ok(());
            }
            cursor = read.to;
            let seqs = read.iter().map(|record| record.seq).collect();
            self.take_events(log.clone(), seqs).await.map_err(|_| self.not_noted())?;
            self.inner.space.pace(read.iter().map(|record| record.content.len() as u64).sum()).await;
        }
    }

    /// Whether a user's own log has anything: the user was signed in, or something was done to the user. What
    /// an earlier erasure has left there is nothing.
    ///
    /// # Errors
    /// When the view cannot be read.
    pub(crate) async fn has_own_log(&self, user: &UserId) -> Result<bool, ViewError> {
        self.inner.reads.applied(self.released()).await;
        let log = ConversationName::of_user(user);
        self.inner.reads.run(move |view| Ok(has_events(view, &log)? || has_registers(view, &log)?)).await
    }

    async fn remove(
        &self,
        name: &ConversationName,
        keys: impl IntoIterator<Item = Bytes>,
    ) -> Result<(), Refusal> {
        let removed = keys.into_iter().map(|key| Register { key, value: None }).collect();
        self.note(name.clone(), removed).await.map_err(|_| self.not_noted())
    }
}

/// Whether a log has an event that was not taken away.
fn has_events(view: &dyn View, log: &ConversationName) -> Result<bool, ViewError> {
    let mut cursor = Seq::ZERO;
    loop {
        let read = view.after(log, cursor, PAGE)?;
        if !read.is_empty() || read.to <= cursor {
            return Ok(!read.is_empty());
        }
        cursor = read.to;
    }
}

/// Whether a user's own log has a register that an erasure takes away.
fn has_registers(view: &dyn View, log: &ConversationName) -> Result<bool, ViewError> {
    let mut after: Option<Bytes> = None;
    loop {
        let rows = view.registers(log, &[], after.as_deref(), REGISTERS_PAGE)?;
        if rows.iter().any(|(key, _)| key.first().is_none_or(|kind| !STAYING.contains(kind))) {
            return Ok(true);
        }
        match rows.last() {
            Some((key, _)) if rows.len() == REGISTERS_PAGE => after = Some(key.clone()),
            _ => return Ok(false),
        }
    }
}

/// What a user has said among some events.
struct Texts {
    messages: Vec<Seq>,
    /// Events with other texts for messages.
    edits: Vec<Seq>,
    /// How far the events go.
    reached: Seq,
    /// What was read of contents.
    bytes: u64,
}

/// What a user has said in the next events behind `after`.
fn texts_of(view: &dyn View, name: &ConversationName, user: &UserId, after: Seq) -> Result<Texts, ViewError> {
    let read = view.after(name, after, PAGE)?;
    // Behind the last event there may be others that are absent.
    let (reached, bytes) = (read.to.max(after), read.iter().map(|record| record.content.len() as u64).sum());
    let mut texts = Texts { messages: Vec::new(), edits: Vec::new(), reached, bytes };
    for record in read.iter().filter(|record| record.sender == *user) {
        match event(record)?.kind {
            EventKind::Message { .. } => texts.messages.push(record.seq),
            EventKind::Edited { .. } => texts.edits.push(record.seq),
            _ => {}
        }
    }
    Ok(texts)
}
