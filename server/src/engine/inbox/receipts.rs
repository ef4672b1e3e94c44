//! How far users have got and read.

use std::collections::BTreeMap;
use std::sync::Arc;

use quoth_core::membership::{ConversationState, Damaged};
use quoth_core::receipts::{CURSOR, Cursor, key_of, user_of};
use quoth_protocol::limits::RECEIPTS_MEMBERS_MAX;
use quoth_protocol::{ConversationName, Seq, UserId};
use quoth_store::{View, ViewError};
use tokio::sync::oneshot;

use super::{Inbox, Mark};
use crate::engine::mailbox::Mailbox;
use crate::engine::{Bounds, Engine};

/// Registers that are read at once.
const REGISTERS_PAGE: usize = 1_000;

/// Who has read up to some seq.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readers {
    /// These, in the order of their ids' bytes.
    Named(Vec<UserId>),
    /// So many.
    Counted(u32),
}

impl Inbox {
    /// A user has got and read so far; see [`Engine::seen`].
    pub(in crate::engine) fn mark(&self, conversation: &ConversationName, user: &UserId, cursor: Cursor) {
        if self.cursors.lock().mark(conversation, user, cursor) {
            self.rung.notify_one();
        }
    }
}

/// Whether so few are in it that each of them is told how far the others are.
#[must_use]
pub(crate) fn is_small(state: Option<&ConversationState>) -> bool {
    state.is_some_and(|state| state.members_count() <= RECEIPTS_MEMBERS_MAX)
}

/// A user's cursor as the view has it.
pub(super) fn cursor(view: &dyn View, name: &ConversationName, user: &UserId) -> Result<Cursor, ViewError> {
    let row = view.register(name, &key_of(user))?;
    row.map_or(Ok(Cursor::default()), |row| Cursor::decode(&row).map_err(|error| damaged(name, error)))
}

/// All cursors of a conversation, as the view has them, unless there are more than `users_max`.
fn cursors(
    view: &dyn View,
    name: &ConversationName,
    users_max: usize,
) -> Result<Option<BTreeMap<UserId, Cursor>>, ViewError> {
    let mut all = BTreeMap::new();
    let mut after = None;
    loop {
        let page = view.registers(name, &[CURSOR], after.as_deref(), REGISTERS_PAGE.min(users_max + 1))?;
        for (key, row) in &page {
            let user = user_of(key).ok_or_else(|| damaged(name, Damaged("a key is no user's")))?;
            all.insert(user, Cursor::decode(row).map_err(|error| damaged(name, error))?);
        }
        if all.len() > users_max {
            return Ok(None);
        }
        match page.last() {
            Some((key, _)) if page.len() == REGISTERS_PAGE => after = Some(key.clone()),
            _ => return Ok(Some(all)),
        }
    }
}

pub(super) fn damaged(name: &ConversationName, error: Damaged) -> ViewError {
    ViewError::DamagedConversation { conversation: name.clone(), what: error.0 }
}

impl Engine {
    /// The user of a mailbox that is subscribed to the conversation has read up to here; only ever forward. Those who read it are told
    /// when it is stored.
    pub fn seen(&self, conversation: &ConversationName, mailbox: &Mailbox, seq: Seq) {
        if mailbox.set_marked(seq) {
            self.inner.inbox.mark(conversation, mailbox.user(), Cursor::from(seq));
        }
    }

    /// A user has got and read so far of a conversation, but nothing beyond its head. It is stored when this is ready.
    ///
    /// # Errors
    /// A sentence, when the store has failed.
    pub async fn mark(
        &self,
        conversation: &ConversationName,
        user: &UserId,
        cursor: Cursor,
    ) -> Result<(), String> {
        let failed = || "the store failed".to_owned();
        let Bounds { head, .. } = self.bounds(conversation).await.map_err(|error| error.to_string())?;
        let cursor = cursor.within(head);
        if self.cursor(conversation, user).await.map_err(|error| error.to_string())?.covers(cursor) {
            return Ok(());
        }
        let (stored, is_stored) = oneshot::channel();
        {
            let mut waiting = self.inner.inbox.waiting.lock();
            if waiting.has_failed {
                return Err(failed());
            }
            let (conversation, user) = (conversation.clone(), user.clone());
            waiting.marks.push(Mark { conversation, user, cursor, stored });
        }
        self.inner.inbox.mark(conversation, user, cursor);
        self.inner.inbox.rung.notify_one();
        is_stored.await.map_err(|_| failed())
    }

