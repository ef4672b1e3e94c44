//! A flood of first packets from a pool of addresses, each of which begins a handshake that is never finished.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, ensure};
use quinn::Endpoint;
use quinn_proto::EndpointConfig;
use quoth_protocol::ALPN;
use quoth_tests::wire::{Peer, client_config};

use crate::honest::Honest;
use crate::{Target, p99, run, seconds};

/// Packets in a second.
const PER_SECOND: u32 = 20_000;

/// Different packets, which are repeated: more than there can be handshakes in the time that one may take.
const PACKETS: usize = 8_000;

/// Addresses of loopback that they come from.
const ADDRESSES: u16 = 512;

/// Packets that are sent in one go.
const BATCH: u32 = 20;

/// Between the beginnings of two connections, at least.
const CONNECT_INTERVAL: Duration = Duration::from_millis(20);

/// What connecting may take under the flood over what it takes without, at p99. A Retry makes it a round trip longer, and a packet of
/// the handshake that is lost is repeated after a second at the earliest: so the median is what is judged in CI, and the p99 told.
const RATIO_OF_MEDIANS_MAX: f64 = 5.0;

/// The first packets of clients that go no further.
fn first_packets(server: SocketAddr, ca: &std::path::Path) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut endpoint = quinn_proto::Endpoint::new(Arc::new(EndpointConfig::default()), None, false, None);
    let config = client_config(ca, ALPN)?;
    let packet = |_| {
        let (_, mut connection) = endpoint.connect(Instant::now(), config.clone(), server, "localhost")?;
        let mut packet = Vec::new();
        let transmit = connection.poll_transmit(Instant::now(), 1, &mut packet).context("a first packet")?;
        packet.truncate(transmit.size);
        Ok(packet)
    };
    (0..PACKETS).map(packet).collect()
}

/// Sends packets at their rate until told to end; says how many.
fn flood(server: SocketAddr, packets: &[Vec<u8>], ends: &AtomicBool) -> anyhow::Result<u64> {
    let sockets: Vec<_> = (0..ADDRESSES)
        .map(|n| {
            let [high, low] = (n + 1).to_be_bytes();
            let socket = UdpSocket::bind((Ipv4Addr::new(127, 1, high, low), 0))?;
            socket.connect(server)?;
            anyhow::Ok(socket)
        })
        .collect::<Result<_, _>>()?;
    let began = Instant::now();
    let mut sent = 0_u32;
    let mut all = packets.iter().cycle().zip(sockets.iter().cycle());
    while !ends.load(Ordering::Relaxed) {
        for (packet, socket) in all.by_ref().take(BATCH as usize) {
            // What does not fit anywhere is lost, as on any way.
            let _lost = socket.send(packet);
        }
        sent += BATCH;
        let due = Duration::from_secs(1) * sent / PER_SECOND;
        std::thread::sleep(due.saturating_sub(began.elapsed()));
    }
    Ok(sent.into())
}

/// What it takes to connect and sign in, again and again for so long.
async fn connects(
    server: SocketAddr,
    ca: &std::path::Path,
    token: &str,
    lasts: Duration,
) -> anyhow::Result<Vec<Duration>> {
    let endpoint = Endpoint::client(([127, 0, 0, 1], 0).into())?;
    let began = Instant::now();
    let mut ticks = tokio::time::interval(CONNECT_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut took = Vec::new();
    while began.elapsed() < lasts {
        ticks.tick().await;
        let began = Instant::now();
        let peer = Peer::connect(&endpoint, server, ca, token).await?;
        took.push(began.elapsed());
        peer.quic.close(0_u32.into(), b"");
    }
    endpoint.wait_idle().await;
    Ok(took)
}

fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2]
}

#[test]
fn a_flood_of_first_packets_keeps_nobody_out() -> anyhow::Result<()> {
    let target = Target::start(&[])?;
    let (server, ca) = (target.server.address(), target.server.ca_file());
    let token = target.server.token("alice")?;
    let packets = first_packets(server, &ca)?;
    let honest = Honest::start(&target.server)?;
    // As long as under the flood, so that both have their share of what else the machine does.
    let (began, lasts) = (Instant::now(), seconds(5.0));
    let quiet = run(connects(server, &ca, &token, lasts))?;
    let quiet_talk = honest.since(began)?;
    let cpu_before = quoth_bench::process::Usage::of(target.server.pid())?.cpu_s;
    let ends = AtomicBool::new(false);
    let began = Instant::now();
    let (sent, flooded) = std::thread::scope(|scope| {
        let floods = scope.spawn(|| flood(server, &packets, &ends));
        let connected = run(connects(server, &ca, &token, lasts));
        ends.store(true, Ordering::Relaxed);
        let sent = floods.join().map_err(|_| anyhow!("it panicked"))?;
        anyhow::Ok((sent?, connected?))
    })?;
    let lasted = began.elapsed();
    let cpu_s = quoth_bench::process::Usage::of(target.server.pid())?.cpu_s - cpu_before;
    let talk = honest.since(began)?;
    let grown = target.assert_bounded("a flood of first packets")?;
    honest.end()?;
    let ratio = |one: Duration, other: Duration| one.as_secs_f64() / other.as_secs_f64();
    let per_second = sent as f64 / lasted.as_secs_f64();
    println!(
        "{per_second:.0} first packets a second for {lasted:.1?}; the server took {cpu_s:.2} s and {grown} bytes"
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
