//! The native SDK against the real server where UDP does not get through, dies, or comes back: `nft` drops it
//! in a network namespace of the test's own. Needs root.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, ensure};
use quoth_client::protocol::Code;
use quoth_client::{Builder, Client, ClientEvent, EventKind, Events, Seq, Start, State, Transport};
use quoth_network::Namespace;
use quoth_tests::process::ServerProcess;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// Bound of a hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the first message may take where no UDP gets through, connecting included.
const TALKS_WITHIN: Duration = Duration::from_secs(1);

/// So many clients try that, one behind the other, until one was quick enough: a busy machine holds some of
/// them up, and whoever waits until QUIC has failed is never as quick.
const CLIENTS_MAX: u64 = 10;

/// The first pause before a client tries QUIC again, so that a test does not wait for long.
const RETURN_PAUSE: Duration = Duration::from_millis(300);

/// A server in a namespace without anything else.
struct Place {
    namespace: Namespace,
    server: ServerProcess,
    ca_file: PathBuf,
    token: String,
    _dir: tempfile::TempDir,
}

impl Place {
    fn start() -> anyhow::Result<Self> {
        let namespace = Namespace::with_loopback()?;
        let dir = tempfile::tempdir()?;
        let server = ServerProcess::start_in(&namespace, &dir.path().join("data"))?;
        let (ca_file, token) = (server.ca_file(), server.token("alice")?);
        Ok(Self { namespace, server, ca_file, token, _dir: dir })
    }

    /// All UDP is lost from now on. It is dropped where it arrives, so that nobody who sends is told.
    fn drop_udp(&self) -> anyhow::Result<()> {
        self.nft(
            "add table inet quoth; add chain inet quoth in { type filter hook input priority 0; }; \
             add rule inet quoth in meta l4proto udp counter drop",
        )
    }

    fn pass_udp(&self) -> anyhow::Result<()> {
        self.nft("flush ruleset")
    }

