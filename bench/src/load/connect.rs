//! Cold starts: from no connection to the first message that is acked.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;

use super::at_once::at_once;
use super::meter::Meter;
use super::read_back::{Unread, read_back_on};
use super::single::{Found, Server, Single, names, runtime};
use crate::acked::Acked;
use crate::payload::{Stamp, encode};
use crate::system::quic::Quic;
use crate::system::{Client as _, Part, Received, Receiver as _, Sender as _, System as _};

/// From a client's leave to the next connection, in which the server puts away what it had of the client.
/// That it does so within this is not waited for: a close has no answer, and a client that waits until it may
/// forget the connection waits for three times the probe timeout, some 85 ms.
const REST: Duration = Duration::from_millis(2);

/// How long a message may take that is read back.
const READ_TIMEOUT: Duration = Duration::from_secs(20);

/// Connects each client twice: with nothing known, and with what the server has given it the first time. Each
/// sends a message, which is read back behind all of them where the server keeps it.
///
/// # Errors
/// When a client is refused.
pub fn play(load: Single<'_>, server: Server<'_>) -> anyhow::Result<Found> {
    runtime()?.block_on(async {
        let names = names(load.shape);
        let bytes = load.payload.mean_bytes();
        // Each message is of a publisher of its own.
        let body = move |publisher| encode(Stamp { publisher, n: 0, due: Duration::ZERO }, bytes, None);
        let base = Arc::new(server.quic()?);
        let meter = Meter::start();
        let starts = at_once(load.progress, 0..load.shape.connections, load.shape.at_once, |i| {
            let conversation = i as usize % names.len();
            let (name, base) = (names[conversation].clone(), Arc::clone(&base));
            async move {
                let fresh = base.as_another_client()?;
                let full = first_message(&fresh, &name, body(2 * i)).await.context("the first connection")?;
                let resumed = first_message(&fresh, &name, body(2 * i + 1));
                let resumed = resumed.await.context("the second connection")?;
                Ok((i, conversation, full, resumed))
            }
        });
        let starts = starts.await?;
        let mut found = Found::default();
        found.clients(meter);
        found.times("full", starts.iter().map(|(.., (full, _), _)| *full));
        found.times("resumed", starts.iter().map(|(.., (resumed, _))| *resumed));
        let mut seqs = vec![Acked::default(); names.len()];
        let unread = names.into_iter().map(|name| Unread { name, acked: Vec::new() });
        let mut unread: Vec<Unread> = unread.collect();
        for (i, conversation, (_, full), (_, resumed)) in starts {
            full.into_iter().chain(resumed).for_each(|seq| seqs[conversation].take(seq));
            unread[conversation].acked.extend([(2 * i, 1), (2 * i + 1, 1)]);
        }
        seqs.iter().for_each(|seqs| found.check.add(&seqs.end()));
        if server.stores {
            let system = base.as_another_client()?;
            found.check.add(&read_back_on(system, unread, READ_TIMEOUT, load.progress).await?);
        }
        base.wait_idle().await;
        Ok(found)
    })
}

/// How long it takes from nothing to the ack of a message, and the sequence number that the ack tells.
async fn first_message(system: &Quic, name: &str, body: Bytes) -> anyhow::Result<(Duration, Option<u64>)> {
    let started = Instant::now();
    let client = system.connect().await?;
    let (mut sender, mut receiver) = client.enter(name, Part::Publish).await?;
    sender.publish(&mut vec![body]).await?;
    let mut received = Vec::new();
    receiver.receive(&mut received).await?;
    let took = started.elapsed();
    let seq = match received[..] {
        [Received::Acks(1)] => None,
        [Received::Seq(seq), Received::Acks(1)] => Some(seq),
        _ => anyhow::bail!("not one ack: {received:?}"),
    };
    client.leave();
    tokio::time::sleep(REST).await;
    Ok((took, seq))
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;
    use crate::floor::relay;
    use crate::load::Progress;
    use crate::profile::{Payload, Profile};

    /// A client that waited until it may forget a connection would take some 85 ms for each.
    #[test]
    fn connecting_takes_little_more_than_what_is_measured_of_it() {
        const LITTLE: u32 = 3;
        /// For which a busy machine may hold up what is not measured.
        const HELD_UP: Duration = Duration::from_secs(5);
        let dir = tempfile::tempdir().expect("a folder");
        let folder = dir.path().to_owned();
        let address = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port");
        std::thread::spawn(move || relay::serve(&folder, address, 8, relay::Control::Bbr));
        // Where nobody has bound yet, the kernel refuses what is sent. To try to bind might keep the relay
        // from it.
        let looks = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        looks.connect(address).expect("an address");
        looks.set_read_timeout(Some(Duration::from_millis(5))).expect("a time");
        while looks.send(&[0]).is_err()
            || looks.recv(&mut [0]).is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
        {
        }
        let ca_file = &dir.path().join("ca.pem");
        let server = Server { address, name: "localhost", ca_file, token: "", pid: None, stores: false };
        let text = "about = \"\"\nkind = \"connect\"\nconversations = 1\nconnections = 80\nat_once = 1";
        let shape = &Profile::parse(text).expect("a profile").shape;
        let (payload, progress) = (&Payload::default(), &Progress::default());
        let begun = Instant::now();
        let found = play(Single { shape, payload, progress }, server).expect("it is measured");
        let took = begun.elapsed();
        let mean_ns = ["full", "resumed"].map(|name| found.times[name].mean()).iter().sum::<f64>();
        let measured = Duration::from_secs_f64(mean_ns * 80.0 / 1e9);
        assert_eq!((found.times["full"].len(), found.times["resumed"].len()), (80, 80));
        assert!(took < measured * LITTLE + HELD_UP, "{took:?} for {measured:?}");
    }
}
