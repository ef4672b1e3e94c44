//! What honest clients notice of a flood of first packets from a pool of addresses, and what memory it costs
//! the server.
//!
//! Server, honest clients and flood are in a network namespace, so that nothing else uses its loopback and
//! all of the pool's addresses are its own. All have the same processors: the thread that floods takes what
//! another machine would, and its share is told.

use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, ensure};
use quoth_bench::process::Usage;
use quoth_network::Namespace;

use super::machine::{begin_peak, peak_kib, resident_kib};
use super::target::Target;
use super::{Plan, Report};
use crate::hostile::first_packets::FirstPackets;
use crate::hostile::honest::{Honest, connects};
use crate::hostile::{median, p99};

/// First packets in a second.
const PER_SECOND: u32 = 20_000;

/// Different packets, which are sent again and again: those of 6 s. A handshake may take 5 s, so each is new
/// to the server.
const PACKETS: usize = 6 * PER_SECOND as usize;

pub(super) fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let namespace = Namespace::with_loopback()?;
    std::thread::scope(|scope| {
        let measures = scope.spawn(|| {
            namespace.enter()?;
            (0..plan.rounds).try_for_each(|_| round(plan, report))
        });
        measures.join().map_err(|_| anyhow!("it panicked"))?
    })
}

fn round(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let lasts = Duration::from_secs(plan.flood_s);
    let target = Target::quoth(&plan.dir)?;
    let (server, pid) = (target.server(), target.pid());
    let packets = FirstPackets::make(PACKETS)?;
    packets.check(target.address())?;
    let honest = Honest::start(server)?;
    let began = Instant::now();
    let quiet = connects(server, "alice", lasts)?;
    let quiet_talk = honest.since(began)?;
    begin_peak(pid)?;
    let (before_kib, before_s) = (resident_kib(pid)?, Usage::of(pid)?.cpu_s);
    let lost_before = lost(target.address().port())?;
    let began = Instant::now();
    let (flood, flooded) =
        packets.flood_while(target.address(), PER_SECOND, || connects(server, "alice", lasts))?;
    let (cpu_s, lost) = (Usage::of(pid)?.cpu_s - before_s, lost(target.address().port())? - lost_before);
    let flooded_talk = honest.since(began)?;
    let grown_mib = peak_kib(pid)?.saturating_sub(before_kib) as f64 / 1024.0;
    honest.end()?;
    ensure!(!quiet.is_empty() && !flooded.is_empty(), "nobody has connected");
    let share = |cpu_s: f64| cpu_s / flood.lasted.as_secs_f64() * 100.0;
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let note = format!(
        "{:.0} first packets/s for {:.1} s, {lost} packets lost in front of the server; processors: server {:.0} %, flood {:.0} % of \
         one; connecting p50 {:.2} ms, p99 {:.2} ({}), quiet {:.2}, {:.2} ({}); delivery p99 {:.2} ms, quiet {:.2}",
        flood.per_second(),
        flood.lasted.as_secs_f64(),
        share(cpu_s),
        share(flood.cpu_s),
        ms(median(&flooded)),
        ms(p99(&flooded)),
        flooded.len(),
        ms(median(&quiet)),
        ms(p99(&quiet)),
        quiet.len(),
        ms(p99(&flooded_talk)),
        ms(p99(&quiet_talk)),
    );
    let ratio = p99(&flooded).as_secs_f64() / p99(&quiet).as_secs_f64();
    report.round_of_rows(&[ratio, grown_mib, flood.per_second()], note);
    Ok(())
}

/// Packets that the namespace's sockets on a port had no room for.
fn lost(port: u16) -> anyhow::Result<u64> {
    let (all, port) = (std::fs::read_to_string("/proc/thread-self/net/udp")?, format!(":{port:04X}"));
    let of_port = all.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let of_port = of_port.filter(|line| line.get(1).is_some_and(|local| local.ends_with(&port)));
    of_port.map(|line| Ok(line.last().context("no drops")?.parse::<u64>()?)).sum()
}
