//! Real processes over a network that delays and loses: a server in one namespace, clients in another, and
//! the relay between them. Needs root.

#[path = "e2e_network/place.rs"]
mod place;

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use place::{PATIENCE, Server, on_clients_side};
use quoth_client::{Client, ClientEvent, Conversation, EventKind, SendOptions, Start, State};
use quoth_network::{Direction, Network, Profile};
use quoth_protocol::Seq;
use quoth_tests::process::binary;
use tokio::time::timeout;

const MESSAGES: usize = 400;

/// So large that each message fills most of a packet: the network has something to lose.
const MESSAGE_BYTES: usize = 1_000;

/// How often the way there and back is measured.
const PROBES: usize = 20;

/// One with losses among the first 200 packets of either direction, of which there are more. Another version
/// of `rand` may need another one.
const SEED: u64 = 6;

fn message(n: usize) -> Vec<u8> {
    format!("{n:0>MESSAGE_BYTES$}").into_bytes()
}

/// Reads the conversation from its beginning and checks that message by message comes, once and in order.
async fn read(room: &Conversation, messages: usize) -> anyhow::Result<()> {
    let mut events = room.events(Start::After(Seq(0))).await?;
    let mut next = 0;
    while next < messages {
        match events.next().await.context("the reader has ended")?? {
            ClientEvent::Event(event) => {
                let EventKind::Message { body, .. } = event.kind else { anyhow::bail!("{event:?}") };
                ensure!(body == message(next), "message {next} is {}", String::from_utf8_lossy(&body));
                next += 1;
            }
            ClientEvent::CaughtUp { .. } => {}
            other => anyhow::bail!("{other:?}"),
        }
    }
    Ok(())
}

/// Sends messages as fast as may be, and waits for all acks.
async fn send(room: &Conversation, messages: std::ops::Range<usize>) -> anyhow::Result<()> {
    let mut sendings = Vec::new();
    for n in messages {
        sendings.push(room.send_pipelined(SendOptions::from(message(n))).await?);
    }
    for sending in sendings {
        sending.await?;
    }
    Ok(())
}

#[test]
fn messages_cross_a_mobile_network_in_order() -> anyhow::Result<()> {
    let profile = Profile::named("mobile").context("a built-in profile")?;
    let network = Network::start(&profile, SEED)?;
    let dir = tempfile::tempdir()?;
    let server = Server::start(&network, dir.path())?;
    let round_trips = on_clients_side(&network, || async {
        let [sender, reader] = [server.client().connect().await?, server.client().connect().await?];
        let read_room = reader.conversation("general")?;
        let reading = tokio::spawn(async move { read(&read_room, MESSAGES + PROBES).await });
        let room = sender.conversation("general")?;
        timeout(PATIENCE, send(&room, 0..MESSAGES)).await??;
        let mut round_trips = Vec::new();
        for n in MESSAGES..MESSAGES + PROBES {
            let sent = Instant::now();
            room.send(message(n)).await?;
            round_trips.push(sent.elapsed());
        }
        timeout(PATIENCE, reading).await???;
        sender.close().await;
        reader.close().await;
        Ok(round_trips)
    })?;
    let counters = network.stop()?;
    // Three deviations are the most that the jitter takes off; the mean of both ways has them on either side.
    let least_ms = [&profile.up, &profile.down]
        .map(|way| (way.delay_ms - 3.0 * way.jitter_ms).max(0.0))
        .iter()
        .sum::<f64>();
    let shortest = round_trips.iter().min().context("no probe")?;
    assert!(*shortest >= Duration::from_secs_f64(least_ms / 1e3), "{round_trips:?}");
    let mean = round_trips.iter().sum::<Duration>() / u32::try_from(PROBES)?;
    let mean_of_profile = Duration::from_secs_f64((profile.up.delay_ms + profile.down.delay_ms) / 1e3);
    assert!(mean >= mean_of_profile.mul_f64(0.8), "{mean:?} of {mean_of_profile:?}: {round_trips:?}");
    for way in [counters.up, counters.down] {
        assert!(way.counts.lost > 0, "{counters}");
        assert!(way.counts.sent > u64::try_from(MESSAGES)? / 2, "{counters}");
        assert_eq!((way.counts.reordered, way.counts.too_big), (0, 0), "{counters}");
    }
    Ok(())
}

/// The next state that is, or is not, `State::Connected`.
async fn state(client: &Client, is_connected: bool) -> anyhow::Result<()> {
    let mut states = client.states();
    let wanted = states.wait_for(|state| (*state == State::Connected) == is_connected);
    timeout(PATIENCE, wanted).await.context("the state stays")??;
    Ok(())
}

