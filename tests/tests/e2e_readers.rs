//! Any interleaving of publishes, stalls, disconnects and resumes shows every reader the same contiguous log:
//! against the real server over real QUIC.

#[path = "e2e_readers/actors.rs"]
mod actors;

use std::time::{Duration, Instant};

use actors::{Action, Place, Room};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use quinn::{Connection, ConnectionError, Endpoint, VarInt};
use quoth_protocol::frame::{ClientFrame, Open, ServerFrame, Start};
use quoth_protocol::{ALPN, Code, ConversationName, ProducerId, Seq};
use quoth_tests::embedded::EmbeddedServer;
use quoth_tests::wire::{Frames, Peer, client_config, hello, publish};

/// A bound of a hang.
const PATIENCE: Duration = Duration::from_secs(60);

const PUBLISHERS: usize = 2;
const READERS: usize = 3;

/// What the protocol grants before a sign-in, besides the control stream.
const STREAMS_BEHIND_HELLO: usize = 3;

/// Conversations of the race between a message and an Open.
const RACES: u32 = 200;

fn places() -> impl Strategy<Value = Place> {
    prop_oneof![
        4 => Just(Place::Cursor),
        2 => (1_u64..200).prop_map(Place::Back),
        1 => (0_u32..50).prop_map(Place::Last),
        1 => Just(Place::Live),
    ]
}

fn actions() -> impl Strategy<Value = Action> {
    let (publisher, reader) = (0..PUBLISHERS, 0..READERS);
    let bytes = prop_oneof![4 => 0_usize..300, 1 => 2_000_usize..20_000];
    prop_oneof![
        8 => (publisher.clone(), 1_usize..30, bytes)
            .prop_map(|(publisher, count, bytes)| Action::Publish { publisher, count, bytes }),
        2 => publisher.clone().prop_map(|publisher| Action::Await { publisher }),
        1 => publisher.prop_map(|publisher| Action::DropPublisher { publisher }),
        8 => (reader.clone(), 1_usize..60).prop_map(|(reader, count)| Action::Read { reader, count }),
        1 => reader.clone().prop_map(|reader| Action::Pause { reader }),
        4 => (reader.clone(), places()).prop_map(|(reader, to)| Action::Seek { reader, to }),
        1 => reader.prop_map(|reader| Action::DropReader { reader }),
    ]
}

#[test]
fn every_reader_sees_the_same_contiguous_log() -> anyhow::Result<()> {
    let server = EmbeddedServer::start()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let config = ProptestConfig {
        cases: 100,
        failure_persistence: None,
        max_shrink_iters: 100,
        ..ProptestConfig::default()
    };
    let case = std::cell::Cell::new(0);
    let held = TestRunner::new(config).run(&prop::collection::vec(actions(), 10..60), |actions| {
        case.set(case.get() + 1);
        let name = format!("case {}", case.get());
        let ran =
            runtime.block_on(async { Room::new(&server, &name, PUBLISHERS, READERS)?.run(&actions).await });
        let violations = ran.map_err(|error| TestCaseError::fail(format!("{error:#}")))?;
        let told: String = violations.iter().map(|violation| format!("\n  {violation}")).collect();
        prop_assert!(violations.is_empty(), "{told}");
        Ok(())
    });
    if let Err(error) = held {
        panic!("{error}");
    }
    server.stop()
}

