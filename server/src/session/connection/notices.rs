//! What a connection is told by others, and what it tells them.

use std::sync::Arc;

use quoth_core::authorize::Action;
use quoth_core::membership::Actor;
use quoth_protocol::ConversationName;
use quoth_protocol::codec::encode_datagram;
use quoth_protocol::frame::{ServerFrame, feature};

use super::{CONTROL_WAITING_BYTES_MAX, Connection, Ended};
use crate::engine::Typing;
use crate::session::end::End;
use crate::session::{inbox, presence};
use crate::sessions::{Seen, Told};

impl Connection {
    /// Does what others have told this connection.
    pub(super) fn told(&mut self, told: Told) -> Result<(), End> {
        match told {
            Told::Goodbye(goodbye) => Err(End::Goodbye(goodbye)),
            Told::Presence(seen) => {
                for Seen { conversation, user, status, last_seen_ms } in seen {
                    self.writer.push(&ServerFrame::Presence { conversation, user, status, last_seen_ms });
                }
                Ok(())
            }
            Told::Review(conversations) => {
                if let Some(signed_in) = &self.signed_in {
                    let shared = Arc::clone(&signed_in.shared);
                    self.streams.spawn(async move {
                        for conversation in conversations {
                            presence::review(&shared, &conversation).await;
                        }
                        Ended::Task
                    });
                }
                Ok(())
            }
            Told::Status => {
                let open = self.signed_in.iter().flat_map(|signed_in| signed_in.shared.open.names());
                open.for_each(|conversation| self.service.engine.roster_changed(&conversation));
                Ok(())
            }
        }
    }

    /// Passes on that this connection's user types.
    pub(super) fn typing(&mut self, conversation: ConversationName, now_ms: u64) {
        let Some(signed_in) = &mut self.signed_in else { return };
        let is_in_time = signed_in.typing_rate.take(now_ms);
        let shared = &signed_in.shared;
        let grant = Arc::clone(&shared.grant.borrow());
        let Some(access) = shared.open.get(&conversation).filter(|_| is_in_time) else { return };
        let actor = Actor::User(&grant);
        if access.stand(actor).standing.allows(actor, Action::Typing, now_ms).is_err() {
            return;
        }
        let notice = Typing { conversation, user: grant.user.clone() };
        let shared = Arc::clone(shared);
        self.streams.spawn(async move {
            shared.service.engine.typing(&notice, &shared.typings).await;
            Ended::Task
        });
    }

    /// Tells this connection's client that somebody types.
    pub(super) fn tell_typing(&mut self, notice: Typing) {
        let frame = ServerFrame::Typing { conversation: notice.conversation, user: notice.user };
        let features = self.signed_in.as_ref().map_or(0, |signed_in| signed_in.shared.features);
        if features & feature::DATAGRAMS != 0 && self.transport.send_datagram(encode_datagram(&frame)) {
            return;
        }
        if self.writer.waiting_bytes() < CONTROL_WAITING_BYTES_MAX {
            self.writer.push(&frame);
        }
    }

    /// Tells this connection's client what has changed in its user's list.
    pub(super) fn tell_rows(&mut self, next: inbox::Next) -> Result<(), End> {
        match next {
            inbox::Next::Rows(rows) => {
                rows.into_iter().for_each(|row| self.writer.push(&ServerFrame::InboxRow(Box::new(row))));
                Ok(())
            }
            inbox::Next::End(code) => {
                Err(End::Close(code, "rows of the inbox were not taken, or cannot be read"))
            }
        }
    }
}
