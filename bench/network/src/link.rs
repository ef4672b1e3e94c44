//! One direction of a network as a state machine: no IO and no clock, so any time can be told to it.

mod chance;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use chance::Chance;
use serde::Serialize;

use crate::profile::Conditions;

/// One direction. Times are counted from any moment that stays the same, and never go back.
///
/// A packet goes onto the line behind those before it, at the line's rate, then is lost or is on its way for
/// the delay. Packets come out in the order in which they went in, unless the conditions hold some back.
#[derive(Debug)]
pub struct Link {
    conditions: Conditions,
    chance: Chance,
    is_blacked_out: bool,
    under_way: BinaryHeap<Reverse<UnderWay>>,
    /// When the line has sent all that was put onto it.
    line_free_at: Duration,
    /// When the last packet that was not held back is due.
    last_due: Duration,
    next_index: u64,
    /// One more than the highest index that came out.
    passed: u64,
    counts: Counts,
}

/// Ordered by when it is due, then by when it came.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct UnderWay {
    due: Duration,
    index: u64,
    packet: Vec<u8>,
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It will come out once.
    Carried,
    /// It will come out twice.
    Duplicated,
    /// It is lost on the way.
    Lost,
    /// It would have waited for too long.
    QueueFull,
    /// It is larger than the MTU.
    TooBig,
    /// The direction is blacked out.
    BlackedOut,
}

/// A packet that comes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Departure {
    /// When it was due.
    pub due: Duration,
    /// The packet.
    pub packet: Vec<u8>,
}

/// How many packets had which fate. All that were sent, and one more for each duplicate, are in exactly one
/// of the others, `reordered` and `duplicated` aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counts {
    /// Went in.
    pub sent: u64,
    /// Came out, duplicates as well.
    pub delivered: u64,
    /// Are on their way.
    pub under_way: u64,
    /// Were lost by chance.
    pub lost: u64,
    /// Found a full queue.
    pub queue_full: u64,
    /// Were larger than the MTU.
    pub too_big: u64,
    /// Came in a blackout.
    pub blacked_out: u64,
    /// Came out after a packet that had gone in later.
    pub reordered: u64,
    /// Came out, or will, once more than they went in.
    pub duplicated: u64,
}

impl Link {
    /// A link with nothing on it. The same seed gives the n-th packet the same luck, whenever it comes; only
    /// the jitter depends on the time as well.
    #[must_use]
    pub fn new(conditions: Conditions, seed: u64) -> Self {
        Self {
            conditions,
            chance: Chance::new(seed),
            is_blacked_out: false,
            under_way: BinaryHeap::new(),
            line_free_at: Duration::ZERO,
            last_due: Duration::ZERO,
            next_index: 0,
            passed: 0,
            counts: Counts::default(),
        }
    }

    /// Conditions for packets from now on. Those under way stay as they are, and later ones stay behind them.
    pub fn set_conditions(&mut self, conditions: Conditions) {
        self.conditions = conditions;
    }

    /// Begins or ends a blackout, in which each packet that comes is lost. Those under way go on.
    pub fn set_blacked_out(&mut self, is_blacked_out: bool) {
        self.is_blacked_out = is_blacked_out;
    }

    /// Takes a packet.
    pub fn push(&mut self, now: Duration, packet: Vec<u8>) -> Fate {
        let fate = self.fate(now, packet);
        self.counts.sent += 1;
        match fate {
            Fate::Carried => {}
            Fate::Duplicated => self.counts.duplicated += 1,
            Fate::Lost => self.counts.lost += 1,
            Fate::QueueFull => self.counts.queue_full += 1,
            Fate::TooBig => self.counts.too_big += 1,
            Fate::BlackedOut => self.counts.blacked_out += 1,
        }
        fate
    }

    fn fate(&mut self, now: Duration, packet: Vec<u8>) -> Fate {
        // Drawn for each packet, whatever becomes of it: so the n-th packet's luck depends on nothing else.
        let luck = self.chance.draw(now, &self.conditions);
        if self.is_blacked_out {
            return Fate::BlackedOut;
        }
        if packet.len() > usize::from(self.conditions.mtu_bytes) {
            return Fate::TooBig;
        }
        let line_begins = self.line_free_at.max(now);
        if line_begins - now > millis(self.conditions.queue_ms) {
            return Fate::QueueFull;
        }
        self.line_free_at = line_begins + self.time_on_line(packet.len());
        if luck.is_lost {
            // It has taken its time on the line: losses are behind the queue, on the air.
            return Fate::Lost;
        }
        let in_order = self.last_due.max(self.line_free_at + luck.delay);
        let due = if luck.is_held_back {
            in_order + millis(self.conditions.reorder_ms)
        } else {
            self.last_due = in_order;
            in_order
        };
        if luck.is_duplicated {
            self.carry(due, packet.clone());
            self.carry(due, packet);
            return Fate::Duplicated;
        }
        self.carry(due, packet);
        Fate::Carried
    }

    fn time_on_line(&self, bytes: usize) -> Duration {
        let bits = 8.0 * f64::from(u32::try_from(bytes).unwrap_or(u32::MAX));
        // Bits by kilobits per second are milliseconds.
        self.conditions.rate_kbit_s.map_or(Duration::ZERO, |rate| millis(bits / rate))
    }

    fn carry(&mut self, due: Duration, packet: Vec<u8>) {
        self.under_way.push(Reverse(UnderWay { due, index: self.next_index, packet }));
        self.next_index += 1;
    }

    /// When the next packet is due.
    #[must_use]
    pub fn next_at(&self) -> Option<Duration> {
        self.under_way.peek().map(|Reverse(next)| next.due)
    }

    /// The next packet that is due by now.
    pub fn pop(&mut self, now: Duration) -> Option<Departure> {
        if self.next_at()? > now {
            return None;
        }
        let Reverse(UnderWay { due, index, packet }) = self.under_way.pop()?;
        self.counts.delivered += 1;
        self.counts.reordered += u64::from(index < self.passed);
        self.passed = self.passed.max(index + 1);
        Some(Departure { due, packet })
    }

    /// What has become of the packets until now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts { under_way: self.under_way.len() as u64, ..self.counts }
    }
}

fn millis(ms: f64) -> Duration {
    Duration::from_secs_f64(ms / 1e3)
}

#[cfg(test)]
mod tests;