#[test]
fn a_message_that_comes_while_a_reader_opens_is_delivered() -> anyhow::Result<()> {
    let server = EmbeddedServer::start()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let endpoint = Endpoint::client(([127, 0, 0, 1], 0).into())?;
        let server_ca = server.ca_file();
        let connect = || Peer::connect(&endpoint, server.address(), &server_ca, server.token());
        let (publisher, reader) = (connect().await?, connect().await?);
        let mut ack_time = Duration::ZERO;
        for race in 0..RACES {
            let name = ConversationName::new(format!("race {race}"))?;
            let (mut sends, _) = publisher.open(name.as_str(), 1, None).await?;
            let mut reads = Frames::open(&reader.quic).await?;
            let published_at = Instant::now();
            sends.write(&publish(1, "now")).await?;
            // The message comes out at about the time of the last ack: let the Open meet it at every
            // distance. Timers are too coarse for that.
            let opens_at = published_at + ack_time.mul_f64(f64::from(race % 50) / 40.0);
            while Instant::now() < opens_at {
                tokio::task::yield_now().await;
            }
            let (producer, from) = (ProducerId(2), Some(Start::After(Seq::ZERO)));
            reads.write(&ClientFrame::Open(Open { conversation: name, producer, from })).await?;
            let _ack = sends.next().await?;
            ack_time = published_at.elapsed();
            loop {
                let frame = tokio::time::timeout(PATIENCE, reads.next()).await;
                match frame.map_err(|_| anyhow::anyhow!("race {race}: the message has not come"))?? {
                    Some(ServerFrame::Event(event)) if event.seq == Seq(1) => break,
                    Some(ServerFrame::Opened { .. }) => {}
                    other => anyhow::bail!("race {race}: {other:?}"),
                }
            }
            for mut frames in [sends, reads] {
                frames.send.finish()?;
                while frames.next().await?.is_some() {}
            }
        }
        anyhow::Ok(())
    })?;
    server.stop()
}

/// Says Hello, and opens as many streams as the server grants before it has answered, with a publish on each.
async fn open_behind_hello(quic: &Connection, token: &str) -> anyhow::Result<(Frames, Vec<Frames>)> {
    let mut control = Frames::open(quic).await?;
    control.write(&hello(token)?).await?;
    let mut streams = Vec::new();
    for i in 0..STREAMS_BEHIND_HELLO {
        let mut frames = tokio::time::timeout(PATIENCE, Frames::open(quic)).await??;
        let (conversation, from) =
            (ConversationName::new(format!("early {i}"))?, Some(Start::After(Seq::ZERO)));
        frames.write(&ClientFrame::Open(Open { conversation, producer: ProducerId(1), from })).await?;
        frames.write(&publish(1, "early")).await?;
        streams.push(frames);
    }
    Ok((control, streams))
}

#[test]
fn streams_behind_hello_are_held_until_the_sign_in() -> anyhow::Result<()> {
    let server = EmbeddedServer::start()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let endpoint = Endpoint::client(([127, 0, 0, 1], 0).into())?;
        let config = client_config(&server.ca_file(), ALPN)?;
        let connect = || endpoint.connect_with(config.clone(), server.address(), "localhost");
        let refused = connect()?.await?;
        let (mut control, mut streams) = open_behind_hello(&refused, "no token").await?;
        for frames in streams.iter_mut().chain([&mut control]) {
            anyhow::ensure!(frames.next().await.is_err(), "a stream of a refused connection has an answer");
        }
        let ConnectionError::ApplicationClosed(close) = refused.closed().await else {
            anyhow::bail!("no code")
        };
        anyhow::ensure!(close.error_code == VarInt::from_u32(Code::TOKEN_REJECTED.0), "{close}");

        let accepted = connect()?.await?;
        let (mut control, mut streams) = open_behind_hello(&accepted, server.token()).await?;
        let Some(ServerFrame::Welcome(_)) = control.next().await? else { anyhow::bail!("no Welcome") };
        for frames in &mut streams {
            let mut told = Vec::new();
            for _ in 0..3 {
                told.push(match frames.next().await? {
                    Some(ServerFrame::Opened { .. }) => "opened",
                    // Nothing is left of the connection that was refused.
                    Some(ServerFrame::Ack { seq: Seq(1), duplicate: false, .. }) => "ack",
                    Some(ServerFrame::Event(event)) if event.seq == Seq(1) => "event",
                    other => anyhow::bail!("{other:?}"),
                });
            }
            told.sort_unstable();
            anyhow::ensure!(told == ["ack", "event", "opened"], "{told:?}");
        }
        accepted.close(VarInt::from_u32(Code::CLOSED.0), b"");
        endpoint.wait_idle().await;
        anyhow::Ok(())
    })?;
    server.stop()
}
