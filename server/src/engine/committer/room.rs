//! What becomes of requests while the disk has no room: what is new is refused, and everything else goes on.
//!
//! While the reserve of the store is released there is room for what frees space, and for nothing else that
//! is new; without a reserve, or when it is used up too, there is room for nothing.
//!
//! A repeat of a stored message is answered as ever, since its sender would else take it for one that is not
//! stored.

use std::collections::HashSet;
use std::sync::Arc;

use quoth_core::membership::Refusal;
use quoth_core::sequencer::Sequencer;
use quoth_protocol::Code;
use quoth_store::{LogError, StoreError};

use super::{Committer, Group};
use crate::engine::drafts::Drafts;
use crate::engine::inbox::Written;
use crate::engine::mailbox::{NotStored, Outcome, Stored};
use crate::engine::{PublishRequest, Request};

/// When a client may try again, in milliseconds. Room is looked for once in a second.
const RETRY_AFTER_MS: u32 = 1_000;

/// A request comes to more than the log takes at once, which none of those that there are does.
const TOO_LARGE: Refusal = Refusal::new(
    Code::TOO_LARGE,
    "what this comes to is more than the log takes at once; raise store.log_segment_bytes, or ask for less",
);

/// Nothing is wrong with it but that it stood beside such a request.
const AGAIN: Refusal = Refusal {
    code: Code::STORAGE_FULL,
    retry_after_ms: 1,
    reason: "the log did not take what was stored together with this: try again",
};

/// Nothing new is stored.
const FULL: Refusal = Refusal {
    code: Code::STORAGE_FULL,
    retry_after_ms: RETRY_AFTER_MS,
    reason: "the disk is full: nothing new is stored until there is room",
};

impl Request {
    /// Whether it is stored on a full disk too, with the reserve.
    pub(super) const fn is_urgent(&self) -> bool {
        match self {
            Self::Publish(_) => false,
            Self::Change(change) => change.is_urgent(),
            Self::Note(note) => note.is_urgent(),
        }
    }
}

impl Committer {
    /// Whether what is new must be refused.
    pub(super) fn is_full(&mut self) -> Result<bool, LogError> {
        if self.log_is_full {
            match self.parts.log.make_room() {
                Ok(()) => {
                    tracing::info!("the log has room again: messages are stored");
                    self.log_is_full = false;
                }
                Err(error) if error.is_full() => return Ok(true),
                Err(error) => return Err(error),
            }
        }
        // Until then the view does not have what the sequencer has forgotten.
        let is_forgetful = self.applied() < self.remembers_from;
        Ok(is_forgetful || self.parts.applier.as_ref().is_some_and(|applier| applier.is_full()))
    }

    /// Whether there is room only for what is urgent. Space is freed at once then.
    pub(super) fn is_short(&mut self) -> bool {
        let is_short = !self.parts.reserve.is_held();
        if is_short && !self.is_short {
            let _number = self.parts.passes.want();
        }
        self.is_short = is_short;
        is_short
    }

    /// Answers requests of which nothing new is stored.
    pub(super) fn refuse(&mut self, requests: &mut Vec<Request>, now_ms: u64) -> Result<Group, StoreError> {
        let mut group = Group::default();
        for request in requests.drain(..) {
            self.refuse_one(request, now_ms, &mut group)?;
        }
        Ok(group)
    }

    /// The same of one.
    pub(super) fn refuse_one(
        &mut self,
        request: Request,
        now_ms: u64,
        group: &mut Group,
    ) -> Result<(), StoreError> {
        match request {
            Request::Publish(publish) => self.refuse_new(publish, FULL, now_ms, group)?,
            Request::Change(change) => group.answers.push((change.answer, Err(FULL))),
            // Whoever waits for it is told that it is not stored.
            Request::Note(_) => {}
        }
        Ok(())
    }

