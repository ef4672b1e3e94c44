//! The real server as a process that is killed, stopped, started twice and left without space, under load;
//! what its clients saw goes through the history checker.
//!
//! `kill -9` leaves the kernel's page cache alone, so it cannot show a missing `fdatasync`: the store's tests
//! and the order of flush and ack in the engine cover that. What a missing one would do after a power cut is
//! played here by putting an older copy of the store in place, and it must be found.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use quinn::ConnectionError;
use quoth_protocol::frame::{ServerFrame, Start};
use quoth_protocol::{Code, Seq};
use quoth_tests::history::plant::{Bug, plant};
use quoth_tests::history::{Kind, Step, Violation, What, check};
use quoth_tests::http::Api;
use quoth_tests::process::ServerProcess;
use quoth_tests::under_kills::{HANG, SMALL_SEGMENTS, World, connect, trimmed};
use quoth_tests::wire::{Frames, publish};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// When the server is killed, in milliseconds after its first ack.
const KILL_AFTER_MS: std::ops::Range<u64> = 50..400;

/// By then a server has ended that was told to: a drain has its seven seconds, and the disk its time.
const DRAINED_WITHIN: Duration = Duration::from_secs(30);

/// Every so many rounds the load goes on until the log has been trimmed, and the kill comes at a random
/// moment behind.
const ROUNDS_TO_TRIM: u64 = 10;