#[test]
fn a_client_goes_on_after_a_blackout() -> anyhow::Result<()> {
    let network = Network::start(&Profile::named("home").context("a built-in profile")?, SEED)?;
    let dir = tempfile::tempdir()?;
    let server = Server::start(&network, dir.path())?;
    on_clients_side(&network, || async {
        let client = server.client().connect().await?;
        let room = client.conversation("general")?;
        send(&room, 0..10).await?;
        network.black_out(Direction::Up);
        network.black_out(Direction::Down);
        let sending = room.send_pipelined(SendOptions::from(message(10))).await?;
        state(&client, false).await?;
        ensure!(network.counters().up.counts.blacked_out > 0, "nothing was lost: {}", network.counters());
        network.restore(Direction::Up);
        network.restore(Direction::Down);
        state(&client, true).await?;
        timeout(PATIENCE, sending).await??;
        send(&room, 11..20).await?;
        timeout(PATIENCE, read(&room, 20)).await??;
        client.close().await;
        Ok(())
    })?;
    network.stop()?;
    Ok(())
}

/// A process that is killed when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn signal(child: &Child, name: &str) -> anyhow::Result<()> {
    let status = Command::new("kill").args([format!("-{name}"), child.id().to_string()]).status()?;
    ensure!(status.success(), "kill -{name} failed");
    Ok(())
}

/// The interfaces that a process sees.
fn interfaces(pid: &str) -> anyhow::Result<String> {
    Ok(std::fs::read_to_string(format!("/proc/{pid}/net/dev"))?)
}

#[test]
fn a_network_is_gone_with_its_process_however_it_ends() -> anyhow::Result<()> {
    for (name, prints_counters) in [("TERM", true), ("INT", true), ("KILL", false)] {
        let mut command = Command::new(binary("quoth-network"));
        let mut network =
            Running(command.args(["--profile", "lan", "--seed", "3"]).stdout(Stdio::piped()).spawn()?);
        let mut lines = BufReader::new(network.0.stdout.take().context("a pipe")?).lines();
        let client = lines.find(|line| line.as_ref().is_ok_and(|line| line.starts_with("client")));
        let client = client.context("the banner has no client")??;
        let namespace =
            client.split_whitespace().find(|word| word.starts_with("--net=")).context("no --net")?;
        // A program inside keeps the namespace, but not the network.
        let mut inside = Command::new("nsenter");
        let inside = Running(inside.args([namespace, "--", "cat"]).stdin(Stdio::piped()).spawn()?);
        let pid = inside.0.id().to_string();
        let until = |is_there: bool| {
            let began = Instant::now();
            while interfaces(&pid)?.contains("quoth:") != is_there {
                ensure!(began.elapsed() < PATIENCE, "{name}: {}", interfaces(&pid)?);
                std::thread::yield_now();
            }
            Ok(())
        };
        until(true)?;
        ensure!(!interfaces("self")?.contains("quoth:"), "it is not kept to its namespaces");
        signal(&network.0, name)?;
        let status = network.0.wait()?;
        assert_eq!(status.success(), prints_counters, "{name}: {status}");
        let rest: Vec<String> = lines.collect::<Result<_, _>>()?;
        assert_eq!(rest.iter().any(|line| line.starts_with("up    sent 0,")), prints_counters, "{rest:?}");
        until(false)?;
    }
    Ok(())
}

/// What it prints when it does not start.
fn refusal(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output()?;
    ensure!(!output.status.success(), "it started");
    Ok(String::from_utf8(output.stderr)?)
}

#[test]
fn what_a_network_needs_is_told() -> anyhow::Result<()> {
    // Where nobody may run it from is no place for this test.
    let dir = tempfile::tempdir()?;
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755))?;
    let network = dir.path().join("quoth-network");
    std::fs::copy(binary("quoth-network"), &network)?;
    let mut nobody = Command::new("setpriv");
    let refused = refusal(nobody.args(["--reuid=65534", "--clear-groups"]).arg(&network))?;
    assert!(refused.contains("run it with sudo"), "{refused}");
    let refused = refusal(Command::new(&network).env("PATH", dir.path()))?;
    assert!(refused.contains("apt install iproute2"), "{refused}");
    let refused = refusal(Command::new(&network).args(["--profile", "mobil"]))?;
    assert!(refused.contains("lan, home, mobile, bad"), "{refused}");
    Ok(())
}
