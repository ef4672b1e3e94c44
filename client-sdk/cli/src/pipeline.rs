//! Many sends on the way at once, in order, and what became of them.

use std::collections::VecDeque;

use quoth_client::{Conversation, SendError, SendOptions, Sending, Seq};

/// Sends whose ack is awaited. Outcome: the next one waits for the oldest ack.
const IN_FLIGHT_MAX: usize = 256;

/// What has become of the messages so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Messages with an answer of any kind; they are answered in their order.
    pub(crate) settled: u64,
    /// Of these, so many are stored.
    pub(crate) acked: u64,
    /// Of these, so many were there already.
    pub(crate) duplicates: u64,
    /// Of the settled ones, so many are stored or not, and nobody knows.
    pub(crate) unknown: u64,
    pub(crate) first: Option<Seq>,
    pub(crate) last: Option<Seq>,
}

/// Sends to one conversation.
#[derive(Debug)]
pub(crate) struct Pipeline {
    room: Conversation,
    in_flight: VecDeque<Sending>,
    tally: Tally,
}

impl Pipeline {
    pub(crate) fn new(room: Conversation) -> Self {
        Self { room, in_flight: VecDeque::new(), tally: Tally::default() }
    }

    pub(crate) fn tally(&self) -> Tally {
        self.tally
    }

    pub(crate) fn is_full(&self) -> bool {
        self.in_flight.len() >= IN_FLIGHT_MAX
    }

    /// Sends whose ack has not come yet.
    pub(crate) fn unsettled(&self) -> usize {
        self.in_flight.len()
    }

    /// Sends a message behind the others.
    pub(crate) async fn push(&mut self, message: SendOptions) -> Result<(), SendError> {
        self.in_flight.push_back(self.room.send_pipelined(message).await?);
        Ok(())
    }

    /// Waits for the oldest answer; for ever when nothing is on the way. Cancel-safe.
    pub(crate) async fn settle_one(&mut self) -> Result<(), SendError> {
        let Some(oldest) = self.in_flight.front_mut() else { return std::future::pending().await };
        let answer = oldest.await;
        self.in_flight.pop_front();
        self.tally.settled += 1;
        let is_unknown = matches!(answer, Err(SendError::UnknownOutcome { .. } | SendError::Abandoned));
        self.tally.unknown += u64::from(is_unknown);
        let ack = answer?;
        self.tally.acked += 1;
        self.tally.duplicates += u64::from(ack.duplicate);
        self.tally.first = Some(self.tally.first.map_or(ack.seq, |first| first.min(ack.seq)));
        self.tally.last = Some(self.tally.last.map_or(ack.seq, |last| last.max(ack.seq)));
        Ok(())
    }
}
