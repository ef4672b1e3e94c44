//! A flood of first packets, beside honest clients that talk and connect.

use std::time::{Duration, Instant};

use anyhow::ensure;
use quoth_bench::process::Usage;
use quoth_tests::hostile::first_packets::FirstPackets;
use quoth_tests::hostile::honest::{Honest, connects};
use quoth_tests::hostile::{median, p99};

use crate::{Target, seconds};

/// Packets in a second.
const PER_SECOND: u32 = 20_000;

/// Different packets: more than there can be handshakes in the time that one may take.
const PACKETS: usize = 8_000;

/// What connecting may take under the flood over what it takes without, at p99. A Retry makes it a round trip
/// longer, and a packet of the handshake that is lost is repeated after a second at the earliest: so the
/// median is what is judged in CI, and the p99 told. The figure `flood` has the p99.
const RATIO_OF_MEDIANS_MAX: f64 = 5.0;

#[test]
fn a_flood_of_first_packets_keeps_nobody_out() -> anyhow::Result<()> {
    let target = Target::start(&[])?;
    let (server, address) = (&target.server, target.server.address());
    let packets = FirstPackets::make(PACKETS)?;
    packets.check(address)?;
    let honest = Honest::start(server)?;
    // As long as under the flood, so that both have their share of what else the machine does.
    let (began, lasts) = (Instant::now(), seconds(5.0));
    let quiet = connects(server, "alice", lasts)?;
    let quiet_talk = honest.since(began)?;
    let cpu_before = Usage::of(server.pid())?.cpu_s;
    let began = Instant::now();
    let (flood, flooded) = packets.flood_while(address, PER_SECOND, || connects(server, "alice", lasts))?;
    let cpu_s = Usage::of(server.pid())?.cpu_s - cpu_before;
    let talk = honest.since(began)?;
    let grown = target.assert_bounded("a flood of first packets")?;
    honest.end()?;
    let ratio = |one: Duration, other: Duration| one.as_secs_f64() / other.as_secs_f64();
    println!(
        "{:.0} first packets a second for {:.1?}; the server took {cpu_s:.2} s and {grown} bytes",
        flood.per_second(),
        flood.lasted,
    );
    println!(
        "connecting, p50 and p99: {:?} {:?} without ({}), {:?} {:?} under the flood ({}): {:.2} and {:.2} times",
        median(&quiet),
        p99(&quiet),
        quiet.len(),
        median(&flooded),
        p99(&flooded),
        flooded.len(),
        ratio(median(&flooded), median(&quiet)),
        ratio(p99(&flooded), p99(&quiet)),
    );
    println!(
        "delivery, p50 and p99: {:?} {:?} without, {:?} {:?} under the flood",
        median(&quiet_talk),
        p99(&quiet_talk),
        median(&talk),
        p99(&talk)
    );
    let log = target.log();
    ensure!(log.contains("connection attempts were not taken up"), "the log tells nothing: {log}");
    let ratio = ratio(median(&flooded), median(&quiet));
    ensure!(ratio <= RATIO_OF_MEDIANS_MAX, "{ratio}");
    Ok(())
}