    /// Answers a publish that must not be stored: only what is there already is acked.
    pub(super) fn refuse_new(
        &mut self,
        request: PublishRequest,
        refusal: Refusal,
        now_ms: u64,
        group: &mut Group,
    ) -> Result<(), StoreError> {
        let is_new = if self.applied() < self.remembers_from {
            None
        } else {
            match self.is_new(&request.publisher, request.append.n) {
                Ok(is_new) => Some(is_new),
                Err(error) if error.concerns_one_conversation() => None,
                Err(error) => return Err(error.into()),
            }
        };
        let n = request.append.n;
        let result = match is_new {
            Some(false) => return self.publish(request, now_ms, group),
            Some(true) => Err(NotStored::Refused(refusal)),
            // It may be stored already, so it is to be sent again.
            None => Err(NotStored::Unknown(refusal.code)),
        };
        group.outcomes.push((Arc::clone(&request.publisher), Outcome { n, result }));
        Ok(())
    }

    /// Takes back a group for which the log had no room.
    pub(super) fn no_room(&mut self, group: Group, error: &LogError) -> Group {
        tracing::error!(%error, "the log has no room: messages are refused until there is some");
        self.log_is_full = true;
        self.take_back(group, FULL)
    }

    /// Takes back a group that no segment of the log could hold. It was closed when it had enough, so its
    /// last request is to blame, before which it had so many outcomes and answers.
    pub(super) fn too_large(
        &mut self,
        group: Group,
        (outcomes, answers): (usize, usize),
        error: &LogError,
    ) -> Group {
        tracing::error!(%error, "a request comes to more than the log takes at once: it is refused");
        let mut group = self.take_back(group, AGAIN);
        for (_, outcome) in &mut group.outcomes[outcomes..] {
            if outcome.result == Err(NotStored::Refused(AGAIN)) {
                outcome.result = Err(NotStored::Refused(TOO_LARGE));
            }
        }
        group.answers[answers..].iter_mut().for_each(|(_, done)| *done = Err(TOO_LARGE));
        group
    }

    /// Takes back a group: whatever is new in it is refused, and nothing of it was ever sequenced.
    fn take_back(&mut self, group: Group, refusal: Refusal) -> Group {
        let Group { records, mut outcomes, changes, mut answers, noted: _, written, own: _, repeats } = group;
        changes.iter().for_each(super::change::Changed::take_back);
        for (_, Written { known, moves_to_ms, changed_ms }) in &written {
            known.take_back(moves_to_ms.is_some(), changed_ms.is_some());
        }
        let places: HashSet<_> = records.iter().map(|record| (&record.conversation, record.seq)).collect();
        for (publisher, outcome) in &mut outcomes {
            outcome.result = match outcome.result {
                // Of an earlier group.
                Ok(Stored { seq, .. }) if !places.contains(&(&publisher.conversation, seq)) => continue,
                Err(NotStored::Unknown(_)) => continue,
                // Refusals too may be for what is taken back.
                Ok(_) | Err(NotStored::Refused(_)) => Err(NotStored::Refused(refusal)),
            };
        }
        answers.iter_mut().for_each(|(_, done)| *done = Err(refusal));
        self.forget();
        Group { outcomes, answers, repeats, ..Group::default() }
    }

    /// Forgets what is ahead of what is stored, and all else with it: it is read again from the view, once
    /// that has everything that is stored.
    fn forget(&mut self) {
        let forgotten = (std::mem::take(&mut self.sequencer), std::mem::take(&mut self.drafts));
        self.runtime.spawn_blocking(move || drop::<(Sequencer, Drafts)>(forgotten));
        // They are learned again, as after a restart.
        self.slow_modes = quoth_core::membership::slow::SlowModes::new(self.parts.judged.now_ms());
        // An edit that was taken back has not used its turn.
        self.slow_edits = quoth_core::membership::slow::SlowModes::default();
        (self.generation_position, self.horizon) = (self.position, self.position);
        self.remembers_from = self.position;
    }
}
