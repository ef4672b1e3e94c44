//! From the start of a server's process on a large folder to its first answer.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use quoth_protocol::ConversationName;
use quoth_protocol::frame::{ClientFrame, Fetch, FetchRange, ServerFrame};

use super::client::{body, runtime};
use super::stored::{Stored, room};
use super::{Plan, Report};
use crate::process::ServerProcess;
use crate::wire::{Frames, Peer, publish};

const GROUP_RECORDS: u64 = 512;
const CONVERSATIONS: u64 = 1_000;

/// Conversations that are written to before the kill; one connection may have 48 open.
const LOADED_CONVERSATIONS: u64 = 32;

/// How long the server is under load before it is killed: several of the view's flushes.
const LOAD: Duration = Duration::from_secs(5);

pub(super) fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let dir = tempfile::tempdir_in(&plan.dir)?;
    let data = dir.path().join("data");
    let small = first_answer(&data)?.0;
    Stored { conversations: CONVERSATIONS, messages: plan.stored_messages, group_records: GROUP_RECORDS }
        .fill(&data.join("store"))?;
    for _ in 0..plan.rounds {
        let clean = first_answer(&data)?.0;
        kill_under_load(ServerProcess::start(&data)?)?;
        let (after_kill, head) = first_answer(&data)?;
        anyhow::ensure!(head > 0, "the server has lost everything");
        let note = format!(
            "{} messages; after a clean stop {clean:.3} s, on a new folder {small:.3} s",
            plan.stored_messages
        );
        report.round(after_kill, note);
    }
    Ok(())
}

/// Starts a server, asks for a page of history, stops it. Gives seconds until the answer, and the last seq in
/// it.
fn first_answer(data: &Path) -> anyhow::Result<(f64, u64)> {
    let started = Instant::now();
    let server = ServerProcess::start(data)?;
    let head = runtime()?.block_on(async {
        let (endpoint, peer) = connect(&server).await?;
        let mut frames = Frames::open(&peer.quic).await?;
        let conversation = ConversationName::new(room(0))?;
        frames
            .write(&ClientFrame::Fetch(Fetch { conversation, range: FetchRange::Latest, limit: 50 }))
            .await?;
        let mut last = 0;
        loop {
            match frames.next().await?.context("a page has no end")? {
                ServerFrame::Event(event) => last = event.seq.0,
                ServerFrame::PageEnd { .. } => break,
                other => anyhow::bail!("a page has {other:?}"),
            }
        }
        let elapsed_s = started.elapsed().as_secs_f64();
        peer.close(&endpoint).await;
        anyhow::Ok((elapsed_s, last))
    })?;
    server.terminate()?;
    Ok(head)
}

async fn connect(server: &ServerProcess) -> anyhow::Result<(quinn::Endpoint, Peer)> {
    let endpoint = quinn::Endpoint::client(([127, 0, 0, 1], 0).into())?;
    let peer = Peer::connect(&endpoint, server.address(), &server.ca_file(), &server.token("alice")?).await?;
    Ok((endpoint, peer))
}

/// Publishes as fast as it goes for a while, and kills the server meanwhile.
fn kill_under_load(server: ServerProcess) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let (_endpoint, peer) = connect(&server).await?;
        let mut tasks = Vec::new();
        for conversation in 0..LOADED_CONVERSATIONS {
            let name = room(conversation);
            let (mut frames, _) = peer.open(&name, rand::random(), None).await?;
            tasks.push(tokio::spawn(async move {
                for n in 1.. {
                    frames.write(&publish(n, body(Instant::now()))).await?;
                    if n > 64 {
                        frames.next().await?;
                    }
                }
                anyhow::Ok(())
            }));
        }
        tokio::time::sleep(LOAD).await;
        anyhow::ensure!(tasks.iter().all(|task| !task.is_finished()), "a publisher ended before the server");
        server.kill()
    })
}
