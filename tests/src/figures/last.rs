//! The last messages of a conversation of a large store: from the tail, and from a view that has them in its
//! cache.
//!
//! All is called in this process, without a network, as a session calls it: [`Engine::read_tail`] gives
//! frames, `View::before` records. The floor is a range read of [bare fjall](super::bare_fjall). All three
//! take turns, one conversation after another.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use bytes::Bytes;
use quoth_core::retention::Keeping;
use quoth_core::tail::{Next, Wanted};
use quoth_protocol::frame::ServerFrame;
use quoth_protocol::{ConversationName, Seq};
use quoth_server::engine::Engine;
use quoth_store::{Options, PageLimit, Store, View};

use super::bare_fjall::{BareFjall, decoded};
use super::client::{body, runtime};
use super::machine::settle;
use super::report::Times;
use super::stored::{Stored, room};
use super::{Plan, Report};
use crate::served::{ServedEngine, UserNames};
use crate::wire::{Peer, publish};

const CONVERSATIONS: u64 = 1_000;

/// Messages that are read.
const COUNT: usize = 50;

/// Conversations that are read from the view, and as many other ones from their tails; one connection may
/// have 48 open.
const READ_CONVERSATIONS: u64 = 32;

/// Messages that each tail gets.
const TAIL_MESSAGES: u64 = 64;

/// Times that each conversation is read in a round.
const READS: usize = 100;

const LIMIT: PageLimit = PageLimit { records: COUNT, bytes: usize::MAX };

pub(super) fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let dir = tempfile::tempdir_in(&plan.dir)?;
    let stored = Stored { conversations: CONVERSATIONS, messages: plan.stored_messages, group_records: 512 };
    let rooms = CONVERSATIONS.min(plan.stored_messages);
    ensure!(plan.stored_messages >= CONVERSATIONS * COUNT as u64, "too few messages to read the last ones");
    let store_dir = dir.path().join("store");
    stored.fill(&store_dir)?;
    let bare = BareFjall::create(&dir.path().join("bare"))?;
    bare.fill(stored.groups())?;
    let store = Store::open(Options::new(&store_dir))?;
    let view = Arc::clone(&store.view);
    runtime()?.block_on(async {
        let served = ServedEngine::start(store, UserNames)?;
        let tails = write_tails(&served, (0..READ_CONVERSATIONS).map(room)).await?;
        let names = (rooms - READ_CONVERSATIONS..rooms).map(|number| ConversationName::new(room(number)));
        let names = names.collect::<Result<Vec<_>, _>>()?;
        settle(std::process::id())?;
        for name in &names {
            check(&*view, &bare, name)?;
        }
        for _ in 0..plan.rounds {
            let (mut of_tail, mut of_view, mut of_floor) =
                (Times::default(), Times::default(), Times::default());
            let mut as_served = Times::default();
            for _ in 0..READS {
                for (name, head) in &tails {
                    of_tail.push(timed(|| read_tail(served.engine(), name, *head))?);
                }
                for name in &names {
                    of_view.push(timed(|| Ok(view.before(name, None, LIMIT)?))?);
                }
                for name in &names {
                    of_floor.push(timed(|| bare.last(name, COUNT))?);
                }
                for name in &names {
                    let started = Instant::now();
                    black_box(read_as_fetched(served.engine(), name).await?);
                    as_served.push(started.elapsed());
                }
            }
            let us = |times: &mut Times| times.ms(0.5) * 1_000.0;
            let (tail_us, view_us, floor_us) = (us(&mut of_tail), us(&mut of_view), us(&mut of_floor));
            let note = format!(
                "{} messages; p50 of a read: tail {tail_us:.1} us, view {view_us:.1}, bare fjall {floor_us:.1}; as a page of \
                 history is read {:.1}",
                plan.stored_messages,
                us(&mut as_served),
            );
            report.round_of_rows(&[tail_us / floor_us, view_us / floor_us], note);
        }
        drop(view);
        served.stop().await
    })
}

/// How long a read takes. What it gives is dropped behind the clock on all sides alike.
fn timed<T>(read: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<Duration> {
    let started = Instant::now();
    let found = read()?;
    let elapsed = started.elapsed();
    black_box(found);
    Ok(elapsed)
}

fn read_tail(engine: &Engine, name: &ConversationName, head: Seq) -> anyhow::Result<Vec<Bytes>> {
    let mut frames = Vec::with_capacity(COUNT);
    let cursor = Seq(head.0 - COUNT as u64);
    let wanted = Wanted { cursor, to: head, bytes_max: usize::MAX, keeping: Keeping::default() };
    let next = engine.read_tail(name, wanted, &mut frames);
    ensure!(next == Next::Frames(head) && frames.len() == COUNT, "the tail has something else: {next:?}");
    Ok(frames)
}

/// The frames of a page, read as a session reads them: bounds first, on a thread that may block.
async fn read_as_fetched(engine: &Engine, name: &ConversationName) -> anyhow::Result<Vec<Bytes>> {
    let keeping = Keeping::default();
    let head = engine.applied_bounds(name, keeping).await?.head;
    let at = engine.reading(name, keeping);
    let page = engine.reads().after(name, Seq(head.0 - COUNT as u64), head, LIMIT, at).await?;
    ensure!(page.reached == head, "the view has something else");
    Ok(page.chunks)
}

/// Publishes to conversations until their tails have more than is read; gives their heads.
async fn write_tails(
    served: &ServedEngine,
    names: impl Iterator<Item = String>,
) -> anyhow::Result<Vec<(ConversationName, Seq)>> {
    let endpoint = quinn::Endpoint::client(([127, 0, 0, 1], 0).into())?;
    let peer = Peer::connect(&endpoint, served.address(), served.ca_file(), "writer").await?;
    let mut tails = Vec::new();
    for name in names {
        let (mut frames, mut head) = peer.open(&name, rand::random(), None).await?;
        for n in 1..=TAIL_MESSAGES {
            frames.write(&publish(n, body(Instant::now()))).await?;
        }
        for _ in 1..=TAIL_MESSAGES {
            match frames.next().await? {
                Some(ServerFrame::Ack { seq, .. }) => head = seq,
                other => anyhow::bail!("not an ack: {other:?}"),
            }
        }
        tails.push((ConversationName::new(name)?, head));
    }
    peer.close(&endpoint).await;
    Ok(tails)
}

/// Whether view and floor give the same messages. It brings them into their caches too.
fn check(view: &dyn View, bare: &BareFjall, name: &ConversationName) -> anyhow::Result<()> {
    let of_view = view.before(name, None, LIMIT)?;
    let mut of_floor = bare.last(name, COUNT)?.iter().map(decoded).collect::<Result<Vec<_>, _>>()?;
    of_floor.reverse();
    ensure!(of_view.len() == COUNT && of_view == of_floor, "view and floor have other messages of {name}");
    Ok(())
}
