use std::time::Duration;

use proptest::prelude::*;

use super::{Counts, Departure, Fate, Link, millis};
use crate::profile::Conditions;

const PACKETS: u32 = 100_000;

/// Packets of a millisecond each: the one at n ms has n in its bytes.
fn packet(n: u32, bytes: usize) -> Vec<u8> {
    let mut packet = vec![0; bytes.max(4)];
    packet[..4].copy_from_slice(&n.to_be_bytes());
    packet
}

fn number(departure: &Departure) -> u32 {
    u32::from_be_bytes(*departure.packet.first_chunk().unwrap())
}

fn at(n: u32) -> Duration {
    Duration::from_millis(n.into())
}

/// Everything that is still under way.
fn drain(link: &mut Link) -> Vec<Departure> {
    std::iter::from_fn(|| link.pop(Duration::MAX)).collect()
}

fn fates(conditions: Conditions, seed: u64) -> Vec<Fate> {
    let mut link = Link::new(conditions, seed);
    (0..PACKETS).map(|n| link.push(at(n), packet(n, 4))).collect()
}

fn share(fates: &[Fate], fate: Fate) -> f64 {
    let count = fates.iter().filter(|given| **given == fate).count();
    f64::from(u32::try_from(count).unwrap()) / f64::from(PACKETS)
}

/// The mean length of the runs of lost packets.
fn mean_burst(fates: &[Fate]) -> f64 {
    let bursts: Vec<_> = fates.chunk_by(|a, b| a == b).filter(|run| run[0] == Fate::Lost).collect();
    let lost = bursts.iter().map(|burst| burst.len()).sum::<usize>();
    f64::from(u32::try_from(lost).unwrap()) / f64::from(u32::try_from(bursts.len()).unwrap())
}

fn near(got: f64, asked: f64) -> bool {
    (got - asked).abs() < 0.06 * asked
}

#[test]
fn as_many_packets_are_lost_as_asked_and_in_such_bursts() {
    for (loss_percent, loss_burst_packets) in [(5.0, 1.0), (5.0, 4.0), (20.0, 2.0), (50.0, 10.0)] {
        let fates = fates(Conditions { loss_percent, loss_burst_packets, ..Conditions::default() }, 1);
        let lost = share(&fates, Fate::Lost);
        assert!(near(lost, loss_percent / 100.0), "{lost} of {loss_percent} %");
        // Losses that know nothing of each other are neighbours by chance.
        let expected =
            if loss_burst_packets > 1.0 { loss_burst_packets } else { 1.0 / (1.0 - loss_percent / 100.0) };
        let burst = mean_burst(&fates);
        assert!(near(burst, expected), "bursts of {burst}, not {expected}");
    }
}

#[test]
fn nothing_and_everything_can_be_lost() {
    assert_eq!(share(&fates(Conditions::default(), 1), Fate::Carried), 1.0);
    let all = Conditions { loss_percent: 100.0, ..Conditions::default() };
    assert_eq!(share(&fates(all, 1), Fate::Lost), 1.0);
}

#[test]
fn as_many_packets_come_twice_as_asked() {
    let conditions = Conditions { duplicate_percent: 10.0, ..Conditions::default() };
    assert!(near(share(&fates(conditions.clone(), 1), Fate::Duplicated), 0.1));
    let mut link = Link::new(Conditions { duplicate_percent: 100.0, ..conditions }, 1);
    link.push(at(0), packet(7, 4));
    let numbers: Vec<_> = drain(&mut link).iter().map(number).collect();
    assert_eq!(numbers, [7, 7]);
}

#[test]
fn a_seed_decides_whenever_the_packets_come() {
    let conditions = Conditions {
        loss_percent: 10.0,
        loss_burst_packets: 3.0,
        duplicate_percent: 5.0,
        jitter_ms: 3.0,
        ..Conditions::default()
    };
    let slow = fates(conditions.clone(), 7);
    let mut link = Link::new(conditions.clone(), 7);
    let fast: Vec<_> = (0..PACKETS).map(|n| link.push(at(n / 100), packet(n, 4))).collect();
    assert_eq!(slow, fast);
    assert_ne!(slow, fates(conditions, 8));
}

