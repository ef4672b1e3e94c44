//! What a link leaves to chance.

use std::f64::consts::TAU;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::millis;
use crate::profile::Conditions;

/// How long the jitter remembers: after so long it has forgotten all but a third (1/e) of what it was.
const JITTER_MEMORY_S: f64 = 0.1;

/// How many standard deviations the jitter is at most.
const JITTER_MAX: f64 = 3.0;

/// A generator for each kind of chance, so that changing one condition changes no other's decisions.
#[derive(Debug)]
pub(super) struct Chance {
    loss: StdRng,
    duplicate: StdRng,
    reorder: StdRng,
    jitter: StdRng,
    is_in_burst: bool,
    /// In standard deviations; none before the first packet.
    last_jitter: Option<(Duration, f64)>,
}

/// What one packet has drawn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Luck {
    pub(super) is_lost: bool,
    pub(super) is_duplicated: bool,
    pub(super) is_held_back: bool,
    /// On the way, behind the line.
    pub(super) delay: Duration,
}

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        let mut seeds = StdRng::seed_from_u64(seed);
        let mut next = || StdRng::from_rng(&mut seeds);
        Self {
            loss: next(),
            duplicate: next(),
            reorder: next(),
            jitter: next(),
            is_in_burst: false,
            last_jitter: None,
        }
    }

    pub(super) fn draw(&mut self, now: Duration, conditions: &Conditions) -> Luck {
        let jitter_ms = conditions.jitter_ms * self.jitter(now);
        Luck {
            is_lost: self.is_lost(conditions.loss_percent / 100.0, conditions.loss_burst_packets),
            is_duplicated: self.duplicate.random::<f64>() < conditions.duplicate_percent / 100.0,
            is_held_back: self.reorder.random::<f64>() < conditions.reorder_percent / 100.0,
            delay: millis((conditions.delay_ms + jitter_ms).max(0.0)),
        }
    }

    /// A Gilbert-Elliott channel. A burst ends at each packet with one by its mean length, and begins as
    /// often as the share of lost packets needs.
    fn is_lost(&mut self, share: f64, burst: f64) -> bool {
        let draw = self.loss.random::<f64>();
        let is_lost = if burst <= 1.0 {
            draw < share
        } else if self.is_in_burst {
            draw >= 1.0 / burst
        } else {
            draw < share / (burst * (1.0 - share))
        };
        self.is_in_burst = is_lost;
        is_lost
    }

    /// An Ornstein-Uhlenbeck process: normally distributed at any time, and the nearer to its last value the
    /// less time has gone by.
    fn jitter(&mut self, now: Duration) -> f64 {
        let fresh = self.normal();
        let jitter = self.last_jitter.map_or(fresh, |(then, jitter)| {
            let kept = (-now.saturating_sub(then).as_secs_f64() / JITTER_MEMORY_S).exp();
            jitter * kept + fresh * (1.0 - kept * kept).sqrt()
        });
        self.last_jitter = Some((now, jitter));
        jitter.clamp(-JITTER_MAX, JITTER_MAX)
    }

    /// A value of the standard normal distribution (Box-Muller).
    fn normal(&mut self) -> f64 {
        // Above 0, whose logarithm is not finite.
        let radius = 1.0 - self.jitter.random::<f64>();
        let angle = self.jitter.random::<f64>();
        (-2.0 * radius.ln()).sqrt() * (TAU * angle).cos()
    }
}
