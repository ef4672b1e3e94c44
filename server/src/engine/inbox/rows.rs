//! Rows of a user's list.

use std::collections::BTreeSet;
use std::sync::Arc;

use quoth_core::authorize::{Action, Grant, Place, authorize};
use quoth_core::inbox::{Settings, settings_key};
use quoth_core::membership::{Actor, ConversationState, Damaged};
use quoth_core::messages::{hidden_key, hidden_of, hidden_prefix};
use quoth_core::receipts::key_of;
use quoth_core::retention::Kept;
use quoth_core::unread::{Life, Posted};
use quoth_protocol::frame::{Event, EventKind};
use quoth_protocol::inbox::InboxRow;
use quoth_protocol::limits::{INBOX_PREVIEW_BYTES_MAX, UNREAD_MAX};
use quoth_protocol::{ConversationName, Seq, UserId};
use quoth_store::{Latest, PageLimit, Record, View, ViewError};

use super::Inbox;
use super::receipts::{damaged, decode_cursor};
use crate::engine::Engine;
use crate::engine::frame::event;
use crate::engine::messages::latest_edit;
use crate::engine::retention::{Remains, decode_kept, remains_by};
use crate::engine::states::{KnownAbsent, KnownConversation};

/// Events among which the last message is looked for.
const PREVIEW_EVENTS: PageLimit = PageLimit { records: 64, bytes: 64 * 1024 };

/// Hidden messages that are read at once.
const HIDDEN_PAGE: usize = 64;

/// A row that is to be made.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) name: ConversationName,
    pub(super) known: Arc<KnownConversation>,
    pub(super) absent: Arc<KnownAbsent>,
}

/// For whom rows are made, and when.
#[derive(Debug, Clone)]
pub(super) struct For {
    pub(super) grant: Arc<Grant>,
    /// The latest time that anything was judged by, in milliseconds since 1970.
    pub(super) now_ms: u64,
    pub(super) version: u64,
}

impl Engine {
    /// The states of conversations of which rows are to be made.
    pub(super) async fn asked(&self, names: Vec<ConversationName>) -> Result<Vec<Asked>, ViewError> {
        let mut asked = Vec::with_capacity(names.len());
        for name in names {
            match self.asked_of(name).await {
                Ok(one) => asked.push(one),
                Err(error) => left_out(error)?,
            }
        }
        Ok(asked)
    }

    async fn asked_of(&self, name: ConversationName) -> Result<Asked, ViewError> {
        let (known, absent) = (self.state(&name).await?, self.absent(&name).await?);
        Ok(Asked { name, known, absent })
    }

    /// The rows of these conversations in a user's list, in this order. One that the user is not in is told
    /// as gone, and of one that the token is not for nothing is told.
    pub(super) async fn rows(
        &self,
        names: Vec<ConversationName>,
        to: For,
    ) -> Result<Vec<InboxRow>, ViewError> {
        let asked = self.asked(names).await?;
        let inbox = Arc::clone(&self.inner.inbox);
        self.inner.reads.applied(self.released()).await;
        self.inner
            .reads
            .run(move |view| {
                let mut rows = Vec::with_capacity(asked.len());
                for asked in &asked {
                    match row(view, &inbox, asked, &to) {
                        Ok(row) => rows.extend(row),
                        Err(error) => left_out(error)?,
                    }
                }
                Ok(rows)
            })
            .await
    }
}

/// What concerns one conversation is no failure of a list.
fn left_out(error: ViewError) -> Result<(), ViewError> {
    if !error.concerns_one_conversation() {
        return Err(error);
    }
    tracing::error!(%error, "a conversation is left out of a list: it is damaged");
    Ok(())
}

/// A row, and whether the user may have it by what holds behind the reads.
pub(super) fn row(
    view: &dyn View,
    inbox: &Inbox,
    Asked { name, known, absent }: &Asked,
    to: &For,
) -> Result<Option<InboxRow>, ViewError> {
    let me = &to.grant.user;
    let row = gone(name.clone(), to.version);
    if known.read().as_ref().is_none_or(|state| state.present(me).is_none()) {
        return Ok(Some(row));
    }
    let row = filled(view, inbox, (name, absent), to, row)?;
    // Behind the reads: states are out before events are, so who has left is known to have if any of what was
    // read is behind that.
    let state = known.read();
    Ok(judged(name, state.as_ref(), to, row))
}

fn judged(
    name: &ConversationName,
    state: Option<&ConversationState>,
    to: &For,
    row: InboxRow,
) -> Option<InboxRow> {
    let me = &to.grant.user;
    let Some(state) = state.filter(|state| state.present(me).is_some()) else {
        let InboxRow { conversation, version, .. } = row;
        return Some(gone(conversation, version));
    };
    let place = Place { name, state: Some(state), is_blocked: false };
    authorize(Actor::User(&to.grant), Action::Inbox, place, to.now_ms).ok()?;
    let title = state.other(me).map_or_else(|| state.title(), UserId::as_str).to_owned();
    Some(InboxRow { kind: Some(state.kind()), title, gone: false, ..row })
}

/// What is told of a conversation that the user is not in.
pub(super) fn gone(conversation: ConversationName, version: u64) -> InboxRow {
    InboxRow {
        conversation,
        kind: None,
        title: String::new(),
        head: Seq::ZERO,
        time_ms: 0,
        last: None,
        unread: 0,
        mentions: 0,
        read: Seq::ZERO,
        archived: false,
        muted_until_ms: 0,
        pinned: false,
        gone: true,
        version,
        stale_ms: 0,
    }
}

