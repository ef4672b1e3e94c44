//! One lane: what has come and is not taken yet, the credit of both directions, and how far both sides have
//! ended.

use std::task::Waker;

use bytes::Bytes;
use quoth_protocol::Code;
use quoth_protocol::limits::{LANE_CREDIT_OF_CLIENT_BYTES, LANE_CREDIT_OF_SERVER_BYTES};

use crate::incoming::Incoming;
use crate::state::Side;

/// Credit is given back in steps of this part of what a direction begins with: few messages, and no sender
/// that waits while its receiver has room for most of it.
const CREDIT_STEPS: u32 = 4;

/// A lane of one connection.
#[derive(Debug)]
pub(crate) struct Lane {
    /// Given with the first frame.
    pub(crate) number: Option<u32>,
    /// Frames that have come.
    incoming: Incoming,
    incoming_end: IncomingEnd,
    /// What the peer may still send, in bytes.
    receive_credit: i64,
    /// What was taken and is not given back yet, in bytes.
    taken: u32,
    /// Both in steps of this, in bytes.
    credit_step: u32,
    pub(crate) receiver: Option<Waker>,

    /// What may still be sent, in bytes.
    pub(crate) send_credit: i64,
    /// Whether this side is finished.
    pub(crate) is_finished: bool,
    pub(crate) sender: Option<Waker>,
    /// Whether the lane is among those that wait for room.
    pub(crate) waits_for_room: bool,

    /// With which code the lane was reset, by either side.
    pub(crate) reset: Option<Code>,
    /// Halves that somebody holds.
    pub(crate) halves: u8,
    /// Whether the connection counts it among those that are not over.
    pub(crate) counts_as_open: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IncomingEnd {
    Open,
    /// The peer has finished its side.
    Finished,
    /// Nobody takes what comes.
    Unwanted,
    /// Both.
    UnwantedAndFinished,
}

/// Why frames were not taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The peer's side was finished.
    Finished,
    /// The peer has no credit.
    NoCredit,
}

/// What reading a lane gives.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Frames, and the credit to be given back now.
    Frames(Bytes, Option<u32>),
    Reset(Code),
    Finished,
    /// Nothing has come yet.
    Nothing,
}

impl Lane {
    pub(crate) fn new(side: Side, number: Option<u32>) -> Self {
        let (receive, send) = match side {
            Side::Server => (LANE_CREDIT_OF_CLIENT_BYTES, LANE_CREDIT_OF_SERVER_BYTES),
            Side::Client => (LANE_CREDIT_OF_SERVER_BYTES, LANE_CREDIT_OF_CLIENT_BYTES),
        };
        Self {
            number,
            incoming: Incoming::default(),
            incoming_end: IncomingEnd::Open,
            receive_credit: receive.into(),
            taken: 0,
            credit_step: receive / CREDIT_STEPS,
            receiver: None,
            send_credit: send.into(),
            is_finished: false,
            sender: None,
            waits_for_room: false,
            reset: None,
            halves: 2,
            counts_as_open: true,
        }
    }

    /// Whether nothing more goes in either direction.
    pub(crate) fn is_over(&self) -> bool {
        self.reset.is_some() || self.is_finished && self.peer_has_finished()
    }

    fn peer_has_finished(&self) -> bool {
        matches!(self.incoming_end, IncomingEnd::Finished | IncomingEnd::UnwantedAndFinished)
    }

    /// Takes in frames of a message that cost so much.
    pub(crate) fn receive(&mut self, frames: Bytes, cost: usize) -> Result<(), Refusal> {
        if self.peer_has_finished() {
            return Err(Refusal::Finished);
        }
        if self.receive_credit <= 0 {
            return Err(Refusal::NoCredit);
        }
        self.receive_credit -= i64::try_from(cost).unwrap_or(i64::MAX);
        if self.incoming_end == IncomingEnd::Open {
            self.incoming.push(frames, cost);
            self.wake_receiver();
        }
        Ok(())
    }

