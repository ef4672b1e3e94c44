//! The inbox, which is the list of the user's conversations: `docs/PROTOCOL.md`, section 14.

mod list;
mod watch;

use std::sync::Arc;

use quoth_protocol::ConversationName;
use quoth_protocol::inbox::InboxRow;
use quoth_protocol::limits::INBOX_PAGE_MAX;
use quoth_protocol::reply::Reply;
use quoth_protocol::request::Request;

pub use self::list::InboxList;
pub(crate) use self::watch::Inboxes;
pub use self::watch::{InboxChanges, InboxWatch};
use super::{Done, RequestError};
use crate::client::Client;

/// A part of the inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboxPage {
    /// In the inbox's order: pinned ones first, and within that the latest first. There may be fewer than
    /// were asked for.
    pub rows: Vec<InboxRow>,
    /// What the next page begins behind; `None`: there are no further rows.
    pub next: Option<String>,
    /// The greatest version of the inbox when the page was read.
    pub version: u64,
}

/// How the user wants to see a conversation in the inbox, on all devices. The default is as any other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InboxSettings {
    /// It is put away.
    pub archived: bool,
    /// Until when no notices of it are wanted, in milliseconds since 1970; 0: they are wanted. `u64::MAX`
    /// never comes.
    pub muted_until_ms: u64,
    /// It stands in front of all that are not pinned.
    pub pinned: bool,
}

impl From<&InboxRow> for InboxSettings {
    fn from(row: &InboxRow) -> Self {
        Self { archived: row.archived, muted_until_ms: row.muted_until_ms, pinned: row.pinned }
    }
}

/// The inbox.
impl Client {
    /// A page of the user's conversations, the first one or the one behind [`InboxPage::next`]; the server
    /// gives at most 50 rows. Who also wants to be told of changes begins with [`Client::watch_inbox`], so
    /// that none is missed in between.
    ///
    /// # Errors
    /// Every [`RequestError`]; `INVALID_REQUEST` for an `after` that is no `next`.
    pub async fn inbox(&self, after: Option<&str>, limit: u32) -> Result<InboxPage, RequestError> {
        let request = Request::Inbox { after: after.map(str::to_owned), limit };
        let page: InboxPage = expect!(self.ask(request).await?, Reply::Inbox { rows, next, version } => InboxPage { rows, next, version })?;
        self.shared.core.inboxes.give(&page.rows);
        Ok(page)
    }

    /// A conversation's row, looked for page by page; `None` when the user is not in it. An inbox of many
    /// conversations takes as many requests as it has pages of 50.
    ///
    /// # Errors
    /// Every [`RequestError`].
    pub async fn inbox_row(&self, conversation: impl AsRef<str>) -> Result<Option<InboxRow>, RequestError> {
        let conversation = ConversationName::new(conversation)?;
        let mut after: Option<String> = None;
        loop {
            let page = self.inbox(after.as_deref(), INBOX_PAGE_MAX).await?;
            if let Some(row) = page.rows.into_iter().find(|row| row.conversation == conversation) {
                return Ok(Some(row));
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(None),
            }
        }
    }

    /// Says how the user wants to see a conversation in the inbox. It replaces what was said before, all of
    /// it; what that is stands in the conversation's row ([`InboxSettings::from`]).
    ///
    /// # Errors
    /// Every [`RequestError`]; `FORBIDDEN` for who is no member, `TOO_MANY` for over 32 pinned ones.
    pub async fn set_inbox(
        &self,
        conversation: impl AsRef<str>,
        settings: InboxSettings,
    ) -> Result<Done, RequestError> {
        let InboxSettings { archived, muted_until_ms, pinned } = settings;
        let conversation = ConversationName::new(conversation)?;
        self.change(Request::SetInbox { conversation, archived, muted_until_ms, pinned }).await
    }

    /// Tells when rows of the inbox change, over reconnects too: those that have changed since this version,
    /// the greatest one that the application has kept, or without one what changes from now on. A row changes
    /// by time too, when what it shows or counts expires: `held` are the rows that the application has already,
    /// and those of pages that come while it watches are known. Waits until the server has agreed.
    ///
    /// # Errors
    /// Every [`RequestError`].
    pub async fn watch_inbox<'a>(
        &self,
        since: Option<u64>,
        held: impl IntoIterator<Item = &'a InboxRow>,
    ) -> Result<InboxWatch, RequestError> {
        let held = held.into_iter().map(|row| (row.conversation.clone(), row.stale_ms)).collect();
        InboxWatch::new(Arc::clone(&self.shared), (since, held), self.request_deadline()).await
    }
}