#[test]
fn the_delay_is_as_asked_at_any_density() {
    let conditions = Conditions { delay_ms: 50.0, jitter_ms: 5.0, ..Conditions::default() };
    for spacing in [1, 10, 1_000] {
        let mut link = Link::new(conditions.clone(), 1);
        let mut delays = Vec::new();
        for n in 0..PACKETS {
            link.push(at(n * spacing), packet(n, 4));
            while let Some(departure) = link.pop(at(n * spacing)) {
                delays.push((departure.due - at(number(&departure) * spacing)).as_secs_f64() * 1e3);
            }
        }
        let count = f64::from(u32::try_from(delays.len()).unwrap());
        let mean = delays.iter().sum::<f64>() / count;
        let deviation = (delays.iter().map(|delay| (delay - mean).powi(2)).sum::<f64>() / count).sqrt();
        assert!(near(mean, 50.0), "spacing {spacing}: a mean of {mean}");
        assert!((4.0..6.0).contains(&deviation), "spacing {spacing}: a deviation of {deviation}");
        assert!(delays.iter().all(|delay| (35.0 - 1e-6..65.0 + 1e-6).contains(delay)));
    }
}

#[test]
fn only_packets_that_are_held_back_come_late() {
    let conditions =
        Conditions { delay_ms: 5.0, reorder_percent: 10.0, reorder_ms: 2.5, ..Conditions::default() };
    let mut link = Link::new(conditions, 1);
    for n in 0..PACKETS {
        link.push(at(n), packet(n, 4));
    }
    let numbers: Vec<_> = drain(&mut link).iter().map(number).collect();
    let mut highest = 0;
    let mut late = 0_u64;
    for number in &numbers {
        late += u64::from(*number < highest);
        // 2.5 ms: two later ones at most pass by.
        assert!(*number + 2 >= highest);
        highest = highest.max(*number);
    }
    assert_eq!(link.counts().reordered, late);
    // One that is held back passes by no other that is; so a little less than asked.
    let share = f64::from(u32::try_from(late).unwrap()) / f64::from(PACKETS);
    assert!((0.08..=0.105).contains(&share), "{share}");
}

#[test]
fn the_rate_is_kept_and_the_queue_bounded() {
    // A packet of 1250 bytes takes 10 ms.
    let conditions = Conditions { rate_kbit_s: Some(1_000.0), queue_ms: 50.0, ..Conditions::default() };
    let mut link = Link::new(conditions, 1);
    let burst: Vec<_> = (0..8).map(|n| link.push(at(0), packet(n, 1_250))).collect();
    // One on the line, five that wait for 10 to 50 ms, and two too many.
    assert_eq!(burst, [vec![Fate::Carried; 6], vec![Fate::QueueFull; 2]].concat());
    let due: Vec<_> = drain(&mut link).iter().map(|departure| departure.due).collect();
    assert_eq!(due, [10, 20, 30, 40, 50, 60].map(at));
    // The line is free again at 60 ms.
    assert_eq!(link.push(at(9), packet(8, 1_250)), Fate::QueueFull);
    assert_eq!(link.push(at(10), packet(9, 1_250)), Fate::Carried);
    assert_eq!(link.push(at(200), packet(10, 1_250)), Fate::Carried);
    assert_eq!(drain(&mut link).iter().map(|departure| departure.due).collect::<Vec<_>>(), [70, 210].map(at));
}

#[test]
fn what_is_lost_has_taken_its_time_on_the_line() {
    let conditions = Conditions { rate_kbit_s: Some(1_000.0), loss_percent: 100.0, ..Conditions::default() };
    let mut link = Link::new(conditions.clone(), 1);
    assert_eq!(link.push(at(0), packet(0, 1_250)), Fate::Lost);
    link.set_conditions(Conditions { loss_percent: 0.0, ..conditions });
    link.push(at(0), packet(1, 1_250));
    assert_eq!(link.next_at(), Some(at(20)));
}

#[test]
fn a_packet_larger_than_the_mtu_vanishes() {
    let mut link = Link::new(Conditions { mtu_bytes: 1_280, ..Conditions::default() }, 1);
    assert_eq!(link.push(at(0), packet(0, 1_281)), Fate::TooBig);
    assert_eq!(link.push(at(0), packet(0, 1_280)), Fate::Carried);
}

#[test]
fn a_blackout_takes_what_comes_and_leaves_what_is_under_way() {
    let mut link = Link::new(Conditions { delay_ms: 10.0, ..Conditions::default() }, 1);
    link.push(at(0), packet(0, 4));
    link.set_blacked_out(true);
    assert_eq!(link.push(at(1), packet(1, 4)), Fate::BlackedOut);
    link.set_blacked_out(false);
    link.push(at(2), packet(2, 4));
    assert_eq!(link.pop(at(9)), None);
    assert_eq!(drain(&mut link).iter().map(number).collect::<Vec<_>>(), [0, 2]);
    assert_eq!(link.counts(), Counts { sent: 3, delivered: 2, blacked_out: 1, ..Counts::default() });
}

