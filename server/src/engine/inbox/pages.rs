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
pub(super) const LARGE_MAX: usize = 1_000;

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
        for (key, _) in &rows {
            let Some((time_ms, name)) = of_timed(key) else { continue };
            if !is_pinned.contains(&name)
                && entry(view, log, &name)?.is_some_and(|entry| entry.moved_ms == time_ms)
            {
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
    let rows = view.registers(log, &[LARGE], None, LARGE_MAX)?;
    let names = rows.iter().filter_map(|(key, _)| conversation_of(key));
    let mut places = Vec::new();
    for name in names.filter(|name| !is_pinned.contains(name)) {
        let last = view.before(&name, None, PageLimit { records: 1, bytes: 0 })?;
        let place = Place { time_ms: last.last().map_or(0, |record| record.time_ms), name };
        if after.is_none_or(|after| place.is_behind(after)) {
            places.push(place);
        }
    }
    Ok(places)
}

/// Where a conversation stands in a user's list, whose own log is given.
pub(super) fn entry(
    view: &dyn View,
    log: &ConversationName,
    name: &ConversationName,
) -> Result<Option<Entry>, ViewError> {
    let row = view.register(log, &entry_key(name))?;
    row.map(|row| Entry::decode(&row).map_err(|error| damaged(log, error))).transpose()
}
