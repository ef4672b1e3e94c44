//! Histograms and the timeline of a load.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::outcome::{Latency, Tick};

/// Nanoseconds with three digits: any value is told to within 0.1 %.
#[must_use]
pub fn histogram() -> Histogram<u64> {
    with_digits(3)
}

fn with_digits(digits: u8) -> Histogram<u64> {
    let mut histogram =
        Histogram::new(digits).unwrap_or_else(|_| unreachable!("up to five digits are allowed"));
    histogram.auto(true);
    histogram
}

/// Records a duration.
pub fn record(histogram: &mut Histogram<u64>, duration: Duration) {
    let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    histogram.record(nanos).unwrap_or_else(|_| unreachable!("a histogram that grows takes any value"));
}

/// What the clients of one thread have recorded.
#[derive(Debug, Clone)]
pub struct Recorder {
    /// From due to ack, behind the warm-up.
    pub ack: Histogram<u64>,
    /// From due to delivery, behind the warm-up.
    pub delivery: Histogram<u64>,
    /// From due until it was given to the connection, behind the warm-up, without what the connection did not
    /// take: how late the sender was.
    pub publish: Histogram<u64>,
    ticks: Vec<Part>,
    tick: Duration,
    warm_up: Duration,
}

/// A piece of the timeline, of one thread or of several.
#[derive(Debug, Clone)]
struct Part {
    acked: u64,
    delivered: u64,
    ack: Histogram<u64>,
    delivery: Histogram<u64>,
}

impl Default for Part {
    fn default() -> Self {
        // There are hundreds of them, for a picture.
        let coarse = || with_digits(2);
        Self { acked: 0, delivered: 0, ack: coarse(), delivery: coarse() }
    }
}

impl Recorder {
    /// Begins with the warm-up, in ticks of `tick`.
    #[must_use]
    pub fn new(warm_up: Duration, tick: Duration) -> Self {
        Self {
            ack: histogram(),
            delivery: histogram(),
            publish: histogram(),
            ticks: Vec::new(),
            tick,
            warm_up,
        }
    }

    /// Takes a message that is given to the connection now, which took nothing before `taken_from`: that it
    /// came late until then is the system's doing.
    pub fn published(&mut self, at: Duration, due: Duration, taken_from: Duration) {
        if due >= self.warm_up {
            record(&mut self.publish, at.saturating_sub(due.max(taken_from)));
        }
    }

    /// Takes an ack that came `at` behind the epoch, of a message that was due at `due`.
    pub fn acked(&mut self, at: Duration, due: Duration) {
        let age = at.saturating_sub(due);
        if due >= self.warm_up {
            record(&mut self.ack, age);
        }
        let part = self.part(at);
        part.acked += 1;
        record(&mut part.ack, age);
    }

    /// Takes a delivery.
    pub fn delivered(&mut self, at: Duration, due: Duration) {
        let age = at.saturating_sub(due);
        if due >= self.warm_up {
            record(&mut self.delivery, age);
        }
        let part = self.part(at);
        part.delivered += 1;
        record(&mut part.delivery, age);
    }

    /// Takes what another thread has recorded.
    pub fn add(&mut self, other: &Self) {
        add(&mut self.ack, &other.ack);
        add(&mut self.delivery, &other.delivery);
        add(&mut self.publish, &other.publish);
        if self.ticks.len() < other.ticks.len() {
            self.ticks.resize(other.ticks.len(), Part::default());
        }
        for (mine, theirs) in self.ticks.iter_mut().zip(&other.ticks) {
            mine.acked += theirs.acked;
            mine.delivered += theirs.delivered;
            add(&mut mine.ack, &theirs.ack);
            add(&mut mine.delivery, &theirs.delivery);
        }
    }

    /// Acks and deliveries that came from the warm-up's end to `end` behind the epoch, counted in whole
    /// ticks, and the seconds that these are.
    #[must_use]
    pub fn counted_until(&self, end: Duration) -> (u64, u64, f64) {
        let (from, to) = (self.index(self.warm_up), self.index(end));
        let ticks = self.ticks.iter().skip(from).take(to - from);
        let (acked, delivered) = ticks.fold((0, 0), |(a, d), tick| (a + tick.acked, d + tick.delivered));
        (acked, delivered, (to - from) as f64 * self.tick.as_secs_f64())
    }

    /// The timeline, without what is known of the process.
    #[must_use]
    pub fn timeline(&self) -> Vec<Tick> {
        let tick_s = self.tick.as_secs_f64();
        let told = self.ticks.iter().enumerate().map(|(i, part)| {
            let ages = if part.delivered > 0 { &part.delivery } else { &part.ack };
            let us = |q| (!ages.is_empty()).then(|| ages.value_at_quantile(q) as f64 / 1_000.0);
            Tick {
                at_s: i as f64 * tick_s - self.warm_up.as_secs_f64(),
                length_s: tick_s,
                acked: part.acked,
                delivered: part.delivered,
                p50_us: us(0.5),
                p99_us: us(0.99),
                max_us: us(1.0),
                memory_bytes: None,
                cpu: None,
            }
        });
        told.collect()
    }

