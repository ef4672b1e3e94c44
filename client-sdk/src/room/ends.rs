//! Ends: of a stream, of waits, of reading, of the client; and who hears of each.

use std::time::Duration;

use quoth_protocol::{Action, Code};
use tokio::time::Instant;

use super::stream::Slot;
use super::{Command, Room, Waiter};
use crate::events::EventsError;
use crate::send::SendError;
use crate::state::Reason;
use crate::wire::StreamEnd;

impl Room {
    /// The stream is gone: decides by the reason who hears of it and whether there is a next one.
    pub(super) fn lost(&mut self, end: StreamEnd) {
        let epoch = self.stream.epoch();
        let opened_at = if let Slot::Open(stream) = &self.stream { stream.opened_at } else { None };
        self.backoff.held_for(opened_at.map_or(Duration::ZERO, |at| at.elapsed()));
        let next = if matches!(end, StreamEnd::ConnectionLost(_)) || self.is_leaving(epoch) {
            Slot::Closed { not_before: None, lost_epoch: epoch }
        } else {
            let not_before = Instant::now() + self.backoff.next_delay(&mut self.rng, None);
            Slot::Closed { not_before: Some(not_before), lost_epoch: None }
        };
        let stream = std::mem::replace(&mut self.stream, next);
        match end {
            StreamEnd::ConnectionLost(_) | StreamEnd::Finished => {}
            StreamEnd::Protocol(text) => {
                tracing::warn!(conversation = %self.name, text, "the server broke the protocol");
                if let Slot::Open(stream) = stream {
                    stream.abandon(Code::PROTOCOL);
                }
                if self.reader.is_some() {
                    self.end_reading(|conversation| EventsError::Protocol { conversation, text });
                } else {
                    self.fail_sends(&Reason::Protocol(text));
                }
            }
            // The server drains, or has not yet seen the end of the stream before this one.
            StreamEnd::Reset(Code::GOING_AWAY | Code::ALREADY_OPEN) => {}
            StreamEnd::Reset(code) if code.action() != Action::Stop => self.failed(code, &stream),
            StreamEnd::Reset(code) => self.refused(code, &stream),
        }
        self.outbox.disconnected();
        self.probe.reset();
    }

    /// Whether the connection of this epoch has ended or is about to: what was open on it is opened on the
    /// next one.
    fn is_leaving(&self, epoch: Option<u64>) -> bool {
        let link = self.link.borrow();
        link.session.as_ref().is_none_or(|session| Some(session.epoch) != epoch || session.going_away)
    }

    /// The server refuses the stream for good. If it was to be read, the right to read is what lacks as far
    /// as one can tell, and the sends get a stream that is not read.
    fn refused(&mut self, code: Code, stream: &Slot) {
        let (was_opened, was_to_be_read, is_another_s) = match stream {
            Slot::Open(s) => (s.opened_at.is_some(), s.was_to_be_read, s.has_older_unanswered()),
            Slot::Opening(_) | Slot::Closed { .. } => (false, false, false),
        };
        // It may be the cursor of a reader that was given up: the present one has not been judged.
        if code == Code::CURSOR_AHEAD && is_another_s {
            return;
        }
        if self.reader.is_some() {
            return self.end_reading(|conversation| EventsError::Refused { conversation, code });
        }
        // The reader that this is for has been given up.
        if was_to_be_read {
            return;
        }
        let reason = Reason::Code { code, text: String::new() };
        if was_opened {
            return self.fail_sends(&reason);
        }
        for expired in self.outbox.refuse() {
            match expired.attempted {
                true => self.tell_expired(expired.n, true, expired.waiters, &reason),
                false => self.answer(expired.n, Err(code.into()), expired.waiters),
            }
        }
    }

    /// The server could not serve the stream, and is asked again.
    fn failed(&mut self, code: Code, stream: &Slot) {
        let was_read = matches!(stream, Slot::Open(stream) if stream.is_delivering);
        if self.reader.as_mut().is_some_and(|reader| was_read && reader.failed(code)) {
            self.end_reading(|conversation| EventsError::Failed { conversation, code });
        }
    }

    fn fail_sends(&mut self, reason: &Reason) {
        for expired in self.outbox.fail() {
            self.tell_expired(expired.n, expired.attempted, expired.waiters, reason);
        }
    }

    /// Tells those whose time is up.
    pub(super) fn expire(&mut self) {
        for expired in self.outbox.expire(Instant::now()) {
            self.tell_expired(expired.n, expired.attempted, expired.waiters, &Reason::TimedOut);
        }
    }

    fn tell_expired(&self, n: u64, attempted: bool, waiters: Vec<Waiter>, reason: &Reason) {
        for waiter in waiters {
            let reason = reason.clone();
            let error = if attempted {
                SendError::UnknownOutcome { id: self.id(n), reason }
            } else {
                SendError::NotSent { reason }
            };
            waiter.send(Err(error)).ok();
        }
    }

    /// Ends what must end when the client closes.
    pub(super) fn see_link(&mut self) {
        let (closing, closed) = {
            let link = self.link.borrow_and_update();
            (link.closing, link.closed.clone())
        };
        if closing {
            // Sends that are queued already are still taken; later ones fail at once.
            self.commands.close();
            self.end_reading(|_| EventsError::Closed(closed.unwrap_or(Reason::Closed)));
        }
    }

    /// Why the client has ended, if it has.
    pub(super) fn ended(&self) -> Option<Reason> {
        self.link.borrow().closed.clone()
    }

    /// Tells everyone that the client has ended.
    pub(super) fn fail(&mut self, reason: &Reason) {
        self.leaving = true;
        self.stream = Slot::Closed { not_before: None, lost_epoch: None };
        self.end_reading(|_| EventsError::Closed(reason.clone()));
        self.fail_sends(reason);
        self.commands.close();
        while let Ok(command) = self.commands.try_recv() {
            let reason = reason.clone();
            match command {
                Command::Send { waiter, .. } => drop(waiter.send(Err(SendError::NotSent { reason }))),
                Command::Resend { n, waiter, .. } => {
                    drop(waiter.send(Err(SendError::UnknownOutcome { id: self.id(n), reason })));
                }
                Command::Read { ready, .. } => drop(ready.send(Err(EventsError::Closed(reason)))),
            }
        }
    }
}