fn filled(
    view: &dyn View,
    inbox: &Inbox,
    (name, known): (&ConversationName, &Arc<KnownAbsent>),
    to: &For,
    row: InboxRow,
) -> Result<InboxRow, ViewError> {
    let me = &to.grant.user;
    let mut rows = view.registers_at(name, &[Kept::REGISTER, &key_of(me)])?;
    let (cursor, kept) = (rows.pop().flatten(), rows.pop().flatten());
    let keeping = decode_kept(name, kept)?.keeping(inbox.classes.policy(name), to.now_ms);
    let read = decode_cursor(name, cursor)?.read;
    let Latest { bounds, events } = view.latest(name, PREVIEW_EVENTS)?;
    let remains = remains_by(view, name, keeping, bounds)?;
    let Remains { bounds, .. } = remains;
    let is_absent = absent(known, remains);
    let until_ms =
        |life: Life| (!is_absent(life)).then(|| remains.keeping.ends_ms(life.time_ms, life.expires_ms));
    let hidden = hidden(view, me, name, read)?;
    let counted = |life: Life| until_ms(life).filter(|_| !hidden.contains(&life.seq));
    let unread = inbox.counts.unread(view, name, bounds, (me, read), counted)?;
    let settings = settings(view, me, name)?;
    let is_hidden = |seq: Seq| match seq > read {
        true => Ok(hidden.contains(&seq)),
        false => Ok(view.register(&ConversationName::of_user(me), &hidden_key(name, seq))?.is_some()),
    };
    let last = last_message(view, name, &events, until_ms, is_hidden)?;
    let stale_ms = unread.until_ms.min(last.until_ms);
    Ok(InboxRow {
        head: bounds.head,
        time_ms: last.time_ms,
        last: last.message,
        unread: unread.messages,
        mentions: unread.mentions,
        read,
        archived: settings.archived,
        muted_until_ms: settings.muted_until_ms,
        pinned: settings.pinned,
        stale_ms: if stale_ms == u64::MAX { 0 } else { stale_ms },
        ..row
    })
}

/// Whether a message is gone, though its row may still be there. To be asked behind the read of its row.
pub(super) fn absent(
    known: &Arc<KnownAbsent>,
    Remains { bounds, keeping }: Remains,
) -> impl Fn(Life) -> bool + use<> {
    let known = Arc::clone(known);
    move |life: Life| {
        life.seq < bounds.floor
            || (life.expires_ms > 0 && life.expires_ms <= keeping.live_ms)
            || known.read().contains(life.seq)
    }
}

// A list looks among the latest messages only, so those that are hidden of these are known.
const _: () = assert!(PREVIEW_EVENTS.records <= UNREAD_MAX as usize);

/// Which messages of a conversation behind `read` a user has hidden, the latest of them.
fn hidden(
    view: &dyn View,
    me: &UserId,
    name: &ConversationName,
    read: Seq,
) -> Result<BTreeSet<Seq>, ViewError> {
    let (log, prefix) = (ConversationName::of_user(me), hidden_prefix(name));
    let (mut hidden, mut after) = (BTreeSet::new(), None);
    loop {
        let rows = view.registers(&log, &prefix, after.as_deref(), HIDDEN_PAGE)?;
        for (key, _) in &rows {
            let seq = hidden_of(&prefix, key);
            let seq = seq.ok_or_else(|| damaged(&log, Damaged("a hidden message has no seq")))?;
            if seq <= read || hidden.len() == UNREAD_MAX as usize {
                return Ok(hidden);
            }
            hidden.insert(seq);
        }
        match rows.last() {
            Some((key, _)) if rows.len() == HIDDEN_PAGE => after = Some(key.clone()),
            _ => return Ok(hidden),
        }
    }
}

/// What a user wants of a conversation.
pub(super) fn settings(view: &dyn View, me: &UserId, name: &ConversationName) -> Result<Settings, ViewError> {
    let log = ConversationName::of_user(me);
    let row = view.register(&log, &settings_key(name))?;
    row.map_or(Ok(Settings::default()), |row| Settings::decode(&row).map_err(|error| damaged(&log, error)))
}

/// The end of a conversation, as a list shows it.
struct Last {
    /// When its last message was stored; its last event, where there is no message among the last ones. In
    /// milliseconds since 1970.
    time_ms: u64,
    message: Option<Event>,
    /// When that message is absent, in milliseconds since 1970; `u64::MAX`: not by time alone.
    until_ms: u64,
}

fn last_message(
    view: &dyn View,
    name: &ConversationName,
    records: &[Record],
    until_ms: impl Fn(Life) -> Option<u64>,
    is_hidden: impl Fn(Seq) -> Result<bool, ViewError>,
) -> Result<Last, ViewError> {
    let time_ms = records.last().map_or(0, |record| record.time_ms);
    for record in records.iter().rev() {
        let mut event = event(record)?;
        let Some(posted) = Posted::of(&event) else { continue };
        let Some(until_ms) = until_ms(posted.life) else { continue };
        if is_hidden(event.seq)? {
            continue;
        }
        if let (EventKind::Message { body, .. }, Some(edit)) =
            (&mut event.kind, latest_edit(view, name, event.seq)?)
        {
            *body = edit.body;
        }
        cut(&mut event.kind);
        return Ok(Last { time_ms: event.time_ms, message: Some(event), until_ms });
    }
    Ok(Last { time_ms, message: None, until_ms: u64::MAX })
}

/// Cuts a message to what a list shows of it, at the end of a character if it is a text.
fn cut(kind: &mut EventKind) {
    if let EventKind::Message { body, mentions, .. } = kind {
        mentions.clear();
        let mut end = body.len().min(INBOX_PREVIEW_BYTES_MAX);
        while end > 0 && end < body.len() && body[end] & 0xC0 == 0x80 {
            end -= 1;
        }
        // A copy, so that a list does not hold the whole of a large message.
        *body = bytes::Bytes::copy_from_slice(&body[..end]);
    }
}