    /// A user's cursor as it is stored.
    ///
    /// # Errors
    /// When the view cannot be read.
    pub async fn cursor(&self, conversation: &ConversationName, user: &UserId) -> Result<Cursor, ViewError> {
        let (name, of) = (conversation.clone(), user.clone());
        let inbox = Arc::clone(&self.inner.inbox);
        self.inner
            .reads
            .run(move |view| {
                // Before the view, which has what is forgotten here.
                let recent = inbox.cursors.lock().recent(&name, &of).unwrap_or_default();
                Ok(cursor(view, &name, &of)?.merged(recent))
            })
            .await
    }

    /// Who of the members has read up to `seq`: their names where there are few of them.
    ///
    /// # Errors
    /// When the view cannot be read.
    pub async fn readers_up_to(&self, conversation: &ConversationName, seq: Seq) -> Result<Readers, ViewError> {
        let known = self.state(conversation).await?;
        let name = conversation.clone();
        self.inner.reads.applied(self.released()).await;
        let read = self.inner.reads.run(move |view| cursors(view, &name, usize::MAX - 1)).await?.unwrap_or_default();
        let state = known.read();
        let is_member = |user: &UserId| state.as_ref().is_some_and(|state| state.present(user).is_some());
        let readers = read.into_iter().filter(|(user, cursor)| cursor.read >= seq && is_member(user));
        let readers: Vec<UserId> = readers.map(|(user, _)| user).collect();
        Ok(if is_small(state.as_ref()) {
            Readers::Named(readers)
        } else {
            Readers::Counted(u32::try_from(readers.len()).unwrap_or(u32::MAX))
        })
    }

    /// Lets a mailbox that has come to a conversation know how far its user is, and the others if it `wants_others`.
    ///
    /// # Errors
    /// When the view cannot be read.
    pub(crate) async fn greet(
        &self,
        conversation: &ConversationName,
        mailbox: &Arc<Mailbox>,
        wants_others: bool,
    ) -> Result<(), ViewError> {
        let (name, inbox, of) = (conversation.clone(), Arc::clone(&self.inner.inbox), Arc::clone(mailbox));
        self.inner
            .reads
            .run(move |view| {
                // Before the view, which has what is forgotten here.
                let recent: BTreeMap<UserId, Cursor> = {
                    let cursors = inbox.cursors.lock();
                    cursors.recent_of(&name).map(|(user, cursor)| (user.clone(), cursor)).collect()
                };
                let mine = recent.get(of.user()).copied().unwrap_or_default();
                of.set_seen(cursor(view, &name, of.user())?.merged(mine).read);
                if wants_others {
                    // Those who have left have theirs still.
                    let users_max = 4 * RECEIPTS_MEMBERS_MAX as usize;
                    let stored = cursors(view, &name, users_max)?.unwrap_or_default();
                    stored.into_iter().chain(recent).for_each(|(user, cursor)| of.put_receipt(&user, cursor));
                }
                Ok(())
            })
            .await?;
        self.inner.rosters.change(conversation);
        Ok(())
    }

    /// Stores the cursors that wait for that, at once. To be called at the end, when all connections are gone.
    pub async fn settle(&self) {
        let (settled, is_settled) = oneshot::channel();
        {
            let mut waiting = self.inner.inbox.waiting.lock();
            if waiting.has_failed {
                return;
            }
            waiting.settled.push(settled);
        }
        self.inner.inbox.rung.notify_one();
        let _settled_or_failed = is_settled.await;
    }
}
