//! How far users have got and read.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use quoth_core::membership::user::blocked_key;
use quoth_core::membership::{ConversationState, Damaged};
use quoth_core::receipts::{CURSOR, Cursor, key_of, user_of};
use quoth_core::retention::{Classes, Keeping};
use quoth_core::unread::Posted;
use quoth_protocol::limits::RECEIPT_MEMBERS_MAX;
use quoth_protocol::{ConversationName, Seq, UserId};
use quoth_store::{Bounds, PageLimit, View, ViewError};
use tokio::sync::oneshot;

use super::rows::absent;
use super::{Inbox, Mark};
use crate::engine::Engine;
use crate::engine::frame::event;
use crate::engine::mailbox::Mailbox;
use crate::engine::retention::{Remains, remains_in};
use crate::engine::states::KnownAbsent;

/// Registers that are read at once.
const REGISTERS_PAGE: usize = 1_000;

/// Cursors of a conversation without members that are counted: whoever has read there has one for ever. Where
/// there are members, their number is bounded, and those who are none any more are few beside them.
const UNMANAGED_CURSORS_MAX: usize = 10_000;

/// To whom a message has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipts {
    /// To how many members; where there are none, to how many of the first 10,000 users,
    /// by their ids, who have ever read there.
    pub delivered: u32,
    /// How many of them have read it.
    pub read: u32,
    /// Where there are few members: how far those are to whom it has come, in the order of their ids' bytes.
    pub users: Vec<(UserId, Cursor)>,
}

/// What a mailbox that comes to a conversation is told of cursors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Greeting {
    /// Nothing.
    Nothing,
    /// How far its own user is.
    Own,
    /// How far everybody is.
    All,
}

impl Inbox {
    /// Lets a mailbox know how far users are, `members` among them. A cursor that cannot be read is left out:
    /// it keeps nobody from the conversation.
    pub(in crate::engine) fn greet(
        &self,
        view: &dyn View,
        name: &ConversationName,
        mailbox: &Mailbox,
        greeting: Greeting,
        members: &[UserId],
    ) {
        if greeting == Greeting::Nothing {
            return;
        }
        // Before the view, which has what is forgotten here.
        let recent: BTreeMap<UserId, Cursor> = {
            let cursors = self.cursors.lock();
            cursors.recent_of(name).map(|(user, cursor)| (user.clone(), cursor)).collect()
        };
        let unreadable =
            |error: &ViewError| tracing::warn!(%error, "how far somebody has read cannot be read");
        let own = cursor(view, name, mailbox.user()).inspect_err(unreadable).unwrap_or_default();
        mailbox.set_seen(own.merged(recent.get(mailbox.user()).copied().unwrap_or_default()).read);
        if greeting == Greeting::All {
            // Those who have left have theirs still, and may be many more.
            let stored = members.iter().filter_map(|user| {
                let stored = cursor(view, name, user).inspect_err(unreadable).ok()?;
                (stored != Cursor::default()).then(|| (user.clone(), stored))
            });
            for (user, cursor) in stored.chain(recent) {
                // Whose blocks cannot be read is taken for one who wants nothing of the reader.
                if !has_blocked(view, &user, mailbox.user()).inspect_err(unreadable).unwrap_or(true) {
                    mailbox.put_receipt(&user, cursor);
                }
            }
        }
    }

    /// A user has got and read so far; see [`Engine::seen`].
    pub(in crate::engine) fn mark(&self, conversation: &ConversationName, user: &UserId, cursor: Cursor) {
        if self.cursors.lock().mark(conversation, user, cursor) {
            self.rung.notify_one();
        }
    }
}

/// Whether a user wants nothing of another one, to whom it is not told then what the user has read.
fn has_blocked(view: &dyn View, user: &UserId, other: &UserId) -> Result<bool, ViewError> {
    Ok(view.register(&ConversationName::of_user(user), &blocked_key(other))?.is_some())
}

/// Whether so few are in it that each of them is told how far the others are.
#[must_use]
pub(crate) fn is_small(state: Option<&ConversationState>) -> bool {
    state.is_some_and(|state| state.members_count() as usize <= RECEIPT_MEMBERS_MAX)
}

/// Whether a user's cursor counts: where there are members, of one of them.
fn counts(state: Option<&ConversationState>, user: &UserId) -> bool {
    state.is_none_or(|state| state.present(user).is_some())
}

/// A user's cursor as the view has it.
pub(super) fn cursor(view: &dyn View, name: &ConversationName, user: &UserId) -> Result<Cursor, ViewError> {
    decode_cursor(name, view.register(name, &key_of(user))?)
}

/// A cursor by its register.
pub(super) fn decode_cursor(name: &ConversationName, row: Option<Bytes>) -> Result<Cursor, ViewError> {
    row.map_or(Ok(Cursor::default()), |row| Cursor::decode(&row).map_err(|error| damaged(name, error)))
}

/// Hands over the cursors of a conversation, so many at most, as the view has them, in the order of their
/// users' ids.
fn each_cursor(
    view: &dyn View,
    name: &ConversationName,
    max: usize,
    mut take: impl FnMut(UserId, Cursor) -> Result<(), ViewError>,
) -> Result<(), ViewError> {
    let (mut after, mut left) = (None, max);
    loop {
        let limit = REGISTERS_PAGE.min(left);
        let page = view.registers(name, &[CURSOR], after.as_deref(), limit)?;
        left -= page.len();
        for (key, row) in &page {
            let user = user_of(key).ok_or_else(|| damaged(name, Damaged("a key is no user's")))?;
            take(user, Cursor::decode(row).map_err(|error| damaged(name, error))?)?;
        }
        match page.last() {
            Some((key, _)) if page.len() == limit && left > 0 => after = Some(key.clone()),
            _ => return Ok(()),
        }
    }
}