    /// The peer has finished its side.
    pub(crate) fn finish_incoming(&mut self) {
        self.incoming_end = match self.incoming_end {
            IncomingEnd::Open | IncomingEnd::Finished => IncomingEnd::Finished,
            IncomingEnd::Unwanted | IncomingEnd::UnwantedAndFinished => IncomingEnd::UnwantedAndFinished,
        };
        self.wake_receiver();
    }

    /// Nobody will take what comes. Says whether the peer may think that somebody will.
    pub(crate) fn give_up_incoming(&mut self) -> bool {
        self.incoming.clear();
        let was_open = self.incoming_end == IncomingEnd::Open;
        if was_open {
            self.incoming_end = IncomingEnd::Unwanted;
        }
        was_open && self.reset.is_none()
    }

    pub(crate) fn take(&mut self) -> Taken {
        if let Some(code) = self.reset {
            return Taken::Reset(code);
        }
        match self.incoming.pop() {
            Some((frames, cost)) => Taken::Frames(frames, self.credit_for(cost)),
            None if self.peer_has_finished() => Taken::Finished,
            None => Taken::Nothing,
        }
    }

    fn credit_for(&mut self, cost: usize) -> Option<u32> {
        self.taken = self.taken.saturating_add(u32::try_from(cost).unwrap_or(u32::MAX));
        if self.taken < self.credit_step || self.peer_has_finished() {
            return None;
        }
        let credit = std::mem::take(&mut self.taken);
        self.receive_credit += i64::from(credit);
        Some(credit)
    }

    /// Ends both directions. What has come and was not taken is dropped.
    pub(crate) fn end(&mut self, code: Code) {
        self.reset.get_or_insert(code);
        self.incoming.clear();
        self.wake();
    }

    pub(crate) fn add_send_credit(&mut self, bytes: u32) {
        self.send_credit = self.send_credit.saturating_add(bytes.into());
        self.wake_sender();
    }

    pub(crate) fn wake(&mut self) {
        self.wake_receiver();
        self.wake_sender();
    }

    fn wake_receiver(&mut self) {
        if let Some(waker) = self.receiver.take() {
            waker.wake();
        }
    }

    pub(crate) fn wake_sender(&mut self) {
        if let Some(waker) = self.sender.take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use quoth_protocol::limits::LANE_CREDIT_OF_CLIENT_BYTES;

    use super::{CREDIT_STEPS, Lane, Refusal, Taken};
    use crate::state::Side;

    const STEP: usize = (LANE_CREDIT_OF_CLIENT_BYTES / CREDIT_STEPS) as usize;

    #[test]
    fn credit_is_given_back_for_what_is_taken() {
        let mut lane = Lane::new(Side::Server, Some(0));
        // So large that each message is taken for itself.
        let frames = Bytes::from(vec![0; 3_000]);
        for _ in 0..CREDIT_STEPS {
            lane.receive(frames.clone(), STEP).unwrap();
        }
        assert_eq!(lane.receive(frames.clone(), 1), Err(Refusal::NoCredit));
        assert_eq!(lane.take(), Taken::Frames(frames.clone(), Some(u32::try_from(STEP).unwrap())));
        assert_eq!(
            lane.receive(frames.clone(), 3 * STEP),
            Ok(()),
            "the last one may take more than there is"
        );
        assert_eq!(lane.receive(frames, 1), Err(Refusal::NoCredit));
    }

    #[test]
    fn what_nobody_takes_is_dropped_and_gives_no_credit() {
        let mut lane = Lane::new(Side::Server, Some(0));
        lane.receive(Bytes::from_static(b"x"), STEP).unwrap();
        assert!(lane.give_up_incoming());
        for _ in 1..CREDIT_STEPS {
            lane.receive(Bytes::from_static(b"x"), STEP).unwrap();
        }
        assert_eq!(lane.incoming.pop(), None);
        assert_eq!(lane.receive(Bytes::from_static(b"x"), 1), Err(Refusal::NoCredit));
        lane.finish_incoming();
        lane.is_finished = true;
        assert!(lane.is_over());
    }
}
