//! That somebody types: passed on to those who read, and told to this connection's client.

use std::sync::Arc;

use quoth_core::authorize::Action;
use quoth_core::membership::Actor;
use quoth_core::session::Input;
use quoth_protocol::codec::{decode, encode_datagram};
use quoth_protocol::frame::{ClientFrame, ServerFrame, feature};
use quoth_protocol::limits::DATAGRAM_BYTES_MAX;
use quoth_protocol::{Code, ConversationName};

use super::{Connection, Ended};
use crate::engine::Typing;
use crate::session::end::End;

impl Connection {
    /// Takes a datagram, which is a notice or nothing.
    pub(super) fn datagram(&mut self, datagram: &[u8]) -> Result<(), End> {
        if self.datagrams.is_over(self.service.engine.now_ms()) {
            return Err(End::Close(Code::RATE_LIMITED, "too many datagrams"));
        }
        match decode(datagram) {
            _ if datagram.len() > DATAGRAM_BYTES_MAX => Ok(()),
            Ok(frame @ ClientFrame::Typing { .. }) => self.input(Input::Frame(frame)),
            Ok(_) | Err(_) => Err(End::Close(Code::PROTOCOL, "a datagram is no typing notice")),
        }
    }

    /// Passes on that this connection's user types.
    pub(super) fn typing(&mut self, conversation: ConversationName, now_ms: u64) {
        let Some(signed_in) = &mut self.signed_in else { return };
        let is_in_time = signed_in.typing_rate.take(now_ms);
        let shared = &signed_in.shared;
        let grant = Arc::clone(&shared.grant.borrow());
        let Some(access) = shared.open.get(&conversation).filter(|_| is_in_time) else { return };
        let (actor, judged_ms) = (Actor::User(&grant), shared.service.engine.judged_ms());
        if access.stand(actor).standing.allows(actor, Action::Typing, judged_ms).is_err() {
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
        if self.backlog().has_room() {
            self.writer.push(&frame);
        }
    }
}