/// Who wrote a message that is there at `now_ms`.
fn sender_of(
    view: &dyn View,
    (name, known): (&ConversationName, &Arc<KnownAbsent>),
    classes: &Classes,
    seq: Seq,
    now_ms: u64,
) -> Result<Option<UserId>, ViewError> {
    let remains = remains_in(view, name, classes, now_ms)?;
    let Remains { bounds, .. } = remains;
    let Some(after) = seq.0.checked_sub(1).filter(|_| seq >= bounds.floor && seq <= bounds.head) else {
        return Ok(None);
    };
    let records = view.after(name, Seq(after), PageLimit { records: 1, bytes: 0 })?;
    let Some(record) = records.first().filter(|record| record.seq == seq) else { return Ok(None) };
    let posted = Posted::of(&event(record)?);
    let is_absent = absent(known, remains);
    Ok(posted.filter(|posted| !is_absent(posted.life)).map(|posted| posted.sender))
}

pub(super) fn damaged(name: &ConversationName, error: Damaged) -> ViewError {
    ViewError::DamagedConversation { conversation: name.clone(), what: error.0 }
}

impl Engine {
    /// The user of a mailbox that is subscribed to the conversation has read up to here; only ever forward.
    /// Those who read it are told when it is stored.
    pub fn seen(&self, conversation: &ConversationName, mailbox: &Mailbox, seq: Seq) {
        if mailbox.set_marked(seq) {
            self.inner.inbox.mark(conversation, mailbox.user(), Cursor::from(seq));
        }
    }

    /// A user has got and read so far of a conversation, but nothing beyond its head. It is stored when this
    /// is ready, which gives how far that is by now: perhaps farther, by another device.
    ///
    /// # Errors
    /// A sentence, when the store has failed.
    pub async fn mark(
        &self,
        conversation: &ConversationName,
        user: &UserId,
        cursor: Cursor,
    ) -> Result<Cursor, String> {
        let failed = || "the store failed".to_owned();
        let Bounds { head, .. } =
            self.bounds(conversation, Keeping::default()).await.map_err(|error| error.to_string())?;
        let cursor = cursor.within(head);
        let known = self.cursor(conversation, user).await.map_err(|error| error.to_string())?;
        if known.covers(cursor) {
            return Ok(known);
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
        self.inner.inbox.cursors.lock().want(conversation, user, cursor);
        self.inner.inbox.rung.notify_one();
        is_stored.await.map_err(|_| failed())?;
        Ok(known.merged(cursor))
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

    /// To which members the message at `seq` has come, but for its sender and for those who want nothing of
    /// `me`; to how many users, where nobody is a member. `None` when there is no such message.
    ///
    /// # Errors
    /// When the view cannot be read.
    pub async fn receipts(
        &self,
        me: &UserId,
        conversation: &ConversationName,
        seq: Seq,
    ) -> Result<Option<Receipts>, ViewError> {
        let (known, absent) = (self.state(conversation).await?, self.absent(conversation).await?);
        let (name, me, now_ms) = (conversation.clone(), me.clone(), self.judged_ms());
        let classes = Arc::clone(&self.inner.classes);
        self.inner.reads.applied(self.released()).await;
        let is_small_one = is_small(known.read().as_ref());
        let read = move |view: &dyn View| {
            let Some(sender) = sender_of(view, (&name, &absent), &classes, seq, now_ms)? else {
                return Ok(None);
            };
            let mut receipts = Receipts { delivered: 0, read: 0, users: Vec::new() };
            let max = if known.read().is_some() { usize::MAX } else { UNMANAGED_CURSORS_MAX };
            each_cursor(view, &name, max, |user, cursor| {
                if cursor.delivered < seq || user == sender || !counts(known.read().as_ref(), &user) {
                    return Ok(());
                }
                // Of many it is told how many they are, and not who.
                if is_small_one && has_blocked(view, &user, &me)? {
                    return Ok(());
                }
                receipts.delivered += 1;
                receipts.read += u32::from(cursor.read >= seq);
                if is_small_one {
                    receipts.users.push((user, cursor));
                }
                Ok(())
            })?;
            Ok(Some(receipts))
        };
        self.inner.reads.run(read).await
    }

    /// Stores the cursors that wait for that, at once. To be called at the end, when all connections are
    /// gone.
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
        let mut failure = self.failure();
        tokio::select! {
            _settled_or_failed = is_settled => {}
            _ = failure.wait_for(Option::is_some) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use quoth_store::{MemoryView, Position, Record, Register};

    use super::*;

    #[test]
    fn no_more_cursors_are_read_than_are_counted() {
        let (view, room) = (MemoryView::new(), ConversationName::new("room").unwrap());
        let users: Vec<_> = (0..2_500).map(|n| UserId::new(format!("user-{n:04}")).unwrap()).collect();
        let row =
            |user| Register { key: key_of(user).into(), value: Some(Cursor::from(Seq(1)).encode().into()) };
        let rows = users.iter().map(row).collect();
        view.apply(Position(1), &[Record::notice(room.clone(), 1, users[0].clone(), rows)]).unwrap();
        for max in [0, 1, 999, 1_000, 1_001, 2_000, 2_499, 2_500, 2_501, usize::MAX] {
            let mut told = Vec::new();
            each_cursor(&view, &room, max, |user, _| {
                told.push(user);
                Ok(())
            })
            .unwrap();
            assert_eq!(told, users[..max.min(users.len())], "{max}");
        }
    }
}