    fn part(&mut self, at: Duration) -> &mut Part {
        let index = self.index(at);
        if self.ticks.len() <= index {
            self.ticks.resize(index + 1, Part::default());
        }
        &mut self.ticks[index]
    }

    fn index(&self, at: Duration) -> usize {
        usize::try_from(at.as_nanos() / self.tick.as_nanos()).unwrap_or(usize::MAX)
    }
}

fn add(to: &mut Histogram<u64>, other: &Histogram<u64>) {
    // Both grow as they must.
    to.add(other).unwrap_or_else(|_| unreachable!("a histogram that grows takes any value"));
}

/// Histograms of several rounds together.
#[must_use]
pub fn merge<'a>(parts: impl IntoIterator<Item = &'a Histogram<u64>>) -> Histogram<u64> {
    let mut whole = histogram();
    parts.into_iter().for_each(|part| add(&mut whole, part));
    whole
}

/// A histogram in numbers.
#[must_use]
pub fn latency(histogram: &Histogram<u64>) -> Latency {
    let us = |quantile| histogram.value_at_quantile(quantile) as f64 / 1_000.0;
    Latency {
        count: histogram.len(),
        min_us: histogram.min() as f64 / 1_000.0,
        mean_us: histogram.mean() / 1_000.0,
        p50_us: us(0.5),
        p95_us: us(0.95),
        p99_us: us(0.99),
        p99_9_us: us(0.999),
        max_us: histogram.max() as f64 / 1_000.0,
        curve: curve(histogram),
    }
}

/// The distribution at quantiles that are close where a curve bends: eight for each halving of what lies
/// above.
fn curve(histogram: &Histogram<u64>) -> Vec<(f64, f64)> {
    const TICKS_PER_HALF: u32 = 8;
    let us = |nanos: u64| nanos as f64 / 1_000.0;
    let mut points = vec![(0.0, us(histogram.min()))];
    let steps = histogram.iter_quantiles(TICKS_PER_HALF);
    points.extend(steps.map(|step| (step.quantile(), us(step.value_iterated_to()))));
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_warm_up_is_in_the_timeline_alone() {
        let mut recorder = Recorder::new(100 * MS, 100 * MS);
        recorder.delivered(60 * MS, 50 * MS);
        recorder.delivered(102 * MS, 99 * MS);
        recorder.delivered(160 * MS, 150 * MS);
        assert_eq!(recorder.delivery.len(), 1);
        let timeline = recorder.timeline();
        let told: Vec<_> = timeline.iter().map(|tick| (tick.at_s, tick.delivered)).collect();
        assert_eq!(told, [(-0.1, 1), (0.0, 2)]);
        assert_eq!(recorder.counted_until(200 * MS), (0, 2, 0.1));
    }

    #[test]
    fn who_was_not_let_send_was_not_late() {
        let mut recorder = Recorder::new(Duration::ZERO, 100 * MS);
        // Three that were due while the system took nothing until 50 ms, and one that was due later.
        for due_ms in [10, 20, 30, 51] {
            recorder.published(52 * MS, due_ms * MS, 50 * MS);
        }
        let late_ms = |q| recorder.publish.value_at_quantile(q) / 1_000_000;
        assert_eq!((recorder.publish.len(), late_ms(0.25), late_ms(1.0)), (4, 1, 2));
    }

    #[test]
    fn threads_add_up() {
        let mut one = Recorder::new(Duration::ZERO, 100 * MS);
        let mut other = Recorder::new(Duration::ZERO, 100 * MS);
        one.acked(10 * MS, 5 * MS);
        other.acked(250 * MS, 5 * MS);
        one.add(&other);
        assert_eq!((one.ack.len(), one.timeline().len()), (2, 3));
        assert!(one.timeline()[2].p50_us.is_some_and(|us| (us / 245_000.0 - 1.0).abs() < 0.01));
    }

    #[test]
    fn a_latency_tells_its_values_within_three_digits() {
        let mut values = histogram();
        (1..=1_000).for_each(|us| record(&mut values, Duration::from_micros(us)));
        let told = latency(&values);
        for (value, wanted) in
            [(told.p50_us, 500.0), (told.p99_us, 990.0), (told.max_us, 1_000.0), (told.min_us, 1.0)]
        {
            assert!((value / wanted - 1.0_f64).abs() < 0.002, "{value} for {wanted}");
        }
        assert!(told.curve.is_sorted_by(|a, b| a.0 <= b.0 && a.1 <= b.1), "{:?}", told.curve);
    }
}
