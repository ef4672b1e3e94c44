//! What a connection is told by others, and what it tells them.

use std::sync::Arc;

use quoth_protocol::frame::ServerFrame;
use quoth_protocol::presence::Status;

use super::{Connection, Ended};
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
            Told::Unwatched(conversations) => {
                let Some(signed_in) = &self.signed_in else { return Ok(()) };
                let user = signed_in.shared.grant.borrow().user.clone();
                for conversation in conversations {
                    // Of itself a client is told nothing else.
                    self.writer.push(&ServerFrame::Presence {
                        conversation,
                        user: user.clone(),
                        status: Status::Offline,
                        last_seen_ms: 0,
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

    /// Tells this connection's client what has changed in its user's list.
    pub(super) fn tell_rows(&mut self, next: inbox::Next) -> Result<(), End> {
        match next {
            inbox::Next::Rows(rows) => {
                for (known, row) in rows {
                    self.writer.push(&ServerFrame::InboxRow { known, row: Box::new(row) });
                }
                Ok(())
            }
            inbox::Next::End(code) => {
                Err(End::Close(code, "rows of the inbox were not taken, or cannot be read"))
            }
        }
    }
}