#[test]
fn a_shorter_delay_overtakes_nothing() {
    let mut link = Link::new(Conditions { delay_ms: 100.0, ..Conditions::default() }, 1);
    link.push(at(0), packet(0, 4));
    link.set_conditions(Conditions::default());
    link.push(at(1), packet(1, 4));
    assert_eq!(drain(&mut link).iter().map(number).collect::<Vec<_>>(), [0, 1]);
}

fn conditions() -> impl Strategy<Value = Conditions> {
    let times = (0.0..50.0, 0.0..20.0, 0.0..30.0, 0.0..40.0);
    let shares = (0.0..40.0, 1.0..5.0, 0.0..20.0, prop_oneof![Just(0.0), 0.0..20.0]);
    let line = (prop_oneof![Just(None), (100.0..10_000.0).prop_map(Some)], 576_u16..1_500);
    (times, shares, line).prop_map(|(times, shares, line)| Conditions {
        delay_ms: times.0,
        jitter_ms: times.1,
        reorder_ms: times.2,
        queue_ms: times.3,
        loss_percent: shares.0,
        loss_burst_packets: shares.1,
        duplicate_percent: shares.2,
        reorder_percent: shares.3,
        rate_kbit_s: line.0,
        mtu_bytes: line.1,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_invented_forgotten_or_early(
        conditions in conditions(),
        seed: u64,
        packets in prop::collection::vec((0_u64..3_000, 4_usize..1_600, prop::bool::weighted(0.9)), 1..300),
    ) {
        prop_assert_eq!(conditions.check(), Ok(()));
        let mut link = Link::new(conditions.clone(), seed);
        let (mut now, mut pushed, mut came) = (Duration::ZERO, Vec::new(), Vec::new());
        for (n, (gap_us, bytes, is_lit)) in packets.iter().enumerate() {
            now += Duration::from_micros(*gap_us);
            link.set_blacked_out(!is_lit);
            while let Some(departure) = link.pop(now) {
                prop_assert!(departure.due <= now);
                came.push(departure);
            }
            let packet = packet(u32::try_from(n).unwrap(), *bytes);
            let fate = link.push(now, packet.clone());
            pushed.push((now, packet, fate));
        }
        came.extend(drain(&mut link));
        let times = |n: usize| came.iter().filter(|departure| number(departure) as usize == n).count();
        for (n, (_, _, fate)) in pushed.iter().enumerate() {
            let expected = match fate { Fate::Carried => 1, Fate::Duplicated => 2, _ => 0 };
            prop_assert_eq!(times(n), expected, "packet {}: {:?}", n, fate);
        }
        for departure in &came {
            let (sent, packet, _) = &pushed[number(departure) as usize];
            let least = millis((conditions.delay_ms - 3.0 * conditions.jitter_ms).max(0.0));
            prop_assert_eq!(packet, &departure.packet);
            prop_assert!(departure.due >= *sent + least);
        }
        prop_assert!(came.is_sorted_by_key(|departure| departure.due));
        if conditions.reorder_percent == 0.0 {
            prop_assert!(came.is_sorted_by_key(number));
            prop_assert_eq!(link.counts().reordered, 0);
        }
        let Counts { sent, delivered, under_way, lost, queue_full, too_big, blacked_out, duplicated, .. } =
            link.counts();
        prop_assert_eq!(sent + duplicated, delivered + under_way + lost + queue_full + too_big + blacked_out);
    }

    #[test]
    fn the_line_never_carries_more_than_its_rate(
        rate in 100.0..10_000.0,
        packets in prop::collection::vec((0_u64..3_000, 576_usize..1_500), 1..300),
    ) {
        let mut link = Link::new(Conditions { rate_kbit_s: Some(rate), ..Conditions::default() }, 1);
        let mut now = Duration::ZERO;
        for (n, (gap_us, bytes)) in packets.iter().enumerate() {
            now += Duration::from_micros(*gap_us);
            link.push(now, packet(u32::try_from(n).unwrap(), *bytes));
        }
        for pair in drain(&mut link).windows(2) {
            let bits = 8.0 * f64::from(u32::try_from(pair[1].packet.len()).unwrap());
            let slack = Duration::from_micros(1);
            prop_assert!(pair[1].due - pair[0].due + slack >= millis(bits / rate));
        }
    }
}
