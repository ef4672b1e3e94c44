//! Pages of a user's list: the pinned conversations first, then the others, those that were written to last
//! before all others.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use quoth_core::authorize::Grant;
use quoth_core::inbox::{Entry, LARGE, MOVED, PINNED, conversation_of, entry_key, of_timed, timed};
use quoth_protocol::ConversationName;
use quoth_protocol::inbox::InboxRow;
use quoth_protocol::limits::INBOX_PINNED_MAX;
use quoth_store::{PageLimit, View, ViewError};

use super::receipts::damaged;
use super::rows::For;
use crate::engine::Engine;

/// Conversations of one user that have too many members to be moved, at most: each of them is looked at for
/// each page.
const LARGE_MAX: usize = 1_000;

/// A page of a user's list.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// Its rows. Those that the token is not for are left out.
    pub rows: Vec<InboxRow>,
    /// Where the next page goes on; `None` when this is the last one.
    pub next: Option<String>,
    /// What changes from now on has a greater version.
    pub version: u64,
}

/// Where a page begins: behind this one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    time_ms: u64,
    name: ConversationName,
}

impl Place {
    /// What clients are given of it.
    fn text(&self) -> String {
        format!("{}/{}", self.time_ms, self.name)
    }

    fn parse(text: &str) -> Option<Self> {
        let (time, name) = text.split_once('/')?;
        Some(Self { time_ms: time.parse().ok()?, name: ConversationName::new(name).ok()? })
    }

    /// Whether it comes behind another one: older, or of the same time and a later name.
    fn is_behind(&self, other: &Self) -> bool {
        self.time_ms < other.time_ms || (self.time_ms == other.time_ms && self.name > other.name)
    }
}

/// Conversations in the order of a list.
#[derive(Debug, Default)]
struct Names {
    pinned: Vec<ConversationName>,
    others: Vec<Place>,
    has_more: bool,
}

impl Engine {
    /// A page of at most `limit` conversations of a user, from the first one on or behind the end of a page;
    /// `None` when `after` is no end of a page.
    ///
    /// # Errors
    /// When the view cannot be read.
    pub async fn inbox_page(
        &self,
        grant: &Arc<Grant>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Option<Page>, ViewError> {
        let after = match after.map(Place::parse) {
            Some(None) => return Ok(None),
            Some(Some(place)) => Some(place),
            None => None,
        };
        // What changes from now on is told by a later version.
        let now_ms = self.judged_ms();
        let to = For { grant: Arc::clone(grant), now_ms, version: now_ms };
        let log = ConversationName::of_user(&grant.user);
        self.inner.reads.applied(self.released()).await;
        let Names { pinned, others, has_more } =
            self.inner.reads.run(move |view| names(view, &log, after.as_ref(), limit)).await?;
        let next = others.last().filter(|_| has_more).map(Place::text);
        let mut pinned = self.rows(pinned, to.clone()).await?;
        let mut others = self.rows(others.into_iter().map(|place| place.name).collect(), to).await?;
        // What has moved since is as much out of order at most as a list may be behind.
        for rows in [&mut pinned, &mut others] {
            rows.retain(|row| !row.gone);
            rows.sort_by_key(|row| std::cmp::Reverse(row.time_ms));
        }
        pinned.append(&mut others);
        Ok(Some(Page { rows: pinned, next, version: now_ms }))
    }
}

fn names(
    view: &dyn View,
    log: &ConversationName,
    after: Option<&Place>,
    limit: usize,
) -> Result<Names, ViewError> {
    let pinned: Vec<_> = view
        .registers(log, &[PINNED], None, INBOX_PINNED_MAX + 1)?
        .iter()
        .filter_map(|(key, _)| conversation_of(key))
        .collect();
    let is_pinned: HashSet<_> = pinned.iter().cloned().collect();
    // On a first page those that are pinned take places of their own.
    let limit = if after.is_none() { limit.saturating_sub(pinned.len()) } else { limit };
    let mut others = moved(view, log, after, limit + 1, &is_pinned)?;
    others.extend(large(view, log, after, &is_pinned)?);
    others.sort_by(|one, other| other.time_ms.cmp(&one.time_ms).then_with(|| one.name.cmp(&other.name)));
    let has_more = others.len() > limit;
    others.truncate(limit);
    let pinned = if after.is_none() { pinned } else { Vec::new() };
    Ok(Names { pinned, others, has_more })
}

/// The next conversations of those that move.
fn moved(
    view: &dyn View,
    log: &ConversationName,
    after: Option<&Place>,
    count: usize,
    is_pinned: &HashSet<ConversationName>,
) -> Result<Vec<Place>, ViewError> {
    let mut places = Vec::with_capacity(count);
    let mut behind = after.map(|place| Bytes::from(timed(MOVED, place.time_ms, &place.name)));
    while places.len() < count {
        let wanted = count - places.len();
        let rows = view.registers(log, &[MOVED], behind.as_deref(), wanted)?;
        let listed = rows.iter().filter_map(|(key, _)| of_timed(key));
        let listed: Vec<_> = listed.filter(|(_, name)| !is_pinned.contains(name)).collect();
        let entries = entries(view, log, listed.iter().map(|(_, name)| name))?;
        for ((time_ms, name), entry) in listed.into_iter().zip(entries) {
            if entry.is_some_and(|entry| entry.moved_ms == time_ms) {
                places.push(Place { time_ms, name });
            }
        }
        match rows.last() {
            Some((key, _)) if rows.len() == wanted => behind = Some(key.clone()),
            _ => break,
        }
    }
    Ok(places)
}

/// Those with too many members to be moved, by when something happened there last.
fn large(
    view: &dyn View,
    log: &ConversationName,
    after: Option<&Place>,
    is_pinned: &HashSet<ConversationName>,
) -> Result<Vec<Place>, ViewError> {
    let mut places = Vec::new();
    for name in large_names(view, log)?.into_iter().filter(|name| !is_pinned.contains(name)) {
        let last = view.before(&name, None, PageLimit { records: 1, bytes: 0 })?;
        let place = Place { time_ms: last.last().map_or(0, |record| record.time_ms), name };
        if after.is_none_or(|after| place.is_behind(after)) {
            places.push(place);
        }
    }
    Ok(places)
}

/// Their names. One that was left and entered again may have a row there still, and moves by now.
pub(super) fn large_names(
    view: &dyn View,
    log: &ConversationName,
) -> Result<Vec<ConversationName>, ViewError> {
    let rows = view.registers(log, &[LARGE], None, LARGE_MAX)?;
    let names: Vec<_> = rows.iter().filter_map(|(key, _)| conversation_of(key)).collect();
    let entries = entries(view, log, &names)?;
    let names = names.into_iter().zip(entries);
    Ok(names.filter(|(_, entry)| entry.is_some_and(Entry::stands_large)).map(|(name, _)| name).collect())
}

/// Where conversations stand in a user's list, whose own log is given.
fn entries<'a>(
    view: &dyn View,
    log: &ConversationName,
    names: impl IntoIterator<Item = &'a ConversationName>,
) -> Result<Vec<Option<Entry>>, ViewError> {
    let keys: Vec<_> = names.into_iter().map(entry_key).collect();
    let rows = view.registers_at(log, &keys.iter().map(AsRef::as_ref).collect::<Vec<_>>())?;
    rows.into_iter().map(|row| decode_entry(log, row)).collect()
}

