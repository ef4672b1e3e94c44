//! When messages are due, and of whom. Pure.

use std::time::Duration;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::profile::{Arrival, Payload, Shape};

/// Messages that are due within one of these are due at its end: a timer that rang for each of 100,000
/// messages a second would take the processor that is measured.
const TICK: Duration = Duration::from_micros(200);

/// A message to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// Behind the begin of the schedule.
    pub at: Duration,
    /// Which publisher, counted over the whole load.
    pub publisher: u32,
    /// How long it is.
    pub content: Content,
}

/// What fills a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// So many bytes.
    Bytes(usize),
    /// This text.
    Text(Bytes),
}

/// A line of a conversation that somebody has had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When it was said, behind the first line of its conversation.
    pub at: Duration,
    /// What was said.
    pub text: Bytes,
}

/// The messages of an open loop, in the order in which they are due. The same seed gives the same schedule.
pub fn messages(
    shape: &Shape,
    payload: &Payload,
    length: Duration,
    seed: u64,
) -> impl Iterator<Item = Due> + use<> {
    let publishers = shape.conversations * shape.publishers;
    let (arrival, rate_per_s, payload) = (shape.arrival, shape.rate_per_s, payload.clone());
    let mut rng = StdRng::seed_from_u64(seed);
    let mut at_s = 0.0;
    let mut order = (0..publishers).cycle();
    let mut i: u64 = 0;
    std::iter::from_fn(move || {
        at_s = match arrival {
            Arrival::Even => i as f64 / rate_per_s,
            // Whoever waits at random for the next one sees exponential gaps.
            Arrival::Poisson => at_s - (1.0 - rng.random::<f64>()).ln() / rate_per_s,
            Arrival::Burst => (i / u64::from(publishers) * u64::from(publishers)) as f64 / rate_per_s,
        };
        i += 1;
        let at = round_up(Duration::from_secs_f64(at_s));
        let publisher = match arrival {
            Arrival::Poisson => rng.random_range(0..publishers),
            Arrival::Even | Arrival::Burst => order.next().unwrap_or_default(),
        };
        (at < length).then(|| Due { at, publisher, content: Content::Bytes(payload.bytes(rng.random())) })
    })
}

/// The messages of conversations that were had, `speed` times as fast: publisher p is the p-th conversation.
/// What is said within one minute of a log that tells minutes only is spread over it by whoever has read the
/// log.
#[must_use]
pub fn replay(conversations: &[Vec<Line>], publishers: u32, speed: f64, length: Duration) -> Vec<Due> {
    let mut messages = Vec::new();
    for (publisher, lines) in (0..publishers).zip(conversations.iter().cycle()) {
        for line in lines {
            let at = round_up(line.at.div_f64(speed));
            if at < length {
                messages.push(Due { at, publisher, content: Content::Text(line.text.clone()) });
            }
        }
    }
    messages.sort_by_key(|due| due.at);
    messages
}

fn round_up(at: Duration) -> Duration {
    let ticks = at.as_nanos().div_ceil(TICK.as_nanos());
    TICK.saturating_mul(u32::try_from(ticks).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Profile;

    fn shape(arrival: &str) -> Shape {
        let text = format!(
            "about = \"\"\nkind = \"open\"\nconversations = 4\nmembers = 2\nconnections = 2\nrate_per_s = 1000\narrival = \
             \"{arrival}\""
        );
        Profile::parse(&text).expect("a profile").shape
    }

    fn made(arrival: &str) -> Vec<Due> {
        messages(&shape(arrival), &Payload::default(), Duration::from_secs(10), 1).collect()
    }

    #[test]
    fn the_rate_is_kept_and_times_rise() {
        for (arrival, tolerance) in [("even", 0), ("burst", 4), ("poisson", 400)] {
            let made = made(arrival);
            assert!(made.len().abs_diff(10_000) <= tolerance, "{arrival}: {}", made.len());
            assert!(made.is_sorted_by_key(|due| due.at), "{arrival}");
            let of_each = |publisher| made.iter().filter(|due| due.publisher == publisher).count();
            assert!((0..4).all(|p| of_each(p).abs_diff(2_500) <= tolerance), "{arrival}");
        }
    }

    #[test]
    fn bursts_come_together_and_even_messages_apart() {
        assert!(made("burst").chunks(4).all(|burst| burst.iter().all(|due| due.at == burst[0].at)));
        assert!(made("even").windows(2).all(|pair| pair[1].at - pair[0].at == Duration::from_millis(1)));
    }

    #[test]
    fn a_seed_repeats() {
        assert_eq!(made("poisson"), made("poisson"));
    }

    #[test]
    fn a_replay_is_faster_and_keeps_texts() {
        let line = |s, text: &'static str| Line {
            at: Duration::from_secs(s),
            text: Bytes::from_static(text.as_bytes()),
        };
        let logs = [vec![line(0, "a"), line(60, "b"), line(6_000, "c")], vec![line(20, "d")]];
        let made = replay(&logs, 3, 20.0, Duration::from_secs(10));
        let told: Vec<_> =
            made.iter().map(|due| (due.at.as_millis(), due.publisher, due.content.clone())).collect();
        let text = |text: &'static str| Content::Text(Bytes::from_static(text.as_bytes()));
        let wanted = [(0, 0, "a"), (0, 2, "a"), (1_000, 1, "d"), (3_000, 0, "b"), (3_000, 2, "b")];
        assert_eq!(told, wanted.map(|(ms, publisher, t)| (ms, publisher, text(t))));
    }
}
