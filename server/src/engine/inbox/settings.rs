//! What users want of conversations in their lists.

use std::sync::Arc;

use quoth_core::authorize::Grant;
use quoth_core::inbox::{PINNED, Settings};
use quoth_core::membership::Refusal;
use quoth_protocol::frame::EventKind;
use quoth_protocol::limits::INBOX_PINNED_MAX;
use quoth_protocol::{Code, ConversationName, Seq};

use super::rows::settings;
use crate::engine::changes::unreadable;
use crate::engine::{Done, Engine};

impl Engine {
    /// A user wants this of a conversation, which the user is in. It is stored when this is ready.
    ///
    /// # Errors
    /// [`Code::TOO_MANY`] when as many are pinned as may be; [`Code::STORE_FAILED`] when it is not known what
    /// becomes of it.
    pub async fn set_inbox(
        &self,
        grant: &Arc<Grant>,
        conversation: &ConversationName,
        wanted: Settings,
    ) -> Result<Done, Refusal> {
        let (me, name) = (grant.user.clone(), conversation.clone());
        self.inner.reads.applied(self.released()).await;
        let read = self.inner.reads.run(move |view| {
            let pinned =
                view.registers(&ConversationName::of_user(&me), &[PINNED], None, INBOX_PINNED_MAX)?;
            Ok((settings(view, &me, &name)?, pinned.len()))
        });
        let (before, pinned) = read.await.map_err(|error| unreadable(&error))?;
        if before == wanted {
            return Ok(Done { conversation: ConversationName::me(), seq: Seq::ZERO, time_ms: 0 });
        }
        if wanted.pinned && !before.pinned && pinned >= INBOX_PINNED_MAX {
            return Err(Refusal::new(Code::TOO_MANY, "too many are pinned: let go of others first"));
        }
        let Settings { archived, muted_until_ms, pinned } = wanted;
        let conversation = conversation.clone();
        self.tell_own_log(grant, EventKind::InboxSet { conversation, archived, muted_until_ms, pinned }).await
    }
}