/// The seed of what is random in a test: `QUOTH_SEED`, or a new one. Printed, so that a failure can be had
/// again.
fn seed() -> u64 {
    let seed =
        std::env::var("QUOTH_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(rand::random);
    println!("QUOTH_SEED={seed}");
    seed
}

fn start(data_dir: &Path) -> anyhow::Result<ServerProcess> {
    ServerProcess::start_with(data_dir, "127.0.0.1:0", SMALL_SEGMENTS)
}

fn assert_right(steps: &[Step]) {
    let violations = check(steps);
    let told: String = violations.iter().map(|violation| format!("\n  {violation}")).collect();
    assert!(violations.is_empty(), "{told}");
}

/// Starts the server again, lets everybody finish, and judges all that was seen.
async fn nothing_is_missing(world: World, data_dir: &Path) -> anyhow::Result<()> {
    let server = start(data_dir)?;
    let world = tokio::time::timeout(HANG, world.settle(&server)).await??;
    world.read_logs(&server).await?;
    assert_right(&world.recorder.steps());
    Ok(())
}

/// Log and view have no damage and agree, about events and about registers.
fn assert_sound(data_dir: &Path) -> anyhow::Result<()> {
    let report = quoth_store::verify(&data_dir.join("store"), &mut |_| {})?;
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    Ok(())
}

fn has(violations: &[Violation], kind: Kind) -> bool {
    violations.iter().any(|violation| violation.kind == kind)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acked_is_missing_after_kills_under_load() -> anyhow::Result<()> {
    let rounds = std::env::var("QUOTH_CRASH_ROUNDS").map_or(Ok(50), |text| text.parse())?;
    let seed = seed();
    let mut rng = StdRng::seed_from_u64(seed);
    let dir = tempfile::tempdir()?;
    let data_dir = dir.path().join("data");
    let mut world = World::new(seed);
    for round in 1..=rounds {
        let server = start(&data_dir)?;
        let load = world.start(&server).await.with_context(|| ServerProcess::log(&data_dir))?;
        load.acked(1).await?;
        if round % ROUNDS_TO_TRIM == 0 {
            trimmed(&data_dir).await;
        }
        tokio::time::sleep(Duration::from_millis(rng.random_range(KILL_AFTER_MS))).await;
        server.kill()?;
        world = load.end().await;
    }
    assert_sound(&data_dir)?;
    let server = start(&data_dir)?;
    let world = tokio::time::timeout(HANG, world.settle(&server)).await??;
    let events = tokio::time::timeout(HANG, world.read_logs(&server)).await??;
    assert!(server.terminate()?.success());
    assert_sound(&data_dir)?;
    let steps = world.recorder.steps();
    println!("{rounds} kills, {events} events, {} steps", steps.len());
    assert_right(&steps);
    let repeated = |step: &&Step| matches!(step.what, What::Acked { ack, .. } if ack.duplicate);
    assert!(steps.iter().any(|step| repeated(&step)), "no message was stored, unacked and sent again");
    for bug in Bug::ALL {
        let pick = rng.random_range(0..1_000_000);
        let broken = plant(&steps, *bug, pick).unwrap_or_default();
        assert!(has(&check(&broken), bug.kind()), "{bug:?} (pick {pick}) is not found in this run's history");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_forgot_what_it_acked_is_found() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let (data_dir, copy) = (dir.path().join("data"), dir.path().join("copy"));
    let mut world = World::new(seed());
    for _ in 0..2 {
        let server = start(&data_dir)?;
        let load = world.start(&server).await?;
        load.acked(1).await?;
        server.kill()?;
        world = load.end().await;
        if !copy.exists() {
            copy_folder(&data_dir.join("store"), &copy)?;
        }
    }
    std::fs::remove_dir_all(data_dir.join("store"))?;
    std::fs::rename(&copy, data_dir.join("store"))?;
    let server = start(&data_dir)?;
    let answers = world.open_at_acked(&server).await?;
    let ahead = quinn::ReadError::Reset(quinn::VarInt::from_u32(Code::CURSOR_AHEAD.0));
    let is_ahead =
        |answer: &anyhow::Result<_>| answer.as_ref().is_err_and(|error| error.downcast_ref() == Some(&ahead));
    assert!(answers.iter().any(is_ahead), "{answers:?}");
    world.read_logs(&server).await?;
    let violations = check(&world.recorder.steps());
    assert!(has(&violations, Kind::Lost), "{violations:?}");
    Ok(())
}

fn copy_folder(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let (entry, to) = (entry?.path(), to);
        let to = to.join(entry.file_name().unwrap_or_default());
        if entry.is_dir() {
            copy_folder(&entry, &to)?;
        } else {
            std::fs::copy(&entry, &to)?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_under_load_acks_what_was_read_and_ends_in_time() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let data_dir = dir.path().join("data");
    let server = start(&data_dir)?;
    let mut bystander = connect(&server, "bob").await?;
    let load = World::new(seed()).start(&server).await?;
    load.acked(100).await?;
    server.signal("TERM")?;
    let ends = tokio::task::spawn_blocking(move || server.wait(DRAINED_WITHIN));
    let told = tokio::time::timeout(HANG, bystander.control.next()).await??;
    let Some(ServerFrame::GoAway { code, retry_after_ms, .. }) = told else {
        panic!("no GoAway but {told:?}");
    };
    assert_eq!((code, retry_after_ms), (Code::GOING_AWAY, 1_000));
    let reason = tokio::time::timeout(HANG, bystander.quic.closed()).await?;
    assert_eq!(code_of(&reason), Some(Code::GOING_AWAY), "{reason}");
    assert_eq!(ends.await??.code(), Some(0));
    let world = load.end().await;
    // What was read is acked: without any repeat, the log has not one message more than was acked.
    let acked = world.recorder.steps().iter().filter(|step| matches!(step.what, What::Acked { .. })).count();
    let server = start(&data_dir)?;
    let stored = world.stored(&server).await?;
    assert_eq!(stored, acked as u64, "messages in the logs, and acks");
    let world = tokio::time::timeout(HANG, world.settle(&server)).await??;
    world.read_logs(&server).await?;
    assert_right(&world.recorder.steps());
    Ok(())
}

fn code_of(reason: &ConnectionError) -> Option<Code> {
    match reason {
        ConnectionError::ApplicationClosed(close) => {
            u32::try_from(close.error_code.into_inner()).ok().map(Code)
        }
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_server_on_the_folder_is_refused_and_does_no_harm() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let data_dir = dir.path().join("data");
    let server = start(&data_dir)?;
    let load = World::new(seed()).start(&server).await?;
    load.acked(1).await?;
    let token = server.token("alice")?;
    let refused = start(&data_dir).expect_err("two servers on one folder").to_string();
    assert!(
        refused.contains("is in use by another process; stop that one or name another folder"),
        "{refused}"
    );
    assert_eq!(server.token("alice")?, token, "the second one wrote a file of the first");
    load.acked(50).await?;
    server.kill()?;
    nothing_is_missing(load.end().await, &data_dir).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_whose_flush_fails_stops_the_server_and_loses_nothing() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let data_dir = dir.path().join("data");
    // Each thread's calls are counted for themselves, and only the one that writes the log has this one.
    let strace = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync", "-e"];
    let strace = strace.into_iter().chain(["inject=fdatasync:error=EIO:when=60+"]).map(str::to_owned);
    let server = ServerProcess::start_below(&strace.collect::<Vec<_>>(), &data_dir, SMALL_SEGMENTS)?;
    let bystander = connect(&server, "bob").await?;
    let world = World::new(seed());
    // Counted from before the load on, which may have come to its end when this thread goes on.
    let acked = world.recorder.acked(20);
    let load = world.start(&server).await?;
    tokio::time::timeout(HANG, acked).await?;
    let ends = tokio::task::spawn_blocking(move || server.wait(HANG));
    let reason = tokio::time::timeout(HANG, bystander.quic.closed()).await?;
    assert_eq!(code_of(&reason), Some(Code::STORE_FAILED), "{reason}");
    assert_eq!(ends.await??.code(), Some(70));
    let log = ServerProcess::log(&data_dir);
    assert!(log.contains("the store failed, nothing more was acked"), "{log}");
    nothing_is_missing(load.end().await, &data_dir).await
}

/// A limit of file sizes is the one way to take a server's space away that needs no rights: writes fail as on
/// a full disk, with another error number.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_room_refuses_what_is_new_and_goes_on_when_there_is_room() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let data_dir = dir.path().join("data");
    let server = ServerProcess::start_behind("trap '' XFSZ", &data_dir, SMALL_SEGMENTS)?;
    let pid = server.pid().to_string();
    // The soft limit alone, which may be raised again.
    let limit = async |bytes: &str| {
        let limited = tokio::process::Command::new("prlimit")
            .args(["--pid", &pid, &format!("--fsize={bytes}")])
            .status();
        assert!(limited.await.unwrap().success(), "prlimit (of util-linux) failed");
    };
    let peer = connect(&server, "bob").await?;
    let (mut stream, head) = peer.open("room", 7, Some(Start::Live)).await?;
    let body = || bytes::Bytes::from(vec![b'x'; 30_000]);
    let mut acked = 0;
    for n in 1..=3 {
        stream.write(&publish(n, body())).await?;
        acked = acked_seq(&mut stream, n).await?.expect("there is room");
    }
    assert_eq!((head.0, acked), (0, 3));
    // A look at what is kept waits for the view. Before that has all that is stored, a server without room
    // does not know what is new, and ends the stream.
    Api::told(&server.client_file()?)?.done("GET", "/v1/retention", None)?;
    limit("65536:").await;
    for n in [4, 5] {
        stream.write(&publish(n, body())).await?;
        assert_eq!(acked_seq(&mut stream, n).await?, Err(Code::STORAGE_FULL));
    }
    // What is stored is read and known, and the connection is as before.
    stream.write(&publish(3, body())).await?;
    assert_eq!(acked_seq(&mut stream, 3).await?, Ok(3));
    assert_eq!(peer.open("other", 7, None).await?.1, Seq(0));
    limit("unlimited:").await;
    let began = std::time::Instant::now();
    let mut n = 4;
    loop {
        stream.write(&publish(n, body())).await?;
        match acked_seq(&mut stream, n).await? {
            Ok(seq) => {
                assert_eq!(seq, acked + 1, "no seq is lost");
                acked = seq;
                n += 1;
            }
            Err(code) => assert_eq!(code, Code::STORAGE_FULL),
        }
        if acked == 6 {
            break;
        }
        assert!(began.elapsed() < HANG, "it does not recover");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    server.kill()?;
    assert_sound(&data_dir)?;
    let server = start(&data_dir)?;
    assert_eq!(connect(&server, "bob").await?.open("room", 7, None).await?.1, Seq(6));
    Ok(())
}

/// The seq that a message got, or why it was refused.
async fn acked_seq(stream: &mut Frames, wanted: u64) -> anyhow::Result<Result<u64, Code>> {
    loop {
        match tokio::time::timeout(HANG, stream.next()).await?? {
            Some(ServerFrame::Ack { n, seq, .. }) if n == wanted => return Ok(Ok(seq.0)),
            Some(ServerFrame::Refused { n, code, .. }) if n == wanted => return Ok(Err(code)),
            Some(_) => {}
            None => anyhow::bail!("the stream has ended"),
        }
    }
}
