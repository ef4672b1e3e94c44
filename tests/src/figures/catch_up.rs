//! A reader that comes with an empty cursor to a conversation with many messages: how fast it gets all of
//! them through a server, over a bare stream of as many bytes, and what memory that costs the server.
//!
//! The conversation's messages came one at a time, as where people write, so the view has several in a row
//! only as far as it packs them. The reader decodes every frame and checks that nothing is missing; the floor's counts bytes.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use quoth_bench::process::Usage;
use quoth_protocol::codec::{Decoder, encode};
use quoth_protocol::frame::{ClientFrame, Open, ServerFrame, Start};
use quoth_protocol::limits::FRAME_BYTES_MAX;
use quoth_protocol::{ConversationName, ProducerId, Seq};

use super::bulk::Bulk;
use super::client::{Clients, runtime};
use super::machine::{begin_peak, peak_kib, resident_kib, settle};
use super::stored::{Stored, room};
use super::target::Target;
use super::{Plan, Report};

pub(super) fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let stored = Stored { conversations: 1, messages: plan.catch_up_messages, group_records: 1 };
    let quoth = Target::quoth_with(&plan.dir, &[], |store| stored.fill(store))?;
    let bulk = Bulk::start()?;
    settle(quoth.pid())?;
    let new_kib = resident_kib(quoth.pid())?;
    // The first one fills the view's cache, which has a bound of its own and stays.
    let first = catch_up(&quoth, plan.catch_up_messages)?;
    for _ in 0..plan.rounds {
        let caught_up = catch_up(&quoth, plan.catch_up_messages)?;
        let (own, alike) = runtime()?.block_on(bulk.read(caught_up.bytes))?;
        let mb_per_s = |elapsed: Duration| caught_up.bytes as f64 / 1e6 / elapsed.as_secs_f64();
        let floor = mb_per_s(own).max(mb_per_s(alike));
        let mib = |kib: u64| kib as f64 / 1024.0;
        let note = format!(
            "{} messages of {:.0} bytes: {:.1} MB/s, {:.2} us of the server's time each and {:.2} of the reader's; bare quinn \
             {:.1} with its own settings, {:.1} with our client's; memory {:.1} MiB when new, {:.1} at the most the first time, now {:.1} and {:.1} at \
             the most",
            plan.catch_up_messages,
            caught_up.bytes as f64 / plan.catch_up_messages as f64,
            mb_per_s(caught_up.elapsed),
            caught_up.cpu_s * 1e6 / plan.catch_up_messages as f64,
            caught_up.reader_cpu_s * 1e6 / plan.catch_up_messages as f64,
            mb_per_s(own),
            mb_per_s(alike),
            mib(new_kib),
            mib(first.peak_kib),
            mib(caught_up.before_kib),
            mib(caught_up.peak_kib),
        );
        let growth = mib(caught_up.peak_kib.saturating_sub(caught_up.before_kib));
        report.round_of_rows(&[mb_per_s(caught_up.elapsed) / floor, growth], note);
    }
    bulk.stop()
}

/// What it took.
struct CaughtUp {
    /// From the opening of the stream to the last event.
    elapsed: Duration,
    /// Of the stream.
    bytes: u64,
    /// The server's processor time, in seconds.
    cpu_s: f64,
    /// This process' own meanwhile.
    reader_cpu_s: f64,
    /// The server's memory before, and the most of it meanwhile.
    before_kib: u64,
    peak_kib: u64,
}

fn catch_up(target: &Target, messages: u64) -> anyhow::Result<CaughtUp> {
    runtime()?.block_on(async {
        let mut clients = Clients::of(target)?;
        let peer = clients.connect().await?;
        begin_peak(target.pid())?;
        let cpu_s = || anyhow::Ok([Usage::of(target.pid())?.cpu_s, Usage::of(std::process::id())?.cpu_s]);
        let (before_kib, cpu_before_s) = (resident_kib(target.pid())?, cpu_s()?);
        let started = Instant::now();
        let bytes = read(peer.quic.clone(), messages).await?;
        let elapsed = started.elapsed();
        let cpu_behind_s = cpu_s()?;
        let [cpu_s, reader_cpu_s] = [0, 1].map(|of| cpu_behind_s[of] - cpu_before_s[of]);
        let peak_kib = peak_kib(target.pid())?;
        clients.close().await;
        Ok(CaughtUp { elapsed, bytes, cpu_s, reader_cpu_s, before_kib, peak_kib })
    })
}

/// Reads a conversation from its beginning up to its last message; gives the bytes of the stream.
async fn read(quic: quinn::Connection, messages: u64) -> anyhow::Result<u64> {
    let (mut send, mut recv) = quic.open_bi().await?;
    let (conversation, producer) = (ConversationName::new(room(0))?, ProducerId(0));
    let open = Open { conversation, producer, from: Some(Start::After(Seq::ZERO)) };
    send.write_chunk(encode(&ClientFrame::Open(open))).await?;
    let (mut decoder, mut bytes, mut last) = (Decoder::new(FRAME_BYTES_MAX), 0, Seq::ZERO);
    while last.0 < messages {
        let chunk = recv.read_chunk(usize::MAX, true).await?.context("the reader's stream has ended")?;
        bytes += chunk.bytes.len() as u64;
        decoder.push(&chunk.bytes);
        while let Some(frame) = decoder.next_frame()? {
            match frame {
                ServerFrame::Event(event) => {
                    ensure!(event.seq == last.next(), "event {} follows {last}", event.seq);
                    last = event.seq;
                }
                ServerFrame::Opened { head, .. } => {
                    ensure!(head == Seq(messages), "the conversation's last message is {head}");
                }
                other => bail!("not an event: {other:?}"),
            }
        }
    }
    Ok(bytes)
}