    fn nft(&self, rules: &str) -> anyhow::Result<()> {
        let output = self.namespace.command("nft").arg(rules).output()?;
        ensure!(output.status.success(), "nft: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    fn client(&self) -> Builder {
        Client::builder(self.server.address().to_string())
            .ca_file(&self.ca_file)
            .token(&self.token)
            .send_timeout(PATIENCE)
    }

    /// Runs something inside, in a thread of its own.
    fn run(&self, test: impl AsyncFnOnce() -> anyhow::Result<()> + Send) -> anyhow::Result<()> {
        let within = || {
            self.namespace.enter()?;
            tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(test())
        };
        std::thread::scope(|scope| scope.spawn(within).join()).map_err(|_| anyhow!("it panicked"))?
    }
}

#[test]
fn where_no_udp_gets_through_a_client_talks_within_a_second() -> anyhow::Result<()> {
    let place = Place::start()?;
    place.drop_udp()?;
    place.run(async || {
        let mut took = Vec::new();
        for n in 1..=CLIENTS_MAX {
            let begun = Instant::now();
            let client = place.client().connect().await?;
            let ack = client.conversation("general")?.send("hello").await?;
            took.push(begun.elapsed());
            ensure!(ack.seq == Seq(n) && client.transport() == Some(Transport::WebSocket));
            client.close().await;
            if took.last() < Some(&TALKS_WITHIN) {
                break;
            }
        }
        ensure!(took.last() < Some(&TALKS_WITHIN), "after {took:?}");
        let alone = place.client().transport(Transport::Quic).connect_timeout(Duration::from_secs(2));
        ensure!(alone.connect().await.is_err(), "UDP gets through");
        Ok(())
    })?;
    ensure_left_in_peace(place, 1)
}

#[test]
fn a_client_survives_the_end_of_udp_and_goes_back_when_it_returns() -> anyhow::Result<()> {
    let place = Place::start()?;
    place.run(async || {
        let client = place.client().return_pause(RETURN_PAUSE).connect().await?;
        // Where the server was held up for longer than QUIC's head start, it goes back to that.
        until_over(&client, Transport::Quic).await?;
        let events = client.conversation("general")?.events(Start::After(Seq(0))).await?;
        let (stop, stopped) = oneshot::channel();
        let talking = tokio::spawn(talk(client.clone(), stopped));
        let reading = tokio::spawn(read(events));

        place.drop_udp()?;
        until_over(&client, Transport::WebSocket).await?;
        told(&client, "over WebSocket").await?;

        let mut states = client.states();
        states.mark_unchanged();
        place.pass_udp()?;
        until_over(&client, Transport::Quic).await?;
        ensure!(
            *states.borrow() == State::Connected,
            "it was not a change on the way: {:?}",
            *states.borrow()
        );
        told(&client, "over QUIC again").await?;

        stop.send(()).map_err(|()| anyhow!("nobody talks"))?;
        let sent = timeout(PATIENCE, talking).await???;
        told(&client, LAST).await?;
        let read = timeout(PATIENCE, reading).await???;
        let expected: Vec<String> = (0..sent).map(|n| n.to_string()).collect();
        ensure!(read == expected, "sent {sent}, read {read:?}");
        client.close().await;
        Ok(())
    })?;
    // The first connection was lost with UDP, which the server learns by its idle timeout if at all.
    ensure_left_in_peace(place, 2)
}

/// The message that nothing follows.
const LAST: &str = "last";

/// Sends numbered messages, several at a time, until it is told to stop. Gives their number.
async fn talk(client: Client, mut stopped: oneshot::Receiver<()>) -> anyhow::Result<u64> {
    let room = client.conversation("general")?;
    let mut n = 0;
    while stopped.try_recv().is_err() {
        let mut sendings = Vec::new();
        for _ in 0..5 {
            sendings.push(room.send_pipelined(n.to_string().into()).await?);
            n += 1;
        }
        for sending in sendings {
            sending.await?;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(n)
}

/// Reads to the last message. Gives the numbered ones, and checks that no seq is left out or comes twice.
async fn read(mut events: Events) -> anyhow::Result<Vec<String>> {
    let (mut numbered, mut seq) = (Vec::new(), Seq(0));
    loop {
        match events.next().await.context("the reader has ended")?? {
            ClientEvent::Event(event) => {
                ensure!(event.seq.0 == seq.0 + 1, "{:?} behind {seq:?}", event.seq);
                seq = event.seq;
                let EventKind::Message { body, .. } = event.kind else { anyhow::bail!("{event:?}") };
                let text = String::from_utf8(body.to_vec())?;
                if text == LAST {
                    return Ok(numbered);
                }
                if text.parse::<u64>().is_ok() {
                    numbered.push(text);
                }
            }
            ClientEvent::CaughtUp { .. } => {}
            other => anyhow::bail!("{other:?}"),
        }
    }
}

/// Says something, and waits until it is stored.
async fn told(client: &Client, text: &str) -> anyhow::Result<()> {
    timeout(PATIENCE, client.conversation("general")?.send(text)).await.context("no ack")??;
    Ok(())
}

async fn until_over(client: &Client, transport: Transport) -> anyhow::Result<()> {
    let mut states = client.states();
    let there = async {
        while client.transport() != Some(transport) {
            states.changed().await?;
        }
        Ok(())
    };
    timeout(PATIENCE, there).await.with_context(|| format!("still over {:?}", client.transport()))?
}

/// Stops the server: so many sessions have ended with a goodbye, and it has seen nothing worth a warning.
fn ensure_left_in_peace(place: Place, goodbyes: usize) -> anyhow::Result<()> {
    let Place { server, _dir: dir, .. } = place;
    let (log, closed) = (|| ServerProcess::log(&dir.path().join("data")), format!("code={}", Code::CLOSED));
    // A client waits for a second at most until its goodbye is heard, and a server that stops says its own.
    let begun = Instant::now();
    while log().matches(&closed).count() < goodbyes {
        ensure!(begun.elapsed() < PATIENCE, "{}", log());
        std::thread::sleep(Duration::from_millis(10));
    }
    let ended = server.terminate()?;
    ensure!(ended.success(), "{ended}");
    let log = log();
    ensure!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
    Ok(())
}
