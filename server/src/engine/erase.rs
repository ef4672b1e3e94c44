//! Takes all messages of a user away, conversation by conversation.

use futures_util::StreamExt as _;
use futures_util::stream;
use quoth_core::membership::Refusal;
use quoth_core::messages::Alteration;
use quoth_core::retention::Keeping;
use quoth_protocol::frame::EventKind;
use quoth_protocol::{Code, ConversationName, Seq, UserId};
use quoth_store::{PageLimit, View, ViewError};

use super::Engine;
use super::changes::{Caller, unreadable};
use super::frame::event;

/// What is read of a conversation at once.
const PAGE: PageLimit = PageLimit { records: 1_000, bytes: 1024 * 1024 };

/// Messages that are on their way to the log at once: few of those that wait there, so that others hardly wait longer.
const AT_ONCE_MAX: usize = 64;

impl Engine {
    /// Revokes all messages of a user that a conversation has by now, as the operator, and says how many there were.
    ///
    /// # Errors
    /// When the view cannot be read, or it is not known what becomes of a message. What was revoked by then is.
    pub(crate) async fn erase(
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
            let read = move |view: &dyn View| messages_of(view, &log, &sender, cursor);
            let (messages, reached) = self.inner.reads.run(read).await.map_err(|error| unreadable(&error))?;
            let revoked = messages.into_iter().map(|seq| async move {
                let caller = Caller::Operator(operator.clone());
                match self.alter(caller, name, seq, Alteration::Revoke).await {
                    Ok(_) => Ok(1),
                    // It was revoked before.
                    Err(Refusal { code: Code::NOT_FOUND_MESSAGE, .. }) => Ok(0),
                    Err(refusal) => Err(refusal),
                }
            });
            let mut revoked = stream::iter(revoked).buffered(AT_ONCE_MAX);
            while let Some(one) = revoked.next().await {
                erased += one?;
            }
            if reached == cursor {
                break;
            }
            cursor = reached;
        }
        Ok(erased)
    }
}

/// The messages of a user among the next events behind `after`, and how far these go.
fn messages_of(
    view: &dyn View,
    name: &ConversationName,
    user: &UserId,
    after: Seq,
) -> Result<(Vec<Seq>, Seq), ViewError> {
    let records = view.after(name, after, PAGE)?;
    let mut messages = Vec::new();
    for record in records.iter().filter(|record| record.sender == *user) {
        if matches!(event(record)?.kind, EventKind::Message { .. }) {
            messages.push(record.seq);
        }
    }
    Ok((messages, records.last().map_or(after, |record| record.seq)))
}