/// The same of one conversation.
pub(super) fn entry(
    view: &dyn View,
    log: &ConversationName,
    name: &ConversationName,
) -> Result<Option<Entry>, ViewError> {
    decode_entry(log, view.register(log, &entry_key(name))?)
}

fn decode_entry(log: &ConversationName, row: Option<Bytes>) -> Result<Option<Entry>, ViewError> {
    row.map(|row| Entry::decode(&row).map_err(|error| damaged(log, error))).transpose()
}

#[cfg(test)]
pub(super) mod tests {
    use quoth_core::inbox::{Entry, MOVED_MEMBERS_MAX, joined, over};
    use quoth_protocol::{ConversationName, UserId};
    use quoth_store::testing::notice;
    use quoth_store::{MemoryView, Position, Register, View as _};

    use super::{Place, names};

    /// When `room` was entered again as a small conversation.
    pub(in super::super) const ENTERED_MS: u64 = 2_000;

    /// A user's log, with `large` and with `room`, which was large and has a row as such still.
    pub(in super::super) fn with_stale_row() -> (MemoryView, ConversationName) {
        let log = ConversationName::of_user(&UserId::new("alice").unwrap());
        let [room, large] = ["room", "large"].map(|name| ConversationName::new(name).unwrap());
        let view = MemoryView::new();
        let set = |position: u64, changes: Vec<(Vec<u8>, Option<Vec<u8>>)>| {
            let changes = changes.into_iter();
            let registers =
                changes.map(|(key, value)| Register { key: key.into(), value: value.map(Into::into) });
            let registers: Vec<_> = registers.collect();
            view.apply(Position(position), &[notice(log.as_str(), registers)]).unwrap();
        };
        set(1, joined(&room, 1_000, MOVED_MEMBERS_MAX + 1));
        set(2, joined(&large, 1_000, MOVED_MEMBERS_MAX + 1));
        // It was put among the large ones behind the user's leave.
        set(3, over(Entry::default(), &room));
        set(4, joined(&room, ENTERED_MS, 2));
        (view, log)
    }

    #[test]
    fn one_that_was_large_and_is_entered_again_as_a_small_one_is_listed_once() {
        let (view, log) = with_stale_row();
        let listed = names(&view, &log, None, 9).unwrap().others;
        let place = |time_ms, name| Place { time_ms, name: ConversationName::new(name).unwrap() };
        assert_eq!(listed, [place(ENTERED_MS, "room"), place(0, "large")]);
    }
}
